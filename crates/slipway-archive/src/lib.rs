//! Archives from outside and for outside: hostile ones are read ([`tar_reader`], [`decompress`]), ours are written
//! ([`tar_writer`]) so that equal files give equal bytes.
//!
//! Bytes in, entries out; no file is opened and none is made.

pub mod decompress;
mod sparse;
pub mod tar_reader;
pub mod tar_writer;
