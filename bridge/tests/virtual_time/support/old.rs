//! A bridge as nim-waku's was in 2021: no tags, its own clock for the expiry, and a memory of twenty messages.

use std::collections::VecDeque;

use bridge::content_topic;
use devp2p::clock::Now;
use waku0::{Envelope, Unsealed};
use waku2::{MessageHash, Meta, Received, WakuMessage, hash::message_hash};

use super::users::pow;

const TTL_SECS: u32 = 5;
const MEMORY: usize = 20;

#[derive(Default)]
pub(crate) struct OldBridge {
    seen: VecDeque<MessageHash>,
}

impl OldBridge {
    pub(crate) fn envelope(&mut self, pubsub: &waku2::PubsubTopic, envelope: &Envelope) -> Option<WakuMessage> {
        let message = WakuMessage {
            payload: envelope.data().clone(),
            content_topic: content_topic::canonical(envelope.topic()),
            version: 1,
            timestamp: Some(i64::from(envelope.sent()) * 1_000_000_000),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        self.is_new(message_hash(pubsub, &message)).then_some(message)
    }

    pub(crate) fn message(&mut self, now: Now, received: &Received) -> Option<Envelope> {
        let read = content_topic::parse(&received.message.content_topic, false).ok()?;
        if !self.is_new(received.hash) {
            return None;
        }
        let expiry = u32::try_from(now.unix_secs()).unwrap() + TTL_SECS;
        let unsealed = Unsealed::new(expiry, TTL_SECS, read.topic, received.message.payload.clone()).unwrap();
        let nonce = unsealed.search(0, 0, 1 << 26, unsealed.required_bits(pow(0.002)))?;
        Some(unsealed.seal(nonce))
    }

    fn is_new(&mut self, hash: MessageHash) -> bool {
        if self.seen.contains(&hash) {
            return false;
        }
        if self.seen.len() == MEMORY {
            self.seen.pop_front();
        }
        self.seen.push_back(hash);
        true
    }
}
