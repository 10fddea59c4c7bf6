//! What steps reach, and what becomes of the helper that lets them.
//!
//! The host is a network namespace made by the test, so that a "world outside" can be part of it: nothing leaves it.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::Command;

use slipway_test::capability::Capability;

use crate::process::{self, wait_until};
use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, run};
use crate::unprivileged::NewUser;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "steps_reach_the_world_only", needs: PRIVATE, run: steps_reach_the_world_only },
    Test { name: "one_helper_serves_a_build", needs: PRIVATE, run: one_helper_serves_a_build },
    Test { name: "the_helper_ends_with_a_killed_build", needs: PRIVATE, run: the_helper_ends_with_a_killed_build },
    Test { name: "services_of_the_host_are_out_of_reach", needs: PRIVATE, run: services_of_the_host_are_out_of_reach },
    Test { name: "a_user_has_a_private_network", needs: OF_A_USER, run: a_user_has_a_private_network },
    test("no_network_needs_no_helper", no_network_needs_no_helper),
    test("a_build_in_which_no_step_runs_starts_no_helper", a_build_in_which_no_step_runs_starts_no_helper),
    test("a_machine_without_a_helper_is_told_once", a_machine_without_a_helper_is_told_once),
    test("a_helper_that_hangs_is_not_waited_for", a_helper_that_hangs_is_not_waited_for),
];

const PRIVATE: &[Capability] = &[Capability::Root, Capability::PrivateNetwork];

const OF_A_USER: &[Capability] = &[Capability::NewUser, Capability::PrivateNetwork];

/// A host whose loopback has a canary that answers `alive`, and an address that others could reach.
const HOST: &str = "set -e
ip link set lo up
ip addr add 198.51.100.9/24 dev lo
ip route add 198.51.100.0/24 dev lo
busybox nc -ll -p 8001 -e echo alive &
canary=$!
trap 'kill $canary' EXIT
until [ \"$(busybox nc 127.0.0.1 8001 </dev/null)\" = alive ]; do sleep 0.01; done
\"$@\"";

/// Builds on that host.
fn build_on_host(site: &Site, arguments: &[&str]) -> Outcome {
    let mut command = site.with_own_environment(Command::new("unshare"));
    command.args(["--net", "sh", "-c", HOST, "sh", SLIPWAY, "build", "--progress=plain", &busybox_flag()]);
    run(command.args(arguments).arg("."))
}

/// Connects to a port of the loopback and to an abstract socket, and prints what it reached.
const REACH: &str = r#"
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
static void attempt(const char *name, int family, void *address, socklen_t length) {
    if (connect(socket(family, SOCK_STREAM, 0), address, length) == 0) printf("reached %s\n", name);
}
int main(int argc, char **argv) {
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    attempt("loopback", AF_INET, &loopback, sizeof loopback);
    struct sockaddr_un abstract = {.sun_family = AF_UNIX};
    strncpy(abstract.sun_path + 1, argv[2], sizeof abstract.sun_path - 2);
    attempt("abstract", AF_UNIX, &abstract, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[2]));
    puts("tried");
    return 0;
}
"#;

/// Services of this very host, and a context with a program that tries to connect to them.
struct Services {
    _loopback: TcpListener,
    _abstract: UnixListener,
}

impl Services {
    fn start(site: &Site) -> Services {
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = site.path("service").display().to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let port = loopback.local_addr().unwrap().port();
        fs::write(site.path("reach.c"), REACH).unwrap();
        let mut compile = Command::new("cc");
        compile.arg("-static").arg("-o").arg(site.path("ctx/reach")).arg(site.path("reach.c"));
        run(&mut compile).success();
        site.write("Dockerfile", &format!("FROM busybox\nCOPY reach /\nRUN [\"/reach\", \"{port}\", \"{name}\"]\n"));
        Services { _loopback: loopback, _abstract: UnixListener::bind_addr(&address).unwrap() }
    }
}

/// What a build's step reached.
#[track_caller]
fn reached(outcome: Outcome) -> Vec<String> {
    let stderr = outcome.success().stderr;
    assert!(stderr.contains(" tried\n"), "the step did not run: {stderr}");
    stderr.lines().filter_map(|line| line.split_once(" reached ")).map(|(_, name)| name.to_owned()).collect()
}

fn services_of_the_host_are_out_of_reach() {
    let site = Site::new("");
    let _services = Services::start(&site);
    assert_eq!(reached(site.build(&[])), [""; 0]);
    assert_eq!(reached(site.build(&["--network=none", "--no-cache"])), [""; 0]);
    // With the host's network they are there, so that the step would have found them.
    let with_host = reached(site.build(&["--network=host", "--allow=network.host", "--no-cache"]));
    assert_eq!(with_host, ["loopback", "abstract"]);
}

/// In a `/dev` of its own, whose device this test may give any mode.
fn a_user_has_a_private_network() {
    let site = Site::new("");
    let _services = Services::start(&site);
    let user = NewUser::new(&site);
    let inside = |mode: &str, arguments: &[&str]| {
        let script =
            "mount -t tmpfs none /dev/net && mknod /dev/net/tun c 10 200 && chmod $0 /dev/net/tun && exec \"$@\"";
        let wrapper = ["unshare", "--mount", "sh", "-c", script, mode];
        run(user.slipway_inside(&wrapper, &site.path("ctx")).args(arguments)).success()
    };
    let doctor = |mode| String::from_utf8(inside(mode, &["doctor"]).stdout).unwrap();
    for rung in ["subids", "single-id"] {
        let flags = ["build", "--progress=plain", "--no-cache", "--sandbox", rung, &busybox_flag(), "."];
        let built = inside("0666", &flags);
        assert!(!built.stderr.contains(NO_PRIVATE_NETWORK), "{rung}: {}", built.stderr);
        assert_eq!(reached(built), [""; 0], "{rung}");
        let built = inside("0600", &flags);
        assert!(built.stderr.contains(NO_PRIVATE_NETWORK), "{rung}: {}", built.stderr);
        assert!(built.stderr.contains("as root, `chmod 0666 /dev/net/tun`"), "{rung}: {}", built.stderr);
        assert_eq!(reached(built), ["loopback", "abstract"], "{rung}");
    }
    assert!(doctor("0666").contains("\nnetwork: private; "), "{}", doctor("0666"));
    let found = doctor("0600");
    assert!(found.contains("\nnetwork: that of the host; "), "{found}");
    assert!(found.contains("\n    to have it: as root, `chmod 0666 /dev/net/tun`"), "{found}");
}

const NO_PRIVATE_NETWORK: &str = "steps use the network of the host, as there is no private one";

fn steps_reach_the_world_only() {
    let site = Site::new(
        "FROM busybox
         RUN nc -w 60 198.51.100.9 8001 </dev/null | grep alive
         RUN nc -w 60 gateway 8001 </dev/null | grep alive
         RUN ! nc -w 1 127.0.0.1 8001 </dev/null
         RUN ! nc -w 1 10.0.2.2 8001 </dev/null
         RUN --network=none ! nc -w 1 198.51.100.9 8001 </dev/null
         RUN --network=host nc -w 60 127.0.0.1 8001 </dev/null | grep alive
        ",
    );
    let arguments = ["--add-host=gateway:host-gateway"];
    let refused = build_on_host(&site, &arguments).failure();
    assert!(refused.contains("network.host is not allowed"), "{refused}");
    let built = build_on_host(&site, &[arguments[0], "--allow=network.host"]).success();
    assert!(!built.stderr.contains(NO_PRIVATE_NETWORK), "{}", built.stderr);
    // What the whole build asks for is what steps get that do not ask.
    site.write("Dockerfile", "FROM busybox\nRUN nc -w 60 127.0.0.1 8001 </dev/null | grep alive\n");
    build_on_host(&site, &["--network=host"]).success();
    site.write("Dockerfile", "FROM busybox\nRUN nc -w 1 198.51.100.9 8001 </dev/null\n");
    build_on_host(&site, &["--network=none"]).failure();
}

fn one_helper_serves_a_build() {
    let site = Site::new(
        "FROM busybox AS a
         RUN readlink /proc/self/ns/net > /a && ip addr | grep 10.0.2.100
         FROM busybox
         RUN --network=none readlink /proc/self/ns/net > /none
         RUN readlink /proc/self/ns/net > /b
         COPY --from=a /a /a
         RUN cmp /a /b && ! cmp /a /none
        ",
    );
    site.build(&[]).success();
    site.assert_tidy();
}

fn the_helper_ends_with_a_killed_build() {
    let site = Site::new("FROM busybox\nRUN echo started; sleep <marker>\n");
    let mut build = site.start(&[]);
    build.wait_for("started\n");
    let keepers: Vec<u32> = process::all().iter().filter(|p| p.is_keeper_of(build.number())).map(|p| p.id).collect();
    let helpers: Vec<u32> = process::all().iter().filter(|p| keepers.contains(&p.parent())).map(|p| p.id).collect();
    assert_eq!((keepers.len(), helpers.is_empty()), (1, false), "{keepers:?} {helpers:?}");
    build.kill();
    wait_until("keeper and helpers are gone", || {
        !process::all().iter().any(|p| keepers.contains(&p.id) || helpers.contains(&p.id))
    });
    site.assert_tidy();
}

fn no_network_needs_no_helper() {
    let site = Site::new("FROM busybox\nRUN --network=none true\nCOPY Dockerfile /\n");
    let built = run(site.build_command(&["."]).env("PATH", "/nonexistent")).success();
    assert!(!built.stderr.contains(NO_PRIVATE_NETWORK), "{}", built.stderr);
}

/// The helper is started before the first step needs it, which must not be before one is known to be left.
fn a_build_in_which_no_step_runs_starts_no_helper() {
    let site = Site::new("FROM busybox\nRUN true\nCOPY file /\n");
    let started = site.path("started");
    let helper = format!("#!/bin/busybox sh\n/bin/busybox touch {}\nexit 1\n", started.display());
    let folder = own_helper(&site, &helper);
    let build = |text: &str| {
        site.write("file", text);
        run(site.build_command(&["."]).env("PATH", &folder)).success();
        started.exists()
    };
    assert!(build("first"), "the step has a network");
    fs::remove_file(&started).unwrap();
    assert!(!build("first"), "nothing runs");
    assert!(!build("second"), "a file is copied, and no step runs");
}

/// A folder with nothing but a `pasta` that is this script.
fn own_helper(site: &Site, script: &str) -> PathBuf {
    let folder = site.path("bin");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("pasta");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn a_machine_without_a_helper_is_told_once() {
    let site = Site::new("FROM busybox\nRUN echo 1\nRUN echo 2\n");
    let built = run(site.build_command(&["."]).env("PATH", "/nonexistent")).success();
    let told = format!("{NO_PRIVATE_NETWORK}: neither `slirp4netns` nor `pasta` is installed");
    assert_eq!(built.stderr.matches(&told).count(), 1, "{}", built.stderr);
}

fn a_helper_that_hangs_is_not_waited_for() {
    let site = Site::new("FROM busybox\nRUN true\n");
    let folder = own_helper(&site, "#!/bin/sh\nexec sleep 3600\n");
    let built = run(site.build_command(&["."]).env("PATH", &folder)).success();
    let told = format!("{NO_PRIVATE_NETWORK}: `pasta`: no answer within 10 s");
    assert!(built.stderr.contains(&told), "{}", built.stderr);
    site.assert_tidy();
}
