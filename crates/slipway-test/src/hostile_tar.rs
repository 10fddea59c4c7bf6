//! Answers one question: which archives would somebody make to do harm, or by mistake?

use self::Verdict::{BadTar, CannotWrite, Escapes, Inside};
use crate::raw_tar::Raw;

/// What becomes of an archive that is unpacked as a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Unpacks, all of it inside.
    Inside,
    /// Refused, since an entry points outside.
    Escapes,
    /// The archive itself is bad.
    BadTar,
    /// The kernel does not let it be made.
    CannotWrite,
}

/// What each archive is about, what is to become of it, and its entries. `canary` is the path of a folder with a file
/// `file` and a folder `folder`, none of which may change, beside the folder that is unpacked into.
pub fn corpus(canary: &str) -> Vec<(&'static str, Verdict, Vec<Raw>)> {
    let file = |path: &[u8]| Raw::file(path, b"evil");
    let dir = |path: &[u8]| Raw::new(b'5', path);
    let outside = canary.as_bytes();
    let outside_file = format!("{canary}/file");
    let outside_file = outside_file.as_bytes();
    let long = vec![b'n'; 5000];
    let name = vec![b'n'; 256];
    let deep = b"a/".repeat(2100);
    vec![
        // Names that lead out.
        ("absolute path", Inside, vec![file(b"/etc/passwd")]),
        ("absolute path of the canary", Inside, vec![Raw::records(&[("path", outside_file)]), file(b"x")]),
        ("dot-dot", Escapes, vec![file(b"../canary/file")]),
        ("dot-dot inside", Escapes, vec![dir(b"a"), file(b"a/../../canary/file")]),
        ("dot-dot at the end", Inside, vec![dir(b"a/..")]),
        ("only dot-dot", Escapes, vec![dir(b"..")]),
        ("dot-dot in a pax path", Escapes, vec![Raw::records(&[("path", b"../canary/file")]), file(b"x")]),
        ("dot-dot in a long name", Escapes, vec![Raw::new(b'L', b"@").data(b"../canary/file\0"), file(b"x")]),
        ("dot-dot in the ustar prefix", Escapes, vec![file(b"canary/file").field(345, b"..")]),
        (
            "dot-dot in a sparse name",
            Escapes,
            vec![
                Raw::records(&[
                    ("GNU.sparse.name", b"../canary/file"),
                    ("GNU.sparse.map", b"0,4"),
                    ("GNU.sparse.size", b"4"),
                ]),
                file(b"x"),
            ],
        ),
        // Links that lead out.
        ("file through a link", Inside, vec![Raw::symlink(b"l", outside), file(b"l/file")]),
        ("file through a relative link", Inside, vec![Raw::symlink(b"l", b"../canary"), file(b"l/file")]),
        ("file over a link", Inside, vec![Raw::symlink(b"l", b"../canary/file"), file(b"l")]),
        ("folder over a link", Inside, vec![Raw::symlink(b"l", b"../canary"), dir(b"l"), file(b"l/file")]),
        ("fifo over a link", Inside, vec![Raw::symlink(b"l", b"../canary/file"), Raw::new(b'6', b"l")]),
        (
            "two links",
            Inside,
            vec![Raw::symlink(b"a", b"."), Raw::symlink(b"a/b", b"../canary"), file(b"a/b/folder/x")],
        ),
        ("link in a chain", Inside, vec![Raw::symlink(b"a", b"b"), Raw::symlink(b"b", b"../canary"), file(b"a/x")]),
        ("link to itself", CannotWrite, vec![Raw::symlink(b"l", b"l"), file(b"l/x")]),
        ("link to the process", Inside, vec![Raw::symlink(b"l", b"/proc/self/cwd"), file(b"l/x")]),
        (
            "folder that becomes a link",
            Inside,
            vec![dir(b"d"), file(b"d/first"), Raw::symlink(b"d", b"../canary"), file(b"d/file")],
        ),
        (
            "link that becomes a folder and a link",
            Inside,
            vec![
                Raw::symlink(b"d", b"../canary"),
                dir(b"d"),
                file(b"d/x"),
                Raw::symlink(b"d", b"../canary"),
                dir(b"d/folder"),
            ],
        ),
        ("time of a folder that became a link", Inside, vec![dir(b"d"), Raw::symlink(b"d", b"../canary")]),
        ("top is a link", Inside, vec![Raw::symlink(b".", b"../canary"), file(b"file")]),
        ("top is a file", Inside, vec![file(b"./"), file(b"/")]),
        // Hard links.
        ("hard link out", Escapes, vec![Raw::hard_link(b"h", b"../canary/file")]),
        (
            "absolute hard link",
            CannotWrite,
            vec![Raw::records(&[("linkpath", outside_file)]), Raw::hard_link(b"h", b"x"), file(b"h")],
        ),
        (
            "hard link through a link",
            CannotWrite,
            vec![Raw::symlink(b"l", b"../canary"), Raw::hard_link(b"h", b"l/file"), file(b"h")],
        ),
        (
            "hard link to a link out, then written",
            Inside,
            vec![Raw::symlink(b"l", b"../canary/file"), Raw::hard_link(b"h", b"l"), file(b"h")],
        ),
        ("hard link to a folder", CannotWrite, vec![dir(b"d"), Raw::hard_link(b"h", b"d")]),
        ("hard link to itself", CannotWrite, vec![file(b"h"), Raw::hard_link(b"h", b"h")]),
        ("hard link to the top", Escapes, vec![Raw::hard_link(b"h", b".")]),
        ("hard link to nothing", CannotWrite, vec![Raw::hard_link(b"h", b"nothing")]),
        ("hard link in the middle", CannotWrite, vec![file(b"f"), Raw::hard_link(b"h", b"f/x")]),
        // Whiteouts.
        ("whiteout of nothing", CannotWrite, vec![file(b".wh.")]),
        ("whiteout of dot", CannotWrite, vec![file(b".wh..")]),
        ("whiteout of dot-dot", CannotWrite, vec![file(b"d/.wh...")]),
        ("whiteout through a link", Inside, vec![Raw::symlink(b"l", b"../canary"), file(b"l/.wh.file")]),
        ("opaque through a link", Inside, vec![Raw::symlink(b"l", b"../canary"), file(b"l/.wh..wh..opq")]),
        ("file below a whiteout", CannotWrite, vec![file(b".wh.d"), file(b"d/f")]),
        // What steers the mount.
        (
            "marks of the overlay",
            Inside,
            vec![
                Raw::records(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.redirect", b"/"),
                ]),
                dir(b"d"),
            ],
        ),
        ("attribute with a bad name", Inside, vec![Raw::records(&[("SCHILY.xattr.a\0b", b"y")]), file(b"f")]),
        ("attribute without a name", Inside, vec![Raw::records(&[("SCHILY.xattr.", b"y")]), file(b"f")]),
        // Numbers.
        ("size beyond the end", BadTar, vec![file(b"f").field(124, b"77777777777\0")]),
        (
            "largest base-256 size",
            BadTar,
            vec![file(b"f").field(124, &[0x80, 0, 0, 0, 0x7F, 255, 255, 255, 255, 255, 255, 255])],
        ),
        ("base-256 size beyond 64 bits", BadTar, vec![file(b"f").field(124, &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
        ("negative base-256 size", BadTar, vec![file(b"f").field(124, &[0xFF; 12])]),
        ("negative octal size", BadTar, vec![file(b"f").field(124, b"-0000000001\0")]),
        ("size that is no number", BadTar, vec![file(b"f").field(124, b"0000000009z\0")]),
        ("largest pax size", BadTar, vec![Raw::records(&[("size", b"18446744073709551615")]), file(b"f")]),
        ("pax size beyond 64 bits", BadTar, vec![Raw::records(&[("size", b"99999999999999999999")]), file(b"f")]),
        ("negative pax size", BadTar, vec![Raw::records(&[("size", b"-1")]), file(b"f")]),
        ("negative owner", BadTar, vec![file(b"f").field(108, &[0xFF; 8])]),
        ("owner that means no change", BadTar, vec![Raw::records(&[("uid", b"4294967295")]), file(b"f")]),
        ("owner beyond 32 bits", BadTar, vec![Raw::records(&[("gid", b"4294967296")]), file(b"f")]),
        ("time that is no number", BadTar, vec![Raw::records(&[("mtime", b"never")]), file(b"f")]),
        ("time beyond 64 bits", BadTar, vec![Raw::records(&[("mtime", b"99999999999999999999")]), file(b"f")]),
        ("first time there is", Inside, vec![Raw::records(&[("mtime", b"-9223372036854775808")]), file(b"f")]),
        ("before the first time", BadTar, vec![Raw::records(&[("mtime", b"-9223372036854775808.5")]), file(b"f")]),
        (
            "huge device number",
            BadTar,
            vec![Raw::new(b'3', b"c").field(329, &[0xBF, 255, 255, 255, 255, 255, 255, 255])],
        ),
        // Names.
        ("NUL in a pax path", BadTar, vec![Raw::records(&[("path", b"a\0b")]), file(b"f")]),
        ("NUL in a pax link", BadTar, vec![Raw::records(&[("linkpath", b"a\0b")]), Raw::symlink(b"l", b"x")]),
        ("name of 5000 bytes", BadTar, vec![Raw::records(&[("path", &long)]), file(b"f")]),
        ("long name of 5000 bytes", BadTar, vec![Raw::new(b'L', b"@").data(&long), file(b"f")]),
        ("link of 5000 bytes", BadTar, vec![Raw::new(b'K', b"@").data(&long), Raw::symlink(b"l", b"x")]),
        ("component of 256 bytes", CannotWrite, vec![Raw::records(&[("path", &name)]), file(b"f")]),
        ("too many folders", BadTar, vec![Raw::records(&[("path", &deep)]), dir(b"d")]),
        ("no name", Inside, vec![file(b"")]),
        ("link to nowhere", CannotWrite, vec![Raw::symlink(b"l", b"")]),
        // Extended headers.
        ("record shorter than it says", BadTar, vec![Raw::new(b'x', b"x").data(b"99 path=a\n"), file(b"f")]),
        ("record longer than it says", BadTar, vec![Raw::new(b'x', b"x").data(b"5 path=a\n"), file(b"f")]),
        ("record of no length", BadTar, vec![Raw::new(b'x', b"x").data(b"0 path=a\n"), file(b"f")]),
        ("record without a value", BadTar, vec![Raw::new(b'x', b"x").data(b"7 path\n"), file(b"f")]),
        ("record that is noise", BadTar, vec![Raw::new(b'x', b"x").data(&[0xFF; 100]), file(b"f")]),
        ("huge extended header", BadTar, vec![Raw::new(b'x', b"x").field(124, b"00100000000\0")]),
        ("huge long name", BadTar, vec![Raw::new(b'L', b"x").field(124, b"77777777777\0")]),
        (
            "global header in between",
            BadTar,
            vec![Raw::records(&[("size", b"512")]), Raw::new(b'g', b"g").data(b"9 a=bcde\n"), file(b"f")],
        ),
        ("unknown type", BadTar, vec![Raw::new(b'Z', b"f")]),
        ("part of a multi-volume archive", BadTar, vec![Raw::new(b'M', b"f")]),
        // Sparse maps.
        (
            "map that goes back",
            BadTar,
            vec![Raw::records(&[("GNU.sparse.map", b"2,2,0,2"), ("GNU.sparse.size", b"9")]), file(b"f")],
        ),
        (
            "map beyond the file",
            BadTar,
            vec![Raw::records(&[("GNU.sparse.map", b"7,4"), ("GNU.sparse.size", b"9")]), file(b"f")],
        ),
        (
            "map of the highest numbers",
            BadTar,
            vec![Raw::records(&[("GNU.sparse.map", b"18446744073709551615,4"), ("GNU.sparse.size", b"9")]), file(b"f")],
        ),
        (
            "map of more than there is",
            BadTar,
            vec![Raw::records(&[("GNU.sparse.map", b"0,5"), ("GNU.sparse.size", b"9")]), file(b"f")],
        ),
        (
            "sparse file larger than any file",
            CannotWrite,
            vec![Raw::records(&[("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"9223372036854775807")]), file(b"f")],
        ),
        (
            "map in the data without an end",
            BadTar,
            vec![
                Raw::records(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")]),
                Raw::file(b"f", &[b'1'; 1024]),
            ],
        ),
        (
            "map in the data with too many lines",
            BadTar,
            vec![
                Raw::records(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")]),
                Raw::file(b"f", &[&b"18446744073709551615\n"[..], &[0; 600]].concat()),
            ],
        ),
        (
            "old map that goes on with noise",
            BadTar,
            vec![Raw::new(b'S', b"f").field(482, &[1]).data(&[b'9'; 512]).field(124, b"00000000000\0")],
        ),
    ]
}
