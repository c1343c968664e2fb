//! Passwords of keystores. Deployed nodes take the bytes as they are; browsers normalise the text first. What is ASCII without control
//! characters is the same for both.
//!
//! Spec: EIP-2335, "Password requirements"; deployed: nwaku, js-waku.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Opens a credential. It does not print, and is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// As it was given.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// As nwaku takes it.
    pub(super) fn raw(&self) -> &[u8] {
        &self.0
    }

    /// As browsers take it: NFKD, without control characters. `None` when that is the same, or it is no text.
    pub(super) fn normalised(&self) -> Option<Zeroizing<Vec<u8>>> {
        let text = str::from_utf8(&self.0).ok()?;
        // Wiped as one: growing would leave parts of it behind.
        let mut normalised = Zeroizing::new(String::with_capacity(text.len().saturating_mul(MAX_GROWTH)));
        normalised.extend(text.nfkd().filter(|letter| !letter.is_control()));
        (normalised.as_bytes() != &self.0[..]).then(|| Zeroizing::new(normalised.as_bytes().to_vec()))
    }
}

/// What NFKD makes of a letter has at most so many times its bytes: U+FDFA, 33 of 3.
const MAX_GROWTH: usize = 11;

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_not_tried_twice() {
        assert_eq!(Password::new("sup3rsecure").normalised(), None);
        assert_eq!(Password::new([0xff, 0xfe]).normalised(), None);
    }

    /// The password of EIP-2335's own vectors.
    #[test]
    fn letters_are_taken_apart_and_controls_left_out() {
        let fancy = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑";
        let plain = hex::decode("7465737470617373776f7264f09f9491").unwrap();
        assert_eq!(Password::new(fancy).normalised().as_deref(), Some(&plain));
        let controls = "a\u{0}b\u{1f}c\u{7f}d\u{80}e\u{9f}f";
        assert_eq!(Password::new(controls).normalised().as_deref(), Some(&b"abcdef".to_vec()));
        assert_eq!(Password::new("\u{fdfa}").normalised().unwrap().len(), 33);
    }

    #[test]
    fn it_does_not_print() {
        assert!(!format!("{:?}", Password::new("secret")).contains("secret"));
    }
}
