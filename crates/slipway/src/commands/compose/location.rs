//! Answers one question: which files, folder, name and variables make the project? (`spec/compose.md` section 2)

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use slipway_compose::{Files, SourceFile, Variables, join, parse_variables};
use slipway_graph::request::flags::parse_bool;

use super::told;
use crate::cli::compose::ComposeArgs;
use crate::env_vars;
use crate::report::CommandError;

const DEFAULT_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDE_NAMES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
/// A larger file is taken for a mistake.
const MAX_BYTES: u64 = 16 << 20;

/// What was found out about a project before its files are understood.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) files: Vec<SourceFile>,
    pub(super) folder: String,
    pub(super) environment: Variables,
    pub(super) name: Option<String>,
    pub(super) profiles: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Location {
    pub(super) fn find(args: &ComposeArgs) -> Result<Location, CommandError> {
        let working_dir = std::env::current_dir().map_err(|error| told(format!("getwd: {error}")))?;
        let working_dir = working_dir.to_str().ok_or_else(|| told("the working directory's path is no text"))?;
        let folder = args.project_directory.as_ref().map(|folder| join(working_dir, folder));
        let mut environment: Variables = env_vars::all();
        let has_env_files = add_named_env_files(args, working_dir, &mut environment)?;
        if !has_env_files {
            add_env_file(&join(folder.as_deref().unwrap_or(working_dir), ".env"), &mut environment).map_err(told)?;
        }
        let mut warnings = Vec::new();
        let start = folder.as_deref().unwrap_or(working_dir);
        let paths = match named_files(args, &environment) {
            Some(named) => named.iter().map(|path| absolute(working_dir, path)).collect(),
            None => default_files(start, &mut warnings)?,
        };
        let folder = folder.unwrap_or_else(|| match paths.first().map(String::as_str) {
            None | Some("-") => working_dir.to_owned(),
            Some(path) => join(path, ".."),
        });
        if !has_env_files && folder != working_dir {
            add_env_file(&join(&folder, ".env"), &mut environment).map_err(told)?;
        }
        if let Some(remote) = args.files.iter().find(|name| is_remote(name)) {
            return Err(told(format!(
                "{remote}: Compose files that are elsewhere are not known here; fetch them first, by `git clone` for one"
            )));
        }
        let files = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let own_name = args.project_name.clone().filter(|name| !name.is_empty());
        let name = own_name.or_else(|| environment.get("COMPOSE_PROJECT_NAME").cloned());
        let mut profiles = args.profiles.clone();
        if let Some(list) = environment.get("COMPOSE_PROFILES") {
            profiles.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        }
        Ok(Location { files, folder, environment, name, profiles, warnings })
    }
}

/// Whether the reference would fetch the file from a repository or a registry.
fn is_remote(name: &str) -> bool {
    ["https://", "http://", "git://", "ssh://", "git@", "github.com/", "oci://"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn absolute(working_dir: &str, path: &str) -> String {
    if path == "-" { path.to_owned() } else { join(working_dir, path) }
}

/// The files of `--env-file` or `COMPOSE_ENV_FILES`; false if there are none and `.env` is to be read.
fn add_named_env_files(
    args: &ComposeArgs,
    working_dir: &str,
    environment: &mut Variables,
) -> Result<bool, CommandError> {
    let mut named = args.env_files.clone();
    if named.is_empty()
        && let Some(list) = environment.get("COMPOSE_ENV_FILES")
    {
        named = list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    }
    let is_switched_off =
        environment.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|value| parse_bool(value) == Some(true));
    // Of several files the last that has a variable wins, and each sees those before it.
    let mut found = Variables::new();
    for name in &named {
        let path = join(working_dir, name);
        if !Path::new(&path).exists() {
            return Err(told(format!("couldn't find env file: {path}")));
        }
        let text = read(&path)?.text;
        let lookup = |name: &str| environment.get(name).cloned();
        let parsed = parse_variables(&text, &lookup, &found);
        found.extend(parsed.map_err(|error| told(format!("failed to read {path}: {error}")))?);
    }
    for (name, value) in found {
        environment.entry(name).or_insert(value);
    }
    Ok(!named.is_empty() || is_switched_off)
}

/// Adds the variables of a `.env` file that `environment` lacks, if the file is there; the error says what is wrong.
pub(crate) fn add_env_file(path: &str, environment: &mut Variables) -> Result<(), String> {
    if !Path::new(path).is_file() {
        return Ok(());
    }
    let text = ThisDisk.read(path).map_err(|why| format!("open {path}: {why}"))?;
    let lookup = |name: &str| environment.get(name).cloned();
    let parsed = parse_variables(&text, &lookup, &Variables::new());
    for (name, value) in parsed.map_err(|error| format!("failed to read {path}: {error}"))? {
        environment.entry(name).or_insert(value);
    }
    Ok(())
}

/// The files of `--file` or `COMPOSE_FILE`.
fn named_files(args: &ComposeArgs, environment: &Variables) -> Option<Vec<String>> {
    if !args.files.is_empty() {
        return Some(args.files.clone());
    }
    let list = environment.get("COMPOSE_FILE").filter(|list| !list.is_empty())?;
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
    let separator = separator.map_or(":", String::as_str);
    Some(list.split(separator).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// The file with one of the usual names in `start` or the nearest folder above that has one, and its override.
fn default_files(start: &str, warnings: &mut Vec<String>) -> Result<Vec<String>, CommandError> {
    let present = |folder: &str, names: [&str; 4]| -> Vec<String> {
        let paths = names.iter().map(|name| join(folder, name));
        paths.filter(|path| Path::new(path).is_file()).collect()
    };
    let mut folder = start.to_owned();
    loop {
        let found = present(&folder, DEFAULT_NAMES);
        if let Some(first) = found.first() {
            let mut files = vec![first.clone()];
            if found.len() > 1 {
                warnings.push(format!("Found multiple config files with supported names: {}", found.join(", ")));
                warnings.push(format!("Using {first}"));
            }
            let overrides = present(&folder, OVERRIDE_NAMES);
            if overrides.len() > 1 {
                let names = overrides.join(", ");
                warnings.push(format!("Found multiple override files with supported names: {names}"));
                warnings.push(format!("Using {}", overrides[0]));
            }
            files.extend(overrides.into_iter().next());
            return Ok(files);
        }
        if folder == "/" {
            return Err(told("no configuration file provided: not found"));
        }
        folder = join(&folder, "..");
    }
}

fn read(path: &str) -> Result<SourceFile, CommandError> {
    let text = match path {
        "-" => text_of(io::stdin()),
        _ => fs::File::open(path).map_err(|error| reason(&error)).and_then(text_of),
    };
    let text = text.map_err(|why| told(format!("open {path}: {why}")))?;
    Ok(SourceFile { path: path.to_owned(), text })
}

fn text_of(source: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("larger than {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not valid UTF-8".to_owned())
}

/// Why a file cannot be read, in the system's words.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// The files of this machine.
pub(crate) struct ThisDisk;

impl Files for ThisDisk {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::File::open(path).map_err(|error| reason(&error)).and_then(text_of)
    }

    fn is_file(&self, path: &str) -> bool {
        Path::new(path).is_file()
    }

    fn is_folder(&self, path: &str) -> bool {
        Path::new(path).is_dir()
    }
}
