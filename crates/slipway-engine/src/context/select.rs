//! Which paths does the source of a `COPY` mean? (`spec/dockerfile.md` section 3.4)

use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;
use slipway_dockerfile::{BadPattern, IgnoreError, IgnoreRules, Verdict, match_pattern};
use slipway_graph::op::CopyAction;

use super::SourceTree;
use crate::rootfs::{CallError, Component, DirItem, FollowError, Meta, OnPath, TreePath, follow};

/// A source as the Dockerfile states it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourcePattern<'a> {
    /// Absolute and clean.
    pub source: &'a str,
    pub has_wildcard: bool,
    pub excludes: &'a [String],
    /// `--parents`: where the kept part of the path begins.
    pub parents_root: Option<&'a str>,
}

impl<'a> SourcePattern<'a> {
    /// Just a path, as the source of a mount is.
    pub(crate) fn literal(source: &'a str) -> SourcePattern<'a> {
        SourcePattern { source, has_wildcard: false, excludes: &[], parents_root: None }
    }

    /// Whether the names of what is selected matter besides its content (section 7.2).
    pub(crate) fn selects_by_name(&self) -> bool {
        self.has_wildcard || !self.excludes.is_empty() || self.parents_root.is_some()
    }
}

impl<'a> From<&'a CopyAction> for SourcePattern<'a> {
    fn from(copy: &'a CopyAction) -> Self {
        SourcePattern {
            source: &copy.source,
            has_wildcard: copy.has_wildcard,
            excludes: &copy.excludes,
            parents_root: copy.parents_root.as_deref(),
        }
    }
}

/// What a source means in a certain tree.
pub(crate) struct Selection<'a> {
    pub tree: SourceTree<'a>,
    /// In the order in which they are copied.
    pub tops: Vec<Selected>,
    pub(super) filter: Filter<'a>,
    /// Below the tops, this path must be there (`--parents` without wildcard).
    pub(super) must_exist: Option<TreePath>,
}

/// A file or folder that a source names itself.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    /// As it was matched; its last component is the name of a copied file.
    pub path: TreePath,
    /// With all links followed, also the last one.
    pub real: TreePath,
    pub meta: Meta,
}

/// Why a source means nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("{}", not_found_text(path, *is_context))]
    NotFound { path: String, is_context: bool, ignored: Option<Ignored> },
    #[error("nothing can match `{pattern}`: lstat {folder}: no such file or directory")]
    NoFolder { pattern: String, folder: String, ignored: Option<Ignored> },
    #[error("cannot use `{pattern}`")]
    Pattern { pattern: String, source: BadPattern },
    #[error("cannot use a pattern of `--exclude` or `--parents`")]
    Patterns(#[from] IgnoreError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error("cannot read a source")]
    Call(#[from] CallError),
}

fn not_found_text(path: &str, is_context: bool) -> String {
    // The second half is what the reference says, and what people search for.
    match is_context {
        true => {
            format!("no file in the build context matches `{}`: \"{path}\": not found", path.trim_start_matches('/'))
        }
        false => format!("\"{path}\": not found"),
    }
}

/// The rule that hides a file which is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// The ignore file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// As written.
    pub rule: String,
}

impl SelectError {
    /// What people can do about it, if that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            SelectError::NotFound { ignored: Some(Ignored { file, line, rule }), .. }
            | SelectError::NoFolder { ignored: Some(Ignored { file, line, rule }), .. } => {
                Some(format!("line {line} of `{file}` leaves it out: `{rule}`"))
            }
            _ => None,
        }
    }
}

/// What is left out below what is selected.
#[derive(Default)]
pub(super) struct Filter<'a> {
    /// Over paths from the top of the tree.
    ignore: Option<&'a IgnoreRules>,
    /// Over paths from the selected folder.
    excludes: Option<IgnoreRules>,
    /// Over paths from the selected folder: rules that leave out everything but what `--parents` names.
    others: Option<IgnoreRules>,
}

/// What the rules say about a folder, for what is in it.
#[derive(Default)]
pub(super) struct Verdicts {
    ignore: Verdict,
    excludes: Verdict,
    others: Verdict,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Take,
    /// A folder that only exists if something below it is taken.
    Descend,
    Skip,
}

impl Filter<'_> {
    /// `path` is the entry's real path, `below` the same as seen from the selected folder, `folder` what was said
    /// about the folder that it is in.
    pub(super) fn judge(&self, path: &TreePath, below: &TreePath, is_dir: bool, folder: &Verdicts) -> (Fate, Verdicts) {
        let mut here = Verdicts::default();
        let mut fate = Fate::Take;
        for (rules, path, folder, verdict) in [
            (self.ignore, path, &folder.ignore, &mut here.ignore),
            (self.excludes.as_ref(), below, &folder.excludes, &mut here.excludes),
            (self.others.as_ref(), below, &folder.others, &mut here.others),
        ] {
            let Some(rules) = rules else { continue };
            *verdict = rules.verdict(path.as_bytes(), folder);
            if !verdict.is_excluded() {
                continue;
            }
            if !is_dir || !rules.must_walk(path.as_bytes(), verdict) {
                return (Fate::Skip, Verdicts::default());
            }
            fate = Fate::Descend;
        }
        (fate, here)
    }

    /// What the rules say about a selected folder, and whether it is there even if nothing in it is taken.
    pub(super) fn judge_top(&self, real: &TreePath) -> (bool, Verdicts) {
        let ignore = self.ignore.map(|rules| verdict_on(rules, real)).unwrap_or_default();
        let is_kept = self.others.is_none() && !ignore.is_excluded();
        (is_kept, Verdicts { ignore, ..Verdicts::default() })
    }

    pub(super) fn takes_everything(&self) -> bool {
        self.ignore.is_none() && self.excludes.is_none() && self.others.is_none()
    }
}

/// What `rules` say about `path`; nothing can leave out the top.
fn verdict_on(rules: &IgnoreRules, path: &TreePath) -> Verdict {
    if path.is_top() { Verdict::default() } else { rules.verdict_from_root(path.as_bytes()) }
}

/// Finds what `wanted` means in `tree`. A wildcard may mean nothing; a literal path that is not there is an error, and
/// so is a wildcard in a folder that is not there.
pub(crate) fn select<'a>(tree: SourceTree<'a>, wanted: &SourcePattern<'_>) -> Result<Selection<'a>, SelectError> {
    let excludes = match wanted.excludes {
        [] => None,
        patterns => Some(IgnoreRules::from_patterns(patterns.iter().map(String::as_str))?),
    };
    let mut filter = Filter { ignore: tree.rules(), excludes, others: None };
    let tops = match wanted.parents_root {
        Some(root) => {
            let source = TreePath::clean(wanted.source);
            let kept = source.strip(&TreePath::clean(root)).unwrap_or(source);
            if !kept.is_top() {
                let exception = format!("!{}", String::from_utf8_lossy(kept.as_bytes()));
                filter.others = Some(IgnoreRules::from_patterns(["**", &exception])?);
            }
            find_or_expand(tree, root, wanted.has_wildcard)?
        }
        None => find_or_expand(tree, wanted.source, wanted.has_wildcard)?,
    };
    let must_exist = (filter.others.is_some() && !wanted.has_wildcard).then(|| TreePath::clean(wanted.source));
    Ok(Selection { tree, tops, filter, must_exist })
}

/// What `path` means, as a pattern only if it may be one and holds a wildcard.
fn find_or_expand(tree: SourceTree<'_>, path: &str, may_be_pattern: bool) -> Result<Vec<Selected>, SelectError> {
    match may_be_pattern && has_wildcard(path) {
        true => expand(tree, path),
        false => Ok(vec![find_literal(tree, &TreePath::clean(path))?]),
    }
}

/// The error for a literal source that selects nothing.
pub(super) fn not_found(tree: SourceTree<'_>, path: &TreePath, real: &TreePath) -> SelectError {
    let ignored = ignored_by(tree, path, real);
    SelectError::NotFound { path: path.to_string(), is_context: tree.is_context(), ignored }
}

/// Which rule hides `path`, which leads to `real`.
fn ignored_by(tree: SourceTree<'_>, path: &TreePath, real: &TreePath) -> Option<Ignored> {
    let ignore = tree.ignore()?;
    // Only a file that exists can be hidden; and the rule may have hidden a link on the way to it.
    let hidden = [real, path].into_iter().find(|p| tree.root().stat(p).is_ok_and(|meta| meta.is_some()))?;
    let rule = ignore.rules.excluded_by(&verdict_on(&ignore.rules, hidden))?;
    Some(Ignored { file: ignore.name.clone(), line: rule.line, rule: rule.text.clone() })
}

fn find_literal(tree: SourceTree<'_>, path: &TreePath) -> Result<Selected, SelectError> {
    find(tree, path)?.ok_or_else(|| {
        let real = tree.root().resolve(path.as_bytes()).unwrap_or_else(|_| path.clone());
        not_found(tree, path, &real)
    })
}

/// What `path` leads to, if it is there and not ignored.
fn find(tree: SourceTree<'_>, path: &TreePath) -> Result<Option<Selected>, SelectError> {
    let root = tree.root();
    let real = follow(path.as_bytes(), |at| match root.look(at)? {
        // A link that is ignored leads nowhere.
        Component::Link(_) if tree.rules().is_some_and(|rules| verdict_on(rules, at).is_excluded()) => {
            Ok(Component::Missing)
        }
        component => Ok(component),
    })?;
    let Some(meta) = root.stat(&real).on("statx", &real)? else { return Ok(None) };
    if !is_visible(tree, &real, meta.is_dir())? {
        return Ok(None);
    }
    Ok(Some(Selected { path: path.clone(), real, meta }))
}

/// Whether the ignore rules leave `path`, or something below it, in.
fn is_visible(tree: SourceTree<'_>, path: &TreePath, is_dir: bool) -> Result<bool, CallError> {
    let Some(rules) = tree.rules() else { return Ok(true) };
    let verdict = verdict_on(rules, path);
    if !verdict.is_excluded() {
        return Ok(true);
    }
    if !is_dir || !rules.must_walk(path.as_bytes(), &verdict) {
        return Ok(false);
    }
    for item in tree.root().list(path).on("getdents64", path)? {
        let below = path.join(&item.name);
        if is_visible(tree, &below, is_dir_at(tree, &below, item.kind)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everything that `pattern` matches, in the order of names.
fn expand(tree: SourceTree<'_>, pattern: &str) -> Result<Vec<Selected>, SelectError> {
    let malformed = |source| SelectError::Pattern { pattern: pattern.to_owned(), source };
    // Before the walk, which may end before it comes to the malformed part.
    match_pattern(pattern, "").map_err(malformed)?;
    let components: Vec<&str> = pattern.split('/').filter(|component| !component.is_empty()).collect();
    let n_literal = components.iter().take_while(|component| !has_wildcard(component)).count();
    let (literal, globs) = components.split_at(n_literal);
    let start = TreePath::clean(literal.join("/"));
    let mut matched = vec![start.clone()];
    // Links before the first wildcard are followed, those that a wildcard finds are not.
    let real_start = tree.root().resolve(start.as_bytes())?;
    if find(tree, &start)?.is_none() {
        let ignored = ignored_by(tree, &start, &real_start);
        return Err(SelectError::NoFolder { pattern: pattern.to_owned(), folder: real_start.to_string(), ignored });
    }
    for (n_after, glob) in globs.iter().enumerate().map(|(i, glob)| (globs.len() - 1 - i, glob)) {
        let mut deeper = Vec::new();
        for folder in &matched {
            let below = folder.strip(&start).unwrap_or_default();
            let real = real_start.join_path(&below);
            for item in list_if_folder(tree, &real)? {
                if !match_pattern(glob, &item.name).map_err(malformed)? {
                    continue;
                }
                let path = real.join(&item.name);
                if n_after == 0 || is_dir_at(tree, &path, item.kind)? {
                    deeper.push(folder.join(&item.name));
                }
            }
        }
        matched = deeper;
    }
    let mut selected = Vec::new();
    for path in matched {
        let below = path.strip(&start).unwrap_or_default();
        let real = real_start.join_path(&below);
        let is_dir = tree.root().stat(&real).on("statx", &real)?.is_some_and(|meta| meta.is_dir());
        if is_visible(tree, &real, is_dir)? {
            selected.push(find_literal(tree, &path)?);
        }
    }
    Ok(selected)
}

/// Whether a path, or one component of it, is more than a name.
fn has_wildcard(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

fn list_if_folder(tree: SourceTree<'_>, path: &TreePath) -> Result<Vec<DirItem>, CallError> {
    match tree.root().list(path) {
        Err(e) if is_no_folder(&e) => Ok(Vec::new()),
        other => other.on("getdents64", path),
    }
}

fn is_no_folder(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

fn is_dir_at(tree: SourceTree<'_>, path: &TreePath, listed: FileType) -> Result<bool, CallError> {
    match listed {
        FileType::Directory => Ok(true),
        FileType::Unknown => Ok(tree.root().stat(path).on("statx", path)?.is_some_and(|meta| meta.is_dir())),
        _ => Ok(false),
    }
}
