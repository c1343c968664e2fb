//! News for subscribers: what became of posts and requests (`waku_subscribe ["events"]`), and peers that come and go
//! (`admin_subscribe ["peerEvents"]`).  Source: status-go `signal/events_shhext.go`; go-ethereum `p2p/peer.go`, `PeerEvent`.
//!
//! An event is `{ "type", "event" }` by status-go's names. Of those, `mailserver.available`, `mailserver.changed` and `mailserver.not.working`
//! never come: they tell of a choice among servers, and here every request names its server.
//!
//! Limit: [`NEWS`] events wait for a subscriber; when there are more, the oldest are lost to it, and it is told how many (`lost`).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use devp2p::{ConnId, NodeId};
use jsonrpsee::{core::to_json_raw_value, server::PendingSubscriptionSink};
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use waku0::{EnvelopeHash, PeerInfo, confirm::Outcome, packet::p2p::Completion};

use super::values::hex;

/// Events that wait for a subscriber who is slow to read.
const NEWS: usize = 256;

/// Tells all subscribers; nobody, where there are none.
#[derive(Debug)]
pub(super) struct Feed(broadcast::Sender<Value>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(NEWS))
    }
}

impl Feed {
    /// Does anybody listen?
    pub(super) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    fn tell(&self, news: Value) {
        // Without subscribers it is told to nobody.
        let _ = self.0.send(news);
    }

    /// What became of a post: a peer has it, or none will.
    pub(super) fn posted(&self, hash: EnvelopeHash, sent: bool, outcome: &Outcome) {
        let (kind, message) = match outcome {
            Outcome::Acknowledged { .. } => ("envelope.sent", ""),
            Outcome::Refused { text, .. } => ("envelope.expired", text.as_str()),
            Outcome::Unanswered if sent => ("envelope.sent", ""),
            Outcome::Unanswered => ("envelope.expired", "no peer has it"),
        };
        let hash = hash.to_string();
        self.tell(json!({ "type": kind, "event": { "ids": [hash], "hash": hash, "message": message } }));
    }

    /// A server has ended its answer.
    pub(super) fn completed(&self, completion: &Completion) {
        let (request, last, cursor, error) = match completion {
            Completion::Done { request, last, cursor } => (request, last.as_ref(), cursor.as_ref(), ""),
            Completion::Failed { request, text } => (request, None, None, text.as_str()),
        };
        self.tell(json!({ "type": "mailserver.request.completed", "event": {
            "requestID": hex(request),
            "lastEnvelopeHash": hex(last.map_or(&[0; 32], |hash| hash.as_bytes())),
            "cursor": cursor.map(::hex::encode).unwrap_or_default(),
            "errorMessage": error,
        } }));
    }

    /// A server has not answered in time.
    pub(super) fn expired(&self, request: &[u8; 32]) {
        self.tell(json!({ "type": "mailserver.request.expired", "event": { "hash": hex(request) } }));
    }

    /// Serves one subscriber until he leaves.
    pub(super) async fn serve(&self, pending: PendingSubscriptionSink) {
        let mut news = self.0.subscribe();
        let Ok(sink) = pending.accept().await else { return };
        loop {
            let told = tokio::select! {
                () = sink.closed() => return,
                told = news.recv() => match told {
                    Ok(told) => told,
                    Err(RecvError::Lagged(count)) => json!({ "type": "lost", "event": { "count": count } }),
                    Err(RecvError::Closed) => return,
                },
            };
            let Ok(told) = to_json_raw_value(&told) else { continue };
            if sink.send(told).await.is_err() {
                return;
            }
        }
    }
}

/// Who is connected, and news of it.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) feed: Feed,
    /// As many as the node has.
    known: Mutex<HashMap<ConnId, (NodeId, SocketAddr)>>,
}

impl Peers {
    /// Tells of those who have come and gone since the last look.
    pub(super) fn look(&self, peers: &[PeerInfo]) {
        let running = peers.iter().filter(|peer| peer.options.is_some());
        let now: HashMap<_, _> = running.map(|peer| (peer.conn, (peer.key.id(), peer.addr))).collect();
        // What one panicked with is whole: every change is a single step.
        let before = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, now.clone())
        };
        let apart = |these: &HashMap<_, _>, others: &HashMap<_, _>| -> Vec<(NodeId, SocketAddr)> {
            these.iter().filter(|(conn, _)| !others.contains_key(*conn)).map(|(_, peer)| *peer).collect()
        };
        let gone = apart(&before, &now).into_iter().map(|peer| ("drop", peer));
        for (kind, (id, addr)) in gone.chain(apart(&now, &before).into_iter().map(|peer| ("add", peer))) {
            self.feed.tell(json!({ "type": kind, "peer": id.to_string(), "remote": addr.to_string() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(feed: &Feed, tell: impl FnOnce(&Feed)) -> Value {
        let mut news = feed.0.subscribe();
        tell(feed);
        news.try_recv().unwrap()
    }

    #[test]
    fn events_have_the_names_of_status_go() {
        let (feed, hash) = (Feed::default(), EnvelopeHash::of(b"x"));
        assert!(!feed.is_heard());
        let by = devp2p::NodeKey::from_bytes(&[1; 32]).unwrap().public().id();
        for (outcome, sent, kind, message) in [
            (Outcome::Acknowledged { by }, true, "envelope.sent", ""),
            (Outcome::Unanswered, true, "envelope.sent", ""),
            (Outcome::Unanswered, false, "envelope.expired", "no peer has it"),
            (Outcome::Refused { by, text: "too late".into() }, true, "envelope.expired", "too late"),
        ] {
            let told = told(&feed, |feed| feed.posted(hash, sent, &outcome));
            let expected = json!({ "ids": [hash.to_string()], "hash": hash.to_string(), "message": message });
            assert_eq!(told, json!({ "type": kind, "event": expected }));
        }
        let done = Completion::Done { request: [1; 32], last: Some([2; 32].into()), cursor: Some([3; 36]) };
        let told = |completion: Completion| told(&feed, |feed| feed.completed(&completion))["event"].clone();
        let done = told(done);
        assert_eq!((&done["lastEnvelopeHash"], &done["errorMessage"]), (&json!(hex(&[2; 32])), &json!("")));
        assert_eq!((&done["requestID"], &done["cursor"]), (&json!(hex(&[1; 32])), &json!("03".repeat(36))));
        let failed = told(Completion::Failed { request: [1; 32], text: "no".into() });
        assert_eq!((&failed["errorMessage"], &failed["lastEnvelopeHash"]), (&json!("no"), &json!(hex(&[0; 32]))));
    }

    #[test]
    fn who_is_slow_loses_the_oldest() {
        let feed = Feed::default();
        let mut news = feed.0.subscribe();
        (0..NEWS + 3).for_each(|_| feed.expired(&[1; 32]));
        assert!(matches!(news.try_recv(), Err(broadcast::error::TryRecvError::Lagged(3))));
        assert_eq!(news.try_recv().unwrap()["type"], "mailserver.request.expired");
    }
}
