//! Images of the local store: what lists, describes, names and removes them.

use std::fs;
use std::process::Command;

use serde_json::Value;
use slipway_test::registry::TestRegistry;

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("the_store_is_a_layout_of_its_images", the_store_is_a_layout_of_its_images),
    test("a_built_image_is_listed_described_and_removed", a_built_image_is_listed_described_and_removed),
    test("images_are_filtered", images_are_filtered),
    test("an_archive_holds_the_same_images", an_archive_holds_the_same_images),
    test("archives_of_the_build_are_loaded", archives_of_the_build_are_loaded),
    test("an_image_goes_to_a_registry_and_comes_back", an_image_goes_to_a_registry_and_comes_back),
    test("mistakes_have_dockers_words_and_exit_codes", mistakes_have_dockers_words_and_exit_codes),
];

const DOCKERFILE: &str = "FROM busybox\nLABEL x=y\nENV A=1\nCOPY Dockerfile /d\n";

fn slipway(site: &Site, arguments: &[&str]) -> Outcome {
    let mut command: Command = site.slipway();
    run(command.args(arguments))
}

/// What a command that must succeed prints.
#[track_caller]
fn stdout(site: &Site, arguments: &[&str]) -> String {
    String::from_utf8(slipway(site, arguments).success().stdout).unwrap()
}

fn a_built_image_is_listed_described_and_removed() {
    let site = Site::new(DOCKERFILE);
    site.build(&["--tag=app:1"]).success();
    let table = stdout(&site, &["images"]);
    let header: Vec<&str> = table.lines().next().unwrap().split("   ").filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        header.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
        ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    );
    let id = stdout(&site, &["images", "-q", "--no-trunc"]).trim_end().to_owned();
    assert_eq!(stdout(&site, &["images", "--format", "{{.Repository}}\\t{{upper .Tag}}"]), "app\t1\n");

    let history = stdout(&site, &["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "app:1"]);
    let steps = ["COPY Dockerfile /d # buildkit", "ENV A=1", "LABEL x=y"];
    let expected: Vec<String> = steps.iter().map(|step| format!("{step}|buildkit.dockerfile.v0")).collect();
    assert_eq!(history.lines().take(3).collect::<Vec<_>>(), expected);
    assert_eq!(stdout(&site, &["history", "-q", "--no-trunc", &id[..20]]).lines().next().unwrap(), id);

    let document: Value = serde_json::from_str(&stdout(&site, &["image", "inspect", "app:1"])).unwrap();
    assert_eq!(document[0]["Id"], id);
    assert_eq!(document[0]["Config"]["Labels"]["x"], "y");
    assert_eq!(document[0]["RepoTags"], serde_json::json!(["app:1"]));
    let layers = document[0]["RootFS"]["Layers"].as_array().unwrap().len();
    let shown = stdout(&site, &["inspect", "-f", "{{.Os}} {{len .RootFS.Layers}} {{index .Config.Env 1}}", "app:1"]);
    assert_eq!(shown, format!("linux {layers} A=1\n"));

    stdout(&site, &["tag", "app:1", "registry.example/app:2"]);
    let hex = id.trim_start_matches("sha256:");
    let stderr = slipway(&site, &["rmi", &hex[..12]]).failure();
    assert!(stderr.contains("(must be forced) - image is referenced in multiple repositories"), "{stderr}");
    assert_eq!(stdout(&site, &["rmi", "app:1"]), "Untagged: app:1\n");
    assert_eq!(
        stdout(&site, &["image", "rm", "registry.example/app:2"]),
        format!("Untagged: registry.example/app:2\nDeleted: {id}\n")
    );
    assert_eq!(stdout(&site, &["images", "-q"]), "");
}

fn images_are_filtered() {
    let site = Site::new(DOCKERFILE);
    site.build(&["--tag=app:1", "--tag=team/app:2"]).success();
    site.build(&["--tag=other", "--label=stage=prod"]).success();
    let named = |arguments: &[&str]| {
        let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
        let text = stdout(&site, &[&format, arguments].concat());
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(named(&["app"]), "app:1");
    assert_eq!(named(&["--filter", "reference=*/app"]), "team/app:2");
    assert_eq!(named(&["--filter", "label=stage=prod"]), "other:latest");
    assert_eq!(named(&["--filter", "label=stage"]), "other:latest");
    assert_eq!(named(&["-f", "dangling=true"]), "");
    assert_eq!(named(&["-f", "reference=app", "-f", "reference=other"]), "app:1 other:latest");
    assert_eq!(named(&["-f", "until=24h"]), "");
    let stderr = slipway(&site, &["images", "--filter", "bogus=1"]).failure();
    assert_eq!(stderr, "Error: invalid filter 'bogus'\n");
}

fn an_archive_holds_the_same_images() {
    let site = Site::new(DOCKERFILE);
    site.build(&["--tag=app:1", "--tag=team/app:2"]).success();
    site.build(&["--tag=other", "--label=stage=prod"]).success();
    let archive = site.name("images.tar");
    assert_eq!(stdout(&site, &["save", "-o", &archive, "app:1", "other"]), "");
    let piped = slipway(&site, &["save", "app:1", "other"]).success().stdout;
    assert!(piped == std::fs::read(&archive).unwrap(), "a file and standard output differ");
    let id = |name: &str| stdout(&site, &["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", name]);
    let before = [id("app:1"), id("other")];
    stdout(&site, &["rmi", "app:1", "team/app:2", "other"]);
    site.renew_store();
    assert_eq!(stdout(&site, &["load", "-i", &archive]), "Loaded image: app:1\nLoaded image: other:latest\n");
    assert_eq!([id("app:1"), id("other")], before);
    // What was loaded can be built upon, and saved again.
    site.write("Dockerfile", "FROM app:1\nRUN cat /d > /e\n");
    site.build(&["--tag=next"]).success();
    assert_eq!(slipway(&site, &["save", "app:1", "other"]).success().stdout, piped);
    site.assert_tidy();
}

fn archives_of_the_build_are_loaded() {
    for kind in ["docker", "oci"] {
        let site = Site::new(DOCKERFILE);
        site.build(&[
            &format!("--output=type={kind},dest=../image.tar,name=app:1,compression=zstd"),
            "--iidfile=../iid",
        ])
        .success();
        assert_eq!(stdout(&site, &["image", "load", "--input", &site.name("image.tar")]), "Loaded image: app:1\n");
        let id = std::fs::read_to_string(site.path("iid")).unwrap();
        assert_eq!(stdout(&site, &["images", "-q", "--no-trunc"]).trim_end(), id, "{kind}");
    }
}

fn an_image_goes_to_a_registry_and_comes_back() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new(DOCKERFILE);
    let name = format!("{}/mine:1", registry.host());
    site.build(&["--tag", &name]).success();
    let id = stdout(&site, &["images", "-q", "--no-trunc"]);
    let pushed = stdout(&site, &["push", &name]);
    let digest = pushed.trim_end().strip_prefix("1: digest: ").unwrap().to_owned();
    registry.blob(&digest.parse().unwrap()).unwrap();
    site.renew_store();
    assert_eq!(stdout(&site, &["pull", "-q", &name]), format!("{name}\n"));
    assert_eq!(stdout(&site, &["images", "-q", "--no-trunc"]), id);
    let again = stdout(&site, &["pull", &name]);
    assert_eq!(again, format!("Digest: {digest}\nStatus: Image is up to date for {name}\n{name}\n"));
    let stderr = slipway(&site, &["push", "nosuch"]).failure();
    assert_eq!(stderr, "Error: tag does not exist: nosuch:latest\n");
    let stderr = slipway(&site, &["pull", &format!("{}/none", registry.host())]).failure();
    assert!(stderr.contains("Error: ") && stderr.contains("not found"), "{stderr}");
}

/// The words behind "Error" and the exit codes are those of Docker 28.5.2, asked for the same.
fn mistakes_have_dockers_words_and_exit_codes() {
    let site = Site::new(DOCKERFILE);
    for (arguments, expected) in [
        (&["history", "nosuch"][..], "Error: No such image: nosuch:latest\n"),
        (&["tag", "nosuch", "x"], "Error: No such image: nosuch:latest\n"),
        (&["rmi", "nosuch"], "Error: No such image: nosuch:latest\n"),
        (&["image", "inspect", "nosuch"], "Error: No such image: nosuch:latest\n"),
        (&["tag", "a", "a@sha256:0"], "Error: parsing reference: "),
        (&["images", "--format", "{{.Repository"], "template parsing error: template: :1: unclosed action\n"),
    ] {
        let stderr = slipway(&site, arguments).failure();
        assert!(stderr.starts_with(expected), "{arguments:?}: {stderr}");
    }
    assert_eq!(slipway(&site, &["inspect", "nosuch"]).stdout, b"[]\n");
    assert_eq!(stdout(&site, &["rmi", "--force", "nosuch"]), "");
    assert_eq!(slipway(&site, &["rmi", "--zzz", "a"]).exit_code, Some(125));
}

/// Small images at once, others when they have left the store.
fn the_store_is_a_layout_of_its_images() {
    let site = Site::new("FROM busybox\nRUN echo small > /made\n");
    let listed = || {
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(site.path("store/index.json")).unwrap()).unwrap();
        let names = index["manifests"].as_array().unwrap().iter();
        let names = names.map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    site.build(&["--tag=app"]).success();
    assert_eq!(listed(), ["app:latest"]);
    let layout = format!("--build-context=stored=oci-layout://{}:latest", site.name("store"));
    let other = Site::new("FROM stored\nRUN cat /made > /seen\n");
    other.build(&[&layout, "--output=../out"]).success();
    assert_eq!(fs::read_to_string(other.path("out/seen")).unwrap(), "small\n");
    site.write("Dockerfile", "FROM busybox\nRUN head -c 3000000 /dev/urandom > /made\n");
    site.build(&["--tag=app"]).success();
    assert_eq!(listed(), Vec::<String>::new(), "the name stands for an image that is here as files only");
    run(site.slipway().args(["save", "--output=../app.tar", "app"])).success();
    assert_eq!(listed(), ["app:latest"]);
    run(site.slipway().args(["tag", "app", "team/app:2"])).success();
    run(site.slipway().args(["rmi", "app"])).success();
    assert_eq!(listed(), ["team/app:2"]);
    site.assert_tidy();
}
