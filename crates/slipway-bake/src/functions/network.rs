//! Functions of network addresses.

use std::net::IpAddr;

use super::{Answer, Function, Problem, fixed, number, str_of, text, variadic, whole};
use crate::program::Program;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("cidrhost", &[text("prefix"), number("hostnum")], host),
    fixed("cidrnetmask", &[text("prefix")], |a, _| {
        let network = Network::parse(a)?;
        Ok(Value::string(network.address_text(network.mask(network.n_prefix))))
    }),
    fixed("cidrsubnet", &[text("prefix"), number("newbits"), number("netnum")], |a, _| {
        let network = Network::parse(a)?;
        let n_prefix = network.extended(whole(a, 1)?)?;
        let (n_new, wanted) = (n_prefix - network.n_prefix, whole(a, 2)?);
        let Some(index) = u128::try_from(wanted).ok().filter(|index| n_new >= 128 || index >> n_new == 0) else {
            return Err(format!("prefix extension of {n_new} does not accommodate a subnet numbered {wanted}").into());
        };
        Ok(Value::string(network.subnet(index << (network.n_bits - n_prefix), n_prefix)))
    }),
    variadic("cidrsubnets", &[text("prefix")], number("newbits"), subnets),
];

struct Network {
    /// With all bits behind the prefix zero.
    address: u128,
    n_prefix: u32,
    /// 32 or 128.
    n_bits: u32,
}

impl Network {
    fn parse(a: &[Value]) -> Result<Network, Problem> {
        let text = str_of(&a[0]);
        let parsed = text.split_once('/').and_then(|(address, n_prefix)| {
            let (address, n_bits) = match address.parse().ok()? {
                IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
                IpAddr::V6(address) => (address.to_bits(), 128),
            };
            let n_prefix = n_prefix.parse().ok().filter(|n_prefix| *n_prefix <= n_bits)?;
            Some(Network { address, n_prefix, n_bits })
        });
        let network =
            parsed.ok_or_else(|| Problem::Call(format!("invalid CIDR expression: invalid CIDR address: {text}")))?;
        Ok(Network { address: network.address & network.mask(network.n_prefix), ..network })
    }

    fn mask(&self, n_prefix: u32) -> u128 {
        let all = if self.n_bits == 32 { u128::from(u32::MAX) } else { u128::MAX };
        all & !self.host_bits(n_prefix)
    }

    fn host_bits(&self, n_prefix: u32) -> u128 {
        match self.n_bits - n_prefix {
            128 => u128::MAX,
            n_host => (1 << n_host) - 1,
        }
    }

    fn extended(&self, n_new: i64) -> Result<u32, Problem> {
        let n_prefix = u32::try_from(n_new).ok().and_then(|n_new| n_new.checked_add(self.n_prefix));
        let problem =
            || Problem::Call(format!("insufficient address space to extend prefix of {} by {n_new}", self.n_prefix));
        n_prefix.filter(|n_prefix| *n_prefix <= self.n_bits).ok_or_else(problem)
    }

    /// The prefix of one subnet of several, which has at least one bit and at most 32 bits more.
    fn subnet_prefix(&self, n_new: i64) -> Result<u32, String> {
        if n_new < 1 {
            return Err("must extend prefix by at least one bit".to_owned());
        }
        if n_new > 32 {
            return Err("may not extend prefix by more than 32 bits".to_owned());
        }
        let n_prefix = self.n_prefix + n_new as u32;
        if n_prefix > self.n_bits {
            let version = if self.n_bits == 32 { 4 } else { 6 };
            return Err(format!(
                "would extend prefix to {n_prefix} bits, which is too long for an IPv{version} address"
            ));
        }
        Ok(n_prefix)
    }

    fn address_text(&self, address: u128) -> String {
        match self.n_bits {
            32 => std::net::Ipv4Addr::from_bits(address as u32).to_string(),
            _ => std::net::Ipv6Addr::from_bits(address).to_string(),
        }
    }

    fn subnet(&self, offset: u128, n_prefix: u32) -> String {
        format!("{}/{n_prefix}", self.address_text(self.address | offset))
    }
}

/// A negative number counts from the end of the network.
fn host(a: &[Value], _: &Program<'_>) -> Answer {
    let (network, wanted) = (Network::parse(a)?, whole(a, 1)?);
    let host_bits = network.host_bits(network.n_prefix);
    let (distance, offset) = match wanted < 0 {
        true => (u128::from(wanted.unsigned_abs()) - 1, host_bits.wrapping_sub(u128::from(wanted.unsigned_abs()) - 1)),
        false => (wanted as u128, wanted as u128),
    };
    if distance > host_bits {
        return Err(format!("prefix of {} does not accommodate a host numbered {wanted}", network.n_prefix).into());
    }
    Ok(Value::string(network.address_text(network.address | offset)))
}

/// One network after the other, each at the next place where it fits.
fn subnets(a: &[Value], _: &Program<'_>) -> Answer {
    let network = Network::parse(a)?;
    let mut next = 0u128;
    let mut networks = Vec::new();
    for index in 1..a.len() {
        let n_prefix = whole(a, index).and_then(|n_new| network.subnet_prefix(n_new));
        let n_prefix = n_prefix.map_err(|problem| Problem::Argument(index, problem))?;
        let host_bits = network.host_bits(n_prefix);
        let start = next.checked_add(host_bits).map(|end| end & !host_bits);
        let fits = |start: &u128| *start <= network.host_bits(network.n_prefix);
        let start = start.filter(fits).ok_or_else(|| {
            Problem::Argument(
                index,
                format!("not enough remaining address space for a subnet with a prefix of {n_prefix} bits"),
            )
        })?;
        networks.push(network.subnet(start, n_prefix));
        next = start.saturating_add(host_bits).saturating_add(1);
    }
    Ok(Value::strings(networks))
}
