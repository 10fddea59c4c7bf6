//! Finds programs of the host that sandboxes make use of.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
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

/// Whether an ELF file asks for no dynamic linker (program header `PT_INTERP`, elf(5)).
pub fn is_static_program(path: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let bytes = read_beginning(path).unwrap_or_default();
    let number = |at: usize, length: usize| -> Option<u64> {
        let mut number = [0; 8];
        number[..length].copy_from_slice(bytes.get(at..at + length)?);
        Some(u64::from_le_bytes(number))
    };
    let is_little_64_bit = bytes.starts_with(b"\x7fELF\x02\x01");
    let headers = || {
        let (first, size, n) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..n).map(|index| number(usize::try_from(first + index * size).ok()?, 4)).collect::<Option<Vec<u64>>>()
    };
    // What cannot be read as one of our own programs is left to the kernel.
    !is_little_64_bit || headers().is_none_or(|kinds| !kinds.contains(&PT_INTERP.into()))
}

pub(crate) fn read_beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(16 << 10).read_to_end(&mut bytes)?;
    Ok(bytes)
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
