//! Keeps the events of a build until it is known whether anybody is to see them.

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use slipway_graph::{Event, Events, StepId};

/// Events that nobody has seen yet.
#[derive(Default)]
pub(crate) struct Recording {
    next_step: AtomicU32,
    events: Mutex<Vec<Event>>,
}

impl Recording {
    /// Tells all of them to somebody who has been told nothing so far.
    pub(crate) fn play(&self, to: &dyn Events) {
        let events = mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner));
        events.into_iter().for_each(|event| to.emit(event));
    }
}

impl Events for Recording {
    fn emit(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn new_step(&self) -> StepId {
        StepId(self.next_step.fetch_add(1, Ordering::Relaxed))
    }
}
