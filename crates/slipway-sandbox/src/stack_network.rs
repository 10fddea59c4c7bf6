//! Networks for programs that talk with each other: each has a network namespace of its own, and cables to the bridges
//! that it may use.
//!
//! ```text
//!  namespace of a program ── eth0 ──┐
//!                         ── out ─┐ │
//!  namespace of a program ── eth0 ─┼─┴─ bridge of a network      ┐
//!                         ── out ─┴─── bridge outwards ── tap0  ┘ the hub: a private network with its helper
//! ```
//!
//! A cable outwards is an isolated port: through it a program reaches the helper, and so the world outside, but no
//! other program. Without a helper that works, there are the bridges of networks and no way out. All of it is gone when
//! the value is dropped and the programs have ended.
//!
//! The helper has to be `slirp4netns`: `pasta` serves a single address, here there is one a program.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::call::{CallError, Named};
use crate::links::Links;
use crate::network;
use crate::private_network::{self, DEVICE, PrivateNetwork, PrivateNetworkError, ROUTER, StartingNetwork};

/// The bridge that the helper's device is in.
const OUTWARDS: &str = "outwards";
/// The device of a program that leads there.
const WAY_OUT: &str = "out";
/// The helper's network: 10.0.2.0/24. The numbers up to 9 are its own.
const OUTSIDE_PREFIX: u8 = 24;
const FIRST_OUTSIDE: u8 = 10;
const LAST_OUTSIDE: u8 = 254;

/// A cable into the bridge of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plug {
    /// Which bridge: a number given to [`StackNetwork::add_bridge`].
    pub bridge: u32,
    /// The program's address there.
    pub address: Ipv4Addr,
    /// How many leading bits of the address are the same in all of the network.
    pub prefix: u8,
}

/// The networks of a group of programs.
#[derive(Debug)]
pub struct StackNetwork {
    hub: OwnedFd,
    /// Held for its helper.
    way_out: Option<PrivateNetwork>,
    n_cables: AtomicU32,
    n_outside: AtomicU32,
}

impl StackNetwork {
    /// Makes the hub, with a way out if a helper is found in `search_path` and works; the other answer is why there is
    /// none. The calling thread has to live until this returns.
    pub fn start(search_path: &OsStr) -> Result<(Self, Option<PrivateNetworkError>), CallError> {
        let begun = private_network::begin_with(search_path, &["slirp4netns"]);
        let (way_out, failure) = match begun.and_then(StartingNetwork::finish) {
            Ok(network) => (Some(network), None),
            Err(error) => (None, Some(error)),
        };
        let hub = match &way_out {
            Some(network) => network.namespace().try_clone_to_owned().named(|| "dup(network)".to_owned())?,
            None => network::fresh()?,
        };
        let stack = Self { hub, way_out, n_cables: AtomicU32::new(0), n_outside: AtomicU32::new(0) };
        if stack.has_way_out() {
            stack.in_hub(|links| {
                links.add_bridge(OUTWARDS)?;
                links.put_into_bridge(DEVICE, OUTWARDS, false)
            })?;
        }
        Ok((stack, failure))
    }

    /// Whether the world outside can be reached.
    pub fn has_way_out(&self) -> bool {
        self.way_out.is_some()
    }

    /// Makes the bridge of a network.
    pub fn add_bridge(&self, number: u32) -> Result<(), CallError> {
        self.in_hub(|links| links.add_bridge(&bridge_name(number)))
    }

    /// A network namespace for one program, with a loopback, cables to these bridges (`eth0`, `eth1`, …), and one that
    /// leads out if that is wanted and there is a way out.
    pub fn namespace(&self, plugs: &[Plug], leads_out: bool) -> Result<OwnedFd, CallError> {
        let namespace = network::fresh()?;
        let outside = (leads_out && self.has_way_out()).then(|| self.next_outside());
        self.in_hub(|links| {
            for (number, plug) in plugs.iter().enumerate() {
                let (cable, bridge) = (self.next_cable(), bridge_name(plug.bridge));
                links.add_cable(&cable, namespace.as_fd(), &device(number))?;
                links.put_into_bridge(&cable, &bridge, false)?;
            }
            if outside.is_some() {
                let cable = self.next_cable();
                links.add_cable(&cable, namespace.as_fd(), WAY_OUT)?;
                links.put_into_bridge(&cable, OUTWARDS, true)?;
            }
            Ok(())
        })?;
        in_network(namespace.as_fd(), |links| {
            for (number, plug) in plugs.iter().enumerate() {
                links.set_address(&device(number), plug.address, plug.prefix)?;
            }
            if let Some(address) = outside {
                links.set_address(WAY_OUT, address, OUTSIDE_PREFIX)?;
                links.set_default_route(ROUTER)?;
            }
            Ok(())
        })?;
        Ok(namespace)
    }

    fn in_hub(&self, work: impl FnOnce(&Links) -> Result<(), CallError> + Send) -> Result<(), CallError> {
        in_network(self.hub.as_fd(), work)
    }

    fn next_cable(&self) -> String {
        format!("cable{}", self.n_cables.fetch_add(1, Ordering::Relaxed))
    }

    /// Used again after so many that the first program that had it is long gone.
    fn next_outside(&self) -> Ipv4Addr {
        let n_addresses = u32::from(LAST_OUTSIDE - FIRST_OUTSIDE);
        let number = self.n_outside.fetch_add(1, Ordering::Relaxed) % n_addresses;
        let last = FIRST_OUTSIDE + u8::try_from(number).expect("because it is below the number of addresses");
        let [first, second, third, _] = ROUTER.octets();
        Ipv4Addr::new(first, second, third, last)
    }
}

fn bridge_name(number: u32) -> String {
    format!("bridge{number}")
}

fn device(number: usize) -> String {
    format!("eth{number}")
}

/// Does something in a network, on a thread that ends with it.
fn in_network(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce(&Links) -> Result<(), CallError> + Send,
) -> Result<(), CallError> {
    let work = move || {
        network::enter(namespace)?;
        work(&Links::open()?)
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
