//! Whom an envelope goes to, and in which packets.  Spec: 5/WAKU0, "Messages".
//!
//! An envelope leaves at once while the peer's rate allows it; beyond that it waits, and leaves with others in the next
//! packet that the rate allows.
//!
//! Limits: those of the pool, of [`crate::outbox`] and of [`crate::budget`]; packets are of [`MAX_SENT_BODY`] at most.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use devp2p::{ConnId, Packet, clock::Now};

use super::{Action, Node};
use crate::{
    accounting::Volume,
    counters::{count, count_by, gauge},
    envelope::{Envelope, EnvelopeHash},
    fault::Fault,
    outbox::Overflow,
    packet::{Code, MAX_SENT_BODY, messages},
    peer::{Peer, Running},
    pool::Pool,
    slots::SlotSet,
    topic::Topic,
};

impl Node {
    /// Selects the peers that an envelope of the pool goes to now, and says how many they are.
    pub(super) fn forward(&mut self, envelope: Arc<Envelope>) -> usize {
        let Some(entry) = self.pool.get_mut(&envelope.hash()) else { return 0 };
        if !messages::fits_a_packet(&envelope) {
            count(&self.counters.unsendable);
            return 0;
        }
        let now = self.now.instant;
        let (hash, topic) = (envelope.hash(), envelope.topic());
        let (mut at_once, mut selected, mut behind) = (SlotSet::default(), 0, Vec::new());
        for (conn, peer) in &mut self.peers {
            let Peer::Running(running) = peer else { continue };
            if entry.known_by.contains(running.slot) || !running.options.wants(topic, entry.pow) {
                continue;
            }
            entry.known_by.insert(running.slot);
            selected += 1;
            let ripe_at = running.ripe_at(&envelope, self.now);
            let (outbox, budget) = (&mut running.outbox, &mut running.budget);
            let kept = if let Some(ripe_at) = ripe_at {
                outbox.park(hash, topic, ripe_at, self.max_waiting)
            } else if !outbox.is_idle() || !budget.allows(now, 1) {
                count(&self.counters.throttled);
                self.draining.insert(*conn);
                outbox.push(hash, self.max_waiting)
            } else if let Err(until) = budget.take_topic(now, topic) {
                count(&self.counters.throttled);
                outbox.park(hash, topic, until, self.max_waiting)
            } else {
                at_once.insert(running.slot);
                Ok(())
            };
            if kept == Err(Overflow) {
                behind.push(*conn);
            }
        }
        self.forwards.add(at_once, envelope);
        behind.into_iter().for_each(|conn| self.catch_up_or_leave(conn, hash));
        selected
    }

    /// Makes room for one more by what has left the pool. Who does not read has had room enough.
    fn catch_up_or_leave(&mut self, conn: ConnId, hash: EnvelopeHash) {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return };
        if !running.outbox.is_stalled() {
            running.outbox.retain(|hash| self.pool.get(hash).is_some());
        }
        if running.outbox.push(hash, self.max_waiting) == Err(Overflow) {
            self.leave(conn, Fault::TooSlow);
        }
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
        if running.outbox.may_send(self.now.instant) {
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
            let bundles = messages::bundles(&envelopes);
            let receivers: Vec<ConnId> = slots.iter().filter_map(|slot| self.slots.get(slot).copied()?).collect();
            let receivers = self.within_budget(receivers, &bundles, &envelopes);
            count_by(&self.counters.forwarded, envelopes.len() * receivers.len());
            for (carried, body) in bundles {
                self.send_messages(&receivers, carried, body);
            }
        }
    }

    /// Those who may be sent so many packets now. For the others the envelopes wait.
    fn within_budget(
        &mut self,
        conns: Vec<ConnId>,
        bundles: &[(&[Arc<Envelope>], Bytes)],
        envelopes: &[Arc<Envelope>],
    ) -> Vec<ConnId> {
        let now = self.now.instant;
        let len: u64 = bundles.iter().map(|(_, body)| body.len() as u64).sum();
        let (may, waits) = conns.into_iter().partition(|conn| match self.peers.get_mut(conn) {
            Some(Peer::Running(running)) => {
                running.budget.allows(now, bundles.len()) && running.budget.byte_room(now) >= len
            }
            Some(Peer::AwaitingStatus(_)) | None => true,
        });
        let waits: Vec<ConnId> = waits;
        for conn in waits {
            count_by(&self.counters.throttled, envelopes.len());
            self.draining.insert(conn);
            for envelope in envelopes {
                let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { break };
                if running.outbox.push(envelope.hash(), self.max_waiting) == Err(Overflow) {
                    self.catch_up_or_leave(conn, envelope.hash());
                }
            }
        }
        may
    }

    fn send_messages(&mut self, receivers: &[ConnId], carried: &[Arc<Envelope>], body: Bytes) {
        let posts = self.own_posts(carried);
        let volume = Volume::together(carried);
        let (body, mut batch) = (devp2p::Body::from(body), None);
        for to in receivers {
            let Some(Peer::Running(running)) = self.peers.get_mut(to) else { continue };
            running.budget.note(self.now.instant, body.plain().len());
            let packet = Packet::new(running.version.capability(), Code::Messages.number(), body.clone());
            self.actions.push_back(Action::Send { to: *to, packet });
            self.account_sent(*to, volume);
            self.expect_answer(*to, body.plain(), &posts, &mut batch);
        }
    }

    /// The next packet of what waits for peers that were behind, are new, or want few packets.
    pub(super) fn drain(&mut self) -> Option<Action> {
        while let Some(conn) = self.draining.first().copied() {
            if let Some(packet) = self.next_packet(conn) {
                return Some(Action::Send { to: conn, packet });
            }
            self.draining.remove(&conn);
            self.look_for_mail(conn);
        }
        None
    }

    fn next_packet(&mut self, conn: ConnId) -> Option<Packet> {
        let now = self.now.instant;
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        if !running.outbox.may_send(now) || !running.budget.allows(now, 1) {
            return None;
        }
        let capability = running.version.capability();
        let (code, body) = self
            .next_update(conn)
            .or_else(|| self.next_answer(conn))
            .or_else(|| self.next_bundle(conn).map(|body| (Code::Messages, body.into())))
            .or_else(|| self.next_answer(conn))?;
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        running.budget.note(now, body.plain().len());
        Some(Packet::new(capability, code.number(), body))
    }

    fn next_answer(&mut self, conn: ConnId) -> Option<(Code, devp2p::Body)> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        running.outbox.next_answer().map(|(code, body)| (code, body.into()))
    }

    /// Takes envelopes for one packet out of what waits.
    fn next_bundle(&mut self, conn: ConnId) -> Option<Bytes> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        let carried = Bundle { running, pool: &mut self.pool, now: self.now, light: self.light }.take();
        let body = messages::encode(&carried).pop()?;
        count_by(&self.counters.forwarded, carried.len());
        self.account_sent(conn, Volume::together(&carried));
        let posts = self.own_posts(&carried);
        self.expect_answer(conn, &body, &posts, &mut None);
        Some(body)
    }

    pub(super) fn gauge_pool(&self) {
        gauge(&self.counters.pooled, self.pool.len());
        gauge(&self.counters.pooled_bytes, self.pool.bytes());
    }
}

/// A packet in the making, of what waits for one peer.
struct Bundle<'a> {
    running: &'a mut Running,
    pool: &'a mut Pool,
    now: Now,
    /// Whether only own envelopes are sent.
    light: bool,
}

/// Whether an envelope goes into a packet.
enum Fit {
    Taken(Arc<Envelope>),
    /// It has expired, or the peer wants it no more, or has sent it in the meantime.
    Gone,
    /// There is no room left.
    Full,
    /// Until then its topic has had its share, or it may not go to this peer.
    Later(Topic, Instant),
}

impl Bundle<'_> {
    /// First what waited for its topic's share, then the others in their order.
    fn take(mut self) -> Vec<Arc<Envelope>> {
        let (mut taken, mut items_len) = (Vec::new(), 0);
        while let Some((_, hash)) = self.running.outbox.front_parked(self.now.instant) {
            match self.fit(hash, items_len) {
                Fit::Taken(envelope) => {
                    self.running.outbox.pop_parked();
                    items_len += envelope.raw().len();
                    taken.push(envelope);
                }
                Fit::Gone => self.running.outbox.pop_parked(),
                Fit::Full => return taken,
                Fit::Later(_, until) => self.running.outbox.postpone_parked(until),
            }
        }
        while let Some(hash) = self.running.outbox.front() {
            let fit = self.fit(hash, items_len);
            if matches!(fit, Fit::Full) {
                break;
            }
            self.running.outbox.pop();
            match fit {
                Fit::Taken(envelope) => {
                    items_len += envelope.raw().len();
                    taken.push(envelope);
                }
                // There is room: it was in the same outbox a moment ago.
                Fit::Later(topic, until) => drop(self.running.outbox.park(hash, topic, until, usize::MAX / 2)),
                Fit::Gone | Fit::Full => {}
            }
        }
        taken
    }

    /// Looks once more at what was selected a while ago: time has passed, and both sides may have changed their minds.
    fn fit(&mut self, hash: EnvelopeHash, items_len: usize) -> Fit {
        let Some(entry) = self.pool.get_mut(&hash) else { return Fit::Gone };
        let envelope = &entry.envelope;
        if entry.brought_by.contains(self.running.slot) {
            return Fit::Gone;
        }
        let alive = u64::from(envelope.expiry()) >= self.now.unix_secs();
        let ours_to_send = entry.own || !self.light;
        if !alive || !ours_to_send || !self.running.options.wants(envelope.topic(), entry.pow) {
            entry.known_by.remove(self.running.slot);
            return Fit::Gone;
        }
        if let Some(ripe_at) = self.running.ripe_at(envelope, self.now) {
            return Fit::Later(envelope.topic(), ripe_at);
        }
        let len = messages::body_len(items_len + envelope.raw().len());
        let (now, budget) = (self.now.instant, &mut self.running.budget);
        let is_full = if items_len == 0 { !budget.fits(now, len) } else { budget.byte_room(now) < len as u64 };
        if is_full || (items_len > 0 && len > MAX_SENT_BODY) {
            return Fit::Full;
        }
        match self.running.budget.take_topic(self.now.instant, envelope.topic()) {
            Ok(()) => Fit::Taken(Arc::clone(envelope)),
            Err(until) => Fit::Later(envelope.topic(), until),
        }
    }
}
