//! What typing mistakes are answered with, as Docker words it (`spec/cli.md` section 2).

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, CommandFactory};

use super::Cli;
use super::build::BuildArgs;
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
        let program = Program::of(words);
        let message = format!("ERROR: {}: '{}' requires 1 argument", program.name, program.command);
        Rejected { text: program.with_usage(&message), exit_code: exit_code::FAILURE }
    }

    /// A command other than `build` with the wrong number of arguments.
    fn missing_arguments(words: &[OsString]) -> Rejected {
        let name = Program::of(words).name;
        let mut command = Cli::command();
        let mut path = name.clone();
        for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
            if let Some(subcommand) = command.find_subcommand(word) {
                path = format!("{path} {word}");
                command = subcommand.clone();
            }
        }
        let positionals: Vec<clap::Arg> = command.get_positionals().cloned().collect();
        let n_required = positionals.iter().filter(|arg| arg.is_required_set()).count();
        let is_open = positionals.iter().any(|arg| matches!(arg.get_action(), ArgAction::Append));
        let least = if is_open {
            "at least "
        } else if n_required < positionals.len() {
            "at most "
        } else {
            ""
        };
        let n = if least == "at most " { positionals.len() } else { n_required };
        let plural = if n == 1 { "" } else { "s" };
        let usage: String = positionals.iter().map(|arg| format!(" {arg}")).collect();
        let text = format!(
            "{name}: '{path}' requires {least}{n} argument{plural}\n\nUsage:  {path} [OPTIONS]{usage}\n\n\
             Run '{path} --help' for more information\n"
        );
        Rejected { text, exit_code: exit_code::FAILURE }
    }

    /// A flag whose value is refused by the flag's own parser.
    pub(crate) fn argument(message: &str, words: &[OsString]) -> Rejected {
        Rejected { text: Program::of(words).with_usage(message), exit_code: exit_code::USAGE }
    }

    pub(super) fn from_clap(error: &clap::Error, words: &[OsString]) -> Rejected {
        let program = Program::of(words);
        let typed = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Rejected { text: error.to_string(), exit_code: exit_code::SUCCESS }
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Rejected { text: error.to_string(), exit_code: exit_code::FAILURE }
            }
            ErrorKind::InvalidSubcommand => {
                let name = &program.name;
                let command = typed(ContextKind::InvalidSubcommand);
                let text =
                    format!("{name}: unknown command: {name} {command}\n\nRun '{name} --help' for more information\n");
                Rejected { text, exit_code: exit_code::FAILURE }
            }
            ErrorKind::MissingRequiredArgument => Rejected::missing_arguments(words),
            ErrorKind::UnknownArgument if !typed(ContextKind::InvalidArg).starts_with('-') => {
                Rejected::missing_arguments(words)
            }
            ErrorKind::UnknownArgument => {
                Rejected::argument(&unknown_flag(typed(ContextKind::InvalidArg), words), words)
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let flag = flag_names(typed(ContextKind::InvalidArg));
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
fn flag_names(shown: &str) -> String {
    let long = shown.split(['=', ' ', '[']).next().unwrap_or_default();
    let build = <BuildArgs as Args>::augment_args(clap::Command::new("build"));
    let short = build
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

/// What people call this program, which differs if it was started under Docker's name.
struct Program {
    name: String,
    /// `slipway build`, `docker buildx build`, `docker run`.
    command: String,
    /// What follows its options.
    arguments: &'static str,
}

impl Program {
    fn of(words: &[OsString]) -> Program {
        let started_as = words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
        let name = match started_as {
            Some("docker" | "docker-buildx") => "docker",
            _ => "slipway",
        };
        let mut typed = words.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| *word != "container");
        let (command, arguments) = match (typed.next(), name) {
            (Some("run"), name) => (format!("{name} run"), "IMAGE [COMMAND] [ARG...]"),
            (_, "docker") => ("docker buildx build".to_owned(), "PATH | URL | -"),
            (_, name) => (format!("{name} build"), "PATH | URL | -"),
        };
        Program { name: name.to_owned(), command, arguments }
    }

    fn with_usage(&self, message: &str) -> String {
        let Program { command, arguments, .. } = self;
        format!("{message}\n\nUsage:  {command} [OPTIONS] {arguments}\n\nRun '{command} --help' for more information\n")
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
            ("docker nope", "docker: unknown command: docker nope", 1),
            ("docker rmi", "docker: 'docker rmi' requires at least 1 argument", 1),
            ("docker tag a", "docker: 'docker tag' requires 2 arguments", 1),
            ("docker image history a b", "docker: 'docker image history' requires 1 argument", 1),
            ("slipway images a b", "slipway: 'slipway images' requires at most 1 argument", 1),
        ] {
            assert_eq!(rejected(line), (message.to_owned(), code), "{line}");
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
