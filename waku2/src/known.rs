//! The peers that a node knows, connected or not, as operators are told of them. The words are nwaku's.

use libp2p::{Multiaddr, PeerId};

use crate::topic::PubsubTopic;

/// Calls that an operator asked for and that are under way, at most; further ones are refused ([`ConnectError::TooMany`]).
pub const MAX_ASKED_CALLS: usize = 16;

/// Who named a peer first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Nobody: it called us, or an operator called it.
    Unknown,
    /// A lookup over UDP.
    Discv5,
    /// The configuration.
    Static,
    /// Another peer.
    PeerExchange,
    /// A list in DNS.
    Dns,
}

impl Origin {
    /// As nwaku calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UnknownOrigin",
            Self::Discv5 => "Discv5",
            Self::Static => "Static",
            Self::PeerExchange => "PeerExchange",
            Self::Dns => "Dns",
        }
    }
}

/// Is a peer connected, and if not, what came of it so far?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connectedness {
    /// It was not called yet.
    NotConnected,
    /// The last call led nowhere.
    CannotConnect,
    /// It was connected before.
    CanConnect,
    /// It is connected.
    Connected,
}

impl Connectedness {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NotConnected, Self::CannotConnect, Self::CanConnect, Self::Connected];

    /// As nwaku calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "NotConnected",
            Self::CannotConnect => "CannotConnect",
            Self::CanConnect => "CanConnect",
            Self::Connected => "Connected",
        }
    }
}

/// A peer that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownPeer {
    /// Its identity.
    pub peer: PeerId,
    /// Where it is, or may be; perhaps with `/p2p/ID`.
    pub addrs: Vec<Multiaddr>,
    /// What identify said of its program; empty until it did.
    pub agent: String,
    /// The protocols it says it serves; none until identify said.
    pub protocols: Vec<String>,
    /// The shards it says it relays, by metadata or by its record.
    pub shards: Vec<u16>,
    /// Is it connected?
    pub connectedness: Connectedness,
    /// Who named it.
    pub origin: Origin,
    /// What gossip thinks of it; `None` while that is not known.
    pub score: Option<f64>,
    /// Those of our topics that it relays, as it told gossip.
    pub relays: Vec<PubsubTopic>,
    /// Those in whose mesh of ours it is.
    pub meshes: Vec<PubsubTopic>,
}

/// Why a peer was not reached that an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address does not end in `/p2p/ID`.
    #[error("the address names no peer: it ends in /p2p/ID")]
    NoPeerId,
    /// [`MAX_ASKED_CALLS`] are under way.
    #[error("{MAX_ASKED_CALLS} calls are under way, which is the most")]
    TooMany,
    /// The call led nowhere.
    #[error("{0}")]
    Failed(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_nwaku() {
        let origins = [Origin::Unknown, Origin::Discv5, Origin::Static, Origin::PeerExchange, Origin::Dns];
        assert_eq!(origins.map(Origin::name), ["UnknownOrigin", "Discv5", "Static", "PeerExchange", "Dns"]);
        let states = Connectedness::ALL.map(Connectedness::name);
        assert_eq!(states, ["NotConnected", "CannotConnect", "CanConnect", "Connected"]);
    }
}
