//! Where in a sparse file do the bytes of its archive entry belong?
//!
//! GNU tar knows four ways to say it (GNU tar manual, "Storing Sparse Files"): in the header itself ("old GNU"), in
//! extended records ("0.0", "0.1"), and in front of the data ("1.0"). All become the same list of [`Part`]s. A map is
//! believed only if it is sorted, stays inside the file and accounts for every stored byte.

use std::collections::{BTreeMap, VecDeque};

const OFFSET_KEY: &[u8] = b"GNU.sparse.offset";
const N_BYTES_KEY: &[u8] = b"GNU.sparse.numbytes";
const MAP_KEY: &[u8] = b"GNU.sparse.map";

/// A stretch of zeros that the archive does not hold, and the stored bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) hole: u64,
    pub(super) data: u64,
}

/// Where one run of stored bytes belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// How the extended records of an entry describe a sparse file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Described {
    No,
    /// Versions 0.0 and 0.1: the map is in the records.
    InRecords(Vec<Segment>),
    /// Version 1.0: the map comes before the data.
    InData,
}

/// The parts of a file of `size` bytes of which `n_stored` are in the archive; `None` if the map is no good.
pub(super) fn parts(segments: &[Segment], size: u64, n_stored: u64) -> Option<VecDeque<Part>> {
    let mut parts = VecDeque::with_capacity(segments.len() + 1);
    let (mut end, mut n_mapped) = (0_u64, 0_u64);
    for segment in segments {
        let hole = segment.offset.checked_sub(end)?;
        end = segment.offset.checked_add(segment.length)?;
        // Cannot overflow: the segments do not overlap.
        n_mapped += segment.length;
        parts.push_back(Part { hole, data: segment.length });
    }
    parts.push_back(Part { hole: size.checked_sub(end)?, data: 0 });
    (n_mapped == n_stored).then_some(parts)
}

/// Reads the records of an entry; `None` if they contradict themselves or tell of a version that is not known.
pub(super) fn described(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Described> {
    let record = |key: &[u8]| records.get(key).map(Vec::as_slice);
    match (record(b"GNU.sparse.major"), record(b"GNU.sparse.minor")) {
        (Some(b"1"), Some(b"0")) => Some(Described::InData),
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => match record(MAP_KEY) {
            Some(map) => segments(map.split(|b| matches!(*b, b',' | b'\n'))).map(Described::InRecords),
            None if records.keys().any(|key| key.starts_with(b"GNU.sparse.")) => None,
            None => Some(Described::No),
        },
        _ => None,
    }
}

/// Version 0.0 repeats a pair of keys for every segment, so that a map of records would keep only the last: makes the
/// list of version 0.1 of them. `Some(false)` for keys that are something else, `None` if the two do not take turns.
pub(super) fn collect_repeated(key: &[u8], value: &[u8], records: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Option<bool> {
    if key != OFFSET_KEY && key != N_BYTES_KEY {
        return Some(false);
    }
    let map = records.entry(MAP_KEY.to_vec()).or_default();
    let (turn, separator) =
        if map.is_empty() || map.ends_with(b"\n") { (OFFSET_KEY, b',') } else { (N_BYTES_KEY, b'\n') };
    if key != turn {
        return None;
    }
    map.extend_from_slice(value);
    map.push(separator);
    Some(true)
}

/// Pairs of decimal numbers.
pub(super) fn segments<'a>(numbers: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Segment>> {
    let numbers: Option<Vec<u64>> = numbers.filter(|n| !n.is_empty()).map(super::tar_reader::decimal).collect();
    let (pairs, rest) = numbers.as_deref()?.as_chunks::<2>();
    let segment = |[offset, length]: &[u64; 2]| Segment { offset: *offset, length: *length };
    rest.is_empty().then(|| pairs.iter().map(segment).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, length: u64) -> Segment {
        Segment { offset, length }
    }

    #[test]
    fn a_map_becomes_holes_and_data() {
        let parts = parts(&[segment(0, 2), segment(10, 3), segment(20, 0)], 20, 5).unwrap();
        let parts: Vec<(u64, u64)> = parts.iter().map(|p| (p.hole, p.data)).collect();
        assert_eq!(parts, [(0, 2), (8, 3), (7, 0), (0, 0)]);
    }

    #[test]
    fn maps_that_lie_are_refused() {
        for (map, size, n_stored) in [
            (&[segment(5, 2), segment(0, 2)][..], 20, 4),
            (&[segment(0, 5), segment(4, 2)], 20, 7),
            (&[segment(0, 5)], 4, 5),
            (&[segment(0, 5)], 10, 6),
            (&[segment(u64::MAX, 2)], u64::MAX, 2),
        ] {
            assert_eq!(parts(map, size, n_stored), None, "{map:?}");
        }
    }

    #[test]
    fn repeated_keys_take_turns() {
        let mut records = BTreeMap::new();
        for (key, value, answer) in [
            (OFFSET_KEY, "0", Some(true)),
            (N_BYTES_KEY, "5", Some(true)),
            (b"path", "x", Some(false)),
            (OFFSET_KEY, "9", Some(true)),
            (OFFSET_KEY, "9", None),
            (N_BYTES_KEY, "1", Some(true)),
        ] {
            assert_eq!(collect_repeated(key, value.as_bytes(), &mut records), answer, "{value}");
        }
        assert_eq!(described(&records), Some(Described::InRecords(vec![segment(0, 5), segment(9, 1)])));
    }

    #[test]
    fn unknown_versions_are_refused() {
        let records = |pairs: &[(&str, &str)]| {
            described(&pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect())
        };
        assert_eq!(records(&[("path", "x")]), Some(Described::No));
        assert_eq!(records(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]), Some(Described::InData));
        assert_eq!(records(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")]), None);
        assert_eq!(records(&[("GNU.sparse.size", "5")]), None);
    }

    #[test]
    fn numbers_come_in_pairs() {
        assert_eq!(segments(b"1,2,30,4".split(|b| *b == b',')), Some(vec![segment(1, 2), segment(30, 4)]));
        assert_eq!(segments(b"1,2,3".split(|b| *b == b',')), None);
        assert_eq!(segments(b"1,-2".split(|b| *b == b',')), None);
    }
}
