//! How much may pass: what a peer has announced is kept to, and a peer that sends too much is left.

use super::Lab;
use crate::causeway::Causeway;
use crate::gossip::{EASY, Post, count, exactly, fence, post, unbroken, worthless};
use crate::payloads::bytes;
use crate::process::{is, number, text};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Result, anyhow, ensure};
use std::thread;
use std::time::Duration;

const TOPIC: &str = "d1000001";

/// Packets a second that the slow peer takes.
const SLOW: usize = 5;
/// Peers that post at once: together they broadcast 13 times a second.
const POSTING: usize = 4;
/// Envelopes that each of them posts, in how many broadcasts of its own.
const EACH: usize = 500;
const BROADCASTS: usize = 25;
/// From a post to the broadcast of it.
const BROADCAST: Duration = Duration::from_secs(10);
/// A window of a second as the receiver's clock sees it, in milliseconds: it stamps a packet when it gets round to reading it.
const WINDOW_MS: u64 = 950;

/// Many packets for a peer that wants few.
pub(super) fn rate_limited(lab: &Lab) -> Result<String> {
    let full = lab.status("rate-full", &["-trace"])?;
    let node = lab.relay("rate-node", &[&full], &[])?;
    let limit = SLOW.to_string();
    // Beyond its limit status-go itself drops us.
    let flags = ["-trace", "-ratelimit", &limit, "-ratelimit-drop", "1"];
    let slow = lab.status_at(&node, "rate-slow", &flags)?;
    let names: Vec<String> = (0..POSTING).map(|i| format!("rate-{i}")).collect();
    let peers: Vec<StatusPeer> = names.iter().map(|name| lab.status_at(&node, name, &[])).collect::<Result<_>>()?;
    let posted: Vec<Vec<Envelope>> = thread::scope(|scope| {
        let threads: Vec<_> =
            peers.iter().zip(1_u64..).map(|(peer, i)| scope.spawn(move || post_slowly(peer, i << 32))).collect();
        let joined = threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("the thread that posts panicked"))?);
        joined.collect::<Result<_>>()
    })?;
    let posted = posted.concat();
    exactly(&full, &posted)?;
    exactly(&slow, &posted).map_err(|e| node.explain(e))?;
    unbroken(&[&full, &slow])?;
    let (offered, taken) = (packets(&full), packets(&slow));
    ensure!(most_in_window(&offered) > SLOW, "no second had more than {SLOW} packets: nothing was held back");
    let most = most_in_window(&taken);
    ensure!(most <= SLOW, "{most} packets within {WINDOW_MS} ms, to a peer that takes {SLOW} a second");
    node.stop()?;
    Ok(format!(
        "{} envelopes in {} packets, at most {most} a second; {} packets to a peer without limit",
        posted.len(),
        taken.len(),
        offered.len()
    ))
}

/// Posts in small lots, each of which goes into a broadcast of its own.
fn post_slowly(peer: &StatusPeer, seed: u64) -> Result<Vec<Envelope>> {
    let (mut all, lot) = (Vec::new(), EACH / BROADCASTS);
    for start in (0..EACH).step_by(lot) {
        let cursor = peer.process().log().len();
        let payload = |i: usize| bytes(50, seed + i as u64);
        let posts = (start..start + lot).map(|i| Post { topic: TOPIC, pow: EASY, payload: payload(i) });
        all.extend(post(peer, &posts.collect::<Vec<_>>())?);
        let mut left = lot;
        peer.process().wait("broadcast of what was posted", cursor, BROADCAST, |e| {
            left -= usize::from(is(e, "envelope-sent"));
            (left == 0).then_some(())
        })?;
    }
    Ok(all)
}

/// When a traced peer was sent packets, in milliseconds. Its limit begins after Status, which has code 0.
fn packets(peer: &StatusPeer) -> Vec<u64> {
    let events = peer.process().log().since(0);
    let inbound = events.iter().filter(|e| is(e, "packet") && text(e, "dir") == "in" && number(e, "code") != Some(0));
    inbound.filter_map(|e| number(e, "t")).collect()
}

/// The most that any window holds, wherever it begins.
fn most_in_window(times_ms: &[u64]) -> usize {
    let in_window =
        |(from, start): (usize, &u64)| times_ms[from..].iter().take_while(|&&t| t < start + WINDOW_MS).count();
    times_ms.iter().enumerate().map(in_window).max().unwrap_or_default()
}

/// Packets at once that are no offence: less than the five seconds' worth that the node lets pass.
const TOLERATED: usize = 400;
/// Further packets after which a flooder must be gone, in lots.
const FLOOD: usize = 2000;
const LOT: usize = 50;
/// A Messages packet without envelopes.
const EMPTY: &str = "1 c0";
/// Bad envelopes after which a peer is left: a hundred a minute, and a few more.
const BAD: usize = 120;
/// Until a flooder is left, and until its commands are answered.
const LEFT: Duration = Duration::from_secs(20);
/// What status-go calls reason 0x10.
const SUBPROTOCOL_ERROR: &str = "subprotocol error";

/// Two flooders, of packets and of bad envelopes, beside two peers that go on.
pub(super) fn flooded(lab: &Lab) -> Result<String> {
    let a = lab.status("flooded-a", &[])?;
    let node = lab.relay("flooded-node", &[&a], &[])?;
    let b = lab.status_at(&node, "flooded-b", &[])?;
    let (many, bad) = (lab.status_at(&node, "flooder", &[])?, lab.status_at(&node, "spoiler", &[])?);

    flood(&many, &node, TOLERATED)?;
    fence(&many, node.enode(), &a)?; // still there
    let mut sent = 0;
    while sent < FLOOD && count(many.process(), 0, "peer-dropped") == 0 {
        flood(&many, &node, LOT)?;
        sent += LOT;
    }
    left(&many)?;
    let (_, envelope) = worthless(&bad, TOPIC)?;
    for _ in 0..BAD {
        bad.process().line(&format!("raw {envelope} {}", node.enode()))?;
    }
    left(&bad)?;

    let posts = |seed: u64| -> Vec<Post<'_>> {
        (seed..seed + 50).map(|seed| Post { topic: TOPIC, pow: EASY, payload: bytes(100, seed) }).collect()
    };
    let (from_a, from_b) = (post(&a, &posts(1))?, post(&b, &posts(1000))?);
    exactly(&b, &from_a)?;
    exactly(&a, &from_b)?;
    unbroken(&[&a, &b])?;
    node.stop()?;
    Ok(format!("left with {SUBPROTOCOL_ERROR}: one after {} packets, one after {BAD} bad envelopes", TOLERATED + sent))
}

/// Sends packets as fast as status-go writes, until it has written them, or cannot.
fn flood(peer: &StatusPeer, node: &Causeway, count: usize) -> Result<()> {
    let cursor = peer.process().log().len();
    for _ in 0..count {
        peer.process().line(&format!("packet {} {EMPTY}", node.enode()))?;
    }
    let mut open = count;
    peer.process().wait("answer to each `packet`", cursor, LEFT, |e| {
        open -= usize::from(is(e, "ok") || is(e, "error"));
        (open == 0).then_some(())
    })
}

fn left(peer: &StatusPeer) -> Result<()> {
    let dropped = |e: &serde_json::Value| is(e, "peer-dropped").then(|| text(e, "reason").to_owned());
    let reason = peer.process().wait("end of a flooder's session", 0, LEFT, dropped)?;
    ensure!(reason == SUBPROTOCOL_ERROR, "{}", peer.process().failure(&format!("left with {reason}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides() {
        let bound = |count: u64, step: u64| (0..count).map(|i| i * step).collect::<Vec<_>>();
        assert_eq!(most_in_window(&bound(20, WINDOW_MS / 5)), 5);
        assert_eq!(most_in_window(&bound(20, WINDOW_MS / 6)), 7);
        // Five at the end of one second and five at the start of the next.
        let edges: Vec<u64> = (0..5).map(|i| 900 + i).chain((0..5).map(|i| 1000 + i)).collect();
        assert_eq!(most_in_window(&edges), 10);
        assert_eq!(most_in_window(&[]), 0);
    }
}
