//! What a build is asked for, after all checks of what was typed.
//!
//! [`BuildFlags`](flags::BuildFlags) (what was typed) lives in [`flags`]; [`BuildRequest::from_flags`] is the only way from one to the other.

mod attestation;
mod cache;
pub mod flags;
mod parts;
mod work_tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use slipway_oci::{Digest, Platform, Reference};

pub use attestation::{Attestations, Extent, Provenance, Slsa};
pub use cache::{CacheDocument, CacheExtent, CacheMounts, CachePlace, CacheSource, CacheTarget, GhaPlace, S3Place};

pub use parts::{is_run_name, part_tag};
pub use work_tree::WorkTree;

use crate::git::GitReference;
use crate::op::{HostAddress, Network, Ulimit};
use crate::pins::Pins;

/// Everything that a build needs to know, apart from the machine.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    pub context: ContextLocation,
    /// Which modes the files of folders of the host have for the build.
    pub context_modes: ContextModes,
    pub dockerfile: DockerfileLocation,
    /// The stage asked for; `None` is the last one.
    pub target: Option<String>,
    /// Last duplicate wins; names given without a value and absent from the environment are left out.
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Without duplicates; empty means the host's platform.
    pub platforms: Vec<Platform>,
    /// By familiar name without `:latest`.
    pub named_contexts: BTreeMap<String, NamedContext>,
    pub cache_bypass: CacheBypass,
    /// Asked in this order for what the store does not have.
    pub cache_from: Vec<CacheSource>,
    pub cache_to: Vec<CacheTarget>,
    /// Whether nothing outside of this machine is asked.
    pub is_offline: bool,
    /// Whether steps that ask for no certain network get none.
    pub isolates_steps: bool,
    /// What the lock file is read for; `None` if it is not read.
    pub lock: Option<LockUse>,
    /// What the lock file says.
    pub pins: Pins,
    /// Ask the registry again even for tags that are at hand.
    pub pulls_always: bool,
    pub network: Network,
    pub extra_hosts: Vec<(String, HostAddress)>,
    pub allows_host_network: bool,
    pub allows_insecure: bool,
    pub shm_size_bytes: Option<u64>,
    pub ulimits: Vec<Ulimit>,
    pub limits: StepLimits,
    /// Instead of the target being built, somebody sits down in it.
    pub shell: Option<ShellPoint>,
    pub secrets: Vec<Secret>,
    pub ssh: Vec<Ssh>,
    /// Empty: the image goes to the local image store.
    pub outputs: Vec<Output>,
    pub tags: Vec<Reference>,
    /// Where the image id is written, without a newline.
    pub iidfile: Option<PathBuf>,
    /// Where a JSON object about the result is written.
    pub metadata_file: Option<PathBuf>,
    /// How much that object says of the way that the result was made.
    pub metadata_provenance: Option<Extent>,
    pub attestations: Attestations,
    /// Told in provenance.
    pub work_tree: WorkTree,
    /// Whether it is remembered what each step changed, for a comparison with another build.
    pub traces_steps: bool,
    /// Whether folders have their entries in another order for steps than for others.
    pub shuffles_folders: bool,
    /// How many steps run at the same time; `None` lets the machine decide.
    pub jobs: Option<usize>,
    /// What to do instead of building.
    pub call: Option<Call>,
}

/// One of the builds that are carried out together.
#[derive(Clone, Debug)]
pub struct NamedRequest {
    /// How people and other requests call it; empty where there is only one.
    pub name: String,
    pub request: BuildRequest,
}

impl BuildRequest {
    /// Whether the context or the Dockerfile is elsewhere, and fetched before anything is read.
    pub fn fetches_inputs(&self) -> bool {
        matches!(self.context, ContextLocation::Git(_) | ContextLocation::Http(_))
            || matches!(self.dockerfile, DockerfileLocation::Url(_))
    }

    /// Where the lock file of the Dockerfile lies; `None` if the Dockerfile is in no folder of this machine.
    pub fn lock_file(&self) -> Option<PathBuf> {
        let ContextLocation::Folder(context) = &self.context else { return None };
        let folder = match &self.dockerfile {
            DockerfileLocation::Default => context.as_path(),
            DockerfileLocation::Path(path) => path.parent().unwrap_or(Path::new("")),
            DockerfileLocation::Inline(_) | DockerfileLocation::Stdin | DockerfileLocation::Url(_) => return None,
        };
        Some(folder.join("slipway.lock"))
    }

    /// How the step is called that reads the Dockerfile.
    pub fn load_step_name(&self) -> String {
        let name = match &self.dockerfile {
            DockerfileLocation::Path(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(),
            DockerfileLocation::Default
            | DockerfileLocation::Inline(_)
            | DockerfileLocation::Stdin
            | DockerfileLocation::Url(_) => "Dockerfile".into(),
        };
        format!("[internal] load build definition from {name}")
    }
}

/// A question about the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// JSON, for programs; otherwise text.
    pub is_json: bool,
    /// Warnings do not make the command fail.
    pub ignores_status: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// What is doubtful in the file.
    Check,
    /// What can be given to a build of the target.
    Outline,
    /// Which stages there are.
    Targets,
    /// Which questions there are.
    Describe,
}

/// Where the files of the build are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextLocation {
    Folder(PathBuf),
    /// A Dockerfile (then the context is empty) or a tar archive on standard input.
    Stdin,
    Git(GitReference),
    /// An archive with the context, or a Dockerfile.
    Http(String),
}

/// Which modes the files of folders of the host have for a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContextModes {
    /// Those that they have.
    #[default]
    Disk,
    /// Those that git would record: 0755 for files that their owner may run, 0644 for others, 0755 for folders. What a
    /// umask took away, or another clone has, makes no difference then.
    Git,
}

impl ContextModes {
    /// The mode that counts for a regular file or a folder that has `mode`.
    pub fn of_file(self, mode: u32, is_folder: bool) -> u32 {
        let is_program = mode & 0o100 != 0;
        match self {
            ContextModes::Disk => mode,
            ContextModes::Git if is_folder || is_program => 0o755,
            ContextModes::Git => 0o644,
        }
    }
}

/// Where the Dockerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileLocation {
    /// `Dockerfile`, else `dockerfile`, in the context.
    Default,
    /// Relative to the working directory (inside the context for contexts that are no folder).
    Path(PathBuf),
    /// This text; it lies nowhere.
    Inline(String),
    Stdin,
    Url(String),
}

/// The value of `--build-context name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    Folder(PathBuf),
    /// `docker-image://ref`; `None` is `docker-image://scratch`.
    Image(Option<Reference>),
    /// `oci-layout://path[:tag][@digest]`.
    OciLayout {
        path: PathBuf,
        tag: Option<String>,
        digest: Option<Digest>,
    },
    Url(String),
    /// What the request of this name makes, which is carried out together with this one.
    Target(String),
}

/// What a lock file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockUse {
    /// What it lacks is found out and added (`--lock`).
    Extend,
    /// It must have everything (`--locked`).
    Require,
}

/// Which steps do not use results of earlier builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheBypass {
    #[default]
    Nothing,
    Everything,
    /// Stage names, lower case.
    Stages(Vec<String>),
}

/// What each step may use of the machine; `None` is unlimited. No result depends on it, so it is in no key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLimits {
    pub memory_bytes: Option<u64>,
    /// Both together; `u64::MAX` is unlimited.
    pub memory_and_swap_bytes: Option<u64>,
    /// Weight against others, usually 1024.
    pub cpu_shares: Option<u64>,
    pub cpu_period_us: Option<u64>,
    /// Processor time in each period.
    pub cpu_quota_us: Option<u64>,
    /// `0-2,7`.
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// The control group below which those of steps are made.
    pub cgroup_parent: Option<String>,
}

impl StepLimits {
    /// Whether steps need control groups of their own.
    pub fn is_none(&self) -> bool {
        *self == StepLimits::default()
    }
}

/// A place in the target stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShellPoint {
    /// The line that would be carried out next; `None` is the end of the stage.
    pub line: Option<usize>,
}

/// A secret that steps may ask for by id.
#[derive(Clone, Debug)]
pub struct Secret {
    pub id: String,
    pub source: SecretSource,
    /// Whether another value runs the steps that use it again (`key=true`).
    pub is_keyed: bool,
}

#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Read when a step asks for it.
    File(PathBuf),
    Value(SecretValue),
}

/// Bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// An ssh agent that steps may talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    pub id: String,
    pub source: SshSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshSource {
    Agent(PathBuf),
    Keys(Vec<PathBuf>),
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into the local image store, under its names; pushed to the registry as well if `push` says so.
    Image(ImageOutput),
    /// An OCI layout: a tar archive or (`tar=false`) a folder.
    Oci { dest: Destination, image: ImageOutput },
    /// A `docker save` archive.
    Docker { dest: Destination, image: ImageOutput },
    /// Into the local image store, and into a container engine: the one of this `context` of Docker's, or any that the user
    /// has.
    Load { context: Option<String>, image: ImageOutput },
    /// The files themselves, into a folder.
    Local { dest: PathBuf, deletes_others: bool, files: FilesOutput },
    /// The files themselves, as a tar archive.
    Tar { dest: Destination, files: FilesOutput },
    /// Nothing but the cache.
    CacheOnly,
}

/// Choices that outputs of files share (`spec/dockerfile.md` section 8.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesOutput {
    /// Whether the files of each platform go into a folder of their own; `None` does so where several platforms are
    /// built.
    pub splits: Option<bool>,
    /// The time of all files, if there is one.
    pub epoch: OutputEpoch,
    /// What the names of files with attestations begin with.
    pub attestation_prefix: String,
}

/// Which `SOURCE_DATE_EPOCH` counts for an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputEpoch {
    #[default]
    OfBuild,
    /// None, whatever the build has.
    Nothing,
    /// Seconds since 1970.
    Seconds(i64),
}

impl OutputEpoch {
    /// The epoch, in seconds since 1970, where `of_build` is that of the build.
    pub fn or(self, of_build: Option<i64>) -> Option<i64> {
        match self {
            OutputEpoch::OfBuild => of_build,
            OutputEpoch::Nothing => None,
            OutputEpoch::Seconds(seconds) => Some(seconds),
        }
    }
}

/// Where an archive or layout goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    File(PathBuf),
    /// A layout folder (`tar=false`).
    Folder(PathBuf),
}

/// Choices that all image outputs share (`spec/dockerfile.md` section 8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOutput {
    /// With tags, unless the image is pushed by digest.
    pub names: Vec<Reference>,
    pub push: Option<Push>,
    /// Whether it gets its names in the local image store.
    pub is_stored: bool,
    /// Also name it by its digest under this name.
    pub dangling_prefix: Option<Reference>,
    /// Also name it by its digest under each of its names.
    pub is_named_by_digest: bool,
    pub uses_oci_types: bool,
    pub compression: Compression,
    /// `None` is the default of the kind.
    pub compression_level: Option<u32>,
    /// Also compress base layers anew.
    pub forces_compression: bool,
    /// Files of new layers are no younger than the epoch.
    pub rewrites_times: bool,
    /// Without one, the config keeps the times that the build's gave it, and no file is rewritten.
    pub epoch: OutputEpoch,
    /// In the order of precedence: the last of several with one name counts.
    pub annotations: Vec<Annotation>,
    /// The run whose other parts it is to be merged with; then it is pushed by digest.
    pub part_of: Option<String>,
    /// Whether manifests of attestations are OCI artifacts that refer to the image, and have no config of their own.
    pub attests_by_artifact: bool,
    /// Whether attestations that are only for images are among them.
    pub keeps_inline_only: bool,
}

impl ImageOutput {
    /// What is made of an image that just gets `names` in the local image store.
    pub fn stored(names: Vec<Reference>) -> ImageOutput {
        ImageOutput {
            names,
            push: None,
            is_stored: true,
            dangling_prefix: None,
            is_named_by_digest: false,
            uses_oci_types: true,
            compression: Compression::Gzip,
            compression_level: None,
            forces_compression: false,
            rewrites_times: false,
            epoch: OutputEpoch::OfBuild,
            annotations: Vec::new(),
            part_of: None,
            attests_by_artifact: true,
            keeps_inline_only: true,
        }
    }

    /// The annotations of `on`: those for every platform, and those for `platform`. `None` is an image that was not made
    /// for several platforms; those for one platform do not count there, as in the reference.
    pub fn annotations_on(&self, on: Annotated, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let counts = |a: &&Annotation| a.on == on && (a.platform.is_none() || a.platform.as_ref() == platform);
        self.annotations.iter().filter(counts).map(|a| (a.key.clone(), a.value.clone())).collect()
    }
}

/// A note on a part of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub on: Annotated,
    /// Only in the image for this platform.
    pub platform: Option<Platform>,
    pub key: String,
    pub value: String,
}

/// The part of an image that has an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotated {
    Manifest,
    /// Where the index, or the layout, names the manifest.
    ManifestDescriptor,
    Index,
    /// Where the layout names the index.
    IndexDescriptor,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Push {
    pub is_insecure: bool,
    pub by_digest: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    Gzip,
    Zstd,
    Uncompressed,
}
