//! mplex: many streams within one connection, without flow control.  Spec: libp2p, mplex; deployed: the only muxer that js-waku offers as
//! released.
//!
//! | Module | What |
//! |---|---|
//! | `frame` | heads of frames |
//! | `session` | the streams of a connection: bytes in, bytes out; pure |
//! | `muxer` | the shell: libp2p's traits over it |
//!
//! A sender in mplex never learns that nobody reads. So what waits unread is counted in bytes for the whole connection: at
//! [`MAX_UNREAD_BYTES`] no more is taken from it until some of that is read or its stream is dropped, and TCP holds the peer up. No frame
//! is waited for as a whole, so that its length does not matter. With this a connection holds at most about twice that much of our memory
//! (buffers grow by doubling) whatever its peer sends, and [`crate::limits`] says how many connections there are.

mod frame;
mod muxer;
mod session;

use std::{
    future::{Ready, ready},
    io, iter,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

use muxer::Muxer;

/// The protocol's name.  Spec: mplex, "Protocol id".
const NAME: &str = "/mplex/6.7.0";

/// Bytes of one connection, in all its streams, that nobody has read yet. Beyond it nothing is taken from the connection. Three messages
/// of the largest size wait together (64/WAKU2-NETWORK); a stream of yamux may hold half of it.
pub const MAX_UNREAD_BYTES: usize = 512 * 1024;

/// Streams of one connection, either way; one beyond it is refused, and we open none.  Deployed: libp2p in Rust; a js-waku client has a dozen.
pub const MAX_STREAMS: usize = 128;

/// Streams refused before the connection ends: whoever opens so many does not look at the refusals.
pub const MAX_REFUSED: usize = 1_000;

/// Longest frame, in bytes, its head not counted.  Spec: mplex, "Implementation notes".
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// The way to speak mplex over a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Config;

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
        ready(Ok(Muxer::new(io)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io)))
    }
}
