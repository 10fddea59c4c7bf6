//! Hundreds of builds that are killed, or whose disk fails, at moments that nobody chose: after each the store keeps its
//! promises, and the next build gives the image that a fresh store gives.
//!
//! The moments are drawn from a fixed seed, so a failure comes again; `killed.rs` has those that somebody chose.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use slipway_test::capability::Capability;
use slipway_test::registry::TestRegistry;

use crate::process::{Running, wait_until};
use crate::site::{SLIPWAY, Site, busybox_flag, busybox_layout, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("killed_cold", || killed(Kind::Cold)),
    test("killed_warm", || killed(Kind::Warm)),
    test("killed_pulling", || killed(Kind::Pulling)),
    test("killed_exporting", || killed(Kind::Exporting)),
    test("killed_pruning", || killed(Kind::Pruning)),
    Test { name: "killed_at_a_system_call", needs: &[Capability::Strace], run: killed_at_a_system_call },
    Test { name: "system_calls_that_fail", needs: &[Capability::Strace], run: system_calls_that_fail },
    Test { name: "a_disk_that_is_too_small", needs: &[Capability::Root], run: a_disk_that_is_too_small },
];

/// Of each kind; 300 in all, beside those at system calls.
const N_KILLS: u64 = 60;
const N_CALLS: u64 = 40;

/// What goes on when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cold,
    Warm,
    Pulling,
    Exporting,
    Pruning,
}

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Builds of a few small steps, of which there are [`VARIANTS`] that share some.
struct Subject {
    site: Site,
    base: String,
    /// The image of each variant, from a fresh store.
    expected: Vec<String>,
    /// Keeps the base image where it is pulled from.
    _registry: TestRegistry,
}

const VARIANTS: u64 = 3;

impl Subject {
    fn new() -> Subject {
        let registry = TestRegistry::start().unwrap();
        registry.put_layout(busybox_layout(), "library/busybox", "latest").unwrap();
        let base = format!("{}/library/busybox", registry.host());
        let site = Site::new(
            "ARG BASE=busybox
             FROM $BASE AS made
             COPY src /src
             RUN cat /src/* > /all && mkdir -p /deep/er && ln -s /all /deep/er/link
             FROM $BASE
             COPY --from=made /all /deep /out/
             COPY src/word /word
            ",
        );
        for number in 0..12 {
            site.write(&format!("src/{number}"), &format!("file {number}\n"));
        }
        let mut subject = Subject { site, base, expected: Vec::new(), _registry: registry };
        for variant in 0..VARIANTS {
            subject.choose(variant);
            subject.expected.push(subject.site.summary(&[]));
            subject.forget_store();
        }
        subject
    }

    /// Makes the context that of `variant`.
    fn choose(&self, variant: u64) {
        self.site.write("src/word", &format!("variant {variant}\n"));
    }

    fn forget_store(&self) {
        fs::remove_dir_all(self.site.path("store")).ok();
    }

    fn command(&self, kind: Kind) -> Command {
        let mut command = self.site.slipway();
        match kind {
            Kind::Cold | Kind::Warm => command.args(["build", "--output=type=cacheonly", &busybox_flag(), "."]),
            Kind::Pulling => command.args(["build", "-t", "pulled", &format!("--build-arg=BASE={}", self.base), "."]),
            Kind::Exporting => {
                let output = format!("--output=type=oci,dest={}", self.site.name("image.tar"));
                command.args(["build", &output, &busybox_flag(), "."])
            }
            Kind::Pruning => command.args(["prune", "--all", "--force"]),
        };
        command
    }

    /// What is there before the build that will be killed.
    fn prepare(&self, kind: Kind, variant: u64) {
        self.choose(variant);
        match kind {
            Kind::Cold | Kind::Pulling => self.forget_store(),
            Kind::Pruning => _ = self.site.build(&["--output=type=cacheonly"]).success(),
            Kind::Warm | Kind::Exporting => {}
        }
    }

    #[track_caller]
    fn assert_sound(&self, what: &str) {
        if !self.site.path("store/oci-layout").exists() {
            return;
        }
        let checked = run(self.site.slipway().arg("fsck"));
        let found = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.exit_code, Some(0), "{what}:\n{found}{}", checked.stderr);
    }

    /// Whatever happened, the store is sound, and the next build is right.
    #[track_caller]
    fn comes_back(&self, variant: u64, what: &str) {
        self.assert_sound(what);
        self.choose(variant);
        assert_eq!(self.site.summary(&[]), self.expected[variant as usize], "{what}");
    }
}

fn killed(kind: Kind) {
    let subject = Subject::new();
    let mut chance = Chance(kind as u64 + 1);
    subject.prepare(kind, 0);
    let begin = Instant::now();
    run(&mut subject.command(kind)).success();
    // Roughly as long as it takes. Found out on the way: the machine has other things to do as well.
    let mut span = begin.elapsed();
    let (mut n_killed, mut round) = (0, 0);
    while n_killed < N_KILLS {
        assert!(round < 3 * N_KILLS, "{kind:?} ends before it is killed: {n_killed} kills in {round} rounds");
        let variant = chance.below(VARIANTS);
        subject.prepare(kind, variant);
        let delay = span.mul_f64(chance.below(1000) as f64 / 1000.0);
        let mut command = subject.command(kind);
        let running = Running::start(&mut command);
        std::thread::sleep(delay);
        let is_killed = running.kill();
        span = span.mul_f64(if is_killed { 1.05 } else { 0.8 });
        n_killed += u64::from(is_killed);
        round += 1;
        subject.comes_back(chance.below(VARIANTS), &format!("{kind:?}, round {round}, after {delay:?}"));
    }
    subject.site.assert_tidy();
}

/// Calls with a path, and those that read, write or describe what is open.
const CALLS: &str = "%file,read,pread64,write,pwrite64,writev,sendfile,copy_file_range,getdents64,lseek,fstat,fchmod,\
                     fchown,flistxattr,fgetxattr,fsetxattr,ftruncate,fallocate,fsync,fdatasync,syncfs,flock";

/// How often that thread makes a call that makes it most often, of slipway and all that it starts: strace counts the calls
/// of each thread by itself.
type Counts = BTreeMap<String, u64>;

/// The thread and the call in a line such as `1234  openat(AT_FDCWD, …`. Others are the rest of such a line, or a signal.
fn call_in(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let call = rest.split_once('(')?.0.trim();
    call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some((thread, call))
}

fn counts_in(log: &Path) -> Counts {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    let mut of_threads = BTreeMap::<(&str, &str), u64>::new();
    for call in text.lines().filter_map(call_in) {
        *of_threads.entry(call).or_default() += 1;
    }
    let mut counts = Counts::new();
    for ((_, call), n) in of_threads {
        let most = counts.entry(call.to_owned()).or_default();
        *most = n.max(*most);
    }
    counts
}

/// Runs slipway to its end, seen by an strace that has `flags`; the exit code, and what was seen.
fn traced<'a>(
    site: &Site,
    store: &str,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    flags: &[String],
) -> (Option<i32>, Counts) {
    let log = site.path("strace.log");
    let mut strace = site.with_own_environment(Command::new("strace"));
    strace.env("SLIPWAY_ROOT", site.path(store)).args(["-f", "-qq", "-e", "signal=none"]).args(flags);
    strace.arg("-o").arg(&log).args(["--", SLIPWAY]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = strace.spawn().unwrap();
    let mut code = None;
    wait_until(&format!("slipway ends: {flags:?}"), || {
        let status = child.try_wait().unwrap();
        code = status.and_then(|status| status.code());
        status.is_some()
    });
    (code, counts_in(&log))
}

/// Lets one of `outcomes` happen at calls that the command makes, as a rehearsal in a copy of the store has shown, until it
/// did so [`N_CALLS`] times.
fn at_calls(seed: u64, outcomes: &[&str], is_fine: impl Fn(Option<i32>) -> bool) {
    let subject = Subject::new();
    let site = &subject.site;
    let mut chance = Chance(seed);
    let all_calls = [format!("--trace={CALLS}")];
    // What the loader does fails before there is a slipway.
    let (_, loading) = traced(site, "store", [OsStr::new("--version")], &all_calls);
    let kinds = [Kind::Cold, Kind::Warm, Kind::Pulling, Kind::Exporting, Kind::Pruning];
    let (mut n_happened, mut round) = (0, 0);
    while n_happened < N_CALLS {
        // Who waits by looking again and again makes as many calls as there is time for, maybe fewer than in the rehearsal.
        assert!(round < 2 * N_CALLS, "only {n_happened} of {round} happened");
        let kind = kinds[(n_happened % 5) as usize];
        let variant = chance.below(VARIANTS);
        subject.prepare(kind, variant);
        let command = subject.command(kind);
        site.copy_store("rehearsal");
        let (_, counts) = traced(site, "rehearsal", command.get_args(), &all_calls);
        let n_skipped = |call: &str| loading.get(call).copied().unwrap_or(0);
        let choices: Vec<(&String, &u64)> = counts.iter().filter(|(call, n)| **n > n_skipped(call)).collect();
        let (call, n) = choices[chance.below(choices.len() as u64) as usize];
        let when = 1 + n_skipped(call) + chance.below(n - n_skipped(call));
        let outcome = outcomes[chance.below(outcomes.len() as u64) as usize];
        let flags = [format!("--trace={call}"), format!("--inject={call}:{outcome}:when={when}")];
        let (code, seen) = traced(site, "store", command.get_args(), &flags);
        // Whoever is killed leaves no log.
        let has_happened = code.is_none() || seen.get(call).is_some_and(|n| *n >= when);
        n_happened += u64::from(has_happened);
        round += 1;
        let what = format!("{kind:?}, round {round}, {outcome} at {call} number {when}, ended with {code:?}");
        assert!(is_fine(code), "{what}");
        subject.comes_back(chance.below(VARIANTS), &what);
    }
    site.wait_until_no_process();
}

fn killed_at_a_system_call() {
    at_calls(11, &["signal=KILL"], |_| true);
}

/// A build may fail; it does not panic (exit code 100), crash or hang.
fn system_calls_that_fail() {
    at_calls(12, &["error=EIO", "error=ENOSPC", "error=EINTR"], |code| matches!(code, Some(0 | 1)));
}

/// Mounts a file system of limited size, and takes it away again.
pub(crate) struct SmallDisk<'a>(pub(crate) &'a Path);

impl SmallDisk<'_> {
    pub(crate) fn mount(path: &Path, options: &str) -> Command {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "none"]).arg(path);
        command
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

fn a_disk_that_is_too_small() {
    let subject = Subject::new();
    let store = subject.site.path("store");
    let mut n_failed = 0;
    for step in 0..16 {
        fs::create_dir_all(&store).unwrap();
        let size_kib = 100 + 330 * step;
        run(&mut SmallDisk::mount(&store, &format!("size={size_kib}k"))).success();
        let disk = SmallDisk(&store);
        for kind in [Kind::Cold, Kind::Exporting] {
            subject.choose(1);
            let outcome = run(&mut subject.command(kind));
            assert!(matches!(outcome.exit_code, Some(0 | 1)), "{size_kib} KiB: {}", outcome.stderr);
            n_failed += usize::from(outcome.exit_code == Some(1));
        }
        run(&mut SmallDisk::mount(&store, "remount,size=64m")).success();
        subject.comes_back(1, &format!("a disk of {size_kib} KiB"));
        drop(disk);
    }
    assert!((1..32).contains(&n_failed), "{n_failed} builds failed: the sizes are badly chosen");
}
