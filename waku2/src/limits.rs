//! How many connections there may be, as data.

use std::time::Duration;

use libp2p::connection_limits::ConnectionLimits;

/// Established connections in all.  Deployed: nwaku's `--max-connections`.
pub const MAX_CONNECTIONS: u32 = 50;

/// Peers behind one address that may have called us.  Deployed: nwaku's `--ip-colocation-limit`.
pub const MAX_PER_ADDRESS: u32 = 5;

/// Fewest connections that make a node: a full mesh of one topic (29/WAKU2-CONFIG, `D_high`) and the third that is kept for our own
/// calls.
pub const MIN_CONNECTIONS: u32 = 12;

/// Bounds of the connections of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Established ones in all. A further one is closed at once.
    pub connections: u32,
    /// With one peer: two, for when both call each other at the same moment.
    pub per_peer: u32,
    /// Inbound ones from one address, or one /64 of IPv6. With a further one the oldest is closed; as many may be in their handshake. 0
    /// is no limit.
    pub per_address: u32,
    /// Whether loopback, private and link-local addresses count for `per_address`. Behind one of these can be a proxy, and behind it
    /// everybody.
    pub local_addresses_count: bool,
    /// Inbound ones still in their handshake. A further one is refused.
    pub pending_inbound: u32,
    /// Outbound ones still in their handshake: nwaku's parallel dials and some slack; static peers beyond it wait.
    pub pending_outbound: u32,
    /// How long TCP, TLS, WebSocket, Noise and the choice of a muxer may take together.  Deployed: nwaku's dial time limit, 10 s.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            per_peer: 2,
            per_address: MAX_PER_ADDRESS,
            local_addresses_count: false,
            pending_inbound: 32,
            pending_outbound: 16,
            handshake: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How many others may have opened: two thirds, as nwaku shares them out, so that callers cannot keep us from calling.
    #[must_use]
    pub const fn inbound(&self) -> u32 {
        // No overflow: a third of it is taken first.
        self.connections / 3 * 2 + self.connections % 3 * 2 / 3
    }

    /// Those that libp2p counts itself.
    pub(crate) fn counted(&self) -> ConnectionLimits {
        ConnectionLimits::default()
            .with_max_established(Some(self.connections))
            .with_max_established_incoming(Some(self.inbound()))
            .with_max_established_per_peer(Some(self.per_peer))
            .with_max_pending_incoming(Some(self.pending_inbound))
            .with_max_pending_outgoing(Some(self.pending_outbound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_may_have_called_us() {
        let inbound = |connections| Limits { connections, ..Limits::default() }.inbound();
        assert_eq!([50, 12, 3, 2, 1, 0].map(inbound), [33, 8, 2, 1, 0, 0]);
        assert_eq!(inbound(u32::MAX), u32::MAX / 3 * 2);
        assert_eq!(inbound(MIN_CONNECTIONS), 8, "a full mesh");
    }
}
