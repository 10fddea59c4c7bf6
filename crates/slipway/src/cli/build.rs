//! The flags of `build` and `shell` (`spec/cli.md` section 3).

use clap::Args;
use slipway_graph::request::flags::{BuildFlags, ResourceFlag};
use slipway_sandbox::ladder::Rung;

/// The flags of `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// Where: the end of a stage, or the line of its Dockerfile that would be carried out next
    #[arg(value_name = "STAGE[:LINE]")]
    pub(crate) point: String,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// The flags of `build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Where the files of the build are; exactly one
    #[arg(value_name = "PATH | URL | -")]
    pub(crate) contexts: Vec<String>,
    /// Add a custom host-to-IP mapping (host=ip)
    #[arg(long = "add-host")]
    add_hosts: Vec<String>,
    /// Allow extra privileged entitlement (network.host, security.insecure)
    #[arg(long = "allow")]
    allow: Vec<String>,
    /// Add an annotation to the image
    #[arg(long = "annotation")]
    annotations: Vec<String>,
    /// Attestation parameters
    #[arg(long = "attest")]
    attest: Vec<String>,
    /// Set build-time variables
    #[arg(long = "build-arg")]
    build_args: Vec<String>,
    /// Additional build contexts (name=path)
    #[arg(long = "build-context")]
    build_contexts: Vec<String>,
    /// External cache sources
    #[arg(long = "cache-from")]
    cache_from: Vec<String>,
    /// Cache export destinations
    #[arg(long = "cache-to")]
    cache_to: Vec<String>,
    /// Which modes files of the context have (disk, git): with git 0644 or 0755, whatever umask or clone they come from
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    context_mode: String,
    /// Method for evaluating the build (build)
    #[arg(long, default_value = "", hide_default_value = true)]
    call: String,
    /// Shorthand for --call=check
    #[arg(long)]
    check: bool,
    /// Parent cgroup for RUN instructions
    #[arg(long, default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Name of the Dockerfile (default: PATH/Dockerfile)
    #[arg(short = 'f', long, default_value = "", hide_default_value = true)]
    file: String,
    /// Write the image ID to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) iidfile: String,
    /// Set metadata for an image
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Shorthand for --output=type=docker
    #[arg(long)]
    load: bool,
    /// Write build result metadata to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    metadata_file: String,
    /// Networking mode for RUN instructions (default, none, host)
    #[arg(long, default_value = "", hide_default_value = true)]
    network: String,
    /// Do not use results of earlier builds
    #[arg(long)]
    no_cache: bool,
    /// Do not use results of earlier builds for these stages
    #[arg(long = "no-cache-filter")]
    no_cache_filter: Vec<String>,
    /// Output destination (type=local,dest=path)
    #[arg(short = 'o', long = "output")]
    outputs: Vec<String>,
    /// Target platform of the build
    #[arg(long = "platform")]
    platforms: Vec<String>,
    /// Source policy
    #[arg(long = "policy")]
    policy: Vec<String>,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// Shorthand for --attest=type=provenance
    #[arg(long, default_value = "", hide_default_value = true)]
    provenance: String,
    /// Always ask the registry for base images
    #[arg(long)]
    pull: bool,
    /// Shorthand for --output=type=registry
    #[arg(long)]
    push: bool,
    /// Print the image ID only
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Write what names stand for into slipway.lock beside the Dockerfile; what is there stays
    #[arg(long)]
    lock: bool,
    /// Take names as slipway.lock has them, and fail if it lacks one
    #[arg(long)]
    locked: bool,
    /// Fetch nothing: build from what is in the store, or list what is missing
    #[arg(long)]
    offline: bool,
    /// Resource limits of RUN instructions
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// Shorthand for --attest=type=sbom
    #[arg(long, default_value = "", hide_default_value = true)]
    sbom: String,
    /// Secret to expose to the build (id=mysecret[,src=/local/secret][,key=true]); with key=true another value runs the
    /// steps that use it again
    #[arg(long = "secret")]
    secrets: Vec<String>,
    /// How many steps run at the same time (default: decided by the machine)
    #[arg(long)]
    jobs: Option<std::num::NonZero<usize>>,
    /// Which kind of sandbox steps run in (root, subids, single-id); by default the best that `doctor` finds
    #[arg(long, value_name = "MODE")]
    pub(crate) sandbox: Option<Rung>,
    /// Size of /dev/shm
    #[arg(long, default_value = "", hide_default_value = true)]
    shm_size: String,
    /// SSH agent socket or keys to expose to the build (default|<id>[=<socket>|<key>[,<key>]])
    #[arg(long = "ssh")]
    ssh: Vec<String>,
    /// What becomes of a step that fails: with `shell`, a shell opens in its place (needs a terminal)
    #[arg(long, default_value = "", hide_default_value = true, value_parser = on_failure)]
    pub(crate) on_failure: String,
    /// Give RUN steps a terminal to write to while the screen is drawn (also SLIPWAY_RUN_TTY=1)
    #[arg(long)]
    pub(crate) run_tty: bool,
    /// Say afterwards which steps ran, and what differed from the build before
    #[arg(long)]
    pub(crate) explain: bool,
    /// Say at the end what the build came to, also with plain progress
    #[arg(long)]
    pub(crate) summary: bool,
    /// Fail if a step of this stage ran (its result stays)
    #[arg(long = "expect-cached", value_name = "STAGE")]
    pub(crate) expect_cached: Vec<String>,
    /// Build again whenever a file of the context or the Dockerfile changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// Build a second time without cache (later, under another host name, with one processor and another --jobs), and fail
    /// if a step does not come to the same files; says which, and why
    #[arg(long)]
    pub(crate) verify_reproducible: bool,
    /// Where a shell is wanted instead of a result, `STAGE[:LINE]`; never typed as a flag
    #[arg(skip)]
    pub(crate) shell: String,
    /// Name and optionally a tag (name:tag)
    #[arg(short = 't', long = "tag")]
    tags: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, default_value = "", hide_default_value = true)]
    target: String,
    /// Ulimit options
    #[arg(long = "ulimit")]
    ulimits: Vec<String>,
    /// How many processors RUN instructions may use (1.5)
    #[arg(long, default_value = "", hide_default_value = true)]
    cpus: String,
    /// How much memory RUN instructions may use (512m)
    #[arg(short = 'm', long, default_value = "", hide_default_value = true)]
    memory: String,
    /// How many processes and threads RUN instructions may have
    #[arg(long, default_value = "", hide_default_value = true)]
    pids_limit: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    memory_swap: String,
    /// Spelling of older programs of a --resource
    #[arg(short = 'c', long, hide = true, default_value = "", hide_default_value = true)]
    cpu_shares: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpu_period: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpu_quota: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpuset_cpus: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpuset_mems: String,
    /// Without effect; what is sent compressed is said by --output
    #[arg(long, hide = true)]
    compress: bool,
    /// Without effect; nothing is left to remove
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Without effect; nothing is left to remove
    #[arg(long, default_value = "true", hide = true)]
    rm: bool,
    /// Without effect but for a warning
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    isolation: String,
    /// Without effect but for a warning
    #[arg(long = "security-opt", hide = true)]
    security_opts: Vec<String>,
    /// Without effect but for a warning
    #[arg(long, hide = true)]
    squash: bool,
    /// Old spelling of --call
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    print: String,
}

impl BuildArgs {
    /// What is to be built, apart from how it is shown.
    pub(crate) fn into_flags(self, context: String, proxies: Vec<(String, String)>) -> BuildFlags {
        let call = self.call_text().to_owned();
        BuildFlags {
            context,
            context_mode: self.context_mode,
            dockerfile_inline: None,
            file: self.file,
            target: self.target,
            tags: self.tags,
            build_args: self.build_args,
            proxies,
            labels: self.labels,
            platforms: self.platforms,
            build_contexts: self.build_contexts,
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter,
            pull: self.pull,
            lock: self.lock,
            locked: self.locked,
            offline: self.offline,
            network: self.network,
            add_hosts: self.add_hosts,
            allow: self.allow,
            jobs: self.jobs.map(std::num::NonZero::get),
            resource_flags: vec![
                resource("-m, --memory", "memory", self.memory),
                resource("--memory-swap", "memory-swap", self.memory_swap),
                resource("-c, --cpu-shares", "cpu-shares", self.cpu_shares),
                resource("--cpu-period", "cpu-period", self.cpu_period),
                resource("--cpu-quota", "cpu-quota", self.cpu_quota),
                resource("--cpuset-cpus", "cpuset-cpus", self.cpuset_cpus),
                resource("--cpuset-mems", "cpuset-mems", self.cpuset_mems),
                resource("--cpus", "cpus", self.cpus),
                resource("--pids-limit", "pids-limit", self.pids_limit),
            ],
            resources: self.resources,
            cgroup_parent: self.cgroup_parent,
            shell: self.shell,
            shm_size: self.shm_size,
            ulimits: self.ulimits,
            secrets: self.secrets,
            ssh: self.ssh,
            outputs: self.outputs,
            push: self.push,
            load: self.load,
            annotations: self.annotations,
            iidfile: self.iidfile,
            cache_from: self.cache_from,
            cache_to: self.cache_to,
            attest: self.attest,
            provenance: self.provenance,
            sbom: self.sbom,
            call,
            check: self.check,
            metadata_file: self.metadata_file,
            policy: self.policy,
        }
    }

    fn call_text(&self) -> &str {
        if self.call.is_empty() { &self.print } else { &self.call }
    }

    /// What the user should know about flags that are accepted and have no effect.
    pub(crate) fn remarks(&self) -> Vec<&'static str> {
        let remarks = [
            (!self.isolation.is_empty(), "isolation flag is deprecated with BuildKit."),
            (
                !self.security_opts.is_empty(),
                "security-opt flag is deprecated. \"RUN --security=insecure\" should be used with BuildKit.",
            ),
            (
                self.squash,
                "experimental flag squash is removed with BuildKit. You should squash inside build using a \
                 multi-stage Dockerfile for efficiency.",
            ),
        ];
        remarks.into_iter().filter(|(applies, _)| *applies).map(|(_, remark)| remark).collect()
    }
}

fn resource(flag: &'static str, name: &'static str, value: String) -> ResourceFlag {
    ResourceFlag { flag, name, value }
}

fn on_failure(text: &str) -> Result<String, &'static str> {
    match text {
        "" | "shell" => Ok(text.to_owned()),
        _ => Err("expected shell"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn build(line: &str) -> BuildArgs {
        let words: Vec<_> = line.split(' ').map(Into::into).collect();
        match Cli::parse_words(&words).unwrap().command {
            Command::Build(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_are_spelled_as_in_gnu_programs() {
        let args =
            build("slipway build -qf x --build-arg=A=1 --build-arg B . -ta --tag b --pull=false -o - --label -x");
        assert!(args.quiet && !args.pull);
        assert_eq!(args.contexts, ["."]);
        assert_eq!(args.file, "x");
        assert_eq!(args.build_args, ["A=1", "B"]);
        assert_eq!(args.tags, ["a", "b"]);
        assert_eq!(args.outputs, ["-"]);
        assert_eq!(args.labels, ["-x"]);
        assert_eq!(build("slipway build -f a -f b --pull .").file, "b");
        assert_eq!(build("slipway build -f - -").contexts, ["-"]);
    }

    #[test]
    fn ignored_flags_are_remarked_on_where_they_matter() {
        assert!(build("slipway build --rm --force-rm --compress .").remarks().is_empty());
        assert_eq!(build("slipway build --squash --isolation x .").remarks().len(), 2);
    }
}
