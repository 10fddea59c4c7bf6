//! What a second build runs again: nothing, unless something changed or a flag asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use rustix::fs::inotify;

use crate::sharing::{GATE, log_of_cache_mount, open_gate};
use crate::site::{Site, files_below};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_second_build_runs_nothing", a_second_build_runs_nothing),
    test(
        "a_build_that_changes_nothing_reads_no_file_of_the_context",
        a_build_that_changes_nothing_reads_no_file_of_the_context,
    ),
    test("a_second_build_writes_one_file", a_second_build_writes_one_file),
    test("only_what_follows_a_change_runs_again", only_what_follows_a_change_runs_again),
    test("a_touched_file_is_no_change", a_touched_file_is_no_change),
    test(
        "a_file_that_changes_during_the_build_is_cached_as_what_was_copied",
        a_file_that_changes_during_the_build_is_cached_as_what_was_copied,
    ),
    test("a_file_that_changes_all_the_time_is_copied", a_file_that_changes_all_the_time_is_copied),
    test(
        "many_files_are_linked_from_the_layer_of_the_last_time",
        many_files_are_linked_from_the_layer_of_the_last_time,
    ),
    test("an_edit_of_many_files_looks_at_the_folder_once", an_edit_of_many_files_looks_at_the_folder_once),
    test(
        "one_of_many_files_that_changes_during_the_build_is_cached_as_what_was_copied",
        one_of_many_files_that_changes_during_the_build_is_cached_as_what_was_copied,
    ),
    test("files_are_not_linked_from_a_layer_below", files_are_not_linked_from_a_layer_below),
    test("a_large_copy_keeps_its_layer_on_another_base", a_large_copy_keeps_its_layer_on_another_base),
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

fn a_build_that_changes_nothing_reads_no_file_of_the_context() {
    let site = site();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, site.path("ctx/src"), inotify::WatchFlags::OPEN).unwrap();
    // A digest is not remembered for files that were written a moment ago.
    thread::sleep(Duration::from_millis(50));
    site.build(&[]).success();
    assert_eq!(opened(&watch), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    site.build(&[]).success();
    assert_eq!(opened(&watch), BTreeSet::new());
    site.write("src/a", "changed\n");
    opened(&watch);
    site.build(&[]).success();
    assert!(opened(&watch).contains("a"));
}

/// The files of the watched folder that were opened since this was last asked.
fn opened(watch: &OwnedFd) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while let Ok(event) = events.next() {
        if !event.events().contains(inotify::ReadFlags::ISDIR) {
            names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names
}

/// When everything below the store was changed, but for what SQLite maps into memory.
fn changes(site: &Site) -> BTreeMap<PathBuf, SystemTime> {
    let mut changes = BTreeMap::new();
    let mut pending = vec![site.path("store")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        changes.insert(path.clone(), fs::symlink_metadata(&path).unwrap().modified().unwrap());
    }
    changes.remove(&site.path("store/store.db-shm"));
    changes
}

/// Work is counted, not timed: a file or folder that came and went leaves its folder changed.
fn a_second_build_writes_one_file() {
    let site = site();
    let build = || site.build(&["-t", "app"]).success();
    build();
    build();
    let before = changes(&site);
    build();
    let changed: Vec<PathBuf> = changes(&site)
        .into_iter()
        .filter(|(path, time)| before.get(path) != Some(time))
        .map(|(path, _)| path)
        .collect();
    let [builds, record] = &changed[..] else { panic!("more than one record was written: {changed:?}") };
    assert_eq!((builds, record.parent()), (&site.path("store/builds"), Some(builds.as_path())));
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

/// More than it takes to look for an earlier copy of them.
const N_FILES: usize = 600;

fn many_files(dockerfile: &str) -> Site {
    let site = Site::new(dockerfile);
    for n in 0..N_FILES {
        site.write(&format!("src/{}/{n}", n % 7), &format!("{n}\n"));
    }
    site
}

/// How many inodes the copied files have in all layers together.
fn n_inodes(site: &Site) -> usize {
    let files = files_below(&site.path("store/layers"));
    let copied = files.iter().filter(|file| file.iter().any(|part| part == "src"));
    copied.map(|file| fs::metadata(file).unwrap().ino()).collect::<BTreeSet<u64>>().len()
}

/// Only changed files are copied, and nobody can tell that from the image.
fn many_files_are_linked_from_the_layer_of_the_last_time() {
    let site = many_files("FROM busybox\nCOPY src /src\n");
    let id = site.name("image.id");
    let build = || {
        site.build(&["--build-arg=SOURCE_DATE_EPOCH=1", "--iidfile", &id]).success();
        fs::read_to_string(&id).unwrap()
    };
    let mut last = build();
    for n_changes in 1..4 {
        // As long as before: only the content tells.
        site.write("src/0/0", &format!("{n_changes}\n"));
        let image = build();
        assert_eq!(n_inodes(&site), N_FILES + n_changes);
        assert!(last != image);
        last = image;
    }
    site.assert_tidy();
    site.renew_store();
    assert_eq!(build(), last);
}

/// What was linked cannot have changed meanwhile, and what was copied is compared.
fn an_edit_of_many_files_looks_at_the_folder_once() {
    let site = many_files("FROM busybox\nCOPY src /src\n");
    site.build(&[]).success();
    let flags = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS | inotify::WatchFlags::CLOSE_NOWRITE;
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, site.path("ctx/src/1"), flags).unwrap();
    site.write("src/0/0", "changed\n");
    site.build(&[]).success();
    assert_eq!(n_lists(&watch), 1);
}

/// How often the watched folder was listed. Opening and closing it keeps events from being merged.
fn n_lists(watch: &OwnedFd) -> usize {
    let mut n_lists = 0;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while let Ok(event) = events.next() {
        let is_list = inotify::ReadFlags::ISDIR | inotify::ReadFlags::ACCESS;
        n_lists += usize::from(event.events().contains(is_list) && event.file_name().is_none());
    }
    n_lists
}

/// Also if thousands of others are linked.
fn one_of_many_files_that_changes_during_the_build_is_cached_as_what_was_copied() {
    let site = many_files(&format!("FROM busybox AS app\n{GATE}COPY src /src\nRUN cp /src/0/0 /later\n"));
    let build = |content: &str| {
        site.write("src/0/0", content);
        site.build(&["--output=../out"]).success()
    };
    let assert_files = |content: &str| {
        for file in ["src/0/0", "later"] {
            assert_eq!(fs::read_to_string(site.path("out").join(file)).unwrap(), content, "{file}");
        }
    };
    for content in ["first\n", "second\n", "third\n"] {
        site.write("src/0/0", "old\n");
        let mut running = site.start(&["--output=../out", "--no-cache-filter=app"]);
        running.wait_for("started\n");
        site.write("src/0/0", content);
        open_gate(&site);
        running.finish().success();
        assert_files(content);
        assert_eq!(build(content).steps().ran, Vec::<String>::new());
        assert_files(content);
    }
}

/// In one stack two names of one inode would be a hard link for a RUN.
fn files_are_not_linked_from_a_layer_below() {
    let site = many_files("FROM busybox AS base\nCOPY src /src\nFROM base\nCOPY src /src\n");
    site.build(&[]).success();
    assert_eq!(n_inodes(&site), 2 * N_FILES);
    site.write("src/0/0", "changed\n");
    site.build(&[]).success();
    // The lower layer has files of the last build, the upper one has only its own.
    assert_eq!(n_inodes(&site), 2 * N_FILES + 1 + N_FILES);
    site.assert_tidy();
}

/// Unless a time, an owner or what is at the destination differs.
fn a_large_copy_keeps_its_layer_on_another_base() {
    let site =
        many_files("FROM busybox\nARG BEFORE\nRUN eval \"$BEFORE\"\nCOPY --chown=user src /a/src\nRUN ls -l /a/src\n");
    let before = |command: &str| format!("--build-arg=BEFORE=adduser -D -u 7 user; {command}");
    let n_layers_after = |arguments: &[&str]| {
        site.build(arguments).success();
        let layers = fs::read_dir(site.path("store/layers")).unwrap();
        layers.filter(|layer| layer.as_ref().unwrap().path().join("a/src/0").exists()).count()
    };
    assert_eq!(n_layers_after(&[&before("true")]), 1);
    let another_base = before("echo > /file");
    assert_eq!(n_layers_after(&[&another_base]), 1);
    let summary = site.summary(&[&another_base]);
    assert_eq!(n_layers_after(&[&before("mkdir -m 700 /a")]), 2);
    assert_eq!(n_layers_after(&[&before("mkdir -m 700 -p /a/src")]), 3);
    assert_eq!(n_layers_after(&[&before("mkdir -p /a/src; echo > /a/src/file")]), 4);
    assert_eq!(n_layers_after(&[&before("sed -i s/:7:/:8:/ /etc/passwd")]), 5);
    assert_eq!(n_layers_after(&[&before("sed -i s/:7:/:8:/ /etc/passwd; true")]), 5);
    site.write("src/0/0", "0\n");
    assert_eq!(n_layers_after(&[&before("sed -i s/:7:/:8:/ /etc/passwd; : touched")]), 6);
    assert_eq!(n_layers_after(&["--no-cache", &before("sed -i s/:7:/:8:/ /etc/passwd; : touched")]), 7);
    site.assert_tidy();
    site.renew_store();
    assert_eq!(site.summary(&[&another_base]), summary);
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

/// What is copied late is recorded as what it was when it was copied.
fn a_file_that_changes_during_the_build_is_cached_as_what_was_copied() {
    let site = Site::new(&format!(
        "FROM busybox\n{GATE}COPY f /f\nRUN cat /f > /later\nRUN --mount=target=/c cat /c/f > /mounted\n"
    ));
    let build = |site: &Site, content: &str| {
        site.write("f", content);
        site.build(&["--output=../out"]).success()
    };
    let assert_files = |site: &Site, content: &str| {
        for file in ["f", "later", "mounted"] {
            assert_eq!(fs::read_to_string(site.path("out").join(file)).unwrap(), content, "{file}");
        }
    };
    site.write("f", "old\n");
    let mut running = site.start(&["--output=../out"]);
    running.wait_for("started\n");
    site.write("f", "new\n");
    open_gate(&site);
    running.finish().success();
    assert_files(&site, "new\n");
    assert_eq!(build(&site, "new\n").steps().ran, Vec::<String>::new());
    assert_files(&site, "new\n");
    assert_eq!(build(&site, "old\n").steps().ran.len(), 3);
    assert_files(&site, "old\n");
}

/// A log, for instance.
fn a_file_that_changes_all_the_time_is_copied() {
    let site = Site::new("FROM busybox\nCOPY log /log\nRUN --mount=target=/c cat /c/log > /mounted\n");
    site.write("log", "0\n");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::File::options().append(true).open(site.path("ctx/log")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"0\n").unwrap();
                thread::sleep(Duration::from_micros(100));
            }
        });
        let build = std::panic::catch_unwind(|| site.build(&[]).success().steps());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(build.unwrap().ran.len(), 2);
    });
    let last = fs::read_to_string(site.path("ctx/log")).unwrap();
    assert_eq!(site.build(&["--output=../out"]).success().steps().ran.len(), 2);
    for file in ["log", "mounted"] {
        assert_eq!(fs::read_to_string(site.path("out").join(file)).unwrap(), last, "{file}");
    }
    assert_eq!(site.build(&[]).success().steps().ran, Vec::<String>::new());
}
