//! Which files may a build read?

use crate::rootfs::Root;

/// Rules that leave paths out, such as those of `.dockerignore`.
pub trait PathRules: Send + Sync {
    /// The rule that leaves `path` out, `None` if it is in. The path is relative and clean.
    fn excluded_by(&self, path: &[u8]) -> Option<RuleHit>;

    /// Whether something below the excluded `folder` may be let in again; if not, nobody looks.
    fn readmits_below(&self, folder: &[u8]) -> bool;
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHit {
    /// Counted from 1.
    pub line: usize,
    /// As written.
    pub rule: String,
}

/// A folder of the host that a build may read, less what its ignore file leaves out.
pub struct BuildContext {
    root: Root,
    ignore: Option<IgnoreFile>,
}

/// The rules that belong to a folder.
pub struct IgnoreFile {
    /// As people know it: `.dockerignore`, `web.Dockerfile.dockerignore`.
    pub name: String,
    pub rules: Box<dyn PathRules>,
}

impl BuildContext {
    /// The context at `root`.
    pub fn new(root: Root, ignore: Option<IgnoreFile>) -> BuildContext {
        BuildContext { root, ignore }
    }

    /// The folder itself, ignored files included: for the Dockerfile, which may ignore itself.
    pub fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn ignore(&self) -> Option<&IgnoreFile> {
        self.ignore.as_ref()
    }
}

/// Where files are copied from. The two differ in what the files' owners mean and in ignore rules.
#[derive(Clone, Copy)]
pub enum SourceTree<'a> {
    /// Files of the host: all belong to 0:0 in an image.
    Context(&'a BuildContext),
    /// The merged view of a stage, an image, or another input of the graph: owners are kept.
    Snapshot(&'a Root),
}

impl<'a> SourceTree<'a> {
    /// The top of the tree.
    pub fn root(self) -> &'a Root {
        match self {
            SourceTree::Context(context) => &context.root,
            SourceTree::Snapshot(root) => root,
        }
    }

    pub(crate) fn ignore(self) -> Option<&'a IgnoreFile> {
        match self {
            SourceTree::Context(context) => context.ignore(),
            SourceTree::Snapshot(_) => None,
        }
    }

    pub(crate) fn rules(self) -> Option<&'a dyn PathRules> {
        self.ignore().map(|ignore| ignore.rules.as_ref())
    }

    pub(crate) fn is_context(self) -> bool {
        matches!(self, SourceTree::Context(_))
    }
}
