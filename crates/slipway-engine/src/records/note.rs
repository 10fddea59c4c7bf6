//! What was a step's key made of?
//!
//! A note says the same as the key ([`Op::write_key`] and what `EngineOps` adds to it), in parts that people know: when
//! two keys differ, at least one part of their notes does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use slipway_graph::op::{Exec, FileAction, Mode, Mount, Op, Owner, OwnerId, Source};
use slipway_graph::{Vertex, git};
use slipway_oci::Digest;

use crate::context::Manifest;

const TELLTALES: [&str; 9] =
    ["apikey", "auth", "credential", "credentials", "password", "passwd", "pword", "secret", "token"];
const COMPRESSION_LEVEL: i32 = 1;
const MAX_NOTE_BYTES: usize = 16 << 20;

/// A kind of ingredient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// What the instruction itself says.
    Instruction,
    BuildArgument,
    Environment,
    /// A mount of `RUN`, by its target.
    Mount,
    /// The value of a secret that counts; what is shown of it only tells it from others.
    Secret,
    /// What the base image's name stands for.
    Base,
    /// The content of a URL, the commit of a git reference.
    Remote,
    /// Files of a folder of the host; the value is the digest of the selection.
    Files,
    /// An input, by its place; the value is its key.
    Parent,
}

/// One ingredient.
pub(super) type PartName = (PartKind, String);

/// All ingredients of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note(pub(super) BTreeMap<PartName, String>);

impl Note {
    /// What the vertex itself says. `arg_names`: the variables that build arguments set.
    pub(super) fn of(vertex: &Vertex, key: &Digest, arg_names: &BTreeSet<String>) -> Note {
        let mut note = Note::default();
        match &vertex.op {
            Op::Source(source) => note.add_source(source, key),
            Op::Exec(exec) => {
                note.add(PartKind::Instruction, "platform", vertex.platform.to_string());
                note.add_exec(exec, arg_names);
            }
            Op::File(file) => file.actions.iter().for_each(|action| note.add_action(action)),
            Op::Merge => note.add(PartKind::Instruction, "link", String::new()),
        }
        note
    }

    /// Adds an ingredient. Of several with one name, all count.
    pub(super) fn add(&mut self, kind: PartKind, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let mut unique = name.clone();
        let mut number = 2;
        while self.0.contains_key(&(kind, unique.clone())) {
            unique = format!("{name} #{number}");
            number += 1;
        }
        self.0.insert((kind, unique), value.into());
    }

    /// In a form that can be kept.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let parts: Vec<_> = self.0.iter().map(|((kind, name), value)| (kind, name, value)).collect();
        compressed(&serde_json::to_vec(&parts).ok()?)
    }

    /// Reads what [`Note::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Note> {
        let parts: Vec<(PartKind, String, String)> = serde_json::from_slice(&decompressed(bytes)?).ok()?;
        Some(Note(parts.into_iter().map(|(kind, name, value)| ((kind, name), value)).collect()))
    }

    fn add_source(&mut self, source: &Source, key: &Digest) {
        match source {
            Source::Scratch | Source::Local(_) => {}
            Source::Image(image) => {
                let layers = image.chain_id.as_ref().map_or("none", |chain| chain.0.as_str());
                // The digest is what changes, so it is no part of the name.
                let name = image.reference.familiar();
                self.add(PartKind::Base, name.split('@').next().unwrap_or(&name), layers);
            }
            Source::Http(http) => self.add(PartKind::Remote, git::redacted(&http.url), key.as_str()),
            Source::Git(git) => {
                self.add(PartKind::Remote, format!("{}#{}", git.remote.url(), git.revision), key.as_str())
            }
        }
    }

    fn add_exec(&mut self, exec: &Exec, arg_names: &BTreeSet<String>) {
        use PartKind::{BuildArgument, Environment, Instruction};
        self.add(Instruction, "command", exec.args.join(" "));
        for variable in &exec.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            let kind = if arg_names.contains(name) { BuildArgument } else { Environment };
            self.add(kind, name, shown_value(name, value));
        }
        self.add(Instruction, "working directory", exec.cwd.as_str());
        self.add(Instruction, "user", exec.user.as_str());
        self.add(Instruction, "host name", exec.hostname.as_str());
        self.add(Instruction, "--network", format!("{:?}", exec.network).to_lowercase());
        self.add(Instruction, "--security", format!("{:?}", exec.security).to_lowercase());
        for mount in &exec.mounts {
            self.add_mount(mount);
        }
        let host_names: Vec<&str> = exec.extra_hosts.iter().map(|(name, _)| name.as_str()).collect();
        self.add(Instruction, "--add-host", host_names.join(" "));
        self.add(Instruction, "--shm-size", exec.shm_size_bytes.unwrap_or(0).to_string());
        let ulimits = exec.ulimits.iter().map(|limit| format!("{}={}:{}", limit.kind, limit.soft, limit.hard));
        self.add(Instruction, "--ulimit", ulimits.collect::<Vec<_>>().join(" "));
    }

    /// The options of a mount that are in the key.
    fn add_mount(&mut self, mount: &Mount) {
        let (target, options) = match mount {
            Mount::Bind { source, target, is_readonly, .. } => {
                (target.clone(), format!("bind {source}{}", read_only(*is_readonly)))
            }
            Mount::Cache(cache) => (cache.target.clone(), format!("cache{}", read_only(cache.is_readonly))),
            Mount::Tmpfs { target, size_bytes, is_readonly } => {
                (target.clone(), format!("tmpfs size={}{}", size_bytes.unwrap_or(0), read_only(*is_readonly)))
            }
            Mount::Secret(secret) => {
                let env = secret.env.as_deref().unwrap_or_default();
                let target = secret.target.clone().unwrap_or_else(|| format!("variable {env}"));
                let owner = format!("{:o} {}:{}", secret.mode, secret.uid, secret.gid);
                (target, format!("secret id={} env={env} {owner} required={}", secret.id, secret.is_required))
            }
            Mount::Ssh(ssh) => {
                let owner = format!("{:o} {}:{}", ssh.mode, ssh.uid, ssh.gid);
                (ssh.target.clone(), format!("ssh id={} {owner} required={}", ssh.id, ssh.is_required))
            }
        };
        self.add(PartKind::Mount, target, options);
    }

    fn add_action(&mut self, action: &FileAction) {
        use PartKind::Instruction;
        match action {
            FileAction::Copy(copy) => {
                self.add(Instruction, "source", copy.source.as_str());
                self.add(Instruction, "destination", copy.dest.as_str());
                self.add(Instruction, "wildcard", copy.has_wildcard.to_string());
                self.add(Instruction, "unpacking", format!("{:?}", copy.unpack));
                self.add_owner_and_mode(copy.owner.as_ref(), copy.mode.as_ref());
                self.add(Instruction, "--exclude", copy.excludes.join(" "));
                self.add(Instruction, "--parents", copy.parents_root.as_deref().unwrap_or("no"));
            }
            FileAction::Mkfile(file) => {
                self.add(Instruction, "destination", format!("{} {}", file.dest, file.name));
                self.add(Instruction, "text of the heredoc", short(&Digest::of(&file.data)));
                self.add_owner_and_mode(file.owner.as_ref(), file.mode.as_ref());
            }
            FileAction::Mkdir(dir) => {
                self.add(Instruction, "folder", format!("{} {:o} {:?}", dir.path, dir.mode, dir.mtime));
                self.add_owner_and_mode(dir.owner.as_ref(), None);
            }
        }
    }

    fn add_owner_and_mode(&mut self, owner: Option<&Owner>, mode: Option<&Mode>) {
        let id = |id: &OwnerId| match id {
            OwnerId::Number(number) => number.to_string(),
            OwnerId::Name(name) => name.clone(),
        };
        let group = |owner: &Owner| owner.group.as_ref().map(|group| format!(":{}", id(group))).unwrap_or_default();
        let owner = owner.map(|owner| id(&owner.user) + &group(owner)).unwrap_or_default();
        let mode = match mode {
            None => String::new(),
            Some(Mode::Octal(mode)) => format!("{mode:o}"),
            Some(Mode::Symbolic(text)) => text.clone(),
        };
        self.add(PartKind::Instruction, "--chown", owner);
        self.add(PartKind::Instruction, "--chmod", mode);
    }
}

impl Manifest {
    /// In a form that can be kept.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        compressed(self.to_text().as_bytes())
    }

    /// Reads what [`Manifest::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Manifest> {
        Manifest::from_text(&String::from_utf8(decompressed(bytes)?).ok()?)
    }
}

/// The value of a variable, or something that only tells it from others if its name says that it is a secret.
pub(super) fn shown_value(name: &str, value: &str) -> String {
    let lower = name.to_lowercase();
    match lower.split('_').any(|word| TELLTALES.contains(&word)) {
        true => format!("hidden, {}", short(&Digest::of(value.as_bytes()))),
        false => value.to_owned(),
    }
}

/// Enough of a digest to tell two apart.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

fn read_only(is_readonly: bool) -> &'static str {
    if is_readonly { " ro" } else { " rw" }
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(bytes, COMPRESSION_LEVEL).ok()
}

fn decompressed(bytes: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(bytes, MAX_NOTE_BYTES).ok()
}
