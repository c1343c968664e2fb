//! waku/0 gossip through the node: peers that see each other only through it, with all the wishes that status-go knows.

use super::Lab;
use crate::causeway::Causeway;
use crate::deadline::poll;
use crate::gossip::{EASY, Post, arrivals, await_arrivals, count, exactly, fence, filter_of, post, unbroken};
use crate::payloads::{bytes, spread};
use crate::process::{Process, is};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use std::thread;
use std::time::Duration;

/// Envelopes each way between two full peers.
const BOTH_WAYS: usize = 500;
/// Envelopes of each kind between a peer with wishes and one without.
const OF_EACH: usize = 25;
/// Broadcasts that are confirmed to us.
const LOTS: u64 = 4;
/// An epoch of a second, and time to write it.
const ACCOUNTED: Duration = Duration::from_secs(10);
/// status-go broadcasts every 300 ms, and is answered at once.
const CONFIRMED: Duration = Duration::from_secs(20);
/// Topics of which no two share a bit of a bloom filter.
const TOPICS: [&str; 5] = ["c1020300", "c4050601", "c7080902", "ca0b0c04", "cd0e0f07"];

/// Full peers; one dials us, we dial the other.
pub(super) fn both_ways(lab: &Lab) -> Result<String> {
    let a = lab.status("gossip-a", &[])?;
    let node = lab.relay("gossip-node", &[&a], &["--accounting-epoch=1"])?;
    let b = lab.status_at(&node, "gossip-b", &[])?;
    let posts = |seed| -> Vec<Post<'_>> {
        let payloads = spread(BOTH_WAYS, seed).into_iter().enumerate();
        payloads.map(|(i, payload)| Post { topic: TOPICS[i % TOPICS.len()], pow: EASY, payload }).collect()
    };
    let (from_a, from_b) = thread::scope(|scope| {
        let from_a = scope.spawn(|| post(&a, &posts(0x1a00_0000)));
        let from_b = post(&b, &posts(0x1b00_0000));
        (from_a.join().map_err(|_| anyhow!("the thread that posts panicked")), from_b)
    });
    let (from_a, from_b) = (from_a??, from_b?);
    // What is not the other's is its own, come back.
    exactly(&b, &from_a).map_err(|e| node.explain(e))?;
    exactly(&a, &from_b).map_err(|e| node.explain(e))?;
    unbroken(&[&a, &b])?;
    for peer in [&a, &b] {
        accounts_are(&node, peer, BOTH_WAYS)?;
    }
    node.stop()?;
    Ok(format!("{BOTH_WAYS} each way, once each, nothing back; the accounts say so"))
}

/// Waits until the node's accounts of a peer, all epochs together, say that so many came and as many went.
fn accounts_are(node: &Causeway, peer: &StatusPeer, envelopes: usize) -> Result<()> {
    let path = format!("/legacy/v1/accounting?peer={}", peer.key());
    let sums = || -> Result<[u64; 2]> {
        let (_, body) = node.get(&path)?;
        let page: Value = serde_json::from_str(&body)?;
        let rows = page["accounts"].as_array().with_context(|| format!("no accounts in {body}"))?;
        let sum = |way: &str| rows.iter().filter_map(|row| row[way]["envelopes"].as_u64()).sum();
        Ok([sum("received"), sum("sent")])
    };
    let mut last = sums()?;
    let reached = poll(ACCOUNTED, || {
        last = sums().ok()?;
        last.iter().all(|sum| *sum >= envelopes as u64).then_some(())
    });
    ensure!(
        reached.is_some() && last == [envelopes as u64; 2],
        "{}: accounts of {last:?} envelopes",
        peer.process().name()
    );
    Ok(())
}

/// A peer that asks for much work, and then for more.
pub(super) fn min_pow(lab: &Lab) -> Result<String> {
    let (a, full) = (lab.status("min-pow-a", &[])?, lab.status("min-pow-full", &[])?);
    let node = lab.relay("min-pow-node", &[&a, &full], &[])?;
    let b = lab.status_at(&node, "min-pow-b", &["-minpow", "0.05"])?;
    let with = |pow, seed| -> Vec<Post<'_>> {
        let payloads = (0..OF_EACH).map(|i| bytes(100, seed + i as u64));
        payloads.map(|payload| Post { topic: TOPICS[0], pow, payload }).collect()
    };
    let mut all = post(&a, &[with("0.002", 0x2000), with("0.05", 0x2100)].concat())?;
    // Luck may give an envelope more than it aimed at, so what counts is what it has.
    let mut wanted: Vec<Envelope> = all.iter().filter(|envelope| envelope.pow >= 0.05).cloned().collect();
    ensure!((OF_EACH..2 * OF_EACH).contains(&wanted.len()), "{} of {} have 0.05", wanted.len(), all.len());
    judge(&b, &full, &wanted, &all)?;

    b.ask("minpow 0.5", "ok")?;
    fence(&b, node.enode(), &a)?;
    let more = post(&a, &[with("0.05", 0x2200), with("0.5", 0x2300)].concat())?;
    wanted.extend(more.iter().filter(|envelope| envelope.pow >= 0.5).cloned());
    all.extend(more);
    judge(&b, &full, &wanted, &all)?;

    b.ask("minpow 0.002", "ok")?;
    judge(&b, &full, &all, &all)?;
    unbroken(&[&a, &b, &full])?;
    node.stop()?;
    Ok(format!("{} of {} at its floor of 0.05, then 0.5; with 0.002 the others too", wanted.len(), all.len()))
}

/// A sparse filter, and another one later.
pub(super) fn bloom(lab: &Lab) -> Result<String> {
    let (first, second) = (filter_of(&TOPICS[..2])?, filter_of(&TOPICS[2..3])?);
    let wish = Wish { name: "bloom", flags: &["-bloom", &first], change: &format!("bloom {second}") };
    let (b, all) = wish.follow(lab)?;
    Ok(format!("{} of {all} envelopes matched one filter or the other", arrivals(&b).len()))
}

/// A list of topics, another one later, and none in the end.
pub(super) fn topics(lab: &Lab) -> Result<String> {
    let (first, second) = (TOPICS[..2].join(","), format!("topics {}", TOPICS[2]));
    let wish = Wish { name: "topics", flags: &["-topics", &first], change: &second };
    let (b, all) = wish.follow(lab)?;
    Ok(format!("{} of {all} envelopes were on its topics; with none, none came", arrivals(&b).len()))
}

/// A peer that wants the first two topics, and after a change the third.
struct Wish<'a> {
    name: &'a str,
    flags: &'a [&'a str],
    change: &'a str,
}

impl Wish<'_> {
    /// Gives the peer, and how many envelopes were about.
    fn follow(&self, lab: &Lab) -> Result<(StatusPeer, usize)> {
        let name = |role: &str| format!("{}-{role}", self.name);
        let (a, full) = (lab.status(&name("a"), &[])?, lab.status(&name("full"), &[])?);
        let node = lab.relay(&name("node"), &[&a, &full], &[])?;
        let b = lab.status_at(&node, &name("b"), self.flags)?;
        let mut all = post(&a, &on_each_topic(0x3000))?;
        let mut wanted = on(&all, &TOPICS[..2]);
        judge(&b, &full, &wanted, &all)?;

        b.ask(self.change, "ok")?;
        fence(&b, node.enode(), &a)?;
        all.extend(post(&a, &on_each_topic(0x3100))?);
        wanted.extend(on(&all, &TOPICS[2..3])); // those, too, that were there before it asked for them
        judge(&b, &full, &wanted, &all)?;

        if self.name == "topics" {
            b.ask("topics none", "ok")?;
            fence(&b, node.enode(), &a)?;
            all.extend(post(&a, &on_each_topic(0x3200))?);
            judge(&b, &full, &wanted, &all)?;
        }
        unbroken(&[&a, &b, &full])?;
        node.stop()?;
        Ok((b, all.len()))
    }
}

/// A light peer, and a full one behind it, whose envelopes reach us only because status-go's light nodes relay all the same.
pub(super) fn light(lab: &Lab) -> Result<String> {
    let filter = filter_of(&TOPICS[..3])?;
    let a = lab.status("light-a", &[])?;
    let node = lab.relay("light-node", &[&a], &[])?;
    let b = lab.status_at(&node, "light-b", &["-light", "-bloom", &filter])?;
    let behind = lab.status("light-behind", &["-dial", b.enode()])?;
    behind.await_session(b.enode())?;
    let from_a = post(&a, &on_each_topic(0x4000))?;
    let wanted = on(&from_a, &TOPICS[..3]);
    await_arrivals(&b, &wanted)?;
    let from_behind = post(&behind, &on_each_topic(0x4100))?;
    let relayed = on(&from_behind, &TOPICS[..3]);
    exactly(&a, &relayed)?;
    exactly(&b, &[wanted.as_slice(), &relayed].concat())?;
    unbroken(&[&a, &b, &behind])?;
    node.stop()?;
    Ok(format!("{} to the light peer, {} from behind it", wanted.len(), relayed.len()))
}

/// Some envelopes of every topic.
fn on_each_topic(seed: u64) -> Vec<Post<'static>> {
    let kinds = TOPICS.iter().cycle().take(OF_EACH * TOPICS.len()).zip(seed..);
    kinds.map(|(topic, seed)| Post { topic, pow: EASY, payload: bytes(100, seed) }).collect()
}

fn on(envelopes: &[Envelope], topics: &[&str]) -> Vec<Envelope> {
    envelopes.iter().filter(|envelope| topics.contains(&envelope.topic.as_str())).cloned().collect()
}

/// The peer with wishes has had exactly what it wants; the peer without has had everything, so that nothing was still on its way.
fn judge(picky: &StatusPeer, full: &StatusPeer, wanted: &[Envelope], all: &[Envelope]) -> Result<()> {
    exactly(full, all)?;
    exactly(picky, wanted)
}

/// Peers that confirm what they get: a node that neither confirms nor asks for it, one that confirms, and a client that posts.
pub(super) fn confirming(lab: &Lab) -> Result<String> {
    let a = lab.status("confirming-a", &["-confirm"])?;
    let node = lab.relay("confirming-node", &[&a], &[])?;
    let b = lab.status_at(&node, "confirming-b", &["-confirm"])?;
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    for lot in 0..LOTS {
        from_a.extend(post(&a, &on_each_topic(0x5000 + (lot << 8)))?);
        from_b.extend(post(&b, &on_each_topic(0x6000 + (lot << 8)))?);
        await_arrivals(&b, &from_a)?; // so that the next are broadcast by themselves
    }
    exactly(&b, &from_a)?;
    exactly(&a, &from_b)?;
    unbroken(&[&a, &b])?;
    node.stop()?;
    let answered = count(a.process(), 0, "batch-acknowledged") + count(b.process(), 0, "batch-acknowledged");
    ensure!(answered == 0, "{answered} acknowledgements from a node that announced none");
    let c = lab.status("confirming-c", &["-confirm"])?;
    let batches = confirmed_by_us(lab, &c)?;
    acknowledged_to_us(lab, &c)?;
    Ok(format!(
        "{} each way; {batches} batches confirmed by us when we say that we do, and a post of ours by the peer",
        from_a.len()
    ))
}

/// A node that confirms: the peer hears of every batch, without an error. Gives how many that were.
fn confirmed_by_us(lab: &Lab, peer: &StatusPeer) -> Result<usize> {
    let node = lab.relay("confirming-too", &[peer], &["--confirmations"])?;
    let before = peer.process().log().len();
    let posted = post(peer, &on_each_topic(0x7000))?;
    let taken = poll(CONFIRMED, || {
        let validated = node.metric("waku_envelopes_validated_total").ok()??;
        (validated >= posted.len() as f64).then_some(())
    });
    ensure!(taken.is_some(), "{}", node.process().failure("not all envelopes were taken"));
    let heard = |event: &Value| is(event, "batch-acknowledged").then_some(());
    peer.process().wait("an acknowledged batch", before, CONFIRMED, heard)?;
    unbroken(&[peer])?;
    node.stop()?;
    let events = peer.process().log().since(before);
    let answers: Vec<_> = events.iter().filter(|event| is(event, "batch-acknowledged")).collect();
    let wrong = answers.iter().find(|answer| answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()));
    ensure!(wrong.is_none(), "good envelopes were confirmed with errors: {wrong:?}");
    Ok(answers.len())
}

/// A post of ours to a peer that confirms ends as acknowledged.
fn acknowledged_to_us(lab: &Lab, peer: &StatusPeer) -> Result<()> {
    let arguments = ["post", peer.enode(), "--text=did you get this?"];
    let client = Process::spawn("confirming-post", &lab.programs().causeway, &arguments)?;
    let status = client.exit(CONFIRMED)?;
    let said = client.log().since(0);
    let acknowledged = said.iter().any(|line| line.as_str() == Some("acknowledged by the peer"));
    ensure!(status.success() && acknowledged, "{}", client.failure(&format!("ended with {status}, and said {said:?}")));
    Ok(())
}
