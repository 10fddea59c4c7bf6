//! Are the files of layers still what they were when the layers were committed? For `slipway fsck`.
//!
//! A layer is packed again: if it becomes the tar that it is known to be, nothing has changed. Layers that came from
//! elsewhere need not become that tar, since every tool packs by rules of its own. Those are compared with what their
//! blob unpacks to now. Without a blob, or the layers that it was made on, nobody can tell.

use std::io::{self, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use slipway_oci::{DiffId, Sha256};
use slipway_store::{DbError, Finding, KnownLayer, OverlayFlavor, Store};

use crate::layer::decompress::Compression;
use crate::layer::diff;
use crate::layer::implied;
use crate::layer::untar::{self, Meaning};
use crate::rootfs::Root;

/// What came of looking at all layers.
#[derive(Debug, Default)]
pub struct LayerCheck {
    pub findings: Vec<Finding>,
    /// Layers of which nobody can tell whether they have changed.
    pub n_unknown: usize,
}

/// Whether a layer is what it was.
enum Verdict {
    Sound,
    Changed,
    Unknown,
}

/// Checks the content of every layer that there is something to compare with. Reads all of it.
///
/// Needs the root of the user namespace in which the files were made, as `flavor` says.
pub fn check_layers(store: &Store, flavor: OverlayFlavor) -> Result<LayerCheck, DbError> {
    let mut check = LayerCheck::default();
    for known in store.known_layers()? {
        // A folder that is missing is a finding already, and so is one below it.
        let is_there = |layer| store.layer_path(layer).is_dir();
        if !is_there(&known.layer) || !known.below.iter().flatten().all(is_there) {
            continue;
        }
        match verdict(store, flavor, &known) {
            Ok(Verdict::Sound) => {}
            Ok(Verdict::Unknown) => check.n_unknown += 1,
            // What cannot be read is not what it was.
            Ok(Verdict::Changed) | Err(_) => {
                check.findings.push(Finding::LayerContent { layer: known.layer.to_string() });
            }
        }
    }
    Ok(check)
}

fn verdict(store: &Store, flavor: OverlayFlavor, known: &KnownLayer) -> io::Result<Verdict> {
    let files = untar::open_host_dir(&store.layer_path(&known.layer))?;
    let below = match known.below.as_deref() {
        None | Some([]) => None,
        Some(below) => Some(store.view_layers(below).map_err(io::Error::other)?),
    };
    let found = packed(files.as_fd(), below.as_ref())?;
    if found == known.diff_id {
        return Ok(Verdict::Sound);
    }
    if known.below.is_none() {
        // What a layer leaves as it was below is not in its tar, and nobody knows what that is.
        return Ok(Verdict::Unknown);
    }
    let mut blob = None;
    for descriptor in store.layer_blobs(&known.diff_id).map_err(io::Error::other)? {
        if let Some((file, _)) = store.open_blob(&descriptor.digest).map_err(io::Error::other)? {
            blob = Compression::of_layer(&descriptor.media_type).map(|compression| (file, compression));
        }
    }
    let Some((file, compression)) = blob else {
        return Ok(if known.is_packed_here { Verdict::Changed } else { Verdict::Unknown });
    };
    let fresh = store.begin(None).map_err(io::Error::other)?;
    let upper = untar::open_host_dir(fresh.upper())?;
    let plain = compression.reader(BufReader::with_capacity(1 << 20, file))?;
    let meaning = Meaning::Layer { is_user_namespace: flavor == OverlayFlavor::UserNamespace };
    // A blob that cannot be unpacked is a finding of its own.
    let Ok(implied) = untar::unpack(plain, upper.as_fd(), meaning) else { return Ok(Verdict::Unknown) };
    // Folders that the tar does not list have taken after what was below them then.
    implied::adopt(&Root::open(fresh.upper())?, &Root::new(files), &implied).map_err(io::Error::other)?;
    let is_same = packed(upper.as_fd(), below.as_ref())? == found;
    Ok(if is_same { Verdict::Sound } else { Verdict::Changed })
}

/// The diff ID of what the files pack into.
fn packed(files: BorrowedFd<'_>, below: Option<&OwnedFd>) -> io::Result<DiffId> {
    let tar =
        diff::write_layer(files, below.map(AsFd::as_fd), None, Hasher(Sha256::new())).map_err(io::Error::other)?;
    Ok(DiffId(tar.0.finish()))
}

/// Keeps nothing of what is written but its digest.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
