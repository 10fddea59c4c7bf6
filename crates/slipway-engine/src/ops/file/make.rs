//! How do files of heredocs and folders of `WORKDIR` come to be?

use std::io::Write;

use slipway_graph::op::{MkdirAction, MkfileAction};

use super::content::create_file;
use super::copy::{changes, place_of_file};
use super::entry::{Wanted, dress};
use super::{Destination, FileOpError, NewDirs};
use crate::rootfs::{OnPath, Time};

/// Writes the file of a heredoc; it goes where a copied file would go.
pub(super) fn make_file(action: &MkfileAction, dest: &Destination<'_>) -> Result<(), FileOpError> {
    let changes = changes(dest, action.owner.as_ref(), action.mode.as_ref())?;
    let target = place_of_file(dest, &action.dest, action.name.as_bytes(), &changes)?;
    let (uid, gid) = changes.owner.unwrap_or((0, 0));
    let mode = changes.mode.map_or(0o644, |mode| mode.apply(0o644, false));
    let path = target.path();
    let dir = target.open(dest)?;
    let mut file = std::fs::File::from(create_file(&dir, &target.name).on("openat", &path)?);
    file.write_all(&action.data).on("write", &path)?;
    dress(&file, Wanted { mode, uid, gid }).on("fchown", &path)?;
    Ok(())
}

/// Makes a folder and its parents; those that are there stay as they are (`spec/dockerfile.md` section 3.9).
pub(super) fn make_dir(action: &MkdirAction, dest: &Destination<'_>) -> Result<(), FileOpError> {
    let owner = changes(dest, action.owner.as_ref(), None)?.owner;
    let (uid, gid) = owner.unwrap_or((0, 0));
    let mtime = action.mtime.map(|secs| Time { secs, nanos: 0 });
    let real = dest.resolve(action.path.as_bytes())?;
    dest.make_dirs(&real, &NewDirs { mode: action.mode, uid, gid, mtime })?;
    Ok(())
}
