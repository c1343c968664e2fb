//! What filter did so far, and how long it took.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{client::Unwanted, server::Refusal, subscriptions::Full, wire::Operation};
use crate::service::counters::DURATIONS;

/// Bounds of the classes of [`Counters::push_time`].  Deployed: nwaku.
pub const PUSH_DURATIONS: [Duration; 17] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_millis(7_500),
    Duration::from_secs(10),
    Duration::from_secs(15),
    Duration::from_secs(20),
    Duration::from_secs(30),
];

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Filter v2.
    Current(Operation),
    /// The first filter: a subscription if true, else the end of one.
    Legacy(bool),
}

impl Kind {
    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 7] = [
        Self::Current(Operation::Ping),
        Self::Current(Operation::Subscribe),
        Self::Current(Operation::Unsubscribe),
        Self::Current(Operation::UnsubscribeAll),
        Self::Current(Operation::Unknown(-1)),
        Self::Legacy(true),
        Self::Legacy(false),
    ];

    /// Its place in [`Self::ALL`] and among counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Current(Operation::Ping) => 0,
            Self::Current(Operation::Subscribe) => 1,
            Self::Current(Operation::Unsubscribe) => 2,
            Self::Current(Operation::UnsubscribeAll) => 3,
            Self::Current(Operation::Unknown(_)) => 4,
            Self::Legacy(true) => 5,
            Self::Legacy(false) => 6,
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current(operation) => operation.name(),
            Self::Legacy(true) => "LEGACY_SUBSCRIBE",
            Self::Legacy(false) => "LEGACY_UNSUBSCRIBE",
        }
    }
}

/// Something that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Bytes that are none of the protocol's messages.
    Undecodable,
    /// A subscriber could not be reached.
    Dial,
    /// It did not take a push in time.
    PushTimeout,
    /// Its stream broke.
    PushWrite,
    /// A push was left out because too many wait for its subscriber.
    Shed,
    /// A request of the first filter that was refused.
    Refused(Refusal),
    /// The first filter was asked for no content topic.
    MatchesNothing,
    /// The first filter was asked too often.
    OverRate,
    /// A push to us that was not taken.
    Unwanted(Unwanted),
}

impl Trouble {
    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 18] = [
        Self::Undecodable,
        Self::Dial,
        Self::PushTimeout,
        Self::PushWrite,
        Self::Shed,
        Self::MatchesNothing,
        Self::OverRate,
        Self::Refused(Refusal::NoId),
        Self::Refused(Refusal::LongId),
        Self::Refused(Refusal::ManyTopics),
        Self::Refused(Refusal::LongTopic),
        Self::Refused(Refusal::Full(Full::Peers)),
        Self::Refused(Refusal::Full(Full::Criteria)),
        Self::Unwanted(Unwanted::Malformed),
        Self::Unwanted(Unwanted::Stranger),
        Self::Unwanted(Unwanted::NoCriterion),
        Self::Unwanted(Unwanted::NoTopic),
        Self::Unwanted(Unwanted::Duplicate),
    ];

    /// Its place in [`Self::ALL`] and among counters.
    #[must_use]
    pub fn index(self) -> usize {
        // All are there: a test says so.
        Self::ALL.iter().position(|one| *one == self).unwrap_or_default()
    }

    /// Its name in metrics; the first ones are nwaku's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "decode_rpc_failure",
            Self::Dial => "dial_failure",
            Self::PushTimeout => "push_timeout_failure",
            Self::PushWrite => "push_write_failure",
            Self::Shed => "push_queue_full",
            Self::MatchesNothing => "legacy_no_content_filter",
            Self::OverRate => "legacy_over_rate",
            Self::Refused(refusal) => refusal.name(),
            Self::Unwanted(unwanted) => unwanted.name(),
        }
    }
}

/// How many of something took how long.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    classes: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [Duration]) -> Self {
        let classes = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, classes, micros: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, took: Duration) {
        self.classes[self.bounds.partition_point(|bound| *bound < took)].fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The bound of each class with its count; the last has none.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = self.bounds.iter().map(|bound| Some(*bound)).chain([None]);
        bounds.zip(self.classes.iter().map(|count| count.load(Relaxed)))
    }

    /// All of that time together, in microseconds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.micros.load(Relaxed)
    }
}

/// Every number only grows, except `subscribers`.
#[derive(Debug)]
pub struct Counters {
    /// Requests that were read, by [`Kind::index`].
    pub requests: [AtomicU64; Kind::ALL.len()],
    /// How long answering took, by [`Kind::index`].
    pub request_time: [Histogram; Kind::ALL.len()],
    /// What went wrong, by [`Trouble::index`].
    pub troubles: [AtomicU64; Trouble::ALL.len()],
    /// Subscribers now.
    pub subscribers: AtomicU64,
    /// Messages that went to some subscriber.
    pub messages: AtomicU64,
    /// Pushes that were written.
    pub pushed: AtomicU64,
    /// Their bytes.
    pub pushed_bytes: AtomicU64,
    /// How long each took from the message's acceptance.
    pub push_time: Histogram,
    /// Messages that were pushed to us and taken.
    pub taken: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            request_time: [(); Kind::ALL.len()].map(|()| Histogram::new(&DURATIONS)),
            troubles: Default::default(),
            subscribers: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            pushed_bytes: AtomicU64::new(0),
            push_time: Histogram::new(&PUSH_DURATIONS),
            taken: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub(super) fn asked(&self, kind: Kind, took: Duration) {
        self.requests[kind.index()].fetch_add(1, Relaxed);
        self.request_time[kind.index()].observe(took);
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        self.troubles[trouble.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn shed(&self, count: usize) {
        self.troubles[Trouble::Shed.index()].fetch_add(count as u64, Relaxed);
    }

    pub(super) fn pushed(&self, bytes: usize, took: Duration) {
        self.pushed.fetch_add(1, Relaxed);
        self.pushed_bytes.fetch_add(bytes as u64, Relaxed);
        self.push_time.observe(took);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_has_a_place_and_a_name_of_its_own() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
        for (place, trouble) in Trouble::ALL.into_iter().enumerate() {
            assert_eq!(trouble.index(), place);
        }
        assert_eq!(Kind::ALL.map(Kind::name).into_iter().collect::<BTreeSet<_>>().len(), Kind::ALL.len());
        assert_eq!(Trouble::ALL.map(Trouble::name).into_iter().collect::<BTreeSet<_>>().len(), Trouble::ALL.len());
    }

    #[test]
    fn times_are_counted_by_class() {
        let counters = Counters::default();
        for millis in [0, 5, 6, 30_000, 30_001] {
            counters.pushed(1, Duration::from_millis(millis));
        }
        let classes: Vec<u64> = counters.push_time.classes().map(|(_, count)| count).collect();
        assert_eq!((classes[0], classes[1], classes[16], classes[17]), (2, 1, 1, 1));
        assert_eq!(counters.push_time.micros(), 60_012_000);
        assert_eq!(counters.pushed_bytes.load(Relaxed), 5);
    }
}
