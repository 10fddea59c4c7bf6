//! `slipway run [OPTIONS] IMAGE [COMMAND] [ARG…]`
//!
//! ```text
//! run/environment.rs   variables
//! run/mounts.rs        volumes, folders of the host and in memory
//! run/ports.rs         published ports
//! run/special.rs       an init, devices, kernel parameters, security options
//! run/seat.rs          output, input and signals
//! ```

pub(crate) mod environment;
pub(crate) mod mounts;
pub(crate) mod ports;
pub(crate) mod seat;
pub(crate) mod special;

pub(crate) use mounts::of_tmpfs as tmpfs;

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;
use slipway_engine::{ContainerEnds, ContainerError, ContainerRequest, PullPolicy, Resolver, Rights, chain};
use slipway_graph::op::Network;
use slipway_graph::request::flags::{ResourceFlag, parse_extra_hosts, parse_limits, parse_ulimit};
use slipway_graph::size::bytes_of;
use slipway_registry::Registry;
use slipway_sandbox::Capabilities;
use slipway_solver::Cancel;

use crate::cli::run::RunArgs;
use crate::commands::build;
use crate::containers::health::HealthTest;
use crate::containers::owner::{self, Means, Owner};
use crate::containers::{self, Config, Restart, detached};
use crate::conversation::Conversation;
use crate::report::CommandError;
use crate::{client_config, env_vars, exit_code, place, signals};
use seat::{Output, Recipient};

/// What a shell says of a program that wrote to a pipe without a reader: 128 and SIGPIPE.
const NOBODY_READS: u8 = 128 + 13;

/// A flag whose value means nothing.
#[derive(Debug, thiserror::Error)]
enum FlagError {
    #[error("invalid pull option: '{0}': must be one of \"always\", \"missing\" or \"never\"")]
    Pull(String),
    #[error(
        "invalid network `{0}`: there are default, bridge, none and host; networks with names are those of `slipway compose`"
    )]
    Network(String),
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    #[error("invalid size: '{0}'")]
    Size(String),
    #[error("unknown capability: \"{0}\"")]
    Capability(String),
    #[error("Invalid signal: {0}")]
    Signal(String),
    #[error("conflicting options: cannot specify both --restart and --rm")]
    RestartAndRemove,
    #[error("--restart needs --detach: in the foreground, the container ends with its program")]
    RestartInForeground,
    #[error("--no-healthcheck conflicts with --health-* options")]
    NoHealth,
    #[error("ports cannot be published with the network `{0}`")]
    Published(String),
    #[error("container ID file found, make sure the other container isn't running or delete {0}")]
    IdFile(String),
}

/// Runs the container; its exit code is slipway's.
pub(crate) fn run(args: &RunArgs) -> Result<(), CommandError> {
    if args.interactive && args.tty && !args.detach && !isatty(stdin()) {
        let text = "cannot attach stdin to a TTY-enabled container because stdin is not a terminal\n".to_owned();
        return Err(CommandError::Container { text, exit_code: exit_code::FAILURE });
    }
    let config = to_config(args).map_err(|error| refused(&format!("{}\n\n{HELP}", chain(error.as_ref()))))?;
    match args.detach {
        true => in_background(&config, args),
        false => in_foreground(config, args),
    }
}

fn in_background(config: &Config, args: &RunArgs) -> Result<(), CommandError> {
    containers::create(config).map_err(|error| refused(&chain(&error)))?;
    if let Err((message, exit_code)) = detached::start_owner(config, args.quiet) {
        return Err(CommandError::Container { text: message, exit_code });
    }
    write_id(config, args)?;
    // Nobody is left to be told that the terminal is gone.
    let _ = writeln!(io::stdout(), "{}", config.id);
    Ok(())
}

fn in_foreground(config: Config, args: &RunArgs) -> Result<(), CommandError> {
    // Before the first thread.
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let failed = |error: &(dyn Error + 'static)| refused(&chain(error));
    let cancel = Arc::new(Cancel::new());
    let recipient = Arc::new(Recipient::default());
    seat::pass_on_signals(Arc::clone(&recipient), Arc::clone(&cancel)).map_err(|error| failed(&error))?;
    let registry = Registry::new(client_config::registry_config(false));
    let engine = build::engine(&place::store_root(place), flavor, registry, build::Terminals::default())
        .map_err(|error| failed(&error))?;
    let folder = containers::create(&config).map_err(|error| failed(&error))?;
    write_id(&config, args)?;
    let owner = Owner::new(folder, config).map_err(|error| failed(&error))?;

    let mut ends = ContainerEnds::default();
    let mut conversation = None;
    if args.tty {
        let (begun, terminal) = Conversation::begin(args.interactive, stdout()).map_err(|error| failed(&error))?;
        (conversation, ends.terminal) = (Some(begun), Some(terminal));
    } else if args.interactive {
        ends.stdin = Some(seat::input().map_err(|error| failed(&error))?);
    }
    // It is run once only.
    let ends = Mutex::new(ends);
    let output = Output::new(args.quiet, Arc::clone(&cancel));
    let outcome = owner.run(Means {
        engine: &engine,
        network: None,
        ends: &|| Ok(std::mem::take(&mut *ends.lock().unwrap_or_else(PoisonError::into_inner))),
        output: &output,
        on_start: &|running| recipient.set(Arc::clone(running)),
        cancel: &cancel,
    });
    // The terminal is as before when anything is said.
    drop(conversation);
    match outcome {
        _ if output.is_closed() => Err(ended_with(NOBODY_READS)),
        Ok(exit_code::SUCCESS) => Ok(()),
        Ok(code) => Err(ended_with(code)),
        Err(ContainerError::Canceled) => Err(ended_with(exit_code::INTERRUPTED)),
        Err(error) => {
            let (message, exit_code) = owner::failure(&error);
            Err(CommandError::Container { text: message, exit_code })
        }
    }
}

/// Writes the id to the file that was asked for.
fn write_id(config: &Config, args: &RunArgs) -> Result<(), CommandError> {
    let Some(path) = &args.cidfile else { return Ok(()) };
    fs::write(path, &config.id).map_err(|error| refused(&format!("cannot write {path}: {error}")))
}

const HELP: &str = "Run 'slipway run --help' for more information";

fn refused(message: &str) -> CommandError {
    CommandError::Container { text: format!("slipway: {message}\n"), exit_code: exit_code::USAGE }
}

fn ended_with(exit_code: u8) -> CommandError {
    CommandError::Container { text: String::new(), exit_code }
}

fn to_config(args: &RunArgs) -> Result<Config, Box<dyn Error + Send + Sync>> {
    let restart: Restart = args.restart.parse()?;
    if restart != Restart::No && args.rm {
        return Err(FlagError::RestartAndRemove.into());
    }
    if restart != Restart::No && !args.detach {
        return Err(FlagError::RestartInForeground.into());
    }
    if let Some(name) = args.stop_signal.as_deref().filter(|name| signals::parse(name).is_none()) {
        return Err(FlagError::Signal(name.to_owned()).into());
    }
    if let Some(path) = args.cidfile.as_deref().filter(|path| Path::new(path).exists()) {
        return Err(FlagError::IdFile(path.to_owned()).into());
    }
    let id = containers::new_id()?;
    let labels = args.labels.iter().map(|text| text.split_once('=').unwrap_or((text, "")));
    let request = to_request(args)?;
    Ok(Config {
        name: if args.name.is_empty() { containers::name_of(&id) } else { args.name.clone() },
        request: ContainerRequest {
            hostname: request.hostname.clone().or_else(|| own_hostname(&request, &id)),
            ..request
        },
        id,
        created: Timestamp::now(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        restart,
        stop_signal: args.stop_signal.clone(),
        stop_timeout_s: args.stop_timeout,
        removes_itself: args.rm || !args.detach,
        is_interactive: args.interactive,
        health: health(args)?,
    })
}

/// The beginning of the id, unless the container shares the host's name with its network.
fn own_hostname(request: &ContainerRequest, id: &str) -> Option<String> {
    (request.network != Network::Host && !request.special.shares_host_name).then(|| id[..12].to_owned())
}

fn health(args: &RunArgs) -> Result<Option<HealthTest>, FlagError> {
    let has_settings = args.health_interval.is_some()
        || args.health_timeout.is_some()
        || args.health_start_period.is_some()
        || args.health_retries.is_some();
    let test = match (&args.health_cmd, args.no_healthcheck) {
        (None, true) if !has_settings => vec!["NONE".to_owned()],
        (_, true) => return Err(FlagError::NoHealth),
        (Some(command), false) => vec!["CMD-SHELL".to_owned(), command.clone()],
        (None, false) if has_settings => Vec::new(),
        (None, false) => return Ok(None),
    };
    Ok(Some(HealthTest {
        test,
        interval: args.health_interval,
        timeout: args.health_timeout,
        start_period: args.health_start_period,
        start_interval: None,
        retries: args.health_retries,
    }))
}

/// Docker's capabilities, with and without those that are named; `ALL` on either side is what the other starts from.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> Result<Capabilities, String> {
    let set = |names: &[String]| {
        names.iter().try_fold(Capabilities::NONE, |set, name| {
            Ok::<_, String>(
                set.with(Capabilities::named(name).ok_or_else(|| FlagError::Capability(name.clone()).to_string())?),
            )
        })
    };
    let (added, dropped) = (set(add)?, set(drop)?);
    match drop.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        true => Ok(added),
        false => Ok(Capabilities::DOCKER.with(added).without(dropped)),
    }
}

fn to_request(args: &RunArgs) -> Result<ContainerRequest, Box<dyn Error + Send + Sync>> {
    let (image, command) = args.words.split_first().expect("because clap asks for an image");
    let here = std::env::current_dir()?;
    let home = env_vars::HOME.get_os().map(PathBuf::from);
    if let Some(path) = args.workdir.as_deref().filter(|path| !path.starts_with('/')) {
        return Err(FlagError::WorkingDirectory(path.to_owned()).into());
    }
    let platform = match args.platform.as_str() {
        "" => env_vars::named_by_user("DOCKER_DEFAULT_PLATFORM").filter(|name| !name.is_empty()),
        name => Some(name.to_owned()),
    };
    let limits = [
        ("-m, --memory", "memory", args.memory.clone()),
        ("--memory-swap", "memory-swap", args.memory_swap.clone()),
        ("--cpus", "cpus", args.cpus.clone()),
        ("-c, --cpu-shares", "cpu-shares", args.cpu_shares.clone()),
        ("--cpuset-cpus", "cpuset-cpus", args.cpuset_cpus.clone()),
        ("--pids-limit", "pids-limit", args.pids_limit.clone()),
    ];
    let ports = args.publish.iter().map(|text| ports::parse(text)).collect::<Result<Vec<_>, _>>()?.concat();
    let network = network(&args.network)?;
    if network != Network::Default && (args.publish_all || !ports.is_empty()) {
        return Err(FlagError::Published(args.network.clone()).into());
    }
    Ok(ContainerRequest {
        image: image.clone(),
        platform: platform.map(|name| name.parse()).transpose()?,
        pull: pull_policy(&args.pull)?,
        entrypoint: args.entrypoint.as_ref().map(|program| match program.as_str() {
            "" => Vec::new(),
            program => vec![program.to_owned()],
        }),
        command: command.to_vec(),
        env: with_proxies(environment::read(&args.env_files, &args.env)?),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        groups: args.groups.clone(),
        hostname: args.hostname.clone(),
        network,
        extra_hosts: parse_extra_hosts(&args.add_hosts)?,
        resolver: Resolver {
            servers: args.dns.clone(),
            search: args.dns_search.clone(),
            options: args.dns_options.clone(),
        },
        ports,
        publishes_all: args.publish_all,
        mounts: [
            mounts::read(&args.volumes, &args.mounts, &args.tmpfs, &here, home.as_deref())?,
            special::devices(&args.devices)?,
        ]
        .concat(),
        is_root_readonly: args.read_only,
        has_terminal: args.tty,
        rights: match args.privileged {
            true => Rights::All,
            false => Rights::Capabilities(capabilities(&args.cap_add, &args.cap_drop)?.bits()),
        },
        special: special::read(args)?,
        shm_size_bytes: match args.shm_size.as_str() {
            "" => None,
            size => Some(bytes_of(size).ok_or_else(|| FlagError::Size(size.to_owned()))?),
        },
        ulimits: args.ulimits.iter().map(|text| parse_ulimit(text)).collect::<Result<_, _>>()?,
        limits: parse_limits(&limits.map(|(flag, name, value)| ResourceFlag { flag, name, value }), &[])?,
    })
}

/// Adds the proxies of Docker's configuration, where nothing else was said.
fn with_proxies(mut env: Vec<String>) -> Vec<String> {
    for (name, value) in client_config::build_proxies() {
        for name in [name.to_ascii_lowercase(), name] {
            if !env.iter().any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name)) {
                env.push(format!("{name}={value}"));
            }
        }
    }
    env
}

fn pull_policy(word: &str) -> Result<PullPolicy, FlagError> {
    match word {
        "missing" | "" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        _ => Err(FlagError::Pull(word.to_owned())),
    }
}

fn network(word: &str) -> Result<Network, FlagError> {
    match word {
        "" | "default" | "bridge" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        _ => Err(FlagError::Network(word.to_owned())),
    }
}
