//! `slipway builds`, `docker buildx history`: lists, templates, attachments, bundles and pages.

use std::fs;

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("lists_and_templates", lists_and_templates),
    test("what_was_asked_for_is_shown", what_was_asked_for_is_shown),
    test("documents_of_a_build", documents_of_a_build),
    test("builds_go_to_another_machine_and_come_back", builds_go_to_another_machine_and_come_back),
    test("a_page_for_a_browser", a_page_for_a_browser),
];

const TWO_STEPS: &str = "FROM busybox\nARG V=1\nRUN echo out $V\nCOPY file /file\n";

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

fn history(site: &Site, words: &[&str]) -> Outcome {
    run(site.slipway().args(["buildx", "history"]).args(words))
}

fn built() -> Site {
    let site = Site::new(TWO_STEPS);
    site.write("file", "content");
    site.build(&["--network=none", "-t", "app"]).success();
    site
}

fn lists_and_templates() {
    let site = built();
    site.build(&["--network=none", "--build-arg", "BUILDKIT_BUILD_NAME=second"]).success();
    let ls = |format: &str| text(&history(&site, &["ls", "--format", format]).success());
    assert_eq!(ls("{{.Name}} {{.Status}}"), "second Completed\nctx Completed\n");
    assert!(ls("table {{.Name}}\\t{{.Status}}").starts_with("NAME      STATUS\nsecond    Completed\n"));
    assert!(ls("{{json .}}").starts_with("{\"cached_steps\":"));
    let failure = history(&site, &["ls", "--format", "{{.Nope}}"]).failure();
    let told = "ERROR: template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *history.lsContext";
    assert!(failure.contains(told), "{failure}");
    let inspect = |format: &str| text(&history(&site, &["inspect", "^1", "--format", format]).success());
    assert_eq!(inspect("{{.Name}} {{.Status}} {{.Config.NoCache}} {{len .Attachments}}"), "ctx completed false 2\n");
    let failure = history(&site, &["inspect", "--format", "{{.Nope}}"]).failure();
    let told = "ERROR: failed to execute format template: template: inspect:1:2: executing \"inspect\" at <.Nope>: can't evaluate field Nope in type history.inspectOutput";
    assert!(failure.contains(told), "{failure}");
}

fn what_was_asked_for_is_shown() {
    let site = Site::new("FROM busybox\nCOPY --from=other file /file\nRUN true\n");
    fs::create_dir(site.path("ctx/more")).unwrap();
    site.write("more/file", "content");
    site.build(&[
        "--network=none",
        "--no-cache",
        "--add-host=db:10.0.0.1",
        "--shm-size=64m",
        "--build-context=other=more",
        "--label=a=b",
    ])
    .success();
    let json: serde_json::Value =
        serde_json::from_slice(&history(&site, &["inspect", "--format=json"]).success().stdout).unwrap();
    let expected = serde_json::json!({
        "Network": "none", "ExtraHosts": ["db:10.0.0.1"], "NoCache": true, "ShmSize": "67108864",
    });
    assert_eq!(json["Config"], expected);
    let contexts = json["NamedContexts"].as_array().unwrap();
    assert!(contexts.iter().any(|context| context["Name"] == "other"), "{contexts:?}");
    assert_eq!(json["Labels"], serde_json::json!([{"Name": "a", "Value": "b"}]));
    let material = &json["Materials"][0];
    assert!(material["URI"].as_str().unwrap().contains("busybox"), "{material}");
    assert!(material["Digests"][0].as_str().unwrap().starts_with("sha256:"), "{material}");
    let pretty = text(&history(&site, &["inspect"]).success());
    for part in ["\nNetwork:\tnone\n", "Extra Hosts:\tdb:10.0.0.1\n", "No Cache:\ttrue\n", "\nLABEL\tVALUE\na\tb\n"] {
        assert!(pretty.contains(part), "{part:?} is not in\n{pretty}");
    }
}

fn documents_of_a_build() {
    let site = built();
    let config = text(&history(&site, &["inspect", "attachment", "--type", "image"]).success());
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["os"], "linux");
    let listed = text(&history(&site, &["inspect", "--format", "{{(index .Attachments 1).Digest}}"]).success());
    let by_digest = history(&site, &["inspect", "attachment", "^0", listed.trim()]).success();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&by_digest.stdout).unwrap(), config);
    let manifest = history(&site, &["inspect", "attachment", "--type", "manifest"]).success();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.stdout).unwrap();
    assert_eq!(manifest["config"]["digest"], listed.trim());
    let failure = |words: &[&str]| history(&site, &[&["inspect", "attachment"], words].concat()).failure();
    assert!(failure(&[]).contains("ERROR: at least one of --type, --platform or DIGEST must be specified"));
    assert!(failure(&["--type", "sbom"]).contains("ERROR: no matching attachment found for ref \""));
    assert!(failure(&["^0", "nothing"]).contains("ERROR: invalid digest \"nothing\""));
}

fn builds_go_to_another_machine_and_come_back() {
    let site = built();
    site.write("file", "changed");
    site.build(&["--network=none", "-t", "app"]).success();
    let all = |site: &Site, words: &[&str]| text(&run(site.slipway().arg("builds").args(words)).success());
    let list = ["ls", "--format", "{{.Ref}} {{.Name}} {{.Duration}}"];
    let (before, log, inspected, explained) = (
        all(&site, &list),
        all(&site, &["logs", "^1", "RUN echo"]),
        all(&site, &["inspect", "^1"]),
        text(&run(site.slipway().arg("explain")).success()),
    );
    assert_eq!(log, "out 1\n");
    history(&site, &["export", "--all", "-o", "all.dockerbuild"]).success();
    history(&site, &["export", "-o", "newest.dockerbuild"]).success();
    let failure = history(&site, &["export", "--all", "^1"]).failure();
    assert!(failure.contains("ERROR: cannot specify refs when using --all"), "{failure}");
    history(&site, &["rm", "--all"]).success();
    assert_eq!(all(&site, &list), "");
    // One of them, then all: what is there already stays.
    let told = text(&history(&site, &["import", "-f", "newest.dockerbuild"]).success());
    assert!(told.ends_with(" ctx\n") && told.lines().count() == 1, "{told}");
    let mut command = site.slipway();
    command.args(["buildx", "history", "import", "-"]);
    command.stdin(fs::File::open(site.path("ctx/all.dockerbuild")).unwrap());
    assert_eq!(text(&run(&mut command).success()).lines().count(), 2);
    assert_eq!(all(&site, &list), before, "the same, in the same order");
    assert_eq!(all(&site, &["logs", "^1", "RUN echo"]), log);
    assert_eq!(all(&site, &["inspect", "^1"]), inspected);
    assert_eq!(text(&run(site.slipway().arg("explain")).success()), explained);
    site.write("broken", "no archive");
    let failure = history(&site, &["import", "-f", "broken"]).failure();
    assert!(failure.contains("ERROR: the bundle is no tar that is compressed with gzip"), "{failure}");
    // Its layout is one that other tools read.
    let list = std::process::Command::new("tar").args(["tzf"]).arg(site.path("ctx/all.dockerbuild")).output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap();
    assert!(names.starts_with("oci-layout\n") && names.ends_with("index.json\n"), "{names}");
}

fn a_page_for_a_browser() {
    let site = built();
    let mut command = site.slipway();
    let told = text(&run(command.args(["buildx", "history", "open"]).env("TMPDIR", site.path("ctx"))).success());
    let path = told.trim().strip_prefix("file://").unwrap_or_else(|| panic!("{told}"));
    assert!(path.ends_with("/index.html"), "{path}");
    assert!(fs::read_to_string(path).unwrap().contains("RUN echo out"));
}
