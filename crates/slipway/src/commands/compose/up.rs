//! `slipway compose up` and `start` (`spec/compose.md` sections 1.2 and 6).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slipway_compose::{Files, Omit, Project};
use slipway_engine::chain;

use super::images::{self, Wish};
use super::life;
use super::lines::{Lines, Style, label};
use super::location::Location;
use super::plan::Model;
use super::services::containers_of;
use super::stack_client::{Conversation, show_step};
use super::watch::Watch;
use super::{read, read_from, shown, told, wants_color, write_out};
use crate::cli::compose::{ComposeArgs, UpArgs};
use crate::exit_code;
use crate::report::CommandError;
use crate::stack::protocol::{Plan, Recreate, Request, Said, UpOptions};
use crate::stack::{ONE_OFF, SERVICE};
use crate::watch::Stop;

/// Reads the project for services that are to run.
pub(super) fn read_project(services: &[String], location: &Location) -> Result<Project, CommandError> {
    checked(read(location, Omit::default())?, services)
}

/// As [`read_project`], with the files that it names from elsewhere, and without a word.
pub(super) fn project_of(
    services: &[String],
    location: &Location,
    further_files: &dyn Files,
) -> Result<Project, CommandError> {
    checked(read_from(location, Omit::default(), further_files)?, services)
}

fn checked(mut project: Project, services: &[String]) -> Result<Project, CommandError> {
    project.turn_on_all(services).map_err(|error| shown(&error))?;
    project.check().map_err(|error| shown(&error))?;
    Ok(project)
}

/// What is to be carried out.
pub(super) fn model(project: &Project, all: &ComposeArgs, location: &Location) -> Result<Model, CommandError> {
    let files: Vec<&str> = location.files.iter().map(|file| file.path.as_str()).collect();
    Model::read(project, if all.compatibility { "_" } else { "-" }, &files).map_err(told)
}

pub(super) fn warn(text: &str) {
    // Nobody is left to be told that the terminal is gone.
    let _ = writeln!(io::stderr(), "WARNING: {text}");
}

/// Starts services, and stays with them unless it is told not to.
pub(super) fn run(args: &UpArgs, all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    check(args)?;
    if args.no_start {
        return life::create(&args.to_create(), all, location);
    }
    let project = read_project(&args.services, location)?;
    let model = model(&project, all, location)?;
    let services = match args.no_deps && !args.services.is_empty() {
        true => args.services.iter().cloned().collect(),
        false => model.with_dependencies(&args.services).map_err(told)?,
    };
    if services.is_empty() {
        return Err(told("no service selected"));
    }
    let scale = scale(&args.scale)?;
    model.remarks(&services).iter().for_each(|remark| warn(remark));
    let builds = args.build.then_some(true).or(args.no_build.then_some(false));
    let watch = match args.watch {
        // Before anything is built: what changes meanwhile is a change.
        true => Some(Watch::new(&args.services, &args.scale, args.quiet_build, all, location)?),
        false => None,
    };
    let wish = Wish { builds, pull: &args.pull, is_pull_quiet: args.quiet_pull, is_build_quiet: args.quiet_build };
    images::provide(&model, &services, &wish, all)?;
    let mut plan = model.plan(&services, &scale).map_err(told)?;
    if args.no_deps {
        plan.containers
            .iter_mut()
            .for_each(|planned| planned.depends_on.retain(|needed| services.contains(&needed.service)));
    }
    images::complete(&model, &mut plan)?;
    look_for_orphans(&model, &services, &plan, args.remove_orphans)?;
    let is_detached = args.detach || args.wait;
    let options = UpOptions {
        attaches: !is_detached,
        recreate: match (args.force_recreate, args.no_recreate) {
            (true, _) => Recreate::All,
            (_, true) => Recreate::Nothing,
            _ => Recreate::Changed,
        },
        timeout_s: args.timeout,
        waits: args.wait,
        patience: args.wait_timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs),
    };
    if is_detached {
        let conversation = Conversation::begin(model.name(), &Request::Up { plan, options }, &[])?;
        return conversation.follow(false).map(drop).map_err(failed);
    }
    let attached = attached(args, &plan, &services);
    Attached {
        args,
        project: model.name().to_owned(),
        lines: lines(args, all, model.name(), &plan, &attached),
        attached,
    }
    .run(plan, options, watch)
}

/// Starts containers of services that have ended, as they are.
pub(super) fn start(services: &[String], all: &ComposeArgs, location: &Location) -> Result<(), CommandError> {
    let project = read_project(services, location)?;
    let model = model(&project, all, location)?;
    let wanted: BTreeSet<String> = match services {
        [] => model.services().map(|(name, _)| name.clone()).collect(),
        names => names.iter().cloned().collect(),
    };
    let known = containers_of(model.name(), services)?;
    let has_container = |name: &String| known.iter().any(|known| known.label(SERVICE) == name);
    if let Some(name) = wanted.iter().find(|name| !services.is_empty() && !has_container(name)) {
        return Err(told(format!("service {name:?} has no container to start")));
    }
    let wanted: BTreeSet<String> = wanted.into_iter().filter(has_container).collect();
    let mut plan = model.plan(&wanted, &BTreeMap::new()).map_err(told)?;
    images::complete(&model, &mut plan)?;
    let options = UpOptions { recreate: Recreate::Nothing, ..UpOptions::default() };
    let conversation = Conversation::begin(model.name(), &Request::Up { plan, options }, &[])?;
    conversation.follow(false).map(drop).map_err(failed)
}

/// `up` fails with 1, whatever a container's own code would be.
fn failed(error: CommandError) -> CommandError {
    match error {
        CommandError::Container { text, .. } => CommandError::Container { text, exit_code: exit_code::FAILURE },
        error => error,
    }
}

fn check(args: &UpArgs) -> Result<(), CommandError> {
    let is_attached_only = args.abort_on_container_exit
        || args.abort_on_container_failure
        || !args.attach.is_empty()
        || args.attach_dependencies
        || args.watch;
    let conflict = if args.build && args.no_build {
        "--build and --no-build are incompatible"
    } else if args.force_recreate && args.no_recreate {
        "--force-recreate and --no-recreate are incompatible"
    } else if !args.attach.is_empty() && args.attach_dependencies {
        "cannot combine --attach and --attach-dependencies"
    } else if args.abort_on_container_exit && args.abort_on_container_failure {
        "--abort-on-container-failure cannot be combined with --abort-on-container-exit"
    } else if args.no_build && args.watch {
        "--no-build and --watch are incompatible"
    } else if (args.detach || args.wait) && is_attached_only {
        "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, \
         --attach-dependencies or --watch"
    } else if !["policy", "always", "missing", "never", "build"].contains(&args.pull.as_str()) {
        return Err(told(format!("invalid --pull option {:?}", args.pull)));
    } else {
        return Ok(());
    };
    Err(told(conflict))
}

pub(super) fn scale(flags: &[String]) -> Result<BTreeMap<String, u32>, CommandError> {
    let parse = |text: &String| {
        let (service, number) = text.split_once('=')?;
        Some((service.to_owned(), number.parse().ok()?))
    };
    let wrong = |text: &String| told(format!("invalid --scale option {text:?}. Should be SERVICE=NUM"));
    flags.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect()
}

/// Containers of the project whose service is gone, and those that a service has too many.
pub(super) fn look_for_orphans(
    model: &Model,
    services: &BTreeSet<String>,
    plan: &Plan,
    removes_orphans: bool,
) -> Result<(), CommandError> {
    let known = containers_of(model.name(), &[])?;
    let is_planned = |name: &str| plan.containers.iter().any(|planned| planned.config.name == name);
    let is_service = |name: &str| model.services().any(|(service, _)| service == name);
    let surplus = known.iter().filter(|known| {
        services.contains(known.label(SERVICE)) && known.label(ONE_OFF) != "True" && !is_planned(&known.config.name)
    });
    for known in surplus {
        crate::commands::containers::life::remove_one(known, true).map_err(told)?;
    }
    let orphans: Vec<_> = known.iter().filter(|known| !is_service(known.label(SERVICE))).collect();
    if orphans.is_empty() {
        return Ok(());
    }
    if removes_orphans {
        return orphans
            .iter()
            .try_for_each(|known| crate::commands::containers::life::remove_one(known, true))
            .map_err(told);
    }
    let names: Vec<&str> = orphans.iter().map(|known| known.config.name.as_str()).collect();
    warn(&format!(
        "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, \
         you can run this command with the --remove-orphans flag to clean it up.",
        names.join(" ")
    ));
    Ok(())
}

/// The services whose output is shown.
fn attached(args: &UpArgs, plan: &Plan, services: &BTreeSet<String>) -> BTreeSet<String> {
    let mut attached: BTreeSet<String> = match (args.services.as_slice(), args.attach.as_slice()) {
        (_, [_, ..]) => args.attach.iter().cloned().collect(),
        ([_, ..], []) if !args.attach_dependencies => args.services.iter().cloned().collect(),
        _ => services.clone(),
    };
    attached.retain(|name| !args.no_attach.contains(name));
    attached.retain(|name| plan.containers.iter().any(|planned| planned.service == *name));
    attached
}

fn lines(args: &UpArgs, all: &ComposeArgs, project: &str, plan: &Plan, attached: &BTreeSet<String>) -> Lines {
    let shown = plan.containers.iter().filter(|planned| attached.contains(&planned.service));
    let names = shown.map(|planned| (planned.config.name.clone(), label(project, &planned.config.name)));
    let style = Style::of_flags(args.no_log_prefix, args.no_color, args.timestamps, wants_color(all));
    Lines::new(style, &names.collect::<Vec<_>>())
}

/// Stays with a stack until it ends.
struct Attached<'a> {
    args: &'a UpArgs,
    project: String,
    lines: Lines,
    attached: BTreeSet<String>,
}

impl Attached<'_> {
    fn run(&self, plan: Plan, options: UpOptions, watch: Option<Watch<'_>>) -> Result<(), CommandError> {
        let names: Vec<String> = plan.containers.iter().map(|planned| planned.config.name.clone()).collect();
        let is_interrupted = stop_when_interrupted(&self.project, self.args.timeout)?;
        let labels: Vec<String> =
            names.iter().filter(|name| self.lines.shows(name)).map(|name| label(&self.project, name)).collect();
        let conversation = Conversation::begin(&self.project, &Request::Up { plan, options }, &[])?;
        write_out(&format!("Attaching to {}\n", labels.join(", ")))?;
        let Some(mut watch) = watch else { return self.listen(conversation, &is_interrupted) };
        let stop = Stop::when(Arc::clone(&is_interrupted));
        thread::scope(|scope| {
            scope.spawn(|| watch.follow(&stop));
            let outcome = self.listen(conversation, &is_interrupted);
            stop.end();
            outcome
        })
    }

    /// Shows what the stack says to its end.
    fn listen(&self, conversation: Conversation, is_interrupted: &AtomicBool) -> Result<(), CommandError> {
        let mut aborting: Option<u8> = None;
        let mut failure = None;
        for said in conversation.said() {
            match said {
                Ok(Said::Line { container, stream, text, time }) => {
                    if self.lines.line(&container, stream, time, &text).is_err() {
                        // Nobody looks any more. The stack ends with the connection.
                        return Ok(());
                    }
                }
                Ok(Said::Exited { container, service, exit_code }) => {
                    if self.lines.shows(&container) {
                        write_out(&format!("{} exited with code {exit_code}\n", label(&self.project, &container)))?;
                    }
                    if aborting.is_none() && self.aborts(&service, exit_code) && !is_interrupted.load(Ordering::Relaxed)
                    {
                        let code_counts = self.args.exit_code_from.as_ref().is_none_or(|wanted| *wanted == service);
                        aborting = Some(if code_counts { exit_code } else { exit_code::SUCCESS });
                        write_out("Aborting on container exit...\n")?;
                        stop_in_background(&self.project, self.args.timeout);
                    } else if self.args.exit_code_from.as_ref() == Some(&service) {
                        aborting = Some(exit_code);
                    }
                }
                Ok(Said::Failed { message, .. }) => {
                    failure = Some(message);
                    break;
                }
                Ok(Said::Over) => break,
                Ok(said) => show_step(&said),
                Err(error) => return Err(told(chain(&error))),
            }
        }
        if let Some(message) = failure {
            return Err(told(message));
        }
        let exit_code = match (is_interrupted.load(Ordering::Relaxed), aborting) {
            (true, _) => exit_code::INTERRUPTED,
            (false, code) => code.unwrap_or(exit_code::SUCCESS),
        };
        match exit_code {
            exit_code::SUCCESS => Ok(()),
            exit_code => Err(CommandError::Container { text: String::new(), exit_code }),
        }
    }

    /// Whether the end of a container ends the stack.
    fn aborts(&self, service: &str, exit_code: u8) -> bool {
        let is_watched = self.attached.contains(service) || self.args.exit_code_from.as_deref() == Some(service);
        let is_reason = self.args.abort_on_container_exit
            || self.args.exit_code_from.is_some()
            || self.args.abort_on_container_failure && exit_code != exit_code::SUCCESS;
        is_watched && is_reason
    }
}

/// Ctrl-C stops the stack in good order; the second one ends this process, and the stack with it.
fn stop_when_interrupted(project: &str, timeout_s: Option<u64>) -> Result<Arc<AtomicBool>, CommandError> {
    let cannot = |error: io::Error| told(format!("cannot listen to signals: {error}"));
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(cannot)?;
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let (flag, project) = (Arc::clone(&is_interrupted), project.to_owned());
    let wait = move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::Relaxed) {
                signal_hook::low_level::exit(exit_code::INTERRUPTED.into());
            }
            // Nobody may be left to be told.
            let _ = io::stderr().write_all(b"Gracefully Stopping... press Ctrl+C again to force\n");
            stop_in_background(&project, timeout_s);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(cannot)?;
    Ok(is_interrupted)
}

/// Asks for the end of the stack; what becomes of it is heard by who is attached.
fn stop_in_background(project: &str, timeout_s: Option<u64>) {
    let request = Request::Stop { services: Vec::new(), timeout_s };
    if let Some(conversation) = Conversation::begin_if_there(project, &request) {
        // Read to its end, so that the answer finds somebody.
        let _ = thread::Builder::new().name("stop".to_owned()).spawn(move || conversation.said().for_each(drop));
    }
}
