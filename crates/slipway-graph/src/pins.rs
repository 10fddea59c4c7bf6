//! What do the names in a Dockerfile stand for? A list that is kept with it, in `slipway.lock`.

use std::collections::BTreeMap;

use slipway_oci::{Digest, Reference};

use crate::git::{GitRemote, redacted};
use crate::op::HttpSource;

/// Names, and what they stand for. What says itself what it stands for (a digest, a checksum, a commit) is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// By the whole name of the image; of an image for several platforms, the digest of its index.
    pub images: BTreeMap<String, Digest>,
    /// By URL, without user and password.
    pub urls: BTreeMap<String, Digest>,
    /// Commits, by `<remote>#<revision>`.
    pub git: BTreeMap<String, String>,
}

impl Pins {
    /// What an image is called in the list; `None` if its name has a digest.
    pub fn name_of_image(reference: &Reference) -> Option<String> {
        reference.digest().is_none().then(|| reference.with_default_tag().to_string())
    }

    /// What a file at a URL is called in the list; `None` if its checksum is known.
    pub fn name_of_url(http: &HttpSource) -> Option<String> {
        http.checksum.is_none().then(|| redacted(&http.url))
    }

    /// What a revision of a repository is called in the list; `None` if it is a commit.
    pub fn name_of_git(remote: &GitRemote, revision: &str) -> Option<String> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let is_commit = matches!(revision.len(), 40 | 64) && revision.bytes().all(is_digit);
        (!is_commit).then(|| format!("{}#{revision}", remote.url()))
    }

    /// Adds what `others` has and this list lacks.
    pub fn extend(&mut self, others: Pins) {
        for (name, digest) in others.images {
            self.images.entry(name).or_insert(digest);
        }
        for (name, digest) in others.urls {
            self.urls.entry(name).or_insert(digest);
        }
        for (name, commit) in others.git {
            self.git.entry(name).or_insert(commit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::GitReference;

    fn git(text: &str) -> Option<String> {
        let reference = GitReference::in_dockerfile(text).unwrap().unwrap();
        Pins::name_of_git(&reference.remote, &reference.revision)
    }

    #[test]
    fn only_names_that_can_move_are_in_the_list() {
        let image = |text: &str| Pins::name_of_image(&text.parse().unwrap());
        assert_eq!(image("alpine").unwrap(), "docker.io/library/alpine:latest");
        assert_eq!(image(&format!("alpine:3@sha256:{}", "0".repeat(64))), None);
        let url = |checksum: Option<&str>| HttpSource {
            url: "https://me:pw@h/f".to_owned(),
            filename: "f".to_owned(),
            checksum: checksum.map(|text| text.parse().unwrap()),
        };
        assert!(!Pins::name_of_url(&url(None)).unwrap().contains("pw"));
        assert_eq!(Pins::name_of_url(&url(Some(&format!("sha256:{}", "0".repeat(64))))), None);
        assert_eq!(git("https://me:pw@h/r.git#v1:sub").unwrap(), "https://h/r.git#v1");
        assert_eq!(git(&format!("https://h/r.git#{}", "a".repeat(40))), None);
    }

    #[test]
    fn what_is_pinned_stays() {
        let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64)).parse::<Digest>().unwrap();
        let mut pins = Pins { images: BTreeMap::from([("a".to_owned(), digest('1'))]), ..Pins::default() };
        let others = BTreeMap::from([("a".to_owned(), digest('2')), ("b".to_owned(), digest('3'))]);
        pins.extend(Pins { images: others, ..Pins::default() });
        assert_eq!(pins.images, BTreeMap::from([("a".to_owned(), digest('1')), ("b".to_owned(), digest('3'))]));
    }
}
