//! What a second build runs again: nothing, unless something changed or a flag asks for it.

use std::fs;

use crate::sharing::log_of_cache_mount;
use crate::site::Site;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_second_build_runs_nothing", a_second_build_runs_nothing),
    test("only_what_follows_a_change_runs_again", only_what_follows_a_change_runs_again),
    test("a_touched_file_is_no_change", a_touched_file_is_no_change),
    test("a_file_that_changes_during_the_build_is_never_cached", a_file_that_changes_during_the_build_is_never_cached),
    test("no_cache_runs_everything", no_cache_runs_everything),
    test("no_cache_filter_runs_the_steps_of_a_stage", no_cache_filter_runs_the_steps_of_a_stage),
];

/// Every RUN appends a line to the log.
const STAGES: &str = "FROM busybox AS tools
RUN --mount=type=cache,id=log,target=/c echo tools >> /c/log; echo tool > /tool
FROM busybox AS app
COPY src /src
RUN --mount=type=cache,id=log,target=/c echo app >> /c/log; cat /src/* > /app
COPY --from=tools /tool /tool
RUN --mount=type=cache,id=log,target=/c echo end >> /c/log
";

fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("src/a", "a\n");
    site.write("src/b", "b\n");
    site
}

fn sorted_log(site: &Site) -> Vec<String> {
    let mut log = log_of_cache_mount(site);
    log.sort();
    log
}

fn a_second_build_runs_nothing() {
    let site = site();
    let ids = [site.name("first.id"), site.name("second.id")];
    site.build(&["--iidfile", &ids[0]]).success();
    let before = log_of_cache_mount(&site);
    assert_eq!(before.len(), 3);
    let second = site.build(&["--iidfile", &ids[1]]).success();
    assert_eq!(second.steps().ran, Vec::<String>::new());
    assert_eq!(second.steps().cached.len(), 5, "{}", second.stderr);
    assert_eq!(log_of_cache_mount(&site), before);
    assert_eq!(fs::read_to_string(&ids[0]).unwrap(), fs::read_to_string(&ids[1]).unwrap());
    site.assert_tidy();
}

fn only_what_follows_a_change_runs_again() {
    let site = site();
    site.build(&[]).success();
    site.write("src/a", "changed\n");
    let steps = site.build(&[]).success().steps();
    assert!(steps.cached.iter().any(|step| step.contains("echo tools")), "{steps:?}");
    assert_eq!(sorted_log(&site), ["app", "app", "end", "end", "tools"]);
    // Back to what was built before.
    site.write("src/a", "a\n");
    assert_eq!(site.build(&[]).success().steps().ran, Vec::<String>::new());
}

fn a_touched_file_is_no_change() {
    let site = site();
    site.build(&[]).success();
    site.write("src/a", "a\n");
    let times = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    fs::File::options().write(true).open(site.path("ctx/src/a")).unwrap().set_times(times).unwrap();
    site.write("unused", "not copied by any step\n");
    assert_eq!(site.build(&[]).success().steps().ran, Vec::<String>::new());
}

fn no_cache_runs_everything() {
    let site = site();
    site.build(&[]).success();
    let steps = site.build(&["--no-cache"]).success().steps();
    assert_eq!(steps.cached, Vec::<String>::new());
    assert_eq!(sorted_log(&site), ["app", "app", "end", "end", "tools", "tools"]);
    assert_eq!(site.build(&[]).success().steps().ran, Vec::<String>::new());
}

fn no_cache_filter_runs_the_steps_of_a_stage() {
    let site = site();
    site.build(&[]).success();
    site.build(&["--no-cache-filter=app"]).success();
    assert_eq!(sorted_log(&site), ["app", "app", "end", "end", "tools"]);
    site.build(&["--no-cache-filter=tools"]).success();
    // What the stage makes is the same again, so nothing that uses it has to run.
    assert_eq!(sorted_log(&site), ["app", "app", "end", "end", "tools", "tools"]);
}

/// What is copied late must not be recorded under the key of what was there when the build began.
fn a_file_that_changes_during_the_build_is_never_cached() {
    let site = Site::new("FROM busybox\nRUN echo started; sleep 2\nCOPY f /f\n");
    site.write("f", "old\n");
    let mut build = site.start(&[]);
    build.wait_for("started\n");
    site.write("f", "new\n");
    let told = build.finish().failure();
    assert!(told.contains("`/f` of the build context changed during the build"), "{told}");
    for content in ["new\n", "old\n"] {
        site.write("f", content);
        site.build(&["--output=../out"]).success();
        assert_eq!(fs::read_to_string(site.path("out/f")).unwrap(), content);
    }
}
