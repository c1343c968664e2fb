//! The peers against each other: what the other scenarios rest on. If this fails, the bridge is not to blame.

use super::Lab;
use crate::crossing::{KEY, content_topic};
use crate::payloads::bytes;
use crate::process::{is, text};
use crate::status_peer::{Envelope, Opened};
use crate::waku_peer::{Message, PUBSUB};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// From one peer to the next: status-go broadcasts every 300 ms.
const HOP: Duration = Duration::from_secs(10);
const TOPIC: &str = "c3000001";

/// A pair of each kind, and each library's seal opened by the other's.
pub(super) fn between_themselves(lab: &Lab) -> Result<String> {
    let payload = bytes(1000, 1);
    let versions = message_pair(lab, &payload)?;
    envelope_pair(lab, &payload)?;
    foreign_seals(lab, &payload)?;
    Ok(format!("status-go v0.55.1, go-waku {versions}"))
}

fn envelope_pair(lab: &Lab, payload: &[u8]) -> Result<()> {
    let receiver = lab.status("status-go-a", &[])?;
    let sender = lab.status("status-go-b", &["-dial", receiver.enode()])?;
    sender.await_session(receiver.enode())?;
    receiver.subscribe(KEY, &[TOPIC])?;
    sender.send(KEY, TOPIC, 20, "0.002", payload)?;
    let opened = receiver.process().wait("opened envelope", 0, HOP, Opened::of)?;
    ensure!(opened.payload == hex::encode(payload), "status-go opened another payload");
    Ok(())
}

fn message_pair(lab: &Lab, payload: &[u8]) -> Result<String> {
    let receiver = lab.waku("go-waku-a", &[])?;
    let sender = lab.waku("go-waku-b", &["-dial", receiver.multiaddr()])?;
    sender.await_mesh(receiver.multiaddr())?;
    receiver.open_with(KEY)?;
    sender.publish_sealed(KEY, &content_topic(TOPIC), payload)?;
    let arrived = receiver.process().wait("message", 0, HOP, Message::arrived)?;
    ensure!(arrived.opened == Some(hex::encode(payload)), "go-waku opened another payload: {:?}", arrived.opened);
    receiver.process().wait("versions", 0, HOP, |e| {
        let versions = e.get("versions")?;
        is(e, "ready").then(|| format!("{} ({})", text(versions, "go-waku"), text(versions, "go")))
    })
}

/// The sealed bytes are carried over by hand, as a bridge would.
fn foreign_seals(lab: &Lab, payload: &[u8]) -> Result<()> {
    let (v0, v2) = (lab.status("status-go-c", &[])?, lab.waku("go-waku-c", &[])?);
    let made = v0.ask(&format!("make {KEY} {TOPIC} 20 0.002 {}", hex::encode(payload)), "made")?;
    let data = text(&made, "data").to_owned();
    ensure!(Envelope::of(&made, "made").is_some_and(|e| e.topic == TOPIC), "no envelope was made");
    v2.open_with(KEY)?;
    v2.publish(&format!("pub {PUBSUB} {} {data} version=1", content_topic(TOPIC)))?;
    let opened = v2.process().wait("message", 0, HOP, |e| is(e, "message").then(|| text(e, "opened").to_owned()))?;
    ensure!(opened == hex::encode(payload), "go-waku does not open what status-go sealed");

    v0.subscribe(KEY, &[TOPIC])?;
    let cursor = v2.process().log().len();
    v2.publish_sealed(KEY, &content_topic(TOPIC), payload)?;
    let sealed =
        v2.process().wait("message", cursor, HOP, |e| (is(e, "message")).then(|| text(e, "payload").to_owned()))?;
    v0.ask(&format!("wrap {TOPIC} 20 0.002 {sealed}"), "sent").context("an envelope around go-waku's sealed bytes")?;
    let opened = v0.process().wait("opened envelope", 0, HOP, Opened::of)?;
    ensure!(opened.payload == hex::encode(payload), "status-go does not open what go-waku sealed");
    Ok(())
}
