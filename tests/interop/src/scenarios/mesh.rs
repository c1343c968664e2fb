//! Who belongs to the mesh of a shard, and who does not: peers that come late, and peers of another network.

use super::Lab;
use crate::causeway::Causeway;
use crate::crossing::content_topic;
use crate::exchange::{Relay, exchange};
use crate::js_peer::JsPeer;
use crate::process::{Process, is, text};
use crate::waku_peer::{PUBSUB, peer_id};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Until a peer of another cluster is left.
const LEFT: Duration = Duration::from_secs(30);
/// Sizes of what each publishes, in bytes.
const SIZES: [usize; 4] = [1, 200, 5_000, 40_000];
/// Nothing else is published on it.
const TOPIC: &str = "c5000003";
/// Another network than the default one.
const OTHER_CLUSTER: &str = "17";

/// A running mesh, peers that join it one after the other, and one that leaves.
pub(super) fn late_joiners(lab: &Lab) -> Result<String> {
    let node = lab.bridge("late-joiners", &["--bridge-direction=v1-to-v2"])?;
    let early = [go_at(lab, &node, "go-early")?, js_at(lab, &node, "js-early", "yamux")?];
    node.await_mesh(early.len())?;
    exchange(&early.each_ref(), &content_topic(TOPIC), &SIZES, 0x1600_0000)?;

    // Connected for long, and on the shard only now.
    let waiting = lab.waku("go-waiting", &["-shards", "", "-dial", node.multiaddr()])?;
    let id = peer_id(node.multiaddr());
    waiting.process().wait("identify", 0, LEFT, |e| (is(e, "identified") && text(e, "peer") == id).then_some(()))?;
    waiting.ask(&format!("sub {PUBSUB}"))?;
    waiting.await_mesh(node.multiaddr())?;
    let late = [Relay::Go(waiting), js_at(lab, &node, "js-late", "mplex")?, go_at(lab, &node, "go-late")?];
    let all: Vec<&Relay> = early.iter().chain(&late).collect();
    node.await_mesh(all.len())?;
    exchange(&all, &content_topic(TOPIC), &SIZES, 0x1700_0000)?;
    let [first, second] = early;
    drop(first);
    let all: Vec<&Relay> = std::iter::once(&second).chain(&late).collect();
    exchange(&all, &content_topic(TOPIC), &SIZES, 0x1800_0000)?;
    node.stop()?;
    Ok(format!("{} joined two that were there, one left: each message of each reached all others once", late.len()))
}

/// Peers of another cluster that dial us, and peers of ours.
pub(super) fn other_cluster(lab: &Lab) -> Result<String> {
    let node = lab.bridge("other-cluster", &["--bridge-direction=v1-to-v2"])?;
    let friends = [go_at(lab, &node, "go-friend")?, js_at(lab, &node, "js-friend", "yamux")?];
    let web = node.websocket()?;
    let dial = |mode| ["--cluster", OTHER_CLUSTER, "--mode", mode, "--dial", &web];
    // go-waku and the SDK would part from us themselves; the relay of js-libp2p does not care who we are.
    let go = lab.waku("go-stranger", &["-cluster", OTHER_CLUSTER, "-dial", node.multiaddr()])?;
    let (relay, light) = (lab.js("js-stranger", &dial("relay"))?, lab.js("js-light-stranger", &dial("light"))?);
    relay.ask("relay-sub 0")?;
    for stranger in [go.process(), relay.process(), light.process()] {
        parted(stranger, &node)?;
    }
    // It does not get in by coming again either.
    let again = relay.process().log().len();
    dial_again(&relay, &web);
    relay.process().wait("the second parting", again, LEFT, |e| is(e, "disconnected").then_some(()))?;
    node.await_mesh(friends.len())?;
    exchange(&friends.each_ref(), &content_topic(TOPIC), &SIZES, 0x1900_0000)?;
    let stranger = Relay::Js(relay);
    ensure!(stranger.heard(0).is_empty(), "a peer of another cluster heard messages");
    node.stop()?;
    Ok("go-waku, a relay of js-libp2p and js-waku's light client were left; those of our cluster noticed nothing"
        .to_owned())
}

fn go_at(lab: &Lab, node: &Causeway, name: &str) -> Result<Relay> {
    let peer = lab.waku(name, &["-dial", node.multiaddr()])?;
    peer.await_mesh(node.multiaddr())?;
    Ok(Relay::Go(peer))
}

fn js_at(lab: &Lab, node: &Causeway, name: &str, muxer: &str) -> Result<Relay> {
    let web = node.websocket()?;
    let peer = lab.js(name, &["--mode", "relay", "--muxer", muxer, "--dial", &web])?;
    peer.ask("relay-sub 0")?;
    peer.await_mesh(&web)?;
    Ok(Relay::Js(peer))
}

fn parted(stranger: &Process, node: &Causeway) -> Result<()> {
    let id = peer_id(node.multiaddr());
    let left = |e: &serde_json::Value| (is(e, "disconnected") && text(e, "peer") == id).then_some(());
    stranger.wait("end of the link to another cluster", 0, LEFT, left)
}

/// Whether the call is answered or cut at once is a matter of who is faster.
fn dial_again(peer: &JsPeer, web: &str) {
    let _ = peer.ask(&format!("dial {web}"));
}
