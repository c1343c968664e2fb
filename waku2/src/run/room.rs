//! Who of the connected peers relays, and who of them makes room for others.

use std::collections::HashMap;

use libp2p::PeerId;

use super::Node;
use crate::{
    handle::{Direction, PeerInfo},
    slots::Relaying,
};

impl Node {
    /// The peers that relay: who is subscribed to something, or says so; and until it says anything, whom we called, for that is what we
    /// called it for.
    pub(super) fn relaying(&self) -> Vec<Relaying> {
        let gossip = &self.swarm.behaviour().gossip;
        let subscribed: HashMap<&PeerId, bool> = gossip
            .all_peers()
            .filter(|(_, topics)| !topics.is_empty())
            .map(|(peer, topics)| (peer, topics.iter().any(|topic| self.relay.topic(topic).is_some())))
            .collect();
        let relays = |info: &PeerInfo| {
            let says = info.says_it_relays().unwrap_or(info.direction == Direction::Outbound);
            says || subscribed.contains_key(&info.peer)
        };
        let relaying = |info: &PeerInfo| Relaying {
            peer: info.peer,
            direction: info.direction,
            since: info.since.instant,
            shares: subscribed.get(&info.peer).copied().unwrap_or_default(),
            named: self.statics.iter().any(|known| known.is(&info.peer)),
        };
        self.peers.iter().filter(|info| relays(info)).map(relaying).collect()
    }

    /// Leaves callers that take more of the connections than is for them.
    pub(super) fn make_room(&mut self, relaying: &[Relaying]) {
        for peer in self.seeker.surplus(relaying) {
            self.leave(&peer, &"no room for another that relays");
        }
    }
}
