//! Published ports: what listens on the host, and how who connects there reaches the container.
//!
//! No helper program and no rule of a firewall: a thread waits on the host's side, and the sockets on the other side are
//! made by threads that have moved into the container's network. It works alike for root and for everybody else.
//! Programs in the container see connections come from their own address.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use slipway_sandbox::enter_network;

/// How long a program in the container has to accept a connection. Whoever is nearer than this machine's own memory
/// answers sooner, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// After so long without a packet, who sent UDP packets is forgotten, as connection tracking of Linux does.
const UDP_MEMORY: Duration = Duration::from_secs(60);

/// The largest packet of UDP.
const PACKET_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of a container that the host is to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// All addresses of the host if there is none.
    pub host: Option<IpAddr>,
    /// The first and last of those that will do; 0 is any.
    pub host_ports: (u16, u16),
    pub container_port: u16,
    pub protocol: Protocol,
}

/// A published port that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPort {
    pub host: SocketAddr,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// Why a port cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("cannot publish {protocol} port {port}: it is already allocated on {address}")]
    Taken { address: IpAddr, port: u16, protocol: Protocol },
    #[error("cannot publish {protocol} port {port} on {address}")]
    Bind { address: IpAddr, port: u16, protocol: Protocol, source: io::Error },
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

struct Door {
    socket: Arc<Socket>,
    port: OpenPort,
}

/// The published ports of a container. They are open as long as this lives; who comes before the container is there waits.
#[derive(Default)]
pub(crate) struct Doors(Vec<Door>);

/// Threads that let in who comes; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Porters {
    stop: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Doors {
    pub(crate) fn open(ports: &[PublishedPort]) -> Result<Doors, PortError> {
        ports.iter().map(open).collect::<Result<_, _>>().map(Doors)
    }

    pub(crate) fn ports(&self) -> Vec<OpenPort> {
        self.0.iter().map(|door| door.port).collect()
    }

    /// Lets in who comes, to `address` in the network `namespace`.
    pub(crate) fn lead_to(&self, namespace: OwnedFd, address: IpAddr) -> io::Result<Porters> {
        if self.0.is_empty() {
            return Ok(Porters::default());
        }
        let (stopped, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (stopped, namespace) = (Arc::new(stopped), Arc::new(namespace));
        let mut porters = Porters { stop: Some(stop), threads: Vec::new() };
        for door in &self.0 {
            let (socket, stopped, namespace) = (Arc::clone(&door.socket), Arc::clone(&stopped), Arc::clone(&namespace));
            let to = SocketAddr::new(address, door.port.container_port);
            let work = move || match &*socket {
                Socket::Tcp(listener) => accept_all(listener, &stopped, &namespace, to),
                Socket::Udp(host) => pass_packets(host, &stopped, &namespace, to),
            };
            porters.threads.push(thread::Builder::new().name(format!("port {}", door.port.host)).spawn(work)?);
        }
        Ok(porters)
    }
}

impl Drop for Porters {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // If it panicked, nobody is let in any more, which is what is wanted.
            let _ = thread.join();
        }
    }
}

fn open(wanted: &PublishedPort) -> Result<Door, PortError> {
    let (first, last) = wanted.host_ports;
    let protocol = wanted.protocol;
    let mut taken = None;
    for port in first..=last {
        match bind(wanted.host, port, protocol) {
            Ok((socket, host)) => {
                let port = OpenPort { host, container_port: wanted.container_port, protocol };
                return Ok(Door { socket: Arc::new(socket), port });
            }
            Err((address, error)) if error.kind() == io::ErrorKind::AddrInUse => {
                taken = Some(PortError::Taken { address, port, protocol });
            }
            Err((address, source)) => return Err(PortError::Bind { address, port, protocol, source }),
        }
    }
    Err(taken.expect("because a range has at least one port"))
}

/// On all addresses: of both families, where the machine has both.
fn bind(host: Option<IpAddr>, port: u16, protocol: Protocol) -> Result<(Socket, SocketAddr), (IpAddr, io::Error)> {
    let bind_to = |address: IpAddr| -> io::Result<(Socket, SocketAddr)> {
        match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind((address, port))?;
                let host = listener.local_addr()?;
                Ok((Socket::Tcp(listener), host))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind((address, port))?;
                let host = socket.local_addr()?;
                Ok((Socket::Udp(socket), host))
            }
        }
    };
    match host {
        Some(address) => bind_to(address).map_err(|error| (address, error)),
        None => match bind_to(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                bind_to(Ipv4Addr::UNSPECIFIED.into()).map_err(|error| (Ipv4Addr::UNSPECIFIED.into(), error))
            }
            answer => answer.map_err(|error| (Ipv4Addr::UNSPECIFIED.into(), error)),
        }
        .map(|(socket, host)| (socket, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), host.port()))),
    }
}

/// Waits until one of `others` has something, or until `stopped` closes: then `false`.
fn is_any_ready(stopped: &OwnedFd, others: &[BorrowedFd<'_>], patience: Option<Duration>) -> bool {
    let mut waiting = vec![PollFd::new(stopped, PollFlags::IN)];
    waiting.extend(others.iter().map(|other| PollFd::from_borrowed_fd(*other, PollFlags::IN)));
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    loop {
        match poll(&mut waiting, patience.as_ref()) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return waiting[0].revents().is_empty(),
        }
    }
}

fn accept_all(listener: &TcpListener, stopped: &OwnedFd, namespace: &Arc<OwnedFd>, to: SocketAddr) {
    // Who gave up between the two calls would have this thread wait in the second.
    let _ = listener.set_nonblocking(true);
    while is_any_ready(stopped, &[listener.as_fd()], None) {
        let Ok((client, _)) = listener.accept() else { continue };
        let namespace = Arc::clone(namespace);
        let work = move || {
            // Who cannot be let in finds the connection closed.
            if enter_network(&namespace).is_ok()
                && client.set_nonblocking(false).is_ok()
                && let Ok(server) = TcpStream::connect_timeout(&to, PATIENCE)
            {
                relay(&client, &server);
            }
        };
        // Without a thread the connection is closed, too.
        let _ = thread::Builder::new().name("connection".to_owned()).spawn(work);
    }
}

/// Passes on what both sides say until both are done.
fn relay(client: &TcpStream, server: &TcpStream) {
    // What is asked and answered in small pieces would wait for more of it otherwise.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    thread::scope(|scope| {
        scope.spawn(|| pass_on(client, server));
        pass_on(server, client);
    });
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; PACKET_BYTES];
    let broken = loop {
        match from.read(&mut buffer) {
            Ok(0) => break false,
            Ok(n_read) if to.write_all(&buffer[..n_read]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break true,
        }
    };
    // The other direction may still have something to say, unless one of the two has broken off.
    let _ = to.shutdown(Shutdown::Write);
    if broken {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// A client of UDP: the socket that speaks for it inside, and when something was last heard from either.
struct Speaker {
    socket: UdpSocket,
    last: Instant,
}

fn pass_packets(host: &UdpSocket, stopped: &OwnedFd, namespace: &OwnedFd, to: SocketAddr) {
    // From here on this thread makes sockets in the container's network; `host` stays where it is.
    if enter_network(namespace).is_err() || host.set_nonblocking(true).is_err() {
        return;
    }
    let mut speakers: BTreeMap<SocketAddr, Speaker> = BTreeMap::new();
    let mut buffer = vec![0; PACKET_BYTES];
    loop {
        let mut others = vec![host.as_fd()];
        others.extend(speakers.values().map(|speaker| speaker.socket.as_fd()));
        if !is_any_ready(stopped, &others, Some(UDP_MEMORY)) {
            return;
        }
        let now = Instant::now();
        while let Ok((length, client)) = host.recv_from(&mut buffer) {
            let speaker = match speakers.entry(client) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => match speaker(to) {
                    Ok(socket) => new.insert(Speaker { socket, last: now }),
                    Err(_) => continue,
                },
            };
            speaker.last = now;
            // A packet may get lost: this is UDP.
            let _ = speaker.socket.send(&buffer[..length]);
        }
        for (client, speaker) in &mut speakers {
            while let Ok(length) = speaker.socket.recv(&mut buffer) {
                speaker.last = now;
                let _ = host.send_to(&buffer[..length], client);
            }
        }
        speakers.retain(|_, speaker| now.duration_since(speaker.last) < UDP_MEMORY);
    }
}

fn speaker(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(first: u16, last: u16) -> PublishedPort {
        let host = Some(Ipv4Addr::LOCALHOST.into());
        PublishedPort { host, host_ports: (first, last), container_port: 80, protocol: Protocol::Tcp }
    }

    #[test]
    fn of_a_range_the_first_free_port_is_taken() {
        let doors = Doors::open(&[wanted(0, 0)]).unwrap();
        let port = doors.ports()[0].host.port();
        assert_ne!(port, 0);
        assert!(matches!(Doors::open(&[wanted(port, port)]), Err(PortError::Taken { .. })));
        let next = Doors::open(&[wanted(port, port.saturating_add(50))]).unwrap().ports()[0];
        assert!(next.host.port() > port);
    }
}
