//! An element of the scalar field of BN254, in its one form: 32 bytes, little-endian, below the modulus.

use std::fmt;

/// Bytes of an element.
pub const ELEMENT_BYTES: usize = 32;

/// The modulus, least significant word first.
const MODULUS: [u64; 4] = [0x43e1_f593_f000_0001, 0x2833_e848_79b9_7091, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];

/// A field element. One number has one spelling, so bytes may be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Element([u8; ELEMENT_BYTES]);

impl Element {
    /// Zero: the leaf of nobody.
    pub const ZERO: Self = Self([0; ELEMENT_BYTES]);

    /// `None` for a number that is not below the modulus. Nullifiers are compared as bytes: with the modulus added, one would pass
    /// for another.
    #[must_use]
    pub fn canonical(bytes: [u8; ELEMENT_BYTES]) -> Option<Self> {
        is_below(&words(&bytes), &MODULUS).then_some(Self(bytes))
    }

    /// Any 256 bits, reduced, as hashes are.
    #[must_use]
    pub fn reduced(bytes: [u8; ELEMENT_BYTES]) -> Self {
        let mut number = words(&bytes);
        // At most five times: 2^256 is less than six times the modulus.
        while !is_below(&number, &MODULUS) {
            number = less(&number, &MODULUS);
        }
        let mut reduced = [0; ELEMENT_BYTES];
        for (to, word) in reduced.as_chunks_mut::<8>().0.iter_mut().zip(number) {
            *to = word.to_le_bytes();
        }
        Self(reduced)
    }

    /// Little-endian.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; ELEMENT_BYTES] {
        &self.0
    }
}

impl From<u64> for Element {
    fn from(number: u64) -> Self {
        let mut bytes = [0; ELEMENT_BYTES];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Element {
    /// Little-endian hex, as vectors print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

fn words(bytes: &[u8; ELEMENT_BYTES]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

fn is_below(a: &[u64; 4], b: &[u64; 4]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// `a - b`, of which `b` is not the greater.
fn less(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut difference = [0; 4];
    let mut borrow = false;
    for ((word, a), b) in difference.iter_mut().zip(a).zip(b) {
        let (once, first) = a.overflowing_sub(*b);
        let (twice, second) = once.overflowing_sub(borrow.into());
        (*word, borrow) = (twice, first || second);
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex_le: &str) -> [u8; ELEMENT_BYTES] {
        hex::decode(hex_le).unwrap().try_into().unwrap()
    }

    /// r - 1, r and r + 1.
    #[test]
    fn the_modulus_is_the_first_that_is_none() {
        let tail = "00f093f5e1439170b97948e833285d588181b64550b829a031e1724e6430";
        for (head, element) in [("0000", true), ("0100", false), ("0200", false)] {
            let number = bytes(&format!("{head}{tail}"));
            assert_eq!(Element::canonical(number).is_some(), element, "{head}");
            let low = u64::from(number[0]);
            let reduced = if element { Element(number) } else { Element::from(low - 1) };
            assert_eq!(Element::reduced(number), reduced);
        }
        assert_eq!(Element::canonical([0xff; ELEMENT_BYTES]), None);
    }

    /// The share's x of the published chain of values: a Keccak-256, reduced.
    #[test]
    fn a_hash_is_reduced() {
        let hash = bytes("d5cec7968d52c3ce5ba0b7014cbe18c59f93895c1aa34006cb04e3d8b9eb19cc");
        let x = bytes("d1cec7d63d7c3bbf16ded11a2a1d49242b328456408cff2424841c54eeb1880a");
        assert_eq!(Element::reduced(hash), Element(x));
    }
}
