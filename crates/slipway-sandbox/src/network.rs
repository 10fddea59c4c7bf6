//! Network namespaces: makes them, moves threads into them, and brings up their loopback, which starts down.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::call::{CallError, Named};

/// A new network with nothing but a loopback. It is there as long as somebody has the descriptor or lives in it.
pub fn fresh() -> Result<OwnedFd, CallError> {
    // On a thread that ends: a thread cannot always come back to where it was.
    let make = || {
        // SAFETY: a network namespace has nothing to do with memory, descriptors or other threads.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.named(|| "unshare(CLONE_NEWNET)".to_owned())?;
        bring_up_loopback()?;
        let namespace = File::open("/proc/thread-self/ns/net");
        namespace.map(OwnedFd::from).named(|| "open(/proc/thread-self/ns/net)".to_owned())
    };
    thread::scope(|scope| scope.spawn(make).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves the calling thread into the network `namespace`, for good: sockets that it makes from now on belong there.
/// Other threads, and sockets that it has already, stay where they are.
pub fn enter(namespace: impl AsFd) -> Result<(), CallError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .named(|| "setns(CLONE_NEWNET)".to_owned())
}

/// Root of a container often lacks the right to (`CAP_NET_ADMIN`). Then it stays down: less than was promised, but
/// nothing that should be out of reach.
pub(crate) fn bring_up_loopback() -> Result<(), CallError> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .named(|| "socket(AF_INET)".to_owned())?;
    // SAFETY: `ifreq` is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives through the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error).named(|| "ioctl(SIOCSIFFLAGS, lo)".to_owned());
        }
    }
    Ok(())
}
