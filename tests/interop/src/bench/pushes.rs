//! What a push of filter costs the node: one feeder, a hundred subscribers of our own in the driver's process.

use super::{Effort, Figure, median};
use crate::cpu;
use crate::crossing::content_topic;
use crate::deadline::{Deadline, now};
use crate::scenarios::Lab;
use crate::waku_peer::PUBSUB;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use waku2::filter::{self, Ask};
use waku2::service::{Services, Target, choice::Nodes};
use waku2::{Config, Event, Handle, Meta, Multiaddr, WakuMessage};

/// Who gets each message.
const SUBSCRIBERS: usize = 100;
/// Of the relay's messages of other figures, one for so many: each is pushed a hundred times.
const SHARE: u32 = 20;
/// Messages that not all have.
const WINDOW: u64 = 16;
/// Bytes of a payload.
const PAYLOAD: usize = 1_024;
/// Room for the subscribers among those that may relay, which they can: 60 in 100 of the two thirds of connections that peers may open.
pub(super) const ROOM: &str = "--max-connections=400";
/// How often it is looked whether the window has moved.
const LOOK: Duration = Duration::from_millis(1);
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// Until the peers know each other.
const MET: Duration = Duration::from_secs(60);

/// As fast as the subscribers take them, which share the processors with the node.
pub(super) fn to_subscribers(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let node = lab.bridge("bench", &["--log-level=warn", "--bridge-direction=v1-to-v2", "--filter", ROOM])?;
    let runtime = Runtime::new().context("a runtime for the subscribers")?;
    let scene = runtime.block_on(Scene::start(&node.multiaddr().parse::<Multiaddr>()?))?;
    let messages = u64::from(effort.messages / SHARE);
    let (mut by_wall, mut by_cpu) = (Vec::new(), Vec::new());
    for run in 0..u64::from(effort.runs) {
        let (start, before) = (now(), cpu::seconds(node.process().pid())?);
        runtime.block_on(scene.run(run, messages))?;
        let pushes = (messages * SUBSCRIBERS as u64) as f64;
        by_wall.push(pushes / start.elapsed().as_secs_f64());
        by_cpu.push(pushes / (cpu::seconds(node.process().pid())? - before));
    }
    node.stop()?;
    let figure = |name: &str, figures, unit| Figure {
        name: name.to_owned(),
        ours: median(figures),
        peer: None,
        unit,
        runs: effort.runs,
    };
    Ok(vec![
        figure("filter, 1 KiB to 100 subscribers", by_cpu, "pushes per CPU-second"),
        figure("filter, 1 KiB to 100 subscribers, as fast as they take them", by_wall, "pushes per second"),
    ])
}

struct Scene {
    feeder: Handle,
    subscribers: Vec<Handle>,
}

impl Scene {
    async fn start(addr: &Multiaddr) -> Result<Self> {
        let (events, mut told) = mpsc::channel(64);
        let topics = vec![PUBSUB.parse()?];
        let feeder = Config { topics, static_peers: vec![addr.clone()], ..Config::new([0x21; 32]) };
        let (feeder, _task) = waku2::run::start(feeder, events).await?;
        let met = async {
            while let Some(event) = told.recv().await {
                if matches!(event, Event::RelayPeers { count: 1.., .. }) {
                    break;
                }
            }
        };
        tokio::time::timeout(MET, met).await.context("the feeder has no peer")?;
        let mut subscribers = Vec::new();
        for n in 0..SUBSCRIBERS {
            subscribers.push(subscriber(addr, n).await?);
        }
        Ok(Self { feeder, subscribers })
    }

    /// Publishes, and waits until everybody has everything.
    async fn run(&self, run: u64, messages: u64) -> Result<()> {
        let limit = Deadline::after(LIMIT);
        let before = self.taken();
        let owed = |sent: u64| before + sent * SUBSCRIBERS as u64;
        for n in 0..messages {
            while self.taken() + WINDOW * (SUBSCRIBERS as u64) < owed(n) {
                ensure!(limit.left().is_some(), "{} pushes came of {}", self.taken() - before, n * SUBSCRIBERS as u64);
                tokio::time::sleep(LOOK).await;
            }
            self.feeder.publish(PUBSUB.parse()?, message(run, n).encode()).await?;
        }
        while self.taken() < owed(messages) {
            ensure!(limit.left().is_some(), "{} pushes are lost", owed(messages) - self.taken());
            tokio::time::sleep(LOOK).await;
        }
        ensure!(self.taken() == owed(messages), "more came than was sent");
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.subscribers.iter().map(|one| one.counters().filter.taken.load(Relaxed)).sum()
    }
}

async fn subscriber(addr: &Multiaddr, n: usize) -> Result<Handle> {
    let nodes = Nodes { filter: vec![Target::try_from(addr.clone())?], ..Nodes::default() };
    let filter = Some(filter::Config { serve: None, ask: Ask::Current });
    let services = Services { filter, nodes, ..Services::default() };
    let mut key = [0x22; 32];
    key[24..].copy_from_slice(&(n as u64).to_be_bytes());
    let (events, _) = mpsc::channel(1);
    let (node, _task) = waku2::run::start(Config { services, ..Config::new(key) }, events).await?;
    let asks = node.filter().context("a client of filter")?;
    asks.subscribe(&PUBSUB.parse()?, &[content_topic("c500000b")]).await?;
    Ok(node)
}

fn message(run: u64, n: u64) -> WakuMessage {
    let mut payload = vec![0; PAYLOAD];
    payload[..8].copy_from_slice(&run.to_be_bytes());
    payload[8..16].copy_from_slice(&n.to_be_bytes());
    WakuMessage {
        payload: payload.into(),
        content_topic: content_topic("c500000b").as_str().into(),
        version: 0,
        timestamp: Some(1_700_000_000_000_000_000),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: true,
    }
}
