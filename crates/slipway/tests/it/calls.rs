//! `--check` and `--call` where the Dockerfile is elsewhere.

use std::fs::{self, File};

use slipway_test::git_server::Blob;
use slipway_test::registry::{Canned, TestRegistry};
use slipway_test::tar::{self, Entry};

use crate::git::served;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_dockerfile_that_is_elsewhere_can_be_asked_about", a_dockerfile_that_is_elsewhere_can_be_asked_about),
    test("standard_input_can_be_asked_about", standard_input_can_be_asked_about),
    test("what_cannot_be_fetched_is_told", what_cannot_be_fetched_is_told),
];

const DOCKERFILE: &str = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch as built\nARG Flavour=vanilla\nCOPY f /\n";
/// What each question is answered with.
const ANSWERS: [(&str, &str); 3] =
    [("--check", "FromAsCasing"), ("--call=outline", "vanilla"), ("--call=targets", "built (default)")];

fn ask(site: &Site, flags: &[&str], stdin: Option<&str>, question: &str) -> String {
    let mut command = site.slipway();
    command.arg("build").arg(question).args(flags);
    if let Some(name) = stdin {
        command.stdin(File::open(site.path(name)).unwrap());
    }
    let outcome = run(&mut command);
    let expected = if question == "--check" { 1 } else { 0 };
    assert_eq!(outcome.exit_code, Some(expected), "{question} {flags:?}: {}", outcome.stderr);
    String::from_utf8(outcome.stdout).unwrap()
}

fn archive() -> Vec<u8> {
    let dockerfile =
        Entry { path: "Dockerfile".to_owned(), mode: 0o644, data: DOCKERFILE.as_bytes().to_vec(), ..Entry::default() };
    tar::write(&[dockerfile]).unwrap()
}

fn serve(server: &TestRegistry, path: &str, body: Vec<u8>) -> String {
    server.set_canned(path, Canned { body, ..Canned::default() });
    format!("{}{path}", server.url())
}

fn a_dockerfile_that_is_elsewhere_can_be_asked_about() {
    let (repositories, _) = served();
    repositories.commit("r", "main", &[("sub/Dockerfile", Blob::File(DOCKERFILE))]).unwrap();
    let server = TestRegistry::start().unwrap();
    let text = serve(&server, "/Dockerfile", DOCKERFILE.into());
    let packed = serve(&server, "/a.tar", archive());
    let folder = format!("{}#:sub", repositories.url("r"));
    let site = Site::new("this is not it");
    for flags in [&[folder.as_str()][..], &[&text], &[&packed], &["-f", &text, "."], &["-f", &text, &folder]] {
        for (question, answer) in ANSWERS {
            let told = ask(&site, flags, None, question);
            assert!(told.contains(answer), "{question} {flags:?}: {told}");
        }
    }
    // Nothing was built.
    assert!(!run(site.slipway().arg("builds")).success().stdout.windows(5).any(|word| word == b"built"));
    site.assert_tidy();
}

fn standard_input_can_be_asked_about() {
    let site = Site::new("this is not it");
    fs::write(site.path("text"), DOCKERFILE).unwrap();
    fs::write(site.path("a.tar"), archive()).unwrap();
    for (flags, stdin) in [(&["-"][..], "text"), (&["-"], "a.tar"), (&["-f", "-", "."], "text")] {
        for (question, answer) in ANSWERS {
            let told = ask(&site, flags, Some(stdin), question);
            assert!(told.contains(answer), "{question} {flags:?} < {stdin}: {told}");
        }
    }
}

fn what_cannot_be_fetched_is_told() {
    let (repositories, _) = served();
    let server = TestRegistry::start().unwrap();
    let site = Site::new("");
    for (context, reason) in [
        (format!("{}#nope", repositories.url("r")), "repository does not contain ref nope"),
        (format!("{}/none", server.url()), "invalid response status 404"),
    ] {
        let told = run(site.slipway().args(["build", "--check", &context])).failure();
        assert!(told.contains(reason), "{context}: {told}");
    }
}
