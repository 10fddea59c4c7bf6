//! `RUN --mount=` (`spec/dockerfile.md` section 3.2.1).

use slipway_graph::op::{CacheMount, CacheOwner, CacheSharing, Mount, SecretMount, SshMount};
use slipway_graph::{VertexId, size};

use crate::facts::Seen;
use crate::quote::quoted;
use crate::stage_builder::Step;
use crate::{Diagnostic, paths, suggest};

/// The options of a mount, as far as they are given.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    kind: Kind,
    pub(super) from: Option<String>,
    source: String,
    pub(super) target: String,
    is_readonly: Option<bool>,
    id: String,
    sharing: Option<CacheSharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    is_required: bool,
    size_bytes: Option<u64>,
    env: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Bind, Kind::Cache, Kind::Tmpfs, Kind::Secret, Kind::Ssh];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Bind => "bind",
            Kind::Cache => "cache",
            Kind::Tmpfs => "tmpfs",
            Kind::Secret => "secret",
            Kind::Ssh => "ssh",
        }
    }
}

const KEYS: [&str; 18] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "size",
];

/// The part of the `mode=` of secrets and sockets that counts: the reference has no place for setuid, setgid and
/// sticky bits.
const PERMISSIONS: u32 = 0o777;

/// The stage, image or context that a mount takes files from, and its target: known before variables are.
pub(super) fn from_and_target(text: &str) -> Result<(Option<String>, String), String> {
    let (mut from, mut target) = (None, String::new());
    for field in fields(text) {
        let Some((key, value)) = field.split_once('=') else { continue };
        match key.to_lowercase().as_str() {
            "from" if value.find('$').is_some_and(|at| at + 1 != value.len()) => {
                return Err("'from' doesn't support variable expansion, define alias stage instead".to_owned());
            }
            "from" => from = Some(value.to_owned()).filter(|from| !from.is_empty()),
            "target" | "dst" | "destination" => target = value.to_owned(),
            _ => {}
        }
    }
    Ok((from, target))
}

/// Reads the options. `expand` fills in variables.
pub(super) fn parse(text: &str, expand: impl Fn(&str) -> Result<String, String>) -> Result<Options, String> {
    let mut options = Options::default();
    for field in fields(text) {
        match field.split_once('=') {
            Some((key, value)) => options.set(&key.to_lowercase(), &expand(value)?, &field)?,
            None => options.set_bare(&field.to_lowercase(), &field)?,
        }
    }
    options.check()?;
    Ok(options)
}

/// The fields of one CSV record: split at commas outside double quotes.
pub(super) fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields.last_mut().expect("because there is one from the start").push(c),
        }
    }
    fields
}

impl Options {
    fn set_bare(&mut self, key: &str, field: &str) -> Result<(), String> {
        match key {
            "readonly" | "ro" => self.is_readonly = Some(true),
            "readwrite" | "rw" => self.is_readonly = Some(false),
            "required" if !self.may_be_required() => return Err(self.misplaced(key)),
            "required" => self.is_required = true,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        let text = value.to_owned();
        match key {
            "type" => self.kind = kind_of(value)?,
            "from" => self.from = Some(text).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = text,
            "target" | "dst" | "destination" => self.target = text,
            "readonly" | "ro" => self.is_readonly = Some(bool_of(key, value)?),
            "readwrite" | "rw" => self.is_readonly = Some(!bool_of(key, value)?),
            "required" if !self.may_be_required() => return Err(self.misplaced(key)),
            "required" => self.is_required = bool_of(key, value)?,
            "size" if self.kind != Kind::Tmpfs => return Err(self.misplaced(key)),
            "size" => {
                self.size_bytes =
                    Some(size::bytes_of(value).ok_or_else(|| format!("invalid value for {key}: {value}"))?);
            }
            "id" => self.id = text,
            "sharing" => self.sharing = Some(sharing_of(value)?),
            "mode" => self.mode = Some(number_of(key, value, 8)?),
            "uid" => self.uid = Some(number_of(key, value, 10)?),
            "gid" => self.gid = Some(number_of(key, value, 10)?),
            "env" => self.env = Some(text),
            _ => {
                let closest = suggest::closest(key, KEYS).map(|k| format!(" (did you mean {k}?)"));
                return Err(format!("unexpected key '{key}' in '{field}'{}", closest.unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn may_be_required(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Ssh)
    }

    fn misplaced(&self, key: &str) -> String {
        format!("unexpected key '{key}' for mount type '{}'", self.kind.as_str())
    }

    /// What can only be said when all options are known.
    fn check(&self) -> Result<(), String> {
        let kind = self.kind.as_str();
        if matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((name, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(format!("{name} not allowed for {} type mounts", quoted(kind)));
            }
        }
        if self.sharing.is_some() && self.kind != Kind::Cache && self.kind != Kind::Secret {
            return Err(format!("invalid cache sharing set for {kind} mount"));
        }
        if self.kind == Kind::Ssh && !self.source.is_empty() {
            return Err("ssh does not support source".to_owned());
        }
        if self.kind != Kind::Secret {
            return Ok(());
        }
        if self.from.is_some() {
            return Err("secret mount should not have a from".to_owned());
        }
        if self.sharing.is_some() {
            return Err("secret mount should not define sharing".to_owned());
        }
        if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
            return Err("invalid secret mount. one of source, target required".to_owned());
        }
        if !self.source.is_empty() && !self.id.is_empty() {
            return Err("both source and id can't be set".to_owned());
        }
        Ok(())
    }

    fn uid_and_gid(&self) -> (u32, u32) {
        (self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }
}

fn kind_of(value: &str) -> Result<Kind, String> {
    let lower = value.to_lowercase();
    Kind::ALL.into_iter().find(|kind| kind.as_str() == lower).ok_or_else(|| {
        let closest = suggest::closest(&lower, Kind::ALL.map(Kind::as_str));
        let tail = closest.map(|kind| format!(" (did you mean {kind}?)")).unwrap_or_default();
        format!("unsupported mount type {}{tail}", quoted(value))
    })
}

fn sharing_of(value: &str) -> Result<CacheSharing, String> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(CacheSharing::Shared),
        "private" => Ok(CacheSharing::Private),
        "locked" => Ok(CacheSharing::Locked),
        _ => Err(format!("unsupported sharing value {}", quoted(value))),
    }
}

pub(super) fn bool_of(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

fn number_of(key: &str, value: &str, base: u32) -> Result<u32, String> {
    let number = u32::from_str_radix(value, base).ok().filter(|_| !value.starts_with('+'));
    number.ok_or_else(|| format!("invalid value {value} for {key}"))
}

/// The inputs of a `RUN` while its mounts are lowered.
pub(super) struct Inputs(pub(super) Vec<VertexId>);

impl Inputs {
    pub(super) fn add(&mut self, vertex: VertexId) -> usize {
        self.0.push(vertex);
        self.0.len() - 1
    }
}

/// `target` as it is written, seen from `cwd` if it is relative; nothing if it is empty.
pub(super) fn absolute(cwd: &str, target: &str) -> String {
    if target.is_empty() || target.starts_with('/') { target.to_owned() } else { paths::join(cwd, target) }
}

/// Turns checked options into a mount. `n_ssh` counts the ssh mounts so far.
pub(super) fn lower(
    options: &Options,
    inputs: &mut Inputs,
    n_ssh: usize,
    step: &mut Step<'_, '_>,
) -> Result<Mount, Diagnostic> {
    let joined = |target: &str| paths::join(step.stage.cwd(), target);
    let is_root = !options.target.is_empty() && joined(&options.target) == "/";
    match options.kind {
        Kind::Secret if is_root => return Err(step.error("invalid mount type SECRET for /")),
        Kind::Ssh if is_root => return Err(step.error("invalid mount type SSH for /")),
        Kind::Secret => {
            let mount = secret(options, joined);
            step.see(Seen::Secret { id: mount.id.clone(), is_required: mount.is_required });
            return Ok(Mount::Secret(mount));
        }
        Kind::Ssh => {
            let mount = ssh(options, n_ssh, joined);
            step.see(Seen::Ssh { id: mount.id.clone(), is_required: mount.is_required });
            return Ok(Mount::Ssh(mount));
        }
        Kind::Bind | Kind::Cache | Kind::Tmpfs => {}
    }
    let target = joined(&options.target);
    if target == "/" {
        return Err(step.error("invalid mount target \"/\""));
    }
    match options.kind {
        Kind::Tmpfs => {
            let is_readonly = options.is_readonly.unwrap_or(false);
            Ok(Mount::Tmpfs { target, size_bytes: options.size_bytes, is_readonly })
        }
        Kind::Cache => cache(options, target, inputs, step),
        Kind::Bind | Kind::Secret | Kind::Ssh => {
            let files = match options.from.as_deref() {
                Some(from) => step.files_of_named(from)?,
                None => step.build.main_context(),
            };
            let source = paths::rooted(&options.source);
            let is_readonly = options.is_readonly.unwrap_or(true);
            Ok(Mount::Bind { input: inputs.add(files), source, target, is_readonly })
        }
    }
}

fn secret(options: &Options, joined: impl Fn(&str) -> String) -> SecretMount {
    let id = [options.source.as_str(), &options.id, paths::base_name(&options.target)]
        .into_iter()
        .find(|id| !id.is_empty())
        .unwrap_or_default()
        .to_owned();
    let target = match (options.target.as_str(), &options.env) {
        ("", Some(_)) => None,
        ("", None) => Some(format!("/run/secrets/{}", paths::base_name(&id))),
        (target, _) => Some(joined(target)),
    };
    let (uid, gid) = options.uid_and_gid();
    let mode = options.mode.unwrap_or(0o400) & PERMISSIONS;
    SecretMount { id, target, env: options.env.clone(), mode, uid, gid, is_required: options.is_required }
}

fn ssh(options: &Options, n_ssh: usize, joined: impl Fn(&str) -> String) -> SshMount {
    let id = if options.id.is_empty() { "default".to_owned() } else { options.id.clone() };
    let target = match options.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{n_ssh}"),
        target => joined(target),
    };
    let (uid, gid) = options.uid_and_gid();
    let mode = options.mode.unwrap_or(0o600) & PERMISSIONS;
    SshMount { id, target, mode, uid, gid, is_required: options.is_required }
}

fn cache(options: &Options, target: String, inputs: &mut Inputs, step: &mut Step<'_, '_>) -> Result<Mount, Diagnostic> {
    let own_id = if options.id.is_empty() { paths::clean(&options.target) } else { options.id.clone() };
    let namespace = step.build.inputs.build_args.get("BUILDKIT_CACHE_MOUNT_NS").map_or("", String::as_str);
    let from = match options.from.as_deref() {
        Some(from) => Some(inputs.add(step.files_of_named(from)?)),
        None => None,
    };
    let source = paths::rooted(&options.source);
    let is_owner_given = options.mode.or(options.uid).or(options.gid).is_some();
    let owner = (source == "/" && is_owner_given).then(|| {
        let (uid, gid) = options.uid_and_gid();
        CacheOwner { mode: options.mode.unwrap_or(0o755), uid, gid }
    });
    Ok(Mount::Cache(CacheMount {
        id: format!("{namespace}/{own_id}"),
        target,
        sharing: options.sharing.unwrap_or_default(),
        from,
        source,
        owner,
        is_readonly: options.is_readonly.unwrap_or(false),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::{Case, errors};

    fn error(text: &str) -> String {
        parse(text, |value| Ok(value.to_owned())).unwrap_err()
    }

    #[test]
    fn the_grammar_is_that_of_the_reference() {
        for (text, message) in [
            ("type=foo", "unsupported mount type \"foo\""),
            ("type=bind,sharing=locked", "invalid cache sharing set for bind mount"),
            ("type=cache,sharing=x", "unsupported sharing value \"x\""),
            ("type=bind,size=1m", "unexpected key 'size' for mount type 'bind'"),
            ("size=1m,type=tmpfs", "unexpected key 'size' for mount type 'bind'"),
            ("type=tmpfs,size=x", "invalid value for size: x"),
            ("type=bind,uid=1", "uid not allowed for \"bind\" type mounts"),
            ("type=tmpfs,mode=1", "mode not allowed for \"tmpfs\" type mounts"),
            ("type=cache,mode=9", "invalid value 9 for mode"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,source=b", "both source and id can't be set"),
            ("type=secret,id=a,from=b", "secret mount should not have a from"),
            ("type=ssh,source=b", "ssh does not support source"),
            ("required", "unexpected key 'required' for mount type 'bind'"),
            ("type=tmpfs,required=x", "unexpected key 'required' for mount type 'tmpfs'"),
            ("x", "invalid field 'x' must be a key=value pair"),
            ("type=cache,uid=+1", "invalid value +1 for uid"),
            ("ro=x", "invalid value for ro: x"),
            ("targe=/x", "unexpected key 'targe' in 'targe=/x' (did you mean target?)"),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        for (mount, printed) in [
            ("target=/m", "bind 1:/ /m ro"),
            ("target=rel,source=../a,rw", "bind 1:/a /w/rel rw"),
            ("type=cache,target=/c/", "cache //c /c Shared / rw"),
            ("type=cache,target=c,id=i,uid=1,mode=0770,sharing=locked,ro", "cache /i /w/c Locked / ro owner=770:1:0"),
            ("type=cache,from=s,source=d,target=/c", "cache //c /c Shared /d rw from=1"),
            ("type=$T,target=/x,size=1k", "tmpfs /x 1024 rw"),
            ("type=secret,id=a/b", "secret a/b /run/secrets/b - 400 0:0"),
            ("type=secret,target=/t/s,required", "secret s /t/s - 400 0:0 required"),
            ("type=secret,id=s,env=TOK", "secret s - TOK 400 0:0"),
            ("type=ssh", "ssh default /run/buildkit/ssh_agent.0 600 0:0"),
        ] {
            let text = format!("FROM scratch AS s\nFROM scratch\nARG T=tmpfs\nWORKDIR /w\nRUN --mount={mount} x\n");
            let graph = Case::new(&text).graph();
            assert!(graph.contains(&format!("  mount {printed}\n")), "{mount}: {graph}");
        }
    }

    #[test]
    fn the_namespace_is_in_front_of_the_id() {
        let case = Case::new("FROM scratch\nRUN --mount=type=cache,target=/c x\n").arg("BUILDKIT_CACHE_MOUNT_NS", "n");
        assert!(case.graph().contains("  mount cache n//c /c "));
    }

    #[test]
    fn bad_targets_and_sources_are_refused() {
        let text = |mount: &str| format!("FROM scratch\nRUN --mount={mount} x\nFROM scratch AS later\nFROM scratch\n");
        let run = |mount: &str| errors(text(mount).trim_end_matches("FROM scratch AS later\nFROM scratch\n"));
        assert_eq!(run("target=/"), ["invalid mount target \"/\""]);
        assert_eq!(run("type=secret,id=s,target=/"), ["invalid mount type SECRET for /"]);
        assert_eq!(run("type=ssh,target=."), ["invalid mount type SSH for /"]);
        assert_eq!(run("target=/ --mount=type=tmpfs,target=/m,size=x"), ["invalid value for size: x"]);
        let reason = "'from' doesn't support variable expansion, define alias stage instead";
        assert_eq!(run("from=$s,target=/x"), [reason]);
        let later = "FROM scratch\nRUN --mount=from=later,target=/t x\nFROM scratch AS later\n";
        let message = "cannot mount from stage \"later\" to \"/t\", stage needs to be defined before current command";
        assert_eq!(Case::new(later).target("x").errors().len(), 1);
        let named = later.replacen("FROM scratch", "FROM scratch AS first", 1);
        assert_eq!(Case::new(&named).target("first").errors(), [message]);
    }
}
