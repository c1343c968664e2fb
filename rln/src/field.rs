//! Elements as bytes, and as the curve's library computes with them.

use ark_bn254::Fr;
use ark_ff::PrimeField as _;
use waku2::rln::element::{ELEMENT_BYTES, Element};

pub(crate) fn scalar(element: &Element) -> Fr {
    reduced(element.bytes())
}

/// A number that is not below the modulus is reduced, as deployed nodes do.
pub(crate) fn reduced(bytes: &[u8; ELEMENT_BYTES]) -> Fr {
    Fr::from_le_bytes_mod_order(bytes)
}

pub(crate) fn element(scalar: Fr) -> Element {
    let mut bytes = [0; ELEMENT_BYTES];
    for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(scalar.into_bigint().0) {
        *to = word.to_le_bytes();
    }
    Element::reduced(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_256_bits_are_reduced_as_elements_are(bytes: [u8; ELEMENT_BYTES]) {
            prop_assert_eq!(element(reduced(&bytes)), Element::reduced(bytes));
        }
    }
}
