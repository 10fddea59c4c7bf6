//! Layers for tests, in the notation of `spec/analyze.md` section 3.2: `a:100` is a file of 100 bytes, `d/` a
//! directory, `-a` the removal of `a` (`d/-a` that of `d/a`), `d!` makes `d` opaque; `b=a` is a hard link.

use std::io::{self, Read};

use slipway_archive::tar_writer::{Entry, EntryKind, TarWriter};

use crate::layer::LayerSource;

pub(crate) fn layers(text: &str) -> Vec<LayerSource<'static>> {
    let source = |layer: &str| {
        let tar = tar(layer);
        LayerSource {
            id: "id".to_owned(),
            digest: "sha256:0".to_owned(),
            command: layer.trim().to_owned(),
            origin: None,
            compressed_bytes: None,
            open: Box::new(move || Ok(Box::new(io::Cursor::new(tar.clone())) as Box<dyn Read>)),
        }
    };
    text.split('|').map(source).collect()
}

/// One layer's tar.
pub(crate) fn tar(layer: &str) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for item in layer.split_whitespace() {
        let (kind, path, link, size) = item_of(item);
        let entry = Entry {
            kind,
            path: path.as_bytes(),
            link: link.as_bytes(),
            mode: if kind == EntryKind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 0,
            size,
            device: (0, 0),
            capability: None,
        };
        tar.entry(&entry).unwrap();
        tar.data(&mut io::repeat(b'x').take(size), &mut [0; 512]).unwrap();
    }
    tar.finish().unwrap()
}

fn item_of(item: &str) -> (EntryKind, String, &str, u64) {
    let (folder, name) =
        item.trim_end_matches('/').rsplit_once('/').map_or(("", item), |(folder, _)| item.split_at(folder.len() + 1));
    if let Some(removed) = name.strip_prefix('-') {
        return (EntryKind::File, format!("{folder}.wh.{removed}"), "", 0);
    }
    if let Some(opaque) = item.strip_suffix('!') {
        return (EntryKind::File, format!("{opaque}/.wh..wh..opq"), "", 0);
    }
    if let Some(directory) = item.strip_suffix('/') {
        return (EntryKind::Directory, directory.to_owned(), "", 0);
    }
    if let Some((path, target)) = item.split_once('=') {
        return (EntryKind::HardLink, path.to_owned(), target, 0);
    }
    let (path, size) = item.split_once(':').unwrap();
    (EntryKind::File, path.to_owned(), "", size.parse().unwrap())
}
