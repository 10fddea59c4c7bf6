//! Makes relative paths in a tree relative to something else, or absolute.

use crate::tree::{Map, Node, Value};

/// `path` below `base`, without `.`, `..` and doubled slashes, as far as names alone allow.
pub fn join(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') || base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
    clean(&whole)
}

/// The shortest spelling of a path.
pub fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if is_absolute => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The folder that a file is in.
pub(crate) fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((folder, _)) => clean(folder),
        None => ".".to_owned(),
    }
}

/// Whether a build context is no folder of this machine: a URL, an image, another service.
pub(crate) fn is_remote_context(context: &str) -> bool {
    let prefixes = ["http://", "https://", "git://", "ssh://", "github.com/", "git@", "service:"];
    context.contains("://") || prefixes.iter().any(|prefix| context.starts_with(prefix))
}

/// Joins paths with a folder; `~` is the user's own.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) folder: &'a str,
    pub(crate) home: &'a str,
}

impl Base<'_> {
    fn joined(self, path: &str) -> String {
        match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => join(self.home, rest.trim_start_matches('/')),
            _ => join(self.folder, path),
        }
    }

    fn change(self, node: Option<&mut Node>) {
        if let Some(Value::Text(path)) = node.map(|node| &mut node.value)
            && !path.is_empty()
        {
            *path = self.joined(path);
        }
    }

    fn change_context(self, node: Option<&mut Node>) {
        if let Some(Value::Text(path)) = node.map(|node| &mut node.value)
            && !path.is_empty()
            && !is_remote_context(path)
        {
            *path = self.joined(path);
        }
    }

    /// Changes all paths of a file.
    pub(crate) fn resolve(self, root: &mut Node) {
        let Some(map) = root.map_mut() else { return };
        each_map(map, "services", |service| self.resolve_service(service));
        each_map(map, "secrets", |secret| self.change(secret.get_mut("file")));
        each_map(map, "configs", |config| self.change(config.get_mut("file")));
        each_map(map, "volumes", |volume| self.resolve_volume(volume));
    }

    pub(crate) fn resolve_service(self, service: &mut Map) {
        if let Some(build) = service.get_mut("build").and_then(Node::map_mut) {
            self.change_context(build.get_mut("context"));
            each(build.get_mut("additional_contexts"), |context| self.change_context(Some(context)));
            each(build.get_mut("ssh"), |key| {
                if let Value::Text(path) = &mut key.value {
                    *path = self.joined(path);
                }
            });
        }
        for name in ["env_file", "label_file"] {
            each(service.get_mut(name), |file| match file.map_mut() {
                Some(map) => self.change(map.get_mut("path")),
                None => self.change(Some(file)),
            });
        }
        if let Some(extends) = service.get_mut("extends").and_then(Node::map_mut) {
            self.change(extends.get_mut("file"));
        }
        if let Some(develop) = service.get_mut("develop").and_then(Node::map_mut) {
            each(develop.get_mut("watch"), |watch| self.change(watch.map_mut().and_then(|map| map.get_mut("path"))));
        }
        each(service.get_mut("volumes"), |mount| {
            if let Some(map) = mount.map_mut()
                && map.get("type").and_then(Node::text) == Some("bind")
                && !map.get("source").and_then(Node::text).is_some_and(is_on_drive)
            {
                self.change(map.get_mut("source"));
            }
        });
    }

    /// A volume of the local driver may be a bind mount in disguise.
    fn resolve_volume(self, volume: &mut Map) {
        let is_local = volume.get("driver").and_then(Node::text).is_none_or(|driver| driver == "local");
        let Some(options) = volume.get_mut("driver_opts").and_then(Node::map_mut) else { return };
        if is_local && options.get("o").and_then(Node::text) == Some("bind") {
            self.change(options.get_mut("device"));
        }
    }
}

/// Whether a path begins with a drive of Windows, and so is relative to nothing here.
fn is_on_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':', b'/' | b'\\', ..])
}

fn each(node: Option<&mut Node>, mut change: impl FnMut(&mut Node)) {
    match node.map(|node| &mut node.value) {
        Some(Value::List(items)) => items.iter_mut().for_each(change),
        Some(Value::Map(map)) => map.values_mut().for_each(&mut change),
        _ => {}
    }
}

fn each_map(map: &mut Map, section: &str, mut change: impl FnMut(&mut Map)) {
    each(map.get_mut(section), |entry| {
        if let Some(map) = entry.map_mut() {
            change(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_short_as_can_be() {
        for (base, path, expected) in [
            ("/a/b", "./c", "/a/b/c"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "/x//y/", "/x/y"),
            ("/a", ".", "/a"),
            ("/", "../x", "/x"),
            ("sub", "../../x", "../x"),
            (".", ".", "."),
        ] {
            assert_eq!(join(base, path), expected);
        }
        assert_eq!((parent("/a/b"), parent("/a"), parent("a")), ("/a".into(), "/".into(), ".".into()));
    }

    #[test]
    fn the_users_folder_is_known() {
        let base = Base { folder: "/p", home: "/home/me" };
        assert_eq!(
            (base.joined("~"), base.joined("~/x"), base.joined("~x")),
            ("/home/me".into(), "/home/me/x".into(), "/p/~x".into())
        );
    }
}
