//! Answers to pings, on several streams at a time.
//!
//! libp2p's own behaviour answers on one: a second stream resets the first, and js-libp2p ends a connection whose ping was reset. But
//! js-libp2p's watch over its connections and js-waku's keep-alive ping on streams of their own. So these are answered here, and libp2p's
//! behaviour is left to ping.
//!
//! [`Answers`] knows bytes alone; [`Behaviour`] puts it into a swarm. Limit: [`STREAMS`] of a connection, the oldest goes.
//! Spec: libp2p, ping.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    ping,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};

/// Streams of a connection on which pings are answered: js-waku has two, go-libp2p one.
pub(crate) const STREAMS: usize = 8;

/// What is sent back.
const PING_BYTES: usize = 32;

/// The streams of a connection on which pings come, oldest first.
#[derive(Default)]
pub(crate) struct Answers(VecDeque<BoxFuture<'static, io::Result<Infallible>>>);

impl Answers {
    /// Pings may come on this one too.
    fn push(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        if self.0.len() == STREAMS {
            self.0.pop_front();
        }
        self.0.push_back(answers(stream).boxed());
    }

    /// Answers what has come, and forgets streams that have ended.
    fn poll(&mut self, context: &mut Context<'_>) {
        self.0.retain_mut(|stream| stream.poll_unpin(context).is_pending());
    }
}

/// Sends back what comes, until the stream ends.
async fn answers(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Infallible> {
    let mut ping = [0; PING_BYTES];
    loop {
        stream.read_exact(&mut ping).await?;
        stream.write_all(&ping).await?;
        stream.flush().await?;
    }
}

/// Answers the pings of all peers. To stand before libp2p's, which would take their streams.
#[derive(Debug)]
pub(crate) struct Behaviour;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Answers on one connection.
#[derive(Default)]
pub(crate) struct Handler(Answers);

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Infallible;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        SubstreamProtocol::new(ReadyUpgrade::new(ping::PROTOCOL_NAME), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.0.poll(context);
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
            self.take(protocol);
        }
    }
}

impl Handler {
    fn take(&mut self, mut stream: Stream) {
        stream.ignore_for_keep_alive();
        self.0.push(stream);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{Arc, Mutex},
        task::Waker,
    };

    use super::*;

    /// The two ends of a stream as tests see them.
    #[derive(Debug, Clone, Default)]
    struct Line(Arc<Mutex<Ends>>);

    #[derive(Debug, Default)]
    struct Ends {
        comes: VecDeque<u8>,
        went: Vec<u8>,
        is_over: bool,
    }

    impl Line {
        fn ping(&self, bytes: &[u8]) {
            self.0.lock().unwrap().comes.extend(bytes);
        }

        fn pongs(&self) -> Vec<u8> {
            std::mem::take(&mut self.0.lock().unwrap().went)
        }

        fn end(&self) {
            self.0.lock().unwrap().is_over = true;
        }

        /// Does anybody answer on it?
        fn is_held(&self) -> bool {
            Arc::strong_count(&self.0) > 1
        }
    }

    impl AsyncRead for Line {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut ends = self.0.lock().unwrap();
            let read = into.len().min(ends.comes.len());
            if read == 0 && !ends.is_over {
                return Poll::Pending;
            }
            for (to, byte) in into.iter_mut().zip(ends.comes.drain(..read)) {
                *to = byte;
            }
            Poll::Ready(Ok(read))
        }
    }

    impl AsyncWrite for Line {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().went.extend(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn poll(answers: &mut Answers) {
        answers.poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_ping_that_is_half_here_is_answered_though_another_stream_comes() {
        let (mut answers, [one, other]) = (Answers::default(), [Line::default(), Line::default()]);
        answers.push(one.clone());
        one.ping(&[1; 16]);
        poll(&mut answers);
        answers.push(other.clone());
        other.ping(&[2; 32]);
        poll(&mut answers);
        assert_eq!((one.pongs(), other.pongs()), (vec![], vec![2; 32]));
        one.ping(&[1; 16]);
        other.ping(&[3; 32]);
        poll(&mut answers);
        assert_eq!((one.pongs(), other.pongs()), (vec![1; 32], vec![3; 32]));
    }

    #[test]
    fn streams_end_with_their_peer_and_beyond_the_bound_the_oldest() {
        let (mut answers, lines) = (Answers::default(), [(); STREAMS + 1].map(|()| Line::default()));
        lines.iter().for_each(|line| answers.push(line.clone()));
        assert!(!lines[0].is_held() && lines[1..].iter().all(Line::is_held));
        lines[3].ping(&[4; 31]);
        lines[3].end();
        poll(&mut answers);
        assert!(!lines[3].is_held() && lines[3].pongs().is_empty());
        assert_eq!(answers.0.len(), STREAMS - 1);
    }
}
