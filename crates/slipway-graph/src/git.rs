//! Does a text name a git repository, and what does it ask for there?
//!
//! The rules and messages are those of the reference builder (`spec/dockerfile.md` section 3.5, `spec/cli.md` 3.2):
//!
//! ```text
//! https://[login@]host/path.git[?query][#ref[:subdir]]     http and https only if the path ends in .git
//! git://…   ssh://…   user@host:path[#ref[:subdir]]
//! github.com/…                                             contexts only: in a Dockerfile it is a local path
//! ```

use std::fmt;

use slipway_oci::percent_decoded;

use crate::quote::quoted;

/// A repository, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitReference {
    pub remote: GitRemote,
    /// Branch, tag, `refs/…` or commit; empty is the default branch.
    pub revision: String,
    /// A folder of the repository; empty is all of it.
    pub subdir: String,
    /// What the commit's hash has to begin with.
    pub checksum: Option<String>,
    pub keeps_git_dir: Option<bool>,
    pub has_submodules: Option<bool>,
    pub times: Option<GitTimes>,
}

/// Which modification time files of a checkout get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GitTimes {
    /// That of the checkout.
    #[default]
    Checkout,
    /// That of the commit.
    Commit,
}

/// Where a repository is. User name and password of http URLs are kept apart, so that the URL may be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitRemote {
    url: String,
    /// `scheme`, in lower case; `ssh` for `user@host:path`.
    scheme: String,
    /// With the port, if there is one.
    host: String,
    /// `user:password`, decoded. Never shown, never part of a key.
    login: Option<String>,
}

impl GitRemote {
    /// The URL for git, without a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host and, where given, the port: what names of secrets end in.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The `user:password` that was written into the URL.
    pub fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    pub fn is_ssh(&self) -> bool {
        self.scheme == "ssh"
    }

    /// Whether it is spoken to by HTTP, where tokens can be sent.
    pub fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }
}

impl fmt::Display for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitRemote({:?})", self.url)
    }
}

/// Why the name of a repository is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitReferenceError {
    #[error("query {} has multiple values", quoted(.0))]
    SeveralValues(String),
    #[error("query {} has no value", quoted(.0))]
    NoValue(String),
    #[error("unexpected query {}", quoted(.0))]
    UnknownQuery(String),
    #[error("invalid {key} value: {}", quoted(.value))]
    BadValue { key: String, value: String },
    #[error("{what} conflicts: {} vs {}", quoted(.one), quoted(.other))]
    Conflict { what: &'static str, one: String, other: String },
    #[error("branch conflicts with tag")]
    BranchAndTag,
    #[error("invalid git ref {}", quoted(.0))]
    OptionLike(String),
    #[error("invalid git repository {}", quoted(.0))]
    OptionLikeRemote(String),
}

impl GitReference {
    /// What `text` means as a source of `ADD`; `None` if it names no repository.
    pub fn in_dockerfile(text: &str) -> Option<Result<GitReference, GitReferenceError>> {
        Some(Address::of(text)?.reference())
    }

    /// What `text` means as a context; `None` if it names no repository.
    pub fn of_context(text: &str) -> Option<Result<GitReference, GitReferenceError>> {
        // A bare `github.com/owner/repository` has no scheme.
        if text.starts_with("github.com/") {
            let text = format!("https://{text}");
            return Some(Address::of_url(&text)?.reference());
        }
        Self::in_dockerfile(text)
    }
}

/// A repository's name, split at its joints.
struct Address<'a> {
    remote: GitRemote,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Address<'a> {
    fn of(text: &'a str) -> Option<Address<'a>> {
        if text.starts_with(['.', '/']) {
            return None;
        }
        match scheme_of(text) {
            Some(scheme) => {
                let address = Address::of_url(text)?;
                let path = address.remote.url.split_once("://").map_or("", |(_, rest)| rest);
                let is_repository = !matches!(scheme.as_str(), "http" | "https") || path.ends_with(".git");
                is_repository.then_some(address)
            }
            None => Address::of_scp_form(text),
        }
    }

    fn of_url(text: &str) -> Option<Address<'_>> {
        let scheme = scheme_of(text).filter(|scheme| ["http", "https", "ssh", "git"].contains(&scheme.as_str()))?;
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (address, query) = before.split_once('?').unwrap_or((before, ""));
        let rest = &address[scheme.len() + "://".len()..];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let user = login.filter(|_| scheme == "ssh").map(|login| login.split(':').next().unwrap_or(login));
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let remote = GitRemote {
            url: format!("{scheme}://{user}{host}{path}"),
            host: host.to_owned(),
            login: login.filter(|_| scheme != "ssh").map(url_decoded),
            scheme,
        };
        Some(Address { remote, query, fragment })
    }

    /// `user@host:path[?query][#fragment]`.
    fn of_scp_form(text: &str) -> Option<Address<'_>> {
        let is_name = |text: &str, also: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        let (user, rest) = text.split_once('@')?;
        let (host, _) = rest.split_once(':')?;
        if !is_name(user, "-_") || !is_name(host, "-.") {
            return None;
        }
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (url, query) = before.split_once('?').unwrap_or((before, ""));
        let remote = GitRemote { url: url.to_owned(), scheme: "ssh".to_owned(), host: host.to_owned(), login: None };
        Some(Address { remote, query, fragment })
    }

    fn reference(self) -> Result<GitReference, GitReferenceError> {
        let fragment = url_decoded(self.fragment);
        let (revision, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut reference = GitReference {
            remote: self.remote,
            revision: revision.to_owned(),
            subdir: subdir.to_owned(),
            checksum: None,
            keeps_git_dir: None,
            has_submodules: None,
            times: None,
        };
        reference.add_query(self.query)?;
        if reference.revision.starts_with('-') {
            return Err(GitReferenceError::OptionLike(reference.revision));
        }
        // To ssh, a host that begins so is an option; to git, a whole address is.
        if reference.remote.host.starts_with('-') || reference.remote.url.starts_with('-') {
            return Err(GitReferenceError::OptionLikeRemote(reference.remote.url));
        }
        Ok(reference)
    }
}

impl GitReference {
    fn add_query(&mut self, query: &str) -> Result<(), GitReferenceError> {
        let mut seen: Vec<String> = Vec::new();
        let (mut tag, mut branch) = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (form_decoded(key), form_decoded(value));
            if seen.contains(&key) {
                return Err(GitReferenceError::SeveralValues(key));
            }
            seen.push(key.clone());
            let is_flag = matches!(key.as_str(), "keep-git-dir" | "submodules" | "fetch-by-commit");
            if value.is_empty() && !is_flag {
                return Err(GitReferenceError::NoValue(key));
            }
            match key.as_str() {
                "ref" => set("ref", &mut self.revision, value)?,
                "subdir" => set("subdir", &mut self.subdir, value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keeps_git_dir = Some(flag(key, value)?),
                "submodules" => self.has_submodules = Some(flag(key, value)?),
                "mtime" => self.times = Some(times(key, value)?),
                // Commits are what is fetched anyway.
                "fetch-by-commit" => drop(flag(key, value)?),
                _ => return Err(GitReferenceError::UnknownQuery(key)),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(GitReferenceError::BranchAndTag);
        }
        for (name, prefix) in [(tag, "refs/tags/"), (branch, "refs/heads/")] {
            if let Some(name) = name {
                let full = if name.starts_with(prefix) { name } else { format!("{prefix}{name}") };
                set("ref", &mut self.revision, full)?;
            }
        }
        if self.revision.is_empty()
            && let Some(checksum) = &self.checksum
        {
            self.revision.clone_from(checksum);
        }
        Ok(())
    }
}

/// Gives `place` its value, unless it has another one already.
fn set(what: &'static str, place: &mut String, value: String) -> Result<(), GitReferenceError> {
    if !place.is_empty() && *place != value {
        return Err(GitReferenceError::Conflict { what, one: place.clone(), other: value });
    }
    *place = value;
    Ok(())
}

fn flag(key: String, value: String) -> Result<bool, GitReferenceError> {
    match value.as_str() {
        "" => Ok(true),
        text => crate::request::flags::parse_bool(text).ok_or(GitReferenceError::BadValue { key, value }),
    }
}

fn times(key: String, value: String) -> Result<GitTimes, GitReferenceError> {
    match value.as_str() {
        "checkout" => Ok(GitTimes::Checkout),
        "commit" => Ok(GitTimes::Commit),
        _ => Err(GitReferenceError::BadValue { key, value }),
    }
}

/// What stands before `://`, in lower case.
fn scheme_of(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// A value of a query, in which a blank may be written as `+`.
fn form_decoded(text: &str) -> String {
    url_decoded(&text.replace('+', " "))
}

/// `text` with every `%XX` as what it stands for, as far as that is text.
pub fn url_decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded(text)).into_owned()
}

/// `url` with user name and password made unreadable, as messages may show it.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((login, host)) => {
            let hidden = if login.contains(':') { "xxxxx:xxxxx" } else { "xxxxx" };
            format!("{scheme}://{hidden}@{host}{}", &rest[end..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> GitReference {
        GitReference::in_dockerfile(text).unwrap().unwrap()
    }

    fn error(text: &str) -> String {
        GitReference::in_dockerfile(text).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn repositories_are_recognised() {
        for text in [
            "git@h.x:a/b",
            "dev_1@h:a",
            "ssh://h/a",
            "git://h/a",
            "https://h/a.git",
            "https://h/a.git?branch=1#y",
            "HTTPS://h/a.git",
        ] {
            assert!(GitReference::in_dockerfile(text).is_some(), "{text}");
        }
        for text in [
            "github.com/a/b",
            "https://h/a",
            "a.git",
            "https://h/a?b.git",
            "x@y",
            "./git@h:x",
            "../a@b:c",
            "/a@b:c",
            "ext::sh -c x.git",
            "ext://h/a.git",
            "file:///a.git",
            "a b@h:x",
        ] {
            assert!(GitReference::in_dockerfile(text).is_none(), "{text}");
        }
    }

    #[test]
    fn contexts_may_name_github_without_a_scheme() {
        let reference = GitReference::of_context("github.com/a/b#v1:c").unwrap().unwrap();
        assert_eq!(reference.remote.url(), "https://github.com/a/b");
        assert_eq!((reference.revision.as_str(), reference.subdir.as_str()), ("v1", "c"));
        assert!(GitReference::of_context("gitlab.com/a/b").is_none());
    }

    #[test]
    fn fragment_and_query_say_what_is_wanted() {
        let text = "https://h/r.git?branch=b&submodules=false&keep-git-dir&commit=ab&mtime=commit#:s%20p";
        let reference = parsed(text);
        assert_eq!((reference.revision.as_str(), reference.subdir.as_str()), ("refs/heads/b", "s p"));
        assert_eq!((reference.keeps_git_dir, reference.has_submodules), (Some(true), Some(false)));
        assert_eq!((reference.checksum.as_deref(), reference.times), (Some("ab"), Some(GitTimes::Commit)));
        assert_eq!(parsed("https://h/r.git?tag=refs/tags/v#refs/tags/v").revision, "refs/tags/v");
        assert_eq!(parsed("https://h/r.git?checksum=abcdef1").revision, "abcdef1");
        assert_eq!(parsed("git@h:p?ref=a+b").revision, "a b");
        assert_eq!(parsed("git@h:p/q.git#r:s").remote.url(), "git@h:p/q.git");
    }

    #[test]
    fn logins_are_kept_out_of_what_is_shown() {
        let remote = parsed("https://us%40er:p%2Fw@h.x:8443/r.git#x").remote;
        assert_eq!((remote.url(), remote.host()), ("https://h.x:8443/r.git", "h.x:8443"));
        assert_eq!(remote.login(), Some("us@er:p/w"));
        assert!(!format!("{remote:?} {remote}").contains("p/w"));
        let remote = parsed("ssh://git:secret@h:22/r").remote;
        assert_eq!((remote.url(), remote.login()), ("ssh://git@h:22/r", None));
        assert!(remote.is_ssh() && !remote.is_http());
    }

    #[test]
    fn contradictions_are_refused() {
        for (tail, message) in [
            ("?tag=a&branch=b", "branch conflicts with tag"),
            ("?foo=1", "unexpected query \"foo\""),
            ("?ref=a&ref=b", "query \"ref\" has multiple values"),
            ("?ref=", "query \"ref\" has no value"),
            ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?tag=a#b", "ref conflicts: \"b\" vs \"refs/tags/a\""),
            ("?subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
            ("?keep-git-dir=x", "invalid keep-git-dir value: \"x\""),
            ("?submodules=x", "invalid submodules value: \"x\""),
            ("?mtime=x", "invalid mtime value: \"x\""),
            ("#--upload-pack=x", "invalid git ref \"--upload-pack=x\""),
            ("?ref=-x", "invalid git ref \"-x\""),
        ] {
            assert_eq!(error(&format!("https://h/r.git{tail}")), message, "{tail}");
        }
        assert_eq!(error("ssh://-oProxyCommand=x/r"), "invalid git repository \"ssh://-oProxyCommand=x/r\"");
        assert_eq!(error("-u@h:r"), "invalid git repository \"-u@h:r\"");
    }

    #[test]
    fn urls_can_be_shown_without_logins() {
        assert_eq!(redacted("https://u:p@h/x@y"), "https://xxxxx:xxxxx@h/x@y");
        assert_eq!(redacted("https://t@h/x"), "https://xxxxx@h/x");
        assert_eq!(redacted("https://h/x@y"), "https://h/x@y");
        assert_eq!(redacted("a/b"), "a/b");
    }
}
