//! A static peer: its address, its schedule, and the call that is under way.

use std::time::Instant;

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

use crate::{peers::PeerBook, redial::Redial};

/// A peer that the operator wants to be connected to.
#[derive(Debug)]
pub(crate) struct Static {
    addr: Multiaddr,
    /// Who must be there, where the address says so.
    named: Option<PeerId>,
    /// Who was there.
    found: Option<PeerId>,
    calling: Option<ConnectionId>,
    redial: Redial,
}

impl Static {
    /// A peer to call at once.
    pub(crate) fn new(addr: Multiaddr, now: Instant) -> Self {
        let named = addr.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        Self { addr, named, found: None, calling: None, redial: Redial::new(now) }
    }

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
        let options = self.options();
        self.calling = Some(options.connection_id());
        if let Err(error) = swarm.dial(options) {
            debug!(addr = %self.addr, %error, "not dialled");
            self.calling = None;
            self.redial.lost(now, rng);
        }
    }

    /// From a port of its own: from the listening port, calling again soon after a close would find the pair of ports still in
    /// the system's memory.
    fn options(&self) -> DialOpts {
        match self.named {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![self.addr.clone()])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(self.addr.clone()).allocate_new_port().build(),
        }
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
            warn!(addr = %self.addr, %error, "static peer not reached");
            self.calling = None;
            match error {
                DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => self.redial.mistaken(now, rng),
                _ => self.redial.lost(now, rng),
            }
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
