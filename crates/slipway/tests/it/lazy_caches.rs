//! A result that an imported cache has goes on to where it is wanted without its files: counted in the requests that
//! registries get.

use std::fs;

use serde_json::Value;
use slipway_oci::Digest;
use slipway_test::registry::TestRegistry;

use crate::cache_remote::{assert_no_warning, ran, site};
use crate::site::{Outcome, Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_hit_is_pushed_beside_its_cache", a_hit_is_pushed_beside_its_cache),
    test("another_registry_gets_the_layers", another_registry_gets_the_layers),
    test("an_archive_is_made_of_the_blobs", an_archive_is_made_of_the_blobs),
    test("a_linked_copy_lies_on_a_hit", a_linked_copy_lies_on_a_hit),
    test("layers_that_are_not_there_are_made_anew", layers_that_are_not_there_are_made_anew),
];

/// A registry with a cache and the image that it was written with.
struct World {
    registry: TestRegistry,
    image: Digest,
    /// Of the image, base first.
    layers: Vec<String>,
}

impl World {
    fn new() -> World {
        let registry = TestRegistry::start().unwrap();
        let site = site();
        let to = format!("--cache-to=type=registry,ref={}/cache,mode=max", registry.host());
        let image = push(&site, &format!("{}/app", registry.host()), &[&to]).0;
        let layers = layers_of(&registry, &image);
        assert_eq!(layers.len(), 4);
        registry.forget_requests();
        World { registry, image, layers }
    }

    fn from(&self) -> String {
        format!("--cache-from={}/cache", self.registry.host())
    }

    /// How often one of the layers was sent to somebody.
    fn n_downloads(&self) -> usize {
        let is_layer = |target: &str| self.layers.iter().any(|layer| target.ends_with(&format!("/blobs/{layer}")));
        self.registry.requests().iter().filter(|r| r.method == "GET" && is_layer(&r.target)).count()
    }

    /// How many blobs were taken from the cache's repository within the registry.
    fn n_mounts(&self) -> usize {
        let is_mount = |target: &str| target.contains("mount=") && target.contains("from=cache");
        self.registry.requests().iter().filter(|r| is_mount(&r.target)).count()
    }
}

fn layers_of(registry: &TestRegistry, manifest: &Digest) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(&registry.blob(manifest).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// Builds and pushes; also gives the digest of the image.
fn push(site: &Site, name: &str, arguments: &[&str]) -> (Digest, Outcome) {
    let outcome = site.build(&[&["--push", "--tag", name, "--metadata-file=../metadata.json"], arguments].concat());
    let outcome = outcome.success();
    let metadata: Value = serde_json::from_slice(&fs::read(site.path("metadata.json")).unwrap()).unwrap();
    (metadata["containerimage.digest"].as_str().unwrap().parse().unwrap(), outcome)
}

/// Nothing ran, nothing was unpacked, and the image is the one that the first machine made.
#[track_caller]
fn assert_lazy(site: &Site, world: &World, (image, outcome): &(Digest, Outcome)) {
    assert_eq!(ran(outcome), Vec::<String>::new(), "{}", outcome.stderr);
    assert_no_warning(outcome);
    assert_eq!(*image, world.image);
    assert_eq!(files_below(&site.path("store/layers")), Vec::<std::path::PathBuf>::new());
    site.assert_tidy();
}

/// The files of an image, as another machine gets them.
#[track_caller]
fn assert_runs(name: &str) {
    let site = Site::new(&format!("FROM {name}\n"));
    site.build(&["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
    assert!(site.path("out/bin/busybox").exists());
}

fn a_hit_is_pushed_beside_its_cache() {
    let world = World::new();
    let (host, fresh) = (world.registry.host(), site());
    let pushed = push(&fresh, &format!("{host}/app"), &[&world.from()]);
    assert_lazy(&fresh, &world, &pushed);
    assert_eq!((world.n_downloads(), world.n_mounts()), (0, 0), "{:?}", world.registry.requests());

    let fresh = site();
    let other = format!("{host}/other");
    assert_lazy(&fresh, &world, &push(&fresh, &other, &[&world.from()]));
    assert_eq!((world.n_downloads(), world.n_mounts()), (0, world.layers.len()), "{:?}", world.registry.requests());
    assert_runs(&other);

    world.registry.forget_requests();
    let fresh = site();
    fresh.build(&["--output=type=cacheonly", &world.from()]).success();
    assert_eq!(world.n_downloads(), 0, "nobody wants the files");
}

fn another_registry_gets_the_layers() {
    let (world, other) = (World::new(), TestRegistry::start().unwrap());
    let (name, fresh) = (format!("{}/app", other.host()), site());
    let pushed = push(&fresh, &name, &[&world.from()]);
    assert_lazy(&fresh, &world, &pushed);
    // The base's layer is here: the context of that name is a folder.
    assert_eq!(world.n_downloads(), world.layers.len() - 1, "each once: {:?}", world.registry.requests());
    assert_runs(&name);
    world.registry.forget_requests();
    let fresh = site();
    push(&fresh, &name, &[&world.from()]);
    assert_eq!(world.n_downloads(), 0, "it has them now");
}

fn an_archive_is_made_of_the_blobs() {
    let world = World::new();
    for (compression, media_type) in [("gzip", "tar+gzip"), ("zstd", "tar+zstd"), ("uncompressed", ".tar\"")] {
        let fresh = site();
        let output = format!("--output=type=oci,name=app,dest=../image.tar,compression={compression}");
        let outcome = fresh.build(&[&world.from(), &output]).success();
        assert_eq!(ran(&outcome), Vec::<String>::new());
        assert_eq!(files_below(&fresh.path("store/layers")), Vec::<std::path::PathBuf>::new());
        let archive = fs::read(fresh.path("image.tar")).unwrap();
        assert!(slipway_test::image::contains(&archive, media_type.as_bytes()), "{compression}");
        let reader = Site::new("FROM app\n");
        run(reader.slipway().args(["load", "--input", &fresh.name("image.tar")])).success();
        reader.build(&["--output=../out"]).success();
        assert_eq!(fs::read_to_string(reader.path("out/built")).unwrap(), "tool\n");
    }
    // Other times need the files.
    let fresh = site();
    let output = "--output=type=oci,name=app,dest=../image.tar,rewrite-timestamp=true";
    fresh.build(&[&world.from(), output, "--build-arg=SOURCE_DATE_EPOCH=7"]).success();
    let reader = Site::new("FROM app\n");
    run(reader.slipway().args(["load", "--input", &fresh.name("image.tar")])).success();
    reader.build(&["--output=../out"]).success();
    let time = fs::metadata(reader.path("out/built")).unwrap().modified().unwrap();
    assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 7);
}

fn a_linked_copy_lies_on_a_hit() {
    let world = World::new();
    let fresh = site();
    let dockerfile = fs::read_to_string(fresh.path("ctx/Dockerfile")).unwrap();
    fresh.write("Dockerfile", &format!("{dockerfile}COPY --link source /linked\n"));
    let name = format!("{}/linked", world.registry.host());
    let (image, outcome) = push(&fresh, &name, &[&world.from()]);
    assert_eq!(ran(&outcome).len(), 2, "the copy and its link: {}", outcome.stderr);
    let layers = layers_of(&world.registry, &image);
    assert_eq!(layers[..4], world.layers);
    assert_eq!((layers.len(), world.n_downloads()), (5, 0), "{:?}", world.registry.requests());
    assert_runs(&name);
}

/// That a promise is broken may be noticed no earlier than by an output.
fn layers_that_are_not_there_are_made_anew() {
    let (world, other) = (World::new(), TestRegistry::start().unwrap());
    let name = format!("{}/app", other.host());
    let fresh = site();
    fs::remove_file(world.registry.blob_path(&world.layers[2].parse().unwrap())).unwrap();
    let (_, outcome) = push(&fresh, &name, &[&world.from()]);
    let warning = format!("WARNING: the cache `{}/cache` cannot be used", world.registry.host());
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
    assert_eq!(ran(&outcome).len(), 5, "{}", outcome.stderr);
    assert_runs(&name);
    fresh.assert_tidy();
}
