//! What one output or cache has packed, the others take as it is. Work is counted: a blob is a file of its own while it is
//! written, also one that then turns out to be there.

use std::fs;
use std::process::Command;

use slipway_test::capability::Capability;
use slipway_test::registry::TestRegistry;

use crate::Test;
use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, busybox_layout, run};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "an_image_and_its_cache_share_blobs", needs: STRACE, run: an_image_and_its_cache_share_blobs },
    Test { name: "blobs_of_earlier_steps_are_shared", needs: STRACE, run: blobs_of_earlier_steps_are_shared },
    Test { name: "small_layers_are_read_once", needs: STRACE, run: small_layers_are_read_once },
    Test { name: "targets_share_blobs", needs: STRACE, run: targets_share_blobs },
];

const STRACE: &[Capability] = &[Capability::Strace];

/// Layers that take long enough to pack for two threads to meet.
const LAYERS: &str = "FROM busybox
RUN head -c 16000000 /dev/urandom > /one
RUN head -c 16000000 /dev/urandom > /two
";

fn n_blobs(site: &Site) -> usize {
    fs::read_dir(site.path("store/blobs/sha256")).map_or(0, Iterator::count)
}

/// Runs slipway; also gives what it opened, a line each.
#[track_caller]
fn run_and_list_opened(site: &Site, arguments: &[&str]) -> (Outcome, String) {
    let log = site.path("strace.log");
    let mut strace = site.with_own_environment(Command::new("strace"));
    strace.args(["-f", "-qq", "-e", "trace=openat", "-e", "signal=none", "-o"]).arg(&log);
    strace.env("BUILDX_BAKE_ENTITLEMENTS_FS", "0").args(["--", SLIPWAY]).args(arguments);
    let outcome = run(&mut strace).success();
    assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
    (outcome, fs::read_to_string(log).unwrap())
}

/// Runs slipway, and asserts that each blob that it wrote is one that was not there.
#[track_caller]
fn run_writing_blobs_once(site: &Site, arguments: &[&str]) -> Outcome {
    let before = n_blobs(site);
    let (outcome, log) = run_and_list_opened(site, arguments);
    let begun = log.lines().filter(|line| line.contains(".blob\"") && line.contains("O_CREAT"));
    assert_eq!(begun.count(), n_blobs(site) - before, "{arguments:?}");
    outcome
}

#[track_caller]
fn build(site: &Site, arguments: &[&str]) {
    let base = busybox_flag();
    let output = format!("--output=type=oci,dest={}", site.name("image.tar"));
    run_writing_blobs_once(site, &[&["build", "--progress=plain", &base, &output], arguments, &["."]].concat());
}

fn to_folder(site: &Site) -> String {
    format!("--cache-to=type=local,mode=max,dest={}", site.name("cache"))
}

fn an_image_and_its_cache_share_blobs() {
    let registry = TestRegistry::start().unwrap();
    let to_registry = format!("--cache-to=type=registry,mode=max,ref={}/cache", registry.host());
    for cache in [to_folder, |_: &Site| "--cache-to=type=inline".to_owned()] {
        let site = Site::new(LAYERS);
        build(&site, &[&cache(&site), &to_registry]);
        assert!(n_blobs(&site) > 5, "layers, config, manifest");
        let before = n_blobs(&site);
        build(&site, &[&cache(&site), &to_registry]);
        assert_eq!(n_blobs(&site), before, "nothing is packed again");
    }
}

fn blobs_of_earlier_steps_are_shared() {
    let site = Site::new(LAYERS);
    // Into the store, where large layers have no need to be packed.
    site.build(&[]).success();
    let unpacked = n_blobs(&site);
    // While this step runs, the cache gets the layers of the others, which the image gets at the same time.
    site.write("Dockerfile", &format!("{LAYERS}RUN true\n"));
    build(&site, &[&to_folder(&site)]);
    assert!(n_blobs(&site) >= unpacked + 2);
    site.write("Dockerfile", &format!("{LAYERS}RUN true\nRUN echo more > /more\n"));
    let other = format!("--cache-to=type=local,dest={}", site.name("other"));
    build(&site, &[&to_folder(&site), &other]);
}

/// Their blobs are made along with their names. The limit is for all of them together.
fn small_layers_are_read_once() {
    let site = Site::new("FROM busybox\n");
    site.build(&[]).success();
    let base = busybox_flag();
    let (small, large) = ("echo 1", "head -c 600000 /dev/zero");
    // Layers, config and manifest, or the first layer and the config of an image that turned out to be large.
    for (command, n_new_blobs) in [(small, 4), (large, 2)] {
        site.write("Dockerfile", &format!("FROM busybox\nRUN {command} > /first\nRUN {command} > /second\n"));
        let before = n_blobs(&site);
        let (_, log) = run_and_list_opened(&site, &["build", "--progress=plain", "-t", "named", &base, "."]);
        for name in ["\"first\"", "\"second\""] {
            assert_eq!(log.lines().filter(|line| line.contains(name)).count(), 1, "{command} {name}");
        }
        assert_eq!(n_blobs(&site) - before, n_new_blobs, "{command}");
    }
}

fn targets_share_blobs() {
    let site = Site::new("FROM busybox\n");
    // Both targets ask what the base image is, at the same time.
    site.build(&[]).success();
    site.write("Dockerfile", LAYERS);
    site.write(
        "docker-bake.hcl",
        r#"group "default" { targets = ["a", "b"] }
           target "a" {
             output   = ["type=oci,dest=../a.tar"]
             cache-to = ["type=local,mode=max,dest=../a"]
           }
           target "b" {
             output   = ["type=oci,dest=../b.tar"]
             cache-to = ["type=local,mode=max,dest=../b"]
             args     = { UNUSED = "b" }
           }"#,
    );
    let base = format!("*.contexts.busybox=oci-layout://{}", busybox_layout().display());
    let bake = |site: &Site| run_writing_blobs_once(site, &["bake", "--progress=plain", "--set", &base]);
    bake(&site);
    let packed = n_blobs(&site);
    bake(&site);
    assert_eq!(n_blobs(&site), packed);
}
