//! Settings that change while the node runs, and telling peers.  Spec: 5/WAKU0, 6/WAKU1, "Status Update"; EIP-627.
//!
//! Changes within [`UPDATE_DELAY`] of the first are told together, and each peer is told only what is different from what it
//! was told last: a change that is undone meanwhile is told to nobody. Each is told in the shape of its own Status: in one
//! packet, or in one for each option.
//!
//! Limits: an update waits its turn within the peer's rate, and grows no longer than a Status.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use devp2p::{Body, ConnId, clock::Now};

use super::Node;
use crate::{
    counters::count,
    fault::Fault,
    packet::Code,
    peer::Peer,
    settings::{Change, announced},
    status::StatusOptions,
    version::{StatusShape, Version},
};

/// How long peers are not told of a change, because more may follow.
pub const UPDATE_DELAY: Duration = Duration::from_millis(100);

impl Node {
    /// Changes one setting. Peers are told within [`UPDATE_DELAY`].
    pub fn change(&mut self, now: Now, change: Change) {
        self.now = now;
        self.flush(); // What is on its way was selected by the settings so far.
        let policy = self.acceptance.policy();
        match change {
            Change::MinPow(min_pow) if min_pow != policy.min_pow => self.acceptance.set_min_pow(now.instant, min_pow),
            Change::Interest(interest) if interest != policy.interest => {
                self.acceptance.set_interest(now.instant, interest);
            }
            Change::Light(light) if light != self.light => self.set_light(light),
            Change::Confirmations(confirmations) => self.confirmations = confirmations,
            Change::Rates(rates) => self.rates = rates,
            Change::MaxMessageSize(bytes) => self.acceptance.set_max_message_size(bytes),
            Change::MinPow(_) | Change::Interest(_) | Change::Light(_) => {}
        }
        let options = self.announced();
        if options != *self.options {
            self.announce(options);
            self.update_at.get_or_insert(now.instant + UPDATE_DELAY);
        }
    }

    /// Whether packets outside of gossip are taken from a peer. Trust ends with the connection. A peer that is trusted is
    /// not left for sending too much. Returns whether there is such a peer, and its Status was exchanged.
    pub fn trust(&mut self, now: Now, conn: ConnId, trusted: bool) -> bool {
        self.now = now;
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return false };
        running.trusted = trusted;
        running.intake.set_exempt(trusted || self.whitelist.covers(&running.remote));
        true
    }

    /// A peer has changed what it announced.
    pub(super) fn receive_update(&mut self, conn: ConnId, code: Code, body: &[u8]) -> Result<(), Fault> {
        self.flush(); // What is on its way was selected by what the peer wanted so far.
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return Ok(()) };
        let options = StatusOptions::decode_change(running.version, code, body).map_err(Fault::StatusUpdate)?;
        let wants_other = options.pow.is_some() || options.bloom.is_some() || options.topics.is_some();
        running.options.apply(options).map_err(|error| Fault::StatusUpdate(error.into()))?;
        running.budget.set(&running.options.rate_limits, &running.options.byte_limits);
        if wants_other {
            let next_turn = self.now.instant.max(running.offered_at + super::OFFER_INTERVAL);
            running.offer_at.get_or_insert(next_turn);
        }
        if running.outbox.may_send(self.now.instant) {
            self.draining.insert(conn); // It may be sent more than before.
        }
        if self.light && running.options.light {
            return Err(Fault::BothLight);
        }
        Ok(())
    }

    fn set_light(&mut self, light: bool) {
        self.light = light;
        let running = self.peers.iter_mut().filter_map(|(conn, peer)| match peer {
            Peer::Running(running) => Some((*conn, running)),
            Peer::AwaitingStatus(_) => None,
        });
        let mut both_light = Vec::new();
        for (conn, running) in running {
            if light && running.options.light {
                both_light.push(conn);
            } else if !light {
                // All that came in meanwhile may now be passed on.
                let next_turn = self.now.instant.max(running.offered_at + super::OFFER_INTERVAL);
                running.offer_at.get_or_insert(next_turn);
            }
        }
        both_light.into_iter().for_each(|conn| self.leave(conn, Fault::BothLight));
    }

    /// What peers are to know of us.
    pub(super) fn announced(&self) -> StatusOptions {
        let policy = self.acceptance.policy();
        announced(policy.min_pow, &policy.interest, self.light, self.confirmations, &self.rates)
    }

    /// From now on newcomers are told this.
    pub(super) fn announce(&mut self, options: StatusOptions) {
        self.statuses = Version::ALL.map(|version| (version, options.encode_status(version).into()));
        self.options = Arc::new(options);
        self.updates.clear();
    }

    /// The Status that a newcomer of this version gets.
    pub(super) fn status(&self, version: Version) -> Body {
        let known = self.statuses.iter().find(|(other, _)| *other == version);
        known.map_or_else(|| self.options.encode_status(version).into(), |(_, status)| status.clone())
    }

    /// Lets every running peer be told what has changed for it.
    pub(super) fn tell_changes(&mut self) {
        self.update_at = None;
        for (conn, peer) in &mut self.peers {
            let Peer::Running(running) = peer else { continue };
            if !Arc::ptr_eq(&running.told, &self.options) {
                running.outbox.want_update();
                self.draining.insert(*conn);
            }
        }
    }

    /// The next packet of the update that a peer is waiting for, when there is still something to tell.
    pub(super) fn next_update(&mut self, conn: ConnId) -> Option<(Code, Body)> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        if let Some(packet) = running.outbox.next_change() {
            return Some(packet);
        }
        if !running.outbox.take_update() {
            return None;
        }
        let before = std::mem::replace(&mut running.told, Arc::clone(&self.options));
        let shape = running.shape;
        let packets = self.changes_since(before, shape);
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        running.outbox.set_changes(packets);
        let first = running.outbox.next_change()?;
        count(&self.counters.updates_sent);
        Some(first)
    }

    /// The packets of an update for those who were told this; none when nothing is different.
    fn changes_since(&mut self, before: Arc<StatusOptions>, shape: StatusShape) -> VecDeque<(Code, Body)> {
        let is_same = |update: &&Update| update.shape == shape && Arc::ptr_eq(&update.before, &before);
        if let Some(update) = self.updates.iter().find(is_same) {
            return update.packets.clone();
        }
        let changed = self.options.changed_since(&before);
        let packets: VecDeque<_> = changed.changes(shape).into_iter().map(|(code, body)| (code, body.into())).collect();
        self.updates.retain(|update| update.shape != shape);
        self.updates.push(Update { before, shape, packets: packets.clone() });
        packets
    }
}

/// An update, for whom it is: those who were told that, in that shape.
#[derive(Debug)]
pub(super) struct Update {
    before: Arc<StatusOptions>,
    shape: StatusShape,
    packets: VecDeque<(Code, Body)>,
}
