//! The rate of a bridge: what is beyond it is not published, now or later, and is kept for mail requests.

use super::ear::{ARRIVAL, Ear};
use super::ground::{EPOCH_SECS, Ground};
use super::publish;
use crate::causeway::Causeway;
use crate::crossing::content_topic;
use crate::deadline::poll_every;
use crate::gossip::{EASY, Post, post};
use crate::payloads::bytes;
use crate::process::{is, text};
use crate::scenarios::mailserver::{ALL, Question, ask};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context as _, Result, ensure};
use devp2p::clock::now;
use std::collections::BTreeSet;
use std::time::Duration;

/// Messages an epoch of the bridge: the fewest that the contract sells.
pub(super) const LIMIT: u64 = 20;
/// Envelopes in one epoch.
pub(super) const ENVELOPES: usize = 30;
/// Seconds that an epoch must have left for all of them: a proof takes half a second, and longer on a busy machine.
const ROOM_SECS: u64 = 60;
/// What is posted on waku/0, and what is published on v2 meanwhile.
pub(super) const TO_V2: &str = "d4000001";
const TO_V0: &str = "d4000002";
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// What has happened so far.
pub(super) struct Spent<'a> {
    bridge: &'a Causeway,
    poster: StatusPeer,
    epoch: u64,
}

fn post_on_v0(poster: &StatusPeer, count: usize, seed: u64) -> Result<Vec<Envelope>> {
    let payloads = (seed..).take(count).map(|seed| bytes(200, seed));
    let posts: Vec<_> = payloads.map(|payload| Post { topic: TO_V2, pow: EASY, payload }).collect();
    post(poster, &posts)
}

/// The number of the epoch, and the seconds that it has left.
fn epoch() -> (u64, u64) {
    let secs = now().unix.as_secs();
    (secs / EPOCH_SECS, EPOCH_SECS - secs % EPOCH_SECS)
}

/// Waits for an epoch that is as wanted: its number.
fn await_epoch(is_right: impl Fn(u64, u64) -> bool) -> Result<u64> {
    let found = poll_every(LOOK, 2 * Duration::from_secs(EPOCH_SECS), || {
        let (number, left) = epoch();
        is_right(number, left).then_some(number)
    });
    found.context("epochs do not pass")
}

/// More envelopes in one epoch than the bridge may publish.
pub(super) fn beyond_its_rate<'a>(
    ground: &Ground<'_>,
    bridge: &'a Causeway,
    member: &Causeway,
    ears: &mut [Ear<'_>],
) -> Result<Spent<'a>> {
    let poster = ground.lab.status_at(bridge, "rln-poster", &[])?;
    let client = ground.lab.status_at(bridge, "rln-mail-client", &[])?;
    let number = await_epoch(|_, left| left >= ROOM_SECS)?;
    let posted = post_on_v0(&poster, ENVELOPES, 0x4400_0000)?;
    let over = (ENVELOPES - LIMIT as usize) as f64;
    let counted = |reason: &str| bridge.metric_of("bridge_messages_total", &format!("reason=\"{reason}\"")).ok()?;
    let settled = poll_every(LOOK, ARRIVAL, || (counted("rln_budget")? == over).then_some(()));
    settled.ok_or_else(|| bridge.explain(bridge.process().failure("not as many beyond its rate as were")))?;
    let crossed = content_topic(TO_V2);
    for ear in &mut *ears {
        ear.until("what the bridge may publish", |ear| ear.on(&crossed).count() as u64 >= LIMIT)?;
        let payloads: BTreeSet<_> = ear.on(&crossed).map(|heard| heard.payload()).collect();
        ensure!(payloads.len() as u64 == LIMIT, "{} payloads cross", payloads.len());
        ensure!(ear.on(&crossed).count() as u64 == LIMIT, "a payload crosses twice");
    }
    let (status, drops) = bridge.get("/bridge/v1/drops?reason=rln_budget")?;
    let drops: serde_json::Value = serde_json::from_str(&drops)?;
    let told = drops["drops"].as_array().map_or(0, Vec::len);
    ensure!(status == 200 && told == ENVELOPES - LIMIT as usize, "{told} drops are told of: {status}");
    to_v0_all_the_same(bridge, &poster, member)?;
    // Whoever asks for mail is given all, proven or not.
    let expected: BTreeSet<&str> = posted.iter().map(|envelope| envelope.hash.as_str()).collect();
    let answer = ask(&client, bridge, Question { topics: TO_V2, ..ALL })?;
    let given: BTreeSet<&str> = answer.hashes.iter().map(String::as_str).collect();
    ensure!(given == expected && answer.hashes.len() == ENVELOPES, "of {ENVELOPES} envelopes: {answer:?}");
    ensure!(epoch().0 == number, "the epoch is over before all of this is: the machine is too busy");
    Ok(Spent { bridge, poster, epoch: number })
}

/// What goes to waku/0 needs none of the bridge's own messages.
fn to_v0_all_the_same(bridge: &Causeway, v0: &StatusPeer, member: &Causeway) -> Result<()> {
    let left = bridge.metric("waku_rln_remaining_proofs_per_epoch")?;
    ensure!(left == Some(0.0), "{left:?} messages are left to the bridge");
    let (status, body) = publish(member, &content_topic(TO_V0), &bytes(200, 0x4500_0000))?;
    ensure!(status == 200, "a member is refused: {status} {body}");
    v0.process().wait("an envelope made of a message", 0, ARRIVAL, |event| {
        (is(event, "envelope-arrived") && text(event, "topic") == TO_V0).then_some(())
    })
}

/// The bridge publishes again, and nothing of what it has kept.
pub(super) fn in_the_next_epoch(spent: &mut Spent<'_>, ear: &mut Ear<'_>) -> Result<()> {
    let Spent { bridge, poster, epoch } = spent;
    await_epoch(|number, left| number > *epoch && left >= ROOM_SECS / 2)?;
    post_on_v0(poster, 1, 0x4600_0000)?;
    let crossed = content_topic(TO_V2);
    ear.until("what the bridge may publish again", |ear| ear.on(&crossed).count() as u64 > LIMIT)?;
    ear.listen()?;
    let count = ear.on(&crossed).count() as u64;
    ensure!(count == LIMIT + 1, "{} messages more than the rate, and one in the next epoch", count - LIMIT);
    let kept = bridge.metric_of("bridge_messages_total", "reason=\"rln_budget\"")?;
    ensure!(kept == Some((ENVELOPES - LIMIT as usize) as f64), "{kept:?} were kept in the end");
    Ok(())
}
