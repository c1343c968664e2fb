//! Whom the shell knows, and calls that an operator asks for.

use std::collections::{HashMap, HashSet};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::sync::oneshot;

use super::Node;
use crate::{
    dial::Static,
    handle::PeerInfo,
    known::{ConnectError, Connectedness, KnownPeer, MAX_ASKED_CALLS, Origin},
    relay::Membership,
};

/// Calls that an operator asked for and that are under way; [`MAX_ASKED_CALLS`] at most.
pub(super) type AskedCalls = HashMap<ConnectionId, oneshot::Sender<Result<(), ConnectError>>>;

impl Node {
    /// Those who are connected, then those who are not: static peers and what the address book holds.
    pub(super) fn known_peers(&self) -> Vec<KnownPeer> {
        let mut members = self.relay.members(&self.swarm.behaviour().gossip);
        let mut known: Vec<KnownPeer> =
            self.told_peers().into_iter().map(|info| self.connected_peer(info, &mut members)).collect();
        let connected: HashSet<PeerId> = known.iter().map(|peer| peer.peer).collect();
        let statics = self.statics.iter().filter_map(Static::named).map(|(peer, addrs)| unmet(peer, addrs));
        known.extend(statics.filter(|peer| !connected.contains(&peer.peer)));
        let named: HashSet<PeerId> = known.iter().map(|peer| peer.peer).collect();
        known.extend(self.seeker.known().filter(|peer| !named.contains(&peer.peer)));
        known
    }

    fn connected_peer(&self, info: PeerInfo, members: &mut HashMap<PeerId, Membership>) -> KnownPeer {
        let Membership { relays, meshes } = members.remove(&info.peer).unwrap_or_default();
        let is_static = self.statics.iter().any(|known| known.is(&info.peer));
        let origin = self.seeker.origin(&info.peer).unwrap_or(Origin::Unknown);
        KnownPeer {
            peer: info.peer,
            addrs: vec![info.addr],
            agent: info.agent.unwrap_or_default(),
            protocols: info.protocols,
            shards: info.shards,
            connectedness: Connectedness::Connected,
            origin: if is_static { Origin::Static } else { origin },
            score: info.score,
            relays,
            meshes,
        }
    }

    /// Calls a peer, and answers when it is connected or not reached.
    pub(super) fn call(&mut self, addr: Multiaddr, done: oneshot::Sender<Result<(), ConnectError>>) {
        // A caller that stopped waiting needs no answer, here as below.
        let Some(Protocol::P2p(peer)) = addr.iter().last() else {
            let _ = done.send(Err(ConnectError::NoPeerId));
            return;
        };
        if self.swarm.is_connected(&peer) {
            let _ = done.send(Ok(()));
            return;
        }
        if self.asked_calls.len() >= MAX_ASKED_CALLS {
            let _ = done.send(Err(ConnectError::TooMany));
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(vec![addr])
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.asked_calls.insert(connection, done);
            }
            Err(error) => {
                let _ = done.send(Err(ConnectError::Failed(error.to_string())));
            }
        }
    }

    /// A call of ours has ended, perhaps one that an operator asked for.
    pub(super) fn call_ended(&mut self, connection: ConnectionId, failure: Option<&DialError>) {
        if let Some(done) = self.asked_calls.remove(&connection) {
            let _ = done.send(failure.map_or(Ok(()), |error| Err(ConnectError::Failed(error.to_string()))));
        }
    }
}

/// A static peer that is not connected.
fn unmet(peer: PeerId, addrs: Vec<Multiaddr>) -> KnownPeer {
    KnownPeer {
        peer,
        addrs,
        agent: String::new(),
        protocols: Vec::new(),
        shards: Vec::new(),
        connectedness: Connectedness::NotConnected,
        origin: Origin::Static,
        score: None,
        relays: Vec::new(),
        meshes: Vec::new(),
    }
}
