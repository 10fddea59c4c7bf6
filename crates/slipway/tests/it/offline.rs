//! `--offline`: what is in the store is enough, or everything that is missing is named, and nobody is asked.

use std::fs;

use crate::pins::World;
use crate::site::Site;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("what_was_built_once_is_built_again", what_was_built_once_is_built_again),
    test("everything_that_is_missing_is_named_at_once", everything_that_is_missing_is_named_at_once),
    test("missing_layers_are_named_only_if_they_are_needed", missing_layers_are_named_only_if_they_are_needed),
    test("pins_are_enough", pins_are_enough),
    test("steps_have_no_network", steps_have_no_network),
    test("what_needs_a_network_is_refused", what_needs_a_network_is_refused),
];

const OFFLINE: &str = "--offline";

/// Nobody was asked since the requests were forgotten.
#[track_caller]
fn assert_nobody_was_asked(world: &World, n_git: usize) {
    assert_eq!(world.registry.requests().len(), 0, "{:?}", world.registry.requests());
    assert_eq!(world.git.requests().len(), n_git);
}

fn what_was_built_once_is_built_again() {
    let world = World::new();
    let site = world.site();
    site.build(&[]).success();
    world.registry.forget_requests();
    let n_git = world.git.requests().len();
    world.registry.fail_next(1000, "/", 500);
    assert!(site.build(&[OFFLINE]).success().steps().ran.is_empty());
    // Also if everything has to be done again.
    site.build(&[OFFLINE, "--no-cache", "--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/all")).unwrap(), "base one\ntool one\n");
    assert_eq!(fs::read_to_string(site.path("out/git/source")).unwrap(), "one");
    assert_nobody_was_asked(&world, n_git);
    site.assert_tidy();
}

fn everything_that_is_missing_is_named_at_once() {
    let world = World::new();
    let site = world.site();
    world.registry.forget_requests();
    let n_git = world.git.requests().len();
    let told = site.build(&[OFFLINE]).failure();
    let host = world.registry.host();
    let list = format!(
        "--offline, and the store lacks\n  image {host}/base:1 (line 1)\n  image {host}/tool:1 (line 2)\n  \
         URL http://{host}/file (line 3)\n  git reference {}#main (line 4)\n",
        world.git.url("r")
    );
    assert!(told.contains(&list), "{told}");
    assert!(told.contains("Dockerfile:1\n") && told.contains("hint: one build without `--offline`"), "{told}");
    assert_nobody_was_asked(&world, n_git);
}

/// To know an image is to have its manifest and config; its layers come when a step needs them.
fn missing_layers_are_named_only_if_they_are_needed() {
    let world = World::new();
    let host = world.registry.host();
    let site = Site::new(&format!("FROM {host}/base:1\nLABEL a=b\n"));
    site.build(&["--output=type=cacheonly"]).success();
    site.write("Dockerfile", &format!("FROM {host}/base:1\nRUN cat /base\nFROM {host}/tool:1\nRUN cat /tool\n"));
    site.build(&["--call=outline"]).success();
    world.registry.forget_requests();
    let told = site.build(&[OFFLINE]).failure();
    assert!(told.contains("the store lacks\n  layer sha256:"), "{told}");
    assert!(told.contains(&format!(" of {host}/tool:1")) && told.contains("(line 3)"), "{told}");
    assert!(!told.contains(&format!("of {host}/base:1")), "{told}");
    assert_eq!(world.registry.requests().len(), 0);
}

fn pins_are_enough() {
    let world = World::new();
    let site = world.site();
    site.build(&["--lock"]).success();
    world.registry.forget_requests();
    let n_git = world.git.requests().len();
    site.build(&["--locked", OFFLINE, "--no-cache"]).success();
    assert_nobody_was_asked(&world, n_git);
}

/// Unless the user says which one they have.
fn steps_have_no_network() {
    let site = Site::new("FROM busybox\nRUN ls /sys/class/net > /devices; cat /proc/net/route | wc -l > /routes\n");
    let routes = |flags: &[&str]| {
        site.build(&[flags, &["--no-cache", "--output=../out"]].concat()).success();
        fs::read_to_string(site.path("out/routes")).unwrap()
    };
    assert_eq!(routes(&[OFFLINE]), "1\n");
    assert_eq!(routes(&["--network=none"]), "1\n");
    let with_host = routes(&[OFFLINE, "--network=host", "--allow=network.host"]);
    assert_eq!(with_host, format!("{}\n", fs::read_to_string("/proc/net/route").unwrap().lines().count()));
}

fn what_needs_a_network_is_refused() {
    let site = Site::new("FROM busybox\n");
    for (flags, expected) in [
        (&["--pull"][..], "--offline and --pull exclude each other"),
        (&["--push", "--tag=127.0.0.1:1/x"], "--offline and an output that is pushed exclude each other"),
        (
            &["--cache-to=type=registry,ref=127.0.0.1:1/x"],
            "--offline and a --cache-to that is no folder exclude each other",
        ),
    ] {
        let told = site.build(&[&[OFFLINE], flags].concat()).failure();
        assert!(told.contains(expected), "{told}");
    }
}
