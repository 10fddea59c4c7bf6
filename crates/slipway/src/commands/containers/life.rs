//! `slipway stop`, `kill`, `wait`, `rm`, `start` and `restart`: how long containers live.

use std::io::{self, Write as _};

use slipway_engine::chain;

use super::{ask, for_each};
use crate::cli::containers::{KillArgs, NamesArgs, PruneContainersArgs, RemoveArgs, StopArgs};
use crate::commands::local_images::{print, told};
use crate::commands::system::is_confirmed;
use crate::containers::control::{Answer, ControlError, Request};
use crate::containers::{self, Known, detached};
use crate::report::CommandError;
use crate::signals;

/// Asks containers to end, and waits until they have.
pub(crate) fn stop(args: &StopArgs) -> Result<(), CommandError> {
    let (signal, time) = (args.signal.as_deref(), args.time);
    with_names(&args.containers, |known| stop_one(known, signal, time))
}

/// Ends one container. That it has ended already is fine.
pub(crate) fn stop_one(known: &Known, signal: Option<&str>, timeout_s: Option<u64>) -> Result<(), String> {
    if !known.folder.is_owned() {
        return Ok(());
    }
    match ask(known, &Request::Stop { signal: signal.map(str::to_owned), timeout_s }) {
        Ok(Answer::Refused { message, .. }) => Err(message),
        // It has ended in this moment.
        Ok(Answer::Done | Answer::Exited(_)) | Err(ControlError::Gone | ControlError::Nobody(_)) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

/// Sends a signal to containers.
pub(crate) fn kill(args: &KillArgs) -> Result<(), CommandError> {
    with_names(&args.containers, |known| kill_one(known, &args.signal))
}

/// Sends a signal to one container.
pub(crate) fn kill_one(known: &Known, signal: &str) -> Result<(), String> {
    let signal = signals::parse(signal).ok_or_else(|| format!("Invalid signal: {signal}"))?;
    let not_running =
        || format!("cannot kill container: {}: container {} is not running", known.config.name, known.config.id);
    if !known.state.is_live() {
        return Err(not_running());
    }
    match ask(known, &Request::Signal(signal.as_raw())) {
        Ok(Answer::Refused { message, .. }) => Err(message),
        Ok(Answer::Done | Answer::Exited(_)) => Ok(()),
        Err(ControlError::Gone | ControlError::Nobody(_)) => Err(not_running()),
        Err(error) => Err(chain(&error)),
    }
}

/// Waits until containers have ended, and prints their exit codes.
pub(crate) fn wait(args: &NamesArgs) -> Result<(), CommandError> {
    for_each(&args.containers, |known| wait_for(known).map(|code| code.to_string()))
}

/// Waits until a container has ended for good; its exit code.
pub(crate) fn wait_for(known: &Known) -> Result<u8, String> {
    match ask(known, &Request::Wait) {
        Ok(Answer::Exited(code)) => Ok(code),
        Ok(Answer::Refused { message, .. }) => Err(message),
        Ok(Answer::Done) | Err(ControlError::Gone | ControlError::Nobody(_)) => {
            known.folder.wait_until_free().map_err(|error| chain(&error))?;
            let mut known = known.clone();
            known.refresh();
            Ok(known.state.exit_code)
        }
        Err(error) => Err(chain(&error)),
    }
}

/// Forgets containers. With force, what is not there is as good as removed.
pub(crate) fn remove(args: &RemoveArgs) -> Result<(), CommandError> {
    match with_names(&args.containers, |known| remove_one(known, args.force)) {
        Err(CommandError::Told(text))
            if args.force && text.lines().all(|line| line.starts_with("Error: No such container: ")) =>
        {
            // Nobody is left to be told that the terminal is gone.
            let _ = io::stderr().write_all(text.as_bytes());
            Ok(())
        }
        outcome => outcome,
    }
}

/// Forgets one container.
pub(crate) fn remove_one(known: &Known, is_forced: bool) -> Result<(), String> {
    if known.folder.is_owned() {
        if !is_forced {
            return Err(format!(
                "cannot remove container \"{}\": container is running: stop the container before removing or force remove",
                known.config.name
            ));
        }
        stop_one(known, Some("KILL"), Some(0))?;
        known.folder.wait_until_free().map_err(|error| chain(&error))?;
    }
    known.folder.remove().map_err(|error| chain(&error))
}

/// Forgets all containers that have ended, but for those of stacks, which `compose down` removes.
pub(crate) fn prune(args: &PruneContainersArgs) -> Result<(), CommandError> {
    if !args.force && !is_confirmed(&["all stopped containers"])? {
        return Ok(());
    }
    let mut gone = containers::all().map_err(|error| told(&error))?;
    gone.retain(|known| !known.folder.is_owned() && known.label("com.docker.compose.project").is_empty());
    for known in &gone {
        known.folder.remove().map_err(|error| told(&error))?;
    }
    let ids: String = gone.iter().map(|known| format!("{}\n", known.config.id)).collect();
    let text = if gone.is_empty() { String::new() } else { format!("Deleted Containers:\n{ids}") };
    print(&text)
}

/// Runs containers again that have ended, with nothing of what they wrote to their own files.
pub(crate) fn start(args: &NamesArgs) -> Result<(), CommandError> {
    with_names(&args.containers, start_one)
}

/// Runs containers again, those that run with the files that they have.
pub(crate) fn restart(args: &StopArgs) -> Result<(), CommandError> {
    with_names(&args.containers, |known| match known.state.is_live() {
        true => restart_one(known, args.signal.as_deref(), args.time),
        false => start_one(known),
    })
}

/// Ends a container that runs, and runs it again with the files that it has.
pub(crate) fn restart_one(known: &Known, signal: Option<&str>, timeout_s: Option<u64>) -> Result<(), String> {
    match ask(known, &Request::Restart { signal: signal.map(str::to_owned), timeout_s }) {
        Ok(Answer::Refused { message, .. }) => Err(message),
        Ok(Answer::Done | Answer::Exited(_)) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

fn start_one(known: &Known) -> Result<(), String> {
    if known.folder.is_owned() {
        return Ok(());
    }
    if !known.label("com.docker.compose.project").is_empty() {
        return Err("it belongs to a stack, whose networks it needs: use `slipway compose start`".to_owned());
    }
    detached::start_owner(&known.config, false).map_err(|(message, _)| message.trim_end().to_owned())
}

/// As [`for_each`]; what is printed is the name as it was typed.
fn with_names(names: &[String], act: impl Fn(&Known) -> Result<(), String>) -> Result<(), CommandError> {
    let mut mistakes = Vec::new();
    for name in names {
        let acted = for_each(std::slice::from_ref(name), |known| act(known).map(|()| name.clone()));
        if let Err(CommandError::Told(text)) = acted {
            mistakes.push(text);
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(CommandError::Told(mistakes.concat())) }
}
