//! Bloom filters over topics: 512 bits, three of them for each topic.  Spec: 5/WAKU0, "Bloom Filter Field".
//!
//! Bit `i` is bit `i % 8`, counted from the least significant, of byte `i / 8`. For `j` in 0..3, the topic's bit `j` is
//! its byte `j`, plus 256 if its last byte has bit `j` set.
//!
//! go-ethereum and status-go *assign* the byte where they should add a bit to it, so of two bits of a topic that share
//! a byte of the filter only the later one survives. A filter of ours has every bit ([`Bloom::insert`]), which is a
//! superset of theirs; when a filter of theirs is asked, only the surviving bits count ([`Bloom::contains`]).

use std::fmt;

use crate::topic::Topic;

/// Length of a filter, in bytes.
pub const BLOOM_LEN: usize = 64;

/// Bits that stand for one topic.
const BITS_PER_TOPIC: usize = 3;

/// A set of topics, approximately: what is in it is found, and some of what is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bloom([u8; BLOOM_LEN]);

impl Bloom {
    /// Nothing.
    pub const EMPTY: Self = Self([0; BLOOM_LEN]);
    /// Everything.
    pub const FULL: Self = Self([0xff; BLOOM_LEN]);

    /// The filter with these bits.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; BLOOM_LEN]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BLOOM_LEN] {
        &self.0
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// Adds a topic, with all three bits.
    pub fn insert(&mut self, topic: Topic) {
        for (byte, bit) in places(topic) {
            self.0[byte] |= bit;
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (byte, more) in self.0.iter_mut().zip(other.0) {
            *byte |= more;
        }
        self
    }

    /// Whether the topic may be in it. Asks for the bits that deployed peers set, a subset of the right ones.
    #[must_use]
    pub fn contains(&self, topic: Topic) -> bool {
        let places = places(topic);
        let overwritten = |j: usize| places[j + 1..].iter().any(|(byte, _)| *byte == places[j].0);
        (0..BITS_PER_TOPIC).all(|j| overwritten(j) || self.0[places[j].0] & places[j].1 != 0)
    }

    /// The filter of one topic as go-ethereum and status-go compute it, with bits lost where two share a byte.
    #[must_use]
    pub fn lossy(topic: Topic) -> Self {
        let mut bloom = Self::EMPTY;
        for (byte, bit) in places(topic) {
            bloom.0[byte] = bit;
        }
        bloom
    }
}

impl FromIterator<Topic> for Bloom {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        let mut bloom = Self::EMPTY;
        topics.into_iter().for_each(|topic| bloom.insert(topic));
        bloom
    }
}

impl fmt::Debug for Bloom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bloom({})", hex::encode(self.0))
    }
}

/// A topic's three bits: the byte of the filter, and the bit in it.
fn places(topic: Topic) -> [(usize, u8); BITS_PER_TOPIC] {
    std::array::from_fn(|j| {
        let upper_half = topic.0[3] >> j & 1;
        let index = usize::from(topic.0[j]) + 256 * usize::from(upper_half);
        (index / 8, 1 << (index % 8))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    fn bloom(hex_text: &Value) -> Bloom {
        Bloom::from_bytes(hex::decode(hex_text.as_str().unwrap()).unwrap().try_into().unwrap())
    }

    fn recorded() -> Value {
        serde_json::from_str(include_str!("../../fixtures/bloom/bloom.json")).unwrap()
    }

    fn nonzero(bloom: Bloom) -> Vec<(usize, u8)> {
        bloom.0.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).collect()
    }

    #[test]
    fn printed_vectors() {
        let of = |text| nonzero(Bloom::from_iter([topic(text)]));
        assert_eq!(of("0000ff06"), [(0, 0x01), (32, 0x01), (63, 0x80)]);
        assert_eq!(of("aabbccdd"), [(23, 0x08), (53, 0x04), (57, 0x10)]);
        assert_eq!(of("f8946aac"), [(18, 0x10), (31, 0x01), (45, 0x04)]);
    }

    #[test]
    fn bits_that_share_a_byte_are_kept_by_us_and_lost_by_the_peers() {
        let shared = topic("00010000");
        assert_eq!(nonzero(Bloom::from_iter([shared])), [(0, 0b11)]);
        assert_eq!(nonzero(Bloom::lossy(shared)), [(0, 0b01)]);
        assert!(Bloom::lossy(shared).contains(shared));
    }

    #[test]
    fn every_recorded_topic() {
        let recorded = recorded();
        let topics = recorded["topics"].as_array().unwrap();
        assert_eq!(topics.len(), 50);
        for case in topics {
            let topic = topic(case["topic"].as_str().unwrap());
            assert_eq!(Bloom::lossy(topic), bloom(&case["bloom"]), "{case}");
            assert_eq!(Bloom::lossy(topic).contains(topic), case["self_match"].as_bool().unwrap(), "{case}");
        }
    }

    #[test]
    fn every_recorded_match() {
        let recorded = recorded();
        let matches = recorded["matches"].as_array().unwrap();
        assert_eq!(matches.len(), 100);
        for case in matches {
            let filter = bloom(&case["filter"]);
            let sample = topic(case["sample_topic"].as_str().unwrap());
            assert_eq!(filter.contains(sample), case["match"].as_bool().unwrap(), "{case}");
            assert_eq!(filter.is_full(), case["is_full"].as_bool().unwrap(), "{case}");
        }
    }

    proptest! {
        #[test]
        fn what_was_inserted_is_found(topics: Vec<[u8; 4]>, others: Vec<[u8; 4]>) {
            let bloom: Bloom = topics.iter().copied().map(Topic).collect();
            let both = bloom.union(&others.iter().copied().map(Topic).collect());
            prop_assert!(topics.iter().all(|topic| bloom.contains(Topic(*topic))));
            prop_assert!(topics.iter().chain(&others).all(|topic| both.contains(Topic(*topic))));
        }

        #[test]
        fn full_has_everything_and_empty_nothing(topic: [u8; 4]) {
            prop_assert!(Bloom::FULL.contains(Topic(topic)));
            prop_assert!(!Bloom::EMPTY.contains(Topic(topic)));
        }

        #[test]
        fn the_lossy_sample_is_contained_exactly_when_its_bits_are(topic: [u8; 4], filter: [u8; 32], more: [u8; 32]) {
            let bytes: [u8; BLOOM_LEN] = std::array::from_fn(|i| if i < 32 { filter[i] } else { more[i - 32] });
            let filter = Bloom::from_bytes(bytes);
            let sample = Bloom::lossy(Topic(topic));
            prop_assert_eq!(filter.contains(Topic(topic)), filter.union(&sample) == filter);
        }
    }
}
