//! The process in the background that looks after a container of `slipway run -d`. Nobody types this command.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slipway_engine::{ContainerEnds, chain};
use slipway_registry::Registry;
use slipway_solver::Cancel;

use crate::commands::build;
use crate::commands::local_images::told;
use crate::containers::detached::{self, Report, Starter};
use crate::containers::log::{Recorder, Stream};
use crate::containers::owner::{self, Means, Owner};
use crate::containers::{self, Config, Known};
use crate::report::{self, CommandError};
use crate::{client_config, exit_code, place};

/// Runs the container `id` to its end. What goes wrong is told to who started this process.
pub(crate) fn run(id: &str) -> Result<(), CommandError> {
    detached::leave_session();
    // Before the first thread.
    let place = place::find(None).and_then(|place| place::enter(place).map(|flavor| (place, flavor)));
    let starter = Arc::new(Starter::at_stdin().map_err(|error| told(&error))?);
    let (place, flavor) = match place {
        Ok(entered) => entered,
        Err(error) => return give_up(&starter, report::render(&error)),
    };
    let failed = |error: &(dyn std::error::Error + 'static)| (format!("slipway: {}\n", chain(error)), exit_code::USAGE);
    let known = match containers::find(id) {
        Ok(known) => known,
        Err(error) => return give_up(&starter, failed(&error)),
    };
    let registry = Registry::new(client_config::registry_config(false));
    let engine = build::engine(&place::store_root(place), flavor, registry, build::Terminals::default());
    let folder = known.folder.clone();
    let outcome = match engine {
        Ok(engine) => look_after(known, &engine, &starter),
        Err(error) => Err(failed(&error)),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(failure) => {
            // Of what never ran, nothing stays. If it cannot be removed it is listed as ended.
            let _ = folder.remove();
            give_up(&starter, failure)
        }
    }
}

fn give_up(starter: &Starter, (message, exit_code): (String, u8)) -> Result<(), CommandError> {
    starter.tell(&Report::Failed { message, exit_code });
    Ok(())
}

/// The error is for one that never ran: the text, and Docker's exit code.
fn look_after(known: Known, engine: &slipway_engine::Engine, starter: &Arc<Starter>) -> Result<(), (String, u8)> {
    let failed = |error: &(dyn std::error::Error + 'static)| (format!("slipway: {}\n", chain(error)), exit_code::USAGE);
    let Known { folder, config, .. } = known;
    let told = Arc::clone(starter);
    let remark = Box::new(move |text: &str| told.tell(&Report::Remark(text.to_owned())));
    let recorder = Recorder::new(&folder, Box::new(|_| ()), remark).map_err(|error| failed(&error))?;
    let recorder = Arc::new(recorder);
    let owner = Owner::new(folder, config).map_err(|error| failed(&error))?;
    stop_when_asked(Arc::clone(&owner)).map_err(|error| failed(&error))?;
    let open_input = Mutex::new(None);
    let outcome = owner.run(Means {
        engine,
        network: None,
        ends: &|| ends(owner.config(), &recorder, &open_input),
        output: &*recorder,
        on_start: &|_| starter.tell(&Report::Started),
        cancel: &Cancel::new(),
    });
    recorder.flush();
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(owner::failure(&error)),
    }
}

/// A terminal whose output is kept, or an input that stays open: nobody sits there.
fn ends(config: &Config, recorder: &Arc<Recorder>, open_input: &Mutex<Option<OwnedFd>>) -> io::Result<ContainerEnds> {
    let mut ends = ContainerEnds::default();
    if config.request.has_terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        ends.terminal = Some(rustix::pty::ioctl_tiocgptpeer(&master, flags)?);
        let recorder = Arc::clone(recorder);
        let keep = move || {
            let (mut screen, mut buffer) = (File::from(master), vec![0; 16 << 10]);
            // A terminal ends with an error, when the program has gone.
            while let Ok(n_read @ 1..) = screen.read(&mut buffer) {
                recorder.write(Stream::Stdout, &buffer[..n_read]);
            }
        };
        thread::Builder::new().name("screen".to_owned()).spawn(keep)?;
    } else if config.is_interactive {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        ends.stdin = Some(reader);
        *open_input.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }
    Ok(ends)
}

/// A machine that shuts down asks all processes to end; the container gets its own signal then.
fn stop_when_asked(owner: Arc<Owner>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            // What cannot be asked ends with this process.
            let _ = owner.stop(None, None);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
