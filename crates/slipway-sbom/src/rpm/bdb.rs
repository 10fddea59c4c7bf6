//! `Packages` of RPM before 4.16: a hash of Berkeley DB. The values in it are headers, their keys numbers.
//!
//! All pages that hold pairs are read as they lie; what the hash is good for, finding a key, nobody needs here. The
//! layout is that of Berkeley DB's `dbinc/db_page.h`:
//!
//! ```text
//! page      LSN 8 · number 4 · previous 4 · next 4 · entries 2 · where items begin 2 · level 1 · kind 1 · items' places 2 each
//! first     … · 12 magic · 20 size of a page · 24 encryption · 32 number of the last page
//! item      kind 1 · its bytes up to where the item before it begins (items lie from the end of the page to the front)
//! off page  kind 1 · 3 unused · first page 4 · length 4
//! overflow  a page whose bytes are data, as many as `where items begin` says; the next one is in `next`
//! ```

use std::cell::Cell;

use super::{MAX_HEADER_BYTES, MAX_TOTAL_BYTES};
use crate::Input;
use crate::input::{be32, le32};

const MAGIC: u32 = 0x0006_1561;
const HEAD_BYTES: usize = 26;
/// Pages of pairs: as they come, and sorted by key.
const PAIRS: [u8; 2] = [2, 13];
const OVERFLOW: u8 = 7;
/// Kinds of items.
const IN_PAGE: u8 = 1;
const OFF_PAGE: u8 = 3;

struct Database<'a> {
    input: &'a dyn Input,
    page_bytes: usize,
    /// Numbers are those of the machine that wrote them.
    is_big_endian: bool,
    /// How much may still be read: a hostile file may lead to the same pages again and again.
    left_bytes: Cell<usize>,
}

/// Calls `each` with the headers in the database.
pub(super) fn each_header(input: &dyn Input, mut each: impl FnMut(&[u8])) {
    let Some((database, last_page)) = open(input) else { return };
    for number in 1..=last_page {
        let Some(page) = database.page(number) else { return };
        if !PAIRS.contains(&page[25]) {
            continue;
        }
        for value in database.values(&page) {
            database.bytes_of(value).iter().for_each(|header| each(header));
        }
    }
}

fn open(input: &dyn Input) -> Option<(Database<'_>, u32)> {
    let head = input.exact(0, 72)?;
    let is_big_endian = match (le32(&head, 12)?, be32(&head, 12)?) {
        (MAGIC, _) => false,
        (_, MAGIC) => true,
        _ => return None,
    };
    let mut database = Database { input, page_bytes: 0, is_big_endian, left_bytes: Cell::new(MAX_TOTAL_BYTES) };
    database.page_bytes = database.number(&head, 20)? as usize;
    let is_plain = head[24] == 0;
    let is_size = database.page_bytes.is_power_of_two() && (512..=65536).contains(&database.page_bytes);
    let last_page = database.number(&head, 32)?;
    (is_plain && is_size).then_some((database, last_page))
}

impl Database<'_> {
    fn number(&self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.is_big_endian { be32(bytes, at) } else { le32(bytes, at) }
    }

    fn short(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(if self.is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }))
    }

    /// Counts what is about to be read or copied.
    fn spend(&self, n_bytes: usize) -> Option<()> {
        self.left_bytes.set(self.left_bytes.get().checked_sub(n_bytes)?);
        Some(())
    }

    fn page(&self, number: u32) -> Option<Vec<u8>> {
        self.spend(self.page_bytes)?;
        self.input.exact(u64::from(number).checked_mul(self.page_bytes as u64)?, self.page_bytes)
    }

    /// The second item of each pair.
    fn values<'p>(&self, page: &'p [u8]) -> Vec<&'p [u8]> {
        let places = (0..self.short(page, 20).unwrap_or(0)).map_while(|index| self.short(page, HEAD_BYTES + 2 * index));
        let places: Vec<usize> = places.collect();
        let values = places.chunks_exact(2).filter_map(|pair| page.get(pair[1]..pair[0]));
        values.collect()
    }

    /// What the item is, or where it says that it lies.
    fn bytes_of(&self, item: &[u8]) -> Option<Vec<u8>> {
        self.spend(item.len())?;
        match *item.first()? {
            IN_PAGE => Some(item[1..].to_vec()),
            OFF_PAGE => self.overflow(self.number(item, 4)?, self.number(item, 8)? as usize),
            _ => None,
        }
    }

    /// The bytes in the chain of pages that `first` begins. Each page has one byte at least, so that the length ends it.
    fn overflow(&self, first: u32, length: usize) -> Option<Vec<u8>> {
        if length > MAX_HEADER_BYTES {
            return None;
        }
        let (mut bytes, mut next) = (Vec::new(), first);
        while bytes.len() < length {
            let page = self.page(next)?;
            let n_used = self.short(&page, 22).filter(|n| *n > 0 && page[25] == OVERFLOW)?;
            bytes.extend_from_slice(page.get(HEAD_BYTES..HEAD_BYTES + n_used)?);
            next = self.number(&page, 16)?;
        }
        (bytes.len() == length).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SliceInput;

    /// Two headers that rpmbuild and rpm 4.18 made, and a short one; written into a hash with pages of 512 bytes by
    /// Berkeley DB 5.3. The shortest lies in a page, the longest in ten of its own.
    const PACKAGES: &[u8] = include_bytes!("testdata/Packages");

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut names: Vec<String> =
            crate::rpm::of_bdb(&SliceInput(bytes)).into_iter().map(|package| package.name).collect();
        names.sort();
        names
    }

    #[test]
    fn headers_in_pages_and_off_pages_are_read() {
        let mut packages = crate::rpm::of_bdb(&SliceInput(PACKAGES));
        packages.sort();
        let found: Vec<(&str, &str)> = packages.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(found, [("sample", "4:1.2-3"), ("sample-extra", "4:1.2-3"), ("tiny", "1-1")]);
        assert_eq!(packages[0].license.as_deref(), Some("MIT"));
        assert_eq!(packages[0].source.as_deref(), Some("sample-1.2-3.src.rpm"));
    }

    /// A database that a machine of the other byte order wrote.
    #[test]
    fn numbers_may_have_the_high_byte_first() {
        let mut bytes = PACKAGES.to_vec();
        let swap4 = |bytes: &mut [u8], at: usize| bytes[at..at + 4].reverse();
        for at in [12, 20, 32] {
            swap4(&mut bytes, at);
        }
        for page in bytes.chunks_exact_mut(512).skip(1) {
            let n = usize::from(u16::from_le_bytes([page[20], page[21]]));
            let is_pairs = PAIRS.contains(&page[25]);
            if is_pairs {
                for index in 0..n {
                    let at = usize::from(u16::from_le_bytes([page[26 + 2 * index], page[27 + 2 * index]]));
                    if page[at] == OFF_PAGE {
                        swap4(page, at + 4);
                        swap4(page, at + 8);
                    }
                }
                (0..n).for_each(|index| page[26 + 2 * index..28 + 2 * index].reverse());
            }
            swap4(page, 16);
            page[20..22].reverse();
            page[22..24].reverse();
        }
        assert_eq!(names(&bytes), names(PACKAGES));
    }

    #[test]
    fn a_chain_that_leads_back_to_itself_ends() {
        let mut bytes = PACKAGES.to_vec();
        for page in bytes.chunks_exact_mut(512).filter(|page| page[25] == OVERFLOW) {
            let own = <[u8; 4]>::try_from(&page[8..12]).unwrap();
            page[16..20].copy_from_slice(&own);
        }
        assert_eq!(names(&bytes), ["tiny"]);
    }

    struct Counted {
        bytes: Vec<u8>,
        n_read: Cell<usize>,
    }

    impl Input for Counted {
        fn size_bytes(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&self, offset: u64, n: usize) -> std::io::Result<Vec<u8>> {
            self.n_read.set(self.n_read.get() + n);
            SliceInput(&self.bytes).read_at(offset, n)
        }
    }

    /// Pairs whose values are all the same long chain.
    #[test]
    fn reading_the_same_pages_often_ends() {
        const PAGE: usize = 65536;
        let mut head = vec![0; PAGE];
        let n_pages = u32::try_from(3 * PAGE / 2 / 12).unwrap();
        for (at, number) in [(12, MAGIC), (20, PAGE as u32), (32, n_pages)] {
            head[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let mut pairs = vec![0; PAGE];
        let (n_items, item_at) = (30_000_u16, (PAGE - 24) as u16);
        pairs[20..22].copy_from_slice(&n_items.to_le_bytes());
        pairs[25] = PAIRS[0];
        for index in 0..usize::from(n_items) {
            let place = if index % 2 == 0 { item_at + 12 } else { item_at };
            pairs[26 + 2 * index..28 + 2 * index].copy_from_slice(&place.to_le_bytes());
        }
        let item = usize::from(item_at);
        pairs[item] = OFF_PAGE;
        pairs[item + 4..item + 8].copy_from_slice(&2_u32.to_le_bytes());
        pairs[item + 8..item + 12].copy_from_slice(&(MAX_HEADER_BYTES as u32).to_le_bytes());
        let mut chain = vec![0; PAGE];
        chain[16..20].copy_from_slice(&2_u32.to_le_bytes());
        chain[22..24].copy_from_slice(&60_000_u16.to_le_bytes());
        chain[25] = OVERFLOW;
        let input = Counted { bytes: [head, pairs, chain].concat(), n_read: Cell::new(0) };
        each_header(&input, |_| panic!("no chain has exactly that length"));
        assert!((1..=MAX_TOTAL_BYTES + PAGE).contains(&input.n_read.get()), "{}", input.n_read.get());
    }

    #[test]
    fn damage_anywhere_is_no_panic() {
        for at in 0..PACKAGES.len() {
            let mut damaged = PACKAGES.to_vec();
            damaged[at] ^= 0xff;
            each_header(&SliceInput(&damaged), |_| {});
        }
        for length in (0..PACKAGES.len()).step_by(37) {
            each_header(&SliceInput(&PACKAGES[..length]), |_| {});
        }
    }
}
