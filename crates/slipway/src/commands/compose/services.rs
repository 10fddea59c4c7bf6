//! `slipway compose ps`, `logs`, `stop`, `kill`, `exec` and `down`: what is done with services that were started.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;
use serde_json::{Value, json};
use slipway_compose::Omit;
use slipway_engine::{ContainerMount, chain};

use super::lines::{Lines, Style, label};
use super::location::Location;
use super::plan::Model;
use super::stack_client::{Conversation, show_step};
use super::up::model;
use super::{read, shown, told, wants_color};
use crate::cli::compose::{
    ComposeArgs, DownArgs, ServiceExecArgs, ServiceKillArgs, ServiceLogsArgs, ServicePsArgs, ServiceStopArgs,
};
use crate::commands::containers::user_ends::Seat;
use crate::commands::containers::{exec as guest, life, list as listing, logs as log_flags};
use crate::commands::images::age;
use crate::commands::run::environment;
use crate::commands::volumes::is_anonymous;
use crate::containers::control::Program;
use crate::containers::{self, Known, log};
use crate::listing::Listing;
use crate::place;
use crate::report::CommandError;
use crate::stack::protocol::{Request, Said};
use crate::stack::{NUMBER, ONE_OFF, PROJECT, SERVICE};

/// The containers of a project's services; all if none is named. In the order of their names.
pub(super) fn containers_of(project: &str, services: &[String]) -> Result<Vec<Known>, CommandError> {
    let mut known = containers::all().map_err(|error| told(chain(&error)))?;
    known.retain(|known| {
        let is_meant = services.is_empty() || services.iter().any(|service| known.label(SERVICE) == service);
        known.label(PROJECT) == project && is_meant
    });
    known.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    Ok(known)
}

/// The name of the project, whose services have to be these.
pub(super) fn project_name(services: &[String], location: &Location) -> Result<String, CommandError> {
    let mut project = read(location, Omit { environment_files: true, ..Omit::default() })?;
    project.turn_on_all(services).map_err(|error| shown(&error))?;
    Ok(project.name)
}

const LISTING: Listing<'_> = Listing {
    kind: "*formatter.ContainerContext",
    headers: &[
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("Service", "SERVICE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("ID", "ID"),
        ("State", "STATE"),
        ("Health", "HEALTH"),
        ("ExitCode", "EXIT CODE"),
        ("Project", "PROJECT"),
    ],
    table: "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}",
};

/// `compose ps`.
pub(super) fn list(args: &ServicePsArgs, location: &Location) -> Result<(), CommandError> {
    let project = project_name(&args.services, location)?;
    let mut known = containers_of(&project, &args.services)?;
    known.retain(|known| (args.all || known.state.is_live()) && known.label(ONE_OFF) != "True");
    let text = if args.lists_services {
        let names: BTreeSet<&str> = known.iter().map(|known| known.label(SERVICE)).collect();
        names.into_iter().map(|name| format!("{name}\n")).collect()
    } else {
        let format = if args.quiet { "{{.ID}}" } else { args.format.as_str() };
        let rows: Vec<Value> = known.iter().map(row).collect();
        LISTING.write(format, &rows).map_err(told)?
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| told(chain(&error)))
}

fn row(known: &Known) -> Value {
    let now = Timestamp::now();
    let state = &known.state;
    json!({
        "ID": known.config.id,
        "Name": known.config.name,
        "Image": known.config.request.image,
        "Command": format!("\"{}\"", state.command.join(" ")),
        "Service": known.label(SERVICE),
        "Project": known.label(PROJECT),
        "RunningFor": age(known.config.created, now),
        "Status": listing::status(known, now),
        "State": state.status.to_string(),
        "Health": state.health,
        "ExitCode": state.exit_code,
        "Ports": state.ports.iter().map(listing::port).collect::<Vec<_>>().join(", "),
    })
}

/// `compose logs`: of several containers in the order of time, and then as it comes.
pub(super) fn logs(args: &ServiceLogsArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let project = project_name(&args.services, location)?;
    let known = containers_of(&project, &args.services)?;
    let names: Vec<(String, String)> =
        known.iter().map(|known| (known.config.name.clone(), label(&project, &known.config.name))).collect();
    let style = Style::of_flags(args.no_log_prefix, args.no_color, args.which.timestamps, wants_color(all));
    let lines = Lines::new(style, &names);
    let wanted = log_flags::wanted(&args.which).map_err(told)?;
    let mut so_far = Vec::new();
    let mut n_read = Vec::new();
    for known in &known {
        let mut all = Vec::new();
        let read = log::read(&known.folder, &log::Wanted::default(), |line| {
            all.push(line);
            true
        });
        read.map_err(|error| told(chain(&error)))?;
        n_read.push(all.len());
        let is_wanted = |line: &log::Line| {
            wanted.since.is_none_or(|since| line.time >= since) && wanted.until.is_none_or(|until| line.time <= until)
        };
        all.retain(is_wanted);
        let first = wanted.tail.map_or(0, |tail| all.len().saturating_sub(tail));
        so_far.extend(all.drain(first..).map(|line| (known.config.name.clone(), line)));
    }
    so_far.sort_by_key(|(_, line)| line.time);
    for (name, line) in so_far {
        if lines.line(&name, line.stream, line.time, &line.text).is_err() {
            return Ok(());
        }
    }
    if !wanted.follows {
        return Ok(());
    }
    // One line at a time.
    let turn = Mutex::new(());
    thread::scope(|scope| {
        for (known, n_read) in known.iter().zip(n_read) {
            let (lines, turn) = (&lines, &turn);
            scope.spawn(move || {
                let mut n_seen = 0;
                let follow = log::Wanted { follows: true, ..log::Wanted::default() };
                // A log that cannot be read any more has been removed.
                let _ = log::read(&known.folder, &follow, |line| {
                    n_seen += 1;
                    let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
                    n_seen <= n_read || lines.line(&known.config.name, line.stream, line.time, &line.text).is_ok()
                });
            });
        }
    });
    Ok(())
}

/// `compose stop`.
pub(super) fn stop(args: &ServiceStopArgs, location: &Location) -> Result<(), CommandError> {
    stop_services(&project_name(&args.services, location)?, &args.services, args.timeout)
}

pub(super) fn stop_services(project: &str, services: &[String], timeout_s: Option<u64>) -> Result<(), CommandError> {
    let request = Request::Stop { services: services.to_vec(), timeout_s };
    let Some(conversation) = Conversation::begin_if_there(project, &request) else { return Ok(()) };
    for said in conversation.said() {
        match said.map_err(|error| told(chain(&error)))? {
            Said::Failed { message, .. } => return Err(told(message)),
            said => show_step(&said),
        }
    }
    Ok(())
}

/// `compose kill`.
pub(super) fn kill(args: &ServiceKillArgs, location: &Location) -> Result<(), CommandError> {
    let project = project_name(&args.services, location)?;
    for known in containers_of(&project, &args.services)?.iter().filter(|known| known.state.is_live()) {
        life::kill_one(known, &args.signal).map_err(told)?;
        show_step(&Said::Step { container: known.config.name.clone(), step: "Killed".to_owned() });
    }
    Ok(())
}

/// `compose exec`.
pub(super) fn exec(args: &ServiceExecArgs, location: &Location) -> Result<(), CommandError> {
    let (service, program) = args.words.split_first().expect("because clap asks for a service");
    let project = project_name(std::slice::from_ref(service), location)?;
    let known = containers_of(&project, std::slice::from_ref(service))?;
    let is_meant = |known: &&Known| {
        known.state.is_live() && known.label(ONE_OFF) != "True" && known.label(NUMBER) == args.index.to_string()
    };
    let Some(known) = known.iter().find(is_meant) else {
        return Err(told(format!("service {service:?} is not running")));
    };
    let program = Program {
        args: program.to_vec(),
        env: environment::read(&[], &args.env).map_err(|error| told(chain(&error)))?,
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        is_privileged: args.privileged,
    };
    let has_terminal = !args.no_tty && isatty(stdin()) && isatty(stdout());
    guest::exec(known, program, &Seat { is_interactive: true, has_terminal })
}

/// `compose down`.
pub(super) fn down(args: &DownArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    if let Some(kind) = args.rmi.as_deref().filter(|kind| !["local", "all"].contains(kind)) {
        return Err(told(format!("invalid value for --rmi: {kind:?}")));
    }
    let mut project = read(location, Omit { environment_files: true, ..Omit::default() })?;
    project.turn_on_all(&args.services).map_err(|error| shown(&error))?;
    let model = model(&project, all, location)?;
    stop_services(model.name(), &args.services, args.timeout)?;
    let known = containers_of(model.name(), &args.services)?;
    for known in &known {
        life::remove_one(known, true).map_err(told)?;
        show_step(&Said::Step { container: known.config.name.clone(), step: "Removed".to_owned() });
    }
    if let Some(kind) = &args.rmi {
        remove_images(&model, kind == "all");
    }
    let mut volumes = unused_volumes(&known)?;
    if args.volumes && args.services.is_empty() {
        volumes.extend(model.own_volumes().into_iter().map(str::to_owned));
    }
    remove_volumes(&volumes)
}

/// Volumes without a name that these containers had, and nobody has now.
fn unused_volumes(known: &[Known]) -> Result<BTreeSet<String>, CommandError> {
    let anonymous_of = |known: &Known| -> Vec<String> {
        let names = known.config.request.mounts.iter().filter_map(|mount| match mount {
            ContainerMount::Volume { name: Some(name), .. } if is_anonymous(name) => Some(name.clone()),
            _ => None,
        });
        names.collect()
    };
    let mut unused: BTreeSet<String> = known.iter().flat_map(anonymous_of).collect();
    for left in containers::all().map_err(|error| told(chain(&error)))? {
        unused.retain(|name| !anonymous_of(&left).contains(name));
    }
    Ok(unused)
}

/// Nobody could find them again.
pub(super) fn remove_anonymous_volumes(known: &[Known]) -> Result<(), CommandError> {
    remove_volumes(&unused_volumes(known)?)
}

/// Images that are not there, or used by others, stay.
fn remove_images(model: &Model, removes_all: bool) {
    for (name, service) in model.services().filter(|(_, service)| removes_all || !service.has_image()) {
        let image = model.image(name, service);
        let mut command = Command::new("/proc/self/exe");
        let removed = command.args(["rmi", &image]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if removed.is_ok_and(|status| status.success()) {
            // Nobody is left to be told that the terminal is gone.
            let _ = writeln!(io::stderr(), " Image {image}  Removed");
        }
    }
}

/// Files of volumes may belong to ids that only a namespace has.
fn remove_volumes(names: &BTreeSet<String>) -> Result<(), CommandError> {
    if names.is_empty() {
        return Ok(());
    }
    let place = place::find(None)?;
    place::enter(place)?;
    let root = place::store_root(place);
    for volume in names {
        let is_removed = slipway_store::remove_volume(&root, volume).map_err(|error| told(chain(&error)))?;
        if is_removed && !is_anonymous(volume) {
            // Nobody is left to be told that the terminal is gone.
            let _ = writeln!(io::stderr(), " Volume {volume}  Removed");
        }
    }
    Ok(())
}
