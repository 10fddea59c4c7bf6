//! Layers on their way in and out: in which forms they come, and that their size costs neither memory nor a second look
//! at what was stored.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};
use slipway_oci::{Digest, Platform, media_type};
use slipway_test::capability::Capability;
use slipway_test::registry::TestRegistry;
use slipway_test::tar::{self, Entry};

use crate::crashes::SmallDisk;
use crate::hostile_registry::watched;
use crate::site::{Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("every_form_of_layer_comes_and_goes", every_form_of_layer_comes_and_goes),
    test("lists_of_docker_lead_to_their_image", lists_of_docker_lead_to_their_image),
    test("blobs_are_unpacked_while_they_arrive", blobs_are_unpacked_while_they_arrive),
    test("layers_of_any_size_take_the_same_memory", layers_of_any_size_take_the_same_memory),
    Test { name: "a_full_disk_leaves_the_store_as_it_was", needs: &[Capability::Root], run: a_full_disk },
    Test {
        name: "a_build_goes_on_from_where_the_disk_was_full",
        needs: &[Capability::Root],
        run: a_build_goes_on_from_where_the_disk_was_full,
    },
];

const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Issue 6: peak memory, whatever the size of the layers.
const MOST_MEMORY_KIB: u64 = 100 << 10;

/// What makes the blob of a layer from its tar.
type Compress = fn(&[u8]) -> Vec<u8>;

/// A layer as it comes: its media type, its blob and the tar in it.
struct Layer {
    media_type: String,
    blob: Vec<u8>,
    tar: Vec<u8>,
}

impl Layer {
    /// A layer with one file. What `compress` makes of the tar is its blob.
    fn new(media_type: String, path: &str, data: Vec<u8>, compress: impl Fn(&[u8]) -> Vec<u8>) -> Layer {
        let entry = Entry { path: path.to_owned(), mode: 0o644, data, ..Entry::default() };
        let tar = tar::write(&[entry]).unwrap();
        Layer { media_type, blob: compress(&tar), tar }
    }
}

/// The manifest of an image of `layers`, whose blobs are in the registry.
fn manifest_of(registry: &TestRegistry, layers: &[Layer]) -> Value {
    let Platform { os, architecture, .. } = Platform::host();
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(&layer.tar)).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = json!({ "os": os, "architecture": architecture, "rootfs": rootfs }).to_string();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = registry.put_blob("image", bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": put(media_type::OCI_CONFIG, config.as_bytes()),
        "layers": layers.iter().map(|layer| put(&layer.media_type, &layer.blob)).collect::<Vec<_>>(),
    })
}

/// Puts an image of `layers` into the registry and gives its name.
fn publish(registry: &TestRegistry, layers: &[Layer]) -> String {
    let manifest = manifest_of(registry, layers).to_string();
    registry.put_manifest("image", Some("latest"), media_type::OCI_MANIFEST, manifest.as_bytes()).unwrap();
    format!("{}/image", registry.host())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A frame that readers pass over (RFC 8878, 3.1.2).
fn skippable(content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap();
    [&0x184D_2A50_u32.to_le_bytes()[..], &size.to_le_bytes(), content].concat()
}

/// Each part of it compressed by itself.
fn in_parts(bytes: &[u8], compress: Compress) -> Vec<Vec<u8>> {
    bytes.chunks(700).map(compress).collect()
}

/// As containers/storage writes zstd:chunked: frames for the parts, a list of them and a footer where nobody else looks.
fn zstd_chunked(bytes: &[u8]) -> Vec<u8> {
    let mut blob = in_parts(bytes, zstd).concat();
    blob.extend(skippable(&zstd(b"{\"version\":1,\"entries\":[]}")));
    blob.extend(skippable(&[0; 64]));
    blob
}

fn every_form_of_layer_comes_and_goes() {
    let forms: [(&str, String, Compress); 8] = [
        ("plain", OCI.to_owned(), <[u8]>::to_vec),
        ("gzip", format!("{OCI}+gzip"), gzip),
        ("gzip-members", format!("{OCI}+gzip"), |tar| in_parts(tar, gzip).concat()),
        ("zstd", format!("{OCI}+zstd"), zstd),
        ("zstd-frames", format!("{OCI}+zstd"), |tar| in_parts(tar, zstd).concat()),
        ("zstd-skippable-first", format!("{OCI}+zstd"), |tar| [skippable(b"note"), zstd(tar)].concat()),
        ("zstd-chunked", format!("{OCI}+zstd"), zstd_chunked),
        ("docker", format!("{DOCKER}.gzip"), gzip),
    ];
    let layers = forms.each_ref().map(|(name, media_type, compress)| {
        Layer::new(media_type.clone(), name, format!("{name}\n").repeat(300).into_bytes(), compress)
    });
    let registry = TestRegistry::start().unwrap();
    let name = publish(&registry, &layers);
    let site = Site::new(&format!("FROM {name}\n"));
    run(site.slipway().args(["pull", &name])).success();
    let assert_whole = |site: &Site, folder: &str| {
        for (name, ..) in &forms {
            let data = fs::read_to_string(site.path(folder).join(name)).unwrap();
            assert_eq!(data, format!("{name}\n").repeat(300));
        }
    };
    site.build(&["--output=../out"]).success();
    assert_whole(&site, "out");

    // What somebody else compressed goes on as it came.
    let other = TestRegistry::start().unwrap();
    let copy = format!("{}/copy", other.host());
    run(site.slipway().args(["tag", &name, &copy])).success();
    run(site.slipway().args(["push", &copy])).success();
    for layer in &layers {
        assert!(other.blob(&Digest::of(&layer.blob)).unwrap() == layer.blob, "{}", layer.media_type);
    }
    // Or in the form that the output asks for.
    for form in ["gzip", "zstd", "uncompressed"] {
        let archive = format!("{form}.tar");
        let output = format!("--output=type=oci,dest=../{archive},name=made,compression={form},force-compression=true");
        site.build(&[&output]).success();
        let user = Site::new("FROM made\n");
        run(user.slipway().args(["load", "--input", &site.name(&archive)])).success();
        user.build(&["--output=../out"]).success();
        assert_whole(&user, "out");
    }
    site.assert_tidy();
}

/// Schema 2, where all documents have Docker's types; what is for no platform that runs anywhere is passed over.
fn lists_of_docker_lead_to_their_image() {
    let registry = TestRegistry::start().unwrap();
    let layer = Layer::new(format!("{DOCKER}.gzip"), "file", b"of a list\n".to_vec(), gzip);
    let mut manifest = manifest_of(&registry, &[layer]);
    manifest["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    manifest["config"]["mediaType"] = json!(media_type::DOCKER_CONFIG);
    let manifest = manifest.to_string();
    let digest = registry.put_manifest("image", None, media_type::DOCKER_MANIFEST, manifest.as_bytes()).unwrap();
    let Platform { os, architecture, .. } = Platform::host();
    let entry = |os: &str, architecture: &str| {
        let platform = json!({ "os": os, "architecture": architecture });
        json!({ "mediaType": media_type::DOCKER_MANIFEST, "digest": digest, "size": manifest.len(), "platform": platform })
    };
    let list = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_INDEX,
        "manifests": [entry("unknown", "unknown"), entry(&os, "sparc"), entry(&os, &architecture)],
    });
    registry.put_manifest("image", Some("latest"), media_type::DOCKER_INDEX, list.to_string().as_bytes()).unwrap();
    let name = format!("{}/image", registry.host());
    let site = Site::new(&format!("FROM {name}\n"));
    run(site.slipway().args(["pull", &name])).success();
    site.build(&["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), "of a list\n");
}

/// Bytes that differ from layer to layer, and that nothing compresses well enough to hide them.
fn content(seed: u32, n_bytes: u32) -> Vec<u8> {
    (0..n_bytes / 4).flat_map(|i| (i ^ seed).wrapping_mul(0x9E37_79B1).to_le_bytes()).collect()
}

/// Large enough to come in pieces.
const LARGE_BYTES: u32 = 24 << 20;

/// How much a process has read of files and pipes, in bytes. It has ended, and nobody has waited for it yet.
fn n_read(child: &std::process::Child) -> u64 {
    let pid = Pid::from_child(child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let counts = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// The store keeps the blob, and nobody reads it again to unpack it or to check it.
fn blobs_are_unpacked_while_they_arrive() {
    let registry = TestRegistry::start().unwrap();
    let layers = [
        Layer::new(format!("{OCI}+zstd"), "a", content(1, LARGE_BYTES), zstd),
        Layer::new(OCI.to_owned(), "b", content(2, LARGE_BYTES), <[u8]>::to_vec),
    ];
    let name = publish(&registry, &layers);
    // To unpack them, and to pass them on after a look at what is in them.
    for words in [&["pull", &name][..], &["build", "--output=type=oci,dest=../image.tar", "."]] {
        let site = Site::new(&format!("FROM {name}\nENV A=b\n"));
        let mut command = site.slipway();
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let n_read = n_read(&child);
        assert!(child.wait().unwrap().success());
        let passed_on = site.path("image.tar").metadata().map_or(0, |archive| archive.len());
        assert!(n_read < passed_on + 1_000_000, "{words:?}: {n_read} bytes were read, {passed_on} were passed on");
        for layer in &layers {
            assert!(site.store().has_blob(&Digest::of(&layer.blob)).unwrap());
        }
        site.assert_tidy();
    }
}

fn layers_of_any_size_take_the_same_memory() {
    let registry = TestRegistry::start().unwrap();
    let layer = |seed| {
        let (media_type, compress): (_, Compress) = match seed % 2 {
            0 => (format!("{OCI}+zstd"), zstd),
            _ => (OCI.to_owned(), <[u8]>::to_vec),
        };
        Layer::new(media_type, &format!("file-{seed}"), content(seed, LARGE_BYTES), compress)
    };
    let layers: Vec<Layer> = (1..=4).map(layer).collect();
    let name = publish(&registry, &layers);
    drop(layers);
    let site = Site::new(&format!("FROM {name} AS base\nFROM scratch\nCOPY --from=base / /\n"));
    let assert_little = |words: &[&str]| {
        let (outcome, most_kib) = watched(site.slipway().args(words));
        outcome.success();
        assert!(most_kib < MOST_MEMORY_KIB, "{words:?} took {most_kib} KiB");
    };
    assert_little(&["pull", &name]);
    let copy = format!("{}/copy", registry.host());
    // All of it as one new layer, hashed, compressed and sent.
    assert_little(&["build", &format!("--output=type=registry,name={copy}"), "."]);
    assert_little(&["build", "--output=type=oci,dest=../image.tar,compression=zstd", "."]);
    site.assert_tidy();
}

/// A layer of about so many bytes.
fn plain(path: &str, n_bytes: u32, seed: u32) -> Layer {
    Layer::new(OCI.to_owned(), path, content(seed, n_bytes), <[u8]>::to_vec)
}

/// Neither the layer that fitted nor what says which layers there are stays behind.
fn a_full_disk() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM scratch\n");
    let small = publish(&registry, &[plain("a", 10_000, 1)]);
    let store = site.path("store");
    fs::create_dir_all(&store).unwrap();
    run(&mut SmallDisk::mount(&store, "size=16m")).success();
    let disk = SmallDisk(&store);
    let pull = |name: &str| run(site.slipway().args(["pull", name]));
    pull(&small).success();
    let said = |arguments: &[&str]| String::from_utf8(run(site.slipway().args(arguments)).success().stdout).unwrap();
    let state =
        || (said(&["images", "--no-trunc"]), files_below(&store.join("blobs")), files_below(&store.join("layers")));
    let before = state();
    let large = publish(&registry, &[plain("b", 2_000_000, 2), plain("c", 20_000_000, 3)]);
    let failure = pull(&large).failure();
    assert!(failure.contains("No space left on device"), "{failure}");
    assert_eq!(state(), before);
    said(&["fsck"]);
    run(&mut SmallDisk::mount(&store, "remount,size=100m")).success();
    pull(&large).success();
    drop(disk);
}

/// What a build has finished is kept for the next one, unlike what a pull brought: what the base is, and its first layer.
fn a_build_goes_on_from_where_the_disk_was_full() {
    let registry = TestRegistry::start().unwrap();
    let small = plain("b", 2_000_000, 2);
    let name = publish(&registry, std::slice::from_ref(&small));
    let site = Site::new(&format!("FROM {name}\nCOPY Dockerfile /\n"));
    let store = site.path("store");
    fs::create_dir_all(&store).unwrap();
    run(&mut SmallDisk::mount(&store, "size=16m")).success();
    let disk = SmallDisk(&store);
    site.build(&["--output=type=cacheonly"]).success();
    publish(&registry, &[small, plain("c", 20_000_000, 3)]);
    let failure = site.build(&["--pull", "--output=type=cacheonly"]).failure();
    assert!(failure.contains("No space left on device"), "{failure}");
    run(&mut SmallDisk::mount(&store, "remount,size=100m")).success();
    registry.forget_requests();
    site.build(&["--output=type=cacheonly"]).success();
    let requests = registry.requests();
    assert!(requests.iter().all(|request| request.target.contains("/blobs/")), "{requests:?}");
    let asked: BTreeSet<&String> = requests.iter().map(|request| &request.target).collect();
    assert_eq!(asked.len(), 1, "the layer that did not fit: {requests:?}");
    drop(disk);
}
