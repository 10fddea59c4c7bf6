//! Answers one question: what did a build make, in words that two builders can be compared by?
//!
//! The summary of an image is text, one fact a line, without times of the clock and without digests of whole layers:
//!
//! ```text
//! platform native
//! config Env ["PATH=/bin"]
//! history base
//! history "COPY a /b # buildkit"
//! history "CMD [\"sh\"]" empty
//! layer base
//! layer
//!   f 0644 10:20 b "hello\n" @1000000000
//! ```
//!
//! | letter | entry | then |
//! |---|---|---|
//! | `f` | file | a short text as it is, else its size and the start of its SHA-256 |
//! | `d` `p` `c` `b` | folder, fifo, devices | |
//! | `l` `h` | symbolic link, hard link | `-> target` |
//! | `w` | whiteout: the path is removed | |
//!
//! `@` gives the time of a file or of a history entry where it lies before 2017: no clock gives such a time, so it was
//! set on purpose.
//! `native` is the platform of the machine, so that one record serves all of them.
//! Lines about names, annotations, media types, times and the form of the JSON documents ([`crate::form`]) are there
//! only where these are not what every build without further flags has.
//! Layers and history entries of the base image are only counted, so that a record does not depend on its bytes.
//! Of an index every image is told, in its order, each after a line `image` with the platform that the index says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::base::{self, Base};
use crate::form;
use crate::tar::{self, Entry, Kind};

/// The members of an image's config that decide how a container starts.
const CONFIG_KEYS: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "ArgsEscaped",
];

/// Times before this (2017-07-14) were set on purpose.
const OLDEST_CLOCK: i64 = 1_500_000_000;

/// The same for times that are written as texts.
pub(crate) const OLDEST_YEAR: &str = "2017";

/// Files up to this size are shown, not digested.
const SHOWN_BYTES: usize = 200;

/// An image or an index of several, read whole.
#[derive(Debug)]
pub struct Image {
    /// What lies beside the blobs.
    index: Value,
    /// What is unusual about how that is written.
    unusual: Vec<String>,
    /// The index that the name stands for; `None` if it stands for one image.
    list: Option<Value>,
    /// At least one; in the order of the list.
    images: Vec<Single>,
}

/// One image for one platform.
#[derive(Debug)]
struct Single {
    config: Value,
    manifest: Value,
    /// What is unusual about how the two are written.
    unusual: Vec<String>,
    /// Uncompressed, in order.
    layers: Vec<Vec<u8>>,
}

impl Image {
    /// Reads an OCI layout: a folder, or a tar archive of one. Every blob is checked against its digest.
    pub fn read(path: &Path) -> Result<Self> {
        let files = if path.is_dir() { folder_files(path)? } else { archive_files(path)? };
        let index_bytes = files.get("index.json").context("the layout has no `index.json`")?;
        let index = document(index_bytes)?;
        let mut unusual = form::unusual_index(index_bytes);
        unusual.extend(files.get("manifest.json").map(|bytes| form::docker_manifest(bytes)));
        let root_bytes = blob(&files, &index["manifests"][0]["digest"])?;
        let root = document(root_bytes)?;
        let Some(entries) = root.get("manifests").and_then(Value::as_array) else {
            return Ok(Self { index, unusual, list: None, images: vec![Single::read(&files, root_bytes)?] });
        };
        unusual.extend(form::unusual_list(root_bytes));
        let image = |entry: &Value| Single::read(&files, blob(&files, &entry["digest"])?);
        let images = entries.iter().map(image).collect::<Result<Vec<_>>>()?;
        ensure!(!images.is_empty(), "an index without manifests");
        Ok(Self { index, unusual, list: Some(root), images })
    }

    /// The labels of its config.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.images[0].config["config"]["Labels"].as_object();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        labels.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// The summary, as the module describes it.
    pub fn summary(&self, base: &Base) -> Result<String> {
        let Some(list) = &self.list else {
            let names = form::names(&self.index, &self.images[0].manifest);
            return Ok(joined(&self.images[0].lines(base, &names, &self.unusual)?));
        };
        let mut lines = form::names(&self.index, list);
        lines.extend(self.unusual.iter().cloned());
        lines.extend(form::unusual_list_type(list));
        for (index, image) in self.images.iter().enumerate() {
            let entry = &list["manifests"][index];
            lines.push(format!("image {}", native_or_name(&entry["platform"])));
            lines.extend(form::descriptor_annotations(entry));
            lines.extend(image.lines(base, &form::annotations(&image.manifest), &[])?);
        }
        Ok(joined(&lines))
    }

    /// The config and the layers of a single image, however the layout that it was saved in is written.
    pub fn content(&self, base: &Base) -> Result<String> {
        Ok(joined(&self.images[0].lines(base, &[], &[])?))
    }

    /// Whether `text` occurs in the config or anywhere in a layer.
    pub fn contains(&self, text: &str) -> bool {
        let has = |bytes: &[u8]| contains(bytes, text.as_bytes());
        self.images.iter().any(|image| has(image.config.to_string().as_bytes()) || image.layers.iter().any(|l| has(l)))
    }

    /// Number of history entries.
    pub fn n_history(&self) -> usize {
        self.images[0].config["history"].as_array().map_or(0, Vec::len)
    }

    /// The digests of the uncompressed layers, as the config lists them.
    pub fn diff_ids(&self) -> Vec<String> {
        self.images[0].diff_ids()
    }
}

impl Single {
    fn read(files: &BTreeMap<String, Vec<u8>>, manifest_bytes: &[u8]) -> Result<Self> {
        let manifest = document(manifest_bytes)?;
        let config_bytes = blob(files, &manifest["config"]["digest"])?;
        let config = document(config_bytes)?;
        let unusual = form::unusual(config_bytes, manifest_bytes);
        let mut layers = Vec::new();
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            layers.push(decompress(blob(files, &layer["digest"])?)?);
        }
        let image = Self { config, manifest, unusual, layers };
        image.verify_diff_ids()?;
        Ok(image)
    }

    /// The lines of the summary. `names` and `unusual` are what is to be said of it besides its own documents.
    fn lines(&self, base: &Base, names: &[String], unusual: &[String]) -> Result<Vec<String>> {
        let n_base_layers = if self.diff_ids().starts_with(&base.diff_ids) { base.diff_ids.len() } else { 0 };
        let n_base_history = if n_base_layers > 0 { base.n_history } else { 0 };
        let mut lines = vec![format!("platform {}", native_or_name(&self.config))];
        for key in CONFIG_KEYS {
            let value = &self.config["config"][key];
            if !is_empty(value) {
                lines.push(format!("config {key} {}", sorted(value)));
            }
        }
        if let Some(author) = self.config.get("author") {
            lines.push(format!("author {author}"));
        }
        lines.extend(names.iter().cloned());
        let history = self.config["history"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, entry) in history.iter().enumerate() {
            lines.push(match index < n_base_history {
                true => "history base".to_owned(),
                false => history_line(entry) + time_remark(history, index, n_base_history),
            });
        }
        if self.config["created"] != history.last().map_or(Value::Null, |last| last["created"].clone()) {
            lines.push("created at another time than the last entry of the history".to_owned());
        }
        lines.extend(self.unusual.iter().chain(unusual).cloned());
        lines.extend(form::unusual_types(&self.manifest));
        for (index, layer) in self.layers.iter().enumerate() {
            if index < n_base_layers {
                lines.push("layer base".to_owned());
                continue;
            }
            let media_type = &self.manifest["layers"][index]["mediaType"];
            let remark = if media_type == form::USUAL_LAYER { String::new() } else { format!(" {media_type}") };
            lines.push(format!("layer{remark}"));
            lines.extend(entry_lines(tar::read(layer)?).into_iter().map(|l| format!("  {l}")));
        }
        Ok(lines)
    }

    fn diff_ids(&self) -> Vec<String> {
        self.config["rootfs"]["diff_ids"].as_array().into_iter().flatten().map(plain).collect()
    }

    fn verify_diff_ids(&self) -> Result<()> {
        let actual: Vec<_> = self.layers.iter().map(|l| format!("sha256:{}", sha256(l))).collect();
        ensure!(actual == self.diff_ids(), "the layers do not match `rootfs.diff_ids`");
        Ok(())
    }
}

/// The platform that a config or an entry of an index states.
fn native_or_name(stated: &Value) -> String {
    let platform = format!("{}/{}", plain(&stated["os"]), plain(&stated["architecture"]));
    let variant = stated["variant"].as_str().map(|variant| format!("/{variant}")).unwrap_or_default();
    if platform == format!("linux/{}", base::architecture()) { "native".to_owned() } else { platform + &variant }
}

/// The summary of a tar archive, as `type=tar` makes it.
pub fn archive_summary(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read({})", path.display()))?;
    Ok(joined(&entry_lines(tar::read(&bytes)?)))
}

/// The summary of a folder, as `type=local` makes it: without owners, which that output does not keep.
pub fn folder_summary(root: &Path) -> Result<String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![String::new()];
    while let Some(folder) = pending.pop() {
        for item in fs::read_dir(root.join(&folder)).with_context(|| format!("read_dir({})", root.display()))? {
            let name = item?.file_name();
            let path = format!("{folder}{}", name.to_string_lossy());
            let metadata = root.join(&path).symlink_metadata()?;
            if metadata.is_dir() {
                pending.push(format!("{path}/"));
            }
            found.insert(path, metadata);
        }
    }
    let mut first_names = BTreeMap::new();
    let mut lines = Vec::new();
    for (path, metadata) in &found {
        let full = root.join(path);
        let mode = metadata.permissions().mode() & 0o7777;
        let mut entry = Entry { mode, mtime: metadata.mtime(), path: path.clone(), ..Entry::default() };
        let first = first_names.entry((metadata.dev(), metadata.ino())).or_insert(path);
        if metadata.is_dir() {
            entry.kind = Kind::Directory;
            entry.path.push('/');
        } else if *first != path {
            entry.kind = Kind::Hardlink;
            entry.link = first.to_string();
        } else if metadata.is_symlink() {
            entry.kind = Kind::Symlink;
            entry.link = fs::read_link(&full)?.to_string_lossy().into_owned();
        } else {
            entry.data = fs::read(&full)?;
        }
        lines.push(entry_line(&entry, None));
    }
    Ok(joined(&lines))
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether `needle` occurs in `bytes`.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

/// Whether `needle` occurs in `bytes`, or in what they are the compressed form of.
pub fn contains_inside(bytes: &[u8], needle: &[u8]) -> bool {
    contains(bytes, needle) || decompress(bytes).is_ok_and(|plain| contains(&plain, needle))
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|l| format!("{l}\n")).collect()
}

fn folder_files(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for item in fs::read_dir(&folder).with_context(|| format!("read_dir({})", folder.display()))? {
            let path = item?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(files)
}

fn archive_files(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = fs::read(path).with_context(|| format!("read({})", path.display()))?;
    let entries = tar::read(&bytes).with_context(|| path.display().to_string())?;
    Ok(entries.into_iter().map(|e| (e.path.trim_start_matches("./").to_owned(), e.data)).collect())
}

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &Value) -> Result<&'a [u8]> {
    let digest = plain(digest);
    let path = format!("blobs/{}", digest.replace(':', "/"));
    let bytes = files.get(&path).with_context(|| format!("the layout has no `{path}`"))?;
    ensure!(digest == format!("sha256:{}", sha256(bytes)), "blob {digest} does not match its digest");
    Ok(bytes)
}

fn document(bytes: &[u8]) -> Result<Value> {
    Ok(serde_json::from_slice(bytes)?)
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match bytes {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).map(drop)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => out = zstd::decode_all(bytes)?,
        _ => out.extend_from_slice(bytes),
    }
    Ok(out)
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(_) => false,
    }
}

/// The same value with the members of every object sorted by key.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn history_line(entry: &Value) -> String {
    let mut line = format!("history {}", entry.get("created_by").cloned().unwrap_or_else(|| "".into()));
    if entry["empty_layer"] == true {
        line.push_str(" empty");
    }
    // Every step of a Dockerfile has this comment; only another one is worth a word.
    let comment = plain(&entry["comment"]);
    if comment != "buildkit.dockerfile.v0" {
        line.push_str(&format!(" comment={comment:?}"));
    }
    let created = plain(&entry["created"]);
    if !created.is_empty() && created.as_str() < OLDEST_YEAR {
        line.push_str(&format!(" @{created}"));
    }
    line
}

/// What is unusual about the time of the history entry at `index`. One with a layer has the layer's time; those without
/// that of the entry before, but the first of them, and what directly follows it, that of the next layer.
fn time_remark(history: &[Value], index: usize, n_base: usize) -> &'static str {
    let has_layer = |entry: &&Value| entry["empty_layer"] != true;
    let entry = &history[index];
    let next_layer = history[index..].iter().find(has_layer);
    let is_first = !history[n_base..index].iter().skip_while(has_layer).any(|entry| has_layer(&entry));
    let neighbour = match next_layer {
        Some(layer) if is_first => Some(layer),
        _ => history[..index].last(),
    };
    match neighbour {
        _ if has_layer(&entry) => "",
        Some(neighbour) if neighbour["created"] != entry["created"] => " at another time than its neighbour",
        _ => "",
    }
}

/// One line an entry, sorted by path.
fn entry_lines(entries: Vec<Entry>) -> Vec<String> {
    let mut lines: Vec<_> = entries
        .iter()
        .map(|e| (e.path.trim_start_matches("./").trim_start_matches('/'), e))
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, entry)| (path.to_owned(), entry_line(entry, Some((entry.uid, entry.gid)))))
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn entry_line(entry: &Entry, owner: Option<(u64, u64)>) -> String {
    let path = entry.path.trim_start_matches("./").trim_start_matches('/');
    let path = if path.contains([' ', '\n', '"']) { format!("{path:?}") } else { path.to_owned() };
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if let Some(removed) = name.strip_prefix(".wh.").filter(|_| entry.kind == Kind::File) {
        let slash = if folder.is_empty() { "" } else { "/" };
        return format!("w {folder}{slash}{removed}{}", time(entry));
    }
    let owner = owner.map(|(uid, gid)| format!(" {uid}:{gid}")).unwrap_or_default();
    let start = format!("{} {:04o}{owner} {path}", letter(entry.kind), entry.mode);
    let xattrs: String = entry.xattrs.iter().map(|(k, v)| format!(" {k}={}", &sha256(v)[..16])).collect();
    match entry.kind {
        Kind::File => format!("{start} {}{}{xattrs}", content(&entry.data), time(entry)),
        Kind::Symlink | Kind::Hardlink => format!("{start} -> {}{xattrs}", entry.link),
        Kind::CharDevice | Kind::BlockDevice | Kind::Directory | Kind::Fifo => format!("{start}{xattrs}"),
    }
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Hardlink => 'h',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Directory => 'd',
        Kind::Fifo => 'p',
    }
}

fn content(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if data.len() <= SHOWN_BYTES && !text.contains('\0') => Value::from(text).to_string(),
        _ => format!("{} bytes {}", data.len(), &sha256(data)[..16]),
    }
}

fn time(entry: &Entry) -> String {
    if entry.mtime < OLDEST_CLOCK { format!(" @{}", entry.mtime) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, data: &[u8]) -> Entry {
        Entry { path: path.into(), mode: 0o644, mtime: OLDEST_CLOCK, data: data.to_vec(), ..Entry::default() }
    }

    #[test]
    fn entries_are_sorted_and_short_texts_shown() {
        let link = Entry { kind: Kind::Symlink, link: "b".into(), ..file("a", b"") };
        let lines = entry_lines(vec![file("./b", b"hi\n"), link, file("z", &[0; 3])]);
        assert_eq!(lines[0], "l 0644 0:0 a -> b");
        assert_eq!(lines[1], r#"f 0644 0:0 b "hi\n""#);
        assert!(lines[2].starts_with("f 0644 0:0 z 3 bytes 709e80c8"), "{}", lines[2]);
    }

    #[test]
    fn a_whiteout_names_what_it_removes() {
        assert_eq!(entry_lines(vec![file("etc/.wh.passwd", b"")]), ["w etc/passwd"]);
    }

    #[test]
    fn only_old_times_are_shown() {
        let old = Entry { mtime: 5, ..file("a", b"x") };
        assert_eq!(entry_lines(vec![old]), [r#"f 0644 0:0 a "x" @5"#]);
    }

    #[test]
    fn history_says_what_is_unusual() {
        let entry =
            serde_json::json!({"created_by": "USER x", "empty_layer": true, "comment": "buildkit.dockerfile.v0"});
        assert_eq!(history_line(&entry), r#"history "USER x" empty"#);
        let entry = serde_json::json!({"created_by": "x", "comment": "other"});
        assert_eq!(history_line(&entry), r#"history "x" comment="other""#);
    }

    #[test]
    fn empty_members_of_the_config_count_as_absent() {
        assert!(is_empty(&serde_json::json!([])) && is_empty(&Value::Null) && !is_empty(&serde_json::json!([""])));
    }
}
