//! Packages of Maven in archives of Java: what `META-INF/maven/…/pom.properties` says, and archives inside of archives
//! (the ZIP file format, APPNOTE.TXT sections 4.3 and 4.4).

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use crate::input::{PartInput, le16, le32};
use crate::{Ecosystem, Input, Package, SliceInput};

const END_MAGIC: u32 = 0x0605_4b50;
const ENTRY_MAGIC: u32 = 0x0201_4b50;
const LOCAL_MAGIC: u32 = 0x0403_4b50;
const END_BYTES: usize = 22;
const MAX_COMMENT_BYTES: usize = 1 << 16;
const MAX_LIST_BYTES: usize = 64 << 20;
const MAX_PROPERTIES_BYTES: u64 = 1 << 20;
const MAX_INNER_BYTES: u64 = 64 << 20;
/// Archives in archives in archives: as deep as those of application servers are.
const MAX_DEPTH: usize = 3;

struct Entry {
    name: String,
    is_deflated: bool,
    stored_bytes: u64,
    header_at: u64,
}

pub(crate) fn packages(path: &str, input: &dyn Input) -> Vec<Package> {
    let mut packages = Vec::new();
    read(path, input, 0, &mut packages);
    packages
}

fn read(path: &str, input: &dyn Input, depth: usize, packages: &mut Vec<Package>) {
    let before = packages.len();
    for entry in entries(input).unwrap_or_default() {
        if entry.name.starts_with("META-INF/maven/") && entry.name.ends_with("/pom.properties") {
            let text = contents(input, &entry, MAX_PROPERTIES_BYTES);
            packages.extend(text.and_then(|text| of_properties(&String::from_utf8_lossy(&text))));
        } else if entry.name.ends_with(".jar") && depth + 1 < MAX_DEPTH {
            read_inner(input, &entry, depth + 1, packages);
        }
    }
    // Nothing inside says what it is, but archives of repositories are called after it.
    if packages.len() == before {
        packages.extend(of_name(path));
    }
}

fn read_inner(input: &dyn Input, entry: &Entry, depth: usize, packages: &mut Vec<Package>) {
    if entry.is_deflated {
        if let Some(bytes) = contents(input, entry, MAX_INNER_BYTES) {
            read(&entry.name, &SliceInput(&bytes), depth, packages);
        }
    } else if let Some(offset) = data_at(input, entry) {
        let part = PartInput { whole: input, offset, size_bytes: entry.stored_bytes };
        read(&entry.name, &part, depth, packages);
    }
}

fn entries(input: &dyn Input) -> Option<Vec<Entry>> {
    let size = input.size_bytes();
    let tail_bytes = size.min((END_BYTES + MAX_COMMENT_BYTES) as u64);
    let tail = input.exact(size - tail_bytes, usize::try_from(tail_bytes).ok()?)?;
    let end = (0..=tail.len().checked_sub(END_BYTES)?).rev().find(|at| le32(&tail, *at) == Some(END_MAGIC))?;
    let (list_bytes, list_at) = (le32(&tail, end + 12)? as usize, u64::from(le32(&tail, end + 16)?));
    let list = input.exact(list_at, Some(list_bytes).filter(|bytes| *bytes <= MAX_LIST_BYTES)?)?;
    let (mut entries, mut at) = (Vec::new(), 0);
    while le32(&list, at) == Some(ENTRY_MAGIC) {
        let lengths = [28, 30, 32].map(|field| le16(&list, at + field).map(usize::from));
        let [Some(name), Some(extra), Some(comment)] = lengths else { break };
        let Some(text) = list.get(at + 46..at + 46 + name) else { break };
        entries.push(Entry {
            name: String::from_utf8_lossy(text).into_owned(),
            is_deflated: le16(&list, at + 10)? == 8,
            stored_bytes: u64::from(le32(&list, at + 20)?),
            header_at: u64::from(le32(&list, at + 42)?),
        });
        at += 46 + name + extra + comment;
    }
    Some(entries)
}

/// Where the bytes of an entry begin: behind a header of its own.
fn data_at(input: &dyn Input, entry: &Entry) -> Option<u64> {
    let header = input.exact(entry.header_at, 30)?;
    if le32(&header, 0)? != LOCAL_MAGIC {
        return None;
    }
    Some(entry.header_at + 30 + u64::from(le16(&header, 26)?) + u64::from(le16(&header, 28)?))
}

/// The bytes of an entry, unless they are more than `limit`.
fn contents(input: &dyn Input, entry: &Entry, limit: u64) -> Option<Vec<u8>> {
    if entry.stored_bytes > limit {
        return None;
    }
    let stored = input.exact(data_at(input, entry)?, usize::try_from(entry.stored_bytes).ok()?)?;
    if !entry.is_deflated {
        return Some(stored);
    }
    let mut bytes = Vec::new();
    DeflateDecoder::new(&stored[..]).take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

fn of_properties(text: &str) -> Option<Package> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
        line.map(str::trim).filter(|value| !value.is_empty())
    };
    let name = format!("{}/{}", value("groupId")?, value("artifactId")?);
    Some(Package::new(Ecosystem::Maven, &name, value("version")?))
}

/// `name-1.0.jar`
fn of_name(path: &str) -> Option<Package> {
    let name = path.rsplit('/').next()?.strip_suffix(".jar")?;
    let at = name
        .match_indices('-')
        .map(|(at, _)| at)
        .find(|at| name[at + 1..].starts_with(|first: char| first.is_ascii_digit()))?;
    Some(Package::new(Ecosystem::Maven, &name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn zip(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut bytes, mut list) = (Vec::new(), Vec::new());
        for (name, data, is_deflated) in files {
            let mut stored = data.to_vec();
            if *is_deflated {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(data).unwrap();
                stored = encoder.finish().unwrap();
            }
            let (at, method) = (u32::try_from(bytes.len()).unwrap(), if *is_deflated { 8_u16 } else { 0 });
            let (length, name_length) = (u32::try_from(stored.len()).unwrap(), u16::try_from(name.len()).unwrap());
            let mut header = [0; 30];
            header[..4].copy_from_slice(&LOCAL_MAGIC.to_le_bytes());
            header[26..28].copy_from_slice(&name_length.to_le_bytes());
            bytes.extend([&header[..], name.as_bytes(), &stored].concat());
            let mut entry = [0; 46];
            entry[..4].copy_from_slice(&ENTRY_MAGIC.to_le_bytes());
            entry[10..12].copy_from_slice(&method.to_le_bytes());
            entry[20..24].copy_from_slice(&length.to_le_bytes());
            entry[28..30].copy_from_slice(&name_length.to_le_bytes());
            entry[42..46].copy_from_slice(&at.to_le_bytes());
            list.extend([&entry[..], name.as_bytes()].concat());
        }
        let mut end = vec![0; END_BYTES];
        end[..4].copy_from_slice(&END_MAGIC.to_le_bytes());
        end[12..16].copy_from_slice(&u32::try_from(list.len()).unwrap().to_le_bytes());
        end[16..20].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        [bytes, list, end].concat()
    }

    fn names(path: &str, bytes: &[u8]) -> Vec<String> {
        packages(path, &SliceInput(bytes)).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect()
    }

    const PROPERTIES: &[u8] = b"#made\nversion=1.2\ngroupId=org.x\nartifactId=lib\n";

    #[test]
    fn archives_inside_of_archives_are_read() {
        let lib = zip(&[("META-INF/maven/org.x/lib/pom.properties", PROPERTIES, true)]);
        let plain = zip(&[("a.class", b"", false)]);
        let app = zip(&[
            ("BOOT-INF/lib/lib.jar", &lib, false),
            ("BOOT-INF/lib/deep.jar", &lib, true),
            ("p/q-2.0.jar", &plain, false),
        ]);
        assert_eq!(names("app.jar", &lib), ["org.x/lib 1.2"]);
        assert_eq!(names("app.jar", &app), ["org.x/lib 1.2", "org.x/lib 1.2", "q 2.0"]);
        assert_eq!(names("lib/name-with-1.0.jar", &plain), ["name-with 1.0"]);
    }

    #[test]
    fn damage_is_no_panic() {
        let whole = zip(&[("META-INF/maven/a/b/pom.properties", PROPERTIES, true), ("x.jar", b"PK", false)]);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            names("x.jar", &damaged);
            names("x.jar", &whole[..at]);
        }
    }
}
