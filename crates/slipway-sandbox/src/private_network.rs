//! A network of the build's own: steps reach the world outside, but neither the host's loopback nor its local sockets.
//!
//! A network namespace is empty. What lets traffic out of it without root is a program that reads packets from a tap
//! device inside and makes the connections outside: `slirp4netns` or `pasta`, whichever is installed and answers.
//!
//! ```text
//!  steps ──▶ namespace of the keeper: lo, tap0 10.0.2.100/24 ──▶ slirp4netns or pasta in the host's network ──▶ world
//! ```
//!
//! Both are told to be the router 10.0.2.2 and the name server 10.0.2.3. One such network serves a whole build.
//! Nothing waits for a helper without a limit: `pasta` of Debian 12 was seen to hang.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::host_programs::find_program;
use crate::keeper::{Keeper, KeeperError, Role, Starting};
use crate::ladder::Place;
use crate::{network, userns};

/// Answers names inside the network, also where the host's own name server listens on its loopback only.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The address of all who share a private network.
pub const PRIVATE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

/// The helper's end of the network.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The discard service: whatever comes of the packet, sending it makes the kernel ask who has [`ROUTER`].
const ANY_PORT: u16 = 9;

/// How long a helper has to answer. They take 5 to 20 ms, and as many times as long on a machine with much else to do:
/// steps are not to see the host's network for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before looking again. A look takes 20 µs.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) const DEVICE: &str = "tap0";

/// What the helpers make [`DEVICE`] with.
const TUN: &str = "/dev/net/tun";

/// The programs that can be the other end, the one that answers soonest first.
const HELPERS: [(&str, ArgumentsFor); 2] = [("slirp4netns", slirp4netns_arguments), ("pasta", pasta_arguments)];

/// The arguments for the namespace at a path.
type ArgumentsFor = fn(&str) -> Vec<String>;

fn slirp4netns_arguments(namespace: &str) -> Vec<String> {
    let fixed = ["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"];
    let last = ["--netns-type=path", namespace, DEVICE];
    fixed.into_iter().chain(last).map(str::to_owned).collect()
}

fn pasta_arguments(namespace: &str) -> Vec<String> {
    // Without `none` four times, ports of the host's loopback would be open inside and the other way round.
    let ports = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"];
    let fixed = ["--config-net", "--foreground", "--quiet", "--no-map-gw", "--ns-ifname", DEVICE, "--netns-only"];
    let addresses = ["--address", "10.0.2.100", "--netmask", "24", "--gateway", "10.0.2.2"];
    let last = ["--dns-forward", "10.0.2.3", "--netns", namespace];
    fixed.into_iter().chain(ports).chain(addresses).chain(last).map(str::to_owned).collect()
}

/// Why there is no private network.
#[derive(Debug, thiserror::Error)]
pub enum PrivateNetworkError {
    /// None of the programs was found.
    #[error("neither `slirp4netns` nor `pasta` is installed")]
    NoHelper,
    /// What was found did not work, with what each said.
    #[error("{0}")]
    NotReady(String),
}

impl PrivateNetworkError {
    /// The change that would give a private network, if it is known. Looks at the machine.
    pub fn hint(&self) -> Option<String> {
        if matches!(self, Self::NoHelper) {
            return Some("install the package `slirp4netns` or `passt`".to_owned());
        }
        let refusal = File::options().read(true).write(true).open(TUN).err()?;
        match refusal.raw_os_error()? {
            libc::EACCES => {
                Some(format!("as root, `chmod 0666 {TUN}`, or give it to a group of this user with mode 0660"))
            }
            libc::EPERM => Some(format!("start the container with `--device {TUN}`")),
            libc::ENOENT | libc::ENODEV | libc::ENXIO => Some(format!(
                "as root, `modprobe tun`, and if {TUN} is still missing `mkdir -p /dev/net; mknod -m 0666 {TUN} c 10 200`; \
                 start a container with `--device {TUN}`"
            )),
            _ => None,
        }
    }
}

impl From<KeeperError> for PrivateNetworkError {
    fn from(error: KeeperError) -> Self {
        Self::NotReady(error.reason())
    }
}

/// A network that steps may join. It and the helper end when this is dropped, or when this process ends.
#[derive(Debug)]
pub struct PrivateNetwork {
    namespace: OwnedFd,
    _keeper: Keeper,
}

/// Finds out by making one whether steps at `place` can have a private network. As [`userns::enter`] it has to be called
/// before any thread.
pub fn survey(place: Place, search_path: &OsStr) -> Result<(), PrivateNetworkError> {
    let make = || PrivateNetwork::begin(search_path).and_then(StartingNetwork::finish).map(drop);
    match place {
        Place::There(_) => make(),
        Place::Outside(rung) => {
            let told = userns::ask_inside(rung, || make().err().map(|error| error.to_string()));
            match told.map_err(|error| PrivateNetworkError::NotReady(error.to_string()))? {
                None => Ok(()),
                // The one thing that is the same on both sides, and has advice of its own.
                Some(_) if find_helpers(search_path).is_empty() => Err(PrivateNetworkError::NoHelper),
                Some(reason) => Err(PrivateNetworkError::NotReady(reason)),
            }
        }
    }
}

fn find_helpers(search_path: &OsStr) -> Vec<PathBuf> {
    HELPERS.iter().filter_map(|(name, _)| find_program(search_path, name)).collect()
}

/// A private network that is being made; it ends when this is dropped.
#[derive(Debug)]
pub struct StartingNetwork(Starting);

impl StartingNetwork {
    /// Waits until it is there. Every helper has a limited time for that.
    pub fn finish(self) -> Result<PrivateNetwork, PrivateNetworkError> {
        // The keeper has its own limit for each helper; this one is for the keeper.
        let keeper = self.0.finish(PATIENCE * 4)?;
        let namespace = keeper.namespace("net").map_err(KeeperError::from)?;
        Ok(PrivateNetwork { namespace, _keeper: keeper })
    }
}

impl PrivateNetwork {
    /// Begins to make one with the help of a program found in `search_path`, a list as in `PATH`. It takes 5 to 10 ms,
    /// in which the caller may do something else; the calling thread has to live until it is finished.
    pub fn begin(search_path: &OsStr) -> Result<StartingNetwork, PrivateNetworkError> {
        begin_with(search_path, &HELPERS.map(|(name, _)| name))
    }

    /// The namespace to join.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// As [`PrivateNetwork::begin`], with one of these helpers.
pub(crate) fn begin_with(search_path: &OsStr, names: &[&str]) -> Result<StartingNetwork, PrivateNetworkError> {
    let helpers: Vec<PathBuf> = names.iter().filter_map(|name| find_program(search_path, name)).collect();
    if helpers.is_empty() {
        return Err(PrivateNetworkError::NoHelper);
    }
    let arguments: Vec<&OsStr> = helpers.iter().map(|path| path.as_os_str()).collect();
    Ok(StartingNetwork(Keeper::begin(Role::Network, &arguments)?))
}

/// The keeper's work: moves this process into a new network and starts one of `helpers`, which are paths, outside.
pub(crate) fn make(helpers: &[OsString]) -> Result<Waiting, String> {
    let call = |name: &str, error: io::Error| format!("{name}: {error}");
    // As the host's `/proc` counts, not as our own process namespace does.
    let own = fs::read_link("/proc/self").map_err(|error| call("readlink(/proc/self)", error))?;
    let namespace = format!("/proc/{}/ns/net", own.display());
    // Before this process leaves the host's network, which it has no right to come back to.
    let waiting: Vec<Waiting> = helpers
        .iter()
        .map(|path| Waiting::fork(path, &namespace))
        .collect::<io::Result<_>>()
        .map_err(|e| call("fork()", e))?;
    // SAFETY: this process has one thread and shares its tables with nobody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|errno| call("unshare(CLONE_NEWNET)", errno.into()))?;
    network::bring_up_loopback().map_err(|error| call(&error.call, error.source))?;
    let mut reasons = Vec::new();
    for mut helper in waiting {
        match helper.go() {
            Ok(()) => return Ok(helper),
            Err(reason) => reasons.push(format!("`{}`: {reason}", helper.name)),
        }
    }
    Err(reasons.join("; "))
}

/// A helper that has been forked in the host's network. It is killed when this is dropped.
pub(crate) struct Waiting {
    name: String,
    process: Pid,
    start: File,
    words: File,
}

impl Waiting {
    fn fork(program: &OsStr, namespace: &str) -> io::Result<Self> {
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        let (_, arguments) =
            HELPERS.iter().find(|(known, _)| *known == name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let (started, start) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let words = File::from(rustix::fs::memfd_create("slipway-helper-words", MemfdFlags::CLOEXEC)?);
        // SAFETY: the keeper has one thread, so the child's copy of the memory is consistent.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        let Some(process) = Pid::from_raw(pid) else {
            drop(start);
            become_helper(program, &arguments(namespace), started, &words)
        };
        Ok(Self { name, process, start: start.into(), words })
    }

    /// Lets the helper begin and waits until it answers.
    fn go(&mut self) -> Result<(), String> {
        self.start.write_all(&[1]).map_err(|error| error.to_string())?;
        let until = Instant::now() + PATIENCE;
        while !has_default_route() {
            if let Ok(Some(_)) = rustix::process::waitpid(Some(self.process), WaitOptions::NOHANG) {
                return Err(self.last_words());
            }
            self.wait_a_little(until)?;
        }
        // A route proves that it began. That the router's address is answered for proves that it goes on.
        let knock = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let sent = knock.and_then(|socket| socket.send_to(&[0], (ROUTER, ANY_PORT)));
        sent.map_err(|error| error.to_string())?;
        while !is_router_known() {
            self.wait_a_little(until)?;
        }
        Ok(())
    }

    fn wait_a_little(&self, until: Instant) -> Result<(), String> {
        if Instant::now() > until {
            return Err(format!("no answer within {} s", PATIENCE.as_secs()));
        }
        thread::sleep(PAUSE);
        Ok(())
    }

    fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        let read = self.words.rewind().and_then(|()| self.words.read_to_end(&mut words));
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| is_reason(line)).collect();
        match (read, lines.first()) {
            (Ok(_), Some(line)) => (*line).to_owned(),
            _ => "ended without a word".to_owned(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(self.process, Signal::KILL);
    }
}

/// Whether a line of a helper's output may say why it gave up.
fn is_reason(line: &str) -> bool {
    let says_how_it_goes = ["sent tapfd", "received tapfd", "WARNING: "];
    !line.is_empty() && !says_how_it_goes.iter().any(|start| line.starts_with(start))
}

/// In the forked child: waits for the word to go, then becomes the helper.
fn become_helper(program: &OsStr, arguments: &[String], started: OwnedFd, words: &File) -> ! {
    let mut go = [0];
    if File::from(started).read(&mut go).is_ok_and(|n_read| n_read == 1)
        && let (Ok(stdout), Ok(stderr)) = (words.try_clone(), words.try_clone())
    {
        let error = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).exec();
        let mut words = words;
        let _ = words.write_all(error.to_string().as_bytes());
    }
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(1) }
}

/// Whether this network namespace has a way out (`/proc/net/route`: destination and mask are zero).
fn has_default_route() -> bool {
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    routes.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// Whether somebody has answered for the router's address (`/proc/net/arp`: the flag 2 is "complete").
fn is_router_known() -> bool {
    let neighbours = fs::read_to_string("/proc/self/net/arp").unwrap_or_default();
    neighbours.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(&ROUTER.to_string()) && fields.nth(1) == Some("0x2")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_told_to_keep_away_from_the_loopback_of_the_host() {
        assert!(slirp4netns_arguments("/n").contains(&"--disable-host-loopback".to_owned()));
        let pasta = pasta_arguments("/n").join(" ");
        assert!(pasta.contains("--no-map-gw") && pasta.contains("-T none -U none"), "{pasta}");
    }

    #[test]
    fn progress_of_a_helper_is_not_its_reason() {
        assert!(!is_reason("sent tapfd=5 for tap0") && !is_reason(""));
        assert!(is_reason("open(\"/dev/net/tun\"): Permission denied"));
    }
}
