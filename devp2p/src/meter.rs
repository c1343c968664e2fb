//! What a session waits for before it takes more memory: core.
//!
//! Only a running session that was told to is metered. Of a long frame, bytes beyond what was granted stop the reading;
//! a packet that is whole stays as it came until its decompressed length is granted. What comes uncharged is one read of the
//! shell and frames up to [`SMALL_PACKET_BYTES`], which both are bounds per connection.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::budget::{SMALL_PACKET_BYTES, Share, Want};
use crate::frame::UnderWay;
use crate::hello::Capability;

/// The meter of a session.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) on: bool,
    /// Granted to the frame under way.
    granted: usize,
    parked: Option<Parked>,
    /// Since when something is wanted.
    since: Option<Instant>,
}

/// A packet that is whole, as it came.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) capability: Capability,
    pub(crate) code: u8,
    pub(crate) data: Bytes,
    /// Its length once decompressed.
    pub(crate) plain_bytes: usize,
    pub(crate) compressed: bool,
}

impl Meter {
    pub(crate) fn park(&mut self, parked: Parked) {
        self.parked = Some(parked);
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// What is wanted, with this frame under way.
    pub(crate) fn wants(&self, under_way: Option<UnderWay>) -> Option<Want> {
        if let Some(parked) = &self.parked {
            return Some(self.plain(parked));
        }
        let frame = under_way.filter(|frame| self.on && frame.size_bytes > SMALL_PACKET_BYTES)?;
        let bytes = frame.arrived_bytes.checked_sub(self.granted).filter(|bytes| *bytes > 0)?;
        Some(Want { bytes, share: Share::Large })
    }

    /// What is uncompressed is its own body, and charged already as far as it was granted.
    fn plain(&self, parked: &Parked) -> Want {
        let small = parked.data.len().max(parked.plain_bytes) <= SMALL_PACKET_BYTES && self.granted == 0;
        let charged = if parked.compressed { 0 } else { self.granted };
        Want {
            bytes: parked.plain_bytes.saturating_sub(charged),
            share: if small { Share::Small } else { Share::Large },
        }
    }

    /// Notes that something is wanted from now on.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Takes a grant; returns the packet that can be unpacked now, and how long it was waited for.
    pub(crate) fn grant(&mut self, now: Instant, bytes: usize) -> (Option<Parked>, Duration) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let parked = self.parked.take();
        self.granted = if parked.is_some() { 0 } else { self.granted + bytes };
        (parked, waited)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { on: self.on, ..Self::default() };
    }
}
