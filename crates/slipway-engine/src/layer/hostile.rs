//! Archives that somebody made to do harm, or that are broken: nothing outside of the folder that is unpacked into may
//! change, and what is no archive is an error.

use std::collections::BTreeMap;
use std::io::Write;

use slipway_test::hostile_tar::Verdict::{self, BadTar, CannotWrite, Escapes, Inside};
use slipway_test::hostile_tar::corpus;

use super::testing::{Cage, Raw, archive, require_root, unpack};
use super::untar::{Meaning, UntarError};

const LAYER: Meaning = Meaning::Layer { is_user_namespace: false };
const ARCHIVE: Meaning = Meaning::Archive { owner: None };

fn outcome(result: Result<(), UntarError>) -> Verdict {
    match result {
        Ok(()) => Inside,
        Err(UntarError::Escapes { .. }) => Escapes,
        Err(UntarError::Tar(_) | UntarError::TooMany(_) | UntarError::Data { .. }) => BadTar,
        Err(UntarError::Write { .. } | UntarError::Unmapped { .. }) => CannotWrite,
    }
}

#[test]
fn nothing_outside_changes() {
    require_root();
    let names = corpus("x");
    for (index, (name, expected, _)) in names.iter().enumerate() {
        let cage = Cage::new();
        let before = cage.outside();
        let (_, _, entries) = corpus(cage.canary().to_str().unwrap()).remove(index);
        let result = unpack(&archive(entries), &cage.target(), LAYER);
        assert_eq!(cage.outside(), before, "{name}");
        let what = format!("{name}: {result:?}");
        assert_eq!(outcome(result), *expected, "{what}");
    }
    assert!(names.len() >= 80);
}

/// The same with the meaning that `ADD` gives to archives, into a folder beside which there are other files of the
/// image.
#[test]
fn nothing_outside_changes_by_add() {
    require_root();
    for index in 0..corpus("x").len() {
        let cage = Cage::new();
        let folder = cage.target().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let before = cage.outside();
        let (name, expected, entries) = corpus(cage.canary().to_str().unwrap()).remove(index);
        let result = unpack(&archive(entries), &folder, ARCHIVE);
        assert_eq!(cage.outside(), before, "{name}");
        assert_eq!(std::fs::read_dir(cage.target()).unwrap().count(), 1, "{name} left its folder");
        // Here, a whiteout is a file.
        let is_about_whiteouts = name.starts_with("whiteout of") || name == "file below a whiteout";
        assert_eq!(outcome(result), if is_about_whiteouts { Inside } else { expected }, "{name}");
    }
}

#[test]
fn marks_of_the_overlay_are_not_taken_from_archives() {
    require_root();
    let cage = Cage::new();
    let marks = [("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]), ("SCHILY.xattr.user.overlay.opaque", b"y")];
    unpack(&archive(vec![Raw::records(&marks), Raw::new(b'5', b"d")]), &cage.target(), LAYER).unwrap();
    let folder = super::testing::open(&cage.target().join("d"));
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        let mut value = [0; 8];
        assert!(rustix::fs::fgetxattr(&folder, name, &mut value[..]).is_err(), "{name:?}");
    }
}

/// Sizes in the extended header and in the header itself that differ: the extended one counts, so that what is data to
/// one reader cannot be an entry to another.
#[test]
fn no_entry_can_hide_in_data() {
    let inner = archive(vec![Raw::file(b"smuggled", b"")]);
    let pax_says = |size: &str| Raw::records(&[("size", size.as_bytes())]);
    let names = |entries: Vec<Raw>| -> Vec<String> {
        let listing = super::testing::listing(&archive(entries));
        listing.iter().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
    };
    let data = &inner[..512];
    let hidden = |flag: u8, path: &[u8]| Raw::new(flag, path).data(data);
    assert_eq!(names(vec![hidden(b'0', b"f")]), ["f"]);
    assert_eq!(names(vec![pax_says("512"), hidden(b'0', b"f").field(124, b"00000000000\0")]), ["f"]);
    assert_eq!(names(vec![pax_says("0"), hidden(b'0', b"f")]), ["f", "smuggled"]);
    // A file's name may end with a slash and still have data.
    assert_eq!(names(vec![hidden(b'0', b"f/")]), ["f/"]);
    // The size of an extended header is its own, whatever the one before it says about the entry to come.
    let long_name = || Raw::new(b'L', b"@").data(b"long\0");
    assert_eq!(names(vec![pax_says("512"), long_name(), hidden(b'0', b"f")]), ["long"]);
    // Types without data have none.
    for flag in [b'1', b'2', b'5', b'6'] {
        assert_eq!(names(vec![hidden(flag, b"n")]), ["n", "smuggled"]);
    }
}

#[test]
fn an_archive_cut_anywhere_is_an_error_or_shorter() {
    require_root();
    let whole = archive(vec![
        Raw::records(&[("path", b"a/long")]),
        Raw::file(b"f", &[7; 1500]),
        Raw::new(b'L', b"@").data(b"other\0"),
        Raw::file(b"f", b"x"),
        Raw::new(b'5', b"d"),
    ]);
    let mut by_outcome: BTreeMap<String, usize> = BTreeMap::new();
    for length in (0..whole.len()).step_by(128) {
        let cage = Cage::new();
        let before = cage.outside();
        let result = outcome(unpack(&whole[..length], &cage.target(), LAYER));
        assert_eq!(cage.outside(), before, "{length}");
        // Between two entries, the end of the bytes is the end of the archive: streams are cut by their transport,
        // which has a digest.
        let is_between_entries = [0, 3072, 5120, 5632].contains(&length) || length == whole.len() - 512;
        assert_eq!(result == Inside, is_between_entries, "{length}");
        *by_outcome.entry(format!("{result:?}")).or_default() += 1;
    }
    assert_eq!(by_outcome.len(), 2, "{by_outcome:?}");
}

#[test]
fn noise_never_panics() {
    require_root();
    // A linear congruential generator (Knuth's MMIX) is random enough to break headers.
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    let good = archive(vec![
        Raw::records(&[("GNU.sparse.map", b"2,2,8,2"), ("GNU.sparse.size", b"20"), ("mtime", b"1.5")]),
        Raw::file(b"f", b"data"),
        Raw::symlink(b"l", b"f"),
        Raw::hard_link(b"h", b"f"),
        Raw::new(b'3', b"c"),
    ]);
    let cage = Cage::new();
    let before = cage.outside();
    for _ in 0..3000 {
        let mut bad = good.clone();
        let block = random() % (bad.len() / 512) * 512;
        for _ in 0..=random() % 4 {
            bad[block + random() % 512] = random().to_le_bytes()[0];
        }
        // The checksum would stop nearly all of it.
        let header: Vec<u8> = bad[block..block + 512].to_vec();
        let sum: u32 =
            header.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        bad[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let _ = unpack(&bad, &cage.target(), LAYER);
    }
    assert_eq!(cage.outside(), before);
}

#[test]
fn damaged_compression_is_an_error() {
    let plain = archive(vec![Raw::file(b"f", &[b'x'; 3000])]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let mut bytes = encoder.finish().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    let cage = Cage::new();
    let reader = super::decompress::Compression::detect(&bytes).reader(&bytes[..]).unwrap();
    let root = super::testing::open(&cage.target());
    assert_eq!(outcome(super::untar::unpack(reader, std::os::fd::AsFd::as_fd(&root), LAYER).map(drop)), BadTar);
}
