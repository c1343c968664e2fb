//! One peer: waiting for its Status, or running with what its Status said.  Spec: 5/WAKU0, "Status".
//!
//! What exists only after the Status lives only in the running state, so nothing can be sent to or taken from a peer before.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{NodeId, clock::Now};

use crate::{
    accounting::Traffic,
    budget::Budget,
    confirm::Unanswered,
    envelope::Envelope,
    interest::{Interest, TooManyTopics},
    limits::Intake,
    outbox::Outbox,
    packet::Code,
    pow::Pow,
    status::{RateLimits, StatusOptions},
    topic::Topic,
    version::{StatusShape, Version},
};

/// The proof of work that a peer wants which does not say. Source: status-go; Nimbus assumes 0.2.
pub const DEFAULT_MIN_POW: Pow = match Pow::new(0.001) {
    Ok(pow) => pow,
    Err(_) => Pow::ZERO,
};

/// Who wants so much work wants nothing: for 500 bytes that live 50 s it takes 2^25 hashes, 5,000 times what deployed peers ask for at
/// most (0.2, Nimbus).
pub const ABSURD_POW: Pow = match Pow::new(1000.0) {
    Ok(pow) => pow,
    Err(_) => Pow::ZERO,
};

/// Envelopes in one [`MARKS_WINDOW`] that a peer should not have sent, before it is left.
pub const MAX_MARKS: u32 = 100;

/// The window in which they are counted.
pub const MARKS_WINDOW: Duration = Duration::from_secs(60);

/// How far clocks of one network are apart, in seconds: well kept ones less than one, but across the tick of a second.
const CLOCK_DIFFERENCE_SECS: u64 = 1;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The address that it connects from, or that was dialled.
    pub ip: IpAddr,
    /// Its identity.
    pub node: NodeId,
}

impl Remote {
    /// An IPv4 address is itself, also when it comes over IPv6.
    #[must_use]
    pub fn new(ip: IpAddr, node: NodeId) -> Self {
        Self { ip: ip.to_canonical(), node }
    }
}

/// What a peer has announced, with the defaults for what it has not.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerOptions {
    /// The least work that it wants to see.
    pub min_pow: Pow,
    /// The topics that it wants.
    pub interest: Interest,
    /// Whether it forwards nothing.
    pub light: bool,
    /// Whether it reads acknowledgements.
    pub confirmations: bool,
    /// How many packets it wants to be sent at most.
    pub rate_limits: RateLimits,
    /// How many bytes it wants to be sent at most.
    pub byte_limits: RateLimits,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            min_pow: DEFAULT_MIN_POW,
            interest: Interest::EVERYTHING,
            light: false,
            confirmations: false,
            rate_limits: RateLimits::default(),
            byte_limits: RateLimits::default(),
        }
    }
}

impl PeerOptions {
    /// Takes over what is there; what is not stays. Topic interest wins over a bloom filter in the same packet.
    ///
    /// # Errors
    /// [`TooManyTopics`], and nothing has changed.
    pub fn apply(&mut self, options: StatusOptions) -> Result<(), TooManyTopics> {
        match (options.topics, options.bloom) {
            (Some(topics), _) => self.interest = Interest::topics(topics)?,
            (None, Some(bloom)) => self.interest = Interest::Bloom(bloom),
            (None, None) => {}
        }
        self.min_pow = options.pow.unwrap_or(self.min_pow);
        self.light = options.light.unwrap_or(self.light);
        self.confirmations = options.confirmations.unwrap_or(self.confirmations);
        self.rate_limits = options.rate_limits.unwrap_or(self.rate_limits);
        self.byte_limits = options.byte_limits.unwrap_or(self.byte_limits);
        Ok(())
    }

    /// Whether it asks for nothing that anybody sends: no topic at all, or more work than [`ABSURD_POW`].
    #[must_use]
    pub fn wants_nothing(&self) -> bool {
        self.min_pow >= ABSURD_POW || self.interest.is_empty()
    }

    /// Whether it wants an envelope of this topic and this much work.
    #[must_use]
    pub fn wants(&self, topic: Topic, pow: Pow) -> bool {
        pow >= self.min_pow && self.interest.matches(topic)
    }
}

/// One peer's state.
#[expect(clippy::large_enum_variant, reason = "nearly every peer is running, and each envelope asks all of them")]
#[derive(Debug)]
pub(crate) enum Peer {
    AwaitingStatus(Awaiting),
    Running(Running),
}

/// A peer whose Status has not come.
#[derive(Debug, Clone)]
pub(crate) struct Awaiting {
    pub(crate) version: Version,
    pub(crate) remote: Remote,
    /// What our Status said.
    pub(crate) told: Arc<StatusOptions>,
    pub(crate) deadline: Instant,
}

/// A peer whose Status was exchanged.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) version: Version,
    /// The shape of its Status, in which it is told changes and tells them.
    pub(crate) shape: StatusShape,
    pub(crate) remote: Remote,
    pub(crate) slot: usize,
    pub(crate) options: PeerOptions,
    /// What it knows of us.
    pub(crate) told: Arc<StatusOptions>,
    /// Whether its packets outside of gossip are taken.
    pub(crate) trusted: bool,
    pub(crate) intake: Intake,
    pub(crate) budget: Budget,
    pub(crate) outbox: Outbox,
    pub(crate) unanswered: Unanswered,
    pub(crate) marks: Marks,
    /// When its Status came.
    pub(crate) since: Instant,
    pub(crate) traffic: Traffic,
    /// When the pool was last looked through for it.
    pub(crate) offered_at: Instant,
    /// When to look again, because it has changed what it wants.
    pub(crate) offer_at: Option<Instant>,
}

impl Running {
    pub(crate) fn new(
        awaiting: Awaiting,
        shape: StatusShape,
        slot: usize,
        options: PeerOptions,
        exempt: bool,
        now: Instant,
    ) -> Self {
        Self {
            version: awaiting.version,
            shape,
            remote: awaiting.remote,
            slot,
            told: awaiting.told,
            trusted: false,
            intake: Intake::new(now, exempt),
            budget: Budget::new(now, &options.rate_limits, &options.byte_limits),
            options,
            outbox: Outbox::default(),
            unanswered: Unanswered::default(),
            marks: Marks { since: now, count: 0 },
            since: now,
            traffic: Traffic::default(),
            offered_at: now,
            offer_at: None,
        }
    }

    /// Whether a packet of this code has a meaning between us.
    pub(crate) fn speaks(&self, code: Code) -> bool {
        code.is_spoken(self.version, self.shape)
    }

    /// When an envelope that it wants may go to it, if not now. Who forgives is sent it at once. Who does not is sent nothing
    /// from the future, and until its clock must be there as well only what has work enough if that is a second behind:
    /// it reckons the seconds that an envelope is ahead, and one more, as life time.
    pub(crate) fn ripe_at(&self, envelope: &Envelope, now: Now) -> Option<Instant> {
        if self.version.is_forgiving() {
            return None;
        }
        let behind = envelope.pow_over(u64::from(envelope.ttl()) + CLOCK_DIFFERENCE_SECS + 1);
        let margin = if behind >= self.options.min_pow { 0 } else { CLOCK_DIFFERENCE_SECS };
        let ripe = Duration::from_secs(u64::from(envelope.sent()) + margin);
        let left = ripe.checked_sub(now.unix).filter(|left| !left.is_zero())?;
        Some(now.instant + left)
    }

    /// When it next needs a tick.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.outbox.may_send(now) || self.outbox.may_mail(now);
        let within_budget = if waits { self.budget.next_at() } else { self.outbox.due_at() };
        [self.outbox.retry_at(), within_budget, self.offer_at, self.outbox.mail_at()].into_iter().flatten().min()
    }
}

/// Marks against a peer, counted in windows.
#[derive(Debug)]
pub(crate) struct Marks {
    since: Instant,
    count: u32,
}

/// The peer has used up its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyMarks;

impl Marks {
    /// One more.
    pub(crate) fn add(&mut self, now: Instant) -> Result<(), TooManyMarks> {
        if now.saturating_duration_since(self.since) >= MARKS_WINDOW {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        if self.count >= MAX_MARKS { Err(TooManyMarks) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::Bloom;

    fn options() -> StatusOptions {
        StatusOptions::default()
    }

    #[test]
    fn what_is_not_said_has_the_deployed_default() {
        let mut peer = PeerOptions::default();
        peer.apply(options()).unwrap();
        assert_eq!(peer, PeerOptions::default());
        assert_eq!(peer.min_pow.value(), 0.001);
        assert!(peer.wants(Topic([7; 4]), Pow::new(0.001).unwrap()));
        assert!(!peer.wants(Topic([7; 4]), Pow::new(0.0009).unwrap()));
    }

    #[test]
    fn who_asks_for_no_topic_or_absurd_work_wants_nothing() {
        let of = |options| {
            let mut peer = PeerOptions::default();
            peer.apply(options).unwrap();
            peer.wants_nothing()
        };
        let pow = |value| StatusOptions { pow: Some(Pow::new(value).unwrap()), ..options() };
        assert!(!of(options()) && !of(pow(0.2)) && !of(pow(999.0)));
        assert!(of(pow(1000.0)) && of(pow(f64::MAX)));
        assert!(of(StatusOptions { topics: Some(vec![]), ..options() }));
        assert!(of(StatusOptions { bloom: Some(Bloom::EMPTY), ..options() }));
        assert!(!of(StatusOptions { bloom: Some(Bloom::from_iter([Topic([1; 4])])), ..options() }));
    }

    #[test]
    fn topic_interest_wins_in_one_packet_and_the_latest_across_packets() {
        let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
        let bloom = Bloom::from_iter([b]);
        let mut peer = PeerOptions::default();
        peer.apply(StatusOptions { bloom: Some(bloom), topics: Some(vec![a]), ..options() }).unwrap();
        assert_eq!(peer.interest, Interest::topics(vec![a]).unwrap());
        peer.apply(StatusOptions { bloom: Some(bloom), ..options() }).unwrap();
        assert_eq!(peer.interest, Interest::Bloom(bloom));
        peer.apply(StatusOptions { light: Some(true), ..options() }).unwrap();
        assert_eq!(peer.interest, Interest::Bloom(bloom));
        assert!(peer.light);
        peer.apply(StatusOptions { topics: Some(vec![]), ..options() }).unwrap();
        assert!(!peer.wants(a, Pow::new(1.0).unwrap()));
    }

    #[test]
    fn a_hundred_marks_within_a_minute_are_too_many() {
        let start = devp2p::clock::now().instant;
        let mut marks = Marks { since: start, count: 0 };
        assert!((1..MAX_MARKS).all(|_| marks.add(start) == Ok(())));
        assert_eq!(marks.add(start), Err(TooManyMarks));
        assert_eq!(marks.add(start + MARKS_WINDOW), Ok(()));
    }
}
