//! Networks by name, as data: what an operator would otherwise have to set flag by flag.

use std::time::Duration;

use crate::shard::ClusterId;

/// How far a message's time may be from ours on networks with rate-limit proofs.  Spec: 64/WAKU2-NETWORK, "max_epoch_gap".
pub const TIMESTAMP_WINDOW: Duration = Duration::from_secs(20);

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// As flags call it.
    pub name: &'static str,
    /// Its cluster.
    pub cluster: ClusterId,
    /// How many shards content topics are spread over; 0 where sharding is static.
    pub shards_in_network: u16,
    /// The shards that a node relays unless told otherwise.
    pub shards: &'static [u16],
    /// The shards that a bridge joins with unless told otherwise, the first for what comes from waku/0; none where that follows
    /// from autosharding.
    pub bridged: &'static [u16],
    /// See [`crate::validate::Policy::timestamp_window`].
    pub timestamp_window: Option<Duration>,
    /// Do its members ask for rate-limit proofs? They are neither made nor verified here yet, so what we publish is rejected there.
    pub asks_for_proofs: bool,
}

impl Preset {
    /// The Waku Network.  Spec: 64/WAKU2-NETWORK.
    pub const TWN: Self = Self {
        name: "twn",
        cluster: ClusterId(1),
        shards_in_network: 8,
        shards: &[0, 1, 2, 3, 4, 5, 6, 7],
        bridged: &[],
        timestamp_window: Some(TIMESTAMP_WINDOW),
        asks_for_proofs: true,
    };

    /// The network of Status: communities on shard 32, personal traffic on 64.  Deployed: status-go.
    pub const STATUS: Self = Self {
        name: "status",
        cluster: ClusterId(16),
        shards_in_network: 0,
        shards: &[32, 64],
        bridged: &[64, 32],
        timestamp_window: None,
        asks_for_proofs: false,
    };

    /// All of them.
    pub const ALL: [Self; 2] = [Self::TWN, Self::STATUS];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waku_network_is_as_its_specification_says() {
        let twn = Preset::named("twn").unwrap();
        assert_eq!((twn.cluster, twn.shards_in_network, twn.shards), (ClusterId(1), 8, &[0, 1, 2, 3, 4, 5, 6, 7][..]));
        assert_eq!((twn.timestamp_window, twn.asks_for_proofs), (Some(Duration::from_secs(20)), true));
    }

    #[test]
    fn status_is_as_deployed() {
        let status = Preset::named("status").unwrap();
        assert_eq!((status.cluster, status.shards_in_network, status.shards), (ClusterId(16), 0, &[32, 64][..]));
        assert_eq!((status.timestamp_window, status.asks_for_proofs), (None, false));
        assert_eq!(Preset::named("prod"), None);
    }
}
