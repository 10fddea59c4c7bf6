//! `SOURCE_DATE_EPOCH` that names something on the network. An output of files shows what it came to: all of them have
//! that time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use slipway_test::git_server::COMMIT_TIME;
use slipway_test::registry::{Canned, TestRegistry};
use slipway_test::tar::{self, Entry, Kind};

use crate::git::served;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_repository_as_context_gives_the_time_of_the_commit", a_repository_as_context_gives_the_time_of_the_commit),
    test("a_file_gives_the_time_that_its_server_says", a_file_gives_the_time_that_its_server_says),
    test("an_archive_gives_the_time_of_its_newest_file", an_archive_gives_the_time_of_its_newest_file),
    test("a_stage_gives_the_time_of_what_it_fetches", a_stage_gives_the_time_of_what_it_fetches),
    test("a_named_context_gives_its_time", a_named_context_gives_its_time),
    test("what_has_no_time_changes_none", what_has_no_time_changes_none),
];

const CONTEXT: &str = "--build-arg=SOURCE_DATE_EPOCH=context";
/// The times of the two files of [`archive`].
const TIMES: [i64; 2] = [1_500_000_000, 1_400_000_000];

fn archive() -> Vec<u8> {
    let entry = |path: &str, kind: Kind, mtime: i64, text: &str| Entry {
        path: path.to_owned(),
        kind,
        mode: 0o755,
        mtime,
        data: text.as_bytes().to_vec(),
        ..Entry::default()
    };
    tar::write(&[
        entry("Dockerfile", Kind::File, TIMES[0], "FROM scratch\nCOPY f /\n"),
        entry("f", Kind::File, TIMES[1], "f"),
        // Folders do not count.
        entry("d", Kind::Directory, TIMES[0] + 1, ""),
    ])
    .unwrap()
}

fn serve(server: &TestRegistry, headers: &[(&str, &str)], body: Vec<u8>) -> String {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    server.set_canned("/a.tar", Canned { headers, body, ..Canned::default() });
    format!("{}/a.tar", server.url())
}

/// The time of the file `name` of a build of `context`.
#[track_caller]
fn time_of(site: &Site, flags: &[&str], context: &str, name: &str) -> i64 {
    let _ = fs::remove_dir_all(site.path("out"));
    run(site.build_command(&["--output=../out"]).args(flags).arg(context)).success();
    fs::metadata(site.path("out").join(name)).unwrap().mtime()
}

fn a_repository_as_context_gives_the_time_of_the_commit() {
    let (server, _) = served();
    assert_eq!(time_of(&Site::new(""), &[CONTEXT], &server.url("r"), "top"), COMMIT_TIME);
}

fn a_file_gives_the_time_that_its_server_says() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, &[("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")], archive());
    assert_eq!(time_of(&Site::new(""), &[CONTEXT], &url, "f"), 784_111_777);
}

fn an_archive_gives_the_time_of_its_newest_file() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, &[], archive());
    assert_eq!(time_of(&Site::new(""), &[CONTEXT], &url, "f"), TIMES[0]);
}

fn a_stage_gives_the_time_of_what_it_fetches() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, &[], archive());
    let (repositories, _) = served();
    for (source, time) in [(url, TIMES[0]), (repositories.url("r"), COMMIT_TIME)] {
        let text = format!("ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD {source} /\nFROM scratch\nCOPY f /\n");
        let site = Site::new(&text);
        site.write("f", "f");
        assert_eq!(time_of(&site, &[], ".", "f"), time, "{source}");
        assert_eq!(time_of(&site, &["--build-arg=SOURCE_DATE_EPOCH=7"], ".", "f"), 7);
    }
}

fn a_named_context_gives_its_time() {
    let (server, _) = served();
    let site = Site::new("ARG SOURCE_DATE_EPOCH=src\nFROM scratch\nCOPY f /\n");
    site.write("f", "f");
    let flag = format!("--build-context=src={}", server.url("r"));
    assert_eq!(time_of(&site, &[&flag], ".", "f"), COMMIT_TIME);
}

fn what_has_no_time_changes_none() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, &[], b"FROM scratch\nCOPY context /f\n".to_vec());
    let plain = time_of(&Site::new(""), &[], &url, "f");
    assert_eq!(time_of(&Site::new(""), &[CONTEXT], &url, "f"), plain);
}
