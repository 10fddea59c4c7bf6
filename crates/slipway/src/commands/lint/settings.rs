//! What `lint` is to do: flags, then the environment, then a configuration file (`spec/analyze.md` section 7).
//!
//! Of what can be said once the strongest is taken; lists of rules, registries and labels are put together. Rules that do
//! not exist are refused where they are typed, and remarked on where they come from a file or the environment: those may
//! be written for another linter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use slipway_compose::{ComposeError, Node, parse_yaml};
use slipway_graph::request::flags::parse_bool;
use slipway_lint::{LabelKind, Options, Severity, all_rules};

use crate::cli::lint::{Format, LintArgs};
use crate::env_vars::{self, EnvVar};

/// Looked for in the current folder, the first wins.
const OWN_NAMES: [&str; 3] = [".slipway-lint.yaml", ".hadolint.yaml", ".hadolint.yml"];

/// Why it is not known what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot understand `{}`", path.display())]
    Yaml { path: PathBuf, source: ComposeError },
    #[error("{place}: {reason}")]
    Value { place: String, reason: String },
    #[error("no rule is called `{id}` (slipway lint --rules lists them)")]
    NoRule { id: String },
}

/// What `lint` is to do.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) format: Format,
    pub(super) threshold: Severity,
    pub(super) never_fails: bool,
    /// What the user should know about the configuration.
    pub(super) remarks: Vec<String>,
}

/// What one place says.
#[derive(Debug, Default)]
struct Layer {
    ignored: Vec<String>,
    severities: Vec<(String, Severity)>,
    trusted_registries: Vec<String>,
    labels: Vec<(String, LabelKind)>,
    has_strict_labels: Option<bool>,
    disables_comments: Option<bool>,
    threshold: Option<Severity>,
    format: Option<Format>,
    never_fails: Option<bool>,
}

impl Settings {
    pub(super) fn of(args: &LintArgs) -> Result<Settings, SettingsError> {
        let typed = of_flags(args);
        if let Some(id) = typed.unknown_rules().next() {
            return Err(SettingsError::NoRule { id: id.to_owned() });
        }
        let named = args.config.as_ref().map(PathBuf::from);
        let file = match named.or_else(found_config) {
            Some(path) => Some((of_file(&path)?, path)),
            None => None,
        };
        let environment = of_environment()?;
        let mut settings = Settings {
            options: Options::default(),
            format: Format::default(),
            threshold: Severity::Info,
            never_fails: false,
            remarks: Vec::new(),
        };
        let remark = |place: String, id: &str| format!("{place} names the rule {id}, which does not exist here");
        if let Some((layer, path)) = file {
            settings.remarks.extend(layer.unknown_rules().map(|id| remark(path.display().to_string(), id)));
            settings.add(layer);
        }
        settings.remarks.extend(environment.unknown_rules().map(|id| remark("the environment".to_owned(), id)));
        settings.add(environment);
        settings.add(typed);
        Ok(settings)
    }

    /// Puts a stronger layer on top.
    fn add(&mut self, layer: Layer) {
        let options = &mut self.options;
        options.ignored.extend(layer.ignored);
        options.severities.extend(layer.severities);
        options.trusted_registries.extend(layer.trusted_registries);
        options.label_schema.extend(layer.labels);
        options.has_strict_labels = layer.has_strict_labels.unwrap_or(options.has_strict_labels);
        options.disables_comments = layer.disables_comments.unwrap_or(options.disables_comments);
        self.threshold = layer.threshold.unwrap_or(self.threshold);
        self.format = layer.format.unwrap_or(self.format);
        self.never_fails = layer.never_fails.unwrap_or(self.never_fails);
    }
}

impl Layer {
    fn unknown_rules(&self) -> impl Iterator<Item = &str> {
        let ids = self.ignored.iter().chain(self.severities.iter().map(|(id, _)| id));
        ids.map(String::as_str).filter(|id| !is_rule(id))
    }

    fn override_all(&mut self, ids: Vec<String>, severity: Severity) {
        self.severities.extend(ids.into_iter().map(|id| (id, severity)));
    }
}

/// `SC…` are those of the linter for shell scripts, which only it can list.
fn is_rule(id: &str) -> bool {
    let is_of_shell =
        || id.strip_prefix("SC").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    is_of_shell() || slipway_lint::ALIASES.contains(&id) || all_rules().iter().any(|rule| rule.id == id)
}

const OVERRIDES: [(&str, EnvVar, Severity); 4] = [
    ("error", env_vars::HADOLINT_OVERRIDE_ERROR, Severity::Error),
    ("warning", env_vars::HADOLINT_OVERRIDE_WARNING, Severity::Warning),
    ("info", env_vars::HADOLINT_OVERRIDE_INFO, Severity::Info),
    ("style", env_vars::HADOLINT_OVERRIDE_STYLE, Severity::Style),
];

fn of_flags(args: &LintArgs) -> Layer {
    let mut layer = Layer {
        ignored: args.ignored.clone(),
        trusted_registries: args.trusted_registries.clone(),
        labels: args.labels.clone(),
        has_strict_labels: args.strict_labels.then_some(true),
        disables_comments: args.disable_ignore_pragma.then_some(true),
        threshold: args.failure_threshold,
        format: args.format,
        never_fails: args.no_fail.then_some(true),
        ..Layer::default()
    };
    let chosen = [&args.errors, &args.warnings, &args.infos, &args.styles];
    for ((_, _, severity), ids) in OVERRIDES.into_iter().zip(chosen) {
        layer.override_all(ids.clone(), severity);
    }
    layer
}

fn of_environment() -> Result<Layer, SettingsError> {
    let list = |variable: EnvVar| -> Vec<String> {
        let value = variable.get().unwrap_or_default();
        value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let bad =
        |variable: EnvVar| move |reason: String| SettingsError::Value { place: variable.name().to_owned(), reason };
    let labels = list(env_vars::HADOLINT_REQUIRE_LABELS);
    let labels = labels.iter().map(|text| crate::cli::lint::label(text)).collect::<Result<_, _>>();
    let threshold = env_vars::HADOLINT_FAILURE_THRESHOLD.get().map(|text| severity(&text)).transpose();
    let format = env_vars::HADOLINT_FORMAT.get().map(|text| Format::from_str(&text, true)).transpose();
    let is_set = |variable: EnvVar| variable.get().and_then(|value| parse_bool(&value.to_lowercase()));
    let mut layer = Layer {
        ignored: list(env_vars::HADOLINT_IGNORE),
        trusted_registries: list(env_vars::HADOLINT_TRUSTED_REGISTRIES),
        labels: labels.map_err(bad(env_vars::HADOLINT_REQUIRE_LABELS))?,
        has_strict_labels: is_set(env_vars::HADOLINT_STRICT_LABELS),
        disables_comments: is_set(env_vars::HADOLINT_DISABLE_IGNORE_PRAGMA),
        threshold: threshold.map_err(bad(env_vars::HADOLINT_FAILURE_THRESHOLD))?,
        format: format.map_err(bad(env_vars::HADOLINT_FORMAT))?,
        never_fails: is_set(env_vars::HADOLINT_NOFAIL),
        ..Layer::default()
    };
    for (_, variable, severity) in OVERRIDES {
        layer.override_all(list(variable), severity);
    }
    Ok(layer)
}

/// The file in the current folder, or the first of the user's.
fn found_config() -> Option<PathBuf> {
    let home = env_vars::HOME.get().map(PathBuf::from);
    let of_user = [
        env_vars::XDG_CONFIG_HOME.get().map(|folder| Path::new(&folder).join("hadolint.yaml")),
        home.as_ref().map(|home| home.join(".config/hadolint.yaml")),
        home.as_ref().map(|home| home.join(".hadolint/hadolint.yaml")),
        home.as_ref().map(|home| home.join("hadolint/config.yaml")),
        home.as_ref().map(|home| home.join(".hadolint.yaml")),
    ];
    OWN_NAMES.into_iter().map(PathBuf::from).chain(of_user.into_iter().flatten()).find(|path| path.is_file())
}

fn of_file(path: &Path) -> Result<Layer, SettingsError> {
    let text = fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let root = parse_yaml(&text, &path.display().to_string())
        .map_err(|source| SettingsError::Yaml { path: path.to_owned(), source })?;
    let file = ConfigFile { path, root: &root };
    let mut layer = Layer {
        ignored: file.list(&["ignored"])?,
        trusted_registries: file.list(&["trustedRegistries", "trusted-registries"])?,
        has_strict_labels: file.boolean("strict-labels")?,
        disables_comments: file.boolean("disable-ignore-pragma")?,
        never_fails: file.boolean("no-fail")?,
        ..Layer::default()
    };
    if let Some(text) = file.text(&["failure-threshold"]) {
        layer.threshold = Some(severity(&text).map_err(file.bad("failure-threshold"))?);
    }
    if let Some(text) = file.text(&["format", "output-format"]) {
        layer.format = Some(Format::from_str(&text, true).map_err(file.bad("format"))?);
    }
    if let Some(schema) = file.root.get("label-schema").filter(|node| !node.is_null()) {
        let map = schema.map().ok_or_else(|| file.bad("label-schema")("expected names and kinds".to_owned()))?;
        for (name, kind) in map {
            let kind = kind.value.spelled();
            let kind = kind.parse().map_err(|error: slipway_lint::NoLabelKind| error.to_string());
            layer.labels.push((name.to_string(), kind.map_err(file.bad("label-schema"))?));
        }
    }
    for (name, _, severity) in OVERRIDES {
        layer.override_all(file.list_below("override", name)?, severity);
    }
    Ok(layer)
}

struct ConfigFile<'a> {
    path: &'a Path,
    root: &'a Node,
}

impl ConfigFile<'_> {
    fn bad(&self, key: &str) -> impl Fn(String) -> SettingsError {
        let place = format!("{}: {key}", self.path.display());
        move |reason| SettingsError::Value { place: place.clone(), reason }
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        let node = names.iter().find_map(|name| self.root.get(name))?;
        (!node.is_null()).then(|| node.value.spelled())
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, SettingsError> {
        let Some(text) = self.text(&[name]) else { return Ok(None) };
        let value = parse_bool(&text).ok_or_else(|| self.bad(name)(format!("`{text}` is neither true nor false")))?;
        Ok(Some(value))
    }

    fn list(&self, names: &[&str]) -> Result<Vec<String>, SettingsError> {
        names.iter().find_map(|name| Some(self.items(self.root.get(name)?, name))).unwrap_or_else(|| Ok(Vec::new()))
    }

    fn list_below(&self, outer: &str, name: &str) -> Result<Vec<String>, SettingsError> {
        self.root
            .get(outer)
            .and_then(|node| node.get(name))
            .map_or_else(|| Ok(Vec::new()), |node| self.items(node, &format!("{outer}.{name}")))
    }

    /// A list, or one item alone.
    fn items(&self, node: &Node, name: &str) -> Result<Vec<String>, SettingsError> {
        if node.is_null() {
            return Ok(Vec::new());
        }
        if node.map().is_some() {
            return Err(self.bad(name)("expected a list".to_owned()));
        }
        Ok(match node.list() {
            Some(items) => items.iter().map(|item| item.value.spelled()).collect(),
            None => vec![node.value.spelled()],
        })
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|error: slipway_lint::NoSeverity| error.to_string())
}
