//! Lightpush: js-waku and go-waku publish through us, and our client through go-waku.

use super::Lab;
use crate::causeway::Causeway;
use crate::crossing::{content_topic, settle};
use crate::exchange::Relay;
use crate::js_peer::JsPeer;
use crate::process::{Event, text};
use crate::waku_peer::{PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use std::collections::{HashMap, HashSet};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use waku2::lightpush::{self, Client, PushError, Pushed};
use waku2::rules::Position;
use waku2::service::{Services, Target, choice::Nodes};
use waku2::{ClusterId, Config, Meta, PubsubTopic, WakuMessage};

/// Messages that each client pushes by each version, one right after the other: js-waku ends a connection whose streams do not end as it likes
/// after about 20 of them.
const PUSHES: usize = 30;
/// Nothing else is published on it.
const TOPIC: &str = "c5000008";
/// A payload that fits into no frame.
const TOO_LARGE: &str = "size=160000";

/// js-waku by both versions and go-waku by its only one, which relay nothing, push to us; a go-waku relay hears all of it once.
pub(super) fn through_us(lab: &Lab) -> Result<String> {
    let node = lab.bridge("lightpush", &["--bridge-direction=v1-to-v2", "--lightpush"])?;
    let web = node.websocket()?;
    let js = lab.js("js-light", &["--mode", "light", "--muxer", "mplex", "--dial", &web])?;
    js.connected(&web)?;
    nobody_hears(&js)?;

    let relay = lab.waku("go-relay", &["-dial", node.multiaddr()])?;
    relay.await_mesh(node.multiaddr())?;
    node.await_mesh(1)?;
    let relay = Relay::Go(relay);
    let cursor = relay.process().log().len();
    let mut pushed = refusals_apart_from(&js)?;
    for n in 0..PUSHES {
        for (way, options) in ["", "v=2", "raw=1", "raw=1 v=2"].into_iter().enumerate() {
            pushed.insert(by_js(&js, &format!("{way:02x}{n:02x} {options}"))?);
        }
    }
    let go = lab.waku("go-light", &["-shards", ""])?;
    for n in 0..PUSHES {
        pushed.insert(by_go(&go, &node, n)?);
    }
    heard_once(&relay, cursor, &pushed)?;
    node.stop()?;
    Ok(format!(
        "{} messages of js-waku (3.0.0, beta1) and go-waku (beta1), each heard once; refusals by number",
        pushed.len()
    ))
}

/// What js-waku is told when there is no other peer.
fn nobody_hears(js: &JsPeer) -> Result<()> {
    let told = js.ask(&format!("lightpush {} 00 raw=1", content_topic(TOPIC)))?;
    ensure!(told["status"] == 503 && told["relayPeers"].is_null(), "without a peer: {told}");
    let told = js.ask(&format!("lightpush {} 00 raw=1 v=2", content_topic(TOPIC)))?;
    ensure!(told["success"] == false && text(&told, "info") == "not_published_to_any_peer", "the same: {told}");
    let told = js.ask(&format!("lightpush {} 00", content_topic(TOPIC)))?;
    ensure!(told["ok"] == false, "what the SDK makes of it: {told}");
    Ok(())
}

/// What is refused is, with its number; what is not, because its shard follows from its content topic, is published.
fn refusals_apart_from(js: &JsPeer) -> Result<HashSet<String>> {
    let topic = content_topic(TOPIC);
    let large = js.ask(&format!("lightpush {topic} 00 raw=1 {TOO_LARGE}"))?;
    ensure!(large["status"] == 413 && text(&large, "desc").contains("153600"), "too large: {large}");
    let elsewhere = js.ask(&format!("lightpush {topic} 00 raw=1 shard=5"))?;
    ensure!(elsewhere["status"] == 421, "another shard: {elsewhere}");
    let derived = js.ask(&format!("lightpush {topic} d1 raw=notopic rid=an-id"))?;
    ensure!(derived["status"] == 200 && derived["relayPeers"] == 1, "without a pubsub topic: {derived}");
    ensure!(text(&derived, "requestId") == "an-id", "the id is echoed: {derived}");
    Ok(HashSet::from([hash(&derived)]))
}

fn by_js(js: &JsPeer, what: &str) -> Result<String> {
    let told = js.ask(&format!("lightpush {} {what}", content_topic(TOPIC)))?;
    ensure!(told["ok"] == true, "js-waku pushes {what}: {told}");
    Ok(hash(&told))
}

fn by_go(go: &WakuPeer, node: &Causeway, n: usize) -> Result<String> {
    let told = go.ask(&format!("lightpush {} {PUBSUB} {} {n:02x}", node.multiaddr(), content_topic(TOPIC)))?;
    Ok(hash(&told))
}

fn hash(told: &Event) -> String {
    text(told, "hash").trim_start_matches("0x").to_owned()
}

/// All of these, each once, and nothing else.
fn heard_once(relay: &Relay, cursor: usize, pushed: &HashSet<String>) -> Result<()> {
    relay.await_all(cursor, pushed.iter().map(|hash| (hash.as_str(), "a light client")).collect::<HashMap<_, _>>())?;
    settle(&[relay.process()])?;
    let heard = relay.heard(cursor);
    let all = heard.iter().all(|hash| pushed.contains(hash));
    ensure!(all && heard.len() == pushed.len(), "{} messages heard, {} pushed", heard.len(), pushed.len());
    Ok(())
}

/// Our client, which relays nothing, has go-waku publish for it; another go-waku hears it.
pub(super) fn through_go_waku(lab: &Lab) -> Result<String> {
    // Without this go-waku calls it a success to publish to nobody.
    let service = lab.waku("go-service", &["-lightpush", "-min-relay-peers", "1"])?;
    let runtime = Runtime::new().context("a runtime for our client")?;
    let client = runtime.block_on(client(&service))?;
    let unheard = push(&runtime, &client, 0);
    ensure!(unheard.is_err(), "go-waku had nobody to publish to, and we say that it has: {unheard:?}");

    let beyond = lab.waku("go-beyond", &["-dial", service.multiaddr()])?;
    beyond.await_mesh(service.multiaddr())?;
    service.await_mesh(beyond.multiaddr())?;
    let beyond = Relay::Go(beyond);
    let (cursor, mut pushed) = (beyond.process().log().len(), HashSet::new());
    for n in 1..=PUSHES {
        let message = message(n);
        push(&runtime, &client, n).with_context(|| format!("message {n}"))?;
        pushed.insert(hex::encode(waku2::hash::message_hash(&topic()?, &message).as_bytes()));
    }
    heard_once(&beyond, cursor, &pushed)?;
    Ok(format!("{PUSHES} messages of ours published by go-waku (beta1), each heard once"))
}

fn topic() -> Result<PubsubTopic> {
    Ok(PUBSUB.parse()?)
}

async fn client(service: &WakuPeer) -> Result<Client> {
    let target = Target::try_from(service.multiaddr().parse::<waku2::Multiaddr>()?)?;
    let nodes = Nodes { lightpush: vec![target], ..Nodes::default() };
    let services = Services { nodes, ..Services::default() };
    let (events, _) = mpsc::channel(1);
    let (node, _task) = waku2::run::start(Config { services, ..Config::new([0x17; 32]) }, events).await?;
    let config = lightpush::Config { cluster: ClusterId(0), shards: 1, codes: Position::Text, proves: true };
    Ok(Client::new(node, config))
}

fn push(runtime: &Runtime, client: &Client, n: usize) -> Result<Pushed, PushError> {
    let topic = PUBSUB.parse().ok();
    runtime.block_on(client.push(topic, &message(n)))
}

fn message(n: usize) -> WakuMessage {
    WakuMessage {
        payload: n.to_be_bytes().to_vec().into(),
        content_topic: content_topic(TOPIC).as_str().into(),
        version: 0,
        timestamp: Some(1_700_000_000_000_000_000 + n as i64),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}
