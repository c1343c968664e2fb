//! Own messages that nobody is known to have yet, so that they can be sent again when those they went to fall silent.
//!
//! Gossip calls a message published once it stands in the queue of a peer. When that peer's machine or the way to it is gone, nothing says
//! so until the connection is given up, half a minute later, and what was published meanwhile went nowhere. Gossip itself does not mend
//! this: it offers again what came in its last seconds only. So:
//! * What is published is kept until one of those it went to answers a ping that was sent after it. All that stands before a ping on a
//!   connection has then arrived.
//! * What went to peers that are all gone is sent again to those that have come since, where one of them cannot be told to have had it:
//!   it was there to the end, but not for [`IN_FLIGHT`] after, or it ended in silence, which is a ping without an answer, whoever closes
//!   the connection then: the other side may have given it up before us. All else is taken to have arrived.
//! * A message is sent again within [`TOO_OLD`], while peers would take it. Who had it after all knows it for a duplicate in the first two
//!   minutes; later it goes round once more, which harms less than one that never comes.
//!
//! Limits: [`MESSAGES`] and [`BYTES`]; what is over is forgotten, the oldest first, and passes for arrived.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::PeerId;

use crate::{behaviour::PING_INTERVAL, topic::PubsubTopic};

/// Messages kept.
pub(super) const MESSAGES: usize = 65_536;

/// Bytes of messages kept: 64 MiB.
pub(super) const BYTES: usize = 64 * 1024 * 1024;

/// Messages sent again at one look, which leaves the queue of a peer room for others.
pub(super) const AT_ONCE: usize = super::PEER_QUEUE_MESSAGES / 2;

/// How long a message may have been on its way through our own queues when a ping overtakes it.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// How long a message may stand in queues and buffers, which are lost when a connection is reset.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Who has not answered for so long has a ping to answer, and takes its time.
const SILENCE: Duration = PING_INTERVAL.saturating_add(Duration::from_secs(5));

/// From when on a message is not sent again: it is history by then.
const TOO_OLD: Duration = Duration::from_secs(60 * 60);

/// One own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) topic: PubsubTopic,
    pub(super) data: Bytes,
    /// When it went out first.
    first: Instant,
    /// When it went out last.
    at: Instant,
    /// Somebody it went to is gone and may not have had it.
    is_doubtful: bool,
}

/// What is due after a look at everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// To be sent again, the oldest first.
    pub(super) again: Vec<Own>,
    /// Messages that may have reached nobody, and are too old.
    pub(super) lost: u64,
}

/// The messages, and who has been there since when.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// In the order in which they went out.
    own: VecDeque<Own>,
    bytes: usize,
    /// Somebody went; until then there is nothing to look for.
    has_anybody_gone: bool,
    peers: HashMap<PeerId, Peer>,
}

/// A peer that relays topics of ours.
#[derive(Debug)]
struct Peer {
    /// When it was heard to be there.
    answered: Instant,
    /// Since when it relays each topic. They are ours, so that they are few.
    since: HashMap<PubsubTopic, Instant>,
}

impl Peer {
    /// Was this sent to it?
    fn had(&self, own: &Own) -> bool {
        self.since.get(&own.topic).is_some_and(|since| *since <= own.at)
    }
}

impl Unheard {
    /// A peer relays a topic from now on.
    pub(super) fn subscribed(&mut self, peer: PeerId, topic: PubsubTopic, now: Instant) {
        let peer = self.peers.entry(peer).or_insert_with(|| Peer { answered: now, since: HashMap::new() });
        peer.since.entry(topic).or_insert(now);
    }

    /// It no longer does.
    pub(super) fn unsubscribed(&mut self, peer: &PeerId, topic: &PubsubTopic) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.since.remove(topic);
            self.has_anybody_gone = true;
        }
    }

    /// Its connection is over.
    pub(super) fn gone(&mut self, peer: &PeerId, now: Instant) {
        let Some(peer) = self.peers.remove(peer) else { return };
        let is_silent = now.saturating_duration_since(peer.answered) > SILENCE;
        self.doubt(&peer, |own| is_silent || now.saturating_duration_since(own.at) < IN_FLIGHT);
    }

    /// It takes nothing any more, and will be left.
    pub(super) fn stuck(&mut self, peer: &PeerId) {
        if let Some(peer) = self.peers.remove(peer) {
            self.doubt(&peer, |_| true);
        }
    }

    fn doubt(&mut self, peer: &Peer, may_be_lost: impl Fn(&Own) -> bool) {
        self.has_anybody_gone = true;
        let doubtful = self.own.iter_mut().filter(|own| peer.had(own) && may_be_lost(own));
        doubtful.for_each(|own| own.is_doubtful = true);
    }

    /// We do not relay this topic any more.
    pub(super) fn left(&mut self, topic: &PubsubTopic) {
        for peer in self.peers.values_mut() {
            peer.since.remove(topic);
        }
        self.keep_if(|_, own| own.topic != *topic);
    }

    /// A message stands in the queue of every peer of its topic.
    pub(super) fn published(&mut self, topic: PubsubTopic, data: Bytes, now: Instant) {
        self.push(Own { topic, data, first: now, at: now, is_doubtful: false });
    }

    /// It went out once more.
    pub(super) fn published_again(&mut self, own: Own, now: Instant) {
        self.push(Own { at: now, is_doubtful: false, ..own });
    }

    /// Nobody has taken it, so it stays as it was.
    pub(super) fn put_back(&mut self, own: Own) {
        self.has_anybody_gone = true;
        self.push(own);
    }

    fn push(&mut self, own: Own) {
        self.bytes += own.data.len();
        self.own.push_back(own);
        while self.own.len() > MESSAGES || self.bytes > BYTES {
            let Some(oldest) = self.own.pop_front() else { return };
            self.bytes -= oldest.data.len();
        }
    }

    /// A peer has answered a ping, `took` after it was sent.
    pub(super) fn answered(&mut self, peer: &PeerId, now: Instant, took: Duration) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.answered = now;
        if let Some(until) = now.checked_sub(took + OVERTAKEN) {
            self.keep_if(|peers, own| own.at > until || !peers.get(peer).is_some_and(|peer| peer.had(own)));
        }
    }

    /// Looks for what has lost everybody it went to. Peers take what is valid.
    pub(super) fn due(&mut self, now: Instant, is_valid: impl Fn(&PubsubTopic, &Bytes) -> bool) -> Due {
        let mut due = Due::default();
        if !self.has_anybody_gone {
            return due;
        }
        let Due { again, lost } = &mut due;
        self.keep_if(|peers, own| {
            let mut since = peers.values().filter_map(|peer| peer.since.get(&own.topic)).peekable();
            let is_anybody_here = since.peek().is_some();
            if since.any(|since| *since <= own.at) {
                return true;
            }
            if !own.is_doubtful {
                return false;
            }
            if now.saturating_duration_since(own.first) >= TOO_OLD || !is_valid(&own.topic, &own.data) {
                *lost += 1;
                return false;
            }
            let goes_out = is_anybody_here && again.len() < AT_ONCE;
            if goes_out {
                again.push(own.clone());
            }
            !goes_out
        });
        self.has_anybody_gone = self.own.iter().any(|own| own.is_doubtful);
        due
    }

    fn keep_if(&mut self, mut keep: impl FnMut(&HashMap<PeerId, Peer>, &Own) -> bool) {
        let Self { own, bytes, peers, .. } = self;
        own.retain(|own| {
            let kept = keep(peers, own);
            if !kept {
                *bytes -= own.data.len();
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock::now;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn topic(shard: u8) -> PubsubTopic {
        format!("/waku/2/rs/1/{shard}").parse().unwrap()
    }

    /// Two peers on topic 1 from the start.
    struct World {
        unheard: Unheard,
        start: Instant,
        a: PeerId,
        b: PeerId,
    }

    impl World {
        fn new() -> Self {
            let (a, b, start) = (PeerId::random(), PeerId::random(), now().instant);
            let mut unheard = Unheard::default();
            unheard.subscribed(a, topic(1), start);
            unheard.subscribed(b, topic(1), start);
            Self { unheard, start, a, b }
        }

        fn at(&self, seconds: u32) -> Instant {
            self.start + SECOND * seconds
        }

        fn publish(&mut self, data: &'static [u8], seconds: u32) {
            self.unheard.published(topic(1), Bytes::from_static(data), self.at(seconds));
        }

        /// It has not answered for so long.
        fn fall_silent(&mut self, peer: PeerId) {
            let answered = self.unheard.peers[&peer].answered;
            self.unheard.gone(&peer, answered + SILENCE + SECOND);
        }

        fn again(&mut self, seconds: u32) -> Vec<Bytes> {
            let due = self.unheard.due(self.at(seconds), |_, _| true);
            assert_eq!(due.lost, 0);
            due.again.into_iter().map(|own| own.data).collect()
        }
    }

    #[test]
    fn f11_what_went_only_to_peers_that_fell_silent_goes_out_again_when_one_comes() {
        let mut world = World::new();
        world.publish(b"arrived", 3);
        world.publish(b"not", 20);
        world.unheard.answered(&world.a, world.at(15), SECOND);
        world.fall_silent(world.a);
        assert!(world.again(46).is_empty(), "the other has it, as far as is known");
        world.fall_silent(world.b);
        assert!(world.again(47).is_empty(), "nobody is there");
        world.unheard.subscribed(world.a, topic(2), world.at(50));
        assert!(world.again(50).is_empty(), "nobody of this topic is there");
        world.unheard.subscribed(world.a, topic(1), world.at(60));
        let due = world.unheard.due(world.at(61), |_, _| true);
        assert_eq!(due.again.iter().map(|own| &own.data[..]).collect::<Vec<_>>(), [b"not"]);
        assert!(world.again(62).is_empty(), "once");
        // Once more, if that one falls silent as well.
        due.again.into_iter().for_each(|own| world.unheard.published_again(own, world.start + SECOND * 61));
        world.fall_silent(world.a);
        world.unheard.subscribed(world.b, topic(1), world.at(90));
        assert_eq!(world.again(90), [&b"not"[..]]);
        assert_eq!((world.unheard.own.len(), world.unheard.bytes), (0, 0));
    }

    #[test]
    fn one_of_those_it_went_to_is_enough() {
        let mut world = World::new();
        world.publish(b"x", 20);
        world.fall_silent(world.a);
        world.unheard.answered(&world.b, world.at(30), SECOND);
        world.fall_silent(world.b);
        world.unheard.subscribed(world.a, topic(1), world.at(60));
        assert!(world.again(60).is_empty());
    }

    #[test]
    fn an_answer_speaks_for_what_was_sent_before_the_ping_to_that_peer() {
        let mut world = World::new();
        let late = PeerId::random();
        world.publish(b"early", 10);
        world.publish(b"before", 20);
        world.unheard.subscribed(late, topic(1), world.at(21));
        world.publish(b"overtaken", 22);
        world.unheard.answered(&late, world.at(60), SECOND);
        assert_eq!(world.unheard.own.len(), 2, "those from before it came");
        world.publish(b"overtaken", 22);
        world.unheard.answered(&world.a, world.at(24), SECOND * 2);
        assert_eq!(world.unheard.own.iter().map(|own| &own.data[..]).collect::<Vec<_>>(), [b"overtaken"]);
    }

    #[test]
    fn a_peer_that_ends_its_connection_has_what_it_was_sent_before() {
        let mut world = World::new();
        world.publish(b"x", 16);
        world.unheard.answered(&world.a, world.at(15), SECOND);
        world.unheard.gone(&world.a, world.at(21));
        world.unheard.unsubscribed(&world.b, &topic(1));
        world.unheard.subscribed(world.a, topic(1), world.at(21));
        assert!(world.again(21).is_empty() && world.unheard.own.is_empty());
    }

    #[test]
    fn f11_what_may_not_have_left_before_a_reset_goes_out_again() {
        let mut world = World::new();
        world.publish(b"left", 16);
        world.publish(b"not", 17);
        for peer in [world.a, world.b] {
            world.unheard.answered(&peer, world.at(15), SECOND);
            world.unheard.gone(&peer, world.at(21));
        }
        world.unheard.subscribed(world.a, topic(1), world.at(22));
        assert_eq!(world.again(22), [&b"not"[..]]);
    }

    #[test]
    fn who_takes_nothing_has_nothing() {
        let mut world = World::new();
        world.publish(b"x", 2);
        world.unheard.stuck(&world.a);
        world.unheard.stuck(&world.b);
        world.unheard.gone(&world.a, world.at(3));
        world.unheard.subscribed(world.a, topic(1), world.at(4));
        assert_eq!(world.again(4), [&b"x"[..]]);
    }

    #[test]
    fn what_is_too_old_is_counted_and_forgotten() {
        let mut world = World::new();
        world.publish(b"old", 1);
        world.publish(b"invalid", 3);
        world.publish(b"new", 3);
        world.fall_silent(world.a);
        world.fall_silent(world.b);
        let due = world.unheard.due(world.at(3_602), |_, data| data != &b"invalid"[..]);
        assert_eq!(due, Due { again: vec![], lost: 2 });
        world.unheard.subscribed(world.a, topic(1), world.at(3_602));
        assert_eq!(world.again(3_602), [&b"new"[..]]);
    }

    #[test]
    fn of_a_topic_that_was_left_nothing_is_kept() {
        let mut world = World::new();
        world.publish(b"x", 1);
        world.unheard.left(&topic(2));
        assert_eq!(world.unheard.own.len(), 1);
        world.unheard.left(&topic(1));
        assert_eq!((world.unheard.own.len(), world.unheard.bytes), (0, 0));
    }

    #[test]
    fn many_go_out_again_a_part_at_a_time() {
        let mut world = World::new();
        (0..=AT_ONCE).for_each(|_| world.publish(b"x", 1));
        world.fall_silent(world.a);
        world.fall_silent(world.b);
        world.unheard.subscribed(world.a, topic(1), world.at(40));
        let mut first = world.unheard.due(world.at(40), |_, _| true).again;
        assert_eq!(first.len(), AT_ONCE);
        world.unheard.put_back(first.remove(0));
        assert_eq!(world.again(41).len(), 2, "the rest, and what nobody took");
        assert!(world.again(42).is_empty());
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let mut world = World::new();
        (0..=MESSAGES).for_each(|_| world.publish(b"", 1));
        assert_eq!(world.unheard.own.len(), MESSAGES);
        let large = Bytes::from(vec![0; 1024 * 1024]);
        let count = BYTES / large.len();
        for n in 0..=count {
            let at = world.at(n.try_into().unwrap());
            world.unheard.published(topic(1), large.clone(), at);
        }
        assert_eq!((world.unheard.own.len(), world.unheard.bytes), (count, BYTES));
        assert_eq!(world.unheard.own[0].first, world.at(1), "the oldest goes");
    }
}
