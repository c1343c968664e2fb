//! Hundreds of queries at once, and what the node relays meanwhile.
//!
//! Who asks is in a process of its own and yields the processors to others, as those who ask from elsewhere take nothing of the node's; who sends
//! and receives the messages is in the driver's.

use super::mail::YIELDING;
use super::store::{PAGE, client, figures, message, query, shares};
use super::{Effort, Figure, LIMIT};
use crate::causeway::Causeway;
use crate::deadline::{Deadline, now};
use crate::process::{Process, is, number};
use crate::waku_peer::PUBSUB;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::stdin;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use waku2::service::{AskError, OpenError, Protocol, Target};
use waku2::store::wire;
use waku2::{Event, Handle, Multiaddr, WakuMessage};

/// Clients of the storm, and the queries that each has under way.
const CLIENTS: usize = 50;
const AT_ONCE: usize = 10;
/// How long who was refused waits.
const REFUSED: Duration = Duration::from_millis(100);
/// Between two messages that are relayed.
const PAUSE: Duration = Duration::from_millis(20);
/// Until peers know each other, and until a message comes.
const MET: Duration = Duration::from_secs(60);

/// Messages through the node, alone and while [`CLIENTS`] times [`AT_ONCE`] queries are under way.
pub(super) async fn storm(effort: &Effort, ours: &Causeway) -> Result<Vec<Figure>> {
    let mut hop = Hop::start(&ours.multiaddr().parse()?, Box::new(Ok)).await?;
    let idle = hop.times(effort.storm_hops).await?;
    let this = std::env::current_exe().context("no name of this program")?;
    let mut arguments = YIELDING.map(str::to_owned).to_vec();
    arguments.push(this.to_str().context("a path in Unicode")?.to_owned());
    arguments.extend(["rage", ours.multiaddr()].map(str::to_owned));
    let askers = Process::spawn("askers", Path::new("chrt"), &arguments)?;
    askers.wait("queries", 0, LIMIT, |line| is(line, "raging").then_some(()))?;
    let raging = hop.times(effort.storm_hops).await?;
    askers.line("over")?;
    let raged = askers.wait("end of the queries", 0, LIMIT, |line| is(line, "raged").then(|| line.clone()))?;
    let count = |of: &str| number(&raged, of).with_context(|| askers.failure(&format!("no number of {of}")));
    let (pages, refusals, others) = (count("pages")?, count("refusals")?, count("others")?);
    ensure!(pages > 0 && others == 0, "{pages} pages, {refusals} refusals, {others} without either");
    let seconds = raged.get("seconds").and_then(serde_json::Value::as_f64).context("no seconds")?;
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

/// Asks the node until a line comes: the process of those who ask.
pub(crate) fn rage(node: &str) -> Result<()> {
    let (addr, over) = (node.parse::<Multiaddr>()?, Arc::new(AtomicBool::new(false)));
    Runtime::new().context("a runtime for those who ask")?.block_on(async {
        let (counts, mut askers) = (Arc::new(Answers::default()), Vec::new());
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
        println!("{}", json!({ "event": "raging" }));
        // Any line, or the end of the driver.
        tokio::task::spawn_blocking(|| stdin().read_line(&mut String::new())).await??;
        let seconds = began.elapsed().as_secs_f64();
        over.store(true, Relaxed);
        for asker in askers {
            tokio::time::timeout(MET, asker).await.context("a query without an answer")???;
        }
        let [pages, refusals, others] =
            [&counts.pages, &counts.refusals, &counts.others].map(|count| count.load(Relaxed));
        let raged =
            json!({ "event": "raged", "pages": pages, "refusals": refusals, "others": others, "seconds": seconds });
        println!("{raged}");
        Ok(())
    })
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
pub(super) struct Hop<'a> {
    sender: Handle,
    receiver: mpsc::Receiver<Event>,
    _node: Handle,
    sent: u32,
    /// What is done to each message before.
    prepare: Box<Prepare<'a>>,
}

/// Changes a message before it is sent.
pub(super) type Prepare<'a> = dyn FnMut(WakuMessage) -> Result<WakuMessage> + 'a;

impl<'a> Hop<'a> {
    pub(super) async fn start(addr: &Multiaddr, prepare: Box<Prepare<'a>>) -> Result<Self> {
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
        let mut hop = Self { sender, receiver, _node: node, sent: 0, prepare };
        // Until the receiver is in its mesh, messages may pass it by.
        let deadline = Deadline::after(LIMIT);
        while hop.one(Duration::from_secs(1)).await?.is_none() {
            ensure!(deadline.left().is_some(), "nothing is relayed");
        }
        Ok(hop)
    }

    /// Milliseconds of each of so many messages.
    pub(super) async fn times(&mut self, count: u32) -> Result<Vec<f64>> {
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
        let message = (self.prepare)(message(self.sent, sent_ns, true))?;
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
