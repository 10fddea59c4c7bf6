//! `slipway.lock`: what names stood for when it was written, for everybody who builds later.

use std::fs;
use std::path::Path;

use slipway_test::git_server::{Blob, GitServer};
use slipway_test::registry::{Canned, TestRegistry};

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_lock_file_holds_every_name_in_order", a_lock_file_holds_every_name_in_order),
    test("locked_takes_what_is_pinned", locked_takes_what_is_pinned),
    test("a_pin_of_an_image_is_its_index", a_pin_of_an_image_is_its_index),
    test("lock_keeps_pins_and_adds_what_is_missing", lock_keeps_pins_and_adds_what_is_missing),
    test("locked_names_all_that_the_lock_file_lacks", locked_names_all_that_the_lock_file_lacks),
    test("a_file_that_moved_is_refused", a_file_that_moved_is_refused),
    test("update_moves_pins", update_moves_pins),
    test("without_flags_the_lock_file_is_not_read", without_flags_the_lock_file_is_not_read),
    test("an_image_that_was_built_here_cannot_be_pinned", an_image_that_was_built_here_cannot_be_pinned),
    test("a_lock_file_needs_a_place", a_lock_file_needs_a_place),
    test("bake_locks_what_each_target_names", bake_locks_what_each_target_names),
    test("bake_refuses_lock_files_that_disagree", bake_refuses_lock_files_that_disagree),
];

/// A registry with a base, a server with a file, and a repository. All of them can move.
pub(crate) struct World {
    pub(crate) registry: TestRegistry,
    pub(crate) git: GitServer,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World { registry: TestRegistry::start().unwrap(), git: GitServer::start().unwrap() };
        world.set("one");
        world
    }

    /// Moves everything to a version.
    pub(crate) fn set(&self, version: &str) {
        for name in ["base", "tool"] {
            let site = Site::new(&format!("FROM busybox\nRUN echo {name} {version} > /{name}\n"));
            let layout = site.name("layout");
            site.build(&[&format!("--output=type=oci,dest={layout},tar=false")]).success();
            self.registry.put_layout(Path::new(&layout), name, "1").unwrap();
        }
        self.set_file(version);
        self.git.commit("r", "main", &[("source", Blob::File(version))]).unwrap();
    }

    fn set_file(&self, version: &str) {
        let headers = vec![("ETag".to_owned(), format!("\"{version}\""))];
        self.registry.set_canned("/file", Canned { headers, body: version.into(), ..Canned::default() });
    }

    /// A place whose Dockerfile uses all of them.
    pub(crate) fn site(&self) -> Site {
        let host = self.registry.host();
        Site::new(&format!(
            "FROM {host}/base:1\nCOPY --from={host}/tool:1 /tool /tool\nADD http://{host}/file /file\nADD {}#main /git\n\
             RUN cat /base /tool > /all\n",
            self.git.url("r")
        ))
    }
}

/// What the last build put into its files.
fn versions(site: &Site) -> String {
    let read = |path: &str| fs::read_to_string(site.path("out").join(path)).unwrap();
    [read("all"), read("file"), read("git/source")].concat()
}

const ONE: &str = "base one\ntool one\noneone";
const TWO: &str = "base two\ntool two\ntwotwo";
const OUT: &str = "--output=../out";

fn lock(site: &Site) -> String {
    fs::read_to_string(site.path("ctx/slipway.lock")).unwrap()
}

fn a_lock_file_holds_every_name_in_order() {
    let world = World::new();
    let site = world.site();
    site.build(&["--lock"]).success();
    let (text, host) = (lock(&site), world.registry.host());
    assert!(text.starts_with("# "), "{text}");
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('"')?.split('"').next()).collect();
    let expected = [
        format!("{host}/base:1"),
        format!("{host}/tool:1"),
        format!("http://{host}/file"),
        world.git.url("r") + "#main",
    ];
    assert_eq!(names, expected);
    site.build(&["--lock"]).success();
    assert_eq!(lock(&site), text);
    site.assert_tidy();
}

fn locked_takes_what_is_pinned() {
    let world = World::new();
    let site = world.site();
    site.build(&["--lock", OUT]).success();
    world.set("two");
    site.build(&["--locked", OUT]).success();
    assert_eq!(versions(&site), ONE);
    // Somewhere else, where nothing is known; the old file has to be had from somewhere.
    world.set_file("one");
    site.renew_store();
    site.build(&["--locked", OUT]).success();
    assert_eq!(versions(&site), ONE);
}

/// So it holds for platforms that the lock file was not written on.
fn a_pin_of_an_image_is_its_index() {
    let registry = TestRegistry::start().unwrap();
    let base = Site::new("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /base\n");
    base.write("amd64", "amd64");
    base.write("arm64", "arm64");
    let (name, id) = (format!("{}/base:1", registry.host()), base.name("id"));
    base.build(&["--platform=linux/amd64,linux/arm64", "--push", "--tag", &name, "--iidfile", &id]).success();
    let index = fs::read_to_string(&id).unwrap();
    let site = Site::new(&format!("FROM {name}\nCOPY Dockerfile /\n"));
    site.build(&["--lock", "--platform=linux/amd64"]).success();
    assert!(lock(&site).contains(&format!("/base:1\" = \"{index}\"\n")), "{}", lock(&site));
    site.build(&["--locked", "--platform=linux/arm64", OUT]).success();
    assert_eq!(fs::read_to_string(site.path("out/base")).unwrap(), "arm64");
}

fn lock_keeps_pins_and_adds_what_is_missing() {
    let world = World::new();
    let site = Site::new(&format!("FROM {}/base:1\n", world.registry.host()));
    site.build(&["--lock"]).success();
    let before = lock(&site);
    world.set("two");
    site.renew_store();
    fs::copy(world.site().path("ctx/Dockerfile"), site.path("ctx/Dockerfile")).unwrap();
    site.build(&["--lock", OUT]).success();
    assert_eq!(versions(&site), "base one\ntool two\ntwotwo");
    let pin = before.lines().find(|line| line.starts_with('"')).unwrap();
    assert!(lock(&site).contains(pin), "{}", lock(&site));
}

fn locked_names_all_that_the_lock_file_lacks() {
    let world = World::new();
    let site = world.site();
    let told = site.build(&["--locked"]).failure();
    assert!(told.contains("slipway.lock`; `slipway build --lock` writes it"), "{told}");
    fs::write(site.path("ctx/slipway.lock"), "version = 1\n").unwrap();
    let told = site.build(&["--locked"]).failure();
    let host = world.registry.host();
    let list = format!(
        "slipway.lock lacks\n  image {host}/base:1 (line 1)\n  image {host}/tool:1 (line 2)\n  URL http://{host}/file (line 3)\n  \
         git reference {}#main (line 4)\n",
        world.git.url("r")
    );
    assert!(told.contains(&list), "{told}");
    assert!(told.contains("Dockerfile:1\n") && told.contains("hint: `slipway build --lock` adds"), "{told}");
}

fn a_file_that_moved_is_refused() {
    let world = World::new();
    let site = world.site();
    site.build(&["--lock"]).success();
    world.set("two");
    site.renew_store();
    let told = site.build(&["--locked"]).failure();
    assert!(told.contains("/file` is pinned to sha256:"), "{told}");
    assert!(
        told.contains(&format!("hint: `slipway update http://{}/file` moves the pin", world.registry.host())),
        "{told}"
    );
}

fn update_moves_pins() {
    let world = World::new();
    let site = world.site();
    site.build(&["--lock"]).success();
    let update = |names: &[&str]| run(site.slipway().arg("update").args(names));
    let said = |names: &[&str]| String::from_utf8(update(names).success().stdout).unwrap();
    assert_eq!(said(&[]), "Every pin stands for what it did.\n");
    world.set("two");
    let host = world.registry.host();
    let moved = said(&[&format!("{host}/base")]);
    assert!(moved.starts_with(&format!("{host}/base:1: sha256:")) && moved.lines().count() == 1, "{moved}");
    site.build(&["--lock", OUT]).success();
    assert_eq!(versions(&site), "base two\ntool one\noneone");
    let moved = said(&[]);
    assert_eq!(moved.lines().filter(|line| line.contains(" -> ")).count(), 3, "{moved}");
    site.build(&["--locked", OUT]).success();
    assert_eq!(versions(&site), TWO);
    let told = update(&["nope"]).failure();
    assert!(told.contains("slipway.lock has no pin of `nope`; there are: "), "{told}");
}

fn without_flags_the_lock_file_is_not_read() {
    let world = World::new();
    let site = world.site();
    site.write("slipway.lock", "this is no lock file\n");
    site.build(&[OUT]).success();
    assert_eq!(versions(&site), ONE);
    let told = site.build(&["--lock"]).failure();
    assert!(told.contains("slipway.lock` is not valid"), "{told}");
}

fn an_image_that_was_built_here_cannot_be_pinned() {
    let site = Site::new("FROM busybox\n");
    site.build(&["--tag=mine:1"]).success();
    site.write("Dockerfile", "FROM mine:1\n");
    let told = site.build(&["--lock"]).failure();
    assert!(told.contains("`mine:1` was built here"), "{told}");
}

fn a_lock_file_needs_a_place() {
    let site = Site::new("FROM busybox\n");
    for (flags, expected) in [
        (&["--lock", "--file=-"][..], "--lock needs a Dockerfile in a folder of this machine"),
        (&["--lock", "--locked"], "--lock and --locked exclude each other"),
    ] {
        let told = site.build(flags).failure();
        assert!(told.contains(expected), "{told}");
    }
}

/// Two targets in folders of their own, which share one name; a third one lies beside the first.
fn baked(world: &World) -> Site {
    let host = world.registry.host();
    let site = Site::new(&format!("FROM {host}/base:1\nADD http://{host}/file /file\n"));
    site.write("tool/Dockerfile", &format!("FROM {host}/tool:1\nADD http://{host}/file /file\n"));
    site.write("Again", &format!("FROM {host}/base:1\nADD {}#main /git\n", world.git.url("r")));
    site.write(
        "docker-bake.hcl",
        "group default {
           targets = [\"here\", \"tool\", \"again\"]
         }
         target here {
           output = [\"../out/here\"]
         }
         target tool {
           context = \"tool\"
           output = [\"../out/tool\"]
         }
         target again {
           dockerfile = \"Again\"
           output = [\"../out/again\"]
         }
",
    );
    site
}

fn bake(site: &Site, flags: &[&str]) -> Outcome {
    run(site.slipway().args(["bake", "--progress=plain", "--allow=fs=*"]).args(flags))
}

fn bake_locks_what_each_target_names() {
    let world = World::new();
    let site = baked(&world);
    let told = bake(&site, &["--locked"]).failure();
    assert!(told.contains("there is no `") && told.contains("slipway.lock`"), "{told}");
    bake(&site, &["--lock"]).success();
    let names = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(site.path(path)).unwrap();
        text.lines().filter_map(|line| Some(line.strip_prefix('"')?.split('"').next()?.to_owned())).collect()
    };
    let host = world.registry.host();
    let file = format!("http://{host}/file");
    assert_eq!(names("ctx/slipway.lock"), [format!("{host}/base:1"), file.clone(), world.git.url("r") + "#main"]);
    assert_eq!(names("ctx/tool/slipway.lock"), [format!("{host}/tool:1"), file]);

    world.set("two");
    world.registry.forget_requests();
    bake(&site, &["--locked", "--offline", "--no-cache"]).success();
    assert_eq!(world.registry.requests().len(), 0);
    for (path, expected) in [("here/base", "base one\n"), ("tool/tool", "tool one\n"), ("again/git/source", "one")] {
        assert_eq!(fs::read_to_string(site.path("out").join(path)).unwrap(), expected);
    }
    site.renew_store();
    let told = bake(&site, &["--locked", "--offline", "here"]).failure();
    assert!(told.contains(&format!("--offline, and the store lacks\n  image {host}/base:1@sha256:")), "{told}");
    assert!(told.contains(&format!("\n  URL http://{host}/file (line 2)\n")), "{told}");
}

fn bake_refuses_lock_files_that_disagree() {
    let world = World::new();
    let site = baked(&world);
    bake(&site, &["--lock", "here"]).success();
    world.set_file("two");
    site.renew_store();
    bake(&site, &["--lock", "tool"]).success();
    let told = bake(&site, &["--locked"]).failure();
    let file = format!("`http://{}/file` to different things", world.registry.host());
    assert!(told.contains(&file) && told.contains("tool/slipway.lock`"), "{told}");
}
