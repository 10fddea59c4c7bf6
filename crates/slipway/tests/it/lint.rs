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
    test("every_format_names_rule_and_line", every_format_names_rule_and_line),
    test("what_is_configured_is_weaker_than_what_is_typed", what_is_configured_is_weaker_than_what_is_typed),
    test("a_broken_configuration_names_file_and_key", a_broken_configuration_names_file_and_key),
    test("scripts_are_judged_by_shellcheck", scripts_are_judged_by_shellcheck),
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

fn every_format_names_rule_and_line() {
    // A name that every format has to escape in its own way.
    let site = pinned("USER 1\nWORKDIR x\n");
    let report = |format: &str| told(&site, &["--format", format, "--file-path-in-report", "a'&<b"]);
    assert_eq!(
        report("gnu"),
        "slipway:a'&<b:3: DL3000 error: WORKDIR is relative: x\n".replace("WORKDIR is relative: x", &message(&site))
    );
    for format in ["checkstyle", "junit"] {
        let text = report(format);
        assert!(text.contains("DL3000") && text.contains("a&apos;&amp;&lt;b"), "{text}");
        assert!(!text.contains("a'"), "{text}");
    }
    let issue: serde_json::Value = serde_json::from_str(report("codeclimate").trim_end_matches('\0')).unwrap();
    assert_eq!((&issue["check_name"], &issue["severity"]), (&"DL3000".into(), &"blocker".into()));
    assert_eq!(issue["location"]["lines"]["begin"], 3);
    let issues: serde_json::Value = serde_json::from_str(&report("gitlab_codeclimate")).unwrap();
    assert_eq!(issues[0]["fingerprint"].as_str().map(str::len), Some(64));
    assert_eq!(issues, serde_json::from_str::<serde_json::Value>(&report("gitlab_codeclimate")).unwrap());
    let line: serde_json::Value = serde_json::from_str(&report("codacy")).unwrap();
    assert_eq!((&line["patternId"], &line["line"], &line["filename"]), (&"DL3000".into(), &3.into(), &"a'&<b".into()));
    let report: serde_json::Value = serde_json::from_str(&report("sonarqube")).unwrap();
    assert_eq!(report["issues"][0]["primaryLocation"]["textRange"]["startLine"], 3);
}

/// What is said about the only finding.
fn message(site: &Site) -> String {
    let found: serde_json::Value = serde_json::from_str(&told(site, &["-f", "json"])).unwrap();
    found[0]["message"].as_str().unwrap().to_owned()
}

fn what_is_configured_is_weaker_than_what_is_typed() {
    let site = pinned("USER 1\nWORKDIR x\nCMD x\n");
    let lines = |command: &mut std::process::Command| {
        let outcome = run(command);
        let text = String::from_utf8(outcome.stdout).unwrap();
        (text.lines().count(), outcome.exit_code, outcome.stderr)
    };
    let lint = || {
        let mut command = site.slipway();
        command.arg("lint");
        command
    };
    site.write(
        ".hadolint.yaml",
        "ignored: [DL3025, DL1002]\noverride:\n  style: [DL3000]\nfailure-threshold: warning\nformat: tty\n",
    );
    let (n_lines, exit_code, errors) = lines(&mut lint());
    assert_eq!((n_lines, exit_code), (1, Some(0)));
    assert_eq!(errors, "warning: .hadolint.yaml names the rule DL1002, which does not exist here\n");
    // The environment adds a rule that is silent, and is stronger where one thing only can be said.
    assert_eq!(lines(lint().env("HADOLINT_IGNORE", "DL3000, SC1000").env("HADOLINT_FORMAT", "tty")).0, 0);
    assert_eq!(lines(lint().env("HADOLINT_FAILURE_THRESHOLD", "style")).1, Some(1));
    assert_eq!(lines(lint().env("HADOLINT_FAILURE_THRESHOLD", "style").args(["-t", "error"])).1, Some(0));
    assert_eq!(lines(lint().env("HADOLINT_OVERRIDE_ERROR", "DL3000")).1, Some(1));
    assert_eq!(lines(lint().args(["--error", "DL3000"])).1, Some(1));
    assert_eq!(lines(lint().args(["--error", "DL3000"]).env("HADOLINT_NOFAIL", "true")).1, Some(0));
    assert_eq!(lines(lint().args(["--error", "DL3000", "--no-fail=false"]).env("HADOLINT_NOFAIL", "1")).1, Some(0));
    // A file that is named is used alone; slipway's own name comes before the other.
    site.write("other.yaml", "format: tty\n");
    assert_eq!(lines(lint().args(["-c", "other.yaml"])).0, 2);
    site.write(".slipway-lint.yaml", "format: tty\nno-fail: true\n");
    assert_eq!(lines(&mut lint()), (2, Some(0), String::new()));
}

fn a_broken_configuration_names_file_and_key() {
    let site = pinned("USER 1\n");
    for (text, expected) in [
        ("failure-threshold: bad\n", ".hadolint.yaml: failure-threshold: `bad` is no severity"),
        ("no-fail: maybe\n", ".hadolint.yaml: no-fail: `maybe` is neither true nor false"),
        ("ignored: {a: b}\n", ".hadolint.yaml: ignored: expected a list"),
        ("override: {error: {a: b}}\n", ".hadolint.yaml: override.error: expected a list"),
        ("label-schema: {a: b}\n", ".hadolint.yaml: label-schema: "),
        ("a: [\n", "cannot understand `.hadolint.yaml`: "),
    ] {
        site.write(".hadolint.yaml", text);
        let told = lint(&site, &[]).failure();
        assert!(told.contains(expected), "{told}");
    }
    assert!(lint(&site, &["-c", "missing.yaml"]).failure().contains("cannot read `missing.yaml`"));
}

fn scripts_are_judged_by_shellcheck() {
    // A stand-in for the real program, which not every machine has: it shows what it was given.
    let site = pinned("USER 1\nENV a=1\nRUN --mount=type=tmpfs,target=/x \\\n  # why\n  echo $b\n");
    site.write(
        "bin/shellcheck",
        "#!/bin/sh\nfor last; do :; done\ncp \"$last\" \"$SEEN\"\n\
         printf '{\"comments\":[{\"file\":\"%s\",\"line\":3,\"level\":\"info\",\"code\":2086,\"message\":\"Quote. This.\"}]}' \"$last\"\n\
         exit 1\n",
    );
    let program = site.path("ctx/bin/shellcheck");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let seen = site.path("seen");
    let told = |arguments: &[&str]| {
        let mut command = site.slipway();
        command.env("PATH", &path).env("SEEN", &seen).args(["lint", "-f", "tty"]).args(arguments);
        String::from_utf8(run(&mut command).stdout).unwrap()
    };
    assert_eq!(told(&[]), "Dockerfile:6 SC2086 info: Quote. This\n");
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        "#!/bin/sh\nexport a=x FTP_PROXY=x HTTPS_PROXY=x HTTP_PROXY=x NO_PROXY=x ftp_proxy=x http_proxy=x https_proxy=x no_proxy=x\necho $b\n"
    );
    assert_eq!(told(&["--no-shellcheck"]), "");
    assert_eq!(told(&["--ignore=SC2086"]), "");
    assert_eq!(told(&["--error=SC2086"]), "Dockerfile:6 SC2086 error: Quote. This\n");
    let silenced =
        fs::read_to_string(site.path("ctx/Dockerfile")).unwrap().replace("RUN", "# hadolint ignore=SC2086\nRUN");
    site.write("Dockerfile", &silenced);
    assert_eq!(told(&[]), "");
    // A program that is something else stops nothing.
    site.write("bin/shellcheck", "#!/bin/sh\necho no\n");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = run(site.slipway().env("PATH", &path).args(["lint", "-f", "tty"]));
    assert_eq!((outcome.exit_code, outcome.stdout), (Some(0), Vec::new()));
    assert!(outcome.stderr.starts_with("warning: scripts are not checked: "));
}
