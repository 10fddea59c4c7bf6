//! What is known of a build when it is over, and why its steps had to run.
//!
//! ```text
//! mod        the record: request, steps, results
//! recorder   collects it while the build goes on
//! audience   whose record a step belongs to, where several builds go on together
//! log        what the steps wrote
//! note       the ingredients of one step's key
//! explain    compares the notes of two builds
//! bundle     records on their way to another machine
//! sizes      what steps added to the file system, as far as that is still in the store
//! ```
//!
//! A record names the notes of its steps by their definition keys. A note is written by the build that first missed
//! the key; builds that hit refer to it, so a build with nothing to do writes one small row. No secret value is in any
//! of it: values of variables that are called like secrets, and logins in URLs, are left out.

pub(crate) mod audience;
mod bundle;
mod explain;
mod log;
mod note;
pub(crate) mod recorder;
mod sizes;

use serde::{Deserialize, Serialize};
use slipway_graph::op::{HostAddress, Network};
use slipway_graph::request::{BuildRequest, CacheBypass, ContextLocation, DockerfileLocation, NamedContext};
use slipway_graph::step_name::StepName;
use slipway_graph::{LineRange, git};
use slipway_oci::{DiffId, Digest};
use slipway_solver::Hit;
use slipway_store::{FsError, Store};

pub use bundle::{BundleError, read_bundle, write_bundle};
pub use explain::{Break, Explanation, FileChange, Outcome, Reason, StepExplanation, explain};
pub use log::{LogError, LogPiece, LogReader, read_log};
pub use note::PartKind;
pub use sizes::step_sizes;

/// A build that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub id: String,
    pub request: RequestSummary,
    /// Nanoseconds since 1970.
    pub started_ns: i64,
    /// Nanoseconds since 1970.
    pub completed_ns: i64,
    pub status: Status,
    /// Why there is no result.
    pub error: Option<String>,
    /// Digest of the image config.
    pub image_id: Option<Digest>,
    /// How large the image is, in bytes: the tars of its layers, the first image of several.
    #[serde(default)]
    pub image_bytes: Option<u64>,
    /// The same of its compressed layers, if they were made.
    #[serde(default)]
    pub compressed_bytes: Option<u64>,
    /// What it was made of.
    #[serde(default)]
    pub materials: Vec<MaterialRecord>,
    /// Index, manifest and config, as far as they were made.
    #[serde(default)]
    pub attachments: Vec<AttachmentRecord>,
    /// The layers of its images, one image after the other, bottom first.
    #[serde(default)]
    pub layers: Vec<LayerRecord>,
    /// What was said about the Dockerfile, each once.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// In the order in which they became known.
    pub steps: Vec<StepRecord>,
}

/// A layer of an image that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    pub diff_id: DiffId,
    /// The number of the step that made it, or of the `FROM` that it came with.
    pub step: Option<u32>,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Completed,
    Error,
    Canceled,
}

/// What was asked for, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// A path without links, or a URL without login.
    pub context: String,
    pub dockerfile: String,
    pub target: Option<String>,
    pub platforms: Vec<String>,
    /// Values of those that are called like secrets are left out.
    pub build_args: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    pub tags: Vec<String>,
    /// Their ids.
    pub secrets: Vec<String>,
    /// Named contexts and what they are, without logins.
    #[serde(default)]
    pub named_contexts: Vec<(String, String)>,
    #[serde(default)]
    pub settings: RequestSettings,
}

/// What was asked for about the steps, as flags spell it. What was not asked for is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestSettings {
    pub network: String,
    pub extra_hosts: Vec<String>,
    pub ignores_cache: bool,
    /// Stages for which results of earlier builds were not to be used.
    pub ignores_cache_of: Vec<String>,
    pub shm_size_bytes: Option<u64>,
    pub ulimits: Vec<String>,
    /// Whether tags were asked for again.
    pub pulls: bool,
}

/// A source from outside of the machine that a build used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterialRecord {
    pub uri: String,
    /// `sha256:…`, `sha1:…` of a commit.
    pub digest: Option<String>,
}

/// A document that a build made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentRecord {
    pub digest: Digest,
    pub media_type: String,
    pub platform: Option<String>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Counted from 0 in the order in which steps were thought of; the log names steps by it.
    pub number: u32,
    pub name: String,
    /// Lines of the Dockerfile, the first and the last.
    pub lines: Option<(usize, usize)>,
    /// Nanoseconds since 1970; `None` if nothing was done for it.
    pub started_ns: Option<i64>,
    /// Nanoseconds since 1970; `None` if it was not finished.
    pub completed_ns: Option<i64>,
    pub error: Option<String>,
    pub is_canceled: bool,
    /// Why it did not run.
    pub hit: Option<HitKind>,
    /// For steps that have a key.
    pub vertex: Option<VertexRecord>,
}

/// What makes a step comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexRecord {
    /// Its definition key, which names its note.
    pub key: Digest,
    /// Numbers of the steps whose results it uses.
    pub inputs: Vec<u32>,
    /// Results of earlier builds were not to be used.
    pub ignores_cache: bool,
    /// It only provides files: a base image, a folder, a URL.
    pub is_source: bool,
}

/// See [`Hit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HitKind {
    NotNeeded,
    Definition,
    Identity,
    Content,
}

impl From<Hit> for HitKind {
    fn from(hit: Hit) -> HitKind {
        match hit {
            Hit::NotNeeded => HitKind::NotNeeded,
            Hit::Definition => HitKind::Definition,
            Hit::Identity => HitKind::Identity,
            Hit::Content => HitKind::Content,
        }
    }
}

impl BuildRecord {
    /// All builds that `store` remembers, the newest first. What cannot be read is left out: it was written by another
    /// version, or is damaged.
    pub fn all(store: &Store) -> Result<Vec<BuildRecord>, FsError> {
        Ok(BuildRecord::newest_first(store)?.collect())
    }

    /// The same, read one by one.
    pub fn newest_first(store: &Store) -> Result<impl Iterator<Item = BuildRecord> + use<'_>, FsError> {
        Ok(store.builds()?.filter_map(|build| serde_json::from_slice(&build.record).ok()))
    }

    /// Whether this was a build of the same Dockerfile and context, with whatever flags.
    pub fn is_of_file_of(&self, request: &BuildRequest) -> bool {
        let asked = RequestSummary::of(request);
        self.request.context == asked.context && self.request.dockerfile == asked.dockerfile
    }

    /// The step with this number.
    pub fn step(&self, number: u32) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.number == number)
    }
}

impl StepRecord {
    /// A step of which nothing is known yet.
    fn new(number: u32) -> StepRecord {
        StepRecord {
            number,
            name: String::new(),
            lines: None,
            started_ns: None,
            completed_ns: None,
            error: None,
            is_canceled: false,
            hit: None,
            vertex: None,
        }
    }

    /// Whether work was done for it.
    pub fn ran(&self) -> bool {
        self.started_ns.is_some() && self.hit.is_none()
    }

    /// The stage that it belongs to: `build`, `stage-1`; `None` in a file with one stage and beside stages.
    pub fn stage(&self) -> Option<&str> {
        StepName(&self.name).stage()
    }

    /// The instruction, without stage and count.
    pub fn instruction(&self) -> &str {
        StepName(&self.name).instruction()
    }
}

impl RequestSummary {
    fn of(request: &BuildRequest) -> RequestSummary {
        let context = match &request.context {
            ContextLocation::Folder(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
            ContextLocation::Stdin => "-".to_owned(),
            ContextLocation::Git(reference) => reference.remote.url().to_owned(),
            ContextLocation::Http(url) => git::redacted(url),
        };
        let dockerfile = match &request.dockerfile {
            DockerfileLocation::Default | DockerfileLocation::Inline(_) => "Dockerfile".to_owned(),
            DockerfileLocation::Path(path) => path.display().to_string(),
            DockerfileLocation::Stdin => "-".to_owned(),
            DockerfileLocation::Url(url) => git::redacted(url),
        };
        let shown = |(name, value): (&String, &String)| (name.clone(), note::shown_value(name, value));
        RequestSummary {
            context,
            dockerfile,
            target: request.target.clone(),
            platforms: request.platforms.iter().map(ToString::to_string).collect(),
            build_args: request.build_args.iter().map(shown).collect(),
            labels: request.labels.iter().map(shown).collect(),
            tags: request.tags.iter().map(|tag| tag.familiar()).collect(),
            secrets: request.secrets.iter().map(|secret| secret.id.clone()).collect(),
            named_contexts: request.named_contexts.iter().map(|(name, c)| (name.clone(), shown_context(c))).collect(),
            settings: RequestSettings::of(request),
        }
    }
}

impl RequestSettings {
    fn of(request: &BuildRequest) -> RequestSettings {
        let network = match request.network {
            Network::Default => "",
            Network::None => "none",
            Network::Host => "host",
        };
        let host = |(name, address): &(String, HostAddress)| match address {
            HostAddress::Fixed(address) => format!("{name}:{address}"),
            HostAddress::Gateway => format!("{name}:host-gateway"),
        };
        let ignores_cache_of = match &request.cache_bypass {
            CacheBypass::Stages(stages) => stages.clone(),
            CacheBypass::Nothing | CacheBypass::Everything => Vec::new(),
        };
        RequestSettings {
            network: network.to_owned(),
            extra_hosts: request.extra_hosts.iter().map(host).collect(),
            ignores_cache: request.cache_bypass == CacheBypass::Everything,
            ignores_cache_of,
            shm_size_bytes: request.shm_size_bytes,
            ulimits: request.ulimits.iter().map(|u| format!("{}={}:{}", u.kind, u.soft, u.hard)).collect(),
            pulls: request.pulls_always,
        }
    }
}

fn shown_context(context: &NamedContext) -> String {
    match context {
        NamedContext::Folder(path) => path.display().to_string(),
        NamedContext::Image(Some(reference)) => format!("docker-image://{}", reference.familiar()),
        NamedContext::Image(None) => "docker-image://scratch".to_owned(),
        NamedContext::OciLayout { path, .. } => format!("oci-layout://{}", path.display()),
        NamedContext::Url(url) => git::redacted(url),
        NamedContext::Target(name) => format!("target:{name}"),
    }
}

fn lines_of(lines: LineRange) -> (usize, usize) {
    (lines.first, lines.last)
}
