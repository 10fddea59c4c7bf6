//! What can be typed to work on images where they are (`spec/cli.md` section 8).

use clap::{Args, Subcommand};

/// Work on images in registries and OCI layouts. A place is a name, or `oci-layout://PATH[:TAG][@DIGEST]`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagetoolsCommand {
    /// Make an image of other images: an index of what they hold
    Create(CreateArgs),
    /// Show what an image holds
    Inspect(InspectArgs),
}

/// What of `docker manifest` can be had here.
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Print the manifest or index that a registry has under a name
    Inspect {
        #[arg(value_name = "MANIFEST")]
        name: String,
        /// Without effect; which registries are spoken to without TLS is a setting of theirs
        #[arg(long)]
        insecure: bool,
    },
}

/// The flags of `imagetools create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Names, digests, or descriptors as JSON
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Add an annotation (index:KEY=VALUE, manifest-descriptor[PLATFORM]:KEY=VALUE)
    #[arg(long = "annotation")]
    pub(crate) annotations: Vec<String>,
    /// Keep what the first tag holds now
    #[arg(long)]
    pub(crate) append: bool,
    /// Print the result and push nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read a descriptor from a file
    #[arg(short, long = "file")]
    pub(crate) files: Vec<String>,
    /// Write what came of it to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) metadata_file: String,
    /// Keep these platforms only
    #[arg(short, long = "platform")]
    pub(crate) platforms: Vec<String>,
    /// Make an index of a single manifest too; if denied, that one is copied as it is
    #[arg(long, default_value = "true")]
    pub(crate) prefer_index: bool,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// Where to push the result to
    #[arg(short, long = "tag")]
    pub(crate) tags: Vec<String>,
}

/// The flags of `imagetools inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    pub(crate) name: String,
    /// How to write it: a Go template over Name, Manifest, Image, Provenance and SBOM
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Print the manifest as it is
    #[arg(long)]
    pub(crate) raw: bool,
}
