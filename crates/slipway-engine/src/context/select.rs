//! Which paths does the source of a `COPY` mean? (`spec/dockerfile.md` section 3.4)

use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;
use slipway_graph::op::CopyAction;

use super::pattern::{has_wildcard, matches_glob};
use super::{PathPattern, PathRules, PatternError, PatternList, RuleHit, SourceTree};
use crate::rootfs::{CallError, Component, FollowError, Meta, OnPath, TreePath, components, follow};

/// A source as the Dockerfile states it.
#[derive(Clone, Copy, Debug)]
pub struct SourcePattern<'a> {
    /// Absolute and clean.
    pub source: &'a str,
    pub has_wildcard: bool,
    pub excludes: &'a [String],
    /// `--parents`: where the kept part of the path begins.
    pub parents_root: Option<&'a str>,
}

impl<'a> SourcePattern<'a> {
    /// Just a path, as the source of a mount is.
    pub fn literal(source: &'a str) -> SourcePattern<'a> {
        SourcePattern { source, has_wildcard: false, excludes: &[], parents_root: None }
    }

    /// Whether the names of what is selected matter besides its content (section 7.2).
    pub fn selects_by_name(&self) -> bool {
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
pub struct Selection<'a> {
    pub tree: SourceTree<'a>,
    /// In the order in which they are copied.
    pub tops: Vec<Selected>,
    pub(super) filter: Filter<'a>,
    /// Below the tops, this path must be there (`--parents` without wildcard).
    pub(super) must_exist: Option<TreePath>,
}

/// A file or folder that a source names itself.
#[derive(Clone, Debug)]
pub struct Selected {
    /// As it was matched; its last component is the name of a copied file.
    pub path: TreePath,
    /// With all links followed, also the last one.
    pub real: TreePath,
    pub meta: Meta,
}

/// Why a source means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("{}", not_found_text(path, *is_context))]
    NotFound { path: String, is_context: bool, ignored: Option<Ignored> },
    #[error(transparent)]
    Pattern(#[from] PatternError),
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
pub struct Ignored {
    /// The ignore file's name.
    pub file: String,
    pub hit: RuleHit,
}

impl SelectError {
    /// What people can do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            SelectError::NotFound { ignored: Some(Ignored { file, hit }), .. } => {
                Some(format!("line {} of `{file}` leaves it out: `{}`", hit.line, hit.rule))
            }
            _ => None,
        }
    }
}

/// What is left out below what is selected.
#[derive(Default)]
pub(super) struct Filter<'a> {
    /// Over paths from the top of the tree.
    ignore: Option<&'a dyn PathRules>,
    /// Over paths from the selected folder.
    excludes: Option<PatternList>,
    /// Over paths from the selected folder.
    include: Option<PathPattern>,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// A folder that only exists if something below it is taken.
    Descend,
    Skip,
}

impl Filter<'_> {
    /// `path` is the entry's real path, `below` the same as seen from the selected folder.
    pub(super) fn verdict(&self, path: &TreePath, below: &TreePath, is_dir: bool) -> Verdict {
        let mut verdict = Verdict::Take;
        for (rules, path) in [(self.ignore, path), (self.excludes.as_ref().map(|e| e as &dyn PathRules), below)] {
            let Some(rules) = rules.filter(|rules| rules.excluded_by(path.as_bytes()).is_some()) else { continue };
            if !is_dir || !rules.readmits_below(path.as_bytes()) {
                return Verdict::Skip;
            }
            verdict = Verdict::Descend;
        }
        match &self.include {
            Some(include) if include.covers(below.as_bytes()) => verdict,
            Some(include) if is_dir && include.may_match_below(below.as_bytes()) => Verdict::Descend,
            Some(_) => Verdict::Skip,
            None => verdict,
        }
    }

    pub(super) fn takes_everything(&self) -> bool {
        self.ignore.is_none() && self.excludes.is_none() && self.include.is_none()
    }

    /// Whether the selected folder is there even if nothing in it is taken.
    pub(super) fn keeps_top(&self, real: &TreePath) -> bool {
        self.include.is_none() && !self.ignore.is_some_and(|rules| is_excluded(rules, real))
    }
}

fn is_excluded(rules: &dyn PathRules, path: &TreePath) -> bool {
    !path.is_top() && rules.excluded_by(path.as_bytes()).is_some()
}

/// Finds what `wanted` means in `tree`. A wildcard may mean nothing; a literal path that is not there is an error.
pub fn select<'a>(tree: SourceTree<'a>, wanted: &SourcePattern<'_>) -> Result<Selection<'a>, SelectError> {
    let excludes = match wanted.excludes {
        [] => None,
        patterns => Some(PatternList::parse(patterns)?),
    };
    let mut filter = Filter { ignore: tree.rules(), excludes, include: None };
    let tops = match wanted.parents_root {
        Some(root) => {
            let root = TreePath::clean(root);
            let source = TreePath::clean(wanted.source);
            let kept = source.strip(&root).unwrap_or(source);
            if !kept.is_top() {
                filter.include = Some(PathPattern::parse(&String::from_utf8_lossy(kept.as_bytes()))?);
            }
            vec![find_literal(tree, &root)?]
        }
        None if wanted.has_wildcard => expand(tree, wanted.source)?,
        None => vec![find_literal(tree, &TreePath::clean(wanted.source))?],
    };
    let must_exist = (filter.include.is_some() && !wanted.has_wildcard).then(|| TreePath::clean(wanted.source));
    Ok(Selection { tree, tops, filter, must_exist })
}

/// The error for a literal source that selects nothing.
pub(super) fn not_found(tree: SourceTree<'_>, path: &TreePath, real: &TreePath) -> SelectError {
    let ignored = tree.ignore().and_then(|ignore| {
        // Only a file that exists can be hidden; and the rule may have hidden a link on the way to it.
        let hidden = [real, path].into_iter().find(|p| tree.root().stat(p).is_ok_and(|meta| meta.is_some()))?;
        let hit = ignore.rules.excluded_by(hidden.as_bytes())?;
        Some(Ignored { file: ignore.name.clone(), hit })
    });
    SelectError::NotFound { path: path.to_string(), is_context: tree.is_context(), ignored }
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
        Component::Link(_) if tree.rules().is_some_and(|rules| is_excluded(rules, at)) => Ok(Component::Missing),
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
    let Some(rules) = tree.rules().filter(|rules| is_excluded(*rules, path)) else { return Ok(true) };
    if !is_dir || !rules.readmits_below(path.as_bytes()) {
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
    PathPattern::parse(pattern)?;
    let pattern: Vec<&[u8]> = components(pattern.as_bytes()).collect();
    let n_literal = pattern.iter().take_while(|component| !has_wildcard(component)).count();
    let (literal, globs) = pattern.split_at(n_literal);
    let start = TreePath::clean(literal.join(&b'/'));
    let mut matched = vec![start.clone()];
    // Links before the first wildcard are followed, those that a wildcard finds are not.
    let real_start = tree.root().resolve(start.as_bytes())?;
    for (n_after, glob) in globs.iter().enumerate().map(|(i, glob)| (globs.len() - 1 - i, glob)) {
        let mut deeper = Vec::new();
        for folder in &matched {
            let below = folder.strip(&start).unwrap_or_default();
            let real = real_start.join_path(&below);
            for item in list_if_folder(tree, &real)? {
                if !matches_glob(glob, &item.name) {
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

fn list_if_folder(tree: SourceTree<'_>, path: &TreePath) -> Result<Vec<crate::rootfs::DirItem>, CallError> {
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
