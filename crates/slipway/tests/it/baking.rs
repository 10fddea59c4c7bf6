//! `slipway bake` builds: several targets, one graph.

use std::fs;

use slipway_test::git_server::{Blob, GitServer};

use crate::site::{Outcome, Site, busybox_layout, run, summary_of};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("what_ten_targets_share_runs_once", what_ten_targets_share_runs_once),
    test("a_linked_target_is_like_a_stage", a_linked_target_is_like_a_stage),
    test("a_target_may_be_linked_for_each_platform", a_target_may_be_linked_for_each_platform),
    test("no_output_is_written_if_a_target_fails", no_output_is_written_if_a_target_fails),
    test("each_target_has_its_own_folders_and_secrets", each_target_has_its_own_folders_and_secrets),
    test("steps_and_results_are_told_by_target", steps_and_results_are_told_by_target),
    test("links_in_a_circle_are_refused", links_in_a_circle_are_refused),
    test("mistakes_are_shown_and_nothing_is_built", mistakes_are_shown_and_nothing_is_built),
    test("questions_are_answered_by_target", questions_are_answered_by_target),
    test("a_definition_may_be_in_a_repository", a_definition_may_be_in_a_repository),
    test("a_token_for_definitions_opens_their_contexts", a_token_for_definitions_opens_their_contexts),
];

/// Bakes `definition` in the context of `site`, with `busybox` as a name of the base image.
fn bake(site: &Site, definition: &str, arguments: &[&str]) -> Outcome {
    site.write("docker-bake.hcl", definition);
    let base = format!("*.contexts.busybox=oci-layout://{}", busybox_layout().display());
    let mut command = site.slipway();
    command.env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
    run(command.args(["bake", "--progress=plain", "--set", &base]).args(arguments))
}

fn what_ten_targets_share_runs_once() {
    let site = Site::new("FROM busybox AS common\nRUN echo shared\nFROM common\nARG N\nRUN echo $N\n");
    let definition = r#"
        group "default" { targets = ["stage", "linked"] }
        target "base" {
          dockerfile-inline = "FROM busybox\nRUN echo base\n"
        }
        target "stage" {
          name   = "stage-${n}"
          matrix = { n = range(10) }
          args   = { N = n }
        }
        target "linked" {
          name     = "linked-${n}"
          matrix   = { n = range(10) }
          contexts = { base = "target:base" }
          dockerfile-inline = "FROM base\nRUN echo linked ${n}\n"
        }
    "#;
    let baked = bake(&site, definition, &[]).success();
    let steps = baked.steps();
    let n_ran = |text: &str| steps.ran.iter().filter(|step| step.ends_with(text)).count();
    assert_eq!((n_ran("RUN echo shared"), n_ran("RUN echo base")), (1, 1), "{steps:?}");
    for own in 0..10 {
        let n = (n_ran(&format!("RUN echo {own}")), n_ran(&format!("RUN echo linked {own}")));
        assert_eq!(n, (1, 1), "{steps:?}");
    }
    let again = bake(&site, definition, &[]).success().steps();
    assert!(!again.ran.iter().any(|step| step.contains("RUN")), "{again:?}");
    site.assert_tidy();
}

fn a_linked_target_is_like_a_stage() {
    let site = Site::new(
        "FROM busybox AS base
         ENV A=1
         WORKDIR /w
         RUN echo base > base
         CMD [\"base\"]
         FROM base
         ENV B=$A
         RUN cat base > copy
         COPY --from=base /w/base /second
        ",
    );
    let whole = site.summary(&[]);
    let definition = r#"
        target "default" {
          contexts = { parent = "target:base" }
          dockerfile-inline = <<EOT
FROM parent AS base
FROM base
ENV B=$A
RUN cat base > copy
COPY --from=parent /w/base /second
EOT
          output = ["type=oci,dest=../linked.tar"]
        }
        target "base" { target = "base" }
    "#;
    bake(&site, definition, &[]).success();
    assert_eq!(summary_of(&site.path("linked.tar")), whole);
}

fn a_target_may_be_linked_for_each_platform() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    site.write("amd64", "amd");
    site.write("arm64", "arm");
    let definition = r#"
        target "default" {
          contexts  = { base = "target:base" }
          platforms = ["linux/amd64", "linux/arm64"]
          dockerfile-inline = "FROM scratch\nCOPY --from=base /arch /copied"
          output    = ["../out"]
        }
        target "base" { platforms = ["linux/amd64", "linux/arm64"] }
    "#;
    bake(&site, definition, &[]).success();
    for (platform, text) in [("linux_amd64", "amd"), ("linux_arm64", "arm")] {
        assert_eq!(fs::read_to_string(site.path("out").join(platform).join("copied")).unwrap(), text);
    }
    let narrower =
        definition.replace("target \"base\" { platforms = [\"linux/amd64\", ", "target \"base\" { platforms = [");
    bake(&site, &narrower, &[]).success();
    assert_eq!(fs::read_to_string(site.path("out/linux_amd64/copied")).unwrap(), "arm");
}

fn no_output_is_written_if_a_target_fails() {
    let site = Site::new("FROM busybox\nRUN exit 7\n");
    let definition = r#"
        group "default" { targets = ["good", "bad"] }
        target "good" {
          dockerfile-inline = "FROM scratch\nCOPY Dockerfile /"
          output = ["../good"]
        }
        target "bad" {}
    "#;
    let said = bake(&site, definition, &[]).failure();
    assert!(said.contains("ERROR: target bad: failed to solve: "), "{said}");
    assert!(said.contains("   2 | >>> RUN exit 7"), "{said}");
    assert!(!site.path("good").exists(), "{said}");
}

fn each_target_has_its_own_folders_and_secrets() {
    let site = Site::new("FROM scratch\n");
    for name in ["a", "b"] {
        site.write(&format!("{name}/file"), name);
        site.write(&format!("{name}-secret"), &format!("secret of {name}"));
    }
    let definition = r#"
        group "default" { targets = ["a", "b"] }
        target "each" {
          name     = n
          matrix   = { n = ["a", "b"] }
          context  = n
          contexts = { more = n }
          secret   = ["id=s,src=${n}-secret"]
          output   = ["../out-${n}"]
          dockerfile-inline = <<EOT
FROM busybox AS run
RUN --mount=type=secret,id=s echo ${n}; cp /run/secrets/s /s
FROM scratch
COPY file /
COPY --from=more file /again
COPY --from=run /s /
EOT
        }
    "#;
    bake(&site, definition, &[]).success();
    for name in ["a", "b"] {
        let read = |file: &str| fs::read_to_string(site.path(&format!("out-{name}")).join(file)).unwrap();
        assert_eq!((read("file").as_str(), read("again").as_str()), (name, name));
        assert_eq!(read("s"), format!("secret of {name}"));
    }
}

fn steps_and_results_are_told_by_target() {
    let site = Site::new("FROM busybox\nRUN true\n");
    let definition = r#"
        group "default" { targets = ["one", "two"] }
        target "one" { tags = ["one"] }
        target "two" { output = ["../two"] }
    "#;
    let metadata = site.name("metadata.json");
    let said = bake(&site, definition, &["--metadata-file", &metadata]).success().stderr;
    for step in
        ["[one internal] load build definition", "[one 1/2] RUN true", "[one] exporting to image", "[two] exporting"]
    {
        assert!(said.contains(step), "{step}: {said}");
    }
    let metadata: serde_json::Value = serde_json::from_str(&fs::read_to_string(metadata).unwrap()).unwrap();
    assert_eq!(metadata["one"]["image.name"], "docker.io/library/one:latest");
    assert!(metadata["two"]["buildx.build.ref"].is_string() && metadata["two"]["containerimage.digest"].is_null());
    let alone = bake(&site, definition, &["one"]).success().stderr;
    assert!(alone.contains(" [1/2] RUN true") && !alone.contains("[one"), "{alone}");
}

fn links_in_a_circle_are_refused() {
    let site = Site::new("FROM scratch\n");
    let definition = r#"
        target "default" { contexts = { x = "target:other" } }
        target "other" { contexts = { x = "target:default" } }
    "#;
    let said = bake(&site, definition, &[]).failure();
    assert!(said.contains("ERROR: infinite loop from"), "{said}");
}

/// A definition that would write `../good`, with a mistake: file, text, a place that is told, and the marked line.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("docker-bake.hcl", "X = A\nA = X\n@", "docker-bake.hcl:1,5-6", "   1 | >>> X = A"),
    (
        "docker-bake.hcl",
        "@target \"b\" {\n  tags = [NOPE]\n}\n",
        "docker-bake.hcl:6,11-15",
        "   6 | >>>   tags = [NOPE]",
    ),
    ("docker-bake.hcl", "@target \"b\" {\n  tags = 5\n}\n", "docker-bake.hcl:6,10-11", "   6 | >>>   tags = 5"),
    (
        "docker-bake.hcl",
        "@target \"b\" {\n  args = { A = }\n}\n",
        "docker-bake.hcl:6,16-17",
        "   6 | >>>   args = { A = }",
    ),
    (
        "docker-bake.hcl",
        "variable \"V\" {\n  type = number\n  default = \"x\"\n}\n@",
        "docker-bake.hcl:1,14-14",
        "   1 | >>> variable \"V\" {",
    ),
    (
        "docker-bake.json",
        "{\n  \"target\": {\n    \"default\": {\n      \"output\": [\"../good\"],\n      \"tags\": [\"${NOPE}\"]\n    }\n  }\n}\n",
        "docker-bake.json:5,19-23",
        "   5 | >>>       \"tags\": [\"${NOPE}\"]",
    ),
    (
        "docker-bake.json",
        "{\n  \"target\": {\n    \"default\": {\n      \"output\": [\"../good\"],\n      \"tags\": \"a\"\n    }\n  }\n}\n",
        "docker-bake.json:5,15-18",
        "   5 | >>>       \"tags\": \"a\"",
    ),
    (
        "docker-bake.json",
        "{\n  \"variable\": {\n    \"A\": {\"default\": \"${B}\"},\n    \"B\": {\"default\": \"${A}\"}\n  },\n  \"target\": {\"default\": {\"output\": [\"../good\"]}}\n}\n",
        "docker-bake.json:4",
        "   4 | >>>     \"B\": {\"default\": \"${A}\"}",
    ),
    (
        "docker-bake.json",
        "{\n  \"target\": {\n    \"default\": {\"output\": [\"../good\"]},\n  }\n}\n",
        "docker-bake.json:3,39-40",
        "   3 | >>>     \"default\": {\"output\": [\"../good\"]},",
    ),
    (
        "compose.yaml",
        "services:\n  web:\n    build:\n      contxt: .\n",
        "compose.yaml:4",
        "   4 | >>>       contxt: .",
    ),
    (
        "compose.yaml",
        "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\nx-b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
         x-c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nx-d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
         x-e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nx-f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n\
         x-g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nservices: {web: {build: {tags: *g}}}\n",
        "hint: aliases (`*name`) stand for more than",
        "   6 | >>> x-f: &f",
    ),
];

fn mistakes_are_shown_and_nothing_is_built() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let good = "target \"default\" {\n  output = [\"../good\"]\n}\n";
    for (file, text, place, line) in MISTAKES {
        let text = text.replace('@', good).replace("}\ntarget \"b\"", "}\n\ntarget \"b\"");
        site.write(file, &text);
        let mut command = site.slipway();
        command.env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
        let said = run(command.args(["bake", "--progress=plain"])).failure();
        assert!(said.contains(place) && said.contains(line), "{text}\n{said}");
        assert!(said.contains("ERROR: ") && !said.contains("#1 "), "{said}");
        assert!(!site.path("good").exists(), "{said}");
        fs::remove_file(site.path("ctx").join(file)).unwrap();
    }
    // What means nothing is told, with its place, and is no mistake.
    let odd = good.replace("  output", "  outptu = 1\n  output");
    let said = bake(&site, &odd, &[]).success().stderr;
    assert!(
        said.contains("WARNING: docker-bake.hcl:2,3-9: unknown attribute \"outptu\" in target \"default\""),
        "{said}"
    );
}

fn questions_are_answered_by_target() {
    let site = Site::new("FROM scratch AS base\nARG X\nmaintainer me\n");
    site.write("broken/Dockerfile", "FROM scratch\nFOO bar\n");
    let definition = "target \"a\" {\n  description = \"first\"\n}\ntarget \"b\" {\n  context = \"broken\"\n}\n";
    site.write("docker-bake.hcl", definition);
    let ask = |arguments: &[&str]| {
        let outcome = run(site.slipway().args(["bake", "--progress=quiet"]).args(arguments));
        (outcome.exit_code, String::from_utf8_lossy(&outcome.stdout).into_owned())
    };
    let (code, text) = ask(&["--check", "a", "b"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("a\nfirst\n\nCheck complete, 2 warnings have been found!\n"), "{text}");
    assert!(text.contains("\nb\n\nerror: dockerfile parse error on line 2: unknown instruction: FOO"), "{text}");
    let (code, text) = ask(&["--call=outline,format=json", "a"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["target"]["a"]["build"]["call"]), (Some(0), &"outline".into()));
    assert_eq!(json["target"]["a"]["outline"]["args"][0]["name"], "X");
    let (code, text) = ask(&["--call=check,format=json", "a", "b"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(json["group"]["default"]["targets"], serde_json::json!(["a", "b"]));
    assert_eq!(json["target"]["a"]["check"]["warnings"].as_array().unwrap().len(), 2);
    assert!(json["target"]["b"]["check"]["error"].as_str().unwrap().starts_with("dockerfile parse error"), "{text}");
    assert_eq!(ask(&["--call=check,ignorestatus=true", "a"]).0, Some(0));
}

const REMOTE_FILES: &[(&str, Blob<'_>)] = &[
    (
        "docker-bake.hcl",
        Blob::File(
            r#"
            target "default" { output = ["out/top"] }
            target "sub" {
              context = "./sub"
              output  = ["out/sub"]
            }
            target "here" {
              context = "cwd://local"
              output  = ["out/here"]
            }
            "#,
        ),
    ),
    ("composed/compose.yaml", Blob::File("services:\n  web:\n    env_file: /etc/passwd\n    build: .\n")),
    ("Dockerfile", Blob::File("FROM scratch\nCOPY top /\n")),
    ("top", Blob::File("top\n")),
    ("sub/Dockerfile", Blob::File("FROM scratch\nCOPY f /\n")),
    ("sub/f", Blob::File("f\n")),
    ("sub/docker-bake.hcl", Blob::File("target \"default\" {\n  output = [\"out/own\"]\n}\n")),
];

fn a_definition_may_be_in_a_repository() {
    let server = GitServer::start().unwrap();
    server.commit("r", "main", REMOTE_FILES).unwrap();
    let site = Site::new("");
    site.write("local/Dockerfile", "FROM scratch\nCOPY own /\n");
    site.write("local/own", "own\n");
    site.write("more.hcl", "target \"default\" {\n  output = [\"out/more\"]\n}\n");
    let bake = |arguments: &[&str]| run(site.slipway().args(["bake", "--progress=plain"]).args(arguments));
    let url = server.url("r");
    bake(&[&url, "default", "sub", "here"]).success();
    bake(&[&format!("{url}#main:sub")]).success();
    bake(&[&url, "-f", "docker-bake.hcl", "-f", "cwd://more.hcl"]).success();
    let read =
        |path: &str| fs::read_to_string(site.path("ctx/out").join(path)).unwrap_or_else(|error| error.to_string());
    let all = ["top/top", "sub/f", "here/own", "own/f", "more/top"].map(read);
    assert_eq!(all, ["top\n", "f\n", "own\n", "f\n", "top\n"]);
    let composed = bake(&[&format!("{url}#main:composed")]).failure();
    assert!(composed.contains("`compose.yaml` is elsewhere"), "{composed}");
    let missing = bake(&[&url, "-f", "missing.hcl"]).failure();
    assert!(missing.contains("ERROR: open missing.hcl: no such file or directory"), "{missing}");
}

fn a_token_for_definitions_opens_their_contexts() {
    let server = GitServer::start().unwrap();
    server.commit("r", "main", REMOTE_FILES).unwrap();
    server.demand(&format!("basic {}", slipway_test::git_server::base64("x-access-token:secret")));
    let site = Site::new("");
    let bake = |token: &str| {
        let mut command = site.slipway();
        command.env("BUILDX_BAKE_GIT_AUTH_TOKEN", token);
        run(command.args(["bake", "--progress=plain", &server.url("r")]))
    };
    bake("wrong").failure();
    bake("secret").success();
    assert_eq!(fs::read_to_string(site.path("ctx/out/top/top")).unwrap(), "top\n");
}
