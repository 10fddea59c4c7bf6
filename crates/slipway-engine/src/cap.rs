//! How is the store kept within the size that the user allows it?
//!
//! While a build goes on, a thread looks after every step that ran, and again when the build is over. What this build or
//! another uses, and images that have names, stay even if they are more than that.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use slipway_store::{Bounds, OverlayFlavor, Store};

/// How long other processes may be in the way before it is left to the next look.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a look that took some time, so many times as long passes until the next.
const REST: u32 = 10;

/// The size that the store is kept within.
pub(crate) struct Cap {
    /// `None` if it may grow, or this process must not take anything out of it.
    bounds: Option<Bounds>,
}

/// Keeps the store within its cap while a build goes on.
pub(crate) struct CapWatch<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: Store,
    bounds: Option<Bounds>,
    /// Made with the first step that ran.
    wake: Mutex<Option<mpsc::Sender<()>>>,
}

impl Cap {
    pub(crate) fn new(bounds: Bounds, flavor: OverlayFlavor) -> Cap {
        let may_take = flavor != OverlayFlavor::Outside;
        Cap { bounds: Some(bounds).filter(|bounds| may_take && *bounds != Bounds::default()) }
    }

    /// Looks once, now.
    pub(crate) fn keep(&self, store: &Store) {
        if let Some(bounds) = self.bounds {
            keep(store, bounds);
        }
    }

    /// A watch whose thread will live in `scope`; it ends when the watch is dropped.
    pub(crate) fn watch<'scope, 'env>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        store: Store,
    ) -> CapWatch<'scope, 'env> {
        CapWatch { scope, store, bounds: self.bounds, wake: Mutex::default() }
    }
}

impl CapWatch<'_, '_> {
    /// To be called when the store has become larger.
    pub(crate) fn grown(&self) {
        let Some(bounds) = self.bounds else { return };
        let mut wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        // The other end lives as long as this one.
        let _ = wake.get_or_insert_with(|| self.start(bounds)).send(());
    }

    fn start(&self, bounds: Bounds) -> mpsc::Sender<()> {
        let (wake, woken) = mpsc::channel();
        let store = self.store.clone();
        self.scope.spawn(move || {
            let mut rest_ends = Instant::now();
            while is_to_look(&woken, rest_ends) {
                let begin = Instant::now();
                keep(&store, bounds);
                rest_ends = Instant::now() + begin.elapsed() * REST;
            }
        });
        wake
    }
}

/// Waits until a step has run and `rest_ends` has come. `false` if the build ends before, which looks by itself.
fn is_to_look(woken: &mpsc::Receiver<()>, rest_ends: Instant) -> bool {
    if woken.recv().is_err() {
        return false;
    }
    loop {
        match woken.recv_timeout(rest_ends.saturating_duration_since(Instant::now())) {
            // One look does for all steps that end before it.
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn keep(store: &Store, bounds: Bounds) {
    // It begins when the store has been measured, which takes its time.
    let mut begin = None;
    // A build is not worse for a store that is too large; the next look tries again.
    let _ = store.keep_within(bounds, || begin.get_or_insert_with(Instant::now).elapsed() < PATIENCE);
}
