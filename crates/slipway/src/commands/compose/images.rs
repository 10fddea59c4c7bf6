//! Where do the images of services come from? They are built, pulled, or there already (`spec/compose.md` section 5).

use std::collections::BTreeSet;
use std::process::Stdio;

use slipway_compose::Omit;
use slipway_store::Store;

use super::location::Location;
use super::plan::Model;
use super::plan::volumes::name_anonymous;
use super::{again, read, shown, told};
use crate::cli::compose::{ComposeArgs, ServicePushArgs};
use crate::commands::local_images;
use crate::report::CommandError;
use crate::stack::IMAGE;
use crate::stack::protocol::Plan;

/// What flags say about images.
pub(super) struct Wish<'a> {
    /// `--build`, `--no-build`.
    pub(super) builds: Option<bool>,
    /// `--pull`; `policy` is what the services say.
    pub(super) pull: &'a str,
    pub(super) is_pull_quiet: bool,
    pub(super) is_build_quiet: bool,
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
            if policy == "always" && service.has_image() && !is_asked && pull_image(&image, wish.is_pull_quiet) {
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
                if !pull_image(&image, wish.is_pull_quiet) {
                    return Err(told(format!("cannot get the image {image} of the service {name}")));
                }
            }
            other => return Err(told(format!("service {name:?}: the pull policy `{other}` is not known here"))),
        }
    }
    if builds.is_empty() {
        return Ok(());
    }
    let mut command = again::compose(all);
    command.arg("build");
    if wish.is_build_quiet {
        command.arg("-q");
    }
    let status = command.args(&builds).status().map_err(|error| told(format!("cannot start a build: {error}")))?;
    // It has said why.
    if status.success() { Ok(()) } else { Err(CommandError::Findings) }
}

/// Adds to containers what their images say: what they are known by changes with them, and volumes of theirs have names.
pub(super) fn complete(model: &Model, plan: &mut Plan) -> Result<(), CommandError> {
    let store = local_images::open_store()?;
    let volumes = |image: &str| volumes_of(&store, image);
    for planned in &mut plan.containers {
        if let Ok(image) = local_images::find(&store, &planned.config.request.image) {
            planned.hash.push_str(&format!(" {}", image.record.config));
            planned.config.labels.insert(IMAGE.to_owned(), image.record.config.to_string());
        }
        name_anonymous(planned, &volumes(&planned.config.request.image));
        model.take_volumes_over(planned, &volumes).map_err(told)?;
    }
    Ok(())
}

/// Where an image declares volumes.
fn volumes_of(store: &Store, image: &str) -> Vec<String> {
    let config = local_images::find(store, image).and_then(|image| local_images::config_of(store, &image.record));
    config.map(|config| config.config.volumes.into_keys().collect()).unwrap_or_default()
}

/// `compose push`: the images that services are built as, under the names that they were given.
pub(super) fn push(args: &ServicePushArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let mut project = read(location, Omit { environment_files: true, ..Omit::default() })?;
    project.turn_on_all(&args.services).map_err(|error| shown(&error))?;
    let model = super::up::model(&project, all, location)?;
    let wanted = match args.include_deps {
        true => model.with_dependencies(&args.services).map_err(told)?,
        false if args.services.is_empty() => model.services().map(|(name, _)| name.clone()).collect(),
        false => args.services.iter().cloned().collect(),
    };
    let mut failed = Vec::new();
    for (name, service) in model.services().filter(|(name, _)| wanted.contains(*name)) {
        if !service.is_built() || !service.has_image() {
            continue;
        }
        let mut command = again::slipway();
        command.arg("push").arg(model.image(name, service)).stdout(Stdio::null());
        if args.quiet {
            command.arg("-q");
        }
        if !command.status().is_ok_and(|status| status.success()) {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() || args.ignore_push_failures { Ok(()) } else { Err(CommandError::Findings) }
}

/// `compose pull`.
pub(super) fn pull(services: &[String], all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let mut project = read(location, Omit::default())?;
    project.turn_on_all(services).map_err(|error| shown(&error))?;
    let model = super::up::model(&project, all, location)?;
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
    let mut command = again::slipway();
    command.args(["pull", image]).stdout(Stdio::null());
    if is_quiet {
        command.stderr(Stdio::null());
    }
    command.status().is_ok_and(|status| status.success())
}
