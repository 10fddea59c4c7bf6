//! Which file or repository does a source of `ADD` name? (`spec/dockerfile.md` section 3.5)

use slipway_graph::git::{redacted, url_decoded};
use slipway_graph::op::{GitSource, HttpSource, Source};
use slipway_graph::{GitReference, GitReferenceError, GitTimes};
use slipway_oci::Checksum;

use crate::quote::quoted;

/// What a source names.
pub(super) enum Place {
    /// Files of the build context or of a stage.
    Files,
    /// A file at an HTTP(S) URL.
    Url,
    Repository(Result<GitReference, GitReferenceError>),
}

/// The flags of an `ADD` that say how something remote is fetched, variables filled in.
pub(super) struct Fetching {
    pub(super) keeps_git_dir: Option<bool>,
    pub(super) checksum: Option<String>,
}

impl Place {
    pub(super) fn of(source: &str) -> Place {
        match GitReference::in_dockerfile(source) {
            Some(reference) => Place::Repository(reference),
            None if source.starts_with("http://") || source.starts_with("https://") => Place::Url,
            None => Place::Files,
        }
    }

    /// What to fetch if this is the place that `source` names; `None` if that is not remote.
    pub(super) fn source(self, source: &str, fetching: &Fetching) -> Result<Option<Source>, String> {
        match self {
            Place::Files => Ok(None),
            Place::Url => http_source(source, fetching).map(|http| Some(Source::Http(http))),
            Place::Repository(reference) => {
                let git = git_source(reference.map_err(|e| e.to_string())?, fetching)?;
                Ok(Some(Source::Git(git)))
            }
        }
    }
}

fn git_source(reference: GitReference, fetching: &Fetching) -> Result<GitSource, String> {
    let checksum = fetching.checksum.clone();
    if let (Some(flag), Some(query)) = (fetching.keeps_git_dir, reference.keeps_git_dir)
        && flag != query
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    if let (Some(flag), Some(query)) = (&checksum, &reference.checksum)
        && flag != query
    {
        return Err(format!("checksum mismatch {} != {}", quoted(flag), quoted(query)));
    }
    if let Some(checksum) = checksum.as_deref().filter(|text| !is_commit(text)) {
        return Err(format!("invalid checksum {checksum}, expected hex commit hash"));
    }
    Ok(GitSource {
        keeps_git_dir: fetching.keeps_git_dir.or(reference.keeps_git_dir).unwrap_or(false),
        checksum: checksum.or_else(|| reference.checksum.clone()),
        // `mtime=` is for contexts only.
        times: GitTimes::Checkout,
        ..GitSource::from(reference)
    })
}

/// A commit, possibly shortened.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn http_source(url: &str, fetching: &Fetching) -> Result<HttpSource, String> {
    let checksum = fetching.checksum.as_ref().map(|text| text.parse::<Checksum>()).transpose();
    let checksum = checksum.map_err(|error| format!("{error}, for {}", redacted(url)))?;
    Ok(HttpSource { url: url.to_owned(), filename: file_name_of(url), checksum })
}

/// The last segment of the URL's path, decoded, if a file can be called that (CVE-2026-33747). That of `a/` is `a`.
fn file_name_of(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let after_scheme = path.split_once("://").map_or(path, |(_, rest)| rest);
    let path = url_decoded(after_scheme.split_once('/').map_or("", |(_, path)| path));
    match path.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
        "" | "." | ".." => "__unnamed__".to_owned(),
        name if name.len() > 255 || name.contains('\0') => "__unnamed__".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::errors;

    #[test]
    fn names_of_downloaded_files_are_names() {
        let long = format!("http://h/{}", "x".repeat(256));
        for url in ["http://h", "http://h/", "http://h/..", "http://h/%2e%2e", "http://h/a%2f..", "http://h/%00", &long]
        {
            assert_eq!(file_name_of(url), "__unnamed__", "{url}");
        }
        assert_eq!(file_name_of("http://h/%2e%2e%2fa%20b?c/d#e/f"), "a b");
        assert_eq!(file_name_of("http://h/a/b//"), "b");
    }

    #[test]
    fn checksums_that_cannot_be_are_refused() {
        let hash = |n: usize| "a".repeat(n);
        for (line, message) in [
            (format!("--checksum=md5:{} https://h/f", hash(32)), "unsupported digest algorithm: `md5:"),
            (format!("--checksum=sha512:{} https://h/f", hash(64)), "invalid checksum digest length: `sha512:"),
            (format!("--checksum={} https://h/f", hash(64)), "invalid checksum digest format: `aaaa"),
            ("--checksum=abcdef https://h/r.git".to_owned(), "invalid checksum abcdef, expected hex commit hash"),
            (
                format!("--checksum=sha256:{} https://h/r.git", hash(64)),
                &format!("invalid checksum sha256:{}, expected hex commit hash", hash(64)),
            ),
            (
                format!("--checksum={} https://h/r.git?checksum={}", hash(40), hash(7)),
                "checksum mismatch \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" != \"aaaaaaa\"",
            ),
            ("--keep-git-dir https://h/r.git?keep-git-dir=0".to_owned(), "inconsistent keep-git-dir configuration"),
        ] {
            let told = errors(&format!("FROM scratch\nADD {line} /\n")).remove(0);
            assert!(told.starts_with(message), "{line}: {told}");
        }
    }
}
