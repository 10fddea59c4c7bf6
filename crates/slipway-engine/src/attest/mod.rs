//! What is said about a result beside it: how it was made, and what is in it (`spec/dockerfile.md` section 8.7).
//!
//! ```text
//! mod         which statements an image gets
//! statement   a predicate about certain subjects, as in-toto writes it
//! purl        what images are called in statements
//! provenance  the predicate about how a result was made; materials: of what; parameters: what was asked for
//! sbom        the packages in a result
//! definition  the steps, in the words of BuildKit's graphs
//! ```
//!
//! How statements lie beside an image: `export/attestation.rs`; beside files: `export/split.rs`.

mod definition;
mod materials;
mod parameters;
pub(crate) mod provenance;
mod purl;
mod sbom;
pub(crate) mod statement;

use std::io;
use std::os::fd::OwnedFd;

use serde_json::Value;
use slipway_graph::request::{self, BuildRequest};
use slipway_oci::{Descriptor, Platform, Reference};
use slipway_solver::Cancel;

use crate::export;
use crate::platforms::{ImagePlan, ResultPlan};
use crate::records::MaterialRecord;
use provenance::{Made, Provenance};

/// A statement that lacks its subjects.
#[derive(Clone, Debug)]
pub(crate) struct Attestation {
    predicate: Predicate,
    /// What the file is called that it is in, where it is one.
    pub(crate) file_name: String,
    /// Only for images: not as a file beside files.
    pub(crate) is_inline_only: bool,
}

/// What is said.
#[derive(Clone, Debug)]
enum Predicate {
    Provenance(Box<Provenance>),
    /// An SPDX document.
    Packages(Value),
}

impl Attestation {
    pub(crate) fn provenance(provenance: Provenance) -> Attestation {
        let (file_name, is_inline_only) = (provenance.wish.file_name.clone(), provenance.wish.is_inline_only);
        Attestation { predicate: Predicate::Provenance(Box::new(provenance)), file_name, is_inline_only }
    }

    /// Names the kind of the predicate.
    pub(crate) fn predicate_type(&self) -> &'static str {
        match &self.predicate {
            Predicate::Provenance(provenance) => provenance.predicate_type(),
            Predicate::Packages(_) => "https://spdx.dev/Document",
        }
    }

    /// The predicate about a result whose layers are these, bottom first.
    pub(crate) fn predicate(&self, layers: &[Descriptor]) -> Value {
        match &self.predicate {
            Predicate::Provenance(provenance) => provenance.predicate(layers),
            Predicate::Packages(document) => document.clone(),
        }
    }
}

/// Whether the packages in the results of `request` are listed.
pub(crate) fn lists_packages(request: &BuildRequest) -> bool {
    request.attestations.has_sbom && export::makes_image(request)
}

/// What a list of packages is called, as a file without its ending. `part`: the stage that it is of, or the build context;
/// none of the image.
fn list_name(part: Option<&str>) -> String {
    let part = part.map(|part| format!("-{part}")).unwrap_or_default();
    format!("sbom{part}")
}

/// The sources of the image that `plan` is about.
pub(crate) fn sources(made: Made<'_>, plan: &ImagePlan) -> Vec<MaterialRecord> {
    let used = materials::used(made.graph, plan.result, made.pins);
    let record = |material: materials::Material| MaterialRecord {
        digest: material.digest.as_ref().and_then(statement::DigestSet::spelled),
        uri: material.uri,
    };
    used.materials.into_iter().map(record).collect()
}

/// The packages in the files below `root`, which are those of an image or of what `part` names. `epoch`: the time that
/// stands for now.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn packages(
    made: Made<'_>,
    part: Option<&str>,
    epoch: Option<i64>,
    root: &OwnedFd,
    cancel: &Cancel,
) -> io::Result<Attestation> {
    let tag = made.request.tags.first().filter(|_| part.is_none());
    let name = tag.map_or_else(|| list_name(part), Reference::familiar);
    let created_s = epoch.unwrap_or(made.run.finished_ns / 1_000_000_000);
    let document = sbom::document(root, &name, created_s, cancel)?;
    let file_name = format!("{}.spdx.json", list_name(part));
    Ok(Attestation { predicate: Predicate::Packages(document), file_name, is_inline_only: false })
}

/// How `made` says the image was made that `plan` became.
pub(crate) fn about(made: Made<'_>, plan: &ImagePlan) -> Vec<Attestation> {
    let wish = made.request.attestations.provenance.clone();
    let provenance = wish.map(|wish| Attestation::provenance(Provenance::of(made, plan.result, wish)));
    provenance.into_iter().collect()
}

/// How each image of `result` was made, for the file about the build.
pub(crate) fn in_metadata(made: Made<'_>, result: &ResultPlan) -> Vec<(Option<Platform>, Value)> {
    let request = made.request;
    let Some(extent) = request.metadata_provenance.filter(|_| request.metadata_file.is_some()) else {
        return Vec::new();
    };
    let wish = request.attestations.provenance.clone().unwrap_or_else(request::Provenance::least);
    let told = |plan: &ImagePlan| {
        let platform = result.is_multi.then(|| plan.config.platform());
        (platform, Provenance::of(made, plan.result, wish.clone()).in_metadata(extent))
    };
    result.images.iter().map(told).collect()
}

/// Whether results of `request` have something said about them.
pub(crate) fn is_wanted(request: &BuildRequest) -> bool {
    request.attestations.provenance.is_some() || request.attestations.has_sbom
}
