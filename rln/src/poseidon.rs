//! Poseidon over the scalar field of BN254, with the constants of circomlib: the hash that the circuit computes.
//!
//! Spec: 32/RLN-V1, "Hash function"; deployed: circomlib.

use ark_bn254::Fr;
use rln::prelude::{Hasher, PoseidonHash};
use waku2::rln::{
    element::{ELEMENT_BYTES, Element},
    epoch::Epoch,
};

use crate::field::{element, reduced, scalar};

/// Most elements that have constants.
pub const MAX_INPUTS: usize = 8;

/// The hash of one to [`MAX_INPUTS`] elements.
#[must_use]
pub fn hash<const N: usize>(inputs: [Element; N]) -> Element {
    element(scalars(&inputs.map(|input| scalar(&input))))
}

/// What an epoch and an application make of it: one member's messages of two epochs, or for two applications, have nothing in common.
/// Both are read as numbers, little-endian, and not hashed before.
#[must_use]
pub fn external_nullifier(epoch: Epoch, identifier: &[u8; ELEMENT_BYTES]) -> Element {
    element(external(&epoch.bytes(), identifier))
}

/// The same of what came off the wire, where an epoch may be any number.
pub(crate) fn external(epoch: &[u8; ELEMENT_BYTES], identifier: &[u8; ELEMENT_BYTES]) -> Fr {
    scalars(&[reduced(epoch), reduced(identifier)])
}

pub(crate) fn scalars<const N: usize>(inputs: &[Fr; N]) -> Fr {
    const { assert!(0 < N && N <= MAX_INPUTS, "there are constants for one to eight elements") };
    Hasher::<PoseidonHash>::hash_list(inputs)
}

#[cfg(test)]
mod tests {
    use waku2::rln::proof::IDENTIFIER;

    use super::*;

    #[test]
    fn known_hashes() {
        let known = |number: Element| format!("{number:?}");
        assert_eq!(known(hash([1.into()])), "33018202c57d898b84338b16d1a4960e133c6a4d656cfec1bd62a9ea00611729");
        assert_eq!(
            known(hash([1.into(), 2.into()])),
            "9a1817447a60199e51453274f217362acfe962966b4cf63d4190d6e7f5c05c11"
        );
        let decimal = "14744269619966411208579211824598458697587494354926760081771325075741142829156";
        let zeros: Fr = scalars(&[Fr::default(); 2]);
        assert_eq!(zeros.to_string(), decimal);
    }

    #[test]
    fn known_external_nullifier() {
        let nullifier = external_nullifier(Epoch(2_833_333), &IDENTIFIER);
        assert_eq!(format!("{nullifier:?}"), "b4e15652c177082460ffecb6f389bd8f3462a07ba162f5cb2a3f581a60e3da02");
    }
}
