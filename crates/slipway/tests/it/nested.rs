//! Builds inside of what others made: namespaces, a chroot, a container. Whatever allows a step gives the same image,
//! and what does not is told.

use std::fs;
use std::process::Command;

use slipway_test::capability::Capability;

use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, run, summary_of};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "namespaces_of_others", needs: &[Capability::UserNamespace], run: namespaces_of_others },
    Test { name: "root_without_some_capabilities", needs: &[Capability::Root], run: root_without_some_capabilities },
    Test { name: "a_chroot", needs: &[Capability::Root], run: a_chroot },
    Test { name: "a_step_of_its_own_build", needs: &[Capability::Root], run: a_step_of_its_own_build },
    test("a_disk_that_holds_no_layers", a_disk_that_holds_no_layers),
];

/// Owners, special bits, links, and something that a second step changes.
const DOCKERFILE: &str = r#"FROM busybox
RUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd && mkdir /d && echo a > /d/a && ln /d/a /d/b && chown -R 5:6 /d \
    && chmod 4711 /d/a && mkfifo /d/fifo
USER app
RUN id > /tmp/id && rm -rf /tmp/none
"#;

/// What `slipway …` says when it is started by `wrapper`.
fn inside(site: &Site, wrapper: &[&str], arguments: &[&str]) -> Outcome {
    let mut command = site.with_own_environment(Command::new(wrapper[0]));
    run(command.args(&wrapper[1..]).arg(SLIPWAY).args(arguments))
}

/// Builds inside of `wrapper`, and compares with what is built outside of it.
#[track_caller]
fn assert_same_image(site: &Site, wrapper: &[&str], rung: &str) {
    let expected = site.summary(&[]);
    let doctor = inside(site, wrapper, &["doctor"]).success();
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(found.starts_with(&format!("sandbox: {rung}\n")), "{wrapper:?}: {found}");
    let file = site.name("inside.tar");
    let (output, store) = (format!("--output=type=oci,dest={file}"), site.name("inside"));
    let store = format!("SLIPWAY_ROOT={store}");
    let wrapper = [wrapper, &["env", &store]].concat();
    let busybox = busybox_flag();
    let build = ["build", "--progress=plain", "--network=none", &busybox, &output, "."];
    inside(site, &wrapper, &build).success();
    assert_eq!(summary_of(file.as_ref()), expected, "{wrapper:?}");
    // What is known about the machine by now holds for the second build, too.
    let again = inside(site, &wrapper, &[&["build", "--no-cache"], &build[1..]].concat()).success();
    assert_eq!(again.steps().cached, Vec::<String>::new());
    fs::remove_dir_all(site.path("inside")).unwrap();
}

fn namespaces_of_others() {
    let site = Site::new(DOCKERFILE);
    // The mount table of the first and the third belongs to somebody outside.
    for wrapper in [
        ["unshare", "-Ur"].as_slice(),
        &["unshare", "-Urm"],
        &["unshare", "-Ur", "unshare", "-Ur"],
        &["unshare", "-Urm", "unshare", "-Urm"],
        &["unshare", "-Urmpf", "--mount-proc"],
    ] {
        assert_same_image(&site, wrapper, "root");
    }
}

fn root_without_some_capabilities() {
    let site = Site::new(DOCKERFILE);
    assert_same_image(&site, &["setpriv", "--bounding-set=-sys_resource,-net_admin,-mknod"], "root");
    // The namespace of its own maps as many ids as the machine has, and still is not that of the machine.
    assert_same_image(&site, &["setpriv", "--bounding-set=-sys_admin"], "subids");
    let nothing = ["setpriv", "--bounding-set=-all"];
    let build = ["build", "--no-cache", "--progress=plain", &busybox_flag(), "."];
    let stderr = inside(&site, &nothing, &build).failure();
    assert!(stderr.contains("hint: root may map itself with CAP_SETFCAP only"), "{stderr}");
    let doctor = inside(&site, &nothing, &["doctor"]).success();
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(found.starts_with("sandbox: none; RUN does not work here\n"), "{found}");
    assert!(found.contains("  root: no, this process is root but lacks CAP_SYS_ADMIN\n"), "{found}");
}

/// A shell's words that make `root` a place to `chroot` to, which is no mount itself, in a mount table of its own.
fn chroot_with(site: &Site, words: &str) -> String {
    let root = site.name("root");
    let folders = "for folder in $(ls /); do [ ! -d /$folder ] || { mkdir -p $0/$folder && mount --rbind /$folder $0/$folder; }; done";
    format!("root={root}; set -e; {}; exec chroot {words} {root} \"$@\"", folders.replace("$0", &root))
}

fn a_chroot() {
    let site = Site::new(DOCKERFILE);
    fs::create_dir(site.path("root")).unwrap();
    let script = chroot_with(&site, "");
    let wrapper = ["unshare", "-m", "sh", "-c", &script, "sh", "env", "-C", &site.name("ctx")];
    assert_same_image(&site, &wrapper, "root");
    let script = chroot_with(&site, "--userspec=65534:65534");
    let doctor = inside(&site, &["unshare", "-m", "sh", "-c", &script, "sh"], &["doctor"]);
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(found.contains("in a chroot, where the kernel makes no user namespaces"), "{found} {}", doctor.stderr);
}

/// An ordinary step is a plain container: it may make no namespaces, and says so. One that may do anything builds.
fn a_step_of_its_own_build() {
    let site = Site::new("");
    fs::create_dir_all(site.path("ctx/inner")).unwrap();
    fs::copy(SLIPWAY, site.path("ctx/slipway")).unwrap();
    fs::copy("/bin/busybox", site.path("ctx/inner/busybox")).unwrap();
    site.write(
        "inner/Dockerfile",
        "FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"echo\", \"from deep inside\"]\n",
    );
    // The program under test may need libraries; an installed one does not.
    let libraries = run(Command::new("ldd").arg(SLIPWAY));
    let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = site.path("ctx/libraries").join(&library[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(library, copy).unwrap();
    }
    fs::create_dir_all(site.path("ctx/libraries")).unwrap();
    let build = "RUN <flags> --mount=type=cache,target=/store SLIPWAY_ROOT=/store HOME=/tmp /slipway <command>\n";
    let dockerfile = |flags: &str, command: &str| {
        let run = build.replace("<flags>", flags).replace("<command>", command);
        format!("FROM busybox\nCOPY libraries /\nCOPY slipway /\nCOPY inner /inner\n{run}")
    };
    let inner = "build --progress=plain --network=host /inner";
    site.write("Dockerfile", &dockerfile("--security=insecure", inner));
    let outcome = site.build(&["--allow=security.insecure"]).success();
    assert!(outcome.stderr.contains("from deep inside"), "{}", outcome.stderr);
    site.write("Dockerfile", &dockerfile("", inner));
    let stderr = site.build(&[]).failure();
    assert!(stderr.contains("cannot create a user namespace: unshare("), "{stderr}");
    let hint = "a system call filter is in force (seccomp); run the container with `--security-opt seccomp=unconfined`";
    assert!(stderr.contains(hint), "{stderr}");
    site.assert_tidy();
}

/// A container's own file system is an overlay, which takes no second one for what is written.
fn a_disk_that_holds_no_layers() {
    let site = Site::new("FROM busybox\nRUN --network=none true\n");
    let script = "cd $0 && mkdir lower upper work merged && \
                  mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work none merged && \
                  cd $PWD/ctx && SLIPWAY_ROOT=$0/merged/store exec \"$@\"";
    let script = script.replace("$PWD/ctx", &site.name("ctx"));
    let store = site.name("disk");
    fs::create_dir(&store).unwrap();
    let wrapper = ["unshare", "-Urm", "sh", "-c", &script, &store];
    let stderr = inside(&site, &wrapper, &["build", "--progress=plain", &busybox_flag(), "."]).failure();
    assert!(stderr.contains("hint: layers cannot be written where `"), "{stderr}");
    assert!(stderr.contains("a volume there (`-v slipway:"), "{stderr}");
}
