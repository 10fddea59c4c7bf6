//! The process in the background that owns a stack. Nobody types this command.

use std::sync::Arc;
use std::{io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slipway_engine::chain;
use slipway_registry::Registry;

use crate::commands::build;
use crate::commands::local_images::told;
use crate::containers::control;
use crate::containers::detached::{self, Report, Starter};
use crate::report::{self, CommandError};
use crate::stack::{self, owner::Stack};
use crate::{client_config, env_vars, exit_code, place};

/// Listens for what is asked of the stack of `project`, until there is none any more.
pub(crate) fn run(project: &str) -> Result<(), CommandError> {
    detached::leave_session();
    // Before the first thread.
    let place = place::find(None).and_then(|place| place::enter(place).map(|flavor| (place, flavor)));
    let starter = Starter::at_stdin().map_err(|error| told(&error))?;
    let give_up = |message: String, exit_code: u8| starter.tell(&Report::Failed { message, exit_code });
    let (place, flavor) = match place {
        Ok(entered) => entered,
        Err(error) => {
            let (message, exit_code) = report::render(&error);
            give_up(message, exit_code);
            return Ok(());
        }
    };
    let registry = Registry::new(client_config::registry_config(false));
    let engine = build::engine(&place::store_root(place), flavor, registry, build::Terminals::default());
    let stack = match engine {
        Ok(engine) => Stack::new(engine, env_vars::PATH.get_os().unwrap_or_default()),
        Err(error) => {
            give_up(chain(&error), exit_code::FAILURE);
            return Ok(());
        }
    };
    let listening = stack::folder(project).map_err(io::Error::other).and_then(|folder| {
        let Some(ownership) = folder.own().map_err(io::Error::other)? else {
            return Err(io::Error::other("somebody looks after the stack already"));
        };
        let asked = Arc::clone(&stack);
        Ok((ownership, control::listen(folder.path(), move |stream| asked.talk(&stream))?, folder))
    });
    let (ownership, listening, folder) = match listening {
        Ok(listening) => listening,
        Err(error) => {
            give_up(error.to_string(), exit_code::FAILURE);
            return Ok(());
        }
    };
    stop_when_asked(Arc::clone(&stack)).map_err(|error| told(&error))?;
    starter.tell(&Report::Started);
    stack.wait_until_idle();
    drop(listening);
    // What cannot be removed is an empty folder.
    let _ = folder.remove();
    drop(ownership);
    Ok(())
}

/// A machine that shuts down asks all processes to end; the containers get their own signals then.
fn stop_when_asked(stack: Arc<Stack>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            stack.stop_all();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
