//! `ADD <git repository>`: which sources are repositories, and what their URLs ask for.

use slipway_graph::op::GitSource;

use crate::quote::quoted;

/// Whether `source` names a git repository: `git@host:path`, `ssh://`, `git://`, or `http(s)://….git`.
pub(crate) fn is_git(source: &str) -> bool {
    if source.starts_with("ssh://") || source.starts_with("git://") {
        return true;
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return path_of(source).ends_with(".git");
    }
    is_scp_like(source)
}

fn path_of(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// `user@host:path`.
fn is_scp_like(source: &str) -> bool {
    let is_name = |text: &str, also: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    source
        .split_once('@')
        .and_then(|(user, rest)| rest.split_once(':').map(|(host, _)| is_name(user, "-_") && is_name(host, "-_.")))
        .unwrap_or(false)
}

/// What is asked for in a query, the fragment included.
#[derive(Default)]
struct Wanted {
    revision: Option<String>,
    subdir: Option<String>,
    checksum: Option<String>,
    keeps_git_dir: Option<bool>,
    has_no_submodules: bool,
}

/// Reads a repository's URL. `keeps_git_dir` and `checksum` are the flags of the instruction.
pub(crate) fn parse(source: &str, keeps_git_dir: Option<bool>, checksum: Option<&str>) -> Result<GitSource, String> {
    let (rest, fragment) = source.split_once('#').unwrap_or((source, ""));
    // An address of the form `git@host:path` has no query.
    let (remote, query) = match rest.split_once('?') {
        Some((remote, query)) if rest.contains("://") => (remote, query),
        _ => (rest, ""),
    };
    let mut wanted = query_of(query)?;
    add_fragment(&mut wanted, fragment)?;
    if let (Some(a), Some(b)) = (keeps_git_dir, wanted.keeps_git_dir)
        && a != b
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    if let (Some(a), Some(b)) = (checksum, &wanted.checksum)
        && a != b
    {
        return Err(format!("checksum mismatch {} != {}", quoted(a), quoted(b)));
    }
    let checksum = checksum.map(str::to_owned).or(wanted.checksum);
    if let Some(checksum) = checksum.as_deref().filter(|c| !is_commit(c)) {
        return Err(format!("invalid checksum {checksum}, expected hex commit hash"));
    }
    Ok(GitSource {
        remote: remote.to_owned(),
        revision: wanted.revision.unwrap_or_default(),
        subdir: wanted.subdir.unwrap_or_default(),
        keeps_git_dir: keeps_git_dir.or(wanted.keeps_git_dir).unwrap_or(false),
        has_submodules: !wanted.has_no_submodules,
        checksum,
    })
}

/// A commit, possibly shortened.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn query_of(query: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let (mut tag, mut branch, mut reference) = (None, None, None);
    let mut seen: Vec<&str> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if seen.contains(&key) {
            return Err(format!("query {} has multiple values", quoted(key)));
        }
        seen.push(key);
        if value.is_empty() && !matches!(key, "keep-git-dir" | "submodules") {
            return Err(format!("query {} has no value", quoted(key)));
        }
        let value = value.to_owned();
        match key {
            "ref" => reference = Some(value),
            "tag" => tag = Some(value),
            "branch" => branch = Some(value),
            "subdir" => wanted.subdir = Some(value),
            "checksum" | "commit" => wanted.checksum = Some(value),
            "keep-git-dir" => wanted.keeps_git_dir = Some(flag_of(key, &value)?),
            "submodules" => wanted.has_no_submodules = !flag_of(key, &value)?,
            // Honoured for contexts only.
            "mtime" | "fetch-by-commit" => {}
            _ => return Err(format!("unexpected query {}", quoted(key))),
        }
    }
    if tag.is_some() && branch.is_some() {
        return Err("branch conflicts with tag".to_owned());
    }
    let full = tag.map(|t| format!("refs/tags/{t}")).or(branch.map(|b| format!("refs/heads/{b}")));
    wanted.revision = agree("ref", reference, full)?;
    Ok(wanted)
}

fn flag_of(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("invalid {key} value: {}", quoted(value))),
    }
}

/// `#ref[:subdir]`.
fn add_fragment(wanted: &mut Wanted, fragment: &str) -> Result<(), String> {
    let (revision, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    wanted.revision = agree("ref", given(revision), wanted.revision.take())?;
    wanted.subdir = agree("subdir", given(subdir), wanted.subdir.take())?;
    Ok(())
}

fn agree(what: &str, a: Option<String>, b: Option<String>) -> Result<Option<String>, String> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(format!("{what} conflicts: {} vs {}", quoted(&a), quoted(&b))),
        (a, b) => Ok(a.or(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_recognised() {
        for source in ["git@h.x:a/b", "ssh://h/a", "git://h/a", "https://h/a.git", "https://h/a.git?x=1#y"] {
            assert!(is_git(source), "{source}");
        }
        for source in ["github.com/a/b", "https://h/a", "a.git", "https://h/a?b.git", "x@y"] {
            assert!(!is_git(source), "{source}");
        }
    }

    #[test]
    fn fragment_and_query_say_what_is_wanted() {
        let git = parse("https://h/r.git?branch=b&submodules=false#:sub", Some(true), Some("abcdef0")).unwrap();
        assert_eq!(
            (git.remote.as_str(), git.revision.as_str(), git.subdir.as_str()),
            ("https://h/r.git", "refs/heads/b", "sub")
        );
        assert!(git.keeps_git_dir && !git.has_submodules);
        assert_eq!(git.checksum.as_deref(), Some("abcdef0"));
    }

    #[test]
    fn contradictions_are_refused() {
        for (tail, message) in [
            ("?tag=a&branch=b", "branch conflicts with tag"),
            ("?foo=1", "unexpected query \"foo\""),
            ("?ref=a&ref=b", "query \"ref\" has multiple values"),
            ("?ref=", "query \"ref\" has no value"),
            ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
            ("?keep-git-dir=false", "inconsistent keep-git-dir configuration"),
        ] {
            assert_eq!(parse(&format!("https://h/r.git{tail}"), Some(true), None).unwrap_err(), message);
        }
        let error = parse("https://h/r.git", None, Some("zz")).unwrap_err();
        assert_eq!(error, "invalid checksum zz, expected hex commit hash");
    }
}
