//! A proof as the curve has it: three points, and the numbers they are about.

use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::Proof;
use waku2::rln::{element::ELEMENT_BYTES, proof::RateLimitProof};

use super::group;
use crate::{field::reduced, poseidon::external};

/// Public inputs of the circuit.
pub(super) const INPUTS: usize = 5;

/// Bytes of a compressed point of the first group; one of the second has twice as many.
const POINT_BYTES: usize = 32;

/// Points of the right groups, with what they claim.
pub(super) struct Claim {
    pub(super) a: G1Affine,
    pub(super) b: G2Affine,
    pub(super) c: G1Affine,
    /// Share's y, root, nullifier, share's x, external nullifier: in the order of the circuit.
    pub(super) inputs: [Fr; INPUTS],
}

impl Claim {
    /// `None` when a point is none: a coordinate not below its modulus, not on the curve, in another subgroup, or at infinity, where
    /// no prover gets to.
    pub(super) fn read(proof: &RateLimitProof, epochs: &mut Epochs) -> Option<Self> {
        let (a, rest) = proof.snark.split_first_chunk::<POINT_BYTES>()?;
        let (b, c) = rest.split_first_chunk::<{ 2 * POINT_BYTES }>()?;
        let (a, c) = (point::<G1Affine>(a)?, point::<G1Affine>(c)?);
        let b = point::<G2Affine>(b).filter(group::has)?;
        let [y, root, nullifier, x] = [&proof.share_y, &proof.root, &proof.nullifier, &proof.share_x].map(reduced);
        Some(Self { a, b, c, inputs: [y, root, nullifier, x, epochs.external_nullifier(proof)] })
    }

    pub(super) const fn proof(&self) -> Proof<Bn254> {
        Proof { a: self.a, b: self.b, c: self.c }
    }
}

/// On the curve: its ordinate is worked out from the abscissa. That is all of the first group.
fn point<P: AffineRepr>(bytes: &[u8]) -> Option<P> {
    P::deserialize_compressed_unchecked(bytes).ok().filter(|point| !point.is_zero())
}

/// Nearly all proofs that come together are of one epoch.
#[derive(Default)]
pub(super) struct Epochs {
    last: Option<([u8; ELEMENT_BYTES], [u8; ELEMENT_BYTES], Fr)>,
}

impl Epochs {
    fn external_nullifier(&mut self, proof: &RateLimitProof) -> Fr {
        match self.last {
            Some((epoch, identifier, external)) if (epoch, identifier) == (proof.epoch, proof.identifier) => external,
            _ => {
                let external = external(&proof.epoch, &proof.identifier);
                self.last = Some((proof.epoch, proof.identifier, external));
                external
            }
        }
    }
}
