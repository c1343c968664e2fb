//! Bytes as they travel, encrypted: what connections read and write is counted, over TCP and WebSocket alike, for who watches the node.
//!
//! Limit: of WebSocket what it carries, without its frames and TLS.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};

/// Of all connections since the start.
#[derive(Debug, Default)]
pub struct Wire {
    /// Bytes read.
    pub bytes_in: AtomicU64,
    /// Bytes written.
    pub bytes_out: AtomicU64,
}

/// A connection that counts.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    wire: Arc<Wire>,
}

impl<S> Counted<S> {
    pub(crate) const fn new(stream: S, wire: Arc<Wire>) -> Self {
        Self { stream, wire }
    }
}

fn counted(sum: &AtomicU64, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(bytes)) = &done {
        sum.fetch_add(*bytes as u64, Relaxed);
    }
    done
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_read(cx, room);
        counted(&self.wire.bytes_in, done)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        rooms: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_read_vectored(cx, rooms);
        counted(&self.wire.bytes_in, done)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        counted(&self.wire.bytes_out, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        counted(&self.wire.bytes_out, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn what_goes_through_is_counted_by_its_direction() {
        let wire = Arc::new(Wire::default());
        let mut stream = Counted::new(Cursor::new(vec![7; 10]), Arc::clone(&wire));
        block_on(async {
            let mut seven = [0; 7];
            stream.read_exact(&mut seven).await.unwrap();
            stream.write_all(&[1, 2]).await.unwrap();
        });
        assert_eq!((wire.bytes_in.load(Relaxed), wire.bytes_out.load(Relaxed)), (7, 2));
    }
}
