//! The shell of a [`Session`]: its socket, and libp2p's traits.
//!
//! The connection's own task alone reads and writes the socket, in [`StreamMuxer::poll`], which libp2p calls at each of its turns; a
//! stream only looks into the session, and wakes that task where there is something to do.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::{
    frame::StreamId,
    session::{NotWritable, Read, Session},
};

/// Bytes that are read from the socket at once.
const PIECE_BYTES: usize = 8 * 1024;

/// Pieces that are read in one turn; then the streams have theirs.
const PIECES: usize = 16;

/// A connection that is split into streams.
pub(crate) struct Muxer<C>(Arc<Mutex<Inner<C>>>);

/// One of them.
pub(crate) struct Substream<C> {
    id: StreamId,
    inner: Arc<Mutex<Inner<C>>>,
}

struct Inner<C> {
    io: C,
    session: Session,
    /// Something was written since the socket was last flushed.
    unflushed: bool,
    /// The peer has ended the connection. What it sent before is still to be read.
    ended: bool,
    /// Why nothing more can be done.
    failed: Option<(io::ErrorKind, String)>,
    /// The connection's task.
    driver: Option<Waker>,
    acceptor: Option<Waker>,
    opener: Option<Waker>,
    /// One a stream, as the next.
    readers: HashMap<StreamId, Waker>,
    writers: HashMap<StreamId, Waker>,
}

impl<C> Muxer<C> {
    pub(super) fn new(io: C) -> Self {
        let inner = Inner {
            io,
            session: Session::default(),
            unflushed: false,
            ended: false,
            failed: None,
            driver: None,
            acceptor: None,
            opener: None,
            readers: HashMap::new(),
            writers: HashMap::new(),
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn substream(&self, id: StreamId) -> Substream<C> {
        Substream { id, inner: Arc::clone(&self.0) }
    }
}

/// No holder panics; if one did, the session's own checks still hold.
fn lock<C>(inner: &Mutex<Inner<C>>) -> MutexGuard<'_, Inner<C>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> Inner<C> {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
            None => Ok(()),
        }
    }

    /// Ends everything: the streams give back what they hold, and all who wait are told.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.failed = Some((error.kind(), error.to_string()));
        self.session = Session::default();
        self.wake_all();
        error
    }

    fn wake_all(&mut self) {
        self.readers.drain().chain(self.writers.drain()).for_each(|(_, waker)| waker.wake());
        [self.acceptor.take(), self.opener.take()].into_iter().flatten().for_each(Waker::wake);
    }

    /// The connection's task has something to do.
    fn drive_on(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// After what came: readers, and who waits for streams.
    fn tell_readers(&mut self) {
        for id in self.session.readable() {
            if let Some(reader) = self.readers.remove(&id) {
                reader.wake();
            }
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.wake();
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Inner<C> {
    /// Sends what waits, as far as the socket takes it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.out().is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, self.session.out()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.session.sent(sent);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what comes, as far as there is room for it.
    fn take(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        for _ in 0..PIECES {
            if self.session.is_full() || self.ended {
                return Ok(());
            }
            let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, &mut piece) else { return Ok(()) };
            let read = read?;
            self.ended = read == 0;
            self.session.receive(&piece[..read]).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
            self.tell_readers();
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.driver = Some(cx.waker().clone());
        if self.ended {
            // The readers have had their turn.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = self.session.out().len();
        let idle = matches!(self.send(cx)?, Poll::Ready(()));
        if idle || self.session.out().len() < before {
            self.writers.drain().for_each(|(_, writer)| writer.wake());
        }
        self.take(cx)?;
        if self.ended {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream<C>;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream<C>>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        let Some(id) = inner.session.accept() else {
            inner.acceptor = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(Ok(self.substream(id)))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream<C>>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        let Some(id) = inner.session.open() else {
            inner.opener = Some(cx.waker().clone());
            return Poll::Pending;
        };
        inner.drive_on();
        Poll::Ready(Ok(self.substream(id)))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        if inner.failed.is_none() {
            ready!(inner.send(cx))?;
        }
        Pin::new(&mut inner.io).poll_close(cx)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        match inner.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(inner.fail(error))),
        }
    }
}

impl<C> AsyncRead for Substream<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.inner);
        inner.check()?;
        let full = inner.session.is_full();
        match inner.session.read(self.id, into) {
            Read::Bytes(read) => {
                if full {
                    inner.drive_on();
                }
                Poll::Ready(Ok(read))
            }
            Read::End => Poll::Ready(Ok(0)),
            Read::Nothing => {
                inner.readers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<C> AsyncWrite for Substream<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.inner);
        inner.check()?;
        match inner.session.write(self.id, bytes) {
            Ok(Some(taken)) => {
                inner.drive_on();
                Poll::Ready(Ok(taken))
            }
            Ok(None) => {
                inner.writers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
            Err(NotWritable) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        inner.check()?;
        if inner.session.out().is_empty() && !inner.unflushed {
            return Poll::Ready(Ok(()));
        }
        inner.writers.insert(self.id, cx.waker().clone());
        inner.drive_on();
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.inner).session.close(self.id);
        self.poll_flush(cx)
    }
}

impl<C> Drop for Substream<C> {
    fn drop(&mut self) {
        let mut inner = lock(&self.inner);
        inner.readers.remove(&self.id);
        inner.writers.remove(&self.id);
        inner.session.drop_stream(self.id);
        if let Some(opener) = inner.opener.take() {
            opener.wake();
        }
        inner.drive_on();
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, future::join_all, future::poll_fn};
    use libp2p::tcp;

    use super::*;
    use crate::{
        mplex::{MAX_STREAMS, MAX_UNREAD_BYTES},
        transport::tests::tcp_pair,
    };

    type Stream = tcp::tokio::TcpStream;

    /// Two muxers at the ends of a connection, each with a task that polls it.
    async fn pair() -> [Muxer<Stream>; 2] {
        tcp_pair().await.map(|stream| {
            let muxer = Muxer::new(stream);
            let mut driven = Muxer(Arc::clone(&muxer.0));
            tokio::spawn(poll_fn(move |cx| Pin::new(&mut driven).poll(cx)));
            muxer
        })
    }

    async fn open(muxer: &mut Muxer<Stream>) -> Substream<Stream> {
        poll_fn(|cx| Pin::new(&mut *muxer).poll_outbound(cx)).await.unwrap()
    }

    async fn accept(muxer: &mut Muxer<Stream>) -> Substream<Stream> {
        poll_fn(|cx| Pin::new(&mut *muxer).poll_inbound(cx)).await.unwrap()
    }

    async fn all(mut stream: Substream<Stream>) -> Vec<u8> {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn h61_streams_that_nobody_reads_hold_the_peer_up_until_somebody_does() {
        const STREAMS: u8 = 20;
        const BYTES: usize = MAX_UNREAD_BYTES;
        let [mut a, mut b] = pair().await;
        for n in 0..STREAMS {
            let mut stream = open(&mut a).await;
            tokio::spawn(async move {
                stream.write_all(&vec![n; BYTES]).await.unwrap();
                stream.close().await.unwrap();
                // Until the peer has closed as well.
                stream.read(&mut [0]).await.unwrap()
            });
        }
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(accept(&mut b).await);
        }
        while !lock(&b.0).session.is_full() {
            tokio::task::yield_now().await;
        }
        let held = lock(&b.0).session.unread();
        assert!((MAX_UNREAD_BYTES..=MAX_UNREAD_BYTES + PIECE_BYTES).contains(&held), "{held}");
        let read = join_all(streams.into_iter().map(all)).await;
        let mut firsts: Vec<u8> = read.iter().map(|bytes| bytes[0]).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, (0..STREAMS).collect::<Vec<_>>());
        assert!(read.iter().all(|bytes| bytes.len() == BYTES && bytes.iter().all(|byte| *byte == bytes[0])));
        assert_eq!(lock(&b.0).session.unread(), 0);
    }

    #[tokio::test]
    async fn a_dropped_stream_makes_room_for_bytes_and_for_another() {
        let [mut a, mut b] = pair().await;
        let mut streams = Vec::new();
        for _ in 0..MAX_STREAMS {
            streams.push(open(&mut a).await);
        }
        let mut first = streams.remove(0);
        let write = tokio::spawn(async move {
            let mut written = 0;
            while first.write_all(&[7; 10_000]).await.is_ok() {
                written += 10_000;
            }
            written
        });
        let unread = accept(&mut b).await;
        while !lock(&b.0).session.is_full() {
            tokio::task::yield_now().await;
        }
        // Nobody has read it: the writer is told by a reset, and one more may be opened.
        drop(unread);
        assert!(write.await.unwrap() >= MAX_UNREAD_BYTES / 2);
        let mut another = open(&mut a).await;
        another.write_all(b"in its place").await.unwrap();
        another.close().await.unwrap();
        for _ in 0..streams.len() {
            drop(accept(&mut b).await);
        }
        assert_eq!(all(accept(&mut b).await).await, b"in its place");
    }

    #[tokio::test]
    async fn what_came_before_the_end_of_a_connection_is_read() {
        let [mut a, mut b] = pair().await;
        let mut stream = open(&mut a).await;
        stream.write_all(b"last words").await.unwrap();
        stream.flush().await.unwrap();
        poll_fn(|cx| Pin::new(&mut a).poll_close(cx)).await.unwrap();
        let mut heard = [0; 10];
        let mut stream = accept(&mut b).await;
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"last words");
        assert_eq!(stream.read(&mut heard).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
