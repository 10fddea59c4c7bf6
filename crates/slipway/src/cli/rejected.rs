//! What typing mistakes are answered with, as Docker words it (`spec/cli.md` section 2).

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory};

use super::{Cli, absent, link_name};
use crate::commands::version;
use crate::exit_code;

/// What was typed is no command, or asks for help.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// For standard output if `exit_code` is 0, else for standard error.
    pub(crate) text: String,
    pub(crate) exit_code: u8,
}

impl Rejected {
    /// A command with the wrong number of arguments.
    pub(crate) fn argument_count(words: &[OsString]) -> Rejected {
        let typed = Typed::of(words);
        let positionals: Vec<&clap::Arg> = typed.command.get_positionals().collect();
        let n_required = positionals.iter().filter(|arg| arg.is_required_set()).count();
        let is_open = positionals.iter().any(|arg| matches!(arg.get_action(), ArgAction::Append));
        let (bound, n) = match positionals.len() {
            _ if typed.command.get_name() == "build" => ("requires ", 1),
            0 => ("accepts no", 0),
            _ if is_open => ("requires at least ", n_required),
            n_most if n_required < n_most => ("requires at most ", n_most),
            _ => ("requires ", n_required),
        };
        let number = if n == 0 { String::new() } else { n.to_string() };
        let plural = if n == 1 { "" } else { "s" };
        let Typed { program, path, .. } = &typed;
        let prefix = if path.contains(" buildx ") { "ERROR: " } else { "" };
        let message = format!("{prefix}{program}: '{path}' {bound}{number} argument{plural}");
        let text = typed.with_usage(&message);
        let text = if bound.ends_with("at least ") { text.replace("\n\nRun '", "\n\nSee '") } else { text };
        Rejected { text, exit_code: exit_code::FAILURE }
    }

    /// A flag whose value is refused by the flag's own parser.
    pub(crate) fn argument(message: &str, words: &[OsString]) -> Rejected {
        let typed = Typed::of(words);
        // Only Docker's front end has a code for it.
        match link_name::front_end(words) {
            "buildx" => Rejected { text: format!("ERROR: {message}\n"), exit_code: exit_code::FAILURE },
            _ => Rejected { text: typed.with_usage(message), exit_code: exit_code::USAGE },
        }
    }

    pub(super) fn from_clap(error: &clap::Error, words: &[OsString]) -> Rejected {
        let typed = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        match error.kind() {
            ErrorKind::DisplayHelp => Rejected { text: error.to_string(), exit_code: exit_code::SUCCESS },
            ErrorKind::DisplayVersion => Rejected { text: version::line(words), exit_code: exit_code::SUCCESS },
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Rejected { text: error.to_string(), exit_code: exit_code::FAILURE }
            }
            ErrorKind::InvalidSubcommand => Typed::of(words).unknown(typed(ContextKind::InvalidSubcommand)),
            ErrorKind::MissingRequiredArgument => Rejected::argument_count(words),
            ErrorKind::UnknownArgument if !typed(ContextKind::InvalidArg).starts_with('-') => {
                Rejected::argument_count(words)
            }
            ErrorKind::UnknownArgument => {
                Rejected::argument(&unknown_flag(typed(ContextKind::InvalidArg), words), words)
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let flag = flag_names(typed(ContextKind::InvalidArg), words);
                let value = typed(ContextKind::InvalidValue);
                let message = match std::error::Error::source(error) {
                    Some(reason) => format!("invalid argument {value:?} for \"{flag}\" flag: {reason}"),
                    None => missing_value(&flag, words),
                };
                Rejected::argument(&message, words)
            }
            _ => Rejected::argument(error.to_string().trim_start_matches("error: ").trim_end(), words),
        }
    }
}

/// `-z` typed alone or among others (`-qz`) is a shorthand.
fn unknown_flag(typed: &str, words: &[OsString]) -> String {
    let Some(shorthand) = typed.strip_prefix('-').filter(|name| !name.starts_with('-')) else {
        return format!("unknown flag: {typed}");
    };
    let in_word = words
        .iter()
        .filter_map(|word| word.to_str())
        .find(|word| word.strip_prefix('-').is_some_and(|names| !names.starts_with('-') && names.contains(shorthand)));
    format!("unknown shorthand flag: '{shorthand}' in {}", in_word.unwrap_or(typed))
}

/// `--output <OUTPUT>` as `-o, --output`, the way that the reference names flags.
fn flag_names(shown: &str, words: &[OsString]) -> String {
    let long = shown.split(['=', ' ', '[']).next().unwrap_or_default();
    let command = Typed::of(words).command;
    let short = command
        .get_arguments()
        .find(|arg| arg.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name)))
        .and_then(clap::Arg::get_short);
    match short {
        Some(short) => format!("-{short}, {long}"),
        None => long.to_owned(),
    }
}

/// Only the last word can lack its value.
fn missing_value(flag: &str, words: &[OsString]) -> String {
    let last = words.last().and_then(|word| word.to_str()).unwrap_or_default();
    match last.strip_prefix('-') {
        Some(shorthands) if !shorthands.starts_with('-') => {
            let shorthand = shorthands.chars().last().unwrap_or_default();
            format!("flag needs an argument: '{shorthand}' in {last}")
        }
        _ => format!("flag needs an argument: {}", flag.rsplit(' ').next().unwrap_or(flag)),
    }
}

/// The command that was typed, as far as it is one.
struct Typed {
    /// What people call this program, which differs if it was started under one of Docker's names.
    program: &'static str,
    /// `slipway build`, `docker buildx build`, `docker run`.
    path: String,
    command: clap::Command,
}

impl Typed {
    fn of(words: &[OsString]) -> Typed {
        let program = match link_name::front_end(words) {
            "docker" => "docker",
            "buildx" => "docker-buildx",
            _ => "slipway",
        };
        let (mut command, mut path) = (Cli::command(), Vec::new());
        let full = link_name::with_implied_command(words);
        let mut rest = full.iter().skip(1).filter_map(|word| word.to_str());
        while let Some(word) = rest.next() {
            if word.starts_with('-') {
                if is_followed_by_value(&command, word) {
                    rest.next();
                }
                continue;
            }
            // What follows is arguments, which may be called as commands are.
            let Some(subcommand) = command.find_subcommand(word) else { break };
            path.push(word.to_owned());
            command = subcommand.clone();
        }
        let path: Vec<&str> = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            // Docker has these from its plugin, and says so.
            [name @ ("build" | "bake")] if program == "docker" => vec!["buildx", name],
            ["image" | "builder", "build"] if program == "docker" => vec!["buildx", "build"],
            ["container", name] => vec![name],
            ["buildx", ref rest @ ..] if program == "docker-buildx" => rest.to_vec(),
            ref path => path.to_vec(),
        };
        let path = [&[program], &path[..]].concat().join(" ");
        Typed { program, path, command }
    }

    /// A command that there is not.
    fn unknown(&self, name: &str) -> Rejected {
        let Typed { program, path, .. } = self;
        let hint = absent::instead_of(path.split_once(' ').map_or("", |(_, path)| path), name);
        let hint = hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
        let text =
            format!("{program}: unknown command: {path} {name}\n\n{hint}Run '{path} --help' for more information\n");
        Rejected { text, exit_code: exit_code::FAILURE }
    }

    fn with_usage(&self, message: &str) -> String {
        let Typed { path, command, .. } = self;
        let arguments: String = command.get_positionals().map(|arg| format!(" {}", usage_of(arg))).collect();
        // Docker names no commands here.
        let rest = if command.has_subcommands() { "" } else { &arguments };
        let options = if command.get_arguments().any(|arg| !arg.is_positional()) { " [OPTIONS]" } else { "" };
        format!("{message}\n\nUsage:  {path}{options}{rest}\n\nRun '{path} --help' for more information\n")
    }
}

/// Whether the word behind `flag` is its value.
fn is_followed_by_value(command: &clap::Command, flag: &str) -> bool {
    let is_meant = |arg: &&clap::Arg| match flag.strip_prefix("--") {
        Some(name) => arg.get_long() == Some(name),
        None => arg.get_short().is_some_and(|short| flag.ends_with(short)),
    };
    let found = command.get_arguments().find(is_meant);
    found.is_some_and(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

/// `IMAGE`, `[TARGET...]`, `IMAGE [IMAGE...]`: how Docker writes what may follow the flags.
fn usage_of(argument: &clap::Arg) -> String {
    let name = argument.get_value_names().unwrap_or_default().join(" ");
    let is_open = matches!(argument.get_action(), ArgAction::Append);
    match (argument.is_required_set(), is_open) {
        // A name of several words says all of it.
        _ if name.contains(' ') => name,
        (true, true) => format!("{name} [{name}...]"),
        (true, false) => name,
        (false, true) => format!("[{name}...]"),
        (false, false) => format!("[{name}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn rejected(line: &str) -> (String, u8) {
        let rejected = Cli::parse_words(&words(line)).unwrap_err();
        (rejected.text.lines().next().unwrap().to_owned(), rejected.exit_code)
    }

    #[test]
    fn typing_mistakes_are_told_as_the_reference_tells_them() {
        for (line, message, code) in [
            ("slipway build --zzz .", "unknown flag: --zzz", 125),
            ("slipway build -z .", "unknown shorthand flag: 'z' in -z", 125),
            ("slipway build -o", "flag needs an argument: 'o' in -o", 125),
            ("slipway build --output", "flag needs an argument: --output", 125),
            (
                "slipway build --pull=maybe .",
                "invalid argument \"maybe\" for \"--pull\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
                125,
            ),
            (
                "slipway build --quiet=x .",
                "invalid argument \"x\" for \"-q, --quiet\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
                125,
            ),
            ("slipway nope", "slipway: unknown command: slipway nope", 1),
            ("slipway nope build", "slipway: unknown command: slipway nope", 1),
            ("slipway image nope ls", "slipway: unknown command: slipway image nope", 1),
            ("slipway --context build nope", "slipway: unknown command: slipway nope", 1),
            ("slipway images tag rmi", "slipway: 'slipway images' requires at most 1 argument", 1),
            ("docker nope", "docker: unknown command: docker nope", 1),
            ("docker rmi", "docker: 'docker rmi' requires at least 1 argument", 1),
            ("docker tag a", "docker: 'docker tag' requires 2 arguments", 1),
            ("docker image history a b", "docker: 'docker image history' requires 1 argument", 1),
            ("slipway images a b", "slipway: 'slipway images' requires at most 1 argument", 1),
            ("docker version x", "docker: 'docker version' accepts no arguments", 1),
            ("docker image nope", "docker: unknown command: docker image nope", 1),
            ("docker images --zzz", "unknown flag: --zzz", 125),
            ("docker-buildx build --zzz .", "ERROR: unknown flag: --zzz", 1),
            ("docker-buildx buildx build --zzz .", "unknown flag: --zzz", 125),
        ] {
            assert_eq!(rejected(line), (message.to_owned(), code), "{line}");
        }
    }

    #[test]
    fn the_usage_is_that_of_the_command() {
        for (line, usage) in [
            ("docker build --zzz", "Usage:  docker buildx build [OPTIONS] PATH | URL | -"),
            ("docker images --zzz", "Usage:  docker images [OPTIONS] [REPOSITORY[:TAG]]"),
            ("docker buildx bake --zzz", "Usage:  docker buildx bake [OPTIONS] [TARGET...]"),
            ("docker container run --zzz x", "Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]"),
            ("slipway compose build --zzz", "Usage:  slipway compose build [OPTIONS] [SERVICE...]"),
            ("docker system --zzz", "Usage:  docker system"),
            ("docker tag a", "Usage:  docker tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"),
        ] {
            let text = Cli::parse_words(&words(line)).unwrap_err().text;
            assert_eq!(text.lines().nth(2), Some(usage), "{line}");
        }
    }

    #[test]
    fn the_usage_follows_a_mistake() {
        let rejected = Rejected::argument_count(&words("/usr/bin/docker build"));
        assert_eq!(
            rejected.text,
            "ERROR: docker: 'docker buildx build' requires 1 argument\n\n\
             Usage:  docker buildx build [OPTIONS] PATH | URL | -\n\n\
             Run 'docker buildx build --help' for more information\n"
        );
    }
}
