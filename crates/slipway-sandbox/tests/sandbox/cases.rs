//! The tests, in the order of the specification: who a step is, what it sees, how it ends, what it cannot do.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal};
use slipway_sandbox::mounts::{self, Attributes};
use slipway_sandbox::stubs::{self, Kind, Target};
use slipway_sandbox::{
    Capabilities, Credentials, ExecError, ExitStatus, Mount, Network, Plug, Privilege, Resource, ResourceLimit,
    Running, SpawnError, Spec, StackNetwork, Surroundings, spawn,
};

use crate::fixture::{Root, read_all, run_step_command};
use crate::{Case, Need};

/// Declares the table of cases from the functions below.
macro_rules! cases {
    ($($name:ident: $($need:ident)+,)*) => {
        pub(crate) const CASES: &[Case] =
            &[$(Case { name: stringify!($name), needs: &[$(Need::$need),+], run: $name }),*];
    };
}

cases! {
    capabilities_are_those_of_docker: Sandbox Busybox,
    other_users_have_no_capabilities: Sandbox Busybox,
    the_step_is_pid_1: Sandbox Busybox,
    the_environment_is_the_callers: Sandbox Busybox,
    user_and_groups: Sandbox Busybox,
    the_number_that_is_no_user_is_refused: Sandbox Busybox,
    the_hostname_is_the_callers: Sandbox Busybox,
    no_descriptor_is_left_over: Sandbox Busybox,
    standard_input_is_empty: Sandbox Busybox,
    other_users_may_reopen_their_output: Sandbox Busybox,
    signals_umask_and_limits_are_fresh: Sandbox Busybox,
    the_network_is_only_a_loopback: Sandbox Busybox,
    devices_are_those_of_containers: Sandbox Busybox,
    device_nodes_of_a_step_cannot_be_opened: Sandbox Busybox,
    kernel_file_systems_are_masked: Sandbox Busybox,
    insecure_steps_see_everything: Sandbox Busybox,
    the_shared_memory_has_its_size: Sandbox Busybox,
    the_filter_is_in_force: Sandbox Busybox,
    folders_can_be_in_another_order: Sandbox Busybox,
    exit_codes_come_back: Sandbox Busybox,
    signals_come_back: Sandbox Busybox,
    a_step_can_be_killed_from_another_thread: Sandbox Busybox,
    many_steps_run_at_once: Sandbox Busybox,
    a_dropped_step_is_killed: Sandbox Busybox,
    the_step_dies_with_the_builder: Sandbox Busybox,
    programs_that_cannot_run: Sandbox Busybox,
    a_missing_mount_point_is_named: Sandbox Busybox,
    the_working_directory: Sandbox Busybox,
    mounts_of_the_caller_win: Sandbox Busybox,
    linked_mount_points_stay_inside: Sandbox Busybox,
    stubs_vanish: Sandbox Busybox,
    an_overlay_holds_the_changes_of_a_step: Sandbox Busybox,
    a_program_joins_another_one: Sandbox Busybox,
    added_capabilities_are_there: Sandbox Busybox,
    programs_reach_each_other_over_their_bridge: Sandbox Busybox,
    stubs_with_content_stay: Sandbox Busybox,
    stubs_follow_dangling_links_inside: Sandbox Busybox,
    replaced_stub_parents_are_not_followed: Sandbox Busybox,
    an_unprivileged_user_runs_steps: Sandbox Busybox NewUser,
    an_unprivileged_builder_passes_on_its_end: Sandbox Busybox NewUser,
}

const SIGKILL: i32 = 9;

const CAPABILITIES: &str = "grep ^Cap /proc/self/status | cut -f2";

fn capabilities_are_those_of_docker() {
    let output = Root::new().output(CAPABILITIES);
    let [inheritable, permitted, effective, bounding, ambient] = lines(&output);
    assert_eq!([inheritable, ambient], ["0000000000000000"; 2]);
    assert_eq!([permitted, effective, bounding], ["00000000a80425fb"; 3]);
}

fn added_capabilities_are_there() {
    let wanted = Capabilities::NONE.with(Capabilities::named("NET_ADMIN").unwrap());
    let change = |spec: &mut Spec| spec.privilege = Privilege::Sandboxed(wanted);
    assert_eq!(Root::new().output_with("grep ^CapEff /proc/self/status | cut -f2", change), "0000000000001000");
}

fn other_users_have_no_capabilities() {
    let output = Root::new().output_with(CAPABILITIES, |spec| {
        spec.credentials = Credentials { uid: 1000, gid: 1000, groups: Vec::new() };
    });
    let [inheritable, permitted, effective, bounding, ambient] = lines(&output);
    assert_eq!([inheritable, permitted, effective, ambient], ["0000000000000000"; 4]);
    assert_eq!(bounding, "00000000a80425fb");
}

fn lines<const N: usize>(text: &str) -> [&str; N] {
    text.lines().collect::<Vec<_>>().try_into().unwrap()
}

fn the_step_is_pid_1() {
    let root = Root::new();
    assert_eq!(root.output("echo $$"), "1");
    // And nobody else is there: only numbers that are processes.
    assert_eq!(root.output("echo /proc/[0-9]*"), "/proc/1");
}

fn the_environment_is_the_callers() {
    let output = Root::new().output_with("", |spec| {
        spec.args = vec!["busybox".into(), "env".into()];
        spec.env = vec!["A=1".into(), "PATH=/bin".into(), "EMPTY=".into()];
    });
    assert_eq!(output, "A=1\nPATH=/bin\nEMPTY=");
}

fn user_and_groups() {
    let root = Root::new();
    let ids = |uid, gid, groups: &[u32]| {
        root.output_with("grep -E '^(Uid|Gid|Groups)' /proc/self/status", |spec| {
            spec.credentials = Credentials { uid, gid, groups: groups.to_vec() };
        })
    };
    assert_eq!(ids(0, 0, &[]), "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0");
    assert_eq!(ids(7, 8, &[8, 9]), "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t8 9");
}

fn the_number_that_is_no_user_is_refused() {
    let root = Root::new();
    for (uid, gid, groups) in [(u32::MAX, 0, vec![]), (0, u32::MAX, vec![]), (0, 0, vec![u32::MAX])] {
        let result = root.try_run_with("id", |spec| spec.credentials = Credentials { uid, gid, groups });
        assert!(matches!(result, Err(SpawnError::InvalidId(u32::MAX))), "{result:?}");
    }
}

fn the_hostname_is_the_callers() {
    assert_eq!(Root::new().output("hostname"), "buildkitsandbox");
}

fn no_descriptor_is_left_over() {
    let root = Root::new();
    // The shell's own glob opens one more, while it runs.
    let output = root.output("for fd in /proc/1/fd/*; do readlink $fd || true; done");
    let targets: Vec<&str> = output.lines().collect();
    assert_eq!(targets.len(), 3, "{output}");
    assert_eq!(targets[0], "/dev/null");
    assert!(targets[1..].iter().all(|target| target.starts_with("pipe:")), "{output}");
}

fn standard_input_is_empty() {
    assert_eq!(Root::new().output("cat"), "");
}

fn other_users_may_reopen_their_output() {
    let output = Root::new().output_with("echo out >/dev/stdout; echo err >/dev/stderr", |spec| {
        spec.credentials = Credentials { uid: 1000, gid: 1000, groups: Vec::new() };
    });
    assert_eq!(output, "out\nerr");
}

fn signals_umask_and_limits_are_fresh() {
    let root = Root::new();
    let output = root.output("grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2; umask");
    assert_eq!(output, "0000000000000000\n0000000000000000\n0022");
    // An ignored SIGPIPE would make this endless or an error message.
    assert_eq!(root.output("yes | true"), "");
    let output = root.output_with("ulimit -Sn; ulimit -Hn", |spec| {
        spec.rlimits = vec![ResourceLimit { resource: Resource::Nofile, soft: 100, hard: 200 }];
    });
    assert_eq!(output, "100\n200");
}

fn the_network_is_only_a_loopback() {
    let root = Root::new();
    assert_eq!(root.output("echo /sys/class/net/*"), "/sys/class/net/lo");
    assert!(root.output("ip address show lo").contains("inet 127.0.0.1/8"));
    let host = root.output_with("readlink /proc/self/ns/net", |spec| spec.network = Network::Host);
    assert_eq!(Path::new(&host), fs::read_link("/proc/self/ns/net").unwrap());
    assert_ne!(root.output("readlink /proc/self/ns/net"), host);
}

fn devices_are_those_of_containers() {
    let root = Root::new();
    let names = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    assert_eq!(root.output("ls /dev"), names);
    let numbers = root.output("cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty");
    assert_eq!(numbers, "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666");
    // A terminal of its own can be had.
    assert_eq!(root.output("echo open 3<>/dev/ptmx; ls /dev/pts"), "open\nptmx");
    let options = "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666 0 0";
    assert_eq!(root.output("grep /dev/pts /proc/mounts"), options);
    assert_eq!(root.output("echo x >/dev/null; stat -c %a /dev /dev/shm /dev/pts/ptmx"), "755\n1777\n666");
}

/// A naive sandbox that runs as root lets a step make the node of a disk and read it.
fn device_nodes_of_a_step_cannot_be_opened() {
    let root = Root::new();
    fs::create_dir(root.path().join("mnt")).unwrap();
    let script = "for folder in / /dev /mnt /dev/shm; do busybox mknod $folder/node c 1 3; cat $folder/node && echo $folder; done 2>/dev/null; cat /dev/null && echo usual";
    let output = root.output_with(script, |spec| {
        let source = mounts::tmpfs(None, 0o755, Attributes::default()).unwrap();
        spec.mounts =
            vec![Mount { target: "/mnt".into(), source, attributes: Attributes::default(), is_device: false }];
    });
    assert_eq!(output, "usual");
}

fn kernel_file_systems_are_masked() {
    let root = Root::new();
    assert_eq!(root.output("cat /proc/keys /proc/timer_list"), "");
    assert_eq!(root.output("ls /sys/firmware"), "");
    let (status, text) = root.run("echo x >/proc/sys/kernel/domainname");
    assert_ne!(status, ExitStatus::Code(0));
    assert!(text.contains("Read-only file system"), "{text}");
    let protected = root.output("grep -E ' /proc/(bus|fs|irq|sys) ' /proc/mounts");
    assert!(protected.lines().all(|line| line.contains(" ro,nosuid,nodev,noexec")), "{protected}");
    let (status, text) = root.run("umount /proc/sys");
    assert_ne!(status, ExitStatus::Code(0), "{text}");
    let options = root.output("grep ' /proc proc ' /proc/mounts");
    assert!(options.contains("rw,nosuid,nodev,noexec"), "{options}");
    let options = root.output("grep -E ' /sys(/fs/cgroup)? ' /proc/mounts");
    assert!(options.lines().all(|line| line.contains(" ro,nosuid,nodev,noexec")), "{options}");
}

fn insecure_steps_see_everything() {
    let root = Root::new();
    let output =
        root.output_with("grep -E '^(CapEff|CapBnd|Seccomp:)' /proc/self/status; grep -c '^' /proc/keys", |spec| {
            spec.privilege = Privilege::Insecure;
        });
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find(|line| line.starts_with("CapBnd")).unwrap();
    assert!(output.contains(bounding), "{output}");
    assert!(output.contains("Seccomp:\t0"), "{output}");
    assert!(
        !root
            .output_with("grep ' /proc/' /proc/mounts || true", |spec| spec.privilege = Privilege::Insecure)
            .contains("/proc/sys")
    );
}

fn the_shared_memory_has_its_size() {
    let output = Root::new().output_with("grep /dev/shm /proc/mounts", |spec| spec.shm_size_bytes = 1 << 20);
    assert!(output.contains("size=1024k"), "{output}");
}

fn the_filter_is_in_force() {
    let root = Root::new();
    assert_eq!(root.output("grep ^Seccomp: /proc/self/status"), "Seccomp:\t2");
    let (status, text) = root.run("busybox unshare -U true");
    assert_ne!(status, ExitStatus::Code(0));
    assert!(text.contains("Operation not permitted"), "{text}");
}

/// For programs of root and of others, in a folder with more entries than one call gives, and while it is emptied.
fn folders_can_be_in_another_order() {
    let root = Root::new();
    let make = "mkdir /d && cd /d && for n in $(seq 3000); do : > a-file-with-a-name-of-some-length-$n; done";
    let make = format!("{make}; mkdir two && : > two/a && : > two/b && chmod 755 /d two");
    let run = |uid: u32, shuffles: bool, script: &str| {
        let credentials = Credentials { uid, gid: uid, groups: vec![uid] };
        root.output_with(script, |spec| {
            spec.credentials = credentials;
            spec.shuffles_folders = shuffles;
        })
    };
    run(0, false, &make);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for uid in [0, 1000] {
        for folder in ["/d", "/d/two"] {
            let script = format!("find {folder}");
            let (plain, shuffled) = (run(uid, false, &script), run(uid, true, &script));
            assert_ne!(plain, shuffled, "{uid} {folder}");
            assert_eq!(sorted(&plain), sorted(&shuffled), "{uid} {folder}");
            assert_eq!(run(uid, true, &script), shuffled, "{uid} {folder}");
        }
    }
    assert_eq!(run(1000, true, "ls /proc/self/fd /nowhere 2>/dev/null | wc -l >/dev/null; id -u"), "1000");
    assert_eq!(run(0, true, "rm -r /d && ls / | grep -c '^d$' || true"), "0");
}

fn exit_codes_come_back() {
    let root = Root::new();
    assert_eq!(root.run("exit 0").0, ExitStatus::Code(0));
    assert_eq!(root.run("exit 42").0, ExitStatus::Code(42));
    assert_eq!(root.run("sh -c 'kill -TERM $$'; exit $?").0, ExitStatus::Code(143));
}

fn signals_come_back() {
    // PID 1 is immune to its own signals, so the signal has to be the kernel's.
    let (status, _) = Root::new().run_with("while :; do :; done", |spec| {
        spec.rlimits = vec![ResourceLimit { resource: Resource::Cpu, soft: 1, hard: 1 }];
    });
    assert_eq!(status, ExitStatus::Signal(SIGKILL));
    assert_eq!(status.code(), 137);
}

fn a_step_can_be_killed_from_another_thread() {
    let root = Root::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = Arc::new(spawn(&root.spec("sleep 1000 & echo started; sleep 1000", &writer.into())).unwrap());
    let mut reader = File::from(OwnedFd::from(reader));
    let mut started = [0; 8];
    reader.read_exact(&mut started).unwrap();
    assert_eq!(&started, b"started\n");
    let killer = Arc::clone(&running);
    thread::spawn(move || killer.kill().unwrap()).join().unwrap();
    assert_eq!(running.wait().unwrap(), ExitStatus::Signal(SIGKILL));
    // The pipe ends, so the process in the background is gone as well.
    assert_eq!(read_all(reader.into()), "");
    running.kill().unwrap();
    assert_eq!(running.wait().unwrap(), ExitStatus::Signal(SIGKILL));
}

fn many_steps_run_at_once() {
    let root = Root::new();
    thread::scope(|scope| {
        for worker in 0..8 {
            let root = &root;
            scope.spawn(move || {
                for turn in 0..10 {
                    assert_eq!(root.output(&format!("echo {worker} {turn} $$")), format!("{worker} {turn} 1"));
                }
            });
        }
    });
}

fn a_dropped_step_is_killed() {
    let root = Root::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(spawn(&root.spec("sleep 1000", &writer.into())).unwrap());
    assert_eq!(read_all(reader.into()), "");
}

fn the_step_dies_with_the_builder() {
    let root = Root::new();
    let own = std::env::current_exe().unwrap();
    let mut builder =
        run_step_command(&own, &root, "echo started; sleep 1000 & sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = builder.stdout.take().unwrap();
    let mut started = [0; 8];
    output.read_exact(&mut started).unwrap();
    builder.kill().unwrap();
    builder.wait().unwrap();
    // Ends only when every process that holds the other end is gone.
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("slipway-sandbox-"), "{mounts}");
}

fn programs_that_cannot_run() {
    let root = Root::new();
    fs::write(root.path().join("bin/text"), "no program").unwrap();
    fs::write(root.path().join("bin/garbage"), [0x7f, b'E']).unwrap();
    fs::set_permissions(root.path().join("bin/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = |program: &str| match root.try_run_with("", |spec| spec.args = vec![program.into()]) {
        Err(SpawnError::Exec(error @ (ExecError::NotInPath { .. } | ExecError::Unusable { .. }))) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(error("foo"), "exec: \"foo\": executable file not found in $PATH");
    assert_eq!(error("text"), "exec: \"text\": executable file not found in $PATH");
    assert_eq!(error("/nope/x"), "exec: \"/nope/x\": no such file or directory");
    assert_eq!(error("/bin/text"), "exec: \"/bin/text\": permission denied");
    assert_eq!(error("/bin"), "exec: \"/bin\": is a directory");
    assert_eq!(error("/bin/garbage"), "exec: \"/bin/garbage\": exec format error");
}

fn a_missing_mount_point_is_named() {
    let root = Root::new();
    fs::remove_dir(root.path().join("proc")).unwrap();
    match root.try_run_with("true", |_| {}) {
        Err(SpawnError::Setup(error)) => {
            assert_eq!(error.call, "open(/proc)");
            assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

fn the_working_directory() {
    let root = Root::new();
    fs::create_dir_all(root.path().join("work/deep")).unwrap();
    assert_eq!(root.output_with("pwd", |spec| spec.cwd = "/work/deep".into()), "/work/deep");

    // A link to the outside leads to the inside.
    symlink("/../../../work", root.path().join("link")).unwrap();
    assert_eq!(root.output_with("pwd", |spec| spec.cwd = "/link/deep".into()), "/work/deep");

    // Only root may enter it, but the step is somebody else.
    fs::set_permissions(root.path().join("work"), fs::Permissions::from_mode(0o700)).unwrap();
    let output = root.output_with("id -u", |spec| {
        spec.cwd = "/work".into();
        spec.credentials = Credentials { uid: 1000, gid: 1000, groups: Vec::new() };
    });
    assert_eq!(output, "1000");

    let output = root.output_with("pwd && ls -A /work", |spec| {
        spec.cwd = "/work/in/mount".into();
        let source = mounts::tmpfs(None, 0o755, Attributes::default()).unwrap();
        spec.mounts =
            vec![Mount { target: "/work".into(), source, attributes: Attributes::default(), is_device: false }];
    });
    assert_eq!(output, "/work/in/mount\nin");
    assert!(!root.path().join("work/in").exists());

    for escape in ["/proc/self/fd/3", "/proc/1/cwd", "/proc/self/root", "/proc/missing"] {
        let result = root.try_run_with("pwd", |spec| spec.cwd = escape.into());
        assert!(matches!(result, Err(SpawnError::Setup(_))), "{escape}: {result:?}");
    }
}

fn mounts_of_the_caller_win() {
    let root = Root::new();
    fs::write(root.path().join("etc/hosts"), "image").unwrap();
    let mine = root.canary().join("alive");
    let readonly = Attributes { readonly: true, nosuid: true, nodev: true, noexec: true };
    let mount =
        |target: &str, source, attributes| Mount { target: target.into(), source, attributes, is_device: false };
    let output = root.output_with("cat /etc/hosts; ls /proc /dev; echo x >/etc/hosts || echo refused", |spec| {
        spec.mounts = vec![
            mount("/etc/hosts", mounts::bind_path(&mine, false).unwrap(), readonly),
            mount("/proc", mounts::tmpfs(Some(4096), 0o755, Attributes::default()).unwrap(), Attributes::default()),
        ];
    });
    assert!(output.starts_with("alive/dev:\n"), "{output}");
    assert!(output.ends_with("refused"), "{output}");
    root.assert_canary_is_alive();
}

fn linked_mount_points_stay_inside() {
    let root = Root::new();
    let canary = root.canary();
    for name in ["proc", "sys", "dev"] {
        fs::remove_dir(root.path().join(name)).unwrap();
        fs::create_dir_all(root.path().join("elsewhere").join(name)).unwrap();
    }
    // Absolute, upwards, and through another link.
    symlink("/elsewhere/proc", root.path().join("proc")).unwrap();
    symlink("../../../../elsewhere/sys", root.path().join("sys")).unwrap();
    symlink("hop", root.path().join("dev")).unwrap();
    symlink("/elsewhere/dev", root.path().join("hop")).unwrap();
    assert_eq!(
        root.output("readlink /proc/1/exe; ls /elsewhere/dev/null; ls /elsewhere/sys/kernel >/dev/null"),
        "/bin/busybox\n/elsewhere/dev/null"
    );

    // A path of the host, which does not exist inside: refused, not reached.
    fs::remove_file(root.path().join("dev")).unwrap();
    symlink(&canary, root.path().join("dev")).unwrap();
    let result = root.try_run_with("true", |_| {});
    assert!(matches!(&result, Err(SpawnError::Setup(error)) if error.call == "open(/dev)"), "{result:?}");
    root.assert_canary_is_alive();
}

fn target(path: &str, kind: Kind) -> Target {
    Target { path: path.into(), kind, is_kept: false }
}

fn stubs_vanish() {
    let root = Root::new();
    fs::remove_dir(root.path().join("proc")).unwrap();
    let mount = root.mount();
    let before = fs::metadata(root.path().join("etc")).unwrap();
    let mut targets = Target::built_in().to_vec();
    targets.extend([target("/etc/resolv.conf", Kind::File), target("/run/secrets/key", Kind::File)]);
    targets.extend([target("/cache/deep", Kind::Directory), target("/bin/busybox", Kind::File)]);
    let made = stubs::make(mount.as_fd(), &targets).unwrap();
    assert!(root.path().join("run/secrets/key").is_file());
    assert_eq!(fs::metadata(root.path().join("cache/deep")).unwrap().permissions().mode() & 0o7777, 0o755);
    root.output("ls /cache/deep /run/secrets/key");
    made.remove(mount.as_fd()).unwrap();
    // Before this test looks into it.
    let after = fs::metadata(root.path().join("etc")).unwrap();

    let mut names: Vec<String> =
        fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["bin", "dev", "etc", "proc", "sys", "tmp"]);
    assert!(fs::read_dir(root.path().join("etc")).unwrap().next().is_none());
    assert!(root.path().join("bin/busybox").exists());
    let times = |of: &fs::Metadata| [of.atime(), of.atime_nsec(), of.mtime(), of.mtime_nsec()];
    assert_eq!(times(&before), times(&after));
}

fn an_overlay_holds_the_changes_of_a_step() {
    let root = Root::new();
    fs::remove_dir(root.path().join("sys")).unwrap();
    let upper = root.directory_beside("upper");
    let overlay = overlay_mount(&root.path(), &upper, &root.directory_beside("work"));
    let mut targets = Target::built_in().to_vec();
    targets.push(target("/run/secrets/key", Kind::File));
    let made = stubs::make(overlay.as_fd(), &targets).unwrap();
    root.output_with("echo new >/tmp/new; rm /bin/yes", |spec| {
        let Surroundings::Own { root, .. } = &mut spec.surroundings else { unreachable!() };
        *root = overlay.try_clone().unwrap();
    });
    made.remove(overlay.as_fd()).unwrap();
    drop(overlay);

    assert_eq!(fs::read_to_string(upper.join("tmp/new")).unwrap(), "new\n");
    assert!(!root.path().join("tmp/new").exists());
    assert!(fs::symlink_metadata(upper.join("bin/yes")).unwrap().file_type().is_char_device());
    assert!(upper.join("sys").is_dir());
    assert!(!upper.join("run").exists());
}

/// As the store would make it: `lower` with the changes in `upper`.
fn overlay_mount(lower: &Path, upper: &Path, work: &Path) -> OwnedFd {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    let set = |key, path| rustix::mount::fsconfig_set_string(context.as_fd(), key, path).unwrap();
    set("lowerdir+", lower);
    set("upperdir", upper);
    set("workdir", work);
    rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr").unwrap();
    rustix::mount::fsconfig_create(context.as_fd()).unwrap();
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

/// Starts a script that says when it is ready and then waits to be killed.
fn started(root: &Root, script: &str, change: impl FnOnce(&mut Spec)) -> Running {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut spec = root.spec(&format!("{script}; echo ready; exec sleep 1000"), &writer.into());
    change(&mut spec);
    let running = spawn(&spec).unwrap();
    drop(spec);
    let mut text = [0; 6];
    File::from(OwnedFd::from(reader)).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"ready\n");
    running
}

fn a_program_joins_another_one() {
    let root = Root::new();
    let host = started(&root, "echo shared >/dev/shm/file; ip addr add 192.0.2.9 dev lo", |spec| {
        spec.hostname = "host-of-guests".to_owned();
        spec.privilege = Privilege::Sandboxed(Capabilities::DOCKER.with(Capabilities::named("NET_ADMIN").unwrap()));
    });
    let script = "cat /dev/shm/file; hostname; ip addr show lo | grep -c 192.0.2.9; ls /proc/self/fd | wc -l; \
                  cat /proc/1/cmdline | tr '\\0' ' '; grep ^CapEff /proc/self/status | cut -f2; exit 3";
    let join = |spec: &mut Spec| spec.surroundings = Surroundings::Of(host.descriptor().unwrap());
    let (status, text) = root.run_with(script, join);
    assert_eq!(text, "shared\nhost-of-guests\n1\n4\nsleep 1000 00000000a80425fb\n");
    assert_eq!(status, ExitStatus::Code(3));

    let guest = started(&root, "true", join);
    host.kill().unwrap();
    assert_eq!(guest.wait().unwrap(), ExitStatus::Signal(SIGKILL));
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut late = root.spec("true", &writer.into());
    host.wait().unwrap();
    join(&mut late);
    assert!(matches!(spawn(&late), Err(SpawnError::Setup(_))));
}

fn programs_reach_each_other_over_their_bridge() {
    let root = Root::new();
    let (stack, _) = StackNetwork::start("".as_ref()).unwrap();
    stack.add_bridge(0).unwrap();
    stack.add_bridge(1).unwrap();
    let plug = |bridge, last| Plug { bridge, address: [192, 0, 2, last].into(), prefix: 24 };
    let join = |plug| {
        let namespace = stack.namespace(&[plug], true).unwrap();
        move |spec: &mut Spec| spec.network = Network::Joined(namespace)
    };
    let server = "nc -l -p 80 -e echo hello & while ! netstat -ltn | grep -q :80; do sleep 0.01; done";
    let _server = started(&root, server, join(plug(0, 2)));
    assert_eq!(root.run_with("ping -c 1 -W 1 192.0.2.2 >&2", join(plug(1, 3))).0, ExitStatus::Code(1));
    assert_eq!(root.output_with("nc 192.0.2.2 80", join(plug(0, 4))), "hello");
}

fn stubs_with_content_stay() {
    let root = Root::new();
    let mount = root.mount();
    let targets = [target("/a/file", Kind::File), target("/b/dir", Kind::Directory), target("/c/gone", Kind::File)];
    let made = stubs::make(mount.as_fd(), &targets).unwrap();
    root.output("echo kept >/a/file; touch /b/dir/kept; rm -r /c");
    made.remove(mount.as_fd()).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("a/file")).unwrap(), "kept\n");
    assert!(root.path().join("b/dir/kept").exists());
    assert!(!root.path().join("c").exists());
}

fn stubs_follow_dangling_links_inside() {
    let root = Root::new();
    let mount = root.mount();
    symlink("../run/systemd/resolve/stub-resolv.conf", root.path().join("etc/resolv.conf")).unwrap();
    symlink("/../..", root.path().join("up")).unwrap();
    symlink("loop", root.path().join("loop")).unwrap();
    let targets = [target("/etc/resolv.conf", Kind::File), target("/up/made", Kind::Directory)];
    let made = stubs::make(mount.as_fd(), &targets).unwrap();
    assert!(root.path().join("run/systemd/resolve/stub-resolv.conf").is_file());
    assert!(root.path().join("made").is_dir());
    made.remove(mount.as_fd()).unwrap();
    assert!(!root.path().join("run").exists());
    assert!(!root.path().join("made").exists());
    assert!(root.path().join("etc/resolv.conf").is_symlink());

    let error =
        stubs::make(mount.as_fd(), &[target("/before", Kind::File), target("/loop/x", Kind::File)]).unwrap_err();
    assert_eq!(error.call, "make mount point(/loop/x)");
    assert!(!root.path().join("before").exists());
}

fn replaced_stub_parents_are_not_followed() {
    let root = Root::new();
    let mount = root.mount();
    let canary = root.canary();
    // In the canary lies what the cleanup would take for its own: an empty file and an empty directory.
    fs::write(canary.join("stub"), "").unwrap();
    fs::create_dir(canary.join("dir")).unwrap();
    let targets = [target("/run/stub", Kind::File), target("/mnt/dir", Kind::Directory), target("/x/y", Kind::File)];
    let made = stubs::make(mount.as_fd(), &targets).unwrap();
    let canary_path = canary.display();
    root.output(&format!(
        "rm -r /run /mnt /x; ln -s {canary_path} /run; ln -s ../../../../../../../..{canary_path} /mnt; ln -s /etc /x; touch /etc/y"
    ));
    made.remove(mount.as_fd()).unwrap();
    assert!(canary.join("stub").exists());
    assert!(canary.join("dir").exists());
    assert!(root.path().join("etc/y").exists());
    assert!(root.path().join("run").is_symlink());
}

/// Held while a user exists: the programs that make users refuse to run side by side.
static USERS: Mutex<()> = Mutex::new(());

/// A user of the machine, for as long as the test runs.
struct NewUser {
    name: String,
    _alone: MutexGuard<'static, ()>,
}

impl NewUser {
    fn new(name: &str) -> Self {
        let alone = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        // Left over from a run that was killed, maybe.
        let _ = Command::new("/usr/sbin/userdel").arg(name).output();
        let made = Command::new("/usr/sbin/useradd").args(["--no-create-home", name]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { name: name.to_owned(), _alone: alone }
    }

    /// Makes a command run as this user.
    fn command(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("/usr/bin/setpriv");
        wrapped.args(["--reuid", &self.name, "--regid", &self.name, "--clear-groups", "--"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped
    }
}

impl Drop for NewUser {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/userdel").arg(&self.name).output();
    }
}

/// This test program, where every user can execute it.
pub(crate) fn public_copy_of_this_program(root: &Root) -> std::path::PathBuf {
    let copy = root.path().join("this-program");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    copy
}

fn an_unprivileged_user_runs_steps() {
    let root = Root::new();
    let program = public_copy_of_this_program(&root);
    let user = NewUser::new("slipway-test-a");
    let run = |script: &str| {
        let output = user.command(&run_step_command(&program, &root, script)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script}");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    };
    assert_eq!(run("id -u; echo $$; exit 3"), (Some(3), "0\n1".to_owned()));
    assert_eq!(
        run("touch /tmp/new; busybox chown 33:44 /tmp/new; stat -c %u:%g /tmp/new"),
        (Some(0), "33:44".to_owned())
    );
    assert_eq!(run("echo x >/dev/null; stat -c '%t:%T' /dev/null /dev/urandom"), (Some(0), "1:3\n1:9".to_owned()));
    assert_eq!(run(CAPABILITIES).1.lines().last(), Some("0000000000000000"));
    assert_eq!(
        run("grep -c ' /sys .* ro,' /proc/1/mountinfo; mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused").1,
        "1\nrefused"
    );
    let owner = fs::metadata(root.path().join("tmp/new")).unwrap().uid();
    assert!(owner >= 100_000, "{owner} is no subordinate id");
}

fn an_unprivileged_builder_passes_on_its_end() {
    let root = Root::new();
    let program = public_copy_of_this_program(&root);
    let user = NewUser::new("slipway-test-b");
    for signal in [Signal::TERM, Signal::KILL] {
        let step = run_step_command(&program, &root, "echo started; sleep 1000 & sleep 1000");
        let mut builder = user.command(&step).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = builder.stdout.take().unwrap();
        let mut started = [0; 8];
        output.read_exact(&mut started).unwrap();
        rustix::process::kill_process(Pid::from_child(&builder), signal).unwrap();
        // To the inner process, which knows no handler and dies of it, and from there back.
        assert_eq!(builder.wait().unwrap().signal(), Some(signal.as_raw()));
        // Ends only when the step is gone as well.
        assert_eq!(read_all(output.into()), "");
    }
}
