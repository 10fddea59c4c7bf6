//! `ADD <url>`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use slipway_test::registry::{Canned, TestRegistry};

use crate::site::Site;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_file_comes_with_the_mode_and_time_of_the_reference", a_file_comes_with_the_mode_and_time_of_the_reference),
    test("another_file_at_the_url_is_another_step", another_file_at_the_url_is_another_step),
    test("a_url_that_is_not_there_fails_the_build", a_url_that_is_not_there_fails_the_build),
    test("a_wrong_checksum_fails_the_build", a_wrong_checksum_fails_the_build),
];

/// Midnight before the second of February 2020.
const DATE: (&str, i64) = ("Sun, 02 Feb 2020 00:00:00 GMT", 1_580_601_600);

fn serve(server: &TestRegistry, body: &str, etag: &str) {
    let headers = [("Last-Modified", DATE.0), ("ETag", etag)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    server.set_canned("/f.txt", Canned { headers, body: body.into(), ..Canned::default() });
}

fn site_of(server: &TestRegistry, flags: &str, file: &str) -> Site {
    Site::new(&format!("FROM scratch\nADD {flags} http://{}/{file} /d/\n", server.host()))
}

fn a_file_comes_with_the_mode_and_time_of_the_reference() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    let site = site_of(&server, "", "f.txt");
    site.build(&["--output=../out"]).success();
    let metadata = fs::metadata(site.path("out/d/f.txt")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o600, DATE.1));
    assert_eq!(fs::read_to_string(site.path("out/d/f.txt")).unwrap(), "first");
}

fn another_file_at_the_url_is_another_step() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    let site = site_of(&server, "", "f.txt");
    site.build(&[]).success();
    assert!(site.build(&[]).success().steps().ran.is_empty());
    serve(&server, "second", "\"2\"");
    site.build(&["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/d/f.txt")).unwrap(), "second");
}

fn a_url_that_is_not_there_fails_the_build() {
    let server = TestRegistry::start().unwrap();
    let told = site_of(&server, "", "nothing").build(&[]).failure();
    assert!(told.contains("invalid response status 404"), "{told}");
    assert!(told.contains("ADD") && told.contains("Dockerfile:2"), "{told}");
}

fn a_wrong_checksum_fails_the_build() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    let flag = format!("--checksum=sha256:{}", "0".repeat(64));
    let told = site_of(&server, &flag, "f.txt").build(&[]).failure();
    assert!(told.contains("digest mismatch for"), "{told}");
}
