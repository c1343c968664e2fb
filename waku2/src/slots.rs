//! How the connections are shared out: pure.
//!
//! `--relay-service-ratio` of `--max-connections`: the first part for peers that relay with us, the second for those that serve us or are served.
//! Of the first, a third is for calls of our own, so that callers alone do not choose who our mesh is; of those who called us and relay, what is
//! more than the rest is left. So is it deployed by nwaku (`connectToRelayPeers`, `pruneInRelayConns`), which leaves whom it meets first, or who
//! came last; here the last ones go, and before them those who relay none of our topics. Services are not kept to their part: what
//! `--max-connections` leaves is theirs.

use std::{cmp::Reverse, num::ParseIntError, str::FromStr, time::Instant};

use libp2p::PeerId;

use crate::handle::Direction;

/// Peers in a full mesh of one topic.  Spec: 29/WAKU2-CONFIG, `D_high`.
pub const FULL_MESH: u32 = 8;

/// Of a hundred connections, how many are for relay and how many for services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    relay: u32,
}

impl Default for Ratio {
    /// 60:40.  Deployed: nwaku.
    fn default() -> Self {
        Self { relay: 60 }
    }
}

/// Why a text is no ratio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatioError {
    /// Another form.
    #[error("give two shares with a colon between, as 60:40")]
    OtherForm,
    /// A share is no number.
    #[error("a share is a whole number: {0}")]
    Number(#[from] ParseIntError),
    /// They do not make a whole.
    #[error("{relay} and {service} are not 100 together")]
    Sum {
        /// The first.
        relay: u32,
        /// The second.
        service: u32,
    },
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let (relay, service) = text.split_once(':').ok_or(RatioError::OtherForm)?;
        let (relay, service): (u32, u32) = (relay.parse()?, service.parse()?);
        match relay.checked_add(service) {
            Some(100) => Ok(Self { relay }),
            _ => Err(RatioError::Sum { relay, service }),
        }
    }
}

/// Connections by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// For relay, whoever called.
    pub relay: u32,
    /// Of these, sought by our own calls.
    pub outbound: u32,
    /// For everything else.
    pub service: u32,
}

/// A connected peer that relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relaying {
    /// Who.
    pub peer: PeerId,
    /// Who called whom.
    pub direction: Direction,
    /// When it was met.
    pub since: Instant,
    /// Whether it relays a topic of ours.
    pub shares: bool,
    /// Whether the operator named it: then it stays, whoever called.
    pub named: bool,
}

/// Too few connections for relay: a full mesh would not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{relay} connections for relay are too few: a full mesh has {FULL_MESH}")]
pub struct TooFew {
    /// How many there would be.
    pub relay: u32,
}

impl Slots {
    /// Shares `connections` out.
    ///
    /// # Errors
    /// When a full mesh does not fit.  Deployed: nwaku does not start then.
    pub fn new(connections: u32, ratio: Ratio) -> Result<Self, TooFew> {
        // Rounded up, and at most `connections`, so that it has 32 bits.
        let relay = (u64::from(connections) * u64::from(ratio.relay)).div_ceil(100) as u32;
        if relay < FULL_MESH {
            return Err(TooFew { relay });
        }
        Ok(Self { relay, outbound: relay / 3, service: connections - relay })
    }

    /// Of those for relay, what callers may have.
    #[must_use]
    pub fn inbound(&self) -> u32 {
        self.relay - self.outbound
    }

    /// How many more calls to make, when these peers relay with us and so many calls are under way.
    #[must_use]
    pub fn calls_wanted(&self, relaying: &[Relaying], calling: usize) -> u32 {
        let outbound = relaying.iter().filter(|peer| peer.direction == Direction::Outbound).count();
        let room = self.relay.saturating_sub(number(relaying.len()));
        self.outbound.saturating_sub(number(outbound)).min(room).saturating_sub(number(calling))
    }

    /// Who is to be left, of these that relay with us.
    #[must_use]
    pub fn surplus(&self, relaying: &[Relaying]) -> Vec<PeerId> {
        let is_caller = |peer: &&Relaying| peer.direction == Direction::Inbound && !peer.named;
        let mut callers: Vec<&Relaying> = relaying.iter().filter(is_caller).collect();
        callers.sort_unstable_by_key(|caller| (Reverse(caller.shares), caller.since, caller.peer));
        callers.into_iter().skip(self.inbound() as usize).map(|caller| caller.peer).collect()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sixty_to_forty_of_fifty() {
        let ratio: Ratio = "60:40".parse().unwrap();
        assert_eq!(ratio, Ratio::default());
        assert_eq!(Slots::new(50, ratio), Ok(Slots { relay: 30, outbound: 10, service: 20 }));
        assert_eq!(Slots::new(12, ratio), Ok(Slots { relay: 8, outbound: 2, service: 4 }));
        assert_eq!(Slots::new(11, ratio), Err(TooFew { relay: 7 }));
        assert_eq!(Slots::new(50, "0:100".parse().unwrap()), Err(TooFew { relay: 0 }));
        assert_eq!(Slots::new(u32::MAX, "100:0".parse().unwrap()).unwrap().service, 0);
    }

    #[test]
    fn bad_ratios_have_their_errors() {
        for bad in ["", "60", "6040"] {
            assert_eq!(bad.parse::<Ratio>(), Err(RatioError::OtherForm));
        }
        for bad in [":", "60:", "60:4o", "-1:101", "0.6:0.4", "60:30:10"] {
            assert!(matches!(bad.parse::<Ratio>(), Err(RatioError::Number(_))), "{bad}");
        }
        assert_eq!("60:41".parse::<Ratio>(), Err(RatioError::Sum { relay: 60, service: 41 }));
        assert!(matches!("4294967295:101".parse::<Ratio>(), Err(RatioError::Sum { .. })));
    }

    /// The `n`th to come.
    fn relaying(n: usize, direction: Direction) -> Relaying {
        let since = devp2p::clock::now().instant + Duration::from_secs(n as u64);
        Relaying { peer: PeerId::random(), direction, since, shares: true, named: false }
    }

    fn mixed(inbound: usize, outbound: usize) -> Vec<Relaying> {
        let all = |count, direction| (0..count).map(move |n| relaying(n, direction));
        all(inbound, Direction::Inbound).chain(all(outbound, Direction::Outbound)).collect()
    }

    #[test]
    fn calls_until_a_third_is_ours() {
        let slots = Slots::new(50, Ratio::default()).unwrap();
        assert_eq!(slots.inbound(), 20);
        for (inbound, outbound, calling, wanted) in
            [(0, 0, 0, 10), (0, 7, 2, 1), (0, 12, 0, 0), (25, 3, 0, 2), (40, 0, 0, 0)]
        {
            let calls = slots.calls_wanted(&mixed(inbound, outbound), calling);
            assert_eq!(calls, wanted, "{inbound} and {outbound} are there");
        }
    }

    #[test]
    fn the_last_of_too_many_callers_go() {
        let slots = Slots::new(12, Ratio::default()).unwrap();
        let mut peers = mixed(6, 9);
        assert_eq!(slots.surplus(&peers), [], "whom we called is not counted");
        peers.extend([7, 6].map(|n| relaying(n, Direction::Inbound)));
        let [last, before] = [peers[15].peer, peers[16].peer];
        assert_eq!(slots.surplus(&peers), [before, last]);
        peers.reverse();
        assert_eq!(slots.surplus(&peers), [before, last], "in whatever order they are told");
        peers.reverse();
        peers[0].shares = false;
        assert_eq!(slots.surplus(&peers), [last, peers[0].peer], "of no use to us");
        peers[15].named = true;
        assert_eq!(slots.surplus(&peers), [peers[0].peer], "named by the operator");
    }

    proptest! {
        #[test]
        fn nothing_is_shared_out_twice(connections: u32, relay in 0..=100_u32) {
            let ratio = format!("{relay}:{}", 100 - relay).parse().unwrap();
            if let Ok(slots) = Slots::new(connections, ratio) {
                prop_assert_eq!(slots.relay + slots.service, connections);
                prop_assert!(slots.outbound <= slots.relay / 3);
            }
        }

        #[test]
        fn whoever_is_left_had_called_and_none_is_left_for_less(callers in 0..80_usize, called in 0..40_usize, named in 0..9_usize) {
            let slots = Slots::new(50, Ratio::default()).unwrap();
            let mut peers = mixed(callers, called);
            peers.iter_mut().take(named.min(callers)).for_each(|peer| peer.named = true);
            let left = slots.surplus(&peers);
            let unnamed = callers - named.min(callers);
            prop_assert_eq!(left.len(), unnamed.saturating_sub(slots.inbound() as usize));
            let may_go = |peer: &PeerId| peers[..callers].iter().any(|caller| caller.peer == *peer && !caller.named);
            prop_assert!(left.iter().all(may_go));
        }
    }
}
