//! Paths inside an image, as text. Nothing here looks at a file system.

/// The shortest spelling of `path`: no `//`, no `.`, no `..` except at the front of a relative path.
pub(crate) fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// `path` seen from the root; `..` cannot lead above it.
pub(crate) fn rooted(path: &str) -> String {
    clean(&format!("/{path}"))
}

/// Where `path` leads from the folder `cwd`; an absolute `path` stays what it is, cleaned.
pub(crate) fn join(cwd: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{cwd}/{path}")) }
}

/// The destination of a copy: absolute, with a `/` at the end where `dest` says that it is a folder.
pub(crate) fn destination(cwd: &str, dest: &str) -> String {
    let is_folder = dest.is_empty() || dest == "." || dest.ends_with('/') || dest.ends_with("/.");
    let path = join(cwd, dest);
    if is_folder && path != "/" { path + "/" } else { path }
}

/// Whether `*`, `?` or `[` occur in `pattern` without a backslash in front.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The part after the last `/`.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_keep_their_folder_sign() {
        for (cwd, dest, expect) in [
            ("/w", "", "/w/"),
            ("/w", ".", "/w/"),
            ("/w", "./a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", "/a/.", "/a/"),
            ("/w", "../x", "/x"),
            ("/", ".", "/"),
        ] {
            assert_eq!(destination(cwd, dest), expect, "{dest}");
        }
    }

    #[test]
    fn the_root_is_the_top() {
        assert_eq!(rooted("../../etc/./x//y/"), "/etc/x/y");
        assert_eq!(clean("../a"), "../a");
        assert_eq!(clean("a/.."), ".");
    }

    #[test]
    fn a_backslash_hides_a_wildcard() {
        assert!(has_wildcard("a*") && has_wildcard("[a]") && has_wildcard("a[[]b"));
        assert!(!has_wildcard("a\\*b") && !has_wildcard("plain"));
    }
}
