//! Which extended attributes does a file have, and which of them may travel?

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use slipway_sandbox::owners;

/// Names and values, sorted by name.
pub(crate) type Xattrs = Vec<(CString, Vec<u8>)>;

/// Steers an overlay mount, so it must neither leave nor enter a layer (kernel, `overlayfs.rst`).
const OVERLAY_PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Whether a layer or a copy may have an attribute of this name. The recorded owner is no part of a file's attributes:
/// each file gets its own.
pub(crate) fn may_travel(name: &[u8]) -> bool {
    name != owners::MARK.as_bytes() && !OVERLAY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The attributes of an open file or folder that may travel. Empty where the file system has none.
pub(crate) fn read_xattrs(file: impl AsFd) -> io::Result<Xattrs> {
    let file = file.as_fd();
    let mut names = Vec::new();
    match grown(&mut names, |room| rustix::fs::flistxattr(file, spare_capacity(room))) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::BADF) => return Ok(Vec::new()),
        other => other?,
    }
    let mut xattrs = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if !may_travel(name) {
            continue;
        }
        let name = CString::new(name).expect("because the list was split at its NULs");
        let mut value = Vec::new();
        match grown(&mut value, |room| rustix::fs::fgetxattr(file, &name, spare_capacity(room))) {
            // Gone again, or not for us to read.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => continue,
            other => other?,
        }
        xattrs.push((name, value));
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Sets attributes as well as the file system permits: one that it refuses is left out (`spec/dockerfile.md` 3.4).
pub(crate) fn write_xattrs(file: impl AsFd, xattrs: &Xattrs) {
    for (name, value) in xattrs {
        // The answer does not matter: see above.
        let _ = rustix::fs::fsetxattr(file.as_fd(), name, value, XattrFlags::empty());
    }
}

/// Fills `buffer` by a call that says `ERANGE` when there is too little room.
fn grown(buffer: &mut Vec<u8>, mut call: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<(), Errno> {
    // Most files have none: the first call is with a little room, not a question for the size.
    let mut size = 256;
    loop {
        buffer.clear();
        buffer.reserve(size);
        match call(buffer) {
            Err(Errno::RANGE) if size < 128 << 10 => size *= 8,
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_overlay_do_not_travel() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("f")).unwrap();
        let long = vec![b'x'; 1000];
        let written: Xattrs = vec![
            (c"user.a".into(), b"1".to_vec()),
            (c"user.long".into(), long.clone()),
            (c"user.overlay.opaque".into(), b"y".to_vec()),
        ];
        write_xattrs(&file, &written);
        let read = read_xattrs(&file).unwrap();
        // A file system without user attributes has nothing to show.
        if !read.is_empty() {
            assert_eq!(read, written[..2]);
        }
        assert!(!read.iter().any(|(name, _)| name.to_bytes().starts_with(b"user.overlay.")));
    }
}
