//! Which files may a build read?

use slipway_dockerfile::IgnoreRules;
use slipway_graph::request::ContextModes;

use crate::rootfs::{Meta, Root};

/// A folder of the host that a build may read, less what its ignore file leaves out.
pub(crate) struct BuildContext {
    root: Root,
    ignore: Option<IgnoreFile>,
    owners: Owners,
    modes: ContextModes,
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
        BuildContext { root, ignore, owners: Owners::Root, modes: ContextModes::Disk }
    }

    /// The same files, with other owners.
    pub(crate) fn with_owners(self, owners: Owners) -> BuildContext {
        BuildContext { owners, ..self }
    }

    /// The same files, with other modes.
    pub(crate) fn with_modes(self, modes: ContextModes) -> BuildContext {
        BuildContext { modes, ..self }
    }

    pub(crate) fn ignore(&self) -> Option<&IgnoreFile> {
        self.ignore.as_ref()
    }
}

/// Where files are copied from. The two differ in what the files' owners and modes mean and in ignore rules.
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

    /// What a file with `meta` is like in an image: owner and mode need not be those on disk.
    pub(crate) fn in_image(self, meta: Meta) -> Meta {
        let SourceTree::Context(context) = self else { return meta };
        let mode = match meta.is_file() || meta.is_dir() {
            true => context.modes.of_file(meta.mode, meta.is_dir()),
            false => meta.mode,
        };
        match context.owners {
            Owners::Root => Meta { mode, uid: 0, gid: 0, ..meta },
            Owners::Kept => Meta { mode, ..meta },
        }
    }

    /// Whether what a program may do because of its file is copied. What the host gives it is left behind, as the
    /// reference does: the owner in the image is another one.
    pub(crate) fn keeps_capabilities(self) -> bool {
        !matches!(self, SourceTree::Context(context) if context.owners == Owners::Root)
    }

    pub(crate) fn is_context(self) -> bool {
        matches!(self, SourceTree::Context(_))
    }
}
