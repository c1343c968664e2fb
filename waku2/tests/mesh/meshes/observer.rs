//! Hears all that nodes tell, and says which rule it breaks. Knows nothing of how a node works.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::Notify, time};
use waku2::{Event, MessageHash, PeerId, PubsubTopic, Received, relay};

use super::{Broken, Report, Rule};

/// A node from one start to its end, by its number.
pub(super) type Life = usize;

/// What one life told of itself.
#[derive(Debug, Default)]
struct Told {
    node: usize,
    ours: bool,
    /// Since when, and when it left it.
    relays: HashMap<PubsubTopic, Option<Instant>>,
    peers: HashSet<PeerId>,
    counts: HashMap<PubsubTopic, usize>,
}

#[derive(Debug)]
struct Sent {
    life: Life,
    at: Instant,
    topic: PubsubTopic,
    data: Bytes,
    hash: MessageHash,
    owed: Vec<Life>,
}

#[derive(Debug)]
pub(super) struct Observer {
    began: Instant,
    pub(super) report: Report,
    lives: Vec<Told>,
    /// By the number that a message bears.
    sent: HashMap<u64, Sent>,
    delivered: HashMap<(Life, u64), Instant>,
    /// Is who has this identity of our network?
    identities: HashMap<PeerId, bool>,
    next_number: u64,
    /// In frames of gossip.
    pub(super) delivered_bytes: u64,
}

/// An observer that many tell.
#[derive(Debug)]
pub(super) struct Shared {
    observer: Mutex<Observer>,
    news: Notify,
}

impl Shared {
    pub(super) fn new() -> Self {
        let observer = Observer {
            began: clock(),
            report: Report::default(),
            lives: Vec::new(),
            sent: HashMap::new(),
            delivered: HashMap::new(),
            identities: HashMap::new(),
            next_number: 0,
            delivered_bytes: 0,
        };
        Self { observer: Mutex::new(observer), news: Notify::new() }
    }

    pub(super) fn look(&self) -> MutexGuard<'_, Observer> {
        self.observer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self, life: Life, event: &Event) {
        self.look().heard(life, event);
        self.news.notify_waiters();
    }

    /// Waits until what was heard is as it should be; false when it is not in time.
    pub(super) async fn until(&self, patience: Duration, is_so: impl Fn(&Observer) -> bool) -> bool {
        let wait = async {
            loop {
                let news = self.news.notified();
                if is_so(&self.look()) {
                    return;
                }
                news.await;
            }
        };
        time::timeout(patience, wait).await.is_ok()
    }
}

impl Observer {
    /// A node starts.
    pub(super) fn begins(&mut self, node: usize, ours: bool, topics: impl IntoIterator<Item = PubsubTopic>) -> Life {
        let relays = topics.into_iter().map(|topic| (topic, None)).collect();
        self.lives.push(Told { node, ours, relays, ..Told::default() });
        self.lives.len() - 1
    }

    /// Who started is this peer to others.
    pub(super) fn is(&mut self, life: Life, peer: PeerId) {
        self.identities.insert(peer, self.lives[life].ours);
    }

    /// A node is told to relay a topic.
    pub(super) fn joins(&mut self, life: Life, topic: PubsubTopic) {
        self.lives[life].relays.insert(topic, None);
    }

    /// A node says that it has left a topic.
    pub(super) fn leaves(&mut self, life: Life, topic: PubsubTopic) {
        self.lives[life].relays.insert(topic, Some(clock()));
    }

    /// A number for the next message.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// A message is about to be published.
    pub(super) fn publishes(&mut self, life: Life, number: u64, topic: PubsubTopic, data: Bytes, hash: MessageHash) {
        self.sent.insert(number, Sent { life, at: clock(), topic, data, hash, owed: Vec::new() });
    }

    /// It was, and these must have it.
    pub(super) fn published(&mut self, number: u64, owed: Vec<Life>) {
        self.report.tally.posted += 1;
        self.report.tally.owed += owed.len() as u64;
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.owed = owed;
        }
    }

    /// It was not.
    pub(super) fn refused(&mut self, number: u64) {
        self.report.tally.refused += 1;
        self.sent.remove(&number);
    }

    pub(super) fn peers(&self, life: Life) -> &HashSet<PeerId> {
        &self.lives[life].peers
    }

    /// How many peers relay a topic, as a node says.
    pub(super) fn count(&self, life: Life, topic: &PubsubTopic) -> usize {
        self.lives[life].counts.get(topic).copied().unwrap_or_default()
    }

    /// Has everybody what they must have?
    pub(super) fn all_paid(&self) -> bool {
        self.debts().next().is_none()
    }

    fn debts(&self) -> impl Iterator<Item = (u64, Life)> {
        let debts = self.sent.iter().flat_map(|(number, sent)| sent.owed.iter().map(|life| (*number, *life)));
        debts.filter(|(number, life)| !self.delivered.contains_key(&(*life, *number)))
    }

    /// Says what is owed and has not come, and how long everything took that has; both are then forgotten.
    pub(super) fn settle(&mut self) {
        let debts: Vec<_> = self.debts().collect();
        for (number, life) in debts {
            let Sent { life: author, topic, data, .. } = &self.sent[&number];
            let what =
                format!("message {number} of node {}, {} bytes on {topic}", self.lives[*author].node, data.len());
            self.broken(Rule::Reached, life, what);
        }
        for (number, sent) in &mut self.sent {
            for life in sent.owed.drain(..) {
                if let Some(at) = self.delivered.get(&(life, *number)) {
                    self.report.tally.latencies.push(at.saturating_duration_since(sent.at));
                }
            }
        }
    }

    fn heard(&mut self, life: Life, event: &Event) {
        match event {
            Event::Message(received) => self.delivered(life, received),
            Event::PeerConnected(info) => {
                self.report.tally.connected += 1;
                self.lives[life].peers.insert(info.peer);
                if self.identities.get(&info.peer) == Some(&!self.lives[life].ours) {
                    self.broken(Rule::StrangersParted, life, format!("has {} as its peer", info.addr));
                }
            }
            Event::PeerDisconnected { peer } => {
                self.report.tally.gone += 1;
                self.lives[life].peers.remove(peer);
            }
            Event::RelayPeers { topic, count } => {
                self.lives[life].counts.insert(topic.clone(), *count);
            }
        }
    }

    fn delivered(&mut self, life: Life, received: &Received) {
        let payload = &received.message.payload;
        let number = payload.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        let Some(sent) = self.sent.get(&number) else {
            return self.broken(Rule::OnlyPublished, life, format!("message {number}, {}", received.hash));
        };
        let (author, sent_at) = (sent.life, sent.at);
        let same = (&received.data, received.hash, &received.pubsub_topic) == (&sent.data, sent.hash, &sent.topic);
        self.report.tally.delivered += 1;
        self.delivered_bytes += relay::frame_bytes(&sent.topic, sent.data.len()) as u64;
        if !same {
            self.broken(Rule::Unchanged, life, format!("message {number}"));
        }
        match self.lives[life].relays.get(&received.pubsub_topic) {
            Some(left) if left.is_none_or(|left| left > sent_at) => {}
            _ => self.broken(Rule::OnlyRelayed, life, format!("message {number} on {}", received.pubsub_topic)),
        }
        if self.delivered.insert((life, number), clock()).is_some() || author == life {
            self.report.tally.twice += 1;
            self.broken(Rule::DeliveredOnce, life, format!("message {number}, own: {}", author == life));
        }
    }

    pub(super) fn broken(&mut self, rule: Rule, life: Life, what: String) {
        let at = clock().saturating_duration_since(self.began);
        self.report.broken.push(Broken { rule, at, node: self.lives[life].node, what });
    }
}

pub(super) fn clock() -> Instant {
    devp2p::clock::now().instant
}
