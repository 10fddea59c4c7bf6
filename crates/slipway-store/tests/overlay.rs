//! What do stacks of layers look like once they are mounted, and what is left of processes that were killed?
//!
//! These tests mount, which not every machine allows. Where it is not allowed they are reported as ignored, with the
//! reason; `SLIPWAY_TEST_REQUIRE=overlay` makes that a failure. The program is also the second process of its own
//! tests: `overlay --as <part> <store>` plays a part, says `ready`, and waits to be killed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Trial};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, XattrFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use slipway_oci::Digest;
use slipway_store::{ActiveSnapshot, OverlayFlavor, Sharing, Snapshot, SnapshotError, Store};
use tempfile::TempDir;

const FLAVORS: [(&str, OverlayFlavor); 2] =
    [("root", OverlayFlavor::Root), ("userxattr", OverlayFlavor::UserNamespace)];

type Test = fn(&Store);

const TESTS: &[(&str, Test)] = &[
    ("upper_layers_cover_lower_ones", upper_layers_cover_lower_ones),
    ("whiteouts_and_opaque_folders_hide", whiteouts_and_opaque_folders_hide),
    ("a_whiteout_at_the_bottom_is_not_seen", a_whiteout_at_the_bottom_is_not_seen),
    ("a_view_cannot_be_written", a_view_cannot_be_written),
    ("mounts_are_attached_nowhere", mounts_are_attached_nowhere),
    ("a_layer_can_be_mounted_again_before_its_commit", a_layer_can_be_mounted_again_before_its_commit),
    ("stacks_of_150_layers", stacks_of_150_layers),
    ("a_stack_may_repeat_a_layer", a_stack_may_repeat_a_layer),
    ("a_stack_too_high_is_refused", a_stack_too_high_is_refused),
    ("what_a_killed_process_left_is_swept", what_a_killed_process_left_is_swept),
    ("a_process_killed_anywhere_leaves_no_lie", a_process_killed_anywhere_leaves_no_lie),
    ("a_key_is_taken_over_from_a_killed_process", a_key_is_taken_over_from_a_killed_process),
    ("a_locked_cache_mount_waits_for_another_process", a_locked_cache_mount_waits_for_another_process),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, part, root] = words.as_slice()
        && flag == "--as"
    {
        play(part, Path::new(root));
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for (flavor_name, flavor) in FLAVORS {
        let missing = why_no_overlay(flavor);
        for &(name, test) in TESTS {
            let missing = missing.clone();
            let run = move || match missing {
                Some(reason) if is_required() => Err(reason.into()),
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => {
                    let (_folder, store) = empty_store(flavor);
                    test(&store);
                    assert_eq!(store.fsck().unwrap(), []);
                    Ok(Completion::Completed)
                }
            };
            trials.push(Trial::ignorable_test(format!("{flavor_name}::{name}"), run));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn upper_layers_cover_lower_ones(store: &Store) {
    let base = step(store, None, |active| {
        write(active, "same", "old");
        write(active, "below", "base");
    });
    let top = step(store, Some(&base), |active| {
        write(active, "same", "new");
        write(active, "above", "top");
    });
    let view = store.view(&top).unwrap();
    assert_eq!(names(&view, "."), ["above", "below", "same"]);
    assert_eq!(read(&view, "same"), "new");
    // The stack below is what it was.
    let view = store.view(&base).unwrap();
    assert_eq!(names(&view, "."), ["below", "same"]);
    assert_eq!(read(&view, "same"), "old");
    assert_eq!(names(store.view(&Snapshot::scratch()).unwrap(), "."), [""; 0]);
}

fn whiteouts_and_opaque_folders_hide(store: &Store) {
    let base = step(store, None, |active| {
        for folder in ["gone", "replaced", "kept"] {
            std::fs::create_dir(active.upper().join(folder)).unwrap();
            write(active, &format!("{folder}/a"), "a");
            write(active, &format!("{folder}/b"), "b");
        }
    });
    let active = store.begin(Some(&base)).unwrap();
    let mounted = active.mount().unwrap();
    let remove = |path: &str, flags| unlinkat(&mounted, path, flags).unwrap();
    remove("kept/a", AtFlags::empty());
    for folder in ["gone", "replaced"] {
        remove(&format!("{folder}/a"), AtFlags::empty());
        remove(&format!("{folder}/b"), AtFlags::empty());
        remove(folder, AtFlags::REMOVEDIR);
    }
    mkdirat(&mounted, "replaced", Mode::from(0o755)).unwrap();
    drop(openat(&mounted, "replaced/c", OFlags::CREATE | OFlags::CLOEXEC, Mode::from(0o644)).unwrap());
    drop(mounted);
    let top = active.commit(2).unwrap();

    let view = store.view(&top).unwrap();
    assert_eq!(names(&view, "."), ["kept", "replaced"]);
    assert_eq!(names(&view, "kept"), ["b"]);
    assert_eq!(names(&view, "replaced"), ["c"]);
    let layer = File::open(store.layer_path(&top.layers()[1])).unwrap();
    assert_eq!(names(&layer, "."), ["gone", "kept", "replaced"]);
    assert_eq!(rustix::fs::statat(&layer, "gone", AtFlags::SYMLINK_NOFOLLOW).unwrap().st_rdev, 0);
}

fn a_whiteout_at_the_bottom_is_not_seen(store: &Store) {
    let base = step(store, None, |active| write(active, "file", "x"));
    let active = store.begin(Some(&base)).unwrap();
    let mounted = active.mount().unwrap();
    unlinkat(&mounted, "file", AtFlags::empty()).unwrap();
    drop(mounted);
    let deletion = active.commit_layer(2).unwrap();
    let alone = store.stack(None, &deletion, 3).unwrap();
    assert_eq!(names(store.view(&alone).unwrap(), "."), [""; 0]);
    let back_on_base = store.stack(Some(&base), &deletion, 4).unwrap();
    assert_eq!(names(store.view(&back_on_base).unwrap(), "."), [""; 0]);
}

fn a_view_cannot_be_written(store: &Store) {
    let one = step(store, None, |active| write(active, "file", "x"));
    let two = step(store, Some(&one), |_| ());
    for snapshot in [one, two] {
        let view = store.view(&snapshot).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        assert_eq!(openat(&view, "new", flags, Mode::from(0o644)).unwrap_err(), Errno::ROFS);
        assert_eq!(unlinkat(&view, "file", AtFlags::empty()).unwrap_err(), Errno::ROFS);
    }
}

fn mounts_are_attached_nowhere(store: &Store) {
    let base = step(store, None, |_| ());
    let active = store.begin(Some(&base)).unwrap();
    let _mounted = active.mount().unwrap();
    let _view = store.view(&base).unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains("overlay slipway"), "{table}");
}

fn a_layer_can_be_mounted_again_before_its_commit(store: &Store) {
    let active = store.begin(None).unwrap();
    for name in ["first", "second"] {
        let mounted = active.mount().unwrap();
        drop(openat(&mounted, name, OFlags::CREATE | OFlags::CLOEXEC, Mode::from(0o644)).unwrap());
    }
    let snapshot = active.commit(1).unwrap();
    assert_eq!(names(store.view(&snapshot).unwrap(), "."), ["first", "second"]);
}

fn stacks_of_150_layers(store: &Store) {
    let mut top = Snapshot::scratch();
    for number in 0..150 {
        top = step(store, Some(&top), |active| {
            write(active, &format!("{number:03}"), "");
            write(active, "last", &number.to_string());
        });
    }
    let view = store.view(&top).unwrap();
    assert_eq!(names(&view, ".").len(), 151);
    assert_eq!(read(&view, "last"), "149");
    let active = store.begin(Some(&top)).unwrap();
    assert_eq!(read(active.mount().unwrap(), "last"), "149");
}

fn a_stack_may_repeat_a_layer(store: &Store) {
    let base = step(store, None, |active| write(active, "file", "base"));
    let linked = store.begin(Some(&base)).unwrap();
    write(&linked, "file", "linked");
    std::fs::create_dir(linked.upper().join("folder")).unwrap();
    write(&linked, "folder/file", "linked");
    let linked = linked.commit_layer(1).unwrap();
    let once = store.stack(Some(&base), &linked, 2).unwrap();
    let changed = step(store, Some(&once), |active| {
        std::fs::create_dir(active.upper().join("folder")).unwrap();
        write(active, "folder/file", "changed");
        write(active, "folder/more", "changed");
    });
    let twice = store.stack(Some(&changed), &linked, 3).unwrap();
    assert_eq!(twice.layers().len(), 4);
    let active = store.begin(Some(&twice)).unwrap();
    let mounted = active.mount().unwrap();
    let view = store.view(&twice).unwrap();
    for root in [mounted.as_fd(), view.as_fd()] {
        assert_eq!(names(root, "folder"), ["file", "more"]);
        assert_eq!(read(root, "file"), "linked");
        assert_eq!(read(root, "folder/file"), "linked");
        assert_eq!(read(root, "folder/more"), "changed");
    }
}

fn a_stack_too_high_is_refused(store: &Store) {
    let mut top = Snapshot::scratch();
    for _ in 0..500 {
        top = step(store, Some(&top), |_| ());
    }
    let active = store.begin(Some(&top)).unwrap();
    drop(active.mount().unwrap());
    drop(store.view(&top).unwrap());
    let top = active.commit(1).unwrap();
    let Err(error) = store.begin(Some(&top)) else { panic!("501 layers below a new one") };
    assert!(matches!(error, SnapshotError::TooManyLayers { n_layers: 501 }));
    assert!(matches!(store.view(&top), Err(SnapshotError::TooManyLayers { n_layers: 501 })));
}

fn what_a_killed_process_left_is_swept(store: &Store) {
    let other = Other::start("builder", store);
    assert_eq!(store.sweep().unwrap().n_sessions, 0, "it still lives");
    drop(other);
    assert_eq!(store.sweep().unwrap().n_sessions, 1);
    let active: Vec<_> = std::fs::read_dir(store.root().join("active")).unwrap().collect();
    assert_eq!(active.len(), 1, "only our own session is left: {active:?}");
    // What it committed is good.
    let record = store.lookup(&Digest::of(b"key")).unwrap().unwrap();
    assert_eq!(read(store.view(&record.snapshot).unwrap(), "file"), "committed");
}

fn a_process_killed_anywhere_leaves_no_lie(store: &Store) {
    // A busy machine needs more than twenty rounds until a process lives long enough to record something.
    let mut round = 0;
    while round < 20 || store.lookup(&Digest::of(&[0])).unwrap().is_none() {
        let other = Other::start("worker", store);
        std::thread::sleep(Duration::from_micros(round * 300));
        drop(other);
        assert_eq!(store.fsck().unwrap(), [], "round {round}");
        store.sweep().unwrap();
        assert_eq!(store.fsck().unwrap(), [], "round {round}, swept");
        round += 1;
    }
    let mut n_recorded = 0;
    while let Some(record) = store.lookup(&Digest::of(&[n_recorded])).unwrap() {
        let layer = record.snapshot.layers().last().unwrap();
        assert_eq!(std::fs::read(store.layer_path(layer).join("file")).unwrap(), [n_recorded]);
        n_recorded += 1;
    }
    assert!(n_recorded > 0);
}

fn a_key_is_taken_over_from_a_killed_process(store: &Store) {
    let key = Digest::of(b"key");
    let other = Other::start("key holder", store);
    assert!(store.try_lock_key(&key).unwrap().is_none());
    let mut other = Some(other);
    // Killed while we wait.
    let lock = store.lock_key(&key, || {
        other.take();
        true
    });
    assert!(lock.unwrap().is_some());
}

fn a_locked_cache_mount_waits_for_another_process(store: &Store) {
    let mut other = Some(Other::start("cache mount holder", store));
    let mut seed = |_: &Path| -> std::io::Result<()> { panic!("the other process has seeded it") };
    let locked = store.cache_mount("apt", Sharing::Locked, &mut seed, || false).unwrap();
    assert!(locked.is_none());
    let locked = store.cache_mount("apt", Sharing::Locked, &mut seed, || {
        other.take();
        true
    });
    let path = locked.unwrap().unwrap().path().join("file");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "from the other process");
}

/// Another process that uses the same store; killed when dropped.
struct Other(Child);

impl Other {
    fn start(part: &str, store: &Store) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--as", part])
            .arg(store.root())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Other(child)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What the other process does before it is killed.
fn play(part: &str, root: &Path) {
    // The flavor that works for any root.
    let store = Store::open(root, OverlayFlavor::UserNamespace).unwrap();
    let key = Digest::of(b"key");
    match part {
        "builder" => {
            let snapshot = step(&store, None, |active| write(active, "file", "committed"));
            store.record(&[key], snapshot.id(), None).unwrap();
            let active = store.begin(Some(&snapshot)).unwrap();
            let locked_folder = active.upper().join("folder");
            std::fs::create_dir_all(locked_folder.join("deep")).unwrap();
            std::fs::set_permissions(&locked_folder, Permissions::from_mode(0o000)).unwrap();
            let mounted = active.mount().unwrap();
            unlinkat(&mounted, "file", AtFlags::empty()).unwrap();
            wait_to_be_killed((active, mounted));
        }
        "worker" => {
            println!("ready");
            let mut parent = Snapshot::scratch();
            for number in 0..=u8::MAX {
                parent = step(&store, Some(&parent), |active| {
                    std::fs::write(active.upper().join("file"), [number]).unwrap();
                    drop(active.mount().unwrap());
                });
                store.put_blob(&[number]).unwrap();
                store.record(&[Digest::of(&[number])], parent.id(), None).unwrap();
            }
            wait_to_be_killed(parent);
        }
        "key holder" => wait_to_be_killed(store.try_lock_key(&key).unwrap().unwrap()),
        "cache mount holder" => {
            let seed = |path: &Path| std::fs::write(path.join("file"), "from the other process");
            wait_to_be_killed(store.cache_mount("apt", Sharing::Locked, seed, || false).unwrap().unwrap());
        }
        part => panic!("no part is called {part}"),
    }
}

/// `held` is not dropped: the process ends by a signal.
fn wait_to_be_killed<T>(held: T) {
    println!("ready");
    loop {
        std::thread::park();
        std::hint::black_box(&held);
    }
}

/// A committed layer on top of `parent`, with what `change` writes into its folder.
fn step(store: &Store, parent: Option<&Snapshot>, change: impl FnOnce(&ActiveSnapshot)) -> Snapshot {
    let active = store.begin(parent).unwrap();
    change(&active);
    active.commit(1).unwrap()
}

fn write(active: &ActiveSnapshot, path: &str, text: &str) {
    std::fs::write(active.upper().join(path), text).unwrap();
}

fn read(root: impl AsFd, path: &str) -> String {
    let file: OwnedFd = openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).unwrap();
    text
}

/// What is in a folder, sorted.
fn names(root: impl AsFd, path: &str) -> Vec<String> {
    let folder = openat(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let entries = Dir::read_from(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

fn empty_store(flavor: OverlayFlavor) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), flavor).unwrap();
    (folder, store)
}

/// What keeps this machine from running the tests of one flavor, found out by mounting something.
fn why_no_overlay(flavor: OverlayFlavor) -> Option<String> {
    let (_folder, store) = empty_store(flavor);
    let attempt = store.begin(None).and_then(|active| active.mount().map(|_| active));
    let active = match attempt {
        Ok(active) => active,
        Err(error) => return Some(format!("no overlay mounts here: {}", with_sources(&error))),
    };
    let mark = flavor.opaque_xattr();
    match rustix::fs::setxattr(active.upper(), mark, b"y", XattrFlags::empty()) {
        Ok(()) => None,
        Err(error) => Some(format!("cannot set `{mark}` here: {error}")),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn is_required() -> bool {
    std::env::var("SLIPWAY_TEST_REQUIRE").is_ok_and(|required| required.split(',').any(|need| need == "overlay"))
}
