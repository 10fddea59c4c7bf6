//! Who sits in front of a container: what it writes, what is typed, and signals on their way to it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use slipway_graph::{Event, Events, LogStream, StepId};
use slipway_sandbox::Running;
use slipway_solver::Cancel;

/// So many requests to end, and the container is killed: a program that is PID 1 may not hear them.
const PATIENCE: u32 = 3;

/// Shows what a container writes, as it writes it, and little else.
pub(crate) struct Output {
    next_step: AtomicU32,
    is_quiet: bool,
    cancel: Arc<Cancel>,
    /// Nobody reads any more.
    is_closed: AtomicBool,
}

impl Output {
    pub(crate) fn new(is_quiet: bool, cancel: Arc<Cancel>) -> Output {
        Output { next_step: AtomicU32::new(0), is_quiet, cancel, is_closed: AtomicBool::new(false) }
    }

    /// Whether the container was ended because nobody reads what it writes.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

impl Events for Output {
    fn emit(&self, event: Event) {
        let written = match event {
            Event::StepLog { stream: LogStream::Stdout, bytes, .. } => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&bytes).and_then(|()| stdout.flush())
            }
            Event::StepLog { stream: LogStream::Stderr, bytes, .. } => io::stderr().write_all(&bytes),
            Event::Remark { message } if !self.is_quiet => io::stderr().write_all(format!("{message}\n").as_bytes()),
            _ => Ok(()),
        };
        if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.is_closed.store(true, Ordering::Relaxed);
            self.cancel.cancel();
        }
    }

    fn new_step(&self) -> StepId {
        StepId(self.next_step.fetch_add(1, Ordering::Relaxed))
    }
}

/// The container that signals go to, once it runs.
#[derive(Default)]
pub(crate) struct Recipient(Mutex<Option<Arc<Running>>>);

impl Recipient {
    pub(crate) fn set(&self, running: Arc<Running>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn get(&self) -> Option<Arc<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes signals on to `recipient`. Until it is there, those that end a program cancel.
pub(crate) fn pass_on_signals(recipient: Arc<Recipient>, cancel: Arc<Cancel>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
    let mut n_ends = 0;
    let pass_on = move || {
        for number in signals.forever() {
            n_ends += u32::from(matches!(number, SIGINT | SIGTERM));
            match (recipient.get(), Signal::from_named_raw(number)) {
                (Some(running), Some(signal)) if n_ends < PATIENCE => {
                    // It may have ended in this moment.
                    let _ = running.signal(signal);
                }
                _ => cancel.cancel(),
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(pass_on).map(drop)
}

/// A pipe with what comes from standard input; the thread that fills it ends with the process at the latest.
pub(crate) fn input() -> io::Result<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let copy = move || {
        let (mut from, mut to) = (io::stdin().lock(), std::fs::File::from(writer));
        let mut buffer = vec![0; 64 << 10];
        // The end of either side is the end of the input, whatever its reason.
        while let Ok(n_read @ 1..) = from.read(&mut buffer)
            && to.write_all(&buffer[..n_read]).is_ok()
        {}
    };
    thread::Builder::new().name("stdin".to_owned()).spawn(copy)?;
    Ok(reader)
}
