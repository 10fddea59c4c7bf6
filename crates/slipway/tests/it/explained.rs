//! What is remembered of a build that is over, and what is said about why its steps ran.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("each_kind_of_change_is_named", each_kind_of_change_is_named),
    test("a_changed_owner_is_named", a_changed_owner_is_named),
    test("a_changed_base_is_named", a_changed_base_is_named),
    test("a_touch_is_no_change", a_touch_is_no_change),
    test("a_parent_that_comes_out_equal_breaks_no_chain", a_parent_that_comes_out_equal_breaks_no_chain),
    test(
        "a_stage_that_was_expected_to_be_cached_fails_the_build",
        a_stage_that_was_expected_to_be_cached_fails_the_build,
    ),
    test("the_first_break_and_what_followed_are_counted", the_first_break_and_what_followed_are_counted),
    test("secrets_are_in_no_record", secrets_are_in_no_record),
    test("builds_are_listed_shown_and_forgotten", builds_are_listed_shown_and_forgotten),
];

const STAGES: &str = "FROM busybox AS base
ARG VERSION=1
COPY src /src
RUN cat /src/* > /all; echo $VERSION > /version
FROM busybox AS app
COPY --from=base /all /all
RUN cat /all
";

fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("src/a", "a\n");
    site.write("src/b", "b\n");
    site.build(&[]).success();
    site
}

#[track_caller]
fn explained(site: &Site, arguments: &[&str]) -> String {
    site.build(&[arguments, &["--explain"]].concat()).success().stderr
}

#[track_caller]
fn assert_says(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.contains(line), "`{line}` is not said:\n{text}");
    }
}

/// What a command writes to standard output.
#[track_caller]
fn output(site: &Site, arguments: &[&str]) -> String {
    String::from_utf8(run(site.slipway().args(arguments)).success().stdout).unwrap()
}

fn each_kind_of_change_is_named() {
    let site = site();
    site.write("src/a", "changed\n");
    assert_says(&explained(&site, &[]), &["src/a: content", "it uses [base 1/3] COPY src /src, which differs"]);
    fs::set_permissions(site.path("ctx/src/b"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_says(&explained(&site, &[]), &["src/b: mode 0644 -> 0600"]);
    fs::rename(site.path("ctx/src/b"), site.path("ctx/src/c")).unwrap();
    assert_says(&explained(&site, &[]), &["src/c: renamed from src/b"]);
    site.write("src/d", "new\n");
    assert_says(&explained(&site, &[]), &["src/d: appeared"]);
    fs::remove_file(site.path("ctx/src/d")).unwrap();
    site.write("src/a", "changed again\n");
    assert_says(&explained(&site, &[]), &["src/d: gone"]);
    let told = explained(&site, &["--build-arg=VERSION=2"]);
    assert_says(&told, &["build argument VERSION: `1` -> `2`", "The first step that ran is [base 2/3] RUN"]);
    site.write("Dockerfile", &STAGES.replace("RUN cat /all\n", "ENV COLOR=red\nRUN cat /all\n"));
    assert_says(&explained(&site, &["--build-arg=VERSION=2"]), &["environment variable COLOR is new: `red`"]);
    site.write("Dockerfile", &STAGES.replace("RUN cat /all\n", "RUN --mount=type=tmpfs,target=/t cat /all\n"));
    assert_says(&explained(&site, &["--build-arg=VERSION=2"]), &["mount /t is new", "no other step followed from it"]);
    assert_says(&explained(&site, &["--no-cache"]), &["earlier results were not to be used (--no-cache)"]);
}

fn a_changed_owner_is_named() {
    // Files of a context belong to root, whoever they belong to outside; what may change is the flag.
    let site = Site::new("FROM busybox\nCOPY --chown=1:2 src /src\n");
    site.write("src/a", "a\n");
    site.build(&[]).success();
    site.write("Dockerfile", "FROM busybox\nCOPY --chown=1:3 src /src\n");
    assert_says(&explained(&site, &[]), &["1:2", "1:3"]);
}

fn a_changed_base_is_named() {
    let site = Site::new("FROM based\nRUN true\n");
    let build_base = |word: &str| {
        site.write("base/Dockerfile", &format!("FROM busybox\nRUN echo {word} > /word\n"));
        run(site.build_command(&["-t", "based"]).arg("base")).success();
    };
    build_base("one");
    site.build(&[]).success();
    build_base("two");
    let told = explained(&site, &[]);
    let base = told.lines().find(|line| line.contains("base image based:latest: `")).unwrap_or_default();
    assert!(base.contains("` -> `"), "{told}");
}

fn a_touch_is_no_change() {
    let site = site();
    site.write("src/a", "a\n");
    assert_says(&explained(&site, &[]), &["Every step was cached."]);
}

fn a_parent_that_comes_out_equal_breaks_no_chain() {
    let site = site();
    site.write("Dockerfile", &STAGES.replace("cat /src/* > /all", "cat /src/a /src/b > /all"));
    let told = explained(&site, &[]);
    let equal = "equal  [app 1/3] COPY --from=base /all /all";
    assert_says(&told, &["command: ", equal, "; no other step followed from it."]);
}

fn the_first_break_and_what_followed_are_counted() {
    let site = Site::new("FROM busybox\nCOPY a /a\nRUN cat /a > /b\nRUN cat /b > /c\nRUN cat /c > /d\n");
    site.write("a", "a\n");
    site.build(&[]).success();
    site.write("a", "changed\n");
    let told = explained(&site, &[]);
    assert_says(&told, &["The first step that ran is [1/5] COPY a /a; 3 steps followed from it."]);
    assert_says(&told, &["a: content", "it uses [2/5] RUN cat /a > /b, which differs"]);
    assert_eq!(output(&site, &["explain"]), told[told.find("hit  ").or(told.find("ran  ")).unwrap()..]);
    let json: serde_json::Value = serde_json::from_str(&output(&site, &["explain", "--json"])).unwrap();
    assert_eq!(json["first_break"]["step"], "[1/5] COPY a /a");
    assert_eq!(json["first_break"]["n_followed"], 3);
    let steps = json["steps"].as_array().unwrap();
    let ran: Vec<&str> =
        steps.iter().filter(|step| step["outcome"] == "ran").map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(ran.len(), 4, "{json}");
}

fn a_stage_that_was_expected_to_be_cached_fails_the_build() {
    let site = site();
    site.build(&["--expect-cached=base", "--expect-cached=app"]).success();
    site.write("src/a", "changed\n");
    let error = site.build(&["--expect-cached=base"]).failure();
    assert_says(&error, &["stage `base` was expected to be cached, but [base 1/3] COPY src /src ran: src/a: content"]);
    assert_says(&site.build(&["--expect-cached=nope"]).failure(), &["no step of the build belongs to stage `nope`"]);
}

fn secrets_are_in_no_record() {
    let site = Site::new(
        "FROM busybox\nARG API_TOKEN\nRUN --mount=type=secret,id=s,env=S [ -n \"$S\" ] && [ -n \"$API_TOKEN\" ]\nCOPY missing /\n",
    );
    fs::write(site.path("secret"), "hush-hush").unwrap();
    let secret = format!("--secret=id=s,src={}", site.name("secret"));
    site.build(&[&secret]).failure();
    assert_says(&output(&site, &["builds", "inspect"]), &["Error"]);
    for file in fs::read_dir(site.path("store/builds")).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"hush-hush"));
    }
}

fn builds_are_listed_shown_and_forgotten() {
    let site = site();
    site.write("Dockerfile", "FROM busybox\nRUN echo out; false\n");
    site.build(&[]).failure();
    let builds = |arguments: &[&str]| output(&site, &[&["builds"], arguments].concat());
    let listed = builds(&[]);
    let statuses: Vec<bool> = listed.lines().skip(1).map(|line| line.contains("Error")).collect();
    assert_eq!(statuses, [true, false], "{listed}");
    assert_eq!(builds(&["logs", "^0", "RUN echo"]), "out\n");
    assert_says(&builds(&["inspect", "--format=json"]), &["\"Status\": \"error\"", "exit code: 1"]);
    assert_says(&run(site.slipway().args(["buildx", "history", "logs"])).success().stderr, &["out", "RUN echo"]);
    assert_says(&output(&site, &["explain", "^1", "--json"]), &["\"first-time\""]);
    for file in fs::read_dir(site.path("store/builds")).unwrap() {
        fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(builds(&["ls"]).lines().count(), 1, "damaged records are skipped");
    site.build(&[]).failure();
    builds(&["rm", "--all"]);
    assert_eq!(builds(&["ls", "--format=json"]), "");
}
