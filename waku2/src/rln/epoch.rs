//! Epochs: spans of time, numbered from 1970, in each of which a member has so many messages.  Spec: 17/WAKU2-RLN-RELAY (whose
//! example rounds down, as deployed nodes do, though its formula rounds up), 64/WAKU2-NETWORK.

use std::{num::NonZeroU64, time::Duration};

use super::element::{ELEMENT_BYTES, Element};

/// The number of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// As on the wire: little-endian, padded with zeros.
    #[must_use]
    pub fn bytes(self) -> [u8; ELEMENT_BYTES] {
        *Element::from(self.0).bytes()
    }

    /// From the wire. `None` for what is no number of 64 bits.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ELEMENT_BYTES]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        rest.iter().all(|byte| *byte == 0).then(|| Self(u64::from_le_bytes(*number)))
    }
}

/// How long an epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLength(NonZeroU64);

impl EpochLength {
    /// In whole seconds. `None` for zero.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Option<Self> {
        match NonZeroU64::new(secs) {
            Some(secs) => Some(Self(secs)),
            None => None,
        }
    }

    /// In seconds.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0.get()
    }

    /// The epoch at `unix`, the time since 1970.
    #[must_use]
    pub const fn at(self, unix: Duration) -> Epoch {
        Epoch(unix.as_secs() / self.secs())
    }

    /// How far `unix` is from `epoch`: nothing inside it, else the time to its nearer edge.
    #[must_use]
    pub fn distance(self, epoch: Epoch, unix: Duration) -> Duration {
        let begins = epoch.0.saturating_mul(self.secs());
        let (begins, ends) = (Duration::from_secs(begins), Duration::from_secs(begins.saturating_add(self.secs())));
        if unix < begins { begins - unix } else { unix.saturating_sub(ends) }
    }
}

impl Default for EpochLength {
    /// Of The Waku Network: ten minutes.
    fn default() -> Self {
        Self(const { NonZeroU64::new(600).unwrap() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_rounded_down() {
        let length = EpochLength::default();
        for (secs, epoch) in [(0, 0), (599, 0), (600, 1), (1_699_999_800, 2_833_333), (1_700_000_399, 2_833_333)] {
            assert_eq!(length.at(Duration::from_secs(secs)), Epoch(epoch), "{secs}");
        }
    }

    #[test]
    fn distance_is_to_the_nearer_edge() {
        let length = EpochLength::default();
        let epoch = Epoch(10);
        for (secs, distance) in [(5_980, 20), (5_999, 1), (6_000, 0), (6_599, 0), (6_600, 0), (6_620, 20)] {
            assert_eq!(length.distance(epoch, Duration::from_secs(secs)), Duration::from_secs(distance), "{secs}");
        }
        assert!(length.distance(Epoch(u64::MAX), Duration::from_secs(1)) > Duration::from_secs(u64::MAX / 2));
    }

    #[test]
    fn an_epoch_on_the_wire() {
        let bytes = Epoch(2_833_333).bytes();
        assert_eq!(bytes[..4], [0xb5, 0x3b, 0x2b, 0]);
        assert_eq!(Epoch::from_bytes(&bytes), Some(Epoch(2_833_333)));
        let mut long = bytes;
        long[8] = 1;
        assert_eq!(Epoch::from_bytes(&long), None);
    }
}
