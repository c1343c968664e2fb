//! The ports of REST over this program's parts, and who brings messages to those who poll.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use devp2p::{
    NodeKey,
    enr::{Endpoint, Enr},
};
use waku2::{
    Multiaddr, PublishError, Published, PubsubTopic, Received, Shard,
    discovery::enr::{Description, RelayShards, Services},
    handle::Witness,
    known::{ConnectError, KnownPeer},
    subscriptions::SubscribeError,
};

use super::{
    cache::Shared,
    ports::{Answer, Health, Identity, Levels, Peers, Relaying},
};
use crate::{
    cli::LogLevel,
    health::{self, Report},
    logging::{self, LevelRefused},
    probe::Probe,
};

impl Relaying for waku2::Handle {
    fn relays(&self, topic: &PubsubTopic) -> bool {
        self.health().iter().any(|known| known.topic == *topic)
    }

    fn subscribe(&self, topic: PubsubTopic) -> Answer<'_, Result<bool, SubscribeError>> {
        Box::pin(Self::subscribe(self, topic))
    }

    fn unsubscribe(&self, topic: PubsubTopic) -> Answer<'_, bool> {
        Box::pin(Self::unsubscribe(self, topic))
    }

    /// As what a peer pushes: it is validated before, and everybody here hears of it, a bridge as well.
    fn publish(&self, topic: PubsubTopic, data: Bytes) -> Answer<'_, Result<Published, PublishError>> {
        Box::pin(self.submit(self.peer_id(), topic, data))
    }
}

impl Peers for waku2::Handle {
    fn known(&self) -> Answer<'_, Option<Vec<KnownPeer>>> {
        Box::pin(self.known_peers())
    }

    fn topics(&self) -> Vec<PubsubTopic> {
        self.health().into_iter().map(|known| known.topic).collect()
    }

    fn connect(&self, addr: Multiaddr) -> Answer<'_, Result<(), ConnectError>> {
        Box::pin(Self::connect(self, addr))
    }
}

/// The log of this program.
#[derive(Debug)]
pub(crate) struct Log;

impl Levels for Log {
    fn set(&self, level: LogLevel) -> Result<(), LevelRefused> {
        logging::set_level(level)
    }
}

impl Health for Probe {
    fn report(&self) -> Answer<'_, Option<Report>> {
        Box::pin(async { Some(health::report(&self.read().await)) })
    }
}

/// Who this node is.
#[derive(Debug)]
pub(crate) struct Own {
    /// The Waku Network side.
    node: Option<waku2::Handle>,
    /// Its record where discovery over UDP has none, or that of the waku/0 side.
    record: Option<Enr>,
}

impl Own {
    /// Of a node of the Waku Network. What discovery over UDP tells of it comes before what is signed here.
    pub(crate) fn of(node: waku2::Handle, services: Services, key: &NodeKey, now: devp2p::Now) -> Self {
        let record = described(&node, services).sign(key, now.unix_secs()).ok();
        Self { node: Some(node), record }
    }

    /// Of a node of waku/0 alone, which has that record.
    pub(crate) fn legacy(record: Option<Enr>) -> Self {
        Self { node: None, record }
    }
}

impl Identity for Own {
    fn addresses(&self) -> Vec<Multiaddr> {
        self.node.as_ref().map(waku2::Handle::addresses).unwrap_or_default()
    }

    fn record(&self) -> String {
        let told = self.node.as_ref().and_then(waku2::Handle::record);
        told.or_else(|| self.record.clone()).map(|record| record.to_base64()).unwrap_or_default()
    }
}

/// What the record of a node says that nobody looks for over UDP.
fn described(node: &waku2::Handle, services: Services) -> Description {
    let addrs = node.addresses();
    let endpoint = addrs.iter().find_map(|addr| plain_tcp(&addr.to_string())).unwrap_or_default();
    let topics = node.health();
    let shards: Vec<Shard> = topics.iter().filter_map(|known| known.topic.as_str().parse().ok()).collect();
    let cluster = shards.first().map(|shard| shard.cluster);
    let shards = cluster.and_then(|cluster| RelayShards::new(cluster, shards.iter().map(|shard| shard.index)).ok());
    let addrs = addrs.into_iter().filter(|addr| plain_tcp(&addr.to_string()).is_none()).collect();
    Description { endpoint, services, shards, addrs }
}

/// The place of an address without WebSocket.
fn plain_tcp(addr: &str) -> Option<Endpoint> {
    let parts: Vec<&str> = addr.split('/').collect();
    let ["", "ip4" | "ip6", ip, "tcp", port, "p2p", _] = parts[..] else { return None };
    Some(Endpoint { ip: Some(ip.parse::<IpAddr>().ok()?), tcp: Some(port.parse().ok()?), udp: None })
}

impl Witness for Shared {
    fn accepted(&self, message: &Arc<Received>) {
        self.offer(&message.pubsub_topic, &message.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_the_place_of_a_record() {
        let id = "16Uiu2HAmVFXtAfSj4EiR7mL2KvL4EE2wztuQgUSBoj2Jx2KeXFLN";
        let of = |text: &str| plain_tcp(&format!("{text}/p2p/{id}"));
        let expected = Endpoint { ip: Some([127, 0, 0, 1].into()), tcp: Some(60000), udp: None };
        assert_eq!(of("/ip4/127.0.0.1/tcp/60000"), Some(expected));
        for other in ["/ip4/127.0.0.1/tcp/8000/ws", "/dns4/a.b/tcp/1", "/ip4/127.0.0.1/tcp/65536", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
