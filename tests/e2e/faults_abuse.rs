//! What people do to a bridge on purpose: copies, forged tags, floods.

use std::{collections::BTreeMap, time::Duration};

use bridge::content_topic;
use bytes::Bytes;
use causeway::client::V0Client;
use devp2p::clock::now;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};
use waku0::{Envelope, Topic};
use waku2::{Meta, PubsubTopic, Received, WakuMessage};

use crate::process::Bridge;

/// Longest wait for what must come.
const LIMIT: Duration = Duration::from_secs(60);
/// Seconds that envelopes live: longer than the test.
const TTL: u32 = 600;
/// What waits for a test.
const EVENTS: usize = 8_192;
/// Nobody floods it.
const HONEST: Topic = Topic(*b"\x01hon");
/// Envelopes of a flood, each of a second, and the topics that they are spread over.
const FLOOD: u32 = 2_000;
const TOPICS: u32 = 50;
/// Of honest people, each way, meanwhile.
const OF_PEOPLE: u8 = 20;

/// A node of the Waku Network at a bridge, which says whatever it is told to.
struct V2 {
    node: waku2::Handle,
    events: mpsc::Receiver<waku2::Event>,
    pubsub: PubsubTopic,
}

impl V2 {
    async fn at(bridge: &Bridge) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let pubsub: PubsubTopic = "/waku/2/rs/0/0".parse().expect("a topic");
        let mut config = waku2::Config::new([0x61; 32]);
        config.topics = vec![pubsub.clone()];
        config.static_peers = vec![bridge.libp2p.parse().expect("an address")];
        let node = waku2::run::start(config, sender).await.expect("a node").0;
        let mut v2 = Self { node, events, pubsub };
        let meshed = |event: &waku2::Event| matches!(event, waku2::Event::RelayPeers { count: 1.., .. }).then_some(());
        v2.wait(meshed).await;
        v2.node.settle().await;
        v2
    }

    async fn wait<T>(&mut self, pick: impl Fn(&waku2::Event) -> Option<T>) -> T {
        let found = timeout(LIMIT, async {
            loop {
                if let Some(found) = pick(&self.events.recv().await.expect("a running node")) {
                    return found;
                }
            }
        });
        found.await.expect("what must come")
    }

    async fn message(&mut self) -> std::sync::Arc<Received> {
        self.wait(|event| match event {
            waku2::Event::Message(received) => Some(received.clone()),
            _ => None,
        })
        .await
    }

    async fn publish(&self, message: &WakuMessage) {
        self.node.publish(self.pubsub.clone(), message.encode()).await.expect("a peer takes it");
    }
}

fn message(payload: &[u8]) -> WakuMessage {
    WakuMessage {
        payload: Bytes::copy_from_slice(payload),
        content_topic: content_topic::canonical(HONEST),
        version: 1,
        timestamp: Some(now().unix_nanos()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

async fn v0_at(bridge: &Bridge) -> V0Client {
    V0Client::connect(&bridge.enode.parse().expect("an enode"), LIMIT).await.expect("a session")
}

async fn envelope(v0: &mut V0Client) -> std::sync::Arc<Envelope> {
    timeout(LIMIT, v0.next()).await.expect("what must come").expect("a running node")
}

/// Waits until so many have been dropped in a direction: the reasons.
fn drops(bridge: &Bridge, direction: &str, count: usize) -> Vec<String> {
    let start = now().instant;
    loop {
        let (_, body) = bridge.get(&format!("/bridge/v1/drops?direction={direction}"));
        let told: Value = serde_json::from_str(&body).expect("JSON");
        let drops = told["drops"].as_array().expect("a list");
        if drops.len() >= count {
            return drops.iter().map(|drop| drop["reason"].as_str().expect("a reason").to_owned()).collect();
        }
        assert!(now().instant - start < LIMIT, "{count} were to be dropped: {body}");
    }
}

/// Whoever has heard a message may say it again in any form.
#[tokio::test(flavor = "multi_thread")]
async fn h83_copies_and_forged_tags_do_not_cross_a_second_time() {
    let bridge = Bridge::start(&["--bridge-ttl=600"]);
    let (mut v0, mut v2) = (v0_at(&bridge).await, V2::at(&bridge).await);
    let data = Bytes::from_static(b"said on v0, and again on v2");
    v0.post(HONEST, TTL, data.clone()).await.expect("an envelope");
    let crossed = v2.message().await.message.clone();
    assert_eq!(crossed.payload, data);
    let forge = |meta: &[u8]| Meta::new(Bytes::copy_from_slice(meta)).expect("a short one");
    let tag = crossed.meta.bytes().to_vec();
    let mut other_tag = tag.clone();
    *other_tag.last_mut().expect("a tag") ^= 1;
    let later = crossed.timestamp.map(|nanos| nanos + 1_000_000_000);
    let copies = [
        WakuMessage { meta: Meta::default(), ..crossed.clone() },
        WakuMessage { meta: Meta::default(), timestamp: later, ..crossed.clone() },
        WakuMessage { timestamp: later, ..crossed.clone() },
        WakuMessage { meta: forge(&other_tag), ..crossed.clone() },
        WakuMessage { meta: forge(&tag[..1]), ..crossed.clone() },
    ];
    for copy in &copies {
        v2.publish(copy).await;
    }
    let reasons = drops(&bridge, "v2_to_v1", copies.len());
    assert!(reasons.iter().all(|reason| ["duplicate", "returning", "quarantine"].contains(&&**reason)), "{reasons:?}");

    // And the other way round.
    let said = message(b"said on v2, and again on v0");
    v2.publish(&said).await;
    let heard = envelope(&mut v0).await;
    assert_eq!(*heard.data(), said.payload, "none of the copies came");
    for ttl in [TTL, TTL + 1] {
        v0.post(HONEST, ttl, said.payload.clone()).await.expect("an envelope");
    }
    let reasons = drops(&bridge, "v1_to_v2", 2);
    assert!(reasons.iter().all(|reason| ["duplicate", "returning", "quarantine"].contains(&&**reason)), "{reasons:?}");
    v0.post(HONEST, TTL, Bytes::from_static(b"and something else")).await.expect("an envelope");
    assert_eq!(v2.message().await.message.payload, &b"and something else"[..], "none of the copies came");
    v0.close().await;
}

/// A thousand a second and more from one, as fast as it can; two others go on.
#[tokio::test(flavor = "multi_thread")]
async fn h83_a_flood_of_envelopes_of_a_second_holds_up_nobody() {
    let bridge = Bridge::start(&["--bridge-ttl=600"]);
    let (mut v0, mut v2) = (v0_at(&bridge).await, V2::at(&bridge).await);
    let flooder = v0_at(&bridge).await;
    let flood = tokio::spawn(async move {
        for n in 0..FLOOD {
            let topic = Topic([0xf0, 0, 0, (n % TOPICS) as u8]);
            flooder.post(topic, 1, Bytes::copy_from_slice(&n.to_be_bytes())).await.expect("an envelope");
        }
        flooder
    });
    let mut came: BTreeMap<Bytes, usize> = BTreeMap::new();
    for n in 0..OF_PEOPLE {
        v0.post(HONEST, TTL, Bytes::from(vec![n, 0])).await.expect("an envelope");
        loop {
            let payload = v2.message().await.message.payload.clone();
            *came.entry(payload.clone()).or_default() += 1;
            if payload == vec![n, 0] {
                break;
            }
        }
        v2.publish(&message(&[n, 1])).await;
        while *envelope(&mut v0).await.data() != vec![n, 1] {}
    }
    let flooder = flood.await.expect("a flood");
    flooder.close().await;
    let doubled: Vec<_> = came.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!(bridge.get("/livez").0, 200);
    v0.close().await;
    assert_eq!(bridge.terminate(LIMIT), Some(0));
}
