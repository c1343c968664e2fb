//! The hash under the MACs of frames: Keccak-256 as everywhere else, from the fastest implementation there is.
//!
//! Every byte on the wire goes through it, at either end, in an order that leaves nothing to do side by side.

use sha3::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, consts::U32};

/// A running Keccak-256.
#[derive(Clone, Default)]
pub struct FrameHash(keccak_asm::Keccak256);

impl OutputSizeUser for FrameHash {
    type OutputSize = U32;
}

impl Update for FrameHash {
    fn update(&mut self, data: &[u8]) {
        keccak_asm::Digest::update(&mut self.0, data);
    }
}

impl FixedOutput for FrameHash {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&keccak_asm::Digest::finalize(self.0));
    }
}

impl HashMarker for FrameHash {}

impl std::fmt::Debug for FrameHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha3::{Digest, Keccak256};

    use super::*;

    proptest! {
        #[test]
        fn it_is_keccak_whatever_the_pieces(pieces: Vec<Vec<u8>>) {
            let (mut ours, mut theirs) = (FrameHash::default(), Keccak256::new());
            for piece in &pieces {
                Digest::update(&mut ours, piece);
                Digest::update(&mut theirs, piece);
                prop_assert_eq!(&ours.clone().finalize()[..], &theirs.clone().finalize()[..]);
            }
        }
    }
}
