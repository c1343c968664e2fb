//! Hashes that differ in their last eight bytes only.  Spec: 5/WAKU0, "PoW Requirement"; EIP-627.
//!
//! Every full block before the number is absorbed once. The number then stands in the last block, or across the border
//! of the last two; both are prepared as words, so that an attempt is one or two permutations and nothing else.

use std::ops::Range;

use super::{
    Digest, Input, Lanes, PAD_FIRST, PAD_LAST, RATE, RATE_WORDS, Width,
    permutation::{Permutation, STATE_WORDS, Scalar, State, words},
};

/// The last word of a block. A number that begins there needs another block, for padding at least.
const LAST_WORD: usize = RATE_WORDS - 1;

/// The end of the padding, in the last word of a block.
const PAD_LAST_WORD: u64 = (PAD_LAST as u64) << 56;

/// Everything before the number.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    /// After all full blocks, with what follows them added, and the padding if it stands in the same block.
    state: [u64; STATE_WORDS],
    /// The word in which the number begins.
    word: usize,
    /// Bits of that word before the number.
    shift: u32,
}

/// The numbers of a search: `base | counter` for each counter.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    /// Or-ed with each counter.
    pub(crate) base: u64,
    /// In ascending order.
    pub(crate) counters: Range<u64>,
    /// Zero bits that are enough.
    pub(crate) bits: u32,
}

impl Prefix {
    /// After a head and a body.
    pub(crate) fn new(head: &[u8], body: &[u8]) -> Self {
        let input = Input::new(head, body, None);
        let mut scratch = [0; RATE];
        let mut state = State([[0]; STATE_WORDS]);
        for index in 0..input.blocks() - 1 {
            Scalar.absorb(&mut state, &[u64::MAX], &[input.block(index, &mut scratch)]);
        }
        let mut state = state.0.map(|[word]| word);
        let tail_len = input.len() % RATE;
        let mut tail = [0; RATE];
        tail[..tail_len].copy_from_slice(&input.block(input.blocks() - 1, &mut scratch)[..tail_len]);
        if let Some(end) = tail.get_mut(tail_len + size_of::<u64>()) {
            *end = PAD_FIRST;
            tail[RATE - 1] |= PAD_LAST;
        }
        state.iter_mut().zip(words(&tail)).for_each(|(word, tail)| *word ^= tail);
        let (word, bytes) = (tail_len / size_of::<u64>(), tail_len % size_of::<u64>());
        Self { state, word, shift: bytes as u32 * u8::BITS }
    }

    /// Zero bits of the hash that ends with this number.
    pub(crate) fn zero_bits(&self, number: u64) -> u32 {
        let [digest] = self.digests(Scalar, [number]);
        digest.zero_bits()
    }

    /// The number of the lowest counter that is enough.
    pub(crate) fn search(&self, lanes: Lanes, attempts: &Attempts) -> Option<u64> {
        match lanes.0 {
            Width::One(scalar) => self.search_with(scalar, attempts),
            #[cfg(target_arch = "x86_64")]
            Width::Four(avx2) => avx2.run(|| self.search_with(avx2, attempts)),
            #[cfg(target_arch = "x86_64")]
            Width::Eight(avx512) => avx512.run(|| self.search_with(avx512, attempts)),
        }
    }

    #[inline(always)]
    fn search_with<const N: usize>(&self, permutation: impl Permutation<N>, attempts: &Attempts) -> Option<u64> {
        let Attempts { base, counters, bits } = attempts;
        let mut next = counters.start;
        while next < counters.end {
            // Counters beyond the end are tried to fill the lanes, and never looked at.
            let numbers = std::array::from_fn(|lane| base | next.wrapping_add(lane as u64));
            let asked = counters.end.abs_diff(next).min(N as u64) as usize;
            let digests = self.digests(permutation, numbers);
            if let Some(lane) = digests[..asked].iter().position(|digest| digest.zero_bits() >= *bits) {
                return Some(numbers[lane]);
            }
            next = next.saturating_add(N as u64);
        }
        None
    }

    /// The hashes that end with these numbers.
    #[inline(always)]
    fn digests<const N: usize>(&self, permutation: impl Permutation<N>, numbers: [u64; N]) -> [Digest; N] {
        let mut state = State(self.state.map(|word| [word; N]));
        let little_endian = numbers.map(u64::swap_bytes);
        let front = little_endian.map(|number| number << self.shift);
        let back = little_endian.map(|number| number.unbounded_shr(u64::BITS - self.shift));
        add(&mut state.0[self.word], front);
        if self.word < LAST_WORD {
            add(&mut state.0[self.word + 1], back);
        } else {
            permutation.permute(&mut state);
            add(&mut state.0[0], back.map(|number| number ^ u64::from(PAD_FIRST) << self.shift));
            add(&mut state.0[LAST_WORD], [PAD_LAST_WORD; N]);
        }
        permutation.permute(&mut state);
        std::array::from_fn(|lane| Digest::of_lane(&state, lane))
    }
}

#[inline(always)]
fn add<const N: usize>(word: &mut [u64; N], other: [u64; N]) {
    word.iter_mut().zip(other).for_each(|(word, other)| *word ^= other);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha3::{Digest as _, Keccak256};

    use super::*;

    /// The rule, spelled out.
    fn zero_bits(prefix: &[u8], number: u64) -> u32 {
        let hash = Keccak256::new().chain_update(prefix).chain_update(number.to_be_bytes()).finalize();
        let zero_bytes = hash.iter().take_while(|byte| **byte == 0).count();
        zero_bytes as u32 * 8 + hash.get(zero_bytes).map_or(0, |byte| byte.leading_zeros())
    }

    #[test]
    fn a_number_may_stand_anywhere_and_across_the_border_of_blocks() {
        let bytes: Vec<u8> = (0..2 * RATE + 1).map(|i| (i * 11) as u8).collect();
        for len in 0..bytes.len() {
            let (head, body) = bytes[..len].split_at(len.min(3));
            let prefix = Prefix::new(head, body);
            for number in [0, 1, 0x0102_0304_0506_0708, u64::MAX] {
                assert_eq!(prefix.zero_bits(number), zero_bits(&bytes[..len], number), "{len} {number}");
            }
        }
    }

    #[test]
    fn the_end_of_a_search_is_not_passed_and_the_last_number_is_reached() {
        let prefix = Prefix::new(&[], b"abc");
        for lanes in Lanes::available() {
            let search = |counters, bits| prefix.search(lanes, &Attempts { base: 0, counters, bits });
            let lowest = (0..).find(|counter| prefix.zero_bits(*counter) >= 6).unwrap();
            assert_eq!(search(0..lowest, 6), None);
            assert_eq!(search(0..lowest + 1, 6), Some(lowest));
            assert_eq!(search(lowest..lowest + 1, 6), Some(lowest));
            assert_eq!(search(5..5, 0), None);
            assert_eq!(search(u64::MAX - 3..u64::MAX, 0), Some(u64::MAX - 3));
            assert_eq!(search(u64::MAX - 3..u64::MAX, 257), None);
        }
    }

    proptest! {
        #[test]
        fn every_lane_finds_what_one_after_the_other_finds(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), base: u64, from in 0..1u64 << 62, count in 0..300u64, bits in 0..9u32
        ) {
            let prefix = Prefix::new(&[], &bytes);
            let lowest = (from..from + count).map(|counter| base | counter).find(|number| zero_bits(&bytes, *number) >= bits);
            for lanes in Lanes::available() {
                let attempts = Attempts { base, counters: from..from + count, bits };
                prop_assert_eq!(prefix.search(lanes, &attempts), lowest);
            }
        }
    }
}
