//! What people and programs are told about results, the options of image outputs, and that equal inputs give equal bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use slipway_oci::Digest;
use slipway_test::registry::TestRegistry;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("metadata_of_a_pushed_image", metadata_of_a_pushed_image),
    test("metadata_of_an_image_that_stays_here", metadata_of_an_image_that_stays_here),
    test("metadata_of_files_and_of_a_failure", metadata_of_files_and_of_a_failure),
    test("metadata_names_a_build_that_can_be_asked_for", metadata_names_a_build_that_can_be_asked_for),
    test("metadata_of_questions", metadata_of_questions),
    test("metadata_that_cannot_be_written", metadata_that_cannot_be_written),
    test("several_outputs_at_once", several_outputs_at_once),
    test("what_is_pushed_by_digest_gets_no_tag", what_is_pushed_by_digest_gets_no_tag),
    test("names_in_the_store", names_in_the_store),
    test("a_result_without_an_id", a_result_without_an_id),
    test("mode_delete_removes_what_the_image_lacks", mode_delete_removes_what_the_image_lacks),
    test("mode_delete_needs_leave_for_other_places", mode_delete_needs_leave_for_other_places),
    test("an_image_with_other_times_is_a_base", an_image_with_other_times_is_a_base),
    test("a_layer_of_the_base_keeps_its_diff_id_in_every_form", a_layer_of_the_base_keeps_its_diff_id_in_every_form),
    test("equal_inputs_give_equal_digests_everywhere", equal_inputs_give_equal_digests_everywhere),
];

const SMALL: &str = "FROM busybox\nRUN echo made > /made\nENV A=b\n";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn metadata_of_a_pushed_image() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new(SMALL);
    let name = format!("{}/mine:1", registry.host());
    site.build(&["--push", "--tag", &name, "--metadata-file=../m.json", "--iidfile=../iid"]).success();
    let metadata = json(&site.path("m.json"));
    let digest: Digest = text(&metadata["containerimage.digest"]).parse().unwrap();
    let manifest: Value = serde_json::from_slice(&registry.blob(&digest).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.descriptor"]["digest"], metadata["containerimage.digest"]);
    assert_eq!(metadata["containerimage.descriptor"]["mediaType"], manifest["mediaType"]);
    assert_eq!(metadata["containerimage.descriptor"]["platform"]["os"], "linux");
    assert_eq!(metadata["containerimage.config.digest"], manifest["config"]["digest"]);
    assert_eq!(fs::read_to_string(site.path("iid")).unwrap(), text(&manifest["config"]["digest"]));
    assert_eq!(metadata["image.name"], name);
    assert_eq!(text(&metadata["buildx.build.ref"]).split('/').count(), 3);
}

fn metadata_of_an_image_that_stays_here() {
    let site = Site::new(SMALL);
    site.build(&["--tag=app", "--metadata-file=../m.json"]).success();
    site.build(&["--tag=app", "--metadata-file=../archive.json", "--output=type=oci,dest=../image.tar"]).success();
    let (stored, archive) = (json(&site.path("m.json")), json(&site.path("archive.json")));
    assert_eq!(stored["containerimage.digest"], archive["containerimage.digest"]);
    assert_eq!(stored["image.name"], "docker.io/library/app:latest");
    assert!(archive["containerimage.descriptor"]["annotations"]["org.opencontainers.image.created"].is_string());
}

fn metadata_names_a_build_that_can_be_asked_for() {
    let site = Site::new(SMALL);
    site.build(&["--tag=app", "--metadata-file=../m.json"]).success();
    let metadata = json(&site.path("m.json"));
    let reference = text(&metadata["buildx.build.ref"]);
    let inspected =
        run(site.slipway().args(["buildx", "history", "inspect", "--format={{.Ref}}", reference])).success();
    assert!(reference.ends_with(String::from_utf8_lossy(&inspected.stdout).trim_end()), "{reference}");
    let listed = run(site.slipway().args(["buildx", "history", "ls", "--format=json"])).success();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["ref"], reference);
}

fn metadata_of_questions() {
    let site = Site::new("FROM busybox AS one\nMAINTAINER me\n");
    let ask = |question: &str| {
        let outcome = site.build(&[&format!("--call={question}"), "--metadata-file=../m.json"]);
        (outcome, json(&site.path("m.json")))
    };
    let (outcome, found) = ask("check");
    assert_eq!(outcome.exit_code, Some(1));
    assert_eq!(found["result.json"]["warnings"][0]["ruleName"], "MaintainerDeprecated");
    assert!(text(&found["result.txt"]).starts_with("\nWARNING: MaintainerDeprecated - "), "{found}");
    assert_eq!((&found["result.statuscode"], &found["version"]), (&"1".into(), &"1.0.0".into()));
    let (outcome, found) = ask("targets,format=json");
    assert_eq!(serde_json::from_slice::<Value>(&outcome.stdout).unwrap(), found["result.json"]);
    assert_eq!(found["result.txt"], "TARGET        DESCRIPTION\none (default) \n");
    assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["result.json", "result.txt", "version"]);
    site.write("Dockerfile", "FROM busybox AS one\n");
    let (outcome, found) = ask("check");
    assert_eq!(outcome.stdout, b"Check complete, no warnings found.\n");
    assert_eq!((&found["result.statuscode"], &found["result.txt"]), (&"0".into(), &"".into()));
}

fn metadata_that_cannot_be_written() {
    let site = Site::new(SMALL);
    let failed = site.build(&["--metadata-file=../absent/m.json"]).failure();
    let last = failed.lines().last().unwrap();
    let expected =
        "ERROR: failed to build: cannot write the metadata file `../absent/m.json`: No such file or directory";
    assert!(last.starts_with(expected) && !last.contains(".slipway-"), "{last}");
}

fn metadata_of_files_and_of_a_failure() {
    let site = Site::new(SMALL);
    site.build(&["--output=../out", "--metadata-file=../m.json"]).success();
    let before = fs::read(site.path("m.json")).unwrap();
    let metadata = json(&site.path("m.json"));
    assert_eq!(
        metadata.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["buildx.build.provenance", "buildx.build.ref"]
    );
    site.write("Dockerfile", "FROM busybox\nRUN exit 3\n");
    site.build(&["--metadata-file=../m.json"]).failure();
    assert_eq!(fs::read(site.path("m.json")).unwrap(), before);
}

fn several_outputs_at_once() {
    let site = Site::new(SMALL);
    let outputs =
        ["type=oci,dest=../image.tar", "type=docker,dest=../docker.tar", "type=tar,dest=../files.tar", "../out"];
    let flags = outputs.map(|output| format!("--output={output}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--output=type=cacheonly", "--tag=app"]).collect();
    site.build(&flags).success();
    for made in ["image.tar", "docker.tar", "files.tar", "out/made"] {
        assert!(site.path(made).exists(), "{made}");
    }
    let stderr = site.build(&["--output=-", "--output=type=oci"]).failure();
    assert!(stderr.contains("multiple outputs configured to write to stdout"), "{stderr}");
}

fn what_is_pushed_by_digest_gets_no_tag() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new(SMALL);
    let output = format!("--output=type=image,name={}/mine,push=true,push-by-digest=true", registry.host());
    site.build(&[&output, "--metadata-file=../m.json"]).success();
    let digest = json(&site.path("m.json"))["containerimage.digest"].clone();
    registry.blob(&text(&digest).parse().unwrap()).unwrap();
    let puts = registry.requests().into_iter().filter(|r| r.method == "PUT" && r.target.contains("/manifests/"));
    assert_eq!(puts.map(|r| r.target).collect::<Vec<_>>(), [format!("/v2/mine/manifests/{}", text(&digest))]);
    let stderr = site.build(&[&output, "--tag", &format!("{}/mine:1", registry.host())]).failure();
    assert!(stderr.contains("can't push tagged ref"), "{stderr}");
}

fn names_in_the_store() {
    let names = |output: &str| {
        let site = Site::new(SMALL);
        site.build(&["--output", output]).success();
        let names = site.store().images().unwrap().into_iter().map(|(name, _)| name.to_string());
        let mut names: Vec<String> = names.map(|name| name.split("sha256:").next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("type=image,\"name=a,b:2\""), ["docker.io/library/a:latest", "docker.io/library/b:2"]);
    assert_eq!(names("type=image,name=a,store=false"), [""; 0]);
    assert_eq!(names("type=image,dangling-name-prefix=dang"), ["docker.io/library/dang@"]);
    assert_eq!(
        names("type=image,name=a,dangling-name-prefix=dang,danging-name-empty-only=true"),
        ["docker.io/library/a:latest"]
    );
    assert_eq!(
        names("type=image,name=a,name-canonical=true"),
        ["docker.io/library/a:latest", "docker.io/library/a:latest@"]
    );
}

fn a_result_without_an_id() {
    let site = Site::new(SMALL);
    let mut command = site.slipway();
    command.args(["build", "-q", "--output=../out", &crate::site::busybox_flag(), "."]);
    assert_eq!(run(&mut command).success().stdout, b"\n");
}

fn mode_delete_removes_what_the_image_lacks() {
    let site = Site::new("FROM scratch\nCOPY tree /\n");
    site.write("tree/d/new", "new\n");
    site.write(".dockerignore", "out\n");
    site.write("out/d/old", "host\n");
    site.write("out/other/deep", "host\n");
    site.build(&["--output=type=local,dest=out,mode=delete"]).success();
    assert_eq!(crate::site::files_below(&site.path("ctx/out")), [site.path("ctx/out/d/new")]);
}

fn mode_delete_needs_leave_for_other_places() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    fs::create_dir(site.path("out")).unwrap();
    fs::write(site.path("out/old"), "host").unwrap();
    let output = "--output=type=local,dest=../out,mode=delete";
    let stderr = site.build(&[output]).failure();
    assert!(stderr.contains("requires --allow=buildx.local.delete"), "{stderr}");
    assert!(site.path("out/old").exists());
    site.build(&[output, "--allow=buildx.local.delete"]).success();
    assert!(!site.path("out/old").exists() && site.path("out/Dockerfile").exists());
}

fn an_image_with_other_times_is_a_base() {
    let site = Site::new(SMALL);
    let output = "--output=type=image,name=dated,rewrite-timestamp=true";
    site.build(&[output, "--build-arg=SOURCE_DATE_EPOCH=1000000000"]).success();
    site.write("Dockerfile", "FROM dated\nRUN stat -c %Y /made > /time\n");
    site.build(&["--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/time")).unwrap(), "1000000000\n");
    site.assert_tidy();
}

fn a_layer_of_the_base_keeps_its_diff_id_in_every_form() {
    let site = Site::new(SMALL);
    let mut configs = Vec::new();
    for form in ["gzip", "zstd", "uncompressed"] {
        let output = format!("--output=type=oci,dest=../{form}.tar,compression={form},force-compression=true");
        let metadata = format!("--metadata-file=../{form}.json");
        site.build(&[&output, &metadata]).success();
        configs.push(json(&site.path(&format!("{form}.json")))["containerimage.config.digest"].clone());
        // Reading it checks every layer against its diff ID.
        crate::site::summary_of(&site.path(&format!("{form}.tar")));
    }
    configs.dedup();
    assert_eq!(configs.len(), 1);
}

/// Makes the files of a context, in this order, with the modes that they are to have whatever the umask.
fn lay_out(context: &Path, names: &[&str]) {
    for name in names {
        let path = context.join(name);
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, format!("the text of {name}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn equal_inputs_give_equal_digests_everywhere() {
    let dockerfile =
        "FROM busybox\nCOPY tree /tree\nRUN mkdir /made && cp -a /tree/. /made && rm /made/b\nWORKDIR /w\n";
    let mut names = vec!["tree/a", "tree/b", "tree/deep/c", "tree/deep/er/d", "tree/z"];
    let memory = tempfile::Builder::new().prefix("slipway-it-").tempdir_in("/dev/shm").unwrap();
    let mut digests = Vec::new();
    for (umask, store) in [("022", None), ("077", Some(memory.path().join("store")))] {
        let site = Site::new(dockerfile);
        lay_out(&site.path("ctx"), &names);
        names.reverse();
        let mut build = site.build_command(&[
            "--build-arg=SOURCE_DATE_EPOCH=1000000000",
            "--output=type=oci,dest=../image.tar,rewrite-timestamp=true",
            "--metadata-file=../m.json",
            ".",
        ]);
        if let Some(store) = &store {
            build.env("SLIPWAY_ROOT", store);
        }
        run(&mut with_umask(&build, umask)).success();
        digests.push(json(&site.path("m.json"))["containerimage.digest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
}

/// The same command, started by a shell that has set the umask.
fn with_umask(command: &Command, umask: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask \"$0\" && exec \"$@\"", umask]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}
