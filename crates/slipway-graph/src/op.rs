//! The kinds of work. Each op knows what of it belongs into a cache key ([`Op::write_key`]) and nothing about how
//! it is carried out.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slipway_oci::{ChainId, Checksum, Digest, Platform, Reference};

use crate::git::{GitReference, GitRemote, GitTimes};
use crate::key::KeyWriter;

/// A kind of work, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Files from outside the graph. No inputs.
    Source(Source),
    /// Runs a program. Input 0 is its root file system; the others are used by its mounts.
    Exec(Exec),
    /// Changes files. Input 0 is the file system that is changed; the others are copied from.
    File(FileOp),
    /// Puts the newest layer of input 1 on top of input 0 without looking at either (`COPY --link`).
    Merge,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// No files at all.
    Scratch,
    Image(ImageSource),
    Local(LocalSource),
    Http(HttpSource),
    Git(GitSource),
}

/// The root file system of an image that lowering has already seen the config of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageSource {
    /// As the user wrote it.
    pub written: Reference,
    pub reference: Reference,
    pub origin: ImageOrigin,
    /// Digest of the manifest for `platform`.
    pub manifest: Digest,
    pub platform: Platform,
    /// Names the stack of layers; `None` if the image has none. Two tags with the same layers are the same source.
    pub chain_id: Option<ChainId>,
}

/// Who has the image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageOrigin {
    Registry,
    /// A folder in OCI layout.
    OciLayout(PathBuf),
    /// slipway's own image store.
    Store,
}

/// A folder of the host: the build context or a named context. Which of its files matter is said by the ops that
/// copy or mount it; ignore rules belong to the folder and are applied when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalSource {
    /// `context` for the main context, else the name of the named context.
    pub name: String,
    /// Which folder that is: builds that share a graph may call different ones by the same name.
    pub folder: FolderId,
}

/// A folder of the host, by its number in the list that whoever carries the graph out has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId(pub usize);

/// One file fetched by HTTP(S); the result holds just that file at its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpSource {
    pub url: String,
    /// Name of the file in the result.
    pub filename: String,
    pub checksum: Option<Checksum>,
}

/// The files of one commit of a git repository. Secrets that may be sent are found by the remote's host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GitSource {
    pub remote: GitRemote,
    /// Branch, tag, `refs/…` or commit; empty is the default branch.
    pub revision: String,
    /// A folder of the repository whose content is wanted; empty is the top.
    pub subdir: String,
    /// Whether `.git` stays, if all of the repository is wanted.
    pub keeps_git_dir: bool,
    pub has_submodules: bool,
    /// What the hash of the commit has to begin with.
    pub checksum: Option<String>,
    pub times: GitTimes,
}

/// A `RUN` step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exec {
    pub args: Vec<String>,
    /// `KEY=value`, in the order that the program sees them; config and build args.
    pub env: Vec<String>,
    /// Proxy settings, which go over `env`; never part of a key (`spec/dockerfile.md` section 2.5).
    pub proxy_env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// As in the image config: empty, `name`, `uid`, `user:group`.
    pub user: String,
    pub hostname: String,
    pub network: Network,
    pub security: Security,
    /// In the order of the instruction.
    pub mounts: Vec<Mount>,
    /// Additional lines of `/etc/hosts`.
    pub extra_hosts: Vec<(String, HostAddress)>,
    /// Size of `/dev/shm`; `None` is 64 MiB.
    pub shm_size_bytes: Option<u64>,
    pub ulimits: Vec<Ulimit>,
}

/// What a step can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

/// What a name of `--add-host` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostAddress {
    Fixed(IpAddr),
    /// `host-gateway`: the machine that builds, as a step sees it.
    Gateway,
}

/// How far a step is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    #[default]
    Sandbox,
    Insecure,
}

/// `--ulimit type=soft[:hard]`; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ulimit {
    pub kind: String,
    pub soft: i64,
    pub hard: i64,
}

/// One `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mount {
    /// Files of an input. Writes, where allowed, are thrown away.
    Bind {
        input: usize,
        source: String,
        target: String,
        is_readonly: bool,
    },
    /// A folder that outlives the build.
    Cache(CacheMount),
    Tmpfs {
        target: String,
        size_bytes: Option<u64>,
        is_readonly: bool,
    },
    Secret(SecretMount),
    Ssh(SshMount),
}

/// `RUN --mount=type=cache`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheMount {
    /// `<namespace>/<id>`.
    pub id: String,
    pub target: String,
    pub sharing: CacheSharing,
    /// The input whose files at `source` a fresh cache starts with.
    pub from: Option<usize>,
    /// What is mounted: a path in the cache, or in what it starts from.
    pub source: String,
    /// Given for a cache that starts with an empty folder of this owner, which is another one than without.
    pub owner: Option<CacheOwner>,
    pub is_readonly: bool,
}

/// The owner and mode of the empty folder that a cache starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheOwner {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Who may use a cache mount at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    #[default]
    Shared,
    Private,
    Locked,
}

/// `RUN --mount=type=secret`. Only the id is known here, never the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretMount {
    pub id: String,
    /// `None` if the secret is only wanted as a variable.
    pub target: Option<String>,
    pub env: Option<String>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub is_required: bool,
}

/// `RUN --mount=type=ssh`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SshMount {
    pub id: String,
    pub target: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub is_required: bool,
}

/// Changes of files, carried out in order; together they make one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileOp {
    pub actions: Vec<FileAction>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FileAction {
    Copy(CopyAction),
    Mkfile(MkfileAction),
    Mkdir(MkdirAction),
}

/// One source of a `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CopyAction {
    /// Which input of the vertex is copied from.
    pub input: usize,
    /// Path or pattern in the input; absolute and clean, a leading `/` meaning the input's root.
    pub source: String,
    /// Absolute path in the changed file system. A trailing `/` (or `/.`) says that it is a folder.
    pub dest: String,
    /// Whether `*`, `?` and `[` in `source` are wildcards; a wildcard that matches nothing copies nothing.
    pub has_wildcard: bool,
    pub unpack: Unpack,
    pub owner: Option<Owner>,
    pub mode: Option<Mode>,
    /// Patterns of `--exclude`, relative to each copied folder.
    pub excludes: Vec<String>,
    /// `--parents`: the part of `source` below this root is kept below `dest`; `None` without the flag.
    pub parents_root: Option<String>,
}

/// Whether an archive is unpacked instead of copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpack {
    Never,
    /// If the file proves to be one (`ADD` of a local file).
    IfArchive,
}

/// A new file (heredoc of `COPY` or `ADD`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MkfileAction {
    /// Absolute; a trailing `/` is a folder that gets the file `name`.
    pub dest: String,
    pub name: String,
    pub data: Vec<u8>,
    pub owner: Option<Owner>,
    /// Of the file and of folders that are made for it; `None` is 0644 for the file, 0755 for folders.
    pub mode: Option<Mode>,
}

/// A new folder with all its parents (`WORKDIR`); one that exists is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MkdirAction {
    /// Absolute.
    pub path: String,
    pub mode: u32,
    pub owner: Option<Owner>,
    /// Modification time of new folders, seconds since 1970; `None` is now. Part of the key.
    pub mtime: Option<i64>,
}

/// User and group; names are looked up in the changed file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub user: OwnerId,
    /// `None`: the group that goes with the user (`spec/dockerfile.md` section 3.4, `--chown`).
    pub group: Option<OwnerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnerId {
    Number(u32),
    Name(String),
}

/// `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Octal(u32),
    /// `u=rwX,go=rX`; already checked to be well formed.
    Symbolic(String),
}

impl From<GitReference> for GitSource {
    /// The source that a reference asks for where nothing else is said.
    fn from(reference: GitReference) -> GitSource {
        GitSource {
            remote: reference.remote,
            revision: reference.revision,
            subdir: reference.subdir,
            keeps_git_dir: reference.keeps_git_dir.unwrap_or(false),
            has_submodules: reference.has_submodules.unwrap_or(true),
            checksum: reference.checksum,
            times: reference.times.unwrap_or_default(),
        }
    }
}

impl Op {
    /// Writes everything about the op that may change its result. Left out on purpose: proxies, IP addresses of
    /// extra hosts, id, sharing and content of cache mounts, secret values, the place an image comes from.
    ///
    /// A copy writes neither its source path nor its name where only content matters; who computes the key adds the
    /// content of the source (`spec/dockerfile.md` section 7.1).
    pub fn write_key(&self, key: &mut KeyWriter) {
        match self {
            Op::Source(source) => source.write_key(key.text("source")),
            Op::Exec(exec) => exec.write_key(key.text("exec")),
            Op::File(file) => file.write_key(key.text("file")),
            Op::Merge => {
                key.text("merge");
            }
        }
    }
}

impl Source {
    fn write_key(&self, key: &mut KeyWriter) {
        match self {
            Source::Scratch => {
                key.text("scratch");
            }
            Source::Image(image) => match &image.chain_id {
                Some(chain_id) => {
                    key.text("image").text(chain_id.0.as_str());
                }
                None => {
                    key.text("scratch");
                }
            },
            // What a folder holds is part of the keys of those who read it.
            Source::Local(local) => {
                key.text("local").text(&local.name);
            }
            Source::Http(http) => {
                key.text("http").text(&http.url).text(&http.filename);
                key.optional_text(http.checksum.as_ref().map(Checksum::as_str));
            }
            Source::Git(git) => {
                key.text("git").text(git.remote.url()).text(&git.revision).text(&git.subdir);
                key.flag(git.keeps_git_dir).flag(git.has_submodules).optional_text(git.checksum.as_deref());
                key.number(git.times as u64);
            }
        }
    }
}

impl Exec {
    fn write_key(&self, key: &mut KeyWriter) {
        key.texts(&self.args).texts(&self.env).text(&self.cwd).text(&self.user).text(&self.hostname);
        key.number(self.network as u64).number(self.security as u64);
        key.number(self.mounts.len() as u64);
        for mount in &self.mounts {
            mount.write_key(key);
        }
        let host_names: Vec<&str> = self.extra_hosts.iter().map(|(name, _)| name.as_str()).collect();
        key.texts(&host_names).number(self.shm_size_bytes.unwrap_or(0)).number(self.ulimits.len() as u64);
        for ulimit in &self.ulimits {
            key.text(&ulimit.kind).text(&ulimit.soft.to_string()).text(&ulimit.hard.to_string());
        }
    }
}

impl Mount {
    fn write_key(&self, key: &mut KeyWriter) {
        match self {
            Mount::Bind { input, source, target, is_readonly } => {
                key.text("bind").number(*input as u64).text(source).text(target).flag(*is_readonly);
            }
            Mount::Cache(cache) => {
                key.text("cache").text(&cache.target).flag(cache.is_readonly);
            }
            Mount::Tmpfs { target, size_bytes, is_readonly } => {
                key.text("tmpfs").text(target).number(size_bytes.unwrap_or(0)).flag(*is_readonly);
            }
            Mount::Secret(secret) => {
                key.text("secret").text(&secret.id);
                key.optional_text(secret.target.as_deref()).optional_text(secret.env.as_deref());
                key.number(secret.mode.into()).number(secret.uid.into()).number(secret.gid.into());
                key.flag(secret.is_required);
            }
            Mount::Ssh(ssh) => {
                key.text("ssh").text(&ssh.id).text(&ssh.target);
                key.number(ssh.mode.into()).number(ssh.uid.into()).number(ssh.gid.into()).flag(ssh.is_required);
            }
        }
    }
}

impl FileOp {
    fn write_key(&self, key: &mut KeyWriter) {
        key.number(self.actions.len() as u64);
        for action in &self.actions {
            match action {
                FileAction::Copy(copy) => copy.write_key(key.text("copy")),
                FileAction::Mkfile(file) => {
                    key.text("mkfile").text(&file.dest).text(&file.name).bytes(&file.data);
                    write_owner(key, file.owner.as_ref());
                    write_mode(key, file.mode.as_ref());
                }
                FileAction::Mkdir(dir) => {
                    key.text("mkdir").text(&dir.path).number(dir.mode.into());
                    write_owner(key, dir.owner.as_ref());
                    key.optional_text(dir.mtime.map(|t| t.to_string()).as_deref());
                }
            }
        }
    }
}

impl CopyAction {
    fn write_key(&self, key: &mut KeyWriter) {
        key.number(self.input as u64).text(&self.dest).flag(self.unpack == Unpack::IfArchive);
        // A renamed file with the same content is a hit only where its own name cannot show in the result:
        // copied to a folder it keeps its base name.
        key.text(self.source.rsplit('/').next().unwrap_or_default()).flag(self.has_wildcard);
        write_owner(key, self.owner.as_ref());
        write_mode(key, self.mode.as_ref());
        key.texts(&self.excludes).optional_text(self.parents_root.as_deref());
    }
}

fn write_owner(key: &mut KeyWriter, owner: Option<&Owner>) {
    let id = |key: &mut KeyWriter, id: &OwnerId| match id {
        OwnerId::Number(number) => {
            key.text("number").number((*number).into());
        }
        OwnerId::Name(name) => {
            key.text("name").text(name);
        }
    };
    key.flag(owner.is_some());
    if let Some(owner) = owner {
        id(key, &owner.user);
        key.flag(owner.group.is_some());
        if let Some(group) = &owner.group {
            id(key, group);
        }
    }
}

fn write_mode(key: &mut KeyWriter, mode: Option<&Mode>) {
    match mode {
        None => key.text("kept"),
        Some(Mode::Octal(mode)) => key.text("octal").number((*mode).into()),
        Some(Mode::Symbolic(text)) => key.text("symbolic").text(text),
    };
}
