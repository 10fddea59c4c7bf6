//! Which commit is the build context at? The `git` program is asked, as buildx asks it (`spec/cli.md` section 3.3), if the
//! answer will be read: in provenance, or in labels where `BUILDX_GIT_LABELS` wants them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use slipway_graph::request::flags::parse_bool;
use slipway_graph::request::{BuildRequest, ContextLocation, DockerfileLocation, Extent, NamedContext};

use crate::env_vars;

const REVISION_LABEL: &str = "org.opencontainers.image.revision";
const SOURCE_LABEL: &str = "org.opencontainers.image.source";
/// Where the Dockerfile is in the work tree.
const DOCKERFILE_LABEL: &str = "com.docker.image.source.entrypoint";

/// A work tree of git.
struct Checkout {
    top: PathBuf,
    revision: Option<String>,
    source: Option<String>,
}

/// Who is told.
#[derive(Clone, Copy)]
struct Readers {
    provenance: bool,
    labels: bool,
}

/// Gives the requests what is known of the work trees that their contexts lie in. What stands in the way of that is told,
/// and stops nobody.
pub(crate) fn read_into<'a>(requests: impl IntoIterator<Item = &'a mut BuildRequest>) -> Vec<String> {
    let wants_labels =
        env_vars::BUILDX_GIT_LABELS.get().is_some_and(|value| value == "full" || parse_bool(&value) == Some(true));
    let wants_provenance = env_vars::BUILDX_GIT_INFO.truth() != Some(false);
    let mut known: BTreeMap<PathBuf, Result<Option<Checkout>, String>> = BTreeMap::new();
    for request in requests {
        let ContextLocation::Folder(context) = request.context.clone() else { continue };
        let readers = Readers { provenance: wants_provenance && tells_provenance(request), labels: wants_labels };
        if !readers.provenance && !readers.labels {
            continue;
        }
        let found = known.entry(context.clone()).or_insert_with(|| Checkout::around(&context));
        if let Ok(Some(checkout)) = found {
            checkout.tell(request, &context, readers);
        }
    }
    let unknown = known.into_iter().filter_map(|(context, found)| {
        let reason = found.err()?;
        Some(format!("What commit `{}` is at is not known, and not told: {reason}.", context.display()))
    });
    unknown.collect()
}

/// Whether anything will be written that a commit could be in.
fn tells_provenance(request: &BuildRequest) -> bool {
    let is_in_metadata = request.metadata_file.is_some() && request.metadata_provenance == Some(Extent::Max);
    request.attestations.provenance.is_some() || is_in_metadata
}

impl Checkout {
    /// The work tree that `folder` is in; a failure if it looks like one and git does not say anything.
    fn around(folder: &Path) -> Result<Option<Checkout>, String> {
        let top = match git(folder, &["rev-parse", "--show-toplevel"]) {
            Ok(top) if !top.is_empty() => PathBuf::from(top),
            Ok(_) => return Ok(None),
            Err(reason) => return if folder.join(".git").exists() { Err(reason) } else { Ok(None) },
        };
        let mut revision = git(folder, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).ok();
        let counts_changes = env_vars::BUILDX_GIT_CHECK_DIRTY.is_true();
        let is_changed =
            || git(folder, &["status", "--porcelain", "--ignored"]).map_or(true, |changes| !changes.is_empty());
        if let Some(revision) = revision.as_mut().filter(|_| counts_changes && is_changed()) {
            revision.push_str("-dirty");
        }
        Ok(Some(Checkout { top, revision, source: source(folder) }))
    }

    fn tell(&self, request: &mut BuildRequest, context: &Path, readers: Readers) {
        let dockerfile = match &request.dockerfile {
            DockerfileLocation::Default => Some(context.join("Dockerfile")),
            DockerfileLocation::Path(path) => Some(path.clone()),
            DockerfileLocation::Inline(_) | DockerfileLocation::Stdin | DockerfileLocation::Url(_) => None,
        };
        // A file that lies in the working folder has no folder in its name.
        let dockerfile_folder =
            dockerfile.as_deref().and_then(Path::parent).and_then(|folder| self.place_of(&Path::new(".").join(folder)));
        if readers.labels {
            let file_name = dockerfile.as_deref().and_then(Path::file_name);
            let dockerfile = dockerfile_folder.as_ref().zip(file_name).map(|(folder, name)| folder.join(name));
            let labels = [
                (REVISION_LABEL, self.revision.clone()),
                (SOURCE_LABEL, self.source.clone()),
                (DOCKERFILE_LABEL, dockerfile.map(|path| path.to_string_lossy().into_owned())),
            ];
            let known = labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            request.labels.extend(known);
        }
        if readers.provenance {
            let mut folders = vec![("context", self.place_of(context)), ("dockerfile", dockerfile_folder)];
            for (name, named) in &request.named_contexts {
                if let NamedContext::Folder(folder) = named {
                    folders.push((name, self.place_of(folder)));
                }
            }
            let known = folders.into_iter().filter_map(|(name, place)| Some((name.to_owned(), written(&place?))));
            request.work_tree.folders = known.collect();
            (request.work_tree.revision, request.work_tree.source) = (self.revision.clone(), self.source.clone());
        }
    }

    /// Where `folder` is below the top; `None` if it is elsewhere.
    fn place_of(&self, folder: &Path) -> Option<PathBuf> {
        folder.canonicalize().ok()?.strip_prefix(&self.top).ok().map(Path::to_path_buf)
    }
}

fn written(place: &Path) -> String {
    match place.to_string_lossy() {
        top if top.is_empty() => ".".to_owned(),
        place => place.into_owned(),
    }
}

/// The address of the remote that the branch is compared with; else that of `origin`, else that of `upstream`.
fn source(folder: &Path) -> Option<String> {
    let followed = || {
        let branch = git(folder, &["symbolic-ref", "--quiet", "HEAD"]).ok()?;
        git(folder, &["for-each-ref", "--format=%(upstream:remotename)", &branch]).ok()
    };
    let remotes = followed().into_iter().chain(["origin", "upstream"].map(str::to_owned));
    let mut remotes = remotes.filter(|remote| !remote.is_empty());
    let address = remotes.find_map(|remote| git(folder, &["remote", "get-url", "--", &remote]).ok())?;
    (!address.is_empty()).then(|| without_login(&address))
}

/// `git@host:path` stays: its user is no secret, and part of the address.
fn without_login(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[start..])
}

/// What git answers, without the newline at the end; otherwise why it does not.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    // A program that the repository names to watch its files need not run for a question.
    command.arg("-C").arg(folder).args(["-c", "core.fsmonitor=false"]).args(arguments);
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "git is not installed".to_owned(),
        _ => format!("cannot run git: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(stderr.lines().next().unwrap_or("git does not say why").trim_end_matches(['.', ':']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_no_login() {
        for (address, expected) in [
            ("https://user:pw@example.com/me/app.git", "https://example.com/me/app.git"),
            ("https://me@example.com:8443/x?y=a@b", "https://example.com:8443/x?y=a@b"),
            ("ssh://git:pw@example.com/me/app.git", "ssh://example.com/me/app.git"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("git@example.com:me/app.git", "git@example.com:me/app.git"),
            ("/srv/git/app", "/srv/git/app"),
        ] {
            assert_eq!(without_login(address), expected);
        }
    }
}
