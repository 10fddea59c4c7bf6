//! `slipway graph` and `slipway sizes`: pictures of a Dockerfile with what the last build did, and how large its targets
//! are.

use serde_json::Value;

use crate::site::{Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("stages_are_drawn_without_a_build_or_a_registry", stages_are_drawn_without_a_build_or_a_registry),
    test("the_last_build_is_in_the_picture", the_last_build_is_in_the_picture),
    test("every_format_is_written", every_format_is_written),
    test("mistakes_are_told_as_by_a_build", mistakes_are_told_as_by_a_build),
    test("each_target_has_its_size", each_target_has_its_size),
];

const STAGES: &str = "FROM busybox AS base
WORKDIR /src
FROM base AS build
COPY a ./
RUN head -c 1000000 /dev/zero > made; sleep 0.2
FROM build AS test
RUN false
FROM base
COPY --from=build /src/made /
";

fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("a", "a\n");
    site
}

#[track_caller]
fn graph(site: &Site, arguments: &[&str]) -> String {
    let outcome = run(site.slipway().args(["graph", &busybox_flag()]).args(arguments)).success();
    String::from_utf8(outcome.stdout).unwrap()
}

fn stages_are_drawn_without_a_build_or_a_registry() {
    let site = Site::new("FROM nowhere.invalid/x AS a\nRUN one\nFROM a\nCOPY --from=a /x /\n");
    let drawn = String::from_utf8(run(site.slipway().arg("graph")).success().stdout).unwrap();
    for line in ["│ FROM nowhere.invalid/x │", "│ · RUN one", "│ stage-1 (target)", "▼"] {
        assert!(drawn.contains(line), "{line}:\n{drawn}");
    }
    assert!(!drawn.contains('\x1b'), "a pipe has no colours");
}

fn the_last_build_is_in_the_picture() {
    let site = site();
    site.build(&["--network=none"]).success();
    let drawn = graph(&site, &[]);
    for line in ["● COPY a ./", "● RUN head -c 1000000", "test (not reached)", "· RUN false", "1.00MB"] {
        assert!(drawn.contains(line), "{line}:\n{drawn}");
    }
    site.build(&["--network=none"]).success();
    let drawn = graph(&site, &[]);
    assert!(drawn.contains("✓ RUN head") && !drawn.contains("● RUN"), "{drawn}");
    // What comes before a step does not change what it was.
    site.write("Dockerfile", &STAGES.replace("WORKDIR", "# moved\nWORKDIR"));
    assert!(graph(&site, &["--target=test"]).contains("✓ RUN head"));
    site.assert_tidy();
}

fn every_format_is_written() {
    let site = site();
    site.build(&["--network=none"]).success();
    let json: Value = serde_json::from_str(&graph(&site, &["--format=json"])).unwrap();
    let made = &json["stages"][1]["steps"][1];
    assert_eq!((&made["state"], &made["line"]), (&"ran".into(), &5.into()), "{made}");
    assert!(made["seconds"].as_f64().unwrap() >= 0.2 && made["sizeBytes"].as_u64().unwrap() >= 1_000_000, "{made}");
    assert_eq!(json["stages"][3]["steps"][0]["takesFrom"][0]["stage"], 1);
    assert!(graph(&site, &["--format=mermaid"]).starts_with("flowchart TD\n"));
    assert!(graph(&site, &["--format=dot"]).starts_with("digraph stages {\n"));
    assert_eq!(graph(&site, &["--format=svg", "-o", "x.svg"]), "");
    let svg = std::fs::read_to_string(site.path("ctx/x.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("RUN head -c 1000000"), "{svg}");
}

fn mistakes_are_told_as_by_a_build() {
    let site = Site::new("FROM a AS b\nRUNN x\n");
    let told = run(site.slipway().arg("graph")).failure();
    assert!(told.contains("unknown instruction: RUNN"), "{told}");
    let told = run(site.slipway().args(["graph", "-f", "none"])).failure();
    assert!(told.contains("open none: no such file or directory"), "{told}");
}

fn each_target_has_its_size() {
    let site = Site::new(&STAGES.replace("RUN false", "RUN true"));
    site.write("a", "a\n");
    let sizes = |format: &str| {
        let arguments = ["sizes", "--network=none", "--progress=plain", format, &busybox_flag()];
        let outcome = run(site.slipway().args(arguments)).success();
        (String::from_utf8(outcome.stdout).unwrap(), outcome.stderr)
    };
    let (json, progress) = sizes("--format=json");
    assert_eq!(progress.matches("RUN head -c 1000000").count(), 1, "{progress}");
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let bytes = |row: usize, key: &str| rows[row][key].as_u64().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["target"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "build", "test", "stage-3"]);
    assert!(rows.iter().all(|row| row["base"] == "busybox"), "{json}");
    assert_eq!(rows[2]["stages"], serde_json::json!(["build", "base"]));
    assert!(bytes(1, "sizeBytes") >= bytes(0, "sizeBytes") + 1_000_000, "{json}");
    assert!(bytes(1, "compressedBytes") + 900_000 < bytes(1, "sizeBytes"), "{json}");
    let (table, _) = sizes("--format=table");
    assert!(table.starts_with("TARGET    BASE"), "{table}");
    let (page, _) = sizes("--format=markdown");
    assert!(page.contains("| test | busybox (build < base) |"), "{page}");
    assert!(!site.path("ctx/-").exists());
    site.assert_tidy();
}
