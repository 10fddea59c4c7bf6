//! `slipway compose create`, `restart`, `rm` and `wait`: how long containers of services live.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Write as _};

use slipway_engine::chain;

use super::images::{self, Wish};
use super::location::Location;
use super::services::{containers_of, down, project_name, remove_anonymous_volumes};
use super::stack_client::show_step;
use super::up::{self, look_for_orphans, model, read_project};
use super::{told, write_out};
use crate::cli::compose::{
    ComposeArgs, DownArgs, ServiceCreateArgs, ServiceRemoveArgs, ServiceRestartArgs, ServiceWaitArgs,
};
use crate::commands::containers::life;
use crate::containers::{self, Known};
use crate::exit_code;
use crate::report::CommandError;
use crate::stack::protocol::{Plan, Said};
use crate::stack::{HASH, IMAGE, ONE_OFF, SERVICE};

fn step(known: &Known, step: &str) {
    show_step(&Said::Step { container: known.config.name.clone(), step: step.to_owned() });
}

/// `compose create`: containers are there, and do not run.
pub(super) fn create(args: &ServiceCreateArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    if args.build && args.no_build {
        return Err(told("--build and --no-build are incompatible"));
    }
    if args.force_recreate && args.no_recreate {
        return Err(told("--force-recreate and --no-recreate are incompatible"));
    }
    let project = read_project(&args.services, location)?;
    let model = model(&project, all, location)?;
    let services = model.with_dependencies(&args.services).map_err(told)?;
    let scale = up::scale(&args.scale)?;
    let builds = args.build.then_some(true).or(args.no_build.then_some(false));
    let wish = Wish { builds, pull: &args.pull, is_pull_quiet: args.quiet_pull, is_build_quiet: false };
    images::provide(&model, &services, &wish, all)?;
    let mut plan = model.plan(&services, &scale).map_err(told)?;
    images::complete(&model, &mut plan)?;
    look_for_orphans(&model, &services, &plan, args.remove_orphans)?;
    make(&plan, args)
}

/// Makes those of the containers that are not there, or were made from something else.
fn make(plan: &Plan, args: &ServiceCreateArgs) -> Result<(), CommandError> {
    for planned in &plan.containers {
        let same = |known: &Known, label: &str| {
            known.label(label) == planned.config.labels.get(label).map_or("", String::as_str)
        };
        if let Ok(known) = containers::find(&planned.config.name) {
            let is_same = same(&known, HASH) && same(&known, IMAGE);
            if args.no_recreate || is_same && !args.force_recreate {
                continue;
            }
            step(&known, "Recreate");
            life::stop_one(&known, None, None).map_err(told)?;
            life::remove_one(&known, true).map_err(told)?;
        }
        containers::create(&planned.config).map_err(|error| told(chain(&error)))?;
        show_step(&Said::Step { container: planned.config.name.clone(), step: "Created".to_owned() });
    }
    Ok(())
}

/// `compose restart`: those that run keep their files; those that have ended are started.
pub(super) fn restart(args: &ServiceRestartArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let project = read_project(&args.services, location)?;
    let model = model(&project, all, location)?;
    let mut wanted: BTreeSet<String> = match args.services.as_slice() {
        [] => model.services().map(|(name, _)| name.clone()).collect(),
        names => names.iter().cloned().collect(),
    };
    if !args.no_deps {
        model.add_restarted_with(&mut wanted);
    }
    let known = containers_of(model.name(), &[])?;
    let mut ended = Vec::new();
    for name in model.ordered(&wanted) {
        let own = known.iter().filter(|known| known.label(SERVICE) == name && known.label(ONE_OFF) != "True");
        for known in own {
            if !known.state.is_live() {
                ended.push(name.clone());
                continue;
            }
            step(known, "Restarting");
            life::restart_one(known, None, args.timeout).map_err(told)?;
            step(known, "Started");
        }
    }
    ended.dedup();
    if ended.is_empty() { Ok(()) } else { up::start(&ended, all, location) }
}

/// `compose rm`: forgets containers that have ended.
pub(super) fn remove(args: &ServiceRemoveArgs, location: &Location) -> Result<(), CommandError> {
    let project = project_name(&args.services, location)?;
    if args.stop {
        super::services::stop_services(&project, &args.services, None)?;
    }
    let mut known = containers_of(&project, &args.services)?;
    known.retain(|known| !known.state.is_live() && known.label(ONE_OFF) != "True");
    if known.is_empty() {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "No stopped containers");
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(|known| known.config.name.as_str()).collect();
    write_out(&format!("Going to remove {}\n", names.join(", ")))?;
    if !args.force && !is_confirmed()? {
        return Ok(());
    }
    for known in &known {
        life::remove_one(known, false).map_err(told)?;
        step(known, "Removed");
    }
    if args.volumes { remove_anonymous_volumes(&known) } else { Ok(()) }
}

fn is_confirmed() -> Result<bool, CommandError> {
    write_out("Are you sure? [yN] ")?;
    let _ = io::stdout().flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| told(chain(&error)))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// `compose wait`: until containers of services have ended. The exit code is that of the last.
pub(super) fn wait(args: &ServiceWaitArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let project = project_name(&args.services, location)?;
    let mut known = containers_of(&project, &args.services)?;
    known.retain(|known| known.label(ONE_OFF) != "True");
    if known.is_empty() {
        return Err(told(format!("no containers for project {project:?}")));
    }
    let (tell, told_of) = std::sync::mpsc::channel();
    let mut last = exit_code::SUCCESS;
    std::thread::scope(|scope| {
        for known in &known {
            let tell = tell.clone();
            // Who asked may have heard enough.
            scope.spawn(move || drop(tell.send((known, life::wait_for(known)))));
        }
        drop(tell);
        for (known, code) in told_of {
            let code = code.map_err(told)?;
            write_out(&format!("container {:?} exited with status code {code}\n", known.config.id))?;
            last = code;
            if args.down_project {
                return down(&DownArgs::default(), all, location);
            }
        }
        Ok(())
    })?;
    match last {
        exit_code::SUCCESS => Ok(()),
        exit_code => Err(CommandError::Container { text: String::new(), exit_code }),
    }
}
