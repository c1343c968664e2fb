//! Peers with settings of their own, beside peers with none.

use super::{Lab, join};
use crate::crossing::{GENTLE, KEY, TO_V0, cross, exchange_keys};
use crate::payloads::spread;
use crate::process::{is, text};
use crate::status_peer::{Envelope, StatusPeer};
use crate::waku_peer::peer_id;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Peers of another cluster are left within this.
const LEFT: Duration = Duration::from_secs(20);
/// Payloads each way.
const PAYLOADS: usize = 20;

/// All at one bridge: an ordinary pair, a peer of another cluster, one that confirms, one that wants two topics only.
pub(super) fn live_beside_others(lab: &Lab) -> Result<String> {
    let (v0, v2) = (lab.status("confirming", &["-confirm"])?, lab.waku("go-waku", &[])?);
    let bridge = lab.bridge_between("odd-peers", &v0, &v2, &[])?;
    let picky = lab.status("picky", &["-topics", &TO_V0[..2].join(","), "-dial", bridge.enode()])?;
    picky.await_session(bridge.enode())?;
    picky.subscribe(KEY, &TO_V0[..2])?;

    let stranger = lab.waku("stranger", &["-cluster", "17", "-dial", bridge.multiaddr()])?;
    let id = peer_id(bridge.multiaddr());
    stranger.process().wait("end of the link to another cluster", 0, LEFT, |e| {
        (is(e, "disconnected") && text(e, "peer") == id).then_some(())
    })?;
    let metadata = v2.ask(&format!("metadata {}", bridge.multiaddr()))?;
    ensure!(metadata["cluster"] == 0, "the bridge says of itself: {metadata}");

    join(&bridge, &v0, &v2)?;
    exchange_keys(&v0, &v2)?;
    let crossed = cross(&v0, &v2, &spread(PAYLOADS, 0x0e00_0000), &spread(PAYLOADS, 0x0f00_0000), GENTLE)?;
    crossed.without_return()?;
    let dropped = v0.process().log().since(0);
    ensure!(!dropped.iter().any(|e| is(e, "peer-dropped")), "the session with the confirming peer broke");
    let wanted = only_its_topics(&picky)?;
    ensure!(wanted == PAYLOADS / 2, "{wanted} envelopes of two topics, not {}", PAYLOADS / 2);
    Ok(format!("cluster 17 was left; {wanted} of {PAYLOADS} envelopes went to the peer of two topics"))
}

/// Counts what a peer with topic interest was sent; what it never asked for is a fault.
fn only_its_topics(picky: &StatusPeer) -> Result<usize> {
    let events = picky.process().log().since(0);
    let sent: Vec<Envelope> = events.iter().filter_map(|e| Envelope::of(e, "envelope-arrived")).collect();
    for envelope in &sent {
        ensure!(TO_V0[..2].contains(&envelope.topic.as_str()), "sent {envelope:?}, which it did not ask for");
    }
    Ok(sent.len())
}
