//! `type=tar`: the files of the image as one archive, owners included (`spec/dockerfile.md` section 8.4).

use std::os::fd::AsFd;

use slipway_graph::request::Destination;

use super::{Export, ExportError, write_to};
use crate::layer::diff;

pub(super) fn export(export: &Export<'_>, dest: &Destination) -> Result<(), ExportError> {
    let view = export.store.view(&export.image.snapshot)?;
    write_to(dest, |out| {
        // Compared with nothing, every file is a change.
        diff::write_layer(view.as_fd(), None, out)?;
        Ok(())
    })
}
