//! A main context that is not on this machine: a git repository, an archive or a Dockerfile at a URL
//! (`spec/dockerfile.md` section 5.4).
//!
//! Its files are a snapshot of the store before the Dockerfile is read. Ignore files in it mean nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use slipway_graph::op::{GitSource, HttpSource};
use slipway_graph::request::DockerfileLocation;
use slipway_graph::request::flags::parse_bool;
use slipway_graph::{GitReference, GitTimes, MainContext};

use crate::inputs::{FoundDockerfile, InputError, read_text};
use crate::ops::http::{HttpError, HttpInputs, HttpSources};
use crate::rootfs::Root;

/// A fetched context.
pub(crate) struct RemoteContext {
    pub(crate) context: MainContext,
    pub(crate) files: Root,
}

/// Why a context cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteContextError {
    #[error("failed to resolve httpcontext")]
    Fetch(#[source] HttpError),
    #[error("failed to read dockerfile")]
    Dockerfile(#[source] HttpError),
    #[error("failed to read downloaded context")]
    Read(#[source] io::Error),
}

/// The source for a repository, as the build args want it.
pub(crate) fn of_git(reference: &GitReference, build_args: &BTreeMap<String, String>) -> MainContext {
    let keeps = build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").and_then(|text| parse_bool(text));
    let has_epoch = build_args.get("SOURCE_DATE_EPOCH").is_some_and(|text| !text.is_empty());
    let source = GitSource::from(reference.clone());
    MainContext::Git(GitSource {
        keeps_git_dir: source.keeps_git_dir || keeps == Some(true),
        // Who wants the same image again tomorrow wants the same times.
        times: reference.times.unwrap_or(if has_epoch { GitTimes::Commit } else { GitTimes::Checkout }),
        ..source
    })
}

/// What is at `url`: its first bytes tell.
pub(crate) fn of_http(
    url: &str,
    sources: &HttpSources,
    inputs: HttpInputs<'_>,
) -> Result<MainContext, RemoteContextError> {
    let http = HttpSource { url: url.to_owned(), filename: MainContext::FILE.to_owned(), checksum: None };
    let file = sources.open(&http, inputs).map_err(RemoteContextError::Fetch)?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(RemoteContextError::Read)?;
    Ok(if is_archive(&head) { MainContext::Archive(http) } else { MainContext::File(http) })
}

const HEAD_BYTES: u64 = 1024;

/// The text of the Dockerfile at a URL.
pub(crate) fn read_url(
    http: &HttpSource,
    sources: &HttpSources,
    inputs: HttpInputs<'_>,
) -> Result<Vec<u8>, RemoteContextError> {
    let file = sources.open(http, inputs).map_err(RemoteContextError::Dockerfile)?;
    read_text(file).map_err(RemoteContextError::Read)
}

/// Whether the reference would unpack what begins with `head`. It knows no zstd here.
fn is_archive(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 3] = [b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\0"];
    MAGICS.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

impl RemoteContext {
    /// The Dockerfile of the context. If the context is one file, it is that one, whatever was asked for.
    pub(crate) fn dockerfile(&self, wanted: &DockerfileLocation) -> Result<FoundDockerfile, InputError> {
        match self.context {
            MainContext::File(_) => read(&self.files, MainContext::FILE.as_bytes()),
            MainContext::Folder(_) | MainContext::Git(_) | MainContext::Archive(_) => {
                read(&self.files, &dockerfile_path(&self.files, wanted))
            }
        }
    }
}

/// The path of the Dockerfile below `files`.
pub(crate) fn dockerfile_path(files: &Root, wanted: &DockerfileLocation) -> Vec<u8> {
    if let DockerfileLocation::Path(path) = wanted {
        return path.as_os_str().as_bytes().to_vec();
    }
    let is_there = |name: &[u8]| files.open_in(name).is_ok();
    let name: &[u8] = if !is_there(b"Dockerfile") && is_there(b"dockerfile") { b"dockerfile" } else { b"Dockerfile" };
    name.to_vec()
}

/// Reads a Dockerfile below `files`; links lead nowhere else.
pub(crate) fn read(files: &Root, path: &[u8]) -> Result<FoundDockerfile, InputError> {
    let shown = Path::new(OsStr::from_bytes(path));
    let name = shown.file_name().unwrap_or(shown.as_os_str()).to_string_lossy().into_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => InputError::NoDockerfile { name: name.clone() },
        _ => InputError::ReadDockerfile { name: name.clone(), source },
    };
    let file = std::fs::File::from(files.open_in(path).map_err(failed)?);
    let text = read_text(file).map_err(failed)?;
    Ok(FoundDockerfile { path: None, name, text })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_dockerfile_is_found_inside_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dockerfile"), "low").unwrap();
        std::fs::write(folder.path().join("real"), "inside").unwrap();
        symlink("/etc/passwd", folder.path().join("out")).unwrap();
        symlink("/real", folder.path().join("in")).unwrap();
        let files = Root::open(folder.path()).unwrap();
        let path = dockerfile_path(&files, &DockerfileLocation::Default);
        assert_eq!(read(&files, &path).unwrap().text, b"low");
        assert_eq!(read(&files, b"in").unwrap().text, b"inside");
        assert!(matches!(read(&files, b"out"), Err(InputError::NoDockerfile { .. })));
        assert!(matches!(read(&files, b"../../../etc/passwd"), Err(InputError::NoDockerfile { .. })));
    }

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        for archive in [&b"BZh91"[..], b"\x1f\x8b\x08\0", b"\xfd7zXZ\0\0", &[&[0; 257][..], b"ustar"].concat()] {
            assert!(is_archive(archive));
        }
        for other in [&b"FROM scratch"[..], b"", b"\x28\xb5\x2f\xfd", b"BZ"] {
            assert!(!is_archive(other));
        }
    }

    #[test]
    fn build_args_keep_the_repository_and_the_times() {
        let reference = GitReference::of_context("git://h/r").unwrap().unwrap();
        let args = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let of = |pairs: &[(&str, &str)]| match of_git(&reference, &args(pairs)) {
            MainContext::Git(git) => (git.keeps_git_dir, git.times),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(&[]), (false, GitTimes::Checkout));
        assert_eq!(of(&[("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "1")]), (true, GitTimes::Checkout));
        assert_eq!(of(&[("SOURCE_DATE_EPOCH", "7")]), (false, GitTimes::Commit));
    }
}
