//! Decoders of waku/0 bodies.

use std::sync::Arc;

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, EnvelopeHash,
    keccak::Lanes,
    mail::request::{Form, MAX_LIMIT, Request},
    packet::{
        Code, messages,
        p2p::{Completion, P2pRequest},
        sync::{SyncRequest, SyncResponse},
    },
    payload::{Content, plaintext},
    status::StatusOptions,
    version::Version,
};

/// What is read as a Status of any version is written as one that reads the same. By position none is left out, so that
/// it reads the same from then on.
pub fn status(input: &[u8]) {
    for version in Version::ALL {
        let Ok(mut options) = StatusOptions::decode_status(version, input) else { continue };
        if version == Version::Shh6 {
            options = StatusOptions::decode_status(version, &options.encode_status(version)).expect("our own Status");
        }
        let again = options.encode_status(version);
        assert_eq!(StatusOptions::decode_status(version, &again).as_ref(), Ok(&options));
        assert_eq!(StatusOptions::shape_of(version, &again), version.status_shape());
    }
}

/// The same of a Status Update, and of the packets that tell one option.
pub fn status_update(input: &[u8]) {
    for version in [Version::Waku0, Version::Waku1] {
        if let Ok(options) = StatusOptions::decode_update(version, input) {
            let again = options.encode_update(version);
            assert_eq!(StatusOptions::decode_update(version, &again).as_ref(), Ok(&options));
        }
    }
    for code in [Code::PowRequirement, Code::BloomFilter, Code::RateLimits] {
        if let Ok(options) = StatusOptions::decode_change(Version::Shh6, code, input) {
            let told = options.changes(Version::Shh6.status_shape());
            let [(again, body)] = told.as_slice() else { panic!("one option in {} packets", told.len()) };
            assert_eq!((*again, StatusOptions::decode_change(Version::Shh6, code, body)), (code, Ok(options)));
        }
    }
}

/// What mailservers tell each other is written as it was read.
pub fn sync(input: &[u8]) {
    if let Ok(request) = SyncRequest::decode(input) {
        assert_eq!(SyncRequest::decode(&request.encode()).as_ref(), Ok(&request));
    }
    if let Ok(response) = SyncResponse::decode(&Bytes::copy_from_slice(input)) {
        let envelopes: Vec<_> = response.envelopes.clone().map_while(Result::ok).flatten().map(Arc::new).collect();
        let body = SyncResponse::encode(&envelopes, response.cursor.as_ref(), response.is_final, &response.error);
        let again = SyncResponse::decode(&body).expect("our own answer");
        assert_eq!(again.envelopes.count(), envelopes.len());
        assert_eq!((again.cursor, again.is_final), (response.cursor, response.is_final));
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

/// What is read as a plaintext lies in it without gaps, and written again, reads the same but for the signature.
pub fn payload(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(opened) = plaintext::decode(&bytes) else { return };
    let signature = opened.signature.as_ref().map_or(&[][..], |signature| &signature.bytes);
    let field = usize::from(input[0] & 3);
    assert_eq!(input[1 + field..], [&opened.payload, &opened.padding, signature].concat());
    let mut rng = StdRng::seed_from_u64(1);
    let content = Content { payload: opened.payload, padding: opened.padding };
    let again = plaintext::encode(&content, None, &mut rng).expect("its length came from a length field");
    let again = plaintext::decode(&again.into()).expect("our own plaintext");
    assert_eq!((again.payload, again.signature), (content.payload, None));
    assert!(again.padding == content.padding || content.padding.is_empty());
}

/// Requests for history, in the open and as the payload of an envelope, and ends of answers.
pub fn mail(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    if let Ok(P2pRequest::Plain(plain)) = P2pRequest::decode(&body) {
        assert_eq!(P2pRequest::decode(&plain.encode()), Ok(P2pRequest::Plain(plain)));
    }
    // A string cannot say everything that a list can.
    let is_for_lists_alone = |completion: &Completion| match completion {
        Completion::Done { last: None, cursor, .. } => cursor.is_some(),
        Completion::Done { request, last: Some(_), .. } => request.starts_with(b"ERROR="),
        Completion::Failed { .. } => false,
    };
    if let Ok(completion) = Completion::decode(input)
        && !is_for_lists_alone(&completion)
    {
        assert_eq!(Completion::decode(&completion.encode()), Ok(completion));
    }
    let Ok((request, form)) = Request::decode(input) else { return };
    assert_eq!(Request::decode(&request.encode(Form::Deployed)), Ok((request.clone(), Form::Deployed)));
    if let Ok(query) = request.query(form, 1_600_000_000) {
        assert!(query.lower <= query.upper && (1..=MAX_LIMIT).contains(&query.limit));
    }
}
