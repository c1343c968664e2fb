//! What peers and addresses are counted by: their requests, and the bytes that they were given.
//!
//! Limits: [`MAX_METERS`] of either kind.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Refusal;
use crate::limits::Bucket;

/// Peers, and addresses, whose requests are counted. With more at once, those without a meter are refused.
pub const MAX_METERS: usize = 4_096;

/// What one peer or address has had.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    pub(super) requests: Bucket,
    pub(super) bytes: Bucket,
    pub(super) next_at: Instant,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { requests: Bucket::full(now), bytes: Bucket::full(now), next_at: now }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.requests.is_full(now) && self.bytes.is_full(now) && self.next_at <= now
    }

    /// Counts one request, if it may come.
    pub(super) fn take(
        &mut self,
        now: Instant,
        per_sec: u32,
        interval: Duration,
        bytes_per_sec: u64,
    ) -> Result<(), Refusal> {
        let may = self.next_at <= now && self.bytes.take(now, bytes_per_sec, 1) == 0;
        if !may || !self.requests.take_one(now, per_sec) {
            return Err(Refusal::RateLimit);
        }
        self.next_at = now + interval;
        Ok(())
    }
}

/// The meter of one peer or address; those that say nothing are forgotten when there are too many.
pub(super) fn meter<K: std::hash::Hash + Eq>(
    meters: &mut HashMap<K, Meter>,
    now: Instant,
    key: K,
) -> Result<&mut Meter, Refusal> {
    if meters.len() >= MAX_METERS && !meters.contains_key(&key) {
        meters.retain(|_, meter| !meter.is_idle(now));
        if meters.len() >= MAX_METERS {
            return Err(Refusal::Busy);
        }
    }
    Ok(meters.entry(key).or_insert_with(|| Meter::new(now)))
}
