//! Decoders of the v2 side. Gossip's own frames are read by libp2p.

use bridge::content_topic;
use bytes::Bytes;
use waku2::{
    ContentTopic, PubsubTopic, Shard, Verdict, WakuMessage,
    hash::message_hash,
    metadata::Metadata,
    validate::{Policy, validate},
};

use crate::script::start;

/// What is read as a message is written as one that reads and hashes the same, and validation finds the same in it.
pub fn message(input: &[u8]) {
    let topic = PubsubTopic::from(Shard { cluster: waku2::ClusterId(1), index: 0 });
    let (verdict, validated) = validate(&Policy::default(), &topic, &Bytes::copy_from_slice(input), start());
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
