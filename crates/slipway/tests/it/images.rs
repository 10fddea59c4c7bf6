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
    test(
        "images_without_a_name_are_listed_until_they_are_pruned",
        images_without_a_name_are_listed_until_they_are_pruned,
    ),
    test("an_archive_may_hold_an_image_without_a_name", an_archive_may_hold_an_image_without_a_name),
    test(
        "a_pulled_image_has_the_digest_that_the_registry_answered",
        a_pulled_image_has_the_digest_that_the_registry_answered,
    ),
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

/// Repositories, tags and ids, the newest image first.
fn listed(site: &Site, arguments: &[&str]) -> Vec<String> {
    let format = ["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"];
    stdout(site, &[&format, arguments].concat()).lines().map(str::to_owned).collect()
}

fn images_without_a_name_are_listed_until_they_are_pruned() {
    let site = Site::new(DOCKERFILE);
    let built = |arguments: &[&str]| {
        site.build(&[&["--iidfile=../iid"], arguments].concat()).success();
        fs::read_to_string(site.path("iid")).unwrap()
    };
    let without = built(&[]);
    assert_eq!(listed(&site, &[]), [format!("<none>:<none> {without}")]);
    let first = built(&["--tag=app", "--label=n=1"]);
    let second = built(&["--tag=app", "--label=n=2"]);
    let [named, dangling] = [vec![format!("app:latest {second}")], vec![first.clone(), without.clone()]];
    let dangling: Vec<String> = dangling.iter().map(|id| format!("<none>:<none> {id}")).collect();
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(listed(&site, &["--filter=dangling=true"])), sorted(dangling.clone()));
    assert_eq!(listed(&site, &["--filter=dangling=false"]), named);
    assert_eq!(listed(&site, &[]).len(), 3);
    assert_eq!(listed(&site, &["--filter=label=n=1"]), dangling[..1]);
    // What a name stands for again has one.
    built(&["--tag=app", "--label=n=1"]);
    assert_eq!(listed(&site, &["--filter=label=n=1"]), [format!("app:latest {first}")]);
    assert_eq!(listed(&site, &["--filter=label=n=2"]), [format!("<none>:<none> {second}")]);

    let hex = &second.trim_start_matches("sha256:")[..12];
    let shown = stdout(&site, &["inspect", "-f", "{{.Id}} {{len .RepoTags}} {{len .RepoDigests}}", hex]);
    assert_eq!(shown, format!("{second} 0 0\n"));
    assert_eq!(stdout(&site, &["run", "--rm", hex, "cat", "/d"]), DOCKERFILE);
    assert_eq!(stdout(&site, &["rmi", hex]), format!("Deleted: {second}\n"));
    assert_eq!(
        stdout(&site, &["image", "prune", "-f", "--filter=label=n=1"]),
        "Total reclaimed space: 0B\n",
        "what has a name is not meant"
    );
    let pruned = stdout(&site, &["image", "prune", "-f"]);
    assert_eq!(pruned, format!("Deleted Images:\ndeleted: {without}\n\nTotal reclaimed space: 0B\n"));
    assert_eq!(listed(&site, &[]), [format!("app:latest {first}")]);
    // Its steps are there still, until they are pruned and take it with them.
    built(&[]);
    assert_eq!(listed(&site, &[]).len(), 2);
    slipway(&site, &["prune", "--force"]).success();
    assert_eq!(listed(&site, &[]), [format!("app:latest {first}")]);
    site.assert_tidy();
}

fn an_archive_may_hold_an_image_without_a_name() {
    let site = Site::new(DOCKERFILE);
    site.build(&["--iidfile=../iid"]).success();
    let id = fs::read_to_string(site.path("iid")).unwrap();
    let hex = id.trim_start_matches("sha256:");
    site.build(&["--tag=app", "--label=other=1"]).success();
    let archive = site.name("images.tar");
    stdout(&site, &["save", "-o", &archive, &hex[..12], "app"]);
    site.renew_store();
    let loaded = format!("Loaded image ID: {id}\nLoaded image: app:latest\n");
    assert_eq!(stdout(&site, &["load", "-i", &archive]), loaded);
    assert_eq!(stdout(&site, &["load", "-i", &archive]), loaded);
    assert_eq!(listed(&site, &["--filter=dangling=true"]), [format!("<none>:<none> {id}")]);
    assert_eq!(stdout(&site, &["run", "--rm", &hex[..12], "cat", "/d"]), DOCKERFILE);
    stdout(&site, &["tag", &hex[..12], "named"]);
    assert_eq!(listed(&site, &["--filter=dangling=true"]), Vec::<String>::new());
    // An archive that only Docker's own list describes.
    let docker = format!("--output=type=docker,dest={}", site.name("docker.tar"));
    let other = Site::new(DOCKERFILE);
    other.build(&[&docker]).success();
    site.renew_store();
    let loaded = stdout(&site, &["load", "-i", &site.name("docker.tar")]);
    assert!(loaded.starts_with("Loaded image ID: sha256:"), "{loaded}");
    site.assert_tidy();
}

fn a_pulled_image_has_the_digest_that_the_registry_answered() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let repository = format!("{}/several", registry.host());
    let name = format!("{repository}:1");
    let output = format!("--output=type=registry,name={name}");
    site.build(&["--platform=linux/amd64,linux/arm64", &output, "--metadata-file=../m.json"]).success();
    let metadata: Value = serde_json::from_slice(&fs::read(site.path("m.json")).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    site.renew_store();
    let pulled = stdout(&site, &["pull", &name]);
    assert!(pulled.contains(&format!("\nDigest: {digest}\nStatus: Downloaded newer image for {name}\n")), "{pulled}");
    assert_eq!(stdout(&site, &["images", "--format={{.Tag}} {{.Digest}}"]), format!("1 {digest}\n"));
    let by_digest = format!("{repository}@{digest}");
    assert_eq!(stdout(&site, &["inspect", "-f", "{{json .RepoDigests}}", &name]), format!("[\"{by_digest}\"]\n"));
    let own = stdout(&site, &["inspect", "-f", "{{.Descriptor.digest}}", &name]);
    assert_ne!(own.trim_end(), digest, "the image is the one for this platform");
    stdout(&site, &["pull", &by_digest]);
    let rows = stdout(&site, &["images", "--digests", "--format={{.Repository}} {{.Tag}} {{.Digest}}"]);
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, [format!("{repository} 1 {digest}"), format!("{repository} <none> {digest}")]);
    assert_eq!(stdout(&site, &["rmi", &by_digest]), format!("Untagged: {by_digest}\n"));
    // Pushed elsewhere it is known by what is there then.
    let other = format!("{}/other:2", registry.host());
    stdout(&site, &["tag", &name, &other]);
    let pushed = stdout(&site, &["push", &other]);
    let size = stdout(&site, &["inspect", "-f", "{{.Descriptor.size}}", &name]);
    assert_eq!(pushed.lines().last().unwrap(), format!("2: digest: {} size: {}", own.trim_end(), size.trim_end()));
    let shown = stdout(&site, &["images", "--format={{.Digest}}", &other]);
    assert_eq!(shown, own);
    site.assert_tidy();
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
    let digest = pushed.lines().last().unwrap().strip_prefix("1: digest: ").unwrap();
    let digest = digest.split_once(" size: ").unwrap().0.to_owned();
    let manifest = registry.blob(&digest.parse().unwrap()).unwrap();
    assert_eq!(stdout(&site, &["manifest", "inspect", &name]).as_bytes(), manifest);
    let absent = format!("{}/mine:2", registry.host());
    let refused = run(site.slipway().args(["manifest", "inspect", &absent])).failure();
    assert_eq!(refused, format!("ERROR: {absent}: not found\n"));
    site.renew_store();
    assert_eq!(stdout(&site, &["pull", "-q", &name]), format!("{name}\n"));
    assert_eq!(stdout(&site, &["images", "-q", "--no-trunc"]), id);
    let again = stdout(&site, &["pull", &name]);
    let status = format!("Digest: {digest}\nStatus: Image is up to date for {name}\n{name}\n");
    assert_eq!(again, format!("1: Pulling from mine\n{status}"));
    let stderr = slipway(&site, &["push", "nosuch"]).failure();
    assert_eq!(stderr, "tag does not exist: nosuch:latest\n");
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
        (&["tag", "a", "a@sha256:0"], "Error parsing reference: "),
        (&["images", "--format", "{{.Repository"], "template parsing error: template: :1: unclosed action\n"),
    ] {
        let stderr = slipway(&site, arguments).failure();
        assert!(stderr.starts_with(expected), "{arguments:?}: {stderr}");
    }
    assert_eq!(slipway(&site, &["inspect", "nosuch"]).stdout, b"[]\n");
    assert_eq!(stdout(&site, &["rmi", "--force", "nosuch"]), "");
    assert_eq!(slipway(&site, &["rmi", "--zzz", "a"]).exit_code, Some(125));
}

/// Small images at once, others when they have left the store or when somebody asks for it.
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
    run(site.slipway().args(["images", "--complete"])).success();
    assert_eq!(listed(), ["app:latest"]);
    let other = Site::new("FROM stored\nRUN wc -c < /made > /seen\n");
    other.build(&[&layout, "--output=../out"]).success();
    assert_eq!(fs::read_to_string(other.path("out/seen")).unwrap(), "3000000\n");
    // An archive may go into a pipe or a device, which stays what it is.
    let pipe = site.path("pipe");
    run(Command::new("mkfifo").arg(&pipe)).success();
    let mut reader = Command::new("cat").arg(&pipe).stdout(std::process::Stdio::null()).spawn().unwrap();
    run(site.slipway().args(["save", "--output=../pipe", "app"])).success();
    assert!(reader.wait().unwrap().success() && !fs::metadata(&pipe).unwrap().is_file());
    run(site.slipway().args(["tag", "app", "team/app:2"])).success();
    run(site.slipway().args(["rmi", "app"])).success();
    assert_eq!(listed(), ["team/app:2"]);
    site.assert_tidy();
}
