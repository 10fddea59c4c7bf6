//! `ADD <git repository>`, served on loopback.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

use slipway_test::git_server::{Blob, COMMIT_TIME, GitServer};
use slipway_test::image::contains;

use crate::site::{Outcome, Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("the_default_branch_comes_without_its_repository", the_default_branch_comes_without_its_repository),
    test("branches_tags_and_commits_are_found", branches_tags_and_commits_are_found),
    test("a_branch_that_did_not_move_fetches_nothing", a_branch_that_did_not_move_fetches_nothing),
    test("a_branch_that_moved_is_another_source", a_branch_that_moved_is_another_source),
    test("a_repository_that_is_kept_works", a_repository_that_is_kept_works),
    test("submodules_come_along_unless_they_are_not_wanted", submodules_come_along_unless_they_are_not_wanted),
    test("a_subdir_is_the_top", a_subdir_is_the_top),
    test("a_subdir_that_is_a_link_is_refused", a_subdir_that_is_a_link_is_refused),
    test("a_checksum_must_fit", a_checksum_must_fit),
    test("what_looks_like_an_option_is_refused", what_looks_like_an_option_is_refused),
    test("a_submodule_cannot_run_programs", a_submodule_cannot_run_programs),
    test("settings_and_hooks_of_the_host_are_not_used", settings_and_hooks_of_the_host_are_not_used),
    test("a_token_opens_the_repository_and_is_found_nowhere", a_token_opens_the_repository_and_is_found_nowhere),
    test("a_login_in_the_url_is_found_nowhere", a_login_in_the_url_is_found_nowhere),
    test("a_token_is_for_its_host_only", a_token_is_for_its_host_only),
    test("a_token_does_not_follow_a_redirect", a_token_does_not_follow_a_redirect),
    test("modes_do_not_depend_on_the_umask", modes_do_not_depend_on_the_umask),
    test("without_git_the_message_says_so", without_git_the_message_says_so),
    test("ssh_needs_an_agent", ssh_needs_an_agent),
    test("what_the_remote_lacks_is_told", what_the_remote_lacks_is_told),
];

const OUT: &str = "--output=../out";

/// A server with one repository `r`, and the hash of its commit.
pub(crate) fn served() -> (GitServer, String) {
    let server = GitServer::start().unwrap();
    let commit = server.commit("r", "main", FILES).unwrap();
    (server, commit)
}

const FILES: &[(&str, Blob<'_>)] = &[
    ("Dockerfile", Blob::File("FROM scratch\nCOPY . /\n")),
    (".dockerignore", Blob::File("sub\n")),
    ("evil", Blob::Link("/etc")),
    ("near", Blob::Link("sub")),
    ("run.sh", Blob::Program("#!/bin/sh\n")),
    ("sub/f", Blob::File("f\n")),
    ("top", Blob::File("top\n")),
];

fn site_of(sources: &str) -> Site {
    Site::new(&format!("FROM scratch\nADD {sources} /d/\n"))
}

/// The names below `out/d`.
fn names(site: &Site) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(site.path("out/d")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(site: &Site, path: &str) -> String {
    fs::read_to_string(site.path("out/d").join(path)).unwrap()
}

fn the_default_branch_comes_without_its_repository() {
    let (server, _) = served();
    let site = site_of(&server.url("r"));
    site.build(&[OUT]).success();
    assert_eq!(names(&site), [".dockerignore", "Dockerfile", "evil", "near", "run.sh", "sub", "top"]);
    assert_eq!(fs::read_link(site.path("out/d/evil")).unwrap(), PathBuf::from("/etc"));
    let mode = |path: &str| fs::metadata(site.path("out/d").join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("top"), mode("sub")), (0o755, 0o644, 0o755));
    assert_ne!(fs::metadata(site.path("out/d/top")).unwrap().mtime(), COMMIT_TIME);
    site.assert_tidy();
}

fn branches_tags_and_commits_are_found() {
    let (server, first) = served();
    server.tag("r", "light", &first, None).unwrap();
    server.tag("r", "annotated", &first, Some("text")).unwrap();
    server.commit("r", "main", &[("new", Blob::File("new\n"))]).unwrap();
    server.commit("r", "feature/x", &[("x", Blob::File("x\n"))]).unwrap();
    for (tail, expected) in [
        ("".to_owned(), "new"),
        ("#feature/x".to_owned(), "x"),
        ("#refs/heads/main".to_owned(), "new"),
        ("?branch=feature/x".to_owned(), "x"),
        ("#light:sub".to_owned(), "f"),
        ("?tag=annotated&subdir=sub".to_owned(), "f"),
        (format!("#{first}:sub"), "f"),
        (format!("?commit={first}&subdir=sub"), "f"),
    ] {
        let site = site_of(&format!("{}{tail}", server.url("r")));
        site.build(&[OUT]).success();
        assert_eq!(names(&site), [expected], "{tail}");
    }
}

fn a_branch_that_did_not_move_fetches_nothing() {
    let (server, _) = served();
    let site = site_of(&server.url("r"));
    site.build(&[]).success();
    let n_fetches = server.n_fetches();
    assert!(n_fetches > 0);
    assert!(site.build(&[]).success().steps().ran.is_empty());
    // Another name of the same commit.
    site.write("Dockerfile", &format!("FROM scratch\nADD {}#main /d/\n", server.url("r")));
    site.build(&[]).success();
    assert_eq!(server.n_fetches(), n_fetches);
}

fn a_branch_that_moved_is_another_source() {
    let (server, _) = served();
    let site = site_of(&format!("{}#main", server.url("r")));
    site.build(&[]).success();
    server.commit("r", "main", &[("second", Blob::File("2\n"))]).unwrap();
    assert!(!site.build(&[OUT]).success().steps().ran.is_empty());
    assert_eq!(names(&site), ["second"]);
}

fn a_repository_that_is_kept_works() {
    let (server, commit) = served();
    let site = site_of(&format!("--keep-git-dir {}", server.url("r")));
    site.build(&[OUT]).success();
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(site.path("out/d")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(git(&["rev-parse", "HEAD"]), commit);
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(git(&["config", "remote.origin.url"]), server.url("r"));
    // A folder of the repository comes without it.
    site.write("Dockerfile", &format!("FROM scratch\nADD --keep-git-dir {}#main:sub /d/\n", server.url("r")));
    fs::remove_dir_all(site.path("out")).unwrap();
    site.build(&[OUT]).success();
    assert_eq!(names(&site), ["f"]);
}

/// A repository `outer` that has `r` as the submodule `m`.
fn with_submodule(server: &GitServer, url: &str, commit: &str) {
    let modules = format!("[submodule \"m\"]\n\tpath = m\n\turl = {url}\n");
    let files = [(".gitmodules", Blob::File(&modules)), ("m", Blob::Module(commit)), ("own", Blob::File("own\n"))];
    server.commit("outer", "main", &files).unwrap();
}

fn submodules_come_along_unless_they_are_not_wanted() {
    let (server, commit) = served();
    with_submodule(&server, "../r.git", &commit);
    let site = site_of(&server.url("outer"));
    site.build(&[OUT]).success();
    assert_eq!(read(&site, "m/sub/f"), "f\n");
    assert!(!site.path("out/d/m/.git").exists());
    let site = site_of(&format!("{}?submodules=false", server.url("outer")));
    site.build(&[OUT]).success();
    assert_eq!(fs::read_dir(site.path("out/d/m")).unwrap().count(), 0);
}

fn a_subdir_is_the_top() {
    let (server, _) = served();
    for subdir in ["sub", "/sub/", "../../sub", "./sub"] {
        let site = site_of(&format!("{}#main:{subdir}", server.url("r")));
        site.build(&[OUT]).success();
        assert_eq!(names(&site), ["f"], "{subdir}");
    }
}

fn a_subdir_that_is_a_link_is_refused() {
    let (server, _) = served();
    for (subdir, reason) in [
        ("evil", "invalid subdir /evil: git subpath \"/evil\" contains non-directory \"evil\""),
        ("near", "contains non-directory \"near\""),
        ("top", "contains non-directory \"top\""),
        ("nope", "invalid subdir /nope: "),
    ] {
        let told = site_of(&format!("{}#main:{subdir}", server.url("r"))).build(&[]).failure();
        assert!(told.contains(reason), "{told}");
    }
}

fn a_checksum_must_fit() {
    let (server, commit) = served();
    let url = server.url("r");
    site_of(&format!("--checksum={commit} {url}")).build(&[]).success();
    site_of(&format!("{url}?branch=main&checksum={}", &commit[..7])).build(&[]).success();
    let told = site_of(&format!("--checksum=deadbeef {url}#main")).build(&[]).failure();
    assert!(told.contains(&format!("expected checksum to match deadbeef, got {commit}")), "{told}");
    let told = site_of(&format!("--checksum={commit} {url}?checksum=abc")).build(&[]).failure();
    assert!(told.contains("checksum mismatch"), "{told}");
}

fn what_looks_like_an_option_is_refused() {
    let (server, _) = served();
    for (source, reason) in [
        (format!("{}#--upload-pack=touch", server.url("r")), "invalid git ref \"--upload-pack=touch\""),
        (format!("{}?ref=-x", server.url("r")), "invalid git ref \"-x\""),
        ("ssh://-oProxyCommand=touch/r".to_owned(), "invalid git repository"),
        // These are local paths, as with the reference.
        ("ext::sh://x.git".to_owned(), "not found"),
        ("file:///r.git".to_owned(), "not found"),
    ] {
        let site = site_of(&source);
        let told = site.build(&["--ssh=default=/dev/null"]).failure();
        let told = if told.contains(reason) { told } else { site.build(&[]).failure() };
        assert!(told.contains(reason) || told.contains("no file in the build context"), "{source}: {told}");
    }
    assert_eq!(server.requests(), []);
}

fn a_submodule_cannot_run_programs() {
    let (server, commit) = served();
    let canary = Site::new("");
    let touches = format!("ext::sh -c touch% {}", canary.name("touched"));
    for url in [touches.as_str(), "file:///etc", "/etc", "-oProxyCommand=x:y"] {
        with_submodule(&server, url, &commit);
        let site = site_of(&server.url("outer"));
        let outcome = site.build(&[OUT]);
        // git itself leaves a submodule with an option for a URL out.
        assert!(outcome.exit_code == Some(1) || fs::read_dir(site.path("out/d/m")).unwrap().count() == 0, "{url}");
        assert!(!canary.path("touched").exists(), "{url}");
    }
}

fn settings_and_hooks_of_the_host_are_not_used() {
    let (server, _) = served();
    let site = site_of(&server.url("r"));
    let canary = site.path("canary");
    let hook = site.path("home/hooks/post-checkout");
    fs::create_dir(site.path("home/hooks")).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", canary.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = format!(
        "[core]\n\thooksPath = {}\n[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://\n",
        site.name("home/hooks")
    );
    fs::write(site.path("home/.gitconfig"), settings).unwrap();
    let mut command = site.build_command(&[OUT, "."]);
    command.env("GIT_DIR", "/nonexistent").env("GIT_CONFIG_PARAMETERS", "'core.bare=true'");
    command.env("GIT_SSH_COMMAND", format!("touch {}", canary.display()));
    run(&mut command).success();
    assert!(!canary.exists());
}

const CANARY: &str = "canary-51c0de-of-the-token";

#[track_caller]
fn assert_canary_nowhere(site: &Site, outcome: &Outcome, canary: &str) {
    for folder in ["store", "out"] {
        for file in files_below(&site.path(folder)) {
            assert!(!contains(&fs::read(&file).unwrap(), canary.as_bytes()), "it is in {}", file.display());
        }
    }
    assert!(!outcome.stderr.contains(canary), "{}", outcome.stderr);
    assert!(!contains(&outcome.stdout, canary.as_bytes()));
}

fn basic(login: &str) -> String {
    format!("basic {}", slipway_test::git_server::base64(login))
}

fn a_token_opens_the_repository_and_is_found_nowhere() {
    let (server, _) = served();
    server.demand(&basic(&format!("x-access-token:{CANARY}")));
    let site = site_of(&format!("--keep-git-dir {}", server.url("r")));
    let told = site.build(&[]).failure();
    assert!(told.contains("git ls-remote failed"), "{told}");
    for id in ["GIT_AUTH_TOKEN".to_owned(), format!("GIT_AUTH_TOKEN.{}", server.host())] {
        let site = site_of(&format!("--keep-git-dir {}", server.url("r")));
        fs::write(site.path("token"), CANARY).unwrap();
        let outcome = site.build(&[OUT, "-o", "type=image", &format!("--secret=id={id},src=../token")]).success();
        assert_eq!(read(&site, "top"), "top\n");
        assert_canary_nowhere(&site, &outcome, CANARY);
        assert_canary_nowhere(&site, &outcome, &basic(&format!("x-access-token:{CANARY}"))[6..]);
    }
    server.demand("my own");
    let site = site_of(&server.url("r"));
    let mut command = site.build_command(&["--secret=id=GIT_AUTH_HEADER,env=HEADER", "."]);
    run(command.env("HEADER", "my own")).success();
}

fn a_login_in_the_url_is_found_nowhere() {
    let (server, _) = served();
    server.demand(&basic(&format!("me:{CANARY}")));
    let url = server.url("r").replace("http://", &format!("http://me:{CANARY}@"));
    let site = site_of(&format!("--keep-git-dir {url}"));
    let outcome = site.build(&[OUT, "--output=type=image"]).success();
    assert_canary_nowhere(&site, &outcome, CANARY);
    let site = site_of(&format!("{url}#nope"));
    let outcome = site.build(&[]);
    // The line of the Dockerfile is shown: that is the user's own text. What slipway says itself is not.
    let said: String = outcome.stderr.lines().filter(|line| !line.contains(" | ")).collect();
    assert!(said.contains("does not contain ref nope") && !said.contains(CANARY), "{said}");
}

fn a_token_is_for_its_host_only() {
    let (server, commit) = served();
    let (other, _) = served();
    with_submodule(&server, &other.url("r"), &commit);
    let site = site_of(&server.url("outer"));
    fs::write(site.path("token"), CANARY).unwrap();
    site.build(&["--secret=id=GIT_AUTH_TOKEN,src=../token"]).success();
    assert!(server.requests().iter().any(|request| request.authorization.is_some()));
    assert!(!other.requests().is_empty());
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

fn a_token_does_not_follow_a_redirect() {
    let (server, _) = served();
    let (other, _) = served();
    server.redirect_to(&format!("http://{}", other.host()));
    let site = site_of(&server.url("r"));
    fs::write(site.path("token"), CANARY).unwrap();
    let _ = site.build(&["--secret=id=GIT_AUTH_TOKEN,src=../token"]).failure();
    assert!(other.requests().iter().all(|request| request.authorization.is_none()), "{:?}", other.requests());
    // Without anything to lose they are followed.
    site_of(&server.url("r")).build(&[]).success();
}

fn modes_do_not_depend_on_the_umask() {
    let (server, _) = served();
    let modes = |umask: &str| {
        let site = site_of(&format!("--keep-git-dir {}", server.url("r")));
        let build = site.build_command(&[OUT, "."]);
        let words = build.get_args().map(|word| word.to_string_lossy().into_owned());
        let line: Vec<String> = words.map(|word| format!("'{word}'")).collect();
        let mut shell = site.with_own_environment(Command::new("/bin/sh"));
        let program = build.get_program().to_string_lossy().into_owned();
        run(shell.arg("-c").arg(format!("umask {umask}; exec {program} {}", line.join(" ")))).success();
        let mut files = files_below(&site.path("out/d"));
        files.sort();
        let mode = |file: PathBuf| format!("{:o}", fs::metadata(file).unwrap().mode());
        files.into_iter().map(mode).collect::<Vec<String>>()
    };
    assert_eq!(modes("077"), modes("002"));
}

fn without_git_the_message_says_so() {
    let (server, _) = served();
    let site = site_of(&server.url("r"));
    fs::create_dir(site.path("bin")).unwrap();
    let mut command = site.build_command(&["."]);
    let told = run(command.env("PATH", site.path("bin"))).failure();
    assert!(told.contains("git is needed for") && told.contains("is not installed"), "{told}");
}

fn ssh_needs_an_agent() {
    for source in ["git@127.0.0.1:r.git", "ssh://git@127.0.0.1/r.git"] {
        let told = site_of(source).build(&[]).failure();
        assert!(told.contains("unset ssh forward key default"), "{told}");
    }
}

fn what_the_remote_lacks_is_told() {
    let (server, _) = served();
    let told = site_of(&format!("{}#nope", server.url("r"))).build(&[]).failure();
    assert!(told.contains("repository does not contain ref nope"), "{told}");
    let told = site_of(&server.url("missing")).build(&[]).failure();
    assert!(told.contains("git ls-remote failed for") && told.contains("missing.git"), "{told}");
    let told = site_of(&format!("{}#{}", server.url("r"), "0".repeat(40))).build(&[]).failure();
    assert!(told.contains("not our ref") || told.contains("does not contain ref"), "{told}");
}
