//! Which files may a build read?

use slipway_dockerfile::IgnoreRules;

use crate::rootfs::Root;

/// A folder of the host that a build may read, less what its ignore file leaves out.
pub(crate) struct BuildContext {
    root: Root,
    ignore: Option<IgnoreFile>,
    owners: Owners,
}

/// To whom the files of a context belong in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// To 0:0: who has them on the host means nothing.
    Root,
    /// To whom they belong on disk: they were unpacked from an archive that says so.
    Kept,
}

/// The rules that belong to a folder.
pub(crate) struct IgnoreFile {
    /// As people know it: `.dockerignore`, `web.Dockerfile.dockerignore`.
    pub name: String,
    pub rules: IgnoreRules,
}

impl BuildContext {
    /// The context at `root`.
    pub(crate) fn new(root: Root, ignore: Option<IgnoreFile>) -> BuildContext {
        BuildContext { root, ignore, owners: Owners::Root }
    }

    /// The same files, with other owners.
    pub(crate) fn with_owners(self, owners: Owners) -> BuildContext {
        BuildContext { owners, ..self }
    }

    pub(crate) fn ignore(&self) -> Option<&IgnoreFile> {
        self.ignore.as_ref()
    }
}

/// Where files are copied from. The two differ in what the files' owners mean and in ignore rules.
#[derive(Clone, Copy)]
pub(crate) enum SourceTree<'a> {
    /// Files of the host, see [`Owners`].
    Context(&'a BuildContext),
    /// The merged view of a stage, an image, or another input of the graph: owners are kept.
    Snapshot(&'a Root),
}

impl<'a> SourceTree<'a> {
    /// The top of the tree.
    pub(crate) fn root(self) -> &'a Root {
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

    pub(crate) fn rules(self) -> Option<&'a IgnoreRules> {
        self.ignore().map(|ignore| &ignore.rules)
    }

    /// To whom a file belongs in an image.
    pub(crate) fn owner(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            SourceTree::Context(BuildContext { owners: Owners::Root, .. }) => (0, 0),
            SourceTree::Context(_) | SourceTree::Snapshot(_) => (uid, gid),
        }
    }

    pub(crate) fn is_context(self) -> bool {
        matches!(self, SourceTree::Context(_))
    }
}
