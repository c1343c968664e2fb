//! Whisper, waku/0 and waku/1 at one node: peers that see each other only through it.

use super::Lab;
use crate::causeway::Causeway;
use crate::deadline::poll;
use crate::gossip::{EASY, Post, count, exactly, fence, filter_of, post, unbroken};
use crate::payloads::{bytes, spread};
use crate::process::{is, number};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Envelopes from each peer.
const FROM_EACH: usize = 100;
/// Envelopes of each kind between a peer with wishes and one without.
const OF_EACH: usize = 15;
/// Topics of which no two share a bit of a bloom filter.
const TOPICS: [&str; 3] = ["c1020300", "c4050601", "c7080902"];
/// The proof of work that we ask for, and that peers ask for which ask for more.
const FLOOR: f64 = 0.05;
/// Until go-ethereum, which broadcasts every 300 ms, has brought what it posts.
const TAKEN: Duration = Duration::from_secs(30);

/// One peer of go-ethereum's Whisper, one of waku/0; Whisper changes its floor and its filter.
pub(super) fn whisper(lab: &Lab) -> Result<String> {
    let waku = lab.status("whisper-waku", &[])?;
    let node = lab.relay("whisper-node", &[&waku], &[])?;
    let shh = lab.whisper_at(&node, "whisper-shh", &[])?;
    ensure!(protocols(&node)? == ["shh/6", "waku/0"], "spoken are {:?}", protocols(&node)?);
    let from_shh = post(&shh, &mixed(0x0510_0000))?;
    let mut wanted = post(&waku, &mixed(0x0520_0000))?;
    exactly(&waku, &from_shh).map_err(|e| node.explain(e))?;
    exactly(&shh, &wanted).map_err(|e| node.explain(e))?;

    shh.ask(&format!("minpow {FLOOR}"), "ok")?;
    fence(&shh, node.enode(), &waku)?;
    let posted = post(&waku, &[of_work("0.002", 0x0530), of_work("0.05", 0x0540)].concat())?;
    // Luck may give an envelope more than it aimed at, so what counts is what it has.
    let (strong, weak): (Vec<_>, Vec<_>) = posted.into_iter().partition(|envelope| envelope.pow >= FLOOR);
    wanted.extend(strong);
    exactly(&shh, &wanted).map_err(|e| node.explain(e))?;
    shh.ask(&format!("minpow {EASY}"), "ok")?;
    wanted.extend(weak);
    exactly(&shh, &wanted).map_err(|e| node.explain(e))?;

    shh.ask(&format!("bloom {}", filter_of(&TOPICS[..1])?), "ok")?;
    fence(&shh, node.enode(), &waku)?;
    let posted = post(&waku, &on_each_topic(0x0550))?;
    wanted.extend(posted.into_iter().filter(|envelope| envelope.topic == TOPICS[0]));
    exactly(&shh, &wanted).map_err(|e| node.explain(e))?;
    unbroken(&[&shh, &waku])?;
    node.stop()?;
    Ok(format!("{} to Whisper as it wanted them, {} from it; no session broke", wanted.len(), from_shh.len()))
}

/// A node with a floor and one route, and then another one.
pub(super) fn told_whisper(lab: &Lab) -> Result<String> {
    let routes = lab.data_dir("told-whisper-routes.toml");
    let route_of = |topic: &str| {
        let table = format!("[[route]]\nname = \"only\"\nv1_topics = [\"{topic}\"]\npubsub = \"/waku/2/rs/0/0\"\n");
        fs::write(&routes, table).context("routes")
    };
    route_of(TOPICS[0])?;
    let file = format!("--route-file={}", routes.display());
    let node = lab.bridge("told-whisper-node", &[&file, &format!("--waku-v1-pow={FLOOR}")])?;
    let shh = lab.whisper_at(&node, "told-whisper-shh", &[])?;
    let kinds = || [of_work("0.002", 0x0560), of_work("0.05", 0x0570), on_each_topic(0x0580)].concat();
    let mut posted = Vec::new();
    let first = goes_by(&node, &shh, &kinds(), TOPICS[0], (&mut posted, 0))?;

    route_of(TOPICS[1])?;
    let before = shh.process().log().len();
    let hangup = ["-c", "kill -HUP \"$0\"", &node.process().pid().to_string()].map(str::to_owned);
    ensure!(Command::new("sh").args(hangup).status()?.success(), "cannot signal the bridge");
    let told = |event: &Value| (is(event, "status-update") && number(event, "code") == Some(3)).then_some(());
    shh.process().wait("our new filter", before, TAKEN, told)?;
    let taken = goes_by(&node, &shh, &kinds(), TOPICS[1], (&mut posted, first))?;
    unbroken(&[&shh])?;
    node.stop()?;
    Ok(format!("{taken} envelopes with our floor on our topics, and nothing else"))
}

/// Whisper posts, and all that we are brought has our floor and is of this topic, also of what it has kept back so far. `before`:
/// what it has posted, and how many it has brought us. Gives how many it has brought now.
fn goes_by(
    node: &Causeway,
    shh: &StatusPeer,
    posts: &[Post<'_>],
    topic: &str,
    (posted, brought): (&mut Vec<Envelope>, usize),
) -> Result<usize> {
    posted.extend(post(shh, posts)?);
    let wanted = posted.iter().filter(|envelope| envelope.topic == topic && envelope.pow >= FLOOR);
    let expected = brought + wanted.count();
    let counted = |name: &str| Ok::<_, anyhow::Error>(node.metric(name)?.unwrap_or_default() as usize);
    let taken = poll(TAKEN, || (counted("waku_envelopes_validated_total").ok()? >= expected).then_some(()));
    ensure!(taken.is_some(), "{}", node.process().failure(&format!("not all {expected} envelopes were taken")));
    // What it keeps back it would have sent in the same broadcasts.
    let received = counted("waku_envelopes_received_total")?;
    ensure!(received == expected, "{received} envelopes were brought, {expected} of them as we wanted");
    Ok(expected)
}

/// status-go peers of each kind.
pub(super) fn waku_1(lab: &Lab) -> Result<String> {
    let newer = lab.status("waku1-newer", &["-versions", "1"])?;
    let node = lab.relay("waku1-node", &[&newer], &[])?;
    let older = lab.status_at(&node, "waku1-older", &["-versions", "0"])?;
    let both = lab.status_at(&node, "waku1-both", &["-versions", "0,1"])?;
    ensure!(protocols(&node)? == ["waku/0", "waku/1", "waku/1"], "spoken are {:?}", protocols(&node)?);
    let peers = [&newer, &older, &both];
    let mut posted: Vec<Vec<Envelope>> = Vec::new();
    for (peer, seed) in peers.iter().zip([0x0610_0000, 0x0620_0000, 0x0630_0000]) {
        posted.push(post(peer, &mixed(seed))?);
    }
    let others = |own: usize| {
        let others = posted.iter().enumerate().filter(|(n, _)| *n != own);
        others.flat_map(|(_, posted)| posted.clone()).collect::<Vec<_>>()
    };
    for (own, peer) in peers.iter().enumerate() {
        exactly(peer, &others(own)).map_err(|e| node.explain(e))?;
    }

    // Topics by name, as waku/0 and waku/1 have them.
    let mut wanted = others(0);
    newer.ask(&format!("topics {}", TOPICS[2]), "ok")?;
    fence(&newer, node.enode(), &older)?;
    let more = post(&older, &on_each_topic(0x0640))?;
    wanted.extend(more.into_iter().filter(|envelope| envelope.topic == TOPICS[2]));
    exactly(&newer, &wanted).map_err(|e| node.explain(e))?;
    unbroken(&peers)?;
    ensure!(count(newer.process(), 0, "bad-packet") == 0, "a packet that status-go could not read");
    node.stop()?;
    Ok(format!("{FROM_EACH} from each of three to both others, once; then topics of waku/1"))
}

/// What a node speaks with its peers, in order.
fn protocols(node: &Causeway) -> Result<Vec<String>> {
    let (_, body) = node.get("/bridge/v1/peers")?;
    let peers: Value = serde_json::from_str(&body)?;
    let v1 = peers["v1"].as_array().with_context(|| format!("no peers in {body}"))?;
    let spoken = v1.iter().flat_map(|peer| peer["protocols"].as_array().cloned().unwrap_or_default());
    let mut spoken: Vec<String> = spoken.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    spoken.sort();
    Ok(spoken)
}

/// Envelopes of mixed sizes and topics.
fn mixed(seed: u32) -> Vec<Post<'static>> {
    let payloads = spread(FROM_EACH, seed.into()).into_iter().enumerate();
    payloads.map(|(i, payload)| Post { topic: TOPICS[i % TOPICS.len()], pow: EASY, payload }).collect()
}

/// Some envelopes with at least so much work.
fn of_work(pow: &'static str, seed: u64) -> Vec<Post<'static>> {
    (0..OF_EACH as u64).map(|i| Post { topic: TOPICS[0], pow, payload: bytes(100, (seed << 8) + i) }).collect()
}

/// Some envelopes of every topic.
fn on_each_topic(seed: u64) -> Vec<Post<'static>> {
    let posts = TOPICS.iter().zip(0..).flat_map(|(topic, n)| {
        (0..OF_EACH as u64).map(move |i| Post { topic, pow: "0.05", payload: bytes(100, (seed << 16) + (n << 8) + i) })
    });
    posts.collect()
}
