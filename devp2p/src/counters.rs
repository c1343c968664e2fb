//! What a server has counted since it started: connections, and bytes as they travel, encrypted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sums; any thread may read them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Nodes that we have begun to dial.
    pub dials: AtomicU64,
    /// Of these, those of which nothing listens where it was said to be.
    pub dials_unreached: AtomicU64,
    /// Of these, those that became peers.
    pub dials_succeeded: AtomicU64,
    /// Connections accepted, those refused by their address not counted.
    pub served: AtomicU64,
    /// Of these, those that became peers.
    pub served_succeeded: AtomicU64,
    /// Bytes read.
    pub bytes_in: AtomicU64,
    /// Bytes written.
    pub bytes_out: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    count_by(counter, 1);
}

/// Counts several more.
pub(crate) fn count_by(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Relaxed);
}
