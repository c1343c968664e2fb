//! How well each topic is joined to its mesh.  Deployed: nwaku's levels, and how often it looks.

use std::time::Duration;

use crate::topic::PubsubTopic;

/// How often it is looked at again. While a topic has no mesh: as often as there is time.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Mesh peers from which on a topic is well: gossip's D_low, below which it looks for more.
pub const SUFFICIENT_PEERS: usize = 4;

/// A topic and its mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicHealth {
    /// Which.
    pub topic: PubsubTopic,
    /// Peers with which full messages are exchanged.
    pub mesh_peers: usize,
}

/// How well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No mesh peer: nothing comes, nothing goes on.
    Unhealthy,
    /// One to three: a few that leave cut it off.
    Minimal,
    /// [`SUFFICIENT_PEERS`] or more.
    Sufficient,
}

impl Level {
    /// As nwaku calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unhealthy => "UnHealthy",
            Self::Minimal => "MinimallyHealthy",
            Self::Sufficient => "SufficientlyHealthy",
        }
    }
}

impl TopicHealth {
    /// How well the topic is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self.mesh_peers {
            0 => Level::Unhealthy,
            1..SUFFICIENT_PEERS => Level::Minimal,
            _ => Level::Sufficient,
        }
    }
}

/// Is it to be looked at again, so long after the last time? While a topic has no mesh it always is: who has just started and found
/// one must not pass for cut off.
pub(crate) fn is_due(last: &[TopicHealth], since: Duration) -> bool {
    since >= INTERVAL || last.iter().any(|topic| topic.level() == Level::Unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_mesh_it_is_looked_at_whenever_there_is_time() {
        let of = |mesh_peers| TopicHealth { topic: "/waku/2/rs/0/0".parse().unwrap(), mesh_peers };
        let soon = INTERVAL - Duration::from_millis(1);
        assert!(!is_due(&[of(1), of(4)], soon) && is_due(&[of(1), of(4)], INTERVAL));
        assert!(is_due(&[of(4), of(0)], Duration::ZERO));
        assert!(!is_due(&[], soon) && is_due(&[], INTERVAL));
    }

    #[test]
    fn levels_by_mesh_peers() {
        let level = |mesh_peers| TopicHealth { topic: "/waku/2/rs/0/0".parse().unwrap(), mesh_peers }.level();
        assert_eq!(level(0), Level::Unhealthy);
        assert_eq!([1, 2, 3].map(level), [Level::Minimal; 3]);
        assert_eq!([4, 8, usize::MAX].map(level), [Level::Sufficient; 3]);
        assert!(Level::Unhealthy < Level::Minimal && Level::Minimal < Level::Sufficient);
        assert_eq!(Level::Unhealthy.name(), "UnHealthy");
    }
}
