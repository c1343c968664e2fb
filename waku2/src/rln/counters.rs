//! What is counted of proofs. That of messages that do not pass stands with their reasons: [`crate::handle::Counters`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened so far. `waiting` and `held` are as of now; everything else only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages whose proof was looked at, or missed.
    pub looked_at: AtomicU64,
    /// Proofs that were verified, with either outcome.
    pub verified: AtomicU64,
    /// In so many batches.
    pub batches: AtomicU64,
    /// Nanoseconds that verifying took in all.
    pub nanos: AtomicU64,
    /// Nanoseconds a proof of the last batch took.
    pub last_nanos: AtomicU64,
    /// Messages that wait to be verified.
    pub waiting: AtomicU64,
    /// Messages that wait for their root.
    pub held: AtomicU64,
    /// Messages that have waited for their root.
    pub were_held: AtomicU64,
    /// Of these, those whose root came in time.
    pub came_in_time: AtomicU64,
    /// Messages dropped for want of room: in the queue, the hold or the log.
    pub overload: AtomicU64,
    /// Messages ignored because the verifier did not answer in time.
    pub late: AtomicU64,
    /// Batches that the verifier did not survive.
    pub failed: AtomicU64,
    /// Nullifiers that are remembered.
    pub nullifiers: AtomicU64,
    /// Peers that were left because of their invalid proofs.
    pub left: AtomicU64,
    /// Nanoseconds the last proof of an own message took, from when it was asked for.
    pub last_proving_nanos: AtomicU64,
    /// Own messages that got a proof.
    pub attached: AtomicU64,
    /// Own messages that got none.
    pub not_attached: AtomicU64,
}

impl Counters {
    pub(crate) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}
