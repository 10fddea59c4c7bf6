//! Which lines a tree of files has, when some of it is folded, hidden or filtered away.

use std::collections::BTreeSet;

use regex::Regex;
use slipway_analyze::{Change, Difference};

/// What is not shown, by what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    pub added: bool,
    pub removed: bool,
    pub modified: bool,
    pub unmodified: bool,
}

impl Hidden {
    fn hides(self, change: Change) -> bool {
        match change {
            Change::Added => self.added,
            Change::Removed => self.removed,
            Change::Modified => self.modified,
            Change::Unmodified => self.unmodified,
        }
    }
}

/// In which order files of a folder stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Name,
    /// The largest first.
    Size,
}

/// What decides about the lines.
pub(crate) struct View<'a> {
    pub(crate) hidden: Hidden,
    pub(crate) order: Order,
    pub(crate) filter: Option<&'a Regex>,
    /// Folders that are folded; with `is_folded_by_default`, those that are not.
    pub(crate) exceptions: &'a BTreeSet<Vec<u8>>,
    pub(crate) is_folded_by_default: bool,
}

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Without a leading `/`.
    pub(crate) path: Vec<u8>,
    /// The branches in front of the name.
    pub(crate) branches: String,
    /// The name, and where a link leads to.
    pub(crate) name: String,
    pub(crate) change: Change,
    /// Permissions, owner and size.
    pub(crate) attributes: String,
    pub(crate) has_children: bool,
    pub(crate) is_dir: bool,
}

/// The lines of `tree`, which itself is none.
pub(crate) fn rows(tree: &Difference, view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    add_below(tree, view, &mut Vec::new(), "", &mut rows);
    rows
}

fn add_below(folder: &Difference, view: &View<'_>, path: &mut Vec<u8>, indent: &str, rows: &mut Vec<Row>) {
    let length = path.len();
    let mut shown: Vec<(&[u8], &Difference)> = Vec::new();
    for (name, child) in &folder.children {
        enter(path, name);
        if is_shown(child, view, path) {
            shown.push((name, child));
        }
        path.truncate(length);
    }
    if view.order == Order::Size {
        shown.sort_by_cached_key(|(_, child)| std::cmp::Reverse(child.size_bytes()));
    }
    let n_shown = shown.len();
    for (index, (name, child)) in shown.into_iter().enumerate() {
        enter(path, name);
        let is_last = index + 1 == n_shown;
        let has_children = !child.children.is_empty();
        let is_folded = has_children && view.exceptions.contains(path) != view.is_folded_by_default;
        let branch = match (is_folded, is_last) {
            (true, false) => "├─⊕ ",
            (true, true) => "└─⊕ ",
            (false, false) => "├── ",
            (false, true) => "└── ",
        };
        rows.push(Row {
            path: path.clone(),
            branches: format!("{indent}{branch}"),
            name: label(name, child),
            change: child.change,
            attributes: attributes(child),
            has_children,
            is_dir: child.is_dir(),
        });
        if has_children && !is_folded {
            let indent = format!("{indent}{}", if is_last { "    " } else { "│   " });
            add_below(child, view, path, &indent, rows);
        }
        path.truncate(length);
    }
}

fn enter(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// A folder is shown for what is shown in it; one with nothing in it is like a file.
fn is_shown(node: &Difference, view: &View<'_>, path: &mut Vec<u8>) -> bool {
    let is_filtered = view.filter.is_some_and(|filter| !filter.is_match(&String::from_utf8_lossy(path)));
    if !view.hidden.hides(node.change) && !is_filtered {
        return true;
    }
    let length = path.len();
    node.children.iter().any(|(name, child)| {
        enter(path, name);
        let is_child_shown = is_shown(child, view, path);
        path.truncate(length);
        is_child_shown
    })
}

fn label(name: &[u8], node: &Difference) -> String {
    let name = printable(name);
    match node.entry.as_ref().filter(|entry| !entry.link.is_empty()) {
        Some(entry) => format!("{name} → {}", printable(&entry.link)),
        None => name,
    }
}

/// A name that cannot steer a terminal.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// `-rwxr-xr-x         0:0     1.2 kB `.
fn attributes(node: &Difference) -> String {
    let (mode, owner) = match &node.entry {
        Some(entry) => (entry.mode, format!("{}:{}", entry.uid, entry.gid)),
        None => (0, "?".to_owned()),
    };
    let kind = if node.is_dir() { 'd' } else { '-' };
    format!("{kind}{} {owner:>11} {:>10} ", permissions(mode), super::size(node.size_bytes()))
}

/// `rwxr-x---`, with `s`, `S`, `t` and `T` for set-id and sticky bits (ls(1)).
fn permissions(mode: u32) -> String {
    let mut letters = String::with_capacity(9);
    for (shift, special, [with_execute, without]) in
        [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])]
    {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => with_execute,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(change: Change, children: Vec<(&str, Difference)>) -> Difference {
        let children = children.into_iter().map(|(name, child)| (name.as_bytes().into(), child)).collect();
        Difference { change, children, ..Difference::default() }
    }

    fn file(change: Change, size_bytes: u64) -> Difference {
        let entry = slipway_analyze::Entry { type_flag: b'0', mode: 0o644, size_bytes, ..Default::default() };
        Difference { entry: Some(entry), change, ..Difference::default() }
    }

    fn tree() -> Difference {
        let etc = node(Change::Modified, vec![("a", file(Change::Added, 5)), ("b", file(Change::Unmodified, 7))]);
        node(
            Change::Modified,
            vec![("etc", etc), ("gone", file(Change::Removed, 9)), ("z", file(Change::Unmodified, 1))],
        )
    }

    struct Chosen<'a> {
        hidden: Hidden,
        order: Order,
        filter: &'a str,
        folded: &'a [&'a str],
        is_folded_by_default: bool,
    }

    const ALL: Chosen<'_> = Chosen {
        hidden: Hidden { added: false, removed: false, modified: false, unmodified: false },
        order: Order::Name,
        filter: "",
        folded: &[],
        is_folded_by_default: false,
    };

    fn check(chosen: &Chosen<'_>, expected: &[&str]) {
        let filter = Regex::new(chosen.filter).unwrap();
        let exceptions = chosen.folded.iter().map(|path| path.as_bytes().to_vec()).collect();
        let view = View {
            hidden: chosen.hidden,
            order: chosen.order,
            filter: (!chosen.filter.is_empty()).then_some(&filter),
            exceptions: &exceptions,
            is_folded_by_default: chosen.is_folded_by_default,
        };
        let found: Vec<String> =
            rows(&tree(), &view).iter().map(|row| format!("{}{}", row.branches, row.name)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_follow_what_is_folded_hidden_and_filtered() {
        check(&ALL, &["├── etc", "│   ├── a", "│   └── b", "├── gone", "└── z"]);
        check(&Chosen { folded: &["etc"], ..ALL }, &["├─⊕ etc", "├── gone", "└── z"]);
        check(&Chosen { is_folded_by_default: true, ..ALL }, &["├─⊕ etc", "├── gone", "└── z"]);
        check(&Chosen { is_folded_by_default: true, folded: &["etc"], filter: "b$", ..ALL }, &["└── etc", "    └── b"]);
        let unmodified = Hidden { unmodified: true, ..Hidden::default() };
        check(&Chosen { hidden: unmodified, ..ALL }, &["├── etc", "│   └── a", "└── gone"]);
        let all_but_added = Hidden { removed: true, modified: true, ..unmodified };
        check(&Chosen { hidden: all_but_added, ..ALL }, &["└── etc", "    └── a"]);
        check(&Chosen { order: Order::Size, ..ALL }, &["├── etc", "│   ├── b", "│   └── a", "├── gone", "└── z"]);
        check(&Chosen { filter: "nothing", ..ALL }, &[]);
    }

    #[test]
    fn permissions_are_those_of_ls() {
        for (mode, expected) in [
            (0o755, "rwxr-xr-x"),
            (0o4755, "rwsr-xr-x"),
            (0o2644, "rw-r-Sr--"),
            (0o1777, "rwxrwxrwt"),
            (0o1000, "--------T"),
        ] {
            assert_eq!(permissions(mode), expected);
        }
        assert_eq!(attributes(&file(Change::Added, 1200)), "-rw-r--r--         0:0     1.2 kB ");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
