//! Peers that are never left for sending too much: by address, range of addresses, or identity.
//! Spec: 5/WAKU0, "Rate Limits": chosen addresses and peer ids may be exempt.

use std::{net::IpAddr, str::FromStr};

use devp2p::Enode;

use crate::peer::Remote;

/// One entry as an operator writes it: an IP address, a range such as `10.0.0.0/8`, an enode URL, or the 64 hex digits of
/// a node id. The address in an enode URL does not count, its key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exempt {
    /// Addresses that agree with this one in so many leading bits.
    Range(IpAddr, u8),
    /// A node id.
    Node([u8; 32]),
}

/// A text that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address, a range such as 10.0.0.0/8, an enode URL, nor a node id of 64 hex digits")]
pub struct ExemptError(String);

impl FromStr for Exempt {
    type Err = ExemptError;

    fn from_str(text: &str) -> Result<Self, ExemptError> {
        Self::read(text).ok_or_else(|| ExemptError(text.into()))
    }
}

impl From<&Enode> for Exempt {
    fn from(enode: &Enode) -> Self {
        Self::Node(*enode.key.id().as_bytes())
    }
}

impl Exempt {
    fn read(text: &str) -> Option<Self> {
        if text.starts_with("enode:") {
            return text.parse::<Enode>().ok().map(|enode| (&enode).into());
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let (ip, bits): (IpAddr, u8) = (ip.parse().ok()?, bits.parse().ok()?);
            return (bits <= width(ip)).then_some(Self::Range(ip, bits));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Range(ip.to_canonical(), width(ip.to_canonical())));
        }
        let mut id = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id).ok()?;
        Some(Self::Node(id))
    }

    fn covers(&self, remote: &Remote) -> bool {
        match self {
            Self::Range(ip, prefix) => agree(*ip, remote.ip, *prefix),
            Self::Node(id) => remote.node.as_bytes() == id,
        }
    }
}

/// Who is exempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whitelist(Vec<Exempt>);

impl Whitelist {
    /// Whether this peer is.
    #[must_use]
    pub fn covers(&self, remote: &Remote) -> bool {
        self.0.iter().any(|entry| entry.covers(remote))
    }
}

impl FromIterator<Exempt> for Whitelist {
    fn from_iter<I: IntoIterator<Item = Exempt>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Extend<Exempt> for Whitelist {
    fn extend<I: IntoIterator<Item = Exempt>>(&mut self, entries: I) {
        self.0.extend(entries);
    }
}

/// Bits of an address.
fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Whether two addresses of one family agree in their leading bits.
fn agree(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let (differing, width) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
        _ => return false,
    };
    differing.checked_shr(width - u32::from(prefix)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn remote(ip: &str) -> Remote {
        let key = NodeKey::generate(&mut StdRng::seed_from_u64(1)).public();
        Remote::new(ip.parse().unwrap(), key.id())
    }

    fn covers(entry: &str, ip: &str) -> bool {
        Whitelist::from_iter([entry.parse().unwrap()]).covers(&remote(ip))
    }

    #[test]
    fn addresses_and_ranges() {
        assert!(covers("10.1.2.3", "10.1.2.3") && !covers("10.1.2.3", "10.1.2.4"));
        assert!(covers("10.1.2.0/24", "10.1.2.255") && !covers("10.1.2.0/24", "10.1.3.0"));
        assert!(covers("0.0.0.0/0", "203.0.113.9") && !covers("0.0.0.0/0", "::1"));
        assert!(covers("2001:db8::/32", "2001:db8:1::1") && !covers("2001:db8::/32", "2001:db9::1"));
        assert!(covers("::/0", "2001:db8::1") && covers("::1", "::1"));
        // A connection over IPv6 from an IPv4 address is from that address.
        assert!(covers("10.1.2.3", "::ffff:10.1.2.3"));
    }

    #[test]
    fn identities() {
        let peer = remote("192.0.2.1");
        let key = NodeKey::generate(&mut StdRng::seed_from_u64(1)).public();
        for entry in [format!("enode://{key}@198.51.100.1:30303"), key.id().to_string(), format!("0x{}", key.id())] {
            assert!(Whitelist::from_iter([entry.parse().unwrap()]).covers(&peer), "{entry}");
        }
        assert!(!Whitelist::from_iter([Exempt::Node([7; 32])]).covers(&peer));
        assert!(!Whitelist::default().covers(&peer));
    }

    #[test]
    fn what_is_no_entry() {
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "enode://12@1.2.3.4:5", "abcd", "host.example"]
        {
            assert_eq!(bad.parse::<Exempt>(), Err(ExemptError(bad.into())));
        }
    }
}
