//! Where the build's files are: `PATH | URL | -`, `--file` and `--build-context` (`spec/cli.md` sections 3.2, 4.8).

use std::collections::BTreeMap;
use std::path::PathBuf;

use slipway_oci::{DigestParseError, Reference, ReferenceParseError};

use super::{Moment, PathKind, Surroundings};
use crate::git::{GitReference, GitReferenceError};
use crate::request::{ContextLocation, DockerfileLocation, NamedContext};

/// Why a context or the place of the Dockerfile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("unable to prepare context: path {path:?} not found")]
    NotFound { path: String },
    #[error("invalid argument: can't use stdin for both build context and dockerfile")]
    StdinTwice,
    #[error("invalid context value: {text}, expected key=value")]
    NoPair { text: String },
    #[error("invalid context name {name}: {source}")]
    Name { name: String, source: ReferenceParseError },
    #[error("failed to get build context {name}: stat {path}: no such file or directory")]
    NoFolder { name: String, path: String },
    #[error("failed to get build context {name}: {path}: not a directory")]
    NotFolder { name: String, path: String },
    #[error("build context {name}: {text:?} is no image: {source}")]
    Image { name: String, text: String, source: ReferenceParseError },
    #[error(transparent)]
    Git(#[from] GitReferenceError),
    #[error("build context {name}: {text:?} has an invalid digest")]
    LayoutDigest { name: String, text: String, source: DigestParseError },
}

impl ContextError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            ContextError::NoPair { .. } | ContextError::Name { .. } => Moment::Options,
            ContextError::NotFound { .. }
            | ContextError::StdinTwice
            | ContextError::NoFolder { .. }
            | ContextError::NotFolder { .. }
            | ContextError::Image { .. }
            | ContextError::LayoutDigest { .. } => Moment::Build,
            ContextError::Git(_) => Moment::Solve,
        }
    }
}

/// The main context.
pub(crate) fn location(text: &str, surroundings: &dyn Surroundings) -> Result<ContextLocation, ContextError> {
    if text == "-" {
        return Ok(ContextLocation::Stdin);
    }
    // A folder wins over everything that merely looks like a URL.
    if surroundings.kind_of(text.as_ref()) == PathKind::Folder {
        return Ok(ContextLocation::Folder(text.into()));
    }
    if let Some(reference) = git(text) {
        return Ok(ContextLocation::Git(reference?));
    }
    if is_http(text) {
        return Ok(ContextLocation::Http(text.to_owned()));
    }
    Err(ContextError::NotFound { path: text.to_owned() })
}

/// The place of the Dockerfile; `typed` is the value of `--file`, empty without it.
pub(crate) fn dockerfile(typed: &str, context: &ContextLocation) -> Result<DockerfileLocation, ContextError> {
    match typed {
        "" => Ok(DockerfileLocation::Default),
        "-" if *context == ContextLocation::Stdin => Err(ContextError::StdinTwice),
        "-" => Ok(DockerfileLocation::Stdin),
        url if is_http(url) => Ok(DockerfileLocation::Url(url.to_owned())),
        path => Ok(DockerfileLocation::Path(path.into())),
    }
}

/// All `--build-context`s, by familiar name.
pub(crate) fn named(
    texts: &[String],
    surroundings: &dyn Surroundings,
) -> Result<BTreeMap<String, NamedContext>, ContextError> {
    texts
        .iter()
        .map(|text| {
            let (name, value) = text.split_once('=').ok_or_else(|| ContextError::NoPair { text: text.to_owned() })?;
            let reference: Reference =
                name.parse().map_err(|source| ContextError::Name { name: name.to_owned(), source })?;
            let familiar = reference.familiar();
            let name = familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned();
            let context = named_location(&name, value, surroundings)?;
            Ok((name, context))
        })
        .collect()
}

fn named_location(name: &str, value: &str, surroundings: &dyn Surroundings) -> Result<NamedContext, ContextError> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return image_location(name, image);
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        return layout_location(name, layout);
    }
    if let Some(target) = value.strip_prefix("target:") {
        return Ok(NamedContext::Target(target.to_owned()));
    }
    let kind = surroundings.kind_of(value.as_ref());
    if kind == PathKind::Folder {
        return Ok(NamedContext::Folder(value.into()));
    }
    // What is wrong with a name that nobody uses is nobody's trouble.
    if is_http(value) || git(value).is_some() {
        return Ok(NamedContext::Url(value.to_owned()));
    }
    let (name, path) = (name.to_owned(), value.to_owned());
    Err(if kind == PathKind::File {
        ContextError::NotFolder { name, path }
    } else {
        ContextError::NoFolder { name, path }
    })
}

fn image_location(name: &str, text: &str) -> Result<NamedContext, ContextError> {
    if text == "scratch" {
        return Ok(NamedContext::Image(None));
    }
    let reference =
        text.parse().map_err(|source| ContextError::Image { name: name.to_owned(), text: text.to_owned(), source })?;
    Ok(NamedContext::Image(Some(reference)))
}

/// `PATH[:TAG][@DIGEST]`.
fn layout_location(name: &str, text: &str) -> Result<NamedContext, ContextError> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest.parse().map_err(|source| ContextError::LayoutDigest {
                name: name.to_owned(),
                text: text.to_owned(),
                source,
            })?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    Ok(NamedContext::OciLayout { path: PathBuf::from(path), tag, digest })
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The repository that `text` names, if it names one. `github.com/x` alone is an owner.
fn git(text: &str) -> Option<Result<GitReference, GitReferenceError>> {
    let is_owner = text
        .strip_prefix("github.com/")
        .is_some_and(|path| path.split('/').filter(|part| !part.is_empty()).count() < 2);
    if is_owner { None } else { GitReference::of_context(text) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Made;
    use super::*;

    fn of_git(text: &str) -> ContextLocation {
        ContextLocation::Git(GitReference::of_context(text).unwrap().unwrap())
    }

    #[test]
    fn contexts_are_told_apart() {
        let made = Made::default().with_path("dir", PathKind::Folder).with_path("file", PathKind::File);
        for (text, expected) in [
            ("-", Ok(ContextLocation::Stdin)),
            ("dir", Ok(ContextLocation::Folder("dir".into()))),
            ("https://h/r.git#main", Ok(of_git("https://h/r.git#main"))),
            ("git@github.com:a/b.git", Ok(of_git("git@github.com:a/b.git"))),
            ("https://h/a.tar", Ok(ContextLocation::Http("https://h/a.tar".into()))),
            ("https://h/r.git?foo=1", Err("unexpected query \"foo\"")),
            ("github.com/a/b", Ok(of_git("github.com/a/b"))),
            ("github.com/a", Err("unable to prepare context: path \"github.com/a\" not found")),
            ("./git@h:x", Err("unable to prepare context: path \"./git@h:x\" not found")),
            ("file", Err("unable to prepare context: path \"file\" not found")),
            ("nope", Err("unable to prepare context: path \"nope\" not found")),
        ] {
            let found = location(text, &made).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_dockerfile_has_its_own_place() {
        let folder = ContextLocation::Folder(".".into());
        assert_eq!(dockerfile("", &folder).unwrap(), DockerfileLocation::Default);
        assert_eq!(dockerfile("-", &folder).unwrap(), DockerfileLocation::Stdin);
        assert_eq!(dockerfile("a/b", &folder).unwrap(), DockerfileLocation::Path("a/b".into()));
        assert!(matches!(dockerfile("-", &ContextLocation::Stdin), Err(ContextError::StdinTwice)));
    }

    #[test]
    fn named_contexts_have_familiar_names() {
        let made = Made::default().with_path("dir", PathKind::Folder);
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("src=dir".to_owned(), r#"{"src": Folder("dir")}"#.to_owned()),
            ("docker.io/library/a:latest=docker-image://scratch".to_owned(), r#"{"a": Image(None)}"#.to_owned()),
            (
                format!("a:1=oci-layout://l/x:t@{digest}"),
                r#"{"a:1": OciLayout { path: "l/x", tag: Some("t"), digest: Some("#.to_owned(),
            ),
            ("foo".to_owned(), "invalid context value: foo, expected key=value".to_owned()),
            (
                "FOO=dir".to_owned(),
                "invalid context name FOO: invalid reference format: repository name (library/FOO) must be lowercase"
                    .to_owned(),
            ),
            ("a=nope".to_owned(), "failed to get build context a: stat nope: no such file or directory".to_owned()),
        ] {
            let found = named(std::slice::from_ref(&text), &made);
            let found = found.map_or_else(|error| error.to_string(), |named| format!("{named:?}"));
            assert!(found.starts_with(&expected), "{text}: {found}");
        }
    }
}
