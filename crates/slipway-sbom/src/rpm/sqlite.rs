//! `rpmdb.sqlite`: the blobs of its table `Packages` (<https://www.sqlite.org/fileformat2.html>).
//!
//! A reader of its own: the file is a stranger's, only one column of one table is wanted, and nothing of it is to be run
//! through a database engine. What is in a write-ahead log beside the file is not seen.

use std::collections::HashSet;

use super::{MAX_HEADER_BYTES, MAX_HEADERS, MAX_TOTAL_BYTES};
use crate::Input;

const MAGIC: &[u8] = b"SQLite format 3\0";
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;

struct Database<'a> {
    input: &'a dyn Input,
    page_bytes: usize,
    /// Of a page, without what is reserved at its end.
    usable_bytes: usize,
}

/// The blobs of the table `Packages`.
pub(super) fn blobs(input: &dyn Input) -> Vec<Vec<u8>> {
    blobs_of(input).unwrap_or_default()
}

fn blobs_of(input: &dyn Input) -> Option<Vec<Vec<u8>>> {
    let header = input.exact(0, 100)?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size if size >= 512 && size.is_power_of_two() => usize::from(size),
        _ => return None,
    };
    let usable_bytes = page_bytes.checked_sub(usize::from(header[20])).filter(|usable| *usable >= 480)?;
    let database = Database { input, page_bytes, usable_bytes };
    let root = database.rows(1).into_iter().find_map(|row| {
        let columns = columns(&row)?;
        let text = |index: usize| columns.get(index).map(|value| String::from_utf8_lossy(value).into_owned());
        let is_wanted = text(0)? == "table" && text(1)? == "Packages";
        is_wanted.then(|| big_endian(columns.get(3).copied().unwrap_or_default()))
    })?;
    let blob = |row: Vec<u8>| Some(columns(&row)?.get(1)?.to_vec());
    Some(database.rows(u32::try_from(root).ok()?).into_iter().filter_map(blob).collect())
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Database<'_> {
    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let index = u64::from(number.checked_sub(1)?);
        self.input.exact(index.checked_mul(self.page_bytes as u64)?, self.page_bytes)
    }

    /// The payloads of all rows of the table whose tree has its root at page `root`.
    fn rows(&self, root: u32) -> Vec<Vec<u8>> {
        let (mut rows, mut n_bytes) = (Vec::new(), 0);
        let (mut open, mut seen) = (vec![root], HashSet::new());
        while let Some(number) = open.pop() {
            // A tree has no page twice, a hostile one may.
            if !seen.insert(number) {
                continue;
            }
            let Some(page) = self.page(number) else { continue };
            let start = if number == 1 { 100 } else { 0 };
            match page.get(start) {
                Some(&INTERIOR) => open.extend(children(&page, start)),
                Some(&LEAF) => {
                    for cell in cells(&page, start, 8) {
                        let Some(payload) = self.payload(&page, cell) else { continue };
                        n_bytes += payload.len();
                        if n_bytes > MAX_TOTAL_BYTES || rows.len() >= MAX_HEADERS {
                            return rows;
                        }
                        rows.push(payload);
                    }
                }
                _ => {}
            }
        }
        rows
    }

    /// A cell of a leaf: length, row id, and the payload, of which the end may be in a chain of other pages.
    fn payload(&self, page: &[u8], at: usize) -> Option<Vec<u8>> {
        let (length, at) = varint(page, at)?;
        let (_, at) = varint(page, at)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_HEADER_BYTES)?;
        let most = self.usable_bytes - 35;
        if length <= most {
            return page.get(at..at.checked_add(length)?).map(<[u8]>::to_vec);
        }
        let least = (self.usable_bytes - 12) * 32 / 255 - 23;
        let local = least + (length - least) % (self.usable_bytes - 4);
        let local = if local <= most { local } else { least };
        let mut payload = page.get(at..at.checked_add(local)?)?.to_vec();
        let mut next = u32::try_from(big_endian(page.get(at + local..at + local + 4)?)).ok()?;
        while payload.len() < length {
            let overflow = self.page(next)?;
            next = u32::try_from(big_endian(overflow.get(..4)?)).ok()?;
            let n = (length - payload.len()).min(self.usable_bytes - 4);
            payload.extend_from_slice(overflow.get(4..4 + n)?);
        }
        Some(payload)
    }
}

/// Where the cells of a page are, whose header is at `start` and has `header_bytes`.
fn cells(page: &[u8], start: usize, header_bytes: usize) -> Vec<usize> {
    let n = page.get(start + 3..start + 5).map_or(0, |bytes| big_endian(bytes) as usize);
    let pointers = page.get(start + header_bytes..).unwrap_or_default();
    pointers.chunks_exact(2).take(n).map(|pointer| big_endian(pointer) as usize).collect()
}

/// The pages below an interior page.
fn children(page: &[u8], start: usize) -> Vec<u32> {
    let number = |at: usize| page.get(at..at + 4).and_then(|bytes| u32::try_from(big_endian(bytes)).ok());
    let left = cells(page, start, 12).into_iter().filter_map(number);
    left.chain(number(start + 8)).collect()
}

/// The columns of a record: the length of its header, the kinds of the columns, and their values.
fn columns(record: &[u8]) -> Option<Vec<&[u8]>> {
    let (header_bytes, mut at) = varint(record, 0)?;
    let mut value_at = usize::try_from(header_bytes).ok().filter(|bytes| *bytes <= record.len())?;
    let (end, mut columns) = (value_at, Vec::new());
    while at < end {
        let (kind, next) = varint(record, at)?;
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            kind if kind >= 12 => (kind - 12) / 2,
            _ => return None,
        };
        let value_end = value_at.checked_add(usize::try_from(length).ok()?)?;
        columns.push(record.get(value_at..value_end)?);
        value_at = value_end;
    }
    Some(columns)
}

/// A number of one to nine bytes, and where the next thing begins.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for index in 0..8 {
        let byte = *bytes.get(at.checked_add(index)?)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + index + 1));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(at.checked_add(8)?)?), at + 9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SliceInput;
    use crate::rpm::testing::{bash, header};

    const PAGE: usize = 512;

    fn varint_bytes(number: usize) -> Vec<u8> {
        let mut bytes = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            bytes.insert(0, (rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes
    }

    fn record(values: &[(usize, &[u8])]) -> Vec<u8> {
        let kinds: Vec<u8> = values.iter().flat_map(|(kind, _)| varint_bytes(*kind)).collect();
        let values: Vec<u8> = values.iter().flat_map(|(_, value)| value.to_vec()).collect();
        [varint_bytes(kinds.len() + 1), kinds, values].concat()
    }

    /// A page of `kind` with these cells at its end.
    fn page(kind: u8, start: usize, right: Option<u32>, cells: &[Vec<u8>]) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[start] = kind;
        page[start + 3..start + 5].copy_from_slice(&u16::try_from(cells.len()).unwrap().to_be_bytes());
        let mut pointer = start + 8;
        if let Some(right) = right {
            page[pointer..pointer + 4].copy_from_slice(&right.to_be_bytes());
            pointer += 4;
        }
        let mut end = PAGE;
        for cell in cells {
            end -= cell.len();
            page[end..end + cell.len()].copy_from_slice(cell);
            page[pointer..pointer + 2].copy_from_slice(&u16::try_from(end).unwrap().to_be_bytes());
            pointer += 2;
        }
        page
    }

    fn leaf_cell(payload: &[u8]) -> Vec<u8> {
        [varint_bytes(payload.len()), vec![1], payload.to_vec()].concat()
    }

    /// A database of six pages: the schema, an interior page, two leaves, and a chain of two for the end of a long row.
    fn database() -> Vec<u8> {
        let schema = record(&[(23, b"table"), (29, b"Packages"), (29, b"Packages"), (1, &[2])]);
        let mut first = page(LEAF, 100, None, &[leaf_cell(&schema)]);
        first[..16].copy_from_slice(MAGIC);
        first[16..18].copy_from_slice(&u16::try_from(PAGE).unwrap().to_be_bytes());
        let interior = page(INTERIOR, 0, Some(4), &[[&3_u32.to_be_bytes()[..], &[1]].concat()]);
        let short = bash();
        let short = record(&[(0, b""), (12 + 2 * short.len(), &short)]);
        let long = header(&[(1000, "long"), (1001, "1"), (1014, &"x".repeat(1000))], None);
        let long = record(&[(0, b""), (12 + 2 * long.len(), &long)]);
        let least = (PAGE - 12) * 32 / 255 - 23;
        let local = least + (long.len() - least) % (PAGE - 4);
        let local = if local <= PAGE - 35 { local } else { least };
        let cell = [varint_bytes(long.len()), vec![2], long[..local].to_vec(), 5_u32.to_be_bytes().to_vec()].concat();
        let mut chain = long[local..].chunks(PAGE - 4).zip([6_u32, 0]).map(|(part, next)| {
            let mut page = [&next.to_be_bytes()[..], part].concat();
            page.resize(PAGE, 0);
            page
        });
        let (fifth, sixth) = (chain.next().unwrap(), chain.next().unwrap_or_else(|| vec![0; PAGE]));
        let leaves = [page(LEAF, 0, None, &[leaf_cell(&short)]), page(LEAF, 0, None, &[cell])];
        [first, interior, leaves[0].clone(), leaves[1].clone(), fifth, sixth].concat()
    }

    #[test]
    fn rows_of_all_leaves_are_read() {
        let mut names: Vec<String> =
            crate::rpm::of_sqlite(&SliceInput(&database())).into_iter().map(|package| package.name).collect();
        names.sort();
        assert_eq!(names, ["bash", "long"]);
    }

    #[test]
    fn a_tree_that_leads_back_to_itself_ends() {
        let mut bytes = database();
        let interior_right = PAGE + 8;
        bytes[interior_right..interior_right + 4].copy_from_slice(&2_u32.to_be_bytes());
        assert_eq!(blobs(&SliceInput(&bytes)).len(), 1);
    }

    #[test]
    fn damage_anywhere_is_no_panic() {
        let bytes = database();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            blobs(&SliceInput(&damaged));
        }
        for length in (0..bytes.len()).step_by(37) {
            blobs(&SliceInput(&bytes[..length]));
        }
    }
}
