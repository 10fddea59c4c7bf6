//! Which packages are in a result? Every file of it that lists packages is read (`slipway-sbom`), wherever it lies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::FileType;
use serde_json::Value;
use slipway_oci::Digest;
use slipway_sbom::{Catalog, Document, Input, OsRelease, Package, spdx};
use slipway_solver::Cancel;

use crate::assemble::rfc3339;
use crate::layer::diff::{open_dir, open_file, sorted_names, stat_at};

/// The packages that were found, each with the files that list it.
#[derive(Default)]
struct Found {
    packages: BTreeMap<Package, Vec<String>>,
    os: Option<OsRelease>,
}

/// A file of which parts are read.
struct FileInput {
    file: File,
    size_bytes: u64,
}

impl Input for FileInput {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, n: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; n.min(left)];
        let mut n_read = 0;
        while n_read < bytes.len() {
            match self.file.read_at(&mut bytes[n_read..], offset + n_read as u64)? {
                0 => break,
                n => n_read += n,
            }
        }
        bytes.truncate(n_read);
        Ok(bytes)
    }
}

/// The files that say which distribution it is; the second is mostly a link to the first.
const OS_RELEASE: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];
const MAX_OS_RELEASE_BYTES: u64 = 1 << 16;

/// The list of packages in the tree of `root` as an SPDX document. `created_s`: seconds since 1970.
///
/// # Errors
/// A file cannot be read. One that is not what its name says is no error.
pub(super) fn document(root: &OwnedFd, name: &str, created_s: i64, cancel: &Cancel) -> io::Result<Value> {
    let mut found = Found::default();
    found.folder(&open_dir(root.as_fd(), c".")?, "", cancel)?;
    let packages: Vec<(Package, Vec<String>)> = found.packages.into_iter().collect();
    let created = rfc3339(created_s.saturating_mul(1_000_000_000));
    let unique = Digest::of(format!("{name} {created} {packages:?}").as_bytes());
    let os = found.os.as_ref();
    Ok(spdx(&Document { name, unique: unique.hex(), created: &created, os, packages: &packages }))
}

impl Found {
    /// Looks at all files below `folder`, following no link.
    fn folder(&mut self, folder: &OwnedFd, above: &str, cancel: &Cancel) -> io::Result<()> {
        for name in sorted_names(folder.as_fd())? {
            if cancel.is_canceled() {
                return Err(io::Error::other("canceled"));
            }
            let path = format!("{above}{}", name.to_string_lossy());
            let stat = match stat_at(folder, &name) {
                // Whiteouts are listed in folders that a single layer has.
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.folder(&open_dir(folder.as_fd(), &name)?, &format!("{path}/"), cancel)?,
                FileType::RegularFile => {
                    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
                    let open = || Ok(FileInput { file: File::from(open_file(folder, &name)?), size_bytes });
                    self.file(&path, stat.st_mode & 0o111 != 0, open)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, is_program: bool, open: impl FnOnce() -> io::Result<FileInput>) -> io::Result<()> {
        if OS_RELEASE.contains(&path) {
            let input = open()?;
            let size = input.size_bytes.min(MAX_OS_RELEASE_BYTES);
            let text = input.read_at(0, usize::try_from(size).unwrap_or(0))?;
            self.os = OsRelease::parse(&String::from_utf8_lossy(&text)).or(self.os.take());
        } else if let Some(catalog) = Catalog::of_path(path, is_program) {
            for package in catalog.packages(path, &open()?) {
                let files = self.packages.entry(package).or_default();
                if files.last().is_none_or(|last| last != path) {
                    files.push(path.to_owned());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_that_list_packages_are_found_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/os-release", "ID=alpine\nVERSION_ID=3.20\n");
        write("lib/apk/db/installed", "P:musl\nV:1.2\n\n");
        write("srv/a/composer.lock", r#"{"packages": [{"name": "v/p", "version": "1"}]}"#);
        write("srv/b/composer.lock", r#"{"packages": [{"name": "v/p", "version": "1"}]}"#);
        write("srv/c/Cargo.lock", "\u{0}\u{1}");
        // Nothing outside of the tree is looked at.
        symlink("/", folder.path().join("outside")).unwrap();
        let root =
            open_dir(rustix::fs::CWD, &std::ffi::CString::new(folder.path().to_str().unwrap()).unwrap()).unwrap();
        let written = document(&root, "app", 7, &Cancel::new()).unwrap();
        let packages = written["packages"].as_array().unwrap();
        let purl = |index: usize| packages[index]["externalRefs"][0]["referenceLocator"].as_str().unwrap();
        assert_eq!(packages.len(), 3);
        assert_eq!(purl(1), "pkg:apk/alpine/musl@1.2?distro=alpine-3.20");
        assert_eq!(purl(2), "pkg:composer/v/p@1");
        assert_eq!(packages[2]["sourceInfo"], "listed in srv/a/composer.lock, srv/b/composer.lock");
        assert_eq!(written["creationInfo"]["created"], "1970-01-01T00:00:07Z");
        assert_eq!(written, document(&root, "app", 7, &Cancel::new()).unwrap());
    }

    #[test]
    fn parts_of_files_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "0123456789").unwrap();
        let input = FileInput { file: file.reopen().unwrap(), size_bytes: 10 };
        assert_eq!(input.read_at(8, 5).unwrap(), b"89");
        assert_eq!(input.read_at(20, 5).unwrap(), b"");
    }
}
