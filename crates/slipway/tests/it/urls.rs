//! `ADD <url>`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use slipway_test::image::contains;
use slipway_test::registry::{Canned, TestRegistry};

use crate::site::{Site, files_below};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_file_comes_with_the_mode_and_time_of_the_reference", a_file_comes_with_the_mode_and_time_of_the_reference),
    test("another_file_at_the_url_is_another_step", another_file_at_the_url_is_another_step),
    test("a_url_that_is_not_there_fails_the_build", a_url_that_is_not_there_fails_the_build),
    test("a_wrong_checksum_fails_the_build", a_wrong_checksum_fails_the_build),
    test("a_checksum_of_each_algorithm_must_fit", a_checksum_of_each_algorithm_must_fit),
    test("what_has_the_checksum_is_not_fetched_again", what_has_the_checksum_is_not_fetched_again),
    test("a_file_that_did_not_change_is_not_sent_again", a_file_that_did_not_change_is_not_sent_again),
    test("a_token_is_sent_to_its_host_only", a_token_is_sent_to_its_host_only),
    test("names_in_urls_lead_nowhere", names_in_urls_lead_nowhere),
    test("an_archive_is_unpacked_if_that_is_asked_for", an_archive_is_unpacked_if_that_is_asked_for),
    test("a_login_in_a_url_is_found_nowhere", a_login_in_a_url_is_found_nowhere),
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

/// Those of `first`.
const CHECKSUMS: [&str; 3] = [
    "sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e",
    "sha384:79fa4f1ef16e913d884d3c98bb4308fa590b20229f7e44ac583d52f11e464ad23c14b0a1c63d3ea5198fd34c570093ef",
    "sha512:7fdd80dbdded156323d36c459e5fd133a4d888c227320cfb7042be9feb35d7f07201e535697af914e69d6f46b2\
     a88655c86c2371288052ccd4fa92058b01d3fd",
];

fn a_checksum_of_each_algorithm_must_fit() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    for checksum in CHECKSUMS {
        let flag = format!("--checksum={checksum}");
        site_of(&server, &flag, "f.txt").build(&[]).success();
        let (algorithm, digits) = checksum.split_once(':').unwrap();
        let wrong = format!("{algorithm}:{}", "0".repeat(digits.len()));
        let site = site_of(&server, &format!("--checksum={wrong}"), "f.txt");
        // Also where the file is known under its right name.
        for _ in 0..2 {
            let told = site.build(&[]).failure();
            assert!(told.contains(&format!("f.txt: {checksum} (expected: {wrong})")), "{told}");
            site.write("Dockerfile", &format!("FROM scratch\nADD {flag} http://{}/f.txt /d/\n", server.host()));
            site.build(&[]).success();
            site.write(
                "Dockerfile",
                &format!("FROM scratch\nADD --checksum={wrong} http://{}/f.txt /\n", server.host()),
            );
        }
    }
}

fn what_has_the_checksum_is_not_fetched_again() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    for checksum in CHECKSUMS {
        let site = site_of(&server, &format!("--checksum={checksum}"), "f.txt");
        site.build(&[]).success();
        server.forget_requests();
        site.build(&["--no-cache", "--output=../out"]).success();
        assert_eq!(server.requests().len(), 0, "{checksum}");
        assert_eq!(fs::read_to_string(site.path("out/d/f.txt")).unwrap(), "first");
    }
}

fn a_file_that_did_not_change_is_not_sent_again() {
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    let site = site_of(&server, "", "f.txt");
    site.build(&[]).success();
    server.forget_requests();
    // What says "not modified" has no body to build from.
    server.set_canned("/f.txt", Canned { status: 304, ..Canned::default() });
    assert!(site.build(&["--output=../out"]).success().steps().ran.is_empty());
    assert_eq!(server.requests().len(), 1);
    assert_eq!(fs::read_to_string(site.path("out/d/f.txt")).unwrap(), "first");
}

fn a_token_is_sent_to_its_host_only() {
    let (server, other) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    serve(&other, "first", "\"1\"");
    let headers = vec![("Location".to_owned(), format!("{}/f.txt", other.url()))];
    server.set_canned("/f.txt", Canned { status: 302, headers, ..Canned::default() });
    let site = site_of(&server, "", "f.txt");
    fs::write(site.path("token"), "t0ken\n").unwrap();
    let secret = format!("--secret=id=HTTP_AUTH_TOKEN_{},src=../token", server.host());
    site.build(&[&secret, "--output=../out"]).success();
    assert_eq!(server.requests()[0].authorization.as_deref(), Some("Bearer t0ken"));
    assert!(!other.requests().is_empty());
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

fn names_in_urls_lead_nowhere() {
    let server = TestRegistry::start().unwrap();
    let long = "x".repeat(300);
    for name in ["..", "%2e%2e%2f%2e%2e%2fx", "a%2fb", &long] {
        server.set_canned(
            &format!("/{}", name.replace("%2e", ".").replace("%2f", "/")),
            Canned { body: b"first".to_vec(), ..Canned::default() },
        );
        let site = site_of(&server, "", name);
        site.build(&["--output=../out"]).success();
        let names: Vec<_> = fs::read_dir(site.path("out/d")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "{name}: {names:?}");
        assert!(!site.path("out/x").exists() && !site.path("x").exists());
    }
}

fn an_archive_is_unpacked_if_that_is_asked_for() {
    let server = TestRegistry::start().unwrap();
    let entry = slipway_test::tar::Entry { path: "inner".into(), data: b"i".to_vec(), ..Default::default() };
    let body = slipway_test::tar::write(&[entry]).unwrap();
    server.set_canned("/a.tar", Canned { body, ..Canned::default() });
    for (flag, file) in [("", "a.tar"), ("--unpack=false", "a.tar"), ("--unpack", "inner")] {
        let site = site_of(&server, flag, "a.tar");
        site.build(&["--output=../out"]).success();
        assert!(site.path("out/d").join(file).exists(), "{flag}");
        assert_eq!(fs::read_dir(site.path("out/d")).unwrap().count(), 1);
    }
}

fn a_login_in_a_url_is_found_nowhere() {
    const PASSWORD: &str = "canary-77aa-of-the-password";
    let server = TestRegistry::start().unwrap();
    serve(&server, "first", "\"1\"");
    let url = format!("http://me:{PASSWORD}@{}/f.txt", server.host());
    let site = Site::new(&format!("FROM scratch\nADD {url} /d/\n"));
    let outcome = site.build(&["--output=type=image"]).success();
    assert!(server.requests()[0].authorization.is_some());
    for file in files_below(&site.path("store")) {
        assert!(!contains(&fs::read(&file).unwrap(), PASSWORD.as_bytes()), "it is in {}", file.display());
    }
    assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
}
