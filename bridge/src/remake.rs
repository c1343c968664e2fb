//! The envelope of a message that never crossed, for who asks for history on v1. Pure.
//!
//! It is the one that a bridge would have made while the message was live, by the same rule, so that it has the same hash: rebuilt where
//! the message was an envelope before, else to be mined, with the time to live of the profile. A message that no bridge lets through has none.

use bytes::Bytes;
use waku0::{envelope::Envelope, pow::Unsealed, topic::Topic};
use waku2::{message::WakuMessage, topic::PubsubTopic};

use crate::{
    config::Config,
    content_topic, mapping,
    origin::{MAX_BITS, SEARCH_SPACE},
};

/// What of an envelope a message gives.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept")]
pub enum Remade {
    /// All of it: it was one before.
    Rebuilt(Envelope),
    /// All but the nonce.
    Unmined(Unmined),
}

/// An envelope without a nonce.
#[derive(Debug, Clone)]
pub struct Unmined {
    /// Its topic.
    pub topic: Topic,
    /// Its data.
    pub data: Bytes,
    /// The data is a frame around the message's payload.
    pub wrapped: bool,
    unsealed: Unsealed,
    base: u64,
    bits: u32,
}

impl Unmined {
    /// Searches the lowest nonce, on this thread; `None` where none of the search space is enough.
    #[must_use]
    pub fn mine(self) -> Option<Envelope> {
        let nonce = self.unsealed.search(self.base, 0, SEARCH_SPACE, self.bits)?;
        Some(self.unsealed.seal(nonce))
    }
}

/// The envelope of a message on this topic; `None` where no route takes it, or no envelope can be made of it.
#[must_use]
pub fn remake(config: &Config, pubsub: &PubsubTopic, message: &WakuMessage) -> Option<Remade> {
    let read = content_topic::parse(&message.content_topic, config.policy.early_encoding).ok()?;
    config.routes.to_v1(pubsub, read.topic)?;
    let tagged = config.policy.origin_tags.is_on().then(|| mapping::rebuild(message, read.topic)).flatten();
    // A tag is a claim: what has not the work of an envelope was none.
    if let Some(envelope) = tagged.filter(|envelope| envelope.ttl() > 0 && envelope.pow() >= config.min_pow) {
        return Some(Remade::Rebuilt(envelope));
    }
    let framed = mapping::frame(message, read.canonical, &config.policy).ok()?;
    if framed.data.len() > config.max_envelope_bytes {
        return None;
    }
    let sent = mapping::seconds_of(message.timestamp?)?;
    let unsealed = mapping::unsealed(read.topic, framed.data.clone(), sent, config.profile.ttl_secs).ok()?;
    let bits = unsealed.required_bits(config.pow_target(framed.data.len()));
    let base = if config.policy.origin_tags.is_on() { framed.origin.to_nonce() } else { 0 };
    let wrapped = framed.origin.wrapped;
    (bits <= MAX_BITS)
        .then(|| Remade::Unmined(Unmined { topic: read.topic, data: framed.data, wrapped, unsealed, base, bits }))
}

#[cfg(test)]
mod tests {
    use waku2::Meta;

    use super::*;
    use crate::{
        policy::Ways,
        router::{Route, Router},
    };

    const SENT: u32 = 1_700_000_000;

    fn config(ways: Ways) -> Config {
        let routes = Router::table(vec![Route::everything("/waku/2/rs/0/0".parse().unwrap(), ways)]).unwrap();
        Config { routes, ..Config::default() }
    }

    fn message(version: u32, content_topic: &str) -> WakuMessage {
        WakuMessage {
            payload: Bytes::from_static(b"for later"),
            content_topic: content_topic.into(),
            version,
            timestamp: Some(i64::from(SENT) * 1_000_000_000 + 5),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn made(config: &Config, message: &WakuMessage) -> Option<Envelope> {
        match remake(config, &"/waku/2/rs/0/0".parse().unwrap(), message)? {
            Remade::Rebuilt(envelope) => Some(envelope),
            Remade::Unmined(unmined) => unmined.mine(),
        }
    }

    #[test]
    fn it_is_sent_when_the_message_was_and_has_the_work_of_the_profile() {
        let config = config(Ways::Both);
        for version in [0, 1] {
            let envelope = made(&config, &message(version, "/waku/1/0x01020304/rfc26")).unwrap();
            assert_eq!((envelope.sent(), envelope.ttl(), envelope.topic()), (SENT, 15, Topic([1, 2, 3, 4])));
            assert!(envelope.pow() >= config.profile.pow_target);
            assert_eq!(made(&config, &message(version, "/waku/1/0x01020304/rfc26")).unwrap().hash(), envelope.hash());
        }
    }

    #[test]
    fn what_was_an_envelope_is_that_envelope() {
        let config = config(Ways::Both);
        let first = made(&config, &message(1, "/waku/1/0x01020304/rfc26")).unwrap();
        let tagged = mapping::message_of(&first, mapping::timestamp_of(&first), true);
        assert_eq!(made(&config, &tagged).unwrap().hash(), first.hash());
        // One that claims too little work was none.
        let forged = Envelope::new(SENT + 15, 15, first.topic(), vec![7; 9_000].into(), 3).unwrap();
        let forged_message = mapping::message_of(&forged, mapping::timestamp_of(&forged), true);
        assert_ne!(made(&config, &forged_message).unwrap().hash(), forged.hash());
    }

    #[test]
    fn what_no_route_takes_has_none() {
        let both = config(Ways::Both);
        assert!(made(&both, &message(1, "/toychat/2/huilong/proto")).is_none());
        assert!(made(&both, &WakuMessage { timestamp: None, ..message(1, "/waku/1/0x01020304/rfc26") }).is_none());
        assert!(made(&config(Ways::V1ToV2), &message(1, "/waku/1/0x01020304/rfc26")).is_none());
    }
}
