//! Sees everything that nodes do, and says which rule it breaks. Knows nothing of how a node works.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use devp2p::{ConnId, Packet, clock::Now};
use waku0::{
    Envelope, EnvelopeHash, Topic,
    fault::Fault,
    packet::{Code, messages},
    peer::PeerOptions,
    status::StatusOptions,
    version::Version,
};

use super::{Broken, Report, Rule, subject::is_change};

/// The second of "so many a second".
const SECOND: Duration = Duration::from_secs(1);

/// Who does something: a node in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) number: usize,
    /// From the beginning; it may change.
    pub(super) light: bool,
}

/// One end of a connection, as its owner knows it.
#[derive(Debug, Default)]
struct End {
    /// What the peer has announced and the owner has received.
    peer: Option<PeerOptions>,
    /// When it came last.
    received: HashMap<EnvelopeHash, Duration>,
    sent: HashSet<EnvelopeHash>,
    /// Packets refused by the full connection, which were right when they were made; and whether the peer has announced other limits
    /// since.
    refused: Vec<(Bytes, bool)>,
    packet_times: VecDeque<Duration>,
    topic_times: HashMap<Topic, VecDeque<Duration>>,
}

#[derive(Debug, Default)]
pub(super) struct Observer {
    pub(super) report: Report,
    /// By the number of the life that did, and when.
    pub(super) delivered: HashMap<(usize, EnvelopeHash), Duration>,
    posted: HashMap<(usize, EnvelopeHash), Duration>,
    /// Lives that have changed from or to a light node, by their numbers.
    light: HashMap<usize, bool>,
    /// Connection ids are never used twice, and each belongs to one end.
    ends: HashMap<ConnId, End>,
}

impl Observer {
    pub(super) fn posted(&mut self, at: Duration, life: Life, envelope: &Envelope) {
        self.report.tally.posted += 1;
        self.posted.insert((life.number, envelope.hash()), at);
    }

    pub(super) fn changed_light(&mut self, life: Life, light: bool) {
        self.light.insert(life.number, light);
    }

    pub(super) fn delivered(&mut self, at: Duration, life: Life, envelope: &Envelope) {
        self.report.tally.delivered += 1;
        let hash = envelope.hash();
        let own = self.posted.contains_key(&(life.number, hash));
        if self.delivered.insert((life.number, hash), at).is_some() || own {
            self.broken(Rule::DeliveredOnce, at, life, format!("{hash}, own: {own}"));
        }
    }

    pub(super) fn received(&mut self, at: Duration, conn: ConnId, packet: &Packet) {
        let end = self.ends.entry(conn).or_default();
        let body = packet.body.plain();
        let version = Version::of(&packet.capability).expect("a version of ours");
        match Code::of(packet.code) {
            Some(Code::Status) => {
                if let Ok(options) = StatusOptions::decode_status(version, body) {
                    let mut peer = PeerOptions::default();
                    peer.apply(options).expect("nodes announce few topics");
                    end.peer = Some(peer);
                }
            }
            Some(change) if is_change(change) => {
                let read = StatusOptions::decode_change(version, change, body);
                if let (Some(peer), Ok(options)) = (&mut end.peer, read) {
                    if options.rate_limits.is_some_and(|limits| limits != peer.rate_limits) {
                        // What went before cannot be unsent.
                        end.packet_times.clear();
                        end.topic_times.clear();
                        end.refused.iter_mut().for_each(|(_, before_limits)| *before_limits = true);
                    }
                    peer.apply(options).expect("nodes announce few topics");
                }
            }
            Some(Code::Messages) => {
                end.received.extend(envelopes(body).iter().map(|envelope| (envelope.hash(), at)));
            }
            _ => {}
        }
    }

    /// The connection did not take it.
    pub(super) fn refused(&mut self, conn: ConnId, packet: &Packet) {
        self.report.tally.stalled += 1;
        self.ends.entry(conn).or_default().refused.push((packet.body.plain().clone(), false));
    }

    pub(super) fn left(&mut self, at: Duration, life: Life, fault: Fault) {
        if fault != Fault::BothLight {
            self.broken(Rule::HonestPeersStay, at, life, fault.to_string());
        }
    }

    /// The connection took it.
    pub(super) fn sent(&mut self, at: Duration, now: Now, life: Life, conn: ConnId, packet: &Packet) {
        let mut end = self.ends.remove(&conn).unwrap_or_default();
        if packet.code == Code::Messages.number() {
            self.sent_messages(at, now, life, &mut end, packet.body.plain());
        }
        if packet.code != Code::Status.number() {
            self.check_packets(at, life, &mut end);
        }
        self.ends.insert(conn, end);
    }

    fn sent_messages(&mut self, at: Duration, now: Now, life: Life, end: &mut End, body: &Bytes) {
        self.report.tally.packets += 1;
        let retried = end.refused.iter().position(|(refused, _)| refused == body);
        let retried = retried.map(|place| end.refused.remove(place));
        // It leaves as it was made: nobody can keep limits that it did not know.
        let before_limits = retried.as_ref().is_some_and(|(_, before_limits)| *before_limits);
        let envelopes = envelopes(body);
        self.report.tally.from_pool += u64::from(envelopes.len() > 1);
        let Some(peer) = end.peer.clone() else {
            return self.broken(Rule::StatusFirst, at, life, "envelopes before the peer's Status".to_owned());
        };
        for envelope in envelopes {
            let hash = envelope.hash();
            if retried.is_none() {
                self.check_envelope(at, now, life, end, &peer, &envelope);
            }
            if !end.sent.insert(hash) {
                self.broken(Rule::SentOnce, at, life, format!("{hash}"));
            }
            let light = self.light.get(&life.number).copied().unwrap_or(life.light);
            if light && retried.is_none() && !self.posted.contains_key(&(life.number, hash)) {
                self.broken(Rule::LightRelaysNothing, at, life, format!("{hash}"));
            }
            if !before_limits {
                self.check_topic(at, life, end, &peer, envelope.topic());
            }
        }
    }

    fn check_envelope(
        &mut self,
        at: Duration,
        now: Now,
        life: Life,
        end: &End,
        peer: &PeerOptions,
        envelope: &Envelope,
    ) {
        let hash = envelope.hash();
        if u64::from(envelope.expiry()) < now.unix_secs() {
            self.broken(Rule::NothingExpired, at, life, format!("{hash}"));
        }
        // What was refused when this peer sent it, and taken later from another, may go back.
        let key = (life.number, hash);
        let had_since = self.delivered.get(&key).or_else(|| self.posted.get(&key));
        if end.received.get(&hash).is_some_and(|received| had_since.is_some_and(|had| had <= received)) {
            self.broken(Rule::NoEcho, at, life, format!("{hash}"));
        }
        // As judged by a clock behind the sender's it is less, never more.
        if envelope.pow() < peer.min_pow {
            self.broken(Rule::EnoughWork, at, life, format!("{hash}"));
        }
        if !peer.interest.matches(envelope.topic()) {
            self.broken(Rule::OfInterest, at, life, format!("{hash}"));
        }
    }

    fn check_packets(&mut self, at: Duration, life: Life, end: &mut End) {
        let Some(limits) = end.peer.as_ref().map(|peer| peer.rate_limits) else { return };
        let limit = [limits.ip, limits.peer].into_iter().filter(|limit| *limit > 0).min();
        self.report.tally.limited += u64::from(limit.is_some() || limits.topic > 0);
        let sent = note(&mut end.packet_times, at);
        if limit.is_some_and(|limit| sent > limit) {
            self.broken(Rule::WithinLimits, at, life, format!("{sent} packets in a second, {limits:?}"));
        }
    }

    fn check_topic(&mut self, at: Duration, life: Life, end: &mut End, peer: &PeerOptions, topic: Topic) {
        let limit = peer.rate_limits.topic;
        let sent = note(end.topic_times.entry(topic).or_default(), at);
        if limit > 0 && sent > limit {
            self.broken(Rule::WithinLimits, at, life, format!("{sent} envelopes of a topic in a second, not {limit}"));
        }
    }

    pub(super) fn broken(&mut self, rule: Rule, at: Duration, life: Life, what: String) {
        self.report.broken.push(Broken { rule, at, node: life.node, what });
    }
}

/// How many there were in the second that ends now, this one included.
fn note(times: &mut VecDeque<Duration>, at: Duration) -> u64 {
    times.push_back(at);
    while times.front().is_some_and(|first| *first + SECOND <= at) {
        times.pop_front();
    }
    times.len() as u64
}

/// The envelopes of a body that a node has made.
fn envelopes(body: &Bytes) -> Vec<Arc<Envelope>> {
    let items = messages::decode(body).expect("nodes send lists");
    items.map(|item| Arc::new(item.expect("nodes send whole lists").expect("nodes send envelopes"))).collect()
}
