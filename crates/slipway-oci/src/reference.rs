//! Where an image is: `[host/]repository[:tag][@digest]`, with Docker's short forms filled in.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// A full image reference. `busybox` is read as `docker.io/library/busybox`; a missing tag stays missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference. The texts are those that users of Docker know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceParseError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    IsId(String),
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("invalid reference format: `{0}` is not a digest")]
    Digest(String),
}

const HUB: &str = "docker.io";

impl Reference {
    /// Host and port of the registry, `docker.io` for Docker Hub.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository below the host, `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag as written, if any.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest as written, if any.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag, or `latest` where neither tag nor digest is written.
    pub fn tag_or_latest(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The same image with `:latest` written out where there is neither tag nor digest.
    pub fn with_default_tag(&self) -> Reference {
        Reference { tag: self.tag_or_latest().map(str::to_owned), ..self.clone() }
    }

    /// The same repository at `digest` (the tag, if any, stays).
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// The same name and tag without a digest.
    pub fn without_digest(&self) -> Reference {
        Reference { digest: None, ..self.clone() }
    }

    /// What has this digest in the same repository, whatever the tag stands for.
    pub fn at_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, ..self.with_digest(digest) }
    }

    /// What `tag` stands for in the same repository. The tag is not checked.
    pub fn at_tag(&self, tag: &str) -> Reference {
        Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The short form that people type: no `docker.io/`, no `library/`.
    pub fn familiar(&self) -> String {
        let name = match self.host.as_str() {
            HUB => self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned(),
            host => format!("{host}/{}", self.repository),
        };
        name + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|t| format!(":{t}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.host, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ReferenceParseError as E;
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(E::IsId(text.to_owned()));
        }
        if let Some(repository) = in_upper_case(text) {
            return Err(E::Uppercase(repository));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse::<Digest>().map_err(|_| E::Digest(digest.chars().take(100).collect()))?))
            }
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (host, rest) = split_host(name);
        let repository = match host {
            HUB if !rest.contains('/') => format!("library/{rest}"),
            _ => rest.to_owned(),
        };
        if !is_host(host) || !is_path(&repository) || tag.is_some_and(|t| !is_tag(t)) {
            return Err(E::Format);
        }
        if host.len() + 1 + repository.len() > 255 {
            return Err(E::TooLong);
        }
        Ok(Reference { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// The repository as Docker names it in its complaint about upper case: everything up to the first colon behind the
/// host. `None` if it is in lower case.
fn in_upper_case(text: &str) -> Option<String> {
    let (host, rest) = split_host(text);
    let name = rest.split(':').next().unwrap_or(rest);
    let library = if host == HUB && !rest.contains('/') { "library/" } else { "" };
    name.chars().any(char::is_uppercase).then(|| format!("{library}{name}"))
}

/// The first component is a host if it has a dot, a colon or an upper-case letter, or is `localhost`.
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            let host = if first == "index.docker.io" { HUB } else { first };
            (host, rest)
        }
        _ => (HUB, name),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((v6, port)) => {
            return v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_path(repository: &str) -> bool {
    repository.split('/').all(is_path_component)
}

/// `[a-z0-9]+` runs joined by one `.`, one or two `_`, or any number of `-` (distribution reference grammar).
fn is_path_component(component: &str) -> bool {
    let is_alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(is_alnum) || !component.ends_with(is_alnum) {
        return false;
    }
    component
        .split(is_alnum)
        .filter(|s| !s.is_empty())
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().enumerate().all(|(i, b)| word(b) || (i > 0 && (b == b'.' || b == b'-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_filled_in() {
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("127.0.0.1:5000/l/x:t", "127.0.0.1:5000/l/x:t", "127.0.0.1:5000/l/x:t"),
            ("index.docker.io/library/x", "docker.io/library/x", "x"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar));
        }
    }

    #[test]
    fn bad_forms_are_refused_with_docker_texts() {
        assert_eq!(
            "FOO".parse::<Reference>().unwrap_err().to_string(),
            "invalid reference format: repository name (library/FOO) must be lowercase"
        );
        for (text, shown) in [("h.io/Foo/Bar:t", "Foo/Bar"), ("Bad_Name::", "library/Bad_Name")] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error, ReferenceParseError::Uppercase(shown.to_owned()));
        }
        let id = "0".repeat(64);
        let error = id.parse::<Reference>().unwrap_err().to_string();
        assert_eq!(error, format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings"));
        assert!(id[1..].parse::<Reference>().is_ok());
        for bad in ["", "a b", "a//b", "-a", "a:", "a:b:c/", "a@sha256:x", "..", "a/..", "a___b"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
