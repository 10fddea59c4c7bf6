//! The flags of `slipway compose up`, `down`, `logs`, `run` and `kill`: each does what it says.

use std::process::Stdio;

use crate::compose_up::Place;
use crate::process::{Running, wait_until};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("up_replaces_and_leaves_out_what_flags_say", up_replaces_and_leaves_out_what_flags_say),
    test("up_ends_with_the_container_that_flags_name", up_ends_with_the_container_that_flags_name),
    test("down_removes_what_flags_say", down_removes_what_flags_say),
    test("logs_are_cut_as_flags_say", logs_are_cut_as_flags_say),
    test("a_program_has_what_flags_say", a_program_has_what_flags_say),
    test("services_are_killed_and_pulled", services_are_killed_and_pulled),
    test("colours_are_shown_when_they_are_wanted", colours_are_shown_when_they_are_wanted),
];

fn up_replaces_and_leaves_out_what_flags_say() {
    let place = Place::new(
        "services:
  web: {image: t, command: sleep 1000, stop_grace_period: 0s, depends_on: [db]}
  db: {image: t, command: sleep 1000, stop_grace_period: 0s}
  well: {image: t, command: sleep 1000, stop_grace_period: 0s, profiles: [health], healthcheck: {test: \"test -e /well\", interval: 50ms, retries: 100000}}
",
    );
    place.output(&["up", "--no-start", "web"]);
    assert_eq!(place.states(), "shop-db-1 created 0\nshop-web-1 created 0");
    place.output(&["down"]);
    place.output(&["up", "-d", "--no-deps", "web"]);
    assert_eq!(place.states(), "shop-web-1 running 0");
    place.output(&["up", "-d"]);
    let ids = || place.output(&["ps", "--format", "{{.ID}}"]);
    let first = ids();
    place.output(&["up", "-d", "--force-recreate"]);
    let second = ids();
    assert!(first.lines().all(|id| !second.contains(id)), "{first}\n{second}");
    place.output(&["up", "-d", "--scale", "db=3", "--scale", "web=2"]);
    assert_eq!(ids().lines().count(), 5);
    place.output(&["up", "-d", "--scale", "web=0"]);
    assert_eq!(place.states(), "shop-db-1 running 0");
    let mut waiting = Running::start(&mut place.command(&["up", "--wait", "--wait-timeout", "600", "well"]));
    waiting.wait_for("shop-well-1  Started");
    place.output(&["exec", "-T", "well", "touch", "/well"]);
    assert_eq!(waiting.finish().exit_code, Some(0));
    place.output(&["exec", "-T", "well", "rm", "/well"]);
    let late = place.compose(&["up", "--wait", "--wait-timeout", "1", "--force-recreate", "well"]);
    assert_eq!(late.exit_code, Some(1), "{}", late.stderr);
    place.0.write("compose.yaml", "services: {db: {image: t, command: sleep 1000, stop_grace_period: 0s}}\n");
    place.output(&["run", "--rm", "--remove-orphans", "db", "true"]);
    assert_eq!(place.states(), "shop-db-1 running 0");
    place.0.write("compose.yaml", "services: {other: {image: t, command: sleep 1000, stop_grace_period: 0s}}\n");
    place.output(&["up", "-d", "--remove-orphans"]);
    assert_eq!(place.states(), "shop-other-1 running 0");
    place.down();
}

fn up_ends_with_the_container_that_flags_name() {
    let place = Place::new(
        "services:
  fine: {image: t, command: \"true\"}
  bad: {image: t, command: sh -c \"exit 5\", depends_on: {fine: {condition: service_completed_successfully}}}
  long: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    let outcome = place.compose(&["up", "--abort-on-container-failure"]);
    let told = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(outcome.exit_code, Some(5), "{told}{}", outcome.stderr);
    assert!(told.contains("fine-1 exited with code 0\n") && told.contains("Aborting on container exit..."), "{told}");
    assert_eq!(place.compose(&["up", "--abort-on-container-exit", "fine", "long"]).exit_code, Some(0));
    assert_eq!(place.compose(&["up", "--exit-code-from", "long", "bad", "long"]).exit_code, Some(137));
    assert!(!place.states().contains("running"), "{}", place.states());
    place.down();
}

fn down_removes_what_flags_say() {
    let file = "services:
  web: {build: {dockerfile_inline: FROM t}, command: sleep 1000, stop_grace_period: 0s, volumes: [\"data:/data\"]}
  api: {build: {dockerfile_inline: FROM t}, image: named, command: sleep 1000, stop_grace_period: 0s}
volumes: {data: {}}
";
    let place = Place::new(file);
    let names = || {
        let images = crate::site::run(place.0.slipway().args(["images", "--format", "{{.Repository}}"])).success();
        let mut names: Vec<String> = String::from_utf8(images.stdout).unwrap().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let has_volume = || place.0.path("store/volumes/shop_data").exists();
    place.output(&["up", "-d"]);
    assert_eq!(names(), ["named", "shop-web", "t"]);
    place.output(&["down"]);
    assert!(has_volume() && place.states().is_empty());
    let told = place.compose(&["down", "--rmi", "local"]).success().stderr;
    assert_eq!((names(), has_volume()), (vec!["named".to_owned(), "t".to_owned()], true), "{told}");
    place.output(&["up", "-d"]);
    place.output(&["down", "--rmi", "all", "-v"]);
    assert_eq!((names(), has_volume()), (vec!["t".to_owned()], false));
    // One service alone.
    place.output(&["up", "-d"]);
    place.output(&["down", "web"]);
    assert_eq!(place.states(), "shop-api-1 running 0");
    place.down();
}

fn logs_are_cut_as_flags_say() {
    let place = Place::new(
        "services:
  web: {image: t, command: [sh, -c, \"for n in 1 2 3; do echo web-$$n; done; sleep 0.2; echo late; touch /done; while ! test -e /go; do sleep 0.05; done; echo after; exec sleep 1000\"], stop_grace_period: 0s}
  db: {image: t, command: [sh, -c, \"echo db; exec sleep 1000\"], stop_grace_period: 0s}
",
    );
    place.output(&["up", "-d"]);
    wait_until("all is written", || place.output(&["logs"]).contains("late"));
    assert_eq!(place.output(&["logs", "--tail", "1"]).lines().collect::<Vec<_>>(), ["db-1   | db", "web-1  | late"]);
    assert_eq!(place.output(&["logs", "--no-log-prefix", "-n", "2", "web"]), "web-3\nlate");
    let timed = place.output(&["logs", "-t", "--no-log-prefix", "web"]);
    let time_of = |text: &str| {
        let line = timed.lines().find(|line| line.ends_with(text)).unwrap();
        line.split_once(' ').unwrap().0.to_owned()
    };
    assert_eq!(place.output(&["logs", "--no-log-prefix", "--since", &time_of("late"), "web"]), "late");
    assert_eq!(place.output(&["logs", "--no-log-prefix", "--until", &time_of("web-1"), "web"]), "web-1");
    let follow = place.command(&["logs", "-f", "--no-log-prefix", "-n", "1", "web"]).stdout(Stdio::piped()).spawn();
    place.output(&["exec", "-T", "web", "touch", "/go"]);
    wait_until("it is written", || place.output(&["logs", "web"]).contains("after"));
    place.output(&["stop", "web"]);
    // It ends with what it follows.
    let followed = String::from_utf8(follow.unwrap().wait_with_output().unwrap().stdout).unwrap();
    assert!(followed == "late\nafter\n" || followed == "after\n", "{followed}");
    place.down();
}

fn a_program_has_what_flags_say() {
    let place = Place::new(
        "services:
  web: {image: t, entrypoint: [echo, service], command: [words], environment: {A: file}, ports: [\"127.0.0.1::80\"], depends_on: [db]}
  db: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.0.write("host/file", "host");
    assert_eq!(place.output(&["run", "--rm", "--no-deps", "web"]), "service words");
    assert_eq!(place.states(), "");
    let run = |flags: &[&str]| place.output(&[&["run", "--rm", "--no-deps", "-T"], flags].concat());
    assert_eq!(run(&["web", "other", "words"]), "service other words");
    assert_eq!(run(&["--entrypoint", "sh -c", "web", "echo $A"]), "file");
    assert_eq!(run(&["--entrypoint", "", "web", "cat", "/etc/hostname"]).len(), 12);
    assert_eq!(run(&["-e", "A=flag", "-e", "B", "--entrypoint", "sh", "web", "-c", "echo $A-$B"]), "flag-");
    assert_eq!(run(&["-v", "./host:/mnt", "--entrypoint", "cat", "web", "/mnt/file"]), "host");
    let flags = ["-w", "/tmp", "-u", "7:8", "--entrypoint", "sh", "web", "-c", "pwd; id -u; id -g"];
    assert_eq!(run(&flags), "/tmp\n7\n8");
    // Ports are offered only if they are asked for.
    for (flags, expected) in [(&[][..], false), (&["-P"], true), (&["-p", "127.0.0.1::81"], true)] {
        let words = [&["run", "--no-deps", "--name", "one"], flags, &["--entrypoint", "sleep", "web", "1000"]].concat();
        let running = Running::start(&mut place.command(&words));
        let ports = || {
            let listed = crate::site::run(place.0.slipway().args(["ps", "--format", "{{.Names}}={{.Ports}}"])).stdout;
            let listed = String::from_utf8(listed).unwrap();
            listed.lines().find_map(|line| line.strip_prefix("one=").map(str::to_owned))
        };
        wait_until("it runs", || ports().is_some());
        assert_eq!(!ports().unwrap().is_empty(), expected, "{flags:?}");
        crate::site::run(place.0.slipway().args(["kill", "one"])).success();
        assert_eq!(running.finish().exit_code, Some(137));
        wait_until("it is gone", || ports().is_none());
    }
    place.down();
}

fn services_are_killed_and_pulled() {
    let place = Place::new(
        "services:
  web: {image: t, command: [sh, -c, \"trap 'exit 3' HUP; touch /ready; while :; do sleep 0.02; done\"], stop_grace_period: 0s}
  db: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.output(&["up", "-d"]);
    wait_until("it listens", || place.compose(&["exec", "-T", "web", "test", "-e", "/ready"]).exit_code == Some(0));
    place.output(&["kill", "-s", "HUP", "web"]);
    wait_until("it has ended", || place.states().contains("shop-web-1 exited 3"));
    place.output(&["kill"]);
    wait_until("it has ended", || place.states().contains("shop-db-1 exited 137"));
    // What no registry has cannot be pulled.
    place.0.write("compose.yaml", "services: {web: {image: \"127.0.0.1:1/nowhere\"}}\n");
    assert_eq!(place.compose(&["pull"]).exit_code, Some(1));
    assert_eq!(place.compose(&["up", "-d", "--pull", "never"]).failure(), "No such image: 127.0.0.1:1/nowhere\n");
    place.down();
}

fn colours_are_shown_when_they_are_wanted() {
    let place = Place::new("services: {a: {image: t, command: echo hello}, b: {image: t, command: echo hello}}\n");
    place.output(&["up", "-d"]);
    wait_until("all is written", || place.output(&["logs"]).matches("hello").count() == 2);
    let logs = |global: &[&str], flags: &[&str]| place.output(&[global, &["logs"], flags].concat());
    let mut colored: Vec<String> = logs(&["--ansi", "always"], &[]).lines().map(str::to_owned).collect();
    colored.sort();
    assert_eq!(colored, ["\u{1b}[33mb-1  | \u{1b}[0mhello", "\u{1b}[36ma-1  | \u{1b}[0mhello"]);
    for (global, flags) in [
        (&[][..], &[][..]),
        (&["--ansi", "always"], &["--no-color"]),
        (&["--ansi", "never"], &[]),
        (&["--no-ansi"], &[]),
    ] {
        assert!(!logs(global, flags).contains('\u{1b}'), "{global:?} {flags:?}");
    }
    place.down();
}
