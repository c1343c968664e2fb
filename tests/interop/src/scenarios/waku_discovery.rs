//! Finding peers of the Waku Network beside go-waku: over UDP, and by asking peers.

use super::Lab;
use crate::causeway::Causeway;
use crate::deadline::{poll, poll_every};
use crate::process::{Event, is, text};
use crate::waku_peer::{WakuPeer, peer_id};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Until a node is found and called: a lookup every five seconds, failed calls between, and questions that are asked again after a minute.
const FOUND: Duration = Duration::from_secs(180);
/// Between two questions of peer exchange: a peer may ask ten times at once, and then every six seconds.
const ASK_EVERY: Duration = Duration::from_secs(6);
/// Between two looks at what go-waku would answer, which has no such limit.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Records asked for.
const MANY: &str = "20";
/// Shards of the cluster that all here are on.
const CLUSTER: u64 = 66;
const SHARD: u64 = 1;
const OTHER_SHARD: &str = "5";
/// Where nobody listens: the port that a node behind a router announces. It calls others, and nobody can call it.
const NOWHERE: [&str; 2] = ["--ext-multiaddr-only", "--ext-multiaddr=/ip4/127.0.0.1/tcp/1"];
/// Connections of which two are for calls of our own.
const TWO_CALLS: &str = "--max-connections=13";

/// A bootstrap node, and nodes that know of that one alone.
pub(super) fn over_udp(lab: &Lab) -> Result<String> {
    let seed = node(lab, "waku-seed", &[])?;
    let boot = ["-bootstrap", seed.enr()];
    let stranger = node(lab, "waku-stranger", &[&boot[..], &["-shards", OTHER_SHARD]].concat())?;
    let shown = ours(lab, "waku-shown", &seed, &[])?;
    let hidden = ours(lab, "waku-hidden", &seed, &NOWHERE)?;
    let seeker = node(lab, "waku-seeker", &boot)?;

    tells_of_us(&found(&seeker, shown.multiaddr())?, &shown)?;
    called(&seeker, &hidden)?;
    // It does not relay our shard.
    let met = |us: &Causeway| meetings(&stranger, us).next().is_some();
    ensure!(!met(&shown) && !met(&hidden), "a node of another shard was met");
    stranger.ask(&format!("sub /waku/2/rs/{CLUSTER}/{SHARD}"))?;
    // Now it does: so we knew of it.
    called(&stranger, &hidden)?;
    shown.stop()?;
    hidden.stop()?;
    Ok("go-waku found our record and we its; one of another shard was called when it had joined ours".to_owned())
}

/// Records told and asked for over libp2p.
pub(super) fn by_asking(lab: &Lab) -> Result<String> {
    let seed = node(lab, "px-seed", &[])?;
    let boot = ["-bootstrap", seed.enr()];
    let teller = node(lab, "px-teller", &[&boot[..], &["-peer-exchange"]].concat())?;
    let third = node(lab, "px-third", &boot)?;

    // Who asks too early asks again after a minute only.
    let tells = || {
        let answer = seed.ask(&format!("px {} {MANY}", teller.multiaddr())).ok()?;
        let mut records = answer["peers"].as_array()?.iter();
        records.any(|record| text(record, "peer") == peer_id(third.multiaddr())).then_some(())
    };
    poll_every(LOOK_EVERY, FOUND, tells).context("go-waku tells of nobody")?;
    // Without discovery of its own, it can know of the third node by the teller alone.
    let network = network();
    let ask = ["--peer-exchange-node", teller.multiaddr()];
    let asker = lab.bridge("px-asker", &[&network.each_ref().map(String::as_str)[..], &ask].concat())?;
    called(&third, &asker)?;
    asker.stop()?;

    // It may call two of the three, and tells one of these of the other.
    let host = ours(lab, "px-host", &seed, &[&NOWHERE[..], &[TWO_CALLS]].concat())?;
    let go = [&seed, &teller, &third];
    let met = poll(FOUND, || go.into_iter().find(|go| meetings(go, &host).next().is_some()));
    let client = met.ok_or_else(|| host.process().failure("it called nobody"))?;
    let mut last = None;
    let told = poll_every(ASK_EVERY, FOUND, || {
        let answer = client.ask(&format!("px {} {MANY}", host.multiaddr()));
        let records = answer.as_ref().ok()?["peers"].as_array().filter(|records| !records.is_empty()).cloned();
        last = Some(answer);
        records
    });
    for record in told.with_context(|| format!("our node told of nobody: {last:?}"))? {
        ensure!(on_our_shard(&record), "of another shard: {record}");
        let known = go.iter().find(|go| peer_id(go.multiaddr()) == text(&record, "peer"));
        ensure!(
            known.is_some_and(|known| *known.multiaddr() != *client.multiaddr()),
            "a stranger, or itself: {record}"
        );
    }
    host.stop()?;
    Ok("we called whom go-waku told us of, and told go-waku of whom we had found".to_owned())
}

fn node(lab: &Lab, name: &str, flags: &[&str]) -> Result<WakuPeer> {
    let (cluster, shard) = (CLUSTER.to_string(), SHARD.to_string());
    lab.waku(name, &[&["-cluster", &cluster, "-shards", &shard, "-discv5", "0"], flags].concat())
}

fn network() -> [String; 5] {
    [
        "--bridge-direction=v1-to-v2".to_owned(),
        format!("--cluster-id={CLUSTER}"),
        "--num-shards-in-network=8".to_owned(),
        format!("--shard={SHARD}"),
        format!("--bridge-pubsub-topic=/waku/2/rs/{CLUSTER}/{SHARD}"),
    ]
}

/// A node of ours that begins at the seed. All are at one address, which the table does not like elsewhere.
fn ours(lab: &Lab, name: &str, seed: &WakuPeer, flags: &[&str]) -> Result<Causeway> {
    let network = network();
    let seek = ["--discv5-discovery", "--discv5-udp-port=0", "--discv5-table-ip-limit=0", "--discv5-bootstrap-node"];
    let network = network.each_ref().map(String::as_str);
    lab.bridge(name, &[&network[..], &seek, &[seed.enr()], flags].concat())
}

/// The record of a node, as go-waku has found it.
fn found(by: &WakuPeer, multiaddr: &str) -> Result<Value> {
    let id = peer_id(multiaddr);
    by.process().wait(&format!("record of {id}, found"), 0, FOUND, |e| {
        (is(e, "found") && text(e, "peer") == id).then(|| e.clone())
    })
}

/// What go-waku reads in our record.
fn tells_of_us(found: &Value, us: &Causeway) -> Result<()> {
    ensure!(text(found, "enr") == us.record()?, "not our record: {found}");
    ensure!(on_our_shard(found), "our shards: {found}");
    let addrs = found["addrs"].as_array().context("no addresses")?;
    for ours in [us.multiaddr(), &us.websocket()?] {
        ensure!(addrs.iter().any(|addr| addr == ours), "no {ours} in {found}");
    }
    Ok(())
}

fn on_our_shard(record: &Value) -> bool {
    record["cluster"] == CLUSTER && record["shards"].as_array().is_some_and(|shards| shards.iter().any(|s| *s == SHARD))
}

/// Waits until a node of ours that cannot be called has called a peer.
fn called(peer: &WakuPeer, us: &Causeway) -> Result<()> {
    let id = peer_id(us.multiaddr());
    peer.process().wait(&format!("a call of {}", us.process().name()), 0, FOUND, |e| {
        (is(e, "connected") && text(e, "peer") == id && text(e, "direction") == "inbound").then_some(())
    })
}

/// The connections with us that a peer has seen, whoever called.
fn meetings(peer: &WakuPeer, us: &Causeway) -> impl Iterator<Item = Event> {
    let id = peer_id(us.multiaddr()).to_owned();
    let events = peer.process().log().since(0).into_iter();
    events.filter(move |e| is(e, "connected") && text(e, "peer") == id)
}
