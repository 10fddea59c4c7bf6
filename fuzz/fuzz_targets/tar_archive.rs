//! Any bytes are an archive: reading ends, and unpacking changes nothing outside of its folder.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use slipway_engine::fuzzing::{read_archive, unpack_archive, unpack_layer};

fuzz_target!(|bytes: &[u8]| {
    read_archive(bytes);
    // In memory where there is such a folder: some thousand trees a second are made and removed.
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let cage = tempfile::tempdir_in(place).expect("because the folder can be written");
    let (inside, canary) = (cage.path().join("inside"), cage.path().join("canary"));
    fs::create_dir(&canary).expect("because the folder is new");
    fs::write(canary.join("file"), "unchanged").expect("because the folder is new");
    for unpack in [unpack_archive, unpack_layer] {
        fs::create_dir(&inside).expect("because the folder is new");
        unpack(bytes, &inside);
        fs::remove_dir_all(&inside).expect("because everything in it is ours");
    }
    let names: Vec<_> = fs::read_dir(cage.path()).expect("because it is there").flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let names: Vec<_> = fs::read_dir(&canary).expect("because it is there").flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(fs::read(canary.join("file")).expect("because it is there"), b"unchanged");
});
