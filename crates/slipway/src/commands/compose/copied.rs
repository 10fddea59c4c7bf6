//! `slipway compose cp`: files into containers that run, and out of them.

use super::location::Location;
use super::services::{containers_of, project_name};
use super::told;
use crate::cli::compose::ServiceCopyArgs;
use crate::commands::containers::copied::{named, put, take};
use crate::containers::Known;
use crate::place;
use crate::report::CommandError;
use crate::stack::{NUMBER, ONE_OFF};

/// Copies a file or folder. Exactly one side is a path in a service.
pub(super) fn run(args: &ServiceCopyArgs, location: &Location) -> Result<(), CommandError> {
    match (named(&args.source), named(&args.dest)) {
        (Some((service, path)), None) => {
            let known = containers(args, service, location)?;
            let known = known.first().ok_or_else(|| not_running(service))?;
            // What is made here belongs to the user, who is root in the namespace.
            place::enter(place::find(None)?)?;
            take(known, path, &args.dest).map_err(told)
        }
        (None, Some((service, path))) => {
            let known = containers(args, service, location)?;
            if known.is_empty() {
                return Err(not_running(service));
            }
            known.iter().try_for_each(|known| put(known, &args.source, path)).map_err(told)
        }
        (Some(_), Some(_)) => Err(told("copying between services is not supported")),
        (None, None) => Err(told("unknown copy direction")),
    }
}

fn not_running(service: &str) -> CommandError {
    told(format!("no container found for service {service:?}"))
}

fn containers(args: &ServiceCopyArgs, service: &str, location: &Location) -> Result<Vec<Known>, CommandError> {
    let services = [service.to_owned()];
    let mut known = containers_of(&project_name(&services, location)?, &services)?;
    known.retain(|known| {
        let is_own = args.all || known.label(ONE_OFF) != "True";
        let is_meant = args.index.is_none_or(|index| known.label(NUMBER) == index.to_string());
        known.state.is_live() && is_own && is_meant
    });
    Ok(known)
}
