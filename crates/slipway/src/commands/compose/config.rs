//! `slipway compose config`: what the Compose files say.

use std::fs;

use slipway_compose::{Omit, Project};
use slipway_engine::chain;
use slipway_oci::Reference;
use slipway_registry::Registry;

use super::location::Location;
use super::{listed, read, shown, told, write_out};
use crate::cli::compose::{ComposeArgs, ConfigArgs};
use crate::client_config;
use crate::report::CommandError;

/// Prints the project, or the part of it that flags ask for.
pub(super) fn run(args: &ConfigArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    if !matches!(args.format.as_str(), "yaml" | "json") {
        return Err(told(format!("unsupported format {:?}", args.format)));
    }
    let omit = Omit {
        interpolation: args.no_interpolate || args.variables,
        normalization: args.no_normalize,
        path_resolution: args.no_path_resolution,
        consistency: args.no_consistency,
        beyond_builds: false,
        environment_files: args.no_env_resolution,
    };
    let mut project = read(location, omit)?;
    if !omit.interpolation {
        project.select(&args.services).map_err(|error| shown(&error))?;
        if !args.no_consistency {
            project.check().map_err(|error| shown(&error))?;
        }
        if !all.all_resources {
            project.drop_unused();
        }
    }
    if args.resolve_image_digests || args.lock_image_digests {
        pin_images(&mut project)?;
    }
    let text = match part(args, all, &project)? {
        _ if args.lock_image_digests => digests_alone(&project, &args.format)?,
        Some(text) => text,
        None => {
            let text = if args.format == "json" { project.to_json() } else { project.to_yaml() };
            text.map_err(|error| shown(&error))?
        }
    };
    match &args.output {
        _ if args.quiet => Ok(()),
        Some(path) => fs::write(path, text).map_err(|error| told(format!("open {path}: {error}"))),
        None => write_out(&text),
    }
}

/// One part of the project, a line for each name, where a flag asks for one.
fn part(args: &ConfigArgs, all: &ComposeArgs, project: &Project) -> Result<Option<String>, CommandError> {
    let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
    let resources = |section: &str| lines(project.resources(section).keys().cloned().collect());
    let separator = if all.compatibility { "_" } else { "-" };
    Ok(Some(if args.lists_services {
        lines(project.services().keys().cloned().collect())
    } else if args.volumes {
        resources("volumes")
    } else if args.networks {
        resources("networks")
    } else if args.models {
        resources("models")
    } else if let Some(names) = &args.hash {
        lines(hashes(project, names)?)
    } else if args.profiles {
        lines(project.profiles().into_iter().map(str::to_owned).collect())
    } else if args.images {
        lines(project.services().keys().map(|service| project.image_of(service, separator)).collect())
    } else if args.variables {
        variables(project)
    } else if args.environment {
        lines(project.environment.iter().map(|(name, value)| format!("{name}={value}")).collect())
    } else {
        return Ok(None);
    }))
}

/// Gives images the digests that their registries have for them now.
fn pin_images(project: &mut Project) -> Result<(), CommandError> {
    let registry = Registry::new(client_config::registry_config(false));
    let images: Vec<(String, String)> = project
        .services()
        .iter()
        .filter_map(|(name, service)| Some((name.clone(), service.text_of("image")?.to_owned())))
        .collect();
    for (service, image) in images {
        let reference: Reference =
            image.parse().map_err(|_| told(format!("service {service:?}: invalid reference format: {image:?}")))?;
        let pinned = match reference.digest() {
            Some(digest) => reference.at_digest(digest.clone()),
            None => {
                let found = registry.resolve_descriptor(&reference).map_err(|error| told(chain(&error)))?;
                reference.with_default_tag().with_digest(found.digest)
            }
        };
        project.set_image(&service, &pinned.to_string());
    }
    Ok(())
}

/// The services with their images, and nothing else.
fn digests_alone(project: &Project, format: &str) -> Result<String, CommandError> {
    let alone = project.images_alone();
    if format == "json" { alone.to_json() } else { alone.to_yaml() }.map_err(|error| shown(&error))
}

fn hashes(project: &Project, names: &str) -> Result<Vec<String>, CommandError> {
    let names: Vec<&str> = match names {
        "*" => project.services().keys().map(String::as_str).collect(),
        names => names.split(',').collect(),
    };
    let mut lines = Vec::new();
    for name in names {
        match project.hash_of(name).map_err(|error| shown(&error))? {
            Some(hash) => lines.push(format!("{name} {hash}")),
            None => return Err(told(format!("no such service: {name}"))),
        }
    }
    Ok(lines)
}

fn variables(project: &Project) -> String {
    let mut rows = vec![["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned).to_vec()];
    for (name, variable) in &project.variables {
        let required = variable.is_required.to_string();
        rows.push(vec![name.clone(), required, variable.default.clone(), variable.alternate.clone()]);
    }
    listed::table(&rows)
}
