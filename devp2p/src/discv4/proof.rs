//! Endpoint proofs (`discv4.md`, "Endpoint Proof").
//!
//! A node has proven that it receives at its address when its Pong named our Ping. Only then are its questions answered, and
//! only such nodes are remembered here, so a forged address costs nothing. At most [`MAX_PROOFS`]; the oldest goes first.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::key::NodeId;

/// How long we take a Pong as proof. The specification says 12 h, but go-ethereum counts on 24 h (`bondExpiration`) and
/// would find us silent in between.
pub(crate) const ACCEPTED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long we count on another node to remember ours: the 12 h of the specification.
pub(crate) const COUNTED_ON_FOR: Duration = Duration::from_secs(12 * 60 * 60);

/// Nodes remembered: about 0.7 MB.
pub(crate) const MAX_PROOFS: usize = 4096;

type Place = (NodeId, IpAddr);

/// Who has proven its address, and to whom we have proven ours.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    entries: HashMap<Place, Proof>,
    /// Serial numbers in order of the last Pong.
    order: BTreeMap<u64, Place>,
    /// How many entries an address has.
    addresses: HashMap<IpAddr, u32>,
    next: u64,
}

#[derive(Debug)]
struct Proof {
    serial: u64,
    /// Their last Pong to a Ping of ours.
    pong: Instant,
    /// Their last Ping, which we answered.
    ping: Option<Instant>,
}

impl Proofs {
    /// Their Pong named our Ping.
    pub(crate) fn proven(&mut self, now: Instant, id: NodeId, ip: IpAddr) {
        let place = (id, ip);
        let old = self.remove(&place);
        if self.entries.len() >= MAX_PROOFS
            && let Some((_, oldest)) = self.order.first_key_value().map(|(serial, place)| (*serial, *place))
        {
            self.remove(&oldest);
        }
        let proof = Proof { serial: self.next, pong: now, ping: old.and_then(|old| old.ping) };
        self.next += 1;
        self.order.insert(proof.serial, place);
        self.entries.insert(place, proof);
        *self.addresses.entry(ip).or_default() += 1;
    }

    fn remove(&mut self, place: &Place) -> Option<Proof> {
        let proof = self.entries.remove(place)?;
        self.order.remove(&proof.serial);
        if let Some(count) = self.addresses.get_mut(&place.1) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&place.1);
            }
        }
        Some(proof)
    }

    /// Has some node proven this address? Perhaps long ago: this is for how much the address may send, no more.
    pub(crate) fn knows(&self, ip: IpAddr) -> bool {
        self.addresses.contains_key(&ip)
    }

    /// We answered their Ping, so they have a proof of us. Remembered of proven nodes alone.
    pub(crate) fn answered(&mut self, now: Instant, id: NodeId, ip: IpAddr) {
        if let Some(proof) = self.entries.get_mut(&(id, ip)) {
            proof.ping = Some(now);
        }
    }

    /// They do not answer questions any more: perhaps they forgot us.
    pub(crate) fn forgotten(&mut self, id: NodeId, ip: IpAddr) {
        if let Some(proof) = self.entries.get_mut(&(id, ip)) {
            proof.ping = None;
        }
    }

    /// May this node be answered?
    pub(crate) fn holds(&self, now: Instant, id: NodeId, ip: IpAddr) -> bool {
        self.entries.get(&(id, ip)).is_some_and(|proof| now < proof.pong + ACCEPTED_FOR)
    }

    /// Will this node answer us?
    pub(crate) fn held_of_us(&self, now: Instant, id: NodeId, ip: IpAddr) -> bool {
        let ping = self.entries.get(&(id, ip)).and_then(|proof| proof.ping);
        ping.is_some_and(|ping| now < ping + COUNTED_ON_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::key::NodeKey;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8));

    #[test]
    fn proofs_are_of_a_node_at_an_address_and_end() {
        let now = clock::now().instant;
        let [a, b] = [1, 2].map(|secret| NodeKey::from_bytes(&[secret; 32]).unwrap().public().id());
        let mut proofs = Proofs::default();
        proofs.answered(now, a, IP);
        assert!(!proofs.held_of_us(now, a, IP), "a Ping alone is no reason to remember anything");
        proofs.proven(now, a, IP);
        assert!(proofs.holds(now, a, IP) && !proofs.held_of_us(now, a, IP));
        assert!(!proofs.holds(now, b, IP) && !proofs.holds(now, a, [8, 8, 8, 9].into()));
        proofs.answered(now, a, IP);
        proofs.proven(now, a, IP);
        assert!(proofs.held_of_us(now, a, IP), "the Ping is still known after another Pong");
        assert!(!proofs.held_of_us(now + COUNTED_ON_FOR, a, IP));
        assert!(proofs.holds(now + COUNTED_ON_FOR, a, IP) && !proofs.holds(now + ACCEPTED_FOR, a, IP));
        proofs.forgotten(a, IP);
        assert!(!proofs.held_of_us(now, a, IP));
    }

    #[test]
    fn h44_proofs_are_bounded_and_the_oldest_goes() {
        let now = clock::now().instant;
        let id = NodeKey::from_bytes(&[1; 32]).unwrap().public().id();
        let ip = |number: u32| IpAddr::from((0x0800_0000 + number).to_be_bytes());
        let mut proofs = Proofs::default();
        for number in 0..MAX_PROOFS as u32 {
            proofs.proven(now, id, ip(number));
        }
        proofs.proven(now, id, ip(0));
        proofs.proven(now, id, ip(1 << 16));
        assert_eq!((proofs.entries.len(), proofs.order.len()), (MAX_PROOFS, MAX_PROOFS));
        assert!(proofs.holds(now, id, ip(0)), "renewed");
        assert!(!proofs.holds(now, id, ip(1)), "the oldest");
        assert!(proofs.knows(ip(0)) && !proofs.knows(ip(1)));
        assert_eq!(proofs.addresses.len(), MAX_PROOFS);
    }
}
