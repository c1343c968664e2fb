//! A self-test: once a minute something of our own goes each way, and how long it takes is told. Pure.
//!
//! Each canary is given to the bridge as if a peer had sent it, on the reserved topic [`TOPIC`], and takes the whole way: checks, memory,
//! route, journal, mining, and the far side's confirmation. It says 32 random bytes that nobody can know before, and it is known again by
//! its hash and by its direction, never by its topic: what others send there is traffic like any other, and what other bridges bring back
//! of ours is a duplicate by then. Canaries count as crossings; no archive is given any that goes by this topic. Where v2 asks for
//! rate-limit proofs each of them spends a message of our rate there.
//!
//! Limits: one canary each way at a time. One that has not ended when the next is due is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::clock::Now;
use rand::RngExt;
use waku0::{
    envelope::{Envelope, EnvelopeHash},
    pow::Unsealed,
    topic::Topic,
};
use waku2::{
    Meta, PeerId, PubsubTopic, WakuMessage,
    handle::Received,
    hash::{MessageHash, message_hash},
};

use crate::{
    config::Config,
    content_topic,
    crossing::{Crossing, Direction, Outcome},
    mapping,
};

/// The v1 topic of canaries: "cnry".
pub const TOPIC: Topic = Topic(*b"cnry");
/// How often one goes each way.
pub const EVERY: Duration = Duration::from_secs(60);
/// Random bytes in each.
const SAYS_BYTES: usize = 32;
/// Nonces tried for an envelope. At the default target the first few do; where this does not do, there is no canary.
const NONCES: u64 = 1 << 16;

/// What came of the canaries of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// How many have crossed.
    pub crossed: u64,
    /// How many have not: dropped, not ended within a minute, or not made.
    pub lost: u64,
    /// How long the last one took that crossed.
    pub latency: Option<Duration>,
    /// When that was: unix seconds.
    pub at: Option<u64>,
}

/// Something to give to the bridge.
#[derive(Debug, Clone)]
pub enum Probe {
    /// As if from a v1 peer.
    Envelope(Arc<Envelope>),
    /// As if from a v2 peer.
    Message(Arc<Received>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Envelope(EnvelopeHash),
    Message(MessageHash),
}

/// The canaries of a bridge.
#[derive(Debug)]
pub struct Canary {
    own: PeerId,
    due: Instant,
    under_way: [Option<Id>; 2],
    readings: [Reading; 2],
}

impl Canary {
    /// The first go a minute from now. `own` is this node.
    #[must_use]
    pub fn new(now: Now, own: PeerId) -> Self {
        Self { own, due: now.instant + EVERY, under_way: [None; 2], readings: Default::default() }
    }

    /// When the next ones go.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        self.due
    }

    /// What came of them, by direction.
    #[must_use]
    pub fn readings(&self) -> [Reading; 2] {
        self.readings
    }

    /// What is to be given to the bridge now: nothing before it is due, and nothing that way where no route leads.
    pub fn fly(&mut self, now: Now, config: &Config, rng: &mut impl RngExt) -> Vec<Probe> {
        if now.instant < self.due {
            return Vec::new();
        }
        self.due = now.instant + EVERY;
        for direction in Direction::ALL {
            if self.under_way[direction as usize].take().is_some() {
                self.readings[direction as usize].lost += 1;
            }
        }
        [self.envelope(now, config, rng), self.message(now, config, rng)].into_iter().flatten().collect()
    }

    /// Something has ended; if it is a canary under way, that one has.
    pub fn ended(&mut self, crossing: &Crossing) {
        let way = crossing.direction as usize;
        let id = match crossing.direction {
            Direction::V1ToV2 => crossing.envelope.map(Id::Envelope),
            Direction::V2ToV1 => crossing.message.map(Id::Message),
        };
        if id.is_none() || self.under_way[way] != id {
            return;
        }
        self.under_way[way] = None;
        let reading = &mut self.readings[way];
        match crossing.outcome {
            Outcome::Crossed { took, .. } => {
                reading.crossed += 1;
                (reading.latency, reading.at) = (Some(took), Some(crossing.at));
            }
            Outcome::Archived(_) | Outcome::Dropped(_) | Outcome::WouldCross { .. } => reading.lost += 1,
        }
    }

    fn envelope(&mut self, now: Now, config: &Config, rng: &mut impl RngExt) -> Option<Probe> {
        config.routes.to_v2(TOPIC).next()?;
        let way = Direction::V1ToV2 as usize;
        let Some(envelope) = seal(now, config, says(rng)) else {
            self.readings[way].lost += 1;
            return None;
        };
        self.under_way[way] = Some(Id::Envelope(envelope.hash()));
        Some(Probe::Envelope(Arc::new(envelope)))
    }

    fn message(&mut self, now: Now, config: &Config, rng: &mut impl RngExt) -> Option<Probe> {
        let pubsub_topic =
            config.routes.pubsub_topics().into_iter().find(|on| config.routes.to_v1(on, TOPIC).is_some())?;
        let received = received(now, pubsub_topic, says(rng), self.own);
        self.under_way[Direction::V2ToV1 as usize] = Some(Id::Message(received.hash));
        Some(Probe::Message(Arc::new(received)))
    }
}

fn says(rng: &mut impl RngExt) -> Bytes {
    let says: [u8; SAYS_BYTES] = rng.random();
    Bytes::copy_from_slice(&says)
}

fn seal(now: Now, config: &Config, data: Bytes) -> Option<Envelope> {
    let (sent, ttl) = (u32::try_from(now.unix_secs()).ok()?, config.profile.ttl_secs);
    let unsealed: Unsealed = mapping::unsealed(TOPIC, data.clone(), sent, ttl).ok()?;
    let nonce = unsealed.search(0, 0, NONCES, unsealed.required_bits(config.pow_target(data.len())))?;
    Some(unsealed.seal(nonce))
}

fn received(now: Now, pubsub_topic: PubsubTopic, payload: Bytes, from: PeerId) -> Received {
    let message = WakuMessage {
        payload,
        content_topic: content_topic::canonical(TOPIC),
        version: mapping::FRAMED_VERSION,
        timestamp: Some(now.unix_nanos()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    };
    let (hash, data) = (message_hash(&pubsub_topic, &message), message.encode());
    // Nobody else's work is asked of us by it, which is what a proof is for.
    Received { pubsub_topic, message, hash, data, from, proven: true }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        action::Action,
        answer::Answer,
        bridge::Bridge,
        drop_reason::DropReason,
        passage::tests::now,
        policy::Ways,
        router::{Route, Router},
        seal::SealJob,
    };

    fn own() -> PeerId {
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap()
    }

    struct Flight {
        bridge: Bridge,
        canary: Canary,
        config: Config,
        rng: StdRng,
        probes: Vec<Probe>,
    }

    fn flight(config: Config, answer: Answer) -> Flight {
        let mut bridge = Bridge::new(config.clone(), StdRng::seed_from_u64(1)).unwrap();
        bridge.v0_peers(now(), 1);
        let mut flight =
            Flight { bridge, canary: Canary::new(now(), own()), config, rng: StdRng::seed_from_u64(2), probes: vec![] };
        flight.goes(answer);
        flight
    }

    impl Flight {
        fn goes(&mut self, answer: Answer) {
            let at = now().after(EVERY);
            let early = self.canary.fly(now().after(EVERY - Duration::from_millis(1)), &self.config, &mut self.rng);
            assert!(early.is_empty());
            self.probes = self.canary.fly(at, &self.config, &mut self.rng);
            for probe in self.probes.clone() {
                self.gives(at, &probe);
            }
            let later = at.after(Duration::from_millis(300));
            while let Some(action) = self.bridge.next_action() {
                match action {
                    Action::Publish { job, .. } => self.bridge.published(later, job, answer.clone()),
                    Action::Post { job, .. } => self.bridge.posted(later, job, answer.clone()),
                    Action::Seal(SealJob { job, unsealed, base, bits, .. }) => {
                        let nonce = unsealed.search(base, 0, 1 << 20, bits).unwrap();
                        self.bridge.sealed(later, job, Ok(unsealed.seal(nonce)));
                    }
                    Action::Report(crossing) => self.canary.ended(&crossing),
                    other => panic!("{other:?}"),
                }
            }
        }

        fn gives(&mut self, at: Now, probe: &Probe) {
            match probe {
                Probe::Envelope(envelope) => self.bridge.envelope(at, envelope),
                Probe::Message(received) => self.bridge.message(at, received),
            }
        }
    }

    #[test]
    fn one_goes_each_way_and_tells_how_long_it_took() {
        let mut flight = flight(Config::default(), Answer::Accepted { already_there: false });
        let at = Some(now().unix_secs() + 60);
        let crossed = Reading { crossed: 1, lost: 0, latency: Some(Duration::from_millis(300)), at };
        assert_eq!(flight.canary.readings(), [crossed, crossed]);
        // What comes back is a duplicate, and says nothing more of it.
        for probe in flight.probes.clone() {
            flight.gives(now().after(EVERY * 2), &probe);
        }
        let mut ends = 0;
        while let Some(action) = flight.bridge.next_action() {
            let Action::Report(crossing) = action else { panic!("{action:?}") };
            flight.canary.ended(&crossing);
            ends += 1;
        }
        assert_eq!((ends, flight.canary.readings()), (2, [crossed, crossed]));
    }

    #[test]
    fn what_does_not_cross_or_does_not_end_is_lost() {
        let flight = flight(Config::default(), Answer::Refused(DropReason::PublishFailed));
        assert_eq!(flight.canary.readings().map(|reading| (reading.crossed, reading.lost)), [(0, 1), (0, 1)]);
        let mut rng = StdRng::seed_from_u64(3);
        let mut alone = Canary::new(now(), own());
        for minute in 1..4 {
            assert_eq!(alone.fly(now().after(EVERY * minute), &Config::default(), &mut rng).len(), 2);
        }
        assert_eq!(alone.readings().map(|reading| reading.lost), [2, 2]);
    }

    #[test]
    fn none_goes_where_no_route_leads() {
        let one_way = Route::everything("/waku/2/rs/0/0".parse().unwrap(), Ways::V2ToV1);
        let config = Config { routes: Router::new(one_way), ..Config::default() };
        let flight = flight(config, Answer::Accepted { already_there: false });
        assert_eq!(flight.canary.readings().map(|reading| reading.crossed), [0, 1]);
    }

    #[test]
    fn somebody_else_on_the_topic_is_not_taken_for_ours() {
        let mut canary = Canary::new(now(), own());
        let mut rng = StdRng::seed_from_u64(3);
        canary.fly(now().after(EVERY), &Config::default(), &mut rng);
        let theirs = seal(now(), &Config::default(), says(&mut rng)).unwrap();
        let mut passage = crate::passage::Passage::of_envelope(now(), &theirs);
        passage.topic = Some(TOPIC);
        let took = Duration::ZERO;
        let by = crate::crossing::Conversion::Wrapped;
        canary.ended(&passage.end(now(), Outcome::Crossed { took, by, already_there: false }));
        assert_eq!(canary.readings(), <[Reading; 2]>::default());
    }
}
