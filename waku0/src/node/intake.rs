//! What a packet of envelopes brings: each is checked, kept, delivered and forwarded, or not.  Spec: 5/WAKU0, "Messages".
//!
//! Cheapest refusal first: a duplicate costs one hash, and its work is never looked at.
//!
//! Limits: a packet's own length; [`crate::packet::messages::BATCH`] envelopes are looked at together; [`MAX_REFUSALS`] are
//! told to the sender; [`crate::peer::MAX_MARKS`] bad ones, and the sender is left.

use std::sync::Arc;

use bytes::Bytes;
use devp2p::ConnId;

use super::{Action, Node};
use crate::{
    accounting::Volume,
    admit::{Refusal, before_pow},
    counters::count,
    envelope::{DecodeError, Envelope, EnvelopeHash},
    fault::Fault,
    interest::Interest,
    limits::OverRate,
    packet::{confirm::MAX_REFUSALS, messages},
    peer::{Peer, TooManyMarks},
    pool::{Entry, PoolFull},
    pow::Pow,
    version::StatusShape,
};

/// Why an envelope of a packet was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    PoolFull(PoolFull),
}

/// What became of an envelope.
enum Brought {
    /// It is what we asked for, and its sender brings it for the first time.
    Expected(Volume),
    /// It was here, and is gone, or its sender repeats itself.
    Repeated,
    NotTaken(NotTaken),
}

/// What a packet has brought so far.
#[derive(Default)]
struct Tally {
    expected: Volume,
    refused: Vec<(EnvelopeHash, NotTaken)>,
}

impl Node {
    pub(super) fn receive_messages(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        let mut tally = Tally::default();
        let outcome = self.read_messages(conn, body, &mut tally);
        self.account_received(conn, tally.expected);
        self.gauge_pool();
        outcome?;
        if self.confirmations {
            self.confirm(conn, body, &tally.refused);
        }
        Ok(())
    }

    fn read_messages(&mut self, conn: ConnId, body: &Bytes, tally: &mut Tally) -> Result<(), Fault> {
        let mut envelopes = messages::decode(body)?;
        while let Some(batch) = envelopes.next_batch(self.lanes) {
            let batch = batch?;
            self.measure_new(&batch);
            for item in batch {
                count(&self.counters.received);
                let Ok(envelope) = item else {
                    count(&self.counters.rejected.malformed);
                    self.mark(conn)?;
                    continue;
                };
                let hash = envelope.hash();
                match self.receive_envelope(conn, envelope, body.len())? {
                    Brought::Expected(volume) => tally.expected += volume,
                    Brought::NotTaken(refusal) if self.confirmations && tally.refused.len() < MAX_REFUSALS => {
                        tally.refused.push((hash, refusal));
                    }
                    Brought::Repeated | Brought::NotTaken(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Computes side by side the work that [`Self::receive_envelope`] would look at: not that of duplicates, nor of what
    /// a cheaper check refuses.
    fn measure_new(&self, batch: &[Result<Envelope, DecodeError>]) {
        let now = self.now.unix_secs();
        let looked_at = |envelope: &&Envelope| {
            let hash = envelope.hash();
            self.pool.get(&hash).is_none()
                && !self.pool.has_left(&hash)
                && before_pow(envelope, now, self.acceptance.policy()).is_ok()
        };
        let mut new: Vec<&Envelope> = batch.iter().flatten().filter(looked_at).collect();
        new.sort_unstable_by_key(|envelope| envelope.hash());
        new.dedup();
        Envelope::measure_all(self.lanes, &new);
    }

    fn receive_envelope(&mut self, conn: ConnId, envelope: Envelope, body_len: usize) -> Result<Brought, Fault> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return Ok(Brought::Repeated) };
        let slot = running.slot;
        running
            .intake
            .envelope(self.now.instant, envelope.topic(), &self.rates, &self.counters)
            .map_err(|OverRate(meter)| Fault::OverRate(meter))?;
        let (hash, volume) = (envelope.hash(), Volume::of(1, envelope.raw().len()));
        if let Some(entry) = self.pool.get_mut(&hash) {
            count(&self.counters.duplicates);
            return Ok(if entry.brought(slot) { Brought::Expected(volume) } else { Brought::Repeated });
        }
        if self.pool.has_left(&hash) {
            count(&self.counters.duplicates);
            return Ok(Brought::Repeated);
        }
        match self.acceptance.judge(self.now, &envelope) {
            Ok(pow) => Ok(match self.take(conn, slot, envelope, pow, body_len) {
                Ok(()) => Brought::Expected(volume),
                Err(full) => Brought::NotTaken(NotTaken::PoolFull(full)),
            }),
            Err(refusal) => {
                count(self.counters.rejected.of(refusal));
                if refusal.is_a_mark() && !self.is_excused(conn, refusal) {
                    self.mark(conn)?;
                }
                Ok(Brought::NotTaken(NotTaken::Refused(refusal)))
            }
        }
    }

    /// A peer that was told our topics as a filter sends what else the filter lets through.
    fn is_excused(&self, conn: ConnId, refusal: Refusal) -> bool {
        let is_told_a_filter = match self.peers.get(&conn) {
            Some(Peer::Running(running)) => running.shape == StatusShape::Positional,
            Some(Peer::AwaitingStatus(_)) | None => false,
        };
        let by_topics = matches!(self.acceptance.policy().interest, Interest::Topics(_));
        refusal == Refusal::NotWanted && is_told_a_filter && by_topics
    }

    /// Keeps, delivers and forwards a new envelope.
    fn take(
        &mut self,
        conn: ConnId,
        slot: usize,
        envelope: Envelope,
        pow: Pow,
        body_len: usize,
    ) -> Result<(), PoolFull> {
        // A slice keeps the whole packet alive, and much of it may be of no use.
        let alone = envelope.raw().len() * 2 >= body_len;
        let envelope = Arc::new(if alone { envelope } else { envelope.detached() });
        let (known_by, brought_by) = Default::default();
        let mut entry = Entry { envelope: Arc::clone(&envelope), pow, own: false, known_by, brought_by };
        entry.brought(slot);
        self.pool
            .insert(self.now.unix_secs(), entry)
            .inspect_err(|PoolFull| count(&self.counters.rejected.pool_full))?;
        count(&self.counters.validated);
        self.counters.sizes.count(envelope.raw().len());
        self.actions.push_back(Action::Deliver { envelope: Arc::clone(&envelope), from: conn });
        if !self.light {
            self.forward(envelope);
        }
        Ok(())
    }

    /// Counts an envelope against the peer that should not have sent it.
    fn mark(&mut self, conn: ConnId) -> Result<(), Fault> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return Ok(()) };
        running.marks.add(self.now.instant).map_err(|TooManyMarks| Fault::TooManyMarks)
    }
}
