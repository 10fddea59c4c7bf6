//! From syntax tree to graph: what a Dockerfile means for given arguments, platform and base images.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

use slipway_graph::op::{ImageOrigin, Network, Ulimit};
use slipway_graph::request::{CacheBypass, NamedContext};
use slipway_graph::{Graph, LineRange, VertexId};
use slipway_oci::{ChainId, Digest, ImageConfig, Platform, Reference};

use crate::{Diagnostic, Dockerfile};

/// Everything outside the Dockerfile and its base images that decides about the graph.
#[derive(Clone, Debug)]
pub struct LowerInputs<'a> {
    /// The stage asked for; `None` is the last one.
    pub target: Option<&'a str>,
    /// `--build-arg`; those that steer the builder (`BUILDKIT_*`, proxies, `SOURCE_DATE_EPOCH`) are among them.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// The platform that the image is for.
    pub target_platform: Platform,
    /// Whether the target platform was asked for; otherwise the base image decides what the config says.
    pub is_platform_explicit: bool,
    /// Whether step names say which platform they belong to.
    pub is_multi_platform: bool,
    /// By familiar name without `:latest`, possibly with `::platform` at the end.
    pub named_contexts: &'a BTreeMap<String, NamedContext>,
    pub cache_bypass: &'a CacheBypass,
    /// The network of steps that do not ask for a certain one.
    pub network: Network,
    pub extra_hosts: &'a [(String, IpAddr)],
    pub shm_size_bytes: Option<u64>,
    pub ulimits: &'a [Ulimit],
    /// `--label`: put on the final image, over the labels of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
    /// Whether `RUN --network=host` is permitted.
    pub allows_host_network: bool,
    /// Whether `RUN --security=insecure` is permitted.
    pub allows_insecure: bool,
}

/// What lowering came to.
#[derive(Debug)]
pub enum Lowering {
    Done(Box<Lowered>),
    /// Images have to be looked up first. All that can be known to be needed now are listed, each once.
    NeedImages(Vec<ImageQuestion>),
}

/// Which image is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageKey {
    pub place: ImagePlace,
    /// The platform that is wanted; an image that is only there for another one is taken all the same.
    pub platform: Platform,
}

/// Where an image is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImagePlace {
    /// The local image store or a registry. The tag is always filled in unless there is a digest.
    Reference(Reference),
    /// A named context in OCI layout: the manifest `digest`, else the one called `tag`, else the only one.
    OciLayout { name: String, path: PathBuf, tag: Option<String>, digest: Option<Digest> },
}

/// A question about an image that has to be answered before lowering can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    pub key: ImageKey,
    /// The name as the Dockerfile says it; errors begin with it.
    pub written: String,
    /// The instruction that needs the image.
    pub lines: LineRange,
}

/// The answer to an [`ImageQuestion`].
#[derive(Clone, Debug)]
pub struct KnownImage {
    pub origin: ImageOrigin,
    /// The manifest for the wanted platform.
    pub manifest: Digest,
    /// `None` if the image has no layers.
    pub chain_id: Option<ChainId>,
    pub config: ImageConfig,
}

/// All answers so far.
pub type KnownImages = HashMap<ImageKey, KnownImage>;

/// A Dockerfile for one platform, ready to be solved.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What the target reaches, and possibly more; [`Graph::reachable`] tells.
    pub graph: Graph,
    /// The root file system of the target.
    pub result: VertexId,
    /// The config of the image. New history entries have no `created`; `rootfs` is still that of the base.
    pub config: ImageConfig,
    /// How many entries at the front of the history come with the base image.
    pub n_base_history: usize,
    pub warnings: Vec<Diagnostic>,
}

/// Lowers `dockerfile`.
///
/// Answers `Lowering::NeedImages` as long as `known` lacks images that the target reaches; ask again with the answers.
///
/// # Errors
/// All that is wrong with the file, as far as the target reaches it, with the texts of the reference builder.
pub fn lower(
    dockerfile: &Dockerfile,
    inputs: &LowerInputs<'_>,
    known: &KnownImages,
) -> Result<Lowering, Vec<Diagnostic>> {
    crate::stages::lower(dockerfile, inputs, known)
}
