//! Between a snapshot's own changes and the tar that an image calls a layer.
//!
//! [`diff`] walks an overlay upper directory and writes the tar; [`untar`] does the reverse for pulled layers and
//! `ADD` archives; [`tar_writer`] and [`tar_reader`] are the format itself, [`compress`] what happens
//! to the bytes when they leave the store and [`decompress`] when they come in. [`merged_links`] is for who walks a
//! whole stack, [`entries`] and [`background_hash`] are for many files and long streams, [`pipe`] is for what goes from
//! thread to thread.

pub(crate) mod background_hash;
pub(crate) mod compress;
pub(crate) mod diff;
#[cfg(test)]
mod differential;
mod entries;
#[cfg(test)]
mod hostile;
pub(crate) mod implied;
pub(crate) mod merged_links;
pub(crate) mod pipe;
#[cfg(test)]
mod testing;
pub(crate) mod untar;

pub(crate) use slipway_archive::{decompress, tar_reader, tar_writer};
