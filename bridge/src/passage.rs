//! What is known of one envelope or message while it is on its way: the report of its end, as far as it is written.

use std::{sync::Arc, time::Duration, time::Instant};

use devp2p::clock::Now;
use waku0::{
    envelope::{Envelope, EnvelopeHash},
    topic::Topic,
};
use waku2::{
    handle::Received,
    hash::{MessageHash, message_hash},
    topic::PubsubTopic,
};

use crate::{
    crossing::{Conversion, Crossing, Direction, Outcome},
    history::{Draft, EnvelopeHalf},
    job::Work,
    router::Route,
    seen::{Entry, Fingerprint, SeenKey},
};

#[derive(Debug, Clone)]
pub(crate) struct Passage {
    pub(crate) direction: Direction,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) topic: Option<Topic>,
    pub(crate) pubsub: Option<PubsubTopic>,
    pub(crate) envelope: Option<EnvelopeHash>,
    pub(crate) message: Option<MessageHash>,
    /// What it says, once that was looked at.
    pub(crate) content: Option<Fingerprint>,
    /// Its entry in the memory of what was seen; none for what may not enter it.
    pub(crate) key: Option<SeenKey>,
    /// Its beginning stands in the journal, or will.
    pub(crate) noted: bool,
    /// Its row of history; none where there is no archive, and of what is never kept.
    pub(crate) draft: Option<Box<Draft>>,
    /// Our own v1 node has its envelope from us, at a time when it had no peer.
    pub(crate) pooled: bool,
    /// It has given others their time to carry it.
    pub(crate) waited: bool,
    /// Unix seconds; the time of receipt where nothing was said.
    pub(crate) sent: u64,
    pub(crate) received: Instant,
    pub(crate) by: Conversion,
    /// As it came.
    pub(crate) bytes: usize,
}

impl Passage {
    pub(crate) fn of_envelope(now: Now, envelope: &Envelope) -> Self {
        Self {
            direction: Direction::V1ToV2,
            route: None,
            topic: Some(envelope.topic()),
            pubsub: None,
            envelope: Some(envelope.hash()),
            message: None,
            content: None,
            key: None,
            noted: false,
            draft: None,
            pooled: false,
            waited: false,
            sent: u64::from(envelope.sent()),
            received: now.instant,
            by: Conversion::Wrapped,
            bytes: envelope.raw().len(),
        }
    }

    /// `at` is when it came, in unix seconds.
    pub(crate) fn of_message(now: Now, at: u64, received: &Received) -> Self {
        Self {
            direction: Direction::V2ToV1,
            route: None,
            topic: None,
            pubsub: Some(received.pubsub_topic.clone()),
            envelope: None,
            message: Some(received.hash),
            content: None,
            key: None,
            noted: false,
            draft: None,
            pooled: false,
            waited: false,
            sent: sent_of(received.message.timestamp, at),
            received: now.instant,
            by: Conversion::Mined,
            bytes: received.data.len(),
        }
    }

    /// It goes this way to v2.
    pub(crate) fn take(&mut self, route: Arc<Route>) {
        self.pubsub = Some(route.pubsub.clone());
        self.route = Some(route);
    }

    /// Is it the very envelope or message of an entry of the memory?
    pub(crate) fn is_of(&self, entry: &Entry) -> bool {
        match self.direction {
            Direction::V1ToV2 => self.envelope == entry.envelope,
            Direction::V2ToV1 => self.message == entry.message,
        }
    }

    /// Somebody else has published this message, which may be the very one that this would have become.
    pub(crate) fn is_on_v2(&mut self, received: &Received) {
        let Received { pubsub_topic, message, hash, proven: true, .. } = received else { return };
        if let (Some(draft), Some(proof)) = (&mut self.draft, &message.rate_limit_proof)
            && message_hash(pubsub_topic, &draft.message) == *hash
        {
            draft.is_proven(proof.clone());
        }
    }

    /// What has been made of it on the way.
    pub(crate) fn note_made(&mut self, work: &Work) {
        match work {
            Work::Post(envelope) => {
                self.envelope = Some(envelope.hash());
                if let Some(draft) = &mut self.draft {
                    draft.envelope = EnvelopeHalf::of(envelope);
                }
            }
            Work::Start
            | Work::Noted(_)
            | Work::Envelope(_)
            | Work::Frame { .. }
            | Work::Restore { .. }
            | Work::Publish { .. }
            | Work::Ended { .. } => {}
        }
    }

    pub(crate) fn priority(&self) -> u8 {
        self.route.as_ref().map_or(0, |route| route.priority)
    }

    pub(crate) fn took(&self, now: Now) -> Duration {
        now.instant.saturating_duration_since(self.received)
    }

    pub(crate) fn end(self, now: Now, outcome: Outcome) -> Crossing {
        Crossing {
            direction: self.direction,
            route: self.route.map(|route| Arc::clone(&route.name)),
            outcome,
            topic: self.topic,
            pubsub_topic: self.pubsub,
            envelope: self.envelope,
            message: self.message,
            content: self.content,
            at: now.unix_secs(),
            age: now.unix.saturating_sub(Duration::from_secs(self.sent)),
        }
    }
}

/// Unix seconds; before 1970 counts as 1970, which is as late.
fn sent_of(timestamp: Option<i64>, at: u64) -> u64 {
    timestamp.map_or(at, |nanos| u64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::OnceLock;

    use devp2p::clock;

    use super::*;

    /// The same instant throughout a test.
    pub(crate) fn now() -> Now {
        static START: OnceLock<Instant> = OnceLock::new();
        Now { instant: *START.get_or_init(|| clock::now().instant), unix: Duration::from_secs(1_700_000_000) }
    }

    pub(crate) fn passage(direction: Direction) -> Passage {
        Passage {
            direction,
            route: None,
            topic: None,
            pubsub: None,
            envelope: None,
            message: None,
            content: None,
            key: None,
            noted: false,
            draft: None,
            pooled: false,
            waited: false,
            sent: now().unix_secs(),
            received: now().instant,
            by: Conversion::Wrapped,
            bytes: 0,
        }
    }

    #[test]
    fn a_message_without_a_time_was_sent_when_it_came() {
        assert_eq!(sent_of(None, 1_700_000_000), 1_700_000_000);
        assert_eq!(sent_of(Some(1_999_999_999), 7), 1);
        assert_eq!(sent_of(Some(i64::MIN), 7), 0);
        assert_eq!(sent_of(Some(i64::MAX), 7), 9_223_372_036);
    }

    #[test]
    fn the_end_tells_age_and_ids() {
        let passage = Passage { sent: now().unix_secs() - 3, ..passage(Direction::V1ToV2) };
        let crossing = passage
            .end(now().after(Duration::from_millis(500)), Outcome::Dropped(crate::drop_reason::DropReason::Late));
        assert_eq!(
            (crossing.age, crossing.outcome.reason(), crossing.route),
            (Duration::from_millis(3500), "late", None)
        );
    }
}
