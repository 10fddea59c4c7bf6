//! Reads and writes the memory of a process whose system call waits.
//!
//! Other threads of that process may change the memory at any time, so everything is read once, and what counts is the
//! copy.

use std::io;

use rustix::io::Errno;

/// The longest path that the kernel takes, its NUL included.
const PATH_MAX: usize = 4096;

/// A read that crosses into a page that is not there fails as a whole; one that ends at this border does not.
const PAGE_BYTES: u64 = 4096;

/// The memory of the process of a thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) thread: u32,
}

impl Memory {
    /// The path at `address`, without its NUL.
    pub(super) fn path(self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut path = Vec::new();
        let mut page = [0; PAGE_BYTES as usize];
        while path.len() < PATH_MAX {
            let from = address + path.len() as u64;
            let to_border = PAGE_BYTES - from % PAGE_BYTES;
            let wanted = &mut page[..usize::try_from(to_border).expect("because a page is small")];
            self.read(from, wanted)?;
            if let Some(length) = wanted.iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&wanted[..length]);
                return if path.len() < PATH_MAX { Ok(path) } else { Err(Errno::NAMETOOLONG) };
            }
            path.extend_from_slice(wanted);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// As many ids as are asked for.
    pub(super) fn ids(self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        let mut bytes = vec![0; count * size_of::<u32>()];
        self.read(address, &mut bytes)?;
        Ok(bytes.chunks_exact(4).map(|id| u32::from_ne_bytes([id[0], id[1], id[2], id[3]])).collect())
    }

    /// Writes ids, one after the other.
    pub(super) fn write_ids(self, address: u64, ids: &[u32]) -> Result<(), Errno> {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        self.write(address, &bytes)
    }

    fn read(self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        if into.is_empty() {
            return Ok(());
        }
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = remote(address, into.len())?;
        // SAFETY: the kernel writes at most `into.len()` bytes to `into`; the remote address is checked by the kernel.
        let answer = unsafe { libc::process_vm_readv(self.pid(), &raw const local, 1, &raw const remote, 1, 0) };
        complete(answer, into.len())
    }

    /// Writes as the process itself could: not to memory that it may only read.
    pub(super) fn write(self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let remote = remote(address, bytes.len())?;
        // SAFETY: the kernel only reads `bytes`; the remote address is checked by the kernel, and it is the memory of
        // another process.
        let answer = unsafe { libc::process_vm_writev(self.pid(), &raw const local, 1, &raw const remote, 1, 0) };
        complete(answer, bytes.len())
    }

    fn pid(self) -> libc::pid_t {
        self.thread.cast_signed()
    }
}

fn remote(address: u64, length: usize) -> Result<libc::iovec, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    Ok(libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length })
}

fn complete(answer: isize, length: usize) -> Result<(), Errno> {
    match usize::try_from(answer) {
        Ok(done) if done == length => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::FAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Memory {
        Memory { thread: std::process::id() }
    }

    #[test]
    fn a_path_ends_at_its_nul() {
        let long = vec![b'a'; 4095];
        for path in [&b"/etc/passwd"[..], b"", &long] {
            let mut text = path.to_vec();
            text.extend(b"\0behind");
            assert_eq!(own().path(text.as_ptr().addr() as u64), Ok(path.to_vec()));
        }
        let endless = vec![b'a'; 5000];
        assert_eq!(own().path(endless.as_ptr().addr() as u64), Err(Errno::NAMETOOLONG));
        assert_eq!(own().path(1), Err(Errno::FAULT));
    }

    #[test]
    fn ids_come_back_as_they_were_written() {
        let room = [0_u32; 3];
        let address = room.as_ptr().addr() as u64;
        own().write_ids(address, &[1, 2, u32::MAX - 1]).unwrap();
        assert_eq!(own().ids(address, 3), Ok(vec![1, 2, u32::MAX - 1]));
        assert_eq!(own().write_ids(8, &[1]), Err(Errno::FAULT));
    }
}
