//! Things in the store that are not what they should be: found, named, set aside and made anew, never used.

use std::fs;
use std::path::PathBuf;

use crate::site::{Site, files_below, run, summary_of};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_blob_that_an_export_reads", a_blob_that_an_export_reads),
    test("a_layer_that_is_gone", a_layer_that_is_gone),
    test("a_database_of_garbage", a_database_of_garbage),
    test("records_of_builds_that_changed", records_of_builds_that_changed),
    test("fsck_finds_and_sets_aside", fsck_finds_and_sets_aside),
    test("files_of_layers_that_changed_are_found_and_made_anew", files_of_layers_that_changed_are_found_and_made_anew),
    test("a_newer_store_is_refused_with_both_versions", a_newer_store_is_refused_with_both_versions),
];

fn site() -> Site {
    let site = Site::new("FROM busybox\nCOPY f /f\nRUN cat /f /f > /g\n");
    site.write("f", "content\n");
    site
}

/// Changes a byte in the middle.
fn damage(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

fn a_blob_that_an_export_reads() {
    let site = site();
    let output = format!("--output=type=oci,dest={}", site.name("image.tar"));
    site.build(&[&output]).success();
    let expected = summary_of(&site.path("image.tar"));
    for blob in files_below(&site.path("store/blobs")) {
        damage(&blob);
        let told = site.build(&[&output]).success().stderr;
        assert_eq!(summary_of(&site.path("image.tar")), expected, "{told}");
        let digest = blob.file_name().unwrap().to_str().unwrap();
        if told.contains("set aside") {
            assert!(told.contains(digest), "{digest} is not named:\n{told}");
        }
        // Some are not read by this build; none of them is used, and all can be found.
        run(site.slipway().args(["fsck", "--repair"])).success();
    }
    site.assert_tidy();
}

fn a_layer_that_is_gone() {
    let site = site();
    let expected = site.summary(&[]);
    for entry in fs::read_dir(site.path("store/layers")).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    // Blobs of compressed layers would do for the same image.
    fs::remove_dir_all(site.path("store/blobs/sha256")).unwrap();
    fs::create_dir(site.path("store/blobs/sha256")).unwrap();
    let told = site.build(&["--output=../out"]).success().stderr;
    assert!(told.contains("is set aside: the folder of layer"), "{told}");
    assert_eq!(fs::read_to_string(site.path("out/g")).unwrap(), "content\ncontent\n");
    assert_eq!(site.summary(&[]), expected);
    site.assert_tidy();
}

fn a_database_of_garbage() {
    let site = site();
    let expected = site.summary(&[]);
    let database = site.path("store/store.db");
    for is_whole in [true, false] {
        run(site.slipway().args(["prune", "--force"])).success();
        let mut bytes = fs::read(&database).unwrap();
        let start = if is_whole { 0 } else { 4096 };
        bytes[start..].fill(0xa5);
        fs::write(&database, bytes).unwrap();
        let told = site.build(&[]).success().stderr;
        assert!(told.contains("set aside"), "{told}");
        assert_eq!(site.summary(&[]), expected);
        site.assert_tidy();
    }
}

fn records_of_builds_that_changed() {
    let site = site();
    let expected = site.summary(&[]);
    let records = files_below(&site.path("store/builds"));
    let record = records.iter().find(|path| path.extension().is_some_and(|kind| kind == "record")).unwrap();
    damage(record);
    let outcome = site.build(&[]).success();
    assert_eq!(outcome.steps().ran, Vec::<String>::new());
    let id = record.file_stem().unwrap().to_str().unwrap();
    let listed = run(site.slipway().args(["builds", "ls"])).success();
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(id), "it is not believed");
    let found = run(site.slipway().arg("fsck"));
    assert_eq!(found.exit_code, Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains(id), "it is named");
    run(site.slipway().args(["fsck", "--repair"])).success();
    assert!(files_below(&site.path("store/quarantine")).iter().any(|path| path.file_name() == record.file_name()));
    assert_eq!(site.summary(&[]), expected);
    site.assert_tidy();
}

fn fsck_finds_and_sets_aside() {
    let site = site();
    let expected = site.summary(&[]);
    let fsck = |words: &[&str]| {
        let outcome = run(site.slipway().arg("fsck").args(words));
        (outcome.exit_code, String::from_utf8(outcome.stdout).unwrap())
    };
    assert_eq!(fsck(&[]), (Some(0), "the store is sound\n".to_owned()));
    let blobs = files_below(&site.path("store/blobs"));
    damage(&blobs[0]);
    let digest = blobs[0].file_name().unwrap().to_str().unwrap();
    assert_eq!(fsck(&["--quick"]).0, Some(0), "it has the same length");
    let (code, found) = fsck(&[]);
    assert!(code == Some(1) && found.contains(digest) && found.contains("1 found"), "{found}");
    assert_eq!(fsck(&["--repair"]).0, Some(0));
    assert!(site.path("store/quarantine").join(digest).exists());
    assert_eq!(fsck(&[]).0, Some(0));
    assert_eq!(site.summary(&[]), expected);
}

fn files_of_layers_that_changed_are_found_and_made_anew() {
    let site = site();
    let expected = site.summary(&[]);
    let fsck = |words: &[&str]| {
        let outcome = run(site.slipway().arg("fsck").args(words));
        (outcome.exit_code, String::from_utf8(outcome.stdout).unwrap())
    };
    // Of the base, whose tar another tool may have written; of a COPY and of a RUN, whose tars are slipway's own.
    for (file, is_of_base) in [("etc/passwd", true), ("f", false), ("g", false)] {
        site.renew_store();
        site.summary(&[]);
        assert_eq!(fsck(&[]), (Some(0), "the store is sound\n".to_owned()));
        let layers = fs::read_dir(site.path("store/layers")).unwrap().map(|entry| entry.unwrap().path());
        let layer = layers.into_iter().find(|layer| layer.join(file).is_file()).unwrap();
        let id = layer.file_name().unwrap().to_str().unwrap().to_owned();
        fs::set_permissions(layer.join(file), std::os::unix::fs::PermissionsExt::from_mode(0o4777)).unwrap();
        assert_eq!(fsck(&["--quick"]).0, Some(0), "names are as they were");
        let (code, found) = fsck(&[]);
        assert_eq!(code, Some(1), "{found}");
        assert!(found.contains(&format!("the files of layer `{id}` are not what they were")), "{found}");
        assert_eq!(fsck(&["--repair"]).0, Some(0));
        assert!(site.path("store/quarantine").join(&id).is_dir());
        assert_eq!(fsck(&[]).0, Some(0));
        let steps = site.build(&[]).success().steps();
        assert!(is_of_base || !steps.ran.is_empty(), "{file}: {steps:?}");
        assert_eq!(site.summary(&[]), expected);
    }
    site.assert_tidy();
}

fn a_newer_store_is_refused_with_both_versions() {
    let site = site();
    site.build(&[]).success();
    run(site.slipway().args(["prune", "--force"])).success();
    // SQLite's `user_version` is a big-endian number at offset 60 of the file.
    let database = site.path("store/store.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&77_u32.to_be_bytes());
    fs::write(&database, bytes).unwrap();
    let told = site.build(&[]).failure();
    assert!(told.contains("format 77") && told.contains("this one reads format"), "{told}");
}
