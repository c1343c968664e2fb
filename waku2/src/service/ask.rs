//! The asking side: a stream to a peer, one request on it, one answer.
//!
//! A peer that is not connected is called first, where its address is known. What is asked is written and our half of the stream closed; of
//! several protocols the first that the peer serves is spoken.
//!
//! Limits: [`OPEN_TIME`] until there is a stream, [`ANSWER_TIME`] until there is an answer, [`Protocol::answer_cap`] for its bytes.

use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream, multiaddr};
use rand::{Rng, RngExt};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Protocol,
    choice::candidates,
    frame::{FrameError, expect_frame, write_frame},
    serve::ANSWER_TIME,
    streams::{Open, OpenError, Then},
};
use crate::{
    handle::{Command, Handle},
    run::system_rng,
};

/// How long it may take to call a peer, and again as long to agree on a protocol.  Deployed: nwaku's dial time limit, 10 s.
pub const OPEN_TIME: Duration = Duration::from_secs(20);

/// How long a frame to which there is no answer may take to be written.
pub const WRITE_TIME: Duration = Duration::from_secs(20);

/// Bytes of chance in the id of a request, twice as many digits.  Deployed: nwaku.
const ID_BYTES: usize = 10;

/// A name for a request, by which its answer is known.
#[must_use]
pub fn request_id(rng: &mut impl Rng) -> String {
    hex::encode(rng.random::<[u8; ID_BYTES]>())
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its name.
    pub peer: PeerId,
    /// Where it is, should it not be connected.
    pub addrs: Vec<Multiaddr>,
}

/// An address that does not say whose it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not end in /p2p/ID")]
pub struct NobodyNamed(Multiaddr);

/// No peer for a service. Deployed: the words of nwaku, where scripts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPeer {
    /// None is known, and none is looked for.
    #[error("No suitable service peer & no discovery method")]
    NotSought,
    /// None is known, although they are looked for.
    #[error("No suitable service peer & none discovered")]
    NoneFound,
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self { peer, addrs: Vec::new() }
    }
}

impl TryFrom<Multiaddr> for Target {
    type Error = NobodyNamed;

    fn try_from(addr: Multiaddr) -> Result<Self, NobodyNamed> {
        match addr.iter().last() {
            Some(multiaddr::Protocol::P2p(peer)) => Ok(Self { peer, addrs: vec![addr] }),
            _ => Err(NobodyNamed(addr)),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no stream to the peer.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It did not take the request, or answer it, in time.
    #[error("no answer in time")]
    Timeout,
    /// What it answered is no frame, or it answered nothing.
    #[error("no answer: {0}")]
    Frame(#[from] FrameError),
    /// This node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl AskError {
    /// Was the peer not even reached? 504 in the answers of deployed nodes to their users.
    #[must_use]
    pub const fn is_dial_failure(&self) -> bool {
        matches!(self, Self::Open(OpenError::NotConnected | OpenError::Dial(_)))
    }
}

/// A stream on which frames go to a peer, one behind the other. It ends when dropped.
#[derive(Debug)]
pub struct Outlet(Stream);

impl Outlet {
    /// Sends a frame. Returns when it is written, not when it has arrived. Cancelling leaves a part of it written: drop the outlet then.
    ///
    /// # Errors
    /// When the peer does not take it within [`WRITE_TIME`], or the stream is broken; nothing more can be sent then.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), AskError> {
        let written = timeout(WRITE_TIME, write_frame(&mut self.0, message)).await.map_err(|_| AskError::Timeout)?;
        written.map_err(|error| FrameError::from(error).into())
    }
}

impl Handle {
    /// Asks a peer. Safe to cancel, though the peer may have been asked.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, target: impl Into<Target>, protocol: Protocol, request: Bytes) -> Result<Bytes, AskError> {
        self.ask_one_of(target, &[(protocol, request)]).await.map(|(_, answer)| answer)
    }

    /// Asks a peer in the first of several protocols that it serves, and tells which that was. Safe to cancel, though the peer may have been
    /// asked.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_one_of(
        &self,
        target: impl Into<Target>,
        requests: &[(Protocol, Bytes)],
    ) -> Result<(Protocol, Bytes), AskError> {
        let (protocol, mut stream) = self.open(target.into(), requests.iter().map(|(protocol, _)| *protocol)).await?;
        let request = requests.iter().find(|(offered, _)| *offered == protocol);
        // libp2p agrees on nothing that was not offered.
        let (_, request) = request.ok_or(OpenError::Unsupported)?;
        let answered = timeout(ANSWER_TIME, async {
            write_frame(&mut stream, request).await?;
            stream.close().await?;
            expect_frame(&mut stream, protocol.answer_cap()).await
        });
        Ok((protocol, answered.await.map_err(|_| AskError::Timeout)??))
    }

    /// Sends a frame on a stream of its own, to which there is no answer. Returns when it is written, not when it has arrived.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn tell(&self, target: impl Into<Target>, protocol: Protocol, message: Bytes) -> Result<(), AskError> {
        let mut outlet = self.outlet(target, protocol).await?;
        outlet.send(&message).await?;
        let closed = timeout(WRITE_TIME, outlet.0.close()).await.map_err(|_| AskError::Timeout)?;
        closed.map_err(|error| FrameError::from(error).into())
    }

    /// Opens a stream on which any number of frames go to a peer. Safe to cancel.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn outlet(&self, target: impl Into<Target>, protocol: Protocol) -> Result<Outlet, AskError> {
        Ok(Outlet(self.open(target.into(), [protocol]).await?.1))
    }

    /// Opens a stream, on which the first of `protocols` is spoken that the peer serves.
    pub(crate) async fn open(
        &self,
        target: Target,
        protocols: impl IntoIterator<Item = Protocol>,
    ) -> Result<(Protocol, Stream), AskError> {
        let (done, opened) = oneshot::channel();
        let open = Open { offer: protocols.into_iter().collect(), then: Then::Give(done) };
        self.commands.send(Command::Open { target, open }).await.map_err(|_| AskError::Stopped)?;
        let opened = timeout(OPEN_TIME, async {
            let (protocol, mut stream) = opened.await.unwrap_or(Err(OpenError::Closed))?;
            // Until the peer has agreed: see `ahead`.
            stream.read(&mut []).await.map_err(OpenError::of)?;
            Ok((protocol, stream))
        });
        opened.await.unwrap_or(Err(OpenError::Timeout)).map_err(AskError::Open)
    }

    /// Why there is nobody to ask, where that is so: it depends on whether discovery over UDP runs.
    #[must_use]
    pub fn no_peer(&self) -> NoPeer {
        if self.shared.discv5.get().is_some() { NoPeer::NoneFound } else { NoPeer::NotSought }
    }

    /// Those to ask in one of `protocols`, best first: see [`super::choice`]. `shard` is what it is about, where that is one.
    pub async fn candidates(&self, protocols: &[Protocol], shard: Option<u16>) -> Vec<Target> {
        let named = protocols.first().map_or(&[][..], |protocol| self.shared.nodes.of(*protocol));
        let peers = if named.is_empty() { self.peers().await } else { Vec::new() };
        candidates(protocols, shard, named, &peers, &mut system_rng())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whose_it_is() {
        let peer = PeerId::random();
        let addr: Multiaddr = format!("/ip4/1.2.3.4/tcp/60000/p2p/{peer}").parse().unwrap();
        assert_eq!(Target::try_from(addr.clone()), Ok(Target { peer, addrs: vec![addr] }));
        for bad in ["/ip4/1.2.3.4/tcp/60000".to_owned(), format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}/p2p-circuit")] {
            assert!(Target::try_from(bad.parse::<Multiaddr>().unwrap()).is_err(), "{bad}");
        }
    }
}
