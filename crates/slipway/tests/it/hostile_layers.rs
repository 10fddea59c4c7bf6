//! Archives that somebody made to do harm, through every door by which archives come in: no file outside changes, and
//! the build succeeds or says what is wrong.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};
use slipway_oci::{Digest, Platform, media_type};
use slipway_test::hostile_tar::{Verdict, corpus};
use slipway_test::raw_tar::{Raw, archive};
use slipway_test::registry::TestRegistry;

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("layers_from_a_registry", layers_from_a_registry),
    test("layers_of_a_layout", layers_of_a_layout),
    test("layers_of_an_imported_cache", layers_of_an_imported_cache),
    test("layers_of_images_that_are_loaded", layers_of_images_that_are_loaded),
    test("archives_that_are_added", archives_that_are_added),
    test("contexts_from_standard_input", contexts_from_standard_input),
    test("bombs_are_streams", bombs_are_streams),
];

const OUT: &str = "--output=../out";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Files beside a build that must stay as they are.
struct Canary {
    before: Vec<String>,
}

impl Canary {
    fn new(site: &Site) -> Canary {
        fs::create_dir_all(site.path("canary/folder")).unwrap();
        fs::write(site.path("canary/file"), "untouched").unwrap();
        Canary { before: Self::look(site) }
    }

    fn look(site: &Site) -> Vec<String> {
        let paths = ["canary", "canary/file", "canary/folder"].map(|name| site.path(name));
        let describe = |path: &Path| {
            let meta = path.symlink_metadata().unwrap();
            let (owner, time) = ((meta.uid(), meta.gid()), (meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec()));
            format!("{} {:o} {owner:?} {} {time:?}", path.display(), meta.mode(), meta.nlink())
        };
        let entries = fs::read_dir(site.path("canary")).unwrap().count();
        let inner = fs::read_dir(site.path("canary/folder")).unwrap().count();
        let content = fs::read_to_string(site.path("canary/file")).unwrap();
        paths.iter().map(|path| describe(path)).chain([format!("{entries} {inner} {content}")]).collect()
    }
}

/// Calls `build` with a place and an archive, for all of the corpus.
fn with_each(build: impl Fn(&Site, Verdict, Vec<Raw>) -> (Outcome, bool)) {
    let n_archives = corpus("").len();
    assert!(n_archives >= 60);
    for index in 0..n_archives {
        let site = Site::new("");
        let canary = Canary::new(&site);
        let (name, verdict, entries) = corpus(&site.name("canary")).remove(index);
        let (outcome, is_as_expected) = build(&site, verdict, entries);
        assert_eq!(Canary::look(&site), canary.before, "{name}: {}", outcome.stderr);
        // Neither a panic nor a signal.
        assert!(matches!(outcome.exit_code, Some(0 | 1)), "{name}: {:?}\n{}", outcome.exit_code, outcome.stderr);
        assert!(is_as_expected, "{name}: not {verdict:?}\n{}", outcome.stderr);
        let is_told = outcome.stderr.lines().any(|line| line.contains("ERROR: ") || line.starts_with("Error: "));
        assert!(outcome.exit_code == Some(0) || is_told, "{name}: {}", outcome.stderr);
        site.assert_tidy();
    }
}

/// Whether an image was had if its layer is one that can be.
fn is_by_verdict(outcome: &Outcome, verdict: Verdict) -> bool {
    (outcome.exit_code == Some(0)) == (verdict == Verdict::Inside)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Config, manifest and compressed layer of an image that is this archive.
fn image_of(layer: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let Platform { os, architecture, .. } = Platform::host();
    let rootfs = json!({ "type": "layers", "diff_ids": [Digest::of(layer)] });
    let config = json!({ "os": os, "architecture": architecture, "rootfs": rootfs }).to_string().into_bytes();
    let blob = gzip(layer);
    let descriptor = |media_type: &str, bytes: &[u8]| -> Value {
        json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(GZIP_LAYER, &blob)],
    });
    (config, manifest.to_string().into_bytes(), blob)
}

fn layers_from_a_registry() {
    let registry = TestRegistry::start().unwrap();
    with_each(|site, verdict, entries| {
        let (config, manifest, blob) = image_of(&archive(entries));
        registry.put_blob("image", &config).unwrap();
        registry.put_blob("image", &blob).unwrap();
        registry.put_manifest("image", Some("latest"), media_type::OCI_MANIFEST, &manifest).unwrap();
        site.write("Dockerfile", &format!("FROM {}/image\nCOPY Dockerfile /d/e/Dockerfile\n", registry.host()));
        let outcome = site.build(&["--output=type=oci,dest=../image.tar"]);
        let is_as_expected = is_by_verdict(&outcome, verdict);
        (outcome, is_as_expected)
    });
}

fn layers_of_a_layout() {
    with_each(|site, verdict, entries| {
        let (config, manifest, blob) = image_of(&archive(entries));
        let blobs = site.path("layout/blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for bytes in [&config, &manifest, &blob] {
            fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        }
        let digest = Digest::of(&manifest);
        let entry = json!({ "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": manifest.len() });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(site.path("layout/index.json"), index.to_string()).unwrap();
        site.write("Dockerfile", "FROM evil\n");
        let context = format!("--build-context=evil=oci-layout://{}", site.name("layout"));
        let outcome = site.build(&[&context, OUT, "--output=type=tar,dest=../out.tar"]);
        let is_as_expected = is_by_verdict(&outcome, verdict);
        (outcome, is_as_expected)
    });
}

/// The cache promises a layer for a step, and it is another one. What can be unpacked is believed; all else is told, and
/// the step runs.
fn layers_of_an_imported_cache() {
    let dockerfile = "FROM scratch\nCOPY Dockerfile /made-here\n";
    let model = Site::new(dockerfile);
    model.build(&[&format!("--cache-to=type=local,dest={}", model.name("cache"))]).success();
    let read = |digest: &Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:").to_owned();
        serde_json::from_slice::<Value>(&fs::read(model.path("cache/blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let index: Value = serde_json::from_slice(&fs::read(model.path("cache/index.json")).unwrap()).unwrap();
    let manifest = read(&index["manifests"][0]["digest"]);
    let records = read(&manifest["config"]["digest"]);
    with_each(|site, verdict, entries| {
        let layer = archive(entries);
        let blob = gzip(&layer);
        let (mut index, mut manifest, mut records) = (index.clone(), manifest.clone(), records.clone());
        let blobs = site.path("cache/blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
            (json!(digest), json!(bytes.len()))
        };
        let (digest, size) = put(&blob);
        records["layers"][0]["blob"] = digest.clone();
        (manifest["layers"][0]["digest"], manifest["layers"][0]["size"]) = (digest, size);
        manifest["layers"][0]["annotations"]["containerd.io/uncompressed"] = json!(Digest::of(&layer));
        (manifest["config"]["digest"], manifest["config"]["size"]) = put(records.to_string().as_bytes());
        (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(manifest.to_string().as_bytes());
        fs::write(site.path("cache/index.json"), index.to_string()).unwrap();
        site.write("Dockerfile", dockerfile);
        let outcome = site.build(&[&format!("--cache-from=type=local,src={}", site.name("cache")), OUT]);
        let is_told = outcome.stderr.contains("cannot be used");
        let is_made = site.path("out/made-here").exists();
        let is_as_expected =
            outcome.exit_code == Some(0) && is_told == (verdict != Verdict::Inside) && is_told == is_made;
        (outcome, is_as_expected)
    });
}

fn layers_of_images_that_are_loaded() {
    with_each(|site, verdict, entries| {
        let (config, manifest, blob) = image_of(&archive(entries));
        let annotations = json!({ "io.containerd.image.name": "docker.io/library/evil:latest" });
        let entry = json!({
            "mediaType": media_type::OCI_MANIFEST,
            "digest": Digest::of(&manifest),
            "size": manifest.len(),
            "annotations": annotations,
        });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        let mut files = vec![Raw::file(b"oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)];
        files.push(Raw::file(b"index.json", index.as_bytes()));
        for bytes in [&config, &manifest, &blob] {
            files.push(Raw::file(format!("blobs/sha256/{}", Digest::of(bytes).hex()).as_bytes(), bytes));
        }
        fs::write(site.path("image.tar"), archive(files)).unwrap();
        let loaded = run(site.slipway().args(["load", "--input", &site.name("image.tar")]));
        if loaded.exit_code != Some(0) {
            return (loaded, verdict != Verdict::Inside);
        }
        site.write("Dockerfile", "FROM evil\nCOPY Dockerfile /d/e/Dockerfile\n");
        let outcome = site.build(&["--output=type=oci,dest=../built.tar"]);
        let is_as_expected = is_by_verdict(&outcome, verdict);
        (outcome, is_as_expected)
    });
}

fn archives_that_are_added() {
    with_each(|site, verdict, entries| {
        fs::write(site.path("ctx/evil.tar"), archive(entries)).unwrap();
        site.write("Dockerfile", "FROM scratch\nADD evil.tar /canary/folder/\n");
        let outcome = site.build(&[OUT]);
        // What cannot be read as an archive from its start is a file like any other, and so are whiteouts.
        let is_as_expected = verdict != Verdict::Inside || outcome.exit_code == Some(0);
        (outcome, is_as_expected)
    });
}

fn contexts_from_standard_input() {
    with_each(|site, verdict, mut entries| {
        entries.insert(0, Raw::file(b"Dockerfile", b"FROM scratch\nCOPY . /copy\n"));
        fs::write(site.path("in.tar"), archive(entries)).unwrap();
        let input = File::open(site.path("in.tar")).unwrap();
        let outcome = run(site.build_command(&[OUT, "-"]).stdin(input));
        let is_as_expected = verdict != Verdict::Inside || outcome.exit_code == Some(0);
        (outcome, is_as_expected)
    });
}

/// A large file of nothing, a hundred times smaller when it comes: unpacked while it is read,
/// so that memory does not grow with it.
fn bombs_are_streams() {
    const N_BYTES: u64 = 256 << 20;
    let header = archive(vec![Raw::file(b"zeros", b"").field(124, format!("{N_BYTES:011o}\0").as_bytes())]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&header[..512]).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), N_BYTES + 1024), &mut encoder).unwrap();
    let site = Site::new("FROM scratch\nADD bomb.tgz /\n");
    fs::write(site.path("ctx/bomb.tgz"), encoder.finish().unwrap()).unwrap();
    assert!(site.path("ctx/bomb.tgz").metadata().unwrap().len() < N_BYTES / 100);
    let mut command = site.build_command(&["--output=type=cacheonly"]);
    let (outcome, most_kib) = crate::hostile_registry::watched(command.arg("."));
    outcome.success();
    assert!(most_kib < N_BYTES / 1024 / 2, "{most_kib} KiB of memory");
    site.assert_tidy();
}
