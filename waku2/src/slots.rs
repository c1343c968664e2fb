//! How the connections are shared out: pure.
//!
//! `--relay-service-ratio` of `--max-connections`: the first part for peers that relay with us, the second for those that serve us or are served.
//! Of the first, a third is for calls of our own, so that callers alone do not choose who our mesh is. Deployed: nwaku.

use std::{num::ParseIntError, str::FromStr};

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

    /// How many more calls to make, when so many peers relay with us, so many of them because we called, and so many calls are under way.
    #[must_use]
    pub fn calls_wanted(&self, relay: u32, outbound: u32, calling: u32) -> u32 {
        let room = self.relay.saturating_sub(relay);
        self.outbound.saturating_sub(outbound).min(room).saturating_sub(calling)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn calls_until_a_third_is_ours() {
        let slots = Slots::new(50, Ratio::default()).unwrap();
        assert_eq!(slots.calls_wanted(0, 0, 0), 10);
        assert_eq!(slots.calls_wanted(7, 7, 2), 1);
        assert_eq!(slots.calls_wanted(12, 12, 0), 0);
        assert_eq!(slots.calls_wanted(28, 3, 0), 2, "no more than fit");
        assert_eq!(slots.calls_wanted(40, 0, 0), 0);
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
    }
}
