//! All environment variables that slipway reads, and the only place that reads them.

use std::env;
use std::ffi::OsString;

use slipway_graph::request::flags::parse_bool;

/// A variable that slipway knows by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvVar(&'static str);

/// The folder of the store; default `$XDG_DATA_HOME/slipway`.
pub(crate) const SLIPWAY_ROOT: EnvVar = EnvVar("SLIPWAY_ROOT");
/// slipway's own configuration; default `slipway/config.toml` in the folder of settings.
pub(crate) const SLIPWAY_CONFIG: EnvVar = EnvVar("SLIPWAY_CONFIG");
/// Which kind of sandbox steps run in: `root`, `subids` or `single-id`; `--sandbox` wins.
pub(crate) const SLIPWAY_SANDBOX: EnvVar = EnvVar("SLIPWAY_SANDBOX");
/// Mirrors of registries, `host=url,host=url`; a URL alone is a mirror of Docker Hub.
pub(crate) const SLIPWAY_MIRROR: EnvVar = EnvVar("SLIPWAY_MIRROR");
/// Where users keep data of programs; default `~/.local/share`.
pub(crate) const XDG_DATA_HOME: EnvVar = EnvVar("XDG_DATA_HOME");
/// Where users keep settings of programs; default `~/.config`.
pub(crate) const XDG_CONFIG_HOME: EnvVar = EnvVar("XDG_CONFIG_HOME");
pub(crate) const HOME: EnvVar = EnvVar("HOME");
/// The folder of Docker's `config.json`; default `~/.docker`.
pub(crate) const DOCKER_CONFIG: EnvVar = EnvVar("DOCKER_CONFIG");
/// Podman's file with credentials; default `containers/auth.json` in the folders of the session and of settings.
pub(crate) const REGISTRY_AUTH_FILE: EnvVar = EnvVar("REGISTRY_AUTH_FILE");
/// Where programs keep files for as long as the user is logged in.
pub(crate) const XDG_RUNTIME_DIR: EnvVar = EnvVar("XDG_RUNTIME_DIR");
/// Where the container engine listens that images are loaded into; over what contexts say.
pub(crate) const DOCKER_HOST: EnvVar = EnvVar("DOCKER_HOST");
/// Which of Docker's contexts says where it listens.
pub(crate) const DOCKER_CONTEXT: EnvVar = EnvVar("DOCKER_CONTEXT");
/// If set to anything, TCP connections to it use TLS.
pub(crate) const DOCKER_TLS_VERIFY: EnvVar = EnvVar("DOCKER_TLS_VERIFY");
/// The version of its API that is spoken.
pub(crate) const DOCKER_API_VERSION: EnvVar = EnvVar("DOCKER_API_VERSION");
/// Registry credentials as JSON.
pub(crate) const DOCKER_AUTH_CONFIG: EnvVar = EnvVar("DOCKER_AUTH_CONFIG");
/// Where credential helpers and programs that help with steps are found.
pub(crate) const PATH: EnvVar = EnvVar("PATH");
/// Proxies for slipway's own traffic; the upper-case spelling wins.
pub(crate) const HTTP_PROXY: [EnvVar; 2] = [EnvVar("HTTP_PROXY"), EnvVar("http_proxy")];
pub(crate) const HTTPS_PROXY: [EnvVar; 2] = [EnvVar("HTTPS_PROXY"), EnvVar("https_proxy")];
pub(crate) const NO_PROXY: [EnvVar; 2] = [EnvVar("NO_PROXY"), EnvVar("no_proxy")];
/// A PEM file that replaces the system's certificates.
pub(crate) const SSL_CERT_FILE: EnvVar = EnvVar("SSL_CERT_FILE");
/// The progress style that `--progress=auto` stands for.
pub(crate) const BUILDKIT_PROGRESS: EnvVar = EnvVar("BUILDKIT_PROGRESS");
/// What kind of terminal the user sits at.
pub(crate) const TERM: EnvVar = EnvVar("TERM");
/// If set to anything, there are no colours.
pub(crate) const NO_COLOR: EnvVar = EnvVar("NO_COLOR");
/// How many bytes of output one stream of a step may have; -1 is unlimited.
pub(crate) const BUILDKIT_STEP_LOG_MAX_SIZE: EnvVar = EnvVar("BUILDKIT_STEP_LOG_MAX_SIZE");
/// The same for each second.
pub(crate) const BUILDKIT_STEP_LOG_MAX_SPEED: EnvVar = EnvVar("BUILDKIT_STEP_LOG_MAX_SPEED");
/// `0` cuts long step names in plain progress.
pub(crate) const PROGRESS_NO_TRUNC: EnvVar = EnvVar("PROGRESS_NO_TRUNC");
/// How many lines of output a running step shows on a terminal.
pub(crate) const BUILDKIT_TTY_LOG_LINES: EnvVar = EnvVar("BUILDKIT_TTY_LOG_LINES");
/// How often the screen is drawn, in milliseconds between two pictures.
pub(crate) const TTY_DISPLAY_RATE: EnvVar = EnvVar("TTY_DISPLAY_RATE");
/// True where GitHub Actions or GitLab run the program.
pub(crate) const GITHUB_ACTIONS: EnvVar = EnvVar("GITHUB_ACTIONS");
pub(crate) const GITLAB_CI: EnvVar = EnvVar("GITLAB_CI");
/// Where spans of builds are sent (OTLP over HTTP): the base of the URL, or the whole one for traces, which wins.
pub(crate) const OTEL_EXPORTER_OTLP_ENDPOINT: EnvVar = EnvVar("OTEL_EXPORTER_OTLP_ENDPOINT");
pub(crate) const OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: EnvVar = EnvVar("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
/// Headers for the collector, `name=value,name=value`, values percent-encoded.
pub(crate) const OTEL_EXPORTER_OTLP_HEADERS: EnvVar = EnvVar("OTEL_EXPORTER_OTLP_HEADERS");
/// How long the collector may take, in milliseconds.
pub(crate) const OTEL_EXPORTER_OTLP_TIMEOUT: EnvVar = EnvVar("OTEL_EXPORTER_OTLP_TIMEOUT");
/// What the spans say they come from; default `slipway`.
pub(crate) const OTEL_SERVICE_NAME: EnvVar = EnvVar("OTEL_SERVICE_NAME");
/// If true, no spans are sent.
pub(crate) const OTEL_SDK_DISABLED: EnvVar = EnvVar("OTEL_SDK_DISABLED");
/// The span that a build is part of, as W3C Trace Context spells it.
pub(crate) const TRACEPARENT: EnvVar = EnvVar("TRACEPARENT");
/// If true, the same as `--run-tty`.
pub(crate) const SLIPWAY_RUN_TTY: EnvVar = EnvVar("SLIPWAY_RUN_TTY");

/// If exactly `true`, `1` or `yes`, `analyze` evaluates its rules.
pub(crate) const CI: EnvVar = EnvVar("CI");
/// Flags of `analyze`, and what its configuration file says.
pub(crate) const DIVE_CI: EnvVar = EnvVar("DIVE_CI");
pub(crate) const DIVE_CI_CONFIG: EnvVar = EnvVar("DIVE_CI_CONFIG");
pub(crate) const DIVE_CONTAINER_ENGINE: EnvVar = EnvVar("DIVE_CONTAINER_ENGINE");
pub(crate) const DIVE_IGNORE_ERRORS: EnvVar = EnvVar("DIVE_IGNORE_ERRORS");
pub(crate) const DIVE_CONFIG: EnvVar = EnvVar("DIVE_CONFIG");
pub(crate) const DIVE_JSON_PATH: EnvVar = EnvVar("DIVE_JSON_PATH");
pub(crate) const DIVE_RULES_LOWEST_EFFICIENCY: EnvVar = EnvVar("DIVE_RULES_LOWEST_EFFICIENCY");
pub(crate) const DIVE_RULES_HIGHEST_WASTED_BYTES: EnvVar = EnvVar("DIVE_RULES_HIGHEST_WASTED_BYTES");
pub(crate) const DIVE_RULES_HIGHEST_USER_WASTED_PERCENT: EnvVar = EnvVar("DIVE_RULES_HIGHEST_USER_WASTED_PERCENT");
/// Folders with settings of programs for all users, separated by `:`.
pub(crate) const XDG_CONFIG_DIRS: EnvVar = EnvVar("XDG_CONFIG_DIRS");

/// Flags of `lint`.
pub(crate) const HADOLINT_IGNORE: EnvVar = EnvVar("HADOLINT_IGNORE");
pub(crate) const HADOLINT_OVERRIDE_ERROR: EnvVar = EnvVar("HADOLINT_OVERRIDE_ERROR");
pub(crate) const HADOLINT_OVERRIDE_WARNING: EnvVar = EnvVar("HADOLINT_OVERRIDE_WARNING");
pub(crate) const HADOLINT_OVERRIDE_INFO: EnvVar = EnvVar("HADOLINT_OVERRIDE_INFO");
pub(crate) const HADOLINT_OVERRIDE_STYLE: EnvVar = EnvVar("HADOLINT_OVERRIDE_STYLE");
pub(crate) const HADOLINT_TRUSTED_REGISTRIES: EnvVar = EnvVar("HADOLINT_TRUSTED_REGISTRIES");
pub(crate) const HADOLINT_REQUIRE_LABELS: EnvVar = EnvVar("HADOLINT_REQUIRE_LABELS");
pub(crate) const HADOLINT_STRICT_LABELS: EnvVar = EnvVar("HADOLINT_STRICT_LABELS");
pub(crate) const HADOLINT_DISABLE_IGNORE_PRAGMA: EnvVar = EnvVar("HADOLINT_DISABLE_IGNORE_PRAGMA");
pub(crate) const HADOLINT_FAILURE_THRESHOLD: EnvVar = EnvVar("HADOLINT_FAILURE_THRESHOLD");
pub(crate) const HADOLINT_FORMAT: EnvVar = EnvVar("HADOLINT_FORMAT");
pub(crate) const HADOLINT_NOFAIL: EnvVar = EnvVar("HADOLINT_NOFAIL");

/// Definition files of `bake`, where `--file` names none.
pub(crate) const BUILDX_BAKE_FILE: EnvVar = EnvVar("BUILDX_BAKE_FILE");
/// `0` lets bake files name any file of the machine.
pub(crate) const BUILDX_BAKE_ENTITLEMENTS_FS: EnvVar = EnvVar("BUILDX_BAKE_ENTITLEMENTS_FS");
/// If true, bake files of a repository may name any file of the machine.
pub(crate) const BAKE_ALLOW_REMOTE_FS_ACCESS: EnvVar = EnvVar("BAKE_ALLOW_REMOTE_FS_ACCESS");
/// What stands between the names in `BUILDX_BAKE_FILE`; default `:`.
pub(crate) const BUILDX_BAKE_PATH_SEPARATOR: EnvVar = EnvVar("BUILDX_BAKE_PATH_SEPARATOR");
/// Agents and keys for definitions of `bake` in repositories.
pub(crate) const BUILDX_BAKE_GIT_SSH: EnvVar = EnvVar("BUILDX_BAKE_GIT_SSH");
/// If true, the environment gives no values to the variables of bake files.
pub(crate) const BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP: EnvVar = EnvVar("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");

/// If false, provenance does not say which commit the build context is at.
pub(crate) const BUILDX_GIT_INFO: EnvVar = EnvVar("BUILDX_GIT_INFO");
/// If true or `full`, labels of images say it.
pub(crate) const BUILDX_GIT_LABELS: EnvVar = EnvVar("BUILDX_GIT_LABELS");
/// If true, a commit whose files were changed since is called `-dirty`.
pub(crate) const BUILDX_GIT_CHECK_DIRTY: EnvVar = EnvVar("BUILDX_GIT_CHECK_DIRTY");

impl EnvVar {
    /// What the variable is called.
    pub(crate) fn name(self) -> &'static str {
        self.0
    }

    /// The value, if it is set, not empty and text.
    pub(crate) fn get(self) -> Option<String> {
        env::var(self.0).ok().filter(|value| !value.is_empty())
    }

    /// Whether the value says yes: `1`, `true` and the like.
    pub(crate) fn is_true(self) -> bool {
        self.truth() == Some(true)
    }

    /// What the value says, if it is yes or no.
    pub(crate) fn truth(self) -> Option<bool> {
        parse_bool(&self.get()?)
    }

    /// The value as the system has it.
    pub(crate) fn get_os(self) -> Option<OsString> {
        env::var_os(self.0).filter(|value| !value.is_empty())
    }
}

/// The value of the first of several spellings that is set.
pub(crate) fn first_of(spellings: [EnvVar; 2]) -> Option<String> {
    spellings.into_iter().find_map(EnvVar::get)
}

/// The setting of `analyze` that is called `path` in its file: `keybinding.quit` is `DIVE_KEYBINDING_QUIT`.
pub(crate) fn of_dive(path: &str) -> Option<String> {
    let name: String =
        path.chars().map(|character| if character.is_alphanumeric() { character } else { '_' }).collect();
    env::var(format!("DIVE_{}", name.to_uppercase())).ok().filter(|value| !value.is_empty())
}

/// All variables that are text: those that Compose files may name.
pub(crate) fn all() -> std::collections::BTreeMap<String, String> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A variable whose name the user gave (`--build-arg NAME`, `--secret id=NAME`), or one that the meaning of flags
/// depends on: `HOME`, `SOURCE_DATE_EPOCH`, `DOCKER_DEFAULT_PLATFORM`, `SSH_AUTH_SOCK`, `BUILDX_METADATA_PROVENANCE`,
/// `BUILDX_NO_DEFAULT_OCI_ARTIFACT` (`slipway-graph`, `request/flags.rs`).
pub(crate) fn named_by_user(name: &str) -> Option<String> {
    // The standard library panics at such names.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    env::var(name).ok()
}
