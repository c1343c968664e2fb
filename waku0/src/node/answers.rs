//! Confirmations and packets between two peers: what is not gossip.
//! Spec: 5/WAKU0, "Message Confirmations", "P2P Request", "P2P Message".
//!
//! An answer to nothing that we sent is ignored, and so is one that cannot be read. Packets outside of gossip are taken
//! from trusted peers alone; from others they are not even read.
//!
//! Limits: those of [`crate::confirm`]; [`crate::outbox::MAX_ANSWERS`] acknowledgements wait for a peer.

use std::sync::Arc;

use bytes::Bytes;
use devp2p::ConnId;

use super::{Action, Node, intake::NotTaken};
use crate::{
    admit::Refusal,
    confirm::{Ended, split_refused},
    counters::count,
    envelope::{Envelope, EnvelopeHash},
    fault::Fault,
    outbox::Overflow,
    packet::{
        Code,
        confirm::{BatchHash, OTHER_CODE, RefusedEnvelope, Response, TIME_CODE, encode_response},
        p2p::{self, Completion, Direct},
        sync::SyncResponse,
    },
    peer::Peer,
};

/// Packets that a peer answers a packet of envelopes with: a response and an ack.
const ANSWERS: u32 = 2;

impl NotTaken {
    /// What the sender is told. What has just expired is ordinary, and no deployed peer mentions it.
    fn code(self) -> Option<u64> {
        match self {
            Self::Refused(Refusal::Expired) => None,
            Self::Refused(Refusal::Future | Refusal::VeryOld) => Some(TIME_CODE),
            Self::Refused(Refusal::TooLarge | Refusal::ZeroTtl | Refusal::LowPow | Refusal::NotWanted)
            | Self::PoolFull(_) => Some(OTHER_CODE),
        }
    }
}

/// Confirmations.
impl Node {
    /// Answers a packet of envelopes: a response that lists what was refused, and then an ack.
    pub(super) fn confirm(&mut self, conn: ConnId, body: &[u8], refused: &[(EnvelopeHash, NotTaken)]) {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return };
        let texts: Vec<_> =
            refused.iter().filter_map(|(hash, reason)| Some((*hash, reason.code()?, reason.to_string()))).collect();
        let entries: Vec<_> = texts
            .iter()
            .map(|(hash, code, text)| RefusedEnvelope { hash: *hash, code: *code, text: text.as_bytes() })
            .collect();
        let batch = BatchHash::of(body);
        let response = encode_response(batch, &entries);
        let answers = [(Code::MessageResponse, response), (Code::BatchAck, batch.encode_ack())];
        match running.outbox.answer(answers) {
            Ok(()) => count(&self.counters.batches_confirmed),
            Err(Overflow) => count(&self.counters.confirmations_shed),
        }
        self.draining.insert(conn);
    }

    pub(super) fn receive_ack(&mut self, conn: ConnId, body: &[u8]) {
        match BatchHash::decode_ack(body).ok().and_then(|batch| self.take_batch(conn, batch)) {
            Some((by, posts)) => {
                let ended: Vec<_> = posts.into_iter().filter_map(|hash| self.posts.acknowledged(hash, by)).collect();
                self.end_posts(ended);
            }
            None => count(&self.counters.answers_ignored),
        }
    }

    pub(super) fn receive_response(&mut self, conn: ConnId, body: &[u8]) {
        let response = Response::decode(body).ok();
        let known = response.and_then(|response| Some((response, self.take_batch(conn, response.batch)?)));
        let Some((response, (by, posts))) = known else { return count(&self.counters.answers_ignored) };
        let (refused, taken) = split_refused(posts, response.refused());
        let refused = refused.into_iter().filter_map(|(hash, text)| self.posts.refused(hash, by, text));
        let mut ended: Vec<_> = refused.collect();
        ended.extend(taken.into_iter().filter_map(|hash| self.posts.acknowledged(hash, by)));
        self.end_posts(ended);
    }

    /// The own posts in a packet that this peer has been sent.
    fn take_batch(&mut self, conn: ConnId, batch: BatchHash) -> Option<(devp2p::NodeId, Vec<EnvelopeHash>)> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return None };
        Some((running.remote.node, running.unanswered.take(batch)?))
    }

    /// The posts among these envelopes that have not ended.
    pub(super) fn own_posts(&self, carried: &[Arc<Envelope>]) -> Vec<EnvelopeHash> {
        if self.posts.is_empty() {
            return Vec::new();
        }
        carried.iter().map(|envelope| envelope.hash()).filter(|hash| self.posts.follows(hash)).collect()
    }

    /// A packet of envelopes goes to a peer: it will be answered if the peer confirms.
    /// The packet's hash is computed for the first peer that needs it.
    pub(super) fn expect_answer(
        &mut self,
        conn: ConnId,
        body: &[u8],
        posts: &[EnvelopeHash],
        batch: &mut Option<BatchHash>,
    ) {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return };
        if !running.options.confirmations {
            return;
        }
        running.intake.expect_answers(ANSWERS);
        if posts.is_empty() {
            return;
        }
        posts.iter().for_each(|hash| self.posts.asked(hash));
        let batch = *batch.get_or_insert_with(|| BatchHash::of(body));
        let crowded_out = running.unanswered.add(batch, posts.to_vec());
        self.wait_no_longer(crowded_out);
    }

    /// A peer will not answer for these any more.
    pub(super) fn wait_no_longer(&mut self, posts: impl IntoIterator<Item = EnvelopeHash>) {
        let ended: Vec<_> = posts.into_iter().filter_map(|hash| self.posts.answered(hash)).collect();
        self.end_posts(ended);
    }

    pub(super) fn end_posts(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for (hash, outcome) in ended {
            self.counters.count_outcome(&outcome);
            self.actions.push_back(Action::PostEnded { hash, outcome });
        }
    }
}

/// Packets between two peers.
impl Node {
    pub(super) fn receive_direct(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        self.take_direct(conn, || Ok(Direct::Envelopes(p2p::decode_messages(body)?)))
    }

    pub(super) fn receive_completion(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        self.take_direct(conn, || Ok(Direct::Completion(Completion::decode(body)?)))
    }

    pub(super) fn receive_sync_response(&mut self, conn: ConnId, body: &Bytes) -> Result<(), Fault> {
        self.take_direct(conn, || Ok(Direct::SyncResponse(SyncResponse::decode(body)?)))
    }

    fn take_direct(&mut self, conn: ConnId, read: impl FnOnce() -> Result<Direct, Fault>) -> Result<(), Fault> {
        match self.peers.get(&conn) {
            Some(Peer::Running(running)) if running.trusted => {
                let packet = read()?;
                count(&self.counters.p2p_received);
                self.actions.push_back(Action::Direct { conn, packet });
            }
            _ => count(&self.counters.p2p_untrusted),
        }
        Ok(())
    }
}
