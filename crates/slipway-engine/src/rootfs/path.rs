//! What does a path inside a tree look like once it can do no harm?

use std::fmt;

/// A path below the top of a tree (a root file system or a build context): no `/` at either end, no empty, `.` or
/// `..` component. Empty is the top itself. Bytes, because file names need not be UTF-8.
///
/// It says nothing about links: a path is *real* only after [`follow`](super::follow).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct TreePath(Vec<u8>);

impl TreePath {
    /// The top of the tree.
    pub(crate) fn top() -> TreePath {
        TreePath::default()
    }

    /// Cleans `text` by its letters alone: `.` and empty components go, `..` takes its predecessor with it and stops
    /// at the top.
    pub(crate) fn clean(text: impl AsRef<[u8]>) -> TreePath {
        let mut path = TreePath::top();
        for component in components(text.as_ref()) {
            match component {
                b".." => path = path.parent().unwrap_or_default(),
                name => path.push(name),
            }
        }
        path
    }

    /// The path of `name` in this folder. `name` is one component as a directory lists it.
    pub(crate) fn join(&self, name: &[u8]) -> TreePath {
        let mut path = TreePath(Vec::with_capacity(self.0.len() + 1 + name.len()));
        path.0.extend_from_slice(&self.0);
        path.push(name);
        path
    }

    /// `below`, seen from this folder.
    pub(crate) fn join_path(&self, below: &TreePath) -> TreePath {
        if below.is_top() { self.clone() } else { self.join(&below.0) }
    }

    fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// Whether it is the top.
    pub(crate) fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder it is in; `None` for the top.
    pub(crate) fn parent(&self) -> Option<TreePath> {
        if self.is_top() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(TreePath(self.0[..end].to_vec()))
    }

    /// Its last component; `None` for the top.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        self.0.rsplit(|b| *b == b'/').next().filter(|name| !name.is_empty())
    }

    /// Its components, outermost first.
    pub(crate) fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    /// This path as seen from `folder`; `None` if it is neither `folder` nor below it.
    pub(crate) fn strip(&self, folder: &TreePath) -> Option<TreePath> {
        if folder.is_top() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(folder.0.as_slice())? {
            [] => Some(TreePath::top()),
            [b'/', rest @ ..] => Some(TreePath(rest.to_vec())),
            _ => None,
        }
    }

    /// The bytes, empty for the top.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as the kernel wants them: `.` for the top.
    pub(crate) fn for_kernel(&self) -> &[u8] {
        if self.is_top() { b"." } else { &self.0 }
    }
}

/// The components of a path as somebody typed it, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// With a leading `/`, as people write paths in an image.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::TreePath;

    #[test]
    fn cleaning_stops_at_the_top() {
        for (typed, clean) in [
            ("", ""),
            ("/", ""),
            ("./a//b/.", "a/b"),
            ("a/../../../etc/passwd", "etc/passwd"),
            ("/a/b/..", "a"),
            ("..", ""),
        ] {
            assert_eq!(TreePath::clean(typed).as_bytes(), clean.as_bytes(), "{typed}");
        }
    }

    #[test]
    fn parts_of_a_path() {
        let path = TreePath::clean("a/b/c");
        assert_eq!(path.name(), Some(&b"c"[..]));
        assert_eq!(path.parent(), Some(TreePath::clean("a/b")));
        assert_eq!(TreePath::clean("a").parent(), Some(TreePath::top()));
        assert_eq!(TreePath::top().parent(), None);
        assert_eq!(path.strip(&TreePath::clean("a")), Some(TreePath::clean("b/c")));
        assert_eq!(path.strip(&TreePath::clean("a/bb")), None);
        assert_eq!(TreePath::clean("ab").strip(&TreePath::clean("a")), None);
        assert_eq!(path.to_string(), "/a/b/c");
    }
}
