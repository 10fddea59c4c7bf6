//! Doors for the fuzz targets in `fuzz/`, which can reach only what a crate shows: archives that somebody else made.
//!
//! Exists only where `cargo fuzz` compiles (`--cfg fuzzing`). Errors are expected there, and dropped.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::layer::tar_reader::TarReader;
use crate::layer::untar::{Meaning, unpack};

/// More data than a fuzzed archive stores; what holes add beyond it is not read.
const MAX_DATA_BYTES: u64 = 1 << 24;

/// Reads all entries and their data, holes as zeros.
pub fn read_archive(bytes: &[u8]) {
    let mut reader = TarReader::new(bytes);
    while let Ok(Some(_)) = reader.next_entry() {
        let mut data = io::Read::take(&mut reader, MAX_DATA_BYTES);
        if io::copy(&mut data, &mut io::sink()).is_err() {
            return;
        }
    }
}

/// Unpacks into `folder` as `ADD` does.
pub fn unpack_archive(bytes: &[u8], folder: &Path) {
    unpack_into(bytes, folder, Meaning::Archive { owner: None });
}

/// Unpacks into `folder` as a layer of an image is.
pub fn unpack_layer(bytes: &[u8], folder: &Path) {
    unpack_into(bytes, folder, Meaning::Layer { is_user_namespace: false });
}

fn unpack_into(bytes: &[u8], folder: &Path, meaning: Meaning) {
    if let Ok(root) = File::open(folder) {
        drop(unpack(bytes, root.as_fd(), meaning));
    }
}
