//! What can be typed to work with images of the local store (`spec/cli.md` sections 9.2 and 9.3).

use clap::Args;

/// The flags of `images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only images of this repository, or with this name
    #[arg(value_name = "REPOSITORY[:TAG]", default_value = "", hide_default_value = true)]
    pub(crate) repository: String,
    /// Without effect; images without names are listed anyway, and there are none that others are built on
    #[arg(short, long)]
    all: bool,
    /// First make the compressed layers that images lack, so that other tools find all of them in the store
    #[arg(long)]
    pub(crate) complete: bool,
    /// Show digests of manifests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only images that this holds for (reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=24h, dangling=true)
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = crate::cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// How to write the list (table, json, raw, "table TEMPLATE", TEMPLATE)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Do not shorten image ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print image ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `history`.
#[derive(Debug, Default, Args)]
pub(crate) struct HistoryArgs {
    /// A name, or the beginning of an id
    pub(crate) image: String,
    /// How to write the list (table, json, "table TEMPLATE", TEMPLATE)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Ages and sizes for people
    #[arg(short = 'H', long, default_value = "true")]
    pub(crate) human: bool,
    /// Of an image for several platforms, the one for this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,
    /// Do not shorten ids and instructions
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// How to write each image (json, TEMPLATE)
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Of an image for several platforms, the one for this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,
}

/// The flags of `inspect`, which looks for containers and networks too in Docker.
#[derive(Debug, Args)]
#[command(mut_arg("images", |images| images.value_name("NAME|ID")))]
pub(crate) struct InspectObjectsArgs {
    #[command(flatten)]
    pub(crate) image: InspectArgs,
    /// What to look for; containers before images if this does not say it
    #[arg(long = "type", default_value = "", hide_default_value = true, value_name = "container|image|volume")]
    pub(crate) kind: String,
    /// Without effect; it is for containers
    #[arg(short, long, hide = true)]
    pub(crate) size: bool,
}

/// The arguments of `tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image: a name, or the beginning of an id
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub(crate) source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    pub(crate) target: String,
}

/// The flags of `rmi`.
#[derive(Debug, Args)]
pub(crate) struct RemoveImagesArgs {
    /// Names, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Also images that have names in several repositories; images that are not there are no failure
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Without effect; images have no untagged parents here
    #[arg(long, hide = true)]
    no_prune: bool,
}

/// The flags of `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) name: String,
    /// Of an image for several platforms, the one for this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,
    /// Print the name only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,
    /// All tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Print the name only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Names, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Of an image for several platforms, the one for this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,
    /// Write to a file instead of standard output
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) output: String,
}

/// The flags of `load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Read from a file instead of standard input
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) input: String,
    /// Of an image for several platforms, the one for this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,
    /// Without effect; nothing but the names is printed
    #[arg(short, long)]
    quiet: bool,
}
