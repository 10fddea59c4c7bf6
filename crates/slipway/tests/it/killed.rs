//! `kill -9` at the worst moments: nothing half-made is seen, and the next build is right.

use std::fs;
use std::path::Path;

use crate::outputs::without_tag;
use crate::process::{Running, wait_until};
use crate::site::{Site, files_below, summary_of};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("in_the_middle_of_a_run", in_the_middle_of_a_run),
    test("in_the_middle_of_a_copy", in_the_middle_of_a_copy),
    test("in_the_middle_of_an_export", in_the_middle_of_an_export),
    test("in_the_middle_of_a_folder_export", in_the_middle_of_a_folder_export),
];

/// After the build was killed: builds again, and compares with what a fresh store gives.
fn comes_back(site: &Site, arguments: &[&str]) {
    site.assert_tidy();
    let after = site.summary(arguments);
    assert_eq!(site.active(), Vec::<std::path::PathBuf>::new());
    site.assert_tidy();
    site.renew_store();
    assert_eq!(after, site.summary(arguments));
}

fn in_the_middle_of_a_run() {
    // The first run stops half-way; later ones find `go` in the context and go on.
    let site = Site::new(
        "FROM busybox
         COPY a* /in/
         RUN --mount=type=bind,target=/ctx if [ ! -e /ctx/go ]; then \
             echo half > /file; rm -r /in; (setsid sleep <marker> &); echo started; sleep <marker>; fi; echo whole > /file
        ",
    );
    site.write("a1", "one\n");
    let output = format!("--output=type=oci,dest={}", site.name("image.tar"));
    let mut build = site.start(&[&output]);
    build.wait_for("started\n");
    build.kill();
    assert!(!site.path("image.tar").exists());
    site.assert_tidy();
    site.write("go", "");
    comes_back(&site, &[]);
}

fn in_the_middle_of_a_copy() {
    let site = Site::new("FROM busybox\nCOPY many /many\nRUN ls /many | wc -l > /count\n");
    for number in 0..6_000 {
        site.write(&format!("many/{number:04}"), &format!("file {number}\n"));
    }
    let build = site.start(&[]);
    wait_until("the copy is under way", || {
        let store = site.path("store/active");
        let n_files = if store.is_dir() { count_files(&store) } else { 0 };
        n_files > 100 || !build.stderr().is_empty() && build.stderr().contains("exporting")
    });
    build.kill();
    comes_back(&site, &[]);
}

/// Files below a folder that changes meanwhile.
fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

/// Enough bytes that cannot be compressed for an export that takes a while.
const LARGE: &str = "FROM busybox\nCOPY large /large\nRUN cat /large /large > /larger\n";

fn large_site() -> Site {
    let site = Site::new(LARGE);
    let mut state = 1_u64;
    let bytes: Vec<u8> = (0..16 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    fs::write(site.path("ctx/large"), bytes).unwrap();
    site
}

fn wait_for_export(mut build: Running) -> Running {
    build.wait_for("exporting to");
    build
}

fn in_the_middle_of_an_export() {
    let site = large_site();
    fs::create_dir(site.path("out")).unwrap();
    let archive = site.path("out/image.tar");
    let output = format!("--output=type=oci,dest={}", archive.display());
    // Everything but the export, so that it is what gets killed.
    site.build(&["--output=type=cacheonly"]).success();
    wait_for_export(site.start(&[&output])).kill();
    site.assert_tidy();
    // It may have been faster than the signal; then it has to be whole.
    if archive.exists() {
        summary_of(&archive);
    }
    comes_back(&site, &[]);
    site.build(&[&output]).success();
    assert_eq!(files_below(&site.path("out")), [archive], "the killed build's file is gone, too");
}

fn in_the_middle_of_a_folder_export() {
    let site = large_site();
    let dest = site.path("layout");
    let output = format!("--output=type=oci,tar=false,dest={}", dest.display());
    site.build(&["--output=type=cacheonly"]).success();
    wait_for_export(site.start(&[&output])).kill();
    // A layout that names an image has all of it.
    if dest.join("index.json").exists() {
        summary_of(&dest);
    }
    site.build(&[&output]).success();
    assert_eq!(without_tag(&summary_of(&dest)), site.summary(&[]));
    comes_back(&site, &[]);
}
