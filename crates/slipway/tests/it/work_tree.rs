//! What is said of the commit that the build context is at. Expectations are what `docker buildx build` of Docker 28.5.2
//! says in the same work tree: of `buildkit_metadata` in the statement of SLSA 1, of `…buildkit@v1#metadata` in the older
//! one, and of the labels.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use slipway_oci::Digest;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("provenance_says_which_commit_was_built", provenance_says_which_commit_was_built),
    test("folders_are_told_where_they_are_in_the_work_tree", folders_are_told_where_they_are_in_the_work_tree),
    test("the_remote_that_is_followed_goes_first", the_remote_that_is_followed_goes_first),
    test("labels_say_it_if_they_are_wanted", labels_say_it_if_they_are_wanted),
    test("changes_count_if_somebody_wants_to_know", changes_count_if_somebody_wants_to_know),
    test("targets_of_bake_say_it_too", targets_of_bake_say_it_too),
    test("what_git_refuses_to_tell_stops_nobody", what_git_refuses_to_tell_stops_nobody),
];

const MAX: &str = "--provenance=mode=max";

/// Runs git in `folder`; gives what it prints.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent");
    command.args(["-c", "user.name=n", "-c", "user.email=n@e", "-C"]).arg(folder).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A work tree whose folder `app` is a context, and its commit.
fn work_tree() -> (Site, String) {
    let site = Site::new("unused\n");
    for file in ["app/Dockerfile", "app/sub/Other"] {
        site.write(file, "FROM scratch\nCOPY a /\n");
    }
    site.write("app/a", "a\n");
    let top = site.path("ctx");
    git(&top, &["init", "--quiet", "--initial-branch=main"]);
    git(&top, &["add", "."]);
    git(&top, &["commit", "--quiet", "--message=one"]);
    git(&top, &["remote", "add", "origin", "https://user:pw@example.com/me/app.git"]);
    let commit = git(&top, &["rev-parse", "HEAD"]);
    (site, commit)
}

/// Builds with these variables and arguments; gives the config of the image, and what is said of how it was made.
fn build(site: &Site, variables: &[(&str, &str)], arguments: &[&str]) -> (Value, Value) {
    let mut command = site.slipway();
    command.envs(variables.iter().copied()).args(["build", "--output=type=oci,tar=false,dest=../out"]);
    fs::remove_dir_all(site.path("out")).ok();
    run(command.args(arguments)).success();
    let layout = site.path("out");
    let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let blob = |descriptor: &Value| {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        read(&layout.join("blobs/sha256").join(digest.hex()))
    };
    let index = blob(&read(&layout.join("index.json"))["manifests"][0]);
    match index["manifests"].as_array() {
        Some(manifests) => {
            let statement = blob(&blob(&manifests[1])["layers"][0]);
            (blob(&blob(&manifests[0])["config"]), statement["predicate"].clone())
        }
        None => (blob(&index["config"]), Value::Null),
    }
}

fn vcs(predicate: &Value) -> &Value {
    &predicate["runDetails"]["metadata"]["buildkit_metadata"]["vcs"]
}

fn provenance_says_which_commit_was_built() {
    let (site, commit) = work_tree();
    let expected = json!({"localdir:context": "app", "localdir:dockerfile": "app", "revision": commit,
        "source": "https://example.com/me/app.git"});
    for mode in ["max", "min"] {
        assert_eq!(vcs(&build(&site, &[], &[&format!("--provenance=mode={mode}"), "app"]).1), &expected, "{mode}");
        let older = format!("--provenance=mode={mode},version=v0.2");
        let predicate = build(&site, &[], &[&older, "app"]).1;
        assert_eq!(predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["vcs"], expected, "{mode}");
    }
    assert_eq!(vcs(&build(&site, &[("BUILDX_GIT_INFO", "0")], &[MAX, "app"]).1), &Value::Null);
    // Not known to be a truth value, so not what was meant to switch it off.
    assert_eq!(vcs(&build(&site, &[("BUILDX_GIT_INFO", "no")], &[MAX, "app"]).1), &expected);
}

fn folders_are_told_where_they_are_in_the_work_tree() {
    let (site, commit) = work_tree();
    git(&site.path("ctx"), &["remote", "remove", "origin"]);
    site.write("app/sub/Named", "FROM scratch\nCOPY --from=n Other /\nCOPY --from=o a /\n");
    fs::create_dir(site.path("plain")).unwrap();
    for name in ["Dockerfile", "a"] {
        fs::copy(site.path("ctx/app").join(name), site.path("plain").join(name)).unwrap();
        fs::copy(site.path("ctx/app").join(name), site.path("ctx").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("ctx/app", site.path("link")).unwrap();
    for (arguments, expected) in [
        (&["."][..], json!({"localdir:context": ".", "localdir:dockerfile": ".", "revision": commit})),
        (&["../link"], json!({"localdir:context": "app", "localdir:dockerfile": "app", "revision": commit})),
        (&["-fapp/sub/Other", "app"], {
            json!({"localdir:context": "app", "localdir:dockerfile": "app/sub", "revision": commit})
        }),
        (&["-fapp/sub/Named", "--build-context=n=app/sub", "--build-context=o=../plain", "app"], {
            json!({"localdir:context": "app", "localdir:dockerfile": "app/sub", "localdir:n": "app/sub", "revision": commit})
        }),
        (&["-f../plain/Dockerfile", "app"], json!({"localdir:context": "app", "revision": commit})),
        (&["-fapp/Dockerfile", "../plain"], Value::Null),
        (&["../plain"], Value::Null),
    ] {
        let (_, predicate) = build(&site, &[], &[&[MAX], arguments].concat());
        assert_eq!(vcs(&predicate), &expected, "{arguments:?}");
    }
    git(&site.path("plain"), &["init", "--quiet"]);
    let (_, predicate) = build(&site, &[], &[MAX, "../plain"]);
    assert_eq!(vcs(&predicate), &json!({"localdir:context": ".", "localdir:dockerfile": "."}), "no commit yet");
}

fn the_remote_that_is_followed_goes_first() {
    let (site, _) = work_tree();
    let top = site.path("ctx");
    let source = || vcs(&build(&site, &[], &[MAX, "app"]).1)["source"].clone();
    git(&top, &["remote", "rename", "origin", "upstream"]);
    assert_eq!(source(), "https://example.com/me/app.git");
    git(&top, &["remote", "rename", "upstream", "third"]);
    assert_eq!(source(), Value::Null);
    git(&top, &["config", "branch.main.remote", "third"]);
    git(&top, &["config", "branch.main.merge", "refs/heads/x"]);
    git(&top, &["remote", "add", "origin", "https://example.com/other"]);
    assert_eq!(source(), "https://example.com/me/app.git");
    git(&top, &["remote", "set-url", "third", "git@example.com:me/app.git"]);
    assert_eq!(source(), "git@example.com:me/app.git");
}

fn labels_say_it_if_they_are_wanted() {
    let (site, commit) = work_tree();
    let own = ["--label=a=b", "--label=org.opencontainers.image.revision=mine"];
    let labels = |value: &str, arguments: &[&str]| {
        let (config, _) = build(&site, &[("BUILDX_GIT_LABELS", value)], &[&own, arguments].concat());
        config["config"]["Labels"].clone()
    };
    let expected = json!({"a": "b", "com.docker.image.source.entrypoint": "app/Dockerfile",
        "org.opencontainers.image.revision": commit, "org.opencontainers.image.source": "https://example.com/me/app.git"});
    assert_eq!(labels("1", &["app"]), expected);
    assert_eq!(labels("full", &["app"]), expected);
    assert_eq!(labels("1", &["-fapp/sub/Other", "app"])["com.docker.image.source.entrypoint"], "app/sub/Other");
    assert_eq!(labels("x", &["app"]), json!({"a": "b", "org.opencontainers.image.revision": "mine"}));
    let (_, predicate) = build(&site, &[("BUILDX_GIT_LABELS", "true")], &[MAX, "app"]);
    let args = &predicate["buildDefinition"]["externalParameters"]["request"]["args"];
    assert_eq!(args["label:org.opencontainers.image.revision"], json!(commit));
}

fn changes_count_if_somebody_wants_to_know() {
    let (site, commit) = work_tree();
    let revision =
        |value: &str| vcs(&build(&site, &[("BUILDX_GIT_CHECK_DIRTY", value)], &[MAX, "app"]).1)["revision"].clone();
    assert_eq!(revision("1"), json!(commit));
    // Ignored files are in the context as well.
    fs::write(site.path("ctx/.git/info/exclude"), "ignored\n").unwrap();
    site.write("app/ignored", "");
    assert_eq!(revision("1"), json!(format!("{commit}-dirty")));
    assert_eq!(revision("0"), json!(commit));
}

fn targets_of_bake_say_it_too() {
    let (site, commit) = work_tree();
    let hcl = r#"target "default" {
        context = "app"
        attest = ["type=provenance,mode=max"]
        output = ["type=local,dest=made"]
    }"#;
    site.write("docker-bake.hcl", hcl);
    run(site.slipway().args(["bake", "--progress=plain"])).success();
    let statement: Value = serde_json::from_slice(&fs::read(site.path("ctx/made/provenance.json")).unwrap()).unwrap();
    assert_eq!(vcs(&statement["predicate"])["revision"], json!(commit));
}

fn what_git_refuses_to_tell_stops_nobody() {
    let (site, _) = work_tree();
    fs::rename(site.path("ctx/.git"), site.path("ctx/app/.git")).unwrap();
    fs::write(site.path("ctx/app/.git/HEAD"), "nonsense\n").unwrap();
    let build = |variables: &[(&str, &str)]| {
        let mut command = site.slipway();
        run(command.envs(variables.iter().copied()).args(["build", "--progress=plain", MAX, "app"])).success().stderr
    };
    assert!(build(&[]).contains("What commit `app` is at is not known, and not told: fatal: "));
    assert!(build(&[("PATH", "/nowhere")]).contains("not told: git is not installed."));
    assert!(!build(&[("BUILDX_GIT_INFO", "false")]).contains("What commit"));
}
