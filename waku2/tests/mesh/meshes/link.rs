//! A link to a node over a bad line: callers use the link's own address, and bytes cross as TCP would carry them there.
//!
//! What crosses is cut into packets. Each takes the line's delay, waits for room on a narrow line, and for those before it; one that is lost is
//! sent again after a timeout that doubles, and holds up all that follow. A silent line holds everything, ends of connections too, until
//! it speaks again; one that is down resets what is there and what comes. What sleeps here is the line.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// Bytes of a packet: what fits into an Ethernet frame.
const PACKET_BYTES: usize = 1_400;

/// Packets under way in one direction of a connection. Beyond it the sender waits, as with a full window.
const WINDOW: usize = 256;

/// What TCP waits for an acknowledgement beyond the time that it takes.  Deployed: Linux's shortest timeout.
const TIMEOUT_SLACK: Duration = Duration::from_millis(200);

/// A packet is lost so many times in a row at most.
const MOST_LOSSES: u32 = 4;

/// What a line does to all that crosses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// One way.
    pub(crate) delay_millis: Range<u64>,
    /// Packets of a thousand.
    pub(crate) lost_permille: u32,
    /// Each way; `None` is as wide as the machine allows.
    pub(crate) bytes_per_sec: Option<u32>,
}

impl Line {
    /// What a packet takes that is not lost, or lost and sent again.
    fn time(&self, rng: &mut StdRng) -> Duration {
        let mut time = Duration::from_millis(rng.random_range(self.delay_millis.clone()));
        let mut timeout = 2 * Duration::from_millis(self.delay_millis.end) + TIMEOUT_SLACK;
        for _ in 0..MOST_LOSSES {
            if !rng.random_ratio(self.lost_permille, 1_000) {
                break;
            }
            time += timeout;
            timeout *= 2;
        }
        time
    }
}

/// What a line carries now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything.
    Up,
    /// Nothing, and nobody is told.
    Silent,
    /// Nothing, and everybody is told.
    Down,
}

#[derive(Debug, Clone, Copy)]
struct Now {
    state: State,
    /// Connections from before the last of these are reset.
    cuts: u64,
    /// Connections from before the last of these are never heard of again.
    lapses: u64,
}

/// The way to one node, for those who use its address. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    behind: Arc<AtomicU16>,
    now: watch::Sender<Now>,
    carried: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link that is up, to a port of 127.0.0.1. `seed` decides what is lost.
    pub(crate) async fn new(line: Line, behind: u16, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let now = watch::Sender::new(Now { state: State::Up, cuts: 0, lapses: 0 });
        let (behind, carried) = (Arc::new(AtomicU16::new(behind)), Arc::default());
        let ends = Ends { line, behind: Arc::clone(&behind), now: now.subscribe(), carried: Arc::clone(&carried) };
        let task = tokio::spawn(accept(listener, ends, StdRng::seed_from_u64(seed)));
        Ok(Self { port, behind, now, carried, task })
    }

    /// Where it is called.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The node behind it is at another port now.
    pub(crate) fn lead_to(&self, port: u16) {
        self.behind.store(port, Relaxed);
    }

    /// Changes what it carries.
    pub(crate) fn set(&self, state: State) {
        self.now.send_modify(|now| now.state = state);
    }

    /// Connections that are there now are reset.
    pub(crate) fn cut(&self) {
        self.now.send_modify(|now| now.cuts += 1);
    }

    /// Connections that are there now carry nothing any more, and nobody is told: a machine that lost its power, or a router its memory.
    pub(crate) fn forget(&self) {
        self.now.send_modify(|now| now.lapses += 1);
    }

    /// Bytes that were given to it, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Ends {
    line: Line,
    behind: Arc<AtomicU16>,
    now: watch::Receiver<Now>,
    carried: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, ends: Ends, mut rng: StdRng) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(caller, ends.clone(), StdRng::seed_from_u64(rng.random())));
    }
}

/// One connection, from its beginning to its end. What is left of it is reset.
async fn connect(mut caller: TcpStream, mut ends: Ends, rng: StdRng) {
    let since = *ends.now.borrow();
    let mut down = ends.now.clone();
    let mut callee = None;
    let forgotten = tokio::select! {
        forgotten = over(&mut down, since) => forgotten,
        _ = carry_both(&mut caller, &mut callee, &mut ends, rng) => false,
    };
    if forgotten {
        // Kept open for as long as the link is there: its ends find out for themselves.
        std::future::pending::<()>().await;
    }
    for stream in [Some(caller), callee].into_iter().flatten() {
        // One that is gone already needs no reset.
        let _ = stream.set_zero_linger();
    }
}

/// Waits until the connections of this time are over. True when nobody is to know.
async fn over(now: &mut watch::Receiver<Now>, since: Now) -> bool {
    let is_over = |now: &Now| now.state == State::Down || now.cuts > since.cuts || now.lapses > since.lapses;
    now.wait_for(is_over).await.is_ok_and(|now| now.lapses > since.lapses)
}

async fn carry_both(
    caller: &mut TcpStream,
    callee: &mut Option<TcpStream>,
    ends: &mut Ends,
    mut rng: StdRng,
) -> io::Result<()> {
    up(&mut ends.now).await?;
    let callee = callee.insert(TcpStream::connect(("127.0.0.1", ends.behind.load(Relaxed))).await?);
    for stream in [&*caller, callee] {
        stream.set_nodelay(true)?;
    }
    let ((from_caller, to_caller), (from_callee, to_callee)) = (caller.split(), callee.split());
    let back = StdRng::seed_from_u64(rng.random());
    tokio::try_join!(carry(from_caller, to_callee, ends, rng), carry(from_callee, to_caller, ends, back))?;
    Ok(())
}

async fn up(now: &mut watch::Receiver<Now>) -> io::Result<()> {
    now.wait_for(|now| now.state == State::Up).await.map_err(io::Error::other)?;
    Ok(())
}

async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, ends: &Ends, mut rng: StdRng) -> io::Result<()> {
    let (sender, mut packets) = mpsc::channel::<(Instant, Vec<u8>)>(WINDOW);
    let (mut now, mut at_end) = (ends.now.clone(), ends.now.clone());
    let deliver = async move {
        while let Some((arrives, packet)) = packets.recv().await {
            sleep_until(arrives).await;
            up(&mut now).await?;
            to.write_all(&packet).await?;
        }
        up(&mut now).await?;
        to.shutdown().await
    };
    let take = async move {
        let mut packet = vec![0; PACKET_BYTES];
        let mut free_at = clock();
        loop {
            let read = from.read(&mut packet).await;
            if read.is_err() {
                // A reset is as silent as all else.
                up(&mut at_end).await?;
            }
            let bytes = read?;
            if bytes == 0 {
                return Ok(());
            }
            ends.carried.fetch_add(bytes as u64, Relaxed);
            if let Some(rate) = ends.line.bytes_per_sec {
                free_at = free_at.max(clock()) + Duration::from_secs_f64(bytes as f64 / f64::from(rate));
                sleep_until(free_at).await;
            }
            let arrives = clock() + ends.line.time(&mut rng);
            sender.send((arrives, packet[..bytes].to_vec())).await.map_err(io::Error::other)?;
        }
    };
    tokio::try_join!(take, deliver)?;
    Ok(())
}

fn clock() -> Instant {
    Instant::from_std(devp2p::clock::now().instant)
}
