//! Who has no membership, who proves nothing, and who proves wrongly: heard by nobody.

use super::ear::{ARRIVAL, Ear, Heard};
use super::ground::{Ground, TOPIC};
use super::publish;
use crate::causeway::Causeway;
use crate::deadline::poll;
use crate::js_peer::JsPeer;
use crate::payloads::bytes;
use crate::process::{is, text};
use crate::scenarios::Lab;
use crate::waku_peer::{PUBSUB, WakuPeer, peer_id};
use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::time::Duration;
use waku2::rln::blame::INVALID_A_MINUTE;
use waku2::rln::element::Element;
use waku2::rln::proof::RateLimitProof;

/// Content topics of those who should not be heard begin so.
pub(super) const TOPICS: &str = "/stranger/";
const REFUSED: &str = "/stranger/1/refused/proto";
const UNPROVEN: &str = "/stranger/1/unproven/proto";
/// nwaku's words.
const NO_PROOF: &str = "Failed to publish: error appending RLN proof to message: ";
/// 19/WAKU2-LIGHTPUSH: "Rate limit proof generation failed".
const OUT_OF_PROOFS: u64 = 504;
/// Invalid messages of a peer at which its score is below that of whom the hub leaves.
const SCORED_DOWN: usize = 11;
/// What go-waku publishes at a time: some are on their way when it is left. Half the score is forgotten every 12 s, and the hub
/// looks at it each second, so that once may not do.
const AT_ONCE: u8 = 15;
/// How often it does so at most.
const TIMES: u8 = 5;
/// From the last of them to the end of the connection.
const LEFT: Duration = Duration::from_secs(5);

/// A node without a membership publishes nothing, and says so as nwaku does.
pub(super) fn refused(reader: &Causeway) -> Result<()> {
    let (status, body) = publish(reader, REFUSED, b"nobody")?;
    ensure!(status == 500 && body.starts_with(NO_PROOF), "without a membership: {status} {body}");
    ensure!(reader.metric("rln_not_attached_total")? == Some(1.0), "what was not proven is not counted");
    Ok(())
}

/// js-waku pushes to the member, which proves for it, and to who cannot. Gives the payloads that were published.
pub(super) fn lightpush(lab: &Lab, member: &Causeway, reader: &Causeway) -> Result<Vec<Vec<u8>>> {
    let light = |name: &str, node: &Causeway| -> Result<JsPeer> {
        let web = node.websocket()?;
        let js = lab.js(name, &["--mode", "light", "--dial", &web])?;
        js.connected(&web)?;
        Ok(js)
    };
    let (well, ill) = (light("js-at-member", member)?, light("js-at-reader", reader)?);
    let payloads = vec![bytes(300, 0x4200_0000), bytes(300, 0x4200_0001)];
    for (payload, way) in payloads.iter().zip(["", "raw=1"]) {
        let told = well.ask(&format!("lightpush {TOPIC} {} {way}", hex::encode(payload)))?;
        ensure!(told["ok"] == true, "the member does not prove for a light client: {told}");
    }
    let told = ill.ask(&format!("lightpush {REFUSED} 00 raw=1"))?;
    ensure!(told["status"] == OUT_OF_PROOFS && told["relayPeers"].is_null(), "without a membership: {told}");
    let told = ill.ask(&format!("lightpush {REFUSED} 00"))?;
    ensure!(told["ok"] == false, "what the SDK makes of it: {told}");
    Ok(payloads)
}

/// go-waku proves nothing. The hub goes by the rules of deployed nodes: each such message costs score, until it leaves the peer.
pub(super) fn unproven(go: &WakuPeer, hub: &Causeway) -> Result<usize> {
    let (cursor, id) = (go.process().log().len(), peer_id(hub.multiaddr()));
    let is_left = || {
        let parted = |event: &Value| (is(event, "disconnected") && text(event, "peer") == id).then_some(());
        go.process().wait("the end of a peer's patience", cursor, LEFT, parted)
    };
    let mut tried = 0;
    for _ in 0..TIMES {
        for _ in 0..AT_ONCE {
            go.publish(&format!("pub {PUBSUB} {UNPROVEN} {tried:02x}"))?;
            tried += 1;
        }
        if is_left().is_ok() {
            break;
        }
    }
    is_left().map_err(|error| hub.explain(error))?;
    let counted = hub.metric_of("waku_rln_invalid_messages_total_total", "type=\"no_proof\"")?.unwrap_or_default();
    ensure!((SCORED_DOWN..=tried).contains(&(counted as usize)), "{counted} of {tried} messages without a proof");
    Ok(tried)
}

/// A relay without proofs of its own passes proofs on that do not hold, each with a nullifier of its own. The reader goes by the
/// text, and ignores them, until they cost it too much.
pub(super) fn wrongly_proven(
    ground: &Ground<'_>,
    reader: &Causeway,
    member: &Causeway,
    ears: &mut [Ear<'_>],
) -> Result<usize> {
    let call = format!("--staticnode={}", reader.multiaddr());
    let forger = ground.lab.node("rln-forger", &["--rln-relay=false", &call])?;
    forger.await_ready()?;
    reader.await_mesh(2)?;
    let model = model(member, ears)?;
    for n in 0..=INVALID_A_MINUTE {
        let (status, body) = forge(&forger, &model, n as u64)?;
        ensure!(status == 200, "the forger itself refuses: {status} {body}");
    }
    let left = poll(ARRIVAL, || (reader.metric("rln_peers_left_total").ok()? == Some(1.0)).then_some(()));
    left.ok_or_else(|| reader.explain(reader.process().failure("it bears a peer that sends invalid proofs")))?;
    let counted = reader.metric_of("waku_rln_invalid_messages_total_total", "type=\"invalid_proof\"")?;
    ensure!(counted == Some((INVALID_A_MINUTE + 1) as f64), "{counted:?} invalid proofs, not {}", INVALID_A_MINUTE + 1);
    Ok(INVALID_A_MINUTE + 1)
}

/// A message of now, with a proof that holds.
fn model(member: &Causeway, ears: &mut [Ear<'_>]) -> Result<Heard> {
    let payload = bytes(100, 0x4300_0000);
    let (status, body) = publish(member, TOPIC, &payload)?;
    ensure!(status == 200, "a member is refused: {status} {body}");
    for ear in &mut *ears {
        ear.until("a model for forgeries", |ear| ear.times(&payload) == 1)?;
    }
    let found = ears.iter().flat_map(|ear| ear.heard()).find(|heard| heard.payload() == payload);
    found.cloned().context("it was heard")
}

/// The same message, with another nullifier: the signal and the root are right.
fn forge(forger: &Causeway, model: &Heard, n: u64) -> Result<(u16, String)> {
    let proof = RateLimitProof { nullifier: *Element::from(n + 1).bytes(), ..model.proof.clone() };
    let message = json!({
        "payload": BASE64.encode(model.payload()), "contentTopic": model.topic(), "version": model.message.version,
        "timestamp": model.message.timestamp, "proof": BASE64.encode(&proof.encode()),
    });
    forger.post(super::PUBLISH, &message)
}
