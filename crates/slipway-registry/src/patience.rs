//! How long may a server say nothing? As long as `client.rs` says, and less for what only spares work: a cache must not
//! keep a build waiting. Then a server that was silent once is not asked again.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::BodyReader;

use crate::failure::Failure;
use crate::origin::Origin;

/// A bound on the silence of servers, and which servers have reached it.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    given_up: Arc<Mutex<HashSet<Origin>>>,
}

impl Patience {
    /// No server has been silent yet.
    pub(crate) fn new(limit: Duration) -> Patience {
        Patience { limit, given_up: Arc::default() }
    }

    /// Fails if `origin` has been silent.
    pub(crate) fn check(&self, origin: &Origin) -> Result<(), Failure> {
        let given_up = self.given_up.lock().expect("because nothing panics while it is held");
        if given_up.contains(origin) { Err(self.failure()) } else { Ok(()) }
    }

    /// Remembers that `origin` has been silent.
    pub(crate) fn give_up(&self, origin: &Origin) -> Failure {
        self.given_up.lock().expect("because nothing panics while it is held").insert(origin.clone());
        self.failure()
    }

    fn failure(&self) -> Failure {
        Failure::Silent { limit: self.limit }
    }
}

/// Whether a server was silent for longer than it may.
pub(crate) fn is_silence(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Timeout(timeout) if *timeout != ureq::Timeout::Global)
}

/// The body of an answer. A server that falls silent in the middle of it is given up.
pub(crate) struct BodyBytes {
    pub(crate) reader: BodyReader<'static>,
    /// Who sends it; `None` if nobody is given up.
    pub(crate) sender: Option<(Patience, Origin)>,
}

impl Read for BodyBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>());
            match &self.sender {
                Some((patience, origin)) if cause.is_some_and(is_silence) => io::Error::other(patience.give_up(origin)),
                _ => error,
            }
        })
    }
}
