//! The modules in a program that was written in Go: what `go version -m` shows (`debug/buildinfo`).

use crate::input::{le16, le32};
use crate::{Ecosystem, Input, Package};

const MAGIC: &[u8] = b"\xff Go buildinf:";
const SECTION: &[u8] = b".go.buildinfo\0";
/// The list of modules stands between two marks of this length.
const MARK_BYTES: usize = 16;
const HEADER_BYTES: usize = 32;
const MAX_INFO_BYTES: usize = 4 << 20;
const MAX_SECTIONS: usize = 1 << 12;

pub(crate) fn packages(input: &dyn Input) -> Vec<Package> {
    modules(input).map(|text| of_modules(&text)).unwrap_or_default()
}

/// The text with the modules, of a program that Go 1.18 or later made: it lies behind the version of Go, each with its
/// length before it.
fn modules(input: &dyn Input) -> Option<String> {
    let (offset, size) = section(input)?;
    let info = input.read_at(offset, size.min(MAX_INFO_BYTES)).ok()?;
    let is_inline = info.starts_with(MAGIC) && info.get(15).is_some_and(|flags| flags & 2 != 0);
    let rest = info.get(HEADER_BYTES..).filter(|_| is_inline)?;
    let (_version, rest) = string(rest)?;
    let (modules, _) = string(rest)?;
    let text = modules.get(MARK_BYTES..modules.len().checked_sub(MARK_BYTES)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift, mut at) = (0_usize, 0, 0);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let rest = bytes.get(at..)?;
    rest.split_at_checked(length)
}

/// Where the section with the list is in a 64-bit ELF file with the low byte first.
fn section(input: &dyn Input) -> Option<(u64, usize)> {
    let header = input.exact(0, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = le64(&header, 0x28)?;
    let (entry_bytes, n) = (usize::from(le16(&header, 0x3a)?), usize::from(le16(&header, 0x3c)?));
    let names = usize::from(le16(&header, 0x3e)?);
    if entry_bytes != 64 || n > MAX_SECTIONS || names >= n {
        return None;
    }
    let sections = input.exact(table, n * entry_bytes)?;
    let entry = |index: usize| &sections[index * entry_bytes..(index + 1) * entry_bytes];
    let names_at = le64(entry(names), 0x18)?;
    (0..n).find_map(|index| {
        let entry = entry(index);
        let name = input.read_at(names_at.checked_add(u64::from(le32(entry, 0)?))?, SECTION.len()).ok()?;
        (name == SECTION).then_some((le64(entry, 0x18)?, usize::try_from(le64(entry, 0x20)?).ok()?))
    })
}

fn le64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

/// `mod` is the program itself, `dep` a module, and `=>` what stands in for the module before it.
fn of_modules(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('\t');
        let (kind, Some(path), Some(version)) = (words.next(), words.next(), words.next()) else { continue };
        match kind {
            Some("=>") => {
                packages.pop();
            }
            Some("dep") => {}
            Some("mod") if version != "(devel)" => {}
            _ => continue,
        }
        packages.push(Package::new(Ecosystem::Go, path, version));
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SliceInput;

    /// An ELF file of three sections: none, names, and the list.
    fn program(modules: &str) -> Vec<u8> {
        let mark = [b'm'; MARK_BYTES];
        let text = [&mark[..], modules.as_bytes(), &mark].concat();
        let mut info = [MAGIC, &[8, 2]].concat();
        info.resize(HEADER_BYTES, 0);
        info.extend([3, b'g', b'o', b'1', (text.len() & 0x7f) as u8 | 0x80, (text.len() >> 7) as u8]);
        info.extend(&text);
        let names = [&b"\0"[..], SECTION].concat();
        let (names_at, info_at) = (64_u64, 64 + names.len() as u64);
        let table = info_at + info.len() as u64;
        let mut header = b"\x7fELF\x02\x01".to_vec();
        header.resize(64, 0);
        header[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        for (at, number) in [(0x3a, 64_u16), (0x3c, 3), (0x3e, 1)] {
            header[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        let entry = |name: u32, offset: u64, size: u64| {
            let mut entry = name.to_le_bytes().to_vec();
            entry.resize(0x18, 0);
            entry.extend(offset.to_le_bytes());
            entry.extend(size.to_le_bytes());
            entry.resize(64, 0);
            entry
        };
        let sections = [entry(0, 0, 0), entry(0, names_at, names.len() as u64), entry(1, info_at, info.len() as u64)];
        [header, names, info, sections.concat()].concat()
    }

    #[test]
    fn modules_of_a_program_are_listed() {
        let text = "path\tx/cmd\nmod\tx\t(devel)\t\ndep\ta/b\tv1.0.0\th1:=\ndep\tc\tv1.0.0\n=>\td\tv2.0.0\th1:=\nbuild\t-o=x\n\
                    dep\tlong/name/to/need/two/bytes/of/length/and/some/more/of/it\tv0.0.1\n";
        let found = packages(&SliceInput(&program(text)));
        let names: Vec<String> = found.into_iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(names[..2], ["a/b v1.0.0", "d v2.0.0"]);
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn other_programs_have_none() {
        let whole = program(&"dep\ta\tv1\n".repeat(20));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            packages(&SliceInput(&damaged));
        }
        assert!(packages(&SliceInput(b"#!/bin/sh\n")).is_empty());
        assert!(packages(&SliceInput(&whole[..100])).is_empty());
    }
}
