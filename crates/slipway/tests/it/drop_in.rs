//! Links named like Docker's programs: what scripts, Makefiles and Docker itself do with them works.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::site::{Outcome, SLIPWAY, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("the_makefile_of_a_project_works_with_a_link", the_makefile_of_a_project_works_with_a_link),
    test("scripts_are_told_versions", scripts_are_told_versions),
    test("scripts_make_a_builder_and_use_it", scripts_make_a_builder_and_use_it),
    test("docker_takes_the_links_for_its_plugins", docker_takes_the_links_for_its_plugins),
    test("flags_without_effect_are_told_with_debug", flags_without_effect_are_told_with_debug),
    test("an_engine_elsewhere_is_refused", an_engine_elsewhere_is_refused),
    test("unknown_flags_are_refused", unknown_flags_are_refused),
    test("flags_of_the_reference_are_known_or_refused", flags_of_the_reference_are_known_or_refused),
    test("names_of_images_go_with_prune", names_of_images_go_with_prune),
];

/// The Makefile that guides to multi-stage builds show.
const MAKEFILE: &str = "\
.PHONY: build-dev build-prod build-test

build-dev:
\tdocker build --target development -t myapp:dev .

build-test:
\tdocker build --target test -t myapp:test .

build-prod:
\tdocker build --target production -t myapp:prod .

test:
\tdocker run --rm myapp:test

run-dev:
\tdocker run myapp:dev

run-prod:
\tdocker run myapp:prod
";

const DOCKERFILE: &str = "\
FROM busybox AS base
WORKDIR /app
COPY app.sh ./
FROM base AS development
CMD [\"sh\", \"app.sh\", \"development\"]
FROM base AS test
RUN sh -n app.sh
CMD [\"sh\", \"-c\", \"test \\\"$(sh app.sh x)\\\" = 'this is x' && echo all tests passed\"]
FROM base AS build
RUN mkdir dist && cp app.sh dist/server.sh
FROM busybox AS production
COPY --from=build /app/dist /app
CMD [\"sh\", \"/app/server.sh\", \"production\"]
";

/// A folder with links to slipway under Docker's names, for the front of `PATH`.
fn links(site: &Site) -> PathBuf {
    let folder = site.path("bin");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        for name in ["docker", "docker-compose", "docker-buildx", "buildx"] {
            symlink(SLIPWAY, folder.join(name)).unwrap();
        }
    }
    folder
}

/// A command in the context of `site`, where `docker` is slipway.
pub(crate) fn with_links(site: &Site, program: &str) -> Command {
    let folder = links(site);
    let mut path = folder.clone().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // Not the program of that name on this machine.
    let link = folder.join(program);
    let command = Command::new(if link.exists() { link.as_os_str() } else { program.as_ref() });
    let mut command = site.with_own_environment(command);
    command.env("PATH", path);
    command
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

fn the_makefile_of_a_project_works_with_a_link() {
    let site = Site::new(DOCKERFILE);
    site.write("Makefile", MAKEFILE);
    site.write("app.sh", "echo this is $1\n");
    // The base comes from the local store, as everything that has been pulled.
    site.write("base/Dockerfile", "FROM busybox\n");
    run(&mut site.build_command(&["-t", "busybox", "base"])).success();
    for (goals, said) in [
        (&["build-dev", "run-dev"][..], "this is development"),
        (&["build-test", "test"], "all tests passed"),
        (&["build-prod", "run-prod"], "this is production"),
    ] {
        let outcome = run(with_links(&site, "make").args(goals)).success();
        assert!(text(&outcome).contains(said), "{goals:?}: {}", text(&outcome));
    }
    let images = run(with_links(&site, "docker").args(["images", "--format", "{{.Repository}}:{{.Tag}}"])).success();
    for tag in ["dev", "test", "prod"] {
        assert!(text(&images).lines().any(|line| line == format!("myapp:{tag}")), "{}", text(&images));
    }
    site.assert_tidy();
}

fn scripts_are_told_versions() {
    let site = Site::new("");
    let docker = |words: &[&str]| text(&run(with_links(&site, "docker").args(words)).success());
    let version = docker(&["version", "--format", "{{.Server.Version}}"]);
    let major: u32 = version.split('.').next().unwrap().parse().unwrap();
    assert!(major >= 28, "{version}");
    assert_eq!(docker(&["version", "-f", "{{.Client.Version}}"]), version);
    let all: Value = serde_json::from_str(&docker(&["version", "--format", "json"])).unwrap();
    assert_eq!(all["Server"]["Os"], "linux");
    // Go's name of the member, which is not the one in JSON.
    let api = docker(&["version", "-f", "{{.Client.APIVersion}} {{.Server.APIVersion}}"]);
    assert_eq!(api, format!("{0} {0}\n", all["Client"]["ApiVersion"].as_str().unwrap()));
    assert!(docker(&["--version"]).starts_with("Docker version 28."));
    assert!(docker(&["-v"]).starts_with("Docker version 28."));
    let second = docker(&["buildx", "version"]).split(' ').nth(1).unwrap().to_owned();
    assert!(second.starts_with("v0."), "{second}");
    assert!(docker(&["compose", "version", "--short"]).starts_with("2."));
    let compose = text(&run(with_links(&site, "docker-compose").arg("--version")).success());
    assert!(compose.starts_with("Docker Compose version 2."), "{compose}");
    assert_eq!(docker(&["info", "--format", "{{.OSType}}"]), "linux\n");
    assert!(docker(&["info"]).contains("\n Server Version: 28."));
    assert!(text(&run(site.slipway().arg("--version")).success()).starts_with("slipway "));
}

fn scripts_make_a_builder_and_use_it() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let docker = |words: &[&str]| run(with_links(&site, "docker").args(words));
    let create = ["buildx", "create", "--name", "ci", "--driver", "docker-container", "--use", "--bootstrap"];
    assert_eq!(text(&docker(&create).success()), "ci\n");
    assert!(docker(&create).failure().contains("existing instance for \"ci\" but no append mode"));
    let generated = text(&docker(&["buildx", "create"]).success());
    assert!(generated.trim().split('_').count() == 2, "{generated}");
    let list = text(&docker(&["buildx", "ls"]).success());
    assert!(list.lines().any(|line| line.starts_with("ci*  ") && line.contains("docker-container")), "{list}");
    let inspected = text(&docker(&["buildx", "inspect", "--bootstrap"]).success());
    assert!(
        inspected.starts_with("Name:   ci\n") && inspected.contains("\nStatus:           running\n"),
        "{inspected}"
    );
    let built = docker(&["buildx", "build", "--builder", "ci", "."]).success();
    assert!(!built.stderr.contains("WARNING"), "{}", built.stderr);
    let built = docker(&["buildx", "--builder", "nobody", "build", "."]).success();
    assert!(built.stderr.contains("WARNING: there is no builder \"nobody\""), "{}", built.stderr);
    docker(&["buildx", "use", "default"]).success();
    docker(&["buildx", "stop"]).success();
    let removed = docker(&["buildx", "rm", "ci"]).success();
    assert_eq!((removed.stdout.as_slice(), removed.stderr.as_str()), (&b""[..], "ci removed\n"));
    for words in [["buildx", "use", "ci"], ["buildx", "inspect", "ci"], ["buildx", "stop", "ci"]] {
        assert!(docker(&words).failure().contains("no builder \"ci\" found"));
    }
    docker(&["buildx", "install"]).success();
    assert!(docker(&["buildx", "dial-stdio"]).failure().contains("not supported"));
}

fn docker_takes_the_links_for_its_plugins() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    site.write("compose.yaml", "name: demo\nservices: {a: {build: .}}\n");
    for name in ["docker-buildx", "docker-compose"] {
        let answer = run(with_links(&site, name).arg("docker-cli-plugin-metadata")).success();
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert_eq!(answer["SchemaVersion"], "0.1.0");
        assert_eq!(text(&run(with_links(&site, name).args(["docker-cli-plugin-hooks", "{}"])).success()), "");
    }
    // Docker names the command of its plugin once more.
    run(with_links(&site, "docker-buildx").args(["buildx", "build", "."])).success();
    run(with_links(&site, "buildx").args(["b", "."])).success();
    let config = run(with_links(&site, "docker-compose").args(["compose", "config", "--services"])).success();
    assert_eq!(text(&config), "a\n");
    run(with_links(&site, "docker-compose").arg("build")).success();
}

fn flags_without_effect_are_told_with_debug() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let words = ["-H", "unix:///var/run/docker.sock", "--tls", "build", "--force-rm", "--compress=true", "."];
    let quiet = run(with_links(&site, "docker").args(words)).success();
    assert!(!quiet.stderr.contains("without effect"), "{}", quiet.stderr);
    let told = run(with_links(&site, "docker").arg("--debug").args(words)).success();
    for note in [
        "DEBUG: --host unix:///var/run/docker.sock is without effect: no engine is asked\n",
        "DEBUG: --tls: Without effect; no engine is asked\n",
        "DEBUG: --force-rm: Without effect; nothing is left to remove\n",
        "DEBUG: --compress: Without effect; ",
    ] {
        assert!(told.stderr.contains(note), "{note}: {}", told.stderr);
    }
}

fn an_engine_elsewhere_is_refused() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let stderr = run(with_links(&site, "docker").args(["-H", "tcp://10.0.0.1:2376", "build", "."])).failure();
    assert!(stderr.contains("the engine at tcp://10.0.0.1:2376 is on another machine"), "{stderr}");
    let stderr = run(with_links(&site, "docker").args(["--context", "nope", "build", "."])).failure();
    assert!(stderr.contains("context \"nope\": context not found"), "{stderr}");
    assert!(!site.path("store").exists());
}

fn unknown_flags_are_refused() {
    let site = Site::new("FROM scratch\n");
    for words in [
        &["--zzz", "build", "."][..],
        &["build", "--zzz", "."],
        &["buildx", "bake", "--zzz"],
        &["images", "--zzz"],
        &["image", "prune", "--zzz"],
        &["system", "df", "--zzz"],
        &["run", "--zzz", "busybox"],
        &["buildx", "create", "--zzz"],
        &["version", "--zzz"],
        &["info", "--zzz"],
    ] {
        let outcome = run(with_links(&site, "docker").args(words));
        assert_eq!(outcome.exit_code, Some(125), "{words:?}: {}", outcome.stderr);
        assert!(outcome.stderr.starts_with("unknown flag: --zzz\n\nUsage:  docker "), "{}", outcome.stderr);
    }
}

/// A flag as the reference's help has it: its spellings, and what kind of value it takes.
struct HelpFlag {
    names: Vec<String>,
    kind: Option<String>,
}

/// The flags that a help text lists: `  -f, --file string   What it is for`.
fn flags_of_help(text: &str) -> Vec<HelpFlag> {
    let mut flags = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("  ")) {
        let mut words = line.split_whitespace().peekable();
        let is_name = |word: &&str| word.starts_with('-') && word.len() > 1;
        let mut names = Vec::new();
        while let Some(name) = words.next_if(is_name) {
            names.push(name.trim_end_matches(',').to_owned());
        }
        if !names.iter().any(|name| name.starts_with("--")) || names.contains(&"--help".to_owned()) {
            continue;
        }
        // What follows the last name after one blank is the kind of the value; a description has more blanks before it.
        let rest = line.rsplit_once(names.last().unwrap()).unwrap().1;
        let kind = rest.strip_prefix(' ').and_then(|rest| rest.split(' ').next()).filter(|kind| !kind.is_empty());
        flags.push(HelpFlag { names, kind: kind.map(str::to_owned) });
    }
    flags
}

/// Something that a flag takes for a value of this kind.
fn sample(kind: &str) -> &'static str {
    match kind {
        "int" | "int64" | "uint16" | "decimal" | "port" => "1",
        "bytes" => "1m",
        "duration" => "1s",
        "ulimit" => "nofile=1:2",
        "filter" => "until=1h",
        "list" | "map" => "1.1.1.1",
        _ => "x",
    }
}

/// `tests/help` holds what the reference answers to `--help`; `cargo xtask record-help` asks again. What builds is known
/// whole. Of other commands a flag is known or refused: none is passed over in silence.
fn flags_of_the_reference_are_known_or_refused() {
    let site = Site::new("");
    let (mut n_known, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help")).unwrap() {
        let path = entry.unwrap().path();
        let command = path.file_stem().unwrap().to_string_lossy().replace('_', " ");
        let builds = ["build", "buildx build", "buildx bake"].contains(&command.as_str());
        for HelpFlag { names, kind } in flags_of_help(&fs::read_to_string(&path).unwrap()) {
            for name in names {
                let value = kind.as_deref().map(|kind| if name == "--format" { "json" } else { sample(kind) });
                let flag = value.map_or(name.clone(), |value| format!("{name}={value}"));
                let words = command.split(' ').chain([flag.as_str(), "--help"]);
                let outcome = run(with_links(&site, "docker").args(words));
                let is_known = outcome.exit_code == Some(0);
                let is_refused = outcome.exit_code == Some(125) && outcome.stderr.starts_with("unknown ");
                n_known += usize::from(is_known);
                if !is_known && (builds || !is_refused) {
                    wrong.push(format!("{command} {flag}: {}", outcome.stderr.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_known > 200, "only {n_known} flags are known");
}

fn names_of_images_go_with_prune() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let docker = |words: &[&str]| text(&run(with_links(&site, "docker").args(words)).success());
    docker(&["build", "-t", "a", "-t", "b:1", "."]);
    assert_eq!(docker(&["image", "prune", "-f"]), "Total reclaimed space: 0B\n");
    assert_eq!(docker(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).lines().next(), Some("Images 1"));
    // Nobody answers, so nothing goes.
    assert!(docker(&["system", "prune", "--all"]).ends_with("Are you sure you want to continue? [y/N] "));
    assert_eq!(docker(&["images", "-q"]).lines().count(), 2);
    let gone = docker(&["system", "prune", "--all", "--force"]);
    assert!(gone.contains("untagged: a:latest\nuntagged: b:1\ndeleted: sha256:"), "{gone}");
    assert_eq!(docker(&["images", "-q"]), "");
}
