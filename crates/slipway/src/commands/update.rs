//! `slipway update [NAME…]`: moves pins of `slipway.lock` to what their names stand for now.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};

use slipway_graph::Pins;
use slipway_graph::request::BuildRequest;
use slipway_graph::request::flags::BuildFlags;
use slipway_oci::Reference;
use slipway_registry::Registry;

use crate::cli::update::UpdateArgs;
use crate::commands::build::{self, Terminals};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{client_config, lock_file, place};

/// A name that is not pinned.
#[derive(Debug, thiserror::Error)]
#[error("slipway.lock has no pin of `{name}`; there are: {}", known.join(", "))]
struct NoPinError {
    name: String,
    known: Vec<String>,
}

/// Moves pins and says which.
pub(crate) fn run(args: UpdateArgs, words: &[OsString]) -> Result<(), CommandError> {
    let UpdateArgs { names, file, secrets, ssh } = args;
    let flags = BuildFlags { context: ".".to_owned(), file, secrets, ssh, lock: true, ..BuildFlags::default() };
    let request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| {
        let moment = error.moment();
        CommandError::of_flags(error.into(), moment, words)
    })?;
    let path = request.lock_file().expect("because --lock is refused where there is none");
    let pins = lock_file::read(&path).map_err(|error| CommandError::Options(error.into()))?;
    let wanted = chosen(&pins, &names).map_err(|error| CommandError::Options(error.into()))?;
    // Before the first thread.
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let registry = Registry::new(client_config::registry_config(false));
    let engine = build::engine(&place::store_root(place), flavor, registry, Terminals::default())
        .map_err(|error| CommandError::Preparation(error.into()))?;
    let now = engine.look_up_pins(&wanted, &request).map_err(CommandError::Solve)?;
    let moved = moved(&pins, &now);
    let mut all = now;
    all.extend(pins);
    lock_file::write(&path, &all).map_err(|error| CommandError::Preparation(error.into()))?;
    io::stdout().write_all(moved.as_bytes()).map_err(|error| CommandError::Preparation(error.into()))
}

/// The pins that `names` name; all if there are none.
fn chosen(pins: &Pins, names: &[String]) -> Result<Pins, NoPinError> {
    if names.is_empty() {
        return Ok(pins.clone());
    }
    let mut chosen = Pins::default();
    for name in names {
        let found = Pins {
            images: of_name(&pins.images, |pinned| is_image(pinned, name)),
            urls: of_name(&pins.urls, |pinned| pinned == name),
            git: of_name(&pins.git, |pinned| {
                pinned == name || pinned.rsplit_once('#').is_some_and(|(remote, _)| remote == name)
            }),
        };
        if found == Pins::default() {
            let known = pins.images.keys().chain(pins.urls.keys()).chain(pins.git.keys()).cloned().collect();
            return Err(NoPinError { name: name.clone(), known });
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

fn of_name<T: Clone>(pins: &BTreeMap<String, T>, is_meant: impl Fn(&str) -> bool) -> BTreeMap<String, T> {
    pins.iter().filter(|(name, _)| is_meant(name)).map(|(name, pin)| (name.clone(), pin.clone())).collect()
}

/// A name without a tag means all tags.
fn is_image(pinned: &str, name: &str) -> bool {
    let (Ok(pinned), Ok(name)) = (pinned.parse::<Reference>(), name.parse::<Reference>()) else { return false };
    let is_same_tag = name.tag().is_none() || name.tag() == pinned.tag();
    pinned.host() == name.host() && pinned.repository() == name.repository() && is_same_tag
}

/// One line for each pin that moved.
fn moved(before: &Pins, now: &Pins) -> String {
    let lines = [lines(&before.images, &now.images), lines(&before.urls, &now.urls), lines(&before.git, &now.git)];
    match lines.concat() {
        text if text.is_empty() => "Every pin stands for what it did.\n".to_owned(),
        text => text,
    }
}

fn lines<T: Display + PartialEq>(before: &BTreeMap<String, T>, now: &BTreeMap<String, T>) -> String {
    let pairs = now.iter().filter_map(|(name, now)| Some((name, before.get(name)?, now)));
    let moved = pairs.filter(|(_, before, now)| before != now);
    moved.map(|(name, before, now)| format!("{name}: {before} -> {now}\n")).collect()
}
