//! `--init`, `--security-opt`, `--sysctl`, `--uts`, `--pid`, `--ipc` and `--device`: what a container has unlike others. What
//! is not kept is refused.

use std::io;
use std::path::Path;

use slipway_engine::{ContainerMount, Special, is_device};

use crate::cli::run::RunArgs;

/// A flag of these whose value means nothing, or nothing that could be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecialError {
    #[error("invalid argument {0:?} for \"--sysctl\" flag: sysctl '{0}' is not allowed")]
    Setting(String),
    #[error("Invalid --security-opt: {0:?}")]
    SecurityWord(String),
    #[error("invalid --security-opt 2: {0:?}")]
    SecurityOption(String),
    #[error("--security-opt {0}: there is no filter of one's own; seccomp can be `builtin` or `unconfined`")]
    Filter(String),
    #[error("--security-opt {0}: slipway asks nothing of AppArmor and SELinux; only `{1}` is kept")]
    Confinement(String, &'static str),
    #[error("--security-opt {0}: what is masked is shown with --privileged only")]
    SystemPaths(String),
    #[error("--uts: invalid UTS mode")]
    HostName,
    #[error("conflicting options: hostname and the UTS mode")]
    HostNameTwice,
    #[error("--pid: invalid PID mode")]
    Processes,
    #[error(
        "--pid={0}: a container of slipway has processes of its own only, because all of them end with the first; \
         `slipway exec` starts further ones in it"
    )]
    ForeignProcesses(String),
    #[error("invalid IPC mode: {0}")]
    Memory(String),
    #[error("--ipc={0}: a container of slipway has shared memory and message queues of its own")]
    ForeignMemory(String),
    #[error("{0} is not an absolute path")]
    DevicePath(String),
    #[error("bad mode specified: {0}")]
    DeviceMode(String),
    #[error("--device {0}: a device cannot be lent for reading or for writing alone; leave the `:{1}` out")]
    DeviceRights(String, String),
    #[error("error gathering device information while adding custom device {path:?}: {reason}")]
    Device { path: String, reason: String },
}

/// Parameters that belong to a namespace, and are changed for one container alone.
const SETTINGS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
const SETTING_FAMILIES: [&str; 2] = ["net.", "fs.mqueue."];

pub(crate) fn read(args: &RunArgs) -> Result<Special, SpecialError> {
    refuse_foreign(&args.pid, &args.ipc)?;
    let shares_host_name = shares_host_name(&args.uts, args.hostname.is_some())?;
    let special = with_options(&args.sysctls, &args.security_options)?;
    Ok(Special { has_init: args.init, shares_host_name, ..special })
}

/// What `--uts` says.
pub(crate) fn shares_host_name(mode: &str, has_own_name: bool) -> Result<bool, SpecialError> {
    match mode {
        "" | "private" => Ok(false),
        "host" if has_own_name => Err(SpecialError::HostNameTwice),
        "host" => Ok(true),
        _ => Err(SpecialError::HostName),
    }
}

/// What kernel settings (`NAME=value`) and security options come to.
pub(crate) fn with_options(settings: &[String], security: &[String]) -> Result<Special, SpecialError> {
    let kernel_settings = settings.iter().map(|text| setting(text)).collect::<Result<_, _>>()?;
    let mut special = Special { kernel_settings, ..Special::default() };
    security.iter().try_for_each(|text| add_security(&mut special, text))?;
    Ok(special)
}

fn refuse_foreign(pid: &str, ipc: &str) -> Result<(), SpecialError> {
    let is_of_container = |word: &str| word.starts_with("container:");
    match pid {
        "" | "private" => {}
        "host" => return Err(SpecialError::ForeignProcesses(pid.to_owned())),
        _ if is_of_container(pid) => return Err(SpecialError::ForeignProcesses(pid.to_owned())),
        _ => return Err(SpecialError::Processes),
    }
    match ipc {
        "" | "private" => Ok(()),
        "host" | "shareable" | "none" => Err(SpecialError::ForeignMemory(ipc.to_owned())),
        _ if is_of_container(ipc) => Err(SpecialError::ForeignMemory(ipc.to_owned())),
        _ => Err(SpecialError::Memory(ipc.to_owned())),
    }
}

/// `NAME=value`.
fn setting(text: &str) -> Result<(String, String), SpecialError> {
    let refused = || SpecialError::Setting(text.to_owned());
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    let is_known = SETTINGS.contains(&name) || SETTING_FAMILIES.iter().any(|family| name.starts_with(family));
    // Its parts become names of folders.
    let is_path = !name.contains('/') && name.split('.').all(|part| !part.is_empty());
    if is_known && is_path { Ok((name.to_owned(), value.to_owned())) } else { Err(refused()) }
}

/// The last word of a kind counts.
fn add_security(special: &mut Special, text: &str) -> Result<(), SpecialError> {
    // A colon is how it was spelled once.
    let Some((key, value)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        if text != "no-new-privileges" {
            return Err(SpecialError::SecurityWord(text.to_owned()));
        }
        special.forbids_new_privileges = true;
        return Ok(());
    };
    match (key, value) {
        ("no-new-privileges", "true") => special.forbids_new_privileges = true,
        ("no-new-privileges", "false") => special.forbids_new_privileges = false,
        ("seccomp", "unconfined") => special.is_unfiltered = true,
        ("seccomp", "builtin") => special.is_unfiltered = false,
        ("seccomp", _) => return Err(SpecialError::Filter(text.to_owned())),
        ("apparmor", "unconfined") | ("label", "disable") => {}
        ("apparmor", _) => return Err(SpecialError::Confinement(text.to_owned(), "apparmor=unconfined")),
        ("label", _) => return Err(SpecialError::Confinement(text.to_owned(), "label=disable")),
        ("systempaths", _) => return Err(SpecialError::SystemPaths(text.to_owned())),
        _ => return Err(SpecialError::SecurityOption(text.to_owned())),
    }
    Ok(())
}

/// `SOURCE[:TARGET][:rwm]`, each of which is a device that is there.
pub(crate) fn devices(texts: &[String]) -> Result<Vec<ContainerMount>, SpecialError> {
    texts.iter().map(|text| device(text)).collect()
}

fn device(text: &str) -> Result<ContainerMount, SpecialError> {
    let is_mode = |word: &str| !word.is_empty() && word.chars().all(|letter| "rwm".contains(letter));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, mode] if is_mode(mode) => (source, source, mode),
        [source, target] => (source, target, "rwm"),
        [source, target, mode] => (source, target, mode),
        _ => return Err(SpecialError::DevicePath(text.to_owned())),
    };
    if let Some(path) = [source, target].into_iter().find(|path| !path.starts_with('/')) {
        return Err(SpecialError::DevicePath(path.to_owned()));
    }
    if !is_mode(mode) {
        return Err(SpecialError::DeviceMode(mode.to_owned()));
    }
    if !(mode.contains('r') && mode.contains('w')) {
        return Err(SpecialError::DeviceRights(text.to_owned(), mode.to_owned()));
    }
    let unusable = |reason: &str| SpecialError::Device { path: source.to_owned(), reason: reason.to_owned() };
    match is_device(Path::new(source)) {
        Ok(true) => Ok(ContainerMount::Device { source: source.into(), target: target.to_owned() }),
        Ok(false) => Err(unusable("not a device node")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unusable("no such file or directory")),
        Err(error) => Err(unusable(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secured(texts: &[&str]) -> Result<(bool, bool), String> {
        let mut special = Special::default();
        let added = texts.iter().try_for_each(|text| add_security(&mut special, text));
        added.map_err(|error| error.to_string())?;
        Ok((special.forbids_new_privileges, special.is_unfiltered))
    }

    /// Texts without `slipway` in them are those of `docker run`.
    #[test]
    fn security_options_are_kept_or_refused() {
        assert_eq!(secured(&[]), Ok((false, false)));
        assert_eq!(secured(&["no-new-privileges"]), Ok((true, false)));
        assert_eq!(secured(&["no-new-privileges", "no-new-privileges=false"]), Ok((false, false)));
        assert_eq!(secured(&["no-new-privileges:true", "seccomp=unconfined"]), Ok((true, true)));
        assert_eq!(secured(&["seccomp=builtin", "apparmor=unconfined", "label=disable"]), Ok((false, false)));
        for (text, expected) in [
            ("foo", "Invalid --security-opt: \"foo\""),
            ("", "Invalid --security-opt: \"\""),
            ("foo=bar", "invalid --security-opt 2: \"foo=bar\""),
            ("no-new-privileges=x", "invalid --security-opt 2: \"no-new-privileges=x\""),
        ] {
            assert_eq!(secured(&[text]), Err(expected.to_owned()));
        }
        for text in ["seccomp=/profile.json", "apparmor=mine", "label=type:x", "systempaths=unconfined"] {
            assert!(secured(&[text]).unwrap_err().starts_with(&format!("--security-opt {text}: ")));
        }
    }

    #[test]
    fn settings_are_those_of_namespaces() {
        let kept = |text| setting(text).map_err(|error| error.to_string());
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(kept("net.ipv4.ip_forward=1"), pair("net.ipv4.ip_forward", "1"));
        assert_eq!(kept("kernel.sem=1 2 3 4"), pair("kernel.sem", "1 2 3 4"));
        assert_eq!(kept("fs.mqueue.msg_max=9"), pair("fs.mqueue.msg_max", "9"));
        for text in
            ["vm.swappiness=1", "kernel.domainname=x", "net.ipv4.ip_forward", "net.../../vm/swappiness=1", "net..x=1"]
        {
            let expected = format!("invalid argument {text:?} for \"--sysctl\" flag: sysctl '{text}' is not allowed");
            assert_eq!(kept(text), Err(expected));
        }
    }

    #[test]
    fn devices_are_what_is_one() {
        let lent = |text: &str| match device(text) {
            Ok(ContainerMount::Device { source, target }) => Ok(format!("{} {target}", source.display())),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(lent("/dev/null"), Ok("/dev/null /dev/null".to_owned()));
        assert_eq!(lent("/dev/null:/dev/mine:rwm"), Ok("/dev/null /dev/mine".to_owned()));
        assert_eq!(lent("/dev/null:rw"), Ok("/dev/null /dev/null".to_owned()));
        let about = "error gathering device information while adding custom device";
        for (text, expected) in [
            ("relative", "relative is not an absolute path".to_owned()),
            ("/dev/null:/dev/mine:x", "bad mode specified: x".to_owned()),
            ("/etc/passwd", format!("{about} \"/etc/passwd\": not a device node")),
            ("/dev/nope", format!("{about} \"/dev/nope\": no such file or directory")),
        ] {
            assert_eq!(lent(text), Err(expected));
        }
        assert!(lent("/dev/null:r").unwrap_err().contains("cannot be lent for reading"));
    }

    #[test]
    fn foreign_processes_and_memory_are_refused() {
        let refused = |pid, ipc| refuse_foreign(pid, ipc).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused("", "private"), "");
        assert_eq!(refused("foo", ""), "--pid: invalid PID mode");
        assert_eq!(refused("", "foo"), "invalid IPC mode: foo");
        assert!(refused("host", "").starts_with("--pid=host: "));
        assert!(refused("", "container:x").starts_with("--ipc=container:x: "));
    }
}
