//! Out over one bridge and back over another: what comes back is what went out, hash for hash.

use super::{Lab, join};
use crate::crossing::{KEY, TO_V0, TO_V2, content_topic};
use crate::payloads::bytes;
use crate::process::text;
use crate::status_peer::{Envelope, Opened};
use crate::waku_peer::{Message, PUBSUB, WakuPeer};
use anyhow::{Result, bail, ensure};
use std::time::Duration;

/// Two hops of v0 at 300 ms and some mining.
const TRIP: Duration = Duration::from_secs(20);
/// The same, and the 30 s for which a bridge holds a tagged envelope before it restores the message.
const RESTORED: Duration = Duration::from_secs(60);
/// Sizes of the payloads, in bytes.
const SIZES: [usize; 3] = [1, 1_000, 40_000];
/// Seconds an envelope lives on this trip.
const TTL: u32 = 50;

/// status-go A - bridge 1 - go-waku - bridge 2 - status-go B.
pub(super) fn envelope(lab: &Lab) -> Result<String> {
    let (a, b) = (lab.status("status-go-a", &[])?, lab.status("status-go-b", &[])?);
    let v2 = lab.waku("go-waku", &[])?;
    let one = lab.bridge_between("bridge-1", &a, &v2, &[])?;
    let two = lab.bridge_between("bridge-2", &b, &v2, &[])?;
    b.subscribe(KEY, &TO_V2)?;
    for (index, size) in SIZES.into_iter().enumerate() {
        let payload = bytes(size, 0x0c00_0000 + index as u64);
        let command = format!("send {KEY} {} {TTL} 0.002 {}", TO_V2[index], hex::encode(&payload));
        let answer = a.ask(&command, "sent")?;
        let sent = text(&answer, "hash");
        let opened = b
            .process()
            .wait("envelope at the far end", 0, TRIP, |e| Opened::of(e).filter(|opened| opened.hash == sent))?;
        ensure!(opened.payload == hex::encode(&payload), "{sent} was opened to another payload");
    }
    let arrived = b.process().log().since(0);
    let arrived = arrived.iter().filter_map(|e| Envelope::of(e, "envelope-arrived")).count();
    ensure!(arrived == SIZES.len(), "{arrived} envelopes arrived for {}", SIZES.len());
    let returned = a.process().log().since(0);
    if let Some(back) = returned.iter().find_map(|e| Envelope::of(e, "envelope-arrived")) {
        bail!("{} came back to its sender", back.hash);
    }
    let mined = [one.metric("bridge_mined_total")?, two.metric("bridge_mined_total")?];
    ensure!(mined == [Some(0.0); 2], "envelopes mined by the two bridges: {mined:?}");
    let rebuilt = two.metric("bridge_rebuilt_total")?;
    ensure!(rebuilt == Some(SIZES.len() as f64), "{rebuilt:?} envelopes were rebuilt");
    Ok(format!("{0} envelopes with the same hash, {0} rebuilt, none mined", SIZES.len()))
}

/// go-waku A - bridge 1 - status-go - bridge 2 - go-waku B, which no v2 link joins to A.
pub(super) fn message(lab: &Lab) -> Result<String> {
    let v0 = lab.status("status-go", &[])?;
    let (a, b) = (lab.waku("go-waku-a", &[])?, lab.waku("go-waku-b", &[])?);
    let one = lab.bridge_between("bridge-1", &v0, &a, &[])?;
    let two = lab.bridge_between("bridge-2", &v0, &b, &["--restore-tagged"])?;
    join(&one, &v0, &a)?;
    let mut published = Vec::new();
    for (index, size) in SIZES.into_iter().enumerate() {
        let (topic, payload) = (content_topic(TO_V0[index]), hex::encode(bytes(size, 0x0d00_0000 + index as u64)));
        published.push(a.publish(&format!("pub-sealed {PUBSUB} {topic} {KEY} {payload}"))?);
        published.push(a.publish(&format!("pub {PUBSUB} {topic} {payload} version=0"))?);
    }
    b.open_with(KEY)?;
    for message in &published {
        same_message(&b, message)?;
    }
    let count = b.process().log().since(0).iter().filter_map(|e| Message::arrived(e)).count();
    ensure!(count == published.len(), "{count} messages arrived for {}", published.len());
    two.stop()?;
    Ok(format!("{count} messages with the same hash, of versions 0 and 1"))
}

fn same_message(at: &WakuPeer, sent: &Message) -> Result<()> {
    let what = format!("message {} (version {}) at the far end", sent.hash, sent.version);
    let arrived =
        at.process().wait(&what, 0, RESTORED, |e| Message::arrived(e).filter(|arrived| arrived.hash == sent.hash))?;
    let same = (arrived.version, arrived.timestamp, &arrived.payload_sha256, arrived.ephemeral)
        == (sent.version, sent.timestamp, &sent.payload_sha256, sent.ephemeral);
    ensure!(same, "{}: the same hash, but other fields: {sent:?} became {arrived:?}", sent.hash);
    Ok(())
}
