//! What was told and heard in peer exchange.

use std::sync::atomic::AtomicU64;

/// Of both sides. Every number only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Nodes that peers told us of.
    pub received: AtomicU64,
    /// Of these, those that were taken into the address book.
    pub kept: AtomicU64,
    /// Nodes that we told peers of.
    pub sent: AtomicU64,
    /// Questions without an answer.
    pub unanswered: AtomicU64,
}
