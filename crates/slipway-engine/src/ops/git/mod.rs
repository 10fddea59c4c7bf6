//! The files of a git repository: `ADD <repository>` and contexts (`spec/dockerfile.md` section 3.5).
//!
//! ```text
//! resolve    what commit does the revision mean now? asks the remote, once a build
//! fetch      that commit alone into the bare clone that the store keeps of the remote
//! check out  from the clone into an empty folder, then submodules
//! tidy       `.git` away unless it is wanted, modes and times as they should be, the subdir as the top
//! ```
//!
//! The key of the result is made of the commit: a branch that moved is another source, one that did not fetches nothing.

mod program;
mod refs;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_graph::op::GitSource;
use slipway_graph::request::{Secret, Ssh};
use slipway_graph::{GitRemote, GitTimes, KeyWriter, Pins};
use slipway_oci::Digest;
use slipway_solver::Cancel;
use slipway_store::{DbError, FsError, KeyLock, Snapshot, SnapshotError, Store};

use super::secret::{self, SecretError};
use crate::layer::untar;
use crate::now_ns;
use crate::ssh::{self, NoSocketError};
use program::{Git, GitError, Reach};
use refs::Resolved;
use tree::SubdirError;

/// Why there are no files of a repository.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitSourceError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("repository does not contain ref {revision}: `{remote}`")]
    NoRevision { revision: String, remote: String },
    #[error("could not find default branch for repository: {0}")]
    NoDefault(String),
    #[error("expected checksum to match {expected}, got {found}")]
    Checksum { expected: String, found: String },
    #[error("unset ssh forward key default")]
    NoAgent,
    #[error(transparent)]
    Ssh(#[from] NoSocketError),
    #[error("git printed no time for commit {0}")]
    NoTime(String),
    #[error(transparent)]
    Subdir(#[from] SubdirError),
    #[error("cannot write the files of `{remote}`")]
    Write { remote: String, source: io::Error },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot reach the clone in the store")]
    Store(#[from] FsError),
    #[error("cannot use the cache")]
    Cache(#[from] DbError),
}

impl GitSourceError {
    /// Whether it lies in nobody being asked.
    pub(crate) fn is_offline(&self) -> bool {
        matches!(self, GitSourceError::Git(GitError::Offline { .. }))
    }
}

/// What git sources work with, all of one build.
#[derive(Clone, Copy)]
pub(crate) struct GitInputs<'a> {
    pub(crate) store: &'a Store,
    pub(crate) secrets: &'a [Secret],
    pub(crate) ssh: &'a [Ssh],
    /// Variables of the host that git may see.
    pub(crate) host_variables: &'a [(String, OsString)],
    pub(crate) cancel: &'a Cancel,
    pub(crate) pins: &'a Pins,
    pub(crate) is_offline: bool,
}

/// What a revision meant when it was asked for the last time, by the name of its pin.
const FACTS: &str = "git";

/// The repositories of one build: each revision is asked for once.
#[derive(Default)]
pub(crate) struct GitSources {
    resolved: Mutex<HashMap<(GitRemote, String), Resolved>>,
}

impl GitSources {
    /// The key of the files that the source means now.
    pub(crate) fn key(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<Digest, GitSourceError> {
        let resolved = self.resolve(source, inputs)?;
        let mut key = KeyWriter::new("git 1");
        key.text(&resolved.commit).text(&source.subdir).flag(source.has_submodules);
        key.number(source.times as u64).flag(source.keeps_git_dir);
        if source.keeps_git_dir {
            // They show in `.git`.
            key.text(source.remote.url()).text(&resolved.object).optional_text(resolved.name.as_deref());
        }
        Ok(key.finish())
    }

    /// The files, alone in a file system.
    pub(crate) fn snapshot(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<Snapshot, GitSourceError> {
        let resolved = self.resolve(source, inputs)?;
        let git = git_for(source, inputs)?;
        let active = inputs.store.begin(None)?;
        let write = |source_: io::Error| GitSourceError::Write { remote: git.remote.clone(), source: source_ };
        let beside = active.upper().parent().unwrap_or(active.upper());
        let work = tempfile::Builder::new().prefix("git-").tempdir_in(beside).map_err(write)?;
        {
            let clone = Clone::open(source, &git, inputs)?;
            clone.fetch(&resolved)?;
            check_out(source, &resolved, &clone, work.path())?;
        }
        let mtime = match source.times {
            GitTimes::Checkout => None,
            GitTimes::Commit => Some(self.commit_time(source, inputs)?),
        };
        if source.has_submodules && work.path().join(".gitmodules").is_file() {
            let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
            git.run(work.path(), Reach::Remote, &update)?;
        }
        let top = untar::open_host_dir(work.path()).map_err(|errno| write(errno.into()))?;
        if !source.keeps_git_dir {
            tree::remove_repositories(&top).map_err(|errno| write(errno.into()))?;
        }
        tree::set_metadata(&top, mtime).map_err(|errno| write(errno.into()))?;
        let wanted = tree::subdir(top, &source.subdir)?;
        let upper = untar::open_host_dir(active.upper()).map_err(|errno| write(errno.into()))?;
        tree::move_content(&wanted, &upper).map_err(|errno| write(errno.into()))?;
        Ok(active.commit(now_ns())?)
    }

    /// The commit that the revision means.
    pub(crate) fn commit(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<String, GitSourceError> {
        Ok(self.resolve(source, inputs)?.commit)
    }

    /// Whether the store has the commit.
    pub(crate) fn is_here(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<bool, GitSourceError> {
        let resolved = self.resolve(source, inputs)?;
        let git = git_for(source, inputs)?;
        Ok(Clone::open(source, &git, inputs)?.has(&resolved))
    }

    /// The commits of revisions that can be pinned, by the names of their pins.
    pub(crate) fn pins(&self) -> BTreeMap<String, String> {
        let known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = |((remote, revision), resolved): (&(GitRemote, String), &Resolved)| {
            Some((Pins::name_of_git(remote, revision)?, resolved.commit.clone()))
        };
        known.iter().filter_map(pin).collect()
    }

    /// When the commit was made, in seconds since 1970.
    pub(crate) fn commit_time(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<i64, GitSourceError> {
        let resolved = self.resolve(source, inputs)?;
        let git = git_for(source, inputs)?;
        let clone = Clone::open(source, &git, inputs)?;
        clone.fetch(&resolved)?;
        let show = ["show", "--no-patch", "--format=%ct", &resolved.commit];
        let printed = git.run(&clone.folder, Reach::Store, &show)?;
        printed.trim().parse().map_err(|_| GitSourceError::NoTime(resolved.commit))
    }

    fn resolve(&self, source: &GitSource, inputs: GitInputs<'_>) -> Result<Resolved, GitSourceError> {
        let place = (source.remote.clone(), source.revision.clone());
        let mut known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = match known.get(&place) {
            Some(resolved) => resolved.clone(),
            None => known.entry(place).or_insert(ask(source, inputs)?).clone(),
        };
        match &source.checksum {
            Some(expected) if !resolved.matches(expected) => {
                Err(GitSourceError::Checksum { expected: expected.clone(), found: resolved.commit })
            }
            _ => Ok(resolved),
        }
    }
}

/// What the revision means: it says so itself, it is pinned, or the remote is asked, of which the answer is remembered
/// for who may not ask.
fn ask(source: &GitSource, inputs: GitInputs<'_>) -> Result<Resolved, GitSourceError> {
    let Some(name) = Pins::name_of_git(&source.remote, &source.revision) else {
        return Ok(Resolved::commit(&source.revision));
    };
    if let Some(commit) = inputs.pins.git.get(&name) {
        return Ok(Resolved::commit(commit));
    }
    if inputs.is_offline {
        let known = inputs.store.fact(FACTS, &name)?.and_then(|fact| serde_json::from_slice(&fact).ok());
        return known.ok_or_else(|| GitError::Offline { remote: source.remote.to_string() }.into());
    }
    let resolved = ask_remote(source, inputs)?;
    if let Ok(fact) = serde_json::to_vec(&resolved) {
        inputs.store.set_fact(FACTS, &name, &fact)?;
    }
    Ok(resolved)
}

fn ask_remote(source: &GitSource, inputs: GitInputs<'_>) -> Result<Resolved, GitSourceError> {
    let git = git_for(source, inputs)?;
    let patterns = refs::patterns(&source.revision);
    let mut command = vec!["ls-remote", "--symref", "--", source.remote.url()];
    command.extend(patterns.iter().map(String::as_str));
    let listing = git.run(inputs.store.root(), Reach::Remote, &command)?;
    refs::find(&listing, &source.revision).ok_or_else(|| match source.revision.as_str() {
        "" => GitSourceError::NoDefault(source.remote.to_string()),
        revision => GitSourceError::NoRevision { revision: revision.to_owned(), remote: source.remote.to_string() },
    })
}

/// git with the credentials for the source's remote.
fn git_for<'a>(source: &GitSource, inputs: GitInputs<'a>) -> Result<Git<'a>, GitSourceError> {
    let ssh_agent = match source.remote.is_ssh() {
        false => None,
        true => {
            let forwarded = inputs.ssh.iter().find(|ssh| ssh.id == "default");
            Some(ssh::socket(forwarded.ok_or(GitSourceError::NoAgent)?)?.to_owned())
        }
    };
    Ok(Git {
        host_variables: inputs.host_variables,
        remote: source.remote.to_string(),
        authorization: authorization(&source.remote, inputs.secrets)?.map(|header| (scope_of(&source.remote), header)),
        ssh_agent,
        is_offline: inputs.is_offline,
        known_hosts: inputs.store.root().join("git-known-hosts"),
        cancel: inputs.cancel,
    })
}

/// The URLs that the credentials of `remote` are sent to: all of its host.
fn scope_of(remote: &GitRemote) -> String {
    let scheme = remote.url().split("://").next().unwrap_or_default();
    format!("{scheme}://{}/", remote.host())
}

/// `Authorization: …` for `remote`: from a secret, else from the URL itself.
fn authorization(remote: &GitRemote, secrets: &[Secret]) -> Result<Option<String>, SecretError> {
    if !remote.is_http() {
        return Ok(None);
    }
    let basic = |login: &[u8]| format!("Authorization: basic {}", STANDARD.encode(login));
    let host = remote.host();
    let ids = [
        (format!("GIT_AUTH_HEADER.{host}"), "header"),
        (format!("GIT_AUTH_TOKEN.{host}"), "token"),
        ("GIT_AUTH_HEADER".to_owned(), "header"),
        ("GIT_AUTH_TOKEN".to_owned(), "token"),
    ];
    Ok(match secret::first(secrets, ids)? {
        Some(("token", value)) => Some(basic(&[b"x-access-token:", value.trim_ascii_end()].concat())),
        Some((_, value)) => Some(format!("Authorization: {}", String::from_utf8_lossy(value.trim_ascii_end()))),
        None => remote.login().map(|login| match login.contains(':') {
            true => basic(login.as_bytes()),
            false => basic(format!("{login}:").as_bytes()),
        }),
    })
}

/// The store's bare clone of a remote, while nobody else changes it.
struct Clone<'a> {
    folder: PathBuf,
    url: &'a str,
    git: &'a Git<'a>,
    _lock: KeyLock,
}

impl<'a> Clone<'a> {
    fn open(source: &'a GitSource, git: &'a Git<'a>, inputs: GitInputs<'_>) -> Result<Clone<'a>, GitSourceError> {
        let key = Digest::of(source.remote.url().as_bytes());
        let lock = inputs.store.lock_key(&key, || !inputs.cancel.is_canceled())?.ok_or(GitError::Canceled)?;
        let folder = inputs.store.repository(&key)?;
        if !folder.join("HEAD").exists() {
            git.run(&folder, Reach::Store, &["init", "--quiet", "--bare"])?;
        }
        Ok(Clone { folder, url: source.remote.url(), git, _lock: lock })
    }

    /// Makes the commit be there. A server that gives out no single commits is asked for all branches and tags.
    fn fetch(&self, resolved: &Resolved) -> Result<(), GitSourceError> {
        if self.has(resolved) {
            return Ok(());
        }
        let Resolved { commit, object, .. } = resolved;
        let single = format!("+{object}:refs/slipway/{commit}");
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        let shallow = [&fetch[..], &["--depth=1", "--", self.url, &single]].concat();
        match self.git.run(&self.folder, Reach::Remote, &shallow) {
            Ok(_) if self.has(resolved) => return Ok(()),
            Err(GitError::Canceled) => return Err(GitError::Canceled.into()),
            Ok(_) | Err(_) => {}
        }
        let is_shallow = self.folder.join("shallow").exists();
        let depth: &[&str] = if is_shallow { &["--unshallow"] } else { &[] };
        let everything = ["--", self.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        self.git.run(&self.folder, Reach::Remote, &[&fetch[..], depth, &everything].concat())?;
        match self.has(resolved) {
            true => Ok(()),
            false => Err(GitSourceError::NoRevision { revision: commit.clone(), remote: self.git.remote.clone() }),
        }
    }

    fn has(&self, resolved: &Resolved) -> bool {
        let there = |object: &str| self.git.run(&self.folder, Reach::Store, &["cat-file", "-e", object]).is_ok();
        there(&format!("{}^{{commit}}", resolved.commit)) && there(&resolved.object)
    }
}

/// Makes `work` a repository of its own that has the commit checked out.
fn check_out(source: &GitSource, resolved: &Resolved, clone: &Clone<'_>, work: &Path) -> Result<(), GitSourceError> {
    let git = clone.git;
    // Not joined with anything that the remote says: the clone lies where the store puts it.
    let clone_url = format!("file://{}", clone.folder.display());
    let Resolved { commit, object, name } = resolved;
    let name = name.clone().unwrap_or_else(|| format!("refs/slipway/{commit}"));
    git.run(work, Reach::Store, &["init", "--quiet"])?;
    for (key, value) in
        [("remote.origin.url", source.remote.url()), ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")]
    {
        git.run(work, Reach::Store, &["config", key, value])?;
    }
    let wanted = format!("+{object}:{name}");
    let fetch = ["fetch", "--quiet", "--update-head-ok", "--no-tags", "--no-recurse-submodules", "--depth=1", "--"];
    git.run(work, Reach::Store, &[&fetch[..], &[&clone_url, &wanted]].concat())?;
    git.run(work, Reach::Store, &["checkout", "--quiet", "--detach", commit])?;
    for leftover in ["FETCH_HEAD", "ORIG_HEAD"] {
        // Most often there is none.
        let _ = std::fs::remove_file(work.join(".git").join(leftover));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use slipway_graph::GitReference;
    use slipway_graph::request::{SecretSource, SecretValue};

    use super::*;

    fn remote(text: &str) -> GitRemote {
        GitReference::in_dockerfile(text).unwrap().unwrap().remote
    }

    fn secret(id: &str, value: &str) -> Secret {
        Secret { id: id.to_owned(), source: SecretSource::Value(SecretValue(value.into())), is_keyed: false }
    }

    #[test]
    fn the_secret_of_the_host_goes_before_the_one_for_all_and_both_before_the_url() {
        let url = remote("https://me:pw@h:8/r.git");
        let for_all = secret("GIT_AUTH_TOKEN", "t\n");
        let for_host = secret("GIT_AUTH_HEADER.h:8", "bearer x");
        let of = |secrets: &[Secret]| authorization(&url, secrets).unwrap().unwrap();
        assert_eq!(of(&[for_all.clone(), for_host]), "Authorization: bearer x");
        assert_eq!(of(&[for_all]), format!("Authorization: basic {}", STANDARD.encode("x-access-token:t")));
        assert_eq!(
            of(&[secret("GIT_AUTH_TOKEN.h", "other host")]),
            format!("Authorization: basic {}", STANDARD.encode("me:pw"))
        );
        assert_eq!(authorization(&remote("git://me:pw@h/r.git"), &[]).unwrap(), None);
        assert_eq!(scope_of(&url), "https://h:8/");
    }
}
