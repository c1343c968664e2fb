//! Keccak-256 of many inputs side by side, for what is hashed by the thousand: envelopes that arrive, and nonces.
//! Spec: FIPS 202, sections 3 and 4, with the padding of the original submission, as 5/WAKU0 and devp2p use it.
//!
//! A *lane* is one sponge among several that a vector register carries through the permutation together: eight with
//! AVX-512, four with AVX2, one elsewhere. What a processor has is asked at run time. The result never depends on it.
//!
//! Limit: one hash alone has no use for lanes. A single envelope is named with [`sha3`].

use std::fmt;

mod input;
mod nonces;
mod permutation;
mod sponges;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions, behind proofs of detection; tested against `Scalar` and `sha3`")]
mod x86;

pub(crate) use input::{Input, MAX_HEAD};
pub(crate) use nonces::{Attempts, Prefix};
use permutation::{Scalar, State};

/// Bytes that a block adds to a sponge. Source: FIPS 202, a capacity of 512 bits.
const RATE: usize = 136;

/// The same in words of eight bytes.
const RATE_WORDS: usize = RATE / size_of::<u64>();

/// The bit that closes an input, in the byte behind it. Source: the submission; FIPS 202 has 0x06 for SHA3-256.
const PAD_FIRST: u8 = 0x01;

/// The last bit of the last block, in its last byte.
const PAD_LAST: u8 = 0x80;

/// Inputs below which all lanes together cost more than one hash after the other.
const LEAST_IN_LANES: usize = 2;

/// How many hashes are computed side by side, and with which instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Lanes(Width);

/// What makes the vector widths proves that the processor has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    One(Scalar),
    #[cfg(target_arch = "x86_64")]
    Four(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Eight(x86::Avx512),
}

impl Lanes {
    /// One hash after the other, on any processor.
    pub const ONE: Self = Self(Width::One(Scalar));

    /// The most that this processor has. Cheap: the standard library keeps what it detected.
    #[must_use]
    pub fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self::eight().or_else(Self::four).unwrap_or(Self::ONE);
        #[cfg(not(target_arch = "x86_64"))]
        Self::ONE
    }

    /// All that this processor has, the narrowest first: to compare them.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return [Some(Self::ONE), Self::four(), Self::eight()].into_iter().flatten().collect();
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::ONE]
    }

    /// How many hashes go side by side.
    #[must_use]
    pub fn width(self) -> usize {
        match self.0 {
            Width::One(_) => 1,
            #[cfg(target_arch = "x86_64")]
            Width::Four(_) => 4,
            #[cfg(target_arch = "x86_64")]
            Width::Eight(_) => 8,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn four() -> Option<Self> {
        x86::Avx2::detect().map(|avx2| Self(Width::Four(avx2)))
    }

    #[cfg(target_arch = "x86_64")]
    fn eight() -> Option<Self> {
        x86::Avx512::detect().map(|avx512| Self(Width::Eight(avx512)))
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Width::One(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Width::Four(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Width::Eight(_) => "AVX-512",
        })
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A Keccak-256 hash, as the first words of the state that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest([u64; 4]);

impl Digest {
    /// Its 32 bytes.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Zero bits at its front, read as one big-endian number.
    pub(crate) fn zero_bits(self) -> u32 {
        let [mut zeros, mut of] = [0, 0];
        for word in self.0 {
            if zeros == of {
                zeros += word.swap_bytes().leading_zeros();
            }
            of += u64::BITS;
        }
        zeros
    }

    /// That of one lane.
    fn of_lane<const N: usize>(state: &State<N>, lane: usize) -> Self {
        Self(std::array::from_fn(|word| state.0[word][lane]))
    }
}

/// The hash of one input.
pub(crate) fn digest(input: &Input<'_>) -> Digest {
    sponges::digest(input)
}

/// The hash of each input, in their order.
pub(crate) fn digests(lanes: Lanes, inputs: &[Input<'_>]) -> Vec<Digest> {
    match lanes.0 {
        _ if inputs.len() < LEAST_IN_LANES => inputs.iter().map(digest).collect(),
        Width::One(_) => inputs.iter().map(digest).collect(),
        #[cfg(target_arch = "x86_64")]
        Width::Four(avx2) => sponges::digests(avx2, inputs),
        #[cfg(target_arch = "x86_64")]
        Width::Eight(avx512) => sponges::digests(avx512, inputs),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha3::Digest as _;

    use super::*;

    fn sha3_of(bytes: &[u8]) -> [u8; 32] {
        sha3::Keccak256::digest(bytes).into()
    }

    #[test]
    fn printed_hashes() {
        for lanes in Lanes::available() {
            let inputs = [Input::of(b""), Input::of(b"abc")];
            let printed = digests(lanes, &inputs).into_iter().map(|digest| hex::encode(digest.to_bytes()));
            assert!(printed.eq([
                "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
                "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
            ]));
        }
    }

    #[test]
    fn every_length_about_the_borders_of_blocks_in_every_lane() {
        let bytes: Vec<u8> = (0..3 * RATE + 2).map(|i| (i * 7) as u8).collect();
        let inputs: Vec<_> = (0..bytes.len()).map(|len| Input::of(&bytes[..len])).collect();
        let expected: Vec<_> = (0..bytes.len()).map(|len| sha3_of(&bytes[..len])).collect();
        for lanes in Lanes::available() {
            let found = digests(lanes, &inputs).into_iter().map(Digest::to_bytes);
            assert!(found.eq(expected.iter().copied()), "{lanes}");
        }
    }

    #[test]
    fn zeros_are_counted_across_words() {
        assert_eq!(Digest([0, 0, 0, 0]).zero_bits(), 256);
        assert_eq!(Digest([0, 0x0100, u64::MAX, 0]).zero_bits(), 64 + 15);
        assert_eq!(Digest([0x80, 0, 0, 0]).zero_bits(), 0);
        assert_eq!(Digest([0x0100_0000_0000_0000, 0, 0, 0]).zero_bits(), 63);
    }

    #[test]
    fn the_widest_lanes_are_detected() {
        let available = Lanes::available();
        assert_eq!((available[0], available.last()), (Lanes::ONE, Some(&Lanes::detected())));
        assert!(available.is_sorted_by_key(|lanes| lanes.width()));
    }

    proptest! {
        #[test]
        fn every_lane_is_what_sha3_says(
            inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..30)
        ) {
            let borrowed: Vec<_> = inputs.iter().map(|bytes| Input::of(bytes)).collect();
            let expected: Vec<_> = inputs.iter().map(|bytes| sha3_of(bytes)).collect();
            for lanes in Lanes::available() {
                let found: Vec<_> = digests(lanes, &borrowed).into_iter().map(Digest::to_bytes).collect();
                prop_assert_eq!(&found, &expected);
            }
        }

        #[test]
        fn inputs_in_pieces_are_what_sha3_says_of_the_whole(
            inputs in proptest::collection::vec((0..=9usize, proptest::collection::vec(any::<u8>(), 0..600), any::<u64>()), 1..20)
        ) {
            let head = [0xf9; 9];
            let pieces: Vec<_> = inputs.iter().map(|(len, body, tail)| Input::new(&head[..*len], body, Some(*tail))).collect();
            for lanes in Lanes::available() {
                for ((len, body, tail), digest) in inputs.iter().zip(digests(lanes, &pieces)) {
                    let whole = [&head[..*len], body, &tail.to_be_bytes()].concat();
                    prop_assert_eq!(digest.to_bytes(), sha3_of(&whole));
                }
            }
        }
    }
}
