//! Envelopes and messages as users of either side make them.

use std::{sync::Arc, time::Duration};

use bridge::content_topic;
use bytes::Bytes;
use devp2p::clock::Now;
use waku0::{Envelope, Topic, Unsealed, pow::Pow};
use waku2::{Meta, PeerId, PubsubTopic, Received, WakuMessage, hash::message_hash};

pub(crate) const TOPIC: Topic = Topic([0x1a, 0x2b, 0x3c, 0x4d]);

pub(crate) fn pubsub() -> PubsubTopic {
    "/waku/2/rs/0/0".parse().unwrap()
}

pub(crate) fn pow(value: f64) -> Pow {
    Pow::new(value).unwrap()
}

/// An envelope with enough work, mined as known miners do: from nonce zero.
pub(crate) fn envelope(sent: u64, ttl: u32, data: impl Into<Bytes>) -> Arc<Envelope> {
    mined(sent, ttl, data.into(), 0)
}

/// An envelope with enough work whose nonce has the given high bits.
pub(crate) fn mined(sent: u64, ttl: u32, data: Bytes, base: u64) -> Arc<Envelope> {
    let unsealed = Unsealed::new(u32::try_from(sent).unwrap() + ttl, ttl, TOPIC, data).unwrap();
    let nonce = unsealed.search(base, 0, 1 << 26, unsealed.required_bits(pow(0.002))).unwrap();
    Arc::new(unsealed.seal(nonce))
}

/// A message sent at a moment.
pub(crate) fn message(sent: Duration, payload: impl Into<Bytes>) -> WakuMessage {
    WakuMessage {
        payload: payload.into(),
        content_topic: content_topic::canonical(TOPIC),
        version: 1,
        timestamp: Some(i64::try_from(sent.as_nanos()).unwrap()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

pub(crate) fn message_now(now: Now, payload: impl Into<Bytes>) -> WakuMessage {
    message(now.unix, payload)
}

pub(crate) fn received(message: &WakuMessage) -> Arc<Received> {
    received_on(pubsub(), message.encode())
}

pub(crate) fn received_on(pubsub_topic: PubsubTopic, data: Bytes) -> Arc<Received> {
    let message = WakuMessage::decode(&data).unwrap();
    let hash = message_hash(&pubsub_topic, &message);
    let from: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
    Arc::new(Received { pubsub_topic, message, hash, data, from, proven: true })
}
