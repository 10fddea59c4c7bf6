//! `type=tar`: the files of the image as one archive, owners included (`spec/dockerfile.md` section 8.4).

use slipway_graph::request::{Destination, FilesOutput};

use super::split::{self, Part};
use super::{Export, ExportError, write_to};
use crate::layer::diff::{self, Tree};

pub(super) fn export(export: &Export<'_>, dest: &Destination, files: FilesOutput) -> Result<(), ExportError> {
    let parts = split::parts(export, files)?;
    let tree = |part: Part| Tree { folder: part.folder, root: part.view, links: part.links, epoch: part.epoch };
    let trees = parts.into_iter().map(tree).collect();
    write_to(dest, |out| {
        diff::write_trees(trees, out)?;
        Ok(())
    })
}
