//! Filter: js-waku and go-waku are pushed to by us, by either generation, and we by go-waku.

use super::Lab;
use crate::causeway::Causeway;
use crate::crossing::{content_topic, settle};
use crate::deadline::poll;
use crate::js_peer::JsPeer;
use crate::process::{Process, is, text};
use crate::waku_peer::{PUBSUB, WakuPeer};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use waku2::filter::{self, Ask, client::Generation};
use waku2::service::{Services, Target, choice::Nodes};
use waku2::{Config, Received};

/// Messages of a subscribed topic: more than the streams that js-waku takes at a time, and leaves open.
const MESSAGES: usize = 150;
/// The largest of them, in bytes of payload.
const LARGEST: usize = 100 * 1024;
/// Nothing else is published on these.
const TOPIC: &str = "c5000009";
const OTHER: &str = "c500000a";
/// From the last publication to the last arrival, and from a request without an answer to its effect.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Messages of go-waku's that are heard before the next are published: its queues hold 32, and it drops what finds them full.
const BATCH: usize = 10;

/// A subscriber under the driver, and how its events tell of pushes.
struct Subscriber<'a> {
    process: &'a Process,
    via: &'static str,
}

impl Subscriber<'_> {
    fn pushed(&self, event: &Value) -> Option<String> {
        let is_it = is(event, "message") && text(event, "via") == self.via;
        is_it.then(|| plain(text(event, "hash")))
    }

    /// Each of these came once, and nothing else.
    fn heard_once(&self, cursor: usize, sent: &HashSet<String>) -> Result<()> {
        let (name, mut missing) = (format!("{} by {}", self.process.name(), self.via), sent.clone());
        let all = self.process.wait(&name, cursor, ARRIVAL, |event| {
            if let Some(hash) = self.pushed(event) {
                missing.remove(&hash);
            }
            missing.is_empty().then_some(())
        });
        all.with_context(|| format!("{name} misses {} of {}", missing.len(), sent.len()))?;
        settle(&[self.process])?;
        let heard: Vec<String> = self.process.log().since(cursor).iter().filter_map(|e| self.pushed(e)).collect();
        let all = heard.iter().all(|hash| sent.contains(hash));
        ensure!(all && heard.len() == sent.len(), "{name} heard {} messages, {} were sent", heard.len(), sent.len());
        Ok(())
    }
}

fn plain(hash: &str) -> String {
    hash.trim_start_matches("0x").to_owned()
}

/// Light clients of both programs, js-waku by both muxers and go-waku by both generations at once, get what they subscribed to.
pub(super) fn through_us(lab: &Lab) -> Result<String> {
    let node = lab.bridge("filter", &["--bridge-direction=v1-to-v2", "--filter"])?;
    let web = node.websocket()?;
    let js = |muxer| -> Result<JsPeer> {
        let peer = lab.js(muxer, &["--mode", "light", "--muxer", muxer, "--dial", &web])?;
        peer.connected(&web)?;
        Ok(peer)
    };
    let (mplex, yamux) = (js("mplex")?, js("yamux")?);
    let go = lab.waku("go-light", &["-shards", "", "-legacy-filter", "client"])?;
    let relay = lab.waku("go-relay", &["-dial", node.multiaddr()])?;
    relay.await_mesh(node.multiaddr())?;
    node.await_mesh(1)?;

    refusals(&mplex, &go, &node)?;
    let topic = content_topic(TOPIC);
    for js in [&mplex, &yamux] {
        let told = js.ask(&format!("filter-sub {topic}"))?;
        ensure!(told["ok"] == true, "js-waku subscribes: {told}");
    }
    for command in ["filter-sub", "legacy-filter-sub"] {
        go.ask(&format!("{command} {} {PUBSUB} {topic}", node.multiaddr()))?;
    }
    requests(&node, "LEGACY_SUBSCRIBE", 1)?;
    let told = go.ask(&format!("filter-ping {}", node.multiaddr()))?;
    ensure!(told["status"] == 200, "a ping of go-waku's: {told}");

    let subscribers = [
        Subscriber { process: mplex.process(), via: "filter" },
        Subscriber { process: yamux.process(), via: "filter" },
        Subscriber { process: go.process(), via: "filter" },
        Subscriber { process: go.process(), via: "legacy-filter" },
    ];
    let cursors = subscribers.each_ref().map(|subscriber| subscriber.process.log().len());
    let mut sent = HashSet::new();
    while sent.len() < MESSAGES {
        sent.extend(publish(&relay, sent.len()..sent.len() + BATCH)?);
        let heard = || node.metric("waku_filter_messages_total").ok().flatten();
        let all = || heard().filter(|heard| *heard >= sent.len() as f64);
        poll(ARRIVAL, all).with_context(|| format!("{:?} of {} messages are heard", heard(), sent.len()))?;
    }
    for (subscriber, cursor) in subscribers.iter().zip(cursors) {
        subscriber.heard_once(cursor, &sent).with_context(|| troubles(&node))?;
    }

    unsubscribe(&[&mplex, &yamux], &go, &node)?;
    publish(&relay, 0..5)?;
    for (subscriber, cursor) in subscribers.iter().zip(cursors) {
        subscriber.heard_once(cursor, &sent)?;
    }
    node.stop()?;
    Ok(format!("{MESSAGES} messages to js-waku by mplex and yamux and to go-waku by both generations, each once"))
}

/// What is refused, is with its number and its words.
fn refusals(js: &JsPeer, go: &WakuPeer, node: &Causeway) -> Result<()> {
    let told = js.ask("filter-sub raw=ping")?;
    ensure!(told["status"] == 404, "a ping without a subscription: {told}");
    ensure!(text(&told, "desc").contains("peer has no subscriptions"), "its words: {told}");
    let told = js.ask("filter-sub raw=1 rid=an-id")?;
    ensure!(told["status"] == 400 && text(&told, "requestId") == "an-id", "a subscription to nothing: {told}");
    let many: Vec<String> = (0..101).map(|n| format!("/app/1/{n}/proto")).collect();
    let told = js.ask(&format!("filter-sub {} raw=1", many.join(" ")))?;
    let words = text(&told, "desc");
    ensure!(told["status"] == 400 && words.contains("exceeds maximum content topics: 100"), "too many: {told}");
    let told = go.ask(&format!("filter-ping {}", node.multiaddr()))?;
    ensure!(told["status"] == 404, "a ping of go-waku's without a subscription: {told}");
    Ok(())
}

fn unsubscribe(js: &[&JsPeer], go: &WakuPeer, node: &Causeway) -> Result<()> {
    let topic = content_topic(TOPIC);
    for js in js {
        let told = js.ask(&format!("filter-unsub {topic} raw=1"))?;
        ensure!(told["status"] == 200, "js-waku unsubscribes: {told}");
    }
    for command in ["filter-unsub", "legacy-filter-unsub"] {
        go.ask(&format!("{command} {} {PUBSUB} {topic}", node.multiaddr()))?;
    }
    requests(node, "LEGACY_UNSUBSCRIBE", 1)?;
    let left = || node.metric("waku_filter_subscriptions").ok().flatten();
    poll(ARRIVAL, || (left() == Some(0.0)).then_some(())).with_context(|| format!("{:?} subscribers are left", left()))
}

/// What the node says of its pushes.
fn troubles(node: &Causeway) -> String {
    let metrics = node.get("/metrics").map(|(_, metrics)| metrics).unwrap_or_default();
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("waku_filter_") && !line.contains("_bucket") && !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join("; ")
}

/// Waits until the node has read so many requests of a kind; the first filter answers none.
fn requests(node: &Causeway, kind: &str, least: u32) -> Result<()> {
    let series = format!("waku_filter_requests_total{{type=\"{kind}\"}} ");
    let read = || {
        let metrics = node.get("/metrics").ok()?.1;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))?;
        line.trim().parse::<f64>().ok().filter(|count| *count >= f64::from(least))
    };
    poll(ARRIVAL, read).with_context(|| format!("no {kind} in its metrics"))?;
    Ok(())
}

/// Publishes these of [`MESSAGES`] on the topic, and some that nobody asked for; gives the hashes of the first.
fn publish(relay: &WakuPeer, which: Range<usize>) -> Result<HashSet<String>> {
    let mut sent = HashSet::new();
    for n in which {
        let bytes = 1 + n * LARGEST / MESSAGES;
        let payload = "ab".repeat(bytes);
        let message = relay.publish(&format!("pub {PUBSUB} {} {payload}", content_topic(TOPIC)))?;
        sent.insert(plain(&message.hash));
        if n % 10 == 0 {
            relay.publish(&format!("pub {PUBSUB} {} 00", content_topic(OTHER)))?;
        }
    }
    Ok(sent)
}

/// Our client, which relays nothing, is pushed to by go-waku: by filter v2, and by the first filter where that is all there is.
pub(super) fn through_go_waku(lab: &Lab) -> Result<String> {
    for (flags, generation) in
        [(vec!["-filter"], Generation::Current), (vec!["-legacy-filter", "full"], Generation::Legacy)]
    {
        let service = lab.waku("go-service", &flags)?;
        let beyond = lab.waku("go-beyond", &["-dial", service.multiaddr()])?;
        beyond.await_mesh(service.multiaddr())?;
        service.await_mesh(beyond.multiaddr())?;
        let runtime = Runtime::new().context("a runtime for our client")?;
        runtime.block_on(pushed_to_us(&service, &beyond, generation))?;
    }
    Ok(format!("{MESSAGES} messages pushed by go-waku by each generation, each once"))
}

async fn pushed_to_us(service: &WakuPeer, beyond: &WakuPeer, generation: Generation) -> Result<()> {
    let target = Target::try_from(service.multiaddr().parse::<waku2::Multiaddr>()?)?;
    let filter = Some(filter::Config { serve: None, ask: Ask::Both });
    let nodes = Nodes { filter: vec![target], ..Nodes::default() };
    let services = Services { filter, nodes, ..Services::default() };
    let (events, _) = mpsc::channel(1);
    let (node, _task) = waku2::run::start(Config { services, ..Config::new([0x18; 32]) }, events).await?;
    let filter = node.filter().context("a client of filter")?;
    let (topic, contents) = (PUBSUB.parse()?, [content_topic(TOPIC)]);
    let mut inbox = Inbox { messages: filter.messages(), sent: HashSet::new(), heard: HashSet::new() };
    filter.subscribe(&topic, &contents).await?;
    ensure!(filter.nodes().iter().all(|(_, node)| node.generation == generation), "by another generation");
    match generation {
        Generation::Current => filter.ping().await.context("a ping of ours")?,
        Generation::Legacy => inbox.until_it_works(beyond).await?,
    }
    for n in 0..MESSAGES / BATCH {
        inbox.sent.extend(publish(beyond, n * BATCH..(n + 1) * BATCH)?);
        inbox.hear_all().await?;
    }
    filter.unsubscribe(&topic, &contents).await.context("the end")?;
    ensure!(inbox.messages.is_empty(), "more was pushed than was sent");
    node.shutdown().await;
    Ok(())
}

/// What was sent to our client, and what it heard.
struct Inbox {
    messages: broadcast::Receiver<Arc<Received>>,
    sent: HashSet<String>,
    heard: HashSet<String>,
}

impl Inbox {
    /// The first filter does not say when it is there: publishes until something comes.
    async fn until_it_works(&mut self, beyond: &WakuPeer) -> Result<()> {
        for _ in 0..ARRIVAL.as_secs() {
            self.sent.extend(publish(beyond, 0..1)?);
            if let Ok(first) = timeout(Duration::from_secs(1), self.messages.recv()).await {
                self.heard.insert(hex::encode(first?.hash.as_bytes()));
                // Those before it may have been too early.
                self.sent.clone_from(&self.heard);
                return Ok(());
            }
        }
        bail!("the first filter of go-waku pushes nothing")
    }

    /// Each of what was sent comes once, and nothing else.
    async fn hear_all(&mut self) -> Result<()> {
        while self.heard.len() < self.sent.len() {
            let next = timeout(ARRIVAL, self.messages.recv()).await;
            let (heard, sent) = (self.heard.len(), self.sent.len());
            let next = next.with_context(|| format!("{heard} of {sent} came"))??;
            let hash = hex::encode(next.hash.as_bytes());
            ensure!(self.sent.contains(&hash), "{hash} was not sent");
            ensure!(self.heard.insert(hash), "one came twice");
        }
        Ok(())
    }
}
