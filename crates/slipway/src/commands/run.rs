//! `slipway run [OPTIONS] IMAGE [COMMAND] [ARG…]`
//!
//! ```text
//! run/environment.rs   variables
//! run/mounts.rs        volumes, folders of the host and in memory
//! run/seat.rs          output, input and signals
//! ```

mod environment;
mod mounts;
mod seat;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;
use slipway_engine::{ContainerEnds, ContainerError, ContainerRequest, PullPolicy, chain};
use slipway_graph::op::Network;
use slipway_graph::request::flags::{ResourceFlag, parse_extra_hosts, parse_limits, parse_ulimit};
use slipway_graph::size::bytes_of;
use slipway_registry::Registry;
use slipway_solver::Cancel;

use crate::cli::run::RunArgs;
use crate::commands::build;
use crate::conversation::Conversation;
use crate::report::{CommandError, hint_line};
use crate::{client_config, env_vars, exit_code, place};
use seat::{Output, Recipient};

/// What a shell says of a program that wrote to a pipe without a reader: 128 and SIGPIPE.
const NOBODY_READS: u8 = 128 + 13;

/// A flag whose value means nothing.
#[derive(Debug, thiserror::Error)]
enum FlagError {
    #[error("invalid pull option: '{0}': must be one of \"always\", \"missing\" or \"never\"")]
    Pull(String),
    #[error("invalid network `{0}`: there are default, bridge, none and host")]
    Network(String),
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    #[error("invalid size: '{0}'")]
    Size(String),
}

/// Runs the container; its exit code is slipway's.
pub(crate) fn run(args: RunArgs) -> Result<(), CommandError> {
    let (wants_input, wants_terminal, is_quiet) = (args.interactive, args.tty, args.quiet);
    if wants_input && wants_terminal && !isatty(stdin()) {
        let text = "cannot attach stdin to a TTY-enabled container because stdin is not a terminal\n".to_owned();
        return Err(CommandError::Container { text, exit_code: exit_code::FAILURE });
    }
    let request = to_request(args).map_err(|error| refused(&format!("{}\n\n{HELP}", chain(error.as_ref()))))?;
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

    let mut ends = ContainerEnds::default();
    let mut conversation = None;
    if wants_terminal {
        let (begun, terminal) = Conversation::begin(wants_input, stdout()).map_err(|error| failed(&error))?;
        (conversation, ends.terminal) = (Some(begun), Some(terminal));
    } else if wants_input {
        ends.stdin = Some(seat::input().map_err(|error| failed(&error))?);
    }
    let output = Output::new(is_quiet, Arc::clone(&cancel));
    let outcome = engine.run_container(&request, ends, &|running| recipient.set(running), &output, &cancel);
    // The terminal is as before when anything is said.
    drop(conversation);
    match outcome {
        _ if output.is_closed() => Err(ended_with(NOBODY_READS)),
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(ended_with(u8::try_from(status.code()).unwrap_or(exit_code::FAILURE))),
        Err(ContainerError::Canceled) => Err(ended_with(exit_code::INTERRUPTED)),
        Err(ContainerError::Start { code, source, hint }) => {
            let text = hint_line(hint.as_deref()) + &format!("slipway: {}\n", chain(&source));
            Err(CommandError::Container { text, exit_code: code })
        }
        Err(error) => Err(failed(&error)),
    }
}

const HELP: &str = "Run 'slipway run --help' for more information";

fn refused(message: &str) -> CommandError {
    CommandError::Container { text: format!("slipway: {message}\n"), exit_code: exit_code::USAGE }
}

fn ended_with(exit_code: u8) -> CommandError {
    CommandError::Container { text: String::new(), exit_code }
}

fn to_request(args: RunArgs) -> Result<ContainerRequest, Box<dyn Error + Send + Sync>> {
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
        ("-m, --memory", "memory", args.memory),
        ("--memory-swap", "memory-swap", args.memory_swap),
        ("--cpus", "cpus", args.cpus),
        ("-c, --cpu-shares", "cpu-shares", args.cpu_shares),
        ("--cpuset-cpus", "cpuset-cpus", args.cpuset_cpus),
        ("--pids-limit", "pids-limit", args.pids_limit),
    ];
    Ok(ContainerRequest {
        image: image.clone(),
        platform: platform.map(|name| name.parse()).transpose()?,
        pull: pull_policy(&args.pull)?,
        entrypoint: args.entrypoint,
        command: command.to_vec(),
        env: with_proxies(environment::read(&args.env_files, &args.env)?),
        cwd: args.workdir,
        user: args.user,
        hostname: args.hostname,
        network: network(&args.network)?,
        extra_hosts: parse_extra_hosts(&args.add_hosts)?,
        mounts: mounts::read(&args.volumes, &args.mounts, &args.tmpfs, &here, home.as_deref())?,
        is_root_readonly: args.read_only,
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
