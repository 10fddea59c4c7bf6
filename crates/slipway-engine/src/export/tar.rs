//! `type=tar`: the files of the image as one archive, owners included (`spec/dockerfile.md` section 8.4).

use slipway_graph::request::{Destination, FilesOutput};

use super::split::{self, Part};
use super::{Export, ExportError, write_to};
use crate::layer::diff::{self, Tree};

pub(super) fn export(export: &Export<'_>, dest: &Destination, files: &FilesOutput) -> Result<(), ExportError> {
    let parts = split::parts(export, files)?;
    let (mut trees, mut kept) = (Vec::new(), Vec::new());
    for Part { folder, view: root, links, epoch, statements, .. } in parts {
        trees.push(Tree { folder, root, links, epoch });
        kept.push(statements);
    }
    write_to(dest, |out| {
        diff::write_trees(trees, out)?;
        Ok(())
    })
}
