//! Which files make the definition, and what is in them (`spec/bake.md` sections 2 and 3).

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use slipway_bake::SourceFile;

use super::told;
use crate::env_vars;
use crate::report::CommandError;

/// Looked for in the working directory where no file is named; all that exist are read, in this order.
pub(super) const DEFAULT_NAMES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];
/// A larger file is taken for a mistake.
const MAX_BYTES: u64 = 16 << 20;

/// The files that `--file` names, or those that are there.
pub(super) fn find(named: &[String]) -> Result<Vec<SourceFile>, CommandError> {
    let from_environment;
    let named = match named {
        [] => {
            from_environment = named_by_environment();
            let missing = from_environment.iter().find(|name| *name != "-" && !Path::new(name.as_str()).exists());
            if let Some(missing) = missing {
                return Err(told(format!("stat {missing}: no such file or directory")));
            }
            &from_environment
        }
        named => named,
    };
    let mut files = Vec::new();
    for name in named {
        files.push(read(name)?);
    }
    if named.is_empty() {
        for name in DEFAULT_NAMES.iter().filter(|name| Path::new(name).exists()) {
            files.push(read(name)?);
        }
    }
    let is_stdin = |file: &SourceFile| file.name == "-";
    files.retain(|file| !file.text.is_empty() || is_stdin(file));
    match files.is_empty() {
        true => Err(told("couldn't find a bake definition")),
        false => Ok(files),
    }
}

/// The files that `BUILDX_BAKE_FILE` names.
fn named_by_environment() -> Vec<String> {
    let Some(list) = env_vars::BUILDX_BAKE_FILE.get() else { return Vec::new() };
    let separator = env_vars::BUILDX_BAKE_PATH_SEPARATOR.get().unwrap_or_else(|| ":".to_owned());
    list.split(&separator).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A file that `--file` names; `-` is standard input.
pub(super) fn read(name: &str) -> Result<SourceFile, CommandError> {
    let path = name.strip_prefix("cwd://").unwrap_or(name);
    read_at(Path::new(path), path)
}

/// The file at `path`, which messages call `name`.
pub(super) fn read_at(path: &Path, name: &str) -> Result<SourceFile, CommandError> {
    let mut bytes = Vec::new();
    let outcome = match name {
        "-" => io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        _ => fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => told(format!("open {name}: no such file or directory")),
        _ => told(format!("failed to read {name}: {error}")),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(told(format!("{name} is larger than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| told(format!("{name} is not valid UTF-8")))?;
    Ok(SourceFile { name: name.to_owned(), text })
}
