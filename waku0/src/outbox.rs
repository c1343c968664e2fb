//! What waits for one peer: positions in the shared pool, not copies.
//!
//! As a rule nothing does: what is forwarded leaves at once. When the connection's queue is full, the refused packets
//! are kept, and what follows waits as hashes; both leave as the queue empties. A newcomer's share of the pool goes the
//! same way, one packet at a time, and so does what exceeds the rate that the peer has announced ([`crate::budget`]).
//! Envelopes of a topic that has had its share wait apart, so that other topics pass them. Answers to requests for history
//! wait apart from all of these and leave when nothing else does.
//!
//! Limits: hashes up to the pool's bound on envelopes, twice that before those that have left the pool are taken out;
//! [`MAX_HELD`] packets, and a peer further behind is left; [`MAX_ANSWERS`] acknowledgements, and later ones are not sent;
//! [`MAX_MAIL`] packets of history, and more are not taken.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::{Body, Packet};

use crate::{envelope::EnvelopeHash, packet::Code, topic::Topic};

/// After how long a full connection is tried again: its queue of 8 MiB empties in about as long over a local network.
pub const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Refused packets kept for a peer: those that were on their way when its connection filled up.
pub const MAX_HELD: usize = 64;

/// Acknowledgements that wait for a peer which wants few packets. Two belong together.
pub const MAX_ANSWERS: usize = 64;

/// After how long a connection is looked at again that has enough to do without history.
pub const MAIL_RETRY: Duration = Duration::from_millis(5);

/// Packets of history that wait for a peer: one of an answer, and the ends of others that were refused.
pub const MAX_MAIL: usize = 8;

/// The peer is further behind than anyone who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// What waits for one peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    held: VecDeque<Packet>,
    retry_at: Option<Instant>,
    waiting: VecDeque<EnvelopeHash>,
    parked: BTreeMap<Topic, VecDeque<EnvelopeHash>>,
    parked_len: usize,
    /// When each parked topic may go on.
    due: BTreeSet<(Instant, Topic)>,
    answers: VecDeque<(Code, Bytes)>,
    answered_last: bool,
    update: bool,
    /// What is left to be told of the last update; one packet for each option at most.
    changes: VecDeque<(Code, Body)>,
    mail: VecDeque<(Code, Bytes)>,
    mail_at: Option<Instant>,
}

impl Outbox {
    /// Whether nothing waits, so that the next packet may leave at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.retry_at.is_none() && self.waiting.is_empty()
    }

    /// Whether there is something to send, and no full connection in the way.
    pub(crate) fn may_send(&self, now: Instant) -> bool {
        self.retry_at.is_none()
            && (!self.waiting.is_empty()
                || !self.answers.is_empty()
                || self.update
                || !self.changes.is_empty()
                || self.due.first().is_some_and(|(at, _)| *at <= now))
    }

    /// When a topic that waits may go on.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at).filter(|_| self.retry_at.is_none())
    }

    /// Puts an envelope behind what waits.
    pub(crate) fn push(&mut self, hash: EnvelopeHash, bound: usize) -> Result<(), Overflow> {
        self.check_room(bound)?;
        self.waiting.push_back(hash);
        Ok(())
    }

    /// Lets an envelope of a topic wait apart, until then at least.
    pub(crate) fn park(
        &mut self,
        hash: EnvelopeHash,
        topic: Topic,
        until: Instant,
        bound: usize,
    ) -> Result<(), Overflow> {
        self.check_room(bound)?;
        let queue = self.parked.entry(topic).or_default();
        if queue.is_empty() {
            self.due.insert((until, topic));
        }
        queue.push_back(hash);
        self.parked_len += 1;
        Ok(())
    }

    /// A connection that reads may be behind by its own wish: it gets twice the room, most of which is soon taken by
    /// envelopes that have left the pool.
    fn check_room(&self, bound: usize) -> Result<(), Overflow> {
        let bound = if self.retry_at.is_some() { bound } else { 2 * bound };
        if self.waiting.len() + self.parked_len >= bound { Err(Overflow) } else { Ok(()) }
    }

    /// Whether the connection takes nothing.
    pub(crate) fn is_stalled(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Keeps only what is still in the pool.
    pub(crate) fn retain(&mut self, is_pooled: impl Fn(&EnvelopeHash) -> bool) {
        self.waiting.retain(&is_pooled);
        self.parked.retain(|_, queue| {
            queue.retain(&is_pooled);
            !queue.is_empty()
        });
        self.parked_len = self.parked.values().map(VecDeque::len).sum();
        let parked = &self.parked;
        self.due.retain(|(_, topic)| parked.contains_key(topic));
    }

    /// The next envelope to send.
    pub(crate) fn front(&self) -> Option<EnvelopeHash> {
        self.waiting.front().copied()
    }

    /// Takes the next envelope out.
    pub(crate) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    /// The next envelope to send of a topic that may go on.
    pub(crate) fn front_parked(&mut self, now: Instant) -> Option<(Topic, EnvelopeHash)> {
        let (_, topic) = self.due.first().filter(|(at, _)| *at <= now)?;
        let hash = self.parked.get(topic)?.front()?;
        Some((*topic, *hash))
    }

    /// Takes that envelope out.
    pub(crate) fn pop_parked(&mut self) {
        let Some((at, topic)) = self.due.first().copied() else { return };
        let Some(queue) = self.parked.get_mut(&topic) else { return };
        self.parked_len -= usize::from(queue.pop_front().is_some());
        if queue.is_empty() {
            self.parked.remove(&topic);
            self.due.remove(&(at, topic));
        }
    }

    /// That topic has had its share and goes on then.
    pub(crate) fn postpone_parked(&mut self, until: Instant) {
        if let Some((_, topic)) = self.due.pop_first() {
            self.due.insert((until, topic));
        }
    }

    /// Adds the acknowledgements of one packet, both or neither.
    pub(crate) fn answer(&mut self, answers: [(Code, Bytes); 2]) -> Result<(), Overflow> {
        if self.answers.len() + answers.len() > MAX_ANSWERS {
            return Err(Overflow);
        }
        self.answers.extend(answers);
        Ok(())
    }

    /// The next acknowledgement. When envelopes wait as well, they take turns.
    pub(crate) fn next_answer(&mut self) -> Option<(Code, Bytes)> {
        let envelopes_wait = !self.waiting.is_empty() || !self.due.is_empty();
        if std::mem::take(&mut self.answered_last) && envelopes_wait {
            return None;
        }
        let answer = self.answers.pop_front();
        self.answered_last = answer.is_some();
        answer
    }

    /// Adds a packet of history behind those that wait.
    pub(crate) fn mail(&mut self, code: Code, body: Bytes) -> Result<(), Overflow> {
        if self.mail.len() >= MAX_MAIL {
            return Err(Overflow);
        }
        self.mail.push_back((code, body));
        Ok(())
    }

    /// Whether a packet of history may leave, because nothing else does.
    pub(crate) fn may_mail(&self, now: Instant) -> bool {
        !self.mail.is_empty()
            && self.retry_at.is_none()
            && !self.may_send(now)
            && self.mail_at.is_none_or(|at| at <= now)
    }

    /// The next packet of history.
    pub(crate) fn take_mail(&mut self) -> Option<(Code, Bytes)> {
        self.mail_at = None;
        self.mail.pop_front()
    }

    /// The connection has enough to do: history waits a little.
    pub(crate) fn delay_mail(&mut self, now: Instant) {
        self.mail_at = Some(now + MAIL_RETRY);
    }

    /// When history is to be looked at again.
    pub(crate) fn mail_at(&self) -> Option<Instant> {
        self.mail_at.filter(|_| !self.mail.is_empty())
    }

    /// The peer is to be told what has changed.
    pub(crate) fn want_update(&mut self) {
        self.update = true;
    }

    /// Whether it is; it is told now.
    pub(crate) fn take_update(&mut self) -> bool {
        std::mem::take(&mut self.update)
    }

    /// Takes the packets of an update. The one before has been told.
    pub(crate) fn set_changes(&mut self, packets: VecDeque<(Code, Body)>) {
        self.changes = packets;
    }

    /// The next packet of an update.
    pub(crate) fn next_change(&mut self) -> Option<(Code, Body)> {
        self.changes.pop_front()
    }

    /// Keeps a packet that the connection refused.
    pub(crate) fn hold(&mut self, now: Instant, packet: Packet) -> Result<(), Overflow> {
        if self.held.len() >= MAX_HELD {
            return Err(Overflow);
        }
        self.held.push_back(packet);
        self.retry_at.get_or_insert(now + RETRY_AFTER);
        Ok(())
    }

    /// When to try again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The packets to try again, when it is time: as many as may be sent.
    pub(crate) fn retry(&mut self, now: Instant, may_send: impl FnMut(&&Packet) -> bool) -> Vec<Packet> {
        if self.retry_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let allowed = self.held.iter().take_while(may_send).count();
        let packets = self.held.drain(..allowed).collect();
        self.retry_at = (!self.held.is_empty()).then(|| now + RETRY_AFTER);
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> EnvelopeHash {
        EnvelopeHash::of(&n.to_le_bytes())
    }

    fn start() -> Instant {
        devp2p::clock::now().instant
    }

    const TOPIC: Topic = Topic(*b"chat");

    #[test]
    fn what_waits_is_bounded_wherever_it_waits() {
        let (start, mut outbox) = (start(), Outbox::default());
        assert!((0..3).all(|n| outbox.push(hash(n), 3).is_ok()));
        assert!((3..6).all(|n| outbox.park(hash(n), TOPIC, start, 3).is_ok()));
        assert_eq!(outbox.push(hash(6), 3), Err(Overflow));
        assert_eq!(outbox.park(hash(6), TOPIC, start, 3), Err(Overflow));
        outbox.retain(|kept| *kept == hash(1));
        assert_eq!((outbox.front(), outbox.parked_len, outbox.due_at()), (Some(hash(1)), 0, None));
    }

    #[test]
    fn a_parked_topic_goes_on_in_its_order_and_at_its_time() {
        let (start, mut outbox) = (start(), Outbox::default());
        let later = start + Duration::from_secs(1);
        (0..2).for_each(|n| outbox.park(hash(n), TOPIC, later, 9).unwrap());
        assert!(!outbox.may_send(start) && outbox.is_idle());
        assert_eq!((outbox.front_parked(start), outbox.due_at()), (None, Some(later)));
        assert!(outbox.may_send(later));
        assert_eq!(outbox.front_parked(later), Some((TOPIC, hash(0))));
        outbox.pop_parked();
        outbox.postpone_parked(later + Duration::from_secs(1));
        assert_eq!(outbox.front_parked(later), None);
        assert_eq!(outbox.front_parked(later + Duration::from_secs(1)), Some((TOPIC, hash(1))));
        outbox.pop_parked();
        assert_eq!((outbox.due_at(), outbox.parked.len()), (None, 0));
    }

    #[test]
    fn answers_take_turns_with_envelopes_and_come_in_pairs() {
        let mut outbox = Outbox::default();
        let pair = || [(Code::MessageResponse, Bytes::new()), (Code::BatchAck, Bytes::new())];
        assert!((0..MAX_ANSWERS / 2).all(|_| outbox.answer(pair()).is_ok()));
        assert_eq!(outbox.answer(pair()), Err(Overflow));
        assert_eq!(outbox.next_answer().unwrap().0, Code::MessageResponse);
        assert_eq!(outbox.next_answer().unwrap().0, Code::BatchAck);
        outbox.push(hash(1), 1).unwrap();
        assert_eq!(outbox.next_answer(), None);
        assert_eq!(outbox.next_answer().unwrap().0, Code::MessageResponse);
    }
}
