//! js-waku over WebSocket, by either muxer, beside go-waku over TCP: peers of which no two could talk to each other.

use super::Lab;
use crate::crossing::content_topic;
use crate::exchange::{Relay, exchange};
use crate::js_peer::JsPeer;
use crate::process::{is, text};
use crate::waku_peer::{WakuPeer, peer_id};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Payloads that each peer publishes.
const PAYLOADS: usize = 20;
/// The longest payload, in bytes.
const LONGEST: usize = 100 * 1024;
/// Until they know each other.
const MET: Duration = Duration::from_secs(30);
/// Nothing else is published on it.
const TOPIC: &str = "c5000001";
/// What we speak, as identify tells it.
const OURS: [&str; 3] = ["/vac/waku/relay/2.0.0", "/vac/waku/metadata/1.0.0", "/ipfs/ping/1.0.0"];

/// All exchange through the bridge, which they dial; an idle client stays connected to it all the while.
pub(super) fn through_us(lab: &Lab) -> Result<String> {
    // Nothing of theirs is to cross, so that no time is spent on proofs of work.
    let bridge = lab.bridge("js-waku", &["--bridge-direction=v1-to-v2"])?;
    let web = bridge.websocket()?;
    let dial = |muxer| ["--mode", "relay", "--muxer", muxer, "--dial", &web];
    let (mplex, yamux) = (lab.js("js-mplex", &dial("mplex"))?, lab.js("js-yamux", &dial("yamux"))?);
    let idle = lab.js("js-light", &["--mode", "light", "--muxer", "mplex", "--dial", &web])?;
    let go = lab.waku("go-waku", &["-dial", bridge.multiaddr()])?;
    for (peer, muxer) in [(&mplex, "/mplex/6.7.0"), (&yamux, "/yamux/1.0.0"), (&idle, "/mplex/6.7.0")] {
        knows_us(peer, &web, muxer)?;
    }
    for peer in [&mplex, &yamux] {
        peer.ask("relay-sub 0")?;
        peer.await_mesh(&web)?;
        asked_for_its_shards(peer, &web)?;
    }
    go_waku_knows_us(&go, bridge.multiaddr())?;
    go.await_mesh(bridge.multiaddr())?;

    let sizes: Vec<usize> = (0..PAYLOADS).map(|n| 1 + n * n * LONGEST / (PAYLOADS * PAYLOADS)).collect();
    let relays = [Relay::Js(mplex), Relay::Js(yamux), Relay::Go(go)];
    bridge.await_mesh(relays.len())?;
    exchange(&relays.each_ref(), &content_topic(TOPIC), &sizes, 0x1500_0000)?;
    idle.ask("ping").context("the idle client")?;
    let js = [relays[0].process(), relays[1].process(), idle.process()];
    let left = js.iter().any(|process| process.log().since(0).iter().any(|e| is(e, "disconnected")));
    ensure!(!left, "a connection of js-waku's was closed");
    Ok(format!("{PAYLOADS} messages of each reached both others once; an idle light client stayed"))
}

/// Identify and the muxer are as they should be.
fn knows_us(peer: &JsPeer, web: &str, muxer: &str) -> Result<()> {
    let met = peer.connected(web)?;
    ensure!(text(&met, "muxer") == muxer, "not {muxer}: {met}");
    ensure!(text(&met, "agent").starts_with("causeway"), "our name: {met}");
    let protocols = met["protocols"].as_array().context("no protocols")?;
    for ours in OURS {
        ensure!(protocols.iter().any(|protocol| protocol == ours), "no {ours} among {met}");
    }
    Ok(())
}

/// The same, and what we tell of our network.
fn go_waku_knows_us(go: &WakuPeer, multiaddr: &str) -> Result<()> {
    let id = peer_id(multiaddr);
    let met = go
        .process()
        .wait("identify of our node", 0, MET, |e| (is(e, "identified") && text(e, "peer") == id).then(|| e.clone()))?;
    ensure!(text(&met, "software").starts_with("causeway"), "our name: {met}");
    let protocols = met["protocols"].as_array().context("no protocols")?;
    for ours in OURS {
        ensure!(protocols.iter().any(|protocol| protocol == ours), "no {ours} among {met}");
    }
    let metadata = go.ask(&format!("metadata {multiaddr}"))?;
    let shards = metadata["shards"].as_array().is_some_and(|shards| shards.iter().any(|shard| shard == 0));
    ensure!(metadata["cluster"] == 0 && shards, "what we tell of ourselves: {metadata}");
    Ok(())
}

/// We asked it who it is, and it can ask us.
fn asked_for_its_shards(peer: &JsPeer, web: &str) -> Result<()> {
    let asked = peer.process().wait("our metadata request", 0, MET, |e| is(e, "metadata-asked").then(|| e.clone()))?;
    let answer = peer.ask("metadata")?;
    for told in [&asked, &*answer] {
        let shards = told["shards"].as_array().is_some_and(|shards| shards.iter().any(|shard| shard == 0));
        ensure!(told["cluster"] == 0 && shards, "what {web} tells of itself to {}: {told}", peer.id());
    }
    Ok(())
}
