//! Whom an envelope goes to, and in which packets.  Spec: 5/WAKU0, "Messages".
//!
//! Limits: those of the pool and of [`crate::outbox`]; packets are of [`MAX_SENT_BODY`] at most.

use std::sync::Arc;

use bytes::Bytes;
use devp2p::{ConnId, Packet};

use super::{Action, Node};
use crate::{
    counters::{count, count_by, gauge},
    envelope::{Envelope, EnvelopeHash},
    fault::Fault,
    outbox::{Outbox, Overflow},
    packet::{Code, MAX_SENT_BODY, messages},
    peer::Peer,
    pool::Pool,
    slots::SlotSet,
};

impl Node {
    /// Selects the peers that an envelope of the pool goes to now, and says how many they are.
    pub(super) fn forward(&mut self, envelope: Arc<Envelope>) -> usize {
        let Some(entry) = self.pool.get_mut(&envelope.hash()) else { return 0 };
        if !messages::fits_a_packet(&envelope) {
            count(&self.counters.unsendable);
            return 0;
        }
        let (mut at_once, mut selected, mut behind) = (SlotSet::default(), 0, Vec::new());
        for (conn, peer) in &mut self.peers {
            let Peer::Running(running) = peer else { continue };
            if entry.known_by.contains(running.slot) || !running.options.wants(envelope.topic(), entry.pow) {
                continue;
            }
            entry.known_by.insert(running.slot);
            selected += 1;
            if running.outbox.is_idle() {
                at_once.insert(running.slot);
            } else if running.outbox.push(envelope.hash(), self.max_waiting) == Err(Overflow) {
                behind.push(*conn);
            }
        }
        self.forwards.add(at_once, envelope);
        behind.into_iter().for_each(|conn| self.leave(conn, Fault::TooSlow));
        selected
    }

    /// Looks through the pool for envelopes that a peer wants and is not known to have.
    pub(super) fn offer_pool(&mut self, conn: ConnId) {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return };
        let hashes: Vec<EnvelopeHash> = self.pool.hashes().collect();
        for hash in hashes {
            let Some(entry) = self.pool.get_mut(&hash) else { continue };
            let sendable = messages::fits_a_packet(&entry.envelope) && (entry.own || !self.light);
            if !sendable
                || entry.known_by.contains(running.slot)
                || !running.options.wants(entry.envelope.topic(), entry.pow)
            {
                continue;
            }
            entry.known_by.insert(running.slot);
            if running.outbox.push(hash, self.max_waiting) == Err(Overflow) {
                return self.leave(conn, Fault::TooSlow);
            }
        }
        if running.outbox.may_send() {
            self.draining.insert(conn);
        }
    }

    /// Turns what was gathered since the last action into packets, each encoded once for all who get it.
    pub(super) fn flush(&mut self) {
        if self.forwards.is_empty() {
            return;
        }
        let now = self.now.unix_secs();
        for (slots, mut envelopes) in self.forwards.take() {
            envelopes.retain(|envelope| u64::from(envelope.expiry()) >= now);
            let receivers: Vec<ConnId> = slots.iter().filter_map(|slot| self.slots.get(slot).copied()?).collect();
            count_by(&self.counters.forwarded, envelopes.len() * receivers.len());
            for body in messages::encode(&envelopes) {
                self.send_messages(&receivers, body);
            }
        }
    }

    fn send_messages(&mut self, receivers: &[ConnId], body: Bytes) {
        let body = devp2p::Body::from(body);
        for to in receivers {
            let Some(Peer::Running(running)) = self.peers.get(to) else { continue };
            let packet = Packet::new(running.version.capability(), Code::Messages.number(), body.clone());
            self.actions.push_back(Action::Send { to: *to, packet });
        }
    }

    /// The next packet of what waits for peers that were behind or are new.
    pub(super) fn drain(&mut self) -> Option<Action> {
        let now = self.now.unix_secs();
        while let Some(conn) = self.draining.first().copied() {
            let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else {
                self.draining.remove(&conn);
                continue;
            };
            let envelopes = next_bundle(&mut running.outbox, &self.pool, now);
            if !running.outbox.may_send() {
                self.draining.remove(&conn);
            }
            if let Some(body) = messages::encode(&envelopes).pop() {
                count_by(&self.counters.forwarded, envelopes.len());
                let packet = Packet::new(running.version.capability(), Code::Messages.number(), body);
                return Some(Action::Send { to: conn, packet });
            }
        }
        None
    }

    pub(super) fn gauge_pool(&self) {
        gauge(&self.counters.pooled, self.pool.len());
        gauge(&self.counters.pooled_bytes, self.pool.bytes());
    }
}

/// Takes envelopes for one packet out of what waits: those still in the pool and alive at `now`, in unix seconds.
fn next_bundle(outbox: &mut Outbox, pool: &Pool, now: u64) -> Vec<Arc<Envelope>> {
    let mut bundle = Vec::new();
    let mut items_len = 0;
    while let Some(hash) = outbox.front() {
        let alive = pool.get(&hash).filter(|entry| u64::from(entry.envelope.expiry()) >= now);
        if let Some(entry) = alive {
            let longer = items_len + entry.envelope.raw().len();
            if !bundle.is_empty() && messages::body_len(longer) > MAX_SENT_BODY {
                break;
            }
            items_len = longer;
            bundle.push(Arc::clone(&entry.envelope));
        }
        outbox.pop();
    }
    bundle
}
