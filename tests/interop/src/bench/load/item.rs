//! What is sent: envelopes of 500 bytes, and messages that become envelopes of as many. Each says its number.

use crate::payloads;
use anyhow::{Context, Result};
use bytes::Bytes;
use devp2p::clock;
use std::time::Instant;
use waku0::{Envelope, Pow, Topic, Unsealed};
use waku2::{Meta, PubsubTopic, WakuMessage};

/// Bytes of data: with expiry, time to live, topic, nonce and their lengths an envelope has 500, give or take its nonce.
const DATA: usize = 476;
/// Seconds that an envelope lives; what Status's applications used.
const TTL: u32 = 15;
/// Its proof of work; what they aimed at.
const POW: f64 = 0.002;
/// Nonces to try: a handful is enough.
const NONCES: u64 = 1 << 20;
/// What the envelopes are about.
const TOPIC: Topic = Topic([0x10, 0x20, 0x30, 0x40]);
/// The same, as 15/WAKU-BRIDGE spells it.
const CONTENT_TOPIC: &str = "/waku/1/0x10203040/rfc26";
/// What a bridge without flags bridges.
const PUBSUB_TOPIC: &str = "/waku/2/rs/0/0";

/// Something has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) number: u64,
    pub(super) at: Instant,
}

/// Data that says its number and then nothing that compresses.
fn data(number: u64) -> Bytes {
    let mut data = payloads::bytes(DATA, number);
    data[..8].copy_from_slice(&number.to_le_bytes());
    data.into()
}

/// The number that some data says.
pub(super) fn number(data: &[u8]) -> Option<u64> {
    data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// An envelope sent now.
pub(super) fn envelope(number: u64) -> Result<Envelope> {
    let expiry = u32::try_from(clock::now().unix_secs())?.saturating_add(TTL);
    let unsealed = Unsealed::new(expiry, TTL, TOPIC, data(number))?;
    let bits = unsealed.required_bits(Pow::new(POW)?);
    let nonce = unsealed.search(0, 0, NONCES, bits).context("no nonce found")?;
    Ok(unsealed.seal(nonce))
}

/// A message sent now.
pub(super) fn message(number: u64) -> WakuMessage {
    WakuMessage {
        payload: data(number),
        content_topic: CONTENT_TOPIC.into(),
        version: 1,
        timestamp: Some(clock::now().unix_nanos()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

/// Where messages go.
pub(super) fn pubsub_topic() -> Result<PubsubTopic> {
    PUBSUB_TOPIC.parse().context("a pubsub topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_500_bytes_and_enough_work() {
        let envelope = envelope(7).unwrap();
        assert!((490..=510).contains(&envelope.raw().len()), "{}", envelope.raw().len());
        assert!(envelope.pow() >= Pow::new(POW).unwrap());
        assert_eq!((number(envelope.data()), number(&message(8).payload), number(&[1])), (Some(7), Some(8), None));
    }
}
