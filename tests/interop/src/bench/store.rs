//! Pages of history, ours beside go-waku's, with the same messages in both; one client of our own asks both in turns by 2.0.0-beta4.
//!
//! go-waku's own code fills its store, `causeway import` ours. What go-waku has no words for, version 3, is measured on ours alone. The storm has
//! hundreds of queries under way while single messages are relayed; its clients are in the driver's process and share the processors with the node,
//! as is whoever sends and receives the messages.

use super::{Effort, Figure, LIMIT, median, pushes::ROOM};
use crate::causeway::Causeway;
use crate::deadline::{Deadline, now};
use crate::process::Process;
use crate::scenarios::Lab;
use crate::waku_peer::{PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use waku2::hash::message_hash;
use waku2::service::{AskError, OpenError, Protocol, Target};
use waku2::store::{Query, Selection, ask::Pages, client::Dialect, wire};
use waku2::{Config, Event, Handle, Meta, Multiaddr, PubsubTopic, WakuMessage};

/// Messages of a day.
const DAY: u32 = 100_000;
/// A store ten times as large.
const LARGE: u32 = 1_000_000;
/// Content topics, in turns.
const TOPICS: u32 = 100;
/// Bytes of a payload: a few sentences.
const PAYLOAD: usize = 200;
/// Nanoseconds between two messages.
const STEP: i64 = 1_000_000;
/// Messages on a page of version 3: the most that ours gives.
const PAGE: usize = 100;
/// Of 2.0.0-beta4: the most that go-waku gives.
const PEER_PAGE: usize = 20;
/// How long before now the first was sent: no store has forgotten it.
const AGE: Duration = Duration::from_secs(3_600);
/// How long a store may take to be filled.
const FILL: Duration = Duration::from_secs(900);
/// Clients of the storm, and the queries that each has under way.
const CLIENTS: usize = 50;
const AT_ONCE: usize = 10;
/// How long who was refused waits.
const REFUSED: Duration = Duration::from_millis(100);
/// Between two messages that are relayed.
const PAUSE: Duration = Duration::from_millis(20);
/// Until peers know each other, and until a message comes.
const MET: Duration = Duration::from_secs(60);

/// Pages of either, and the storm.
pub(super) fn beside_go_waku(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let runtime = Runtime::new().context("a runtime for the client")?;
    let first_ns = i64::try_from(UNIX_EPOCH.elapsed()?.saturating_sub(AGE).as_nanos())?;
    let peer = go_waku(lab, first_ns)?;
    let ours = filled(lab, "store", DAY, first_ns)?;
    let mut figures = runtime.block_on(compared(effort, &ours, &peer))?;
    drop(peer);
    figures.extend(runtime.block_on(alone(effort, &ours, "100,000 kept"))?);
    figures.extend(runtime.block_on(storm(effort, &ours))?);
    ours.stop()?;
    if effort.large_archive {
        let ours = filled(lab, "store-large", LARGE, first_ns)?;
        figures.extend(runtime.block_on(alone(effort, &ours, "1,000,000 kept"))?);
        ours.stop()?;
    }
    Ok(figures)
}

/// go-waku with its store full.
fn go_waku(lab: &Lab, first_ns: i64) -> Result<WakuPeer> {
    let path = lab.data_dir("go-waku-store.sqlite3");
    let path = path.to_str().context("a path in Unicode")?;
    let peer = lab.waku("go-waku", &["-trace=false", "-quiet", "-store", path])?;
    let fill = format!("store-fill {PUBSUB} {DAY} {TOPICS} {PAYLOAD} {first_ns} {STEP} timeout={}", FILL.as_secs());
    peer.process().ask(&fill, "reply", FILL)?;
    Ok(peer)
}

/// A node of ours that keeps the same.
fn filled(lab: &Lab, name: &str, count: u32, first_ns: i64) -> Result<Causeway> {
    let (lines, data_dir) = (lab.data_dir(&format!("{name}.jsonl")), lab.data_dir(name));
    write_lines(&lines, count, first_ns)?;
    std::fs::create_dir_all(&data_dir)?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("a path in Unicode");
    let import = ["import".to_owned(), path(&lines)?, "--data-dir".to_owned(), path(&data_dir)?];
    let import = Process::spawn("import", &lab.programs().causeway, &import)?;
    let status = import.exit(FILL)?;
    let all = format!("{count} new, 0 known, 0 refused");
    let printed = import.log().since(0);
    let whole = status.success() && printed.iter().any(|line| line.as_str().is_some_and(|line| line.contains(&all)));
    ensure!(whole, import.failure(&format!("not all became ours ({status})")));
    std::fs::remove_file(&lines)?;
    let flags = ["--log-level=warn", "--store", "--legacy-store", "--bridge-direction=v1-to-v2", ROOM];
    lab.bridge(name, &flags)
}

/// What `import` reads.
fn write_lines(path: &Path, count: u32, first_ns: i64) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let topic: PubsubTopic = PUBSUB.parse()?;
    for n in 0..count {
        let message = message(n, first_ns + i64::from(n) * STEP, false);
        let line = json!({
            "sent": message.timestamp.unwrap_or_default().to_string(),
            "payload": BASE64.encode(&message.payload),
            "message": {
                "hash": format!("0x{}", hex::encode(message_hash(&topic, &message).as_bytes())),
                "pubsubTopic": PUBSUB,
                "contentTopic": message.content_topic.as_str(),
                "version": 0,
            },
            "first": "v2",
            "storedAt": first_ns / 1_000_000_000,
        });
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

/// As go-waku's `store-fill` makes it.
fn message(n: u32, sent_ns: i64, ephemeral: bool) -> WakuMessage {
    let mut payload = vec![0; PAYLOAD];
    payload[..8].copy_from_slice(&u64::from(n).to_be_bytes());
    WakuMessage {
        payload: payload.into(),
        content_topic: content_topic(n % TOPICS).as_str().into(),
        version: 0,
        timestamp: Some(sent_ns),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral,
    }
}

fn content_topic(n: u32) -> String {
    format!("/bench/1/{n}/proto")
}

/// A query for full pages, of one content topic or of all; beta4 has to be asked for a pubsub topic.
fn query(topic: Option<u32>, forward: bool, limit: usize) -> Result<Query> {
    Ok(Query {
        selection: Selection::Content {
            pubsub_topic: Some(PUBSUB.parse()?),
            content_topics: topic.map(content_topic).into_iter().collect(),
            from: None,
            until: None,
        },
        cursor: None,
        forward,
        limit,
        include_data: true,
    })
}

/// A node that asks, and relays where it is given a peer.
async fn client(n: u8, peer: Option<&Multiaddr>) -> Result<(Handle, mpsc::Receiver<Event>)> {
    let (events, told) = mpsc::channel(1_024);
    let config = Config::new([n.saturating_add(1); 32]);
    let config = match peer {
        Some(peer) => Config { topics: vec![PUBSUB.parse()?], static_peers: vec![peer.clone()], ..config },
        None => config,
    };
    Ok((waku2::run::start(config, events).await?.0, told))
}

/// One who asks for pages.
struct Asker {
    node: Handle,
    target: Target,
    rng: StdRng,
}

impl Asker {
    async fn of(addr: &str) -> Result<Self> {
        let target = Target::try_from(addr.parse::<Multiaddr>()?)?;
        Ok(Self { node: client(0x30, None).await?.0, target, rng: StdRng::seed_from_u64(1) })
    }

    /// Milliseconds of each of so many full pages, topic after topic where these are asked for.
    async fn pages(&mut self, dialect: Dialect, by_topic: bool, forward: bool, count: usize) -> Result<Vec<f64>> {
        let mut took = Vec::with_capacity(count);
        let length = if dialect == Dialect::Legacy { PEER_PAGE } else { PAGE };
        for topic in (0..TOPICS).cycle() {
            let query = query(by_topic.then_some(topic), forward, length)?;
            let mut pages = Pages::new(self.node.clone(), self.target.clone(), &[dialect], &query)?;
            loop {
                if took.len() == count {
                    return Ok(took);
                }
                let began = now();
                let Some(answer) = pages.next(&mut self.rng).await? else { break };
                took.push(began.elapsed().as_secs_f64() * 1_000.0);
                ensure!(
                    answer.entries.len() == length && answer.discarded == 0,
                    "no full page: {}",
                    answer.entries.len()
                );
            }
        }
        Ok(took)
    }
}

/// The middle, and what 99 of 100 stay within.
fn shares(mut figures: Vec<f64>) -> [f64; 2] {
    figures.sort_by(f64::total_cmp);
    let p99 = figures.get(figures.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    [median(figures), p99]
}

fn figures(name: &str, ours: [f64; 2], peer: Option<[f64; 2]>, runs: u32) -> impl Iterator<Item = Figure> {
    ["median", "99 of 100"].into_iter().enumerate().map(move |(n, share)| Figure {
        name: format!("{name}, {share}"),
        ours: ours[n],
        peer: peer.map(|peer| peer[n]),
        unit: "ms, less is better",
        runs,
    })
}

/// Both by 2.0.0-beta4.
async fn compared(effort: &Effort, ours: &Causeway, peer: &WakuPeer) -> Result<Vec<Figure>> {
    let (mut here, mut there) = (Asker::of(ours.multiaddr()).await?, Asker::of(peer.multiaddr()).await?);
    let (count, mut all) = (effort.requests as usize, Vec::new());
    for (what, by_topic) in [("by content topic", true), ("of all topics", false)] {
        let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
        // The first pages, of either, find nothing in memory.
        here.pages(Dialect::Legacy, by_topic, true, 5).await?;
        there.pages(Dialect::Legacy, by_topic, true, 5).await?;
        for _ in 0..effort.runs {
            of_ours.extend(here.pages(Dialect::Legacy, by_topic, true, count).await?);
            of_peer.extend(there.pages(Dialect::Legacy, by_topic, true, count).await?);
        }
        let name = format!("100,000 kept: page of {PEER_PAGE} by beta4 {what}");
        all.extend(figures(&name, shares(of_ours), Some(shares(of_peer)), effort.runs));
    }
    Ok(all)
}

/// Ours by version 3, both ways.
async fn alone(effort: &Effort, ours: &Causeway, what: &str) -> Result<Vec<Figure>> {
    let (mut here, mut all) = (Asker::of(ours.multiaddr()).await?, Vec::new());
    for (whose, by_topic) in [("by content topic", true), ("of all topics", false)] {
        for (way, forward) in [("forward", true), ("backward", false)] {
            here.pages(Dialect::V3, by_topic, forward, 5).await?;
            let took = here.pages(Dialect::V3, by_topic, forward, (effort.requests * effort.runs) as usize).await?;
            all.extend(figures(
                &format!("{what}: page of {PAGE} by version 3 {whose}, {way}"),
                shares(took),
                None,
                effort.runs,
            ));
        }
    }
    Ok(all)
}

/// Messages through the node, alone and while [`CLIENTS`] times [`AT_ONCE`] queries are under way.
async fn storm(effort: &Effort, ours: &Causeway) -> Result<Vec<Figure>> {
    let addr: Multiaddr = ours.multiaddr().parse()?;
    let mut hop = Hop::start(&addr).await?;
    let idle = hop.times(effort.storm_hops).await?;
    let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Answers::default()));
    let mut askers = Vec::new();
    for n in 0..CLIENTS {
        let (node, _) = client(0x40 + u8::try_from(n)?, None).await?;
        let target = Target::try_from(addr.clone())?;
        for _ in 0..AT_ONCE {
            let (node, target) = (node.clone(), target.clone());
            let (over, counts) = (Arc::clone(&over), Arc::clone(&counts));
            askers.push(tokio::spawn(async move { counts.gather(&node, &target, &over).await }));
        }
    }
    let began = now();
    let raging = hop.times(effort.storm_hops).await?;
    let seconds = began.elapsed().as_secs_f64();
    over.store(true, Relaxed);
    for asker in askers {
        tokio::time::timeout(MET, asker).await.context("a query without an answer")???;
    }
    let [pages, refusals, others] = [&counts.pages, &counts.refusals, &counts.others].map(|count| count.load(Relaxed));
    ensure!(pages > 0 && others == 0, "{pages} pages, {refusals} refusals, {others} without either");
    let rate = |name: &str, count: u64| Figure {
        name: format!("500 queries at once: {name}"),
        ours: count as f64 / seconds,
        peer: None,
        unit: "per second",
        runs: 1,
    };
    let mut all: Vec<Figure> =
        figures("500 queries at once: hop of a message without", shares(idle), None, 1).collect();
    all.extend(figures("500 queries at once: the same within", shares(raging), None, 1));
    all.extend([rate("pages", pages), rate("refusals, 429", refusals)]);
    Ok(all)
}

/// What queries were answered with.
#[derive(Debug, Default)]
struct Answers {
    pages: AtomicU64,
    refusals: AtomicU64,
    others: AtomicU64,
}

impl Answers {
    /// Asks again and again, after a while where it was refused.
    async fn gather(&self, node: &Handle, target: &Target, over: &AtomicBool) -> Result<()> {
        let request = wire::Request::encode("storm", &query(None, false, PAGE)?);
        while !over.load(Relaxed) {
            let counter = match node.ask(target.clone(), Protocol::StoreV3, request.clone()).await {
                Ok(answer) => match wire::Response::decode(answer)?.status {
                    wire::Status::Ok => &self.pages,
                    wire::Status::TooManyRequests => &self.refusals,
                    _ => &self.others,
                },
                // The storm has not even begun for this client.
                Err(AskError::Open(OpenError::Dial(_) | OpenError::Busy)) => continue,
                Err(_) => &self.others,
            };
            counter.fetch_add(1, Relaxed);
            if std::ptr::eq(counter, &self.refusals) {
                tokio::time::sleep(REFUSED).await;
            }
        }
        Ok(())
    }
}

/// A node that sends through ours, and one that receives.
struct Hop {
    sender: Handle,
    receiver: mpsc::Receiver<Event>,
    _node: Handle,
    sent: u32,
}

impl Hop {
    async fn start(addr: &Multiaddr) -> Result<Self> {
        let (sender, mut told) = client(0x31, Some(addr)).await?;
        let (node, mut receiver) = client(0x32, Some(addr)).await?;
        for events in [&mut told, &mut receiver] {
            let met = async {
                while let Some(event) = events.recv().await {
                    if matches!(event, Event::RelayPeers { count: 1.., .. }) {
                        break;
                    }
                }
            };
            tokio::time::timeout(MET, met).await.context("the node is not met")?;
        }
        let mut hop = Self { sender, receiver, _node: node, sent: 0 };
        // Until the receiver is in its mesh, messages may pass it by.
        let deadline = Deadline::after(LIMIT);
        while hop.one(Duration::from_secs(1)).await?.is_none() {
            ensure!(deadline.left().is_some(), "nothing is relayed");
        }
        Ok(hop)
    }

    /// Milliseconds of each of so many messages.
    async fn times(&mut self, count: u32) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(self.one(MET).await?.context("a message is lost")?);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(took)
    }

    /// Milliseconds of a message; `None` when it does not come.
    async fn one(&mut self, limit: Duration) -> Result<Option<f64>> {
        self.sent += 1;
        let sent_ns = i64::try_from(UNIX_EPOCH.elapsed()?.as_nanos())?;
        let message = message(self.sent, sent_ns, true);
        let began = now();
        self.sender.publish(PUBSUB.parse()?, message.encode()).await?;
        let came = async {
            while let Some(event) = self.receiver.recv().await {
                if matches!(&event, Event::Message(came) if came.message == message) {
                    return Some(began.elapsed().as_secs_f64() * 1_000.0);
                }
            }
            None
        };
        Ok(tokio::time::timeout(limit, came).await.unwrap_or_default())
    }
}
