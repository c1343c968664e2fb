//! The shell over real loopback sockets: a v1 client and a v2 client hear each other through a bridge, which then stops.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{future::Future, time::Duration};

use bridge::{Config, Conversion, Direction, Outcome, content_topic, outlet::Outlet, run::V2};
use bytes::Bytes;
use devp2p::{Limits, Network, NodeKey, clock::now};
use tokio::{sync::mpsc, time::timeout};
use waku0::{Settings, Topic, Unsealed, pow::Pow};
use waku2::{Meta, PubsubTopic, WakuMessage};

/// Far beyond what it takes: only a hang is caught by it.
const LIMIT: Duration = Duration::from_secs(30);
const TOPIC: Topic = Topic([0x1a, 0x2b, 0x3c, 0x4d]);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

fn pubsub() -> PubsubTopic {
    "/waku/2/rs/0/0".parse().unwrap()
}

async fn v1_node(key: u8, to: Option<&waku0::Handle>) -> (waku0::Handle, mpsc::Receiver<waku0::Event>) {
    let (events, inbox) = mpsc::channel(64);
    let config = waku0::run::Config {
        key: NodeKey::from_bytes(&[key; 32]).unwrap(),
        client_id: "loopback".to_owned(),
        listen: to.is_none().then(|| "127.0.0.1:0".parse().unwrap()),
        static_nodes: to.map(|node| node.enode().clone()).into_iter().collect(),
        limits: Limits::default(),
        network: Network::default(),
        settings: Settings::default(),
        accounts: None,
        mail: None,
    };
    (waku0::run::start(config, events).await.unwrap().0, inbox)
}

async fn v2_node(key: u8, to: Option<&waku2::Handle>) -> (waku2::Handle, mpsc::Receiver<waku2::Event>) {
    let (events, inbox) = mpsc::channel(64);
    let mut config = waku2::Config::new([key; 32]);
    config.topics = vec![pubsub()];
    match to {
        Some(node) => config.static_peers = node.addresses(),
        None => config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
    }
    (waku2::run::start(config, events).await.unwrap().0, inbox)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_hear_each_other_and_the_bridge_stops() {
    let (v1, v1_events) = v1_node(1, None).await;
    let (v2, v2_events) = v2_node(1, None).await;
    let side = V2 { node: v2.clone(), events: v2_events, outlet: Outlet::Relay };
    let (bridge, task) = bridge::run::start(Config::default(), v1.clone(), v1_events, side, None, None).await.unwrap();
    let mut crossings = bridge.subscribe();
    let (v1_client, mut v1_inbox) = v1_node(2, Some(&v1)).await;
    let (v2_client, mut v2_inbox) = v2_node(3, Some(&v2)).await;

    soon("the v1 client's Status", async {
        while !matches!(v1_inbox.recv().await.unwrap(), waku0::Event::PeerRunning { .. }) {}
    })
    .await;
    soon("the v2 client's peer", async {
        while !matches!(v2_inbox.recv().await.unwrap(), waku2::Event::RelayPeers { count: 1.., .. }) {}
    })
    .await;

    let sent = u32::try_from(now().unix_secs()).unwrap();
    let unsealed = Unsealed::new(sent + 15, 15, TOPIC, Bytes::from_static(b"from v1")).unwrap();
    let nonce = unsealed.search(0, 0, 1 << 26, unsealed.required_bits(Pow::new(0.002).unwrap())).unwrap();
    let envelope = unsealed.seal(nonce);
    v1_client.post(envelope.clone()).await.unwrap();
    let heard = soon("the envelope's message", async {
        loop {
            if let waku2::Event::Message(received) = v2_inbox.recv().await.unwrap() {
                return received;
            }
        }
    })
    .await;
    assert_eq!(bridge::mapping::rebuild(&heard.message, TOPIC).unwrap().hash(), envelope.hash());
    let crossing = soon("its report", crossings.recv()).await.unwrap();
    assert_eq!((crossing.envelope, crossing.message), (Some(envelope.hash()), Some(heard.hash)));

    let message = WakuMessage {
        payload: Bytes::from_static(b"from v2"),
        content_topic: content_topic::canonical(TOPIC),
        version: 1,
        timestamp: Some(now().unix_nanos()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    };
    v2_client.publish(pubsub(), message.encode()).await.unwrap();
    let heard = soon("the message's envelope", async {
        loop {
            if let waku0::Event::Envelope { envelope, .. } = v1_inbox.recv().await.unwrap() {
                return envelope;
            }
        }
    })
    .await;
    assert_eq!(heard.data(), &message.payload);
    let crossing = soon("its report", crossings.recv()).await.unwrap();
    assert_eq!(crossing.envelope, Some(heard.hash()));
    assert!(matches!(crossing.outcome, Outcome::Crossed { by: Conversion::Mined, already_there: false, .. }));

    let counters = bridge.counters();
    assert_eq!(Direction::ALL.map(|direction| counters.crossed(direction)), [1, 1]);
    assert_eq!((bridge.recent_drops().len(), bridge.status().seen_entries), (0, 2));
    soon("the stop", bridge.shutdown()).await;
    soon("the task's end", task).await.unwrap();
    soon("the nodes' end", async {
        v1_client.shutdown().await;
        v2_client.shutdown().await;
        v1.shutdown().await;
        v2.shutdown().await;
    })
    .await;
}
