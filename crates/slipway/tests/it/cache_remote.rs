//! Caches that machines share: what one machine exports, another one with an empty store does not run again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use slipway_oci::Digest;
use slipway_test::capability::Capability;
use slipway_test::registry::TestRegistry;

use crate::process::wait_until;
use crate::sharing::{GATED, open_gate};
use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_fresh_machine_runs_nothing", a_fresh_machine_runs_nothing),
    test("a_registry_serves_the_cache", a_registry_serves_the_cache),
    test("only_what_changed_runs", only_what_changed_runs),
    test("a_stage_that_came_out_equal_is_a_hit", a_stage_that_came_out_equal_is_a_hit),
    test("min_holds_the_result_and_max_all_stages", min_holds_the_result_and_max_all_stages),
    test("an_image_carries_its_cache", an_image_carries_its_cache),
    test("layers_behind_a_hit_are_not_fetched", layers_behind_a_hit_are_not_fetched),
    test("what_was_imported_is_exported_again", what_was_imported_is_exported_again),
    test("an_unchanged_export_sends_nothing", an_unchanged_export_sends_nothing),
    Test {
        name: "an_unchanged_export_looks_at_no_file",
        needs: &[Capability::Strace],
        run: an_unchanged_export_looks_at_no_file,
    },
    test("a_folder_is_an_oci_layout", a_folder_is_an_oci_layout),
    test("caches_that_are_no_caches_are_named_and_left_out", caches_that_are_no_caches_are_named_and_left_out),
    test("a_broken_layer_is_named_and_made_anew", a_broken_layer_is_named_and_made_anew),
    test("broken_records_are_named_and_left_out", broken_records_are_named_and_left_out),
    test("an_export_that_fails_spoils_nothing_unless_asked", an_export_that_fails_spoils_nothing_unless_asked),
    test("a_cache_of_buildkit_is_read", a_cache_of_buildkit_is_read),
    test("cache_mounts_travel_if_asked", cache_mounts_travel_if_asked),
    test("a_broken_mount_is_named_and_starts_empty", a_broken_mount_is_named_and_starts_empty),
    test("a_changed_file_of_a_mount_costs_its_pieces", a_changed_file_of_a_mount_costs_its_pieces),
    test("layers_go_up_while_the_build_runs", layers_go_up_while_the_build_runs),
    test("a_build_that_fails_leads_nobody_to_its_layers", a_build_that_fails_leads_nobody_to_its_layers),
];

const STAGES: &str = "FROM busybox AS tools
COPY source /source
RUN wc -c < /source > /size && echo tool > /tool
FROM busybox
COPY --from=tools /tool /tool
RUN cat /tool > /built
COPY end /end
";

pub(crate) fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("source", "source\n");
    site.write("end", "end\n");
    site
}

fn to_folder(site: &Site, mode: &str) -> String {
    format!("--cache-to=type=local,dest={},mode={mode}", site.name("cache"))
}

fn from_folder(site: &Site) -> String {
    format!("--cache-from=type=local,src={}", site.name("cache"))
}

pub(crate) fn ran(outcome: &Outcome) -> Vec<String> {
    outcome.steps().ran
}

#[track_caller]
pub(crate) fn assert_no_warning(outcome: &Outcome) {
    assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
}

fn a_fresh_machine_runs_nothing() {
    let site = site();
    let (first, second) = (site.name("first.id"), site.name("second.id"));
    let cold = site.build(&[&to_folder(&site, "max"), "--iidfile", &first]).success();
    assert_eq!(ran(&cold).len(), 5, "{}", cold.stderr);
    assert_no_warning(&cold);
    site.renew_store();
    let warm = site.build(&[&from_folder(&site), "--iidfile", &second]).success();
    assert_eq!(ran(&warm), Vec::<String>::new(), "{}", warm.stderr);
    assert_no_warning(&warm);
    let again = site.build(&["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
    assert_eq!(ran(&again), Vec::<String>::new(), "what was imported is in the store");
    assert_eq!(fs::read_to_string(first).unwrap(), fs::read_to_string(second).unwrap(), "the image is the same");
    site.assert_tidy();
}

fn a_registry_serves_the_cache() {
    let registry = TestRegistry::start().unwrap();
    let site = site();
    for document in ["", ",image-manifest=false", ",oci-mediatypes=false", ",compression=zstd"] {
        let reference = format!("{}/cache:main", registry.host());
        let to = format!("--cache-to=type=registry,ref={reference},mode=max{document}");
        assert_no_warning(&site.build(&["--no-cache", &to]).success());
        let fresh = self::site();
        let warm = fresh.build(&["--cache-from", &reference]).success();
        assert_eq!(ran(&warm), Vec::<String>::new(), "{document}: {}", warm.stderr);
        assert_no_warning(&warm);
    }
}

fn only_what_changed_runs() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    site.renew_store();
    site.write("end", "changed\n");
    let warm = site.build(&[&from_folder(&site), "--output=../out"]).success();
    let ran = ran(&warm);
    assert!(matches!(&ran[..], [only] if only.contains("COPY end")), "{}", warm.stderr);
    assert_eq!(fs::read_to_string(site.path("out/end")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
}

fn a_stage_that_came_out_equal_is_a_hit() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    site.renew_store();
    site.write("source", "another source\n");
    let warm = site.build(&[&from_folder(&site)]).success();
    let ran = ran(&warm);
    assert_eq!(ran.len(), 2, "{}", warm.stderr);
    assert!(ran.iter().all(|step| step.contains("source")), "the tool is what it was: {ran:?}");
}

fn min_holds_the_result_and_max_all_stages() {
    for (mode, n_ran) in [("min", 3), ("max", 2)] {
        let site = site();
        site.build(&[&to_folder(&site, mode)]).success();
        site.renew_store();
        assert_eq!(ran(&site.build(&[&from_folder(&site)]).success()), Vec::<String>::new(), "{mode}");
        site.renew_store();
        site.write("Dockerfile", &STAGES.replace("/tool > /built", "/tool /tool > /built"));
        let steps = site.build(&[&from_folder(&site)]).success();
        // The last RUN and what follows; the first stage only for its own sake.
        let wanted = if mode == "max" { n_ran } else { 2 };
        assert_eq!(ran(&steps).len(), wanted, "{mode}: {}", steps.stderr);
        site.renew_store();
        site.write("Dockerfile", &STAGES.replace("/tool /tool", "/tool /other").replace("cat /tool", "cat /other"));
        let steps = site.build(&[&from_folder(&site)]).success();
        let ran_first_stage = ran(&steps).iter().any(|step| step.contains("wc -c"));
        assert_eq!(ran_first_stage, mode == "min", "{mode}: {}", steps.stderr);
    }
}

fn an_image_carries_its_cache() {
    let registry = TestRegistry::start().unwrap();
    let site = site();
    let tag = format!("{}/app:1", registry.host());
    for arguments in [["--cache-to=type=inline"].as_slice(), &["--build-arg", "BUILDKIT_INLINE_CACHE=1"]] {
        let plain = site.build(&[&["--no-cache", "--push", "--tag", &tag], arguments].concat()).success();
        assert_no_warning(&plain);
        let fresh = self::site();
        let warm = fresh.build(&["--cache-from", &tag, "--output=../out"]).success();
        assert_eq!(ran(&warm), Vec::<String>::new(), "{}", warm.stderr);
        assert_eq!(fs::read_to_string(fresh.path("out/built")).unwrap(), "tool\n");
    }
    let derived = Site::new(&format!("FROM {tag}\nRUN true\n"));
    derived.build(&["--output=type=oci,tar=false,dest=../layout"]).success();
    let has_cache = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("moby.buildkit.cache");
    assert!(
        !files_below(&derived.path("layout")).iter().any(|path| has_cache(path)),
        "the base's cache is not its own"
    );
}

fn layers_behind_a_hit_are_not_fetched() {
    let registry = TestRegistry::start().unwrap();
    let site = site();
    let reference = format!("{}/cache", registry.host());
    site.build(&[&format!("--cache-to=type=registry,ref={reference},mode=max")]).success();
    let fresh = self::site();
    fresh.write("end", "changed\n");
    registry.forget_requests();
    let warm = fresh.build(&["--cache-from", &reference]).success();
    assert_eq!(ran(&warm).len(), 1, "{}", warm.stderr);
    let blobs = registry.requests().iter().filter(|r| r.method == "GET" && r.target.contains("/blobs/")).count();
    // The records, the base, two layers of the last stage: nothing of the first one.
    assert_eq!(blobs, 4, "{:?}", registry.requests());

    registry.forget_requests();
    fresh.build(&["--cache-from", &reference]).success();
    assert_eq!(registry.requests(), [], "who misses nothing asks nobody");
}

fn what_was_imported_is_exported_again() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    site.renew_store();
    let copy = format!("--cache-to=type=local,dest={},mode=max", site.name("copy"));
    assert_no_warning(&site.build(&[&from_folder(&site), &copy]).success());
    site.renew_store();
    site.write("Dockerfile", &STAGES.replace("cat /tool", "cat /tool /tool"));
    let warm = site.build(&[&format!("--cache-from=type=local,src={}", site.name("copy"))]).success();
    assert_eq!(ran(&warm).len(), 2, "the first stage went along: {}", warm.stderr);
}

fn an_unchanged_export_sends_nothing() {
    let registry = TestRegistry::start().unwrap();
    let site = site();
    let to = format!("--cache-to=type=registry,ref={}/cache:x,mode=max", registry.host());
    site.build(&[&to]).success();
    registry.forget_requests();
    assert_no_warning(&site.build(&[&to]).success());
    let requests: Vec<String> = registry.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect();
    assert_eq!(requests, ["GET /v2/cache/manifests/x"]);

    site.write("end", "changed\n");
    registry.forget_requests();
    site.build(&[&to]).success();
    let n_uploads = registry.requests().iter().filter(|r| r.method == "POST").count();
    assert_eq!(n_uploads, 2, "the new layer and the records: {:?}", registry.requests());
}

/// What it does is the same however many files the layers hold.
fn an_unchanged_export_looks_at_no_file() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM busybox\nCOPY many /many\nRUN ls /many | wc -l > /n\n");
    for number in 0..2000 {
        site.write(&format!("many/{}/{number}", number % 9), "text\n");
    }
    let to = format!("--cache-to=type=registry,ref={}/cache:x,mode=max", registry.host());
    // How many system calls take a path, or list a folder.
    let n_calls = |arguments: &[&str]| {
        let log = site.path("strace.log");
        let mut strace = site.with_own_environment(Command::new("strace"));
        strace.args(["-f", "-qq", "-e", "trace=%file,getdents64", "-e", "signal=none", "-o"]).arg(&log);
        strace.args(["--", SLIPWAY, "build", "--output=type=cacheonly", &busybox_flag()]).args(arguments).arg(".");
        run(&mut strace).success();
        // Calls that another thread was in the way of take two lines.
        fs::read_to_string(log).unwrap().lines().filter(|line| !line.contains(" resumed>")).count()
    };
    n_calls(&[&to]);
    let (without, with) = (n_calls(&[]), n_calls(&[&to]));
    assert!(without > 2000, "the context is looked at: {without} calls");
    assert!(with < without + 200, "{with} calls, {without} without a cache");
}

fn a_folder_is_an_oci_layout() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    let other_tag = format!("--cache-to=type=local,dest={},tag=other", site.name("cache"));
    site.build(&[&other_tag]).success();
    site.build(&[&other_tag]).success();
    let json = |path: &str| serde_json::from_slice::<Value>(&fs::read(site.path(path)).unwrap()).unwrap();
    assert_eq!(json("cache/oci-layout")["imageLayoutVersion"], "1.0.0");
    let manifests = json("cache/index.json")["manifests"].as_array().unwrap().clone();
    let tags = manifests.iter().map(|m| m["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap());
    assert_eq!(tags.collect::<Vec<_>>(), ["latest", "other"]);
    for path in files_below(&site.path("cache/blobs/sha256")) {
        let digest = Digest::of(&fs::read(&path).unwrap());
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), digest.hex());
    }
    let manifest = manifests[0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let manifest = json(&format!("cache/blobs/sha256/{manifest}"));
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    assert!(manifest["layers"][0]["annotations"]["containerd.io/uncompressed"].is_string());
}

fn caches_that_are_no_caches_are_named_and_left_out() {
    let site = site();
    fs::create_dir_all(site.path("bad")).unwrap();
    fs::write(site.path("bad/index.json"), "{\"manifests\":[{}]}").unwrap();
    let bad = format!("--cache-from=type=local,src={}", site.name("bad"));
    let none = format!("--cache-from=type=local,src={}", site.name("none"));
    let outcome = site.build(&[&bad, &none, "--cache-from=type=nope", "--cache-from=127.0.0.1:1/x"]).success();
    for part in [
        &format!("WARNING: failed to import the local cache `{}`", site.name("bad")),
        &format!("WARNING: failed to import the local cache `{}`: there is no cache yet", site.name("none")),
        "unknown cache importer: \"nope\"",
        "WARNING: failed to import the registry cache `127.0.0.1:1/x`",
    ] {
        assert!(outcome.stderr.contains(part), "`{part}` is not in: {}", outcome.stderr);
    }
}

fn a_broken_layer_is_named_and_made_anew() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    site.renew_store();
    for path in files_below(&site.path("cache/blobs/sha256")) {
        let bytes = fs::read(&path).unwrap();
        // Layers begin with the magic number of gzip; the records stay as they are.
        if bytes.starts_with(&[0x1F, 0x8B]) {
            fs::write(&path, [&bytes[..bytes.len() - 1], &[bytes[bytes.len() - 1] ^ 1]].concat()).unwrap();
        }
    }
    site.write("end", "changed\n");
    let outcome = site.build(&[&from_folder(&site), "--output=../out"]).success();
    let warning = format!("WARNING: the cache `{}` cannot be used", site.name("cache"));
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
    site.assert_tidy();
}

fn broken_records_are_named_and_left_out() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    site.renew_store();
    let (mut digest, mut n_broken) = (String::new(), 0);
    for path in files_below(&site.path("cache/blobs/sha256")) {
        let text = fs::read(&path).unwrap();
        if text.starts_with(b"{\"layers\"") {
            fs::write(&path, String::from_utf8(text).unwrap().replace("\"parent\":-1", "\"parent\":-2")).unwrap();
            digest = path.file_name().unwrap().to_str().unwrap().to_owned();
            n_broken += 1;
        }
    }
    assert_eq!(n_broken, 1);
    let outcome = site.build(&[&from_folder(&site), "--output=../out"]).success();
    let warning = format!("WARNING: failed to import the local cache `{}`", site.name("cache"));
    let told = outcome.stderr.lines().find(|line| line.contains(&warning));
    assert!(told.is_some_and(|line| line.contains(&digest)), "{}", outcome.stderr);
    assert_eq!(ran(&outcome).len(), 5, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
}

fn an_export_that_fails_spoils_nothing_unless_asked() {
    let site = site();
    fs::write(site.path("cache"), "a file where the folder should be").unwrap();
    let to = to_folder(&site, "max");
    let outcome = site.build(&[&to, "--iidfile", &site.name("iid")]).success();
    assert!(outcome.stderr.contains("WARNING: failed to export the local cache"), "{}", outcome.stderr);
    assert!(site.path("iid").exists());
    let stderr = site.build(&[&format!("{to},ignore-error=false")]).failure();
    assert!(stderr.contains("ERROR: failed to build: failed to solve: failed to export the local cache"), "{stderr}");
}

/// The records are the reference's for a build of its own, with links and selectors; the layers are invented.
fn a_cache_of_buildkit_is_read() {
    let site = site();
    site.build(&[&to_folder(&site, "max")]).success();
    let index: Value = serde_json::from_slice(&fs::read(site.path("cache/index.json")).unwrap()).unwrap();
    let blob =
        |digest: &Value| site.path("cache/blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"));
    let manifest_path = blob(&index["manifests"][0]["digest"]);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&manifest_path).unwrap()).unwrap();
    let layers: Vec<Value> = manifest["layers"].as_array().unwrap().clone();
    let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
    let records = serde_json::json!({
        "layers": [{ "blob": layers[0]["digest"], "parent": -1 }, { "blob": layers[1]["digest"] }],
        "records": [
            { "digest": digest("source") },
            { "layers": [{ "layer": 1, "createdAt": "2026-11-22T06:58:43.582214051Z" }], "digest": digest("run"),
              "inputs": [[{ "link": 0 }], [{ "selector": digest("selector"), "link": 0 }, { "link": 2 }]] },
            { "digest": digest("other"), "inputs": [[{ "link": 1 }]] },
        ],
    });
    let bytes = serde_json::to_vec(&records).unwrap();
    let config = Digest::of(&bytes);
    fs::write(site.path("cache/blobs/sha256").join(config.hex()), &bytes).unwrap();
    manifest["config"]["digest"] = config.to_string().into();
    manifest["config"]["size"] = bytes.len().into();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::of(&bytes);
    fs::write(site.path("cache/blobs/sha256").join(digest.hex()), &bytes).unwrap();
    site.renew_store();
    let from = format!("{},digest={digest}", from_folder(&site));
    let outcome = site.build(&[&from]).success();
    assert_eq!(ran(&outcome).len(), 5, "{}", outcome.stderr);
    assert_no_warning(&outcome);
}

const MOUNTS: &str = "FROM busybox
RUN --mount=type=cache,id=deps,target=/c --mount=type=cache,target=/other \\
    ls /c /other; mkdir -p /c/deep && echo one > /c/deep/file && chown 7:8 /c/deep/file && ln -sf file /c/deep/link \\
    && echo two > /other/file
";

fn cache_mounts_travel_if_asked() {
    for (mounts, is_deps_warm, is_other_warm) in [
        ("mounts=true", true, true),
        ("mounts=deps", true, false),
        ("mounts=/other,mode=max", false, true),
        ("mode=max", false, false),
    ] {
        let site = Site::new(MOUNTS);
        let to = format!("--cache-to=type=local,dest={},{mounts}", site.name("cache"));
        assert_no_warning(&site.build(&[&to]).success());
        site.renew_store();
        // The step is another one, so it runs, on what the mounts hold.
        site.write(
            "Dockerfile",
            &MOUNTS
                .replace("ls /c /other", "cat /c/deep/link /other/file > /seen; stat -c %u:%g /c/deep/file >> /seen"),
        );
        let copy = format!("--cache-to=type=local,dest={},mounts=true", site.name("copy"));
        let warm = site.build(&[&from_folder(&site), &copy, "--output=../out"]).success();
        assert_no_warning(&warm);
        let seen = fs::read_to_string(site.path("out/seen")).unwrap();
        assert_eq!((seen.contains("one"), seen.contains("two")), (is_deps_warm, is_other_warm), "{mounts}: {seen}");
        assert_eq!(seen.contains("7:8"), is_deps_warm, "{mounts}: {seen}");
        site.assert_tidy();
    }
}

fn a_broken_mount_is_named_and_starts_empty() {
    let site = Site::new(MOUNTS);
    site.build(&[&format!("--cache-to=type=local,dest={},mounts=deps", site.name("cache"))]).success();
    site.renew_store();
    for path in files_below(&site.path("cache/blobs/sha256")) {
        let bytes = fs::read(&path).unwrap();
        // Pieces begin with the magic number of zstd.
        if bytes.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            fs::write(&path, [&bytes[..bytes.len() - 1], &[bytes[bytes.len() - 1] ^ 1]].concat()).unwrap();
        }
    }
    site.write("Dockerfile", &MOUNTS.replace("ls /c /other", "ls -A /c > /seen"));
    let outcome = site.build(&[&from_folder(&site), "--output=../out"]).success();
    let warning = format!("WARNING: failed to import the cache mount `deps` from `{}`", site.name("cache"));
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(site.path("out/seen")).unwrap(), "");
    site.assert_tidy();
}

fn a_changed_file_of_a_mount_costs_its_pieces() {
    let registry = TestRegistry::start().unwrap();
    let mount = "--mount=type=cache,id=deps,target=/c";
    let dockerfile = |step: &str| format!("FROM busybox\nRUN {mount} {step}\n");
    let site = Site::new(&dockerfile("dd if=/dev/urandom of=/c/big bs=1M count=24 && echo one > /c/small"));
    let to = format!("--cache-to=type=registry,ref={}/cache:x,mounts=deps", registry.host());
    // How many blobs were sent, and their bytes.
    let sent = |outcome: Outcome| {
        assert_no_warning(&outcome);
        let uploads = uploads(&registry);
        registry.forget_requests();
        let bytes = |target: &String| registry.blob(&digest_in(target)).unwrap().len();
        (uploads.len(), uploads.iter().map(bytes).sum::<usize>())
    };
    let at_first = sent(site.build(&[&to]).success());
    assert!(at_first.0 > 10 && at_first.1 > 24 << 20, "{at_first:?}");
    assert_eq!(sent(site.build(&[&to]).success()), (0, 0));
    for (what, change) in [
        ("a small file", "echo changed > /c/small"),
        ("a byte of a large one", "printf x | dd of=/c/big bs=1 seek=12000000 conv=notrunc"),
    ] {
        site.write("Dockerfile", &dockerfile(change));
        let later = sent(site.build(&[&to]).success());
        // The records, and the piece that the change is in, or two of them; the step's layer is the same. No piece is
        // larger than 4 MiB.
        assert!((2..=3).contains(&later.0) && later.1 < 9 << 20, "{what}: {later:?}");
    }

    let elsewhere = to.replace("cache:x", "cache-without:x");
    let too_large = site.build(&[&format!("{elsewhere},mounts-max-size=1m")]).success();
    let message = "the cache mount `deps` is not exported: it holds more than 1048576 bytes";
    assert!(too_large.stderr.contains(message), "{}", too_large.stderr);
    let names: Vec<String> = uploads(&registry);
    assert!(names.iter().all(|target| registry.blob(&digest_in(target)).unwrap().len() < 5 << 20), "{names:?}");
    assert_eq!(names.len(), 3, "two layers and the records, and no piece: {names:?}");
}

/// The digest of the blob that an upload to `target` completes.
pub(crate) fn digest_in(target: &str) -> Digest {
    target.rsplit("digest=").next().unwrap().replace("%3A", ":").parse().unwrap()
}

/// Where each upload of a blob was completed, in their order; the digest is at the end of the target.
pub(crate) fn uploads(registry: &TestRegistry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    requests.filter(|r| r.method == "PUT" && r.target.contains("/blobs/uploads/")).map(|r| r.target).collect()
}

fn n_manifests(registry: &TestRegistry) -> usize {
    registry.requests().iter().filter(|r| r.method == "PUT" && r.target.contains("/manifests/")).count()
}

fn layers_go_up_while_the_build_runs() {
    for extent in ["min", "max"] {
        let registry = TestRegistry::start().unwrap();
        // A step that is cached, one that runs, and one that waits.
        let site = Site::new("FROM busybox\nRUN echo early > /early\n");
        site.build(&["--output=type=cacheonly"]).success();
        site.write("Dockerfile", &format!("FROM busybox\nRUN echo early > /early\nRUN echo made > /made\n{GATED}"));
        let to = format!("--cache-to=type=registry,ref={}/cache:x,mode={extent}", registry.host());
        let mut build = site.start(&["--output=type=cacheonly", &to]);
        build.wait_for("first\n");
        wait_until("the layers of the base and of two steps are there", || uploads(&registry).len() == 3);
        assert_eq!(n_manifests(&registry), 0, "nothing leads to them yet");
        open_gate(&site);
        assert_no_warning(&build.finish().success());
        let sent = uploads(&registry);
        let distinct: BTreeSet<&String> = sent.iter().collect();
        assert_eq!((sent.len(), distinct.len()), (6, 6), "five layers and the records, each once: {sent:?}");
        assert!(registry.requests().last().is_some_and(|last| last.method == "PUT" && last.target.ends_with("/x")));
        let fresh = Site::new(&fs::read_to_string(site.path("ctx/Dockerfile")).unwrap());
        let from = format!("--cache-from={}/cache:x", registry.host());
        assert_eq!(ran(&fresh.build(&[&from]).success()), Vec::<String>::new());
    }
}

fn a_build_that_fails_leads_nobody_to_its_layers() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM busybox\nRUN echo made > /made\nRUN false\n");
    site.build(&[&format!("--cache-to=type=registry,ref={}/cache:x", registry.host())]).failure();
    assert_eq!(n_manifests(&registry), 0);
    site.assert_tidy();
}
