//! `slipway compose up` and its kin: small stacks that really run.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use slipway_test::capability::Capability;

use crate::containers::{Removal, said_at, wait_until_said};
use crate::process::{Running, wait_until};
use crate::site::{Outcome, Site, run};
use crate::unprivileged::NewUser;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("services_reach_each_other_by_name", services_reach_each_other_by_name),
    test("networks_keep_apart_what_they_do_not_share", networks_keep_apart_what_they_do_not_share),
    test("what_is_depended_on_comes_first", what_is_depended_on_comes_first),
    test("a_dependency_that_fails_is_told", a_dependency_that_fails_is_told),
    test("output_has_prefixes_and_ctrl_c_stops_all", output_has_prefixes_and_ctrl_c_stops_all),
    test("a_stack_dies_with_who_is_attached", a_stack_dies_with_who_is_attached),
    test("the_end_of_one_container_can_be_that_of_all", the_end_of_one_container_can_be_that_of_all),
    test("only_what_changed_is_replaced", only_what_changed_is_replaced),
    test("a_program_runs_in_the_place_of_a_service", a_program_runs_in_the_place_of_a_service),
    test("services_have_what_their_file_says", services_have_what_their_file_says),
    test("services_may_have_devices_and_the_name_of_the_machine", services_may_have_devices),
    test("flags_that_exclude_each_other_are_refused", flags_that_exclude_each_other_are_refused),
    Test { name: "a_user_has_stacks", needs: &[Capability::NewUser], run: a_user_has_stacks },
];

/// A server that answers every connection on port 80 with a line, and goes on.
const SERVER: &str = "while true; do echo served-by-$$NAME | nc -l -p 80; done";

/// A place with a Compose file, whose stacks are removed with it.
pub(crate) struct Place(pub(crate) Site);

impl Place {
    /// `<server>` in the file stands for [`SERVER`].
    pub(crate) fn new(compose: &str) -> Place {
        let site = Site::new("FROM busybox\n");
        site.build(&["-t", "t"]).success();
        site.write("compose.yaml", &compose.replace("<server>", SERVER));
        Place(site)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.slipway();
        command.args(["compose", "-p", "shop"]).args(arguments);
        command
    }

    pub(crate) fn compose(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// What a command that must succeed writes to standard output, without the last line break.
    #[track_caller]
    pub(crate) fn output(&self, arguments: &[&str]) -> String {
        let outcome = self.compose(arguments).success();
        String::from_utf8(outcome.stdout).unwrap().trim_end().to_owned()
    }

    /// Names and states of all containers.
    pub(crate) fn states(&self) -> String {
        self.output(&["ps", "-a", "--format", "{{.Name}} {{.State}} {{.ExitCode}}"])
    }

    #[track_caller]
    pub(crate) fn down(&self) {
        self.compose(&["down", "-t", "0", "-v"]).success();
        self.0.assert_tidy();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(Removal(|| self.0.slipway()));
    }
}

fn services_reach_each_other_by_name() {
    let place = Place::new(
        "services:
  web:
    image: t
    environment: {NAME: web}
    command: [sh, -c, \"<server>\"]
    ports: [\"127.0.0.1::80\"]
  api:
    image: t
    environment: {NAME: api}
    command: [sh, -c, \"<server>\"]
    networks: {default: {aliases: [backend]}}
",
    );
    place.output(&["up", "-d"]);
    assert_eq!(place.states(), "shop-api-1 running 0\nshop-web-1 running 0");
    let ports = place.output(&["ps", "--format", "{{.Ports}}", "web"]);
    let port: u16 = ports.strip_suffix("->80/tcp").unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    wait_until_said(port, "served-by-web\n");
    for name in ["api", "backend", "shop-api-1"] {
        let asked = || place.compose(&["exec", "-T", "web", "nc", "-w", "5", name, "80"]).stdout;
        wait_until("the other service answers", || asked() == b"served-by-api\n");
    }
    // Both serve on the same port, each at an address of its own.
    let asked = || place.compose(&["exec", "-T", "api", "nc", "-w", "5", "web", "80"]).stdout;
    wait_until("the first service answers", || asked() == b"served-by-web\n");
    place.down();
    // Another test may have the port by now.
    assert_ne!(said_at(port), "served-by-web\n");
}

fn networks_keep_apart_what_they_do_not_share() {
    let place = Place::new(
        "services:
  web: {image: t, command: sleep 1000, networks: [front, back]}
  db: {image: t, command: [sh, -c, \"<server>\"], environment: {NAME: db}, networks: {back: {ipv4_address: 10.77.1.9}}}
  other: {image: t, command: sleep 1000, networks: [front]}
  alone: {image: t, command: sleep 1000, network_mode: none}
  beside: {image: t, command: sleep 1000, network_mode: \"service:db\"}
networks:
  front: {}
  back: {internal: true, ipam: {config: [{subnet: 10.77.1.0/24}]}}
",
    );
    place.output(&["up", "-d"]);
    let asked = |from: &str, whom: &str| place.compose(&["exec", "-T", from, "nc", "-w", "3", whom, "80"]).stdout;
    wait_until("the database answers", || asked("web", "db") == b"served-by-db\n");
    wait_until("it answers its neighbour", || asked("beside", "127.0.0.1") == b"served-by-db\n");
    for from in ["other", "alone"] {
        assert_eq!(asked(from, "10.77.1.9"), b"", "{from}");
        assert_eq!(asked(from, "db"), b"", "{from}");
    }
    let devices = |service: &str| place.output(&["exec", "-T", service, "ls", "/sys/class/net"]);
    assert_eq!((devices("db").as_str(), devices("alone").as_str()), ("eth0\nlo", "lo"));
    place.down();
}

fn what_is_depended_on_comes_first() {
    let place = Place::new(
        "services:
  web:
    image: t
    command: [cat, /shared/log]
    volumes: [\"shared:/shared\"]
    depends_on:
      db: {condition: service_healthy}
      migration: {condition: service_completed_successfully}
  migration:
    image: t
    command: [sh, -c, \"echo migrated >> /shared/log\"]
    volumes: [\"shared:/shared\"]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: t
    command: [sh, -c, \"sleep 0.3; echo ready >> /shared/log; exec sleep 1000\"]
    volumes: [\"shared:/shared\"]
    healthcheck: {test: grep -q ready /shared/log, interval: 50ms, retries: 100000}
volumes: {shared: {}}
",
    );
    place.output(&["up", "-d"]);
    wait_until("the last service has ended", || place.states().contains("shop-web-1 exited 0"));
    assert_eq!(place.output(&["logs", "--no-log-prefix", "web"]), "ready\nmigrated");
    let healthy = place.output(&["ps", "--format", "{{.Health}}", "db"]);
    assert_eq!(healthy, "healthy");
    place.down();
    assert!(!place.0.path("store/volumes/shop_shared").exists());
}

fn a_dependency_that_fails_is_told() {
    let place = Place::new(
        "services:
  web: {image: t, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
  db: {image: t, command: sleep 1000, healthcheck: {test: \"false\", interval: 50ms, retries: 1}}
  late: {image: t, command: sleep 1000, depends_on: {job: {condition: service_completed_successfully}}}
  job: {image: t, command: sh -c \"exit 3\"}
  easy: {image: t, command: sleep 1000, depends_on: {job: {condition: service_completed_successfully, required: false}}}
",
    );
    for (service, expected) in [
        ("web", "dependency failed to start: container shop-db-1 is unhealthy\n"),
        ("late", "service \"job\" didn't complete successfully: exit 3\n"),
    ] {
        let failure = place.compose(&["up", "-d", service]).failure();
        assert!(failure.ends_with(expected), "{failure}");
    }
    let warned = place.compose(&["up", "-d", "easy"]).success().stderr;
    assert!(warned.contains("optional dependency \"job\" failed to start"), "{warned}");
    assert_eq!(place.compose(&["up", "-d", "--wait", "db"]).exit_code, Some(1));
    place.down();
}

fn output_has_prefixes_and_ctrl_c_stops_all() {
    let place = Place::new(
        "services:
  web: {image: t, command: [sh, -c, \"echo hello; echo oops >&2; exec sleep 1000\"], stop_grace_period: 0s}
  worker: {image: t, command: [sh, -c, \"trap 'echo bye; exit 4' TERM; echo ready >&2; while :; do sleep 0.05; done\"], stop_grace_period: 600s}
",
    );
    let mut up = Running::start(&mut place.command(&["up"]));
    up.wait_for("worker-1  | ready");
    up.wait_for("web-1     | oops");
    up.signal_group(Signal::INT);
    let outcome = up.finish();
    assert_eq!(outcome.exit_code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Gracefully Stopping... press Ctrl+C again to force"), "{}", outcome.stderr);
    assert_eq!(place.states(), "shop-web-1 exited 137\nshop-worker-1 exited 4");
    assert_eq!(place.output(&["logs", "worker"]), "worker-1  | bye");
    place.down();
}

fn a_stack_dies_with_who_is_attached() {
    let place = Place::new("services:\n  web: {image: t, command: [sh, -c, \"echo ready >&2; exec sleep 1000\"]}\n");
    let mut up = Running::start(&mut place.command(&["up", "--no-log-prefix"]));
    up.wait_for("ready");
    up.signal(Signal::KILL);
    up.finish();
    wait_until("the container has ended", || place.states() == "shop-web-1 exited 137");
    place.down();
}

fn the_end_of_one_container_can_be_that_of_all() {
    let place = Place::new(
        "services:
  test: {image: t, command: sh -c \"exit 7\", depends_on: [db]}
  db: {image: t, command: sleep 1000, stop_grace_period: 0s}
",
    );
    let outcome = place.compose(&["up", "--exit-code-from", "test"]);
    assert_eq!(outcome.exit_code, Some(7), "{}", outcome.stderr);
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(text.starts_with("Attaching to db-1, test-1\n"), "{text}");
    assert!(text.contains("test-1 exited with code 7\nAborting on container exit...\n"), "{text}");
    assert_eq!(place.compose(&["up", "--abort-on-container-exit"]).exit_code, Some(7));
    place.down();
}

fn only_what_changed_is_replaced() {
    let file = |value: &str| {
        format!(
            "services:
  web: {{image: t, command: sleep 1000, stop_grace_period: 0s, environment: {{A: {value}}}}}
  db: {{image: t, command: sleep 1000, stop_grace_period: 0s}}
"
        )
    };
    let place = Place::new(&file("1"));
    place.output(&["up", "-d"]);
    let ids = || place.output(&["ps", "--format", "{{.Service}} {{.ID}}"]);
    let first = ids();
    place.output(&["up", "-d"]);
    assert_eq!(ids(), first);
    place.0.write("compose.yaml", &file("2"));
    place.output(&["up", "-d", "--no-recreate"]);
    assert_eq!(ids(), first);
    place.output(&["up", "-d"]);
    let second = ids();
    let kept: Vec<bool> = first.lines().zip(second.lines()).map(|(one, other)| one == other).collect();
    assert_eq!(kept, [true, false], "{first}\n{second}");
    assert_eq!(place.output(&["exec", "-T", "web", "sh", "-c", "echo $A"]), "2");
    place.output(&["up", "-d", "--scale", "web=2"]);
    assert_eq!(ids().lines().count(), 3);
    place.output(&["up", "-d"]);
    assert_eq!(ids(), second);
    place.output(&["stop", "web"]);
    assert_eq!(place.states(), "shop-db-1 running 0\nshop-web-1 exited 137");
    place.output(&["start", "web"]);
    assert_eq!(place.states(), "shop-db-1 running 0\nshop-web-1 running 0");
    place.0.write("compose.yaml", "services: {db: {image: t, command: sleep 1000, stop_grace_period: 0s}}\n");
    let warned = place.compose(&["up", "-d"]).success().stderr;
    assert!(warned.contains("Found orphan containers ([shop-web-1]) for this project."), "{warned}");
    place.output(&["up", "-d", "--remove-orphans"]);
    assert_eq!(place.states(), "shop-db-1 running 0");
    place.down();
}

fn a_program_runs_in_the_place_of_a_service() {
    let place = Place::new(
        "services:
  web: {image: t, command: echo service, environment: {A: file, B: file}, ports: [\"127.0.0.1::80\"], depends_on: [db]}
  db: {image: t, command: [sh, -c, \"<server>\"], environment: {NAME: db}, stop_grace_period: 0s}
",
    );
    assert_eq!(place.output(&["run", "--rm", "web"]), "service");
    let script =
        "echo $A $B; for n in $(seq 6000); do nc -w 60 db 80 && break; sleep 0.02; done; hostname | wc -c; exit 9";
    let outcome = place.compose(&["run", "--rm", "-e", "B=flag", "web", "sh", "-c", script]);
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), "file flag\nserved-by-db\n13\n");
    assert_eq!(outcome.exit_code, Some(9), "{}", outcome.stderr);
    assert_eq!(place.states(), "shop-db-1 running 0");
    let both = place.compose(&["run", "-P", "-p", "1:1", "web"]).failure();
    assert_eq!(both, "--service-ports and --publish are incompatible\n");
    assert_eq!(place.compose(&["run", "nope"]).exit_code, Some(1));
    place.down();
}

fn services_have_what_their_file_says() {
    let place = Place::new(
        "services:
  web:
    build: {dockerfile_inline: \"FROM t\\nRUN echo built > /built\\n\"}
    entrypoint: [sh, -c]
    command: [\"cat /built /run/secrets/token /etc/settings /data/file; echo $$A-$$B; pwd; id -u; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep NoNewPrivs /proc/self/status; test $$$$ != 1 && echo init\"]
    environment: {A: inline}
    env_file: [vars]
    working_dir: /tmp
    user: \"7\"
    hostname: box
    secrets: [token]
    configs: [{source: settings, target: /etc/settings}]
    volumes: [\"./data:/data:ro\"]
    read_only: true
    cap_drop: [ALL]
    init: true
    sysctls: {net.ipv4.ip_unprivileged_port_start: 7}
    security_opt: [\"no-new-privileges:true\"]
secrets: {token: {file: ./token}}
configs: {settings: {content: \"setting=1\\n\"}}
",
    );
    place.0.write("vars", "A=file\nB=file\n");
    place.0.write("token", "secret\n");
    place.0.write("data/file", "data\n");
    let built = place.compose(&["up", "--no-build", "-d"]).failure();
    assert!(built.contains("No such image: shop-web"), "{built}");
    let mut build = place.command(&["up", "--no-log-prefix"]);
    let outcome = run(&mut build).success();
    let text = String::from_utf8(outcome.stdout).unwrap();
    let expected = "built\nsecret\nsetting=1\ndata\ninline-file\n/tmp\n7\nbox\n7\nNoNewPrivs:\t1\ninit\nweb-1 exited with code 0\n";
    assert_eq!(text, format!("Attaching to web-1\n{expected}"), "{}", outcome.stderr);
    place.0.write("compose.yaml", "services: {web: {image: t, runtime: kata}}\n");
    let refused = place.compose(&["up", "-d", "web"]).failure();
    assert_eq!(refused, "service \"web\": `runtime` is not known here\n");
    place.down();
}

fn services_may_have_devices() {
    let place = Place::new(
        "services:
  web:
    image: t
    entrypoint: [sh, -c]
    command: [\"echo lost > /dev/mine && echo lent; [ `hostname` = web ] || echo shared\"]
    uts: host
    devices: [\"/dev/null:/dev/mine\"]
",
    );
    let outcome = run(&mut place.command(&["up", "--no-log-prefix"])).success();
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(text.contains("lent\nshared\n"), "{text}\n{}", outcome.stderr);
    place.0.write("compose.yaml", "services: {web: {image: t, devices: [/etc/passwd]}}\n");
    let refused = place.compose(&["up", "-d", "web"]).failure();
    assert!(refused.contains("not a device node"), "{refused}");
    place.down();
}

fn flags_that_exclude_each_other_are_refused() {
    let place = Place::new("services: {web: {image: t}}\n");
    for (flags, expected) in [
        (&["--build", "--no-build"][..], "--build and --no-build are incompatible\n"),
        (&["--force-recreate", "--no-recreate"], "--force-recreate and --no-recreate are incompatible\n"),
        (&["--pull", "maybe"], "invalid --pull option \"maybe\"\n"),
        (&["--scale", "web"], "invalid --scale option \"web\". Should be SERVICE=NUM\n"),
        (&["nope"], "no such service: nope\n"),
    ] {
        let failure = place.compose(&[&["up"], flags].concat()).failure();
        assert!(failure.ends_with(expected), "{flags:?}: {failure}");
    }
    assert_eq!(place.compose(&["down", "--rmi", "x"]).failure(), "invalid value for --rmi: \"x\"\n");
}

fn a_user_has_stacks() {
    let site = Site::new("FROM busybox\n");
    let user = NewUser::new(&site);
    let context = site.path("user/ctx");
    fs::create_dir(&context).unwrap();
    let compose = "services:
  web: {image: t, command: sleep 1000, stop_grace_period: 0s, volumes: [\"data:/data\"]}
  api: {image: t, command: [sh, -c, \"<server>\"], environment: {NAME: api}, stop_grace_period: 0s, ports: [\"127.0.0.1::80\"]}
volumes: {data: {}}
";
    fs::write(context.join("compose.yaml"), compose.replace("<server>", SERVER)).unwrap();
    fs::write(context.join("Dockerfile"), "FROM busybox\n").unwrap();
    run(Command::new("chown").arg("-R").arg("--reference").arg(site.path("user")).arg(&context)).success();
    user.build(&context, &["-t", "t"]).success();
    let _removal = Removal(|| user.slipway(&context));
    let slipway = |arguments: &[&str]| run(user.slipway(&context).arg("compose").args(arguments));
    slipway(&["up", "-d"]).success();
    let asked = || slipway(&["exec", "-T", "web", "nc", "-w", "5", "api", "80"]).stdout;
    wait_until("the other service answers", || asked() == b"served-by-api\n");
    slipway(&["exec", "-T", "web", "sh", "-c", "echo 1 > /data/file; chown 7:8 /data/file"]).success();
    let ports = slipway(&["ps", "--format", "{{.Ports}}", "api"]).success().stdout;
    let ports = String::from_utf8(ports).unwrap();
    let port: u16 = ports.trim_end().strip_suffix("->80/tcp").unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    wait_until_said(port, "served-by-api\n");
    slipway(&["down", "-v"]).success();
    assert_eq!(slipway(&["ps", "-aq"]).success().stdout, b"");
}
