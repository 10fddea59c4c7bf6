//! Ports for servers that have to be told one.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below it are ports of services that people know.
const FIRST: u32 = 10_000;

/// A port that nobody has, and that the kernel gives to nobody who asks for any port: who takes it soon gets it.
pub(crate) fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let n_ports = range.split_whitespace().next().unwrap().parse::<u32>().unwrap() - FIRST;
    // Other processes that test begin elsewhere.
    let candidate =
        || FIRST + std::process::id().wrapping_mul(97).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % n_ports;
    let mut candidates = std::iter::repeat_with(|| u16::try_from(candidate()).unwrap());
    candidates.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).unwrap()
}
