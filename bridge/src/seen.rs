//! What was seen, and what became of it: by content, whichever side it came from.
//!
//! Loops are prevented by origin tags ([`crate::origin`]), which survive a restart. This memory is the second line: it
//! catches what bridges without tags send back, with the same content under another time. [`crate::journal`] keeps it over a
//! restart.
//!
//! An entry is found by its [`Fingerprint`] and the time of sending, within the tolerance. Equal content further apart
//! counts as new: unencrypted heartbeats repeat themselves, encrypted content never does.

mod rows;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use waku0::{envelope::EnvelopeHash, topic::Topic};
use waku2::hash::MessageHash;

use self::rows::Rows;
use crate::{crossing::Direction, drop_reason::DropReason, journal::Remembered, story::AnyHash};

/// Starts the text under the fingerprint, so that it is a hash of nothing else.
const FINGERPRINT_DOMAIN: &[u8] = b"wb1";

/// Two times of sending this far apart may be the same thing, in seconds: what bridges that stamp anew may shift.
pub const DEFAULT_TOLERANCE_SECS: u64 = 120;
/// Entries kept, about 160 bytes each: a busy fleet's 50 a second for five hours.
pub const DEFAULT_MAX_ENTRIES: usize = 1_000_000;
/// Shortest time an entry is kept.
pub const MIN_WINDOW: Duration = Duration::from_secs(2 * 3600);
/// Longest time an entry is kept, whatever times to live are seen.
pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Copies of one content within the tolerance, none of them with our tags, after which a loop is suspected: somebody stamps anew
/// what comes back to it.
pub const MAX_COPIES: u8 = 3;
/// How long content of a suspected loop does not cross, whatever its time of sending.
pub const QUARANTINE: Duration = Duration::from_secs(600);
/// Contents in quarantine at a time, 50 bytes each. Beyond it none is added: within the tolerance they are duplicates all the same.
pub const MAX_QUARANTINED: usize = 4_096;

/// What something says, without when, where and which way: SHA-256 over the v1 topic and the data as it stands on v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a topic and the data of an envelope.
    #[must_use]
    pub fn new(topic: Topic, data: &[u8]) -> Self {
        Self(Sha256::new().chain_update(FINGERPRINT_DOMAIN).chain_update(topic.0).chain_update(data).finalize().into())
    }

    /// One that was written down.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being converted, mined or published.
    Pending,
    /// Confirmed by the other side.
    Done,
    /// Tried without success; will be tried again.
    Retry,
    /// Given up.
    Dropped(DropReason),
}

/// What is known of one content at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it was sent: unix seconds.
    pub sent: u64,
    /// The side it was first seen on.
    pub first: Direction,
    /// How far it has come.
    pub state: State,
    /// The envelope, once one is known.
    pub envelope: Option<EnvelopeHash>,
    /// The message, once one is known.
    pub message: Option<MessageHash>,
    /// How often the same came again without our tags.
    pub copies: u8,
    /// It was given up for good, and an archive has it: the very same need not be looked at again.
    pub kept: bool,
}

/// Names an entry, to tell later what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeenKey {
    fingerprint: Fingerprint,
    /// `sent` in steps of tolerance + 1 s. One step never holds two entries, for these would be within the tolerance.
    step: u64,
}

impl SeenKey {
    /// The content.
    #[must_use]
    pub fn content(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// What [`Seen::observe`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Not seen before, or given up when it last came this way: an entry is now pending.
    New(SeenKey),
    /// Given up when it last came this way, and kept: what is not the very same may be taken up with [`Seen::set_state`].
    Kept(SeenKey, Entry),
    /// Seen before, and this is what was known.
    Duplicate(Entry),
}

/// Bounds of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenLimits {
    /// See [`DEFAULT_TOLERANCE_SECS`].
    pub tolerance_secs: u64,
    /// See [`DEFAULT_MAX_ENTRIES`]. Beyond it the oldest entry goes, and is counted.
    pub max_entries: usize,
    /// See [`MIN_WINDOW`].
    pub min_window: Duration,
}

impl Default for SeenLimits {
    fn default() -> Self {
        Self { tolerance_secs: DEFAULT_TOLERANCE_SECS, max_entries: DEFAULT_MAX_ENTRIES, min_window: MIN_WINDOW }
    }
}

/// The memory.
#[derive(Debug)]
pub struct Seen {
    limits: SeenLimits,
    entries: Rows,
    largest_ttl: Duration,
    evicted_early: u64,
    /// Until when.
    quarantined: HashMap<Fingerprint, Instant>,
    loops_suspected: u64,
}

impl Seen {
    /// An empty memory.
    #[must_use]
    pub fn new(limits: SeenLimits) -> Self {
        Self {
            limits,
            entries: Rows::default(),
            largest_ttl: Duration::ZERO,
            evicted_early: 0,
            quarantined: HashMap::new(),
            loops_suspected: 0,
        }
    }

    /// Takes up what ended in an earlier life; the oldest must come first. `made` is when it came.
    pub fn recall(&mut self, made: Instant, remembered: &Remembered) {
        // Of two copies sent at about the same time one may have been given up and the other not.
        let key = match self.find(remembered.content, remembered.sent) {
            Some(_) if remembered.state != State::Done => return,
            Some(key) => key,
            None => self.insert(made, remembered.content, remembered.sent, remembered.first),
        };
        self.set_state(key, remembered.state);
        self.set_hashes(key, remembered.envelope, remembered.message);
    }

    /// Looks for the same content sent at about the same time, and makes a pending entry if there is none.
    ///
    /// What was given up on this same way before is taken up again: were it not, a copy that is bound to be dropped (sent
    /// with an old time, say) would keep the real one from crossing. What came from the other side stays a duplicate.
    pub fn observe(&mut self, at: Instant, fingerprint: Fingerprint, sent: u64, direction: Direction) -> Observed {
        self.evict(at);
        let Some(key) = self.find(fingerprint, sent) else {
            return Observed::New(self.insert(at, fingerprint, sent, direction));
        };
        match self.entries.get_mut(&key) {
            Some(entry) if entry.first == direction && matches!(entry.state, State::Dropped(_)) => {
                if entry.kept {
                    return Observed::Kept(key, *entry);
                }
                entry.state = State::Pending;
                Observed::New(key)
            }
            Some(entry) => Observed::Duplicate(*entry),
            None => Observed::New(self.insert(at, fingerprint, sent, direction)),
        }
    }

    /// What is known of the same content sent at about the same time.
    #[must_use]
    pub fn look_up(&self, fingerprint: Fingerprint, sent: u64) -> Option<&Entry> {
        self.entries.get(&self.find(fingerprint, sent)?)
    }

    /// Every entry with this envelope, message or content. A walk over the whole memory.
    pub fn about<'a>(&'a self, hash: &'a AnyHash) -> impl Iterator<Item = (Fingerprint, &'a Entry)> + 'a {
        let is_about = move |key: &SeenKey, entry: &Entry| {
            key.fingerprint.as_bytes() == hash
                || entry.envelope.is_some_and(|envelope| envelope.as_bytes() == hash)
                || entry.message.is_some_and(|message| message.as_bytes() == hash)
        };
        let found = self.entries.iter().filter(move |(key, entry)| is_about(key, entry));
        found.map(|(key, entry)| (key.fingerprint, entry))
    }

    /// The same has come again without a tag of ours. With the first copy beyond [`MAX_COPIES`] its content is put in quarantine.
    pub fn note_copy(&mut self, at: Instant, fingerprint: Fingerprint, sent: u64) {
        let Some(entry) = self.find(fingerprint, sent).and_then(|key| self.entries.get_mut(&key)) else { return };
        entry.copies = entry.copies.saturating_add(1);
        if entry.copies == MAX_COPIES + 1 {
            self.loops_suspected += 1;
            if self.quarantined.len() < MAX_QUARANTINED {
                self.quarantined.insert(fingerprint, at + QUARANTINE);
            }
        }
    }

    /// Is this content in quarantine?
    #[must_use]
    pub fn is_quarantined(&self, at: Instant, fingerprint: Fingerprint) -> bool {
        self.quarantined.get(&fingerprint).is_some_and(|until| at < *until)
    }

    /// How many loops were suspected.
    #[must_use]
    pub fn loops_suspected(&self) -> u64 {
        self.loops_suspected
    }

    /// What is known by a name.
    #[must_use]
    pub fn get(&self, key: SeenKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// Says how far an entry has come. Nothing happens if it was evicted meanwhile.
    pub fn set_state(&mut self, key: SeenKey, state: State) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = state;
        }
    }

    /// An archive has what was given up.
    pub fn set_kept(&mut self, key: SeenKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.kept = true;
        }
    }

    /// Notes an entry's hashes, as far as they are known.
    pub fn set_hashes(&mut self, key: SeenKey, envelope: Option<EnvelopeHash>, message: Option<MessageHash>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.envelope = envelope.or(entry.envelope);
            entry.message = message.or(entry.message);
        }
    }

    /// Notes a time to live: entries are kept for twice the largest, within [`MAX_WINDOW`].
    pub fn note_ttl(&mut self, ttl: Duration) {
        self.largest_ttl = self.largest_ttl.max(ttl);
    }

    /// The furthest apart that two times of sending of the same thing may be, in seconds.
    #[must_use]
    pub fn tolerance_secs(&self) -> u64 {
        self.limits.tolerance_secs
    }

    /// How long an entry is kept now.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.limits.min_window.max(self.largest_ttl.saturating_mul(2)).min(MAX_WINDOW)
    }

    /// Forgets what is older than the window.
    pub fn evict(&mut self, at: Instant) {
        let window = self.window();
        while self.entries.oldest().is_some_and(|made| at.saturating_duration_since(made) > window) {
            self.entries.pop();
        }
        if !self.quarantined.is_empty() {
            self.quarantined.retain(|_, until| at < *until);
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries went before their time, because the memory was full. Each could let a loop through.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.evicted_early
    }

    fn key(&self, fingerprint: Fingerprint, step: u64) -> SeenKey {
        SeenKey { fingerprint, step }
    }

    fn step(&self, sent: u64) -> u64 {
        sent / (self.limits.tolerance_secs + 1)
    }

    /// Whatever is within the tolerance is at most one step away.
    fn find(&self, fingerprint: Fingerprint, sent: u64) -> Option<SeenKey> {
        let step = self.step(sent);
        [Some(step), step.checked_sub(1), step.checked_add(1)]
            .into_iter()
            .flatten()
            .map(|s| self.key(fingerprint, s))
            .find(|key| {
                self.entries.get(key).is_some_and(|entry| entry.sent.abs_diff(sent) <= self.limits.tolerance_secs)
            })
    }

    fn insert(&mut self, at: Instant, fingerprint: Fingerprint, sent: u64, first: Direction) -> SeenKey {
        while self.entries.len() >= self.limits.max_entries.max(1) && self.entries.pop() {
            self.evicted_early += 1;
        }
        let key = self.key(fingerprint, self.step(sent));
        let entry = Entry { sent, first, state: State::Pending, envelope: None, message: None, copies: 0, kept: false };
        self.entries.push(at, key, entry);
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::passage::tests::now;

    const SENT: u64 = 1_700_000_000;

    fn fingerprint(n: u32) -> Fingerprint {
        Fingerprint::new(Topic([1, 2, 3, 4]), &n.to_be_bytes())
    }

    fn is_new(observed: Observed) -> bool {
        matches!(observed, Observed::New(_))
    }

    #[test]
    fn fingerprint_of_known_content() {
        // SHA-256 of "wb1" 1a2b3c4d "hello", made with another tool.
        let print = Fingerprint::new(Topic([0x1a, 0x2b, 0x3c, 0x4d]), b"hello");
        assert_eq!(hex::encode(print.as_bytes()), "f826969748e4be0d103f16e6918824be62f1f95fd6824d7a589c36713cee25f8");
    }

    #[test]
    fn the_same_content_is_a_duplicate_to_the_second_of_the_tolerance() {
        let at = now().instant;
        for base in [SENT, SENT + 1, SENT + 60, SENT + 120] {
            let mut seen = Seen::new(SeenLimits::default());
            assert!(is_new(seen.observe(at, fingerprint(1), base, Direction::V1ToV2)));
            for near in [base - 120, base, base + 120] {
                assert!(!is_new(seen.observe(at, fingerprint(1), near, Direction::V2ToV1)), "{base} {near}");
            }
            assert!(is_new(seen.observe(at, fingerprint(1), base - 121, Direction::V2ToV1)));
            assert!(is_new(seen.observe(at, fingerprint(1), base + 121, Direction::V2ToV1)));
            assert!(is_new(seen.observe(at, fingerprint(2), base, Direction::V2ToV1)));
        }
    }

    #[test]
    fn what_was_given_up_may_come_again_the_same_way_only() {
        let at = now().instant;
        let mut seen = Seen::new(SeenLimits::default());
        let Observed::New(key) = seen.observe(at, fingerprint(1), SENT, Direction::V1ToV2) else { panic!("new") };
        assert!(!is_new(seen.observe(at, fingerprint(1), SENT, Direction::V1ToV2)), "pending");
        seen.set_state(key, State::Retry);
        assert!(!is_new(seen.observe(at, fingerprint(1), SENT, Direction::V1ToV2)), "to be tried again");
        seen.set_state(key, State::Dropped(DropReason::PublishFailed));
        assert!(!is_new(seen.observe(at, fingerprint(1), SENT, Direction::V2ToV1)), "from the other side");
        assert!(is_new(seen.observe(at, fingerprint(1), SENT + 5, Direction::V1ToV2)), "again");
        seen.set_state(key, State::Done);
        assert!(!is_new(seen.observe(at, fingerprint(1), SENT, Direction::V1ToV2)), "done");
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn entries_go_after_the_window() {
        let at = now().instant;
        let mut seen = Seen::new(SeenLimits::default());
        seen.observe(at, fingerprint(1), SENT, Direction::V1ToV2);
        seen.evict(at + MIN_WINDOW);
        assert_eq!(seen.len(), 1);
        seen.evict(at + MIN_WINDOW + Duration::from_secs(1));
        assert!(seen.is_empty());
        assert_eq!(seen.evicted_early(), 0);
    }

    #[test]
    fn long_times_to_live_widen_the_window_up_to_a_day() {
        let mut seen = Seen::new(SeenLimits::default());
        assert_eq!(seen.window(), MIN_WINDOW);
        seen.note_ttl(Duration::from_secs(3 * 3600));
        seen.note_ttl(Duration::from_secs(15));
        assert_eq!(seen.window(), Duration::from_secs(6 * 3600));
        seen.note_ttl(Duration::from_secs(u64::from(u32::MAX)));
        assert_eq!(seen.window(), MAX_WINDOW);
    }

    #[test]
    fn a_full_memory_forgets_its_oldest_and_counts_it() {
        let at = now().instant;
        let mut seen = Seen::new(SeenLimits { max_entries: 3, ..SeenLimits::default() });
        for n in 0..5 {
            assert!(is_new(seen.observe(at, fingerprint(n), SENT, Direction::V1ToV2)));
        }
        assert_eq!((seen.len(), seen.evicted_early()), (3, 2));
        assert!(seen.look_up(fingerprint(1), SENT).is_none() && seen.look_up(fingerprint(2), SENT).is_some());
    }

    proptest! {
        /// Against the plain definition: a list of times of sending, searched whole.
        #[test]
        fn agrees_with_a_list(tolerance in 0_u64..200, times in prop::collection::vec(0_u64..2_000, 1..40)) {
            let at = now().instant;
            let mut seen = Seen::new(SeenLimits { tolerance_secs: tolerance, ..SeenLimits::default() });
            let mut list: Vec<u64> = Vec::new();
            for sent in times {
                let duplicate = list.iter().any(|known| known.abs_diff(sent) <= tolerance);
                prop_assert_eq!(is_new(seen.observe(at, fingerprint(1), sent, Direction::V1ToV2)), !duplicate);
                if !duplicate { list.push(sent); }
            }
            prop_assert_eq!(seen.len(), list.len());
        }
    }
}
