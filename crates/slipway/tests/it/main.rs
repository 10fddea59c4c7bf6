//! Runs the real binary where a case file cannot follow: with signals, other builds, registries and other users around.
//!
//! One module a subject. A test is a function that panics when it fails. What the machine lacks is reported as "not
//! run, because …", and fails when `SLIPWAY_TEST_REQUIRE` names it. Nothing talks to more than loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod analyze;
mod attacks;
mod attestations;
mod bad_input;
mod bake;
mod baking;
mod buildkit_caches;
mod builds;
mod cache_places;
mod cache_remote;
mod cached;
mod calls;
mod completion;
mod compose;
mod compose_commands;
mod compose_flags;
mod compose_up;
mod compose_watch;
mod compressed_once;
mod confinement;
mod containers;
mod contexts;
mod crashes;
mod damaged;
mod debian_registry;
mod drop_in;
mod epoch;
mod explained;
mod explorer;
mod file_systems;
mod git;
mod git_modes;
mod graph;
mod hostile_archives;
mod hostile_layers;
mod hostile_registry;
mod image_commands;
mod images;
mod imagetools;
mod interrupt;
mod killed;
mod lazy_bases;
mod lazy_caches;
mod limits;
mod lint;
mod loading;
mod login;
mod merge;
mod nested;
mod network;
mod offline;
mod outputs;
mod parallel;
mod pins;
mod platforms;
mod ports;
mod process;
mod prune;
mod pulling;
mod registry;
mod registry_settings;
mod remembered;
mod reported;
mod reproduced;
mod results;
mod run_special;
mod run_tty;
mod running;
mod screens;
mod secret_keys;
mod secrets;
mod sharing;
mod shell;
mod site;
mod traced;
mod unprivileged;
mod urls;
mod watching;
mod work_tree;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use slipway_test::capability::Capability;

/// Capabilities whose lack is a failure: words with commas between them.
const REQUIRE: &str = "SLIPWAY_TEST_REQUIRE";

/// A test, what it needs beyond what every build needs, and the function that panics when it fails.
pub(crate) struct Test {
    name: &'static str,
    needs: &'static [Capability],
    run: fn(),
}

/// A test that needs no more than every build does.
pub(crate) const fn test(name: &'static str, run: fn()) -> Test {
    Test { name, needs: &[], run }
}

const SUBJECTS: &[(&str, &[Test])] = &[
    ("analyze", analyze::TESTS),
    ("attacks", attacks::TESTS),
    ("attestations", attestations::TESTS),
    ("bad_input", bad_input::TESTS),
    ("bake", bake::TESTS),
    ("baking", baking::TESTS),
    ("buildkit_caches", buildkit_caches::TESTS),
    ("completion", completion::TESTS),
    ("compose", compose::TESTS),
    ("compose_commands", compose_commands::TESTS),
    ("compose_flags", compose_flags::TESTS),
    ("compose_up", compose_up::TESTS),
    ("compressed_once", compressed_once::TESTS),
    ("compose_watch", compose_watch::TESTS),
    ("builds", builds::TESTS),
    ("cache_places", cache_places::TESTS),
    ("cache_remote", cache_remote::TESTS),
    ("cached", cached::TESTS),
    ("calls", calls::TESTS),
    ("confinement", confinement::TESTS),
    ("containers", containers::TESTS),
    ("contexts", contexts::TESTS),
    ("drop_in", drop_in::TESTS),
    ("epoch", epoch::TESTS),
    ("crashes", crashes::TESTS),
    ("damaged", damaged::TESTS),
    ("debian_registry", debian_registry::TESTS),
    ("explained", explained::TESTS),
    ("explorer", explorer::TESTS),
    ("file_systems", file_systems::TESTS),
    ("git", git::TESTS),
    ("git_modes", git_modes::TESTS),
    ("graph", graph::TESTS),
    ("image_commands", image_commands::TESTS),
    ("images", images::TESTS),
    ("imagetools", imagetools::TESTS),
    ("hostile_layers", hostile_layers::TESTS),
    ("hostile_registry", hostile_registry::TESTS),
    ("hostile_archives", hostile_archives::TESTS),
    ("interrupt", interrupt::TESTS),
    ("killed", killed::TESTS),
    ("lazy_bases", lazy_bases::TESTS),
    ("lazy_caches", lazy_caches::TESTS),
    ("limits", limits::TESTS),
    ("nested", nested::TESTS),
    ("lint", lint::TESTS),
    ("loading", loading::TESTS),
    ("login", login::TESTS),
    ("merge", merge::TESTS),
    ("network", network::TESTS),
    ("offline", offline::TESTS),
    ("outputs", outputs::TESTS),
    ("parallel", parallel::TESTS),
    ("pins", pins::TESTS),
    ("platforms", platforms::TESTS),
    ("prune", prune::TESTS),
    ("pulling", pulling::TESTS),
    ("registry", registry::TESTS),
    ("registry_settings", registry_settings::TESTS),
    ("remembered", remembered::TESTS),
    ("reported", reported::TESTS),
    ("reproduced", reproduced::TESTS),
    ("results", results::TESTS),
    ("secret_keys", secret_keys::TESTS),
    ("run_special", run_special::TESTS),
    ("run_tty", run_tty::TESTS),
    ("run", running::TESTS),
    ("secrets", secrets::TESTS),
    ("sharing", sharing::TESTS),
    ("shell", shell::TESTS),
    ("traced", traced::TESTS),
    ("unprivileged", unprivileged::TESTS),
    ("urls", urls::TESTS),
    ("watching", watching::TESTS),
    ("work_tree", work_tree::TESTS),
    ("screens", screens::TESTS),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Other test programs read the same variable, so it may hold their words too.
    let required = env::var(REQUIRE).unwrap_or_default();
    let required: Vec<Capability> = required.split(',').filter_map(|word| word.parse().ok()).collect();
    let mut lacks = Vec::new();
    let mut trials = Vec::new();
    for (subject, tests) in SUBJECTS {
        trials.extend(tests.iter().map(|test| trial(subject, test, &required, &mut lacks)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    site::remove_busybox();
    if !lacks.is_empty() && !arguments.list {
        let n_lacking = lacks.len();
        lacks.sort();
        lacks.dedup();
        // A closed pipe is no reason to fail the tests.
        writeln!(io::stdout(), "{n_lacking} tests were not run, because: {}", lacks.join("; ")).ok();
    }
    conclusion.exit_code()
}

fn trial(subject: &str, test: &Test, required: &[Capability], lacks: &mut Vec<String>) -> Trial {
    let name = format!("{subject}::{}", test.name);
    let mut needs = Capability::of_every_build();
    needs.extend(test.needs);
    let run = test.run;
    let Some((missing, reason)) = needs.iter().find_map(|need| Some((need, need.missing()?))) else {
        return Trial::test(name, move || {
            run();
            Ok(())
        });
    };
    let reason = format!("{} is missing ({reason})", missing.name());
    if required.contains(missing) {
        return Trial::test(name, move || Err(format!("{reason}, and {REQUIRE} asks for it").into()));
    }
    let kind = format!("not run, because {reason}");
    lacks.push(reason);
    Trial::test(name, || Ok(())).with_kind(kind).with_ignored_flag(true)
}
