//! Whole copies on real folders. Trees are written as text, one file a line: `<type> <mode> <uid:gid> <path> <rest>`;
//! the type is `d`, `f` (rest: content), `l` (rest: target), `p` (FIFO) or `s` (socket).

use std::error::Error;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use slipway_dockerfile::IgnoreRules;
use slipway_graph::op::{CopyAction, FileAction, FileOp, MkdirAction, MkfileAction, Mode, Owner, OwnerId, Unpack};
use tempfile::TempDir;

use super::*;
use crate::context::{BuildContext, IgnoreFile};
use crate::rootfs::{Root, TreePath};

/// Without root nothing can be given to another user, and these tests would show nothing.
fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this test gives files to other users: run it as root");
}

fn write_tree(folder: &Path, tree: &str) {
    for line in tree.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut fields = line.splitn(5, ' ');
        let mut next = || fields.next().unwrap_or_default();
        let (kind, mode, owner, path, rest) = (next(), next(), next(), folder.join(next()), next());
        let (uid, gid) = owner.split_once(':').unwrap();
        let (uid, gid) = (uid.parse().unwrap(), gid.parse().unwrap());
        match kind {
            "d" => std::fs::create_dir_all(&path).unwrap(),
            "f" => std::fs::write(&path, rest).unwrap(),
            "l" => symlink(rest, &path).unwrap(),
            "p" => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap(),
            "s" => drop(UnixListener::bind(&path).unwrap()),
            other => panic!("no such type: {other}"),
        }
        lchown(&path, Some(uid), Some(gid)).unwrap();
        if kind != "l" {
            let mode = u32::from_str_radix(mode, 8).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

fn read_tree(folder: &Path) -> String {
    let mut lines = Vec::new();
    read_folder(folder, folder, &mut lines);
    lines.join("\n")
}

fn read_folder(top: &Path, folder: &Path, lines: &mut Vec<String>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let meta = path.symlink_metadata().unwrap();
        let (kind, rest) = match meta.file_type() {
            t if t.is_dir() => ("d", String::new()),
            t if t.is_symlink() => ("l", path.read_link().unwrap().display().to_string()),
            t if t.is_fifo() => ("p", String::new()),
            _ => ("f", std::fs::read_to_string(&path).unwrap()),
        };
        let mode = if kind == "l" { 0o777 } else { meta.mode() & 0o7777 };
        let name = path.strip_prefix(top).unwrap().display().to_string();
        lines.push(format!("{kind} {mode:o} {}:{} {name} {rest}", meta.uid(), meta.gid()).trim().to_owned());
        if meta.is_dir() {
            read_folder(top, &path, lines);
        }
    }
}

/// Three folders: what is copied, the layers below, the new layer.
struct Folders {
    source: TempDir,
    base: TempDir,
    upper: TempDir,
}

impl Folders {
    fn new(source: &str, base: &str) -> Folders {
        let folder = |tree: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
            write_tree(folder.path(), tree);
            folder
        };
        Folders { source: folder(source), base: folder(base), upper: folder("") }
    }

    fn run(&self, tree: Tree<'_>, actions: Vec<FileAction>) -> Result<(), FileOpError> {
        let [source, base, upper] = [&self.source, &self.base, &self.upper].map(|f| Root::open(f.path()).unwrap());
        let layers = match tree {
            Tree::LinkedStage => vec![(Root::new(source.as_fd().try_clone_to_owned().unwrap()), Sharing::Everything)],
            Tree::Stage | Tree::Context(_) => Vec::new(),
        };
        let ignore = match tree {
            Tree::Context(rules) if !rules.is_empty() => Some(IgnoreFile {
                name: ".dockerignore".to_owned(),
                rules: IgnoreRules::parse(rules.join("\n").as_bytes()).unwrap(),
            }),
            _ => None,
        };
        let context = BuildContext::new(Root::new(source.as_fd().try_clone_to_owned().unwrap()), ignore);
        let tree = match tree {
            Tree::Context(_) => SourceTree::Context(&context),
            Tree::Stage | Tree::LinkedStage => SourceTree::Snapshot(&source),
        };
        let sources = [Source { tree, layers: &layers, recopy: None }];
        run(&FileOp { actions }, &Destination::new(Some(&base), &upper), &sources, &ShowArchive).map(drop)
    }

    /// The new layer, or the error.
    fn result(&self, tree: Tree<'_>, actions: Vec<FileAction>) -> String {
        match self.run(tree, actions) {
            Ok(()) => read_tree(self.upper.path()),
            Err(error) => format!("error: {error}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Tree<'a> {
    Stage,
    /// A stage whose only layer is on the same file system.
    LinkedStage,
    /// A build context with these ignore rules.
    Context(&'a [&'a str]),
}

/// Leaves a file with the number of bytes instead of what is in the archive.
struct ShowArchive;

impl Unpacker for ShowArchive {
    fn unpack(
        &self,
        archive: &mut dyn Read,
        dest: &Destination<'_>,
        folder: &TreePath,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes)?;
        let dir = dest.upper_dir(folder)?;
        let file = super::content::create_file(&dir, b"unpacked")?;
        rustix::io::write(&file, format!("{} bytes for {owner:?}", bytes.len()).as_bytes())?;
        Ok(())
    }
}

/// `COPY [--flags] source dest`, the arguments split at blanks.
fn copy_of(text: &str) -> FileAction {
    let mut action = CopyAction {
        input: 1,
        source: String::new(),
        dest: String::new(),
        has_wildcard: false,
        unpack: Unpack::Never,
        owner: None,
        mode: None,
        excludes: Vec::new(),
        parents_root: None,
    };
    let mut paths = Vec::new();
    for word in text.split(' ') {
        match word.split_once('=') {
            Some(("--chown", owner)) => action.owner = Some(owner_of(owner)),
            Some(("--chmod", mode)) => action.mode = Some(mode_of(mode)),
            Some(("--exclude", pattern)) => action.excludes.push(pattern.to_owned()),
            Some(("--parents", root)) => action.parents_root = Some(root.to_owned()),
            _ if word == "--add" => action.unpack = Unpack::IfArchive,
            _ => paths.push(word.to_owned()),
        }
    }
    action.dest = paths.pop().unwrap();
    action.source = paths.pop().unwrap();
    action.has_wildcard = action.source.contains(['*', '?', '[']);
    FileAction::Copy(action)
}

fn owner_of(text: &str) -> Owner {
    let id = |text: &str| text.parse().map_or_else(|_| OwnerId::Name(text.to_owned()), OwnerId::Number);
    match text.split_once(':') {
        Some((user, group)) => Owner { user: id(user), group: Some(id(group)) },
        None => Owner { user: id(text), group: None },
    }
}

fn mode_of(text: &str) -> Mode {
    u32::from_str_radix(text, 8).map_or_else(|_| Mode::Symbolic(text.to_owned()), Mode::Octal)
}

/// Runs each row on a fresh new layer and compares what is in it then.
fn check(tree: Tree<'_>, source: &str, base: &str, rows: &[(&str, &str)]) {
    require_root();
    for (copies, expected) in rows {
        let folders = Folders::new(source, base);
        let actions = copies.split(" ; ").map(copy_of).collect();
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(folders.result(tree, actions), expected.join("\n"), "COPY {copies}");
    }
}

const SOURCE: &str = "
    f 644 5:6 a 1
    f 4755 5:6 b 2
    f 600 7:7 .hidden 3
    d 700 100:200 dir
    f 640 101:201 dir/x 4
    d 711 101:201 dir/sub
    f 640 101:201 dir/sub/deep.txt 5
    l 777 1:1 dir/link sub/deep.txt
    l 777 0:0 to-a a
    l 777 0:0 to-dir /dir
    l 777 0:0 outside /../../../../etc/passwd
    p 600 0:0 pipe
";

const BASE: &str = "
    d 755 0:0 etc
    f 644 0:0 etc/passwd root:x:0:0::/root:/bin/sh
    f 644 0:0 etc/group web:x:33:
    d 750 500:600 there
    f 644 501:601 there/x old
    d 700 502:602 there/sub
    f 644 0:0 there/sub/kept k
    l 777 0:0 there/l ../etc
    d 755 0:0 there/a-folder
    f 644 0:0 plain p
    l 777 0:0 link there
    l 777 0:0 dangling /new/place
    d 755 0:0 hard
    d 755 0:0 hard/a
";

#[test]
fn destinations() {
    check(
        Tree::Stage,
        SOURCE,
        BASE,
        &[
            ("/a /new", "f 644 5:6 new 1"),
            ("/a /new/", "d 755 0:0 new\nf 644 5:6 new/a 1"),
            ("/a /new/.", "d 755 0:0 new\nf 644 5:6 new/a 1"),
            ("/a /p/q/new", "d 755 0:0 p\nd 755 0:0 p/q\nf 644 5:6 p/q/new 1"),
            ("/a /there", "d 750 500:600 there\nf 644 5:6 there/a 1"),
            ("/b /there/x", "d 750 500:600 there\nf 4755 5:6 there/x 2"),
            ("/a /link", "d 750 500:600 there\nf 644 5:6 there/a 1"),
            ("/a /link/sub/../x", "d 750 500:600 there\nf 644 5:6 there/x 1"),
            ("/a /dangling", "d 755 0:0 new\nf 644 5:6 new/place 1"),
            ("/a /", "f 644 5:6 a 1"),
            ("/a /x ; /b /x", "f 4755 5:6 x 2"),
            ("/to-a /new/", "d 755 0:0 new\nf 644 5:6 new/to-a 1"),
            ("/to-dir/x /new", "f 640 101:201 new 4"),
            ("/pipe /new", "p 600 0:0 new"),
            ("/a /plain/", "error: mkdir /plain: not a directory"),
            ("/a /plain/x", "error: mkdir /plain: not a directory"),
            ("/a /hard", "error: cannot replace to directory /hard/a with file"),
            ("/dir /plain", "error: cannot copy to non-directory: /plain"),
            ("/nomatch /x", "error: \"/nomatch\": not found"),
            ("/../../a/../nomatch /x", "error: \"/nomatch\": not found"),
            ("/outside /x", "error: \"/outside\": not found"),
        ],
    );
}

#[test]
fn folders() {
    let below = "
        l 777 1:1 new/link sub/deep.txt
        d 711 101:201 new/sub
        f 640 101:201 new/sub/deep.txt 5
        f 640 101:201 new/x 4";
    check(
        Tree::Stage,
        SOURCE,
        BASE,
        &[
            // The folder itself is not copied: a new one has nothing of it.
            ("/dir /new", &format!("d 755 0:0 new{below}")),
            ("/to-dir /new", &format!("d 755 0:0 new{below}")),
            // An existing one keeps what it has; folders in it become like those of the source.
            (
                "/dir /there",
                "d 750 500:600 there
                 l 777 1:1 there/link sub/deep.txt
                 d 711 101:201 there/sub
                 f 640 101:201 there/sub/deep.txt 5
                 f 640 101:201 there/x 4",
            ),
            ("/dir/sub /there/l", "d 755 0:0 etc\nf 640 101:201 etc/deep.txt 5"),
            ("/dir /x ; /a /x/sub/deep.txt/y", "error: mkdir /x/sub/deep.txt: not a directory"),
            (
                "/dir/sub /x ; /dir/sub /x",
                "d 755 0:0 x
                 f 640 101:201 x/deep.txt 5",
            ),
        ],
    );
    check(
        Tree::Stage,
        "d 755 0:0 s\nd 755 0:0 s/x",
        BASE,
        &[("/s /there", "error: cannot copy to non-directory: /there/x")],
    );
}

#[test]
fn owners_and_modes() {
    check(
        Tree::Stage,
        SOURCE,
        BASE,
        &[
            ("--chown=1 /a /n", "f 644 1:1 n 1"),
            ("--chown=1:web /b /n", "f 4755 1:33 n 2"),
            ("--chown=nosuch /a /n", "f 644 0:0 n 1"),
            ("--chown=8:9 /a /p/", "d 755 8:9 p\nf 644 8:9 p/a 1"),
            ("--chown=8:9 --chmod=4711 /a /there/", "d 750 500:600 there\nf 4711 8:9 there/a 1"),
            (
                "--chmod=644 /dir /n",
                "d 644 0:0 n
                 l 777 1:1 n/link sub/deep.txt
                 d 644 101:201 n/sub
                 f 644 101:201 n/sub/deep.txt 5
                 f 644 101:201 n/x 4",
            ),
            (
                "--chmod=u=rwX,go=rX /dir /n",
                "d 755 0:0 n
                 l 777 1:1 n/link sub/deep.txt
                 d 755 101:201 n/sub
                 f 644 101:201 n/sub/deep.txt 5
                 f 644 101:201 n/x 4",
            ),
        ],
    );
}

#[test]
fn patterns() {
    check(
        Tree::Stage,
        SOURCE,
        BASE,
        &[
            ("/*.nomatch /x/", ""),
            ("/? /x/", "d 755 0:0 x\nf 644 5:6 x/a 1\nf 4755 5:6 x/b 2"),
            ("/[b-z] /x", "f 4755 5:6 x 2"),
            ("/.h* /x", "f 600 7:7 x 3"),
            ("/d*/x /n", "f 640 101:201 n 4"),
            ("/*/deep.txt /n", ""),
            // Links that a wildcard finds are followed, but not on the way.
            (
                "/to-* /n/",
                "d 755 0:0 n
                 l 777 1:1 n/link sub/deep.txt
                 d 711 101:201 n/sub
                 f 640 101:201 n/sub/deep.txt 5
                 f 644 5:6 n/to-a 1
                 f 640 101:201 n/x 4",
            ),
            ("/*-dir/x /n", ""),
            ("--exclude=*.txt /dir/sub /n", "d 755 0:0 n"),
            (
                "--exclude=*.txt --exclude=link /dir /n",
                "d 755 0:0 n
                 d 711 101:201 n/sub
                 f 640 101:201 n/sub/deep.txt 5
                 f 640 101:201 n/x 4",
            ),
            (
                "--exclude=* --exclude=!sub/deep.txt /dir /n",
                "d 755 0:0 n
                 d 711 101:201 n/sub
                 f 640 101:201 n/sub/deep.txt 5",
            ),
            ("--exclude=a /a /n", "f 644 5:6 n 1"),
            (
                "--parents=/ /dir/sub/deep.txt /o/",
                "d 755 0:0 o
                 d 700 100:200 o/dir
                 d 711 101:201 o/dir/sub
                 f 640 101:201 o/dir/sub/deep.txt 5",
            ),
            (
                "--parents=/dir /dir/sub/deep.txt /there/",
                "d 750 500:600 there
                 d 700 502:602 there/sub
                 f 640 101:201 there/sub/deep.txt 5",
            ),
            (
                "--parents=/ /**/*.txt /o",
                "d 755 0:0 o
                 d 700 100:200 o/dir
                 d 711 101:201 o/dir/sub
                 f 640 101:201 o/dir/sub/deep.txt 5",
            ),
            (
                "--parents=/d* /d*/sub/*.txt /o",
                "d 755 0:0 o
                 d 711 101:201 o/sub
                 f 640 101:201 o/sub/deep.txt 5",
            ),
            ("--parents=/ /missing /o", "error: \"/missing\": not found"),
            ("--parents=/ /miss* /o", "d 755 0:0 o"),
        ],
    );
}

#[test]
fn files_of_contexts() {
    let source = "
        f 644 1000:1000 a 1
        d 755 1000:1000 d
        f 600 1000:1000 d/in 2
        f 600 1000:1000 d/out 3
        s 755 1000:1000 d/socket
        l 777 1000:1000 link d/out
    ";
    check(
        Tree::Context(&["d/out", "secret*"]),
        source,
        BASE,
        &[
            ("/a /n", "f 644 0:0 n 1"),
            ("/d /n", "d 755 0:0 n\nf 600 0:0 n/in 2\nf 755 0:0 n/socket"),
            ("/d/out /n", "error: no file in the build context matches `d/out`: \"/d/out\": not found"),
            ("/link /n", "error: no file in the build context matches `link`: \"/link\": not found"),
            ("/d/o* /n/", ""),
        ],
    );
    check(
        Tree::Context(&["*", "!d/in"]),
        source,
        BASE,
        &[
            ("/ /n", "d 755 0:0 n\nd 755 0:0 n/d\nf 600 0:0 n/d/in 2"),
            ("/d /n", "d 755 0:0 n\nf 600 0:0 n/in 2"),
            ("/a /n", "error: no file in the build context matches `a`: \"/a\": not found"),
        ],
    );
}

#[test]
fn the_rule_that_hides_a_file_is_named() {
    let folders = Folders::new("f 644 0:0 source 1", "");
    let error = folders.run(Tree::Context(&["*.o", "src*", "sou*"]), vec![copy_of("/source /x")]).unwrap_err();
    let FileOpError::Scan(crate::context::ScanError::Select(error)) = error else { panic!("{error}") };
    assert_eq!(error.hint().as_deref(), Some("line 3 of `.dockerignore` leaves it out: `sou*`"));
}

#[test]
fn times_are_kept() {
    require_root();
    let folders = Folders::new(SOURCE, BASE);
    let old = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 978_307_200, tv_nsec: 123_456_789 },
    };
    let age = |folder: &Path, names: &[&str]| {
        for name in names {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, folder.join(name), &old, flags).unwrap();
        }
    };
    age(folders.source.path(), &["dir/sub/deep.txt", "dir/link", "dir/sub", "dir", "pipe", "a"]);
    age(folders.base.path(), &["there/sub", "there", "etc", "."]);
    let copies = ["/dir /new", "/a /there/sub/", "/pipe /pipe", "/a /etc/sub/"];
    folders.run(Tree::Stage, copies.map(copy_of).into()).unwrap();
    let is_old = |name: &str| {
        let meta = folders.upper.path().join(name).symlink_metadata().unwrap();
        (meta.mtime(), meta.mtime_nsec()) == (978_307_200, 123_456_789)
    };
    for name in ["new/sub/deep.txt", "new/link", "new/sub", "new", "pipe", "there/sub/a", "there"] {
        assert!(is_old(name), "{name} lost its time");
    }
    for name in ["there/sub", "etc", "etc/sub", "."] {
        assert!(!is_old(name), "{name} should show that something was put in it");
    }
}

#[test]
fn hard_links() {
    require_root();
    for tree in [Tree::Stage, Tree::LinkedStage] {
        let folders = Folders::new("d 755 0:0 d\nf 644 0:0 d/a 1\nf 644 0:0 d/c 2", "");
        let source = folders.source.path();
        std::fs::hard_link(source.join("d/a"), source.join("d/b")).unwrap();
        // Another name in the store, such as a layer that got this file by a link: no business of this copy.
        std::fs::hard_link(source.join("d/c"), source.join("elsewhere")).unwrap();
        folders.run(tree, vec![copy_of("/d /x"), copy_of("/d/a /y"), copy_of("/d/c /z")]).unwrap();
        let inode = |path: &str| folders.upper.path().join(path).metadata().unwrap().ino();
        assert_eq!(inode("x/a"), inode("x/b"));
        for (one, other) in [("x/a", "y"), ("x/c", "z"), ("x/a", "x/c")] {
            assert_ne!(inode(one), inode(other), "{one} and {other} come from different copies");
        }
        let source_inode = source.join("d/c").metadata().unwrap().ino();
        let is_linked = inode("x/c") == source_inode;
        assert_eq!(is_linked, matches!(tree, Tree::LinkedStage));
    }
}

#[test]
fn many_files_are_linked_or_copied_alike() {
    require_root();
    let folders = Folders::new("", "");
    for folder in 0..20 {
        let path = folders.source.path().join(format!("s/{folder}"));
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..150 {
            std::fs::write(path.join(file.to_string()), format!("{folder} {file}")).unwrap();
        }
    }
    let expected = read_tree(&folders.source.path().join("s"));
    for (tree, to) in [(Tree::Stage, "copied"), (Tree::LinkedStage, "linked")] {
        folders.run(tree, vec![copy_of(&format!("/s /{to}"))]).unwrap();
        assert_eq!(read_tree(&folders.upper.path().join(to)), expected, "{to}");
    }
}

#[test]
fn archives_are_unpacked_by_add_only() {
    require_root();
    let folders = Folders::new("l 777 0:0 link /t.bin", BASE);
    let tar = super::archive::tests::tar_bytes();
    std::fs::write(folders.source.path().join("t.bin"), &tar).unwrap();
    std::fs::write(folders.source.path().join("text"), "t").unwrap();
    let copies = ["--add /link /d", "--add --chown=5 /t.bin /e", "--add /text /g", "/t.bin /there/x"];
    folders.run(Tree::Context(&[]), copies.map(copy_of).into()).unwrap();
    assert_eq!(std::fs::read(folders.upper.path().join("there/x")).unwrap(), tar);
    std::fs::remove_dir_all(folders.upper.path().join("there")).unwrap();
    let expected = "
        d 755 0:0 d
        f 600 0:0 d/unpacked 1536 bytes for None
        d 755 5:5 e
        f 600 0:0 e/unpacked 1536 bytes for Some((5, 5))
        f 644 0:0 g t";
    let expected: Vec<&str> = expected.lines().map(str::trim).skip(1).collect();
    assert_eq!(read_tree(folders.upper.path()), expected.join("\n"));
}

#[test]
fn made_files_and_folders() {
    require_root();
    let file = |dest: &str, mode: Option<u32>| {
        FileAction::Mkfile(MkfileAction {
            dest: dest.to_owned(),
            name: "EOF".to_owned(),
            data: b"text".to_vec(),
            owner: Some(owner_of("1:2")),
            mode: mode.map(Mode::Octal),
        })
    };
    let dir = |path: &str, owner: &str| {
        FileAction::Mkdir(MkdirAction {
            path: path.to_owned(),
            mode: 0o755,
            owner: Some(owner_of(owner)),
            mtime: Some(978_307_200),
        })
    };
    for (action, expected) in [
        (file("/x", None), "f 644 1:2 x text"),
        (file("/d/", Some(0o4711)), "d 711 1:2 d\nf 4711 1:2 d/EOF text"),
        (file("/link", None), "d 750 500:600 there\nf 644 1:2 there/EOF text"),
        (file("/plain", None), "f 644 1:2 plain text"),
        (dir("/there/sub", "7"), ""),
        (dir("/there", "7"), ""),
        (dir("/link/n/m", "7:8"), "d 750 500:600 there\nd 755 7:8 there/n\nd 755 7:8 there/n/m"),
        (dir("/w", "root"), "d 755 0:0 w"),
        (dir("/plain", "7"), "error: mkdir /plain: not a directory"),
    ] {
        let folders = Folders::new("", BASE);
        let told = format!("{action:?}");
        assert_eq!(folders.result(Tree::Stage, vec![action]), expected, "{told}");
    }
    let folders = Folders::new("", BASE);
    folders.run(Tree::Stage, vec![dir("/a/b", "0")]).unwrap();
    for name in ["a", "a/b"] {
        assert_eq!(folders.upper.path().join(name).metadata().unwrap().mtime(), 978_307_200, "{name}");
    }
}

#[test]
fn capabilities_of_stages_travel_and_marks_of_overlay_do_not() {
    require_root();
    let folders = Folders::new("d 755 0:0 d\nf 755 5:5 d/tool x", "");
    // A capability set of version 2 (linux/capability.h): cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = |path: &str, name: &str, value: &[u8]| {
        let path = folders.source.path().join(path);
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    if set("d/tool", "security.capability", &capability).is_err() {
        return;
    }
    set("d", "user.overlay.opaque", b"y").unwrap();
    folders.run(Tree::Stage, vec![copy_of("--chown=9 /d/tool /tool"), copy_of("/ /all")]).unwrap();
    for name in ["tool", "all/d/tool"] {
        let mut value = [0; 64];
        let path = folders.upper.path().join(name);
        let length = rustix::fs::getxattr(&path, "security.capability", &mut value[..]).unwrap();
        assert_eq!(value[..length], capability, "{name}");
    }
    folders.run(Tree::Context(&[]), vec![copy_of("/d/tool /of-the-host")]).unwrap();
    let path = folders.upper.path().join("of-the-host");
    assert_eq!(rustix::fs::getxattr(&path, "security.capability", &mut [0; 64][..]), Err(rustix::io::Errno::NODATA));
    let mut list = Vec::with_capacity(256);
    rustix::fs::listxattr(folders.upper.path().join("all/d"), rustix::buffer::spare_capacity(&mut list)).unwrap();
    assert!(!list.windows(7).any(|part| part == b"overlay"));
}

#[test]
fn the_top_of_the_layer_is_like_the_one_below() {
    require_root();
    let folders = Folders::new(SOURCE, "");
    std::fs::set_permissions(folders.base.path(), PermissionsExt::from_mode(0o1711)).unwrap();
    chown(folders.base.path(), Some(3), Some(4)).unwrap();
    folders.run(Tree::Stage, vec![copy_of("/a /")]).unwrap();
    let meta = folders.upper.path().metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o1711, 3, 4));
}

#[test]
fn inputs_that_are_not_there() {
    for (input, told) in [(0, "input 0 does not exist: there are 2"), (2, "input 2 does not exist: there are 2")] {
        let FileAction::Copy(mut action) = copy_of("/a /b") else { unreachable!() };
        action.input = input;
        let result = Folders::new("", "").run(Tree::Stage, vec![FileAction::Copy(action)]);
        assert_eq!(result.unwrap_err().to_string(), told);
    }
}
