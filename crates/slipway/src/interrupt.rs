//! Ctrl-C, SIGTERM, and SIGHUP of a terminal that is gone: the first stops the build in good order, the second ends slipway at once.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slipway_solver::Cancel;

use crate::exit_code;

/// Cancels the returned value when the user or another process asks for it.
pub(crate) fn watch() -> io::Result<Arc<Cancel>> {
    let cancel = Arc::new(Cancel::new());
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let canceled = Arc::clone(&cancel);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if canceled.is_canceled() {
                signal_hook::low_level::exit(exit_code::INTERRUPTED.into());
            }
            canceled.cancel();
        }
    })?;
    Ok(cancel)
}
