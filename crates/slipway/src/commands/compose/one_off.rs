//! `slipway compose run`: a program in the place of a service (`spec/compose.md` sections 1.3 and 6.3).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;
use slipway_engine::{Rights, chain};

use super::images::{self, Wish};
use super::location::Location;
use super::plan::volumes::forget_anonymous;
use super::stack_client::Conversation;
use super::told;
use super::up::{look_for_orphans, model, read_project, warn};
use crate::cli::compose::{ComposeArgs, ServiceRunArgs};
use crate::commands::containers::user_ends::{Seat, UserEnds};
use crate::commands::run::{capabilities, environment, mounts, ports};
use crate::containers::{self, Restart};
use crate::env_vars;
use crate::exit_code;
use crate::report::CommandError;
use crate::stack::ONE_OFF;
use crate::stack::protocol::{NetworkPlace, Plan, Planned, Request, UpOptions};

/// Starts what the service depends on, and runs the program; its exit code is slipway's.
pub(super) fn run(args: &ServiceRunArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let (service, command) = args.words.split_first().expect("because clap asks for a service");
    if args.service_ports && !args.publish.is_empty() {
        return Err(told("--service-ports and --publish are incompatible"));
    }
    let project = read_project(std::slice::from_ref(service), location)?;
    let model = model(&project, all, location)?;
    let mut needed = model.with_dependencies(std::slice::from_ref(service)).map_err(told)?;
    let services = needed.clone();
    needed.remove(service);
    if args.no_deps {
        needed.clear();
    }
    let own: BTreeSet<String> = [service.clone()].into();
    model.remarks(&services).iter().for_each(|remark| warn(remark));
    let wish = |builds| Wish {
        builds,
        pull: &args.pull,
        is_pull_quiet: args.quiet || args.quiet_pull,
        is_build_quiet: args.quiet || args.quiet_build,
    };
    images::provide(&model, &own, &wish(args.build.then_some(true)), all)?;
    images::provide(&model, &needed, &wish(None), all)?;
    if !needed.is_empty() {
        let mut plan = model.plan(&needed, &BTreeMap::new()).map_err(told)?;
        images::complete(&model, &mut plan)?;
        let request = Request::Up { plan, options: UpOptions::default() };
        Conversation::begin(model.name(), &request, &[])?.follow(args.quiet)?;
    }
    let mut plan = model.plan(&own, &[(service.clone(), 1)].into()).map_err(told)?;
    images::complete(&model, &mut plan)?;
    if args.remove_orphans {
        look_for_orphans(&model, &BTreeSet::new(), &plan, true)?;
    }
    let Plan { networks, mut containers } = plan;
    let mut planned = containers.remove(0);
    forget_anonymous(&mut planned);
    if args.no_deps {
        planned.depends_on.clear();
    }
    let has_terminal = !args.no_tty && isatty(stdin()) && isatty(stdout());
    change(&mut planned, args, command, model.name(), has_terminal).map_err(told)?;
    let exit_code = converse(model.name(), Plan { networks, containers }, planned, args.interactive, has_terminal)?;
    match exit_code {
        exit_code::SUCCESS => Ok(()),
        exit_code => Err(CommandError::Container { text: String::new(), exit_code }),
    }
}

/// Makes of a container of the service the one that flags ask for.
fn change(
    planned: &mut Planned,
    args: &ServiceRunArgs,
    command: &[String],
    project: &str,
    has_terminal: bool,
) -> Result<(), String> {
    let config = &mut planned.config;
    let default_name = format!("{project}-{}-run-{}", planned.service, &config.id[..12]);
    config.name = args.name.clone().unwrap_or(default_name);
    config.removes_itself = true;
    config.restart = Restart::No;
    config.labels.insert(ONE_OFF.to_owned(), "True".to_owned());
    for label in &args.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        config.labels.insert(name.to_owned(), value.to_owned());
    }
    if let NetworkPlace::In(attachments) = &mut planned.place {
        for attachment in attachments {
            attachment.address = None;
            if !args.use_aliases {
                attachment.names.clear();
            }
        }
    }
    let request = &mut config.request;
    request.has_terminal = has_terminal;
    if let Some(entrypoint) = &args.entrypoint {
        request.entrypoint = Some(entrypoint.split_whitespace().map(str::to_owned).collect());
        request.command = Vec::new();
    }
    if !command.is_empty() {
        request.command = command.to_vec();
    }
    let told = |error: &dyn std::error::Error| error.to_string();
    let asked = environment::read(&args.env_from_file, &args.env).map_err(|error| told(&error))?;
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    request.env.retain(|pair| !asked.iter().any(|other| name_of(other) == name_of(pair)));
    request.env.extend(asked);
    request.user = args.user.clone().or(request.user.take());
    request.cwd = args.workdir.clone().or(request.cwd.take());
    if !args.cap_add.is_empty() || !args.cap_drop.is_empty() {
        request.rights = Rights::Capabilities(capabilities(&args.cap_add, &args.cap_drop)?.bits());
    }
    if !args.service_ports {
        request.ports = Vec::new();
    }
    for text in &args.publish {
        request.ports.extend(ports::parse(text).map_err(|error| told(&error))?);
    }
    let here = std::env::current_dir().map_err(|error| told(&error))?;
    let home = env_vars::HOME.get_os().map(PathBuf::from);
    let more = mounts::read(&args.volumes, &[], &[], &here, home.as_deref()).map_err(|error| told(&error))?;
    request.mounts.extend(more);
    Ok(())
}

fn converse(
    project: &str,
    plan: Plan,
    container: Planned,
    is_interactive: bool,
    has_terminal: bool,
) -> Result<u8, CommandError> {
    let cannot = |error: io::Error| told(chain(&error));
    let mut user = UserEnds::of(&Seat { is_interactive, has_terminal }).map_err(cannot)?;
    let ends = std::mem::take(&mut user.ends);
    let name = container.config.name.clone();
    let request = Request::RunOne { plan, container: Box::new(container), ends };
    end_when_interrupted(name)?;
    let conversation = Conversation::begin(project, &request, &user.descriptors())?;
    user.are_handed_over();
    let outcome = conversation.follow(true);
    user.finish();
    outcome
}

/// Signals go to the container; its end is that of this process.
fn end_when_interrupted(name: String) -> Result<(), CommandError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let cannot = |error: io::Error| told(format!("cannot listen to signals: {error}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(cannot)?;
    let wait = move || {
        let mut n_signals = 0;
        for number in signals.forever() {
            n_signals += 1;
            let signal = if n_signals < 3 { number.to_string() } else { "KILL".to_owned() };
            if let Ok(known) = containers::find(&name) {
                // It may have ended in this moment.
                let _ = crate::commands::containers::life::kill_one(&known, &signal);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(cannot)
}
