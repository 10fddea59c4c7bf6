//! `slipway run` with what few containers have: an init, devices, kernel parameters, security options.

use std::process::Command;

use rustix::process::Signal;

use crate::process::Running;
use crate::shell::Typist;
use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("an_init_ends_as_the_program_does", an_init_ends_as_the_program_does),
    test("an_init_waits_for_orphans_and_shows_nothing_of_itself", an_init_waits_for_orphans),
    test("signals_go_through_an_init", signals_go_through_an_init),
    test("an_init_leaves_the_terminal_to_the_program", an_init_leaves_the_terminal_to_the_program),
    test("programs_may_join_a_container_with_an_init", programs_may_join_a_container_with_an_init),
    test("a_device_that_is_lent_can_be_opened_and_no_other", a_device_that_is_lent_can_be_opened_and_no_other),
    test("kernel_parameters_are_the_containers_own", kernel_parameters_are_the_containers_own),
    test("security_options_are_in_force", security_options_are_in_force),
    test("the_host_name_may_be_the_machines", the_host_name_may_be_the_machines),
    test("what_is_not_kept_is_refused", what_is_not_kept_is_refused),
];

/// With all the ids that there are, and with one.
const SANDBOXES: [&str; 2] = ["", "single-id"];

fn site_with_image() -> Site {
    let site = Site::new("FROM busybox\n");
    for sandbox in SANDBOXES {
        let mut command = site.build_command(&["-t", "t", "."]);
        run(command.env("SLIPWAY_SANDBOX", sandbox)).success();
    }
    site
}

fn command(site: &Site, sandbox: &str, arguments: &[&str]) -> Command {
    let mut command = site.slipway();
    command.env("SLIPWAY_SANDBOX", sandbox).args(["run", "--rm"]).args(arguments);
    command
}

fn ran(site: &Site, sandbox: &str, arguments: &[&str]) -> Outcome {
    run(&mut command(site, sandbox, arguments))
}

/// What a script in a container that ends well writes to standard output, with these flags.
#[track_caller]
fn output(site: &Site, sandbox: &str, flags: &[&str], script: &str) -> String {
    let arguments = [flags, &["t", "sh", "-c", script]].concat();
    String::from_utf8(ran(site, sandbox, &arguments).success().stdout).unwrap()
}

fn an_init_ends_as_the_program_does() {
    let site = site_with_image();
    for sandbox in SANDBOXES {
        for (words, code) in [
            (&["sh", "-c", "exit 7"][..], 7),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["sh", "-c", "(sleep 100 &) ; exit 3"], 3),
            (&["not-there"], 127),
            (&["/etc/passwd"], 126),
        ] {
            let outcome = ran(&site, sandbox, &[&["--init", "t"], words].concat());
            assert_eq!(outcome.exit_code, Some(code), "{sandbox} {words:?}: {}", outcome.stderr);
        }
    }
    site.assert_tidy();
}

fn an_init_waits_for_orphans() {
    let site = site_with_image();
    // Nobody but the init and the shell is left in the end, zombies included.
    let orphans = "[ $$ = 1 ] || echo below; for n in 1 2 3; do (sleep 0.1 &); done; \
                   for n in $(seq 6000); do set -- /proc/[0-9]*; [ $# = 2 ] && break; sleep 0.1; done; echo $#";
    // Even the container's root cannot look at slipway.
    let look = "readlink /proc/1/exe || cat /proc/1/fd/0 2>/dev/null || echo hidden; id -u";
    for sandbox in SANDBOXES {
        assert_eq!(output(&site, sandbox, &["--init"], orphans), "below\n2\n", "{sandbox}");
        assert_eq!(output(&site, sandbox, &["--init"], look), "hidden\n0\n", "{sandbox}");
        assert_eq!(output(&site, sandbox, &["--init", "-u", "7:8"], look), "hidden\n7\n", "{sandbox}");
    }
}

/// `sleep` handles no signal: as PID 1 it would hear none.
fn signals_go_through_an_init() {
    let site = site_with_image();
    for sandbox in SANDBOXES {
        let words = ["--init", "t", "sh", "-c", "echo ready >&2; exec sleep 1000"];
        let mut running = Running::start(&mut command(&site, sandbox, &words));
        running.wait_for("ready");
        running.signal(Signal::TERM);
        assert_eq!(running.finish().exit_code, Some(143), "{sandbox}");
    }
    site.assert_tidy();
}

fn an_init_leaves_the_terminal_to_the_program() {
    let site = site_with_image();
    let mut typist = Typist::start(&mut command(&site, "", &["-it", "--init", "t", "sh"]));
    typist.asks("stty size | sed s/^/size:/", "size:41 131");
    typist.asks("sleep 0.1 & wait; echo jobs-$((40 + 2))", "jobs-42");
    let (code, screen) = typist.leave();
    assert_eq!(code, Some(0), "{screen}");
}

fn programs_may_join_a_container_with_an_init() {
    let site = site_with_image();
    run(site.slipway().args([
        "run",
        "-d",
        "--init",
        "--security-opt=no-new-privileges",
        "--name=below",
        "t",
        "sleep",
        "1000",
    ]))
    .success();
    let script = "grep -c sleep /proc/2/cmdline; grep NoNewPrivs /proc/self/status";
    let inside = run(site.slipway().args(["exec", "below", "sh", "-c", script])).success();
    assert_eq!(String::from_utf8(inside.stdout).unwrap(), "1\nNoNewPrivs:\t1\n");
    run(site.slipway().args(["rm", "--force", "below"])).success();
    site.assert_tidy();
}

fn a_device_that_is_lent_can_be_opened_and_no_other() {
    let site = site_with_image();
    for sandbox in SANDBOXES {
        let flags = ["--device", "/dev/zero:/dev/mine", "--device=/dev/null:/sub/null:rw"];
        let script = "head -c 3 /dev/mine | wc -c; echo > /sub/null && echo written; ls -l /dev/mine | cut -c1";
        assert_eq!(output(&site, sandbox, &flags, script), "3\nwritten\nc\n", "{sandbox}");
        // A mount is not a loan.
        let script = "head -c 3 /dev/mine 2>/dev/null || echo refused";
        assert_eq!(output(&site, sandbox, &["-v", "/dev/zero:/dev/mine"], script), "refused\n", "{sandbox}");
    }
}

fn kernel_parameters_are_the_containers_own() {
    let site = site_with_image();
    let here = || std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let before = here();
    let flags = ["--network=none", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmni=77"];
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni";
    if slipway_test::capability::is_root() {
        assert_eq!(output(&site, "", &flags, script), "1\n77\n");
    }
    assert_eq!(here(), before);
    for (flags, expected) in [
        (&["--network=host", "--sysctl", "net.ipv4.ip_forward=1"][..], "net/ipv4/ip_forward) of the host's network"),
        (&["--network=none", "--sysctl", "net.nope=1"], "/proc/sys/net/nope"),
    ] {
        let outcome = ran(&site, "", &[flags, &["t", "true"]].concat());
        assert_eq!(outcome.exit_code, Some(125), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}

fn security_options_are_in_force() {
    let site = site_with_image();
    let script = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | tr '\\n' ' '";
    for (flags, expected) in [
        (&[][..], "0 2 "),
        (&["--security-opt", "no-new-privileges"], "1 2 "),
        (&["--security-opt", "seccomp=unconfined"], "0 0 "),
        (&["--security-opt=label=disable", "--security-opt=apparmor=unconfined"], "0 2 "),
    ] {
        assert_eq!(output(&site, "", flags, script), expected, "{flags:?}");
    }
}

fn the_host_name_may_be_the_machines() {
    let site = site_with_image();
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for sandbox in SANDBOXES {
        let script = "hostname; echo $HOSTNAME";
        assert_eq!(output(&site, sandbox, &["--uts=host"], script), format!("{machine}\n{machine}\n"), "{sandbox}");
    }
}

/// With Docker's exit code; the texts are tested beside the code that has them.
fn what_is_not_kept_is_refused() {
    let site = site_with_image();
    for flags in [
        &["--pid=host"][..],
        &["--ipc=host"],
        &["--uts=foo"],
        &["--uts=host", "--hostname=x"],
        &["--security-opt=seccomp=/profile.json"],
        &["--sysctl=vm.swappiness=1"],
        &["--device=/dev/nope"],
    ] {
        let outcome = ran(&site, "", &[flags, &["t", "true"]].concat());
        assert_eq!((outcome.exit_code, outcome.stdout.len()), (Some(125), 0), "{flags:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("Run 'slipway run --help' for more information"), "{}", outcome.stderr);
    }
    site.assert_tidy();
}
