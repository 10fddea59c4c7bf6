//! Between a snapshot's own changes and the tar that an image calls a layer.
//!
//! [`diff`] walks an overlay upper directory and writes the tar; [`untar`] does the reverse for pulled layers and
//! `ADD` archives; [`tar_writer`] and [`tar_reader`] are the format itself, [`compress`] what happens to the bytes
//! when they leave the store.

pub(crate) mod compress;
pub(crate) mod diff;
pub(crate) mod tar_reader;
pub(crate) mod tar_writer;
pub(crate) mod untar;
