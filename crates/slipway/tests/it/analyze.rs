//! `slipway analyze` and `dive`: reports, rules, exports, exit codes and where images come from.

use std::fs;
use std::os::unix::fs::symlink;

use slipway_test::tar::{self, Entry, Kind};

use crate::site::{Outcome, SLIPWAY, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("the_report_is_that_of_dive", the_report_is_that_of_dive),
    test("ci_mode_is_asked_for_in_one_spelling", ci_mode_is_asked_for_in_one_spelling),
    test("values_of_rules", values_of_rules),
    test("shares_of_nothing", shares_of_nothing),
    test("flags_beat_the_file_which_beats_the_environment", flags_beat_the_file_which_beats_the_environment),
    test("settings_files_are_found", settings_files_are_found),
    test("settings_and_version_are_printed", settings_and_version_are_printed),
    test("the_export_comes_before_the_rules", the_export_comes_before_the_rules),
    test("sources_have_prefixes", sources_have_prefixes),
    test("images_of_the_store", images_of_the_store),
    test("what_is_built_is_analyzed", what_is_built_is_analyzed),
    test("two_images_are_compared", two_images_are_compared),
    test("broken_layers_are_told_of", broken_layers_are_told_of),
    test("who_reads_may_leave", who_reads_may_leave),
    test("lines_and_stages_of_what_was_built", lines_and_stages_of_what_was_built),
    test("lines_of_an_image_from_elsewhere", lines_of_an_image_from_elsewhere),
    test("lines_that_made_an_image_grow", lines_that_made_an_image_grow),
];

/// A file of an archive.
fn entry(path: &str, data: Vec<u8>) -> Entry {
    Entry { path: path.to_owned(), kind: Kind::File, mode: 0o644, data, ..Entry::default() }
}

/// A docker archive `img.tar` in the context. Layers are lists of files with their sizes; `.wh.` names remove.
fn image(site: &Site, layers: &[&[(&str, usize)]], history: bool) {
    let mut members = Vec::new();
    let mut names = Vec::new();
    for (index, files) in layers.iter().enumerate() {
        let files: Vec<Entry> = files.iter().map(|(path, size)| entry(path, vec![b'x'; *size])).collect();
        let name = format!("l{index}/layer.tar");
        members.push(entry(&name, tar::write(&files).unwrap()));
        names.push(name);
    }
    let step = |index: usize| serde_json::json!({"created_by": format!("/bin/sh -c make {index}")});
    let config = serde_json::json!({
        "architecture": std::env::consts::ARCH, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|_| format!("sha256:{:064}", 0)).collect::<Vec<_>>()},
        "history": (0..if history { layers.len() } else { 0 }).map(step).collect::<Vec<_>>(),
    });
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["x:latest"], "Layers": names}]);
    members.push(entry("config.json", config.to_string().into_bytes()));
    members.push(entry("manifest.json", manifest.to_string().into_bytes()));
    fs::write(site.path("ctx").join("img.tar"), tar::write(&members).unwrap()).unwrap();
}

/// A place with an image of which one file is there twice.
pub(crate) fn wasteful() -> Site {
    let site = Site::new("");
    image(&site, &[&[("a", 100), ("b", 50)], &[("a", 100)]], true);
    site
}

fn dive(site: &Site, arguments: &[&str]) -> Outcome {
    run(site.slipway().args(["dive", "docker-archive://img.tar"]).args(arguments))
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

fn the_report_is_that_of_dive() {
    let site = wasteful();
    let outcome = dive(&site, &["--ci"]);
    let expected = "Analysis:
  efficiency:        60.00 %
  wastedBytes:       200 bytes (200 B)
  userWastedPercent: 200.00 %

Inefficient Files:
  Count  Wasted Space  File Path
  2      200 B         /a

Evaluation:
  FAIL  highestUserWastedPercent (too many bytes wasted, relative to the user bytes added (%-user-wasted-bytes=2.00 > threshold=0.1))
  SKIP  highestWastedBytes (disabled)
  FAIL  lowestEfficiency (image efficiency is too low (efficiency=0.60 < threshold=0.9))

FAIL [fail:2 skip:1]
";
    assert_eq!(text(&outcome), expected);
    assert_eq!(outcome.exit_code, Some(1));
    let expected = "Loading image   docker-archive://img.tar
Analyzing image  [layers:2 files:3 size:250 B]
Evaluating image  [rules: 3]
evaluation failed
";
    assert_eq!(outcome.stderr, expected);
}

fn ci_mode_is_asked_for_in_one_spelling() {
    let site = wasteful();
    for (value, is_ci) in [("true", true), ("1", true), ("yes", true), ("TRUE", false), ("on", false), ("", false)] {
        let outcome = run(site.slipway().args(["dive", "img.tar"]).env("CI", value));
        assert_eq!(text(&outcome).contains("Evaluation:"), is_ci, "CI={value}");
        assert_eq!(outcome.exit_code, Some(i32::from(is_ci)), "CI={value}");
    }
    let program = site.path("dive");
    symlink(SLIPWAY, &program).unwrap();
    let mut command = site.with_own_environment(std::process::Command::new(program));
    let outcome =
        run(command.args(["img.tar", "--highestUserWastedPercent=off", "--lowestEfficiency", "0.5"]).env("CI", "true"));
    assert!(text(&outcome.success()).ends_with("\nPASS [pass:1 skip:2]\n"));
    let mut command = site.with_own_environment(std::process::Command::new(site.path("dive")));
    assert!(text(&run(command.arg("--version")).success()).starts_with("slipway "));
}

fn values_of_rules() {
    let site = wasteful();
    let off = ["--ci", "--highestUserWastedPercent", "off"];
    // Equality passes.
    let outcome = dive(&site, &[&off[..], &["--lowestEfficiency", "0.6", "--highestWastedBytes", "200"]].concat());
    let passes = "  PASS  highestWastedBytes (200)\n  PASS  lowestEfficiency (0.6)\n";
    assert!(text(&outcome.success()).contains(passes));
    let outcome = dive(&site, &[&off[..], &["--lowestEfficiency=disabled", "--highestWastedBytes", "0.1kB"]].concat());
    assert!(
        text(&outcome).contains("FAIL  highestWastedBytes (too many bytes wasted (wasted-bytes=200 > threshold=100))")
    );
    let outcome = dive(&site, &["--ci", "--highestUserWastedPercent", "20", "--lowestEfficiency", "x"]);
    let told = "invalid lowestEfficiency config value, given \"x\": strconv.ParseFloat: parsing \"x\": invalid syntax
highestUserWastedPercent config value is outside allowed range (0-1), given '20.000000'
";
    assert!(outcome.stderr.ends_with(told), "{}", outcome.stderr);
    outcome.failure();
    for words in [&["dive"][..], &["dive", "a", "b"]] {
        assert!(run(site.slipway().args(words)).failure().contains("exactly one argument is required"));
    }
}

fn shares_of_nothing() {
    let site = Site::new("");
    image(&site, &[&[("a", 100)]], false);
    let outcome = dive(&site, &["--ci", "--highestWastedBytes", "0"]).success();
    let expected = "  wastedBytes:       0 bytes \n  userWastedPercent: 0 %\n\nInefficient Files: (None)\n";
    assert!(text(&outcome).contains(expected), "{}", text(&outcome));
    assert!(text(&outcome).ends_with("\nPASS [pass:3]\n"));
    // Without a history nobody knows what made the layer.
    assert!(text(&dive(&site, &[])).contains("(missing)"));
    image(&site, &[&[("a", 100)], &[(".wh.a", 0)]], true);
    let outcome = dive(&site, &["--ci"]);
    assert!(text(&outcome).contains("  userWastedPercent: +Inf %\n"));
    assert!(text(&outcome).contains("FAIL  highestUserWastedPercent"));
    outcome.failure();
}

fn flags_beat_the_file_which_beats_the_environment() {
    let site = wasteful();
    let rules = |arguments: &[&str]| {
        let mut command = site.slipway();
        command.args(["dive", "--ci", "-q", "img.tar"]).args(arguments);
        command.env("DIVE_RULES_LOWEST_EFFICIENCY", "0.3").env("DIVE_RULES_HIGHEST_WASTED_BYTES", "1MB");
        let text = text(&run(&mut command));
        text.split("Evaluation:\n").nth(1).unwrap().to_owned()
    };
    assert!(rules(&[]).contains("  PASS  highestWastedBytes (1MB)\n  PASS  lowestEfficiency (0.3)\n"));
    site.write(".dive-ci", "rules:\n  lowestEfficiency: 0.5\n");
    let of_file = "  SKIP  highestWastedBytes (disabled)\n  PASS  lowestEfficiency (0.5)\n";
    assert!(rules(&[]).contains(of_file), "{}", rules(&[]));
    assert!(rules(&["--lowestEfficiency=0.4"]).contains("PASS  lowestEfficiency (0.4)"));
    // Neither an empty file nor other spellings set anything: the defaults hold.
    for text in ["", "rules:\n  lowest-efficiency: 0.1\n"] {
        site.write(".dive-ci", text);
        assert!(rules(&[]).contains("(efficiency=0.60 < threshold=0.9)"), "{text}");
    }
    site.write(
        "other",
        "rules:\n  lowestEfficiency: 0.2\n  highestWastedBytes: 20MB\n  highestUserWastedPercent: off\n",
    );
    assert!(rules(&["--ci-config=other"]).ends_with("\nPASS [pass:2 skip:1]\n"));
    site.write("other", "rules: [\n");
    let outcome = dive(&site, &["--ci", "--ci-config", "other"]);
    assert!(outcome.failure().contains("failed to unmarshal CI config file other: "));
    dive(&site, &["--ci-config", "other"]).success();
}

fn settings_files_are_found() {
    let site = wasteful();
    fs::create_dir_all(site.path("home/.config/dive")).unwrap();
    fs::write(site.path("home/.config/dive/a.yaml"), "rules:\n  lowest-efficiency: 0.25\n  highestWastedBytes: 3kB\n")
        .unwrap();
    let outcome = dive(&site, &["--ci"]);
    assert!(text(&outcome).contains("  PASS  highestWastedBytes (3kB)\n  PASS  lowestEfficiency (0.25)\n"));
    assert!(outcome.stderr.contains("rules.highestWastedBytes is called rules.highest-wasted-bytes now"));
    site.write("own.yaml", "rules:\n  lowest-efficiency: 0.35\n");
    assert!(text(&dive(&site, &["--ci", "-c", "own.yaml"])).contains("  PASS  lowestEfficiency (0.35)\n"));
}

fn settings_and_version_are_printed() {
    let site = wasteful();
    let printed = |command: &mut std::process::Command| text(&run(command).success());
    let defaults = printed(site.slipway().args(["dive", "config"]));
    for part in [
        "# evaluate the rules (env: DIVE_CI)\nci: false\n",
        "\nrules:\n  # lowest share of the image that is needed, from 0 to 1 (env: DIVE_RULES_LOWEST_EFFICIENCY)\n  \
         lowest-efficiency: '0.9'\n",
        "  # (env: DIVE_KEYBINDING_QUIT)\n  quit: 'ctrl+c,q'\n",
        "  hide: []\n",
    ] {
        assert!(defaults.contains(part), "{part} is not in\n{defaults}");
    }
    // What is printed says the same when it is read.
    site.write(
        "own.yaml",
        "ci: true\nrules:\n  lowest-efficiency: 0.2\n  highest-user-wasted-percent: off\nkeybinding:\n  quit: x\n\
         diff:\n  hide: [added, removed]\nfiletree:\n  pane-width: 0.25\njson-path: out.json\n",
    );
    let own = printed(site.slipway().args(["dive", "config", "--load", "-c", "own.yaml"]));
    assert!(own.contains("pane-width: 0.25\n") && own.contains("hide: [added, removed]\n"), "{own}");
    site.write("again.yaml", &own);
    assert_eq!(printed(site.slipway().args(["dive", "config"]).env("DIVE_CONFIG", "again.yaml")), own);
    // And it is what happens: an export, then the rules of CI mode are not asked for.
    printed(site.slipway().args(["dive", "img.tar", "-c", "again.yaml"]));
    assert!(site.path("ctx/out.json").exists());
    let version = printed(site.slipway().args(["dive", "version"]));
    assert!(version.starts_with("Application:     slipway\nVersion:         "), "{version}");
    let version = printed(site.slipway().args(["dive", "version", "-o", "json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&version).unwrap()["application"], "slipway");
}

fn the_export_comes_before_the_rules() {
    let site = wasteful();
    let outcome = run(site.slipway().args(["dive", "img.tar", "--json", "out.json"]).env("CI", "true")).success();
    assert_eq!(text(&outcome), "");
    let json = fs::read_to_string(site.path("ctx/out.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["image"]["sizeBytes"], &json["layer"][1]["command"]), (&250.into(), &"make 1".into()));
    assert_eq!(json["layer"][0]["id"], "l0");
    assert_eq!(dive(&site, &["-j", "out.json", "--ci"]).exit_code, Some(1));
    let missing = dive(&site, &["--json", "missing/dir/x"]).failure();
    assert!(missing.contains("directory for JSON export does not exist: missing/dir"), "{missing}");
    run(site.slipway().args(["dive", "img.tar"]).env("DIVE_JSON_PATH", "from-variable.json")).success();
    assert!(site.path("ctx/from-variable.json").exists());
    dive(&site, &["--json-extended", "more.json"]).success();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(site.path("ctx/more.json")).unwrap()).unwrap();
    assert_eq!(json["image"]["x-slipway"]["reclaimableBytes"], 100);
}

fn sources_have_prefixes() {
    let site = wasteful();
    for arguments in [
        &["docker-archive://img.tar"][..],
        &["docker-tar://img.tar"],
        &["img.tar", "--source", "docker-archive"],
        &["docker-archive://img.tar", "--source=podman"],
    ] {
        let outcome = run(site.slipway().arg("dive").args(arguments)).success();
        assert!(text(&outcome).starts_with("Analysis:\n  efficiency:        60.00 %\n"), "{arguments:?}");
    }
    let outcome = run(site.slipway().args(["dive", "img.tar", "--source", "x"])).success();
    let warning =
        "invalid container engine: x (valid options: docker, podman, docker-archive), using default \"docker\"";
    assert!(outcome.stderr.contains(warning));
    let failure = run(site.slipway().args(["dive", "docker-archive://none.tar"])).failure();
    assert!(failure.contains("ERROR: cannot load image: cannot read `none.tar`: No such file"), "{failure}");
    site.write("text", "no archive at all");
    let failure = run(site.slipway().args(["dive", "docker-archive://text"])).failure();
    assert!(failure.contains("cannot load image: cannot read `text`"), "{failure}");
}

const TWO_LAYERS: &str = "FROM scratch\nCOPY big /big\nCOPY big /again\nCMD [\"x\"]\n";

fn images_of_the_store() {
    let site = Site::new(TWO_LAYERS);
    site.write("big", &"x".repeat(5000));
    site.build(&["-t", "app"]).success();
    let outcome = run(site.slipway().args(["analyze", "app"])).success();
    // CMD makes no layer.
    assert!(outcome.stderr.contains("[layers:2 files:2 size:10 kB]"), "{}", outcome.stderr);
    assert!(text(&outcome).contains("  5.0 kB   1        COPY big /again"), "{}", text(&outcome));
    // The same from a layout.
    site.build(&["-o", "type=oci,dest=layout.tar"]).success();
    let exported = run(site.slipway().args(["analyze", "oci-layout://layout.tar"])).success();
    assert_eq!(text(&exported), text(&outcome));
}

fn what_is_built_is_analyzed() {
    let site = Site::new(TWO_LAYERS);
    site.write("big", &"x".repeat(5000));
    let outcome = run(site.slipway().args(["dive", "--ci", "build", "--progress=plain", "."])).success();
    assert!(text(&outcome).ends_with("\nPASS [pass:2 skip:1]\n"), "{}", text(&outcome));
    assert!(outcome.stderr.contains("[layers:2 files:2 size:10 kB]"), "{}", outcome.stderr);
}

fn two_images_are_compared() {
    let site = wasteful();
    fs::rename(site.path("ctx/img.tar"), site.path("ctx/before.tar")).unwrap();
    image(&site, &[&[("a", 100)], &[("lib/new", 3000)]], true);
    let outcome = run(site.slipway().args(["analyze", "before.tar", "img.tar"])).success();
    let expected = "Visible:  150 B -> 3.1 kB (+3.0 kB)
Stored:   250 B -> 3.1 kB

Change    Line that did it
+3.0 kB   make 1
-50 B     was make 0

Change    File Path
+3.0 kB   /lib/new
          from make 1
-50 B     /b
          was from make 0
";
    // 3.1 kB - 150 B is 2.95 kB.
    assert_eq!(text(&outcome), expected);
}

const STAGES: &str = "\
FROM scratch AS tools
COPY big /tool
FROM scratch AS base
COPY small /base
FROM base AS final
COPY --from=tools /tool /bin/tool
COPY small \\
  /config
COPY --link --from=tools /tool /linked
";

/// The part of a report from the list of layers on.
fn layers_of(outcome: &Outcome) -> String {
    let text = text(outcome);
    text.split_once("\nLayers:\n").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

fn lines_and_stages_of_what_was_built() {
    let site = Site::new(STAGES);
    site.write("big", &"x".repeat(5000));
    site.write("small", &"y".repeat(100));
    site.build(&["-t", "app"]).success();
    let expected = "  Size     Files    Command
  100 B    1        COPY small /base
                    Dockerfile:4, stage base
  5.0 kB   2        COPY /tool /bin/tool
                    Dockerfile:6, stage final, from stage tools
  100 B    1        COPY small /config
                    Dockerfile:7-8, stage final
  5.0 kB   1        COPY /tool /linked
                    Dockerfile:9, stage final, from stage tools

10 kB stored, 10 kB visible: a flat image would be 0 B smaller.

Where the bytes come from:
  Visible  Share    Stored   From
  10 kB    98.0 %   10 kB    stage tools (Dockerfile:6, Dockerfile:9)
  100 B    1.0 %    100 B    stage base (Dockerfile:4)
  100 B    1.0 %    100 B    stage final (Dockerfile:7-8)
";
    let outcome = run(site.slipway().args(["analyze", "app"])).success();
    assert_eq!(layers_of(&outcome).replace(" # buildkit", ""), expected);
    // A build that finds everything there knows it, too, and so does who has the image as an archive.
    site.build(&["-t", "app", "-o", "type=docker,dest=app.tar"]).success();
    run(site.slipway().args(["builds", "rm", "^1"])).success();
    let archive = run(site.slipway().args(["analyze", "./app.tar"])).success();
    assert_eq!(layers_of(&archive), layers_of(&outcome));
    run(site.slipway().args(["dive", "app", "--json-extended", "out.json"])).success();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(site.path("ctx/out.json")).unwrap()).unwrap();
    let more = &json["image"]["x-slipway"];
    assert_eq!(more["stages"][0]["from"], serde_json::json!({"kind": "stage", "name": "tools"}));
    assert_eq!(more["layers"][2]["origin"]["place"]["lastLine"], 8);
    // What dive knows nothing of is not in what dive's readers read.
    run(site.slipway().args(["dive", "app", "--json", "out.json"])).success();
    assert!(!fs::read_to_string(site.path("ctx/out.json")).unwrap().contains("tools"));
    // What is based on that image begins with the line that names it.
    site.write("Dockerfile", "FROM app\nCOPY small /more\n");
    site.build(&["-t", "next"]).success();
    let next = layers_of(&run(site.slipway().args(["analyze", "next"])).success());
    assert!(next.contains("  Dockerfile:1, base image docker.io/library/app"), "{next}");
    assert!(next.contains("  100 B    1.0 %    100 B    stage image (Dockerfile:2)"), "{next}");
}

fn lines_of_an_image_from_elsewhere() {
    let site = Site::new("");
    image(&site, &[&[("a", 100)], &[("b", 50)], &[("c", 7)]], true);
    let outcome = run(site.slipway().args(["analyze", "img.tar"])).success();
    let told = "\nWhich line made 3 layers is not known: no build of it is remembered (--file compares the history with a Dockerfile).\n";
    assert!(text(&outcome).ends_with(told), "{}", text(&outcome));
    site.write("other", "ARG N=0\nFROM alpine AS base\nRUN make $N\nFROM base\nRUN make 1\nRUN make 2\n");
    let outcome = run(site.slipway().args(["analyze", "img.tar", "-f", "other"])).success();
    let expected = "Where the bytes come from:
  Visible  Share    Stored   From
  100 B    63.7 %   100 B    not known
  57 B     36.3 %   57 B     stage stage-1 (other:5, other:6)

Which line made 1 layer is not known: no build of it is remembered (--file compares the history with a Dockerfile).
";
    assert!(text(&outcome).ends_with(expected), "{}", text(&outcome));
    let failure = run(site.slipway().args(["analyze", "img.tar", "-f", "other", "--target", "bas"])).failure();
    let told = "`other` is no Dockerfile that can be built: target stage \"bas\" could not be found";
    assert!(failure.contains(told), "{failure}");
    let failure = run(site.slipway().args(["analyze", "img.tar", "-f", "none"])).failure();
    assert!(failure.contains("cannot read `none`"), "{failure}");
}

fn lines_that_made_an_image_grow() {
    let site = Site::new(STAGES);
    site.write("big", &"x".repeat(5000));
    site.write("small", &"y".repeat(100));
    site.build(&["-t", "app:1"]).success();
    site.write("Dockerfile", &format!("{}COPY big /more\n", STAGES.replace("COPY small /base", "COPY big /base")));
    site.build(&["-t", "app:2"]).success();
    let outcome = run(site.slipway().args(["analyze", "app:1", "app:2"])).success();
    let expected = "Visible:  10 kB -> 20 kB (+9.9 kB)
Stored:   10 kB -> 20 kB

Change    Line that did it
+5.0 kB   Dockerfile:10, stage final: COPY big /more
+4.9 kB   Dockerfile:4, stage base: COPY big /base

Change    Before   After    From
+0 B      10 kB    10 kB    stage tools
+5.0 kB   100 B    5.1 kB   stage final
+4.9 kB   100 B    5.0 kB   stage base

Change    File Path
+5.0 kB   /more
          from Dockerfile:10, stage final: COPY big /more
+4.9 kB   /base
          from Dockerfile:4, stage base: COPY big /base
";
    assert_eq!(text(&outcome).replace(" # buildkit", ""), expected);
    run(site.slipway().args(["analyze", "app:1", "app:2", "--json", "growth.json"])).success();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(site.path("ctx/growth.json")).unwrap()).unwrap();
    assert_eq!(json["layers"][0]["origin"]["place"]["firstLine"], 10);
}

/// An archive whose second layer has these bytes; none if there are none.
fn with_second_layer(site: &Site, bytes: Option<&[u8]>) {
    let good = tar::write(&[entry("a", vec![b'x'; 100])]).unwrap();
    let config = serde_json::json!({
        "architecture": std::env::consts::ARCH, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{:064}", 1), format!("sha256:{:064}", 2)]},
    });
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"]}]);
    let mut members = vec![
        entry("1/layer.tar", good),
        entry("config.json", config.to_string().into_bytes()),
        entry("manifest.json", manifest.to_string().into_bytes()),
    ];
    members.extend(bytes.map(|bytes| entry("2/layer.tar", bytes.to_vec())));
    fs::write(site.path("ctx").join("img.tar"), tar::write(&members).unwrap()).unwrap();
}

fn broken_layers_are_told_of() {
    let site = Site::new("");
    let whole = tar::write(&[Entry {
        path: "b".to_owned(),
        kind: Kind::File,
        mode: 0o644,
        data: vec![b'y'; 2000],
        ..Entry::default()
    }])
    .unwrap();
    let gzip_head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let garbage = vec![b'?'; 2048];
    for (bytes, told) in [
        (Some(&whole[..1024]), "cannot analyze image: cannot read layer 1 (sha256:"),
        (Some(&gzip_head[..]), "cannot analyze image: cannot read layer 1 (sha256:"),
        (Some(&garbage[..]), "cannot analyze image: cannot read layer 1 (sha256:"),
        (None, "cannot analyze image: cannot open layer 1 (sha256:"),
    ] {
        with_second_layer(&site, bytes);
        for arguments in [&[][..], &["--ci"], &["--json", "out.json"]] {
            let outcome = dive(&site, arguments);
            assert_eq!(outcome.exit_code, Some(1), "{}", outcome.stderr);
            assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
        }
        assert!(!site.path("ctx/out.json").exists(), "nothing is written about half an image");
        if bytes.is_some() {
            let outcome = dive(&site, &["-i"]).success();
            assert!(outcome.stderr.contains("[layers:2 files:1 size:100 B]"), "{}", outcome.stderr);
        }
    }
}

/// Pipes that nobody reads any more end a command, without a panic.
fn who_reads_may_leave() {
    let site = Site::new("FROM busybox\nRUN sudo cd /x && apt-get install a\n");
    let many: Vec<(String, usize)> = (0..5000).map(|n| (format!("folder/file-with-a-long-name-{n}"), 1)).collect();
    let files: Vec<(&str, usize)> = many.iter().map(|(path, size)| (path.as_str(), *size)).collect();
    image(&site, &[&files, &files], true);
    for line in ["dive --ci img.tar", "analyze img.tar", "dive config", "graph", "lint", "builds ls", "sizes --help"] {
        let mut command = site.with_own_environment(std::process::Command::new("sh"));
        let script = format!("{SLIPWAY} {line} 2>../told | head -c 1 >/dev/null; cat ../told");
        let told = text(&run(command.args(["-c", &script])));
        assert!(!told.contains("panicked"), "{line}: {told}");
    }
}
