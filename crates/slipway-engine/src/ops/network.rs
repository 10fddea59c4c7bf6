//! Which network a step sees, and what it reads about it in `/etc/hosts` and `/etc/resolv.conf`
//! (`spec/dockerfile.md` section 11.1).
//!
//! Steps that do not ask for a certain network share a private one, from which the host's loopback cannot be reached.
//! It is begun as soon as it is known that one of them is left to run, so that it gets ready while files are copied and
//! images pulled, and ends with the build. A machine that cannot have one is named once, and its own network taken.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use slipway_graph::op::{HostAddress, Network};
use slipway_graph::{Event, Events};
use slipway_sandbox::{NAME_SERVER, PRIVATE_ADDRESS, PrivateNetwork, PrivateNetworkError, StartingNetwork};

/// Any address outside: asking the kernel which of its own it would use sends nothing (TEST-NET-2, RFC 5737).
const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);

/// The networks that the steps of one build may see.
pub(crate) struct Networks {
    /// Where helper programs are looked for, as in `PATH`.
    search_path: OsString,
    /// Whether steps that ask for no certain network get none.
    isolates: bool,
    /// What the first step that needs it waits for.
    begun: Mutex<Option<Result<StartingNetwork, PrivateNetworkError>>>,
    /// `None` where there cannot be one.
    private: OnceLock<Option<PrivateNetwork>>,
    /// Made by somebody else, in the place of what is asked for.
    joined: Option<JoinedNetwork>,
    /// Whether a network without a way out is better than the host's, as ports of it are published.
    publishes: bool,
    alone: OnceLock<Option<JoinedNetwork>>,
    resolver_settings: OnceLock<Vec<u8>>,
    host_settings: OnceLock<Vec<u8>>,
}

/// A network that was made for one container.
#[derive(Debug)]
pub struct JoinedNetwork {
    pub namespace: OwnedFd,
    /// Where others of its networks reach it; without one, it has a loopback only.
    pub address: Option<IpAddr>,
    /// Lines of `/etc/hosts`: the others, and itself.
    pub hosts: Vec<(IpAddr, String)>,
}

/// The network that a step gets.
#[derive(Clone, Copy)]
pub(crate) enum StepNetwork<'a> {
    Host,
    None,
    Private(&'a PrivateNetwork),
    Joined(&'a JoinedNetwork),
}

impl Networks {
    /// Nothing is made or read yet. `isolates`: steps that ask for no certain network get none.
    pub(crate) fn new(search_path: OsString, isolates: bool) -> Networks {
        Networks {
            search_path,
            isolates,
            begun: Mutex::new(None),
            private: OnceLock::new(),
            joined: None,
            publishes: false,
            alone: OnceLock::new(),
            resolver_settings: OnceLock::new(),
            host_settings: OnceLock::new(),
        }
    }

    /// The network of one container: the given one if there is one. `publishes`: it is never the host's unless that is
    /// asked for.
    pub(crate) fn of_container(search_path: OsString, joined: Option<JoinedNetwork>, publishes: bool) -> Networks {
        Networks { joined, publishes, ..Networks::new(search_path, false) }
    }

    /// Begins to make what steps that ask for `wanted` will share. Called once, by a thread that lives as long as the
    /// build does, and before any step runs.
    pub(crate) fn begin(&self, wanted: Network) {
        if wanted == Network::Default && !self.isolates && self.joined.is_none() {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.get_or_insert_with(|| PrivateNetwork::begin(&self.search_path));
        }
    }

    /// The network for a step that asks for `wanted`.
    pub(crate) fn for_step(&self, wanted: Network, events: &dyn Events) -> StepNetwork<'_> {
        if let Some(joined) = &self.joined {
            return StepNetwork::Joined(joined);
        }
        match wanted {
            Network::Host => StepNetwork::Host,
            Network::None => StepNetwork::None,
            Network::Default if self.isolates => StepNetwork::None,
            Network::Default => match self.private.get_or_init(|| self.start_private(events)) {
                Some(private) => StepNetwork::Private(private),
                None if self.publishes => match self.alone.get_or_init(make_alone) {
                    Some(alone) => StepNetwork::Joined(alone),
                    None => StepNetwork::None,
                },
                None => StepNetwork::Host,
            },
        }
    }

    fn start_private(&self, events: &dyn Events) -> Option<PrivateNetwork> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = begun.unwrap_or_else(|| PrivateNetwork::begin(&self.search_path));
        let error = match begun.and_then(StartingNetwork::finish) {
            Ok(network) => return Some(network),
            Err(error) => error,
        };
        let advice = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        let message = match self.publishes {
            true => format!("the container cannot reach the world outside: {error}{advice}"),
            false => format!("steps use the network of the host, as there is no private one: {error}{advice}"),
        };
        events.emit(Event::Remark { message });
        None
    }

    /// `/etc/resolv.conf` of a step.
    pub(crate) fn resolv_conf(&self, network: StepNetwork<'_>) -> &[u8] {
        let read = |path| std::fs::read(path).unwrap_or_default();
        match network {
            StepNetwork::Host => self.host_settings.get_or_init(|| read("/etc/resolv.conf")),
            StepNetwork::None | StepNetwork::Private(_) | StepNetwork::Joined(_) => {
                self.resolver_settings.get_or_init(|| {
                    let host = String::from_utf8_lossy(&read("/etc/resolv.conf")).into_owned();
                    let host = match is_systemd_stub(&host) {
                        // The servers that the stub asks itself.
                        true => std::fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(host),
                        false => host,
                    };
                    reachable_settings(&host).into_bytes()
                })
            }
        }
    }
}

impl StepNetwork<'_> {
    pub(crate) fn to_sandbox(self) -> io::Result<slipway_sandbox::Network> {
        Ok(match self {
            StepNetwork::Host => slipway_sandbox::Network::Host,
            StepNetwork::None => slipway_sandbox::Network::None,
            StepNetwork::Private(private) => {
                slipway_sandbox::Network::Joined(private.namespace().try_clone_to_owned()?)
            }
            StepNetwork::Joined(joined) => slipway_sandbox::Network::Joined(joined.namespace.try_clone()?),
        })
    }

    /// The namespace to go to, and the address there, for who wants to reach ports of the step; `None` if it has no
    /// network of its own, or one that nobody else knows.
    pub(crate) fn door(self) -> io::Result<Option<(OwnedFd, IpAddr)>> {
        Ok(match self {
            StepNetwork::Host | StepNetwork::None => None,
            StepNetwork::Private(private) => Some((private.namespace().try_clone_to_owned()?, PRIVATE_ADDRESS.into())),
            StepNetwork::Joined(joined) => {
                Some((joined.namespace.try_clone()?, joined.address.unwrap_or(Ipv4Addr::LOCALHOST.into())))
            }
        })
    }

    /// Where a step finds the host itself. What listens on all of the host's addresses can be reached there.
    fn gateway(self) -> IpAddr {
        let own_address = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(OUTSIDE)?;
            socket.local_addr()
        };
        match self {
            StepNetwork::Host | StepNetwork::None => Ipv4Addr::LOCALHOST.into(),
            StepNetwork::Private(_) | StepNetwork::Joined(_) => {
                own_address().map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
            }
        }
    }

    /// `/etc/hosts` of a step.
    pub(crate) fn hosts(self, hostname: &str, extra: &[(String, HostAddress)]) -> String {
        let (own, others) = match self {
            StepNetwork::Joined(joined) if joined.address.is_some() => ("", joined.hosts.as_slice()),
            _ => (hostname, &[][..]),
        };
        let own = format!("localhost {own}");
        let mut text = format!("127.0.0.1\t{}\n::1\tlocalhost ip6-localhost ip6-loopback\n", own.trim_end());
        for (address, name) in others {
            text.push_str(&format!("{address}\t{name}\n"));
        }
        for (name, address) in extra {
            let address = match address {
                HostAddress::Fixed(address) => *address,
                HostAddress::Gateway => self.gateway(),
            };
            text.push_str(&format!("{address}\t{name}\n"));
        }
        text
    }
}

/// A network with a loopback; `None` where there cannot be one.
fn make_alone() -> Option<JoinedNetwork> {
    let namespace = slipway_sandbox::fresh_network().ok()?;
    Some(JoinedNetwork { namespace, address: None, hosts: Vec::new() })
}

fn is_systemd_stub(settings: &str) -> bool {
    name_servers(settings).any(|address| address == Ipv4Addr::new(127, 0, 0, 53))
}

fn name_servers(settings: &str) -> impl Iterator<Item = IpAddr> {
    settings.lines().filter_map(name_server)
}

/// The address in a line `nameserver ADDRESS` (resolv.conf(5)).
fn name_server(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then_some(())?;
    words.next()?.parse().ok()
}

/// `settings` for a network without the host's loopback and without IPv6. If no server is left, the one that the
/// private network brings answers in its place.
fn reachable_settings(settings: &str) -> String {
    let is_reachable = |address: IpAddr| address.is_ipv4() && !address.is_loopback();
    let kept = settings.lines().filter(|line| name_server(line).is_none_or(is_reachable));
    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
    if name_servers(&text).next().is_none() {
        text.push_str(&format!("nameserver {NAME_SERVER}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_step_cannot_reach_are_left_out() {
        let host = "search a.example\nnameserver 127.0.0.1\nnameserver ::1\nnameserver 192.0.2.1\noptions ndots:2\n";
        assert_eq!(reachable_settings(host), "search a.example\nnameserver 192.0.2.1\noptions ndots:2\n");
        assert_eq!(reachable_settings("nameserver 127.0.0.1\n"), "nameserver 10.0.2.3\n");
        assert_eq!(reachable_settings(""), "nameserver 10.0.2.3\n");
    }

    #[test]
    fn the_stub_of_systemd_is_known_by_its_address() {
        assert!(is_systemd_stub("# made by systemd\nnameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_systemd_stub("#nameserver 127.0.0.53\nnameserver 127.0.0.1\n"));
    }

    #[test]
    fn extra_hosts_follow_the_loopback() {
        let extra = [
            ("a".to_owned(), HostAddress::Fixed("192.0.2.7".parse().unwrap())),
            ("b".to_owned(), HostAddress::Gateway),
        ];
        let expected =
            "127.0.0.1\tlocalhost h\n::1\tlocalhost ip6-localhost ip6-loopback\n192.0.2.7\ta\n127.0.0.1\tb\n";
        assert_eq!(StepNetwork::Host.hosts("h", &extra), expected);
    }
}
