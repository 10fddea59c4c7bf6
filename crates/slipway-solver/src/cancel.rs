//! Stops everything: the user's Ctrl-C or the first failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

type Callback = Box<dyn FnOnce() + Send>;

/// Shared by all who work on one build. Once canceled, stays canceled.
#[derive(Default)]
pub struct Cancel {
    is_canceled: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next: u64,
    waiting: BTreeMap<u64, Callback>,
}

/// While it lives, its callback runs if the build is canceled.
#[must_use = "the callback is forgotten when the guard is dropped"]
pub struct CancelGuard<'a> {
    cancel: &'a Cancel,
    id: u64,
}

impl Cancel {
    /// Nothing is canceled yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Whether the build should stop.
    pub fn is_canceled(&self) -> bool {
        self.is_canceled.load(Ordering::SeqCst)
    }

    /// Stops the build: runs all callbacks, each once, on the calling thread.
    pub fn cancel(&self) {
        self.is_canceled.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut self.lock().waiting);
        for callback in waiting.into_values() {
            callback();
        }
    }

    /// Runs `callback` when the build is canceled; at once if it already is.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CancelGuard<'_> {
        let mut callbacks = self.lock();
        callbacks.next += 1;
        let id = callbacks.next;
        callbacks.waiting.insert(id, Box::new(callback));
        drop(callbacks);
        // Between the flag and the list there is a gap: look again after entering the list.
        if self.is_canceled() {
            self.cancel();
        }
        CancelGuard { cancel: self, id }
    }

    fn lock(&self) -> MutexGuard<'_, Callbacks> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        self.cancel.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn callbacks_run_once_and_only_while_guarded() {
        let cancel = Cancel::new();
        let count = Arc::new(AtomicUsize::new(0));
        let add = |n: usize| {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(n, Ordering::SeqCst);
            }
        };
        drop(cancel.on_cancel(add(1)));
        let _kept = cancel.on_cancel(add(10));
        cancel.cancel();
        cancel.cancel();
        let _late = cancel.on_cancel(add(100));
        assert_eq!(count.load(Ordering::SeqCst), 110);
    }
}
