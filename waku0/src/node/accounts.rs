//! Who is credited with what.  Spec: 5/WAKU0, "Accounting for resources".

use devp2p::{ConnId, NodeId, Packet, clock::Now};

use super::{Action, Node};
use crate::{
    accounting::{Account, Epoch, Volume},
    packet::{Code, messages},
    peer::Peer,
};

impl Node {
    /// Closes the open epoch, because the node stops.
    pub fn close_accounts(&mut self, now: Now) {
        self.now = now;
        let closed = self.accounts.close(now);
        self.closed(closed);
    }

    /// Closes the open epoch when its time is over.
    pub(super) fn tick_accounts(&mut self) {
        let closed = self.accounts.tick(self.now);
        self.closed(closed);
    }

    /// A peer has brought envelopes that were expected of it.
    pub(super) fn account_received(&mut self, conn: ConnId, volume: Volume) {
        if let Some(peer) = self.credited(conn, volume, |account| account.received += volume) {
            let closed = self.accounts.received(self.now, peer, volume);
            self.closed(closed);
        }
    }

    /// Envelopes that a peer asked for go to its connection.
    pub(super) fn account_sent(&mut self, conn: ConnId, volume: Volume) {
        if let Some(peer) = self.credited(conn, volume, |account| account.sent += volume) {
            let closed = self.accounts.sent(self.now, peer, volume);
            self.closed(closed);
        }
    }

    /// A packet that the connection had refused goes to it again.
    pub(super) fn account_retried(&mut self, conn: ConnId, packet: &Packet) {
        self.account_sent(conn, volume(packet));
    }

    /// The connection has refused a packet that was counted as sent.
    pub(super) fn take_back(&mut self, conn: ConnId, packet: &Packet) {
        let volume = volume(packet);
        if let Some(peer) = self.credited(conn, volume, |account| account.sent = account.sent.less(volume)) {
            self.accounts.take_back(peer, volume);
        }
    }

    /// Whose account it is; that of the connection is changed at once.
    fn credited(&mut self, conn: ConnId, volume: Volume, change: impl FnOnce(&mut Account)) -> Option<NodeId> {
        match self.peers.get_mut(&conn) {
            Some(Peer::Running(running)) if volume.envelopes > 0 => {
                change(&mut running.traffic.account);
                Some(running.remote.node)
            }
            _ => None,
        }
    }

    fn closed(&mut self, epoch: Option<Epoch>) {
        self.actions.extend(epoch.map(Action::EpochClosed));
    }
}

/// The envelopes of a packet that we have made.
fn volume(packet: &Packet) -> Volume {
    if packet.code != Code::Messages.number() {
        return Volume::default();
    }
    messages::decode(packet.body.plain()).map(|envelopes| envelopes.volume()).unwrap_or_default()
}
