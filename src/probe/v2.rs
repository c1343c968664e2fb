//! What the Waku Network side counts.

use waku2::{health::TopicHealth, service::Protocol, validate::Reason};

use super::{Reading, Sample, counter, gauge, peers, read as count, relay, rln, services};
use crate::{
    health::{Service, Services},
    rln::Numbers,
};

/// What of the Waku Network side is looked at.
#[derive(Debug)]
pub(crate) struct V2Probe {
    /// The node.
    pub(crate) node: waku2::Handle,
    /// Does it tell others of nodes that it found?
    pub(crate) answers_exchange: bool,
    /// Rate-limit proofs, where they are verified.
    pub(crate) rln: Option<crate::rln::Probe>,
}

impl V2Probe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        let node = &self.node;
        reading.services = of(node).await;
        reading.answers_exchange = self.answers_exchange;
        reading.v2_peers = Some(node.health().iter().map(|topic| topic.mesh_peers).max().unwrap_or_default());
        reading.clock_skew_secs = node.clock_skew_secs();
        reading.samples.extend(samples(node));
        reading.samples.extend(relay::samples(node));
        reading.samples.extend(rln::samples(node));
        reading.proofs = self.rln.as_ref().map(crate::rln::Probe::health);
        let numbers = match &self.rln {
            Some(rln) => rln.numbers().await,
            None => Numbers::default(),
        };
        reading.samples.extend(rln::membership(&numbers));
        reading.samples.extend(peers::samples(node).await);
    }
}

/// Which services there are, here and elsewhere.
async fn of(node: &waku2::Handle) -> Services {
    let peers = node.peers().await;
    let service = |protocol: Protocol, asked| Service {
        served: node.served().iter().any(|served| served.protocol == protocol),
        asked,
        known: !node.named(protocol).is_empty()
            || peers.iter().any(|peer| peer.protocols.iter().any(|name| name == protocol.id())),
    };
    Services {
        lightpush: service(Protocol::LightpushV3, true),
        legacy_lightpush: service(Protocol::LightpushLegacy, true),
        filter: service(Protocol::FilterSubscribe, node.filter().is_some()),
        store: service(Protocol::StoreV3, true),
        legacy_store: service(Protocol::StoreLegacy, true),
    }
}

fn samples(node: &waku2::Handle) -> Vec<Sample> {
    let c = node.counters();
    let messages = "waku_node_messages";
    let mut samples = vec![
        Sample {
            labels: vec![("type", "relay".into())],
            ..counter(messages, "Messages accepted from relay", count(&c.accepted))
        },
        counter("waku_relay_published", "Own messages sent", count(&c.published)),
        counter("waku_relay_unsent", "Messages not sent to a peer that reads too slowly", count(&c.unsent)),
        counter("waku_relay_repeated", "Own messages sent again: their peers were lost", count(&c.repeated)),
        counter("waku_relay_events_shed", "Messages that the bridge was too busy to hear of", count(&c.events_shed)),
        counter(
            "waku_peers_refused",
            "Peers left: of another cluster, too slow, ill-behaved, or more than relay has room for",
            count(&c.refused_peers),
        ),
        gauge("libp2p_peers", "Waku Network peers connected", count(&c.peers)),
    ];
    samples.extend(Reason::ALL.iter().map(|reason| Sample {
        labels: vec![("type", reason.name().into())],
        ..counter("waku_relay_rejected", "Messages dropped with blame", count(&c.rejected[reason.index()]))
    }));
    samples.extend(Reason::ALL.iter().map(|reason| Sample {
        labels: vec![("type", reason.name().into())],
        ..counter("waku_relay_ignored", "Messages dropped without blame", count(&c.ignored[reason.index()]))
    }));
    samples.extend(topics(node));
    samples.extend(services::samples(node));
    samples
}

/// How well each topic is joined to its mesh.
fn topics(node: &waku2::Handle) -> Vec<Sample> {
    let health = node.health();
    let family = |name, help, amount: fn(&TopicHealth) -> u64| {
        health.iter().map(move |topic| Sample {
            labels: vec![("topic", topic.topic.to_string())],
            ..gauge(name, help, amount(topic))
        })
    };
    let mesh = family("libp2p_gossipsub_peers_per_topic_mesh", "Peers in the mesh of a topic", |topic| {
        topic.mesh_peers as u64
    });
    let level = family("waku_relay_topic_health", "0 no mesh peer, 1 one to three, 2 four or more", |topic| {
        topic.level() as u64
    });
    mesh.chain(level).collect()
}
