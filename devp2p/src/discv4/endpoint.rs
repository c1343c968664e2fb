//! Where a node is (`discv4.md`, "Node Identities" and "Wire Protocol").
//!
//! An [`Endpoint`] is what a packet says, which may be nothing useful; a [`Contact`] can be written to.

use std::net::{IpAddr, SocketAddr};

use alloy_rlp::Encodable;

use crate::enode::{Enode, Host};
use crate::key::{NodeId, PublicKey};
use crate::rlp::{Reader, RlpError, list};

/// `[ip, udp port, tcp port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Address; `None` for anything but 4 or 16 bytes, since go-ethereum sends an empty one before it knows its own.
    pub ip: Option<IpAddr>,
    /// Port of discovery.
    pub udp: u16,
    /// Port of RLPx; 0 for none.
    pub tcp: u16,
}

impl Endpoint {
    /// Reads the list; elements after the third are ignored (EIP-8).
    pub(crate) fn decode(mut fields: Reader<'_>) -> Result<Self, RlpError> {
        Self::decode_fields(&mut fields)
    }

    /// Reads the three fields and leaves the rest.
    pub(crate) fn decode_fields(fields: &mut Reader<'_>) -> Result<Self, RlpError> {
        Ok(Self { ip: address(fields.bytes()?), udp: port(fields)?, tcp: port(fields)? })
    }

    /// Appends the list.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        self.encode_fields(&mut fields);
        out.extend_from_slice(&list(&fields));
    }

    /// Appends the three fields.
    pub(crate) fn encode_fields(&self, out: &mut Vec<u8>) {
        match self.ip {
            Some(IpAddr::V4(ip)) => ip.octets().as_slice().encode(out),
            Some(IpAddr::V6(ip)) => ip.octets().as_slice().encode(out),
            None => [].as_slice().encode(out),
        }
        self.udp.encode(out);
        self.tcp.encode(out);
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_canonical())
}

fn port(fields: &mut Reader<'_>) -> Result<u16, RlpError> {
    u16::try_from(fields.u64()?).map_err(|_| RlpError::NumberTooLarge)
}

/// A node that can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Its key.
    pub key: PublicKey,
    /// Its id, which is the hash of the key.
    pub id: NodeId,
    /// Where it answers.
    pub addr: SocketAddr,
    /// Port of RLPx; 0 for none.
    pub tcp: u16,
}

impl Contact {
    /// The node with this key at this address; addresses of IPv4 inside IPv6 are taken out.
    #[must_use]
    pub fn new(key: PublicKey, addr: SocketAddr, tcp: u16) -> Self {
        Self { key, id: key.id(), addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()), tcp }
    }

    /// A node from its URL, if it takes part in discovery. A name is looked up by the caller, who says its address in `ip`.
    #[must_use]
    pub fn from_enode(enode: &Enode, ip: IpAddr) -> Option<Self> {
        (enode.udp != 0).then(|| Self::new(enode.key, SocketAddr::new(ip, enode.udp), enode.tcp))
    }

    /// The URL of the node.
    #[must_use]
    pub fn enode(&self) -> Enode {
        Enode { key: self.key, host: Host::Ip(self.addr.ip()), tcp: self.tcp, udp: self.addr.port() }
    }

    /// What packets say of it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { ip: Some(self.addr.ip()), udp: self.addr.port(), tcp: self.tcp }
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// No host's address: unspecified, multicast, broadcast, reserved.
    Nowhere,
    Loopback,
    Local,
    Global,
}

fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Scope::Local,
        // 0/8 is "this network" (RFC 791), 240/4 is reserved (RFC 1112) and holds the broadcast address.
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.octets()[0] >= 240 || ip.is_multicast() => Scope::Nowhere,
        IpAddr::V6(ip) if ip.is_loopback() => Scope::Loopback,
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Scope::Local,
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() => Scope::Nowhere,
        IpAddr::V4(_) | IpAddr::V6(_) => Scope::Global,
    }
}

/// True when a node at `from` may speak of a node at `ip`: a stranger must not send us, or others, to loopback and local
/// addresses. Source: go-ethereum, `netutil.CheckRelayIP`.
pub(crate) fn may_relay(from: IpAddr, ip: IpAddr) -> bool {
    match scope(ip) {
        Scope::Nowhere => false,
        Scope::Loopback => scope(from) == Scope::Loopback,
        Scope::Local => matches!(scope(from), Scope::Loopback | Scope::Local),
        Scope::Global => true,
    }
}

/// The network an address is counted with, where too many of one network would let its owner surround us: the /24 of IPv4
/// (go-ethereum, `bucketSubnet`), the /48 of IPv6, which is what one customer is given. Loopback and local addresses are
/// not counted.
pub(crate) fn subnet(ip: IpAddr) -> Option<[u8; 6]> {
    if scope(ip) != Scope::Global {
        return None;
    }
    let mut net = [0; 6];
    match ip {
        IpAddr::V4(ip) => net[3..].copy_from_slice(&ip.octets()[..3]),
        IpAddr::V6(ip) => net.copy_from_slice(&ip.octets()[..6]),
    }
    Some(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(from: &str, ip: &str) -> bool {
        may_relay(from.parse().unwrap(), ip.parse().unwrap())
    }

    #[test]
    fn h45_strangers_do_not_send_us_to_special_addresses() {
        let nowhere = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1"];
        for ip in nowhere {
            assert!(!relays("8.8.8.8", ip) && !relays("127.0.0.1", ip), "{ip}");
        }
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.254.0.1", "fd00::1", "fe80::1"] {
            assert!(!relays("8.8.8.8", ip), "{ip}");
            assert!(relays("127.0.0.1", ip), "{ip}");
        }
        assert!(relays("10.1.1.1", "192.168.1.1") && !relays("10.1.1.1", "127.0.0.1"));
        assert!(relays("8.8.8.8", "9.9.9.9") && relays("8.8.8.8", "2001:db8::1"));
    }

    #[test]
    fn networks_are_counted_apart() {
        let net = |ip: &str| subnet(ip.parse().unwrap());
        assert_eq!(net("8.8.8.8"), net("8.8.8.9"));
        assert_ne!(net("8.8.8.8"), net("8.8.9.8"));
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        assert_ne!(net("2001:db8:1::1"), net("2001:db8:2::1"));
        assert_eq!((net("127.0.0.1"), net("10.0.0.1")), (None, None));
    }

    #[test]
    fn contacts_are_urls() {
        let key = crate::key::NodeKey::from_bytes(&[1; 32]).unwrap().public();
        let url = format!("enode://{key}@9.9.9.9:30303?discport=30301");
        let enode: Enode = url.parse().unwrap();
        let contact = Contact::from_enode(&enode, "::ffff:9.9.9.9".parse().unwrap()).unwrap();
        assert_eq!(contact.enode().to_string(), url);
        assert_eq!(Contact::from_enode(&Enode { udp: 0, ..enode }, [9, 9, 9, 9].into()), None);
    }
}
