//! Archives that somebody else wrote, on every way into a build (`spec/attacks.md`). What their entries may do is tried
//! one by one in `slipway-engine/src/layer/hostile.rs`.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use slipway_test::capability::Capability;
use slipway_test::registry::{Canned, TestRegistry};
use slipway_test::tar::{self, Entry, Kind};

use crate::attacks::{Canary, link};
use crate::site::{SLIPWAY, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("contexts_from_archives_stay_inside", contexts_from_archives_stay_inside),
    Test {
        name: "a_bomb_fills_the_disk_and_no_memory",
        needs: &[Capability::Root],
        run: a_bomb_fills_the_disk_and_no_memory,
    },
    test("many_entries_take_little_memory", many_entries_take_little_memory),
    test("archives_are_unpacked_without_programs", archives_are_unpacked_without_programs),
];

fn file(path: &str, data: &str) -> Entry {
    Entry { path: path.to_owned(), kind: Kind::File, mode: 0o666, data: data.into(), ..Entry::default() }
}

/// Contexts are unpacked on the host before anything is built: on standard input, at a URL, and as `ADD` does it.
fn contexts_from_archives_stay_inside() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let up = "../".repeat(10);
    let relative = format!("{up}{}", host.trim_start_matches('/'));
    let server = TestRegistry::start().unwrap();
    let url = format!("http://{}/context.tar", server.host());
    let hard_link = |path: &str, target: &str| Entry {
        path: path.to_owned(),
        kind: Kind::Hardlink,
        link: target.to_owned(),
        ..Entry::default()
    };
    for hostile in [
        vec![link("l", &host), file("l/file", "new")],
        vec![link("l", &relative), file("l/new", "new")],
        vec![link("l", &format!("{host}/file")), file("l", "new")],
        vec![file(&format!("{relative}/new"), "new")],
        vec![file(&format!("{host}/file"), "new")],
        vec![hard_link("h", &format!("{relative}/file")), file("h", "new")],
        vec![link(".", &host), file("file", "new")],
        vec![link("l", &host), hard_link("h", "l/file")],
    ] {
        let dockerfile = file("Dockerfile", "FROM busybox\nCOPY . /copied/\nRUN cat /copied/*/file /copied/h; true\n");
        let archive = tar::write(&[&[dockerfile], hostile.as_slice()].concat()).unwrap();
        fs::write(site.path("context.tar"), &archive).unwrap();
        let mut command = site.build_command(&["-o", "../out", "-"]);
        canary.assert_unharmed(&site, &run(command.stdin(File::open(site.path("context.tar")).unwrap())));
        fs::remove_dir_all(site.path("out")).ok();
        server.set_canned("/context.tar", Canned { body: archive.clone(), ..Canned::default() });
        canary.assert_unharmed(&site, &run(&mut site.build_command(&["-o", "../out", &url])));
        fs::remove_dir_all(site.path("out")).ok();
        fs::write(site.path("ctx/archive.tar"), archive).unwrap();
        site.write("Dockerfile", "FROM busybox\nADD archive.tar /added/\nRUN cat /added/*/file /added/h; true\n");
        canary.assert_unharmed(&site, &site.build(&["-o", "../out"]));
        fs::remove_dir_all(site.path("out")).ok();
    }
}

/// Builds the context with a store on a disk of so many bytes, and with 300 MB of memory that can be written.
fn build_with_little(site: &Site, size: &str) -> crate::site::Outcome {
    let store = site.path("little");
    fs::create_dir_all(&store).unwrap();
    let script = "mount -t tmpfs -o size=$0 none \"$SLIPWAY_ROOT\" && ulimit -d 300000 && exec \"$@\"";
    let mut command = site.with_own_environment(Command::new("unshare"));
    command.env("SLIPWAY_ROOT", &store).args(["--mount", "sh", "-c", script, size]);
    run(command.args([SLIPWAY, "build", "--progress=plain", "--output=type=cacheonly", &busybox_flag(), "."]))
}

/// A gigabyte in some kilobytes, whose end never comes as far as the disk is concerned.
fn a_bomb_fills_the_disk_and_no_memory() {
    let site = Site::new("FROM busybox\nADD bomb.tar.zst /\n");
    let head = file("zeros", "");
    let archive = tar::write(&[head]).unwrap();
    // The size in the header (offset 124), and its checksum (offset 148) with it.
    let mut header = archive[..512].to_vec();
    header[124..136].copy_from_slice(b"10000000000\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(site.path("header"), header).unwrap();
    let script = "{ cat header; head -c 1073741824 /dev/zero; head -c 1024 /dev/zero; } | zstd -q > ctx/bomb.tar.zst";
    run(Command::new("sh").args(["-c", script]).current_dir(site.path(""))).success();
    assert!(fs::metadata(site.path("ctx/bomb.tar.zst")).unwrap().len() < 1 << 20);
    let stderr = build_with_little(&site, "64m").failure();
    assert!(stderr.lines().last().unwrap().contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("hint: the disk that holds the store is full"), "{stderr}");
}

fn many_entries_take_little_memory() {
    let site = Site::new("FROM busybox AS unpacked\nADD entries.tar /\nFROM busybox\nCOPY --from=unpacked /f /\n");
    let entry = tar::write(&[file("f", "")]).unwrap()[..512].to_vec();
    let mut archive = entry.repeat(150_000);
    archive.extend([0; 1024]);
    fs::write(site.path("ctx/entries.tar"), archive).unwrap();
    // The archive alone has more bytes than that.
    let mut command = site.with_own_environment(Command::new("sh"));
    command.args(["-c", "ulimit -d 70000; exec \"$@\"", "sh", SLIPWAY, "build", "--progress=plain"]);
    run(command.args(["--output=type=cacheonly", &busybox_flag(), "."])).success();
}

/// CVE-2026-41567 and siblings: programs of the host or the image that are run to unpack something.
fn archives_are_unpacked_without_programs() {
    let site = Site::new("FROM scratch\nADD a.tar.gz a.tar.bz2 a.tar.xz a.tar.zst /\n");
    for suffix in ["gz", "bz2", "xz", "zst"] {
        fs::write(site.path(suffix), suffix).unwrap();
        let archive = site.path(&format!("ctx/a.tar.{suffix}"));
        run(Command::new("tar").arg("-caf").arg(archive).arg(suffix).current_dir(site.path(""))).success();
    }
    run(site.build_command(&["-o", "../out", "."]).env("PATH", "/nonexistent")).success();
    let is_there = |suffix: &&str| Path::exists(&site.path("out").join(suffix));
    assert_eq!(["gz", "bz2", "xz", "zst"].iter().filter(|suffix| is_there(suffix)).count(), 4);
}
