//! `slipway ps`, `logs`, `exec` and all the others that are about containers which are there already.

pub(crate) mod copied;
pub(crate) mod exec;
pub(crate) mod inspect;
pub(crate) mod life;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod own;
pub(crate) mod port;
pub(crate) mod user_ends;

use crate::commands::local_images::told;
use crate::containers::control::{self, Answer, ControlError, Request};
use crate::containers::{self, Known};
use crate::report::CommandError;

fn find(name: &str) -> Result<Known, CommandError> {
    containers::find(name).map_err(|error| told(&error))
}

/// Asks the owner of a container that runs. What the owner did not live to say, its end says.
fn ask(known: &Known, request: &Request) -> Result<Answer, ControlError> {
    control::ask(known.folder.path(), request, &[])
}

/// Does something to each of them, and prints the name of each that it worked for. All mistakes are told; one is enough
/// to fail.
fn for_each(names: &[String], act: impl Fn(&Known) -> Result<String, String>) -> Result<(), CommandError> {
    let mut mistakes = String::new();
    for name in names {
        let outcome =
            containers::find(name).map_err(|error| slipway_engine::chain(&error)).and_then(|known| act(&known));
        match outcome {
            Ok(text) => print(&text),
            Err(message) => mistakes.push_str(&format!("Error: {message}\n")),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(CommandError::Told(mistakes)) }
}

fn print(text: &str) {
    use std::io::Write as _;
    // Nobody is left to be told that the terminal is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}
