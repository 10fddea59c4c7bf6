//! `--watch`: what is built again after which change.

use rustix::process::Signal;
use slipway_test::progress;

use crate::process::Running;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_change_builds_again", a_change_builds_again),
    test("a_build_that_fails_is_watched_on", a_build_that_fails_is_watched_on),
    test("only_affected_targets_are_built_again", only_affected_targets_are_built_again),
    test("a_changed_definition_builds_all", a_changed_definition_builds_all),
    test("what_is_written_into_the_context_is_no_change", what_is_written_into_the_context_is_no_change),
    test("what_cannot_be_watched_is_refused", what_cannot_be_watched_is_refused),
];

/// Ends the watch as Ctrl-C does, and gives all that was written.
fn end(site: &Site, watch: Running) -> String {
    watch.signal_group(Signal::INT);
    let outcome = watch.finish();
    assert_eq!(outcome.exit_code, Some(130), "{}", outcome.stderr);
    site.assert_tidy();
    outcome.stderr
}

/// The end of build number `n`.
fn done(n: usize) -> String {
    format!("watch: build {n} is done; waiting for changes (Ctrl-C ends)\n")
}

/// How many steps with this text ran.
fn n_ran(told: &str, step: &str) -> usize {
    // Each build numbers its steps from 1.
    let builds = told.split("waiting for changes").map(progress::steps);
    builds.flat_map(|steps| steps.ran).filter(|ran| ran.ends_with(step)).count()
}

fn a_change_builds_again() {
    let site = Site::new("FROM busybox\nRUN echo first\nCOPY a /\nRUN echo second\n");
    site.replace("a", "1");
    site.replace("b", "1");
    site.replace(".dockerignore", "b\n*.log\n");
    let mut watch = site.start(&["--watch"]);
    watch.wait_for(&done(1));
    // What the ignore file leaves out is no change.
    site.replace("b", "2");
    site.replace("x.log", "2");
    site.replace("a", "22");
    watch.wait_for(&done(2));
    assert!(watch.stderr().contains("watch: a changed; building\n"), "{}", watch.stderr());
    site.replace("Dockerfile", "FROM busybox\nRUN echo first\nCOPY a /\nRUN echo third\n");
    watch.wait_for(&done(3));
    let told = end(&site, watch);
    assert!(told.contains("watch: Dockerfile changed; building\n"), "{told}");
    let counts = ["RUN echo first", "RUN echo second", "RUN echo third"].map(|step| n_ran(&told, step));
    assert_eq!(counts, [1, 2, 1], "{told}");
}

fn a_build_that_fails_is_watched_on() {
    let site = Site::new("FROM busybox\nCOPY a /\nRUN test -s /a\n");
    site.replace("a", "");
    let mut watch = site.start(&["--watch"]);
    watch.wait_for("watch: build 1 failed; waiting for changes (Ctrl-C ends)\n");
    site.replace("a", "not empty");
    watch.wait_for(&done(2));
    end(&site, watch);
}

const DEFINITION: &str = r#"
group "default" { targets = ["web", "api", "tool"] }
target "base" {
  context = "base"
  dockerfile-inline = "FROM scratch\nCOPY f /base\n"
}
target "web" {
  context  = "web"
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\nCOPY f /web\n"
}
target "api" {
  context  = "api"
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\nCOPY f /api\n"
}
target "tool" {
  context = "tool"
  dockerfile-inline = "FROM scratch\nCOPY f /tool\n"
}
"#;

fn baked(site: &Site, definition: &str) -> Running {
    site.replace("docker-bake.hcl", definition);
    for folder in ["base", "web", "api", "tool"] {
        site.replace(&format!("{folder}/f"), "1");
    }
    Running::start(site.slipway().args(["bake", "--watch", "--progress=plain"]))
}

fn only_affected_targets_are_built_again() {
    let site = Site::new("");
    let mut watch = baked(&site, DEFINITION);
    watch.wait_for(&done(1));
    for (n, folder, built) in [(2, "web", "web"), (3, "base", "api, web"), (4, "tool", "tool")] {
        let before = watch.stderr().len();
        site.replace(&format!("{folder}/f"), &"longer".repeat(n));
        watch.wait_for(&done(n));
        let told = watch.stderr()[before..].to_owned();
        assert!(told.contains(&format!("watch: {folder}/f changed; building {built}\n")), "{told}");
        // Not even the Dockerfile of another target is looked at.
        for target in ["api", "web", "tool"] {
            let is_built = built.split(", ").any(|name| name == target);
            let is_named = told.contains(&format!("COPY f /{target}"));
            assert_eq!(is_named, is_built, "{target}: {told}");
        }
    }
    end(&site, watch);
}

fn a_changed_definition_builds_all() {
    let site = Site::new("");
    let mut watch = baked(&site, DEFINITION);
    watch.wait_for(&done(1));
    site.replace("docker-bake.hcl", &DEFINITION.replace("\"tool\"]", "\"tool\", \"more\"]"));
    watch.wait_for("watch: build 2 failed; waiting for changes (Ctrl-C ends)\n");
    assert!(watch.stderr().contains("ERROR: failed to find target more\n"), "{}", watch.stderr());
    site.replace("docker-bake.hcl", &DEFINITION.replace("COPY f /tool", "COPY f /other"));
    watch.wait_for(&done(3));
    site.replace("api/f", "changed");
    watch.wait_for(&done(4));
    let told = end(&site, watch);
    assert!(told.contains("watch: docker-bake.hcl changed; building\n"), "{told}");
    assert!(told.contains("watch: api/f changed; building api\n"), "{told}");
    assert_eq!(n_ran(&told, "COPY f /other"), 1, "{told}");
}

fn what_is_written_into_the_context_is_no_change() {
    let site = Site::new("FROM scratch\nCOPY a /\n");
    site.replace("a", "1");
    let mut watch = site.start(&["--watch", "-o", "out", "--metadata-file", "metadata.json"]);
    watch.wait_for(&done(1));
    assert!(site.path("ctx/out/a").exists());
    site.replace("a", "22");
    watch.wait_for(&done(2));
    let told = end(&site, watch);
    assert!(told.contains("watch: a changed; building\n") && !told.contains("build 3"), "{told}");
}

fn what_cannot_be_watched_is_refused() {
    let site = Site::new("FROM scratch\n");
    for words in [
        &["build", "--watch", "-"][..],
        &["build", "--watch", "https://example.com/r.git"],
        &["bake", "--watch", "https://example.com/r.git"],
    ] {
        let stderr = run(site.slipway().args(words)).failure();
        assert!(stderr.contains("--watch needs a "), "{words:?}: {stderr}");
    }
}
