//! Lists folders in another order than the file system does, so that it comes out what a step makes of that order.
//!
//! The entries that one call gives are put into an order of their own, which is the same wherever the folder lies. Each
//! call gives as many as it would have given, and the places to go on from (`d_off`) stay where they were in the list:
//! a program that goes back to the middle of what one call gave sees entries twice, or not at all. Few do.
//!
//! Where the kernel does not let us have the descriptor of another process (before Linux 5.6), all stays as it is.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::listener::{Answer, Listener, Request};
use super::memory::Memory;

/// More than this is not read at once, however large the caller's buffer is.
const MAX_BYTES: usize = 1 << 18;
/// `struct linux_dirent64` of getdents64(2): inode 8, place behind the entry 8, length 2, kind 1, name.
const PLACE: usize = 8;
const LENGTH: usize = 16;
const NAME: usize = 19;
/// `SYSFS_MAGIC` (`linux/magic.h`).
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// The next entries of the folder that the descriptor `number` of the caller stands for.
pub(super) fn list(
    listener: &Listener,
    request: &Request,
    group: u32,
    (number, buffer, room): (i32, u64, usize),
) -> Result<Answer, Errno> {
    // With the place in the folder that the caller has: it is the same open file.
    let Ok(folder) = descriptor_of(group, number) else { return Ok(Answer::Kernel) };
    if is_of_kernel(&folder) {
        return Ok(Answer::Kernel);
    }
    let mut folder = File::from(folder);
    let start = folder.stream_position().map_err(|error| errno(&error))?;
    let mut bytes = vec![0; room.min(MAX_BYTES)];
    let n = read_entries(&folder, &mut bytes)?;
    reorder(&mut bytes[..n]);
    let is_given =
        listener.still_waits(request) && Memory { thread: request.thread }.write(buffer, &bytes[..n]).is_ok();
    if is_given {
        return Ok(Answer::Value(i64::try_from(n).expect("because the buffer is small")));
    }
    // Nobody has seen these entries: the next call gets them.
    folder.seek(SeekFrom::Start(start)).map_err(|error| errno(&error))?;
    Err(Errno::FAULT)
}

fn descriptor_of(process: u32, number: i32) -> Result<OwnedFd, Errno> {
    let process = Pid::from_raw(process.cast_signed()).ok_or(Errno::SRCH)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty())
}

/// What the kernel makes up has no file system that could have another order.
fn is_of_kernel(folder: &OwnedFd) -> bool {
    fstatfs(folder).is_ok_and(|status| [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&status.f_type))
}

fn read_entries(folder: &File, bytes: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `bytes.len()` bytes to `bytes`, which lives through the call.
    let answer = unsafe { libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), bytes.as_mut_ptr(), bytes.len()) };
    usize::try_from(answer).map_err(|_| errno(&std::io::Error::last_os_error()))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Puts the entries into another order than they are in: that of a number made of their names, or the opposite of the one
/// that they have, should it be that one. `.` and `..` stay in front.
fn reorder(bytes: &mut [u8]) {
    let Some(entries) = entries(bytes) else { return };
    let is_dot = |entry: &[u8]| matches!(name(entry), b"." | b"..");
    let mut sorted = entries.clone();
    sorted.sort_by_key(|entry| (!is_dot(entry), if is_dot(entry) { 0 } else { number_of(name(entry)) }));
    let n_dots = sorted.iter().filter(|entry| is_dot(entry)).count();
    if sorted[n_dots..].iter().eq(entries.iter().filter(|entry| !is_dot(entry))) {
        sorted[n_dots..].reverse();
    }
    let places: Vec<&[u8]> = entries.iter().map(|entry| &entry[PLACE..LENGTH]).collect();
    let reordered = sorted.iter().zip(places).flat_map(|(entry, place)| [&entry[..PLACE], place, &entry[LENGTH..]]);
    let reordered = reordered.collect::<Vec<_>>().concat();
    bytes.copy_from_slice(&reordered);
}

/// The entries one by one; none if they are not what getdents64(2) writes.
fn entries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes(bytes.get(LENGTH..LENGTH + 2)?.try_into().ok()?));
        let (entry, rest) = bytes.split_at_checked(length).filter(|_| length > NAME)?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

fn name(entry: &[u8]) -> &[u8] {
    let name = &entry[NAME..];
    &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())]
}

/// FNV-1a, which scatters names that are alike.
fn number_of(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |number, byte| (number ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Vec<u8> {
        let entry = |(index, name): (usize, &&str)| {
            let length = (NAME + name.len() + 1).next_multiple_of(8);
            let mut entry = [&(index as u64 + 100).to_ne_bytes()[..], &(index as u64).to_ne_bytes()].concat();
            entry.extend(u16::try_from(length).unwrap().to_ne_bytes());
            entry.push(4);
            entry.extend(name.as_bytes());
            entry.resize(length, 0);
            entry
        };
        names.iter().enumerate().flat_map(entry).collect()
    }

    fn reordered(names: &[&str]) -> Vec<String> {
        let mut bytes = listing(names);
        reorder(&mut bytes);
        let entries = entries(&bytes).unwrap();
        let places: Vec<u64> =
            entries.iter().map(|e| u64::from_ne_bytes(e[PLACE..LENGTH].try_into().unwrap())).collect();
        assert!(places.is_sorted(), "{places:?}");
        entries.iter().map(|entry| String::from_utf8(name(entry).to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_order_is_another_one_and_nothing_is_lost() {
        let names: Vec<String> = (0..50).map(|n| format!("file-{n}")).collect();
        let names: Vec<&str> = [".", ".."].into_iter().chain(names.iter().map(String::as_str)).collect();
        let other = reordered(&names);
        assert_ne!(other, names);
        assert_eq!(other[..2], [".", ".."]);
        let sort = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sort(other.clone()), sort(names.iter().map(|name| (*name).to_owned()).collect()));
        // Wherever it lies, and so in whatever order it comes.
        let backwards: Vec<&str> = names[2..].iter().rev().copied().collect();
        assert_eq!(reordered(&backwards), other[2..]);
    }

    #[test]
    fn two_entries_change_places_whichever_is_first() {
        assert_eq!(reordered(&["a", "bc", "."]), [".", "bc", "a"]);
        assert_eq!(reordered(&["bc", "a"]), ["a", "bc"]);
        assert_eq!(reordered(&["only"]), ["only"]);
        assert_eq!(reordered(&[]), [""; 0]);
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for broken in [vec![0; 40], vec![0xff; 40], listing(&["a", "b"])[..30].to_vec()] {
            let mut bytes = broken.clone();
            reorder(&mut bytes);
            assert_eq!(bytes, broken);
        }
    }
}
