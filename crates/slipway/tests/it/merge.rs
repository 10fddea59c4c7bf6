//! `slipway merge`: several builds, each for its platform, become one image.

use serde_json::Value;
use slipway_test::registry::{Access, TestRegistry};

use crate::imagetools::{platforms, put_image, raw};
use crate::process::Running;
use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("builds_on_several_machines_become_one_image", builds_on_several_machines_become_one_image),
    test("every_job_may_end_with_merge", every_job_may_end_with_merge),
    test("merge_waits_for_the_last_part", merge_waits_for_the_last_part),
    test("a_part_that_is_something_else_is_refused", a_part_that_is_something_else_is_refused),
    test("trouble_is_not_taken_for_a_missing_part", trouble_is_not_taken_for_a_missing_part),
];

const DOCKERFILE: &str = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /for-$TARGETARCH\n";

/// What a job does: its own machine, its own store.
fn job(registry: &TestRegistry, run_name: &str, platform: &str) {
    let site = Site::new(DOCKERFILE);
    let output =
        format!("--output=type=image,name={}/app,push=true,push-by-digest=true,part-of={run_name}", registry.host());
    site.build(&["--platform", platform, &output]).success();
}

fn arguments(registry: &TestRegistry, more: &[&str]) -> Vec<String> {
    let tag = format!("{}/app:1.2", registry.host());
    let all = [&["merge", "--part-of", "77.1", "-t", &tag][..], more].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn merge(registry: &TestRegistry, more: &[&str]) -> Outcome {
    run(Site::new("").slipway().args(arguments(registry, more)))
}

fn image(registry: &TestRegistry) -> Value {
    raw(&Site::new(""), &format!("{}/app:1.2", registry.host()))
}

fn builds_on_several_machines_become_one_image() {
    let registry = TestRegistry::start().unwrap();
    job(&registry, "77.1", "linux/amd64");
    job(&registry, "77.1", "linux/arm64,linux/arm/v6");
    job(&registry, "78.1", "linux/s390x");
    let stderr = merge(&registry, &["--expect", "linux/amd64,linux/s390x"]).failure();
    let expected = format!("ERROR: a part of the run `77.1` is missing in {}/app: linux/s390x\n", registry.host());
    assert_eq!(stderr, expected);

    let other = format!("{}/app:latest", registry.host());
    let expected = ["--expect", "linux/amd64", "--expect", "linux/arm/v6,linux/arm64"];
    let merged = merge(&registry, &[&["-t", &other, "--annotation", "index:a=b"][..], &expected].concat()).success();
    let index = image(&registry);
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64", "linux/arm"]);
    assert_eq!(index["annotations"]["a"], "b");
    let shown = String::from_utf8(merged.stdout).unwrap();
    assert!(
        shown.starts_with(&format!("{}/app:1.2@sha256:", registry.host())) && shown.lines().count() == 2,
        "{shown}"
    );

    // What was merged is what the jobs have built.
    let site = Site::new(&format!("FROM {other}\n"));
    site.build(&["--platform=linux/arm64", "--output=../out"]).success();
    assert!(site.path("out/for-arm64").exists());
}

fn every_job_may_end_with_merge() {
    let registry = TestRegistry::start().unwrap();
    let end = ["--expect", "linux/amd64,linux/arm64", "--if-complete"];
    job(&registry, "77.1", "linux/arm64");
    let early = merge(&registry, &end).success();
    let told = "linux/amd64 not there yet: the job that pushes the last part merges\n";
    assert_eq!(String::from_utf8(early.stdout).unwrap(), told);
    job(&registry, "77.1", "linux/amd64");
    merge(&registry, &end).success();
    assert_eq!(platforms(&image(&registry)), ["linux/amd64", "linux/arm64"]);
}

fn merge_waits_for_the_last_part() {
    let registry = TestRegistry::start().unwrap();
    job(&registry, "77.1", "linux/amd64");
    let site = Site::new("");
    let more = ["--expect", "linux/amd64,linux/arm64", "--wait", "10m"];
    let waiting = Running::start(site.slipway().args(arguments(&registry, &more)));
    crate::process::wait_until("the missing part is asked for", || {
        registry.requests().iter().any(|request| request.target.ends_with("slipway-part-77.1-linux-arm64"))
    });
    job(&registry, "77.1", "linux/arm64");
    waiting.finish().success();
    assert_eq!(platforms(&image(&registry)), ["linux/amd64", "linux/arm64"]);
}

fn a_part_that_is_something_else_is_refused() {
    let registry = TestRegistry::start().unwrap();
    put_image(&registry, "app:slipway-part-77.1-linux-arm64", "linux/amd64");
    let stderr = merge(&registry, &["--expect", "linux/arm64"]).failure();
    assert!(stderr.contains("is for linux/amd64, not for linux/arm64"), "{stderr}");
    let stderr = merge(&registry, &["--expect", "linux/nope/a/b"]).failure();
    assert!(stderr.starts_with("ERROR: \"linux/nope/a/b\" is no platform"), "{stderr}");

    // Another job has built what this one has.
    let other = TestRegistry::start().unwrap();
    job(&other, "77.1", "linux/amd64,linux/arm64");
    let site = Site::new(&format!("{DOCKERFILE}LABEL other=job\n"));
    let output = format!("--output=type=image,name={}/app,push=true,push-by-digest=true,part-of=77.1", other.host());
    site.build(&["--platform=linux/amd64", &output]).success();
    let stderr = merge(&other, &["--expect", "linux/amd64,linux/arm64"]).failure();
    assert!(stderr.contains("two parts of the run are for linux/amd64: "), "{stderr}");
}

fn trouble_is_not_taken_for_a_missing_part() {
    let registry = TestRegistry::start().unwrap();
    job(&registry, "77.1", "linux/amd64");
    registry.set_access(Access::bearer(false));
    let stderr = merge(&registry, &["--expect", "linux/amd64", "--if-complete"]).failure();
    assert!(stderr.contains("pull access denied"), "{stderr}");
}
