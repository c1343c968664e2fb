//! The serving side: from a peer's stream to an [`Answer`] and back.
//!
//! A stream is taken or refused at once, where it arrives, and has a task of its own from then on: nothing waits in a queue that could drop
//! it. One for a request is taken when its protocol has a free slot, the peer has one of its own, and the budgets of [`crate::service::rate`]
//! allow it. Otherwise the refusal is written without reading the request, as deployed nodes do (429). Streams that bring messages we asked
//! for wait instead.
//!
//! Limits: [`SLOTS`] and [`PEER_SLOTS`] requests of a protocol at a time, [`AT_WORK`] of them answered at a time with a [`REST`] behind each,
//! [`PUSHES`] and [`PEER_PUSHES`] streams that bring messages, of which [`READERS`] are read at a time, [`REFUSALS`] refusals. What is beyond
//! the last three is reset. [`READ_TIME`] to read a request, [`ANSWER_TIME`] to answer it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future::BoxFuture};
use libp2p::PeerId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, trace};

use super::{
    Counters, Flow, Protocol,
    choice::Nodes,
    frame::{FrameError, first_byte, rest, write_frame},
    rate::{Budgets, Limiter, RateLimit},
    streams::Offer,
};
use crate::{filter, handle::Witness, lightpush};

/// Requests of one protocol at a time, from their first byte on. Each holds its request and its answer.
pub const SLOTS: usize = 128;

/// Of these, of one peer: a client asks for one thing after the other, or for a few at once.
pub const PEER_SLOTS: usize = 16;

/// Streams on which something may be asked and nothing has been, of one protocol at a time: js-waku opens one ahead of need with each node.
/// They hold nothing, and no slot: else a hundred silent clients would be all that is served.
pub const SILENT: usize = 8_192;

/// Of these, of one peer.
pub const PEER_SILENT: usize = 32;

/// Streams that bring messages, of one protocol at a time. They are open for as long as the peer likes (nwaku keeps one), so that most of them
/// hold nothing.
pub const PUSHES: usize = 2_048;

/// Of these, of one peer: all that fit into a connection. go-waku opens one a message.
pub const PEER_PUSHES: usize = 128;

/// Of these, read at a time: each may hold a frame.
pub const READERS: usize = 32;

/// Refusals of one protocol at a time: more than hundreds of queries at once need. Each is a few bytes that fit into a stream's first window, and a wait for the peer to read them.
pub const REFUSALS: usize = 512;

/// How long a request may take until it begins, and then to be read.  Deployed nodes have no limit.
pub const READ_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take, being written included.  Deployed nodes have no limit.
pub const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long the end of a stream is waited for after the answer. It holds no slot; what may wait so is what connections may have of streams.
const END_TIME: Duration = Duration::from_secs(2);

/// Answers of one protocol that are made and written at a time. More at a time would be done no sooner, and what the node relays would wait
/// behind all of them.
pub const AT_WORK: usize = 2;

/// How long a turn rests behind an answer while all are taken: answers may wait, and what is relayed finds a processor free.
pub const REST: Duration = Duration::from_millis(1);

/// How long one of them keeps others waiting: a peer that does not read holds nobody else up.
const TURN_TIME: Duration = Duration::from_millis(25);

/// What answers the requests of a protocol.
pub trait Answer: Send + Sync + 'static {
    /// Answers a request, or takes a push. `None` ends the stream without a word. Dropped after [`ANSWER_TIME`].
    fn answer(&self, peer: PeerId, request: Bytes, now: Now) -> BoxFuture<'_, Option<Bytes>>;

    /// What is answered to a request that is not even read, because there are too many. `None` ends the stream without a word.
    fn refused(&self) -> Option<Bytes>;
}

/// The services of a node: what it answers, how much of it, and whom it asks.
#[derive(Clone, Default)]
pub struct Services {
    /// What each protocol answers; identify lists these.
    pub answers: BTreeMap<Protocol, Arc<dyn Answer>>,
    /// How much is answered.
    pub rate_limits: Vec<RateLimit>,
    /// Whom this node asks.
    pub nodes: Nodes,
    /// Who is told of every message.
    pub witnesses: Vec<Arc<dyn Witness>>,
    /// Lightpush, where it is served.
    pub lightpush: Option<lightpush::Config>,
    /// Filter, where it is served or asked for.
    pub filter: Option<filter::Config>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("answers", &self.answers.keys())
            .field("rate_limits", &self.rate_limits)
            .field("nodes", &self.nodes)
            .field("lightpush", &self.lightpush)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// What happened to the requests of each protocol, by [`Protocol::index`].
pub type AllCounters = [Arc<Counters>; Protocol::COUNT];

/// A protocol that a node serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Which.
    pub protocol: Protocol,
    /// The limit on its requests, as so many a second.
    pub per_second: Option<f64>,
}

/// All services that a node serves.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    served: Arc<BTreeMap<Protocol, Arc<Service>>>,
    offer: Offer,
}

impl Server {
    pub(crate) fn new(
        answers: BTreeMap<Protocol, Arc<dyn Answer>>,
        limits: &[RateLimit],
        counters: &AllCounters,
    ) -> Self {
        let service = |(protocol, answer): (Protocol, _)| {
            let budgets = match protocol.flow() {
                Flow::Ask => Budgets::of(protocol, limits),
                Flow::Push => Budgets::default(),
            };
            let counters = Arc::clone(&counters[protocol.index()]);
            (protocol, Arc::new(Service::new(protocol, answer, budgets, counters)))
        };
        let offer = answers.keys().copied().collect();
        Self { served: Arc::new(answers.into_iter().map(service).collect()), offer }
    }

    /// What peers may ask for, and how often.
    pub(crate) fn served(&self, limits: &[RateLimit]) -> Vec<Served> {
        let served = |protocol| Served { protocol, per_second: Budgets::of(protocol, limits).per_second() };
        self.served.keys().copied().map(served).collect()
    }

    /// What peers may ask for.
    pub(crate) const fn offer(&self) -> Offer {
        self.offer
    }

    /// Takes a stream of a peer. Returns at once; must be called within a Tokio runtime.
    pub(crate) fn accept<S>(&self, peer: PeerId, protocol: Protocol, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(service) = self.served.get(&protocol) {
            Service::accept(service, peer, stream);
        }
    }
}

/// One protocol that is served.
struct Service {
    protocol: Protocol,
    answer: Arc<dyn Answer>,
    counters: Arc<Counters>,
    limiter: Mutex<Limiter>,
    /// Streams on which nothing has been asked.
    silent: Arc<Slots>,
    slots: Arc<Slots>,
    turns: Semaphore,
    readers: Semaphore,
    refusals: Arc<Semaphore>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Service {
    fn new(protocol: Protocol, answer: Arc<dyn Answer>, budgets: Budgets, counters: Arc<Counters>) -> Self {
        let (all, of_a_peer) = match protocol.flow() {
            Flow::Ask => (SLOTS, PEER_SLOTS),
            Flow::Push => (PUSHES, PEER_PUSHES),
        };
        Self {
            protocol,
            answer,
            counters,
            limiter: Mutex::new(Limiter::new(budgets)),
            silent: Slots::new(SILENT, PEER_SILENT),
            slots: Slots::new(all, of_a_peer),
            turns: Semaphore::new(AT_WORK),
            readers: Semaphore::new(READERS),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    fn accept<S>(service: &Arc<Self>, peer: PeerId, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = Arc::clone(service);
        let slot = match service.protocol.flow() {
            Flow::Ask => service.silent.take(peer),
            Flow::Push => service.slot(peer),
        };
        match (slot, service.protocol.flow()) {
            (Some(silent), Flow::Ask) => drop(tokio::spawn(service.one(peer, stream, silent))),
            (Some(slot), Flow::Push) => drop(tokio::spawn(service.many(peer, stream, slot))),
            (None, _) => service.refuse(peer, stream),
        }
    }

    /// The peer's budget is not touched by what finds no slot.
    fn slot(&self, peer: PeerId) -> Option<Slot> {
        self.slots.take(peer).filter(|_| self.may_ask(peer))
    }

    fn may_ask(&self, peer: PeerId) -> bool {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).take(now().instant, peer)
    }

    fn refuse<S>(self: Arc<Self>, peer: PeerId, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        debug!(%peer, protocol = %self.protocol, "a request refused: too many");
        self.counters.refused.fetch_add(1, Relaxed);
        if let (Ok(permit), Some(refusal)) = (Arc::clone(&self.refusals).try_acquire_owned(), self.answer.refused()) {
            tokio::spawn(refusing(stream, refusal, permit));
        }
    }

    /// One request, and its answer.
    async fn one<S>(self: Arc<Self>, peer: PeerId, mut stream: S, silent: Slot)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let first = match timeout(READ_TIME, first_byte(&mut stream)).await.unwrap_or(Err(FrameError::Cut)) {
            Ok(Some(first)) => first,
            Ok(None) => return trace!(%peer, protocol = %self.protocol, "nothing was asked"),
            Err(error) => return self.unread(peer, &error),
        };
        let slot = self.slot(peer);
        drop(silent);
        let Some(slot) = slot else { return self.refuse(peer, stream) };
        let read = timeout(READ_TIME, rest(&mut stream, first, self.protocol.request_cap()));
        match read.await.unwrap_or(Err(FrameError::Cut)) {
            Ok(request) => {
                self.in_turn(self.answer_in_time(peer, request, &mut stream)).await;
                drop(slot);
                until_its_end(&mut stream).await;
            }
            Err(error) => self.unread(peer, &error),
        }
    }

    /// Works when it is its turn, and lets the next one begin when it is done or has had its time.
    async fn in_turn(&self, work: impl Future<Output = ()>) {
        // Never closed.
        let turn = self.turns.acquire().await;
        let mut work = pin!(work);
        if timeout(TURN_TIME, &mut work).await.is_err() {
            drop(turn);
            work.await;
        } else if self.turns.available_permits() == 0 {
            sleep(REST).await;
        }
    }

    /// Frames until the stream ends.
    async fn many<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, peer: PeerId, mut stream: S, _slot: Slot) {
        loop {
            let first = match first_byte(&mut stream).await {
                Ok(Some(first)) => first,
                Ok(None) => return,
                Err(error) => return self.unread(peer, &error),
            };
            // Never closed.
            let Ok(_reader) = self.readers.acquire().await else { return };
            let read = timeout(READ_TIME, rest(&mut stream, first, self.protocol.request_cap()));
            match read.await.unwrap_or(Err(FrameError::Cut)) {
                Ok(push) => self.answer_in_time(peer, push, &mut stream).await,
                Err(error) => return self.unread(peer, &error),
            }
        }
    }

    fn unread(&self, peer: PeerId, error: &FrameError) {
        debug!(%peer, protocol = %self.protocol, %error, "a request that cannot be read");
        self.counters.unread.fetch_add(1, Relaxed);
    }

    async fn answer_in_time<S: AsyncWrite + Unpin>(&self, peer: PeerId, request: Bytes, stream: &mut S) {
        let (began, request_bytes) = (now(), request.len());
        let answered = timeout(ANSWER_TIME, async {
            let Some(answer) = self.answer.answer(peer, request, began).await else { return 0 };
            let ready = now().instant;
            match write_last(stream, &answer).await {
                Ok(()) => {
                    self.counters.written(now().instant.saturating_duration_since(ready));
                    answer.len()
                }
                Err(error) => {
                    debug!(%peer, protocol = %self.protocol, %error, "an answer not taken");
                    0
                }
            }
        });
        let Ok(answer_bytes) = answered.await else {
            debug!(%peer, protocol = %self.protocol, "no answer in time");
            self.counters.late.fetch_add(1, Relaxed);
            return;
        };
        let took = now().instant.saturating_duration_since(began.instant);
        self.counters.answered(request_bytes, answer_bytes, took);
    }
}

/// Writes a frame, and that no other follows.
async fn write_last(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> std::io::Result<()> {
    write_frame(stream, frame).await?;
    stream.close().await
}

/// Writes a refusal, and lets the peer finish its request.
async fn refusing<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, refusal: Bytes, _permit: OwnedSemaphorePermit) {
    match timeout(END_TIME, write_last(&mut stream, &refusal)).await {
        Ok(Ok(())) => until_its_end(&mut stream).await,
        failed => trace!(?failed, "a refusal not taken"),
    }
}

/// Reads on until the peer has ended its half, so that nothing of it finds the stream gone: that would be answered by a reset, which could
/// overtake what we said, and a few of which in a second make js-waku end the connection.
async fn until_its_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut unread = [0; 1_024];
    // Whoever goes on is cut off.
    let _ = timeout(END_TIME, async { while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {} }).await;
}

/// How many streams there are.
#[derive(Debug)]
struct Slots {
    all: usize,
    of_a_peer: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only of those that have any.
    peers: HashMap<PeerId, usize>,
}

/// The right to one stream, given back when dropped.
#[derive(Debug)]
struct Slot {
    peer: PeerId,
    slots: Arc<Slots>,
}

impl Slots {
    fn new(all: usize, of_a_peer: usize) -> Arc<Self> {
        Arc::new(Self { all, of_a_peer, taken: Mutex::default() })
    }

    fn take(self: &Arc<Self>, peer: PeerId) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all || taken.peers.get(&peer).is_some_and(|count| *count >= self.of_a_peer) {
            return None;
        }
        taken.all += 1;
        *taken.peers.entry(peer).or_default() += 1;
        Some(Slot { peer, slots: Arc::clone(self) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.peers.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use futures::{FutureExt, future::join_all};
    use tokio::sync::oneshot;

    use super::*;

    /// Nothing here takes nearly as long: reaching it is a failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A peer's stream: what comes, of which there is no end, and perhaps nobody who reads.
    struct Pipe {
        comes: Bytes,
        is_read: bool,
        _gone: oneshot::Sender<()>,
    }

    impl Pipe {
        fn new(comes: &'static [u8], is_read: bool) -> (Self, oneshot::Receiver<()>) {
            let (sender, gone) = oneshot::channel();
            (Self { comes: Bytes::from_static(comes), is_read, _gone: sender }, gone)
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            if self.comes.is_empty() {
                return Poll::Pending;
            }
            let read = into.len().min(self.comes.len());
            let piece = self.comes.split_to(read);
            into[..piece.len()].copy_from_slice(&piece);
            Poll::Ready(Ok(piece.len()))
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.is_read { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Answers with what was asked.
    struct Echo;

    impl Answer for Echo {
        fn answer(&self, _: PeerId, request: Bytes, _: Now) -> BoxFuture<'_, Option<Bytes>> {
            async { Some(request) }.boxed()
        }

        fn refused(&self) -> Option<Bytes> {
            Some(Bytes::from_static(b"no"))
        }
    }

    const ASKED: Protocol = Protocol::StoreV3;

    fn server(limits: &[&str]) -> (Server, Arc<Counters>) {
        let counters = AllCounters::default();
        let answers = BTreeMap::from([(ASKED, Arc::new(Echo) as Arc<dyn Answer>)]);
        let limits: Vec<RateLimit> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        (Server::new(answers, &limits, &counters), Arc::clone(&counters[ASKED.index()]))
    }

    async fn end(gone: oneshot::Receiver<()>) {
        // The sender is never used, only dropped.
        assert!(timeout(PATIENCE, gone).await.expect("the end of a stream").is_err());
    }

    #[tokio::test]
    async fn h72_what_is_too_long_or_does_not_come_ends_its_stream() {
        let (server, counters) = server(&[]);
        // Four GiB announced; a kibibyte announced, and a byte of it; nothing at all.
        let [huge, slow, silent] =
            [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x08, 1], &[]].map(|comes| Pipe::new(comes, true));
        let ends = [huge, slow, silent].map(|(pipe, gone)| {
            server.accept(PeerId::random(), ASKED, pipe);
            end(gone)
        });
        join_all(ends).await;
        assert_eq!((counters.unread.load(Relaxed), counters.served.load(Relaxed)), (3, 0));
    }

    /// Waits for so many refusals.
    async fn refusals(counters: &Counters, count: u64) {
        let reached = async {
            while counters.refused.load(Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
        assert_eq!(counters.refused.load(Relaxed), count);
    }

    /// The beginning of a request that goes no further.
    const BEGUN: &[u8] = &[0x80];

    #[tokio::test]
    async fn h76_a_peer_and_all_together_have_so_many_slots() {
        let (server, counters) = server(&[]);
        let greedy = PeerId::random();
        let mut held = Vec::new();
        let mut take = |peer| {
            let (pipe, gone) = Pipe::new(BEGUN, false);
            server.accept(peer, ASKED, pipe);
            held.push(gone);
        };
        (0..=PEER_SLOTS).for_each(|_| take(greedy));
        refusals(&counters, 1).await;
        (PEER_SLOTS..=SLOTS).for_each(|_| take(PeerId::random()));
        refusals(&counters, 2).await;
    }

    /// Waits until something was answered.
    async fn served(counters: &Counters) {
        let reached = async {
            while counters.served.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }

    #[tokio::test]
    async fn h76_who_does_not_read_his_answer_keeps_nobody_from_his() {
        let (server, counters) = server(&[]);
        let mut held = Vec::new();
        let mut ask = |is_read| {
            let (pipe, gone) = Pipe::new(&[1, 7], is_read);
            server.accept(PeerId::random(), ASKED, pipe);
            held.push(gone);
        };
        (0..2 * AT_WORK).for_each(|_| ask(false));
        ask(true);
        served(&counters).await;
        assert_eq!((counters.served.load(Relaxed), counters.refused.load(Relaxed)), (1, 0));
    }

    #[tokio::test]
    async fn h76_streams_on_which_nothing_is_asked_hold_up_nobody_and_are_bounded() {
        let (server, counters) = server(&["store:1/1h"]);
        let mut held = Vec::new();
        let mut open = |peer, comes| {
            let (pipe, gone) = Pipe::new(comes, true);
            server.accept(peer, ASKED, pipe);
            held.push(gone);
        };
        let greedy = PeerId::random();
        (0..=PEER_SILENT).for_each(|_| open(greedy, &[][..]));
        refusals(&counters, 1).await;
        (0..SLOTS).for_each(|_| open(PeerId::random(), &[][..]));
        open(PeerId::random(), &[1, 7]);
        served(&counters).await;
        assert_eq!(counters.refused.load(Relaxed), 1, "whoever asks nothing uses up no budget");
    }

    #[tokio::test]
    async fn h76_refusals_that_nobody_reads_are_bounded() {
        let (server, counters) = server(&["store:1/1h"]);
        let peer = PeerId::random();
        let open = |_| {
            let (pipe, gone) = Pipe::new(BEGUN, false);
            server.accept(peer, ASKED, pipe);
            gone
        };
        let mut taken: Vec<_> = (0..1 + REFUSALS).map(open).collect();
        refusals(&counters, REFUSALS as u64).await;
        assert!(taken.iter_mut().all(|gone| gone.try_recv() == Err(oneshot::error::TryRecvError::Empty)));
        let beyond = open(0);
        refusals(&counters, REFUSALS as u64 + 1).await;
        end(beyond).await;
        assert!(
            taken.iter_mut().any(|gone| gone.try_recv() == Err(oneshot::error::TryRecvError::Empty)),
            "reset at once"
        );
        join_all(taken.into_iter().map(end)).await;
    }
}
