//! How much we may send a peer: never more in any second than it has announced.  Spec: 5/WAKU0, 6/WAKU1, "Rate Limits".
//!
//! A peer announces packets a second, by peer and by address, of which the lower counts, and envelopes of one topic a
//! second; in waku/1 bytes as well, where an envelope that is larger goes alone; other packets count, and leave when there is
//! any room. 0 is no limit.
//! What was sent is kept for a little more than a second in steps of [`STEP`], and no more is sent
//! while it adds up to the limit. That is a sliding window: a token bucket would let twice the limit through.
//!
//! A packet that a full connection refused leaves later as it was made, whatever topics the peer has limited since then.
//!
//! Limits: [`WINDOW`] over [`STEP`] numbers for a window; [`MAX_TOPICS_SENT`] topics within a window, and envelopes of
//! others wait meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{status::RateLimits, topic::Topic};

/// Resolution of a window: few enough numbers, and a packet waits no more than this longer than it must.
pub const STEP: Duration = Duration::from_millis(10);

/// Steps of a second.
const STEPS_PER_SEC: u64 = (1_000 / STEP.as_millis()) as u64;

/// Length of a window. A second, and a little more, because packets can bunch up on their way.
pub const WINDOW: Duration = Duration::from_millis(1_050);

/// Steps after which what was sent no longer counts: two things so far apart are more than [`WINDOW`] apart.
const STEPS: u64 = (WINDOW.as_millis() / STEP.as_millis()) as u64 + 1;

/// Topics within one window to a peer that limits topics: 100 kB.
pub const MAX_TOPICS_SENT: usize = 1024;

/// What was sent within one window.
#[derive(Debug, Default)]
struct Window {
    /// Steps and how much was sent in each.
    sent: VecDeque<(u64, u64)>,
    total: u64,
}

impl Window {
    /// How much more may be sent in this step.
    fn room(&mut self, step: u64, limit: u64) -> u64 {
        while let Some((sent_at, count)) = self.sent.front().copied().filter(|(at, _)| at + STEPS <= step) {
            debug_assert!(sent_at < step);
            self.total -= count;
            self.sent.pop_front();
        }
        limit.saturating_sub(self.total)
    }

    fn note(&mut self, step: u64, more: u64) {
        self.total += more;
        match self.sent.back_mut() {
            // A clock that stood still or went back: what was sent counts as long as the latest.
            Some((at, count)) if *at >= step => *count += more,
            _ => self.sent.push_back((step, more)),
        }
    }

    /// What was noted last has not left after all.
    fn take_back(&mut self, mut less: u64) {
        while let Some((_, count)) = self.sent.back_mut().filter(|_| less > 0) {
            let gone = less.min(*count);
            (*count, self.total, less) = (*count - gone, self.total - gone, less - gone);
            if *count == 0 {
                self.sent.pop_back();
            }
        }
    }

    /// The first step in which there is room for one.
    fn free_at(&self, limit: u64) -> Option<u64> {
        let mut left = self.total;
        for (at, count) in &self.sent {
            if left < limit {
                break;
            }
            left -= *count;
            if left < limit {
                return Some(at + STEPS);
            }
        }
        None
    }
}

/// What one peer may be sent.
#[derive(Debug)]
pub(crate) struct Budget {
    /// When steps are counted from.
    origin: Instant,
    /// Packets a second; `None` is no limit.
    packet_limit: Option<u64>,
    /// Envelopes of a topic a second; `None` is no limit.
    topic_limit: Option<u64>,
    /// Bytes a second; `None` is no limit.
    byte_limit: Option<u64>,
    packets: Window,
    bytes: Window,
    /// Room for so many bytes is waited for.
    bytes_wanted: u64,
    topics: HashMap<Topic, Window>,
}

impl Budget {
    pub(crate) fn new(now: Instant, limits: &RateLimits, byte_limits: &RateLimits) -> Self {
        let mut budget = Self {
            origin: now,
            packet_limit: None,
            topic_limit: None,
            byte_limit: None,
            packets: Window::default(),
            bytes: Window::default(),
            bytes_wanted: 1,
            topics: HashMap::new(),
        };
        budget.set(limits, byte_limits);
        budget
    }

    /// The peer has announced other limits. Packets already sent count; topics were not looked at without a limit.
    pub(crate) fn set(&mut self, limits: &RateLimits, byte_limits: &RateLimits) {
        let lower = |limits: &RateLimits| [limits.peer, limits.ip].into_iter().filter(|limit| *limit > 0).min();
        (self.packet_limit, self.byte_limit) = (lower(limits), lower(byte_limits));
        self.bytes_wanted = 1;
        self.topic_limit = Some(limits.topic).filter(|limit| *limit > 0);
        if self.topic_limit.is_none() {
            self.topics = HashMap::new();
        }
    }

    /// Whether so many packets may leave now, and the bytes that were asked for last.
    pub(crate) fn allows(&mut self, now: Instant, packets: usize) -> bool {
        let step = self.step(now);
        let has_room = self.packet_limit.is_none_or(|limit| self.packets.room(step, limit) >= packets as u64);
        has_room && self.has_byte_room(step, self.bytes_wanted)
    }

    /// Whether an envelope that takes so many bytes may leave now. If not, nothing else does before it.
    pub(crate) fn fits(&mut self, now: Instant, len: usize) -> bool {
        let fits = self.has_byte_room(self.step(now), len as u64);
        if !fits {
            self.bytes_wanted = len as u64;
        }
        fits
    }

    /// What is larger than the limit has room when there is nothing else.
    fn has_byte_room(&mut self, step: u64, len: u64) -> bool {
        self.byte_limit.is_none_or(|limit| self.bytes.room(step, limit) >= len.min(limit))
    }

    /// How many bytes may leave now.
    pub(crate) fn byte_room(&mut self, now: Instant) -> u64 {
        let step = self.step(now);
        self.byte_limit.map_or(u64::MAX, |limit| self.bytes.room(step, limit))
    }

    /// A packet with a body of so many bytes leaves. Noted without a limit too: one may be announced within the second.
    pub(crate) fn note(&mut self, now: Instant, len: usize) {
        let step = self.step(now);
        self.bytes_wanted = 1;
        for (window, more) in [(&mut self.packets, 1), (&mut self.bytes, len as u64)] {
            window.room(step, 0);
            window.note(step, more);
        }
    }

    /// The same, as a step of a condition.
    pub(crate) fn noted(&mut self, now: Instant, len: usize) -> bool {
        self.note(now, len);
        true
    }

    /// The connection has refused a packet with a body of so many bytes, which was noted: it counts when it leaves.
    pub(crate) fn take_back(&mut self, len: usize) {
        self.packets.take_back(1);
        self.bytes.take_back(len as u64);
    }

    /// When the next packet may leave, if not now.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let packets = self.packet_limit.and_then(|limit| self.packets.free_at(limit));
        let bytes = self.byte_limit.and_then(|limit| {
            let below = limit - self.bytes_wanted.min(limit) + 1;
            self.bytes.free_at(below)
        });
        packets.max(bytes).map(|step| self.instant(step))
    }

    /// Takes one envelope of this topic.
    ///
    /// # Errors
    /// When the next may be tried.
    pub(crate) fn take_topic(&mut self, now: Instant, topic: Topic) -> Result<(), Instant> {
        let Some(limit) = self.topic_limit else { return Ok(()) };
        let step = self.step(now);
        if self.topics.len() >= MAX_TOPICS_SENT && !self.topics.contains_key(&topic) {
            self.topics.retain(|_, window| {
                window.room(step, 0);
                !window.sent.is_empty()
            });
            if self.topics.len() >= MAX_TOPICS_SENT {
                return Err(self.instant(step + 1));
            }
        }
        let window = self.topics.entry(topic).or_default();
        if window.room(step, limit) > 0 {
            window.note(step, 1);
            return Ok(());
        }
        let free_at = window.free_at(limit).unwrap_or(step + 1);
        Err(self.instant(free_at))
    }

    /// What was noted was held up and leaves only now.
    pub(crate) fn renew_topics(&mut self, now: Instant) {
        let step = self.step(now);
        for window in self.topics.values_mut() {
            let total = window.sent.drain(..).map(|(_, count)| count).sum();
            window.sent.push_back((step, total));
        }
    }

    fn step(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        since.as_secs() * STEPS_PER_SEC + u64::from(since.subsec_nanos() / STEP.subsec_nanos())
    }

    fn instant(&self, step: u64) -> Instant {
        self.origin + Duration::from_millis(step * STEP.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(ip: u64, peer: u64, topic: u64) -> RateLimits {
        RateLimits { ip, peer, topic }
    }

    fn start() -> Instant {
        devp2p::clock::now().instant
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    const NONE: RateLimits = RateLimits { ip: 0, peer: 0, topic: 0 };

    const TOPIC: Topic = Topic(*b"chat");

    #[test]
    fn the_lower_of_two_limits_counts_and_zero_is_none() {
        let start = start();
        for (limits, packets) in
            [(limits(10, 5, 0), 5), (limits(3, 5, 0), 3), (limits(0, 5, 0), 5), (limits(4, 0, 0), 4)]
        {
            let mut budget = Budget::new(start, &limits, &NONE);
            assert!(budget.allows(start, packets) && !budget.allows(start, packets + 1));
        }
        let mut budget = Budget::new(start, &limits(0, 0, 0), &NONE);
        assert!(budget.allows(start, usize::MAX) && budget.next_at().is_none());
    }

    #[test]
    fn the_next_packet_leaves_when_the_first_is_a_window_old() {
        let start = start();
        let mut budget = Budget::new(start, &limits(0, 2, 0), &NONE);
        budget.note(after(start, 0), 1);
        budget.note(after(start, 500), 1);
        assert!(!budget.allows(after(start, 1_050), 1));
        let next = budget.next_at().unwrap();
        assert_eq!(next, after(start, 1_060));
        assert!(budget.allows(next, 1) && !budget.allows(next, 2));
        budget.note(next, 1);
        assert_eq!(budget.next_at().unwrap(), after(start, 1_560));
    }

    #[test]
    fn what_found_its_connection_full_counts_when_it_leaves() {
        let start = start();
        let mut budget = Budget::new(start, &limits(0, 2, 0), &limits(0, 100, 0));
        budget.note(start, 60);
        budget.note(after(start, 20), 40);
        assert!(!budget.allows(after(start, 20), 1) && budget.byte_room(after(start, 20)) == 0);
        budget.take_back(40);
        assert!(budget.allows(after(start, 20), 1) && !budget.allows(after(start, 20), 2));
        assert_eq!(budget.byte_room(after(start, 20)), 40);
        budget.note(after(start, 40), 40);
        assert_eq!(budget.next_at().unwrap(), after(start, 1_060), "the first is still the first");
        (0..3).for_each(|_| budget.take_back(60));
        assert!(budget.allows(after(start, 40), 2) && budget.byte_room(after(start, 40)) == 100);
    }

    #[test]
    fn a_limit_announced_later_counts_what_was_sent_before() {
        let start = start();
        let mut budget = Budget::new(start, &limits(0, 0, 0), &NONE);
        (0..10).for_each(|_| budget.note(start, 1));
        budget.set(&limits(0, 5, 0), &NONE);
        assert!(!budget.allows(after(start, 900), 1));
        assert!(budget.allows(after(start, 1_060), 5));
        budget.set(&limits(0, 0, 0), &NONE);
        assert!(budget.allows(start, 1_000));
    }

    #[test]
    fn bytes_have_a_window_and_one_packet_may_be_too_long() {
        let start = start();
        let mut budget = Budget::new(start, &NONE, &limits(0, 1_000, 7));
        budget.note(start, 999);
        assert_eq!(budget.byte_room(start), 1);
        assert!(budget.allows(start, 100) && budget.next_at().is_none());
        budget.note(after(start, 500), 5_000);
        assert!(!budget.allows(after(start, 1_060), 1), "the second still counts");
        assert_eq!(budget.next_at(), Some(after(start, 1_560)));
        assert!(budget.allows(after(start, 1_560), 1));
        budget.set(&limits(0, 1, 0), &limits(3_000, 0, 0));
        assert!(!budget.allows(after(start, 1_550), 1));
        assert_eq!(budget.next_at(), Some(after(start, 1_560)), "whichever is later");
    }

    #[test]
    fn room_is_waited_for_until_the_envelope_has_it() {
        let start = start();
        let mut budget = Budget::new(start, &NONE, &limits(0, 1_000, 0));
        budget.note(start, 400);
        budget.note(after(start, 500), 400);
        assert!(budget.fits(start, 200) && !budget.fits(after(start, 600), 300));
        assert!(!budget.allows(after(start, 600), 1), "smaller ones do not pass it");
        assert_eq!(budget.next_at(), Some(after(start, 1_060)));
        assert!(budget.allows(after(start, 1_060), 1) && budget.fits(after(start, 1_060), 300));
        assert!(!budget.fits(after(start, 1_060), 5_000), "too large for any second: when nothing else has gone");
        assert_eq!(budget.next_at(), Some(after(start, 1_560)));
        assert!(budget.fits(after(start, 1_560), 5_000));
    }

    #[test]
    fn topics_have_windows_of_their_own_and_an_end() {
        let start = start();
        let mut budget = Budget::new(start, &limits(0, 0, 2), &NONE);
        assert_eq!(budget.take_topic(start, TOPIC), Ok(()));
        assert_eq!(budget.take_topic(start, TOPIC), Ok(()));
        assert_eq!(budget.take_topic(after(start, 5), TOPIC), Err(after(start, 1_060)));
        let topic = |n: u32| Topic(n.to_be_bytes());
        for n in 1..MAX_TOPICS_SENT as u32 {
            assert_eq!(budget.take_topic(start, topic(n)), Ok(()));
        }
        assert_eq!(budget.take_topic(start, topic(99_999)), Err(after(start, 10)));
        assert_eq!(budget.take_topic(after(start, 1_060), topic(99_999)), Ok(()));
        assert!(budget.topics.len() < 5);
        budget.set(&limits(0, 0, 0), &NONE);
        assert!((0..10).all(|_| budget.take_topic(start, TOPIC).is_ok()));
    }

    #[test]
    fn what_was_held_up_counts_from_when_it_leaves() {
        let start = start();
        let mut budget = Budget::new(start, &limits(0, 0, 2), &NONE);
        assert_eq!(budget.take_topic(start, TOPIC), Ok(()));
        assert_eq!(budget.take_topic(after(start, 500), TOPIC), Ok(()));
        budget.renew_topics(after(start, 5_000));
        assert_eq!(budget.take_topic(after(start, 6_000), TOPIC), Err(after(start, 6_060)));
        assert_eq!(budget.take_topic(after(start, 6_060), TOPIC), Ok(()));
    }

    proptest! {
        /// Wherever a second begins, no more than the limit leaves within it; and what may leave does.
        #[test]
        fn never_more_than_the_limit_in_any_second(
            limit in 1..20u64, steps in proptest::collection::vec((0..300u64, 1..30usize), 1..80)
        ) {
            let start = start();
            let mut budget = Budget::new(start, &limits(0, limit, limit), &NONE);
            let (mut now, mut packets, mut envelopes) = (0, Vec::new(), Vec::new());
            for (wait, tries) in steps {
                now += wait;
                for _ in 0..tries {
                    if budget.allows(after(start, now), 1) {
                        budget.note(after(start, now), 1);
                        packets.push(now);
                    } else {
                        prop_assert!(budget.next_at().unwrap() > after(start, now));
                    }
                    match budget.take_topic(after(start, now), TOPIC) {
                        Ok(()) => envelopes.push(now),
                        Err(at) => prop_assert!(at > after(start, now)),
                    }
                }
            }
            for sent in [packets, envelopes] {
                for (i, from) in sent.iter().enumerate() {
                    let within = sent[i..].iter().take_while(|at| **at <= from + 1_000).count();
                    prop_assert!(within as u64 <= limit, "{within} after {from}");
                }
            }
        }
    }
}
