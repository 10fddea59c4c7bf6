//! What do the layers of an image hold, what of it is wasted, and is that too much?
//!
//! The numbers are those that thresholds in people's CI are tuned to, down to the byte (`spec/analyze.md` sections 2 to
//! 6), and truer ones beside them. Nothing is drawn, printed or fetched: who calls hands over the bytes of layers
//! ([`LayerSource`]), or an archive or folder to take them from ([`open`]).
//!
//! The way, file by file: [`files`] and [`image_files`] find the layers, [`layer`] makes a [`tree`] of each, [`stack`]
//! puts one upon the other, [`efficiency`] and [`hidden`] count; [`rules`] judges, [`differences`] and [`growth`] compare,
//! [`origin`] says which stages the bytes come from, [`json`] is what programs read.

mod content_hash;
mod differences;
mod efficiency;
mod files;
mod go_mode;
mod growth;
mod hidden;
mod image_files;
mod json;
mod layer;
mod origin;
mod rules;
mod stack;
#[cfg(test)]
mod testing;
mod tree;
mod visible;

use std::thread;

pub use differences::{Change, Compared, Difference};
pub use efficiency::{Compat, Efficiency, Inefficient};
pub use files::FilesError;
pub use growth::{GrownFile, GrownLayer, Growth};
pub use hidden::Hidden;
pub use image_files::{OpenError, chosen, open};
pub use json::{Detail, growth_to_json, to_json};
pub use layer::{Layer, LayerError, LayerSource, OpenLayer, Reading, StoredLayer, with_commands};
pub use origin::{Origin, Place, Share, Supplier, grown_shares, shares};
pub use rules::{RuleError, RuleValues, Rules, Status, Verdict};
pub use slipway_archive::tar_reader::TarError;
pub use tree::{Entry, Node};

/// An image as it was found to be.
#[derive(Debug)]
pub struct Analysis {
    pub layers: Vec<Layer>,
    pub efficiency: Efficiency,
    pub hidden: Hidden,
}

impl Analysis {
    /// Reads all layers, as many at once as the machine has processors, and counts.
    ///
    /// With `ignores_errors` a layer that breaks off is taken as far as it could be read.
    pub fn of(sources: &[LayerSource<'_>], compat: Compat, ignores_errors: bool) -> Result<Analysis, LayerError> {
        Analysis::observed(sources, compat, ignores_errors, &Reading::of(sources.len()))
    }

    /// The same, for somebody who looks on.
    pub fn observed(
        sources: &[LayerSource<'_>],
        compat: Compat,
        ignores_errors: bool,
        reading: &Reading,
    ) -> Result<Analysis, LayerError> {
        let layers = layer::read_all(sources, ignores_errors, reading)?;
        // The two walks need the layers only, and each about as long as the other.
        let (efficiency, hidden) = thread::scope(|scope| {
            let efficiency = layer::spawn(scope, || Efficiency::of(&layers, compat));
            let hidden = Hidden::of(&layers);
            (layer::joined(efficiency), hidden)
        });
        Ok(Analysis { layers, efficiency, hidden })
    }

    /// What all layers hold, in bytes of uncompressed content.
    pub fn size_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_bytes).sum()
    }

    /// What the layers above the first one hold.
    pub fn user_bytes(&self) -> u64 {
        self.layers.iter().skip(1).map(|layer| layer.size_bytes).sum()
    }

    /// The share of [`Analysis::user_bytes`] that is wasted: not a number if both are 0, infinite if only the former is.
    pub fn wasted_user_share(&self) -> f64 {
        self.efficiency.wasted_bytes() as f64 / self.user_bytes() as f64
    }

    /// How many entries the layers have.
    pub fn n_entries(&self) -> usize {
        self.layers.iter().map(|layer| layer.n_entries).sum()
    }
}
