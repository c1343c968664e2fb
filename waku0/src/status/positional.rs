//! Status by position, and a packet for each option that changes.  Spec: EIP-627, and what Status added to it.
//!
//! `[version, pow, bloom, light-node, confirmations, [ip, peer, topic]]`: go-ethereum writes four items, Status's Whisper all
//! six, and whoever cannot read one reads no further. Changes come bare, not in a list: a number under code 2, 64 bytes
//! under code 3; the list of limits under code 20.
//!
//! There is no list of topics here, so those are told as the filter that they make; and no word of whether one has become
//! light or confirms.

use alloy_rlp::Encodable;
use bytes::{Bytes, BytesMut};

use super::{
    RateLimits, StatusError, StatusOptions, body_of, decode_bloom, decode_pow, in_option, list, without_trailing,
};
use crate::{bloom::Bloom, packet::Code, pow::Pow};

impl StatusOptions {
    /// The body of a Status of this version, with all six items: none can be left out before another.
    pub(super) fn encode_positional(&self, version: u64) -> Bytes {
        let mut items = BytesMut::new();
        version.encode(&mut items);
        self.pow.unwrap_or(Pow::ZERO).value().to_bits().encode(&mut items);
        self.as_bloom().unwrap_or(Bloom::FULL).as_bytes().encode(&mut items);
        self.light.unwrap_or_default().encode(&mut items);
        self.confirmations.unwrap_or_default().encode(&mut items);
        self.rate_limits.unwrap_or_default().encode().encode(&mut items);
        list(&items)
    }

    /// The packets that tell these options to a running peer.
    pub(super) fn positional_changes(&self) -> Vec<(Code, Bytes)> {
        let pow = self.pow.map(|pow| (Code::PowRequirement, body_of(&pow.value().to_bits())));
        let bloom = self.as_bloom().map(|bloom| (Code::BloomFilter, body_of(bloom.as_bytes())));
        let limits = self.rate_limits.map(|limits| (Code::RateLimits, body_of(&limits.encode())));
        [pow, bloom, limits].into_iter().flatten().collect()
    }

    /// Reads the body of a packet that tells one option; `None` when packets of this code do not.
    pub(super) fn decode_positional_change(code: Code, body: &[u8]) -> Option<Result<Self, StatusError>> {
        let mut rest = body;
        let read = match code {
            Code::PowRequirement => decode_pow(&mut rest).map(|pow| Self { pow: Some(pow), ..Self::default() }),
            Code::BloomFilter => {
                decode_new_bloom(&mut rest).map(|bloom| Self { bloom: Some(bloom), ..Self::default() })
            }
            Code::RateLimits => RateLimits::decode(&mut rest)
                .map(|limits| Self { rate_limits: Some(limits), ..Self::default() })
                .map_err(in_option("rate-limits")),
            _ => return None,
        };
        Some(read.and_then(|options| without_trailing(rest, options)))
    }

    /// Reads the items behind the version as far as they can be read. What can be, and is no amount of work or no filter, is
    /// refused.
    pub(super) fn decode_positional_leniently(mut items: &[u8]) -> Result<Self, StatusError> {
        let mut options = Self::default();
        for number in 0..=4 {
            match options.read(Some(number), &mut items) {
                Ok(()) => {}
                Err(StatusError::Option { .. }) => break,
                Err(refused) => return Err(refused),
            }
        }
        Ok(options)
    }

    /// The filter that says what the topics say, or the filter itself.
    fn as_bloom(&self) -> Option<Bloom> {
        self.topics.as_ref().map(|topics| topics.iter().copied().collect()).or(self.bloom)
    }
}

/// A filter that comes by itself is of its full length; an empty one is none, as go-ethereum has it.
fn decode_new_bloom(items: &mut &[u8]) -> Result<Bloom, StatusError> {
    let is_empty = *items == [alloy_rlp::EMPTY_STRING_CODE];
    if is_empty { Err(StatusError::BloomLength(0)) } else { decode_bloom(items) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{topic::Topic, version::Version};

    fn pow(value: f64) -> Option<Pow> {
        Some(Pow::new(value).unwrap())
    }

    fn status(body: &str) -> Result<StatusOptions, StatusError> {
        StatusOptions::decode_status(Version::Shh6, &hex::decode(body).unwrap())
    }

    fn change(code: Code, body: &str) -> Result<StatusOptions, StatusError> {
        StatusOptions::decode_change(Version::Shh6, code, &hex::decode(body).unwrap())
    }

    /// The Status that go-ethereum v1.9.20 was seen to send: no filter set, so an empty one.
    const OF_GO_ETHEREUM: &str = "cc06883f60624dd2f1a9fc8080";

    #[test]
    fn a_status_of_go_ethereum_is_read_and_ours_has_all_six_items() {
        let read = status(OF_GO_ETHEREUM).unwrap();
        let told =
            StatusOptions { pow: pow(0.002), bloom: Some(Bloom::FULL), light: Some(false), ..Default::default() };
        assert_eq!(read, told);
        let ours = StatusOptions {
            confirmations: Some(true),
            rate_limits: Some(RateLimits { ip: 10, peer: 5, topic: 1 }),
            ..told
        };
        let expected = format!("f85206883f60624dd2f1a9fcb840{}8001c30a0501", "ff".repeat(64));
        assert_eq!(hex::encode(ours.encode_status(Version::Shh6)), expected);
        assert_eq!(status(&expected), Ok(ours));
    }

    #[test]
    fn the_first_item_that_cannot_be_read_is_the_last() {
        assert_eq!(status("c106"), Ok(StatusOptions::default()));
        let with_pow = StatusOptions { pow: pow(0.002), ..Default::default() };
        assert_eq!(status("cb06883f60624dd2f1a9fcc0"), Ok(with_pow.clone()), "a list instead of a filter");
        assert_eq!(status("cc06883f60624dd2f1a9fcc001"), Ok(with_pow), "and a flag behind it");
        assert_eq!(status("c106").map(|options| options.light), Ok(None));
    }

    #[test]
    fn values_that_can_be_read_are_judged() {
        assert_eq!(status("c105"), Err(StatusError::Version(5)));
        assert_eq!(status("c180"), Err(StatusError::Version(0)));
        assert!(matches!(status("ca06887ff0000000000000"), Err(StatusError::Pow(_))));
        assert_eq!(status("cd06883f60624dd2f1a9fc820102"), Err(StatusError::BloomLength(2)));
        assert_eq!(status("c10600"), Err(StatusError::TrailingBytes(1)));
        assert!(matches!(status("c0"), Err(StatusError::Shape(_))));
        assert!(matches!(status("06"), Err(StatusError::Shape(_))));
    }

    #[test]
    fn a_change_is_a_bare_value_in_a_packet_of_its_own() {
        let topics = Some(vec![Topic([0xaa, 0xbb, 0xcc, 0xdd])]);
        let limits = RateLimits { ip: 10, peer: 5, topic: 1 };
        let told =
            StatusOptions { pow: pow(0.5), topics, rate_limits: Some(limits), light: Some(true), ..Default::default() };
        let filter = hex::encode(Bloom::from_iter([Topic([0xaa, 0xbb, 0xcc, 0xdd])]).as_bytes());
        let packets = told.changes(Version::Shh6.status_shape());
        let packets: Vec<_> = packets.iter().map(|(code, body)| (code.number(), hex::encode(body))).collect();
        // The first is what go-ethereum v1.9.20 was seen to send.
        assert_eq!(packets, [(2, "883fe0000000000000".into()), (3, format!("b840{filter}")), (20, "c30a0501".into())]);
        assert_eq!(change(Code::PowRequirement, &packets[0].1).map(|read| read.pow), Ok(pow(0.5)));
        let bloom = Bloom::from_iter([Topic([0xaa, 0xbb, 0xcc, 0xdd])]);
        assert_eq!(change(Code::BloomFilter, &packets[1].1).map(|read| read.bloom), Ok(Some(bloom)));
        assert_eq!(change(Code::RateLimits, &packets[2].1).map(|read| read.rate_limits), Ok(Some(limits)));
    }

    #[test]
    fn a_bad_change_is_refused() {
        assert_eq!(change(Code::BloomFilter, "80"), Err(StatusError::BloomLength(0)));
        assert_eq!(change(Code::BloomFilter, "820102"), Err(StatusError::BloomLength(2)));
        assert_eq!(change(Code::PowRequirement, "8000"), Err(StatusError::TrailingBytes(1)));
        assert!(matches!(change(Code::PowRequirement, "887ff8000000000000"), Err(StatusError::Pow(_))));
        for (code, body) in [(Code::PowRequirement, "c101"), (Code::BloomFilter, "c0"), (Code::RateLimits, "c20101")] {
            assert!(matches!(change(code, body), Err(StatusError::Option { .. })), "{code:?}");
        }
        assert!(change(Code::PowRequirement, "").is_err());
    }
}
