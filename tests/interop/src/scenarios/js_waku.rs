//! js-waku over WebSocket, by either muxer, beside go-waku over TCP: peers of which no two could talk to each other.

use super::Lab;
use crate::crossing::{content_topic, settle};
use crate::js_peer::{self, JsPeer};
use crate::payloads::bytes;
use crate::process::{Process, is, text};
use crate::waku_peer::{Message, PUBSUB};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The hash of a message that arrived, as one kind of peer reports it.
type Read<'a> = &'a dyn Fn(&Value) -> Option<String>;

/// Payloads that each peer publishes.
const PAYLOADS: usize = 20;
/// The longest payload, in bytes.
const LONGEST: usize = 100 * 1024;
/// From the last publication to the last arrival.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Nothing else is published on it.
const TOPIC: &str = "c5000001";

/// All exchange through the bridge, which they dial; an idle client stays connected to it all the while.
pub(super) fn through_us(lab: &Lab) -> Result<String> {
    // Nothing of theirs is to cross, so that no time is spent on proofs of work.
    let bridge = lab.bridge("bridge", &["--bridge-direction=v1-to-v2"])?;
    let web = bridge.websocket()?;
    let dial = |muxer| ["--mode", "relay", "--muxer", muxer, "--dial", &web];
    let (mplex, yamux) = (lab.js("js-mplex", &dial("mplex"))?, lab.js("js-yamux", &dial("yamux"))?);
    let idle = lab.js("js-light", &["--mode", "light", "--muxer", "mplex", "--dial", &web])?;
    let go = lab.waku("go-waku", &["-dial", bridge.multiaddr()])?;
    for (peer, muxer) in [(&mplex, "/mplex/6.7.0"), (&yamux, "/yamux/1.0.0"), (&idle, "/mplex/6.7.0")] {
        knows_us(peer, &web, muxer)?;
    }
    for peer in [&mplex, &yamux] {
        peer.ask("relay-sub 0")?;
        peer.await_mesh(&web)?;
        asked_for_its_shards(peer, &web)?;
    }
    go.await_mesh(bridge.multiaddr())?;

    let mut published: [Vec<String>; 3] = Default::default();
    for n in 0..PAYLOADS {
        let payload =
            |who: usize| bytes(1 + n * n * LONGEST / (PAYLOADS * PAYLOADS), (who * PAYLOADS + n) as u64 + 0x1500_0000);
        published[0].push(mplex.publish(&content_topic(TOPIC), &payload(0))?);
        published[1].push(yamux.publish(&content_topic(TOPIC), &payload(1))?);
        let line = format!("pub {PUBSUB} {} {}", content_topic(TOPIC), hex::encode(payload(2)));
        published[2].push(go.publish(&line)?.hash);
    }
    let js = |event: &_| js_peer::arrived(event).map(plain);
    let of_go = |event: &_| Message::arrived(event).map(|message| plain(&message.hash));
    let peers: [(&Process, Read<'_>); 3] = [(mplex.process(), &js), (yamux.process(), &js), (go.process(), &of_go)];
    for (n, (process, read)) in peers.iter().enumerate() {
        let others: Vec<String> = published
            .iter()
            .enumerate()
            .filter(|(who, _)| *who != n)
            .flat_map(|(_, hashes)| hashes)
            .map(|hash| plain(hash))
            .collect();
        await_all(process, &others, read)?;
    }
    settle(&peers.map(|(process, _)| process))?;
    for (n, (process, read)) in peers.iter().enumerate() {
        once_each(process, read, &published[n])?;
    }
    idle.ask("ping").context("the idle client")?;
    let left = |peer: &JsPeer| peer.process().log().since(0).iter().any(|e| is(e, "disconnected"));
    ensure!(![&mplex, &yamux, &idle].into_iter().any(left), "a connection of js-waku's was closed");
    Ok(format!("{PAYLOADS} messages of each reached both others once; an idle light client stayed"))
}

/// Identify and the muxer are as they should be.
fn knows_us(peer: &JsPeer, web: &str, muxer: &str) -> Result<()> {
    let met = peer.connected(web)?;
    ensure!(text(&met, "muxer") == muxer, "not {muxer}: {met}");
    ensure!(text(&met, "agent").starts_with("causeway"), "our name: {met}");
    let protocols = met["protocols"].as_array().context("no protocols")?;
    for ours in ["/vac/waku/relay/2.0.0", "/vac/waku/metadata/1.0.0", "/ipfs/ping/1.0.0"] {
        ensure!(protocols.iter().any(|protocol| protocol == ours), "no {ours} among {met}");
    }
    Ok(())
}

/// We asked it who it is, and it can ask us.
fn asked_for_its_shards(peer: &JsPeer, web: &str) -> Result<()> {
    let asked =
        peer.process().wait("our metadata request", 0, ARRIVAL, |e| is(e, "metadata-asked").then(|| e.clone()))?;
    let answer = peer.ask("metadata")?;
    for told in [&asked, &*answer] {
        let shards = told["shards"].as_array().is_some_and(|shards| shards.iter().any(|shard| shard == 0));
        ensure!(told["cluster"] == 0 && shards, "what {web} tells of itself to {}: {told}", peer.id());
    }
    Ok(())
}

/// Hashes are written with and without a prefix.
fn plain(hash: &str) -> String {
    hash.trim_start_matches("0x").to_owned()
}

fn await_all(process: &Process, expected: &[String], read: Read<'_>) -> Result<()> {
    let mut missing: HashSet<&str> = expected.iter().map(String::as_str).collect();
    process.wait(&format!("{} messages", expected.len()), 0, ARRIVAL, |e| {
        if let Some(hash) = read(e) {
            missing.remove(hash.as_str());
        }
        missing.is_empty().then_some(())
    })
}

/// All that arrived came once, and none of it was the peer's own.
fn once_each(process: &Process, read: Read<'_>, own: &[String]) -> Result<()> {
    let mut times: HashMap<String, usize> = HashMap::new();
    for hash in process.log().since(0).iter().filter_map(|e| read(e)) {
        *times.entry(hash).or_default() += 1;
    }
    ensure!(times.len() == 2 * PAYLOADS, "{}: {} messages, not {}", process.name(), times.len(), 2 * PAYLOADS);
    ensure!(times.values().all(|times| *times == 1), "{}: some came more than once: {times:?}", process.name());
    ensure!(!own.iter().any(|hash| times.contains_key(&plain(hash))), "{}: its own came back", process.name());
    Ok(())
}
