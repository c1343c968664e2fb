//! A static peer: its addresses, its schedule, and the call that is under way.
//!
//! Addresses that name the same peer are those of one static peer, and are called together: on schedules of their own, one that leads nowhere
//! would keep the others from being called for as long as a call may take. Whoever answers first ends a call, so that an address at which another
//! peer answered is left out for a while.

use std::{num::NonZeroU8, time::Instant};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError, NetworkBehaviour,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use rand::Rng;
use tracing::{debug, warn};

use crate::{
    peers::PeerBook,
    redial::{LONGEST_WAIT, Redial},
};

/// Addresses of one peer that are called at once: all that an operator names.
const AT_ONCE: NonZeroU8 = NonZeroU8::MAX;

/// A peer that the operator wants to be connected to.
#[derive(Debug)]
pub(crate) struct Static {
    /// One at least, and no more than one unless they name the peer.
    places: Vec<Place>,
    /// Who must be there, where the addresses say so.
    named: Option<PeerId>,
    /// Who was there.
    found: Option<PeerId>,
    calling: Option<ConnectionId>,
    redial: Redial,
}

/// Where a static peer is said to be.
#[derive(Debug)]
struct Place {
    addr: Multiaddr,
    /// Another peer answered there: not before then, unless there is no other place.
    avoided_until: Option<Instant>,
}

/// The static peers at these addresses, to be called at once.
pub(crate) fn statics(addrs: Vec<Multiaddr>, now: Instant) -> Vec<Static> {
    let mut statics: Vec<Static> = Vec::new();
    for addr in addrs {
        let named = addr.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let known = statics.iter_mut().find(|known| known.named.is_some() && known.named == named);
        let place = Place { addr, avoided_until: None };
        match known {
            Some(known) => known.places.push(place),
            None => statics.push(Static {
                places: vec![place],
                named,
                found: None,
                calling: None,
                redial: Redial::new(now),
            }),
        }
    }
    statics
}

impl Static {
    /// Calls, when it is time and the peer has not come by itself.
    pub(crate) fn call_if_due<B: NetworkBehaviour>(
        &mut self,
        swarm: &mut Swarm<B>,
        peers: &PeerBook,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        if !self.redial.take_due(now) {
            return;
        }
        if self.named.is_some_and(|peer| peers.contains(&peer)) {
            self.found = self.named;
            self.redial.connected(now);
            return;
        }
        let options = self.options(now);
        self.calling = Some(options.connection_id());
        if let Err(error) = swarm.dial(options) {
            debug!(peer = ?self.named, %error, "not dialled");
            self.calling = None;
            match error {
                // Who found it elsewhere calls it: that says nothing of these addresses.
                DialError::DialPeerConditionFalse(_) => self.redial.postponed(now),
                _ => self.redial.lost(now, rng),
            }
        }
    }

    /// All addresses at once, so that no other has to wait for one that leads nowhere; and from a port of its own: from the listening port,
    /// calling again soon after a close would find the pair of ports still in the system's memory.
    fn options(&self, now: Instant) -> DialOpts {
        let mut addrs = self.addrs(now);
        match self.named {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .override_dial_concurrency_factor(AT_ONCE)
                .addresses(addrs)
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(addrs.pop().unwrap_or_else(Multiaddr::empty))
                .allocate_new_port()
                .build(),
        }
    }

    /// Where it is to be called.
    fn addrs(&self, now: Instant) -> Vec<Multiaddr> {
        let places = |also_avoided: bool| {
            let wanted = self.places.iter().filter(move |place| also_avoided || !place.is_avoided(now));
            wanted.map(|place| place.addr.clone()).collect::<Vec<_>>()
        };
        Some(places(false)).filter(|addrs| !addrs.is_empty()).unwrap_or_else(|| places(true))
    }

    /// Who must be there and where, when the addresses say so.
    pub(crate) fn named(&self) -> Option<(PeerId, Vec<Multiaddr>)> {
        self.named.map(|peer| (peer, self.places.iter().map(|place| place.addr.clone()).collect()))
    }

    /// Is this the peer?
    pub(crate) fn is(&self, peer: &PeerId) -> bool {
        self.named.as_ref() == Some(peer) || self.found.as_ref() == Some(peer)
    }

    /// A connection was made, perhaps the one called for, perhaps by the peer itself.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        if self.calling == Some(connection) || self.named == Some(peer) {
            self.calling = None;
            self.found = Some(peer);
            self.redial.connected(now);
        }
    }

    /// A call failed.
    pub(crate) fn failed(&mut self, connection: ConnectionId, error: &DialError, now: Instant, rng: &mut impl Rng) {
        if self.calling == Some(connection) {
            warn!(peer = ?self.named, addr = ?self.places.first().map(|place| &place.addr), %error, "static peer not reached");
            self.calling = None;
            match error {
                DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } => {
                    self.mistaken(address, now, rng);
                }
                _ => self.redial.lost(now, rng),
            }
        }
    }

    /// Another peer answered, which says nothing of the addresses that did not answer as fast: those are called at once.
    fn mistaken(&mut self, addr: &Multiaddr, now: Instant, rng: &mut impl Rng) {
        let at = bare(addr);
        for place in self.places.iter_mut().filter(|place| bare(&place.addr) == at) {
            place.avoided_until = Some(now + LONGEST_WAIT);
        }
        if self.places.iter().all(|place| place.is_avoided(now)) {
            self.redial.mistaken(now, rng);
        } else {
            self.redial.postponed(now);
        }
    }

    /// A peer's last connection is gone.
    pub(crate) fn lost(&mut self, peer: &PeerId, now: Instant, rng: &mut impl Rng) {
        if self.found.as_ref() == Some(peer) {
            self.found = None;
            self.redial.lost(now, rng);
        }
    }
}

impl Place {
    fn is_avoided(&self, now: Instant) -> bool {
        self.avoided_until.is_some_and(|until| now < until)
    }
}

/// An address without whose it is.
fn bare(addr: &Multiaddr) -> Multiaddr {
    addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn of(peer: PeerId, text: &str) -> Multiaddr {
        addr(text).with(Protocol::P2p(peer))
    }

    #[test]
    fn addresses_of_one_peer_are_called_together() {
        let (now, [a, b]) = (devp2p::clock::now().instant, [PeerId::random(), PeerId::random()]);
        let [one, two] = ["/ip4/127.0.0.1/tcp/1", "/dns4/a.b/tcp/2/ws"];
        let statics = statics(vec![of(a, one), addr(one), of(b, one), of(a, two), addr(two)], now);
        let told: Vec<_> = statics.iter().map(|known| (known.named, known.addrs(now))).collect();
        let expected = [
            (Some(a), vec![of(a, one), of(a, two)]),
            (None, vec![addr(one)]),
            (Some(b), vec![of(b, one)]),
            (None, vec![addr(two)]),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_another_answered_is_left_out_while_there_are_others() {
        let (start, peer, mut rng) = (devp2p::clock::now().instant, PeerId::random(), StdRng::seed_from_u64(1));
        let addrs: Vec<_> = (1..4).map(|port| of(peer, &format!("/ip4/127.0.0.1/tcp/{port}"))).collect();
        let mut known = statics(addrs.clone(), start).pop().unwrap();
        for (n, addr) in addrs.iter().enumerate() {
            assert_eq!(known.addrs(start), addrs[n..]);
            assert!(known.redial.take_due(start), "at once, for the others have not answered");
            let connection = ConnectionId::new_unchecked(n);
            known.calling = Some(connection);
            let error = DialError::WrongPeerId { obtained: PeerId::random(), address: bare(addr) };
            known.failed(connection, &error, start, &mut rng);
        }
        assert!(!known.redial.take_due(start), "none is left");
        assert_eq!(known.addrs(start), addrs, "any may be right by then");
        known.places[1].avoided_until = None;
        assert_eq!(known.addrs(start), addrs[1..2]);
        assert_eq!(known.addrs(start + LONGEST_WAIT), addrs);
    }
}
