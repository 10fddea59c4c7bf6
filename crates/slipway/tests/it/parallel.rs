//! Stages that do not need each other run at the same time, and stages that nobody needs do not run.

use std::fs;

use crate::sharing::log_of_cache_mount;
use crate::site::Site;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("independent_stages_run_at_the_same_time", independent_stages_run_at_the_same_time),
    test("stages_that_nobody_needs_do_not_run", stages_that_nobody_needs_do_not_run),
    test("the_failure_of_one_stage_ends_the_others", the_failure_of_one_stage_ends_the_others),
];

/// Each stage waits for the marks of the others: one after the other, the first would give up.
fn independent_stages_run_at_the_same_time() {
    const STAGES: [&str; 4] = ["a", "b", "c", "d"];
    let mut dockerfile = String::new();
    for stage in STAGES {
        dockerfile += &format!(
            "FROM busybox AS {stage}\nRUN --mount=type=cache,id=marks,target=/marks touch /marks/{stage}; \
             for i in $(seq 6000); do [ $(ls /marks | wc -l) = 4 ] && break; sleep 0.1; done; ls /marks > /{stage}; \
             [ $(ls /marks | wc -l) = 4 ]\n"
        );
    }
    dockerfile += "FROM scratch\n";
    for stage in STAGES {
        dockerfile += &format!("COPY --from={stage} /{stage} /\n");
    }
    let site = Site::new(&dockerfile);
    site.build(&["--output=../out"]).success();
    for stage in STAGES {
        assert_eq!(fs::read_to_string(site.path("out").join(stage)).unwrap(), "a\nb\nc\nd\n");
    }
}

const PARTS: &str = "FROM busybox AS base
RUN --mount=type=cache,id=log,target=/c echo base >> /c/log
FROM base AS unneeded
RUN --mount=type=cache,id=log,target=/c echo unneeded >> /c/log; exit 1
FROM base AS needed
RUN --mount=type=cache,id=log,target=/c echo needed >> /c/log; touch /needed
FROM base AS middle
RUN --mount=type=cache,id=log,target=/c echo middle >> /c/log
COPY --from=needed /needed /
FROM unneeded AS last
";

fn stages_that_nobody_needs_do_not_run() {
    let site = Site::new(PARTS);
    site.build(&["--target=middle"]).success();
    let mut log = log_of_cache_mount(&site);
    assert_eq!(log.remove(0), "base");
    log.sort();
    assert_eq!(log, ["middle", "needed"]);
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("echo unneeded"), "{stderr}");
}

fn the_failure_of_one_stage_ends_the_others() {
    let site = Site::new(
        "FROM busybox AS slow
RUN --mount=type=cache,id=marks,target=/marks touch /marks/slow; sleep <marker>; touch /slow
FROM busybox AS failing
RUN --mount=type=cache,id=marks,target=/marks for i in $(seq 6000); do [ -e /marks/slow ] && exit 7; sleep 0.1; done
FROM scratch
COPY --from=slow /slow /
COPY --from=failing /bin /
",
    );
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("exit code: 7"), "{stderr}");
    assert!(stderr.lines().any(|line| line.starts_with('#') && line.ends_with(" CANCELED")), "{stderr}");
    site.assert_tidy();
}
