//! The nouns of the image spec: digest, descriptor, manifest, index, image config, reference, platform.
//!
//! Values only: nothing here reads a file, the clock or the environment. Bytes received from outside are kept as
//! received by whoever stores them; these types are views that are parsed from them and JSON that is made anew.

mod checksum;
mod config;
mod descriptor;
mod digest;
mod go_json;
mod manifest;
mod percent;
mod platform;
mod reference;

pub use checksum::{Checksum, ChecksumHasher, ChecksumParseError};
pub use config::{Empty, Healthcheck, History, ImageConfig, Rootfs, RuntimeConfig};
pub use descriptor::{Descriptor, media_type};
pub use digest::{ChainId, DiffId, Digest, DigestParseError, Sha256};
pub use go_json::{to_compact, to_indented};
pub use manifest::{Index, IndexOrManifest, Manifest, ManifestParseError};
pub use percent::percent_decoded;
pub use platform::{Platform, PlatformParseError};
pub use reference::{Reference, ReferenceParseError};
