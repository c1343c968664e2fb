//! Decoders of the v2 side. Gossip's own frames are read by libp2p.

use std::collections::HashMap;

use bridge::content_topic;
use bytes::Bytes;
use waku2::{
    ContentTopic, PubsubTopic, Shard, Verdict, WakuMessage,
    discovery::enr::{Node, RelayShards, decode_addrs, encode_addrs},
    hash::message_hash,
    lightpush::{self, MAX_ID_BYTES, legacy, server, wire},
    metadata::Metadata,
    meter::Budget,
    peer_exchange::{Request, Response, wire::MAX_RECORDS},
    rules::Position,
    store::{self, query::MAX_PAGE},
    validate::{Judged, Policy, Validator},
};

use crate::script::start;

/// The generator of the curve: a key that nobody signs with here.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// What is read as a message is written as one that reads and hashes the same, and validation finds the same in it; no rule takes
/// what does not decode.
pub fn message(input: &[u8]) {
    let topic = PubsubTopic::from(Shard { cluster: waku2::ClusterId(1), index: 0 });
    let data = Bytes::copy_from_slice(input);
    let Judged::Done(verdict, validated) = Validator::default().judge(&topic, &data, start()) else {
        unreachable!("no proofs are verified")
    };
    let strict = Policy {
        timestamp_window: Some(waku2::preset::TIMESTAMP_WINDOW),
        free_bandwidth: Some(Budget::default()),
        protected: HashMap::from([(topic.clone(), KEY.parse().expect("a point of the curve"))]),
        ..Policy::default()
    };
    let judged = Validator::new(strict).judge(&topic, &data, start());
    assert!(!matches!(judged, Judged::Done(Verdict::Accept, _)), "nobody signed it");
    let decoded = WakuMessage::decode(input);
    assert!(verdict != Verdict::Accept || decoded.is_ok());
    let Ok(message) = decoded else { return };
    assert!(validated.is_none_or(|validated| validated == message));
    let again = WakuMessage::decode(&message.encode()).expect("our own message");
    assert_eq!(message_hash(&topic, &again), message_hash(&topic, &message));
    assert_eq!(again, message);
}

/// What is read as metadata is written as metadata that reads the same.
pub fn metadata(input: &[u8]) {
    if let Ok(metadata) = Metadata::decode(input) {
        assert_eq!(Metadata::decode(&metadata.encode()).as_ref(), Ok(&metadata));
    }
}

/// Requests and responses of peer exchange: what is read is written as one that reads the same.
pub fn exchange(input: &[u8]) {
    let request = Request::decode(input);
    assert_eq!(Request::decode(&request.encode()), request);
    if let Ok(response) = Response::decode(input) {
        assert!(response.records.len() <= MAX_RECORDS);
        assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(&response));
    }
}

/// Requests of lightpush of both versions: what is to be published is a message on a topic that is one, and what is not has its answer.
pub fn lightpush(input: &[u8]) {
    let config = lightpush::Config { cluster: waku2::ClusterId(1), shards: 8, codes: Position::Text, proves: true };
    let data = Bytes::copy_from_slice(input);
    for asked in [server::asked(data.clone(), &config), server::asked_legacy(data.clone(), &config)] {
        assert!(asked.id.len() <= MAX_ID_BYTES);
        let outcome = asked.push.map(|push| {
            assert!(WakuMessage::decode(&push.data).is_ok());
            assert!(!push.pubsub_topic.as_str().trim().is_empty());
            1
        });
        let answer = server::answer(asked.id.clone(), outcome.clone(), &config);
        assert_eq!(wire::Response::decode(answer.encode()), Ok(answer));
        let answer = server::answer_legacy(asked.id, outcome);
        assert_eq!(legacy::Response::decode(answer.encode()), Ok(answer));
    }
    let _ = wire::Response::decode(data.clone());
    let _ = legacy::Response::decode(data);
}

/// Requests and responses of store 3: what is asked makes sense within its bounds, and reads the same when it is written.
pub fn store(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    if let Ok(store::wire::Request { request_id, query: Ok(query) }) = store::wire::Request::decode(input.clone()) {
        assert!((1..=MAX_PAGE).contains(&query.limit));
        let written = store::wire::Request::encode(&request_id, &query);
        assert_eq!(store::wire::Request::decode(written).expect("our own request").query, Ok(query));
    }
    if let Ok(response) = store::wire::Response::decode(input) {
        assert_eq!(store::wire::Response::decode(response.encode()), Ok(response));
    }
}

/// The same of store 2.0.0-beta4.
pub fn store_legacy(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    if let Some(store::legacy::Request { request_id, query: Ok(query) }) = store::legacy::Request::decode(input.clone())
    {
        assert!((1..=MAX_PAGE).contains(&query.limit));
        let written = store::legacy::Request::encode(&request_id, &query).expect("its own words");
        assert_eq!(store::legacy::Request::decode(written).map(|request| request.query), Some(Ok(query)));
    }
    if let Ok(response) = store::legacy::Response::decode(input) {
        assert_eq!(store::legacy::Response::decode(response.encode()), Ok(response));
    }
}

/// Node records, and the Waku keys of what would be one if it were signed: shards and addresses are written as they are read.
pub fn record(input: &[u8]) {
    if let Ok(record) = devp2p::enr::decode(input) {
        assert!(Node::read(record).is_some(), "the key is one of the curve");
    }
    for shards in [RelayShards::decode_list(input), RelayShards::decode_vector(input)].into_iter().flatten() {
        let (name, value) = shards.encode();
        let read = if name == "rs" { RelayShards::decode_list(&value) } else { RelayShards::decode_vector(&value) };
        assert_eq!(read, Ok(shards));
    }
    if let Ok(addrs) = decode_addrs(input) {
        let written = encode_addrs(&addrs);
        let again = decode_addrs(&written).expect("our own list");
        assert_eq!(encode_addrs(&again), written);
    }
}

/// Topics of both kinds: what the bridge takes has one canonical spelling.
pub fn topics(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let _ = text.parse::<PubsubTopic>().map(|topic| assert_eq!(topic.as_str(), text));
    let topic = ContentTopic::from(text);
    let _ = waku2::shard::shard_of(&topic, 8);
    for early in [false, true] {
        if let Ok(bridgeable) = content_topic::parse(&topic, early) {
            let canonical = content_topic::canonical(bridgeable.topic);
            let again = content_topic::parse(&canonical, false).expect("our own spelling");
            assert_eq!(again.topic, bridgeable.topic);
        }
    }
}
