//! What became of own posts, as far as peers confirm.  Spec: 5/WAKU0, "Message Confirmations".
//!
//! A post ends once: acknowledged by the first peer that says so, refused when all who were asked have refused it, or
//! unanswered after [`CONFIRM_TIMEOUT`]; a refusal that is all there is by then is the end as well. Peers that do not
//! confirm are not waited for, and nothing depends on an answer.
//!
//! Limits: [`MAX_POSTS`] posts; [`MAX_BATCHES`] packets a peer has not answered; [`MAX_TEXT`] bytes of a text. When full,
//! the oldest makes room: a post ends as unanswered, a packet is no longer waited for.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use devp2p::NodeId;

use crate::{
    envelope::EnvelopeHash,
    packet::confirm::{BatchHash, RefusedEnvelope},
};

/// How long a post waits for an answer. Peers answer when they have read the packet; the rest is for slow links.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Posts followed at once: a busy bridge's for as long as they wait.
pub const MAX_POSTS: usize = 2_048;

/// Packets with own posts that one peer has not yet answered.
pub const MAX_BATCHES: usize = 256;

/// Bytes kept of a peer's text.
pub const MAX_TEXT: usize = 256;

/// How a post ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A peer has taken it.
    Acknowledged {
        /// Which.
        by: NodeId,
    },
    /// Who was asked would not take it.
    Refused {
        /// The last who said so.
        by: NodeId,
        /// Why, in its words: for people. Control characters are taken out.
        text: String,
    },
    /// Nobody said anything in time.
    Unanswered,
}

/// A post that has ended.
pub(crate) type Ended = (EnvelopeHash, Outcome);

/// Own posts that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    open: HashMap<EnvelopeHash, Open>,
    /// When each ends at the latest; may name some that have ended.
    deadlines: VecDeque<(Instant, EnvelopeHash)>,
}

#[derive(Debug)]
struct Open {
    deadline: Instant,
    /// Peers that were sent it, confirm, and have not answered.
    asked: usize,
    refused: Option<Outcome>,
}

impl Posts {
    /// Follows a new post. When there are too many, the oldest ends.
    pub(crate) fn follow(&mut self, now: Instant, hash: EnvelopeHash) -> Option<Ended> {
        let oldest = if self.deadlines.len() >= MAX_POSTS { self.deadlines.pop_front() } else { None };
        let ended = oldest.and_then(|(deadline, hash)| self.end_at(deadline, hash));
        let deadline = now + CONFIRM_TIMEOUT;
        self.open.insert(hash, Open { deadline, asked: 0, refused: None });
        self.deadlines.push_back((deadline, hash));
        ended
    }

    /// Whether there are any, so that packets need to be looked through.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether this one has not ended.
    pub(crate) fn follows(&self, hash: &EnvelopeHash) -> bool {
        self.open.contains_key(hash)
    }

    /// It went to one more peer that confirms.
    pub(crate) fn asked(&mut self, hash: &EnvelopeHash) {
        if let Some(open) = self.open.get_mut(hash) {
            open.asked += 1;
        }
    }

    pub(crate) fn acknowledged(&mut self, hash: EnvelopeHash, by: NodeId) -> Option<Ended> {
        self.open.remove(&hash).map(|_| (hash, Outcome::Acknowledged { by }))
    }

    pub(crate) fn refused(&mut self, hash: EnvelopeHash, by: NodeId, text: &[u8]) -> Option<Ended> {
        let open = self.open.get_mut(&hash)?;
        open.refused = Some(Outcome::Refused { by, text: readable(text) });
        self.answered(hash)
    }

    /// One peer fewer is asked, because it has answered or is gone.
    pub(crate) fn answered(&mut self, hash: EnvelopeHash) -> Option<Ended> {
        let open = self.open.get_mut(&hash)?;
        open.asked = open.asked.saturating_sub(1);
        if open.asked > 0 || open.refused.is_none() {
            return None; // Somebody may still take it.
        }
        self.open.remove(&hash).and_then(|open| Some((hash, open.refused?)))
    }

    /// Those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some((deadline, hash)) = self.deadlines.front().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_front();
            ended.extend(self.end_at(deadline, hash));
        }
        ended
    }

    /// When the next post ends without an answer.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Ends a post that is still open, unless it was followed anew since.
    fn end_at(&mut self, deadline: Instant, hash: EnvelopeHash) -> Option<Ended> {
        self.open.get(&hash).filter(|open| open.deadline == deadline)?;
        let open = self.open.remove(&hash)?;
        Some((hash, open.refused.unwrap_or(Outcome::Unanswered)))
    }
}

/// What a peer wrote, as far as people can read it.
fn readable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    text.chars().filter(|char| !char.is_control()).collect()
}

/// Packets with own posts that one peer has been sent and not answered, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    batches: VecDeque<(BatchHash, Vec<EnvelopeHash>)>,
}

impl Unanswered {
    /// A packet was sent. When there are too many, the posts of the oldest come back, to be waited for no longer.
    pub(crate) fn add(&mut self, batch: BatchHash, posts: Vec<EnvelopeHash>) -> Vec<EnvelopeHash> {
        let full = self.batches.len() >= MAX_BATCHES;
        let oldest = if full { self.batches.pop_front() } else { None };
        self.batches.push_back((batch, posts));
        oldest.map(|(_, posts)| posts).unwrap_or_default()
    }

    /// The posts of a packet that is answered; `None` for packets that we never sent, or that were answered before.
    pub(crate) fn take(&mut self, batch: BatchHash) -> Option<Vec<EnvelopeHash>> {
        let at = self.batches.iter().position(|(hash, _)| *hash == batch)?;
        self.batches.remove(at).map(|(_, posts)| posts)
    }

    /// All that is left, because the peer is gone.
    pub(crate) fn into_posts(self) -> impl Iterator<Item = EnvelopeHash> {
        self.batches.into_iter().flat_map(|(_, posts)| posts)
    }
}

/// Divides posts of an answered packet into those that were refused, with the reason, and the others.
pub(crate) fn split_refused<'a>(
    posts: Vec<EnvelopeHash>,
    refused: impl Iterator<Item = RefusedEnvelope<'a>>,
) -> (Vec<(EnvelopeHash, &'a [u8])>, Vec<EnvelopeHash>) {
    let mut left = posts;
    let mut found = Vec::new();
    for RefusedEnvelope { hash, text, .. } in refused {
        if let Some(at) = left.iter().position(|post| *post == hash) {
            found.push((left.swap_remove(at), text));
        }
        if left.is_empty() {
            break;
        }
    }
    (found, left)
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn start() -> Instant {
        devp2p::clock::now().instant
    }

    fn hash(n: usize) -> EnvelopeHash {
        EnvelopeHash::of(&n.to_le_bytes())
    }

    fn peer(seed: u64) -> NodeId {
        NodeKey::generate(&mut StdRng::seed_from_u64(seed)).public().id()
    }

    #[test]
    fn the_first_acknowledgement_ends_a_post() {
        let (start, mut posts) = (start(), Posts::default());
        posts.follow(start, hash(1));
        (0..2).for_each(|_| posts.asked(&hash(1)));
        assert_eq!(posts.refused(hash(1), peer(1), b"no"), None);
        assert_eq!(posts.acknowledged(hash(1), peer(2)), Some((hash(1), Outcome::Acknowledged { by: peer(2) })));
        assert_eq!(posts.acknowledged(hash(1), peer(1)), None);
        assert_eq!(posts.expire(start + CONFIRM_TIMEOUT), []);
        assert!(posts.is_empty() && posts.wake_at().is_none());
    }

    #[test]
    fn refused_by_all_who_were_asked() {
        let (start, mut posts) = (start(), Posts::default());
        posts.follow(start, hash(1));
        (0..2).for_each(|_| posts.asked(&hash(1)));
        assert_eq!(posts.refused(hash(1), peer(1), b"no"), None);
        let text = "too \u{1b}[2Jold".as_bytes();
        let refused = Outcome::Refused { by: peer(2), text: "too [2Jold".into() };
        assert_eq!(posts.refused(hash(1), peer(2), text), Some((hash(1), refused)));
    }

    #[test]
    fn a_refusal_counts_when_the_others_are_gone_or_silent() {
        let (start, mut posts) = (start(), Posts::default());
        for n in 1..=2 {
            posts.follow(start, hash(n));
            (0..2).for_each(|_| posts.asked(&hash(n)));
            assert_eq!(posts.refused(hash(n), peer(1), &[b'x'; 999]), None);
        }
        let refused = Outcome::Refused { by: peer(1), text: "x".repeat(MAX_TEXT) };
        assert_eq!(posts.answered(hash(1)), Some((hash(1), refused.clone())));
        assert_eq!(posts.expire(start + CONFIRM_TIMEOUT), [(hash(2), refused)]);
    }

    #[test]
    fn nobody_answers() {
        let (start, mut posts) = (start(), Posts::default());
        posts.follow(start, hash(1));
        posts.asked(&hash(1));
        assert_eq!(posts.answered(hash(1)), None);
        assert_eq!(posts.wake_at(), Some(start + CONFIRM_TIMEOUT));
        assert_eq!(posts.expire(start + CONFIRM_TIMEOUT - Duration::from_millis(1)), []);
        assert_eq!(posts.expire(start + CONFIRM_TIMEOUT), [(hash(1), Outcome::Unanswered)]);
    }

    #[test]
    fn the_oldest_post_and_the_oldest_packet_make_room() {
        let (start, mut posts) = (start(), Posts::default());
        assert!((0..MAX_POSTS).all(|n| posts.follow(start, hash(n)).is_none()));
        assert_eq!(posts.follow(start, hash(MAX_POSTS)), Some((hash(0), Outcome::Unanswered)));
        assert_eq!(posts.open.len(), MAX_POSTS);
        let mut unanswered = Unanswered::default();
        let batch = |n: usize| BatchHash::of(&n.to_le_bytes());
        assert!((0..MAX_BATCHES).all(|n| unanswered.add(batch(n), vec![hash(n)]).is_empty()));
        assert_eq!(unanswered.add(batch(999_999), vec![hash(9)]), [hash(0)]);
        assert_eq!((unanswered.take(batch(0)), unanswered.take(batch(1))), (None, Some(vec![hash(1)])));
        assert_eq!(unanswered.take(batch(1)), None);
        assert_eq!(unanswered.into_posts().count(), MAX_BATCHES - 1);
    }

    #[test]
    fn only_own_posts_are_looked_for_among_the_refused() {
        let entry = |n| RefusedEnvelope { hash: hash(n), code: 1, text: b"no" };
        let (refused, taken) = split_refused(vec![hash(1), hash(2), hash(3)], [7, 2, 2, 9].into_iter().map(entry));
        assert_eq!(refused, [(hash(2), &b"no"[..])]);
        assert_eq!(taken.len(), 2);
    }
}
