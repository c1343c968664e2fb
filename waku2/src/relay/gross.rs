//! What gossip carried with all that it repeats, by topic, for who watches the node.
//!
//! libp2p's gossip counts this itself, and tells it as text alone: in the exposition format of OpenMetrics, which is read back here.
//!
//! Limit: topics are libp2p's to bound, by those that we relay and 50 others.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use libp2p::gossipsub::MetricsConfig;
use prometheus_client::{encoding::text::encode, registry::Registry};

use super::Gossip;
use crate::topic::PubsubTopic;

/// Bytes of messages and their topics, as often as they came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes {
    /// From peers.
    pub incoming: u64,
    /// To peers.
    pub outgoing: u64,
}

/// The counters of a node's gossip.
#[derive(Debug, Default)]
pub struct Gross(OnceLock<Arc<Registry>>);

impl Gross {
    /// Has gossip count; once, as nothing was read yet.
    pub(crate) fn watch(&self, gossip: Gossip) -> Gossip {
        let mut registry = Registry::default();
        let gossip = gossip.with_metrics(&mut registry, MetricsConfig::default());
        // A second gossip of a node would go uncounted; there is none.
        let _ = self.0.set(Arc::new(registry));
        gossip
    }

    /// What each topic carried, in order of their names.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<PubsubTopic, Bytes> {
        let mut text = String::new();
        match self.0.get().map(|registry| encode(&mut text, registry)) {
            Some(Ok(())) => read(&text),
            _ => BTreeMap::new(),
        }
    }
}

fn read(text: &str) -> BTreeMap<PubsubTopic, Bytes> {
    let mut topics = BTreeMap::<PubsubTopic, Bytes>::new();
    for line in text.lines() {
        let Some((series, amount)) = line.rsplit_once(' ') else { continue };
        let Some((name, labels)) = series.strip_suffix("\"}").and_then(|series| series.split_once('{')) else {
            continue;
        };
        let (is_incoming, label) = match name {
            "topic_msg_recv_bytes_unfiltered_total" => (true, "hash=\""),
            "topic_msg_sent_bytes_total" => (false, "topic_hash=\""),
            _ => continue,
        };
        let topic = labels.split_once(label).and_then(|(_, topic)| topic.parse().ok());
        let (Some(topic), Ok(amount)) = (topic, amount.parse::<u64>()) else { continue };
        let bytes = topics.entry(topic).or_default();
        let counted = if is_incoming { &mut bytes.incoming } else { &mut bytes.outgoing };
        *counted = counted.saturating_add(amount);
    }
    topics
}
