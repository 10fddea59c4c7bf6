//! When is the disk made to hold what was built?
//!
//! Syncing waits for all that was written, here and by others on the same file system: a tenth of a second after a small
//! build, three after one of 900 MB, which is as long as that build itself. Until it happened, a power loss takes the
//! results of the last builds with it, never their correctness: the store drops what it is not sure of. So a build pays
//! for it only where it does not matter much, or when nobody has for a while.

use std::time::Duration;

use slipway_store::Store;

use crate::now_ns;

/// Beside a build of this length the sync is lost.
const LONG_BUILD: Duration = Duration::from_secs(30);
/// The work of about this time is at the mercy of the power supply.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

const KIND: &str = "durability";
const LAST: &str = "last sync, ns since 1970";

/// Called at the end of a build that made something and took `took`. A failure changes nothing about the result; the
/// next build tries again.
pub(crate) fn after_build(store: &Store, took: Duration) {
    let waits = since_last_sync(store);
    if is_due(took, waits) {
        if store.mark_durable().is_ok() {
            start_waiting(store);
        }
        return;
    }
    if waits.is_none() {
        start_waiting(store);
    }
    let _ = store.shorten_log();
}

/// `waits` is `None` in a new store: a machine that is there for a few builds only need not keep them.
fn is_due(took: Duration, waits: Option<Duration>) -> bool {
    took >= LONG_BUILD || waits.is_some_and(|waits| waits >= LONGEST_WAIT)
}

fn start_waiting(store: &Store) {
    let _ = store.set_fact(KIND, LAST, &now_ns().to_le_bytes());
}

fn since_last_sync(store: &Store) -> Option<Duration> {
    let last = store.fact(KIND, LAST).ok().flatten()?.try_into().ok().map(i64::from_le_bytes)?;
    Some(Duration::from_nanos(u64::try_from(now_ns().saturating_sub(last)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_of_seconds_waits_for_the_disk_once_in_a_while() {
        let second = Duration::from_secs(1);
        for (took, waits, due) in [
            (second, None, false),
            (second, Some(Duration::ZERO), false),
            (LONG_BUILD - second, Some(LONGEST_WAIT - second), false),
            (second, Some(LONGEST_WAIT), true),
            (LONG_BUILD, None, true),
            (LONG_BUILD, Some(second), true),
        ] {
            assert_eq!(is_due(took, waits), due, "{took:?} {waits:?}");
        }
    }
}
