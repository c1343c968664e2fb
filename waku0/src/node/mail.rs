//! Requests for history on their way in, and answers on their way out.  Spec: 5/WAKU0, "P2P Request"; 8/WAKU-MAIL.
//!
//! A client's request needs no trust: whoever serves history answers whoever asks, on the same connection. That of another mailserver
//! does. What an answer brings waits behind everything else, so that gossip is not held up.
//!
//! Limits: [`crate::outbox::MAX_MAIL`] packets wait for a peer; one leaves at a time, when the connection has little to do.

use bytes::Bytes;
use devp2p::{ConnId, Packet};

use super::{Action, Node};
use crate::{
    counters::count,
    fault::Fault,
    mail::Asked,
    outbox::Overflow,
    packet::{
        Code,
        p2p::{P2pRequest, Unread},
        sync::SyncRequest,
    },
    peer::Peer,
};

/// A packet outside of gossip is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no such peer, or its Status has not come.
    #[error("the peer is gone")]
    Gone,
    /// Too many wait for it.
    #[error("the peer does not read what waits for it")]
    Full,
}

impl Node {
    pub(super) fn receive_request(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        let Some(Peer::Running(running)) = self.peers.get(&conn) else { return Ok(()) };
        if !self.serves_mail {
            count(&self.counters.requests_ignored);
            return Ok(());
        }
        let remote = running.remote;
        let request = match P2pRequest::decode(body) {
            Ok(request) => Ok(request),
            Err(error) => match P2pRequest::id_of_unread(body) {
                Some(id) => Err(Unread { id, error }),
                None => return Err(error.into()),
            },
        };
        count(&self.counters.requests_taken);
        self.actions.push_back(Action::MailRequest { conn, remote, asked: Asked::History(request) });
        Ok(())
    }

    pub(super) fn receive_sync_request(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        let Some(Peer::Running(running)) = self.peers.get(&conn) else { return Ok(()) };
        if !running.trusted {
            count(&self.counters.p2p_untrusted);
            return Ok(());
        }
        let remote = running.remote;
        let request = SyncRequest::decode(body)?;
        if !self.serves_mail {
            count(&self.counters.requests_ignored);
            return Ok(());
        }
        count(&self.counters.requests_taken);
        self.actions.push_back(Action::MailRequest { conn, remote, asked: Asked::Sync(request) });
        Ok(())
    }

    /// Puts a packet outside of gossip behind everything that waits for a peer. [`Action::MailReady`] comes when it may leave.
    ///
    /// # Errors
    /// [`NotSent`], and nothing has happened.
    pub fn mail(&mut self, now: devp2p::Now, conn: ConnId, code: Code, body: Bytes) -> Result<(), NotSent> {
        self.now = now;
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return Err(NotSent::Gone) };
        running.outbox.mail(code, body).map_err(|Overflow| NotSent::Full)?;
        self.mailing.insert(conn);
        Ok(())
    }

    /// The packet that [`Action::MailReady`] has spoken of. It is on its way now.
    pub fn take_mail(&mut self, now: devp2p::Now, conn: ConnId) -> Option<Packet> {
        self.now = now;
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        let (code, body) = running.outbox.take_mail()?;
        running.budget.note(now.instant, body.len());
        self.mailing.insert(conn);
        Some(Packet::new(running.version.capability(), code.number(), body))
    }

    /// The connection has enough to do: that packet is to be asked about again a little later.
    pub fn delay_mail(&mut self, now: devp2p::Now, conn: ConnId) {
        self.now = now;
        if let Some(Peer::Running(running)) = self.peers.get_mut(&conn) {
            running.outbox.delay_mail(now.instant);
        }
    }

    /// Remembers a peer whose mail may leave now.
    pub(super) fn look_for_mail(&mut self, conn: ConnId) {
        let now = self.now.instant;
        if matches!(self.peers.get(&conn), Some(Peer::Running(running)) if running.outbox.may_mail(now)) {
            self.mailing.insert(conn);
        }
    }

    /// A peer for whom nothing but history waits, and which may be sent a packet.
    pub(super) fn drain_mail(&mut self) -> Option<Action> {
        let now = self.now.instant;
        while let Some(conn) = self.mailing.pop_first() {
            let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { continue };
            if running.outbox.may_mail(now) && running.budget.allows(now, 1) {
                return Some(Action::MailReady { conn });
            }
        }
        None
    }
}
