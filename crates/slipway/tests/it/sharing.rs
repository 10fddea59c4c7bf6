//! Several builds at once in one store.

use std::fs;
use std::path::PathBuf;

use crate::process::wait_until;
use crate::site::{Site, files_below};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("two_equal_builds_run_each_step_once", two_equal_builds_run_each_step_once),
    test("different_builds_are_both_right", different_builds_are_both_right),
    test("who_waits_takes_over_when_the_other_is_killed", who_waits_takes_over_when_the_other_is_killed),
    test("eight_builds_of_overlapping_graphs_fifty_times", eight_builds_of_overlapping_graphs_fifty_times),
    test("a_locked_cache_mount_has_one_user_among_processes", a_locked_cache_mount_has_one_user_among_processes),
    test("an_interrupted_build_leaves_its_step_to_the_other", an_interrupted_build_leaves_its_step_to_the_other),
];

/// The only file of this name in the cache mounts of the store.
pub(crate) fn file_of_cache_mount(site: &Site, name: &str) -> Option<PathBuf> {
    let folder = site.path("store/cache-mounts");
    if !folder.exists() {
        return None;
    }
    files_below(&folder).into_iter().find(|path| path.file_name().is_some_and(|n| n == name))
}

/// The lines that steps appended to `log` of a cache mount.
pub(crate) fn log_of_cache_mount(site: &Site) -> Vec<String> {
    let text = file_of_cache_mount(site, "log").map(|path| fs::read_to_string(path).unwrap()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A step that goes on until [`open_gate`], each time that it runs, and says `started` when it begins to wait.
pub(crate) const GATE: &str = "\
RUN --mount=type=cache,id=gate,target=/g touch /g/gate; echo started; until [ -e /g/go ]; do sleep 0.02; done; rm /g/*
";

/// Two steps, of which the first goes on until [`open_gate`].
pub(crate) const GATED: &str = "\
RUN --mount=type=cache,target=/c echo one >> /c/log; touch /c/gate; echo first; \
    until [ -e /c/go ]; do sleep 0.02; done; echo done > /one
RUN --mount=type=cache,target=/c echo two >> /c/log; echo done > /two
";

fn counted() -> Site {
    Site::new(&format!("FROM busybox\n{GATED}"))
}

pub(crate) fn open_gate(site: &Site) {
    let gate = file_of_cache_mount(site, "gate").unwrap();
    fs::write(gate.with_file_name("go"), "").unwrap();
}

fn two_equal_builds_run_each_step_once() {
    let site = counted();
    let mut first = site.start(&[]);
    first.wait_for("first\n");
    let second = site.start(&[]);
    site.wait_for_lock_holders(2);
    open_gate(&site);
    first.finish().success();
    let steps = second.finish().success().steps();
    assert_eq!(log_of_cache_mount(&site), ["one", "two"]);
    // The second step may have been done by either of them.
    assert!(!steps.ran.iter().any(|step| step.contains("echo one")), "{steps:?}");
    site.assert_tidy();
}

fn different_builds_are_both_right() {
    let dockerfile = "FROM busybox\nARG WORD\nRUN echo same > /same\nRUN echo $WORD > /word; head -c 1000000 /dev/zero > /zero\n\
                      FROM scratch\nCOPY --from=0 /word /same /\n";
    let site = Site::new(dockerfile);
    let dest = |word: &str| site.path(word);
    let builds: Vec<_> = ["a", "b", "c", "d"]
        .map(|word| {
            let argument = format!("--build-arg=WORD={word}");
            (word, site.start(&[&argument, &format!("--output={}", dest(word).display())]))
        })
        .into();
    for (word, build) in builds {
        build.finish().success();
        assert_eq!(fs::read_to_string(dest(word).join("word")).unwrap(), format!("{word}\n"));
        assert_eq!(fs::read_to_string(dest(word).join("same")).unwrap(), "same\n");
    }
    site.assert_tidy();
}

fn who_waits_takes_over_when_the_other_is_killed() {
    let site = counted();
    let mut first = site.start(&[]);
    first.wait_for("first\n");
    let second = site.start(&["--output=type=local,dest=../out"]);
    site.wait_for_lock_holders(2);
    first.kill();
    wait_until("the second build runs the step", || log_of_cache_mount(&site) == ["one", "one"]);
    open_gate(&site);
    second.finish().success();
    assert_eq!(log_of_cache_mount(&site), ["one", "one", "two"]);
    assert_eq!(fs::read_to_string(site.path("out/one")).unwrap(), "done\n");
    site.assert_tidy();
}

fn an_interrupted_build_leaves_its_step_to_the_other() {
    let site = counted();
    let mut first = site.start(&[]);
    first.wait_for("first\n");
    let second = site.start(&[]);
    site.wait_for_lock_holders(2);
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.finish().exit_code, Some(130));
    wait_until("the second build runs the step", || log_of_cache_mount(&site) == ["one", "one"]);
    open_gate(&site);
    second.finish().success();
    assert_eq!(log_of_cache_mount(&site), ["one", "one", "two"]);
}

/// Every step is in the graphs of several builds, and is counted when it runs.
fn eight_builds_of_overlapping_graphs_fifty_times() {
    const N_BUILDS: usize = 8;
    const N_ROUNDS: usize = 50;
    let mut dockerfile = "FROM busybox AS base\nARG ROUND\n".to_owned();
    let step = |name: &str| format!("RUN --mount=type=cache,id=log,target=/c echo $ROUND {name} >> /c/log\n");
    dockerfile += &step("base");
    for stage in 0..N_BUILDS {
        dockerfile += &format!("FROM base AS s{stage}\nARG ROUND\n{}", step(&format!("s{stage}")));
        let neighbour = (stage + N_BUILDS - 1) % N_BUILDS;
        if stage > 0 {
            dockerfile += &format!("COPY --from=s{neighbour} /etc /from-{neighbour}\n");
        }
    }
    let site = Site::new(&dockerfile);
    for round in 0..N_ROUNDS {
        let argument = format!("--build-arg=ROUND={round}");
        let start = |stage| site.start(&["--output=type=cacheonly", &argument, &format!("--target=s{stage}")]);
        let builds: Vec<_> = (0..N_BUILDS).map(start).collect();
        for build in builds {
            build.finish().success();
        }
    }
    let mut log = log_of_cache_mount(&site);
    log.sort();
    let n_runs = log.len();
    log.dedup();
    assert_eq!((n_runs, log.len()), (N_ROUNDS * (N_BUILDS + 1), n_runs), "steps ran twice, or not at all");
    site.assert_tidy();
}

fn a_locked_cache_mount_has_one_user_among_processes() {
    let site = Site::new(
        "FROM busybox
ARG WHO
RUN --mount=type=cache,id=log,sharing=locked,target=/c \\
    if [ -e /c/inside ]; then exit 9; fi; touch /c/inside; sleep 0.05; rm /c/inside; echo $WHO >> /c/log
",
    );
    let start = |who: usize| site.start(&["--output=type=cacheonly", &format!("--build-arg=WHO={who}")]);
    let builds: Vec<_> = (0..6).map(start).collect();
    for build in builds {
        build.finish().success();
    }
    assert_eq!(log_of_cache_mount(&site).len(), 6);
    site.assert_tidy();
}
