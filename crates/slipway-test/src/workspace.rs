//! Answers one question: how do a case's files come to lie on disk?
//!
//! ```text
//! <folder>/ctx/      the case's files; builds run here
//! <folder>/          outputs that a case sends to `../…`
//! ```

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::capability::is_root;
use crate::case::{Case, Compression, Content, FileEntry, Member, MemberContent};
use crate::tar::{self, Entry, Kind};

/// The text in a case's files that is new in every run.
pub const SALT: &str = "@salt@";

/// A folder that holds the files of one case.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    salt: String,
}

impl Workspace {
    /// Uses the empty folder `root`; `salt` takes the place of [`SALT`].
    pub fn new(root: &Path, salt: &str) -> Result<Self> {
        let workspace = Self { root: root.to_path_buf(), salt: salt.to_owned() };
        fs::create_dir_all(workspace.context())?;
        Ok(workspace)
    }

    /// The folder that builds run in.
    pub fn context(&self) -> PathBuf {
        self.root.join("ctx")
    }

    /// A path beside the context, for what a build leaves.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Puts the salt's name back where the salt stands, and a fixed word for the folder.
    pub fn restore(&self, text: &str) -> String {
        text.replace(&self.salt, SALT).replace(&*self.root.to_string_lossy(), "<work>")
    }

    /// Puts the files of `case` in place that belong before the run `step`, counted from 1.
    pub fn lay_out(&self, case: &Case, step: usize) -> Result<()> {
        let files: Vec<_> = case.files.iter().filter(|f| f.step == step).collect();
        for file in &files {
            self.place(file).with_context(|| format!("`{}`", file.path))?;
        }
        // Folders last and inner ones first: what is put into a folder changes its time, and its mode may forbid it.
        for file in files.iter().rev().filter(|f| f.content == Content::Directory) {
            self.set_metadata(file).with_context(|| format!("`{}`", file.path))?;
        }
        Ok(())
    }

    fn place(&self, file: &FileEntry) -> Result<()> {
        let path = self.context().join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if file.content != Content::Directory && path.symlink_metadata().is_ok() {
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        match &file.content {
            Content::Removed => return Ok(()),
            Content::Directory => {
                fs::create_dir_all(&path)?;
                return Ok(());
            }
            Content::Symlink(target) => {
                symlink(target, &path)?;
                return Ok(());
            }
            Content::Hardlink(target) => {
                fs::hard_link(self.context().join(target), &path)?;
                return Ok(());
            }
            Content::Bytes(bytes) => fs::write(&path, self.salted(bytes))?,
            Content::Gzip(bytes) => fs::write(&path, gzip(bytes)?)?,
            Content::Archive { members, compression } => fs::write(&path, archive(members, *compression)?)?,
        }
        self.set_metadata(file)
    }

    fn salted(&self, bytes: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.replace(SALT, &self.salt).into_bytes(),
            Err(_) => bytes.to_vec(),
        }
    }

    fn set_metadata(&self, file: &FileEntry) -> Result<()> {
        let path = self.context().join(&file.path);
        if let Some((uid, gid)) = file.owner.filter(|_| is_root()) {
            chown(&path, Some(uid), Some(gid))?;
        }
        if let Some(seconds) = file.mtime {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::open(&path)?.set_times(FileTimes::new().set_modified(time))?;
        }
        // Said, not inherited: the umask of whoever runs the tests must not show in an image.
        let default = if file.content == Content::Directory { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(file.mode.unwrap_or(default)))?;
        Ok(())
    }
}

fn archive(members: &[Member], compression: Compression) -> Result<Vec<u8>> {
    let entries: Vec<_> = members.iter().map(tar_entry).collect();
    let plain = tar::write(&entries)?;
    match compression {
        Compression::None => Ok(plain),
        Compression::Gzip => gzip(&plain),
        Compression::Zstd => Ok(zstd::encode_all(&plain[..], 0)?),
    }
}

fn tar_entry(member: &Member) -> Entry {
    let (kind, link, data) = match &member.content {
        MemberContent::Text(text) => (Kind::File, String::new(), text.clone().into_bytes()),
        MemberContent::Directory => (Kind::Directory, String::new(), Vec::new()),
        MemberContent::Symlink(target) => (Kind::Symlink, target.clone(), Vec::new()),
        MemberContent::Hardlink(target) => (Kind::Hardlink, target.clone(), Vec::new()),
    };
    Entry {
        path: member.path.clone(),
        kind,
        mode: member.mode,
        uid: u64::from(member.uid),
        gid: u64::from(member.gid),
        mtime: i64::try_from(member.mtime).unwrap_or(i64::MAX),
        link,
        data,
        ..Entry::default()
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_laid_out_step_by_step() {
        let case = Case::parse(
            "about\n\nrun: build .\nrun: build .\n-- d/ mode=0700 --\n-- d/a mtime=5 --\n@salt@\n-- l link=d/a --\n\
             -- l step=2 removed --\n-- d/a step=2 mode=0755 --\nnew\n",
        )
        .expect("the case is well formed");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let workspace = Workspace::new(folder.path(), "12345678").expect("the folder is empty");
        workspace.lay_out(&case, 1).expect("the files can be made");
        let file = workspace.context().join("d/a");
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), Some("12345678\n"));
        assert_eq!(
            fs::metadata(&file).expect("it is there").modified().ok(),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5))
        );
        assert!(workspace.context().join("l").is_symlink());
        workspace.lay_out(&case, 2).expect("the files can be changed");
        assert!(!workspace.context().join("l").is_symlink());
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn the_salt_is_put_back() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let workspace = Workspace::new(folder.path(), "12345678").expect("the folder is empty");
        assert_eq!(workspace.restore("echo 12345678"), "echo @salt@");
    }
}
