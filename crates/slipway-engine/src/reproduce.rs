//! Do two builds of one request come to the same files? If not: which step, which file, and why?
//!
//! Compared is what each step changed, as it will be in a layer: names, kinds, modes, owners, links, contents and times
//! in whole seconds.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use slipway_graph::op::Op;
use slipway_graph::{Graph, LineRange, VertexId};
use slipway_oci::Digest;
use slipway_store::{DbError, LayerId, Store};

use crate::engine::Engine;
use crate::layer::diff::{open_dir, open_file, read_link, sorted_names, stat_at};
use crate::layer::untar;

/// What a step of a build changed is kept under this.
#[derive(Clone, Debug)]
pub struct TracedStep {
    pub name: String,
    pub lines: Option<LineRange>,
    /// `None` if it is not in the store any more.
    layer: Option<LayerId>,
}

/// What was different on purpose while the two builds were made.
#[derive(Clone, Debug)]
pub struct Variation {
    pub host_names: [String; 2],
    /// How many processors a step could use.
    pub n_processors: [usize; 2],
    /// Files that are no younger than this, in seconds since 1970, count as being of this time: that is what becomes of
    /// them in the output.
    pub epoch: Option<i64>,
}

/// A step that did not come to the same files twice.
#[derive(Debug)]
pub struct UnlikeStep {
    pub name: String,
    pub lines: Option<LineRange>,
    /// Sorted by path; a limited number of them.
    pub files: Vec<UnlikeFile>,
    /// How many more there are.
    pub n_more: usize,
}

/// A file that is not the same in both builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlikeFile {
    pub path: String,
    pub unlikeness: Unlikeness,
    /// What made it differ, as far as that is known.
    pub cause: Option<Cause>,
}

/// How a file of one build differs from that of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlikeness {
    OnlyFirst,
    OnlySecond,
    Kind,
    Mode,
    Owner,
    LinkTarget,
    /// From this byte on.
    Content {
        offset: u64,
    },
    /// Nothing but its time of modification.
    TimeOnly,
}

/// What made files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    HostName,
    Processors,
    /// The order in which folders list their files.
    FolderOrder,
    /// The same lines in another order, whatever that comes from.
    Order,
    /// A time of day, or seconds since 1970.
    Time,
}

const MAX_FILES_TOLD: usize = 100;
/// Longer files are not searched for what made them differ, except around the first difference.
const MAX_SEARCHED_BYTES: u64 = 4 << 20;
/// So much before and after the first difference may tell what it is.
const AROUND_BYTES: u64 = 40;

/// The steps that `results` need, with what they changed. `definitions`: keys of all vertices.
pub(crate) fn traced(
    graph: &Graph,
    results: &[VertexId],
    definitions: &[Digest],
    store: &Store,
) -> Result<Vec<TracedStep>, DbError> {
    let is_needed = graph.reachable(results);
    let steps = graph.iter().filter(|(id, vertex)| is_needed[id.0] && !matches!(vertex.op, Op::Source(_)));
    let step = |(id, vertex): (VertexId, &slipway_graph::Vertex)| {
        let record = store.lookup(&definitions[id.0])?;
        let layer = record.and_then(|record| record.snapshot.layers().last().cloned());
        Ok(TracedStep { name: vertex.name.clone(), lines: vertex.lines, layer })
    };
    steps.map(step).collect()
}

impl Engine {
    /// The steps that are not alike in two builds of the same Dockerfile, in their order.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn compare_steps(
        &self,
        first: &[TracedStep],
        second: &[TracedStep],
        variation: &Variation,
    ) -> io::Result<Vec<UnlikeStep>> {
        let mut unlike = Vec::new();
        for (one, other) in first.iter().zip(second) {
            let (Some(one_layer), Some(other_layer)) = (&one.layer, &other.layer) else { continue };
            if one_layer == other_layer {
                continue;
            }
            let open = |layer: &LayerId| untar::open_host_dir(&self.store.layer_path(layer));
            let mut comparison = Comparison { variation, files: Vec::new(), n_more: 0 };
            comparison.folder(&open(one_layer)?, &open(other_layer)?, "")?;
            let Comparison { files, n_more, .. } = comparison;
            if !files.is_empty() {
                unlike.push(UnlikeStep { name: one.name.clone(), lines: one.lines, files, n_more });
            }
        }
        Ok(unlike)
    }
}

impl UnlikeStep {
    /// Whether the order of folders could explain more of it than is explained.
    pub fn is_unexplained(&self) -> bool {
        self.files.iter().any(UnlikeFile::is_unexplained)
    }
}

impl UnlikeFile {
    fn is_unexplained(&self) -> bool {
        matches!(self.cause, None | Some(Cause::Order)) && self.unlikeness != Unlikeness::TimeOnly
    }
}

/// Blames the order of folders for what differs only if that does too. `unlike`: with all varied; `in_order`: with all but
/// that.
pub fn blame_folder_order(unlike: &mut [UnlikeStep], in_order: &[UnlikeStep]) {
    for step in unlike {
        let same = in_order.iter().find(|other| (&other.name, other.lines) == (&step.name, step.lines));
        // Of one with many differences, not all are known.
        if same.is_some_and(|other| other.n_more > 0) {
            continue;
        }
        let still_differs = |path: &str| {
            let files = same.map_or(&[][..], |other| &other.files);
            files.iter().any(|file| file.path == path && file.unlikeness != Unlikeness::TimeOnly)
        };
        for file in step.files.iter_mut().filter(|file| file.is_unexplained()) {
            if !still_differs(&file.path) {
                file.cause = Some(Cause::FolderOrder);
            }
        }
    }
}

struct Comparison<'a> {
    variation: &'a Variation,
    files: Vec<UnlikeFile>,
    n_more: usize,
}

impl Comparison<'_> {
    fn folder(&mut self, first: &OwnedFd, second: &OwnedFd, above: &str) -> io::Result<()> {
        let names: BTreeSet<CString> =
            sorted_names(first.as_fd())?.into_iter().chain(sorted_names(second.as_fd())?).collect();
        for name in names {
            let path = format!("{above}{}", name.to_string_lossy());
            let stat = |folder: &OwnedFd| match stat_at(folder, &name) {
                Err(Errno::NOENT) => Ok(None),
                stat => stat.map(Some),
            };
            let unlikeness = match (stat(first)?, stat(second)?) {
                (Some(one), Some(other)) => self.unlikeness((first, &one), (second, &other), &name)?,
                (Some(_), None) => Some((Unlikeness::OnlyFirst, None)),
                (None, Some(_)) => Some((Unlikeness::OnlySecond, None)),
                (None, None) => None,
            };
            let is_in_both =
                !matches!(unlikeness, Some((Unlikeness::OnlyFirst | Unlikeness::OnlySecond | Unlikeness::Kind, _)));
            if let Some((unlikeness, cause)) = unlikeness {
                self.add(UnlikeFile { path: path.clone(), unlikeness, cause });
            }
            if is_in_both
                && let (Ok(one), Ok(other)) = (open_dir(first.as_fd(), &name), open_dir(second.as_fd(), &name))
            {
                self.folder(&one, &other, &format!("{path}/"))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, file: UnlikeFile) {
        match self.files.len() < MAX_FILES_TOLD {
            true => self.files.push(file),
            false => self.n_more += 1,
        }
    }

    fn unlikeness(
        &self,
        (first, one): (&OwnedFd, &Stat),
        (second, other): (&OwnedFd, &Stat),
        name: &CString,
    ) -> io::Result<Option<(Unlikeness, Option<Cause>)>> {
        let unexplained = |unlikeness| Ok(Some((unlikeness, None)));
        let kind = FileType::from_raw_mode(one.st_mode);
        if kind != FileType::from_raw_mode(other.st_mode) || one.st_rdev != other.st_rdev {
            return unexplained(Unlikeness::Kind);
        }
        if kind == FileType::Symlink && read_link(first, name)? != read_link(second, name)? {
            return unexplained(Unlikeness::LinkTarget);
        }
        if kind == FileType::RegularFile {
            let (mut one, mut other) = (File::from(open_file(first, name)?), File::from(open_file(second, name)?));
            if let Some(offset) = first_difference(&mut one, &mut other)? {
                let cause = self.cause(&one, &other, offset)?;
                return Ok(Some((Unlikeness::Content { offset }, cause)));
            }
        }
        if one.st_mode != other.st_mode {
            return unexplained(Unlikeness::Mode);
        }
        if (one.st_uid, one.st_gid) != (other.st_uid, other.st_gid) {
            return unexplained(Unlikeness::Owner);
        }
        let time = |stat: &Stat| self.variation.epoch.map_or(stat.st_mtime, |epoch| stat.st_mtime.min(epoch));
        let is_whiteout = kind == FileType::CharacterDevice && one.st_rdev == 0;
        Ok((time(one) != time(other) && !is_whiteout).then_some((Unlikeness::TimeOnly, None)))
    }

    /// What made two files differ that are the same up to `offset`.
    fn cause(&self, one: &File, other: &File, offset: u64) -> io::Result<Option<Cause>> {
        let around = |file: &File| read_part(file, offset.saturating_sub(AROUND_BYTES), offset + AROUND_BYTES);
        let windows = [around(one)?, around(other)?];
        let texts = [&windows[0], &windows[1]].map(|window| String::from_utf8_lossy(window).into_owned());
        let at = usize::try_from(offset.min(AROUND_BYTES)).unwrap_or(0);
        let words = [&windows[0], &windows[1]].map(|window| word_at(window, at));
        let [host_names, processors] =
            [&self.variation.host_names, &self.variation.n_processors.map(|n| n.to_string())];
        let both = |names: &[String; 2]| names[0] != names[1] && (0..2).all(|side| texts[side].contains(&names[side]));
        if both(host_names) {
            return Ok(Some(Cause::HostName));
        }
        if processors[0] != processors[1] && words == [processors[0].clone(), processors[1].clone()] {
            return Ok(Some(Cause::Processors));
        }
        if one.metadata()?.len() == other.metadata()?.len() && one.metadata()?.len() <= MAX_SEARCHED_BYTES {
            let lines = |file: &File| -> io::Result<Vec<Vec<u8>>> {
                let mut lines: Vec<Vec<u8>> =
                    read_part(file, 0, MAX_SEARCHED_BYTES)?.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                Ok(lines)
            };
            if lines(one)? == lines(other)? {
                return Ok(Some(Cause::Order));
            }
        }
        Ok((is_time(&words[0]) && is_time(&words[1])).then_some(Cause::Time))
    }
}

/// Where the files differ first; `None` if they do not.
fn first_difference(one: &mut File, other: &mut File) -> io::Result<Option<u64>> {
    let mut offset = 0;
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    loop {
        let [left, right] = &mut buffers;
        let (n_left, n_right) = (fill(one, left)?, fill(other, right)?);
        let n = n_left.min(n_right);
        if let Some(at) = (0..n).find(|at| left[*at] != right[*at]) {
            return Ok(Some(offset + at as u64));
        }
        if n_left != n_right {
            return Ok(Some(offset + n as u64));
        }
        if n == 0 {
            return Ok(None);
        }
        offset += n as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

fn read_part(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
    let mut n = 0;
    while n < bytes.len() {
        match file.read_at(&mut bytes[n..], start + n as u64)? {
            0 => break,
            more => n += more,
        }
    }
    bytes.truncate(n);
    Ok(bytes)
}

/// The digits and colons around `at`, which is where times differ.
fn word_at(window: &[u8], at: usize) -> String {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
    let at = at.min(window.len());
    let start = window[..at].iter().rposition(|byte| !is_part(byte)).map_or(0, |before| before + 1);
    let end = window[at..].iter().position(|byte| !is_part(byte)).map_or(window.len(), |after| at + after);
    String::from_utf8_lossy(&window[start..end]).into_owned()
}

/// `10:11:12`, or at least ten digits, as seconds since 1970 have them.
fn is_time(word: &str) -> bool {
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_clock = word.contains(':') && word.split(':').all(is_number);
    is_clock || (word.len() >= 10 && word.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn variation() -> Variation {
        let host_names = ["one-host".to_owned(), "other-host".to_owned()];
        Variation { host_names, n_processors: [2, 1], epoch: None }
    }

    /// What differs between two folders that `fill` makes, told whether it makes the second one.
    fn differences(variation: &Variation, fill: impl Fn(&Path, bool)) -> Vec<UnlikeFile> {
        let folders = [false, true].map(|is_second| {
            let folder = tempfile::tempdir().unwrap();
            fill(folder.path(), is_second);
            folder
        });
        let open = |index: usize| untar::open_host_dir(folders[index].path()).unwrap();
        let mut comparison = Comparison { variation, files: Vec::new(), n_more: 0 };
        comparison.folder(&open(0), &open(1), "").unwrap();
        comparison.files.into_iter().filter(|file| file.unlikeness != Unlikeness::TimeOnly).collect()
    }

    fn content(first: &str, second: &str) -> Option<Cause> {
        let found = differences(&variation(), |folder, is_second| {
            fs::write(folder.join("f"), if is_second { second } else { first }).unwrap();
        });
        match &found[..] {
            [UnlikeFile { path, unlikeness: Unlikeness::Content { .. }, cause }] if path == "f" => *cause,
            other => panic!("{first} and {second} gave {other:?}"),
        }
    }

    #[test]
    fn contents_tell_what_made_them_differ() {
        assert_eq!(content("on one-host\n", "on other-host\n"), Some(Cause::HostName));
        assert_eq!(content("jobs 2\n", "jobs 1\n"), Some(Cause::Processors));
        assert_eq!(content("a\nb\nc\n", "b\na\nc\n"), Some(Cause::Order));
        assert_eq!(content("Mon 10:11:12 UTC\n", "Mon 10:11:14 UTC\n"), Some(Cause::Time));
        assert_eq!(content("1700000001", "1700000002"), Some(Cause::Time));
        assert_eq!(content("random x\n", "random y\n"), None);
        assert_eq!(content("short", "short and longer"), None);
    }

    #[test]
    fn everything_that_a_layer_has_is_compared() {
        let found = differences(&variation(), |folder, is_second| {
            fs::create_dir(folder.join("d")).unwrap();
            fs::write(folder.join(if is_second { "d/new" } else { "d/old" }), "").unwrap();
            fs::write(folder.join("mode"), "").unwrap();
            let mode = if is_second { 0o600 } else { 0o640 };
            fs::set_permissions(folder.join("mode"), fs::Permissions::from_mode(mode)).unwrap();
            symlink(if is_second { "x" } else { "y" }, folder.join("link")).unwrap();
            match is_second {
                true => fs::create_dir(folder.join("kind")).unwrap(),
                false => fs::write(folder.join("kind"), "").unwrap(),
            }
            let long = "x".repeat(100_000);
            fs::write(folder.join("long"), format!("{long}{is_second}")).unwrap();
        });
        let expected = [
            ("d/new", Unlikeness::OnlySecond),
            ("d/old", Unlikeness::OnlyFirst),
            ("kind", Unlikeness::Kind),
            ("link", Unlikeness::LinkTarget),
            ("long", Unlikeness::Content { offset: 100_000 }),
            ("mode", Unlikeness::Mode),
        ];
        assert_eq!(
            found,
            expected.map(|(path, unlikeness)| UnlikeFile { path: path.to_owned(), unlikeness, cause: None })
        );
    }

    #[test]
    fn the_order_of_folders_is_to_blame_for_what_is_alike_without_it() {
        let content = Unlikeness::Content { offset: 0 };
        let step = |files: &[(&str, &Unlikeness, Option<Cause>)], n_more| UnlikeStep {
            name: "RUN x".to_owned(),
            lines: None,
            files: files
                .iter()
                .map(|(path, how, cause)| UnlikeFile {
                    path: (*path).to_owned(),
                    unlikeness: (*how).clone(),
                    cause: *cause,
                })
                .collect(),
            n_more,
        };
        let all = [
            ("host", &content, Some(Cause::HostName)),
            ("listed", &content, Some(Cause::Order)),
            ("made", &Unlikeness::OnlySecond, None),
            ("random", &content, None),
            ("shuffled", &content, Some(Cause::Order)),
            ("touched", &Unlikeness::TimeOnly, None),
        ];
        let blamed = |in_order: &[UnlikeStep]| {
            let mut unlike = [step(&all, 0)];
            assert!(unlike[0].is_unexplained());
            blame_folder_order(&mut unlike, in_order);
            let is_blamed = |file: &&UnlikeFile| file.cause == Some(Cause::FolderOrder);
            unlike[0].files.iter().filter(is_blamed).map(|file| file.path.clone()).collect::<Vec<_>>()
        };
        let still = [("listed", &Unlikeness::TimeOnly, None), ("random", &content, None), ("shuffled", &content, None)];
        assert_eq!(blamed(&[step(&still, 0)]), ["listed", "made"]);
        assert_eq!(blamed(&[step(&still, 1)]), [""; 0], "not all is known");
        assert_eq!(blamed(&[]), ["listed", "made", "random", "shuffled"]);
    }

    #[test]
    fn times_count_unless_the_output_has_none_that_late() {
        let variation = variation();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds: u64| {
            let folder = folder.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            let file = File::create(folder.join("f")).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
            untar::open_host_dir(&folder).unwrap()
        };
        let (one, other) = (at("one", 100), at("other", 200));
        let compared = |epoch| {
            let variation = Variation { epoch, ..variation.clone() };
            let mut comparison = Comparison { variation: &variation, files: Vec::new(), n_more: 0 };
            comparison.folder(&one, &other, "").unwrap();
            comparison.files.len()
        };
        assert_eq!([compared(None), compared(Some(150)), compared(Some(100))], [1, 1, 0]);
    }
}
