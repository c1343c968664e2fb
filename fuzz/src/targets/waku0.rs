//! Decoders of waku/0 bodies.

use std::sync::Arc;

use bytes::Bytes;
use waku0::{Envelope, EnvelopeHash, keccak::Lanes, packet::messages, status::StatusOptions};

/// What is read as a Status is written as one that reads the same.
pub fn status(input: &[u8]) {
    if let Ok(options) = StatusOptions::decode_status(input) {
        assert_eq!(StatusOptions::decode_status(&options.encode_status()).as_ref(), Ok(&options));
    }
}

/// The same of a Status Update.
pub fn status_update(input: &[u8]) {
    if let Ok(options) = StatusOptions::decode_update(input) {
        assert_eq!(StatusOptions::decode_update(&options.encode_update()).as_ref(), Ok(&options));
    }
}

/// An envelope has one encoding: what was read, written again, is the same bytes.
pub fn envelope(input: &[u8]) {
    let raw = Bytes::copy_from_slice(input);
    let Ok(envelope) = Envelope::decode(raw.clone()) else { return };
    check(&envelope);
    assert_eq!(envelope.raw(), &raw);
}

fn check(envelope: &Envelope) {
    assert!(envelope.ttl() <= envelope.expiry());
    assert_eq!(envelope.hash(), EnvelopeHash::of(envelope.raw()));
    let pow = envelope.pow().value();
    assert!(pow >= 0.0 && !pow.is_nan(), "a work of {pow}");
    let data = envelope.data().clone();
    let again = Envelope::new(envelope.expiry(), envelope.ttl(), envelope.topic(), data, envelope.nonce());
    assert_eq!(again.expect("decoded envelopes are valid").raw(), envelope.raw());
}

/// Every envelope of a body is found, whatever the lanes, and is itself.
pub fn messages(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let Ok(items) = messages::decode(&body) else { return };
    let wide: Vec<Envelope> = batches(items.clone(), Lanes::detected());
    let narrow: Vec<Envelope> = items.map_while(Result::ok).flatten().collect();
    assert_eq!(wide, narrow);
    wide.iter().for_each(check);
    let shared: Vec<_> = wide.into_iter().map(Arc::new).collect();
    let again = messages::encode(&shared);
    let read = again.iter().flat_map(|body| messages::decode(body).expect("our own body")).count();
    assert_eq!(read, shared.len());
}

fn batches(mut items: messages::Envelopes, lanes: Lanes) -> Vec<Envelope> {
    let batches = std::iter::from_fn(|| items.next_batch(lanes)).map_while(Result::ok);
    batches.flatten().flatten().collect()
}
