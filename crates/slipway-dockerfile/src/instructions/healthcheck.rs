//! `HEALTHCHECK [flags] CMD …` and `HEALTHCHECK NONE` (`spec/dockerfile.md` section 3.13).

use std::num::{IntErrorKind, ParseIntError};

use slipway_oci::Healthcheck;

use super::CommandLine;
use super::flags::{self, FlagKind, Flags};
use crate::facts::Seen;
use crate::go_text::{duration, parse_duration};
use crate::quote::quoted;
use crate::stage_builder::{Step, error_at};
use crate::{Args, Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Check(Healthcheck);

const DURATIONS: [&str; 4] = ["interval", "timeout", "start-period", "start-interval"];

pub(super) fn check(instruction: &Instruction) -> Result<Check, Diagnostic> {
    let error = |message: String| error_at(instruction, instruction.span, message);
    let Args::Typed { kind, rest } = &instruction.args else {
        return Err(error("HEALTHCHECK requires at least one argument".to_owned()));
    };
    let command = CommandLine::of_args(rest);
    let is_empty = match &command {
        CommandLine::Exec(args) => args.is_empty(),
        CommandLine::Shell(text) => text.is_empty(),
    };
    let kind = kind.text.to_uppercase();
    // What stands in front of `NONE` is not looked at, not even whether there is such a flag.
    if kind == "NONE" {
        return match is_empty {
            true => Ok(Check(Healthcheck { test: vec![kind], ..Default::default() })),
            false => Err(error("HEALTHCHECK NONE takes no arguments".to_owned())),
        };
    }
    let mut known: Vec<(&'static str, FlagKind)> = DURATIONS.map(|name| (name, FlagKind::Text)).to_vec();
    known.push(("retries", FlagKind::Text));
    let flags = flags::check(instruction, &known)?;
    match kind.as_str() {
        "CMD" if is_empty => Err(error("Missing command after HEALTHCHECK CMD".to_owned())),
        "CMD" => with_flags(command, &flags).map(Check).map_err(error),
        kind => Err(error(format!("Unknown type {} in HEALTHCHECK (try CMD)", quoted(kind)))),
    }
}

fn with_flags(command: CommandLine, flags: &Flags<'_>) -> Result<Healthcheck, String> {
    let test = match command {
        CommandLine::Exec(args) => [vec!["CMD".to_owned()], args].concat(),
        CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
    };
    let [interval, timeout, start_period, start_interval] = DURATIONS.map(|name| nanoseconds(flags, name));
    Ok(Healthcheck {
        test,
        interval: interval?,
        timeout: timeout?,
        start_period: start_period?,
        start_interval: start_interval?,
        retries: retries(flags)?,
    })
}

fn nanoseconds(flags: &Flags<'_>, name: &str) -> Result<i64, String> {
    let Some(text) = flags.text_if_any(name) else { return Ok(0) };
    match parse_duration(&text)? {
        0 => Ok(0),
        value @ 1_000_000.. => Ok(value),
        _ => Err(format!("Interval {} cannot be less than 1ms", quoted(name))),
    }
}

fn retries(flags: &Flags<'_>) -> Result<i64, String> {
    let Some(text) = flags.text_if_any("retries") else { return Ok(0) };
    let error = |error: ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {why}", quoted(&text))
    };
    match text.parse::<i32>().map_err(error)? {
        count @ ..0 => Err(format!("--retries cannot be negative ({count})")),
        count => Ok(count.into()),
    }
}

pub(super) fn lower(check: &Check, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.see(Seen::Command { needs_default_shell: false });
    let health = &check.0;
    let durations: String = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ]
    .into_iter()
    .map(|(name, value)| format!(" {name}:{}", duration(value)))
    .collect();
    let test = health.test.join(" ");
    step.record(format!("HEALTHCHECK {{Test:[{test}]{durations} Retries:{}}}", health.retries), false);
    step.stage.config.config.healthcheck = Some(health.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn checks_are_stored_in_nanoseconds() {
        let case = Case::new("FROM scratch\nHEALTHCHECK --interval=90s --start-period=0s --retries=3 CMD a b\n");
        let health = case.config().config.healthcheck.unwrap();
        assert_eq!(health.test, ["CMD-SHELL", "a b"]);
        assert_eq!((health.interval, health.start_period, health.retries), (90_000_000_000, 0, 3));
        let times = "Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s";
        assert_eq!(case.history(), [format!("HEALTHCHECK {{Test:[CMD-SHELL a b] {times} Retries:3}}")]);
        let none = Case::new("FROM scratch\nHEALTHCHECK NONE\n").config();
        assert_eq!(none.config.healthcheck.unwrap().test, ["NONE"]);
        let exec = Case::new("FROM scratch\nHEALTHCHECK CMD [\"a\", \"b\"]\n").config();
        assert_eq!(exec.config.healthcheck.unwrap().test, ["CMD", "a", "b"]);
    }

    #[test]
    fn flags_of_none_are_not_looked_at() {
        let case = Case::new("FROM scratch\nHEALTHCHECK --interval=x --bogus NONE\n");
        assert_eq!(case.config().config.healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn bad_checks_are_refused() {
        for (line, message) in [
            ("NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("RUN x", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)"),
            ("CMD", "Missing command after HEALTHCHECK CMD"),
            ("--interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"),
            ("--retries=-1 CMD x", "--retries cannot be negative (-1)"),
            ("--retries=x CMD x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("--retries=2147483648 CMD x", "strconv.ParseInt: parsing \"2147483648\": value out of range"),
            ("--bogus RUN x", "unknown flag: --bogus"),
        ] {
            assert_eq!(errors(&format!("FROM scratch\nHEALTHCHECK {line}\n")), [message], "{line}");
        }
    }
}
