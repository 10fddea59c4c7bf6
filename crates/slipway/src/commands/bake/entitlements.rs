//! Which rights does a definition ask for, and which has the user given? (`spec/bake.md` section 16)
//!
//! A definition may come from somebody else. Files outside the working directory, the host's network and more are only
//! for builds that the user has allowed to have them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Component, Path, PathBuf};

use slipway_bake::Target;
use slipway_graph::request::flags::parse_bool;

use crate::env_vars;
use crate::report::CommandError;

/// Rights, asked for or given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    network_host: bool,
    security_insecure: bool,
    devices: bool,
    local_delete: bool,
    ssh: bool,
    /// Absolute, without links.
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
}

impl Rights {
    /// What `--allow` gives.
    pub(super) fn of_flags(allow: &[String], working_dir: &Path) -> Result<Rights, String> {
        let mut rights = Rights::default();
        for text in allow {
            let (key, value) = text.split_once('=').map_or((text.as_str(), None), |(key, value)| (key, Some(value)));
            let path = || match value {
                Some("*") => PathBuf::from("/"),
                path => resolved(Path::new(path.unwrap_or_default()), working_dir),
            };
            match (key, value) {
                ("network.host", None) => rights.network_host = true,
                ("security.insecure", None) => rights.security_insecure = true,
                ("buildx.local.delete", None) => rights.local_delete = true,
                ("ssh", None) => rights.ssh = true,
                ("device", _) => rights.devices = true,
                ("fs.read", _) => drop(rights.read.insert(path())),
                ("fs.write", _) => drop(rights.write.insert(path())),
                ("fs", _) => {
                    rights.read.insert(path());
                    rights.write.insert(path());
                }
                ("image" | "image.push" | "image.load", _) => {}
                _ => return Err(format!("unknown entitlement key {key:?}")),
            }
        }
        Ok(rights)
    }

    /// What `targets` need.
    pub(super) fn of_targets<'t>(targets: impl Iterator<Item = &'t Target>, working_dir: &Path) -> Rights {
        let mut rights = Rights::default();
        targets.for_each(|target| rights.add_target(target, working_dir));
        rights
    }

    fn add_target(&mut self, target: &Target, working_dir: &Path) {
        for name in &target.entitlements {
            match name.as_str() {
                "network.host" => self.network_host = true,
                "security.insecure" => self.security_insecure = true,
                device if device.starts_with("device") => self.devices = true,
                // What is no entitlement is refused when the target is built.
                _ => {}
            }
        }
        let path = |text: &str| resolved(Path::new(text), working_dir);
        let context = target.context.as_deref().unwrap_or(".");
        if is_local(context) {
            self.read.insert(path(context));
            let dockerfile = target.dockerfile.as_deref().unwrap_or("Dockerfile");
            if target.dockerfile_inline.is_none() && is_local(dockerfile) {
                self.read.insert(match dockerfile.strip_prefix("cwd://") {
                    Some(dockerfile) => path(dockerfile),
                    None => resolved(&Path::new(context).join(dockerfile), working_dir),
                });
            }
        }
        let read = target.contexts.values().filter(|value| is_local(value)).map(String::as_str);
        let is_folder = |entry: &&_| field(entry, "type") == Some("local");
        let caches = target.cache_from.iter().filter(is_folder).filter_map(|entry| field(entry, "src"));
        let secrets = target.secrets.iter().filter_map(|entry| field(entry, "src"));
        let keys = target.ssh.iter().filter_map(|entry| field(entry, "paths")).flat_map(|paths| paths.split(','));
        self.read.extend(read.chain(caches).chain(secrets).chain(keys).map(path));
        self.ssh |= target.ssh.iter().any(|entry| field(entry, "paths").is_none());
        let outputs = target.outputs.iter().flatten();
        for output in outputs.clone().filter(|output| field(output, "type") == Some("local")) {
            self.local_delete |= field(output, "mode") == Some("delete");
        }
        let caches = target.cache_to.iter().flatten().filter(is_folder);
        let written = outputs.chain(caches).filter_map(|entry| field(entry, "dest")).filter(|dest| *dest != "-");
        self.write.extend(written.map(path));
    }

    /// What is asked for here and not there.
    pub(super) fn without(&self, given: &Rights) -> Rights {
        let lacking = |asked: &BTreeSet<PathBuf>, given: &BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
            let is_given = |path: &PathBuf| given.iter().any(|folder| path.starts_with(folder));
            asked.iter().filter(|path| !is_given(path)).cloned().collect()
        };
        Rights {
            network_host: self.network_host && !given.network_host,
            security_insecure: self.security_insecure && !given.security_insecure,
            devices: self.devices && !given.devices,
            local_delete: self.local_delete && !given.local_delete,
            ssh: self.ssh && !given.ssh,
            read: lacking(&self.read, &given.read),
            write: lacking(&self.write, &given.write),
        }
    }

    /// Adds all that `other` has.
    pub(super) fn add(&mut self, other: Rights) {
        self.network_host |= other.network_host;
        self.security_insecure |= other.security_insecure;
        self.devices |= other.devices;
        self.local_delete |= other.local_delete;
        self.ssh |= other.ssh;
        self.read.extend(other.read);
        self.write.extend(other.write);
    }

    /// The same with all files below `folder`.
    pub(super) fn with_folder(mut self, folder: &Path) -> Rights {
        let folder = resolved(folder, folder);
        self.read.insert(folder.clone());
        self.write.insert(folder);
        self
    }

    /// Descriptions and flags, in the order in which they are told.
    fn list(&self, working_dir: &Path) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut add = |is_there: bool, text: &str, flag: &str| {
            if is_there {
                list.push((text.to_owned(), flag.to_owned()));
            }
        };
        add(self.network_host, "Running build containers that can access host network", "network.host");
        add(self.security_insecure, "Running privileged containers that can make system changes", "security.insecure");
        add(self.devices, "Access to CDI devices", "device");
        add(self.local_delete, "Deleting stale files from local output destinations", "buildx.local.delete");
        add(self.ssh, "Forwarding default SSH agent socket", "ssh");
        let (read, write) = (topmost(&self.read), topmost(&self.write));
        let both: Vec<&PathBuf> = read.intersection(&write).copied().collect();
        let only_read: Vec<&PathBuf> = read.difference(&write).copied().collect();
        let only_written: Vec<&PathBuf> = write.difference(&read).copied().collect();
        for (paths, text, flag) in [
            (both, "Read and write access to path", "fs"),
            (only_read, "Read access to path", "fs.read"),
            (only_written, "Write access to path", "fs.write"),
        ] {
            for path in paths {
                let path = shown(path, working_dir);
                add(true, &format!("{text} {path}"), &format!("{flag}={path}"));
            }
        }
        list
    }
}

/// Asks the user for what is `lacking`; without a terminal that is a refusal.
pub(super) fn ask_for(
    mut lacking: Rights,
    working_dir: &Path,
    is_remote: bool,
    words: &[OsString],
) -> Result<(), CommandError> {
    let of_files = env_vars::BUILDX_BAKE_ENTITLEMENTS_FS.get().as_deref().and_then(parse_bool);
    if of_files == Some(false) || is_remote && env_vars::BAKE_ALLOW_REMOTE_FS_ACCESS.is_true() {
        lacking.read.clear();
        lacking.write.clear();
    }
    let list = lacking.list(working_dir);
    if list.is_empty() {
        return Ok(());
    }
    let is_interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
    let text = request_text(&list, is_interactive, lacking.needs_files(), words);
    if !is_interactive {
        return Err(CommandError::Told(format!("{text}ERROR: additional privileges requested\n")));
    }
    let question = format!("{text}Do you want to grant requested privileges and continue? [y/N] ");
    let mut answer = String::new();
    let asked = io::stderr().write_all(question.as_bytes()).and_then(|()| io::stdin().read_line(&mut answer));
    match asked {
        Ok(_) if answer.trim().eq_ignore_ascii_case("y") => Ok(()),
        _ => Err(CommandError::Told("ERROR: additional privileges requested\n".to_owned())),
    }
}

impl Rights {
    fn needs_files(&self) -> bool {
        !self.read.is_empty() || !self.write.is_empty()
    }
}

fn request_text(list: &[(String, String)], is_interactive: bool, needs_files: bool, words: &[OsString]) -> String {
    let mut text = "Your build is requesting privileges for following possibly insecure capabilities:\n\n".to_owned();
    for (description, _) in list {
        // Writing to a text does not fail.
        let _ = writeln!(text, " - {description}");
    }
    let flags: Vec<String> = list.iter().map(|(_, flag)| format!("--allow={flag}")).collect();
    let flags = flags.join(" ");
    let _ = match is_interactive {
        true => writeln!(
            text,
            "\nIn order to not see this message in the future pass \"{flags}\" to grant requested privileges."
        ),
        false => writeln!(text, "\nPass \"{flags}\" to grant requested privileges."),
    };
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if let Some(at) = words.iter().position(|word| word == "bake") {
        let (before, after) = (words[..=at].join(" "), words[at + 1..].join(" "));
        let _ = writeln!(text, "\nYour full command with requested privileges:\n\n{before} {flags} {after}");
    }
    if needs_files {
        text.push_str("\nTo disable filesystem entitlements checks, you can set BUILDX_BAKE_ENTITLEMENTS_FS=0 .\n");
    }
    text.push('\n');
    text
}

fn field<'t>(entry: &'t std::collections::BTreeMap<String, String>, name: &str) -> Option<&'t str> {
    entry.get(name).map(String::as_str)
}

/// Whether a context or Dockerfile lies on this machine.
fn is_local(text: &str) -> bool {
    text.starts_with("cwd://") || !(text.contains("://") || text.starts_with("target:") || text.starts_with("git@"))
}

/// `path`, which need not exist, from `/` on and without links.
fn resolved(path: &Path, working_dir: &Path) -> PathBuf {
    let whole = working_dir.join(path.strip_prefix("cwd://").unwrap_or(path));
    let mut clean = PathBuf::new();
    for component in whole.components() {
        match component {
            Component::CurDir => {}
            // After links have been followed, as the kernel does it.
            Component::ParentDir => {
                clean = clean.canonicalize().unwrap_or(clean);
                clean.pop();
            }
            _ => clean.push(component),
        }
    }
    let mut missing = Vec::new();
    let mut there = clean.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        let (Some(name), Some(parent)) = (there.file_name(), there.parent()) else { return clean };
        missing.push(name.to_owned());
        there = parent;
    }
}

/// Those that lie below no other one.
fn topmost(paths: &BTreeSet<PathBuf>) -> BTreeSet<&PathBuf> {
    let is_below = |path: &&PathBuf| paths.iter().any(|other| other != *path && path.starts_with(other));
    paths.iter().filter(|path| !is_below(path)).collect()
}

/// Relative to the working directory if that takes at most one step up.
fn shown(path: &Path, working_dir: &Path) -> String {
    let here = resolved(working_dir, working_dir);
    let relative = match (path.strip_prefix(&here), here.parent().map(|parent| path.strip_prefix(parent))) {
        (Ok(below), _) => below.to_owned(),
        (Err(_), Some(Ok(beside))) => Path::new("..").join(beside),
        (Err(_), _) => return path.display().to_string(),
    };
    let text = relative.display().to_string();
    match text.trim_end_matches('/') {
        "" => ".".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn flags_give_rights() {
        let here = Path::new("/");
        let given = Rights::of_flags(&texts(&["network.host", "fs.read=/usr", "fs=*"]), here).unwrap();
        assert!(given.network_host && given.read.contains(Path::new("/usr")) && given.write.contains(Path::new("/")));
        for wrong in ["foo", "buildx.local.delete=1", "network.host,ssh"] {
            assert!(Rights::of_flags(&texts(&[wrong]), here).unwrap_err().starts_with("unknown entitlement key"));
        }
    }

    #[test]
    fn what_lies_below_a_given_folder_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        std::os::unix::fs::symlink(folder.path(), work.join("out")).unwrap();
        let target = Target {
            context: Some("sub".to_owned()),
            contexts: [("x".to_owned(), "../beside/new".to_owned()), ("y".to_owned(), "out".to_owned())].into(),
            ..Target::default()
        };
        let asked = Rights::of_targets([&target].into_iter(), &work);
        let lacking = asked.without(&Rights::default().with_folder(&work));
        let list: Vec<String> = lacking.list(&work).into_iter().map(|(_, flag)| flag).collect();
        // A link out of the working directory leads out of it, and holds what lies beside.
        assert_eq!(list, ["fs.read=.."]);
        let allowed = Rights::of_flags(&texts(&["fs.read=../beside"]), &work).unwrap().with_folder(&work);
        let without_link = Target { contexts: [("x".to_owned(), "../beside/new".to_owned())].into(), ..target };
        let asked = Rights::of_targets([&without_link].into_iter(), &work);
        assert_eq!(asked.without(&allowed), Rights::default());
    }
}
