//! Commands of `slipway compose` about services that are there: their lists have Compose's columns.

use std::fs;

use slipway_test::registry::TestRegistry;

use crate::compose_up::Place;
use crate::containers::{said_at, wait_until_said};
use crate::ports::free_port;
use crate::process::wait_until;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("images_projects_and_ports_are_listed", images_projects_and_ports_are_listed),
    test("containers_are_made_and_removed", containers_are_made_and_removed),
    test("services_are_waited_for", services_are_waited_for),
    test("files_are_copied_in_and_out", files_are_copied_in_and_out),
    test("volumes_are_taken_over_from_others", volumes_are_taken_over_from_others),
    test("volumes_without_a_name_stay_with_a_container", volumes_without_a_name_stay_with_a_container),
    test("stages_of_a_guide_run_as_services", stages_of_a_guide_run_as_services),
    test("images_are_pushed_and_pulled_under_their_names", images_are_pushed_and_pulled_under_their_names),
];

fn images_projects_and_ports_are_listed() {
    let place = Place::new(
        "services:
  web: {image: t, command: sleep 1000, stop_grace_period: 0s, ports: [\"127.0.0.1::80\", \"127.0.0.1::53/udp\"]}
  job: {image: t, command: \"true\"}
",
    );
    place.output(&["up", "-d"]);
    wait_until("the job has ended", || place.states().contains("shop-job-1 exited"));
    let images = place.output(&["images"]);
    let lines: Vec<&str> = images.lines().collect();
    let header = "CONTAINER           REPOSITORY          TAG                 PLATFORM            IMAGE ID            SIZE                CREATED";
    assert_eq!(lines[0], header);
    let columns: Vec<Vec<&str>> = lines[1..].iter().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(columns, [["shop-job-1", "t", "latest"], ["shop-web-1", "t", "latest"]]);
    let id = place.output(&["images", "-q"]);
    assert!(id.len() == 64 && lines[1].contains(&id[..12]), "{id}\n{images}");
    let json: serde_json::Value = serde_json::from_str(&place.output(&["images", "--format", "json"])).unwrap();
    assert_eq!((&json[0]["ContainerName"], &json[0]["ID"]), (&"shop-job-1".into(), &format!("sha256:{id}").into()));

    let file = place.0.path("ctx/compose.yaml");
    let projects = format!(
        "NAME                STATUS                   CONFIG FILES\nshop                exited(1), running(1)   {}",
        file.display()
    );
    // Columns are at least 20 wide, and three blanks apart.
    let squeezed = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(squeezed(&place.output(&["ls"])), squeezed(&projects));
    assert_eq!(place.output(&["ls", "-q"]), "shop");
    assert_eq!(place.output(&["ls", "-q", "--filter", "name=nope"]), "");
    let json: serde_json::Value = serde_json::from_str(&place.output(&["ls", "--format", "json"])).unwrap();
    assert_eq!(json[0]["Status"], "exited(1), running(1)");

    let published = place.output(&["ps", "--format", "{{.Ports}}", "web"]);
    let tcp = place.output(&["port", "web", "80"]);
    assert!(published.contains(&format!("{tcp}->80/tcp")), "{published} {tcp}");
    let udp = place.output(&["port", "--protocol", "udp", "web", "53"]);
    assert!(published.contains(&format!("{udp}->53/udp")), "{published} {udp}");
    let none = place.compose(&["port", "web", "81"]).failure();
    assert!(none.starts_with("no port 81/tcp for container shop-web-1: "), "{none}");
    place.output(&["stop"]);
    assert_eq!((place.output(&["ls", "-q"]).as_str(), place.output(&["ls", "-aq"]).as_str()), ("", "shop"));
    place.down();
}

fn containers_are_made_and_removed() {
    let place = Place::new(
        "services:
  web: {image: t, command: sleep 1000, stop_grace_period: 0s, depends_on: [db]}
  db: {image: t, command: sleep 1000, stop_grace_period: 0s}
  other: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.output(&["create", "web"]);
    assert_eq!(place.states(), "shop-db-1 created 0\nshop-web-1 created 0");
    let ids = || place.output(&["ps", "-a", "--format", "{{.ID}}"]);
    let first = ids();
    place.output(&["create", "web"]);
    assert_eq!(ids(), first);
    place.output(&["create", "--force-recreate", "web"]);
    assert_ne!(ids(), first);
    place.output(&["start", "web"]);
    wait_until("it runs", || place.states().contains("shop-web-1 running"));
    place.output(&["up", "-d"]);
    assert_eq!(place.compose(&["rm", "-f"]).success().stderr, "No stopped containers\n");
    place.output(&["stop", "other"]);
    // Nobody says yes.
    assert_eq!(place.output(&["rm"]), "Going to remove shop-other-1\nAre you sure? [yN]");
    assert!(place.states().contains("other"));
    assert_eq!(place.output(&["rm", "-f"]), "Going to remove shop-other-1");
    assert_eq!(place.states(), "shop-db-1 running 0\nshop-web-1 running 0");
    assert_eq!(place.output(&["rm", "-fs"]), "Going to remove shop-db-1, shop-web-1");
    assert_eq!(place.states(), "");
    place.down();
}

fn services_are_waited_for() {
    let place = Place::new(
        "services:
  job: {image: t, command: sh -c \"exit 7\"}
  web: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    place.output(&["up", "-d"]);
    let waited = place.compose(&["wait", "job"]);
    assert_eq!(waited.exit_code, Some(7), "{}", waited.stderr);
    let told = String::from_utf8(waited.stdout).unwrap();
    assert!(told.ends_with("exited with status code 7\n"), "{told}");
    assert_eq!(place.compose(&["wait", "--down-project", "job", "web"]).exit_code, Some(7));
    assert_eq!(place.states(), "");
    place.down();
}

fn files_are_copied_in_and_out() {
    let place = Place::new(
        "services: {web: {image: t, command: sleep 1000, stop_grace_period: 0s, volumes: [\"data:/data\"]}}\nvolumes: {data: {}}\n",
    );
    place.output(&["up", "-d"]);
    place.0.write("file", "content");
    place.0.write("folder/deep/file", "deep");
    let inside = |path: &str| place.output(&["exec", "-T", "web", "cat", path]);
    for (source, dest, found) in [
        ("file", "web:/tmp", "/tmp/file"),
        ("file", "web:/tmp/renamed", "/tmp/renamed"),
        ("file", "web:/data/", "/data/file"),
    ] {
        place.output(&["cp", source, dest]);
        assert_eq!(inside(found), "content", "{source} {dest}");
    }
    for (source, dest, found) in [
        ("folder", "web:/tmp", "/tmp/folder/deep/file"),
        ("folder", "web:/tmp/new", "/tmp/new/deep/file"),
        ("folder/.", "web:/data", "/data/deep/file"),
    ] {
        place.output(&["cp", source, dest]);
        assert_eq!(inside(found), "deep", "{source} {dest}");
    }
    assert_eq!(place.output(&["exec", "-T", "web", "stat", "-c", "%u:%g", "/tmp/file"]), "0:0");
    place.output(&["exec", "-T", "web", "sh", "-c", "ln -s /etc/passwd /tmp/link; chmod 640 /tmp/renamed"]);
    place.output(&["cp", "web:/tmp/renamed", "back"]);
    place.output(&["cp", "web:/tmp/folder", "."]);
    place.output(&["cp", "web:/data/.", "new"]);
    let outside = |path: &str| fs::read_to_string(place.0.path("ctx").join(path)).unwrap();
    assert_eq!((outside("back").as_str(), outside("new/deep/file").as_str()), ("content", "deep"));
    place.output(&["cp", "web:/tmp/link", "."]);
    assert!(fs::symlink_metadata(place.0.path("ctx/link")).unwrap().is_symlink());
    // A link in the container leads nowhere else.
    place.output(&["exec", "-T", "web", "ln", "-s", "/../../../..", "/tmp/up"]);
    let missing = place.compose(&["cp", "web:/tmp/up/nowhere", "."]).failure();
    assert!(missing.contains("there is no `/tmp/up/nowhere`"), "{missing}");
    assert_eq!(place.compose(&["cp", "file", "folder"]).failure(), "unknown copy direction\n");
    assert_eq!(place.compose(&["cp", "web:/a", "web:/b"]).failure(), "copying between services is not supported\n");
    place.output(&["stop"]);
    let stopped = place.compose(&["cp", "file", "web:/tmp"]).failure();
    assert_eq!(stopped, "no container found for service \"web\"\n");
    place.down();
}

fn volumes_are_taken_over_from_others() {
    let place = Place::new(
        "services:
  source: {build: {dockerfile_inline: \"FROM t\\nRUN mkdir /image && echo image > /image/file\\nVOLUME /image\"}, command: sleep 1000, volumes: [\"data:/data\", /own, \"./host:/host\"], tmpfs: [/memory], stop_grace_period: 0s}
  user: {image: t, command: sleep 1000, volumes_from: [\"source:ro\"], volumes: [\"./other:/host\"], stop_grace_period: 0s}
  writer: {image: t, command: sleep 1000, volumes_from: [source], stop_grace_period: 0s}
volumes: {data: {}}
",
    );
    place.0.write("host/file", "host");
    place.0.write("other/file", "other");
    place.output(&["up", "-d"]);
    let shell = |service: &str, script: &str| place.compose(&["exec", "-T", service, "sh", "-c", script]);
    shell("source", "echo 1 > /data/file; echo 2 > /own/file").success();
    let seen = shell("user", "cat /image/file /data/file /own/file /host/file; ls -d /memory").stdout;
    assert_eq!(String::from_utf8(seen).unwrap(), "image\n1\n2\nother");
    assert!(shell("user", "echo no > /data/file").failure().contains("Read-only file system"));
    shell("writer", "echo 3 > /own/file; echo 4 > /image/file").success();
    assert_eq!(shell("source", "cat /own/file /image/file").stdout, b"3\n4\n");
    place.down();
    assert_eq!(fs::read_dir(place.0.path("store/volumes")).unwrap().count(), 0);
}

fn volumes_without_a_name_stay_with_a_container() {
    let file = |value: &str| {
        format!(
            "services: {{web: {{image: t, command: sleep 1000, volumes: [/own], environment: {{A: {value}}}, stop_grace_period: 0s}}}}\n"
        )
    };
    let place = Place::new(&file("1"));
    place.output(&["up", "-d"]);
    place.output(&["exec", "-T", "web", "sh", "-c", "echo kept > /own/file"]);
    place.0.write("compose.yaml", &file("2"));
    place.output(&["up", "-d"]);
    assert_eq!(place.output(&["exec", "-T", "web", "sh", "-c", "cat /own/file; echo $A"]), "kept\n2");
    // A program in its place has a volume of its own.
    assert_eq!(place.compose(&["run", "--rm", "web", "cat", "/own/file"]).exit_code, Some(1));
    place.output(&["rm", "-fsv"]);
    assert_eq!(fs::read_dir(place.0.path("store/volumes")).unwrap().count(), 0);
    place.down();
}

/// Two services of one Dockerfile, each a stage of it; the base image has the name of one that is not to be had here.
fn stages_of_a_guide_run_as_services() {
    let place = Place::new("services: {}\n");
    fs::remove_file(place.0.path("ctx/compose.yaml")).unwrap();
    place.0.build(&["-t", "node:20-alpine"]).success();
    let port = free_port();
    place.0.write(
        "docker-compose.yml",
        &format!(
            "version: '3.8'
services:
  app-dev:
    build:
      context: .
      target: development
    ports:
      - \"{port}:3000\"
    volumes:
      - ./src:/app/src

  app-prod:
    build:
      context: .
      target: production
    ports:
      - \"{port}:3000\"
"
        ),
    );
    place.0.write(
        "Dockerfile",
        "FROM node:20-alpine AS base
WORKDIR /app
FROM base AS development
CMD [\"sh\", \"-c\", \"while true; do cat src/answer | nc -l -p 3000; done\"]
FROM base AS build
COPY src src
RUN sed s/source/built/ src/answer > /answer
FROM base AS production
COPY --from=build /answer /answer
CMD [\"sh\", \"-c\", \"while true; do nc -l -p 3000 < /answer; done\"]
",
    );
    place.0.write("src/answer", "source 1\n");
    place.output(&["up", "-d", "app-dev"]);
    wait_until_said(port, "source 1\n");
    // The folder is that of the host.
    place.0.write("src/answer", "source 2\n");
    wait_until("the new answer is given", || said_at(port) == "source 2\n");
    // Both offer the same port.
    let taken = place.compose(&["up", "-d", "app-prod"]).failure();
    assert!(taken.contains(&format!("port {port}: it is already allocated")), "{taken}");
    place.output(&["rm", "-fs", "app-dev"]);
    place.output(&["up", "-d", "app-prod"]);
    wait_until("what was built answers", || said_at(port) == "built 2\n");
    place.down();

    fs::remove_file(place.0.path("ctx/docker-compose.yml")).unwrap();
    place.0.write(
        "docker-compose.yml",
        "services:\n  backend:\n    build:\n      context: ./backend\n      target: dev\n",
    );
    place.0.write(
        "backend/Dockerfile",
        "FROM node:20-alpine AS dev\nCMD [\"echo\", \"dev\"]\nFROM dev AS prod\nCMD [\"echo\", \"prod\"]\n",
    );
    place.output(&["build"]);
    assert_eq!(place.output(&["run", "--rm", "backend"]), "dev");
    let up = place.compose(&["up", "--no-log-prefix"]).success();
    assert_eq!(String::from_utf8(up.stdout).unwrap(), "Attaching to backend-1\ndev\nbackend-1 exited with code 0\n");
    place.down();
}

fn images_are_pushed_and_pulled_under_their_names() {
    let registry = TestRegistry::start().unwrap();
    let place = Place::new(&format!(
        "services:
  web: {{build: {{dockerfile_inline: FROM t}}, image: {0}/web, depends_on: [db]}}
  db: {{build: {{dockerfile_inline: FROM t}}, image: {0}/db}}
  unnamed: {{build: {{dockerfile_inline: FROM t}}}}
  other: {{image: t}}
",
        registry.host()
    ));
    place.output(&["build"]);
    let tags = |name: &str| {
        let reference = format!("{}/{name}", registry.host());
        crate::site::run(place.0.slipway().args(["imagetools", "inspect", &reference])).exit_code == Some(0)
    };
    place.output(&["push", "web"]);
    assert_eq!((tags("web"), tags("db")), (true, false));
    place.output(&["push", "--include-deps", "web"]);
    assert!(tags("db"));
    let database = format!("{}/db", registry.host());
    let is_here = || crate::site::run(place.0.slipway().args(["inspect", &database])).exit_code == Some(0);
    crate::site::run(place.0.slipway().args(["rmi", &database])).success();
    assert!(!is_here());
    place.output(&["pull", "db"]);
    assert!(is_here());
    place
        .0
        .write("compose.yaml", "services: {web: {build: {dockerfile_inline: FROM t}, image: \"127.0.0.1:1/web\"}}\n");
    place.output(&["build"]);
    assert_eq!(place.compose(&["push"]).exit_code, Some(1));
    place.output(&["push", "--ignore-push-failures"]);
    place.down();
}
