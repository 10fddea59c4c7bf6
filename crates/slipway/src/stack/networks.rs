//! Who has which address in a stack, and knows which names.
//!
//! Every container has the same addresses as long as the stack lives, also when it is replaced, and its names are known
//! before it runs: they stand in `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use slipway_sandbox::Plug;

use super::protocol::{Attachment, PlannedNetwork};

/// The first of the networks that are taken where none is asked for: 172.18.0.0/16, as with Docker.
const FIRST_NETWORK: (u8, u8) = (172, 18);
/// So many of them are private (RFC 1918).
const MOST_NETWORKS: u32 = 14;
const PREFIX: u8 = 16;

/// Why a container cannot be in a network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("there are more than {MOST_NETWORKS} networks without a subnet")]
    TooManyNetworks,
    #[error("the network `{0}` is full")]
    Full(String),
    #[error("the address {address} does not belong to the network `{network}`, or somebody has it already")]
    Refused { network: String, address: Ipv4Addr },
}

/// A network that is there.
#[derive(Debug)]
struct Place {
    bridge: u32,
    base: Ipv4Addr,
    prefix: u8,
    is_internal: bool,
    /// By name of the container: where it is, and what it is called there.
    members: BTreeMap<String, (Ipv4Addr, Vec<String>)>,
}

/// The networks of a stack.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    places: BTreeMap<String, Place>,
}

impl AddressBook {
    /// Adds networks that are not known yet; the bridges to make.
    pub(super) fn add(&mut self, networks: &BTreeMap<String, PlannedNetwork>) -> Result<Vec<u32>, AddressError> {
        let mut bridges = Vec::new();
        for (key, network) in networks {
            if self.places.contains_key(key) {
                continue;
            }
            let bridge = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            let (base, prefix) = match network.subnet {
                Some(subnet) => subnet,
                None if bridge >= MOST_NETWORKS => return Err(AddressError::TooManyNetworks),
                None => {
                    let second = FIRST_NETWORK.1 + u8::try_from(bridge).unwrap_or_default();
                    (Ipv4Addr::new(FIRST_NETWORK.0, second, 0, 0), PREFIX)
                }
            };
            let is_internal = network.is_internal;
            self.places.insert(key.clone(), Place { bridge, base, prefix, is_internal, members: BTreeMap::new() });
            bridges.push(bridge);
        }
        Ok(bridges)
    }

    /// Gives a container its addresses, or leaves it those that it has.
    pub(super) fn join(&mut self, container: &str, attachments: &[Attachment]) -> Result<(), AddressError> {
        for Attachment { network, names, address } in attachments {
            let Some(place) = self.places.get_mut(network) else { continue };
            let known = place.members.get(container).map(|(address, _)| *address);
            let address = match (address, known) {
                (Some(wanted), Some(known)) if *wanted == known => known,
                (Some(wanted), _) => place.check(*wanted, network)?,
                (None, Some(known)) => known,
                (None, None) => place.free().ok_or_else(|| AddressError::Full(network.clone()))?,
            };
            place.members.insert(container.to_owned(), (address, names.clone()));
        }
        Ok(())
    }

    /// The cables of a container, and whether it may reach the world outside: only what is nowhere but in internal
    /// networks may not.
    pub(super) fn plugs(&self, container: &str, attachments: &[Attachment]) -> (Vec<Plug>, bool) {
        let mut plugs = Vec::new();
        let mut leads_out = false;
        for attachment in attachments {
            let Some(place) = self.places.get(&attachment.network) else { continue };
            let Some((address, _)) = place.members.get(container) else { continue };
            leads_out |= !place.is_internal;
            plugs.push(Plug { bridge: place.bridge, address: *address, prefix: place.prefix });
        }
        (plugs, leads_out)
    }

    /// The lines of `/etc/hosts`: everybody who is in one of the same networks, and the container itself.
    pub(super) fn hosts(&self, container: &str, hostname: &str, attachments: &[Attachment]) -> Vec<(IpAddr, String)> {
        let mut lines: Vec<(IpAddr, String)> = Vec::new();
        for attachment in attachments {
            let Some(place) = self.places.get(&attachment.network) else { continue };
            for (member, (address, names)) in &place.members {
                let own = (member == container).then(|| hostname.to_owned());
                for name in own.into_iter().chain([member.clone()]).chain(names.iter().cloned()) {
                    let line = (IpAddr::from(*address), name);
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
            }
        }
        lines
    }

    /// Whose addresses nobody needs any more.
    pub(super) fn leave(&mut self, container: &str) {
        self.places.values_mut().for_each(|place| drop(place.members.remove(container)));
    }
}

impl Place {
    fn is_free(&self, address: Ipv4Addr) -> bool {
        !self.members.values().any(|(taken, _)| *taken == address)
    }

    /// An address in the network, but neither the first two nor the last: those are the network, a router, everybody.
    fn free(&self) -> Option<Ipv4Addr> {
        let n_hosts = 1_u32.checked_shl(u32::from(32 - self.prefix)).unwrap_or(u32::MAX);
        let base = u32::from(self.base);
        (2..n_hosts.saturating_sub(1)).map(|host| Ipv4Addr::from(base + host)).find(|address| self.is_free(*address))
    }

    fn check(&self, address: Ipv4Addr, network: &str) -> Result<Ipv4Addr, AddressError> {
        let mask = u32::MAX.checked_shl(u32::from(32 - self.prefix)).unwrap_or(0);
        let is_inside = u32::from(address) & mask == u32::from(self.base) & mask;
        match is_inside && self.is_free(address) {
            true => Ok(address),
            false => Err(AddressError::Refused { network: network.to_owned(), address }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(network: &str, name: &str, address: Option<[u8; 4]>) -> Attachment {
        Attachment { network: network.to_owned(), names: vec![name.to_owned()], address: address.map(Ipv4Addr::from) }
    }

    #[test]
    fn containers_know_those_who_share_a_network() {
        let mut book = AddressBook::default();
        let inner = PlannedNetwork { subnet: Some((Ipv4Addr::new(10, 1, 2, 0), 24)), is_internal: true };
        let networks = [("back".to_owned(), inner), ("front".to_owned(), PlannedNetwork::default())];
        assert_eq!(book.add(&networks.clone().into()), Ok(vec![0, 1]));
        assert_eq!(book.add(&networks.into()), Ok(vec![]));
        let (web, db) = (
            [attachment("front", "web", None), attachment("back", "web", None)],
            [attachment("back", "db", Some([10, 1, 2, 9]))],
        );
        book.join("p-db-1", &db).unwrap();
        book.join("p-web-1", &web).unwrap();
        book.join("p-web-1", &web).unwrap();
        let (plugs, leads_out) = book.plugs("p-web-1", &web);
        let places: Vec<String> = plugs.iter().map(|plug| format!("{} {}", plug.bridge, plug.address)).collect();
        assert_eq!((places, leads_out), (vec!["1 172.19.0.2".to_owned(), "0 10.1.2.2".to_owned()], true));
        assert!(!book.plugs("p-db-1", &db).1);
        let text = |lines: Vec<(IpAddr, String)>| {
            lines.iter().map(|(address, name)| format!("{address} {name}")).collect::<Vec<_>>()
        };
        assert_eq!(
            text(book.hosts("p-db-1", "box", &db)),
            ["10.1.2.9 box", "10.1.2.9 p-db-1", "10.1.2.9 db", "10.1.2.2 p-web-1", "10.1.2.2 web"]
        );
        let refused = book.join("x", &[attachment("back", "x", Some([10, 1, 2, 9]))]);
        assert!(matches!(refused, Err(AddressError::Refused { .. })));
        book.leave("p-db-1");
        book.join("x", &[attachment("back", "x", Some([10, 1, 2, 9]))]).unwrap();
    }
}
