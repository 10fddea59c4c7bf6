//! Packages of Fedora, Red Hat, SUSE and others: databases of headers, in SQLite or ndb today, in Berkeley DB before RPM
//! 4.16.

mod bdb;
mod ndb;
mod sqlite;

use crate::input::be32;
use crate::{Ecosystem, Input, Package};

/// A database holds no more headers than this.
const MAX_HEADERS: usize = 100_000;
/// A header is some kilobytes, a few are megabytes.
const MAX_HEADER_BYTES: usize = 32 << 20;
/// All headers together.
const MAX_TOTAL_BYTES: usize = 512 << 20;

pub(crate) fn of_sqlite(input: &dyn Input) -> Vec<Package> {
    sqlite::blobs(input).iter().filter_map(|header| package(header)).collect()
}

pub(crate) fn of_bdb(input: &dyn Input) -> Vec<Package> {
    let mut packages = Vec::new();
    bdb::each_header(input, |header| packages.extend(package(header)));
    packages
}

pub(crate) fn of_ndb(bytes: &[u8]) -> Vec<Package> {
    ndb::blobs(bytes).into_iter().filter_map(package).collect()
}

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const TYPE_INT32: u32 = 4;

/// A header: how many entries, how many bytes of data, the entries (tag, type, offset, count), the data; all numbers
/// with the high byte first (rpm's `docs/manual/format_header.md`).
fn package(header: &[u8]) -> Option<Package> {
    let (n_entries, n_bytes) = (be32(header, 0)? as usize, be32(header, 4)? as usize);
    let data_at = n_entries.checked_mul(16)?.checked_add(8)?;
    let entries = header.get(8..data_at)?;
    let data = header.get(data_at..data_at.checked_add(n_bytes)?)?;
    let entry = |wanted: u32| entries.chunks_exact(16).find(|entry| be32(entry, 0) == Some(wanted));
    let text = |tag: u32| {
        let at = be32(entry(tag)?, 8)? as usize;
        let rest = data.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let number = |tag: u32| {
        let entry = entry(tag).filter(|entry| be32(entry, 4) == Some(TYPE_INT32))?;
        be32(data, be32(entry, 8)? as usize)
    };
    let epoch = number(EPOCH).map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let mut package = Package::new(
        Ecosystem::Rpm,
        &text(NAME)?,
        &format!("{epoch}{}-{}", text(VERSION)?, text(RELEASE).unwrap_or_default()),
    );
    package.architecture = text(ARCH);
    package.license = text(LICENSE);
    package.source = text(SOURCE_RPM);
    // Keys for signatures are kept as packages.
    (package.name != "gpg-pubkey").then_some(package)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A header with these texts, and an epoch.
    pub(in crate::rpm) fn header(texts: &[(u32, &str)], epoch: Option<u32>) -> Vec<u8> {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        let mut add = |tag: u32, kind: u32, value: &[u8]| {
            for number in [tag, kind, u32::try_from(data.len()).unwrap(), 1] {
                entries.extend(number.to_be_bytes());
            }
            data.extend(value);
        };
        if let Some(epoch) = epoch {
            add(EPOCH, TYPE_INT32, &epoch.to_be_bytes());
        }
        for (tag, text) in texts {
            add(*tag, 6, format!("{text}\0").as_bytes());
        }
        let n_entries = u32::try_from(entries.len() / 16).unwrap();
        [&n_entries.to_be_bytes()[..], &u32::try_from(data.len()).unwrap().to_be_bytes(), &entries, &data].concat()
    }

    pub(in crate::rpm) fn bash() -> Vec<u8> {
        header(&[(NAME, "bash"), (VERSION, "5.2"), (RELEASE, "1.fc40"), (ARCH, "x86_64"), (LICENSE, "GPLv3+")], Some(3))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{bash, header};
    use super::*;

    #[test]
    fn a_header_is_a_package() {
        let found = package(&bash()).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("bash", "3:5.2-1.fc40"));
        assert_eq!((found.architecture.as_deref(), found.license.as_deref()), (Some("x86_64"), Some("GPLv3+")));
        assert_eq!(package(&header(&[(NAME, "gpg-pubkey"), (VERSION, "1")], None)), None);
        assert_eq!(package(&bash()[..40]), None);
        assert_eq!(package(&[0xff; 64]), None);
    }
}
