//! The pool: live envelopes by hash, who is known to have each, and what was here before.
//! No specification says what to keep; the order in which a full pool lets go is Nimbus's.
//!
//! Limits: [`PoolLimits`] on bytes and envelopes. When they are reached, expired envelopes go first, then those with
//! the least work, the earliest expiry among equals; a newcomer that would be the next to go is not taken.
//! What has left is remembered, so that a late duplicate is not new: the last [`SEEN_GENERATION`] at least, twice that
//! at most.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, Hasher},
    mem,
    sync::Arc,
};

use crate::{
    envelope::{Envelope, EnvelopeHash},
    pow::Pow,
    slots::SlotSet,
};

/// Bytes that keeping an envelope takes beside its own: the entry and its places in three indexes, rounded up.
pub const ENTRY_OVERHEAD: usize = 384;

/// Hashes remembered at least after their envelopes have left. Two such generations take about 20 MB.
pub const SEEN_GENERATION: usize = 1 << 17;

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most bytes, [`ENTRY_OVERHEAD`] included.
    pub max_bytes: usize,
    /// Most envelopes.
    pub max_envelopes: usize,
}

impl Default for PoolLimits {
    /// 128 MiB: a quarter of what a node of 512 MiB has. An envelope of a deployed client takes about 1 kB with its
    /// overhead.
    fn default() -> Self {
        Self { max_bytes: 128 << 20, max_envelopes: 1 << 17 }
    }
}

/// An envelope in the pool.
#[derive(Debug)]
pub struct Entry {
    /// The envelope.
    pub envelope: Arc<Envelope>,
    /// Its work as judged when it was admitted.
    pub pow: Pow,
    /// Whether it was posted here: what a light node sends.
    pub own: bool,
    /// Who has sent it, was sent it, or has it waiting.
    pub(crate) known_by: SlotSet,
    /// Who of these has sent it: if it still waits for one of them, it does not go.
    pub(crate) brought_by: SlotSet,
}

impl Entry {
    /// A peer has sent it. Returns whether for the first time.
    pub(crate) fn brought(&mut self, slot: usize) -> bool {
        let first = !self.brought_by.contains(slot);
        self.known_by.insert(slot);
        self.brought_by.insert(slot);
        first
    }
}

/// The pool is full of envelopes with more work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pool is full of envelopes with more proof of work")]
pub struct PoolFull;

/// Live envelopes.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    entries: HashMap<EnvelopeHash, Entry, HashKey>,
    by_expiry: BTreeSet<(u32, EnvelopeHash)>,
    by_pow: BTreeSet<(Pow, u32, EnvelopeHash)>,
    bytes: usize,
    left: Remembered,
}

impl Pool {
    /// An empty pool. The key is secret randomness: it keeps the places of hashes in tables from being foreseen.
    #[must_use]
    pub fn new(limits: PoolLimits, key: [u64; 2]) -> Self {
        let key = HashKey(key);
        Self {
            limits,
            entries: HashMap::with_hasher(key),
            by_expiry: BTreeSet::new(),
            by_pow: BTreeSet::new(),
            bytes: 0,
            left: Remembered { recent: HashSet::with_hasher(key), older: HashSet::with_hasher(key) },
        }
    }

    /// The envelope with this hash, while it is here.
    #[must_use]
    pub fn get(&self, hash: &EnvelopeHash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &EnvelopeHash) -> Option<&mut Entry> {
        self.entries.get_mut(hash)
    }

    /// Whether an envelope with this hash was here and has left.
    #[must_use]
    pub fn has_left(&self, hash: &EnvelopeHash) -> bool {
        self.left.contains(hash)
    }

    /// How many envelopes are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes they take, [`ENTRY_OVERHEAD`] included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an envelope that is not here, at `now` in unix seconds, and makes room for it if need be.
    ///
    /// # Errors
    /// [`PoolFull`] when it would be the next to go; nothing has changed then, but that expired envelopes have left.
    pub fn insert(&mut self, now: u64, entry: Entry) -> Result<(), PoolFull> {
        let hash = entry.envelope.hash();
        let expiry = entry.envelope.expiry();
        let cost = cost(&entry.envelope);
        if !self.has_room(cost) {
            self.sweep(now);
        }
        for victim in self.to_go_before(cost, (entry.pow, expiry))? {
            self.remove(&victim);
        }
        self.by_expiry.insert((expiry, hash));
        self.by_pow.insert((entry.pow, expiry, hash));
        self.bytes += cost;
        self.entries.insert(hash, entry);
        Ok(())
    }

    /// Lets go of what has expired before `now`, in unix seconds, and says how many that were.
    pub fn sweep(&mut self, now: u64) -> usize {
        let before = self.len();
        while let Some((expiry, hash)) = self.by_expiry.first().copied() {
            if u64::from(expiry) >= now {
                break;
            }
            self.remove(&hash);
        }
        before - self.len()
    }

    /// Takes a slot out of everything known, because its peer is gone and another gets it.
    pub(crate) fn forget_slot(&mut self, slot: usize) {
        for entry in self.entries.values_mut() {
            entry.known_by.remove(slot);
            entry.brought_by.remove(slot);
        }
    }

    /// Every hash, the next to expire first.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = EnvelopeHash> + '_ {
        self.by_expiry.iter().map(|(_, hash)| *hash)
    }

    fn has_room(&self, cost: usize) -> bool {
        self.bytes + cost <= self.limits.max_bytes && self.len() < self.limits.max_envelopes
    }

    /// The envelopes that have to go for one of this cost and rank, the least first.
    fn to_go_before(&self, cost: usize, rank: (Pow, u32)) -> Result<Vec<EnvelopeHash>, PoolFull> {
        let mut victims = Vec::new();
        let mut over_bytes = (self.bytes + cost).saturating_sub(self.limits.max_bytes);
        let mut over_count = (self.len() + 1).saturating_sub(self.limits.max_envelopes);
        let mut least = self.by_pow.iter();
        while over_bytes > 0 || over_count > 0 {
            let (pow, expiry, hash) = least.next().ok_or(PoolFull)?;
            if (*pow, *expiry) >= rank {
                return Err(PoolFull);
            }
            let freed = self.entries.get(hash).map_or(0, |entry| self::cost(&entry.envelope));
            over_bytes = over_bytes.saturating_sub(freed);
            over_count = over_count.saturating_sub(1);
            victims.push(*hash);
        }
        Ok(victims)
    }

    fn remove(&mut self, hash: &EnvelopeHash) {
        let expiry_and_pow = self.entries.remove(hash).map(|entry| {
            self.bytes -= cost(&entry.envelope);
            (entry.envelope.expiry(), entry.pow)
        });
        if let Some((expiry, pow)) = expiry_and_pow {
            self.by_expiry.remove(&(expiry, *hash));
            self.by_pow.remove(&(pow, expiry, *hash));
            self.left.remember(*hash);
        }
    }
}

/// What an envelope counts against the bound on bytes.
fn cost(envelope: &Envelope) -> usize {
    envelope.raw().len() + ENTRY_OVERHEAD
}

/// Hashes in two generations: when the recent one is full, it becomes the older one, and that is forgotten.
#[derive(Debug)]
struct Remembered {
    recent: HashSet<EnvelopeHash, HashKey>,
    older: HashSet<EnvelopeHash, HashKey>,
}

impl Remembered {
    fn contains(&self, hash: &EnvelopeHash) -> bool {
        self.recent.contains(hash) || self.older.contains(hash)
    }

    fn remember(&mut self, hash: EnvelopeHash) {
        if self.recent.len() >= SEEN_GENERATION {
            let empty = HashSet::with_hasher(*self.recent.hasher());
            self.older = mem::replace(&mut self.recent, empty);
        }
        self.recent.insert(hash);
    }
}

/// Hashes of a hash: eight of its bytes, which are uniform already, mixed with secrets, so that nobody can grind
/// envelopes that meet in one place of a table.
#[derive(Debug, Clone, Copy)]
struct HashKey([u64; 2]);

/// One such hash in the making.
#[derive(Debug)]
struct KeyedHasher {
    key: [u64; 2],
    state: u64,
}

impl BuildHasher for HashKey {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { key: self.0, state: 0 }
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        let len = bytes.len().min(8);
        first[..len].copy_from_slice(&bytes[..len]);
        let product = u128::from(u64::from_le_bytes(first) ^ self.key[0]) * u128::from(self.key[1] | 1);
        self.state ^= (product as u64) ^ ((product >> 64) as u64);
    }

    /// The length in front of a slice, which is always the same.
    fn write_usize(&mut self, _len: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Topic;

    const NOW: u64 = 1_000;

    fn pool(max_envelopes: usize, max_bytes: usize) -> Pool {
        Pool::new(PoolLimits { max_bytes, max_envelopes }, [1, 2])
    }

    fn entry(pow: f64, expiry: u32, data: usize, nonce: u64) -> Entry {
        let envelope = Envelope::new(expiry, 10, Topic([0; 4]), vec![0; data].into(), nonce).unwrap();
        let (known_by, brought_by) = Default::default();
        Entry { envelope: Arc::new(envelope), pow: Pow::new(pow).unwrap(), own: false, known_by, brought_by }
    }

    fn insert(pool: &mut Pool, pow: f64, expiry: u32, nonce: u64) -> (EnvelopeHash, Result<(), PoolFull>) {
        let entry = entry(pow, expiry, 100, nonce);
        (entry.envelope.hash(), pool.insert(NOW, entry))
    }

    #[test]
    fn what_expires_leaves_and_is_remembered() {
        let mut pool = pool(10, 1 << 20);
        let (early, _) = insert(&mut pool, 1.0, 1_000, 1);
        let (late, _) = insert(&mut pool, 1.0, 1_001, 2);
        assert_eq!(pool.sweep(1_000), 0);
        assert_eq!(pool.sweep(1_001), 1);
        assert!(pool.get(&early).is_none() && pool.has_left(&early));
        assert!(pool.get(&late).is_some() && !pool.has_left(&late));
        assert_eq!(pool.sweep(2_000), 1);
        assert_eq!((pool.len(), pool.bytes()), (0, 0));
    }

    #[test]
    fn the_least_work_goes_first_then_the_earliest_expiry() {
        let mut pool = pool(2, 1 << 20);
        let (least, _) = insert(&mut pool, 1.0, 2_000, 1);
        let (early, _) = insert(&mut pool, 2.0, 2_000, 2);
        let (late, result) = insert(&mut pool, 2.0, 3_000, 3);
        assert_eq!(result, Ok(()));
        assert!(pool.has_left(&least));
        let (_, result) = insert(&mut pool, 3.0, 2_000, 4);
        assert_eq!(result, Ok(()));
        assert!(pool.has_left(&early) && pool.get(&late).is_some());
        let (refused, result) = insert(&mut pool, 1.5, 9_000, 5);
        assert_eq!(result, Err(PoolFull));
        assert!(pool.get(&refused).is_none() && !pool.has_left(&refused));
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn the_expired_go_before_the_least_work() {
        let mut pool = pool(1, 1 << 20);
        let (expired, _) = insert(&mut pool, 9.0, 999, 1);
        let (_, result) = insert(&mut pool, 0.0, 2_000, 2);
        assert_eq!(result, Ok(()));
        assert!(pool.has_left(&expired));
    }

    #[test]
    fn bytes_are_bounded_and_a_refusal_changes_nothing() {
        let mut pool = pool(100, 3_000);
        for nonce in 0..4 {
            insert(&mut pool, 1.0 + nonce as f64, 2_000, nonce).1.unwrap();
        }
        let (len, bytes) = (pool.len(), pool.bytes());
        assert_eq!(pool.insert(NOW, entry(3.5, 2_000, 2_500, 9)), Err(PoolFull));
        assert_eq!(pool.insert(NOW, entry(100.0, 2_000, 5_000, 9)), Err(PoolFull));
        assert_eq!((pool.len(), pool.bytes()), (len, bytes));
        assert_eq!(pool.insert(NOW, entry(100.0, 2_000, 2_500, 9)), Ok(()));
        assert_eq!(pool.len(), 1);
        assert!(pool.bytes() <= 3_000);
    }

    #[test]
    fn remembers_a_generation_and_no_more_than_two() {
        let key = HashKey([3, 4]);
        let mut left = Remembered { recent: HashSet::with_hasher(key), older: HashSet::with_hasher(key) };
        let hash = |i: usize| EnvelopeHash::of(&i.to_le_bytes());
        for i in 0..=2 * SEEN_GENERATION {
            left.remember(hash(i));
        }
        assert!(!left.contains(&hash(0)));
        assert!(left.contains(&hash(SEEN_GENERATION)) && left.contains(&hash(2 * SEEN_GENERATION)));
        assert!(left.recent.len() + left.older.len() <= 2 * SEEN_GENERATION);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_indexes_agree(
            steps in proptest::collection::vec((0..10u32, 990..1_010u32, 0..600usize, 985..1_015u64), 1..60)
        ) {
            let mut pool = pool(8, 5_000);
            for (nonce, (pow, expiry, data, now)) in steps.into_iter().enumerate() {
                let _ = pool.insert(now, entry(f64::from(pow), expiry, data, nonce as u64));
                prop_assert!(pool.len() <= 8 && pool.bytes() <= 5_000);
                prop_assert_eq!(pool.by_expiry.len(), pool.len());
                prop_assert_eq!(pool.by_pow.len(), pool.len());
                let bytes: usize = pool.entries.values().map(|entry| cost(&entry.envelope)).sum();
                prop_assert_eq!(pool.bytes(), bytes);
            }
            let far = u64::from(u32::MAX) + 1;
            pool.sweep(far);
            prop_assert!(pool.is_empty() && pool.bytes() == 0);
        }
    }
}
