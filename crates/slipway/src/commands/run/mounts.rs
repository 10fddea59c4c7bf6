//! `-v`, `--mount` and `--tmpfs`: what is mounted where (`spec/cli.md` section 9.4).

use std::path::{Path, PathBuf};

use slipway_engine::ContainerMount;
use slipway_graph::request::flags::{csv_fields, parse_bool};
use slipway_graph::size::bytes_of;

/// For everybody, as `/tmp` is.
const TMPFS_MODE: u32 = 0o1777;

/// Why a mount cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MountFlagError {
    #[error("invalid volume specification: '{0}'")]
    Volume(String),
    #[error("invalid mode: {0}")]
    Mode(String),
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    Target(String),
    #[error("invalid volume specification: '{0}': the root of the container cannot be covered")]
    Root(String),
    #[error("invalid argument {value:?} for \"--mount\" flag: {reason}")]
    Mount { value: String, reason: String },
    #[error("invalid tmpfs option {0:?}")]
    Tmpfs(String),
}

/// The mounts of all flags. `here` is what relative paths of the host start from, `home` what `~` stands for.
pub(crate) fn read(
    volumes: &[String],
    mounts: &[String],
    tmpfs: &[String],
    here: &Path,
    home: Option<&Path>,
) -> Result<Vec<ContainerMount>, MountFlagError> {
    let volumes = volumes.iter().map(|text| volume(text, here, home));
    let mounts = mounts.iter().map(|text| mount(text, here));
    let tmpfs = tmpfs.iter().map(|text| of_tmpfs(text));
    volumes.chain(mounts).chain(tmpfs).collect()
}

/// `[SOURCE:]TARGET[:OPTION,...]`.
fn volume(text: &str, here: &Path, home: Option<&Path>) -> Result<ContainerMount, MountFlagError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(MountFlagError::Volume(text.to_owned())),
    };
    if source == Some("") || target.is_empty() {
        return Err(MountFlagError::Volume(text.to_owned()));
    }
    let target = checked_target(target, text)?;
    let (mut is_readonly, mut starts_empty) = (false, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => is_readonly = true,
            "nocopy" => starts_empty = true,
            // Labels of SELinux and wishes about caches have no effect here, as on most machines; a mount in a sandbox
            // never propagates to the host.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "rprivate" | "private" => {}
            _ => return Err(MountFlagError::Mode(options.to_owned())),
        }
    }
    Ok(match source {
        Some(source) if source.starts_with(['/', '.', '~']) => {
            let source = match (source.strip_prefix("~"), home) {
                (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                    home.join(rest.trim_start_matches('/'))
                }
                _ => here.join(source),
            };
            ContainerMount::Bind { source, target, is_readonly, makes_source: true }
        }
        name => ContainerMount::Volume { name: name.map(str::to_owned), target, is_readonly, starts_empty },
    })
}

/// `type=…,source=…,target=…`.
fn mount(text: &str, here: &Path) -> Result<ContainerMount, MountFlagError> {
    let refused = |reason: String| MountFlagError::Mount { value: text.to_owned(), reason };
    let mut kind = "volume".to_owned();
    let (mut source, mut target) = (None, None);
    let (mut is_readonly, mut starts_empty, mut makes_source) = (false, false, false);
    let (mut size_bytes, mut mode) = (None, TMPFS_MODE);
    for field in csv_fields(text).map_err(|error| refused(error.to_string()))? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        let flag = || match value {
            None => Ok(true),
            Some(word) => parse_bool(word).ok_or_else(|| refused(format!("invalid value for {key}: {word}"))),
        };
        let needed = || value.ok_or_else(|| refused(format!("invalid field '{field}' must be a key=value pair")));
        match key.to_ascii_lowercase().as_str() {
            "type" => kind = needed()?.to_ascii_lowercase(),
            "source" | "src" => source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => target = Some(needed()?.to_owned()),
            "readonly" | "ro" => is_readonly = flag()?,
            "volume-nocopy" => starts_empty = flag()?,
            "bind-create-src" => makes_source = flag()?,
            "tmpfs-size" => {
                let size = bytes_of(needed()?);
                size_bytes = Some(size.ok_or_else(|| refused(format!("invalid value for {key}: {field}")))?);
            }
            "tmpfs-mode" => {
                let octal = u32::from_str_radix(needed()?, 8);
                mode = octal.map_err(|_| refused(format!("invalid value for {key}: {field}")))?;
            }
            _ => return Err(refused(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    let target = target.ok_or_else(|| refused("target is required".to_owned()))?;
    let target = checked_target(&target, text)?;
    match (kind.as_str(), source) {
        ("bind", Some(source)) => {
            Ok(ContainerMount::Bind { source: here.join(source), target, is_readonly, makes_source })
        }
        ("bind", None) => Err(refused("source is required for a bind mount".to_owned())),
        ("volume", name) => Ok(ContainerMount::Volume { name, target, is_readonly, starts_empty }),
        ("tmpfs", None) => Ok(ContainerMount::Tmpfs { target, size_bytes, mode, is_readonly, allows_exec: false }),
        ("tmpfs", Some(_)) => Err(refused("a tmpfs has no source".to_owned())),
        (other, _) => Err(refused(format!("mounts of type {other} are not known here: bind, volume or tmpfs"))),
    }
}

/// `TARGET[:OPTION,…]`, with the options of mount(8).
pub(crate) fn of_tmpfs(text: &str) -> Result<ContainerMount, MountFlagError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let target = checked_target(target, text)?;
    let (mut size_bytes, mut mode, mut is_readonly, mut allows_exec) = (None, TMPFS_MODE, false, false);
    let refused = |option: &str| MountFlagError::Tmpfs(option.to_owned());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => size_bytes = Some(bytes_of(size).ok_or_else(|| refused(option))?),
            Some(("mode", octal)) => mode = u32::from_str_radix(octal, 8).map_err(|_| refused(option))?,
            None if option == "ro" => is_readonly = true,
            None if option == "exec" => allows_exec = true,
            None if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
            _ => return Err(refused(option)),
        }
    }
    Ok(ContainerMount::Tmpfs { target, size_bytes, mode, is_readonly, allows_exec })
}

/// An absolute path below the root, without `.` and `..`.
fn checked_target(target: &str, text: &str) -> Result<String, MountFlagError> {
    if !target.starts_with('/') {
        return Err(MountFlagError::Target(target.to_owned()));
    }
    let mut clean = PathBuf::from("/");
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    match clean.to_str() {
        Some("/") | None => Err(MountFlagError::Root(text.to_owned())),
        Some(path) => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str, is_readonly: bool, makes_source: bool) -> ContainerMount {
        ContainerMount::Bind { source: source.into(), target: target.to_owned(), is_readonly, makes_source }
    }

    fn named(name: Option<&str>, target: &str, is_readonly: bool, starts_empty: bool) -> ContainerMount {
        ContainerMount::Volume { name: name.map(str::to_owned), target: target.to_owned(), is_readonly, starts_empty }
    }

    #[test]
    fn paths_are_folders_of_the_host_and_names_are_volumes() {
        let read = |text| volume(text, Path::new("/here"), Some(Path::new("/home/u")));
        assert_eq!(read("/a:/b"), Ok(bind("/a", "/b", false, true)));
        assert_eq!(read("./a:/b:ro"), Ok(bind("/here/./a", "/b", true, true)));
        assert_eq!(read("~/a:/b:ro,z"), Ok(bind("/home/u/a", "/b", true, true)));
        assert_eq!(read("data:/b/../c/"), Ok(named(Some("data"), "/c", false, false)));
        assert_eq!(read("data:/b:nocopy"), Ok(named(Some("data"), "/b", false, true)));
        assert_eq!(read("/b"), Ok(named(None, "/b", false, false)));
        assert_eq!(read("a:b"), Err(MountFlagError::Target("b".to_owned())));
        assert_eq!(read("a:/b:maybe"), Err(MountFlagError::Mode("maybe".to_owned())));
        for text in ["", ":", ":/b", "a:/b:ro:x"] {
            assert_eq!(read(text), Err(MountFlagError::Volume(text.to_owned())));
        }
        assert_eq!(read("/a:/.."), Err(MountFlagError::Root("/a:/..".to_owned())));
    }

    #[test]
    fn long_forms_say_the_same() {
        let read = |text| mount(text, Path::new("/here"));
        assert_eq!(read("type=bind,src=/a,dst=/b,readonly"), Ok(bind("/a", "/b", true, false)));
        assert_eq!(read("source=data,target=/b"), Ok(named(Some("data"), "/b", false, false)));
        assert_eq!(read("type=tmpfs,target=/b,tmpfs-size=1k,tmpfs-mode=700"), of_tmpfs("/b:size=1024,mode=0700"));
        for text in ["type=bind,target=/b", "type=npipe,target=/b", "source=a", "target=/b,x=1", "target=/b,ro=maybe"] {
            assert!(matches!(read(text), Err(MountFlagError::Mount { .. })), "{text}");
        }
        assert_eq!(of_tmpfs("/b:size=x"), Err(MountFlagError::Tmpfs("size=x".to_owned())));
    }
}
