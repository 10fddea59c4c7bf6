//! `slipway lint`: formats, exit codes, and that a rewritten file builds the same image.

use std::fs;

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("findings_come_with_their_lines_and_a_way_out", findings_come_with_their_lines_and_a_way_out),
    test("programs_read_json_and_sarif", programs_read_json_and_sarif),
    test("annotations_name_file_and_line", annotations_name_file_and_line),
    test("the_threshold_decides_about_the_exit_code", the_threshold_decides_about_the_exit_code),
    test("folders_are_searched", folders_are_searched),
    test("a_rewritten_file_builds_the_same_image", a_rewritten_file_builds_the_same_image),
    test("unknown_rules_and_missing_files_are_refused", unknown_rules_and_missing_files_are_refused),
];

/// A base about which there is nothing to say.
const PINNED: &str = "FROM debian:12@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn pinned(rest: &str) -> Site {
    Site::new(&format!("{PINNED}\n{rest}"))
}

fn lint(site: &Site, arguments: &[&str]) -> Outcome {
    run(site.slipway().arg("lint").args(arguments))
}

fn told(site: &Site, arguments: &[&str]) -> String {
    String::from_utf8(lint(site, arguments).stdout).unwrap()
}

fn findings_come_with_their_lines_and_a_way_out() {
    let site = Site::new("FROM debian:12\nUSER 1\nRUN apt-get install -y --no-install-recommends curl\n");
    let outcome = lint(&site, &["--ignore=UnpinnedBase"]);
    assert_eq!(outcome.exit_code, Some(1));
    let expected = "warning: DL3008: package installed by apt-get without a version: curl
Dockerfile:3
--------------------
   1 |     FROM debian:12
   2 |     USER 1
   3 | >>> RUN apt-get install -y --no-install-recommends curl
   4 |     
--------------------
Write package=version, so that the same Dockerfile installs the same packages tomorrow.

1 finding in 1 file.
";
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), expected);
}

fn programs_read_json_and_sarif() {
    let site = pinned("USER 1\nCMD x\n");
    let json = told(&site, &["-f", "json"]);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{json}");
    assert_eq!((&found[0]["code"], &found[0]["rule"]), (&"DL3025".into(), &"JSONArgsRecommended".into()));
    assert_eq!((&found[0]["line"], &found[0]["level"]), (&3.into(), &"warning".into()));
    let sarif: serde_json::Value = serde_json::from_str(&told(&site, &["-f", "sarif"])).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(run["results"][0]["ruleId"], run["tool"]["driver"]["rules"][0]["id"]);
    assert_eq!(run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
    assert_eq!(run["results"][0]["level"], "warning");
}

fn annotations_name_file_and_line() {
    let site = pinned("USER 1\nWORKDIR x\n");
    let text = told(&site, &["--format=github"]);
    assert!(text.starts_with("::error file=Dockerfile,line=3,endLine=3,title=DL3000::"), "{text}");
    assert!(told(&site, &["--format=tty"]).starts_with("Dockerfile:3 DL3000 error: "));
}

fn the_threshold_decides_about_the_exit_code() {
    // A hint only.
    let site = pinned("");
    assert_eq!(lint(&site, &[]).exit_code, Some(1));
    assert_eq!(lint(&site, &["-t", "warning"]).exit_code, Some(0));
    assert_eq!(lint(&site, &["--warning=RunsAsRoot", "-t", "warning"]).exit_code, Some(1));
    assert_eq!(lint(&site, &["--no-fail"]).exit_code, Some(0));
    assert_eq!(lint(&site, &["--ignore", "RunsAsRoot"]).exit_code, Some(0));
    site.write("Dockerfile", &format!("# slipway global ignore=RunsAsRoot\n{PINNED}\n"));
    assert_eq!(lint(&site, &[]).exit_code, Some(0));
    assert_eq!(lint(&site, &["--disable-ignore-pragma"]).exit_code, Some(1));
}

fn folders_are_searched() {
    let site = Site::new("FROM debian\n");
    for path in ["a/Dockerfile", "a/b/Dockerfile.dev", "c/prod.Dockerfile"] {
        site.write(path, "FROM debian\n");
    }
    for path in [".git/Dockerfile", "node_modules/Dockerfile", "a/Dockerfile.dockerignore", "a/README"] {
        site.write(path, "FROM debian\n");
    }
    let text = told(&site, &["-f", "tty", "."]);
    let mut files: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    files.dedup();
    assert_eq!(files, ["./Dockerfile", "./a/Dockerfile", "./a/b/Dockerfile.dev", "./c/prod.Dockerfile"]);
}

fn a_rewritten_file_builds_the_same_image() {
    let before = "from busybox AS Tools
RUN echo x \\

  > /x
FROM --platform=$TARGETPLATFORM busybox
ADD a /a
COPY a b /c/d
COPY --from=0 /x /x
";
    let site = Site::new(before);
    site.write("a", "a\n");
    site.write("b", "b\n");
    // The reference refuses this target; the fix is what makes the file valid.
    let valid = before.replace("/c/d\n", "/c/d/\n");
    site.write("Dockerfile", &valid);
    let original = site.summary(&[]);
    site.write("Dockerfile", before);

    let shown = told(&site, &["--fix", "--dry-run", "-f", "tty"]);
    assert!(shown.contains("+COPY --from=tools /x /x\n"), "{shown}");
    assert_eq!(fs::read_to_string(site.path("ctx/Dockerfile")).unwrap(), before);
    lint(&site, &["--fix", "-f", "tty"]);
    let after = fs::read_to_string(site.path("ctx/Dockerfile")).unwrap();
    let expected = "FROM busybox AS tools
RUN echo x \\
  > /x
FROM busybox
COPY a /a
COPY a b /c/d/
COPY --from=tools /x /x
";
    assert_eq!(after, expected);
    // The history names the instruction, which is another one now.
    let fixed = site.summary(&[]).replace("COPY a /a", "ADD a /a");
    assert_eq!(fixed, original);
    assert!(!told(&site, &["--fix", "-f", "tty"]).contains("+++"));
}

fn unknown_rules_and_missing_files_are_refused() {
    let site = Site::new("FROM debian:12\n");
    assert!(lint(&site, &["--ignore=DL9999"]).failure().contains("no rule is called `DL9999`"));
    assert!(lint(&site, &["missing"]).failure().contains("cannot read `missing`"));
    fs::create_dir(site.path("ctx/empty")).unwrap();
    assert!(lint(&site, &["empty"]).failure().contains("no Dockerfile lies below `empty`"));
    fs::remove_file(site.path("ctx/Dockerfile")).unwrap();
    assert!(lint(&site, &[]).failure().contains("there is no Dockerfile here"));
}
