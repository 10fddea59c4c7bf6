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
const LONG_BUILD: Duration = Duration::from_secs(60);
/// At most so much work is at the mercy of the power supply.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

const KIND: &str = "durability";
const LAST: &str = "last sync, ns since 1970";

/// Called at the end of a build that made something and took `took`. A failure changes nothing about the result; the
/// next build tries again.
pub(crate) fn after_build(store: &Store, took: Duration) {
    if took < LONG_BUILD && since_last_sync(store) < LONGEST_WAIT {
        let _ = store.shorten_log();
        return;
    }
    if store.mark_durable().is_ok() {
        let _ = store.set_fact(KIND, LAST, &now_ns().to_le_bytes());
    }
}

fn since_last_sync(store: &Store) -> Duration {
    let last = store.fact(KIND, LAST).ok().flatten().and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
    match last {
        Some(last) => Duration::from_nanos(u64::try_from(now_ns().saturating_sub(last)).unwrap_or(0)),
        None => Duration::MAX,
    }
}
