//! How many unasked packets an address may send (`discv4.md` leaves it open; reth allows 60 Pings a minute of an address).
//!
//! Where a node has proven its address, ten times as many: in a small network go-ethereum asks each node about once a second
//! for as long as it looks for peers, and several nodes may share an address.
//!
//! Counted in windows of a minute, for an address of IPv4 or a /64 of IPv6. Addresses beyond [`MAX_SOURCES`] in one
//! window share one allowance, so that a flood from forged addresses costs a bounded number of signature checks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);

/// Unasked packets of one address in a window. Source: reth.
pub(crate) const MAX_PER_SOURCE: u32 = 60;

/// The same for an address that some node has proven.
pub(crate) const MAX_PER_PROVEN_SOURCE: u32 = 600;

/// Addresses counted one by one in a window: about 0.5 MB.
pub(crate) const MAX_SOURCES: usize = 8192;

/// Unasked packets in a window of all addresses beyond [`MAX_SOURCES`] together: 10 a second.
pub(crate) const MAX_OF_OTHERS: u32 = 600;

/// Counts unasked packets.
#[derive(Debug)]
pub(crate) struct Rates {
    began: Instant,
    counts: HashMap<IpAddr, u32>,
    others: u32,
}

impl Rates {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, counts: HashMap::new(), others: 0 }
    }

    /// Counts a packet; false when it is one too many. `proven` says that some node has proven the address.
    pub(crate) fn admit(&mut self, now: Instant, ip: IpAddr, proven: bool) -> bool {
        if now >= self.began + WINDOW {
            *self = Self::new(now);
        }
        let most = if proven { MAX_PER_PROVEN_SOURCE } else { MAX_PER_SOURCE };
        let full = self.counts.len() >= MAX_SOURCES;
        let (count, most) = match self.counts.get_mut(&source(ip)) {
            Some(count) => (count, most),
            None if full => (&mut self.others, MAX_OF_OTHERS),
            None => (self.counts.entry(source(ip)).or_default(), most),
        };
        *count = count.saturating_add(1);
        *count <= most
    }
}

/// The /64 of an IPv6 address: one host has as many addresses as it likes in it.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn admitted(rates: &mut Rates, now: Instant, ip: impl Into<IpAddr> + Copy, packets: usize) -> usize {
        (0..packets).filter(|_| rates.admit(now, ip.into(), false)).count()
    }

    #[test]
    fn sixty_a_minute_of_an_address() {
        let now = clock::now().instant;
        let mut rates = Rates::new(now);
        assert_eq!(admitted(&mut rates, now, [8, 8, 8, 8], 100), 60);
        assert_eq!(admitted(&mut rates, now, [8, 8, 8, 9], 1), 1);
        assert_eq!(admitted(&mut rates, now + Duration::from_secs(59), [8, 8, 8, 8], 1), 0);
        let proven = (0..1000).filter(|_| rates.admit(now, [8, 8, 8, 10].into(), true)).count();
        assert_eq!(proven, MAX_PER_PROVEN_SOURCE as usize);
        assert_eq!(admitted(&mut rates, now + Duration::from_secs(60), [8, 8, 8, 8], 100), 60);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let now = clock::now().instant;
        let mut rates = Rates::new(now);
        let ips = (0..100_u16).map(|host| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]));
        assert_eq!(ips.filter(|ip| rates.admit(now, *ip, false)).count(), 60);
        assert!(rates.admit(now, IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]), false));
    }

    #[test]
    fn h44_forged_addresses_share_an_allowance() {
        let now = clock::now().instant;
        let mut rates = Rates::new(now);
        let forged = (0..65_000_u32).map(|ip| IpAddr::from((0x0800_0000 + ip).to_be_bytes()));
        let admitted = forged.filter(|ip| rates.admit(now, *ip, false)).count();
        assert_eq!(admitted, MAX_SOURCES + MAX_OF_OTHERS as usize);
        assert_eq!(rates.counts.len(), MAX_SOURCES);
        assert!(rates.admit(now, [8, 0, 0, 0].into(), false), "who was counted before the flood is not hurt by it");
    }
}
