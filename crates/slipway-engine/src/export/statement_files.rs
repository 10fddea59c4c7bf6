//! Statements about files that lie beside them: `provenance.json` and others (`spec/dockerfile.md` section 8.4).

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::FileType;
use slipway_graph::request::FilesOutput;
use slipway_oci::{Platform, Sha256};
use tempfile::TempDir;

use super::{Export, ExportError, Image};
use crate::attest::statement::{Statement, Subject};
use crate::layer::diff::{open_dir, open_file, sorted_names, stat_at};

/// The statements about the files of `image`, which `root` has, as files of a folder; `None` if nothing is said.
///
/// `platform`: of an image whose files come to lie between those of others.
pub(super) fn write(
    export: &Export<'_>,
    image: &Image,
    root: &OwnedFd,
    files: &FilesOutput,
    platform: Option<&Platform>,
) -> Result<Option<TempDir>, ExportError> {
    let said: Vec<_> = image.attestations.iter().filter(|attestation| !attestation.is_inline_only).collect();
    if said.is_empty() {
        return Ok(None);
    }
    let mut subjects = Vec::new();
    let top = open_dir(root.as_fd(), c".").map_err(|errno| ExportError::Subjects(errno.into()))?;
    add_subjects(&top, "", &mut subjects, export).map_err(ExportError::Subjects)?;
    let folder = tempfile::tempdir().map_err(ExportError::Statements)?;
    let mut names = HashSet::new();
    for attestation in said {
        let name = file_name(&files.attestation_prefix, &attestation.file_name, platform);
        let statement = Statement::of(attestation, subjects.clone(), &[]);
        let bytes = slipway_oci::to_indented(&statement)?;
        if !names.insert(name.clone()) {
            return Err(ExportError::SameStatementName(name));
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(folder.path().join(&name));
        file.and_then(|mut file| file.write_all(&bytes)).map_err(ExportError::Statements)?;
    }
    Ok(Some(folder))
}

/// `provenance.json`, or `provenance.linux_arm64.json` between files of several platforms. It never leaves its folder.
fn file_name(prefix: &str, name: &str, platform: Option<&Platform>) -> String {
    let name = name.rsplit('/').next().unwrap_or_default();
    let name = match platform {
        None => name.to_owned(),
        Some(platform) => {
            let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(s, e)| (s, format!(".{e}")));
            format!("{stem}.{}{extension}", platform.to_string().replace('/', "_"))
        }
    };
    format!("{prefix}{name}").replace('/', "_")
}

/// All regular files below `folder`, sorted by their paths.
fn add_subjects(folder: &OwnedFd, above: &str, subjects: &mut Vec<Subject>, export: &Export<'_>) -> io::Result<()> {
    for name in sorted_names(folder.as_fd())? {
        let path = format!("{above}{}", name.to_string_lossy());
        match FileType::from_raw_mode(stat_at(folder, &name)?.st_mode) {
            FileType::Directory => {
                let inner = open_dir(folder.as_fd(), &name)?;
                add_subjects(&inner, &format!("{path}/"), subjects, export)?;
            }
            FileType::RegularFile => {
                let mut file = fs::File::from(open_file(folder, &name)?);
                let (mut sha256, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
                loop {
                    if export.cancel.is_canceled() {
                        return Err(io::Error::other("canceled"));
                    }
                    match file.read(&mut buffer)? {
                        0 => break,
                        n => sha256.update(&buffer[..n]),
                    }
                }
                subjects.push(Subject::of_file(&path, &sha256.finish()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_platform_where_several_lie_together() {
        let arm: Platform = "linux/arm/v7".parse().unwrap();
        assert_eq!(file_name("", "provenance.json", None), "provenance.json");
        assert_eq!(file_name("zz-", "sbom.spdx.json", Some(&arm)), "zz-sbom.spdx.linux_arm_v7.json");
        assert_eq!(file_name("", "plain", Some(&arm)), "plain.linux_arm_v7");
        assert_eq!(file_name("../", "/etc/../passwd", None), ".._passwd");
    }
}
