//! Answers one question: what does `FROM busybox` mean in a case?
//!
//! An image made here from Debian's static busybox, with the same files as the reference's: the program, a link for
//! each applet, and a short `/etc/passwd` and `/etc/group`. It is an OCI layout with one layer:
//!
//! ```text
//! <folder>/oci-layout
//! <folder>/index.json
//! <folder>/blobs/sha256/<digest>      layer (plain tar), config, manifest
//! ```

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::image::{Image, sha256};
use crate::tar::{self, Entry, Kind};

/// Where Debian's busybox-static puts its program.
const BUSYBOX: &str = "/bin/busybox";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                      nobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n";
const FOLDERS: [&str; 14] = [
    "bin/",
    "dev/",
    "etc/",
    "home/",
    "proc/",
    "root/",
    "run/",
    "sys/",
    "tmp/",
    "usr/",
    "usr/bin/",
    "usr/sbin/",
    "var/",
    "var/tmp/",
];

/// What of an image is the base's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// The base's layers.
    pub diff_ids: Vec<String>,
    /// How many history entries the base has.
    pub n_history: usize,
}

impl Base {
    /// Reads the base from its OCI layout.
    pub fn from_layout(path: &Path) -> Result<Self> {
        let image = Image::read(path)?;
        Ok(Self { diff_ids: image.diff_ids(), n_history: image.n_history() })
    }

    /// Reads the base from its image config.
    pub fn from_config(config: &[u8]) -> Result<Self> {
        let config: Value = serde_json::from_slice(config)?;
        let ids = config["rootfs"]["diff_ids"].as_array().context("the config lists no layers")?;
        let diff_ids = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { diff_ids, n_history: config["history"].as_array().map_or(0, Vec::len) })
    }
}

/// Makes the busybox image in `folder`, which must exist and be empty.
pub fn write_busybox(folder: &Path) -> Result<Base> {
    let program = fs::read(BUSYBOX).with_context(|| format!("{BUSYBOX}: install busybox-static"))?;
    let layer = tar::write(&busybox_entries(program, &applets()?))?;
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let descriptor = |media_type: &str, bytes: &[u8]| -> Result<Value> {
        let digest = sha256(bytes);
        fs::write(blobs.join(&digest), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
    };
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", &layer)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "busybox-static"}],
        "created": "2020-01-01T00:00:00Z",
    });
    let config = descriptor("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let manifest = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Base::from_layout(folder)
}

fn applets() -> Result<Vec<String>> {
    let output = Command::new(BUSYBOX).arg("--list").output().with_context(|| format!("run({BUSYBOX} --list)"))?;
    ensure!(output.status.success(), "`{BUSYBOX} --list` fails");
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect())
}

fn busybox_entries(program: Vec<u8>, applets: &[String]) -> Vec<Entry> {
    let time = Entry { mtime: 1_577_836_800, ..Entry::default() };
    let mut entries: Vec<_> = FOLDERS
        .iter()
        .map(|path| Entry {
            path: (*path).into(),
            kind: Kind::Directory,
            mode: if *path == "tmp/" { 0o1777 } else { 0o755 },
            ..time.clone()
        })
        .collect();
    entries.push(Entry { path: "bin/busybox".into(), mode: 0o755, data: program, ..time.clone() });
    for name in applets {
        let path = format!("bin/{name}");
        entries.push(Entry { path, kind: Kind::Symlink, mode: 0o777, link: "busybox".into(), ..time.clone() });
    }
    entries.push(Entry { path: "etc/passwd".into(), mode: 0o644, data: PASSWD.into(), ..time.clone() });
    entries.push(Entry { path: "etc/group".into(), mode: 0o644, data: GROUP.into(), ..time });
    entries
}

/// This machine's architecture, in the image specification's word.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_applet_is_a_link_to_the_program() {
        let entries = busybox_entries(b"elf".to_vec(), &["sh".to_owned()]);
        let sh = entries.iter().find(|e| e.path == "bin/sh").expect("the applet is there");
        assert_eq!((sh.kind, sh.link.as_str()), (Kind::Symlink, "busybox"));
        assert!(entries.iter().any(|e| e.path == "bin/busybox" && e.mode == 0o755));
    }
}
