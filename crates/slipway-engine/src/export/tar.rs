//! `type=tar`: the files of the image as one archive, owners included (`spec/dockerfile.md` section 8.4).

use slipway_graph::request::Destination;

use super::{Export, ExportError, split, write_to};
use crate::layer::diff::{self, Tree};

pub(super) fn export(export: &Export<'_>, dest: &Destination, splits: Option<bool>) -> Result<(), ExportError> {
    let parts = split::parts(export, splits)?;
    let trees =
        parts.into_iter().map(|part| Tree { folder: part.folder, root: part.view, links: part.links }).collect();
    write_to(dest, |out| {
        diff::write_trees(trees, out)?;
        Ok(())
    })
}
