//! What waits to be pushed, by subscriber. Pure.
//!
//! Each message goes on a stream of its own, as go-waku wants it and js-waku takes it. [`AT_ONCE`] of them are written at a time to one
//! subscriber, [`OPEN`] are open until it ends its half; the next [`WAITING`] wait, and more are left out: a subscriber that is slow or silent costs
//! this much and holds up nobody else. When one push fails, the others that wait go with it.
//!
//! js-waku ends no stream, and forgets what it has not yet read of one that is reset. Of the streams to such a subscriber one goes when a stream that was
//! asked for after it was written has opened: who answers that has read what came before. [`AT_ONCE`] is so much less than [`OPEN`] that there is always
//! such a one when more are to be opened.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

use libp2p::PeerId;
use tokio::sync::watch;

use super::server::Delivery;

/// Pushes to one subscriber that are being written.
pub const AT_ONCE: usize = 16;

/// Streams to one subscriber that are open, those being written included. js-waku takes a hundred and ends none of its own accord, and those of the
/// time before that is known stay with it: twice this is less.
pub const OPEN: usize = 48;

/// Pushes to one subscriber that wait.
pub const WAITING: usize = 1_024;

/// Bytes of these: fifty of the largest messages, for the time until it is known that js-waku ends no stream. All subscribers share the memory of a
/// message. One may always wait.
pub const WAITING_BYTES: usize = 8 * 1_024 * 1_024;

/// A push, and the how manyth of those under way to its subscriber it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) delivery: Delivery,
}

/// What is to be done with a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Put {
    /// Write it now; [`Outboxes::opened`] and [`Outboxes::written`], or [`Outboxes::failed`] is to follow.
    Write(Numbered),
    /// Nothing: it waits.
    Waits,
    /// Nothing: it is left out, because as many wait as may.
    Full,
}

/// What is under way to one subscriber.
#[derive(Debug, Default)]
struct Outbox {
    writing: usize,
    ending: usize,
    waiting: VecDeque<Delivery>,
    bytes: usize,
    /// Streams that were asked for.
    asked: u64,
    /// The last of them that has opened, by its number.
    opened: watch::Sender<u64>,
}

/// Tells when a subscriber has answered something that came after a push.
#[derive(Debug)]
pub(crate) struct Read {
    before: u64,
    opened: watch::Receiver<u64>,
}

impl Read {
    /// Waits for it; for ever if no other push follows.
    pub(crate) async fn wait(mut self) {
        if self.opened.wait_for(|opened| *opened > self.before).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Outbox {
    const fn has_room(&self) -> bool {
        self.writing < AT_ONCE && self.writing + self.ending < OPEN
    }

    fn is_idle(&self) -> bool {
        self.writing == 0 && self.ending == 0 && self.waiting.is_empty()
    }

    /// The next to write, if there is room.
    fn next(&mut self) -> Option<Numbered> {
        let next = if self.has_room() { self.waiting.pop_front() } else { None }?;
        self.bytes = self.bytes.saturating_sub(next.frame.len());
        Some(self.ask(next))
    }

    fn ask(&mut self, delivery: Delivery) -> Numbered {
        self.writing += 1;
        self.asked += 1;
        Numbered { number: self.asked, delivery }
    }
}

/// What is under way to all of them; only those are here to whom something is.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    by_peer: HashMap<PeerId, Outbox>,
    /// Those connected that do not end their half of a stream when we have ended ours.
    leaving_open: HashSet<PeerId>,
}

impl Outboxes {
    /// Takes one more.
    pub(crate) fn put(&mut self, delivery: Delivery) -> Put {
        let outbox = self.by_peer.entry(delivery.peer).or_default();
        if outbox.has_room() && outbox.waiting.is_empty() {
            return Put::Write(outbox.ask(delivery));
        }
        let bytes = outbox.bytes + delivery.frame.len();
        if outbox.waiting.len() >= WAITING || (bytes > WAITING_BYTES && !outbox.waiting.is_empty()) {
            return Put::Full;
        }
        outbox.bytes = bytes;
        outbox.waiting.push_back(delivery);
        Put::Waits
    }

    /// The stream of one is open: the subscriber has answered.
    pub(crate) fn opened(&self, peer: &PeerId, number: u64) {
        let Some(outbox) = self.by_peer.get(peer) else { return };
        outbox.opened.send_if_modified(|opened| mem::replace(opened, number.max(*opened)) < number);
    }

    /// Tells when what is asked for from now on is answered.
    pub(crate) fn read(&self, peer: &PeerId) -> Option<Read> {
        self.by_peer.get(peer).map(|outbox| Read { before: outbox.asked, opened: outbox.opened.subscribe() })
    }

    /// One was written, and its stream is open until [`Self::ended`]. Gives the next to write.
    pub(crate) fn written(&mut self, peer: &PeerId) -> Option<Numbered> {
        let outbox = self.by_peer.get_mut(peer)?;
        outbox.writing = outbox.writing.saturating_sub(1);
        outbox.ending += 1;
        outbox.next()
    }

    /// The stream of one that was written has ended. Gives the next to write.
    pub(crate) fn ended(&mut self, peer: &PeerId) -> Option<Numbered> {
        let outbox = self.by_peer.get_mut(peer)?;
        outbox.ending = outbox.ending.saturating_sub(1);
        let next = outbox.next();
        self.tidy(peer);
        next
    }

    /// One could not be written. Gives how many went with it.
    pub(crate) fn failed(&mut self, peer: &PeerId) -> usize {
        let Some(outbox) = self.by_peer.get_mut(peer) else { return 0 };
        outbox.writing = outbox.writing.saturating_sub(1);
        let left_out = outbox.waiting.len();
        outbox.waiting = VecDeque::new();
        outbox.bytes = 0;
        self.tidy(peer);
        left_out
    }

    fn tidy(&mut self, peer: &PeerId) {
        if self.by_peer.get(peer).is_some_and(Outbox::is_idle) {
            self.by_peer.remove(peer);
        }
    }

    /// A connected peer ends its half of a stream after we have ended ours, or it does not.
    pub(crate) fn ends_streams(&mut self, peer: PeerId, ends: bool) {
        if ends {
            self.leaving_open.remove(&peer);
        } else {
            self.leaving_open.insert(peer);
        }
    }

    /// Is it known to end none?
    pub(crate) fn leaves_open(&self, peer: &PeerId) -> bool {
        self.leaving_open.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::filter::subscriptions::Form;

    fn delivery(peer: PeerId, bytes: usize) -> Delivery {
        let frame = Bytes::from(vec![0; bytes]);
        Delivery { peer, form: Form::Current, frame, accepted_at: devp2p::clock::now().instant }
    }

    #[test]
    fn h77_a_subscriber_that_never_reads_has_its_bound_and_others_theirs() {
        let mut outboxes = Outboxes::default();
        let (silent, other) = (PeerId::random(), PeerId::random());
        let mut puts = |peer, count: usize, bytes| -> [usize; 3] {
            let mut counts = [0; 3];
            for _ in 0..count {
                match outboxes.put(delivery(peer, bytes)) {
                    Put::Write(_) => counts[0] += 1,
                    Put::Waits => counts[1] += 1,
                    Put::Full => counts[2] += 1,
                }
            }
            counts
        };
        assert_eq!(puts(silent, 2_000, 100), [AT_ONCE, WAITING, 2_000 - AT_ONCE - WAITING]);
        assert_eq!(puts(other, 20, 150_000), [AT_ONCE, 4, 0]);
        assert_eq!(puts(other, 80, 150_000), [0, 51, 29], "eight mebibytes");
        assert_eq!(outboxes.failed(&silent), WAITING);
        assert_eq!(outboxes.by_peer[&silent].bytes, 0);
    }

    #[test]
    fn the_largest_frame_may_wait_alone() {
        let mut outboxes = Outboxes::default();
        let peer = PeerId::random();
        for _ in 0..AT_ONCE {
            assert!(matches!(outboxes.put(delivery(peer, 1)), Put::Write(_)));
        }
        assert_eq!(outboxes.put(delivery(peer, 2 * WAITING_BYTES)), Put::Waits);
        assert_eq!(outboxes.put(delivery(peer, 1)), Put::Full);
        assert_eq!(outboxes.written(&peer).map(|next| next.delivery.frame.len()), Some(2 * WAITING_BYTES));
        assert_eq!(outboxes.put(delivery(peer, 1)), Put::Waits, "as many are written as before");
    }

    #[test]
    fn no_more_streams_are_opened_than_are_ended() {
        let mut outboxes = Outboxes::default();
        let peer = PeerId::random();
        let mut open = 0;
        while matches!(outboxes.put(delivery(peer, 1)), Put::Write(_)) {
            assert_eq!(outboxes.written(&peer), None);
            open += 1;
        }
        assert_eq!(open, OPEN);
        assert!(outboxes.ended(&peer).is_some(), "what waited");
        assert!(!outboxes.leaves_open(&peer));
        outboxes.ends_streams(peer, false);
        assert!(outboxes.leaves_open(&peer));
        outboxes.ends_streams(peer, true);
        assert!(!outboxes.leaves_open(&peer));
    }

    /// With as many open as may be, and each answered in turn, only those that were written last have nothing that came after.
    #[test]
    fn what_was_read_is_known_while_there_is_more_to_push() {
        let mut outboxes = Outboxes::default();
        let peer = PeerId::random();
        let mut writing = VecDeque::new();
        for _ in 0..OPEN + 10 {
            match outboxes.put(delivery(peer, 1)) {
                Put::Write(one) => writing.push_back(one),
                put => assert_eq!(put, Put::Waits),
            }
        }
        let mut reads = Vec::new();
        while let Some(one) = writing.pop_front() {
            outboxes.opened(&peer, one.number);
            reads.push(outboxes.read(&peer).unwrap());
            writing.extend(outboxes.written(&peer));
        }
        let known: Vec<bool> = reads.into_iter().map(|read| read.wait().now_or_never().is_some()).collect();
        assert_eq!(known, [vec![true; OPEN - AT_ONCE], vec![false; AT_ONCE]].concat());
    }

    proptest! {
        /// Whatever happens in which order: the bounds hold, what waits comes in its order, and nothing is kept of who has nothing.
        #[test]
        fn what_waits_is_bounded_and_in_order(steps in proptest::collection::vec(0..5_u8, 0..300)) {
            let (mut outboxes, peer) = (Outboxes::default(), PeerId::random());
            let (mut number, mut last, mut writing, mut ending) = (0, 0, 0, 0);
            for step in steps {
                let next = match step {
                    0..2 => {
                        number += 1;
                        match outboxes.put(delivery(peer, number)) {
                            Put::Write(one) => Some(one),
                            Put::Waits | Put::Full => None,
                        }
                    }
                    2 if writing > 0 => {
                        writing -= 1;
                        ending += 1;
                        outboxes.written(&peer)
                    }
                    3 if ending > 0 => {
                        ending -= 1;
                        outboxes.ended(&peer)
                    }
                    4 if writing > 0 => {
                        writing -= 1;
                        outboxes.failed(&peer);
                        None
                    }
                    _ => None,
                };
                if let Some(Numbered { delivery: next, .. }) = next {
                    prop_assert!(next.frame.len() > last, "{} after {last}", next.frame.len());
                    last = next.frame.len();
                    writing += 1;
                }
                prop_assert!(writing <= AT_ONCE && writing + ending <= OPEN);
                let held = outboxes.by_peer.get(&peer).map_or((0, 0), |one| (one.writing, one.ending));
                prop_assert_eq!(held, (writing, ending));
                let sum: usize = outboxes.by_peer.values().flat_map(|one| &one.waiting).map(|one| one.frame.len()).sum();
                prop_assert_eq!(sum, outboxes.by_peer.values().map(|one| one.bytes).sum::<usize>());
                prop_assert_eq!(outboxes.by_peer.is_empty(), writing == 0 && ending == 0);
            }
        }
    }
}
