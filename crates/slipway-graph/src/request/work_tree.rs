//! What is said of the git work tree that a build is started in.

use std::collections::BTreeMap;

/// Where the build context lies in a git work tree, and what that is at; nothing if it is in none, or nobody asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkTree {
    /// The commit; with `-dirty` behind it if somebody wanted to know, and files are not what they are there.
    pub revision: Option<String>,
    /// Where others find the commit, without a login.
    pub source: Option<String>,
    /// Folders that are lent to the build, by what it calls them: where they are in the work tree.
    pub folders: BTreeMap<String, String>,
}
