//! Which inbound connections are taken, judged by where they come from: core.
//!
//! Nobody has proven a key yet, so an address is all there is. One address comes again only after a while, and has, as
//! its subnet has, a bounded number of connections: the slots of a node cannot be taken from one corner of the network.
//! Loopback and private ranges are a machine's or an operator's own; one address there may stand for many nodes (a
//! container's gateway, a proxy), so none of this holds for them. Nor does it for the addresses of static and trusted nodes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::clock::Now;

/// Addresses whose last connection is remembered; beyond it the oldest is forgotten, and may come again early. Filling this
/// takes as many addresses as are remembered in one throttle of time, at about 100 bytes each.
pub const MAX_THROTTLED: usize = 8192;

/// Bounds by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundLimits {
    /// Least time between two connections from one address; zero for none.
    pub throttle: Duration,
    /// Most connections from one address at once.
    pub max_per_address: usize,
    /// Most connections from one subnet at once: /24 of IPv4, /64 of IPv6.
    pub max_per_subnet: usize,
    /// None of this holds for loopback and private ranges.
    pub exempt_local: bool,
}

impl Default for InboundLimits {
    fn default() -> Self {
        Self {
            // go-ethereum, `inboundThrottleTime`.
            throttle: Duration::from_secs(30),
            // Several clients behind one router.
            max_per_address: 8,
            // A third of the slots by default. go-ethereum bounds subnets only in its discovery table.
            max_per_subnet: 16,
            exempt_local: true,
        }
    }
}

/// Why a connection is closed before a byte is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address was here a moment ago.
    #[error("the address comes again too soon")]
    TooSoon,
    /// [`InboundLimits::max_per_address`].
    #[error("too many connections from the address")]
    Address,
    /// [`InboundLimits::max_per_subnet`].
    #[error("too many connections from the subnet")]
    Subnet,
}

/// What is connected from where.
#[derive(Debug)]
pub struct Inbound {
    limits: InboundLimits,
    /// Addresses that nothing here holds for.
    exempt: HashSet<IpAddr>,
    addresses: HashMap<IpAddr, usize>,
    subnets: HashMap<Subnet, usize>,
    throttled: HashSet<IpAddr>,
    /// In order of time.
    until: VecDeque<(Instant, IpAddr)>,
}

impl Inbound {
    /// Nothing is connected.
    #[must_use]
    pub fn new(limits: InboundLimits, exempt: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            limits,
            exempt: exempt.into_iter().map(|ip| ip.to_canonical()).collect(),
            addresses: HashMap::new(),
            subnets: HashMap::new(),
            throttled: HashSet::new(),
            until: VecDeque::new(),
        }
    }

    /// Takes a connection; [`Inbound::closed`] gives its place back. An attempt that is refused changes nothing.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn accept(&mut self, now: Now, ip: IpAddr) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if self.is_exempt(ip) {
            return Ok(());
        }
        self.forget(now);
        if self.throttled.contains(&ip) {
            return Err(Refusal::TooSoon);
        }
        let subnet = Subnet::of(ip);
        if self.addresses.get(&ip).is_some_and(|count| *count >= self.limits.max_per_address) {
            return Err(Refusal::Address);
        }
        if self.subnets.get(&subnet).is_some_and(|count| *count >= self.limits.max_per_subnet) {
            return Err(Refusal::Subnet);
        }
        *self.addresses.entry(ip).or_default() += 1;
        *self.subnets.entry(subnet).or_default() += 1;
        self.remember(now, ip);
        Ok(())
    }

    /// A connection that was taken is over.
    pub fn closed(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if !self.is_exempt(ip) {
            decrement(&mut self.addresses, ip);
            decrement(&mut self.subnets, Subnet::of(ip));
        }
    }

    fn is_exempt(&self, ip: IpAddr) -> bool {
        self.limits.exempt_local && is_local(ip) || self.exempt.contains(&ip)
    }

    fn remember(&mut self, now: Now, ip: IpAddr) {
        if self.limits.throttle.is_zero() {
            return;
        }
        if self.until.len() >= MAX_THROTTLED
            && let Some((_, oldest)) = self.until.pop_front()
        {
            self.throttled.remove(&oldest);
        }
        self.throttled.insert(ip);
        self.until.push_back((now.instant + self.limits.throttle, ip));
    }

    fn forget(&mut self, now: Now) {
        while let Some((until, ip)) = self.until.front()
            && *until <= now.instant
        {
            self.throttled.remove(ip);
            self.until.pop_front();
        }
    }
}

fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Loopback, private, link-local and unspecified addresses. Source: go-ethereum, `netutil.IsLAN`, and RFC 1918, 3927, 4193.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// The network an address is counted with: /24 of IPv4, /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet(IpAddr);

impl Subnet {
    /// The subnet of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)).into()),
            IpAddr::V6(ip) => Self(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn inbound(throttle_secs: u64) -> Inbound {
        let throttle = Duration::from_secs(throttle_secs);
        let limits = InboundLimits { throttle, max_per_address: 2, max_per_subnet: 3, ..InboundLimits::default() };
        Inbound::new(limits, [ip("8.8.8.8")])
    }

    #[test]
    fn h23_an_address_comes_again_after_the_throttle() {
        let (mut inbound, now) = (inbound(30), clock::now());
        let at = |millis| now.after(Duration::from_millis(millis));
        assert_eq!(inbound.accept(now, ip("1.2.3.4")), Ok(()));
        inbound.closed(ip("1.2.3.4"));
        for again in 1..3000 {
            assert_eq!(inbound.accept(at(again * 10), ip("1.2.3.4")), Err(Refusal::TooSoon), "{again}");
        }
        assert_eq!(inbound.accept(at(5), ip("1.2.3.5")), Ok(()), "others are not hurt");
        assert_eq!(inbound.accept(at(30_000), ip("1.2.3.4")), Ok(()), "and attempts do not lengthen it");
    }

    #[test]
    fn h23_loopback_private_and_trusted_addresses_are_never_throttled() {
        let (mut inbound, now) = (inbound(30), clock::now());
        let local = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"];
        for address in local.into_iter().chain(["::ffff:127.0.0.1", "8.8.8.8", "::ffff:8.8.8.8"]) {
            for _ in 0..100 {
                assert_eq!(inbound.accept(now, ip(address)), Ok(()), "{address}");
            }
        }
        assert!(inbound.addresses.is_empty() && inbound.throttled.is_empty());
        for address in ["172.32.0.1", "11.0.0.1", "2001:db8::1", "1.1.1.1"] {
            assert!(!is_local(ip(address)), "{address}");
        }
    }

    #[test]
    fn h24_connections_are_counted_by_address_and_subnet() {
        let (mut inbound, now) = (inbound(0), clock::now());
        assert_eq!(inbound.accept(now, ip("1.2.3.4")), Ok(()));
        assert_eq!(inbound.accept(now, ip("::ffff:1.2.3.4")), Ok(()), "the same address");
        assert_eq!(inbound.accept(now, ip("1.2.3.4")), Err(Refusal::Address));
        assert_eq!(inbound.accept(now, ip("1.2.3.5")), Ok(()));
        assert_eq!(inbound.accept(now, ip("1.2.3.6")), Err(Refusal::Subnet));
        assert_eq!(inbound.accept(now, ip("1.2.4.6")), Ok(()));
        inbound.closed(ip("1.2.3.4"));
        assert_eq!(inbound.accept(now, ip("1.2.3.6")), Ok(()));
        for host in 1..4 {
            assert_eq!(inbound.accept(now, ip(&format!("2001:db8::{host}"))), Ok(()));
        }
        assert_eq!(inbound.accept(now, ip("2001:db8::ffff:1:2:3")), Err(Refusal::Subnet), "one /64");
        assert_eq!(inbound.accept(now, ip("2001:db8:0:1::1")), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (mut inbound, now) = (inbound(30), clock::now());
        for host in 0..2 * MAX_THROTTLED as u32 {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(0x5000_0000 + (host << 8)));
            assert_eq!(inbound.accept(now, ip), Ok(()));
            inbound.closed(ip);
        }
        assert_eq!((inbound.throttled.len(), inbound.until.len()), (MAX_THROTTLED, MAX_THROTTLED));
        assert!(inbound.addresses.is_empty() && inbound.subnets.is_empty());
        inbound.forget(now.after(Duration::from_secs(30)));
        assert!(inbound.throttled.is_empty() && inbound.until.is_empty());
    }

    proptest! {
        #[test]
        fn every_place_is_given_back(hosts in prop::collection::vec(0_u32..1024, 0..60)) {
            let (mut inbound, now) = (inbound(0), clock::now());
            let ips = hosts.into_iter().map(|host| IpAddr::V4(Ipv4Addr::from_bits(0x5000_0000 + host)));
            let taken: Vec<_> = ips.filter(|ip| inbound.accept(now, *ip).is_ok()).collect();
            prop_assert!(inbound.subnets.values().all(|count| *count <= 3));
            taken.into_iter().for_each(|ip| inbound.closed(ip));
            prop_assert!(inbound.addresses.is_empty() && inbound.subnets.is_empty());
        }
    }
}
