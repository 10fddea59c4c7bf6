//! `STOPSIGNAL`: the signal that ends a container.

use super::one_argument;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Stopsignal(String);

/// signal(7), without `SIG`.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

pub(super) fn check(instruction: &Instruction) -> Result<Stopsignal, Diagnostic> {
    // The reference looks at no flag here.
    Ok(Stopsignal(one_argument(instruction)))
}

pub(super) fn lower(signal: &Stopsignal, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let signal = step.expand(&signal.0)?;
    if !is_signal(&signal) {
        return Err(step.error(format!("invalid signal: {signal}")));
    }
    step.record(format!("STOPSIGNAL {signal}"), false);
    step.stage.config.config.stop_signal = signal;
    Ok(())
}

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str, last: u32| {
        name.strip_prefix(prefix).and_then(|n| n.parse().ok()).is_some_and(|n: u32| (1..=last).contains(&n))
    };
    // The C library's real-time signals are 34 to 64.
    SIGNALS.contains(&name) || real_time("RTMIN+", 15) || real_time("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn signals_are_stored_as_written() {
        for signal in ["9", "sigkill", "TERM", "SIGRTMIN+3"] {
            let case = Case::new(&format!("FROM scratch\nENV S={signal}\nSTOPSIGNAL $S\n"));
            assert_eq!(case.config().config.stop_signal, signal);
            assert_eq!(case.history()[1], format!("STOPSIGNAL {signal}"));
        }
        assert_eq!(Case::new("FROM scratch\nSTOPSIGNAL --x 9\n").config().config.stop_signal, "9");
        for signal in ["SIGFOO", "0"] {
            assert_eq!(errors(&format!("FROM scratch\nSTOPSIGNAL {signal}\n")), [format!("invalid signal: {signal}")]);
        }
    }
}
