//! Images, contexts and steps that try to reach the host (`spec/attacks.md`).
//!
//! Each test puts a canary on the host and a Dockerfile that goes for it. Whether such a build succeeds is often a
//! matter of taste; that the canary is neither read nor touched is not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use slipway_test::tar::{self, Entry, Kind};

use crate::site::{Outcome, Site, busybox_flag, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("mount_points_that_are_links", mount_points_that_are_links),
    test("a_parent_of_a_mount_point_becomes_a_link", a_parent_of_a_mount_point_becomes_a_link),
    test("a_parent_of_a_mount_point_changes_during_clean_up", a_parent_of_a_mount_point_changes_during_clean_up),
    test("working_folders_in_proc", working_folders_in_proc),
    test("sources_behind_links_of_the_context", sources_behind_links_of_the_context),
    test("sources_behind_links_of_a_stage", sources_behind_links_of_a_stage),
    test("destinations_behind_links", destinations_behind_links),
    test("mounts_of_folders_above_their_root", mounts_of_folders_above_their_root),
    test("user_files_that_are_no_files", user_files_that_are_no_files),
    test("a_huge_user_file_is_not_read_whole", a_huge_user_file_is_not_read_whole),
    test("users_that_overflow_are_not_root", users_that_overflow_are_not_root),
    test("labels_are_data", labels_are_data),
];

const TEXT: &str = "canary-of-the-host-51c0";

/// A folder of the host that no build may read or change.
pub(crate) struct Canary {
    folder: PathBuf,
}

impl Canary {
    pub(crate) fn new(site: &Site) -> Canary {
        let folder = site.path("canary");
        fs::create_dir_all(folder.join("b/c")).unwrap();
        for file in ["file", "b/file", "b/c/file"] {
            fs::write(folder.join(file), TEXT).unwrap();
        }
        fs::create_dir(folder.join("empty")).unwrap();
        fs::write(folder.join("placeholder"), "").unwrap();
        Canary { folder }
    }

    pub(crate) fn path(&self) -> String {
        self.folder.display().to_string()
    }

    /// The build ended in good order, read nothing of the canary into `out`, and left the canary as it was.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self, site: &Site, outcome: &Outcome) {
        let stderr = &outcome.stderr;
        assert!(matches!(outcome.exit_code, Some(0 | 1)), "{:?} {stderr}", outcome.exit_code);
        assert!(!stderr.contains("panicked") && !stderr.contains(TEXT), "{stderr}");
        if outcome.exit_code == Some(1) {
            assert!(stderr.lines().last().unwrap().starts_with("ERROR: failed to build: "), "{stderr}");
        }
        let out = site.path("out");
        for file in if out.exists() { files_below(&out) } else { Vec::new() } {
            let bytes = fs::read(&file).unwrap();
            assert!(!slipway_test::image::contains(&bytes, TEXT.as_bytes()), "{} has the canary", file.display());
        }
        let mut files = files_below(&self.folder);
        files.sort();
        let expected = ["b/c/file", "b/file", "file", "placeholder"].map(|name| self.folder.join(name));
        assert_eq!(files, expected, "{stderr}");
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, [TEXT, TEXT, TEXT, ""], "{stderr}");
        assert!(self.folder.join("empty").is_dir(), "{stderr}");
        site.assert_tidy();
    }
}

/// Builds `dockerfile` with the result in `out`, in a store of its own.
fn attack(site: &Site, canary: &Canary, dockerfile: &str) -> Outcome {
    site.write("Dockerfile", dockerfile);
    fs::remove_dir_all(site.path("out")).ok();
    let outcome = site.build(&["-o", "../out"]);
    canary.assert_unharmed(site, &outcome);
    outcome
}

pub(crate) fn link(path: &str, target: &str) -> Entry {
    Entry { path: path.to_owned(), kind: Kind::Symlink, mode: 0o777, link: target.to_owned(), ..Entry::default() }
}

/// A root file system with busybox as `/bin/sh`, and `further` entries.
fn root_with(further: &[Entry]) -> Vec<u8> {
    let folder = |path: &str| Entry { path: path.to_owned(), kind: Kind::Directory, mode: 0o755, ..Entry::default() };
    let program = fs::read("/bin/busybox").unwrap();
    let mut entries = vec![folder("bin/"), folder("etc/"), folder("run/"), folder("dev/")];
    entries.push(Entry {
        path: "bin/busybox".to_owned(),
        kind: Kind::File,
        mode: 0o755,
        data: program,
        ..Entry::default()
    });
    entries.push(link("bin/sh", "busybox"));
    // A later entry of the same name takes the place of an earlier one.
    entries.retain(|entry| !further.iter().any(|f| f.path == entry.path.trim_end_matches('/')));
    tar::write(&[&entries, further].concat()).unwrap()
}

fn mount_points_that_are_links() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let ways = [
        host.clone(),
        format!("../../../../../..{host}"),
        format!("/proc/1/root{host}"),
        "/proc/self/cwd/..".to_owned(),
    ];
    for (way, target) in ways.iter().enumerate() {
        for name in [
            "proc",
            "sys",
            "dev",
            "dev/shm",
            "dev/pts",
            "dev/null",
            "dev/console",
            "etc/resolv.conf",
            "etc/hosts",
            "run/secrets",
            "run",
            "etc",
        ] {
            let target = match name {
                "etc/resolv.conf" | "etc/hosts" | "dev/null" | "dev/console" => format!("{target}/placeholder"),
                _ => target.clone(),
            };
            fs::write(site.path("ctx/root.tar"), root_with(&[link(name, &target)])).unwrap();
            fs::write(site.path("key"), "x").unwrap();
            site.write(
                "Dockerfile",
                &format!("FROM scratch\nADD root.tar /\nRUN --mount=type=secret,id=key /bin/busybox echo {way} > /done; /bin/busybox mkdir -p /dev/x /run/x /sys/x\n"),
            );
            fs::remove_dir_all(site.path("out")).ok();
            let outcome = site.build(&["-o", "../out", "--secret=id=key,src=../key"]);
            canary.assert_unharmed(&site, &outcome);
        }
    }
}

/// CVE-2024-23652: what was made as a mount point is removed afterwards, and must not be looked for by its path.
fn a_parent_of_a_mount_point_becomes_a_link() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    for (mount, attack_it) in [
        ("type=tmpfs,target=/a/empty", format!("mv /a /old; ln -s {host} /a")),
        ("type=cache,target=/a/b/c/new", format!("mv /a /old; ln -s {host} /a")),
        ("type=bind,target=/a/b", format!("mv /a /old; ln -s {host} /a")),
        ("type=secret,id=key,target=/a/placeholder", format!("mv /a /old; ln -s {host} /a")),
        ("type=tmpfs,target=/a/b/c", format!("mv /a/b /a/old; ln -s ../../../../../../../..{host}/b /a/b")),
        ("type=tmpfs,target=/t", format!("mv /etc /old; ln -s {host} /etc; mv /run /old-run; ln -s {host} /run")),
    ] {
        fs::write(site.path("key"), "x").unwrap();
        site.write("Dockerfile", &format!("FROM busybox\nRUN --mount={mount} {attack_it}; ls -l /\nRUN true\n"));
        fs::remove_dir_all(site.path("out")).ok();
        let outcome = site.build(&["-o", "../out", "--secret=id=key,src=../key"]);
        canary.assert_unharmed(&site, &outcome);
    }
}

/// The same as a race: while a step's mount points are removed, what is in a cache goes on to change under another step,
/// and parents of mount points that lie in it are folders and links in turn.
fn a_parent_of_a_mount_point_changes_during_clean_up() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let up = "../".repeat(24);
    site.write(
        "Dockerfile",
        &format!(
            "FROM busybox AS swaps\n\
             RUN --mount=type=cache,id=c,target=/c ln -sfn {host} /c/absolute; ln -sfn {up}{host} /c/relative; \
             mkdir -p /c/a/b; echo ready; while :; do for to in absolute relative; do \
             mv -T /c/a /c/real; mv -T /c/$to /c/a; mv -T /c/a /c/$to; mv -T /c/real /c/a; done; done; sleep <marker>\n\
             FROM busybox AS mounts\n\
             RUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/a/empty \
             --mount=type=tmpfs,target=/c/a/b/c/new --mount=type=secret,id=key,target=/c/a/placeholder true\n"
        ),
    );
    fs::write(site.path("key"), "x").unwrap();
    let mut swaps = site.start(&["--target=swaps"]);
    swaps.wait_for("ready\n");
    let mut n_mounted = 0;
    for _ in 0..50 {
        let outcome = site.build(&["--target=mounts", "--no-cache", "--secret=id=key,src=../key"]);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        n_mounted += usize::from(outcome.exit_code == Some(0));
    }
    swaps.kill();
    site.wait_until_no_process();
    assert!(n_mounted > 0, "nothing was ever mounted, so nothing was removed");
    let outcome = site.build(&["--target=mounts", "--no-cache", "--secret=id=key,src=../key"]);
    canary.assert_unharmed(&site, &outcome);
}

/// CVE-2024-21626: a descriptor that leaks into the step is a way to the host.
fn working_folders_in_proc() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let below_root = canary.path().trim_start_matches('/').to_owned();
    for number in 3..16 {
        let folder = format!("/proc/self/fd/{number}");
        attack(
            &site,
            &canary,
            &format!(
                "FROM busybox\nWORKDIR {folder}\nRUN up=.; for i in $(seq 12); do cat $up/{below_root}/file 2>&1; touch $up/{below_root}/new; up=$up/..; done; true\n"
            ),
        );
        attack(
            &site,
            &canary,
            &format!(
                "FROM busybox\nRUN ln -s {folder} /w\nWORKDIR /w\nRUN cat ../../../../../{below_root}/file; true\n"
            ),
        );
    }
}

fn sources_behind_links_of_the_context() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let context = site.path("ctx");
    symlink(&canary.folder, context.join("absolute")).unwrap();
    symlink("../canary", context.join("relative")).unwrap();
    symlink("../canary/file", context.join("file")).unwrap();
    symlink("/proc/self/cwd/../canary", context.join("proc")).unwrap();
    fs::create_dir(context.join("folder")).unwrap();
    symlink("../../canary", context.join("folder/inner")).unwrap();
    for source in [
        "absolute",
        "absolute/file",
        "relative",
        "relative/file",
        "relative/f*",
        "file",
        "f*",
        "proc/file",
        "folder",
        "folder/inner/file",
        "folder/*/file",
        "../canary/file",
        "/../canary/file",
        "folder/../../canary",
    ] {
        attack(&site, &canary, &format!("FROM busybox\nCOPY {source} /copied/\n"));
        attack(&site, &canary, &format!("FROM busybox\nADD {source} /added/\n"));
        attack(
            &site,
            &canary,
            &format!("FROM busybox\nRUN --mount=type=bind,source={source},target=/m cp -r /m /copied\n"),
        );
    }
    symlink("../canary", site.path("ctx/.hidden")).unwrap();
    attack(&site, &canary, "FROM busybox\nCOPY . /all/\nRUN cat /all/*/file /all/.hidden/file; true\n");
}

fn sources_behind_links_of_a_stage() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let stage = format!(
        "FROM busybox AS hostile\nRUN ln -s {host} /absolute && ln -s ../../../../../../../..{host} /relative \
         && ln -s /proc/self/root{host} /proc-link && mkdir /d && ln -s {host}/b /d/b\nFROM busybox\n"
    );
    for source in [
        "absolute",
        "absolute/file",
        "relative/file",
        "relative/*",
        "proc-link/file",
        "d",
        "d/b/file",
        "../../..{host}",
    ] {
        let source = source.replace("{host}", &host);
        attack(&site, &canary, &format!("{stage}COPY --from=hostile /{source} /copied/\n"));
        for kind in ["bind", "bind,rw", "cache"] {
            attack(
                &site,
                &canary,
                &format!(
                    "{stage}RUN --mount=type={kind},from=hostile,source=/{source},target=/m cp -r /m /copied; touch /m/new; rm -r /m/*; true\n"
                ),
            );
        }
    }
}

fn destinations_behind_links() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    site.write("new", "from the context\n");
    let archive = [
        link("inner", &host),
        Entry { path: "inner/new".to_owned(), mode: 0o666, kind: Kind::File, ..Entry::default() },
    ];
    fs::write(site.path("ctx/archive.tar"), tar::write(&archive).unwrap()).unwrap();
    let base = format!(
        "FROM busybox\nRUN ln -s {host} /absolute && ln -s ../../../../../../..{host} /relative && ln -s {host}/file /file\n"
    );
    for step in [
        "COPY new /absolute/",
        "COPY new /relative/b/",
        "COPY new /file",
        "COPY --chmod=0777 --chown=1:1 new /absolute/file",
        "ADD archive.tar /absolute/",
        "ADD archive.tar /x/",
        "WORKDIR /absolute/w",
        "WORKDIR /relative/../w",
        "RUN --mount=type=tmpfs,target=/absolute/b touch /absolute/b/new",
        "RUN --mount=type=cache,target=/relative/new touch /relative/new/new",
        "RUN --mount=type=bind,target=/absolute/b,rw touch /absolute/b/new",
        "RUN rm -rf /absolute/* /relative/*; echo new > /file; true",
    ] {
        attack(&site, &canary, &format!("{base}{step}\n"));
    }
}

/// Builds are told apart from the host by what they can list.
fn mounts_of_folders_above_their_root() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    for mount in [
        format!("type=cache,id=../../../..{host},target=/m"),
        format!("type=cache,id={host},target=/m"),
        "type=cache,id=..,target=/m".to_owned(),
        "type=cache,id=../../canary,target=/m".to_owned(),
        "type=cache,id=a/../../../canary,target=/m".to_owned(),
        "type=cache,target=/m,source=/../../canary".to_owned(),
        "type=bind,source=/../canary,target=/m,rw".to_owned(),
        "type=bind,source=/../..,target=/m,rw".to_owned(),
        format!("type=bind,source=/../../../../../..{host},target=/m,rw"),
        format!("type=tmpfs,target=/../../../../../..{host}"),
        format!("type=cache,target=../../../../../../..{host}"),
        format!("type=bind,target={host},bind-propagation=shared"),
    ] {
        let steal = format!(
            "find /m {host} -name file -exec cat {{}} \\; ; touch /m/new {host}/new; rm -rf /m/* {host}/*; true"
        );
        attack(&site, &canary, &format!("FROM busybox\nRUN --mount={mount} {steal}\n"));
    }
    let refused =
        attack(&site, &canary, "FROM busybox\nRUN --mount=type=bind,target=/m,bind-propagation=rshared true\n");
    assert_eq!(refused.exit_code, Some(1), "{}", refused.stderr);
}

fn user_files_that_are_no_files() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    fs::create_dir(canary.folder.with_file_name("users")).unwrap();
    let passwd = canary.folder.with_file_name("users").join("passwd");
    fs::write(&passwd, "intruder:x:1737373737:1737373737::/:/bin/sh\n").unwrap();
    for prepare in [
        "rm /etc/passwd; mkfifo /etc/passwd".to_owned(),
        "rm /etc/passwd /etc/group; mkfifo /etc/group; mkfifo /etc/passwd".to_owned(),
        "rm /etc/group; mkfifo /etc/group".to_owned(),
        "rm /etc/passwd; mkdir /etc/passwd".to_owned(),
        "rm /etc/passwd; ln -s /dev/zero /etc/passwd".to_owned(),
        "rm /etc/passwd; ln -s passwd /etc/passwd".to_owned(),
        format!("rm /etc/passwd; ln -s {} /etc/passwd", passwd.display()),
        format!("mv /etc /old; ln -s {}/../users /etc", host),
    ] {
        for use_it in [
            "USER intruder\nRUN id",
            "COPY --chown=intruder Dockerfile /x\nRUN stat -c %u /x",
            // Nothing that looks users up itself, which would never end.
            "RUN --mount=type=cache,target=/c true",
        ] {
            let outcome = attack(&site, &canary, &format!("FROM busybox\nRUN {prepare}\n{use_it}\n"));
            let knows_intruder = outcome.stderr.contains("1737373737");
            assert!(!knows_intruder, "`{prepare}` then `{use_it}` took a user from the host: {}", outcome.stderr);
        }
    }
}

fn a_huge_user_file_is_not_read_whole() {
    for (file, user) in [("/etc/passwd", "somebody"), ("/etc/group", "root:somebody")] {
        let site = Site::new(&format!("FROM busybox\nRUN truncate -s 10G {file}\nUSER {user}\nRUN id\n"));
        // With less address space than the file has bytes.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 6000000; exec \"$@\"", "sh", crate::site::SLIPWAY]);
        command.args(["build", "--progress=plain", &busybox_flag(), "--output=type=cacheonly", "."]);
        let outcome = run(&mut site.with_own_environment(command));
        let stderr = outcome.failure();
        assert!(stderr.lines().last().unwrap().starts_with("ERROR: failed to build: failed to solve: "), "{stderr}");
        assert!(stderr.contains("somebody") || stderr.contains(file), "{stderr}");
        site.assert_tidy();
    }
}

/// CVE-2024-40635: a number that wraps around is another user.
fn users_that_overflow_are_not_root() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    for user in ["4294967296", "-1", "4294967295", "1000:4294967296", "0x0", "00000000001000", "1e3", "1000:-1", " "] {
        let outcome =
            attack(&site, &canary, &format!("FROM busybox\nUSER {user}\nRUN id -u > /tmp/uid; id -g > /tmp/gid\n"));
        if outcome.exit_code == Some(0) {
            assert_ne!(fs::read_to_string(site.path("out/tmp/uid")).unwrap(), "0\n", "USER {user}");
        }
    }
}

/// CVE-2026-53488: what an image says about itself reaches no shell and no path of the host.
fn labels_are_data() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let hostile = format!("\\$(touch {host}/new);`rm {host}/file`../../..{host}/file");
    let told = ["LABEL containerd.io/restart.logpath", "LABEL io.buildah.version", "ENV SLIPWAY_ROOT", "LABEL run"]
        .map(|name| format!("{name}=\"{hostile}\"\n"))
        .concat();
    attack(&site, &canary, &format!("FROM busybox AS a\n{told}FROM a\nRUN true\nENTRYPOINT [\"{host}/file\"]\n"))
        .success();
}
