//! Containers with ports, in the background, and asked about by others.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use slipway_test::capability::Capability;

use crate::process::{Running, wait_until};
use crate::site::{Outcome, Site, run};
use crate::unprivileged::NewUser;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_published_port_leads_into_the_container", a_published_port_leads_into_the_container),
    test("all_exposed_ports_are_published", all_exposed_ports_are_published),
    test("packets_of_udp_go_both_ways", packets_of_udp_go_both_ways),
    test("a_port_that_is_taken_is_refused", a_port_that_is_taken_is_refused),
    test("the_loopback_of_the_host_is_out_of_reach", the_loopback_of_the_host_is_out_of_reach),
    test("a_detached_container_is_asked_about", a_detached_container_is_asked_about),
    test("a_container_is_described", a_container_is_described),
    test("volumes_are_listed_and_removed", volumes_are_listed_and_removed),
    test("files_go_into_a_container_and_out_of_it", files_go_into_a_container_and_out_of_it),
    test("a_container_that_does_not_start_is_none", a_container_that_does_not_start_is_none),
    test("names_are_given_once", names_are_given_once),
    test("further_programs_run_in_a_container", further_programs_run_in_a_container),
    test("a_container_is_started_again", a_container_is_started_again),
    test("a_container_is_asked_to_end_by_its_own_signal", a_container_is_asked_to_end_by_its_own_signal),
    test("a_program_at_a_terminal_waits_in_the_background", a_program_at_a_terminal_waits_in_the_background),
    test("health_is_found_out", health_is_found_out),
    test("capabilities_are_those_asked_for", capabilities_are_those_asked_for),
    test("names_are_resolved_as_asked_for", names_are_resolved_as_asked_for),
    test("a_container_dies_with_its_owner", a_container_dies_with_its_owner),
    Test {
        name: "a_user_has_ports_and_containers_in_the_background",
        needs: &[Capability::NewUser],
        run: a_user_has_ports_and_containers_in_the_background,
    },
];

/// A server that answers every connection on port 80 with a line, and goes on.
const SERVER: &str = "while true; do echo served-by-$NAME | nc -l -p 80; done";

/// A place with an image `t`, whose containers are removed with it.
struct Place(Site);

impl Place {
    fn new(dockerfile: &str) -> Place {
        let site = Site::new(dockerfile);
        site.build(&["-t", "t"]).success();
        Place(site)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.slipway();
        command.args(arguments);
        command
    }

    fn slipway(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// What a command that must succeed writes to standard output, without the last line break.
    #[track_caller]
    fn output(&self, arguments: &[&str]) -> String {
        let outcome = self.slipway(arguments).success();
        String::from_utf8(outcome.stdout).unwrap().trim_end().to_owned()
    }

    /// The port of the host where a port of a container is.
    #[track_caller]
    fn port(&self, container: &str, port: &str) -> u16 {
        let text = self.output(&["port", container, port]);
        text.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// How a container is, as `ps -a` has it.
    fn status(&self, name: &str) -> String {
        self.output(&["ps", "-a", "--filter", &format!("name=^{name}$"), "--format", "{{.Status}}"])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(Removal(|| self.0.slipway()));
    }
}

/// Kills and forgets all containers when it is dropped, however the test goes.
pub(crate) struct Removal<F: Fn() -> Command>(pub(crate) F);

impl<F: Fn() -> Command> Drop for Removal<F> {
    fn drop(&mut self) {
        let ids = run((self.0)().args(["ps", "-aq", "--no-trunc"]));
        for id in String::from_utf8_lossy(&ids.stdout).lines() {
            run((self.0)().args(["rm", "-f", id]));
        }
    }
}

/// What a server at a port of the host says; empty if it does not answer yet.
pub(crate) fn said_at(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read_to_string(&mut text).ok();
    }
    text
}

#[track_caller]
pub(crate) fn wait_until_said(port: u16, expected: &str) {
    wait_until("the server answers", || said_at(port) == expected);
}

fn a_published_port_leads_into_the_container() {
    let place = Place::new("FROM busybox\n");
    let start = |name: &str| {
        let env = format!("NAME={name}");
        place.output(&["run", "-d", "--name", name, "-e", &env, "-p", "127.0.0.1::80", "t", "sh", "-c", SERVER]);
        place.port(name, "80")
    };
    // Both listen on the same port, each in its own network.
    let (one, two) = (start("one"), start("two"));
    wait_until_said(one, "served-by-one\n");
    wait_until_said(two, "served-by-two\n");
    let listed = place.output(&["ps", "--format", "{{.Names}} {{.Ports}}"]);
    assert_eq!(listed, format!("two 127.0.0.1:{two}->80/tcp\none 127.0.0.1:{one}->80/tcp"));
    assert_eq!(place.output(&["port", "one"]), format!("80/tcp -> 127.0.0.1:{one}"));
    place.output(&["rm", "-f", "one"]);
    // Another test may have the port by now.
    assert_ne!(said_at(one), "served-by-one\n");

    // Both directions are passed on to their ends, at any size.
    let echo = "nc -l -p 7 -e cat";
    place.output(&["run", "-d", "--name", "echo", "-p", "127.0.0.1::7", "t", "sh", "-c", echo]);
    let mut stream = loop {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, place.port("echo", "7"))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"x").ok();
        let mut first = [0];
        if stream.read_exact(&mut first).is_ok() {
            break stream;
        }
    };
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let expected = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == expected, "{} bytes came back", received.len());
}

fn all_exposed_ports_are_published() {
    let place = Place::new("FROM busybox\nEXPOSE 80 53/udp\n");
    place.output(&["run", "-d", "--name", "con", "-P", "t", "sleep", "1000"]);
    let ports = place.output(&["port", "con"]);
    let mut names: Vec<&str> = ports.lines().filter_map(|line| line.split(" -> 0.0.0.0:").next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["53/udp", "80/tcp"]);
    assert_eq!(place.slipway(&["port", "con", "81"]).failure(), "Error: No public port '81/tcp' published for con\n");
}

fn packets_of_udp_go_both_ways() {
    let place = Place::new("FROM busybox\n");
    // Nothing in the image speaks UDP; the host's perl does, with all that it needs.
    let echo = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 53, Proto => 'udp') or die;
                while ($s->recv(my $packet, 100)) { $s->send($packet) }";
    let host = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
    let flags = ["run", "-d", "--name", "con", "-p", "127.0.0.1::53/udp"];
    place.output(&[&flags, &host[..], &["t", "/usr/bin/perl", "-e", echo]].concat());
    let port = place.port("con", "53/udp");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 100];
    // The first packets may come before the server does.
    wait_until("the server answers", || {
        socket.send_to(b"hello", (Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.recv(&mut answer).is_ok_and(|length| &answer[..length] == b"hello")
    });
}

fn a_port_that_is_taken_is_refused() {
    let place = Place::new("FROM busybox\n");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let flag = format!("127.0.0.1:{port}:80");
    let expected = format!("slipway: cannot publish tcp port {port}: it is already allocated on 127.0.0.1\n");
    for arguments in [&["run", "-p", &flag, "t", "true"][..], &["run", "-d", "-p", &flag, "t", "true"]] {
        let outcome = place.slipway(arguments);
        assert_eq!((outcome.exit_code, outcome.stderr), (Some(125), expected.clone()), "{arguments:?}");
    }
    assert_eq!(place.output(&["ps", "-aq"]), "");
    place.0.assert_tidy();
}

fn the_loopback_of_the_host_is_out_of_reach() {
    let place = Place::new("FROM busybox\n");
    let secret = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = secret.local_addr().unwrap().port().to_string();
    let script = "for host in 127.0.0.1 10.0.2.2; do nc -w 1 $host $0 </dev/null && echo reached; done; true";
    let output = place.output(&["run", "--rm", "-p", "127.0.0.1::80", "t", "sh", "-c", script, &port]);
    assert_eq!(output, "");
}

fn a_detached_container_is_asked_about() {
    let place = Place::new("FROM busybox\n");
    let script = "echo out; echo err >&2; read line < /wait; exit 7";
    fs::create_dir(place.0.path("ctx/d")).unwrap();
    run(Command::new("mkfifo").arg(place.0.path("ctx/d/wait"))).success();
    let bind = format!("{}:/wait", place.0.name("ctx/d/wait"));
    let id = place.output(&["run", "-d", "--name", "con", "-l", "a=b", "-v", &bind, "t", "sh", "-c", script]);
    assert!(id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    assert!(place.status("con").starts_with("Up "), "{}", place.status("con"));
    assert_eq!(place.output(&["ps", "-q"]), id[..12]);
    assert_eq!(place.output(&["ps", "-q", "--filter", "label=a=c"]), "");
    let refused = place.slipway(&["rm", &id[..12]]).failure();
    assert!(refused.contains("container is running: stop the container before removing or force remove"), "{refused}");

    let waiting = place.command(&["wait", "con"]).stdout(Stdio::piped()).spawn().unwrap();
    let following =
        place.command(&["logs", "-f", "con"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the container has written", || place.slipway(&["logs", "con"]).stderr == "err\n");
    fs::write(place.0.path("ctx/d/wait"), "go\n").unwrap();
    assert_eq!(waiting.wait_with_output().unwrap().stdout, b"7\n");
    let followed = following.wait_with_output().unwrap();
    assert_eq!((followed.stdout.as_slice(), followed.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert!(place.status("con").starts_with("Exited (7) "), "{}", place.status("con"));
    assert_eq!(place.output(&["wait", "con"]), "7");
    assert_eq!(place.output(&["logs", "--tail", "1", "con"]), "");
    assert_eq!(place.output(&["ps", "-q"]), "");
    assert_eq!(place.output(&["ps", "-q", "-n", "1"]), id[..12]);
    assert_eq!(place.output(&["ps", "-q", "--last=0"]), "");
    assert_eq!(place.output(&["rm", "con"]), "con");
    assert_eq!(place.slipway(&["rm", "con"]).failure(), "Error: No such container: con\n");
    // With force, what is not there is as good as removed.
    let removed = place.slipway(&["rm", "-f", "con"]).success();
    assert_eq!((removed.stdout.as_slice(), removed.stderr.as_str()), (&b""[..], "Error: No such container: con\n"));
    place.0.assert_tidy();
}

fn a_container_is_described() {
    let place = Place::new("FROM busybox\n");
    let inspect = |format: &str| place.output(&["inspect", "--format", format, "con"]);
    let health = "--health-cmd=true";
    let id = place.output(&[
        "run",
        "-d",
        "--name",
        "con",
        health,
        "--health-interval=100ms",
        "-p",
        "127.0.0.1::80",
        "t",
        "sleep",
        "1000",
    ]);
    let state = "{{.Id}} {{.Name}} {{.State.Status}} {{.State.Running}} {{.Path}} {{index .Args 0}}";
    assert_eq!(inspect(state), format!("{id} /con running true sleep 1000"));
    wait_until("the container is well", || inspect("{{.State.Health.Status}}") == "healthy");
    let port = inspect("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}");
    assert_eq!(place.output(&["port", "con", "80"]), format!("127.0.0.1:{port}"));
    assert_eq!(place.output(&["inspect", "--type=container", "-f", "{{.Id}}", &id[..12]]), id);
    assert_eq!(place.output(&["container", "inspect", "-f", "{{.Config.Image}}", "con"]), "t");
    // Images are asked for as before.
    assert!(place.output(&["inspect", "-f", "{{.Id}}", "t"]).starts_with("sha256:"));
    place.output(&["kill", "con"]);
    wait_until("the container has ended", || inspect("{{.State.Status}} {{.State.ExitCode}}") == "exited 137");
    assert_eq!(place.output(&["container", "prune", "-f"]), format!("Deleted Containers:\n{id}"));
    let absent = place.slipway(&["container", "inspect", "con"]);
    assert_eq!(absent.stdout, b"[]\n");
    assert_eq!(absent.failure(), "Error: No such container: con\n");
}

fn volumes_are_listed_and_removed() {
    let place = Place::new("FROM busybox\nRUN mkdir /d && echo first > /d/f\n");
    assert_eq!(place.output(&["volume", "create", "data"]), "data");
    assert_eq!(
        place.output(&["volume", "ls"]).split_whitespace().collect::<Vec<_>>(),
        ["DRIVER", "VOLUME", "NAME", "local", "data"]
    );
    // It begins with what the image has, although it was made before.
    assert_eq!(place.output(&["run", "--rm", "-v", "data:/d", "t", "cat", "/d/f"]), "first");
    place.output(&["run", "-d", "--name", "con", "-v", "data:/d", "-v", "other:/o", "t", "sleep", "1000"]);
    assert_eq!(place.output(&["volume", "ls", "-q", "--filter=dangling=true"]), "");
    assert!(place.slipway(&["volume", "rm", "data"]).failure().contains("remove data: volume is in use - ["));
    place.output(&["rm", "-f", "con"]);
    assert_eq!(place.output(&["volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "data"]), "data local");
    assert_eq!(place.output(&["volume", "prune", "-f"]), "");
    assert_eq!(place.output(&["volume", "rm", "data"]), "data");
    assert_eq!(place.slipway(&["volume", "rm", "data"]).failure(), "Error: get data: no such volume\n");
    assert_eq!(place.output(&["volume", "rm", "--force", "data"]), "data");
    assert_eq!(place.output(&["volume", "prune", "-af"]), "Deleted Volumes:\nother");
    assert_eq!(place.output(&["volume", "ls", "-q"]), "");
}

fn files_go_into_a_container_and_out_of_it() {
    let place = Place::new("FROM busybox\n");
    place.output(&["run", "-d", "--name", "con", "t", "sleep", "1000"]);
    place.0.write("in", "from here");
    place.output(&["cp", &place.0.name("ctx/in"), "con:/in"]);
    assert_eq!(place.output(&["exec", "con", "cat", "/in"]), "from here");
    place.output(&["cp", "con:/in", &place.0.name("out")]);
    assert_eq!(fs::read_to_string(place.0.path("out")).unwrap(), "from here");
    assert_eq!(place.slipway(&["cp", "a", "b"]).failure(), "must specify at least one container source\n");
    assert!(place.slipway(&["cp", "nobody:/in", "x"]).failure().contains("No such container: nobody"));
    place.output(&["kill", "con"]);
    wait_until("the container has ended", || place.status("con").starts_with("Exited"));
    assert!(place.slipway(&["cp", "con:/in", "x"]).failure().contains("Error: container con is not running"));
    place.output(&["rm", "con"]);
}

fn a_container_that_does_not_start_is_none() {
    let place = Place::new("FROM busybox\n");
    let absent = place.slipway(&["run", "-d", "t", "/nope"]);
    assert_eq!(absent.exit_code, Some(127), "{}", absent.stderr);
    let no_image = place.slipway(&["run", "-d", "--pull=never", "absent"]);
    assert_eq!((no_image.exit_code, no_image.stderr.as_str()), (Some(125), "slipway: No such image: absent:latest\n"));
    assert_eq!(place.output(&["ps", "-aq"]), "");
    place.0.assert_tidy();
}

fn names_are_given_once() {
    let place = Place::new("FROM busybox\n");
    let id = place.output(&["run", "-d", "--name", "con", "t", "sleep", "1000"]);
    let second = place.slipway(&["run", "--name", "con", "t"]);
    assert_eq!(second.exit_code, Some(125));
    assert!(second.stderr.contains(&format!("\"/con\" is already in use by container \"{id}\"")), "{}", second.stderr);
    // In the foreground a container is there as well, as long as it runs.
    let mut foreground = Running::start(&mut place.command(&[
        "run",
        "--name",
        "fore",
        "t",
        "sh",
        "-c",
        "echo ready >&2; exec sleep 1000",
    ]));
    foreground.wait_for("ready");
    assert_eq!(place.output(&["exec", "fore", "echo", "inside"]), "inside");
    assert_eq!(place.output(&["stop", "-t", "0", "fore"]), "fore");
    assert_eq!(foreground.finish().exit_code, Some(137));
    assert_eq!(place.output(&["ps", "-a", "--format", "{{.Names}}"]), "con");
}

fn further_programs_run_in_a_container() {
    let place =
        Place::new("FROM busybox\nRUN echo app:x:7:8::/home/app:/bin/sh >> /etc/passwd\nENV A=image\nWORKDIR /w\n");
    place.output(&["run", "-d", "--name", "con", "-e", "B=run", "t", "sleep", "1000"]);
    let seen = "echo $A $B $C $(pwd) $(id -u) $HOME; cat /proc/1/cmdline | tr '\\0' ' '";
    assert_eq!(place.output(&["exec", "con", "sh", "-c", seen]), "image run /w 0 /root\nsleep 1000");
    assert_eq!(
        place.output(&["exec", "-e", "C=exec", "-w", "/tmp", "-u", "app", "con", "sh", "-c", seen]),
        "image run exec /tmp 7 /home/app\nsleep 1000"
    );
    place.output(&["exec", "con", "sh", "-c", "echo kept > /kept"]);
    assert_eq!(place.output(&["exec", "con", "cat", "/kept"]), "kept");
    let capabilities = "grep ^Cap /proc/self/status | cut -f2 | tr '\\n' ' '";
    let confined = "0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000";
    assert_eq!(place.output(&["exec", "con", "sh", "-c", capabilities]), confined);
    assert_eq!(place.output(&["exec", "con", "sh", "-c", "grep ^Seccomp: /proc/self/status | cut -f2"]), "2");

    let mut child =
        place.command(&["exec", "-i", "con", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"typed").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"typed");
    for (command, code) in [(&["sh", "-c", "exit 3"][..], 3), (&["nope"], 127), (&["/etc"], 126)] {
        let outcome = place.slipway(&[&["exec", "con"], command].concat());
        assert_eq!(outcome.exit_code, Some(code), "{command:?}: {}", outcome.stderr);
    }
    place.output(&["stop", "-t", "0", "con"]);
    assert_eq!(place.slipway(&["exec", "con", "true"]).exit_code, Some(1));
}

fn a_container_is_started_again() {
    let place = Place::new("FROM busybox\n");
    // What it wrote is there when it is started again.
    let script = "echo x >> /count; wc -l < /count; [ $(wc -l < /count) = 3 ] || exit 1; exec sleep 1000";
    place.output(&["run", "-d", "--name", "con", "--restart", "on-failure", "t", "sh", "-c", script]);
    wait_until("it was started three times", || place.slipway(&["logs", "con"]).stdout == b"1\n2\n3\n");
    place.output(&["stop", "-t", "0", "con"]);
    assert!(place.status("con").starts_with("Exited (137)"), "{}", place.status("con"));
    place.output(&["run", "-d", "--name", "limited", "--restart", "on-failure:2", "t", "sh", "-c", "echo run; exit 4"]);
    assert_eq!(place.output(&["wait", "limited"]), "4");
    assert_eq!(place.output(&["logs", "limited"]), "run\nrun\nrun");
    place.output(&["start", "limited"]);
    assert_eq!(place.output(&["wait", "limited"]), "4");
    assert_eq!(place.output(&["logs", "limited"]).lines().count(), 6);
}

fn a_container_is_asked_to_end_by_its_own_signal() {
    let place = Place::new("FROM busybox\nSTOPSIGNAL SIGUSR1\n");
    let script =
        "trap 'echo usr1; exit 5' USR1; trap 'echo usr2; exit 6' USR2; echo ready; while :; do sleep 0.05; done";
    for (name, flags, signal, code) in [
        ("aa", &[][..], &["stop", "-t", "600"][..], "5"),
        ("bb", &["--stop-signal", "USR2"], &["stop", "-t", "600"], "6"),
        ("con", &[], &["kill", "-s", "usr2"], "6"),
    ] {
        place.output(&[&["run", "-d", "--name", name], flags, &["t", "sh", "-c", script]].concat());
        // The first process of a container hears of no signal that it has no answer to.
        wait_until("the program listens", || place.slipway(&["logs", name]).stdout == b"ready\n");
        place.output(&[signal, &[name]].concat());
        assert_eq!(place.output(&["wait", name]), code);
    }
    let over = place.slipway(&["kill", "aa"]).failure();
    assert!(over.contains("is not running"), "{over}");
    // A program that hears nothing is killed when the time is over.
    place.output(&["run", "-d", "--name", "deaf", "--stop-timeout", "0", "t", "sleep", "1000"]);
    place.output(&["stop", "deaf"]);
    assert_eq!(place.output(&["wait", "deaf"]), "137");
    place.0.assert_tidy();
}

fn a_program_at_a_terminal_waits_in_the_background() {
    let place = Place::new("FROM busybox\n");
    place.output(&["run", "-d", "-it", "--name", "con", "t"]);
    assert_eq!(place.output(&["exec", "con", "cat", "/proc/1/comm"]), "sh");
    place.output(&["run", "-d", "-t", "--name", "says", "t", "sh", "-c", "test -t 1 && echo terminal"]);
    assert_eq!(place.output(&["wait", "says"]), "0");
    wait_until("the terminal was read", || place.slipway(&["logs", "says"]).stdout == b"terminal\r\n");
    place.output(&["run", "-d", "-i", "--name", "open", "t", "cat"]);
    assert!(place.status("open").starts_with("Up "));
    place.output(&["kill", "open"]);
}

fn health_is_found_out() {
    let place = Place::new("FROM busybox\nHEALTHCHECK --interval=50ms --retries=1 CMD test -e /well\n");
    place.output(&["run", "-d", "--name", "con", "t", "sleep", "1000"]);
    wait_until("it is unhealthy", || place.status("con").ends_with("(unhealthy)"));
    place.output(&["exec", "con", "touch", "/well"]);
    wait_until("it is healthy", || place.status("con").ends_with("(healthy)"));
    place.output(&["run", "-d", "--name", "never", "--no-healthcheck", "t", "sleep", "1000"]);
    assert!(!place.status("never").contains("health"));
    let slow =
        ["--health-cmd", "sleep 1000", "--health-timeout", "50ms", "--health-interval", "50ms", "t", "sleep", "1000"];
    place.output(&[&["run", "-d", "--name", "slow"][..], &slow].concat());
    wait_until("no answer is a bad answer", || place.status("slow").ends_with("(unhealthy)"));
}

fn capabilities_are_those_asked_for() {
    let place = Place::new("FROM busybox\n");
    let effective = |flags: &[&str]| {
        let script = ["t", "sh", "-c", "grep ^CapEff /proc/self/status | cut -f2"];
        place.output(&[&["run", "--rm"], flags, &script].concat())
    };
    assert_eq!(effective(&["--cap-drop", "all", "--cap-add", "NET_ADMIN"]), "0000000000001000");
    assert_eq!(effective(&["--cap-add", "cap_net_admin"]), "00000000a80435fb");
    assert_eq!(effective(&["--cap-drop", "CHOWN"]), "00000000a80425fa");
    let link = ["run", "--rm", "--cap-add", "NET_ADMIN", "t", "ip", "link", "set", "lo", "down"];
    assert_eq!(place.slipway(&link).exit_code, Some(0));
    let filter = "grep ^Seccomp: /proc/self/status | cut -f2";
    assert_eq!(place.output(&["run", "--rm", "--privileged", "t", "sh", "-c", filter]), "0");
    assert_eq!(place.output(&["run", "--rm", "--group-add", "77", "t", "id", "-G"]), "0 77");
}

fn names_are_resolved_as_asked_for() {
    let place = Place::new("FROM busybox\n");
    let flags = ["--dns", "192.0.2.53", "--dns-search", "a.example", "--dns-option", "ndots:3"];
    let lines = place.output(&[&["run", "--rm"], &flags[..], &["t", "cat", "/etc/resolv.conf"]].concat());
    let asked = ["nameserver 192.0.2.53", "search a.example", "options ndots:3"];
    assert!(asked.iter().all(|line| lines.lines().any(|found| found == *line)), "{lines}");
    assert_eq!(lines.matches("nameserver").count(), 1, "{lines}");
}

fn a_container_dies_with_its_owner() {
    let place = Place::new("FROM busybox\nRUN echo '#<marker>' > /marker\n");
    place.output(&["run", "-d", "--name", "con", "t", "sleep", "1000"]);
    let pids: Vec<u32> = crate::process::all()
        .into_iter()
        .filter(|process| {
            process.command_line.contains("container own") && process.environment.contains(&place.0.name("store"))
        })
        .map(|process| process.id)
        .collect();
    for pid in pids {
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL)
            .unwrap();
    }
    wait_until("it is known to have ended", || place.status("con").starts_with("Exited (137)"));
    place.output(&["rm", "con"]);
    place.0.assert_tidy();
}

fn a_user_has_ports_and_containers_in_the_background() {
    let site = Site::new("FROM busybox\n");
    let user = NewUser::new(&site);
    let context = site.path("user/ctx");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), "FROM busybox\n").unwrap();
    run(Command::new("chown").arg("-R").arg("--reference").arg(site.path("user")).arg(&context)).success();
    user.build(&context, &["-t", "t"]).success();
    let _removal = Removal(|| user.slipway(&context));
    let slipway = |arguments: &[&str]| run(user.slipway(&context).args(arguments));
    let output =
        |arguments: &[&str]| String::from_utf8(slipway(arguments).success().stdout).unwrap().trim_end().to_owned();
    output(&["run", "-d", "--name", "con", "-e", "NAME=user", "-p", "127.0.0.1::80", "t", "sh", "-c", SERVER]);
    let port: u16 = output(&["port", "con", "80"]).rsplit_once(':').unwrap().1.parse().unwrap();
    wait_until_said(port, "served-by-user\n");
    assert_eq!(output(&["exec", "con", "id", "-u"]), "0");
    output(&["exec", "-u", "7:8", "con", "touch", "/tmp/of-another-user"]);
    let privileged = slipway(&["run", "-p", "127.0.0.1:80:80", "t", "true"]);
    assert_eq!(privileged.exit_code, Some(125), "{}", privileged.stderr);
    assert_eq!(output(&["stop", "-t", "0", "con"]), "con");
    assert_eq!(output(&["wait", "con"]), "137");
}
