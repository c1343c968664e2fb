//! Envelopes into messages and messages into envelopes, field by field. Pure: what is let through is [`crate::bridge`]'s.
//!
//! Spec: 15/WAKU-BRIDGE, 14/WAKU2-MESSAGE, 5/WAKU0; the payload's frame is 26/WAKU2-PAYLOAD. The payload is never decoded,
//! padded, stripped or encrypted anew, except that a message of version 0 is wrapped. Everything is a function of what was
//! received and of settings that all bridges of a network share, so that two bridges make the same bytes.

use bytes::{BufMut, Bytes, BytesMut};
use waku0::{
    envelope::{Envelope, EnvelopeError},
    pow::Unsealed,
    topic::Topic,
};
use waku2::message::{Meta, WakuMessage};

use crate::{
    content_topic,
    drop_reason::DropReason,
    origin::{EnvelopeOrigin, MessageOrigin, NANOS_PER_SEC},
    policy::{Policy, UnknownVersion, VersionZero},
};

/// Version of a message whose payload is a frame of 26/WAKU2-PAYLOAD.
pub const FRAMED_VERSION: u32 = 1;
/// What a frame's length is padded to a multiple of, in bytes.  Spec: 26/WAKU2-PAYLOAD, "Padding".
const PAD_TO: usize = 256;
/// Largest payload that a frame's three bytes of length can say.
const MAX_FRAMED_PAYLOAD: usize = (1 << 24) - 1;

/// When an envelope was sent, as a message counts it: nanoseconds since 1970.
#[must_use]
pub fn timestamp_of(envelope: &Envelope) -> i64 {
    i64::from(envelope.sent()) * i64::from(NANOS_PER_SEC)
}

/// The message of an envelope, with the given time. `tagged` puts the envelope's origin into `meta`.
#[must_use]
pub fn message_of(envelope: &Envelope, timestamp: i64, tagged: bool) -> WakuMessage {
    WakuMessage {
        payload: envelope.data().clone(),
        content_topic: content_topic::canonical(envelope.topic()),
        version: FRAMED_VERSION,
        timestamp: Some(timestamp).filter(|nanos| *nanos != 0),
        meta: if tagged { EnvelopeOrigin::of(envelope).to_meta() } else { Meta::default() },
        rate_limit_proof: None,
        ephemeral: false,
    }
}

/// The envelope that a message says it was made from, unverified; `None` where it says nothing.
#[must_use]
pub fn rebuild(message: &WakuMessage, topic: Topic) -> Option<Envelope> {
    let origin = EnvelopeOrigin::from_meta(&message.meta).filter(|_| message.version == FRAMED_VERSION)?;
    Envelope::new(origin.expiry, origin.ttl, topic, message.payload.clone(), origin.nonce).ok()
}

/// Does a message say that it was an envelope?
#[must_use]
pub fn is_tagged(message: &WakuMessage) -> bool {
    EnvelopeOrigin::from_meta(&message.meta).is_some()
}

/// The message that an envelope was made from, where its tag says that this can be told bit for bit and it is true.
#[must_use]
pub fn restore(envelope: &Envelope, origin: MessageOrigin) -> Option<WakuMessage> {
    let nanos = origin.nanos.filter(|_| origin.exact)?;
    let timestamp = timestamp_of(envelope).checked_add(i64::from(nanos))?;
    let (version, payload) = match origin.wrapped {
        true => (0, unwrap(envelope.data())?),
        false => (FRAMED_VERSION, envelope.data().clone()),
    };
    Some(WakuMessage {
        payload,
        content_topic: content_topic::canonical(envelope.topic()),
        version,
        timestamp: Some(timestamp).filter(|nanos| *nanos != 0),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: origin.ephemeral,
    })
}

/// A message's payload as it stands on v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// The data of the envelope.
    pub data: Bytes,
    /// What of the message the data does not say.
    pub origin: MessageOrigin,
}

/// Frames a message's payload as policy wants it. `canonical`: its content topic is spelt as [`content_topic::canonical`]
/// spells it.
///
/// # Errors
/// The reason to drop it: a version that policy does not let through, or a payload that no frame holds.
pub fn frame(message: &WakuMessage, canonical: bool, policy: &Policy) -> Result<Framed, DropReason> {
    let raw = || Ok((message.payload.clone(), false));
    let (data, wrapped) = match (message.version, policy.version_zero, policy.unknown_version) {
        (FRAMED_VERSION, ..) => raw(),
        (0, VersionZero::Wrap, _) => wrap(&message.payload).map(|data| (data, true)).ok_or(DropReason::TooLargeV1),
        (0, VersionZero::Raw, _) => raw(),
        (0, VersionZero::Drop, _) => Err(DropReason::UnsupportedVersion),
        (_, _, UnknownVersion::Raw) => raw(),
        (_, _, UnknownVersion::Drop) => Err(DropReason::UnsupportedVersion),
    }?;
    let version_is_told = wrapped || message.version == FRAMED_VERSION;
    let in_range = message.timestamp.is_some_and(|nanos| nanos > 0);
    let origin = MessageOrigin {
        exact: canonical && version_is_told && in_range && message.meta.is_empty(),
        ephemeral: message.ephemeral,
        wrapped,
        nanos: message.timestamp.map(nanos_of),
    };
    Ok(Framed { data, origin })
}

/// The part of a timestamp below a second.
fn nanos_of(timestamp: i64) -> u32 {
    // A remainder by 10^9 that is not negative fits.
    u32::try_from(timestamp.rem_euclid(i64::from(NANOS_PER_SEC))).unwrap_or(0)
}

/// The whole seconds of a timestamp, as an envelope counts them; `None` outside the years 1970 to 2106.
#[must_use]
pub fn seconds_of(timestamp: i64) -> Option<u32> {
    u32::try_from(timestamp.div_euclid(i64::from(NANOS_PER_SEC))).ok()
}

/// The envelope of a message, still without work: sent when the message was.
///
/// # Errors
/// [`EnvelopeError`] when `sent + ttl` is past the year 2106.
pub fn unsealed(topic: Topic, data: Bytes, sent: u32, ttl: u32) -> Result<Unsealed, EnvelopeError> {
    Unsealed::new(sent.saturating_add(ttl), ttl, topic, data)
}

/// An unencrypted frame around a payload: flags (the length of the length), length little-endian, payload, zeros up to a
/// multiple of 256, at least one of them, as nim-waku did. Deployed padding is random; here two bridges must agree.
/// `None` where the payload is too long for a frame.
#[must_use]
pub fn wrap(payload: &[u8]) -> Option<Bytes> {
    if payload.len() > MAX_FRAMED_PAYLOAD {
        return None;
    }
    let length = payload.len().to_le_bytes();
    let length_bytes = (payload.len().checked_ilog2().unwrap_or(0) / 8 + 1) as usize;
    let unpadded = 1 + length_bytes + payload.len();
    let mut frame = BytesMut::with_capacity(unpadded + PAD_TO);
    frame.put_u8(length_bytes as u8); // 1 to 3
    frame.put_slice(&length[..length_bytes]);
    frame.put_slice(payload);
    frame.put_bytes(0, PAD_TO - unpadded % PAD_TO);
    Some(frame.freeze())
}

/// The payload of a frame that [`wrap`] made, and of no other.
#[must_use]
pub fn unwrap(frame: &Bytes) -> Option<Bytes> {
    let length_bytes = usize::from(*frame.first()?);
    let length = frame.get(1..1 + length_bytes).filter(|_| (1..=3).contains(&length_bytes))?;
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let start = 1 + length_bytes;
    let payload = frame.get(start..start + length)?;
    (wrap(payload)? == frame).then(|| frame.slice(start..start + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waku2::topic::ContentTopic;

    use super::*;

    const TOPIC: Topic = Topic([0x1a, 0x2b, 0x3c, 0x4d]);
    const EXPIRY: u32 = 1_700_000_015;

    fn envelope(data: &'static [u8], nonce: u64) -> Envelope {
        Envelope::new(EXPIRY, 15, TOPIC, Bytes::from_static(data), nonce).unwrap()
    }

    fn message(payload: &[u8], version: u32) -> WakuMessage {
        WakuMessage {
            payload: Bytes::copy_from_slice(payload),
            content_topic: content_topic::canonical(TOPIC),
            version,
            timestamp: Some(1_700_000_000_123_456_789),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    /// To v1 as the bridge does it, but without the search for work.
    fn cross(message: &WakuMessage) -> Envelope {
        let framed = frame(message, true, &Policy::default()).unwrap();
        let sent = seconds_of(message.timestamp.unwrap()).unwrap();
        unsealed(TOPIC, framed.data, sent, 15).unwrap().seal(framed.origin.to_nonce() | 0x2a)
    }

    fn back(envelope: &Envelope) -> Option<WakuMessage> {
        restore(envelope, MessageOrigin::from_nonce(envelope.nonce())?)
    }

    #[test]
    fn the_message_of_an_envelope() {
        let message = message_of(&envelope(b"data", 7), 1_700_000_000_000_000_000, true);
        assert_eq!(message.content_topic.as_str(), "/waku/1/0x1a2b3c4d/rfc26");
        assert_eq!((&message.payload[..], message.version, message.ephemeral), (&b"data"[..], 1, false));
        assert_eq!(message.timestamp, Some(1_700_000_000_000_000_000));
        assert_eq!(hex::encode(message.meta.bytes()), "b16553f10f0000000f0000000000000007");
        // 1 payload, 2 content topic, 3 version, 10 timestamp, 11 meta; nothing else.
        let canonical = concat!(
            "0a0464617461",
            "12182f77616b752f312f307831613262336334642f7266633236",
            "1801",
            "508080d0e2c6bfce972f",
            "5a11b16553f10f0000000f0000000000000007"
        );
        assert_eq!(hex::encode(message.encode()), canonical);
    }

    #[test]
    fn without_tags_meta_stays_empty() {
        assert!(message_of(&envelope(b"data", 7), 1, false).meta.is_empty());
    }

    #[test]
    fn the_envelope_of_a_message() {
        let envelope = cross(&message(b"frame", 1));
        assert_eq!((envelope.expiry(), envelope.ttl(), envelope.sent()), (EXPIRY, 15, 1_700_000_000));
        assert_eq!((envelope.topic(), &envelope.data()[..]), (TOPIC, &b"frame"[..]));
        let origin = MessageOrigin { exact: true, ephemeral: false, wrapped: false, nanos: Some(123_456_789) };
        assert_eq!(envelope.nonce(), origin.to_nonce() | 0x2a);
    }

    #[test]
    fn version_zero_is_wrapped_in_zeros() {
        let wrapped = wrap(b"hello").unwrap();
        assert_eq!(wrapped.len(), 256);
        assert_eq!(&wrapped[..7], b"\x01\x05hello");
        assert!(wrapped[7..].iter().all(|byte| *byte == 0));
        assert_eq!(&wrap(b"").unwrap()[..], [&[1_u8][..], &[0; 255]].concat());
    }

    #[test]
    fn a_frame_has_at_least_one_byte_of_padding_and_the_shortest_length() {
        for (payload, start, total) in [
            (253, "01fd", 256),
            (254, "01fe", 512),
            (255, "01ff", 512),
            (256, "020001", 512),
            (65_535, "02ffff", 65_792),
            (65_536, "03000001", 65_792),
        ] {
            let wrapped = wrap(&vec![7; payload]).unwrap();
            assert_eq!(
                (hex::encode(&wrapped[..start.len() / 2]), wrapped.len()),
                (start.to_owned(), total),
                "{payload}"
            );
        }
        assert!(wrap(&vec![0; MAX_FRAMED_PAYLOAD]).is_some() && wrap(&vec![0; MAX_FRAMED_PAYLOAD + 1]).is_none());
    }

    #[test]
    fn only_our_own_wrapping_is_taken_off() {
        let mut random_padding = wrap(b"hello").unwrap().to_vec();
        random_padding[255] = 1;
        for frame in
            [vec![], vec![0], vec![1], vec![1, 200], vec![4, 0, 0, 0, 0], random_padding, b"\x01\x05hello\0".to_vec()]
        {
            assert_eq!(unwrap(&Bytes::from(frame.clone())), None, "{}", hex::encode(frame));
        }
    }

    #[test]
    fn versions_by_policy() {
        let with = |version, version_zero, unknown_version| {
            frame(&message(b"hello", version), true, &Policy { version_zero, unknown_version, ..Policy::default() })
        };
        let raw = |version, zero, unknown| {
            with(version, zero, unknown).map(|f| (f.data.len(), f.origin.exact, f.origin.wrapped))
        };
        assert_eq!(raw(1, VersionZero::Drop, UnknownVersion::Drop), Ok((5, true, false)));
        assert_eq!(raw(0, VersionZero::Wrap, UnknownVersion::Drop), Ok((256, true, true)));
        assert_eq!(raw(0, VersionZero::Raw, UnknownVersion::Drop), Ok((5, false, false)));
        assert_eq!(raw(0, VersionZero::Drop, UnknownVersion::Raw), Err(DropReason::UnsupportedVersion));
        assert_eq!(raw(2, VersionZero::Wrap, UnknownVersion::Drop), Err(DropReason::UnsupportedVersion));
        assert_eq!(raw(u32::MAX, VersionZero::Wrap, UnknownVersion::Raw), Ok((5, false, false)));
    }

    #[test]
    fn an_absent_version_is_version_zero() {
        let plain = WakuMessage::decode(&message(b"hello", 0).encode()).unwrap();
        assert_eq!(frame(&plain, true, &Policy::default()).unwrap().data, wrap(b"hello").unwrap());
    }

    #[test]
    fn exact_needs_everything_that_the_envelope_cannot_say() {
        let exact =
            |message: &WakuMessage, canonical| frame(message, canonical, &Policy::default()).unwrap().origin.exact;
        let plain = message(b"hello", 1);
        assert!(exact(&plain, true));
        assert!(!exact(&plain, false), "another spelling of the content topic");
        assert!(!exact(&WakuMessage { timestamp: None, ..plain.clone() }, true), "no time");
        assert!(
            !exact(&WakuMessage { meta: Meta::new(&b"app"[..]).unwrap(), ..plain.clone() }, true),
            "the application's meta"
        );
        assert!(
            exact(&WakuMessage { rate_limit_proof: Some(Bytes::from_static(b"proof")), ..plain }, true),
            "the hash leaves proofs out"
        );
    }

    #[test]
    fn an_inexact_or_false_tag_restores_nothing() {
        let mut app_meta = message(b"hello", 1);
        app_meta.meta = Meta::new(&b"app"[..]).unwrap();
        assert_eq!(back(&cross(&app_meta)), None);
        let claims_wrapping = MessageOrigin { exact: true, ephemeral: false, wrapped: true, nanos: Some(1) };
        assert_eq!(back(&envelope(b"not wrapped", claims_wrapping.to_nonce())), None);
    }

    #[test]
    fn a_tag_in_meta_that_is_no_envelope_rebuilds_nothing() {
        let mut tagged = message(b"hello", 1);
        tagged.meta = EnvelopeOrigin { expiry: 10, ttl: 11, nonce: 0 }.to_meta();
        assert!(rebuild(&tagged, TOPIC).is_none(), "sent before 1970");
        tagged.meta = EnvelopeOrigin { expiry: EXPIRY, ttl: 15, nonce: 0 }.to_meta();
        assert!(rebuild(&tagged, TOPIC).is_some());
        tagged.version = 0;
        assert!(rebuild(&tagged, TOPIC).is_none(), "no bridge writes version 0");
    }

    proptest! {
        #[test]
        fn an_envelope_comes_back_the_same(ttl in 0..=EXPIRY, topic: [u8; 4], data: Vec<u8>, nonce: u64, retime: Option<i64>) {
            let envelope = Envelope::new(EXPIRY, ttl, Topic(topic), data.into(), nonce).unwrap();
            let sent = message_of(&envelope, retime.unwrap_or_else(|| timestamp_of(&envelope)), true);
            let received = WakuMessage::decode(&sent.encode()).unwrap();
            prop_assert_eq!(&received, &sent);
            let read = content_topic::parse(&received.content_topic, false).unwrap();
            let rebuilt = rebuild(&received, read.topic).unwrap();
            prop_assert_eq!(rebuilt.hash(), envelope.hash());
            prop_assert_eq!(rebuilt.raw(), envelope.raw());
        }

        #[test]
        fn a_message_comes_back_the_same(payload: Vec<u8>, version in 0_u32..2, secs in 1..u32::MAX - 15, nanos in 0..NANOS_PER_SEC, ephemeral: bool) {
            let sent = WakuMessage {
                payload: payload.into(),
                timestamp: Some(i64::from(secs) * 1_000_000_000 + i64::from(nanos)),
                ephemeral,
                ..message(b"", version)
            };
            let restored = back(&cross(&sent)).unwrap();
            prop_assert_eq!(restored.encode(), sent.encode());
            prop_assert_eq!(restored, sent);
        }

        #[test]
        fn wrapping_comes_off(payload: Vec<u8>) {
            prop_assert_eq!(unwrap(&wrap(&payload).unwrap()).unwrap(), payload);
        }

        #[test]
        fn no_frame_panics(frame: Vec<u8>) {
            let _ = unwrap(&frame.into());
        }

        #[test]
        fn any_time_splits_into_seconds_and_nanoseconds(timestamp: i64) {
            let rest = i64::from(nanos_of(timestamp));
            if let Some(secs) = seconds_of(timestamp) {
                prop_assert_eq!(i64::from(secs) * 1_000_000_000 + rest, timestamp);
            }
        }

        #[test]
        fn any_content_topic_and_meta_is_framed_or_dropped(topic: String, meta in prop::collection::vec(any::<u8>(), 0..=64), version: u32) {
            let message = WakuMessage { content_topic: ContentTopic::from(topic), meta: Meta::new(meta).unwrap(), version, ..message(b"x", 1) };
            let _ = frame(&message, false, &Policy::default());
            let _ = rebuild(&message, TOPIC);
        }
    }
}
