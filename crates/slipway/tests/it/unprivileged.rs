//! Root and a user with subordinate ids build the same images.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use slipway_test::capability::Capability;

use crate::Test;
use crate::platforms::arm64_program;
use crate::site::{Outcome, SLIPWAY, Site, busybox_flag, run, summary_of};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "both_build_the_same_image", needs: &[Capability::NewUser], run: both_build_the_same_image },
    Test {
        name: "a_store_of_a_user_stays_in_its_home",
        needs: &[Capability::NewUser],
        run: a_store_of_a_user_stays_in_its_home,
    },
    Test {
        name: "a_foreign_program_runs_for_a_user",
        needs: &[Capability::NewUser, Capability::Emulator],
        run: a_foreign_program_runs_for_a_user,
    },
    Test { name: "limits_that_cannot_be_had_are_refused", needs: &[Capability::NewUser], run: limits_are_refused },
    Test {
        name: "a_build_that_only_hits_enters_no_namespace",
        needs: &[Capability::NewUser],
        run: a_build_that_only_hits_enters_no_namespace,
    },
    Test {
        name: "every_rung_builds_the_same_image",
        needs: &[Capability::NewUser],
        run: every_rung_builds_the_same_image,
    },
    Test { name: "kill_leaves_nothing_of_a_user_behind", needs: &[Capability::NewUser], run: kill_leaves_nothing },
];

/// Held by who has the user, of all who test on this machine: there is one, and tools that add users give up when another
/// is at work.
const LOCK: &str = "slipway-test-it.lock";

/// A user with a home folder and subordinate ids, who is removed with the value.
pub(crate) struct NewUser {
    name: String,
    home: PathBuf,
    _alone: fs::File,
}

impl NewUser {
    /// `site` becomes a place that the user may look into, with a folder of the user's own in it.
    pub(crate) fn new(site: &Site) -> NewUser {
        let alone = fs::File::create(std::env::temp_dir().join(LOCK)).unwrap();
        alone.lock().unwrap();
        let name = "slipway-test-it".to_owned();
        let home = site.path("user");
        // Left over from a run that was killed, maybe.
        Command::new("userdel").arg(&name).output().unwrap();
        let mut useradd = Command::new("useradd");
        useradd.arg("--create-home").arg("--home-dir").arg(&home).arg(&name);
        let site_folder = home.parent().unwrap();
        fs::set_permissions(site_folder, fs::Permissions::from_mode(0o755)).unwrap();
        run(&mut useradd).success();
        NewUser { name, home, _alone: alone }
    }

    /// `slipway` as this user, with no variable that says where its store is.
    pub(crate) fn slipway(&self, context: &Path) -> Command {
        self.slipway_inside(&[], context)
    }

    /// The same, with root's `wrapper` around it: a command that runs the words that follow it.
    pub(crate) fn slipway_inside(&self, wrapper: &[&str], context: &Path) -> Command {
        // The program may lie where only root can look.
        let program = self.home.with_file_name("slipway");
        if !program.exists() {
            // By a process of its own: a file that this one writes may be held open by what other tests just start, and
            // cannot be executed as long as it is (ETXTBSY).
            run(Command::new("cp").arg(SLIPWAY).arg(&program)).success();
        }
        let change_user = ["setpriv", "--reuid", &self.name, "--regid", &self.name, "--clear-groups", "--"];
        let words = [wrapper, &change_user].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .current_dir(context);
        command
    }

    pub(crate) fn build(&self, context: &Path, arguments: &[&str]) -> Outcome {
        run(self.slipway(context).args(["build", "--progress=plain", &busybox_flag()]).args(arguments).arg("."))
    }
}

impl Drop for NewUser {
    fn drop(&mut self) {
        Command::new("userdel").arg(&self.name).output().ok();
    }
}

const EVERYTHING: &str = r#"FROM busybox AS tree
RUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd && mkdir -p /data/deep/er && echo a > /data/a && echo b > /data/deep/b \
    && chown -R 1000:1000 /data && ln /data/a /data/hard && ln -s a /data/soft && mkfifo /data/fifo
RUN cp /bin/busybox /data/setuid && chown 1000:50 /data/setuid && chmod 6755 /data/setuid && chmod 1777 /data/deep
USER app
RUN id > /tmp/id && touch /data/by-app && [ ! -w /etc/passwd ]
USER root
RUN rm -r /data/deep && mkdir /data/deep && echo new > /data/deep/new && rm /etc/group && rm -r /usr/sbin \
    && ln -s /bin /usr/sbin

FROM busybox
COPY --chown=1000:1000 ctx/ /chowned/
COPY --chown=33 --chmod=0640 ctx/file /chmodded
COPY --from=tree /data /data
COPY --from=tree --chown=7:8 /data /again
ADD archive.tar /unpacked/
RUN --mount=type=cache,target=/cache,uid=1000,gid=1000,mode=0700 stat -c %u:%g:%a /cache > /cache-owner; echo x > /cache/x
RUN --mount=type=tmpfs,target=/t --mount=type=bind,from=tree,target=/tree,rw touch /t/x /tree/x && chown 5:6 /tree/x \
    && stat -c %u:%g /tree/data/by-app > /owner
WORKDIR /work/dir
USER 1000:1000
RUN id > /tmp/id; touch /tmp/mine
RUN grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status > /tmp/status
"#;

fn both_build_the_same_image() {
    let site = Site::new(EVERYTHING);
    site.write("ctx/file", "text\n");
    site.write("ctx/deep/file", "text\n");
    fs::write(site.path("ctx/archive.tar"), archive()).unwrap();
    let user = NewUser::new(&site);
    let by_root = site.summary(&[]);
    let output = format!("--output=type=oci,dest={}", user.home.join("image.tar").display());
    user.build(&site.path("ctx"), &[&output]).success();
    let by_user = summary_of(&user.home.join("image.tar"));
    // Files of the context keep their owner only in archives, so the owner of the context is no difference.
    assert_eq!(by_root.lines().collect::<Vec<_>>(), by_user.lines().collect::<Vec<_>>());
    assert!(by_root.contains("1000:50 data/setuid"), "{by_root}");
    let again = user.build(&site.path("ctx"), &[&output]).success();
    assert_eq!(again.steps().ran, Vec::<String>::new());
}

/// Files of several owners, one with special bits.
fn archive() -> Vec<u8> {
    use slipway_test::tar::{Entry, Kind, write};
    let entry = |path: &str, kind, mode, uid, gid| Entry {
        path: path.to_owned(),
        kind,
        mode,
        uid,
        gid,
        mtime: 1_000_000_000,
        data: if kind == Kind::File { b"archived\n".to_vec() } else { Vec::new() },
        ..Entry::default()
    };
    write(&[
        entry("d/", Kind::Directory, 0o2750, 1000, 1001),
        entry("d/file", Kind::File, 0o4711, 65534, 60000),
        entry("top", Kind::File, 0o600, 0, 0),
    ])
    .unwrap()
}

fn a_store_of_a_user_stays_in_its_home() {
    let site = Site::new("FROM busybox\nRUN chown 9:9 /etc/passwd && echo x > /x\n");
    let user = NewUser::new(&site);
    user.build(&site.path("ctx"), &["--tag=mine"]).success();
    let store = user.home.join(".local/share/slipway");
    assert!(store.join("store.db").exists());
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!site.path("store").exists());
    // What it built is a base for it, and unknown to root.
    fs::write(site.path("ctx/Dockerfile"), "FROM mine\nRUN cat /x\n").unwrap();
    user.build(&site.path("ctx"), &[]).success();
}

/// Without `newuidmap` no namespace can be entered, so what succeeds then has not tried.
fn a_build_that_only_hits_enters_no_namespace() {
    let site = Site::new("FROM busybox\nCOPY file /\nRUN chown 9:9 /file\n");
    site.write("file", "text\n");
    let user = NewUser::new(&site);
    let output = format!("--output=type=oci,dest={}", user.home.join("image.tar").display());
    user.build(&site.path("ctx"), &[&output]).success();
    let first = fs::read(user.home.join("image.tar")).unwrap();
    let tools = site.path("tools");
    fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink("/usr/bin/setpriv", tools.join("setpriv")).unwrap();
    let build = |arguments: &[&str]| {
        let mut command = user.slipway(&site.path("ctx"));
        run(command.env("PATH", &tools).args(["build", "--progress=plain", &busybox_flag()]).args(arguments))
    };
    let again = build(&[&output, "."]).success();
    assert_eq!((again.steps().ran, again.steps().cached.len()), (Vec::<String>::new(), 2), "{}", again.stderr);
    assert_eq!(fs::read(user.home.join("image.tar")).unwrap(), first);
    site.write("file", "changed\n");
    let outcome = build(&["."]);
    assert!(outcome.stderr.contains("`newuidmap` is not installed"), "{}", outcome.stderr);
}

fn every_rung_builds_the_same_image() {
    let site = Site::new(EVERYTHING_BUT_STATUS);
    let by_root = site.summary(&[]);
    let user = NewUser::new(&site);
    for rung in ["subids", "single-id"] {
        let output = format!("--output=type=oci,dest={}", user.home.join(rung).display());
        user.build(&site.path("ctx"), &["--sandbox", rung, &output]).success();
        assert_eq!(by_root, summary_of(&user.home.join(rung)), "{rung}");
    }
    let refused = user.build(&site.path("ctx"), &["--sandbox=root"]);
    assert!(refused.stderr.contains("this process is not root"), "{}", refused.stderr);
    let doctor = run(user.slipway(&site.path("ctx")).arg("doctor")).success();
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(found.starts_with("sandbox: subids\n"), "{found}");
}

/// Everything that can be had with a single id, too.
const EVERYTHING_BUT_STATUS: &str = r#"FROM busybox AS tree
RUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd && mkdir -p /data/deep && echo a > /data/a && echo b > /data/deep/b \
    && chown -R 1000:1000 /data && ln /data/a /data/hard && ln -s a /data/soft && chown -h 5:6 /data/soft && mkfifo /data/fifo
RUN cp /bin/busybox /data/setuid && chown 1000:50 /data/setuid && chmod 6755 /data/setuid && chmod 1777 /data/deep
USER app
RUN id > /tmp/id && touch /data/by-app && [ ! -w /etc/passwd ]
USER root
RUN rm -r /data/deep && mkdir /data/deep && mv /data/soft /data/moved && touch /data/hard

FROM busybox
COPY --from=tree /data /data
COPY --from=tree --chown=7:8 /data /again
RUN --mount=type=cache,target=/cache,uid=1000,gid=1000,mode=0700 stat -c %u:%g:%a /cache > /cache-owner; echo x > /cache/x
RUN --mount=type=tmpfs,target=/t --mount=type=bind,from=tree,target=/tree,rw touch /t/x /tree/x && chown 5:6 /tree/x \
    && stat -c %u:%g /tree/data/by-app > /owner; stat -c '%n %u:%g' /again/* > /owners
WORKDIR /work/dir
USER 1000:1000
RUN id > /tmp/id; touch /tmp/mine; mkdir -p /tmp/a/b
"#;

fn kill_leaves_nothing() {
    let site = Site::new("FROM busybox\nRUN (setsid sleep <marker> &); echo started; sleep <marker>\n");
    let user = NewUser::new(&site);
    let mut command = user.slipway(&site.path("ctx"));
    command.args(["build", "--progress=plain", &busybox_flag(), "."]);
    let mut build = crate::process::Running::start(&mut command);
    build.wait_for("started\n");
    // The process that was started waits for the one in the namespace, which has to end with it.
    build.kill();
    site.wait_until_no_process();
    site.write("Dockerfile", "FROM busybox\nRUN true\n");
    user.build(&site.path("ctx"), &[]).success();
    let active = user.home.join(".local/share/slipway/active");
    assert_eq!(fs::read_dir(active).unwrap().count(), 0);
}

fn limits_are_refused() {
    let site = Site::new("FROM busybox\nRUN --network=none true\n");
    let user = NewUser::new(&site);
    let refused = user.build(&site.path("ctx"), &["--memory=64m"]).failure();
    assert!(refused.contains("cannot limit steps: ") && refused.contains("Delegate=yes"), "{refused}");
    user.build(&site.path("ctx"), &[]).success();
}

fn a_foreign_program_runs_for_a_user() {
    let site = Site::new("FROM scratch\nCOPY --chmod=755 hello /hello\nUSER 1000:1000\nRUN [\"/hello\"]\n");
    fs::write(site.path("ctx/hello"), arm64_program("hello from afar\n")).unwrap();
    let user = NewUser::new(&site);
    let built = user.build(&site.path("ctx"), &["--platform=linux/arm64"]).success();
    assert!(built.stderr.contains("hello from afar"), "{}", built.stderr);
}
