//! Definitions that are elsewhere: in a git repository, in an archive, or a file at a URL (`spec/bake.md` section 17).
//!
//! They are fetched by a build of slipway's own, whose context is the URL and which copies the definition files out of
//! it: so everything that holds for remote contexts holds for them, what is known already is not fetched again, and the
//! namespace that the build may need is not the one of the builds to come.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use slipway_bake::{Selection, SourceFile, Target};
use slipway_compose::{clean, join};
use slipway_graph::{GitReference, MainContext, git};

use super::definition_files::{self, DEFAULT_NAMES};
use super::told;
use crate::env_vars;
use crate::report::CommandError;

/// The largest definition that is not in an archive or a repository.
const MAX_FILE_BYTES: u64 = 2 << 20;

/// Where a definition is, if it is not on this machine.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    url: String,
    /// What relative contexts are below: a repository or an archive, but not a single file.
    has_tree: bool,
}

impl Remote {
    /// The definition that the first positional argument may be.
    pub(super) fn of_argument(text: &str) -> Option<Remote> {
        is_remote(text).then(|| Remote { url: text.to_owned(), has_tree: true })
    }

    /// Fetches the files called `names`, or those with the usual names that are there; `cwd://` names come from here.
    /// If they are wanted `offline`, they have been fetched before, or are named as missing.
    pub(super) fn fetch(
        &mut self,
        names: &[String],
        progress: &str,
        offline: bool,
    ) -> Result<Vec<SourceFile>, CommandError> {
        let (here, there): (Vec<String>, Vec<String>) =
            names.iter().cloned().partition(|name| name.starts_with("cwd://"));
        let wanted: Vec<&str> = match names {
            [] => DEFAULT_NAMES.to_vec(),
            _ => there.iter().map(String::as_str).collect(),
        };
        let folder = tempfile::tempdir().map_err(|error| told(format!("make a folder for definitions: {error}")))?;
        self.copy_to(folder.path(), &wanted, progress, offline)?;
        let mut files = Vec::new();
        for (index, name) in wanted.iter().enumerate() {
            match definition_files::read_at(&fetched(folder.path(), index, name), name) {
                Ok(file) => files.push(file),
                Err(_) if names.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        if files.is_empty()
            && let Ok(metadata) = fs::metadata(fetched(folder.path(), wanted.len(), MainContext::FILE))
        {
            if metadata.len() > MAX_FILE_BYTES {
                return Err(told("non-archive definition URL bigger than maximum allowed size (2MB)"));
            }
            self.has_tree = false;
            let name = git::redacted(&self.url);
            let name = name.split(['?', '#']).next().unwrap_or_default();
            files = vec![definition_files::read_at(&fetched(folder.path(), wanted.len(), MainContext::FILE), name)?];
        }
        if let Some(file) = files.iter().find(|file| !is_bake_file(&file.name)) {
            return Err(told(format!(
                "`{}` is elsewhere and may be a Compose file, which could include files of this machine; only `.hcl` \
                 and `.json` files are read from there: name them with `--file`",
                file.name
            )));
        }
        for name in &here {
            files.push(definition_files::read(name)?);
        }
        files.retain(|file| !file.text.is_empty());
        if files.is_empty() { Err(told("couldn't find a bake definition")) } else { Ok(files) }
    }

    /// Copies each file to a folder of its own below `folder`. What is not there is left out.
    fn copy_to(&self, folder: &Path, wanted: &[&str], progress: &str, offline: bool) -> Result<(), CommandError> {
        let program = std::env::current_exe().map_err(|error| told(format!("find slipway itself: {error}")))?;
        let mut output = OsString::from("type=local,dest=");
        output.push(folder);
        let mut command = Command::new(program);
        command.args(["build", "--progress", progress, "--file", "-", "--output"]).arg(output);
        command
            .args(offline.then_some("--offline"))
            .args(self.credentials())
            .arg("--")
            .arg(&self.url)
            .stdin(Stdio::piped());
        let failed = |error: std::io::Error| told(format!("fetch {}: {error}", git::redacted(&self.url)));
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(dockerfile(wanted).as_bytes()).map_err(failed)?;
        }
        match child.wait().map_err(failed)?.success() {
            true => Ok(()),
            false => Err(told(format!("cannot read a definition from {}", git::redacted(&self.url)))),
        }
    }

    /// The flags of a build that may see this repository.
    fn credentials(&self) -> Vec<String> {
        let mut flags: Vec<String> = self.secrets().into_iter().map(|secret| format!("--secret={secret}")).collect();
        let is_ssh = !self.url.contains("://") && self.url.contains('@') || self.url.starts_with("ssh://");
        match env_vars::BUILDX_BAKE_GIT_SSH.get() {
            Some(keys) => flags.push(format!("--ssh=default={keys}")),
            None if is_ssh && env_vars::named_by_user("SSH_AUTH_SOCK").is_some() => {
                flags.push("--ssh=default".to_owned())
            }
            None => {}
        }
        flags
    }

    /// What `BUILDX_BAKE_GIT_AUTH_…` holds for the host, as values of `--secret`.
    fn secrets(&self) -> Vec<String> {
        let Some(Ok(reference)) = GitReference::of_context(&self.url) else { return Vec::new() };
        let host = reference.remote.host();
        let names = ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"]
            .into_iter()
            .flat_map(|name| [name.to_owned(), format!("{name}.{host}")]);
        let is_set = |name: &String| {
            env_vars::named_by_user(&format!("BUILDX_BAKE_{name}")).is_some_and(|value| !value.is_empty())
        };
        names.filter(is_set).map(|name| format!("id={name},env=BUILDX_BAKE_{name}")).collect()
    }

    /// Makes contexts that are relative lead to where the definition is, and those of `cwd://` to this machine.
    pub(super) fn rebase(&self, selection: &mut Selection) -> Result<(), CommandError> {
        selection.targets.values_mut().try_for_each(|target| self.rebase_target(target))
    }

    fn rebase_target(&self, target: &mut Target) -> Result<(), CommandError> {
        let context = self.rebased(target.context.as_deref().unwrap_or("."))?;
        for path in target.contexts.values_mut() {
            *path = self.rebased(path)?;
        }
        if is_remote(&context) {
            if let Some(path) = target.dockerfile.as_deref().filter(|path| path.starts_with("cwd://")) {
                return Err(told(format!(
                    "the Dockerfile `{path}` is on this machine, its context is not: `{}`; put the Dockerfile beside \
                     the context, or into `dockerfile-inline`",
                    git::redacted(&context)
                )));
            }
            if same_host(&context, &self.url) {
                let fields = |secret: &String| -> BTreeMap<String, String> {
                    secret.split(',').filter_map(|field| field.split_once('=')).map(owned).collect()
                };
                target.secrets.extend(self.secrets().iter().map(fields));
            }
        }
        target.context = Some(context);
        Ok(())
    }

    fn rebased(&self, path: &str) -> Result<String, CommandError> {
        if let Some(path) = path.strip_prefix("cwd://") {
            return Ok(clean(path));
        }
        let is_elsewhere = path.contains("://") || path.starts_with("target:") || is_remote(path);
        if is_elsewhere || path.starts_with('/') || !self.has_tree {
            return Ok(path.to_owned());
        }
        match (clean(path).as_str(), GitReference::of_context(&self.url)) {
            (".", _) => Ok(self.url.clone()),
            (path, Some(_)) => Ok(below(&self.url, path)),
            (path, None) => Err(told(format!(
                "`{path}` is a folder of an archive: only the whole archive can be a context; use `.` and paths below \
                 it, or a git repository"
            ))),
        }
    }
}

/// Bake files alone cannot make slipway read other files.
fn is_bake_file(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with(".hcl") || name.ends_with(".json")
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn is_remote(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://") || GitReference::of_context(text).is_some()
}

fn same_host(one: &str, other: &str) -> bool {
    let host = |url: &str| match GitReference::of_context(url) {
        Some(Ok(reference)) => Some(reference.remote.host().to_owned()),
        _ => None,
    };
    host(one).is_some_and(|one| host(other) == Some(one))
}

/// A folder of the repository at `url`, which may name a folder itself.
fn below(url: &str, folder: &str) -> String {
    let within = |base: &str| join("/", &format!("{base}/{folder}")).trim_start_matches('/').to_owned();
    let (address, fragment) = url.split_once('#').unwrap_or((url, ""));
    if let Some((address, query)) = address.split_once('?') {
        let is_folder = |field: &&str| field.starts_with("subdir=");
        let base = query.split('&').find(is_folder).map_or("", |field| &field["subdir=".len()..]);
        let mut fields: Vec<String> = query.split('&').filter(|field| !is_folder(field)).map(str::to_owned).collect();
        fields.push(format!("subdir={}", within(base)));
        return format!("{address}?{}", fields.join("&"));
    }
    let (revision, base) = fragment.split_once(':').unwrap_or((fragment, ""));
    format!("{address}#{revision}:{}", within(base))
}

/// Where the Dockerfile of [`Remote::copy_to`] puts a file.
fn fetched(folder: &Path, index: usize, name: &str) -> PathBuf {
    folder.join(index.to_string()).join(name.rsplit('/').next().unwrap_or_default())
}

/// Copies the files, and after them the context itself should it be one file. A pattern may match nothing.
fn dockerfile(wanted: &[&str]) -> String {
    let pattern = |name: &str| {
        let name = name.trim_start_matches('/');
        let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
        let (first, rest) = file.split_at(file.chars().next().map_or(0, char::len_utf8));
        format!("{folder}/[{first}]{rest}")
    };
    let mut text = "FROM scratch\n".to_owned();
    for (index, name) in wanted.iter().copied().chain([MainContext::FILE]).enumerate() {
        text += &format!("COPY {}\n", serde_json::json!([pattern(name), format!("/{index}/")]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_repositories_are_named_in_their_urls() {
        for (url, folder, expected) in [
            ("https://h/r.git", "sub", "https://h/r.git#:sub"),
            ("https://h/r.git#v1", "sub", "https://h/r.git#v1:sub"),
            ("https://h/r.git#v1:a/b", "../c", "https://h/r.git#v1:a/c"),
            ("https://h/r.git?ref=v1&subdir=a", "b", "https://h/r.git?ref=v1&subdir=a/b"),
        ] {
            assert_eq!(below(url, folder), expected);
        }
    }

    #[test]
    fn only_relative_paths_are_moved() {
        let remote = Remote { url: "https://h/r.git#main".to_owned(), has_tree: true };
        let rebased = |path: &str| remote.rebased(path).unwrap();
        assert_eq!(rebased("."), "https://h/r.git#main");
        assert_eq!(rebased("./a/../b"), "https://h/r.git#main:b");
        for same in ["target:x", "docker-image://a", "/abs", "https://h/other.git"] {
            assert_eq!(rebased(same), same);
        }
        assert_eq!(rebased("cwd://./here"), "here");
    }
}
