//! Which commit does a revision mean at the remote? Read from what `git ls-remote` prints.

use serde::{Deserialize, Serialize};

/// What a revision turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resolved {
    pub(super) commit: String,
    /// The object that the reference itself points at: an annotated tag, else the commit.
    pub(super) object: String,
    /// `refs/heads/…` or `refs/tags/…`; `None` for a bare commit.
    pub(super) name: Option<String>,
}

impl Resolved {
    /// A commit that was asked for by its whole hash.
    pub(super) fn commit(hash: &str) -> Resolved {
        Resolved { commit: hash.to_owned(), object: hash.to_owned(), name: None }
    }

    /// Whether what was found is what the user said it must be.
    pub(super) fn matches(&self, checksum: &str) -> bool {
        self.commit.starts_with(checksum) || self.object.starts_with(checksum)
    }
}

/// Whether `text` is the whole hash of an object.
pub(super) fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What to ask `ls-remote` for. An annotated tag is asked for twice: as it is, and what it points at.
pub(super) fn patterns(revision: &str) -> Vec<String> {
    match revision {
        "" => vec!["HEAD".to_owned()],
        revision => vec![revision.to_owned(), format!("{revision}^{{}}")],
    }
}

/// Finds `revision` in the lines of `ls-remote --symref`: as a whole name below `refs/`, else as a branch, else as a
/// tag. The empty one is the default branch.
pub(super) fn find(listing: &str, revision: &str) -> Option<Resolved> {
    let rows: Vec<(&str, &str)> = listing.lines().filter_map(|line| line.split_once('\t')).collect();
    let object = |name: &str| rows.iter().find(|(hash, n)| *n == name && is_hash(hash)).map(|(hash, _)| *hash);
    if revision.is_empty() {
        let commit = object("HEAD")?.to_owned();
        let branch = rows.iter().find_map(|(target, name)| target.strip_prefix("ref: ").filter(|_| *name == "HEAD"));
        return Some(Resolved { object: commit.clone(), commit, name: branch.map(str::to_owned) });
    }
    let names = [
        format!("refs/{}", revision.strip_prefix("refs/").unwrap_or(revision)),
        format!("refs/heads/{revision}"),
        format!("refs/tags/{revision}"),
    ];
    let (name, found) = names.iter().find_map(|name| Some((name, object(name)?)))?;
    let commit = object(&format!("{name}^{{}}")).unwrap_or(found);
    Some(Resolved { commit: commit.to_owned(), object: found.to_owned(), name: Some(name.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn listing(rows: &[(&str, &str)]) -> String {
        rows.iter().map(|(hash, name)| format!("{hash}\t{name}\n")).collect()
    }

    #[test]
    fn a_branch_goes_before_a_tag_and_a_whole_name_before_both() {
        let (one, two, three) = (hash('1'), hash('2'), hash('3'));
        let rows = [(one.as_str(), "refs/tags/v"), (&two, "refs/heads/v"), (&three, "refs/remotes/v")];
        let found = find(&listing(&rows), "v").unwrap();
        assert_eq!((found.commit.as_str(), found.name.as_deref()), (two.as_str(), Some("refs/heads/v")));
        assert_eq!(find(&listing(&rows), "refs/tags/v").unwrap().commit, one);
        assert_eq!(find(&listing(&rows), "tags/v").unwrap().commit, one);
        assert_eq!(find(&listing(&rows), "remotes/v").unwrap().commit, three);
        assert_eq!(find(&listing(&rows), "nope"), None);
    }

    #[test]
    fn an_annotated_tag_is_its_commit() {
        let (tag, commit) = (hash('a'), hash('c'));
        let rows = [(tag.as_str(), "refs/tags/v"), (&commit, "refs/tags/v^{}")];
        let found = find(&listing(&rows), "v").unwrap();
        assert_eq!((&found.commit, &found.object), (&commit, &tag));
        assert!(found.matches("aaaa") && found.matches("cc") && !found.matches("b"));
    }

    #[test]
    fn without_a_revision_the_default_branch_is_meant() {
        let commit = hash('c');
        let found = find(&format!("ref: refs/heads/main\tHEAD\n{commit}\tHEAD\n"), "").unwrap();
        assert_eq!((found.commit.as_str(), found.name.as_deref()), (commit.as_str(), Some("refs/heads/main")));
        assert_eq!(find(&format!("{commit}\tHEAD\n"), "").unwrap().name, None);
        assert_eq!(find("", ""), None);
    }

    #[test]
    fn what_is_no_hash_is_not_taken_for_one() {
        assert_eq!(find("--upload-pack=x\trefs/heads/main\n", "main"), None);
        assert!(is_hash(&hash('0')) && !is_hash("abc") && !is_hash(&hash('G')));
    }
}
