//! `slipway compose watch` and `up --watch`: which service is built, restarted or given files after which change.

use rustix::process::Signal;

use crate::compose_up::Place;
use crate::process::{Running, wait_until};
use crate::site::run;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("only_what_a_change_touches_is_built_again", only_what_a_change_touches_is_built_again),
    test("files_are_put_into_containers", files_are_put_into_containers),
    test("a_restart_keeps_the_files_of_a_container", a_restart_keeps_the_files_of_a_container),
    test("changed_compose_files_are_read_again", changed_compose_files_are_read_again),
    test("what_cannot_be_watched_is_refused", what_cannot_be_watched_is_refused),
];

impl Place {
    fn start_watch(&self, arguments: &[&str]) -> Running {
        let mut watch = Running::start(&mut self.command(arguments));
        watch.wait_for("Watch enabled");
        watch
    }

    /// What a container has in a file; empty if it has none.
    fn file(&self, service: &str, path: &str) -> String {
        String::from_utf8(self.compose(&["exec", "-T", service, "cat", path]).stdout).unwrap()
    }

    fn ids(&self) -> String {
        self.output(&["ps", "--format", "{{.Service}} {{.ID}}"])
    }
}

/// Ctrl-C; the exit code is that of who was interrupted.
fn interrupt(watch: Running) -> String {
    watch.signal_group(Signal::INT);
    let outcome = watch.finish();
    assert_eq!(outcome.exit_code, Some(130), "{}", outcome.stderr);
    outcome.stderr
}

fn only_what_a_change_touches_is_built_again() {
    let place = Place::new(
        "services:
  base: {build: base, command: sleep 1000, stop_grace_period: 0s}
  app: {build: {context: app, additional_contexts: {base: \"service:base\"}}, command: sleep 1000, stop_grace_period: 0s}
  web: {build: web, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.0.replace("base/Dockerfile", "FROM t\nCOPY file /base\n");
    place.0.replace("app/Dockerfile", "FROM base\nCOPY file /app\n");
    place.0.replace("web/Dockerfile", "FROM t\nCOPY file /web\n");
    for (service, ignored) in [("base", ""), ("app", ""), ("web", "*.log\n")] {
        place.0.replace(&format!("{service}/file"), "1");
        place.0.replace(&format!("{service}/.dockerignore"), ignored);
    }
    // Without `develop.watch` the contexts are watched.
    let mut up = place.start_watch(&["up", "--watch"]);
    wait_until("all services run", || place.ids().lines().count() == 3);
    let first = place.ids();
    place.0.replace("web/x.log", "no part of the context");
    place.0.replace("web/file", "2");
    up.wait_for("web/file changed; rebuilding web\n");
    wait_until("web has the new file", || place.file("web", "/web") == "2");
    let second = place.ids();
    let is_kept = |before: &str, after: &str| -> Vec<bool> {
        before.lines().zip(after.lines()).map(|(one, other)| one == other).collect()
    };
    assert_eq!(is_kept(&first, &second), [true, true, false], "{first}\n{second}");
    // What is built from a changed service is built as well.
    place.0.replace("base/file", "3");
    wait_until("app has the new file", || place.file("app", "/base") == "3");
    wait_until("both are replaced", || is_kept(&second, &place.ids()) == [false, false, true]);
    // That all containers of the stack end for a moment is not its end.
    let told = interrupt(up);
    assert!(!told.contains("x.log"), "{told}");
    assert!(!place.states().contains("running"), "{}", place.states());
    place.down();
}

fn files_are_put_into_containers() {
    let place = Place::new(
        "services:
  web:
    image: t
    command: sleep 1000
    stop_grace_period: 0s
    scale: 2
    develop:
      watch:
        - {path: src, action: sync, target: /app, ignore: [\"*.tmp\"], initial_sync: true}
        - {path: settings, action: sync+exec, target: /etc/settings, exec: {command: sh -c \"cp /etc/settings /seen\"}}
  other: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.0.replace("src/deep/a", "1");
    place.0.replace("src/b", "1");
    place.0.replace("settings", "1");
    place.output(&["up", "-d"]);
    let before = place.ids();
    let watch = place.start_watch(&["watch", "--no-up", "web"]);
    wait_until("the files are there", || place.file("web", "/app/deep/a") == "1");
    place.0.replace("src/deep/a", "2");
    place.0.replace("src/x.tmp", "ignored");
    place.0.replace("src/new/c", "2");
    std::fs::remove_file(place.0.path("ctx/src/b")).unwrap();
    place.0.replace("settings", "2");
    wait_until("the new file is there", || place.file("web", "/app/new/c") == "2");
    wait_until("the program was run", || place.file("web", "/seen") == "2");
    let second = |path: &str| place.compose(&["exec", "-T", "--index", "2", "web", "cat", path]).stdout;
    wait_until("the other container has them", || second("/app/deep/a") == b"2" && second("/seen") == b"2");
    wait_until("what was removed is gone", || place.file("web", "/app/b").is_empty());
    assert_eq!(place.file("web", "/app/x.tmp"), "");
    let owners = place.output(&["exec", "-T", "web", "stat", "-c", "%u:%g", "/app/deep/a", "/app/new"]);
    assert_eq!(owners, "0:0\n0:0");
    interrupt(watch);
    // Containers stay when the watch ends.
    assert_eq!(place.ids(), before);
    place.down();
}

fn a_restart_keeps_the_files_of_a_container() {
    let place = Place::new(
        "services:
  web:
    image: t
    command: [sh, -c, \"echo start >> /starts; exec sleep 1000\"]
    stop_grace_period: 0s
    develop: {watch: [{path: src, action: sync+restart, target: /app}, {path: restart, action: restart}]}
  user: {image: t, command: [sh, -c, \"echo start >> /starts; exec sleep 1000\"], stop_grace_period: 0s, depends_on: {web: {condition: service_started, restart: true}}}
",
    );
    place.0.replace("src/a", "1");
    place.0.replace("restart", "1");
    place.output(&["up", "-d"]);
    let before = place.ids();
    let n_starts = |service: &str| place.file(service, "/starts").lines().count();
    let watch = place.start_watch(&["watch", "--no-up"]);
    place.0.replace("src/a", "22");
    wait_until("it was started again", || n_starts("web") == 2);
    assert_eq!(place.file("web", "/app/a"), "22");
    place.0.replace("restart", "22");
    wait_until("it was started again", || n_starts("web") == 3);
    interrupt(watch);
    assert_eq!(place.file("web", "/app/a"), "22");
    place.output(&["restart", "--no-deps", "web"]);
    assert_eq!((n_starts("web"), n_starts("user")), (4, 1));
    place.output(&["restart", "web"]);
    wait_until("the other one was started again", || n_starts("user") == 2);
    // One that has ended is started anew.
    place.output(&["stop", "web"]);
    place.output(&["restart", "--no-deps", "web"]);
    wait_until("it has started", || n_starts("web") == 1);
    place.output(&["kill", "-s", "TERM", "user"]);
    assert_eq!(place.ids().lines().count(), before.lines().count());
    place.down();
}

fn changed_compose_files_are_read_again() {
    let place = Place::new("include: [more.yaml]\nservices: {web: {extends: {file: base.yaml, service: base}}}\n");
    let base = |value: &str| {
        format!(
            "services: {{base: {{build: ., command: sleep 1000, stop_grace_period: 0s, environment: {{A: {value}}}}}}}\n"
        )
    };
    place.0.replace("base.yaml", &base("1"));
    let more = "services: {other: {image: t, command: sleep 1000, stop_grace_period: 0s";
    place.0.replace("more.yaml", &format!("{more}}}}}\n"));
    place.0.replace("Dockerfile", "FROM t\n");
    place.0.replace(".dockerignore", "*.yaml\n");
    let mut watch = place.start_watch(&["up", "--watch"]);
    let variable = |service: &str| place.compose(&["exec", "-T", service, "sh", "-c", "echo $A"]).stdout;
    wait_until("it runs", || variable("web") == b"1\n");
    place.0.replace("base.yaml", &base("2"));
    wait_until("web has the new variable", || variable("web") == b"2\n");
    place.0.replace("more.yaml", &format!("{more}, environment: {{A: 3}}}}}}\n"));
    wait_until("other has the new variable", || variable("other") == b"3\n");
    // A mistake is told, and all stays as it is.
    place.0.replace("more.yaml", "services: {other: {imagee: t}}\n");
    watch.wait_for("services.other additional properties 'imagee' not allowed");
    let kept = run(place.0.slipway().args(["exec", "shop-other-1", "sh", "-c", "echo $A"]));
    assert_eq!(kept.stdout, b"3\n");
    interrupt(watch);
    place.0.replace("more.yaml", &format!("{more}}}}}\n"));
    place.down();
}

fn what_cannot_be_watched_is_refused() {
    let place = Place::new("services: {web: {image: t, command: sleep 1000}}\n");
    let none = "none of the selected services is configured for watch, consider setting a 'develop' section\n";
    assert_eq!(place.compose(&["up", "--watch"]).failure(), none);
    assert_eq!(place.compose(&["watch"]).failure(), none);
    let both = place.compose(&["up", "--watch", "--no-build"]).failure();
    assert_eq!(both, "--no-build and --watch are incompatible\n");
    assert!(place.compose(&["up", "--watch", "-d"]).failure().starts_with("--detach cannot be combined with"));
    let trigger = "develop: {watch: [{path: ., action: rebuild}]}";
    place.0.replace("compose.yaml", &format!("services: {{web: {{image: t, {trigger}}}}}\n"));
    let refused = place.compose(&["watch", "--no-up"]).failure();
    assert_eq!(refused, "can't watch service \"web\" with action rebuild without a build context\n");
}
