//! Ctrl-C, SIGTERM and SIGHUP: the step ends, nothing is left behind, and the exit code tells.

use rustix::process::Signal;

use crate::process::Running;
use crate::site::Site;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("ctrl_c_ends_the_step_and_its_children", ctrl_c_ends_the_step_and_its_children),
    test("sigterm_does_the_same", sigterm_does_the_same),
    test("a_terminal_that_is_gone_does_the_same", a_terminal_that_is_gone_does_the_same),
    test("a_step_that_ignores_signals_ends_too", a_step_that_ignores_signals_ends_too),
    test("a_build_that_waits_for_a_lock_can_be_interrupted", a_build_that_waits_for_a_lock_can_be_interrupted),
];

const SLEEPER: &str = "FROM busybox
RUN echo before > /before
RUN (sleep <marker> &); (setsid sleep <marker> &); echo started; sleep <marker>
";

fn ctrl_c_ends_the_step_and_its_children() {
    // A terminal tells the whole group; the step is in no group of ours, so it must be ended by slipway.
    interrupted(SLEEPER, |build| build.signal_group(Signal::INT));
}

fn sigterm_does_the_same() {
    interrupted(SLEEPER, |build| build.signal(Signal::TERM));
}

fn a_terminal_that_is_gone_does_the_same() {
    interrupted(SLEEPER, |build| build.signal(Signal::HUP));
}

fn a_step_that_ignores_signals_ends_too() {
    let deaf = "FROM busybox\nRUN echo before > /before\nRUN trap '' INT TERM HUP; echo started; while true; do sleep <marker>; done\n";
    interrupted(deaf, |build| build.signal(Signal::INT));
}

fn interrupted(dockerfile: &str, interrupt: impl Fn(&Running)) {
    let site = Site::new(dockerfile);
    let archive = site.path("image.tar");
    let output = format!("--output=type=oci,dest={}", archive.display());
    let iid_file = format!("--iidfile={}", site.name("iid"));
    let mut build = site.start(&[&output, &iid_file]);
    build.wait_for("started\n");
    interrupt(&build);
    let outcome = build.finish();
    assert_eq!(outcome.exit_code, Some(130), "{}", outcome.stderr);
    assert!(
        outcome.stderr.lines().any(|line| line.starts_with('#') && line.ends_with(" CANCELED")),
        "{}",
        outcome.stderr
    );
    let last = "ERROR: failed to build: failed to solve: context canceled\n";
    assert!(outcome.stderr.ends_with(last), "{}", outcome.stderr);
    assert!(!archive.exists() && !site.path("iid").exists());
    site.assert_tidy();

    site.write("Dockerfile", "FROM busybox\nRUN echo before > /before\nRUN true\n");
    let next = site.build(&[]).success();
    assert_eq!(next.steps().cached, ["RUN echo before > /before"], "what was finished stays");
    assert_eq!(site.active(), Vec::<std::path::PathBuf>::new());
    site.assert_tidy();
}

/// The second build waits for the first one's step, and has to hear the signal while it does.
fn a_build_that_waits_for_a_lock_can_be_interrupted() {
    let site = Site::new("FROM busybox\nRUN echo started; sleep <marker>\n");
    let mut first = site.start(&[]);
    first.wait_for("started\n");
    let second = site.start(&[]);
    site.wait_for_lock_holders(2);
    second.signal(Signal::INT);
    assert_eq!(second.finish().exit_code, Some(130));
    first.signal(Signal::INT);
    assert_eq!(first.finish().exit_code, Some(130));
    site.assert_tidy();
}
