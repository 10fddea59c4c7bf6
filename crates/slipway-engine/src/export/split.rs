//! Files of several platforms in one place: in a folder each, or on top of each other (`spec/dockerfile.md` section 8.4).

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use slipway_graph::request::FilesOutput;

use super::{Export, ExportError, Image};
use crate::layer::diff::{open_dir, sorted_names, stat_at};
use crate::layer::merged_links::MergedLinks;

/// The files of one image.
pub(super) struct Part {
    /// The folder that they are put in: `linux_arm_v7`.
    pub(super) folder: Option<String>,
    /// Its root.
    pub(super) view: OwnedFd,
    pub(super) links: MergedLinks,
    /// The time of all its files, in seconds since 1970, if they do not keep theirs.
    pub(super) epoch: Option<i64>,
}

/// The files of all images. If `files` says nothing about it, several platforms are split.
pub(super) fn parts(export: &Export<'_>, files: FilesOutput) -> Result<Vec<Part>, ExportError> {
    let splits = files.splits.unwrap_or(export.is_multi);
    let part = |image: &Image| -> Result<Part, ExportError> {
        let folder = splits.then(|| image.platform().to_string().replace('/', "_"));
        let snapshot = export.files_of(image)?;
        let links = MergedLinks::of(export.store, &snapshot).map_err(ExportError::Layers)?;
        let epoch = files.epoch.or(image.draft.epoch);
        Ok(Part { folder, view: export.store.view(&snapshot)?, links, epoch })
    };
    let mut parts = export.images.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    match splits {
        true => parts.sort_by(|a, b| a.folder.cmp(&b.folder)),
        false => check_apart(export, &parts)?,
    }
    Ok(parts)
}

/// Fails if two images have something other than a folder at the same path.
fn check_apart(export: &Export<'_>, parts: &[Part]) -> Result<(), ExportError> {
    if parts.len() < 2 {
        return Ok(());
    }
    let mut seen = HashMap::new();
    for (image, part) in export.images.iter().zip(parts) {
        let platform = image.platform().to_string();
        let root = open_dir(part.view.as_fd(), c".").map_err(|errno| ExportError::Compare(errno.into()))?;
        visit(&root, "", &platform, &mut seen)?;
    }
    Ok(())
}

/// Whose entry is at a path, and whether it is a folder.
type Seen = HashMap<String, (String, bool)>;

fn visit(folder: &OwnedFd, above: &str, platform: &str, seen: &mut Seen) -> Result<(), ExportError> {
    let compare = |errno: rustix::io::Errno| ExportError::Compare(errno.into());
    for name in sorted_names(folder.as_fd()).map_err(compare)? {
        let path = format!("{above}{}", name.to_string_lossy());
        let stat = stat_at(folder, &name).map_err(compare)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if let Some((first, was_folder)) = seen.get(&path)
            && !(is_folder && *was_folder)
        {
            return Err(ExportError::Overwrite { path, first: first.clone(), second: platform.to_owned() });
        }
        if is_folder {
            let inner = open_dir(folder.as_fd(), &name).map_err(compare)?;
            visit(&inner, &format!("{path}/"), platform, seen)?;
        }
        seen.insert(path, (platform.to_owned(), is_folder));
    }
    Ok(())
}
