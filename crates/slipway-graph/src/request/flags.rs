//! From what was typed to what is meant: all validation of the flags of `build` (`spec/cli.md` sections 3 and 4).
//!
//! Nothing here looks at the machine by itself; what has to be known of it is asked of [`Surroundings`].

mod attestation;
mod cache;
mod call;
mod context;
mod csv;
mod limits;
mod output;
mod sandbox;
mod secret;
mod ssh;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slipway_oci::{Platform, PlatformParseError};

use super::{
    Attestations, BuildRequest, CacheBypass, CachePlace, CacheTarget, ContextModes, DockerfileLocation, LockUse,
    Output, ShellPoint, StepLimits, WorkTree,
};
use crate::pins::Pins;
use output::OutputFlags;

pub use attestation::AttestationError;
pub use cache::CacheFlagError;
pub use call::{CallError, parse as parse_call};
pub use context::ContextError;
pub use csv::{CsvError, fields as csv_fields};
pub use limits::{LimitFlagError, ResourceFlag, parse as parse_limits};
pub use output::{OutputError, check_annotations, parse_annotations};
pub use sandbox::{SandboxFlagError, UlimitError, extra_hosts as parse_extra_hosts, parse_ulimit};
pub use secret::SecretError;
pub use ssh::SshError;

/// The flags of `build` as they were typed; empty where they were not.
#[derive(Clone, Debug, Default)]
pub struct BuildFlags {
    /// `PATH | URL | -`.
    pub context: String,
    /// `git`, `disk` or empty.
    pub context_mode: String,
    pub file: String,
    /// The Dockerfile itself, in place of `file`.
    pub dockerfile_inline: Option<String>,
    pub target: String,
    pub tags: Vec<String>,
    pub build_args: Vec<String>,
    /// Proxy settings of the client's configuration, upper case (`HTTP_PROXY`); build args unless those are given.
    pub proxies: Vec<(String, String)>,
    pub labels: Vec<String>,
    pub platforms: Vec<String>,
    pub build_contexts: Vec<String>,
    pub no_cache: bool,
    pub no_cache_filter: Vec<String>,
    pub pull: bool,
    pub lock: bool,
    pub locked: bool,
    pub offline: bool,
    pub network: String,
    pub add_hosts: Vec<String>,
    pub allow: Vec<String>,
    /// At least 1.
    pub jobs: Option<usize>,
    pub shm_size: String,
    pub ulimits: Vec<String>,
    /// Limits that have flags of their own, in any order.
    pub resource_flags: Vec<ResourceFlag>,
    pub resources: Vec<String>,
    pub cgroup_parent: String,
    /// `STAGE[:LINE]`, where somebody wants to sit down.
    pub shell: String,
    pub secrets: Vec<String>,
    pub ssh: Vec<String>,
    pub outputs: Vec<String>,
    pub push: bool,
    pub load: bool,
    pub annotations: Vec<String>,
    pub iidfile: String,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub attest: Vec<String>,
    pub provenance: String,
    pub sbom: String,
    pub call: String,
    pub check: bool,
    pub metadata_file: String,
    pub policy: Vec<String>,
}

/// What the machine and the user's session say.
pub trait Surroundings {
    /// An environment variable; also those that the user names in `--build-arg` and `--secret`.
    fn variable(&self, name: &str) -> Option<String>;

    /// What is at `path`, symbolic links followed.
    fn kind_of(&self, path: &Path) -> PathKind;

    fn is_stdout_terminal(&self) -> bool;

    fn working_dir(&self) -> PathBuf;
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing, or nothing that can be looked at.
    Missing,
    Folder,
    Socket,
    /// A regular file or anything else that can be written to.
    File,
}

/// How far the reference builder is when it refuses a flag; users see that in front of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The flag's own parser refuses the value.
    Argument,
    /// Before anything is done: `ERROR: …`.
    Options,
    /// `ERROR: failed to build: …`.
    Build,
    /// `ERROR: failed to build: failed to solve: …`.
    Solve,
}

/// Why flags make no request.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Sandbox(#[from] SandboxFlagError),
    #[error(transparent)]
    Limits(#[from] LimitFlagError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    #[error("invalid key-value pair {text:?}: empty key")]
    EmptyKey { text: String },
    #[error(
        "empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' for optional behavior"
    )]
    EmptySyntax,
    #[error(transparent)]
    Platform(#[from] PlatformParseError),
    #[error("--no-cache and --no-cache-filter cannot currently be used together")]
    CacheBypass,
    #[error(transparent)]
    Cache(#[from] CacheFlagError),
    #[error("{one} and {other} exclude each other")]
    Exclusive { one: &'static str, other: &'static str },
    #[error("{flag} needs a Dockerfile in a folder of this machine: `slipway.lock` lies beside it")]
    NoLockFile { flag: &'static str },
    #[error("invalid value {text:?} of --context-mode: there are `git` and `disk`")]
    ContextMode { text: String },
    #[error("`{flag}` is not supported by this version of slipway")]
    Unsupported { flag: &'static str },
}

impl FlagError {
    /// When the reference builder would have refused.
    pub fn moment(&self) -> Moment {
        match self {
            FlagError::Context(error) => error.moment(),
            FlagError::Output(error) => error.moment(),
            FlagError::Secret(error) => error.moment(),
            FlagError::Sandbox(error) => error.moment(),
            FlagError::Limits(error) => error.moment(),
            FlagError::Call(error) => error.moment(),
            FlagError::Cache(error) => error.moment(),
            FlagError::Attestation(error) => error.moment(),
            FlagError::EmptyKey { .. }
            | FlagError::ContextMode { .. }
            | FlagError::Exclusive { .. }
            | FlagError::NoLockFile { .. }
            | FlagError::Unsupported { .. } => Moment::Options,
            FlagError::Ssh(_) | FlagError::EmptySyntax | FlagError::Platform(_) | FlagError::CacheBypass => {
                Moment::Build
            }
        }
    }
}

impl BuildRequest {
    /// What `flags` mean on this machine.
    pub fn from_flags(flags: &BuildFlags, surroundings: &dyn Surroundings) -> Result<BuildRequest, FlagError> {
        refuse_unsupported(flags)?;
        let call = call::parse(&flags.call, flags.check)?;
        let cache_from = cache::sources(&flags.cache_from, surroundings)?;
        let build_args = build_args(flags, surroundings)?;
        let attestations = attestation::parse(flags, &build_args)?;
        let wants_inline = build_args.get("BUILDKIT_INLINE_CACHE").is_some_and(|v| parse_bool(v) == Some(true));
        let cache_to = cache::targets(&flags.cache_to, wants_inline, surroundings)?;
        let labels = labels(&flags.labels)?;
        let named_contexts = context::named(&flags.build_contexts, surroundings)?;
        let granted = sandbox::entitlements(&flags.allow)?;
        let network = sandbox::network(&flags.network)?;
        let ulimits = flags.ulimits.iter().map(|text| sandbox::ulimit(text)).collect::<Result<_, _>>()?;
        let cgroup_parent = Some(flags.cgroup_parent.clone()).filter(|parent| !parent.is_empty());
        let limits = StepLimits { cgroup_parent, ..limits::parse(&flags.resource_flags, &flags.resources)? };
        let (target, shell) = match flags.shell.as_str() {
            "" => (flags.target.as_str(), None),
            point => shell_point(point),
        };
        let tags = output::tags(&flags.tags)?;
        let platforms = platforms(&flags.platforms, surroundings)?;
        let output_flags = OutputFlags {
            outputs: &flags.outputs,
            pushes: flags.push,
            loads: flags.load,
            annotations: &flags.annotations,
            has_several_platforms: platforms.len() > 1,
            has_iidfile: !flags.iidfile.is_empty(),
            allows_delete: granted.local_delete,
            is_attested: is_attested_beside(&attestations),
        };
        let outputs = output::parse(&output_flags, &tags, surroundings)?;
        let secrets = flags.secrets.iter().map(|text| secret::parse(text, surroundings));
        let secrets = secrets.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let context = context::location(&flags.context, surroundings)?;
        let ssh = ssh::parse(&flags.ssh, &context, surroundings)?;
        let request = BuildRequest {
            dockerfile: match &flags.dockerfile_inline {
                Some(text) => DockerfileLocation::Inline(text.clone()),
                None => context::dockerfile(&flags.file, &context)?,
            },
            context,
            context_modes: context_modes(&flags.context_mode)?,
            target: Some(target.to_owned()).filter(|target| !target.is_empty()),
            shell,
            build_args,
            labels,
            platforms,
            named_contexts,
            cache_bypass: cache_bypass(flags)?,
            cache_from,
            cache_to,
            pulls_always: flags.pull,
            is_offline: flags.offline,
            isolates_steps: flags.offline && flags.network.is_empty(),
            lock: lock_use(flags)?,
            pins: Pins::default(),
            network,
            extra_hosts: sandbox::extra_hosts(&flags.add_hosts)?,
            allows_host_network: granted.host_network || network == crate::op::Network::Host,
            allows_insecure: granted.insecure,
            shm_size_bytes: match flags.shm_size.as_str() {
                "" => None,
                text => sandbox::shm_size(text)?,
            },
            ulimits,
            limits,
            secrets,
            ssh,
            outputs,
            tags,
            iidfile: Some(PathBuf::from(&flags.iidfile)).filter(|path| !path.as_os_str().is_empty()),
            metadata_file: Some(PathBuf::from(&flags.metadata_file)).filter(|path| !path.as_os_str().is_empty()),
            metadata_provenance: attestation::in_metadata(surroundings),
            attestations,
            work_tree: WorkTree::default(),
            traces_steps: false,
            shuffles_folders: false,
            jobs: flags.jobs,
            call,
        };
        check_together(&request)?;
        Ok(request)
    }
}

/// Whether there are statements that cannot be left out where an output has no place for them.
fn is_attested_beside(attestations: &Attestations) -> bool {
    attestations.has_sbom || attestations.provenance.as_ref().is_some_and(|provenance| !provenance.is_inline_only)
}

/// The stage and the place in it that `STAGE[:LINE]` means.
fn shell_point(text: &str) -> (&str, Option<ShellPoint>) {
    let split = text.rsplit_once(':').and_then(|(stage, line)| Some((stage, line.parse().ok()?)));
    match split {
        Some((stage, line)) => (stage, Some(ShellPoint { line: Some(line) })),
        None => (text, Some(ShellPoint { line: None })),
    }
}

/// A boolean in one of the spellings that Go accepts.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Flags that would change the result in a way that is not there yet. Flags that only speed up are no reason to refuse.
fn refuse_unsupported(flags: &BuildFlags) -> Result<(), FlagError> {
    match flags.policy.is_empty() {
        true => Ok(()),
        false => Err(FlagError::Unsupported { flag: "--policy" }),
    }
}

fn build_args(flags: &BuildFlags, surroundings: &dyn Surroundings) -> Result<BTreeMap<String, String>, FlagError> {
    let mut args = BTreeMap::new();
    for text in &flags.build_args {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), surroundings.variable(text)),
        };
        match (key, value) {
            ("", _) => return Err(FlagError::EmptyKey { text: text.clone() }),
            ("BUILDKIT_SYNTAX", Some(value)) if value.is_empty() => return Err(FlagError::EmptySyntax),
            (key, Some(value)) => {
                args.insert(key.to_owned(), value);
            }
            (_, None) => {}
        }
    }
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    if !flags.build_args.iter().any(|text| text.split('=').next() == Some(EPOCH))
        && let Some(epoch) = surroundings.variable(EPOCH)
    {
        args.insert(EPOCH.to_owned(), epoch);
    }
    for (name, value) in &flags.proxies {
        if !args.keys().any(|key| key.eq_ignore_ascii_case(name)) {
            args.insert(name.clone(), value.clone());
            args.insert(name.to_lowercase(), value.clone());
        }
    }
    Ok(args)
}

fn labels(texts: &[String]) -> Result<BTreeMap<String, String>, FlagError> {
    texts
        .iter()
        .map(|text| match text.split_once('=').unwrap_or((text, "")) {
            ("", _) => Err(FlagError::EmptyKey { text: text.clone() }),
            (key, value) => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

fn platforms(texts: &[String], surroundings: &dyn Surroundings) -> Result<Vec<Platform>, FlagError> {
    let default = match texts {
        [] => surroundings.variable("DOCKER_DEFAULT_PLATFORM").filter(|text| !text.is_empty()),
        _ => None,
    };
    let mut platforms = Vec::new();
    for text in texts.iter().chain(&default).flat_map(|list| list.split(',')) {
        let platform = text.trim().parse()?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn lock_use(flags: &BuildFlags) -> Result<Option<LockUse>, FlagError> {
    match (flags.lock, flags.locked) {
        (true, true) => Err(FlagError::Exclusive { one: "--lock", other: "--locked" }),
        (true, false) => Ok(Some(LockUse::Extend)),
        (false, true) => Ok(Some(LockUse::Require)),
        (false, false) => Ok(None),
    }
}

/// Refuses what cannot be had together once the request is known.
fn check_together(request: &BuildRequest) -> Result<(), FlagError> {
    let flag = match request.lock {
        Some(LockUse::Extend) => "--lock",
        Some(LockUse::Require) => "--locked",
        None => "",
    };
    if request.lock.is_some() && request.lock_file().is_none() {
        return Err(FlagError::NoLockFile { flag });
    }
    if !request.is_offline {
        return Ok(());
    }
    let pushes = |output: &Output| matches!(output, Output::Image(image) if image.push.is_some());
    let is_elsewhere = |target: &CacheTarget| !matches!(target.place, CachePlace::Local { .. } | CachePlace::Inline);
    let others = [
        (request.pulls_always, "--pull"),
        (request.outputs.iter().any(pushes), "an output that is pushed"),
        (request.cache_to.iter().any(is_elsewhere), "a --cache-to that is no folder"),
    ];
    match others.into_iter().find(|(is_wanted, _)| *is_wanted) {
        Some((_, other)) => Err(FlagError::Exclusive { one: "--offline", other }),
        None => Ok(()),
    }
}

fn context_modes(text: &str) -> Result<ContextModes, FlagError> {
    match text {
        "" | "disk" => Ok(ContextModes::Disk),
        "git" => Ok(ContextModes::Git),
        _ => Err(FlagError::ContextMode { text: text.to_owned() }),
    }
}

fn cache_bypass(flags: &BuildFlags) -> Result<CacheBypass, FlagError> {
    let stages: Vec<String> =
        flags.no_cache_filter.iter().flat_map(|list| list.split(',')).map(str::to_lowercase).collect();
    match (flags.no_cache, stages.is_empty()) {
        (true, false) => Err(FlagError::CacheBypass),
        (true, true) => Ok(CacheBypass::Everything),
        (false, true) => Ok(CacheBypass::Nothing),
        (false, false) => Ok(CacheBypass::Stages(stages)),
    }
}

#[cfg(test)]
mod testing {
    //! Made-up surroundings.

    use super::*;

    #[derive(Default)]
    pub(super) struct Made {
        variables: BTreeMap<String, String>,
        paths: BTreeMap<PathBuf, PathKind>,
        is_terminal: bool,
    }

    impl Made {
        pub(super) fn with_variable(mut self, name: &str, value: &str) -> Made {
            self.variables.insert(name.to_owned(), value.to_owned());
            self
        }

        pub(super) fn with_path(mut self, path: &str, kind: PathKind) -> Made {
            self.paths.insert(path.into(), kind);
            self
        }

        pub(super) fn with_terminal(mut self) -> Made {
            self.is_terminal = true;
            self
        }
    }

    impl Surroundings for Made {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).cloned()
        }

        fn kind_of(&self, path: &Path) -> PathKind {
            self.paths.get(path).copied().unwrap_or(PathKind::Missing)
        }

        fn is_stdout_terminal(&self) -> bool {
            self.is_terminal
        }

        fn working_dir(&self) -> PathBuf {
            "/work".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Made;
    use super::*;
    use crate::op::Network;

    fn made() -> Made {
        Made::default().with_path(".", PathKind::Folder)
    }

    fn flags(change: impl FnOnce(&mut BuildFlags)) -> BuildFlags {
        let mut flags = BuildFlags { context: ".".to_owned(), ..BuildFlags::default() };
        change(&mut flags);
        flags
    }

    fn request(change: impl FnOnce(&mut BuildFlags)) -> BuildRequest {
        BuildRequest::from_flags(&flags(change), &made()).unwrap()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn flags_that_were_not_typed_mean_nothing() {
        let request = request(|_| ());
        assert_eq!(request.target, None);
        assert_eq!(request.iidfile, None);
        assert_eq!(request.cache_bypass, CacheBypass::Nothing);
        assert_eq!(request.shm_size_bytes, None);
        assert!(request.build_args.is_empty() && request.outputs.is_empty() && request.platforms.is_empty());
    }

    #[test]
    fn build_args_come_from_flags_then_the_environment_then_proxies() {
        let made = made()
            .with_variable("SET", "1")
            .with_variable("SOURCE_DATE_EPOCH", "7")
            .with_variable("HTTP_PROXY", "never read by itself");
        let flags = flags(|flags| {
            flags.build_args = texts(&["A=x", "A=y=z", "SET", "UNSET", "E=", "BUILDKIT_INLINE_CACHE=1", "ftp_proxy=f"]);
            flags.proxies = ["HTTP_PROXY", "FTP_PROXY"].map(|name| (name.to_owned(), "p".to_owned())).to_vec();
        });
        let request = BuildRequest::from_flags(&flags, &made).unwrap();
        let args: Vec<String> = request.build_args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            args,
            [
                "A=y=z",
                "BUILDKIT_INLINE_CACHE=1",
                "E=",
                "HTTP_PROXY=p",
                "SET=1",
                "SOURCE_DATE_EPOCH=7",
                "ftp_proxy=f",
                "http_proxy=p",
            ]
        );
    }

    #[test]
    fn an_epoch_that_was_typed_hides_the_one_of_the_environment() {
        let made = made().with_variable("SOURCE_DATE_EPOCH", "7");
        let flags = flags(|flags| flags.build_args = texts(&["SOURCE_DATE_EPOCH=8"]));
        let request = BuildRequest::from_flags(&flags, &made).unwrap();
        assert_eq!(request.build_args["SOURCE_DATE_EPOCH"], "8");
    }

    #[test]
    fn a_shell_is_wanted_at_a_line_or_at_the_end_of_a_stage() {
        let point = |text: &str| {
            let request = request(|flags| flags.shell = text.to_owned());
            (request.target.unwrap_or_default(), request.shell.and_then(|point| point.line))
        };
        assert_eq!(point("build"), ("build".to_owned(), None));
        assert_eq!(point("build:12"), ("build".to_owned(), Some(12)));
        assert_eq!(point(":3"), (String::new(), Some(3)));
    }

    #[test]
    fn platforms_are_normal_and_listed_once() {
        let request = request(|flags| flags.platforms = texts(&["linux/arm64/v8,linux/arm64", "linux/x86_64"]));
        let names: Vec<String> = request.platforms.iter().map(Platform::to_string).collect();
        assert_eq!(names, ["linux/arm64", "linux/amd64"]);
        let made = made().with_variable("DOCKER_DEFAULT_PLATFORM", "linux/arm64");
        let request = BuildRequest::from_flags(&flags(|_| ()), &made).unwrap();
        assert_eq!(request.platforms[0].to_string(), "linux/arm64");
    }

    #[test]
    fn some_flags_grant_what_others_need() {
        let request = request(|flags| {
            flags.network = "host".to_owned();
            flags.labels = texts(&["a=b=c", "d"]);
            flags.no_cache_filter = texts(&["A,b"]);
            flags.shm_size = "1.5g".to_owned();
        });
        assert_eq!(request.network, Network::Host);
        assert!(request.allows_host_network);
        assert_eq!(
            request.labels.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "b=c".to_owned()), ("d".to_owned(), String::new())]
        );
        assert_eq!(request.cache_bypass, CacheBypass::Stages(texts(&["a", "b"])));
        assert_eq!(request.shm_size_bytes, Some(1_610_612_736));
    }

    #[test]
    fn mistakes_are_told_as_the_reference_tells_them() {
        type Change = fn(&mut BuildFlags);
        let cases: &[(Change, Moment, &str)] = &[
            (|f| f.context = "nope".into(), Moment::Build, "unable to prepare context: path \"nope\" not found"),
            (|f| f.build_args = texts(&["=x"]), Moment::Options, "invalid key-value pair \"=x\": empty key"),
            (|f| f.labels = texts(&["=x"]), Moment::Options, "invalid key-value pair \"=x\": empty key"),
            (
                |f| (f.no_cache, f.no_cache_filter) = (true, texts(&["a"])),
                Moment::Build,
                "--no-cache and --no-cache-filter cannot currently be used together",
            ),
            (
                |f| f.platforms = texts(&["a/b/c/d"]),
                Moment::Build,
                "\"a/b/c/d\": cannot parse platform specifier: invalid argument; expected `os[/arch[/variant]]`, such as `linux/amd64`",
            ),
            (|f| f.outputs = texts(&["type=local"]), Moment::Build, "dest is required for local exporter"),
            (|f| f.outputs = texts(&["type=foo"]), Moment::Solve, "exporter \"foo\" could not be found"),
            (|f| f.push = true, Moment::Build, "tag is needed when pushing to registry"),
            (|f| f.secrets = texts(&["src=x"]), Moment::Build, "secret missing ID"),
            (|f| f.cache_from = texts(&["src=x"]), Moment::Options, "type required for \"src=x\""),
            (|f| f.attest = texts(&["x"]), Moment::Options, "invalid value x"),
            (|f| f.attest = texts(&["mode=max"]), Moment::Options, "attestation type not specified"),
            (|f| f.sbom = "maybe".into(), Moment::Options, "invalid value maybe"),
            (|f| f.call = "a,b".into(), Moment::Options, "invalid print value: a,b"),
            (
                |f| f.shm_size = "zz".into(),
                Moment::Argument,
                "invalid argument \"zz\" for \"--shm-size\" flag: invalid size: 'zz'",
            ),
        ];
        for (change, moment, expected) in cases {
            let error = BuildRequest::from_flags(&flags(change), &made()).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.moment()), (*expected, *moment));
        }
    }

    #[test]
    fn what_switches_off_or_only_speeds_up_is_accepted() {
        request(|flags| {
            flags.provenance = "false".to_owned();
            flags.attest = texts(&["type=sbom,disabled=true"]);
            flags.cache_from = texts(&["a,b", "type=gha"]);
            flags.call = "build".to_owned();
        });
    }
}
