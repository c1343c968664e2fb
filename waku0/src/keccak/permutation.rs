//! What lanes are: a permutation of several states at once.  Spec: FIPS 202, section 3.

use super::{RATE, RATE_WORDS};

/// Words of a state.
pub(super) const STATE_WORDS: usize = 25;

/// The states of `N` lanes, word by word: those of one vector stand together, and in one cache line.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct State<const N: usize>(pub(super) [[u64; N]; STATE_WORDS]);

/// Keccak-f\[1600\] of `N` states. One implementation for each set of instructions.
pub(super) trait Permutation<const N: usize>: Copy {
    /// Permutes each state.
    fn permute(self, state: &mut State<N>);

    /// Adds a block to each state, and permutes it. A state is cleared first where `keep` is 0; elsewhere `keep` is all
    /// ones.
    fn absorb(self, state: &mut State<N>, keep: &[u64; N], blocks: &[&[u8; RATE]; N]);
}

/// One state, on any processor: what the others are tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar;

impl Permutation<1> for Scalar {
    fn permute(self, state: &mut State<1>) {
        let mut words = state.0.map(|[word]| word);
        keccak::Keccak::new().with_f1600(|f1600| f1600(&mut words));
        state.0 = words.map(|word| [word]);
    }

    fn absorb(self, state: &mut State<1>, keep: &[u64; 1], blocks: &[&[u8; RATE]; 1]) {
        for (word, bytes) in state.0.iter_mut().zip(words(blocks[0])) {
            *word = [word[0] & keep[0] ^ bytes];
        }
        for word in &mut state.0[RATE_WORDS..] {
            word[0] &= keep[0];
        }
        self.permute(state);
    }
}

/// The words of a block.
#[inline]
pub(super) fn words(block: &[u8; RATE]) -> [u64; RATE_WORDS] {
    let (words, _) = block.as_chunks();
    std::array::from_fn(|word| u64::from_le_bytes(words[word]))
}
