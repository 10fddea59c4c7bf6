//! Contexts that are no folders: repositories, URLs, archives on standard input.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use slipway_test::git_server::{Blob, COMMIT_TIME};
use slipway_test::registry::{Canned, TestRegistry};
use slipway_test::tar::{self, Entry, Kind};

use crate::git::served;
use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_repository_is_a_context", a_repository_is_a_context),
    test("a_context_may_be_a_folder_of_a_repository", a_context_may_be_a_folder_of_a_repository),
    test("the_repository_of_a_context_can_be_kept", the_repository_of_a_context_can_be_kept),
    test("files_of_a_context_get_the_time_of_the_commit", files_of_a_context_get_the_time_of_the_commit),
    test("a_branch_that_did_not_move_runs_nothing", a_branch_that_did_not_move_runs_nothing),
    test("mistakes_in_the_url_are_told", mistakes_in_the_url_are_told),
    test("an_archive_at_a_url_is_a_context", an_archive_at_a_url_is_a_context),
    test("a_text_at_a_url_is_a_dockerfile", a_text_at_a_url_is_a_dockerfile),
    test("the_dockerfile_may_be_at_a_url", the_dockerfile_may_be_at_a_url),
    test("a_dockerfile_that_leads_out_is_not_read", a_dockerfile_that_leads_out_is_not_read),
    test("named_contexts_may_be_remote", named_contexts_may_be_remote),
    test("archives_on_standard_input_may_be_compressed", archives_on_standard_input_may_be_compressed),
];

const OUT: &str = "--output=../out";

/// Builds `context`.
fn build(site: &Site, flags: &[&str], context: &str) -> Outcome {
    run(site.build_command(&[OUT]).args(flags).arg(context))
}

fn names(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("out")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn a_repository_is_a_context() {
    let (server, _) = served();
    let site = Site::new("this is not it");
    build(&site, &[], &format!("{}#main", server.url("r"))).success();
    // Its ignore file is not read.
    assert_eq!(names(&site), [".dockerignore", "Dockerfile", "evil", "near", "run.sh", "sub", "top"]);
    site.assert_tidy();
}

fn a_context_may_be_a_folder_of_a_repository() {
    let (server, _) = served();
    server
        .commit("r", "main", &[("a/b/dockerfile", Blob::File("FROM scratch\nCOPY f /g\n")), ("a/b/f", Blob::File("x"))])
        .unwrap();
    let site = Site::new("");
    build(&site, &[], &format!("{}#:a/b", server.url("r"))).success();
    assert_eq!(names(&site), ["g"]);
    fs::remove_dir_all(site.path("out")).unwrap();
    build(&site, &["-f", "b/dockerfile"], &format!("{}?subdir=a&branch=main", server.url("r"))).failure();
    let told = build(&site, &["-f", "nope"], &server.url("r")).failure();
    assert!(told.contains("failed to read dockerfile: open nope: no such file or directory"), "{told}");
}

fn the_repository_of_a_context_can_be_kept() {
    let (server, _) = served();
    for (tail, flags) in [("", &["--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"][..]), ("?keep-git-dir=true", &[])] {
        let site = Site::new("");
        build(&site, flags, &format!("{}{tail}", server.url("r"))).success();
        assert!(site.path("out/.git/HEAD").exists(), "{tail}");
    }
}

fn files_of_a_context_get_the_time_of_the_commit() {
    let (server, _) = served();
    let far = format!("--build-arg=SOURCE_DATE_EPOCH={}", COMMIT_TIME + 1000);
    for (tail, flags) in [("", &[far.as_str()][..]), ("?mtime=commit", &[])] {
        let site = Site::new("");
        let tar = format!("--output=type=oci,dest={},tar=false,compression=uncompressed", site.name("layout"));
        run(site.build_command(&[&tar]).args(flags).arg(format!("{}{tail}", server.url("r")))).success();
        let layers = fs::read_dir(site.path("layout/blobs/sha256")).unwrap();
        let is_dated = |bytes: Vec<u8>| {
            tar::read(&bytes).is_ok_and(|entries| entries.iter().any(|e| e.path == "top" && e.mtime == COMMIT_TIME))
        };
        assert!(layers.map(|e| fs::read(e.unwrap().path()).unwrap()).any(is_dated), "{tail}");
    }
}

fn a_branch_that_did_not_move_runs_nothing() {
    let (server, _) = served();
    let site = Site::new("");
    build(&site, &[], &server.url("r")).success();
    let n_fetches = server.n_fetches();
    assert!(build(&site, &[], &server.url("r")).success().steps().ran.is_empty());
    assert_eq!(server.n_fetches(), n_fetches);
}

fn mistakes_in_the_url_are_told() {
    let (server, _) = served();
    let site = Site::new("");
    for (context, reason) in [
        (format!("{}?foo=1", server.url("r")), "unexpected query \"foo\""),
        (format!("{}?branch=a&tag=b", server.url("r")), "branch conflicts with tag"),
        (format!("{}#nope", server.url("r")), "repository does not contain ref nope"),
        (format!("{}#main:evil", server.url("r")), "contains non-directory \"evil\""),
        (format!("{}#--upload-pack=x", server.url("r")), "invalid git ref"),
        (format!("http://{}/none", server.host()), "invalid response status 404"),
        ("nope".to_owned(), "unable to prepare context: path \"nope\" not found"),
    ] {
        let told = build(&site, &[], &context).failure();
        assert!(told.contains(reason), "{context}: {told}");
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let entry = |(path, text): &(&str, &str)| Entry {
        path: (*path).to_owned(),
        kind: Kind::File,
        mode: 0o640,
        uid: 7,
        gid: 8,
        data: text.as_bytes().to_vec(),
        ..Entry::default()
    };
    tar::write(&files.iter().map(entry).collect::<Vec<_>>()).unwrap()
}

/// `bytes` as the program `compressor` writes them.
fn compressed(compressor: &str, site: &Site, bytes: &[u8]) -> Vec<u8> {
    fs::write(site.path("plain"), bytes).unwrap();
    let file = File::open(site.path("plain")).unwrap();
    Command::new(compressor).arg("-c").stdin(Stdio::from(file)).output().unwrap().stdout
}

const PACKED: &[(&str, &str)] = &[
    ("Dockerfile", "FROM scratch\nCOPY . /\n"),
    (".dockerignore", "a\n"),
    ("a", "a"),
    ("d/Other", "FROM scratch\nCOPY a /o\n"),
];

fn serve(server: &TestRegistry, path: &str, body: Vec<u8>) -> String {
    server.set_canned(path, Canned { body, ..Canned::default() });
    format!("{}{path}", server.url())
}

fn an_archive_at_a_url_is_a_context() {
    let server = TestRegistry::start().unwrap();
    for compressor in ["cat", "gzip", "bzip2", "xz"] {
        let site = Site::new("");
        let body = match compressor {
            "cat" => archive(PACKED),
            compressor => compressed(compressor, &site, &archive(PACKED)),
        };
        let url = serve(&server, "/context", body);
        build(&site, &[], &url).success();
        assert_eq!(names(&site), [".dockerignore", "Dockerfile", "a", "d"], "{compressor}");
        assert_eq!(fs::metadata(site.path("out/a")).unwrap().mode() & 0o777, 0o640);
        fs::remove_dir_all(site.path("out")).unwrap();
        build(&site, &["-f", "d/Other"], &url).success();
        assert_eq!(names(&site), ["o"], "{compressor}");
    }
}

fn a_text_at_a_url_is_a_dockerfile() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, "/Dockerfile.txt", b"FROM scratch\nCOPY . /\n".to_vec());
    let site = Site::new("");
    build(&site, &[], &url).success();
    assert_eq!(names(&site), ["context"]);
}

fn the_dockerfile_may_be_at_a_url() {
    let server = TestRegistry::start().unwrap();
    let url = serve(&server, "/D", b"FROM scratch\nCOPY mine /\n".to_vec());
    let site = Site::new("");
    site.write("mine", "m");
    build(&site, &["-f", &url], ".").success();
    assert_eq!(names(&site), ["mine"]);
    let (repositories, _) = served();
    let url = serve(&server, "/E", b"FROM scratch\nCOPY top /\n".to_vec());
    fs::remove_dir_all(site.path("out")).unwrap();
    build(&site, &["-f", &url], &repositories.url("r")).success();
    assert_eq!(names(&site), ["top"]);
}

fn a_dockerfile_that_leads_out_is_not_read() {
    let site = Site::new("");
    fs::write(site.path("secret"), "FROM scratch\nCOPY stolen /\n").unwrap();
    let link = Entry { path: "Dockerfile".into(), kind: Kind::Symlink, link: site.name("secret"), ..Entry::default() };
    fs::write(site.path("hostile.tar"), tar::write(&[link]).unwrap()).unwrap();
    let mut command = site.build_command(&["-"]);
    let told = run(command.stdin(File::open(site.path("hostile.tar")).unwrap())).failure();
    assert!(told.contains("failed to read dockerfile") && !told.contains("stolen"), "{told}");
    let (server, _) = served();
    server.commit("r", "main", &[("Dockerfile", Blob::Link(&site.name("secret")))]).unwrap();
    let told = build(&site, &[], &server.url("r")).failure();
    assert!(told.contains("failed to read dockerfile") && !told.contains("stolen"), "{told}");
}

fn named_contexts_may_be_remote() {
    let (server, _) = served();
    let files = TestRegistry::start().unwrap();
    let url = serve(&files, "/a.tar", archive(PACKED));
    let site = Site::new("FROM g AS base\nFROM empty\nCOPY --from=base sub /s\nCOPY --from=h / /h\n");
    let git = format!("--build-context=g={}#main", server.url("r"));
    let http = format!("--build-context=h={url}");
    let unused = "--build-context=unused=https://h/r.git?foo=1";
    build(&site, &[&git, &http, unused, "--build-context=empty=docker-image://scratch"], ".").success();
    assert_eq!(names(&site), ["h", "s"]);
    // Not unpacked.
    assert_eq!(fs::read(site.path("out/h/context")).unwrap(), archive(PACKED));
    let site = Site::new("FROM g\n");
    let told = build(&site, &["--build-context=g=ssh://h/r"], ".").failure();
    assert!(told.contains("unsupported context source ssh for g"), "{told}");
}

fn archives_on_standard_input_may_be_compressed() {
    for compressor in ["cat", "gzip", "bzip2", "xz", "zstd"] {
        let site = Site::new("");
        let body = match compressor {
            "cat" => archive(PACKED),
            compressor => compressed(compressor, &site, &archive(PACKED)),
        };
        fs::write(site.path("in"), body).unwrap();
        let mut command = site.build_command(&[OUT, "-f", "d/Other", "-"]);
        run(command.stdin(File::open(site.path("in")).unwrap())).success();
        // The ignore file of an archive is not read.
        assert_eq!(names(&site), ["o"], "{compressor}");
    }
}
