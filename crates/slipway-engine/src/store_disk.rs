//! Did something fail because the store's disk is full, or cannot hold layers, and what to do then?

use std::error::Error;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use slipway_sandbox::CallError;
use slipway_store::MountError;

/// With less than this a program in a step cannot have gone far: file systems keep some of what they call free.
const NEXT_TO_NOTHING_BYTES: u64 = 256 << 10;

/// Advice, if some part of `error` is the kernel's word that the disk is full or of a kind without layers.
pub(crate) fn hint(error: &(dyn Error + 'static), store: &Path) -> Option<String> {
    let is_about_namespaces = |cause| <dyn Error>::downcast_ref(cause).is_some_and(is_limit_of_namespaces);
    let mut cause = Some(error);
    let mut is_full = false;
    while let Some(error) = cause {
        if is_about_namespaces(error) {
            return None;
        }
        if error.downcast_ref().is_some_and(MountError::is_about_disk) {
            return Some(advice_on_kind(store));
        }
        is_full |= says_full(error);
        cause = error.source();
    }
    is_full.then(|| advice(store))
}

/// Advice, if the disk is full at this moment. Programs of steps say that in words of their own.
pub(crate) fn hint_if_full(store: &Path) -> Option<String> {
    let found = rustix::fs::statvfs(store).ok()?;
    let is_full = found.f_bavail.saturating_mul(found.f_frsize) < NEXT_TO_NOTHING_BYTES;
    // A file system that does not count files says that there are none.
    let has_no_files_left = found.f_files > 0 && found.f_favail == 0;
    (is_full || has_no_files_left).then(|| advice(store))
}

/// Whether the kernel refused to make one more namespace, which is "no space left on device", too.
pub(crate) fn is_limit_of_namespaces(error: &CallError) -> bool {
    let makes_one = ["clone(", "unshare("].iter().any(|call| error.call.starts_with(call));
    makes_one && Errno::from_io_error(&error.source) == Some(Errno::NOSPC)
}

/// Whether some part of `error` is the kernel's word that the disk is full.
pub(crate) fn is_about_full_disk(error: &(dyn Error + 'static)) -> bool {
    says_full(error) || error.source().is_some_and(is_about_full_disk)
}

fn says_full(cause: &(dyn Error + 'static)) -> bool {
    let errno = cause.downcast_ref::<Errno>().copied();
    let errno = errno.or_else(|| cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error));
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT))
}

fn advice(store: &Path) -> String {
    format!(
        "the disk that holds the store is full; make room where `{}` lies, or set `SLIPWAY_ROOT` to a folder on another \
         disk",
        store.display()
    )
}

fn advice_on_kind(store: &Path) -> String {
    format!(
        "layers cannot be written where `{store}` lies, as in a container's own file system or on NFS; give a container \
         a volume there (`-v slipway:{store}`), or set `SLIPWAY_ROOT` to a folder on a disk of the machine",
        store = store.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot copy")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_kernels_word_counts_wherever_it_is_in_the_chain() {
        let of = |errno: Errno| hint(&Outer(errno.into()), Path::new("/store"));
        assert!(of(Errno::NOSPC).is_some_and(|hint| hint.contains("`/store`")));
        assert!(of(Errno::DQUOT).is_some());
        assert_eq!(of(Errno::IO), None);
    }

    #[test]
    fn namespaces_are_not_on_a_disk() {
        let of = |call: &str| {
            let error = CallError { call: call.to_owned(), source: Errno::NOSPC.into() };
            hint(&error, Path::new("/store")).is_some()
        };
        assert!(of("mkdir(/work)") && !of("clone(new namespaces)"));
    }
}
