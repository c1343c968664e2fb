//! What became of one envelope or message: all that a bridge knows of a hash.
//!
//! Limits: looking is a walk over the whole memory of what crossed, some tens of milliseconds when that is full, so one question is
//! answered at a time; of one content [`MAX_KNOWN`] entries are told.

use std::{sync::Arc, time::Duration};

use devp2p::clock::Now;
use waku0::envelope::EnvelopeHash;
use waku2::hash::MessageHash;

use crate::{
    bridge::Bridge,
    crossing::{Crossing, Direction},
    job::{Job, Stage},
    passage::Passage,
    seen::{Entry, Fingerprint},
};

/// Entries told of one content, which may have been sent many times.
pub const MAX_KNOWN: usize = 64;

/// The hash of an envelope, of a message, or of what either says.
pub type AnyHash = [u8; 32];

/// All that is known of a hash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Story {
    /// What the memory of what was seen holds, the first sent first.
    pub known: Vec<Known>,
    /// What is still on its way.
    pub under_way: Vec<UnderWay>,
    /// What ended lately, the latest last ([`crate::handle::RECENT_ENDS`]).
    pub ended: Vec<Crossing>,
}

/// An entry of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What it says.
    pub content: Fingerprint,
    /// What is known.
    pub entry: Entry,
    /// Its content goes round, and does not cross for a while.
    pub quarantined: bool,
}

/// Something on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// Which way.
    pub direction: Direction,
    /// By which route.
    pub route: Option<Arc<str>>,
    /// Where it stands.
    pub stage: Stage,
    /// Failed attempts since the far side last gained a peer.
    pub attempts: u8,
    /// Since the bridge was given it.
    pub since: Duration,
    /// The envelope, if one is known.
    pub envelope: Option<EnvelopeHash>,
    /// The message, if one is known.
    pub message: Option<MessageHash>,
}

impl Story {
    /// Nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.under_way.is_empty() && self.ended.is_empty()
    }
}

impl Bridge {
    /// What is known of a hash now. What ended is not: whoever carries the reports out has it.
    #[must_use]
    pub fn story(&self, now: Now, hash: &AnyHash) -> Story {
        let mut known: Vec<Known> = self
            .seen
            .about(hash)
            .take(MAX_KNOWN)
            .map(|(content, entry)| Known {
                content,
                entry: *entry,
                quarantined: self.seen.is_quarantined(now.instant, content),
            })
            .collect();
        known.sort_by_key(|known| known.entry.sent);
        let under_way = self.jobs.iter().filter(|job| is_about(&job.passage, hash)).map(|job| tell(now, job)).collect();
        Story { known, under_way, ended: Vec::new() }
    }
}

impl Crossing {
    /// Is this its envelope, its message, or what it says?
    #[must_use]
    pub fn is_about(&self, hash: &AnyHash) -> bool {
        any_is(hash, self.envelope, self.message, self.content)
    }
}

fn is_about(passage: &Passage, hash: &AnyHash) -> bool {
    any_is(hash, passage.envelope, passage.message, passage.content)
}

fn any_is(
    hash: &AnyHash,
    envelope: Option<EnvelopeHash>,
    message: Option<MessageHash>,
    content: Option<Fingerprint>,
) -> bool {
    envelope.is_some_and(|envelope| envelope.as_bytes() == hash)
        || message.is_some_and(|message| message.as_bytes() == hash)
        || content.is_some_and(|content| content.as_bytes() == hash)
}

fn tell(now: Now, job: &Job) -> UnderWay {
    let passage = &job.passage;
    UnderWay {
        direction: passage.direction,
        route: passage.route.as_ref().map(|route| Arc::clone(&route.name)),
        stage: job.stage(),
        attempts: job.attempts,
        since: now.instant.saturating_duration_since(passage.received),
        envelope: passage.envelope,
        message: passage.message,
    }
}
