//! `slipway.lock`: pins as text that people read in diffs, one a line, in the order of their names.
//!
//! The lock file is read only if a flag says so: without one a Dockerfile means what it means to `docker build`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use slipway_graph::Pins;
use slipway_graph::request::{BuildRequest, LockUse, NamedRequest};
use slipway_oci::Digest;

/// Why there are no pins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    #[error("there is no `{}`; `slipway build --lock` writes it", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is not valid", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("`{}` has version {version}, and this slipway knows {VERSION}: a newer one wrote it", path.display())]
    Version { path: PathBuf, version: u32 },
    #[error(
        "`{}` and `{}` pin `{name}` to different things, and targets that are built together share what they fetch; \
         build them one after the other, or `slipway update` one of them", one.display(), other.display()
    )]
    Disagreement { one: PathBuf, other: PathBuf, name: String },
}

const VERSION: u32 = 1;
const HEAD: &str = "\
# What the names in the Dockerfile stand for, for `slipway build --locked`.
# `slipway build --lock` adds what is missing, `slipway update` moves what is here.
";

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    images: BTreeMap<String, Digest>,
    #[serde(default)]
    urls: BTreeMap<String, Digest>,
    #[serde(default)]
    git: BTreeMap<String, String>,
}

/// Gives the request the pins that it asks for.
pub(crate) fn read_into(request: &mut BuildRequest) -> Result<(), LockFileError> {
    let (Some(lock), Some(path)) = (request.lock, request.lock_file()) else { return Ok(()) };
    request.pins = match (read(&path), lock) {
        (Err(LockFileError::Missing { .. }), LockUse::Extend) => Pins::default(),
        (pins, _) => pins?,
    };
    Ok(())
}

/// Fails if the lock files of `requests`, which are built together, say different things of a URL or a git reference.
/// Images are told apart by what they are, so those may differ.
pub(crate) fn check_agreement(requests: &[NamedRequest]) -> Result<(), LockFileError> {
    let mut known: BTreeMap<&str, (&str, PathBuf)> = BTreeMap::new();
    for NamedRequest { request, .. } in requests {
        let Some(path) = request.lock_file() else { continue };
        let urls = request.pins.urls.iter().map(|(name, digest)| (name, digest.as_str()));
        let commits = request.pins.git.iter().map(|(name, commit)| (name, commit.as_str()));
        for (name, pin) in urls.chain(commits) {
            let (other_pin, other) = known.entry(name).or_insert_with(|| (pin, path.clone()));
            if *other_pin != pin {
                return Err(LockFileError::Disagreement { one: other.clone(), other: path, name: name.clone() });
            }
        }
    }
    Ok(())
}

/// Writes what builds have found out into the lock files beside their Dockerfiles; one file may be that of several.
pub(crate) fn write_all<'a>(found: impl Iterator<Item = (&'a BuildRequest, &'a Pins)>) -> Result<(), LockFileError> {
    let mut files: BTreeMap<PathBuf, Pins> = BTreeMap::new();
    for (request, pins) in found {
        if let Some(path) = request.lock_file() {
            files.entry(path).or_default().extend(pins.clone());
        }
    }
    files.iter().try_for_each(|(path, pins)| write(path, pins))
}

/// The pins in the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Pins, LockFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LockFileError::Missing { path: path.to_owned() },
        _ => LockFileError::Read { path: path.to_owned(), source },
    })?;
    parse(&text, path)
}

/// Writes `pins` to the file at `path`, unless it says the same already.
pub(crate) fn write(path: &Path, pins: &Pins) -> Result<(), LockFileError> {
    let text = text(pins);
    if std::fs::read_to_string(path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(|source| LockFileError::Write { path: path.to_owned(), source })
}

fn parse(text: &str, path: &Path) -> Result<Pins, LockFileError> {
    let invalid = |source| LockFileError::Parse { path: path.to_owned(), source: Box::new(source) };
    let Head { version } = toml::from_str(text).map_err(invalid)?;
    if version != VERSION {
        return Err(LockFileError::Version { path: path.to_owned(), version });
    }
    let Text { images, urls, git, .. } = toml::from_str(text).map_err(invalid)?;
    Ok(Pins { images, urls, git })
}

fn text(pins: &Pins) -> String {
    let digests = |pins: &BTreeMap<String, Digest>| -> Vec<(String, String)> {
        pins.iter().map(|(name, digest)| (name.clone(), digest.to_string())).collect()
    };
    let commits = pins.git.iter().map(|(name, commit)| (name.clone(), commit.clone())).collect();
    let mut text = format!("{HEAD}version = {VERSION}\n");
    for (table, rows) in [("images", digests(&pins.images)), ("urls", digests(&pins.urls)), ("git", commits)] {
        if !rows.is_empty() {
            let _ = writeln!(text, "\n[{table}]");
        }
        for (name, value) in rows {
            let _ = writeln!(text, "{} = {}", quoted(&name), quoted(&value));
        }
    }
    text
}

/// A basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }

    #[test]
    fn a_lock_file_has_one_pin_a_line_in_the_order_of_names() {
        let pins = Pins {
            images: BTreeMap::from([("b:1".to_owned(), digest('1')), ("a:1".to_owned(), digest('2'))]),
            urls: BTreeMap::new(),
            git: BTreeMap::from([("https://h/r.git#a\"b\\\u{1}".to_owned(), "c".repeat(40))]),
        };
        let expected = format!(
            "{HEAD}version = 1\n\n[images]\n\"a:1\" = \"{}\"\n\"b:1\" = \"{}\"\n\n[git]\n\
             \"https://h/r.git#a\\\"b\\\\\\u0001\" = \"{}\"\n",
            digest('2'),
            digest('1'),
            "c".repeat(40)
        );
        assert_eq!(text(&pins), expected);
        assert_eq!(parse(&expected, Path::new("x")).unwrap(), pins);
    }

    #[test]
    fn what_is_no_lock_file_of_this_version_is_refused() {
        let told = |text: &str| parse(text, Path::new("x")).unwrap_err().to_string();
        assert_eq!(told("version = 2\nnew = 1\n"), "`x` has version 2, and this slipway knows 1: a newer one wrote it");
        for bad in ["", "version = 1\n[images]\na = \"sha256:12\"\n", "version = 1\nimage = 1\n", "<<<<<<< ours\n"] {
            assert_eq!(told(bad), "`x` is not valid", "{bad}");
        }
    }
}
