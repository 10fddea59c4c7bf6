//! Do other readers see the same entries? Thousands of archives that use the format in all its ways, listed by this
//! program, by Python's `tarfile` and by GNU tar. Readers that disagree on where an entry begins are how entries get
//! smuggled (CVE-2025-62518).

use std::io::{self, Write};
use std::process::Command;

use slipway_test::raw_tar::{Raw, archive};

use super::tar_reader::{ReadEntry, TarReader};
use super::tar_writer::EntryKind;

const N_ARCHIVES: usize = 10_000;

/// Lists each of the archives in a file, the length of each before it. The format of a line is that of [`line`].
const PYTHON: &str = r#"
import io, sys, tarfile
source = open(sys.argv[1], "rb")
out = sys.stdout.buffer
def line(m):
    letter = next(letter for letter, yes in zip("-hlcbdp", (m.isreg(), m.islnk(), m.issym(), m.ischr(), m.isblk(), m.isdir(), m.isfifo())) if yes)
    raw = lambda text: text.encode("utf-8", "surrogateescape")
    link = b" -> " + raw(m.linkname) if letter in "hl" else b""
    size = m.size if letter == "-" else 0
    return b"%s %d:%d %d %s%s\n" % (letter.encode(), m.uid, m.gid, size, raw(m.name).rstrip(b"/"), link)
index = 0
while length := source.read(8):
    data = io.BytesIO(source.read(int.from_bytes(length, "little")))
    out.write(b"archive-%d\n" % index)
    for member in tarfile.open(fileobj=data, mode="r:", encoding="utf-8", errors="surrogateescape"):
        out.write(line(member))
    index += 1
"#;

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    /// A number below `n_sides`.
    fn roll(&mut self, n_sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n_sides
    }

    /// A path of that many bytes. Without blanks, at which lines are taken apart.
    fn path(&mut self, n_bytes: usize) -> Vec<u8> {
        let mut path: Vec<u8> = (0..n_bytes).map(|_| b"abcXYZ0189._-+=@,~/"[self.roll(19)]).collect();
        // GNU tar leaves out what is before a `..` in a link.
        for at in 1..n_bytes {
            if path[at - 1..=at] == *b".." {
                path[at] = b'_';
            }
        }
        // Neither the root nor what ends like a folder, nor a file of old kinds that would be one.
        path[0] = b'a';
        path[n_bytes - 1] = b'z';
        if n_bytes > 4 && self.roll(8) == 0 {
            path[1..3].copy_from_slice("ö".as_bytes());
        }
        path
    }

    /// What a file may hold: often what would be entries if a reader got the size wrong.
    fn data(&mut self) -> Vec<u8> {
        match self.roll(4) {
            0 => Vec::new(),
            1 => archive(vec![Raw::file(b"smuggled", b"evil")]),
            2 => archive(vec![Raw::records(&[("path", b"smuggled")]), Raw::new(b'5', b"x")])[512..].to_vec(),
            _ => vec![b'x'; self.roll(1300)],
        }
    }

    /// An entry and the headers that belong to it.
    fn entry(&mut self) -> Vec<Raw> {
        let mut headers = Vec::new();
        let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
        let n_bytes = 1 + self.roll(100);
        let path = self.path(n_bytes);
        let data = self.data();
        let link = self.path(20);
        let kind = self.roll(12);
        let is_file = kind < 5;
        let mut raw = match kind {
            0..=3 => Raw::file(&path, &data),
            4 => Raw::new([0, b'7'][self.roll(2)], &path).data(&data),
            5 => Raw::new(b'5', &path),
            6 => Raw::symlink(&path, &link),
            7 => Raw::hard_link(&path, &link),
            8 => Raw::new(b'6', &path),
            9 | 10 => Raw::new([b'3', b'4'][self.roll(2)], &path).field(329, b"0000010\0").field(337, b"0000003\0"),
            _ => Raw::new(b'5', &[&path[..path.len().min(99)], b"/"].concat()),
        };
        let n_long = 101 + self.roll(300);
        let long = self.path(n_long);
        match self.roll(8) {
            0 => raw = raw.field(345, b"a/prefix"),
            1 => headers.push(Raw::new(b'L', b"././@LongLink").data(&[&long[..], b"\0"].concat())),
            2 => records.push(("path", long.clone())),
            3 => raw = raw.field(257, b"ustar  \0"),
            _ => {}
        }
        if matches!(kind, 6 | 7) {
            match self.roll(4) {
                0 => headers.push(Raw::new(b'K', b"././@LongLink").data(&[&long[..], b"\0"].concat())),
                1 => records.push(("linkpath", long)),
                _ => {}
            }
        }
        if is_file {
            let size = data.len() as u64;
            match self.roll(5) {
                // The header says something else, and must not be believed.
                0 => {
                    records.push(("size", size.to_string().into_bytes()));
                    let lie = [0, 512, 1024, 100_000][self.roll(4)];
                    raw = raw.field(124, format!("{lie:011o}\0").as_bytes());
                }
                1 => raw = raw.field(124, &[&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat()),
                2 => raw = raw.field(124, format!("{size:>11o} ").as_bytes()),
                _ => {}
            }
        }
        match self.roll(5) {
            0 => records.push(("uid", b"3000000".to_vec())),
            1 => raw = raw.field(108, &[0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]),
            2 => raw = raw.field(116, b"0000751\0"),
            3 => records.push(("mtime", b"1000000000.25".to_vec())),
            _ => {}
        }
        if !records.is_empty() {
            let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (*key, &value[..])).collect();
            // A long name is about the entry itself, so it stands behind an extended header, not before.
            headers.insert(0, Raw::records(&records));
        }
        headers.push(raw);
        headers
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut dice = Dice(0x5117_A471);
    let archive_of = |dice: &mut Dice| archive((0..=dice.roll(5)).flat_map(|_| dice.entry()).collect());
    (0..N_ARCHIVES).map(|_| archive_of(&mut dice)).collect()
}

/// `<letter of the type> <owner>:<group> <size> <path>`, and for links ` -> <target>`.
fn line(entry: &ReadEntry) -> Vec<u8> {
    let (letter, is_link) = match entry.kind {
        EntryKind::File => ('-', false),
        EntryKind::HardLink => ('h', true),
        EntryKind::Symlink => ('l', true),
        EntryKind::CharDevice => ('c', false),
        EntryKind::BlockDevice => ('b', false),
        EntryKind::Directory => ('d', false),
        EntryKind::Fifo => ('p', false),
    };
    let mut line = format!("{letter} {}:{} {} ", entry.uid, entry.gid, entry.size).into_bytes();
    line.extend_from_slice(trimmed(&entry.path));
    if is_link {
        line.extend_from_slice(b" -> ");
        line.extend_from_slice(&entry.link);
    }
    line
}

fn trimmed(path: &[u8]) -> &[u8] {
    let n_slashes = path.iter().rev().take_while(|b| **b == b'/').count();
    &path[..path.len() - n_slashes]
}

/// All lines, those of each archive after a line with its number.
fn listed_by_us(corpus: &[Vec<u8>]) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, archive) in corpus.iter().enumerate() {
        lines.push(format!("archive-{index}"));
        let mut reader = TarReader::new(&archive[..]);
        while let Some(entry) = reader.next_entry().unwrap() {
            lines.push(String::from_utf8(line(&entry)).unwrap());
        }
    }
    lines
}

/// What a program writes; `None`, with a word about it, if it is not there.
fn output_of(command: &mut Command) -> Option<Vec<String>> {
    let output = match command.env("LC_ALL", "C").env("TZ", "UTC").output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            writeln!(io::stderr(), "not run, because {:?} is missing", command.get_program()).unwrap();
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[track_caller]
fn assert_same(ours: &[String], theirs: &[String]) {
    let differs = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
    if let Some(at) = differs {
        let from = at.saturating_sub(5);
        panic!("ours:\n{:#?}\ntheirs:\n{:#?}", &ours[from..=at], &theirs[from..=at]);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 3 * N_ARCHIVES && !ours.iter().any(|line| line.contains("smuggled")));
}

#[test]
fn python_sees_the_same() {
    let corpus = corpus();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for archive in &corpus {
        file.write_all(&(archive.len() as u64).to_le_bytes()).unwrap();
        file.write_all(archive).unwrap();
    }
    file.flush().unwrap();
    let Some(theirs) = output_of(Command::new("python3").args(["-c", PYTHON]).arg(file.path())) else { return };
    assert_same(&listed_by_us(&corpus), &theirs);
}

#[test]
fn gnu_tar_sees_the_same() {
    let corpus = corpus();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (index, bytes) in corpus.iter().enumerate() {
        file.write_all(&archive(vec![Raw::file(format!("archive-{index}").as_bytes(), b"")])).unwrap();
        file.write_all(bytes).unwrap();
    }
    file.flush().unwrap();
    // One run for all: it is told to go on behind the blocks that end an archive.
    let flags = ["-t", "-v", "-i", "--numeric-owner", "--full-time", "--quoting-style=literal", "-f"];
    let Some(theirs) = output_of(Command::new("tar").args(flags).arg(file.path())) else { return };
    let theirs: Vec<String> = theirs.iter().map(|line| gnu_line(line)).collect();
    assert_same(&listed_by_us(&corpus), &theirs);
}

/// A line of GNU tar's long list as [`line`] has it, or the number of an archive.
fn gnu_line(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let mut next = || words.next().unwrap();
    let (permissions, owner, size, _, _, path) = (next(), next(), next(), next(), next(), next());
    if path.starts_with("archive-") {
        return path.to_owned();
    }
    let letter = match &permissions[..1] {
        // A file that is to lie in one piece.
        "C" => "-",
        letter => letter,
    };
    let size = if letter == "-" { size } else { "0" };
    let target = words.last().map(|target| format!(" -> {target}")).unwrap_or_default();
    format!("{letter} {} {size} {}{target}", owner.replace('/', ":"), path.trim_end_matches('/'))
}
