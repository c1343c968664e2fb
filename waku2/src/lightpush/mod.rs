//! Lightpush: publishing for those who do not relay, and through a node that does it for us.  Spec: 19/WAKU2-LIGHTPUSH 3.0.0 and 2.0.0-beta1.
//!
//! | Module | What |
//! |---|---|
//! | [`wire`] | requests and answers of 3.0.0 |
//! | [`legacy`] | those of 2.0.0-beta1 |
//! | [`status`] | what became of a request, as numbers and texts of either |
//! | [`server`] | what is published where, and what is answered: pure |
//! | [`serve`] | the shell of that: [`crate::service::Answer`] |
//! | [`client`] | asking others, or ourselves |
//!
//! What is pushed is published by this node's own relay, held against the same rules as what relay brings, and told to whoever is told of
//! messages. Nobody is told that it was published unless a peer was sent it. A message keeps the bytes that the client gave it.
//!
//! Limits: those of [`crate::service`]; a message as large as a gossip frame allows; [`MAX_ID_BYTES`] of a request id.

pub mod client;
pub mod legacy;
pub mod serve;
pub mod server;
pub mod status;
pub mod wire;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use client::{Client, PushError, Pushed};
pub use status::{Failure, Status};

use crate::{rules::Position, shard::ClusterId};

/// Longest request id that is echoed, in bytes. Deployed ones have 20 to 36; the rest of a longer one is not given back.
pub const MAX_ID_BYTES: usize = 256;

/// The request id where there is none that could be echoed.  Deployed: nwaku.
pub(crate) const NO_ID: &str = "N/A";

/// How lightpush is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The network.
    pub cluster: ClusterId,
    /// Its shards, where topics without a shard have one that follows from them; 0 where none does.
    pub shards: u16,
    /// Whose numbers tell that there is no peer, or that a message is too large.
    pub codes: Position,
    /// Messages without a rate-limit proof get one of ours, where we are a member.
    pub proves: bool,
}

/// What became of the requests of clients. Every number only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that could be read, of 3.0.0.
    pub pushed: AtomicU64,
    /// Requests that could be read, of 2.0.0-beta1.
    pub pushed_legacy: AtomicU64,
    /// Of 3.0.0, those that failed, by [`Status::index`].
    pub failed: [AtomicU64; Status::COUNT],
    /// The same of 2.0.0-beta1.
    pub failed_legacy: [AtomicU64; Status::COUNT],
}

impl Counters {
    fn failed(&self, legacy: bool, status: Status) {
        let counts = if legacy { &self.failed_legacy } else { &self.failed };
        counts[status.index()].fetch_add(1, Relaxed);
    }
}
