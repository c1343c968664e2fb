//! yamux: many streams within one connection, each with a window.  Spec: yamux; deployed: all Waku nodes but js-waku as released.
//!
//! The protocol is the crate's that libp2p takes as well. Around it stands here what libp2p does not let one set: by how much the windows of
//! a connection may grow together, which is a gibibyte there. A window grows when a peer fills it within two round trips, so that peers far
//! away are not slowed down; what it has grown by is memory that this peer may fill.
//!
//! The library flushes each frame. Here the socket is flushed when a turn of the connection is over, so that what was written in it goes together:
//! a packet and a call to the system instead of several. A turn ends when nothing more has come, or tokio takes the word from who reads for long.

use std::{
    collections::VecDeque,
    future::{self, Ready},
    io, iter,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Connection, ConnectionError, DEFAULT_CREDIT, Mode, Stream};

/// The protocol's name.  Deployed: libp2p.
const NAME: &str = "/yamux/1.0.0";

/// Streams of one connection, either way; one beyond it ends the connection. A peer has some ten.
pub const MAX_STREAMS: usize = 128;

/// Bytes by which all windows of one connection together may grow beyond the first ones.
pub const MAX_GROWTH_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of one connection that nobody has read yet: the first windows of all its streams, 256 KiB each, and what they have grown by.
/// Streams are read as they come or dropped, so that a few of them is what a peer can fill.
pub const MAX_UNREAD_BYTES: usize = MAX_STREAMS * DEFAULT_CREDIT as usize + MAX_GROWTH_BYTES;

/// The way to speak yamux over a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Config;

/// The socket of a connection, which it shares with its [`Muxer`]: to flush it is for the latter. Only one task has to do with either.
struct Socket<C>(Arc<Mutex<Unflushed<C>>>);

struct Unflushed<C> {
    io: C,
    /// Was anything written since it was last flushed?
    written: bool,
}

impl<C> Socket<C> {
    fn new(io: C) -> Self {
        Self(Arc::new(Mutex::new(Unflushed { io, written: false })))
    }

    /// No holder panics; if one did, the socket is as it was.
    fn lock(&self) -> MutexGuard<'_, Unflushed<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: AsyncWrite + Unpin> Socket<C> {
    /// Sends what was written.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Unflushed { io, written } = &mut *self.lock();
        if *written {
            ready!(Pin::new(io).poll_flush(cx))?;
            *written = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Socket<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().io).poll_read(cx, into)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Socket<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Unflushed { io, written } = &mut *self.lock();
        *written = true;
        Pin::new(io).poll_write(cx, bytes)
    }

    /// Later: see [`Socket::poll_sent`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = &mut self.lock().io;
        ready!(Pin::new(&mut *io).poll_flush(cx))?;
        Pin::new(io).poll_close(cx)
    }
}

/// A connection that is split into streams.
pub(crate) struct Muxer<C> {
    connection: Connection<Socket<C>>,
    socket: Socket<C>,
    /// Opened by the peer and not yet asked for; [`MAX_STREAMS`] at most, for they count as such.
    opened: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, mode: Mode) -> Self {
        let mut config = yamux::Config::default();
        // In this order: the library panics where the windows do not hold the streams.
        config.set_max_num_streams(MAX_STREAMS).set_max_connection_receive_window(Some(MAX_UNREAD_BYTES));
        let socket = Socket::new(io);
        let connection = Connection::new(Socket(Arc::clone(&socket.0)), config, mode);
        Self { connection, socket, opened: VecDeque::new(), acceptor: None }
    }

    /// Does what there is to do, until the connection ends.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            match ready!(self.connection.poll_next_inbound(cx)) {
                Some(Ok(stream)) => self.opened.push_back(stream),
                Some(Err(error)) => return Poll::Ready(broken(error)),
                None => return Poll::Ready(broken(ConnectionError::Closed)),
            }
            if let Some(acceptor) = self.acceptor.take() {
                acceptor.wake();
            }
        }
    }
}

fn broken(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        // The connection itself is polled below, at each of libp2p's turns.
        self.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.connection.poll_new_outbound(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(broken)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let turned = self.poll_turn(cx);
        match self.socket.poll_sent(cx) {
            Poll::Ready(Err(error)) if turned.is_pending() => Poll::Ready(Err(error)),
            // What is still to be sent wakes this task.
            _ => turned.map(Err),
        }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(NAME)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        future::ready(Ok(Muxer::new(io, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        future::ready(Ok(Muxer::new(io, Mode::Client)))
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
    use libp2p::tcp;
    use tokio::{
        select,
        time::{Duration, timeout},
    };

    use super::*;
    use crate::transport::tests::tcp_pair;

    type Ours = Muxer<tcp::tokio::TcpStream>;

    async fn pair() -> [Ours; 2] {
        let [dialled, accepted] = tcp_pair().await;
        [Muxer::new(dialled, Mode::Client), Muxer::new(accepted, Mode::Server)]
    }

    /// Polls a connection, and with it whatever else is to be done, until that is done.
    async fn driving<T>(muxer: &mut Ours, mut work: impl FnMut(&mut Ours, &mut Context<'_>) -> Poll<T>) -> T {
        let driven = poll_fn(|cx| {
            if let Poll::Ready(done) = work(muxer, cx) {
                return Poll::Ready(done);
            }
            match Pin::new(&mut *muxer).poll(cx) {
                Poll::Ready(ended) => panic!("{:?}", ended.map(drop)),
                // What came may be what was waited for.
                Poll::Pending => work(muxer, cx),
            }
        });
        timeout(Duration::from_secs(60), driven).await.expect("in time")
    }

    /// Until the connection ends.
    async fn ends(muxer: &mut Ours) -> io::Error {
        poll_fn(|cx| Pin::new(&mut *muxer).poll(cx)).await.err().unwrap()
    }

    async fn open(muxer: &mut Ours) -> Stream {
        let mut stream = driving(muxer, |muxer, cx| Pin::new(muxer).poll_outbound(cx)).await.unwrap();
        // The other side learns of a stream with what is first written on it.
        driving(muxer, |_, cx| Pin::new(&mut stream).poll_write(cx, b"x")).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn bytes_cross_both_ways() {
        let [mut a, mut b] = pair().await;
        let mut stream = open(&mut a).await;
        let here = async {
            stream.write_all(&[7; 1_000_000]).await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let mut accepted = {
            let accept = driving(&mut b, |b, cx| Pin::new(b).poll_inbound(cx));
            select! { accepted = accept => accepted.unwrap(), error = ends(&mut a) => panic!("{error}") }
        };
        let there = async {
            let mut question = Vec::new();
            accepted.read_to_end(&mut question).await.unwrap();
            accepted.write_all(b"answer").await.unwrap();
            accepted.close().await.unwrap();
            question.len()
        };
        let both = futures::future::join(here, there);
        let (answer, asked) = select! {
            both = both => both,
            error = ends(&mut a) => panic!("{error}"),
            error = ends(&mut b) => panic!("{error}"),
        };
        assert_eq!((&answer[..], asked), (&b"answer"[..], 1_000_001));
    }

    #[tokio::test]
    async fn so_many_streams_and_no_more() {
        let [mut a, mut b] = pair().await;
        let mut held = Vec::new();
        for _ in 0..MAX_STREAMS {
            held.push(open(&mut a).await);
        }
        let mut accepted = Vec::new();
        while accepted.len() < MAX_STREAMS {
            let accept = driving(&mut b, |b, cx| Pin::new(b).poll_inbound(cx));
            select! {
                stream = accept => accepted.push(stream.unwrap()),
                error = ends(&mut a) => panic!("{error}"),
            }
        }
        assert!(poll_fn(|cx| Pin::new(&mut a).poll_outbound(cx)).await.is_err(), "nor do we open one");
    }
}
