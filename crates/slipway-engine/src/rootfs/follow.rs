//! Where does a path lead once the links on its way are followed, without ever leaving the tree?

use std::io;

use super::TreePath;
use super::path::components;

/// How many links may be on the way, as in the kernel (path_resolution(7)).
pub(crate) const MAX_LINKS: usize = 40;

/// What is at a real path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// Nothing.
    Missing,
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// Anything else.
    Other,
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("more than {MAX_LINKS} symbolic links on the way to `{path}`")]
    TooManyLinks { path: String },
    #[error("cannot look at `{path}`")]
    Look { path: TreePath, source: io::Error },
}

/// Resolves `path`, including a link at its end, to a real path: one without links. `look` says what is at a real
/// path. Absolute links start at the top again, `..` stops there. What does not exist is taken as it is written.
pub(crate) fn follow(
    path: &[u8],
    mut look: impl FnMut(&TreePath) -> io::Result<Component>,
) -> Result<TreePath, FollowError> {
    let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut real = TreePath::top();
    let mut n_links = 0;
    while let Some(component) = pending.pop() {
        if component == b".." {
            real = real.parent().unwrap_or_default();
            continue;
        }
        let next = real.join(&component);
        let found = look(&next).map_err(|source| FollowError::Look { path: next.clone(), source })?;
        let Component::Link(target) = found else {
            real = next;
            continue;
        };
        n_links += 1;
        if n_links > MAX_LINKS {
            return Err(FollowError::TooManyLinks { path: String::from_utf8_lossy(path).into_owned() });
        }
        if target.starts_with(b"/") {
            real = TreePath::top();
        }
        pending.extend(components(&target).rev().map(<[u8]>::to_vec));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow_in(links: &[(&str, &str)], path: &str) -> String {
        let look = |at: &TreePath| {
            let link = links.iter().find(|(name, _)| at.as_bytes() == name.as_bytes());
            Ok(link.map_or(Component::Other, |(_, target)| Component::Link(target.as_bytes().to_vec())))
        };
        match follow(path.as_bytes(), look) {
            Ok(real) => real.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn links_stay_inside() {
        let links = [("abs", "/x/y"), ("rel", "d/../e"), ("d", "abs"), ("up", "../../../etc"), ("x/y/in", "../z")];
        for (path, real) in [
            ("a/b", "/a/b"),
            ("/abs/f", "/x/y/f"),
            ("rel", "/x/e"),
            ("up/passwd", "/etc/passwd"),
            ("d/in", "/x/z"),
            ("../../a", "/a"),
            ("abs/..", "/x"),
        ] {
            assert_eq!(follow_in(&links, path), real, "{path}");
        }
    }

    #[test]
    fn a_circle_is_an_error() {
        let told = follow_in(&[("a", "b"), ("b", "a")], "a/f");
        assert_eq!(told, "more than 40 symbolic links on the way to `a/f`");
    }
}
