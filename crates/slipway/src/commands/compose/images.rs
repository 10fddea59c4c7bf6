//! Where do the images of services come from? They are built, pulled, or there already (`spec/compose.md` section 5).

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use slipway_compose::Omit;

use super::location::Location;
use super::plan::Model;
use super::{read, shown, told};
use crate::cli::compose::ComposeArgs;
use crate::commands::local_images;
use crate::report::CommandError;
use crate::stack::protocol::Plan;

/// What flags say about images.
pub(super) struct Wish<'a> {
    /// `--build`, `--no-build`.
    pub(super) builds: Option<bool>,
    /// `--pull`; `policy` is what the services say.
    pub(super) pull: &'a str,
    pub(super) is_quiet: bool,
}

/// Sees to it that the images of these services are in the store.
pub(super) fn provide(
    model: &Model,
    services: &BTreeSet<String>,
    wish: &Wish<'_>,
    all: &ComposeArgs,
) -> Result<(), CommandError> {
    let store = local_images::open_store()?;
    let is_here = |image: &str| local_images::find(&store, image).is_ok();
    let mut builds: Vec<&str> = Vec::new();
    for (name, service) in model.services().filter(|(name, _)| services.contains(*name)) {
        let image = model.image(name, service);
        let policy = if wish.pull == "policy" { service.pull_policy() } else { wish.pull };
        if service.is_built() {
            let is_asked = wish.builds == Some(true) || policy == "build";
            if policy == "always" && service.has_image() && !is_asked && pull_image(&image, wish.is_quiet) {
                continue;
            }
            if !is_asked && is_here(&image) {
                continue;
            }
            if wish.builds == Some(false) {
                return Err(told(format!("No such image: {image}")));
            }
            let may_pull = service.has_image() && !is_asked && policy != "never";
            if !(may_pull && pull_image(&image, true)) {
                builds.push(name);
            }
            continue;
        }
        match policy {
            "never" if !is_here(&image) => return Err(told(format!("No such image: {image}"))),
            "missing" | "if_not_present" | "never" | "build" if is_here(&image) => {}
            "missing" | "if_not_present" | "always" | "build" => {
                if !pull_image(&image, wish.is_quiet) {
                    return Err(told(format!("cannot get the image {image} of the service {name}")));
                }
            }
            other => return Err(told(format!("service {name:?}: the pull policy `{other}` is not known here"))),
        }
    }
    if builds.is_empty() {
        return Ok(());
    }
    let mut command = slipway();
    command.arg("compose").args(global_words(all)).arg("build");
    if wish.is_quiet {
        command.arg("-q");
    }
    let status = command.args(&builds).status().map_err(|error| told(format!("cannot start a build: {error}")))?;
    // It has said why.
    if status.success() { Ok(()) } else { Err(CommandError::Findings) }
}

/// Makes what a container is known by change with its image.
pub(super) fn add_to_hashes(plan: &mut Plan) -> Result<(), CommandError> {
    let store = local_images::open_store()?;
    for planned in &mut plan.containers {
        if let Ok(image) = local_images::find(&store, &planned.config.request.image) {
            planned.hash.push_str(&format!(" {}", image.record.config));
        }
    }
    Ok(())
}

/// `compose pull`.
pub(super) fn pull(services: &[String], all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let mut project = read(location, Omit::default())?;
    project.turn_on_all(services).map_err(|error| shown(&error))?;
    let separator = if all.compatibility { "_" } else { "-" };
    let model = Model::read(&project, separator).map_err(told)?;
    let wanted = |name: &str| services.is_empty() || services.iter().any(|service| service == name);
    for (name, service) in model.services().filter(|(name, _)| wanted(name)) {
        // What is built need not be anywhere.
        if service.has_image() && !pull_image(&model.image(name, service), false) && !service.is_built() {
            return Err(CommandError::Findings);
        }
    }
    Ok(())
}

fn pull_image(image: &str, is_quiet: bool) -> bool {
    let mut command = slipway();
    command.args(["pull", image]).stdout(Stdio::null());
    if is_quiet {
        command.stderr(Stdio::null());
    }
    command.status().is_ok_and(|status| status.success())
}

/// The program that runs now: what it builds and pulls it does in a namespace that it has not entered itself.
fn slipway() -> Command {
    Command::new("/proc/self/exe")
}

/// The flags before the command, as they were typed.
fn global_words(all: &ComposeArgs) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |flag: &str, values: &[String]| {
        values.iter().for_each(|value| words.extend([flag.to_owned(), value.clone()]));
    };
    add("--file", &all.files);
    add("--env-file", &all.env_files);
    add("--profile", &all.profiles);
    for (flag, value) in [
        ("--project-name", &all.project_name),
        ("--project-directory", &all.project_directory),
        ("--progress", &all.progress),
    ] {
        add(flag, value.as_slice());
    }
    if all.compatibility {
        words.push("--compatibility".to_owned());
    }
    words
}
