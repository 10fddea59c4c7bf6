//! What takes space, and what goes: while builds run, after kills, and for the words that users type.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use slipway_store::{Bounds, Usage, UsageKind};

use crate::process::{Running, wait_until};
use crate::site::{Outcome, Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("while_a_build_runs", while_a_build_runs),
    test("killed_while_pruning", killed_while_pruning),
    test("what_went_is_built_again", what_went_is_built_again),
    test("a_cap_holds_while_builds_go_on", a_cap_holds_while_builds_go_on),
    test("a_mistake_in_the_configuration_is_told", a_mistake_in_the_configuration_is_told),
    test("a_cap_is_crossed_in_the_middle_of_a_build", a_cap_is_crossed_in_the_middle_of_a_build),
    test("files_that_layers_share_count_once", files_that_layers_share_count_once),
    test("no_longer_than_the_timeout", no_longer_than_the_timeout),
    test("words", words),
    test("what_goes_is_told_at_length", what_goes_is_told_at_length),
];

fn command(site: &Site, words: &[&str]) -> Outcome {
    run(site.slipway().args(words))
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

const STEPS: &str = "FROM busybox\nCOPY many /many\nRUN echo a > /a\nRUN --mount=type=cache,target=/c date > /c/x; ls -R /many | wc -l > /b\n";

fn site() -> Site {
    let site = Site::new(STEPS);
    for number in 0..500 {
        site.write(&format!("many/{}/{number}", number % 7), "text\n");
    }
    site
}

fn while_a_build_runs() {
    let site = Site::new(
        "FROM busybox
         RUN echo a > /a
         RUN --mount=type=cache,target=/c echo started; while [ ! -e /c/go ]; do sleep 0.01; done; cat /a > /b
         RUN cat /a /b > /c
        ",
    );
    let mut build = site.start(&["--output=type=cacheonly"]);
    build.wait_for("started\n");
    command(&site, &["prune", "-af"]).success();
    let mounts = site.store().usage().unwrap();
    let mount = mounts.iter().find(|usage| usage.record_type == "exec.cachemount").unwrap();
    assert!(mount.is_in_use);
    fs::write(site.path("store").join(&mount.name).join("go"), "").unwrap();
    build.finish().success();
    assert_eq!(site.store().fsck().unwrap(), []);
    command(&site, &["prune", "-af"]).success();
    assert_eq!(site.store().usage().unwrap(), []);
    site.assert_tidy();
}

fn killed_while_pruning() {
    let site = site();
    let expected = site.summary(&[]);
    for round in 0..6 {
        let prune = Running::start(site.slipway().args(["prune", "-af"]).stdin(Stdio::null()));
        // Each round is killed a little later on its way.
        let mut n_looked = 0;
        wait_until("it is somewhere", || {
            n_looked += 1;
            n_looked > round
        });
        prune.kill();
        site.assert_tidy();
        assert_eq!(site.summary(&[]), expected, "round {round}");
    }
}

fn what_went_is_built_again() {
    let site = site();
    let tag = ["-t", "app"];
    site.build(&tag).success();
    let again = site.build(&tag).success();
    assert_eq!(again.steps().ran, Vec::<String>::new());
    let expected = site.summary(&[]);
    // Nothing of the image goes, and then what can be had from its blobs.
    command(&site, &["prune", "-f"]).success();
    assert_eq!(site.store().fsck().unwrap(), []);
    command(&site, &["prune", "-af"]).success();
    assert_eq!(site.store().fsck().unwrap(), []);
    assert_eq!(site.summary(&[]), expected);
}

fn no_longer_than_the_timeout() {
    let site = site();
    site.build(&["--output=type=cacheonly"]).success();
    let late = command(&site, &["du", "--timeout=0"]).failure();
    assert_eq!(late, "ERROR: measuring what is in the store takes longer than allowed\n");
    command(&site, &["du", "--timeout=1h"]).success();
    // As a build that has nothing to do, until it ends.
    let looks = site.store();
    let layer = looks.usage().unwrap().into_iter().find(|usage| usage.kind == UsageKind::Layer).unwrap();
    assert!(looks.layer(&layer.name).unwrap().is_some());
    // A busy machine may take so long for what comes before.
    let mut limits = ["1s", "10s", "100s"].iter().map(|limit| {
        let timeout = format!("--timeout={limit}");
        command(&site, &["prune", "-af", &timeout]).failure()
    });
    let late = limits.find(|told| !told.contains("measuring")).unwrap();
    assert_eq!(late, "ERROR: builds have been using the store for longer than allowed; nothing was taken away\n");
    drop(looks);
    assert!(!site.store().usage().unwrap().is_empty(), "nothing went");
    command(&site, &["prune", "-af", "--timeout=1h"]).success();
    assert_eq!(site.store().usage().unwrap(), []);
    let bad = command(&site, &["du", "--timeout=soon"]);
    assert!(bad.exit_code == Some(125) && bad.stderr.contains("invalid duration: 'soon'"), "{}", bad.stderr);
}

fn words() {
    let site = site();
    site.build(&["--output=type=cacheonly"]).success();
    let table = text(&command(&site, &["buildx", "du"]).success());
    assert!(table.starts_with("ID  ") && table.contains("RECLAIMABLE   SIZE"), "{table}");
    assert!(table.contains("\nReclaimable:\t") && table.contains("\nTotal:\t\t"), "{table}");
    let mounts = text(&command(&site, &["du", "--filter", "type=exec.cachemount", "--format=json"]).success());
    assert!(mounts.lines().count() == 1 && mounts.contains("cached mount /c from exec "), "{mounts}");
    let pretty = text(&command(&site, &["builder", "du", "--verbose", "--filter", "type=regular"]).success());
    assert!(pretty.contains("RUN echo a > /a") && !pretty.contains("Total:"), "{pretty}");
    let both = command(&site, &["du", "--verbose", "--format", "json"]).failure();
    assert_eq!(both, "ERROR: --format and --verbose cannot be used together\n");
    let bad = command(&site, &["du", "--filter", "x"]);
    assert_eq!(bad.exit_code, Some(125));
    let expected = "invalid argument \"x\" for \"--filter\" flag: bad format of filter (expected name=value)\n";
    assert!(bad.stderr.starts_with(expected), "{}", bad.stderr);
    let conflict = command(&site, &["prune", "-f", "--filter", "until=1h", "--filter", "unused-for=2h"]).failure();
    assert_eq!(conflict, "ERROR: conflicting filters \"until\" and \"unused-for\"\n");

    let before = site.store().usage().unwrap();
    let asked = command(&site, &["prune"]).success();
    let question = "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] ";
    assert_eq!(text(&asked), question);
    let young = text(&command(&site, &["prune", "-af", "--filter", "until=1h"]).success());
    assert_eq!(young, "Total:\t0B\n");
    let much = text(&command(&site, &["prune", "-af", "--keep-storage=1g"]).success());
    assert_eq!(much, "Total:\t0B\n");
    assert_eq!(site.store().usage().unwrap(), before);
    let gone = text(&command(&site, &["prune", "-af"]).success());
    assert!(gone.starts_with("ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n"), "{gone}");
    assert_eq!(gone.lines().count(), before.len() + 2);
    assert_eq!(site.store().usage().unwrap(), []);
}

fn configure(site: &Site, text: &str) {
    let folder = site.path("home/.config/slipway");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

/// The bytes of everything below the store.
fn store_bytes(site: &Site) -> u64 {
    files_below(&site.path("store")).iter().map(|file| file.metadata().map_or(0, |file| file.len())).sum()
}

fn a_cap_holds_while_builds_go_on() {
    const MIB: u64 = 1 << 20;
    // Eight steps of 2 MiB each on the base: with all of them the store would not keep within its cap.
    let step = "RUN head -c 2097152 /dev/urandom > /made\n";
    let site = Site::new(&format!("FROM busybox\nARG ROUND\n{step}"));
    configure(&site, "[store]\nmax-used-space = \"12MB\"\n");
    for round in 0..8 {
        site.build(&["--output=type=cacheonly", &format!("--build-arg=ROUND={round}")]).success();
        let bytes = store_bytes(&site);
        // What the build itself used stays, so the one layer that it made may be on top.
        assert!(bytes < 12_000_000 + 3 * MIB, "{bytes} bytes after build {round}");
    }
    let outcome = site.build(&["--output=type=cacheonly", "--build-arg=ROUND=7"]).success();
    assert_eq!(outcome.steps().ran, Vec::<String>::new(), "what was used last stays");
    site.assert_tidy();
}

/// Everything that is there or needed is one of these.
fn sizes(site: &Site) -> Vec<(String, u64, bool)> {
    let usages = site.store().usage().unwrap();
    usages.into_iter().map(|usage| (usage.description, usage.size_bytes, usage.is_in_use)).collect()
}

fn a_cap_is_crossed_in_the_middle_of_a_build() {
    const CAP: u64 = 12_000_000;
    let site = Site::new("FROM busybox\nRUN head -c 4194304 /dev/urandom > /older\n");
    site.build(&["--output=type=cacheonly"]).success();
    let has = |text: &str| sizes(&site).iter().any(|(description, ..)| description.contains(text));
    assert!(has("/older"));
    configure(&site, "[store]\nmax-used-space = \"12MB\"\n");
    let step = |number: usize| format!("RUN head -c 3145728 /dev/urandom > /made-{number}\n");
    let gate = "RUN --mount=type=cache,target=/c echo started; while [ ! -e /c/go ]; do sleep 0.01; done\n";
    site.write("Dockerfile", &format!("FROM busybox\n{}{}{}{gate}{}", step(1), step(2), step(3), step(4)));
    let mut build = site.start(&["--output=type=cacheonly"]);
    build.wait_for("started\n");
    // The build goes on, and with the base and three steps of its own there is no more room for the older one.
    wait_until("what is older has gone", || !has("/older"));
    let all = sizes(&site);
    let mine: Vec<_> = all.iter().filter(|(description, ..)| description.contains("/made-")).collect();
    assert!(mine.len() == 3 && mine.iter().all(|(_, _, is_in_use)| *is_in_use), "{all:?}");
    let mount = site.store().usage().unwrap().into_iter().find(|usage| usage.record_type == "exec.cachemount").unwrap();
    fs::write(site.path("store").join(&mount.name).join("go"), "").unwrap();
    let steps = build.finish().success().steps();
    assert_eq!(steps.ran.iter().filter(|step| step.contains("/made-")).count(), 4, "{steps:?}");
    assert!(store_bytes(&site) > CAP, "what the build itself uses stays, however much it is");
    assert_eq!(site.store().fsck().unwrap(), []);
    site.assert_tidy();
}

/// What is below `layers/` takes on the disk, each inode once.
fn layer_bytes(site: &Site) -> u64 {
    let mut inodes = BTreeMap::new();
    let mut pending = vec![site.path("store/layers")];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        inodes.insert(metadata.ino(), metadata.blocks() * 512);
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    inodes.values().sum()
}

fn files_that_layers_share_count_once() {
    let site = site();
    // The second COPY links all files but one from the layer of the first.
    for content in ["text\n", "other\n", "more\n"] {
        site.write("many/0/0", content);
        site.build(&["--output=type=cacheonly"]).success();
    }
    let of_copies = |usage: &Usage| usage.description.contains("COPY many");
    let top_bytes = fs::metadata(site.path("store/layers")).unwrap().blocks() * 512;
    let layers = || {
        let mut usages = site.store().usage().unwrap();
        usages.retain(|usage| usage.kind == UsageKind::Layer);
        usages
    };
    let sum = |usages: &[Usage]| usages.iter().map(|usage| usage.size_bytes).sum::<u64>();
    assert_eq!(sum(&layers()) + top_bytes, layer_bytes(&site));
    let copies: Vec<Usage> = layers().into_iter().filter(of_copies).collect();
    let sizes: Vec<u64> = copies.iter().map(|usage| usage.size_bytes).collect();
    assert_eq!(sizes.len(), 3);
    assert_eq!(sizes.iter().filter(|bytes| **bytes >= 500 * 4096).count(), 1, "{sizes:?}");
    for copy in copies {
        let before = layer_bytes(&site);
        // With the steps that lie on it.
        let gone = site.store().prune(false, Bounds::default(), |usage| {
            usage.name == copy.name || usage.kind == UsageKind::Layer && !of_copies(usage)
        });
        assert_eq!(sum(&gone.unwrap()), before - layer_bytes(&site));
        assert_eq!(sum(&layers()) + top_bytes, layer_bytes(&site));
    }
    assert_eq!(layers(), []);
    site.assert_tidy();
}

fn what_goes_is_told_at_length() {
    let site = site();
    site.build(&["--output=type=cacheonly"]).success();
    let kept = command(&site, &["prune", "-af", "--filter", "description~=nothing has this"]).success();
    assert_eq!(text(&kept), "Total:\t0B\n");
    let docker = site.path("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    fs::write(docker.join("config.json"), r#"{"pruneFilters":["type=exec.cachemount"]}"#).unwrap();
    let told = command(&site, &["prune", "-af", "--verbose", "--keep-storage=0"]).success();
    assert_eq!(
        told.stderr,
        "Flag --keep-storage has been deprecated, keep-storage flag has been changed to reserved-space\n"
    );
    let blocks = text(&told);
    assert!(blocks.starts_with("ID:\t\tcache-mounts/") && blocks.contains("\nType:\t\texec.cachemount\n\nTotal:\t"));
    fs::remove_file(docker.join("config.json")).unwrap();
    let of_last = |pattern: &str| text(&command(&site, &["prune", "-af", "--filter", pattern]).success());
    assert_eq!(of_last("description~=RUN echo a"), "Total:\t0B\n", "another step lies on it");
    let rows = of_last("description~=ls -R");
    assert!(rows.starts_with("ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n") && rows.lines().count() == 3, "{rows}");
    let types = text(&command(&site, &["du", "--format", "{{.Type}}", "--filter=type=regular"]).success());
    assert!(types.lines().all(|line| line == "regular") && types.lines().count() > 0, "{types}");
}

fn a_mistake_in_the_configuration_is_told() {
    let site = site();
    configure(&site, "[store]\nmax-used-space = \"plenty\"\n");
    let told = site.build(&[]).failure();
    assert!(told.contains("config.toml") && told.contains("`plenty`"), "{told}");
}
