//! Registries that are broken or want to do harm: a build gets the right image or says what is wrong, no login leaves
//! the host that it belongs to, memory stays bounded, and the store is good for the next build.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use slipway_oci::{Digest, Platform, media_type};
use slipway_test::registry::{Access, Canned, TestRegistry};
use slipway_test::tar::{self, Entry};

use crate::site::{Outcome, Site};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("documents_that_lie", documents_that_lie),
    test("layers_that_lie", layers_that_lie),
    test("a_known_layer_keeps_its_content", a_known_layer_keeps_its_content),
    test("answers_without_an_end", answers_without_an_end),
    test("lists_of_themselves", lists_of_themselves),
    test("redirects_to_nowhere", redirects_to_nowhere),
    test("storms_that_pass", storms_that_pass),
    test("storms_that_do_not_pass", storms_that_do_not_pass),
    test("connections_that_always_break", connections_that_always_break),
    test("logins_stay_with_their_host", logins_stay_with_their_host),
    test("logins_stay_with_their_host_in_a_push", logins_stay_with_their_host_in_a_push),
];

/// No build here needs more at any time, whatever the server sends. A debug build without an attack takes a third.
const MOST_MEMORY_KIB: u64 = 100 << 10;
/// `user:password`, as `config.json` has it.
const LOGIN: &str = "dXNlcjpwYXNzd29yZA==";
const HONEST: &str = "what the image holds\n";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image as a registry holds it; each part of it may be forged.
struct Forged {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Value,
    served_as: &'static str,
    /// What is told of the manifest in a header, if anything.
    stated_digest: Option<&'static str>,
    /// What is sent in the place of the layer.
    served_layer: Option<Vec<u8>>,
}

impl Forged {
    fn nothing() -> Forged {
        let entry = Entry { path: "file".to_owned(), mode: 0o644, data: HONEST.into(), ..Entry::default() };
        let layer = tar::write(&[entry]).unwrap();
        let config = config_of(&[Digest::of(&layer)]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor(OCI_LAYER, &layer)],
        });
        let served_as = media_type::OCI_MANIFEST;
        Forged { layer, config, manifest, served_as, stated_digest: None, served_layer: None }
    }

    /// Another config, to which the manifest points as it should.
    fn with_config(&mut self, config: Vec<u8>) {
        self.manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &config);
        self.config = config;
    }

    /// Another layer, to which manifest and config point as they should.
    fn with_layer(&mut self, media_type: &str, layer: Vec<u8>, plain: &[u8]) {
        self.manifest["layers"] = json!([descriptor(media_type, &layer)]);
        self.layer = layer;
        self.with_config(config_of(&[Digest::of(plain)]));
    }

    /// Becomes `image:latest`.
    fn publish(&self, registry: &TestRegistry) {
        let layer = registry.put_blob("image", &self.layer).unwrap();
        registry.put_blob("image", &self.config).unwrap();
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        registry.put_manifest("image", Some("latest"), self.served_as, &manifest).unwrap();
        if let Some(stated) = self.stated_digest {
            let stated = ("Docker-Content-Digest".to_owned(), stated.to_owned());
            let headers = vec![("Content-Type".to_owned(), self.served_as.to_owned()), stated];
            let canned = Canned { headers, body: manifest, ..Canned::default() };
            registry.set_canned("/v2/image/manifests/latest", canned);
        }
        if let Some(body) = &self.served_layer {
            registry.set_canned(&blob_path(&layer), Canned { body: body.clone(), ..Canned::default() });
        }
    }
}

fn config_of(diff_ids: &[Digest]) -> Vec<u8> {
    let Platform { os, architecture, .. } = Platform::host();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "os": os, "architecture": architecture, "rootfs": rootfs }).to_string().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

fn blob_path(digest: &Digest) -> String {
    format!("/v2/image/blobs/{digest}")
}

/// An image may claim another blob to be a layer that is known already: that blob must get into nobody's images.
fn a_known_layer_keeps_its_content() {
    let registry = TestRegistry::start().unwrap();
    Forged::nothing().publish(&registry);
    let site = site_of(&registry);
    build(&site, &[]).success();
    // A second layer, so that this stack of layers is a new one.
    let layer = |path: &str, data: &str| {
        let entry = Entry { path: path.to_owned(), mode: 0o644, data: data.into(), ..Entry::default() };
        tar::write(&[entry]).unwrap()
    };
    let (other, top) = (layer("file", "smuggled in\n"), layer("top", "top\n"));
    let mut forged = Forged::nothing();
    forged.with_config(config_of(&[Digest::of(&forged.layer), Digest::of(&top)]));
    forged.manifest["layers"] = json!([descriptor(OCI_LAYER, &other), descriptor(OCI_LAYER, &top)]);
    for blob in [&other, &top] {
        registry.put_blob("image", blob).unwrap();
    }
    forged.publish(&registry);
    let archive = site.name("image.tar");
    let output = format!("--output=type=oci,dest={archive}");
    let exports = |arguments: &[&str]| {
        let outcome = build(&site, &[&[output.as_str()], arguments].concat());
        assert!(!fs::read(&archive).is_ok_and(|bytes| slipway_test::image::contains(&bytes, b"smuggled in")));
        outcome
    };
    // A layer leaves in the form that the image has it in, and that is looked at before it does.
    let told = exports(&[]).failure();
    assert!(told.contains("but the config says"), "{told}");
    Forged::nothing().publish(&registry);
    exports(&["--output=type=oci,compression=uncompressed,force-compression=true,dest=../plain.tar"]).success();
    let plain = fs::read(site.path("plain.tar")).unwrap();
    assert!(slipway_test::image::contains(&plain, HONEST.as_bytes()));
    assert!(!slipway_test::image::contains(&plain, b"smuggled in"));
}

/// A place whose Dockerfile is the registry's image and nothing else.
fn site_of(registry: &TestRegistry) -> Site {
    Site::new(&format!("FROM {}/image\n", registry.host()))
}

/// Builds, asking the registry anew, and watches how much memory that takes.
#[track_caller]
fn build(site: &Site, arguments: &[&str]) -> Outcome {
    let mut command = site.slipway();
    command.args(["build", "--progress=plain", "--pull", "--output=../out"]).args(arguments).arg(".");
    let (outcome, most_kib) = watched(&mut command);
    assert!(most_kib < MOST_MEMORY_KIB, "the build took {most_kib} KiB of memory:\n{}", outcome.stderr);
    outcome
}

/// Runs a command that says something on its standard error to its end; also says the most memory it was seen to have,
/// in KiB.
pub(crate) fn watched(command: &mut Command) -> (Outcome, u64) {
    // Full, so that no command is at its end before it was seen.
    let (mut reader, mut writer) = io::pipe().unwrap();
    let filling = vec![0; rustix::pipe::fcntl_getpipe_size(&writer).unwrap()];
    writer.write_all(&filling).unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    // It holds the other end, and the text would not end before that is gone.
    command.stderr(Stdio::null());
    let status_file = format!("/proc/{}/status", child.id());
    let seen_kib = || -> Option<u64> {
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
        Some(kib.trim().parse().unwrap())
    };
    let mut most_kib = seen_kib().expect("it says something before it ends");
    thread::scope(|scope| {
        let stderr = scope.spawn(|| {
            reader.read_exact(&mut vec![0; filling.len()]).unwrap();
            io::read_to_string(reader).unwrap()
        });
        let status = loop {
            most_kib = seen_kib().map_or(most_kib, |kib| kib.max(most_kib));
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        (Outcome { exit_code: status.code(), stdout: Vec::new(), stderr: stderr.join().unwrap() }, most_kib)
    })
}

/// The store is as it should be, and the next build gets the honest image.
#[track_caller]
fn assert_recovers(registry: &TestRegistry, site: &Site) {
    site.assert_tidy();
    assert!(site.active().is_empty(), "something is left of the build that failed");
    assert!(!site.path("out/file").exists(), "something of a bad image came out");
    registry.behave();
    Forged::nothing().publish(registry);
    build(site, &[]).success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), HONEST);
    site.assert_tidy();
}

/// What it is, what the error has to say, and how it is made.
type Forgery = (&'static str, &'static str, fn(&mut Forged));

/// Builds an image for each way to forge one. It must fail and say `expected`.
fn assert_refused(forgeries: &[Forgery]) {
    for (name, expected, forge) in forgeries {
        let registry = TestRegistry::start().unwrap();
        let site = site_of(&registry);
        let mut forged = Forged::nothing();
        forge(&mut forged);
        forged.publish(&registry);
        let stderr = build(&site, &[]).failure();
        let message = stderr.lines().last().unwrap();
        assert!(message.contains(expected), "{name}: `{expected}` is not in: {stderr}");
        assert_recovers(&registry, &site);
    }
}

fn documents_that_lie() {
    assert_refused(&[
        ("both an image and a list", "both `layers` and `manifests`", |f| f.manifest["manifests"] = json!([])),
        ("an image served as a list", "media type", |f| f.served_as = media_type::OCI_INDEX),
        ("an image that says it is a list", "media type", |f| {
            f.manifest["mediaType"] = json!(media_type::DOCKER_INDEX);
        }),
        ("a list without entries", "has no manifest for", |f| {
            f.manifest = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [] });
            f.served_as = media_type::OCI_INDEX;
        }),
        ("schema 1", "is not supported", |f| {
            f.manifest = json!({ "schemaVersion": 1, "fsLayers": [], "history": [] });
            f.served_as = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        }),
        ("no JSON", "not a JSON manifest", |f| f.manifest = json!("text")),
        ("a stated digest that is a path", "Docker-Content-Digest", |f| f.stated_digest = Some("sha256:../../x")),
        ("a stated digest that is another's", "got bytes with digest", |f| {
            f.stated_digest = Some("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        }),
        ("a config at a path", "digest", |f| f.manifest["config"]["digest"] = json!("sha256:../../../etc/passwd")),
        ("a layer at a path", "digest", |f| f.manifest["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")),
        ("a digest in capitals", "digest", |f| {
            f.manifest["layers"][0]["digest"] = json!(format!("sha256:{}", "A".repeat(64)));
        }),
        ("a digest that is short", "digest", |f| f.manifest["layers"][0]["digest"] = json!("sha256:abcd")),
        ("a digest with a slash", "digest", |f| {
            f.manifest["layers"][0]["digest"] = json!(format!("sha256/../..:{}", "a".repeat(64)));
        }),
        ("a size below zero", "manifest", |f| f.manifest["layers"][0]["size"] = json!(-1)),
        ("a size that is no integer", "manifest", |f| f.manifest["layers"][0]["size"] = json!(1e300)),
        ("a huge manifest", "longer than", |f| f.manifest["annotations"] = json!({ "a": "x".repeat(5 << 20) })),
        ("a manifest of many levels", "manifest", |f| {
            f.manifest["config"] = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
        }),
        ("a config that is no JSON", "the config of", |f| f.with_config(b"\x7FELF".to_vec())),
        ("a config that is a text", "the config of", |f| f.with_config(br#""text""#.to_vec())),
        ("a huge config", "more than is sensible", |f| f.with_config(vec![b' '; 9 << 20])),
        ("a config smaller than told", "got", |f| f.manifest["config"]["size"] = json!(1 << 20)),
        ("more layers than the config knows", "layers, but its config", |f| f.with_config(config_of(&[]))),
        ("fewer layers than the config knows", "layers, but its config", |f| f.manifest["layers"] = json!([])),
        ("an image without a config", "config", |f| drop(f.manifest.as_object_mut().unwrap().remove("config"))),
    ]);
}

fn layers_that_lie() {
    assert_refused(&[
        ("another layer", "got bytes with digest", |f| f.served_layer = Some(vec![b'x'; f.layer.len()])),
        ("a layer that unpacks to the right files but has other bytes", "got bytes with digest", |f| {
            let plain = f.layer.clone();
            let blob = gzip(&plain);
            let mut served = blob.clone();
            // Which system wrote it (RFC 1952, 2.3.1), and nobody who unpacks it cares.
            served[9] ^= 1;
            f.with_layer(&format!("{OCI_LAYER}+gzip"), blob, &plain);
            f.served_layer = Some(served);
        }),
        ("a layer smaller than told", "got", |f| f.manifest["layers"][0]["size"] = json!(1_u64 << 40)),
        ("a layer of the largest size there is", "got", |f| f.manifest["layers"][0]["size"] = json!(u64::MAX)),
        ("a layer larger than told", "wanted 1 bytes", |f| f.manifest["layers"][0]["size"] = json!(1)),
        ("a layer that the config does not know", "unpacks to", |f| f.with_config(config_of(&[Digest::of(b"other")]))),
        ("no compression though told", "layer of", |f| {
            f.manifest["layers"][0]["mediaType"] = json!(format!("{OCI_LAYER}+gzip"));
        }),
        ("another compression than told", "layer of", |f| {
            f.manifest["layers"][0]["mediaType"] = json!(format!("{OCI_LAYER}+zstd"));
        }),
        ("a layer of an unknown kind", "no kind of layer", |f| {
            f.manifest["layers"][0]["mediaType"] = json!("application/vnd.example.layer");
        }),
        ("a layer that is a config", "no kind of layer", |f| {
            f.manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        }),
        ("a foreign layer", "foreign layer", |f| {
            let layer = &mut f.manifest["layers"][0];
            layer["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            layer["urls"] = json!(["http://127.0.0.1:1/layer"]);
        }),
        ("a layer that must not be distributed", "foreign layer", |f| {
            let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
            f.manifest["layers"][0]["mediaType"] = json!(kind);
            f.manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/layer"]);
        }),
        ("an entry outside", "points outside", |f| {
            let entry = Entry { path: "../../outside".to_owned(), data: b"x".to_vec(), ..Entry::default() };
            let layer = tar::write(&[entry]).unwrap();
            f.with_layer(OCI_LAYER, layer.clone(), &layer);
        }),
        ("noise", "not a tar archive", |f| f.with_layer(OCI_LAYER, vec![b'x'; 5000], &[b'x'; 5000])),
    ]);
}

/// The server never stops to send. What is too much is refused after the bytes that there may be.
fn answers_without_an_end() {
    let parts: [fn(&Forged) -> String; 3] = [
        |_| "/v2/image/manifests/latest".to_owned(),
        |forged| blob_path(&Digest::of(&forged.config)),
        |forged| blob_path(&Digest::of(&forged.layer)),
    ];
    for part in parts {
        let registry = TestRegistry::start().unwrap();
        let site = site_of(&registry);
        let forged = Forged::nothing();
        forged.publish(&registry);
        let path = part(&forged);
        registry.set_canned(&path, Canned { is_endless: true, ..Canned::default() });
        let stderr = build(&site, &[]).failure();
        assert!(stderr.contains("longer than") || stderr.contains("bytes, got"), "{path}: {stderr}");
        assert_recovers(&registry, &site);
    }
}

/// A document cannot hold its own digest, but a server can claim that it does.
fn lists_of_themselves() {
    let registry = TestRegistry::start().unwrap();
    let site = site_of(&registry);
    let list_of = |digest: &Digest| {
        let Platform { os, architecture, .. } = Platform::host();
        let platform = json!({ "os": os, "architecture": architecture });
        let entry = json!({
            "mediaType": media_type::OCI_INDEX, "digest": digest, "size": 300, "platform": platform,
        });
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry] }).to_string()
    };
    let inner = list_of(&Digest::of(b"nothing"));
    let inner_digest = registry.put_manifest("image", None, media_type::OCI_INDEX, inner.as_bytes()).unwrap();
    let outer = list_of(&inner_digest);
    let put_outer = || registry.put_manifest("image", Some("latest"), media_type::OCI_INDEX, outer.as_bytes()).unwrap();
    put_outer();
    let stderr = build(&site, &[]).failure();
    assert!(stderr.contains("an index inside an index"), "{stderr}");
    assert_recovers(&registry, &site);

    put_outer();
    fs::remove_dir_all(site.path("out")).unwrap();
    let headers = vec![("Content-Type".to_owned(), media_type::OCI_INDEX.to_owned())];
    let itself = Canned { headers, body: outer.clone().into_bytes(), ..Canned::default() };
    registry.set_canned(&format!("/v2/image/manifests/{inner_digest}"), itself);
    let stderr = build(&site, &[]).failure();
    assert!(stderr.contains("got bytes with digest"), "{stderr}");
    assert_recovers(&registry, &site);
}

fn redirects_to_nowhere() {
    for location in ["file:///etc/passwd", "/v2/image/manifests/latest", "gopher://127.0.0.1/", "http://"] {
        let registry = TestRegistry::start().unwrap();
        let site = site_of(&registry);
        let headers = vec![("Location".to_owned(), location.to_owned())];
        registry.set_canned("/v2/image/manifests/latest", Canned { status: 307, headers, ..Canned::default() });
        let stderr = build(&site, &[]).failure();
        assert!(stderr.contains("redirect"), "{location:?}: {stderr}");
        assert!(registry.requests().len() < 30, "{location:?}: {} requests", registry.requests().len());
        assert_recovers(&registry, &site);
    }
}

fn storms_that_pass() {
    let registry = TestRegistry::start().unwrap();
    let site = site_of(&registry);
    Forged::nothing().publish(&registry);
    registry.set_delay(Duration::from_millis(20));
    registry.fail_next(1, "/manifests/", 429);
    registry.fail_next(1, "/blobs/", 503);
    registry.cut_next_blobs(2, 700);
    build(&site, &[]).success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), HONEST);
    site.assert_tidy();
}

fn storms_that_do_not_pass() {
    // A server that asks for a day of rest is not asked again and again.
    for (retry_after, most_requests) in [("86400", 2), ("Sun, 06 Nov 2044 08:49:37 GMT", 10)] {
        let registry = TestRegistry::start().unwrap();
        let site = site_of(&registry);
        let headers = vec![("Retry-After".to_owned(), retry_after.to_owned())];
        registry.set_canned("/v2/image/manifests/latest", Canned { status: 429, headers, ..Canned::default() });
        let stderr = build(&site, &[]).failure();
        assert!(stderr.contains(&format!("{}: unexpected status 429", registry.host())), "{stderr}");
        let n_requests = registry.requests().len();
        assert!(n_requests <= most_requests, "{n_requests} requests though `Retry-After: {retry_after}`");
        assert_recovers(&registry, &site);
    }
}

fn connections_that_always_break() {
    let registry = TestRegistry::start().unwrap();
    let site = site_of(&registry);
    Forged::nothing().publish(&registry);
    registry.cut_next_blobs(usize::MAX, 0);
    let stderr = build(&site, &[]).failure();
    assert!(stderr.contains(&registry.host()), "{stderr}");
    assert!(registry.requests().len() < 60, "{} requests", registry.requests().len());
    assert_recovers(&registry, &site);
}

fn log_in(site: &Site, host: &str) {
    let folder = site.path("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    let config = json!({ "auths": { host: { "auth": LOGIN } } });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// No request that arrived at `stranger` came with a login or token.
#[track_caller]
fn assert_knows_nothing(stranger: &TestRegistry) {
    let requests = stranger.requests();
    assert!(!requests.is_empty(), "the stranger was not asked at all");
    assert!(requests.iter().all(|request| request.authorization.is_none()), "{requests:?}");
}

/// The same machine under another name: to the client, another site.
fn elsewhere(registry: &TestRegistry) -> String {
    format!("http://localhost:{}", registry.host().rsplit(':').next().unwrap())
}

fn logins_stay_with_their_host() {
    let (registry, stranger) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let site = site_of(&registry);
    log_in(&site, &registry.host());
    let forged = Forged::nothing();
    forged.publish(&registry);

    // A token service that is somebody else's.
    let Access::Bearer { username, password, expires_in_seconds, .. } = Access::bearer(false) else {
        panic!("`bearer` makes no other kind");
    };
    let realm = Some(format!("{}/token", elsewhere(&stranger)));
    registry.set_access(Access::Bearer { realm, username, password, is_public: false, expires_in_seconds });
    stranger.set_access(Access::bearer(false));
    let stderr = build(&site, &[]).failure();
    assert!(stderr.contains("were not sent to its token service at localhost"), "{stderr}");
    assert_knows_nothing(&stranger);
    stranger.forget_requests();

    // A redirect to a server that asks for a login.
    registry.set_access(Access::Basic { username: "user".to_owned(), password: "password".to_owned() });
    registry.redirect_blobs_to(&elsewhere(&stranger));
    stranger.set_access(Access::Basic { username: "user".to_owned(), password: "password".to_owned() });
    build(&site, &[]).failure();
    assert_knows_nothing(&stranger);

    // And one to a server that has the bytes.
    stranger.set_access(Access::Open);
    stranger.forget_requests();
    forged.publish(&stranger);
    build(&site, &[]).success();
    assert_knows_nothing(&stranger);
    site.assert_tidy();
}

fn logins_stay_with_their_host_in_a_push() {
    let (registry, stranger) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    log_in(&site, &registry.host());
    registry.set_access(Access::Basic { username: "user".to_owned(), password: "password".to_owned() });
    registry.send_uploads_to(&elsewhere(&stranger));
    let output = format!("--output=type=registry,name={}/mine", registry.host());
    let stderr = build(&site, &[&output]).failure();
    assert!(stderr.contains("/mine"), "{stderr}");
    assert_knows_nothing(&stranger);
    site.assert_tidy();
}
