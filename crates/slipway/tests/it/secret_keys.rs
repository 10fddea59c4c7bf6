//! `--secret …,key=true`: another value runs the steps that use it again, and the value is still found nowhere.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::secrets::{CANARY, assert_canary_nowhere};
use crate::site::{Site, files_below};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("only_a_value_that_counts_runs_steps_again", only_a_value_that_counts_runs_steps_again),
    test("only_steps_that_use_the_secret_run_again", only_steps_that_use_the_secret_run_again),
    test("explain_names_the_secret", explain_names_the_secret),
    test("a_value_that_counts_is_found_nowhere", a_value_that_counts_is_found_nowhere),
];

const FILE: &str = "FROM busybox
RUN echo before
RUN --mount=type=secret,id=key wc -c < /run/secrets/key > /length
RUN --mount=type=secret,id=other echo after
";
const COUNTS: &str = "--secret=id=key,src=../key,key=true";

fn site() -> Site {
    let site = Site::new(FILE);
    fs::write(site.path("key"), "one").unwrap();
    site
}

/// How many steps ran.
#[track_caller]
fn n_run(site: &Site, flag: &str) -> usize {
    site.build(&[flag]).success().steps().ran.len()
}

fn only_a_value_that_counts_runs_steps_again() {
    let site = site();
    let plain = "--secret=id=key,src=../key";
    assert_eq!((n_run(&site, plain), n_run(&site, COUNTS)), (3, 2));
    fs::write(site.path("key"), "two").unwrap();
    assert_eq!((n_run(&site, plain), n_run(&site, COUNTS), n_run(&site, COUNTS)), (0, 2, 0));
    fs::write(site.path("key"), "one").unwrap();
    assert_eq!(n_run(&site, COUNTS), 0);
}

fn only_steps_that_use_the_secret_run_again() {
    let site = site();
    let flags = ["--secret=id=key,src=../key", "--secret=id=other,src=../key,key=true"];
    site.build(&flags).success();
    fs::write(site.path("key"), "two").unwrap();
    let steps = site.build(&flags).success().steps();
    assert_eq!(steps.ran.len(), 1, "{steps:?}");
    assert!(steps.ran[0].contains("echo after"), "{steps:?}");
}

fn explain_names_the_secret() {
    let site = site();
    site.build(&[COUNTS]).success();
    fs::write(site.path("key"), "two").unwrap();
    let told = site.build(&[COUNTS, "--explain"]).success().stderr;
    assert!(told.contains("the secret `key` changed\n"), "{told}");
}

fn a_value_that_counts_is_found_nowhere() {
    let site = site();
    fs::create_dir(site.path("out")).unwrap();
    fs::write(site.path("key"), CANARY).unwrap();
    site.build(&[COUNTS]).success();
    fs::write(site.path("key"), format!("{CANARY}!")).unwrap();
    let outcome = site.build(&[COUNTS, "--explain", "--output=../out/files"]).success();
    assert_eq!(fs::read_to_string(site.path("out/files/length")).unwrap(), "28\n");
    assert_canary_nowhere(&site, &outcome);
    let keys: Vec<_> =
        files_below(&site.path("store")).into_iter().filter(|file| file.ends_with("private-key")).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(fs::metadata(&keys[0]).unwrap().mode() & 0o7777, 0o600);
}
