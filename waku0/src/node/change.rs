//! Settings that change while the node runs, and telling peers.  Spec: 5/WAKU0, "Status Update".
//!
//! Changes within [`UPDATE_DELAY`] of the first share a packet, and each peer is told only what is different from what it
//! was told last: a change that is undone meanwhile is told to nobody.
//!
//! Limits: an update waits its turn within the peer's rate, and grows no longer than a Status.

use std::{sync::Arc, time::Duration};

use devp2p::{Body, ConnId, clock::Now};

use super::Node;
use crate::{
    counters::count,
    fault::Fault,
    peer::Peer,
    settings::{Change, announced},
    status::StatusOptions,
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
        self.status = options.encode_status();
        self.options = Arc::new(options);
        self.update = None;
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

    /// The update that a peer is waiting for, when there is still something to tell.
    pub(super) fn next_update(&mut self, conn: ConnId) -> Option<Body> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        if !running.outbox.take_update() {
            return None;
        }
        let before = std::mem::replace(&mut running.told, Arc::clone(&self.options));
        let body = self.update_since(before)?;
        count(&self.counters.updates_sent);
        Some(body)
    }

    /// The body of an update for those who were told this; `None` when nothing is different.
    fn update_since(&mut self, before: Arc<StatusOptions>) -> Option<Body> {
        if let Some((_, body)) = self.update.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &before)) {
            return body.clone();
        }
        let changed = self.options.changed_since(&before);
        let body = (changed != StatusOptions::default()).then(|| changed.encode_update().into());
        self.update = Some((before, body.clone()));
        body
    }
}
