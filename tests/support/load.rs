//! A client on each side of a bridge, behind a line that can be cut, which post and hear all the while; and an account of what must have
//! crossed, once, under one name.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::RangeInclusive,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bridge::{
    Direction, content_topic,
    journal::{Cargo, Remembered},
    seen::{Fingerprint, State},
};
use bytes::Bytes;
use causeway::storage::{Database, journal::Journal};
use devp2p::{Enode, Limits, Network, NodeKey, clock::now};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use waku0::{Pow, Settings, Topic, Unsealed};
use waku2::{Meta, PubsubTopic, WakuMessage};

use crate::link::{Line, Link, State as Carries};

/// Topics of what begins on v0, and on v2.
const FROM: [Topic; 2] = [Topic(*b"\xa1v0\x00"), Topic(*b"\xb2v2\x00")];
/// Seconds that envelopes of the client live: longer than any run.
const TTL: u32 = 3_600;
/// Bytes of a payload: a chat message, sealed.
const PAYLOAD: usize = 300;
/// What waits for the load: minutes of it.
const EVENTS: usize = 8_192;
/// How long before a line is cut the bridge may have sent what it cannot know to have come: if it is killed too before the line is mended, it sends
/// that again, under the same name. Gossip knows a name for two minutes.
const IN_DOUBT: Duration = Duration::from_secs(10);
/// Proof of work that the bridge asks for, and nonces that are tried: a few hundred do.
const POW: f64 = 0.002;
const NONCES: u64 = 1 << 26;
/// Rows of the journal that are read.
const ROWS: usize = 1_000_000;

/// What each side has sent and heard, by number.
#[derive(Debug, Default)]
struct Side {
    sent: BTreeSet<u64>,
    /// How a number came, each time.
    came: BTreeMap<u64, Vec<Arrival>>,
}

#[derive(Debug)]
struct Arrival {
    /// Under which name.
    name: String,
    /// After how many posts of the load, which tells the time.
    at: u64,
}

/// Both sides: first what begins on v0 and is heard on v2, then what begins on v2.
type Account = [Side; 2];

/// How fast it is, and how patient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two posts on each side.
    pub(crate) every: Duration,
    /// From v0, posted and not yet come: with so many there is a pause. A busy machine has a load that it can carry, and no growing heap.
    pub(crate) under_way: usize,
    /// Longest wait for what must come.
    pub(crate) limit: Duration,
}

enum Order {
    /// Post no more, and give the account when these are all there or the time is over.
    End { owed_on_v0: BTreeSet<u64>, account: oneshot::Sender<Account> },
}

/// The running load.
pub(crate) struct Load {
    pace: Pace,
    /// To the v0 client and to the v2 client.
    lines: [Link; 2],
    /// What tells a bridge to call both clients.
    flags: [String; 2],
    orders: mpsc::Sender<Order>,
    /// Arrivals in each direction.
    arrivals: watch::Receiver<[u64; 2]>,
    /// Numbers that are used up.
    posted: watch::Receiver<u64>,
    task: JoinHandle<Result<()>>,
    /// Numbers of messages that a bridge had written down, as on their way or as across, when it was killed.
    written: BTreeSet<u64>,
    /// What came meanwhile was in doubt when the far line was cut, of each direction: from one number of posts to another.
    doubtful: [Vec<RangeInclusive<u64>>; 2],
}

/// What was seen if nothing was wrong.
#[derive(Debug)]
pub(crate) struct Report {
    /// Posted on v0: all of it came.
    pub(crate) envelopes: usize,
    /// Published on v2 that came.
    pub(crate) messages: usize,
    /// Of these what was written down when a bridge was killed: all of it came.
    pub(crate) written: usize,
    /// What was in doubt when a line was cut and came once more, as the same envelope or message.
    pub(crate) repeated: usize,
}

impl Load {
    /// Starts a client of each side, which post and wait to be called.
    ///
    /// # Errors
    /// When one cannot start.
    pub(crate) async fn start(pace: Pace) -> Result<Self> {
        let (events, v0_events) = mpsc::channel(EVENTS);
        let config = waku0::run::Config {
            key: NodeKey::from_bytes(&[0x51; 32])?,
            client_id: "load".to_owned(),
            listen: Some("127.0.0.1:0".parse()?),
            static_nodes: Vec::new(),
            limits: Limits::default(),
            network: Network::default(),
            settings: Settings::default(),
            accounts: None,
            mail: None,
        };
        let v0 = waku0::run::start(config, events).await?.0;
        let (events, v2_events) = mpsc::channel(EVENTS);
        let pubsub: PubsubTopic = "/waku/2/rs/0/0".parse()?;
        let mut config = waku2::Config::new([0x52; 32]);
        config.topics = vec![pubsub.clone()];
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        let v2 = waku2::run::start(config, events).await?.0;
        let address = v2.addresses().first().context("an address")?.to_string();
        let behind = [v0.enode().tcp, address.split('/').nth(4).context("a port")?.parse()?];
        let lines = [line(behind[0]).await?, line(behind[1]).await?];
        let enode = Enode { tcp: lines[0].port(), ..v0.enode().clone() };
        let v2_flag = format!("--staticnode-v2=/ip4/127.0.0.1/tcp/{}/p2p/{}", lines[1].port(), v2.peer_id());
        let flags = [format!("--staticnode-v1={enode}"), v2_flag];
        let (orders, inbox) = mpsc::channel(1);
        let (count, arrivals) = watch::channel([0; 2]);
        let (used, posted) = watch::channel(0);
        let worker = Worker { v0, v0_events, v2, v2_events, pubsub, pace, count, used, account: Account::default() };
        Ok(Self {
            pace,
            lines,
            flags,
            orders,
            arrivals,
            posted,
            task: tokio::spawn(worker.run(inbox)),
            written: BTreeSet::new(),
            doubtful: Default::default(),
        })
    }

    /// What tells a bridge to call both clients.
    pub(crate) fn flags(&self) -> [&str; 2] {
        self.flags.each_ref().map(String::as_str)
    }

    /// Waits until so many more have crossed in each direction.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) async fn carried(&mut self, more: u64) -> Result<()> {
        let from = *self.arrivals.borrow();
        let enough = |now: &[u64; 2]| now.iter().zip(from).all(|(now, from)| *now >= from + more);
        let carried = timeout(self.pace.limit, self.arrivals.wait_for(enough)).await.map(|seen| seen.map(|_| ()));
        let now = *self.arrivals.borrow();
        carried.with_context(|| format!("not {more} more each way: {from:?} became {now:?}"))?.context("the load ended")
    }

    /// Waits until so many more have been posted on v0.
    ///
    /// # Errors
    /// When they are not.
    pub(crate) async fn posted(&mut self, more: u64) -> Result<()> {
        let from = *self.posted.borrow();
        let enough = |now: &u64| *now >= from + more;
        timeout(self.pace.limit, self.posted.wait_for(enough))
            .await
            .context("nothing is posted")?
            .context("the load ended")?;
        Ok(())
    }

    /// Cuts or mends the line to the client of a side: 0 is v0, 1 is v2.
    pub(crate) fn set(&mut self, side: usize, carries: Carries) {
        if carries == Carries::Down {
            let posted = *self.posted.borrow();
            let in_doubt = (IN_DOUBT.as_secs_f64() / self.pace.every.as_secs_f64()) as u64;
            // What begins on the other side ends here.
            self.doubtful[1 - side].push(posted.saturating_sub(in_doubt)..=posted + 1);
        }
        self.lines[side].set(carries);
    }

    /// Reads what a bridge that has ended had written down of messages: what was on its way, and what it said was across.
    ///
    /// # Errors
    /// When its database does not open.
    pub(crate) async fn read_journal(&mut self, directory: &Path) -> Result<()> {
        let database = Database::open(directory).await?;
        let (life, keeper) = Journal::new(&database, ROWS).start().await?;
        for unfinished in &life.unfinished {
            if let Cargo::Message { data, .. } = &unfinished.cargo {
                self.written.extend(number(&WakuMessage::decode(data)?.payload));
            }
        }
        let across = |one: &&Remembered| one.first == Direction::V2ToV1 && one.state == State::Done;
        let across: HashSet<[u8; 32]> = life.ended.iter().filter(across).map(|one| *one.content.as_bytes()).collect();
        let is_across = |n: &u64| across.contains(Fingerprint::new(FROM[1], &payload(*n)).as_bytes());
        self.written.extend((0..*self.posted.borrow()).filter(is_across));
        drop(life.batches);
        keeper.await?;
        database.close().await;
        Ok(())
    }

    /// Posts no more, waits for what must come, and judges.
    ///
    /// # Errors
    /// What was lost, doubled or invented.
    pub(crate) async fn end(self) -> Result<Report> {
        let (sender, account) = oneshot::channel();
        let order = Order::End { owed_on_v0: self.written.clone(), account: sender };
        // Why it has ended is told by the task.
        let _ = self.orders.send(order).await;
        let account = account.await;
        self.task.await??;
        judge(&account?, &self.written, &self.doubtful)
    }
}

struct Worker {
    v0: waku0::Handle,
    v0_events: mpsc::Receiver<waku0::Event>,
    v2: waku2::Handle,
    v2_events: mpsc::Receiver<waku2::Event>,
    pubsub: PubsubTopic,
    pace: Pace,
    count: watch::Sender<[u64; 2]>,
    used: watch::Sender<u64>,
    account: Account,
}

impl Worker {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<()> {
        let mut pace = interval(self.pace.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut n = 0;
        let order = loop {
            tokio::select! {
                order = orders.recv() => break order,
                _ = pace.tick(), if self.under_way() < self.pace.under_way => {
                    self.post(n).await?;
                    n += 1;
                }
                heard = self.hear() => heard?,
            }
        };
        let Some(Order::End { owed_on_v0, account }) = order else { return Ok(()) };
        let all_is_there = timeout(self.pace.limit, async {
            while !self.is_there(&owed_on_v0) {
                self.hear().await?;
            }
            // What came twice has come before this one has.
            self.post(n).await?;
            let waits = |side: &Side| side.sent.contains(&n) && !side.came.contains_key(&n);
            while self.account.iter().any(waits) {
                self.hear().await?;
            }
            anyhow::Ok(())
        });
        // What is missing is told of by whoever judges.
        if let Ok(failed) = all_is_there.await {
            failed?;
        }
        self.v0.shutdown().await;
        self.v2.shutdown().await;
        // Whoever asked may have given up.
        let _ = account.send(self.account);
        Ok(())
    }

    /// On v0 each is owed; of v2 what nobody had written down when the bridge was killed never comes.
    fn under_way(&self) -> usize {
        let [to_v2, _] = &self.account;
        to_v2.sent.len().saturating_sub(to_v2.came.len())
    }

    fn is_there(&self, owed_on_v0: &BTreeSet<u64>) -> bool {
        let [to_v2, to_v0] = &self.account;
        to_v2.sent.iter().all(|n| to_v2.came.contains_key(n)) && owed_on_v0.iter().all(|n| to_v0.came.contains_key(n))
    }

    async fn post(&mut self, n: u64) -> Result<()> {
        self.used.send_replace(n + 1);
        let at = now();
        let unsealed = Unsealed::new(u32::try_from(at.unix_secs())? + TTL, TTL, FROM[0], payload(n))?;
        let nonce = unsealed.search(0, 0, NONCES, unsealed.required_bits(Pow::new(POW)?)).context("no nonce")?;
        self.v0.post(unsealed.seal(nonce)).await?;
        self.account[0].sent.insert(n);
        let message = WakuMessage {
            payload: payload(n),
            content_topic: content_topic::canonical(FROM[1]),
            version: 1,
            timestamp: Some(at.unix_nanos()),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        // Without a bridge there is nobody to take it.
        if self.v2.publish(self.pubsub.clone(), message.encode()).await.is_ok() {
            self.account[1].sent.insert(n);
        }
        Ok(())
    }

    /// Takes one event of either side; what a side sent itself does not come.
    async fn hear(&mut self) -> Result<()> {
        let (side, n, name) = tokio::select! {
            event = self.v0_events.recv() => match event.context("the v0 client has ended")? {
                waku0::Event::Envelope { envelope, .. } => {
                    ensure!(envelope.topic() == FROM[1], "an echo: {}", envelope.hash());
                    (1, number(envelope.data()), envelope.hash().to_string())
                }
                _ => return Ok(()),
            },
            event = self.v2_events.recv() => match event.context("the v2 client has ended")? {
                waku2::Event::Message(received) => {
                    let topic = &received.message.content_topic;
                    ensure!(*topic == content_topic::canonical(FROM[0]), "an echo: {}", received.hash);
                    (0, number(&received.message.payload), received.hash.to_string())
                }
                _ => return Ok(()),
            },
        };
        let arrival = Arrival { name, at: *self.used.borrow() };
        self.account[side].came.entry(n.context("a strange payload")?).or_default().push(arrival);
        self.count.send_modify(|count| count[side] += 1);
        Ok(())
    }
}

/// As good as none.
async fn line(behind: u16) -> Result<Link> {
    let line = Line { delay_millis: 0..1, lost_permille: 0, bytes_per_sec: None };
    Ok(Link::new(line, behind, 1).await?)
}

fn judge(account: &Account, written: &BTreeSet<u64>, doubtful: &[Vec<RangeInclusive<u64>>; 2]) -> Result<Report> {
    let mut repeated = 0;
    for ((side, doubtful), name) in account.iter().zip(doubtful).zip(["v0", "v2"]) {
        let was_in_doubt = |first: &Arrival| doubtful.iter().any(|while_posting| while_posting.contains(&first.at));
        for (n, came) in side.came.iter().filter(|(_, came)| came.len() != 1) {
            let is_repeated = matches!(&came[..], [first, again] if first.name == again.name && was_in_doubt(first));
            ensure!(is_repeated, "from {name}, more than once: {n} as {came:?}, in doubt {doubtful:?}");
            repeated += 1;
        }
        let invented = side.came.keys().find(|n| !side.sent.contains(n));
        ensure!(invented.is_none(), "from {name}, never sent: {invented:?}");
    }
    let [to_v2, to_v0] = account;
    let lost: Vec<&u64> = to_v2.sent.iter().filter(|n| !to_v2.came.contains_key(n)).collect();
    if !lost.is_empty() {
        bail!("of {} envelopes {} were lost: {lost:?}", to_v2.sent.len(), lost.len());
    }
    let lost: Vec<&u64> = written.iter().filter(|n| !to_v0.came.contains_key(n)).collect();
    if !lost.is_empty() {
        bail!("of {} messages that were written down {} were lost: {lost:?}", written.len(), lost.len());
    }
    Ok(Report { envelopes: to_v2.sent.len(), messages: to_v0.came.len(), written: written.len(), repeated })
}

fn payload(n: u64) -> Bytes {
    let mut payload = n.to_be_bytes().to_vec();
    payload.resize(PAYLOAD, 7);
    payload.into()
}

fn number(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
