//! Network devices of the calling thread's network: makes, connects and addresses them, by rtnetlink(7).
//!
//! A request is a header, a fixed part that depends on its kind, and attributes, some of which hold attributes
//! themselves. The kernel answers each with an errno, 0 for success.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::call::{CallError, Named};

/// An attribute of ports of a bridge (`linux/if_link.h`): an isolated port reaches those only that are not.
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// The attribute of a veth that describes its other end (`linux/veth.h`).
const VETH_INFO_PEER: u16 = 1;

const HEADER_BYTES: usize = 16;

/// A conversation with the kernel about the network that the thread was in when it began.
pub(crate) struct Links {
    socket: OwnedFd,
    /// For calls that want a socket of the network, whatever its kind.
    any: OwnedFd,
}

impl Links {
    pub(crate) fn open() -> Result<Self, CallError> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .named(|| "socket(AF_NETLINK)".to_owned())?;
        let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .named(|| "socket(AF_INET)".to_owned())?;
        Ok(Self { socket, any })
    }

    /// Makes a bridge, and switches it on.
    pub(crate) fn add_bridge(&self, name: &str) -> Result<(), CallError> {
        let mut request = Request::of_link(CREATE, 0, IS_UP);
        request.text(libc::IFLA_IFNAME, name);
        request.nested(libc::IFLA_LINKINFO, |info| info.text(libc::IFLA_INFO_KIND, "bridge"));
        self.carry_out(request, || format!("add(bridge {name})"))
    }

    /// Makes a cable from a device here to one in the network `other`.
    pub(crate) fn add_cable(&self, name: &str, other: BorrowedFd<'_>, name_there: &str) -> Result<(), CallError> {
        let mut request = Request::of_link(CREATE, 0, 0);
        request.text(libc::IFLA_IFNAME, name);
        request.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.link(0, 0);
                    peer.text(libc::IFLA_IFNAME, name_there);
                    peer.number(libc::IFLA_NET_NS_FD, other.as_raw_fd().cast_unsigned());
                });
            });
        });
        self.carry_out(request, || format!("add(veth {name})"))
    }

    /// Makes a device a port of a bridge, and switches it on. An isolated port reaches only ports that are not.
    pub(crate) fn put_into_bridge(&self, name: &str, bridge: &str, is_isolated: bool) -> Result<(), CallError> {
        let (index, bridge_index) = (self.index(name)?, self.index(bridge)?);
        let mut request = Request::of_link(0, index, IS_UP);
        request.number(libc::IFLA_MASTER, bridge_index);
        self.carry_out(request, || format!("set({name} master {bridge})"))?;
        if !is_isolated {
            return Ok(());
        }
        let mut request = Request::of_link(0, index, 0);
        request.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_SLAVE_KIND, "bridge");
            info.nested(libc::IFLA_INFO_SLAVE_DATA, |data| data.bytes(IFLA_BRPORT_ISOLATED, &[1]));
        });
        self.carry_out(request, || format!("set({name} isolated)"))
    }

    /// Gives a device an address in a network whose first `prefix` bits are the same for all, and switches it on.
    pub(crate) fn set_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<(), CallError> {
        let index = self.index(name)?;
        let mut request = Request::new(libc::RTM_NEWADDR, CREATE);
        // ifaddrmsg: family, length of the prefix, flags, scope (everywhere), device.
        request.raw(&[AddressFamily::INET.as_raw() as u8, prefix, 0, 0]);
        request.raw(&index.to_ne_bytes());
        request.bytes(libc::IFA_LOCAL, &address.octets());
        request.bytes(libc::IFA_ADDRESS, &address.octets());
        self.carry_out(request, || format!("add(address {address} of {name})"))?;
        self.carry_out(Request::of_link(0, index, IS_UP), || format!("set({name} up)"))
    }

    /// Sends everything that has no other way to `router`.
    pub(crate) fn set_default_route(&self, router: Ipv4Addr) -> Result<(), CallError> {
        let mut request = Request::new(libc::RTM_NEWROUTE, CREATE);
        // rtmsg: family, lengths of both prefixes, type of service, then table, origin, scope and kind.
        request.raw(&[AddressFamily::INET.as_raw() as u8, 0, 0, 0]);
        request.raw(&[libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST]);
        request.raw(&0_u32.to_ne_bytes());
        request.bytes(libc::RTA_GATEWAY, &router.octets());
        self.carry_out(request, || format!("add(route by {router})"))
    }

    fn index(&self, name: &str) -> Result<u32, CallError> {
        name_to_index(&self.any, name).named(|| format!("ioctl(SIOCGIFINDEX, {name})"))
    }

    fn carry_out(&self, request: Request, call: impl FnOnce() -> String) -> Result<(), CallError> {
        self.ask(&request.finished()).named(|| format!("rtnetlink: {}", call()))
    }

    fn ask(&self, request: &[u8]) -> io::Result<()> {
        send(&self.socket, request, SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (_, length) = recv(&self.socket, &mut answer, RecvFlags::empty())?;
        // nlmsgerr: the errno, negative, behind the header.
        let errno = answer[..length.min(answer.len())].get(HEADER_BYTES..HEADER_BYTES + 4);
        let errno = errno.and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        match errno {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

const CREATE: libc::c_int = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const IS_UP: u32 = libc::IFF_UP.cast_unsigned();

/// A message in the making.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// `flags` in addition to those that every request has.
    fn new(kind: u16, flags: libc::c_int) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).expect("because flags have 16 bits");
        let mut request = Self { bytes: vec![0; HEADER_BYTES] };
        request.bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        request.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        request
    }

    /// About the device with this index, or a new one; `up` are the flags to set.
    fn of_link(flags: libc::c_int, index: u32, up: u32) -> Self {
        let mut request = Self::new(libc::RTM_NEWLINK, flags);
        request.link(index, up);
        request
    }

    /// ifinfomsg: family and kind (unspecified), device, flags, and which flags are meant.
    fn link(&mut self, index: u32, flags: u32) {
        self.raw(&[0; 4]);
        [index, flags, flags].into_iter().for_each(|number| self.raw(&number.to_ne_bytes()));
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.bytes(kind, &[text.as_bytes(), &[0]].concat());
    }

    fn number(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_ne_bytes());
    }

    fn bytes(&mut self, kind: u16, bytes: &[u8]) {
        self.nested(kind, |attribute| attribute.raw(bytes));
    }

    /// rtattr: length with this header, kind, content, filled up to four bytes.
    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        write(self);
        let length =
            u16::try_from(self.bytes.len() - start).expect("because no attribute here has more than 100 bytes");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finished(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("because no message here has more than 1000 bytes");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_filled_up_and_counted_without() {
        let mut request = Request::new(1, 0);
        request.nested(2, |inner| inner.bytes(3, &[9]));
        let bytes = request.finished();
        let attributes: Vec<u8> = [
            &12_u16.to_ne_bytes()[..],
            &2_u16.to_ne_bytes(),
            &5_u16.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            &[9, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[HEADER_BYTES..], attributes);
        assert_eq!(bytes[..4], 28_u32.to_ne_bytes());
    }
}
