//! What waits for one peer: positions in the shared pool, not copies.
//!
//! As a rule nothing does: what is forwarded leaves at once. When the connection's queue is full, the refused packets
//! are kept, and what follows waits as hashes; both leave as the queue empties. A newcomer's share of the pool goes the
//! same way, one packet at a time.
//! Limits: hashes up to the pool's bound on envelopes and [`MAX_HELD`] packets; a peer further behind is left.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use devp2p::Packet;

use crate::envelope::EnvelopeHash;

/// After how long a full connection is tried again: its queue of 8 MiB empties in about as long over a local network.
pub const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Refused packets kept for a peer: those that were on their way when its connection filled up.
pub const MAX_HELD: usize = 64;

/// The peer is further behind than anyone who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// What waits for one peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    held: VecDeque<Packet>,
    waiting: VecDeque<EnvelopeHash>,
    retry_at: Option<Instant>,
}

impl Outbox {
    /// Whether nothing waits, so that the next packet may leave at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.retry_at.is_none() && self.waiting.is_empty()
    }

    /// Whether there are envelopes to send, and no full connection in the way.
    pub(crate) fn may_send(&self) -> bool {
        self.retry_at.is_none() && !self.waiting.is_empty()
    }

    /// Puts an envelope behind what waits.
    pub(crate) fn push(&mut self, hash: EnvelopeHash, bound: usize) -> Result<(), Overflow> {
        if self.waiting.len() >= bound {
            return Err(Overflow);
        }
        self.waiting.push_back(hash);
        Ok(())
    }

    /// The next envelope to send.
    pub(crate) fn front(&self) -> Option<EnvelopeHash> {
        self.waiting.front().copied()
    }

    /// Takes the next envelope out.
    pub(crate) fn pop(&mut self) {
        self.waiting.pop_front();
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

    /// The packets to try again, when it is time.
    pub(crate) fn retry(&mut self, now: Instant) -> VecDeque<Packet> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            return std::mem::take(&mut self.held);
        }
        VecDeque::new()
    }
}
