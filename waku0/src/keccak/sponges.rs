//! Sponges side by side: each lane takes one input after the other, so that lanes stay busy whatever the lengths.
//! Spec: FIPS 202, section 4.
//!
//! The last input of all, left alone, is finished without lanes: one of them is slower than none.

use super::{
    Digest, Input, LEAST_IN_LANES, RATE,
    permutation::{Permutation, STATE_WORDS, Scalar, State},
};

/// What a lane without an input takes.
const NOTHING: &[u8; RATE] = &[0; RATE];

/// An input on its way through a lane.
#[derive(Debug, Clone, Copy)]
struct Absorbing<'i> {
    input: &'i Input<'i>,
    /// Its place among the inputs.
    place: usize,
    next_block: usize,
    blocks: usize,
}

/// `N` sponges.
struct Sponges<'i, const N: usize> {
    state: State<N>,
    lanes: [Option<Absorbing<'i>>; N],
    /// For blocks that have to be put together.
    scratch: [[u8; RATE]; N],
}

/// The hash of one input.
pub(super) fn digest(input: &Input<'_>) -> Digest {
    let mut state = State([[0]; STATE_WORDS]);
    absorb_rest(&mut state, &Absorbing::new(0, input));
    Digest::of_lane(&state, 0)
}

/// The hash of each input.
pub(super) fn digests<const N: usize>(permutation: impl Permutation<N>, inputs: &[Input<'_>]) -> Vec<Digest> {
    let mut digests = vec![Digest::default(); inputs.len()];
    let mut waiting = inputs.iter().enumerate();
    let mut sponges = Sponges { state: State([[0; N]; STATE_WORDS]), lanes: [None; N], scratch: [[0; RATE]; N] };
    while sponges.fill(&mut waiting) >= LEAST_IN_LANES {
        sponges.absorb(permutation);
        sponges.take_finished(&mut digests);
    }
    sponges.finish(&mut digests);
    digests
}

impl<'i> Absorbing<'i> {
    fn new(place: usize, input: &'i Input<'i>) -> Self {
        Self { input, place, next_block: 0, blocks: input.blocks() }
    }
}

impl<'i, const N: usize> Sponges<'i, N> {
    /// Gives each free lane an input, while there are any, and says how many lanes are in use.
    fn fill(&mut self, waiting: &mut impl Iterator<Item = (usize, &'i Input<'i>)>) -> usize {
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_none()) {
            *lane = waiting.next().map(|(place, input)| Absorbing::new(place, input));
        }
        self.lanes.iter().flatten().count()
    }

    /// One block in each lane.
    fn absorb(&mut self, permutation: impl Permutation<N>) {
        let mut blocks = [NOTHING; N];
        let mut keep = [0; N];
        let lanes = self.lanes.iter().zip(&mut self.scratch).zip(blocks.iter_mut().zip(&mut keep));
        for ((lane, scratch), (block, keep)) in lanes {
            let Some(lane) = lane else { continue };
            *block = lane.input.block(lane.next_block, scratch);
            *keep = if lane.next_block == 0 { 0 } else { u64::MAX };
        }
        permutation.absorb(&mut self.state, &keep, &blocks);
        self.lanes.iter_mut().flatten().for_each(|lane| lane.next_block += 1);
    }

    /// Frees the lanes whose input has ended.
    fn take_finished(&mut self, digests: &mut [Digest]) {
        for (n, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(finished) = lane.take_if(|lane| lane.next_block == lane.blocks) {
                digests[finished.place] = Digest::of_lane(&self.state, n);
            }
        }
    }

    /// What is left, one lane after the other.
    fn finish(&mut self, digests: &mut [Digest]) {
        for (n, lane) in self.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            let mut state = State(self.state.0.map(|word| [word[n]]));
            absorb_rest(&mut state, lane);
            digests[lane.place] = Digest::of_lane(&state, 0);
        }
    }
}

fn absorb_rest(state: &mut State<1>, lane: &Absorbing<'_>) {
    let mut scratch = [0; RATE];
    for index in lane.next_block..lane.blocks {
        let keep = if index == 0 { 0 } else { u64::MAX };
        Scalar.absorb(state, &[keep], &[lane.input.block(index, &mut scratch)]);
    }
}
