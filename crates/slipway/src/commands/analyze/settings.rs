//! What was asked for: flags, then the environment, then a settings file, then defaults (`spec/analyze.md` section 1).
//!
//! The file of rules (`.dive-ci`), if there is one, takes the place of the environment, the settings file and the
//! defaults for all rules; only flags are stronger.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use slipway_analyze::{Compat, RuleValues};
use slipway_compose::{ComposeError, Node, parse_yaml};
use slipway_explorer::KeyBindings;
use slipway_graph::request::flags::parse_bool;
use slipway_oci::{Platform, PlatformParseError};

use super::origins::DockerfileQuestion;
use crate::cli::analyze::AnalyzeArgs;
use crate::client_config;
use crate::env_vars::{self, EnvVar};

const DEFAULT_CI_CONFIG: &str = ".dive-ci";

/// Why it is not known what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to unmarshal CI config file {}", path.display())]
    CiConfig { path: PathBuf, source: ComposeError },
    #[error("failed to unmarshal CI config file {}: {reason}", path.display())]
    CiConfigForm { path: PathBuf, reason: &'static str },
    #[error("cannot understand the settings in `{}`", path.display())]
    Config { path: PathBuf, source: ComposeError },
    #[error("directory for JSON export does not exist: {}", .0.display())]
    JsonFolder(PathBuf),
    #[error(transparent)]
    Key(#[from] slipway_explorer::BadKey),
    #[error("the setting {name} is `{value}`, which is not {expected}")]
    Screen { name: String, value: String, expected: &'static str },
    #[error("invalid value of --platform")]
    Platform(#[from] PlatformParseError),
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) source: Option<String>,
    pub(super) platform: Platform,
    pub(super) ignores_errors: bool,
    pub(super) json: Option<String>,
    pub(super) evaluates: bool,
    pub(super) ci_config: PathBuf,
    pub(super) rules: RuleValues,
    pub(super) compat: Compat,
    /// What an image from elsewhere is said to be built from.
    pub(super) dockerfile: Option<DockerfileQuestion>,
    /// How the screens look.
    pub(super) screens: slipway_explorer::Settings,
    is_quiet: bool,
}

impl Settings {
    pub(super) fn of(args: &AnalyzeArgs) -> Result<Settings, SettingsError> {
        let named = args.config.clone().or_else(|| env_vars::DIVE_CONFIG.get());
        let config = app_config(named.as_deref())?;
        let setting = |key: &str| config.get(key).map(|node| node.value.spelled());
        let is_true = |text: String| parse_bool(&text).unwrap_or_default();
        let platform = args.platform.as_deref().map(str::parse).transpose()?.unwrap_or_else(Platform::host);
        let asked = args.json.clone().or_else(|| args.json_extended.clone());
        let json = asked.or_else(|| env_vars::DIVE_JSON_PATH.get()).or_else(|| setting("json-path"));
        let json = json.filter(|path| !path.is_empty());
        if let Some(folder) = json.as_deref().and_then(|path| Path::new(path).parent())
            && !folder.as_os_str().is_empty()
            && !folder.exists()
        {
            return Err(SettingsError::JsonFolder(folder.to_owned()));
        }
        let settings = Settings {
            source: args
                .source
                .clone()
                .or_else(|| env_vars::DIVE_CONTAINER_ENGINE.get())
                .or_else(|| setting("container-engine"))
                .filter(|source| !source.is_empty()),
            ignores_errors: args.ignore_errors.unwrap_or_else(|| {
                env_vars::DIVE_IGNORE_ERRORS.get().or_else(|| setting("ignore-errors")).is_some_and(is_true)
            }),
            json,
            evaluates: args
                .ci
                .unwrap_or_else(|| is_ci() || env_vars::DIVE_CI.get().or_else(|| setting("ci")).is_some_and(is_true)),
            ci_config: args
                .ci_config
                .clone()
                .or_else(|| env_vars::DIVE_CI_CONFIG.get())
                .or_else(|| setting("ci-config"))
                .map_or_else(|| PathBuf::from(DEFAULT_CI_CONFIG), PathBuf::from),
            rules: RuleValues::default(),
            compat: args.dive_compat.into(),
            dockerfile: args.file.as_ref().map(|path| DockerfileQuestion {
                path: path.clone(),
                target: args.target.clone(),
                build_args: args.build_args.iter().cloned().collect(),
                platform: platform.clone(),
            }),
            screens: screens(&config)?,
            is_quiet: args.quiet,
            platform,
        };
        let rules = settings.rules(args, &config)?;
        Ok(Settings { rules, ..settings })
    }

    fn rules(&self, args: &AnalyzeArgs, config: &Node) -> Result<RuleValues, SettingsError> {
        // A file that nobody needs may be broken.
        let file = match self.evaluates {
            true => ci_config(&self.ci_config)?,
            false => None,
        };
        let rule = |flag: &Option<String>, variable: EnvVar, [camel, kebab]: [&str; 2], default: String| {
            if let Some(flag) = flag {
                return flag.clone();
            }
            let value_of = |rules: &Node, key: &str| rules.get(key).map(|node| node.value.spelled());
            match &file {
                Some(rules) => value_of(rules, camel),
                None => variable.get().or_else(|| {
                    let rules = config.get("rules")?;
                    value_of(rules, kebab).or_else(|| {
                        let value = value_of(rules, camel)?;
                        self.tell(&format!("warning: the setting rules.{camel} is called rules.{kebab} now"));
                        Some(value)
                    })
                }),
            }
            .unwrap_or(default)
        };
        let RuleValues { lowest_efficiency, highest_wasted_bytes, highest_user_wasted_percent } = RuleValues::default();
        let chosen = [
            rule(
                &args.lowest_efficiency,
                env_vars::DIVE_RULES_LOWEST_EFFICIENCY,
                ["lowestEfficiency", "lowest-efficiency"],
                lowest_efficiency,
            ),
            rule(
                &args.highest_wasted_bytes,
                env_vars::DIVE_RULES_HIGHEST_WASTED_BYTES,
                ["highestWastedBytes", "highest-wasted-bytes"],
                highest_wasted_bytes,
            ),
            rule(
                &args.highest_user_wasted_percent,
                env_vars::DIVE_RULES_HIGHEST_USER_WASTED_PERCENT,
                ["highestUserWastedPercent", "highest-user-wasted-percent"],
                highest_user_wasted_percent,
            ),
        ];
        let [lowest_efficiency, highest_wasted_bytes, highest_user_wasted_percent] = chosen;
        Ok(RuleValues { lowest_efficiency, highest_wasted_bytes, highest_user_wasted_percent })
    }

    /// A line about what is being done.
    pub(super) fn tell(&self, line: &str) {
        if !self.is_quiet {
            // Nobody is left to be told that the terminal is gone.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// How the screens look at first (`spec/analyze.md` section 5.3).
fn screens(config: &Node) -> Result<slipway_explorer::Settings, SettingsError> {
    let setting = |path: &str| {
        let in_file = || path.split('.').try_fold(config, |node, name| node.get(name)).map(|node| node.value.spelled());
        env_vars::of_dive(path).or_else(in_file)
    };
    let bad = |name: &str, value: String, expected| SettingsError::Screen { name: name.to_owned(), value, expected };
    let boolean = |name: &str, default: bool| {
        let Some(value) = setting(name) else { return Ok(default) };
        parse_bool(&value).ok_or_else(|| bad(name, value, "true or false"))
    };
    let hidden = match env_vars::of_dive("diff.hide") {
        Some(list) => list.split(',').map(|word| word.trim().to_owned()).collect(),
        None => config
            .get("diff")
            .and_then(|diff| diff.get("hide"))
            .map_or_else(Vec::new, |hide| hide.texts().into_iter().map(str::to_owned).collect()),
    };
    let mut hides = slipway_explorer::Hidden::default();
    for word in hidden {
        match word.as_str() {
            "added" => hides.added = true,
            "removed" => hides.removed = true,
            "modified" => hides.modified = true,
            "unmodified" => hides.unmodified = true,
            _ => return Err(bad("diff.hide", word, "one of added, removed, modified, unmodified")),
        }
    }
    let tree_width = match setting("filetree.pane-width") {
        None => 0.5,
        Some(value) => match value.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => return Err(bad("filetree.pane-width", value, "a share from 0 to 1")),
        },
    };
    Ok(slipway_explorer::Settings {
        keys: KeyBindings::of(|action| setting(&format!("keybinding.{action}")))?,
        hidden: hides,
        folds_folders: boolean("filetree.collapse-dir", false)?,
        shows_attributes: boolean("filetree.show-attributes", true)?,
        shows_aggregated: boolean("layer.show-aggregated-changes", false)?,
        tree_width,
        has_colors: env_vars::NO_COLOR.get().is_none(),
    })
}

fn is_ci() -> bool {
    env_vars::CI.get().is_some_and(|value| matches!(value.as_str(), "true" | "1" | "yes"))
}

/// The rules of the file; nothing if there is no file.
fn ci_config(path: &Path) -> Result<Option<Node>, SettingsError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| SettingsError::Read { path: path.to_owned(), source })?,
    };
    let root = parse_yaml(&text, &path.display().to_string())
        .map_err(|source| SettingsError::CiConfig { path: path.to_owned(), source })?;
    if !root.is_null() && root.map().is_none() {
        let reason = "expected a mapping with the key rules";
        return Err(SettingsError::CiConfigForm { path: path.to_owned(), reason });
    }
    Ok(Some(root.get("rules").cloned().unwrap_or_else(Node::null)))
}

/// The settings file: the one that was named, or the first one found.
fn app_config(named: Option<&str>) -> Result<Node, SettingsError> {
    let path = match named {
        Some(path) => PathBuf::from(path),
        None => match found_config() {
            Some(path) => path,
            None => return Ok(Node::null()),
        },
    };
    let text = fs::read_to_string(&path).map_err(|source| SettingsError::Read { path: path.clone(), source })?;
    parse_yaml(&text, &path.display().to_string()).map_err(|source| SettingsError::Config { path, source })
}

fn found_config() -> Option<PathBuf> {
    let home = env_vars::HOME.get().map(PathBuf::from);
    let shared = env_vars::XDG_CONFIG_DIRS.get().unwrap_or_default();
    let folders = client_config::user_config_folder()
        .into_iter()
        .chain(shared.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from))
        .chain(home.as_ref().map(|home| home.join(".config")));
    let in_folders = folders.filter_map(|folder| first_yaml(&folder.join("dive"))).next();
    let in_home = || {
        ["yaml", "yml"]
            .iter()
            .find_map(|end| Some(home.as_ref()?.join(format!(".dive.{end}"))).filter(|path| path.is_file()))
    };
    in_folders.or_else(in_home)
}

/// The first YAML file of a folder, by name.
fn first_yaml(folder: &Path) -> Option<PathBuf> {
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_yaml).collect();
    paths.sort();
    paths.into_iter().next()
}
