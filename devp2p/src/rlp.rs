//! Strict RLP reading: exact, bounded, without allocation.
//!
//! `alloy-rlp` reads each header (and refuses what is not canonical); this walks the items. EIP-8 wants packets read
//! leniently (extra list elements and trailing bytes are ignored), which derived decoders cannot do, so the packets of
//! this crate are read field by field with a [`Reader`]. Nesting is limited, and never uses the stack.

use alloy_rlp::{BufMut, Header};

/// Deepest nesting [`validate`] takes. The deepest packet in use has four levels (a list of envelopes inside a list);
/// the rest is room for extensions.
pub const MAX_DEPTH: usize = 32;

/// Why bytes are not the RLP asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RlpError {
    /// A header that is cut off, claims more than there is, or is not canonical.
    #[error("malformed header: {0}")]
    Header(alloy_rlp::Error),
    /// An item was expected, the list ended.
    #[error("the list ends too early")]
    Missing,
    /// Bytes were expected.
    #[error("a list where bytes were expected")]
    UnexpectedList,
    /// A list was expected.
    #[error("bytes where a list was expected")]
    UnexpectedBytes,
    /// Something follows the one item.
    #[error("bytes follow the item")]
    Trailing,
    /// A number with a leading zero byte.
    #[error("the number has a leading zero")]
    LeadingZero,
    /// A number over the range of its field.
    #[error("the number is too large")]
    NumberTooLarge,
    /// A string that is not as long as the field wants it.
    #[error("{got} bytes where {want} were expected")]
    WrongLength {
        /// Bytes expected.
        want: usize,
        /// Bytes found.
        got: usize,
    },
    /// Lists within lists beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} lists")]
    TooDeep,
}

/// One item: bytes, or a list still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string.
    Bytes(&'a [u8]),
    /// A list.
    List(Reader<'a>),
}

/// Reads item after item: the inside of a list, or a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` as a sequence of items.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The inside of the one list that `bytes` must be, with nothing after it.
    ///
    /// # Errors
    /// [`RlpError`] when it is no list, is malformed, or is followed by anything.
    pub fn list_exact(bytes: &'a [u8]) -> Result<Self, RlpError> {
        let mut outer = Self(bytes);
        let inner = outer.list()?;
        outer.end()?;
        Ok(inner)
    }

    /// True when everything is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next item, if there is one.
    ///
    /// # Errors
    /// [`RlpError::Header`] when the item is malformed or longer than what is left.
    pub fn next_item(&mut self) -> Result<Option<Item<'a>>, RlpError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut rest = self.0;
        let header = Header::decode(&mut rest).map_err(RlpError::Header)?;
        let (payload, rest) =
            rest.split_at_checked(header.payload_length).ok_or(RlpError::Header(alloy_rlp::Error::InputTooShort))?;
        self.0 = rest;
        Ok(Some(if header.list { Item::List(Reader(payload)) } else { Item::Bytes(payload) }))
    }

    /// The next item, which must be there and be bytes.
    ///
    /// # Errors
    /// [`RlpError`] when it is missing, malformed or a list.
    pub fn bytes(&mut self) -> Result<&'a [u8], RlpError> {
        match self.next_item()? {
            Some(Item::Bytes(bytes)) => Ok(bytes),
            Some(Item::List(_)) => Err(RlpError::UnexpectedList),
            None => Err(RlpError::Missing),
        }
    }

    /// The next item, which must be exactly `N` bytes.
    ///
    /// # Errors
    /// [`RlpError`] when it is missing, malformed, a list, or of another length.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], RlpError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| RlpError::WrongLength { want: N, got: bytes.len() })
    }

    /// The next item, which must be a list.
    ///
    /// # Errors
    /// [`RlpError`] when it is missing, malformed or bytes.
    pub fn list(&mut self) -> Result<Self, RlpError> {
        match self.next_item()? {
            Some(Item::List(list)) => Ok(list),
            Some(Item::Bytes(_)) => Err(RlpError::UnexpectedBytes),
            None => Err(RlpError::Missing),
        }
    }

    /// The next item as a number: big-endian, no leading zero, zero being the empty string.
    ///
    /// # Errors
    /// [`RlpError`] when it is missing, malformed, a list, has a leading zero, or is over 64 bits.
    pub fn u64(&mut self) -> Result<u64, RlpError> {
        number(self.bytes()?)
    }

    /// Checks that everything is read.
    ///
    /// # Errors
    /// [`RlpError::Trailing`] when it is not.
    pub fn end(&self) -> Result<(), RlpError> {
        if self.0.is_empty() { Ok(()) } else { Err(RlpError::Trailing) }
    }
}

/// Reads a string as a number of up to 64 bits.
///
/// # Errors
/// [`RlpError::LeadingZero`], [`RlpError::NumberTooLarge`].
pub fn number(bytes: &[u8]) -> Result<u64, RlpError> {
    if bytes.first() == Some(&0) {
        return Err(RlpError::LeadingZero);
    }
    if bytes.len() > 8 {
        return Err(RlpError::NumberTooLarge);
    }
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// A list around items that are encoded already.
pub(crate) fn list(items: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() + 9);
    Header { list: true, payload_length: items.len() }.encode(&mut out as &mut dyn BufMut);
    out.extend_from_slice(items);
    out
}

/// Checks that `bytes` are exactly one well-formed item, to the innermost one: linear time, no allocation, no recursion.
///
/// # Errors
/// [`RlpError`] at the first fault, and when lists are nested deeper than [`MAX_DEPTH`].
pub fn validate(bytes: &[u8]) -> Result<(), RlpError> {
    let mut outer = Reader(bytes);
    let first = outer.next_item()?.ok_or(RlpError::Missing)?;
    outer.end()?;
    let Item::List(list) = first else { return Ok(()) };
    let mut open = [Reader(&[]); MAX_DEPTH];
    open[0] = list;
    let mut depth = 1;
    while depth > 0 {
        match open[depth - 1].next_item()? {
            None => depth -= 1,
            Some(Item::Bytes(_)) => {}
            Some(Item::List(list)) => {
                *open.get_mut(depth).ok_or(RlpError::TooDeep)? = list;
                depth += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::fixtures::json;

    /// Checks that an item is what the vector says: text, a number, a large number as `#decimal`, or a list of these.
    fn matches(item: Item<'_>, expected: &Value) -> bool {
        match (item, expected) {
            (Item::Bytes(bytes), Value::Number(value)) => number(bytes) == Ok(value.as_u64().unwrap()),
            (Item::Bytes(bytes), Value::String(text)) => match text.strip_prefix('#') {
                Some(decimal) => bytes == large(decimal),
                None => bytes == text.as_bytes(),
            },
            (Item::List(mut list), Value::Array(values)) => {
                values.iter().all(|value| matches(list.next_item().unwrap().unwrap(), value)) && list.is_empty()
            }
            _ => false,
        }
    }

    /// A decimal number as big-endian bytes.
    fn large(decimal: &str) -> Vec<u8> {
        let mut bytes = vec![0_u8; 40];
        for digit in decimal.bytes().map(|digit| u32::from(digit - b'0')) {
            let mut carry = digit;
            for byte in bytes.iter_mut().rev() {
                carry += u32::from(*byte) * 10;
                *byte = carry as u8;
                carry >>= 8;
            }
        }
        bytes.into_iter().skip_while(|byte| *byte == 0).collect()
    }

    /// Each case of a file: its name, what it should hold, and the bytes.
    fn cases(path: &str) -> Vec<(String, Value, Vec<u8>)> {
        let file = json(path);
        let case = |(name, case): (&String, &Value)| {
            let text = case["out"].as_str().unwrap();
            (name.clone(), case["in"].clone(), hex::decode(text.trim_start_matches("0x")).unwrap())
        };
        file.as_object().unwrap().iter().map(case).collect()
    }

    #[test]
    fn valid_vectors_hold_what_they_say() {
        let cases = cases("rlp/rlptest.json");
        assert_eq!(cases.len(), 28);
        for (name, expected, bytes) in cases {
            assert_eq!(validate(&bytes), Ok(()), "{name}");
            let item = Reader::new(&bytes).next_item().unwrap().unwrap();
            assert!(matches(item, &expected), "{name}: {item:02x?} is not {expected}");
        }
    }

    #[test]
    fn h16_invalid_vectors_are_refused() {
        let (mut valid, mut invalid) = (0, 0);
        for path in ["rlp/example.json", "rlp/invalidRLPTest.json", "rlp/pyInvalid.json"] {
            for (name, expected, bytes) in cases(path) {
                if expected == "VALID" {
                    // T4 of pyInvalid is an item with more behind it, valid only for readers that stop after the item.
                    let behind = if name == "T4" { Err(RlpError::Trailing) } else { Ok(()) };
                    assert_eq!(validate(&bytes), behind, "{name}");
                    assert!(Reader::new(&bytes).next_item().is_ok(), "{name}");
                    valid += 1;
                } else {
                    assert!(validate(&bytes).is_err(), "{path}: {name}");
                    invalid += 1;
                }
            }
        }
        assert_eq!((valid, invalid), (2, 38));
    }

    #[test]
    fn h16_each_malformed_form_has_its_error() {
        use alloy_rlp::Error::{InputTooShort, LeadingZero as HeaderZero, NonCanonicalSingleByte, NonCanonicalSize};
        let huge_list = [0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(validate(&huge_list), Err(RlpError::Header(InputTooShort)));
        assert_eq!(validate(&[0xc2, 0x80]), Err(RlpError::Header(InputTooShort)));
        assert_eq!(validate(&[0xb8, 0x01, 0xff]), Err(RlpError::Header(NonCanonicalSize)));
        assert_eq!(validate(&[0xb9, 0x00, 0xff]), Err(RlpError::Header(HeaderZero)));
        assert_eq!(validate(&[0x81, 0x7f]), Err(RlpError::Header(NonCanonicalSingleByte)));
        assert_eq!(validate(&[]), Err(RlpError::Missing));
        assert_eq!(validate(&[0xc0, 0xc0]), Err(RlpError::Trailing));
        assert_eq!(number(&[0, 1]), Err(RlpError::LeadingZero));
        assert_eq!(number(&[1; 9]), Err(RlpError::NumberTooLarge));
        assert_eq!(Reader::list_exact(&[0x80]), Err(RlpError::UnexpectedBytes));
        assert_eq!(Reader::new(&[0xc0]).bytes(), Err(RlpError::UnexpectedList));
        assert_eq!(Reader::new(&[0x81, 0x80]).array::<2>(), Err(RlpError::WrongLength { want: 2, got: 1 }));
    }

    /// `depth` lists within each other.
    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inner, _| {
            let mut out = Vec::with_capacity(inner.len() + 4);
            Header { list: true, payload_length: inner.len() }.encode(&mut out);
            out.extend_from_slice(&inner);
            out
        })
    }

    #[test]
    fn h17_deep_nesting_ends_without_the_stack() {
        assert_eq!(validate(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(validate(&nested(MAX_DEPTH + 1)), Err(RlpError::TooDeep));
        assert_eq!(validate(&nested(2_000)), Err(RlpError::TooDeep));
        // 100,000 lists that each claim one byte more than is left.
        assert!(validate(&[0xc1; 100_000]).is_err());
    }

    #[test]
    fn h18_a_million_empty_lists_are_walked_once() {
        let mut body = Vec::new();
        Header { list: true, payload_length: 1_000_000 }.encode(&mut body);
        body.resize(body.len() + 1_000_000, 0xc0);
        assert_eq!(validate(&body), Ok(()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = validate(&bytes);
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.next_item() {}
            prop_assert!(reader.rest().len() <= bytes.len());
        }

        #[test]
        fn what_is_encoded_is_read(values: Vec<u64>, text: Vec<u8>) {
            let mut payload = Vec::new();
            values.iter().for_each(|value| alloy_rlp::Encodable::encode(value, &mut payload));
            alloy_rlp::Encodable::encode(&text[..], &mut payload);
            let mut bytes = Vec::new();
            Header { list: true, payload_length: payload.len() }.encode(&mut bytes);
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(validate(&bytes), Ok(()));
            let mut list = Reader::list_exact(&bytes).unwrap();
            for value in values {
                prop_assert_eq!(list.u64(), Ok(value));
            }
            prop_assert_eq!(list.bytes(), Ok(&text[..]));
            prop_assert_eq!(list.end(), Ok(()));
        }
    }
}
