//! Answers one question: what does `source:target:options` mean?

use crate::tree::{Map, Node};

/// The long form of a mount, or what is wrong with the short one.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    let fields = fields(text);
    let fault = |reason: &str| format!("invalid spec: {text}: {reason}");
    if fields.iter().any(|field| field.is_empty()) {
        return Err(fault("empty section between colons"));
    }
    let (source, target, options) = match fields[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(fault("too many colons")),
    };
    let mut mount = Map::new();
    let is_bind = is_path(source);
    let mut bind = Map::new();
    let mut volume = Map::new();
    for option in options.split(',') {
        match option {
            "ro" => drop(mount.insert("read_only".to_owned(), true.into())),
            "rw" => drop(mount.remove("read_only")),
            "nocopy" => drop(volume.insert("nocopy".to_owned(), true.into())),
            "z" | "Z" => drop(bind.insert("selinux".to_owned(), option.into())),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                drop(bind.insert("propagation".to_owned(), option.into()));
            }
            // The reference takes no notice of other options.
            _ => {}
        }
    }
    if is_bind {
        bind.insert("create_host_path".to_owned(), true.into());
    }
    mount.insert("type".to_owned(), if is_bind { "bind" } else { "volume" }.into());
    if !source.is_empty() {
        mount.insert("source".to_owned(), source.into());
    }
    mount.insert("target".to_owned(), target.into());
    if is_bind || !bind.is_empty() {
        mount.insert("bind".to_owned(), bind.into());
    }
    if !is_bind || !volume.is_empty() {
        mount.insert("volume".to_owned(), volume.into());
    }
    Ok(mount.into())
}

/// The parts between colons. A colon after a drive letter that is followed by a path of Windows, and one within
/// `${…}`, separates nothing.
fn fields(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut fields = Vec::new();
    let (mut start, mut n_open) = (0, 0_usize);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'$' if bytes.get(at + 1) == Some(&b'{') => n_open += 1,
            b'}' => n_open = n_open.saturating_sub(1),
            b':' if n_open == 0 && !is_drive(text, start, at) => {
                fields.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&text[start..]);
    fields
}

/// The reference takes any single letter before a colon for a drive, and so never sees a volume with such a name. Here
/// `v:/data` is a volume, and `c:/folder:/data`, which has a target behind its path, is a drive.
fn is_drive(text: &str, start: usize, colon: usize) -> bool {
    let is_letter = text[start..].starts_with(|c: char| c.is_ascii_alphabetic());
    let rest = &text[colon + 1..];
    colon == start + 1 && is_letter && (rest.starts_with('\\') || rest.starts_with('/') && rest.contains(":/"))
}

/// Whether the source is a folder or file of the host.
fn is_path(source: &str) -> bool {
    let is_drive = matches!(source.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':', ..]);
    source.starts_with(['.', '/', '~', '\\']) || is_drive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let kinds: Vec<(String, String, String)> =
            ["/a", "v:/b", "a:/d", "./x:/y", "~/x:/z", "C:\\x:/y", "c:/x:/y:ro", "w:/d:ro"]
                .iter()
                .map(|text| {
                    let mount = parse(text).unwrap();
                    let text = |name| mount.text_of(name).unwrap_or_default().to_owned();
                    (text("type"), text("source"), text("target"))
                })
                .collect();
        let expected = [
            ("volume", "", "/a"),
            ("volume", "v", "/b"),
            ("volume", "a", "/d"),
            ("bind", "./x", "/y"),
            ("bind", "~/x", "/z"),
            ("bind", "C:\\x", "/y"),
            ("bind", "c:/x", "/y"),
            ("volume", "w", "/d"),
        ];
        for (kind, (a, b, c)) in kinds.iter().zip(expected) {
            assert_eq!((kind.0.as_str(), kind.1.as_str(), kind.2.as_str()), (a, b, c));
        }
    }

    #[test]
    fn options_are_read() {
        let mount = parse("./a:/b:ro,z,rshared").unwrap();
        assert!(mount.get("read_only").unwrap().is_true());
        assert_eq!(mount.get("bind").unwrap().text_of("selinux"), Some("z"));
        assert_eq!(mount.get("bind").unwrap().text_of("propagation"), Some("rshared"));
        assert!(parse("vol:/b:nocopy").unwrap().get("volume").unwrap().get("nocopy").unwrap().is_true());
    }

    #[test]
    fn broken_forms_are_refused() {
        assert_eq!(parse("a::b").unwrap_err(), "invalid spec: a::b: empty section between colons");
        assert_eq!(parse("/a:/b:ro:x").unwrap_err(), "invalid spec: /a:/b:ro:x: too many colons");
    }
}
