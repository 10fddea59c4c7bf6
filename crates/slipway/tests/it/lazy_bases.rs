//! The layers of a base image are fetched when somebody needs them, and by nobody else: counted in the requests that the
//! registry gets.

use std::fs;

use serde_json::Value;
use slipway_oci::Digest;
use slipway_test::registry::TestRegistry;
use slipway_test::tar::{self, Entry};

use crate::site::{Outcome, Site, busybox_layout, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("metadata_is_pushed_beside_its_base", metadata_is_pushed_beside_its_base),
    test("a_linked_copy_is_pushed_beside_its_base", a_linked_copy_is_pushed_beside_its_base),
    test("another_registry_gets_the_layers", another_registry_gets_the_layers),
    test("nobody_asks_for_layers_that_no_output_has", nobody_asks_for_layers_that_no_output_has),
    test("an_archive_is_made_of_blobs", an_archive_is_made_of_blobs),
    test("an_image_with_a_name_is_here_whole", an_image_with_a_name_is_here_whole),
    test("a_pushed_name_is_no_longer_the_older_image", a_pushed_name_is_no_longer_the_older_image),
    test("files_that_a_step_reads_are_fetched_once", files_that_a_step_reads_are_fetched_once),
    test("a_layer_that_is_passed_on_is_what_the_config_says", a_layer_that_is_passed_on_is_what_the_config_says),
];

const METADATA: &str = "ENV A=b\nLABEL c=d\nCMD [\"/bin/true\"]\n";

/// A registry with `library/busybox`, and the digests of its layers.
struct World {
    registry: TestRegistry,
    layers: Vec<String>,
}

impl World {
    fn new() -> World {
        let registry = TestRegistry::start().unwrap();
        let manifest = registry.put_layout(busybox_layout(), "library/busybox", "latest").unwrap();
        let layers = layers_of(&registry, &manifest);
        assert!(!layers.is_empty());
        World { registry, layers }
    }

    /// A context whose Dockerfile begins with the registry's image.
    fn site(&self, rest: &str) -> Site {
        Site::new(&format!("FROM {}/library/busybox\n{rest}", self.registry.host()))
    }

    /// The name of an image in this registry.
    fn name(&self, repository: &str) -> String {
        format!("{}/{repository}:latest", self.registry.host())
    }

    /// How often one of the layers was sent to somebody.
    fn n_layer_downloads(&self) -> usize {
        let requests = self.registry.requests();
        let is_download = |layer: &String| {
            requests.iter().filter(|r| r.method == "GET" && r.target.ends_with(&format!("/blobs/{layer}"))).count()
        };
        self.layers.iter().map(is_download).sum()
    }

    /// How many layers were taken from the base's repository within the registry.
    fn n_mounts(&self) -> usize {
        let requests = self.registry.requests();
        requests.iter().filter(|r| r.target.contains("mount=") && r.target.contains("from=library%2Fbusybox")).count()
    }
}

fn layers_of(registry: &TestRegistry, manifest: &Digest) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(&registry.blob(manifest).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

fn build(site: &Site, arguments: &[&str]) -> Outcome {
    run(site.slipway().args(["build", "--progress=plain"]).args(arguments).arg("."))
}

fn push(site: &Site, name: &str) -> Outcome {
    build(site, &["--push", "--tag", name]).success()
}

/// The files of an image, as another machine gets them.
fn files_of(name: &str) -> Site {
    let site = Site::new(&format!("FROM {name}\nRUN echo $A > /environment\n"));
    build(&site, &["--output=../out"]).success();
    site
}

fn metadata_is_pushed_beside_its_base() {
    let world = World::new();
    let site = world.site(METADATA);
    let name = world.name("app");
    push(&site, &name);
    assert_eq!(world.n_layer_downloads(), 0, "{:?}", world.registry.requests());
    assert_eq!(world.n_mounts(), world.layers.len());
    world.registry.forget_requests();
    assert_eq!(push(&site, &name).steps().ran, Vec::<String>::new());
    assert_eq!(world.n_layer_downloads(), 0);
    assert_eq!(world.n_mounts(), 0, "the repository has them now");
    assert_eq!(files_below(&site.path("store/layers")), Vec::<std::path::PathBuf>::new());
    site.assert_tidy();
    let other = files_of(&name);
    assert!(other.path("out/bin/busybox").exists());
    assert_eq!(fs::read_to_string(other.path("out/environment")).unwrap(), "b\n");
}

fn a_linked_copy_is_pushed_beside_its_base() {
    let world = World::new();
    let site = world.site("COPY --link file /file\n");
    site.write("file", "linked\n");
    let name = world.name("app");
    let layers = || {
        build(&site, &["--push", "--tag", &name, "--metadata-file=../metadata.json"]).success();
        let metadata: Value = serde_json::from_slice(&fs::read(site.path("metadata.json")).unwrap()).unwrap();
        layers_of(&world.registry, &metadata["containerimage.digest"].as_str().unwrap().parse().unwrap())
    };
    let without_base = layers();
    assert_eq!(world.n_layer_downloads(), 0, "{:?}", world.registry.requests());
    let other = files_of(&name);
    assert!(other.path("out/bin/busybox").exists());
    assert_eq!(fs::read_to_string(other.path("out/file")).unwrap(), "linked\n");
    // With the base at hand it is the same image.
    site.renew_store();
    build(&site, &["--output=../out"]).success();
    assert_eq!(layers(), without_base);
}

fn another_registry_gets_the_layers() {
    let world = World::new();
    let other = TestRegistry::start().unwrap();
    let site = world.site(METADATA);
    let name = format!("{}/app:latest", other.host());
    push(&site, &name);
    assert_eq!(world.n_layer_downloads(), world.layers.len(), "each once");
    assert!(files_of(&name).path("out/bin/busybox").exists());
    site.assert_tidy();
    world.registry.forget_requests();
    push(&site, &name);
    assert_eq!(world.n_layer_downloads(), 0);
}

fn nobody_asks_for_layers_that_no_output_has() {
    let world = World::new();
    let site = world.site(METADATA);
    build(&site, &["--output=type=cacheonly"]).success();
    assert_eq!(world.n_layer_downloads(), 0);
}

fn an_archive_is_made_of_blobs() {
    let world = World::new();
    let site = world.site(METADATA);
    build(&site, &["--output=type=oci,dest=../image.tar"]).success();
    assert_eq!(world.n_layer_downloads(), world.layers.len(), "each once");
    assert_eq!(files_below(&site.path("store/layers")), Vec::<std::path::PathBuf>::new(), "nothing is unpacked");
    let loaded = run(site.slipway().args(["load", "--input=../image.tar"])).success().stdout;
    assert!(loaded.starts_with(b"Loaded image ID: sha256:"));
    site.assert_tidy();
    build(&site, &["--tag=app", "--output=type=docker,dest=../named.tar"]).success();
    site.renew_store();
    run(site.slipway().args(["load", "--input=../named.tar"])).success();
    let out = run(site.slipway().args(["run", "--rm", "app", "sh", "-c", "echo $A"])).success();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "b\n");
}

fn an_image_with_a_name_is_here_whole() {
    let world = World::new();
    let site = world.site(METADATA);
    build(&site, &["--tag=app"]).success();
    drop(world);
    let out = run(site.slipway().args(["run", "--rm", "app", "sh", "-c", "echo $A"])).success();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "b\n");
    run(site.slipway().args(["save", "--output=../app.tar", "app"])).success();
    site.assert_tidy();
}

/// A name means one image, wherever it is looked up.
fn a_pushed_name_is_no_longer_the_older_image() {
    let world = World::new();
    let name = world.name("app");
    let site = Site::new("FROM scratch\nCOPY Dockerfile /old\n");
    build(&site, &["--tag", &name]).success();
    site.write("Dockerfile", &format!("FROM {}/library/busybox\n{METADATA}", world.registry.host()));
    push(&site, &name);
    assert_eq!(world.n_layer_downloads(), 0);
    site.write("Dockerfile", &format!("FROM {name}\nRUN echo $A > /environment\n"));
    build(&site, &["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/environment")).unwrap(), "b\n");
    assert!(!site.path("out/old").exists());
}

fn files_that_a_step_reads_are_fetched_once() {
    let world = World::new();
    let base = format!("{}/library/busybox", world.registry.host());
    for rest in ["RUN echo made > /made\n", "COPY Dockerfile /made\n", "WORKDIR /made\n"] {
        world.registry.forget_requests();
        build(&world.site(rest), &["--output=type=cacheonly"]).success();
        assert_eq!(world.n_layer_downloads(), world.layers.len(), "{rest}");
    }
    for rest in [format!("COPY --from={base} /bin/sh /sh\n"), format!("COPY --link --from={base} /bin/sh /sh\n")] {
        world.registry.forget_requests();
        build(&Site::new(&format!("FROM scratch\n{rest}")), &["--output=type=cacheonly"]).success();
        assert_eq!(world.n_layer_downloads(), world.layers.len(), "{rest}");
    }
}

/// Nothing is unpacked on the way to the archive, and yet nothing wrong gets into it.
fn a_layer_that_is_passed_on_is_what_the_config_says() {
    let registry = TestRegistry::start().unwrap();
    let tar = |data: &str| {
        let entry = Entry { path: "file".to_owned(), mode: 0o644, data: data.into(), ..Entry::default() };
        tar::write(&[entry]).unwrap()
    };
    let (told, sent) = (tar("told\n"), tar("sent\n"));
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": [Digest::of(&told)] });
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64", "rootfs": rootfs }).to_string();
    let descriptor = |kind: &str, bytes: &[u8]| {
        registry.put_blob("image", bytes).unwrap();
        let media_type = format!("application/vnd.oci.image.{kind}");
        serde_json::json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
    };
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor("config.v1+json", config.as_bytes()),
        "layers": [descriptor("layer.v1.tar", &sent)],
    });
    registry.put_manifest("image", Some("latest"), media_type, manifest.to_string().as_bytes()).unwrap();
    let site = Site::new(&format!("FROM {}/image\nENV A=b\n", registry.host()));
    let told = build(&site, &["--output=type=oci,dest=../image.tar"]).failure();
    assert!(told.contains("but the config says"), "{told}");
    assert!(!site.path("image.tar").exists());
    site.assert_tidy();
}
