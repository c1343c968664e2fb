//! Two bridges between the same networks, one of which is killed every ten seconds and started again on what it had written down.

use super::Lab;
use crate::causeway::Causeway;
use crate::crossing::{KEY, TO_V0, TO_V2, content_topic, settle};
use crate::deadline::{Deadline, now, poll_every};
use crate::js_peer::JsPeer;
use crate::payloads::spread_to;
use crate::process::{Process, is, text};
use crate::status_peer::StatusPeer;
use crate::tally::{Account, judge};
use crate::waku_peer::{WakuPeer, peer_id};
use anyhow::{Result, anyhow, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// The largest payload, in bytes: sealed and framed it still fits the 150 KiB of the Waku Network.
const LARGEST: usize = 140 * 1024;
/// Seeds of the payloads, one for each sender.
const SEEDS: [u64; 4] = [0x2a00_0000, 0x2b00_0000, 0x2c00_0000, 0x2d00_0000];
/// Between two kills.
const KILL_EVERY: Duration = Duration::from_secs(10);
/// Between two payloads of one sender, of which there are two on each side: a thousand each way take 110 s.
const PACE: Duration = Duration::from_millis(220);
/// Seconds that envelopes live, as Status clients and the bridge's default profile have it: what neither bridge takes in that time is lost.
const TTL: u32 = 15;
/// Status clients sealed large envelopes with this, and the Status fleets took it for all.
const POW: &str = "0.000002";
/// From the last payload to its arrival everywhere.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How often it is looked whether the senders are done.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether all has arrived.
const JUDGE: Duration = Duration::from_millis(500);
/// What each peer is told for a payload.
const SENDING: [&str; 3] = ["send", "pub-sealed", "relay-pub"];
/// Names of the bridges, and of their data directories.
const BRIDGES: [&str; 2] = ["two-bridges-1", "two-bridges-2"];

/// Four peers of which no two are linked, all at both bridges.
struct Peers {
    status: [StatusPeer; 2],
    go: WakuPeer,
    js: JsPeer,
}

/// Half of what goes each way is of the first peer of its side, half of the other.
pub(super) fn killed_in_turns(lab: &Lab) -> Result<String> {
    let peers = Peers::start(lab)?;
    let flags = peers.flags()?;
    let start = |name: &str| lab.bridge(name, &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut bridges = [start(BRIDGES[0])?, start(BRIDGES[1])?];
    ensure!(peer_id(bridges[0].multiaddr()) != peer_id(bridges[1].multiaddr()), "two bridges with one key");
    bridges.iter().try_for_each(|bridge| peers.await_bridge(bridge))?;

    let each = lab.messages.div_ceil(2);
    let payloads = SEEDS.map(|seed| spread_to(LARGEST, each, seed));
    let for_js = peers.sealed(&payloads[3])?;
    let done = AtomicBool::new(false);
    let restarts = thread::scope(|scope| {
        let feed = scope.spawn(|| {
            let fed = peers.feed(&payloads, &for_js);
            done.store(true, Relaxed);
            fed
        });
        let restarts = kill_in_turns(&mut bridges, &done, start);
        feed.join().map_err(|_| anyhow!("the feeder panicked"))??;
        restarts
    })?;
    // What is missing then is told of by the last verdict.
    let _ = poll_every(JUDGE, ARRIVAL, || judge(&peers.accounts(), 2 * each).ok());
    settle(&peers.processes())?;
    let seen = judge(&peers.accounts(), 2 * each).map_err(|e| bridges[1].explain(bridges[0].explain(e)))?;
    for bridge in &bridges {
        bridge.await_ready()?;
        bridge.stop()?;
    }
    let slowest = restarts.iter().max().copied().unwrap_or_default();
    let delay = |share: f64| seen.delays_ms[((seen.delays_ms.len() - 1) as f64 * share) as usize];
    Ok(format!(
        "{} kills, up again in {} ms at most; each of 4 peers was given {} of the other side and {} of its own once, under one hash ({} twice, brought by both bridges at once); {}/{}/{} ms (p50/p95/max)",
        restarts.len(),
        slowest.as_millis(),
        seen.across,
        seen.within,
        seen.at_once,
        delay(0.5),
        delay(0.95),
        delay(1.0),
    ))
}

/// Kills one bridge after the other until all is sent: how long each took to say where it is again.
fn kill_in_turns(
    bridges: &mut [Causeway; 2],
    done: &AtomicBool,
    start: impl Fn(&str) -> Result<Causeway>,
) -> Result<Vec<Duration>> {
    let mut restarts = Vec::new();
    loop {
        if poll_every(LOOK, KILL_EVERY, || done.load(Relaxed).then_some(())).is_some() {
            break;
        }
        let turn = restarts.len() % bridges.len();
        bridges[turn].process().kill()?;
        let since = now();
        bridges[turn] = start(BRIDGES[turn])?;
        restarts.push(since.elapsed());
    }
    ensure!(!restarts.is_empty(), "all was sent before the first kill");
    Ok(restarts)
}

impl Peers {
    fn start(lab: &Lab) -> Result<Self> {
        let status = [lab.status("two-status-go-a", &[])?, lab.status("two-status-go-b", &[])?];
        let listen = ["--mode", "relay", "--listen", "/ip4/127.0.0.1/tcp/0/ws"];
        let (go, js) = (lab.waku("two-go-waku", &[])?, lab.js("two-js-waku", &listen)?);
        js.ask("relay-sub 0")?;
        go.open_with(KEY)?;
        let all: Vec<&str> = TO_V2.into_iter().chain(TO_V0).collect();
        status.iter().try_for_each(|peer| peer.subscribe(KEY, &all))?;
        Ok(Self { status, go, js })
    }

    /// A bridge dials them all: who is killed and comes back at other ports is there at once.
    fn flags(&self) -> Result<Vec<String>> {
        let v0 = self.status.iter().map(|peer| format!("--staticnode-v1={}", peer.enode()));
        let v2 = [self.go.multiaddr().to_owned(), self.js.listens()?];
        Ok(v0.chain(v2.map(|address| format!("--staticnode-v2={address}"))).collect())
    }

    fn await_bridge(&self, bridge: &Causeway) -> Result<()> {
        self.status.iter().try_for_each(|peer| peer.await_session(bridge.enode()))?;
        self.go.await_mesh(bridge.multiaddr())?;
        self.js.await_mesh(bridge.multiaddr())?;
        bridge.await_mesh(2)?;
        bridge.await_ready()
    }

    fn processes(&self) -> [&Process; 4] {
        [self.status[0].process(), self.status[1].process(), self.go.process(), self.js.process()]
    }

    fn accounts(&self) -> [Account; 4] {
        let [a, b] = &self.status;
        [Account::of_status(a), Account::of_status(b), Account::of_waku(&self.go), Account::of_js(&self.js)]
    }

    /// js-waku has nothing that seals: status-go does it, and sends nothing.
    fn sealed(&self, payloads: &[Vec<u8>]) -> Result<Vec<String>> {
        let sealed = payloads.iter().map(|payload| {
            let line = format!("make {KEY} {} {TTL} {POW} {}", TO_V0[0], hex::encode(payload));
            Ok(text(&*self.status[0].ask(&line, "made")?, "data").to_owned())
        });
        sealed.collect()
    }

    /// Each sends its payloads at a steady pace.
    fn feed(&self, payloads: &[Vec<Vec<u8>>; 4], for_js: &[String]) -> Result<()> {
        let mut next = Deadline::after(PACE);
        for n in 0..for_js.len() {
            let (to_v2, to_v0) = (TO_V2[n % TO_V2.len()], content_topic(TO_V0[n % TO_V0.len()]));
            for (peer, payloads) in self.status.iter().zip(payloads) {
                peer.send(KEY, to_v2, TTL, POW, &payloads[n])?;
            }
            self.go.publish_sealed(KEY, &to_v0, &payloads[2][n])?;
            self.js.process().line(&format!("relay-pub {to_v0} {} version=1", for_js[n]))?;
            while let Some(left) = next.left() {
                thread::park_timeout(left);
            }
            next = Deadline::after(PACE);
        }
        for process in self.processes() {
            let mut said = process.log().since(0).into_iter();
            let refusal = said.find(|event| is(event, "error") && SENDING.contains(&text(event, "cmd")));
            ensure!(refusal.is_none(), "{}", process.failure(&format!("it refused: {refusal:?}")));
        }
        Ok(())
    }
}
