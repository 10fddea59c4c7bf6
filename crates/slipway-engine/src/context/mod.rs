//! What does a build read from folders of the host and from earlier stages, and has it changed?
//!
//! ```text
//! select   the paths that a COPY's source means, wildcards and links resolved
//! scan     everything below them, without reading files: two system calls a folder, one a file
//! digest   the content of all that; files that look unchanged are not read again (memory)
//! manifest the same as a list that can be kept and compared
//! ```

mod build_context;
mod digest;
mod manifest;
mod memory;
mod scan;
mod select;
pub(crate) mod workers;

pub(crate) use build_context::{BuildContext, IgnoreFile, Owners, SourceTree};
pub(crate) use digest::{DigestError, Digested, content_digest, digest_files};
pub(crate) use manifest::{FileState, Manifest};
pub(crate) use memory::DigestMemory;
pub(crate) use scan::{Forest, ScanError, ScannedDir, ScannedEntry, Top, What, scan};
pub(crate) use select::{SelectError, Selected, Selection, SourcePattern, select};
