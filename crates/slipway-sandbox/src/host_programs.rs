//! Finds programs of the host that sandboxes make use of.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The first executable file of this name in a list of folders as in `PATH`; relative ones are left out.
pub fn find_program(search_path: &OsStr, name: &str) -> Option<PathBuf> {
    let folders = search_path.as_bytes().split(|byte| *byte == b':').filter(|folder| folder.starts_with(b"/"));
    folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_absolute_folders_only() {
        assert_eq!(find_program(OsStr::new("bin:/nonexistent:/bin"), "sh"), Some("/bin/sh".into()));
        assert_eq!(find_program(OsStr::new("bin:."), "sh"), None);
        // There, but no program.
        assert_eq!(find_program(OsStr::new("/etc"), "passwd"), None);
    }
}
