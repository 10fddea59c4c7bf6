//! `slipway run`: programs in images, and what is left of them.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::process::{Running, wait_until};
use crate::shell::Typist;
use crate::site::{Outcome, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_test_stage_is_built_and_run", a_test_stage_is_built_and_run),
    test("arguments_follow_dockers_rules", arguments_follow_dockers_rules),
    test("variables_user_and_folder_are_those_asked_for", variables_user_and_folder_are_those_asked_for),
    test("images_are_found_by_id", images_are_found_by_id),
    test("exit_codes_are_passed_on", exit_codes_are_passed_on),
    test("mistakes_are_told_with_dockers_codes", mistakes_are_told_with_dockers_codes),
    test("nothing_is_left_but_volumes", nothing_is_left_but_volumes),
    test("a_volume_begins_with_the_files_of_the_image", a_volume_begins_with_the_files_of_the_image),
    test("folders_of_the_host_are_mounted", folders_of_the_host_are_mounted),
    test("a_read_only_root_spares_volumes", a_read_only_root_spares_volumes),
    test("names_and_networks_are_those_asked_for", names_and_networks_are_those_asked_for),
    test("input_is_passed_on_where_it_is_asked_for", input_is_passed_on_where_it_is_asked_for),
    test("programs_see_no_other_descriptors", programs_see_no_other_descriptors),
    test("signals_reach_the_program", signals_reach_the_program),
    test("a_program_that_hears_no_signal_is_killed", a_program_that_hears_no_signal_is_killed),
    test("a_program_at_a_terminal_has_one", a_program_at_a_terminal_has_one),
];

/// A place with an image `t` that is built from `dockerfile`.
fn site_with_image(dockerfile: &str) -> Site {
    let site = Site::new(dockerfile);
    site.build(&["-t", "t"]).success();
    site
}

fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = site.slipway();
    command.args(["run", "--rm"]).args(arguments);
    command
}

fn ran(site: &Site, arguments: &[&str]) -> Outcome {
    run(&mut command(site, arguments))
}

/// What a container that ends well writes to standard output.
#[track_caller]
fn output(site: &Site, arguments: &[&str]) -> String {
    String::from_utf8(ran(site, arguments).success().stdout).unwrap()
}

fn a_test_stage_is_built_and_run() {
    let site = Site::new("FROM busybox AS test\nCMD echo tested; exit $RESULT\nFROM scratch\nCOPY Dockerfile /\n");
    site.build(&["--target", "test", "-t", "t"]).success();
    assert_eq!(output(&site, &["t"]), "tested\n");
    assert_eq!(ran(&site, &["-e", "RESULT=7", "t"]).exit_code, Some(7));
    let as_docker = run(site.slipway().args(["container", "run", "t"])).success();
    assert_eq!(as_docker.stdout, b"tested\n");
    site.assert_tidy();
}

fn arguments_follow_dockers_rules() {
    let site = site_with_image("FROM busybox\nENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"cmd\"]\n");
    assert_eq!(output(&site, &["t"]), "entry cmd\n");
    assert_eq!(output(&site, &["t", "-n", "--rm"]), "entry -n --rm\n");
    assert_eq!(output(&site, &["--entrypoint", "echo", "t"]), "\n");
    assert_eq!(output(&site, &["--entrypoint", "/bin/echo", "t", "x"]), "x\n");
    assert_eq!(output(&site, &["--entrypoint=", "t", "echo", "x"]), "x\n");
    let nothing = ran(&site, &["--entrypoint", "", "t"]);
    assert_eq!((nothing.exit_code, nothing.stderr.as_str()), (Some(125), "slipway: no command specified\n"));
}

fn variables_user_and_folder_are_those_asked_for() {
    let site = site_with_image(
        "FROM busybox
         RUN echo app:x:7:8::/home/app:/bin/sh >> /etc/passwd && echo staff:x:9: >> /etc/group
         ENV A=image B=image
         WORKDIR /w
         USER app
        ",
    );
    site.write("vars", "# comment\nC=file\nA=file\nFROM_HERE\nNOT_HERE\n");
    let shown = run(command(
        &site,
        &["--env-file", "vars", "-eA=flag", "-e", "FROM_HERE", "-e", "NOT_HERE", "-h", "box", "t", "env"],
    )
    .env("FROM_HERE", "here"))
    .success();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let expected = ["HOSTNAME=box", "C=file", "A=flag", "FROM_HERE=here", "B=image", "HOME=/home/app"];
    let kept: Vec<&str> = shown.lines().filter(|line| !line.starts_with("PATH=")).collect();
    assert_eq!(kept, expected);
    let who = "echo $(id -u):$(id -g):$(pwd)";
    assert_eq!(output(&site, &["t", "sh", "-c", who]), "7:8:/w\n");
    assert_eq!(output(&site, &["-u", "root:staff", "-w", "/made/here", "t", "sh", "-c", who]), "0:9:/made/here\n");
    assert_eq!(output(&site, &["-u", "12:34", "t", "sh", "-c", who]), "12:34:/w\n");
    let unknown = ran(&site, &["-u", "nobody-here", "t", "true"]);
    assert_eq!(unknown.exit_code, Some(125), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("nobody-here"), "{}", unknown.stderr);
}

fn images_are_found_by_id() {
    let site = Site::new("FROM busybox\nCMD echo found\n");
    let built = run(site.slipway().args(["build", "-q", &busybox_flag(), "."])).success();
    let id = String::from_utf8(built.stdout).unwrap().trim().to_owned();
    assert_eq!(output(&site, &[&id]), "found\n");
    site.build(&["-t", "t"]).success();
    assert_eq!(output(&site, &[&id["sha256:".len()..][..12]]), "found\n");
}

fn exit_codes_are_passed_on() {
    let site = site_with_image("FROM busybox\n");
    for (arguments, code) in [
        (&["t", "true"][..], 0),
        (&["t", "sh", "-c", "exit 7"], 7),
        (&["t", "sh", "-c", "exit 255"], 255),
        (&["t", "nope"], 127),
        (&["t", "/nope"], 127),
        (&["t", "/etc"], 126),
        (&["t", "/etc/passwd"], 126),
        // PID 1 cannot kill itself by a signal, but what it starts can.
        (&["t", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
    ] {
        let outcome = ran(&site, arguments);
        assert_eq!(outcome.exit_code, Some(code), "{arguments:?}: {}", outcome.stderr);
    }
    site.assert_tidy();
}

fn mistakes_are_told_with_dockers_codes() {
    let site = site_with_image("FROM busybox\n");
    for (arguments, expected) in [
        (&["--nope", "t"][..], "unknown flag: --nope"),
        (&["--runtime", "x", "t"], "unknown flag: --runtime"),
        (&["--cap-add", "FLY", "t"], "slipway: unknown capability: \"FLY\""),
        (&["-p", "80:b", "t"], "slipway: invalid containerPort: b"),
        (&["-p", "99999:80", "t"], "slipway: invalid hostPort: 99999"),
        (&["--restart", "maybe", "-d", "t"], "slipway: invalid restart policy: unknown policy 'maybe'"),
        (&["--restart", "always", "t"], "slipway: conflicting options: cannot specify both --restart and --rm"),
        (&["--stop-signal", "NOPE", "t"], "slipway: Invalid signal: NOPE"),
        (&["--name", "-x", "t"], "slipway: Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (&["--network", "mine", "t"], "slipway: invalid network `mine`: there are default, bridge, none and host"),
        (
            &["--pull=maybe", "t"],
            "slipway: invalid pull option: 'maybe': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (&["--pull=never", "absent"], "slipway: No such image: absent:latest"),
        (&["-w", "x", "t"], "slipway: the working directory 'x' is invalid, it needs to be an absolute path"),
        (&["-v", "a:b", "t"], "slipway: invalid mount path: 'b' mount path must be absolute"),
        (&["--mount", "type=bind,source=./absent,target=/x", "t"], "slipway: cannot mount `"),
        (&["--env-file", "absent", "t"], "slipway: --env-file: open absent: no such file or directory"),
        (&["UPPER"], "slipway: invalid reference format: repository name (library/UPPER) must be lowercase"),
    ] {
        let outcome = ran(&site, arguments);
        assert_eq!(outcome.exit_code, Some(125), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.starts_with(expected), "{arguments:?}: {}", outcome.stderr);
    }
    let usage = ran(&site, &["--nope", "t"]).stderr;
    assert!(usage.contains("Usage:  slipway run [OPTIONS] IMAGE [COMMAND] [ARG...]"), "{usage}");
    let no_terminal = ran(&site, &["-it", "t"]);
    assert_eq!(no_terminal.exit_code, Some(1), "{}", no_terminal.stderr);
}

fn nothing_is_left_but_volumes() {
    let site = site_with_image("FROM busybox\nVOLUME /anonymous\n");
    let layers = || fs::read_dir(site.path("store/layers")).unwrap().count();
    let before = layers();
    let script =
        "echo 1 > /anonymous/f; echo 1 > /f; echo 1 > /data/f; echo 1 > /tmpfs/f; grep -c ' /tmpfs ' /proc/mounts";
    assert_eq!(output(&site, &["-v", "data:/data", "--tmpfs", "/tmpfs", "t", "sh", "-c", script]), "1\n");
    let left = "ls /anonymous /f /data /tmpfs 2>/dev/null | grep -v :";
    assert_eq!(output(&site, &["-v", "data:/data:ro", "t", "sh", "-c", left]).trim(), "f");
    let refused = ran(&site, &["-v", "data:/data:ro", "t", "touch", "/data/g"]);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    assert_eq!(layers(), before);
    site.assert_tidy();
}

fn a_volume_begins_with_the_files_of_the_image() {
    let site = site_with_image("FROM busybox\nRUN mkdir /data && echo image > /data/f && chown 7:8 /data /data/f\n");
    let list = "stat -c '%u:%g' /data /data/f | tr '\\n' ' '; cat /data/f; echo changed > /data/f";
    assert_eq!(output(&site, &["-v", "data:/data", "t", "sh", "-c", list]), "7:8 7:8 image\n");
    assert_eq!(output(&site, &["-v", "data:/elsewhere", "t", "cat", "/elsewhere/f"]), "changed\n");
    assert_eq!(output(&site, &["-v", "empty:/data:nocopy", "t", "ls", "/data"]), "");
    assert_eq!(output(&site, &["-v", "/data", "t", "cat", "/data/f"]), "image\n");
}

fn folders_of_the_host_are_mounted() {
    let site = site_with_image("FROM busybox\n");
    site.write("in/file", "of the host");
    assert_eq!(
        output(&site, &["-v", "./in:/in", "-v", "./in/file:/f:ro", "t", "cat", "/in/file", "/f"]),
        "of the hostof the host"
    );
    output(&site, &["-v", "./new/folder:/out", "t", "sh", "-c", "echo made > /out/f"]);
    assert_eq!(fs::read_to_string(site.path("ctx/new/folder/f")).unwrap(), "made\n");
    let nested = ["-v", "./in:/a", "--tmpfs", "/a/b", "t", "sh", "-c", "touch /a/b/x; ls /a/b; ls /a"];
    assert_eq!(output(&site, &nested), "x\nb\nfile\n");
}

fn a_read_only_root_spares_volumes() {
    let site = site_with_image("FROM busybox\nRUN mkdir /v && echo 1 > /v/f\nVOLUME /v\n");
    let script = "touch /x /etc/x 2>&1 | grep -c Read-only; touch /v/x /t/x /data/x /dev/shm/x && cat /v/f";
    let arguments = ["--read-only", "--tmpfs", "/t:size=64k", "-v", "data:/data", "t", "sh", "-c", script];
    assert_eq!(output(&site, &arguments), "2\n1\n");
}

fn names_and_networks_are_those_asked_for() {
    let site = site_with_image("FROM busybox\n");
    let script =
        "hostname; cat /etc/hostname; grep -c '192.0.2.7.*db' /etc/hosts; ls /sys/class/net | grep -v lo; echo .";
    let arguments = ["--network=none", "-h", "box", "--add-host", "db:192.0.2.7", "t", "sh", "-c", script];
    assert_eq!(output(&site, &arguments), "box\nbox\n1\n.\n");
    let own = output(&site, &["--network=none", "t", "hostname"]);
    assert!(own.trim().len() == 12 && own.trim().chars().all(|c| c.is_ascii_hexdigit()), "{own}");
    let host = String::from_utf8(Command::new("uname").arg("-n").output().unwrap().stdout).unwrap();
    assert_eq!(output(&site, &["--network", "host", "t", "hostname"]), host);
}

fn input_is_passed_on_where_it_is_asked_for() {
    let site = site_with_image("FROM busybox\n");
    for (flag, expected) in [("-i", "typed\n"), ("-q", "")] {
        let mut child =
            command(&site, &[flag, "t", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        keyboard.write_all(b"typed\n").unwrap();
        drop(keyboard);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert!(output.status.success());
    }
    // A program that does not read its input to the end ends all the same.
    let mut child = command(&site, &["-i", "t", "true"]).stdin(Stdio::piped()).spawn().unwrap();
    let _keyboard = child.stdin.take();
    assert!(child.wait().unwrap().success());
}

fn programs_see_no_other_descriptors() {
    let site = site_with_image("FROM busybox\n");
    let listing = command(&site, &["-v", "data:/data", "t", "ls", "/proc/self/fd"]);
    let mut through_shell = Command::new("sh");
    through_shell.args(["-c", "exec 9< /etc/passwd; exec \"$@\"", "sh"]).arg(listing.get_program());
    through_shell.args(listing.get_args());
    let outcome = run(&mut site.with_own_environment(through_shell)).success();
    // `ls` itself opens the folder.
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), "0\n1\n2\n3\n");
}

fn signals_reach_the_program() {
    let site = site_with_image("FROM busybox\n");
    let script = "trap 'echo heard >&2; exit 5' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let mut running = Running::start(&mut command(&site, &["t", "sh", "-c", script]));
    running.wait_for("ready");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.exit_code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("heard"), "{}", outcome.stderr);
    site.assert_tidy();
}

fn a_program_that_hears_no_signal_is_killed() {
    let site = site_with_image("FROM busybox\n");
    let mut running =
        Running::start(&mut command(&site, &["t", "sh", "-c", "trap '' INT; echo ready >&2; exec sleep 1000"]));
    running.wait_for("ready");
    // Signals that follow each other too soon count as one.
    wait_until("it is killed", || {
        running.signal_group(Signal::INT);
        running.is_over()
    });
    assert_eq!(running.finish().exit_code, Some(137));
    site.assert_tidy();
}

fn a_program_at_a_terminal_has_one() {
    let site = site_with_image("FROM busybox\n");
    let mut typist = Typist::start(&mut command(&site, &["-it", "t", "sh"]));
    typist.asks("stty size | sed s/^/size:/", "size:41 131");
    typist.asks("echo $TERM-$((40 + 2))", "xterm-42");
    typist.asks("test -t 0 && test -t 1 && test -t 2 && echo all-\"terminals\"", "all-terminals");
    let (code, screen) = typist.leave();
    assert_eq!(code, Some(0), "{screen}");
    site.assert_tidy();
}
