//! The network of rate-limit proofs, by the program alone, on a local chain: who registers is heard, within its rate and with a
//! proof, whatever is killed; nobody else is; and a bridge keeps what is beyond its rate.  Spec: 17/WAKU2-RLN-RELAY, 64/WAKU2-NETWORK.
//!
//! | Module | What |
//! |---|---|
//! | [`ground`] | the chain, and what every node of the network is told |
//! | [`members`] | registering, and what becomes of a membership |
//! | [`ear`] | what a node has heard, and the proofs in it |
//! | [`strangers`] | who has no membership, proves nothing, or proves wrongly |
//! | [`bridged`] | the rate of a bridge |
//! | [`restarts`] | a member that is killed again and again |
//!
//! All nodes meet at one, the hub, which relays and publishes nothing.

mod bridged;
mod ear;
mod ground;
mod members;
mod restarts;
mod strangers;

use super::Lab;
use crate::causeway::Causeway;
use crate::payloads::bytes;
use crate::process::{is, text};
use crate::waku_peer::WakuPeer;
use anyhow::{Context as _, Result, ensure};
use ear::{Ear, Heard, heard_alike};
use ground::{Ground, TOPIC};
use members::Form;
use serde_json::json;

/// Messages an epoch of the member who publishes: for each life of a restart a few, and those that a kill loses.
const MEMBER_LIMIT: u64 = 200;
/// Sizes of what it publishes at first, in bytes.
const SIZES: [usize; 5] = [1, 32, 1_000, 20_000, 100_000];
/// What it publishes by the form of nwaku.
const PUBLISH: &str = "/relay/v1/auto/messages";

/// All of it, on one chain.
pub(super) fn by_the_program(lab: &Lab) -> Result<String> {
    let ground = Ground::new(lab)?;
    let member = ground.register(Form::Register, "member", MEMBER_LIMIT)?;
    let hub = ground.node("rln-hub", &["--network-rules=deployed"])?;
    let publisher = ground.member("rln-member", &member, &hub, &["--lightpush"])?;
    // The group grows while its nodes run.
    let crossing = ground.register(Form::GenerateRlnKeystore, "bridge", bridged::LIMIT)?;
    ground.told_as(&member, "active")?;
    ground.told_as(&crossing, "active")?;
    let bridge = ground.bridge("rln-bridge", &crossing, &hub)?;
    let reader = ground.reader("rln-reader", &hub)?;
    for node in [&publisher, &bridge, &reader] {
        node.await_mesh(1)?;
    }
    let go = lab.waku("go-unproven", &["-dial", hub.multiaddr()])?;
    go.await_mesh(hub.multiaddr())?;
    hub.await_mesh(4)?;

    let mut ears = [Ear::at(&hub), Ear::at(&bridge), Ear::at(&reader), Ear::at(&publisher)];
    let published = publishes(&publisher)?;
    heard_alike(&mut ears, &published)?;
    heard_by_go_waku(&go, &ears[0], published.len())?;
    strangers::refused(&reader)?;
    let pushed = strangers::lightpush(lab, &publisher, &reader)?;
    let published = [published, pushed].concat();
    heard_alike(&mut ears, &published)?;
    let unproven = strangers::unproven(&go, &hub)?;
    let wrong = strangers::wrongly_proven(&ground, &reader, &publisher, &mut ears)?;

    let mut spent = bridged::beyond_its_rate(&ground, &bridge, &publisher, &mut ears)?;
    let [mut hub_ear, bridge_ear, reader_ear, _] = ears;
    let restarts = restarts::killed(&ground, &member, &hub, &publisher, &mut hub_ear)?;
    bridged::in_the_next_epoch(&mut spent, &mut hub_ear)?;
    let nullifiers = hub_ear.judge(&crossing, &member)?;
    for mut ear in [bridge_ear, reader_ear] {
        ear.until("all that the hub has heard", |ear| ear.heard().len() >= nullifiers)?;
        ear.judge(&crossing, &member)?;
        ensure!(ear.heard().len() == nullifiers, "{} messages heard, and {nullifiers} by the hub", ear.heard().len());
    }
    drop((hub_ear, spent));
    for node in [bridge, reader, hub] {
        node.stop()?;
    }
    ground.half_a_year_later(&member)?;
    Ok(format!(
        "{nullifiers} proven messages, no nullifier twice; {unproven} unproven and {wrong} wrongly proven ones heard by nobody; {} of {} envelopes cross, all kept; {} kills, {restarts}",
        bridged::LIMIT,
        bridged::ENVELOPES,
        restarts::KILLS,
    ))
}

/// The first messages of a member: their payloads.
fn publishes(member: &Causeway) -> Result<Vec<Vec<u8>>> {
    let payloads: Vec<Vec<u8>> = SIZES.iter().zip(0x4100_0000..).map(|(&size, seed)| bytes(size, seed)).collect();
    for payload in &payloads {
        let (status, body) = publish(member, TOPIC, payload)?;
        ensure!(status == 200, "a member is refused: {status} {body}");
    }
    Ok(payloads)
}

/// Publishes over REST as version 1, which a bridge takes as it is: the status and the body.
fn publish(node: &Causeway, topic: &str, payload: &[u8]) -> Result<(u16, String)> {
    let payload = data_encoding::BASE64.encode(payload);
    node.post(PUBLISH, &json!({ "payload": payload, "contentTopic": topic, "version": 1 }))
}

/// go-waku, which knows nothing of these proofs, is passed on each message with the proof that the hub has heard.
fn heard_by_go_waku(go: &WakuPeer, hub: &Ear<'_>, count: usize) -> Result<()> {
    let mut missing: Vec<&Heard> = hub.heard().iter().collect();
    let all = go.process().wait(&format!("{count} messages with their proofs"), 0, ear::ARRIVAL, |event| {
        let is_it = |heard: &&Heard| {
            text(event, "hash") == heard.hash && text(event, "proof") == hex::encode(heard.proof_bytes())
        };
        if is(event, "message") {
            missing.retain(|heard| !is_it(heard));
        }
        missing.is_empty().then_some(())
    });
    all.context("what go-waku hears is not what the hub passes on")
}
