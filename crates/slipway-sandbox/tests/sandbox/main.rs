//! Runs real programs in real sandboxes, and attacks the sandbox from inside.
//!
//! The first process of a sandbox is the running executable, so these tests have a `main` of their own. As an
//! unprivileged user they run inside that user's namespace, as slipway itself does. What the machine lacks is reported
//! as "not run, because …", and fails when `SLIPWAY_TEST_REQUIRE` names it (`sandbox`, `busybox`, `new-user`).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cases;
mod fixture;
mod single_id;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Conclusion, Trial};
use slipway_sandbox::ladder;
use slipway_sandbox::userns::{self, Entered};

use crate::fixture::Machine;

fn main() -> ExitCode {
    slipway_sandbox::init_if_requested();
    let mode = match ladder::find(None, Path::new("")).and_then(userns::enter) {
        Ok(Entered::Finished(status)) => userns::end_like(status),
        Ok(Entered::Inside(mode)) => Ok(mode),
        Err(error) => Err(format!("{error}; {}", error.hint().unwrap_or_default())),
    };
    if let Some(exit) = fixture::run_step_if_requested() {
        return exit;
    }
    let machine = Machine::probe(mode);
    let trials = cases::CASES.iter().chain(single_id::CASES).map(|case| trial(case, &machine)).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    say_what_did_not_run(&conclusion, &machine);
    conclusion.exit_code()
}

/// A test, what it needs of the machine, and the function that panics when it fails.
pub(crate) struct Case {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
}

/// What a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Root, or an unprivileged user with subordinate ids.
    Sandbox,
    /// A static busybox, the only program in the tests' roots.
    Busybox,
    /// Real root, and the programs that make a user with subordinate ids.
    NewUser,
}

impl Need {
    pub(crate) const ALL: [Self; 3] = [Self::Sandbox, Self::Busybox, Self::NewUser];

    /// The name in `SLIPWAY_TEST_REQUIRE`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Busybox => "busybox",
            Self::NewUser => "new-user",
        }
    }
}

fn trial(case: &Case, machine: &Machine) -> Trial {
    let run = case.run;
    match case.needs.iter().find_map(|need| machine.lacks(*need)) {
        None => Trial::test(case.name, move || {
            run();
            Ok(())
        }),
        Some(lack) if lack.is_required => Trial::test(case.name, move || Err(lack.reason.into())),
        Some(lack) => Trial::test(case.name, || Ok(()))
            .with_kind(format!("not run, because {}", lack.reason))
            .with_ignored_flag(true),
    }
}

#[expect(clippy::print_stderr, reason = "a test program talks to the person who runs it")]
fn say_what_did_not_run(conclusion: &Conclusion, machine: &Machine) {
    if conclusion.num_ignored > 0 {
        let reasons: Vec<_> =
            Need::ALL.iter().filter_map(|need| machine.lacks(*need)).map(|lack| lack.reason).collect();
        eprintln!("{} tests did not run: {}", conclusion.num_ignored, reasons.join("; "));
    }
}
