//! One page on its way.

use std::time::{Duration, Instant};

use super::{PAGE_TIMEOUT, SPARE_PACKETS, Trouble};
use crate::envelope::EnvelopeHash;

/// What has come of a page.
#[derive(Debug)]
pub(super) struct Page {
    /// Of the request.
    pub(super) name: [u8; 32],
    began: Instant,
    heard: Instant,
    limit: u64,
    envelopes: u64,
    packets: u64,
    /// The last envelope that came.
    pub(super) last: Option<EnvelopeHash>,
    /// Something was lost on our side.
    pub(super) shed: bool,
    pub(super) order: Times,
}

impl Page {
    pub(super) fn new(now: Instant, name: [u8; 32], limit: u32) -> Self {
        let (limit, order) = (u64::from(limit), Times::default());
        Self { name, began: now, heard: now, limit, envelopes: 0, packets: 0, last: None, shed: false, order }
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        (self.heard + timeout).min(self.began + PAGE_TIMEOUT)
    }

    /// Counts a packet.
    pub(super) fn packet(&mut self, now: Instant) -> Result<(), Trouble> {
        self.heard = now;
        self.packets += 1;
        if self.packets > self.limit + SPARE_PACKETS { Err(Trouble::TooMuch) } else { Ok(()) }
    }

    /// Counts an envelope, whatever it is.
    pub(super) fn count(&mut self) -> Result<(), Trouble> {
        self.envelopes += 1;
        if self.envelopes > self.limit { Err(Trouble::TooMuch) } else { Ok(()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.envelopes == 0
    }

    /// Has all come that the server says it sent last? Servers of old do not say.
    pub(super) fn is_whole(&self, last: Option<EnvelopeHash>) -> bool {
        let last = last.filter(|hash| *hash.as_bytes() != [0; 32]);
        !self.shed && (last.is_none() || last == self.last)
    }
}

/// The times of envelopes, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub(super) first: Option<u32>,
    pub(super) last: Option<u32>,
    /// One was sent after the one before it.
    pub(super) rises: bool,
    /// One was sent before the one before it.
    pub(super) falls: bool,
}

impl Times {
    pub(super) fn push(&mut self, sent: u32) {
        self.rises |= self.last.is_some_and(|last| last < sent);
        self.falls |= self.last.is_some_and(|last| last > sent);
        self.first.get_or_insert(sent);
        self.last = Some(sent);
    }

    /// These, and then those.
    pub(super) fn then(self, next: Self) -> Self {
        let mut both = self;
        next.first.into_iter().for_each(|first| both.push(first));
        Self { rises: both.rises || next.rises, falls: both.falls || next.falls, last: next.last.or(both.last), ..both }
    }
}
