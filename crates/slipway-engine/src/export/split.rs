//! Files of several platforms in one place: in a folder each, or on top of each other (`spec/dockerfile.md` section 8.4).

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use slipway_graph::request::FilesOutput;
use tempfile::TempDir;

use super::{Export, ExportError, Image, statement_files};
use crate::layer::diff::{open_dir, sorted_names, stat_at};
use crate::layer::merged_links::MergedLinks;
use crate::layer::untar;

/// The files of one image.
pub(super) struct Part {
    /// The folder that they are put in: `linux_arm_v7`.
    pub(super) folder: Option<String>,
    /// Its root.
    pub(super) view: OwnedFd,
    pub(super) links: MergedLinks,
    /// The time of all its files, in seconds since 1970, if they do not keep theirs.
    pub(super) epoch: Option<i64>,
    /// Whether nothing else lies in the folder yet.
    pub(super) is_first: bool,
    /// Where its files are that no image has; removed with it.
    pub(super) statements: Option<TempDir>,
}

/// The files of all images, and what is said about them. If `files` says nothing about it, several platforms are split.
pub(super) fn parts(export: &Export<'_>, files: &FilesOutput) -> Result<Vec<Part>, ExportError> {
    let splits = files.splits.unwrap_or(export.is_multi);
    let part = |(index, image): (usize, &Image)| -> Result<Part, ExportError> {
        let folder = splits.then(|| image.platform().to_string().replace('/', "_"));
        let snapshot = export.files_of(image)?;
        let links = MergedLinks::of(export.store, &snapshot).map_err(ExportError::Layers)?;
        let epoch = files.epoch.or(image.draft.epoch);
        let view = export.store.view(&snapshot)?;
        Ok(Part { is_first: splits || index == 0, folder, view, links, epoch, statements: None })
    };
    let mut parts = export.images.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?;
    if !splits {
        check_apart(export, &parts)?;
    }
    let mut statements = Vec::new();
    for (image, part) in export.images.iter().zip(&parts) {
        statements.extend(statement_part(export, image, part, files)?);
    }
    parts.extend(statements);
    if splits {
        parts.sort_by(|a, b| a.folder.cmp(&b.folder));
    }
    Ok(parts)
}

/// What is said about the files of `image`, which are those of `part`, for the same folder.
fn statement_part(
    export: &Export<'_>,
    image: &Image,
    part: &Part,
    files: &FilesOutput,
) -> Result<Option<Part>, ExportError> {
    let own_platform = image.platform();
    let platform = Some(&own_platform).filter(|_| export.is_multi && part.folder.is_none());
    let Some(written) = statement_files::write(export, image, &part.view, files, platform)? else { return Ok(None) };
    let view = untar::open_host_dir(written.path()).map_err(|errno| ExportError::Statements(errno.into()))?;
    let (folder, links, epoch) = (part.folder.clone(), MergedLinks::none(), part.epoch);
    Ok(Some(Part { folder, view, links, epoch, is_first: false, statements: Some(written) }))
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
