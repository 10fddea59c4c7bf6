//! What hostile code in a step can do: nothing to the builder, the host, or other steps (`docs/security.md`).

use std::fs;
use std::process::Command;

use slipway_test::capability::Capability;

use crate::attacks::Canary;
use crate::site::{Site, run};
use crate::unprivileged::NewUser;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("root_finds_no_way_out", root_finds_no_way_out),
    Test { name: "a_user_finds_no_way_out", needs: &[Capability::NewUser], run: a_user_finds_no_way_out },
    test("a_cache_that_swaps_for_a_link_stays_inside", a_cache_that_swaps_for_a_link_stays_inside),
    Test {
        name: "control_groups_of_a_user_are_read_only",
        needs: &[Capability::NewUser],
        run: control_groups_of_a_user_are_read_only,
    },
    test("killing_everybody_kills_nobody_else", killing_everybody_kills_nobody_else),
];

/// Tries what would lead out of a container, and prints what succeeded.
const ESCAPES: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <linux/capability.h>
#include <signal.h>
#include <unistd.h>
static void attempt(const char *name, long answer) { if (answer >= 0) printf("%s worked\n", name); }
/* In a process of its own: what works must not change the attempts that follow. */
#define APART(name, call) do { fflush(stdout); pid_t child = fork(); \
    if (!child) { attempt(name, (long)(call)); fflush(stdout); _exit(0); } waitpid(child, NULL, 0); } while (0)
/* As the program that was given all capabilities in its file: what it may do is what counts. */
static int raised(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data)) return 1;
    puts("file capabilities were tried");
    attempt("file capabilities", data[0].permitted & 1u << CAP_SYS_ADMIN ? 0 : -1);
    data[0].effective = data[0].permitted;
    data[1].effective = data[1].permitted;
    syscall(SYS_capset, &header, data);
    APART("mount with file capabilities", mount("none", "/mnt", "tmpfs", 0, NULL));
    fflush(stdout);
    return 0;
}
int main(int argc, char **argv) {
    const char *canary = argv[1];
    if (!strcmp(canary, "raised")) return raised();
    /* permitted and inheritable: everything; the effective flag would make the kernel refuse to start it. */
    unsigned capabilities[5] = {0x02000000, ~0u, ~0u, 0x1ff, 0x1ff};
    if (setxattr("/raised", "security.capability", capabilities, sizeof capabilities, 0)) return 1;
    fflush(stdout);
    pid_t child = fork();
    if (!child) { execl("/raised", "/raised", "raised", NULL); _exit(1); }
    waitpid(child, NULL, 0);
    /* Of all processes only the first one of the step and this one are to be seen. */
    for (pid_t pid = 2; pid < 70000; pid++) {
        if (pid == getpid() || kill(pid, 0) && errno == ESRCH) continue;
        APART("tracing a process outside", syscall(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0));
        attempt("seeing a process outside", 0);
    }
    attempt("seeing the parent", getppid() > 1 ? 0 : -1);
    APART("mount", mount("none", "/mnt", "tmpfs", 0, NULL));
    APART("remount", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    APART("umount", umount2("/proc/sys", MNT_DETACH));
    APART("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    APART("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    APART("pivot_root", syscall(SYS_pivot_root, ".", "."));
    APART("unshare mounts", unshare(CLONE_NEWNS));
    APART("unshare user", unshare(CLONE_NEWUSER));
    APART("setns", setns(open("/proc/self/ns/mnt", O_RDONLY), 0));
    APART("bpf", syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno == EINVAL || errno == EFAULT ? 0 : -1);
    APART("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    APART("init_module", syscall(SYS_init_module, "", 0, "") >= 0 || errno == ENOEXEC ? 0 : -1);
    APART("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    APART("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, "", 0) >= 0 || errno == EFAULT ? 0 : -1);
    APART("userfaultfd", syscall(SYS_userfaultfd, 0));
    char ring[256] = {0};
    APART("io_uring_setup", syscall(SYS_io_uring_setup, 1, ring));
    APART("add_key", syscall(SYS_add_key, "user", "name", "value", 5, -3));
    APART("request_key", syscall(SYS_request_key, "user", "name", NULL, 0) >= 0 || errno == ENOKEY ? 0 : -1);
    APART("perf_event_open", syscall(SYS_perf_event_open, ring, 0, -1, -1, 0));
    APART("clone user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    APART("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, ring, 32));
    APART("terminal", open("/dev/tty", O_RDWR));
    APART("typing for others", ioctl(0, TIOCSTI, "x"));
    APART("program of another", open("/proc/1/exe", O_WRONLY));
    APART("drop_caches", open("/proc/sys/vm/drop_caches", O_WRONLY));
    APART("memory settings", open("/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY));
    APART("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    APART("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
    APART("cgroup", mkdir("/sys/fs/cgroup/escape", 0755));
    APART("uevent_helper", open("/sys/kernel/uevent_helper", O_WRONLY));
    APART("kcore", lseek(open("/proc/kcore", O_RDONLY), 0, SEEK_END) > 0 ? 0 : -1);
    for (int major = 252; major <= 254; major++) {
        char name[32];
        snprintf(name, sizeof name, "/disk%d", major);
        mknod(name, S_IFBLK | 0600, makedev(major, 0));
        APART("disk", open(name, O_RDONLY));
    }
    mknod("/memory", S_IFCHR | 0600, makedev(1, 1));
    APART("memory", open("/memory", O_RDONLY));
    /* The oldest way: a root below one's working directory. */
    mkdir("/jail", 0755);
    if (chroot("/jail") == 0) {
        for (int i = 0; i < 64; i++) if (chdir("..")) break;
        APART("chroot", chroot("."));
        APART("canary", open(canary, O_RDONLY));
    }
    for (int fd = 3; fd < 1024; fd++) APART("inherited descriptor", fcntl(fd, F_GETFD));
    puts("all attempts were made");
    return 0;
}
"#;

/// `chroot(".")` from outside of a root is allowed, and shows where one is: what counts is the canary.
const HARMLESS: &str = "chroot worked";

fn context_with_escapes(site: &Site) -> Canary {
    let canary = Canary::new(site);
    fs::write(site.path("escapes.c"), ESCAPES).unwrap();
    let mut compile = Command::new("cc");
    compile.arg("-static").arg("-o").arg(site.path("ctx/escapes")).arg(site.path("escapes.c"));
    run(&mut compile).success();
    let path = canary.path();
    site.write(
        "Dockerfile",
        &format!("FROM busybox\nCOPY escapes /\nRUN cp /escapes /raised && /escapes {path}/file > /told; cat /told\n"),
    );
    canary
}

/// The lines of the step that tell what worked.
fn what_worked(stderr: &str) -> Vec<&str> {
    assert!(stderr.contains(" all attempts were made\n"), "the program did not come to its end: {stderr}");
    assert!(
        stderr.contains(" file capabilities were tried\n"),
        "the program with file capabilities did not run: {stderr}"
    );
    stderr.lines().filter(|line| line.ends_with(" worked") && !line.ends_with(HARMLESS)).collect()
}

/// A naive builder that runs its steps as root, in namespaces alone, lets most of these happen.
fn root_finds_no_way_out() {
    let site = Site::new("");
    let canary = context_with_escapes(&site);
    let outcome = site.build(&["--no-cache"]);
    canary.assert_unharmed(&site, &outcome);
    let outcome = outcome.success();
    assert_eq!(what_worked(&outcome.stderr), [""; 0]);
}

/// A naive rootless builder leaves `unshare` and the mounts of its own namespace to the step.
fn a_user_finds_no_way_out() {
    let site = Site::new("");
    let canary = context_with_escapes(&site);
    let user = NewUser::new(&site);
    for rung in ["subids", "single-id"] {
        let outcome = user.build(&site.path("ctx"), &["--sandbox", rung]).success();
        assert_eq!(what_worked(&outcome.stderr), [""; 0], "{rung}");
        assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 4);
    }
}

/// CVE-2023-25809: in a user namespace `/sys` may come from the host, with control groups that its user may write.
fn control_groups_of_a_user_are_read_only() {
    let site = Site::new(
        "FROM busybox\n\
         RUN grep ' /sys' /proc/mounts; [ -z \"$(grep ' /sys' /proc/mounts | grep -v ' ro,')\" ]\n\
         RUN n=0; for f in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs); do \
         n=$((n+1)); if echo 0 > $f; then exit 9; fi; done; [ $n -gt 0 ]\n",
    );
    let user = NewUser::new(&site);
    for rung in ["subids", "single-id"] {
        user.build(&site.path("ctx"), &["--sandbox", rung]).success();
    }
}

/// CVE-2024-23651: a naive builder checks `source=` of a cache, and looks it up by its path again to mount it.
fn a_cache_that_swaps_for_a_link_stays_inside() {
    let site = Site::new("");
    let canary = Canary::new(&site);
    let host = canary.path();
    let up = "../".repeat(24);
    site.write(
        "Dockerfile",
        &format!(
            "FROM busybox AS swaps\n\
             RUN --mount=type=cache,id=c,target=/c mkdir -p /c/real && ln -sfn {host} /c/absolute && \
             ln -sfn {up}{host} /c/relative && ln -sfn real /c/d; echo ready; \
             while :; do for to in real absolute relative; do ln -s $to /c/new && mv -T /c/new /c/d; done; done; sleep <marker>\n\
             FROM busybox AS mounts\n\
             RUN --mount=type=cache,id=c,source=d,target=/m ls -A /m > /listed; cat /m/file /m/b/file; touch /m/new; true\n"
        ),
    );
    let mut swaps = site.start(&["--target=swaps"]);
    swaps.wait_for("ready\n");
    let mut n_mounted = 0;
    for _ in 0..30 {
        let outcome = site.build(&["--target=mounts", "--no-cache"]);
        assert!(!outcome.stderr.contains("canary-of-the-host"), "{}", outcome.stderr);
        n_mounted += usize::from(outcome.exit_code == Some(0));
    }
    swaps.kill();
    site.wait_until_no_process();
    assert!(n_mounted > 0, "the folder was never mounted, so nothing was tried");
    let outcome = site.build(&["--target=mounts", "--no-cache"]);
    canary.assert_unharmed(&site, &outcome);
}

/// A naive builder shares its process namespace with steps.
fn killing_everybody_kills_nobody_else() {
    let site = Site::new("FROM busybox AS a\nRUN sleep 1000 & kill -9 -1; kill -9 0; true\nRUN echo after\n");
    let outcome = site.build(&["--no-cache"]);
    assert!(matches!(outcome.exit_code, Some(0 | 1)), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    site.assert_tidy();
}
