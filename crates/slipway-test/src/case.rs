//! Answers one question: what does a case file say?
//!
//! A case is one text file in the txtar format: a header, then files. It shows one behaviour of a build.
//!
//! ```text
//! A file's own mode wins over nothing, and --chmod wins over both.     the first paragraph: what it shows
//!
//! needs: overlay                                                       what the machine must have
//! run: FOO=1 build --build-arg A="x y" --secret id=s,src=s.txt ctx     must succeed; environment first
//! fail: build -f - . < other.Dockerfile                                must exit with 1; stdin from a file
//! differs: history — the reference is older than the specification     why slipway's answer is another one
//! -- ctx/Dockerfile --
//! FROM scratch
//! -- "ctx/a b" mode=0755 mtime=1000000000 --
//! text of the file
//! -- expect/reference --
//! …
//! ```
//!
//! # Header
//! `run` and `fail` lines are carried out in order, in the folder that holds the case's files. Without `-o` the
//! result is an OCI archive that the runner reads. An output of type `local` or `tar` is read from its `dest`,
//! which should lie outside the context (`dest=../out`).
//!
//! The targets of `bake` write what they make into `../baked/`: images as `NAME.image.tar`, other archives as
//! `NAME.tar`, and folders. All of them are the answer, in the order of their names.
//!
//! The answer to a run with `--check` or `--call` is what it writes to standard output.
//!
//! # Files
//! | attribute | the entry is |
//! |---|---|
//! | a trailing `/` in the name | a folder, mode 0755 unless `mode` says otherwise |
//! | `link=T` / `hardlink=T` | a symbolic link with that text / another name of the file `T` |
//! | `archive=tar`, `gzip`, `zstd` | a tar made from the body, one member a line: `path mode= uid= gid= mtime= link= hardlink= text=`; `\\n` in a text ends a line |
//! | `compress=gzip` | the body, compressed (no tar) |
//! | `base64` | the bytes that the body stands for: archives that the words above cannot say |
//! | `mode=0644` `mtime=SECONDS` | … with this mode and time |
//! | `owner=UID:GID` | … of this owner, where the tests run as root |
//! | `crlf` `bom` `noeol` `repeat=N` | … with CRLF line ends, a byte order mark, no last line end, N times its body |
//! | `step=N` | put in place just before the Nth `run` (the first is 1) |
//! | `removed` | removed instead (with `step=N`) |
//!
//! `@salt@` in a file's text becomes eight characters that are new in every run, and the summary turns them back:
//! that keeps the reference from answering a case with several runs out of what it remembers from last time.
//!
//! # Answers
//! | section | holds |
//! |---|---|
//! | `expect/reference` | what the reference builder gives; only `cargo xtask record` writes it |
//! | `expect/image` | the same for slipway where it differs on purpose; needs a `differs` line |
//! | `expect/stderr` | one text a line; each must be in the error output of the last run |
//! | `expect/absent` | one text a line; none may be anywhere in the result |

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::capability::Capability;
use crate::words;

/// One case, as its file says it.
#[derive(Debug, Default, Clone)]
pub struct Case {
    /// The path below `cases/`, without `.txtar`.
    pub name: String,
    /// The first paragraph of the header.
    pub about: String,
    /// What the machine must have, on top of what every build needs.
    pub needs: Vec<Capability>,
    /// The builds, in order.
    pub runs: Vec<Run>,
    /// Why slipway's answer is not the reference's: pairs of what differs and the reason.
    pub differs: Vec<(String, String)>,
    /// The files, in the order of the case file.
    pub files: Vec<FileEntry>,
    /// The `expect/` sections: name without the prefix, and text.
    pub answers: Vec<(String, String)>,
}

/// One `run:` or `fail:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What follows the builder's name: `build` or `bake`, and flags.
    pub arguments: Vec<String>,
    /// Variables to set for this run.
    pub env: Vec<(String, String)>,
    /// The file that stdin reads, if any.
    pub stdin: Option<String>,
    /// Whether exit code 1 is the right one.
    pub must_fail: bool,
}

/// One file, folder or link of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Relative to the folder that the builds run in.
    pub path: String,
    pub content: Content,
    pub mode: Option<u32>,
    /// Seconds since 1970.
    pub mtime: Option<u64>,
    /// User and group id.
    pub owner: Option<(u32, u32)>,
    /// The run before which the entry is put in place, counted from 1.
    pub step: usize,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Bytes(Vec<u8>),
    Directory,
    Symlink(String),
    Hardlink(String),
    Archive { members: Vec<Member>, compression: Compression },
    Gzip(Vec<u8>),
    Removed,
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// One line of an `archive=` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub path: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    pub content: MemberContent,
}

/// What a member of an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberContent {
    Text(String),
    Directory,
    Symlink(String),
    Hardlink(String),
}

/// The time of archive members that name none; old enough for the summary to show it.
const MEMBER_MTIME: u64 = 1_000_000_000;

impl Case {
    /// Reads the case at `path`, which lies below `root`.
    pub fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read({})", path.display()))?;
        let mut case = Self::parse(&text).with_context(|| path.display().to_string())?;
        let below = path.strip_prefix(root).unwrap_or(path).with_extension("");
        case.name = below.to_string_lossy().into_owned();
        Ok(case)
    }

    /// Parses the text of a case file; the case has no name yet.
    pub fn parse(text: &str) -> Result<Self> {
        let (header, sections) = split_sections(text)?;
        let mut case = Self::default();
        case.read_header(header)?;
        for section in sections {
            match section.attributes[0].strip_prefix("expect/") {
                Some(name) => case.answers.push((name.to_owned(), section.body)),
                None => case.files.push(FileEntry::from_section(&section).with_context(|| section.place())?),
            }
        }
        ensure!(!case.runs.is_empty(), "a case needs a `run:` or `fail:` line");
        let last = case.runs.len();
        ensure!(case.files.iter().all(|f| f.step <= last), "`step=` counts `run:` lines; there are only {last}");
        Ok(case)
    }

    /// The text of the section `expect/<name>`, if the case has it.
    pub fn answer(&self, name: &str) -> Option<&str> {
        self.answers.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    fn read_header(&mut self, header: &str) -> Result<()> {
        let paragraph = header.trim_start().split("\n\n").next().unwrap_or_default();
        self.about = paragraph.lines().take_while(|l| setting(l).is_none()).collect::<Vec<_>>().join(" ");
        ensure!(!self.about.is_empty(), "the first paragraph has to say what the case shows");
        for line in header.lines() {
            match setting(line) {
                Some(("needs", v)) => {
                    for word in v.split(',') {
                        self.needs.push(word.trim().parse()?);
                    }
                }
                Some(("run", v)) => self.runs.push(Run::parse(v, false)?),
                Some(("fail", v)) => self.runs.push(Run::parse(v, true)?),
                Some(("differs", v)) => {
                    let Some((what, reason)) = v.split_once(" — ") else {
                        bail!("`differs: {v}` does not read `<what> — <reason>`");
                    };
                    self.differs.push((what.trim().to_owned(), reason.trim().to_owned()));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

/// The key and value of a header line that sets something.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(": ")?;
    ["needs", "run", "fail", "differs"].contains(&key).then_some((key, value.trim()))
}

impl Run {
    fn parse(line: &str, must_fail: bool) -> Result<Self> {
        let mut words = words::split(line)?;
        let stdin = match words.iter().position(|w| w == "<") {
            Some(at) => {
                ensure!(at + 2 == words.len(), "`<` takes one file, at the end of `{line}`");
                let file = words.pop();
                words.pop();
                file
            }
            None => None,
        };
        let Some(command) = words.iter().position(|w| w == "build" || w == "bake") else {
            bail!("`{line}` holds neither `build` nor `bake`");
        };
        let arguments = words.split_off(command);
        let mut env = Vec::new();
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                bail!("`{word}` before the command is no NAME=value");
            };
            env.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self { arguments, env, stdin, must_fail })
    }

    /// Whether it builds what a bake file describes.
    pub fn is_bake(&self) -> bool {
        self.arguments[0] == "bake"
    }

    /// The value of the `-o`/`--output` flag, if the line has one.
    pub fn output(&self) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-o" | "--output" => return arguments.next().map(String::as_str),
                other => {
                    if let Some(value) = other.strip_prefix("--output=") {
                        return Some(value);
                    }
                }
            }
        }
        None
    }

    /// Whether it asks a question about the Dockerfile instead of building it; the answer is on standard output.
    pub fn is_call(&self) -> bool {
        let is_flag = |argument: &String| {
            let name = argument.split('=').next().unwrap_or_default();
            ["--check", "--call", "--print"].contains(&name)
        };
        self.arguments.iter().any(is_flag)
    }

    /// Whether the run may take results from earlier ones.
    pub fn uses_cache(&self) -> bool {
        !self.arguments.iter().any(|a| a.starts_with("--no-cache"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments.join(" "))
    }
}

/// A marker line and what follows it.
struct Section {
    /// Line number of the marker, from 1.
    line: usize,
    /// The name, then the attributes.
    attributes: Vec<String>,
    body: String,
}

impl Section {
    fn place(&self) -> String {
        format!("line {}, `{}`", self.line, self.attributes[0])
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes[1..].iter().find_map(|a| a.strip_prefix(key)?.strip_prefix('='))
    }

    fn has(&self, word: &str) -> bool {
        self.attributes[1..].iter().any(|a| a == word)
    }
}

/// The inside of a marker line: `-- inside --`.
fn marker(line: &str) -> Option<&str> {
    line.strip_prefix("-- ")?.trim_end().strip_suffix(" --")
}

fn split_sections(text: &str) -> Result<(&str, Vec<Section>)> {
    let mut header_end = text.len();
    let mut sections: Vec<Section> = Vec::new();
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some(inside) = marker(line) {
            header_end = header_end.min(offset);
            let attributes = words::split(inside).with_context(|| format!("line {}", index + 1))?;
            ensure!(!attributes.is_empty(), "line {}: the marker names no file", index + 1);
            sections.push(Section { line: index + 1, attributes, body: String::new() });
        } else if let Some(section) = sections.last_mut() {
            section.body.push_str(line);
        }
        offset += line.len();
    }
    Ok((&text[..header_end], sections))
}

const ATTRIBUTES: [&str; 9] = ["link", "hardlink", "archive", "compress", "mode", "mtime", "owner", "repeat", "step"];
const WORDS: [&str; 5] = ["base64", "crlf", "bom", "noeol", "removed"];

impl FileEntry {
    fn from_section(section: &Section) -> Result<Self> {
        for attribute in &section.attributes[1..] {
            let known = match attribute.split_once('=') {
                Some((key, _)) => ATTRIBUTES.contains(&key),
                None => WORDS.contains(&attribute.as_str()),
            };
            ensure!(known, "there is no attribute `{attribute}`");
        }
        Ok(Self {
            path: section.attributes[0].trim_end_matches('/').to_owned(),
            content: Content::from_section(section)?,
            mode: section.attribute("mode").map(octal).transpose()?,
            mtime: section.attribute("mtime").map(str::parse).transpose()?,
            owner: section.attribute("owner").map(owner).transpose()?,
            step: section.attribute("step").map_or(Ok(1), str::parse)?,
        })
    }
}

impl Content {
    fn from_section(section: &Section) -> Result<Self> {
        if section.has("removed") {
            return Ok(Self::Removed);
        }
        if section.attributes[0].ends_with('/') {
            return Ok(Self::Directory);
        }
        if let Some(target) = section.attribute("link") {
            return Ok(Self::Symlink(target.to_owned()));
        }
        if let Some(target) = section.attribute("hardlink") {
            return Ok(Self::Hardlink(target.to_owned()));
        }
        if let Some(kind) = section.attribute("archive") {
            let lines = section.body.lines().filter(|l| !l.trim().is_empty());
            let members = lines.map(Member::parse).collect::<Result<_>>()?;
            return Ok(Self::Archive { members, compression: Compression::parse(kind)? });
        }
        let bytes = file_bytes(section)?;
        match section.attribute("compress") {
            None => Ok(Self::Bytes(bytes)),
            Some("gzip") => Ok(Self::Gzip(bytes)),
            Some(other) => bail!("`compress={other}` is not `gzip`"),
        }
    }
}

fn file_bytes(section: &Section) -> Result<Vec<u8>> {
    if section.has("base64") {
        let text: String = section.body.split_ascii_whitespace().collect();
        return STANDARD.decode(text).context("this is not base64");
    }
    let mut text = section.body.clone();
    if section.has("crlf") {
        text = text.replace('\n', "\r\n");
    }
    if section.has("noeol") {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    if let Some(times) = section.attribute("repeat") {
        text = text.repeat(times.parse()?);
    }
    if section.has("bom") {
        text.insert(0, '\u{feff}');
    }
    Ok(text.into_bytes())
}

impl Compression {
    fn parse(word: &str) -> Result<Self> {
        match word {
            "tar" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => bail!("`archive={other}` is none of tar, gzip, zstd"),
        }
    }
}

impl Member {
    fn parse(line: &str) -> Result<Self> {
        let words = words::split(line)?;
        let (path, attributes) = words.split_first().context("an archive member needs a path")?;
        let is_directory = path.ends_with('/');
        let mut member = Self {
            path: path.clone(),
            mode: if is_directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: MEMBER_MTIME,
            content: if is_directory { MemberContent::Directory } else { MemberContent::Text(String::new()) },
        };
        for attribute in attributes {
            let (key, value) = attribute.split_once('=').with_context(|| format!("`{attribute}` is no key=value"))?;
            match key {
                "mode" => member.mode = octal(value)?,
                "uid" => member.uid = value.parse()?,
                "gid" => member.gid = value.parse()?,
                "mtime" => member.mtime = value.parse()?,
                "text" => member.content = MemberContent::Text(value.replace("\\n", "\n")),
                "link" => member.content = MemberContent::Symlink(value.to_owned()),
                "hardlink" => member.content = MemberContent::Hardlink(value.to_owned()),
                _ => bail!("an archive member has no attribute `{key}`"),
            }
        }
        Ok(member)
    }
}

fn octal(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).with_context(|| format!("`{text}` is no octal mode"))
}

fn owner(text: &str) -> Result<(u32, u32)> {
    let (uid, gid) = text.split_once(':').with_context(|| format!("`{text}` is no uid:gid"))?;
    Ok((uid.parse()?, gid.parse()?))
}

/// Returns `text`, a case file, with the section `expect/<name>` holding `body`.
///
/// The section keeps its place; a new one goes to the end. Everything else stays as it was typed.
pub fn with_answer(text: &str, name: &str, body: &str) -> String {
    let heading = format!("-- expect/{name} --\n");
    let mut out = String::new();
    let mut inside = false;
    let mut found = false;
    for line in text.split_inclusive('\n') {
        if marker(line).is_some() {
            inside = line.trim_end() == heading.trim_end();
            if inside {
                found = true;
                out.push_str(&heading);
                out.push_str(body);
            }
        }
        if !inside {
            out.push_str(line);
        }
    }
    if !found {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&heading);
        out.push_str(body);
    }
    out
}

/// Every case file below `root`, sorted.
pub fn find(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read_dir({})", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "txtar") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Shows a thing,
in two lines.

needs: overlay
run: A=1 build --build-arg X=\"a b\" . < in.tar
fail: build ctx
differs: history — the reference is older
-- Dockerfile crlf noeol --
FROM scratch
-- \"ctx/a b\" mode=0600 mtime=5 step=2 --
x
-- in.tar archive=gzip --
d/ mode=0700 uid=7
d/l link=../x
-- expect/reference --
old
-- expect/absent --
secret
";

    fn parse(text: &str) -> Case {
        Case::parse(text).expect("the case is well formed")
    }

    #[test]
    fn the_header_is_read() {
        let case = parse(TEXT);
        assert_eq!(case.about, "Shows a thing, in two lines.");
        assert_eq!(case.needs, [Capability::Overlay]);
        assert_eq!(case.runs[0].arguments, ["build", "--build-arg", "X=a b", "."]);
        assert_eq!(case.runs[0].env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(case.runs[0].stdin.as_deref(), Some("in.tar"));
        assert!(case.runs[1].must_fail && !case.runs[0].must_fail);
        assert_eq!(case.differs, [("history".to_owned(), "the reference is older".to_owned())]);
    }

    #[test]
    fn files_carry_their_attributes() {
        let case = parse(TEXT);
        assert_eq!(case.files[0].content, Content::Bytes(b"FROM scratch".to_vec()));
        assert_eq!((case.files[1].path.as_str(), case.files[1].mode), ("ctx/a b", Some(0o600)));
        assert_eq!((case.files[1].mtime, case.files[1].step), (Some(5), 2));
        let Content::Archive { members, compression } = &case.files[2].content else {
            panic!("in.tar is an archive");
        };
        assert_eq!(*compression, Compression::Gzip);
        assert_eq!((members[0].mode, members[0].uid), (0o700, 7));
        assert_eq!(members[1].content, MemberContent::Symlink("../x".to_owned()));
    }

    #[test]
    fn any_bytes_can_be_written() {
        let case = parse("about\n\nrun: build .\n-- a base64 --\n/wA\nB\n");
        assert_eq!(case.files[0].content, Content::Bytes(vec![0xff, 0, 1]));
    }

    #[test]
    fn answers_are_not_files() {
        let case = parse(TEXT);
        assert_eq!(case.files.len(), 3);
        assert_eq!(case.answer("absent"), Some("secret\n"));
        assert_eq!(case.answer("image"), None);
    }

    #[test]
    fn an_answer_is_replaced_in_its_place() {
        let changed = with_answer(TEXT, "reference", "new\n");
        assert_eq!(changed, TEXT.replace("old\n", "new\n"));
    }

    #[test]
    fn a_new_answer_goes_to_the_end() {
        assert!(with_answer("x\n-- a --\nb", "reference", "r\n").ends_with("b\n-- expect/reference --\nr\n"));
    }

    #[test]
    fn mistakes_are_reported() {
        for text in [
            "about\n\n-- Dockerfile --\nFROM x\n",
            "about\n\nrun: build .\n-- a colour=red --\n",
            "about\n\nrun: build .\n-- a step=2 --\n",
            "about\n\nrun: build .\ndiffers: history\n",
            "about\n\nrun: build .\nneeds: luck\n",
            "run: build .\n",
        ] {
            assert!(Case::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
