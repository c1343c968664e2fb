//! The messages of an envelope that never came by gossip: what another archive has, as it would have been kept here. Pure.
//!
//! An envelope that was one at first becomes the message that it would have become, on each of its routes; one that says it was a message
//! becomes that message again, where this can be told bit for bit. Then the same thing has one row, whichever archive it was learnt from.
//! Spec: 15/WAKU-BRIDGE. See [`crate::remake`] for the other way.

use std::sync::Arc;

use waku0::envelope::Envelope;
use waku2::{hash::message_hash, message::WakuMessage, topic::PubsubTopic};

use crate::{
    config::Config,
    crossing::Direction,
    history::{EnvelopeHalf, Kept, MessageHalf, Why},
    mapping,
    origin::MessageOrigin,
    router::{Route, Signing},
    seen::Fingerprint,
};

/// An envelope, as it is kept for one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// The route's name.
    pub route: Arc<str>,
    /// The row; none where its message can't be told, so that the envelope stands alone.
    pub kept: Option<Kept>,
}

/// What to keep of an envelope; nothing where it would not have been let through either, or was an ephemeral message.
#[must_use]
pub fn relearn(config: &Config, envelope: &Envelope) -> Vec<Learnt> {
    let is_sound = envelope.ttl() > 0 && envelope.pow() >= config.min_pow;
    if !is_sound || envelope.raw().len() > config.max_envelope_bytes {
        return Vec::new();
    }
    let tags = config.policy.origin_tags.is_on();
    let Some(origin) = MessageOrigin::from_nonce(envelope.nonce()).filter(|_| tags) else {
        return config.routes.to_v2(envelope.topic()).map(|route| from_v1(route, envelope, tags)).collect();
    };
    let Some(route) = config.routes.to_v2(envelope.topic()).next().filter(|_| !origin.ephemeral) else {
        return Vec::new();
    };
    let message = mapping::restore(envelope, origin).zip(home(config, envelope));
    let kept = message.map(|(message, pubsub)| kept(envelope, message, pubsub, Direction::V2ToV1));
    vec![Learnt { route: Arc::clone(&route.name), kept }]
}

fn from_v1(route: &Route, envelope: &Envelope, tags: bool) -> Learnt {
    let plain = |tagged| mapping::message_of(envelope, mapping::timestamp_of(envelope), tagged);
    let message = match &route.signing {
        Signing::Open => Some(plain(tags)),
        Signing::With(key) => key.sign(&route.pubsub, plain(false)).ok(),
        Signing::NoKey => None,
    };
    let kept = message.map(|message| kept(envelope, message, route.pubsub.clone(), Direction::V1ToV2));
    Learnt { route: Arc::clone(&route.name), kept }
}

/// The pubsub topic that a message came from, where only one can be meant.
fn home(config: &Config, envelope: &Envelope) -> Option<PubsubTopic> {
    let leads = |route: &&Arc<Route>| route.takes(Direction::V2ToV1) && route.topics.contains(envelope.topic());
    let mut homes = config.routes.routes().iter().filter(leads).map(|route| &route.pubsub);
    let first = homes.next()?;
    homes.all(|other| other == first).then(|| first.clone())
}

fn kept(envelope: &Envelope, message: WakuMessage, pubsub_topic: PubsubTopic, first: Direction) -> Kept {
    Kept {
        content: Fingerprint::new(envelope.topic(), envelope.data()),
        sent_nanos: message.timestamp.unwrap_or_else(|| mapping::timestamp_of(envelope)),
        topic: envelope.topic(),
        data: envelope.data().clone(),
        wrapped: message.version != mapping::FRAMED_VERSION,
        envelope: EnvelopeHalf::of(envelope),
        message: MessageHalf { hash: message_hash(&pubsub_topic, &message), pubsub_topic, message },
        first,
        why: Why::Crossed,
        proven: false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use waku0::topic::Topic;
    use waku2::message::Meta;

    use super::*;
    use crate::{
        policy::Ways,
        remake::{Remade, remake},
        router::Router,
    };

    const SENT: u32 = 1_700_000_000;
    const TOPIC: Topic = Topic([1, 2, 3, 4]);

    fn topic(n: u8) -> PubsubTopic {
        format!("/waku/2/rs/0/{n}").parse().unwrap()
    }

    fn config(routes: Vec<Route>) -> Config {
        Config { routes: Router::table(routes).unwrap(), ..Config::default() }
    }

    fn both() -> Config {
        config(vec![Route::everything(topic(0), Ways::Both)])
    }

    fn envelope() -> Envelope {
        let unsealed = mapping::unsealed(TOPIC, Bytes::from_static(b"data"), SENT, 50).unwrap();
        let bits = unsealed.required_bits(both().min_pow);
        (0..).map(|nonce| unsealed.clone().seal(nonce)).find(|made| made.pow() >= both().min_pow && bits < 20).unwrap()
    }

    fn message(version: u32, ephemeral: bool) -> WakuMessage {
        WakuMessage {
            payload: Bytes::from_static(b"for later"),
            content_topic: "/waku/1/0x01020304/rfc26".into(),
            version,
            timestamp: Some(i64::from(SENT) * 1_000_000_000 + 5),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral,
        }
    }

    fn mined(config: &Config, message: &WakuMessage) -> Envelope {
        match remake(config, &topic(0), message).unwrap() {
            Remade::Unmined(unmined) => unmined.mine().unwrap(),
            Remade::Rebuilt(envelope) => envelope,
        }
    }

    #[test]
    fn an_envelope_is_the_message_that_it_would_have_become() {
        let (config, envelope) = (both(), envelope());
        let [Learnt { route, kept: Some(kept) }] = &relearn(&config, &envelope)[..] else { panic!() };
        let expected = mapping::message_of(&envelope, mapping::timestamp_of(&envelope), true);
        assert_eq!((&**route, &kept.message.message), ("default", &expected));
        assert_eq!((kept.envelope.hash, kept.first), (Some(envelope.hash()), Direction::V1ToV2));
        assert!(!kept.proven);
    }

    #[test]
    fn what_was_a_message_is_that_message() {
        for version in [0, 1] {
            let (config, message) = (both(), message(version, false));
            let [Learnt { kept: Some(kept), .. }] = &relearn(&config, &mined(&config, &message))[..] else { panic!() };
            assert_eq!((&kept.message.message, kept.wrapped), (&message, version == 0));
            assert_eq!((Some(kept.sent_nanos), kept.first), (message.timestamp, Direction::V2ToV1));
        }
        assert!(relearn(&both(), &mined(&both(), &message(1, true))).is_empty(), "ephemeral");
    }

    #[test]
    fn a_message_of_one_of_two_topics_stands_alone() {
        let second = Route { name: "second".into(), ..Route::everything(topic(1), Ways::V2ToV1) };
        let config = config(vec![Route::everything(topic(0), Ways::Both), second]);
        let learnt = relearn(&config, &mined(&config, &message(1, false)));
        assert!(matches!(&learnt[..], [Learnt { kept: None, .. }]), "{learnt:?}");
    }

    #[test]
    fn what_gossip_would_not_let_through_is_not_learnt() {
        let envelope = envelope();
        assert!(relearn(&config(vec![Route::everything(topic(0), Ways::V2ToV1)]), &envelope).is_empty());
        assert!(relearn(&Config { max_envelope_bytes: 10, ..both() }, &envelope).is_empty());
        let lazy = Envelope::new(SENT + 50, 50, TOPIC, vec![7; 40_000].into(), 1).unwrap();
        assert!(lazy.pow() < both().min_pow && relearn(&both(), &lazy).is_empty());
    }
}
