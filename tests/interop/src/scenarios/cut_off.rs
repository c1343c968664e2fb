//! A bridge whose peers all go: first by a network that carries nothing for a minute and tells nobody, on one side before the other, so that
//! the bridge sends into the silence; then by their own end, while the bridge is killed as well.

use super::{Lab, join};
use crate::causeway::Causeway;
use crate::crossing::{GENTLE, KEY, TO_V2, content_topic, cross, exchange_keys};
use crate::deadline::{now, poll, poll_every};
use crate::link::{Line, Link, State};
use crate::payloads::spread;
use crate::process::is;
use crate::status_peer::StatusPeer;
use crate::waku_peer::{Message, WakuPeer, peer_id};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::time::Duration;
use tokio::runtime::Runtime;

/// For how long the network carries nothing.
const CUT: Duration = Duration::from_secs(60);
/// A peer that says nothing is given up after half a minute.
const MISSED: Duration = Duration::from_secs(60);
/// Payloads each way, each time.
const PAYLOADS: usize = 20;
/// Envelopes that are sent into the silence, and again while it is known that nobody can hear them, and the seconds that they live.
const MEANWHILE: usize = 10;
const TTL: u32 = 300;
/// Status clients sealed large envelopes with this, and the Status fleets took it for all.
const POW: &str = "0.000002";
/// Seeds of the payloads.
const SEED: u64 = 0x2e00_0000;
/// Keys of the peers, which they keep when they come back.
const KEYS: [&str; 2] = [
    "4747474747474747474747474747474747474747474747474747474747474747",
    "4848484848484848484848484848484848484848484848484848484848484848",
];
/// What is late is carried, so that what was sent meanwhile can be counted.
const FLAGS: [&str; 1] = ["--v1-late-policy=publish"];

/// Two peers, each behind a line of its own.
struct Peers {
    v0: StatusPeer,
    v2: WakuPeer,
}

impl Peers {
    fn start(lab: &Lab) -> Result<Self> {
        let v0 = lab.status("cut-status-go", &["-key", KEYS[0]])?;
        let v2 = lab.waku("cut-go-waku", &["-key", KEYS[1]])?;
        exchange_keys(&v0, &v2)?;
        Ok(Self { v0, v2 })
    }

    /// Where they listen.
    fn ports(&self) -> Result<[u16; 2]> {
        let v0 = self.v0.enode().rsplit(':').next().and_then(|rest| rest.split('?').next());
        let v2 = self.v2.multiaddr().split('/').nth(4);
        Ok([v0.context("a port")?.parse()?, v2.context("a port")?.parse()?])
    }

    /// Sends payloads both ways, and judges.
    fn exchange(&self, bridge: &Causeway, seed: u64) -> Result<()> {
        let [to_v2, to_v0] = [seed, seed + 0x1000].map(|seed| spread(PAYLOADS, seed));
        cross(&self.v0, &self.v2, &to_v2, &to_v0, GENTLE).map_err(|e| bridge.explain(e))?;
        Ok(())
    }
}

/// Cut for a minute, then all gone.
pub(super) fn from_all_peers(lab: &Lab) -> Result<String> {
    let runtime = Runtime::new()?;
    let peers = Peers::start(lab)?;
    let line = |port| {
        let line = Line { delay_millis: 0..1, lost_permille: 0, bytes_per_sec: None };
        runtime.block_on(Link::new(line, port, SEED))
    };
    let [v0, v2] = peers.ports()?;
    let links = [line(v0)?, line(v2)?];
    let flags = dialled(&peers, &links)?;
    let start = || lab.bridge("cut-bridge", &flags.iter().map(String::as_str).chain(FLAGS).collect::<Vec<_>>());
    let bridge = start()?;
    join(&bridge, &peers.v0, &peers.v2)?;
    peers.exchange(&bridge, SEED)?;

    let healed = cut(&peers, &links, &bridge)?;
    let (peers, bridge, returned) = vanish(lab, peers, &links, bridge, start)?;
    bridge.stop()?;
    drop(peers);
    Ok(format!(
        "whole again {:.1} s after a minute's silence, {MEANWHILE} envelopes from before it was noticed and {MEANWHILE} of later came once; {:.1} s after all peers had gone and the bridge was killed",
        healed.as_secs_f64(),
        returned.as_secs_f64(),
    ))
}

/// What makes a bridge call the peers by their lines.
fn dialled(peers: &Peers, links: &[Link; 2]) -> Result<[String; 2]> {
    let key = peers.v0.enode().split('@').next().context("a key")?;
    let [v0, v2] = links.each_ref().map(Link::port);
    let id = peer_id(peers.v2.multiaddr());
    Ok([
        format!("--staticnode-v1={key}@127.0.0.1:{v0}?discport=0"),
        format!("--staticnode-v2=/ip4/127.0.0.1/tcp/{v2}/p2p/{id}"),
    ])
}

/// Nothing comes through for a minute. Gives how long it took after that until both sides were there again.
fn cut(peers: &Peers, links: &[Link; 2], bridge: &Causeway) -> Result<Duration> {
    let (begun, heard) = (now(), peers.v2.process().log().len());
    let before = published(bridge)?;
    links[1].set(State::Silent);
    send(peers, SEED + 0x1800)?;
    poll(MISSED, || (published(bridge).ok()? >= before + MEANWHILE as f64).then_some(()))
        .ok_or_else(|| bridge.process().failure("it publishes nothing to a peer that it does not know to be gone"))?;
    links[0].set(State::Silent);
    await_alone(bridge)?;
    send(peers, SEED + 0x2000)?;
    let _ = poll_every(CUT / 60, CUT.saturating_sub(begun.elapsed()), || None::<()>);
    links.iter().for_each(|link| link.set(State::Up));
    let since = now();
    bridge.await_ready()?;
    let healed = since.elapsed();
    let mut came = Vec::new();
    peers.v2.process().wait("what was sent meanwhile", heard, MISSED, |event| {
        let message = Message::arrived(event)?;
        came.extend((message.content_topic == content_topic(TO_V2[0])).then_some(message.payload_sha256));
        (came.len() == 2 * MEANWHILE).then_some(())
    })?;
    let distinct = came.iter().collect::<HashSet<_>>().len();
    ensure!(distinct == 2 * MEANWHILE, "of {} envelopes {distinct} came", 2 * MEANWHILE);
    peers.exchange(bridge, SEED + 0x3000)?;
    Ok(healed)
}

/// Envelopes from the v0 side.
fn send(peers: &Peers, seed: u64) -> Result<()> {
    for payload in spread(MEANWHILE, seed) {
        peers.v0.send(KEY, TO_V2[0], TTL, POW, &payload)?;
    }
    Ok(())
}

/// Messages that the bridge takes to have gone out.
fn published(bridge: &Causeway) -> Result<f64> {
    Ok(bridge.metric("waku_relay_published_total")?.unwrap_or_default())
}

/// Both peers end; the bridge, which has nobody, is killed and starts again; they come back with their keys, at other ports.
fn vanish(
    lab: &Lab,
    peers: Peers,
    links: &[Link; 2],
    bridge: Causeway,
    start: impl Fn() -> Result<Causeway>,
) -> Result<(Peers, Causeway, Duration)> {
    await_settled(&bridge)?;
    drop(peers);
    await_alone(&bridge)?;
    bridge.process().kill()?;
    let bridge = start()?;
    let (status, body) = bridge.get("/readyz")?;
    ensure!(status == 503, "ready without a peer: {body}");
    let peers = Peers::start(lab)?;
    let since = now();
    for (link, port) in links.iter().zip(peers.ports()?) {
        link.lead_to(port);
    }
    join(&bridge, &peers.v0, &peers.v2)?;
    let returned = since.elapsed();
    let old = peers.v2.process().log().since(0).iter().any(|event| is(event, "message"));
    ensure!(!old, "something crossed a second time after the restart");
    peers.exchange(&bridge, SEED + 0x4000)?;
    Ok((peers, bridge, returned))
}

/// Waits until all that has crossed is written down: what is not is done again after a kill, and peers that have begun anew would get it twice.
fn await_settled(bridge: &Causeway) -> Result<()> {
    let settled = poll(MISSED, || (bridge.metric("bridge_journal_waiting").ok()?? < 1.0).then_some(()));
    settled.ok_or_else(|| bridge.process().failure("it does not write down what has crossed"))
}

/// Waits until the bridge has noticed that nobody is there.
fn await_alone(bridge: &Causeway) -> Result<()> {
    let mut last = String::new();
    let alone = poll(MISSED, || {
        last = bridge.get("/readyz").ok()?.1;
        ["v1_peers", "v2_peers"].iter().all(|part| last.contains(part)).then_some(())
    });
    alone.ok_or_else(|| bridge.process().failure(&format!("it misses nobody: {last}")))
}
