//! Pages of history, ours beside go-waku's, with the same messages in both; one client of our own asks both in turns by 2.0.0-beta4.
//!
//! go-waku's own code fills its store, `causeway import` ours. What go-waku has no words for, version 3, is measured on ours alone.

use super::{Effort, Figure, median, pushes::ROOM, queries};
use crate::causeway::Causeway;
use crate::deadline::now;
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
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use waku2::hash::message_hash;
use waku2::service::{Protocol, Target};
use waku2::store::{Cursor, Query, Selection, ask::Pages, client::Dialect, legacy};
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
pub(super) const PAGE: usize = 100;
/// Of 2.0.0-beta4: the most that go-waku gives.
const PEER_PAGE: usize = 20;
/// How long before now the first was sent: no store has forgotten it.
const AGE: Duration = Duration::from_secs(3_600);
/// How long a store may take to be filled.
const FILL: Duration = Duration::from_secs(900);

/// Pages of either, and the storm.
pub(super) fn beside_go_waku(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let runtime = Runtime::new().context("a runtime for the client")?;
    let first_ns = i64::try_from(UNIX_EPOCH.elapsed()?.saturating_sub(AGE).as_nanos())?;
    let peer = go_waku(lab, first_ns)?;
    let ours = filled(lab, "store", DAY, first_ns)?;
    let mut figures = runtime.block_on(compared(effort, &ours, &peer, first_ns))?;
    drop(peer);
    figures.extend(runtime.block_on(alone(effort, &ours, "100,000 kept"))?);
    figures.extend(runtime.block_on(queries::storm(effort, &ours))?);
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
pub(super) fn message(n: u32, sent_ns: i64, ephemeral: bool) -> WakuMessage {
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

/// A query for full pages, of one content topic or of all.
pub(super) fn query(topic: Option<u32>, forward: bool, limit: usize) -> Result<Query> {
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
pub(super) async fn client(n: u8, peer: Option<&Multiaddr>) -> Result<(Handle, mpsc::Receiver<Event>)> {
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

    /// Pages of go-waku's length by beta4.
    async fn legacy(&mut self, of: Of, count: usize) -> Result<Vec<f64>> {
        match of {
            Of::Topic | Of::Pubsub => self.pages(Dialect::Legacy, of == Of::Topic, true, count).await,
            Of::Since(from) => self.since(from, count).await,
        }
    }

    /// Whatever is kept since a time, page after page. By beta4 our client does not ask so, for no answer says which pubsub topic a message is of.
    async fn since(&mut self, from: i64, count: usize) -> Result<Vec<f64>> {
        let mut took = Vec::with_capacity(count);
        let mut query = query(None, true, PEER_PAGE)?;
        query.selection =
            Selection::Content { pubsub_topic: None, content_topics: Vec::new(), from: Some(from), until: None };
        while took.len() < count {
            let request = legacy::Request::encode("bench", &query).context("a query that beta4 has no words for")?;
            let began = now();
            let answer = self.node.ask(self.target.clone(), Protocol::StoreLegacy, request).await?;
            let answer = legacy::Response::decode(answer)?;
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
            ensure!(answer.messages.len() == PEER_PAGE, "no full page: {}", answer.messages.len());
            query.cursor = answer.cursor.map(Cursor::Index);
        }
        Ok(took)
    }
}

/// What a page is asked for by beta4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Of one content topic.
    Topic,
    /// Of all content topics of a pubsub topic.
    Pubsub,
    /// Of all that is kept since a time, in nanoseconds.
    Since(i64),
}

/// The middle, and what 99 of 100 stay within.
pub(super) fn shares(mut figures: Vec<f64>) -> [f64; 2] {
    figures.sort_by(f64::total_cmp);
    let p99 = figures.get(figures.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    [median(figures), p99]
}

pub(super) fn figures(name: &str, ours: [f64; 2], peer: Option<[f64; 2]>, runs: u32) -> impl Iterator<Item = Figure> {
    ["median", "99 of 100"].into_iter().enumerate().map(move |(n, share)| Figure {
        name: format!("{name}, {share}"),
        ours: ours[n],
        peer: peer.map(|peer| peer[n]),
        unit: "ms, less is better",
        runs,
    })
}

/// Both by 2.0.0-beta4.
async fn compared(effort: &Effort, ours: &Causeway, peer: &WakuPeer, first_ns: i64) -> Result<Vec<Figure>> {
    let (mut here, mut there) = (Asker::of(ours.multiaddr()).await?, Asker::of(peer.multiaddr()).await?);
    let (count, mut all) = (effort.requests as usize, Vec::new());
    let latest = Of::Since(first_ns + i64::from(DAY / 2) * STEP);
    let kinds = [("by content topic", Of::Topic), ("of a pubsub topic", Of::Pubsub), ("of the newer half", latest)];
    for (what, of) in kinds {
        let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
        // The first pages, of either, find nothing in memory.
        here.legacy(of, 5).await?;
        there.legacy(of, 5).await?;
        for _ in 0..effort.runs {
            of_ours.extend(here.legacy(of, count).await?);
            of_peer.extend(there.legacy(of, count).await?);
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
