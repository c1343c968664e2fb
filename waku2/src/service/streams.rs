//! Streams of all service protocols: a small behaviour beside the others.
//!
//! A peer's stream goes to [`Server::accept`] in the moment its protocol is agreed on, so that none is dropped between the two. A stream to a
//! peer is opened on any connection with it; without one, the peer is called at the addresses that the asker knows.
//!
//! Limits: [`WAITING`] streams wait for a call to a peer, [`OPENING`] to be opened on a connection; a further one fails at once. Those that a
//! peer opens and has not named a protocol for are bounded by libp2p.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::oneshot;

use super::{Protocol, Target, serve::Server};

/// Streams that wait until their peer is reached, in all.
pub(crate) const WAITING: usize = 256;

/// Streams that are being opened on one connection: a part of those that it may have.
const OPENING: usize = 64;

/// Why there is no stream to a peer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not connected, and nobody knows where it is.
    #[error("it is not connected, and its address is not known")]
    NotConnected,
    /// It could not be called.
    #[error("it cannot be reached: {0}")]
    Dial(String),
    /// It speaks none of the protocols.
    #[error("it does not serve this")]
    Unsupported,
    /// It did not agree on a protocol in time.
    #[error("it did not answer in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// Too many are being opened.
    #[error("too many streams are being opened")]
    Busy,
    /// The connection ended, or the node.
    #[error("the connection ended")]
    Closed,
}

/// A stream, and what is spoken on it.
pub(crate) type Opened = Result<(Protocol, Stream), OpenError>;

/// A stream that somebody waits for.
#[derive(Debug)]
pub(crate) struct Open {
    /// What may be spoken on it, most wanted first.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) done: oneshot::Sender<Opened>,
}

impl Open {
    /// A caller that stopped waiting needs no answer.
    fn end(self, outcome: Opened) {
        let _ = self.done.send(outcome);
    }
}

/// A call to a peer that is under way.
#[derive(Debug)]
struct Call {
    connection: ConnectionId,
    waiting: Vec<Open>,
}

/// The behaviour.
pub(crate) struct Behaviour {
    server: Server,
    /// The connections of each connected peer.
    connected: HashMap<PeerId, usize>,
    calls: HashMap<PeerId, Call>,
    actions: VecDeque<ToSwarm<Infallible, Open>>,
}

impl Behaviour {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, connected: HashMap::new(), calls: HashMap::new(), actions: VecDeque::new() }
    }

    /// Opens a stream; the swarm is to be polled afterwards.
    pub(crate) fn open(&mut self, target: Target, open: Open) {
        let Target { peer, addrs } = target;
        if self.connected.contains_key(&peer) {
            return self.notify(peer, open);
        }
        if self.waiting() >= WAITING {
            return open.end(Err(OpenError::Busy));
        }
        if let Some(call) = self.calls.get_mut(&peer) {
            return call.waiting.push(open);
        }
        if addrs.is_empty() {
            return open.end(Err(OpenError::NotConnected));
        }
        // Also while another call is under way, which may be to a wrong address; from a port of its own, as every call.
        let opts =
            DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addrs).allocate_new_port().build();
        self.calls.insert(peer, Call { connection: opts.connection_id(), waiting: vec![open] });
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    /// Streams that wait for a call; those whose asker has gone are forgotten.
    fn waiting(&mut self) -> usize {
        self.calls.values_mut().for_each(|call| call.waiting.retain(|open| !open.done.is_closed()));
        self.calls.values().map(|call| call.waiting.len()).sum()
    }

    fn notify(&mut self, peer: PeerId, open: Open) {
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::Any, event: open });
    }

    fn established(&mut self, peer: PeerId) {
        *self.connected.entry(peer).or_default() += 1;
        for open in self.calls.remove(&peer).into_iter().flat_map(|call| call.waiting) {
            self.notify(peer, open);
        }
    }

    fn closed(&mut self, peer: PeerId) {
        if let Some(count) = self.connected.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.connected.remove(&peer);
            }
        }
    }

    fn not_reached(&mut self, peer: PeerId, connection: ConnectionId, error: &DialError) {
        if self.calls.get(&peer).is_some_and(|call| call.connection == connection) {
            for open in self.calls.remove(&peer).into_iter().flat_map(|call| call.waiting) {
                open.end(Err(OpenError::Dial(error.to_string())));
            }
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler { peer, server: self.server.clone(), opening: 0, wanted: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.established(established.peer_id),
            FromSwarm::ConnectionClosed(closed) => self.closed(closed.peer_id),
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.not_reached(peer, failure.connection_id, failure.error);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The protocols of a stream, of which one is agreed on.
#[derive(Debug, Clone)]
pub(crate) struct Offer(Vec<Protocol>);

impl UpgradeInfo for Offer {
    type Info = Protocol;
    type InfoIter = std::vec::IntoIter<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

/// One connection's part.
pub(crate) struct Handler {
    peer: PeerId,
    server: Server,
    /// How many are being opened.
    opening: usize,
    wanted: VecDeque<Open>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Opened>;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.server.protocols()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        let Some(Open { protocols, done }) = self.wanted.pop_front() else { return Poll::Pending };
        self.opening += 1;
        let protocol = SubstreamProtocol::new(Offer(protocols), done);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, open: Open) {
        if self.opening + self.wanted.len() >= OPENING {
            return open.end(Err(OpenError::Busy));
        }
        self.wanted.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Self::OutboundOpenInfo>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream), ..
            }) => {
                self.server.accept(self.peer, protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opening = self.opening.saturating_sub(1);
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opening = self.opening.saturating_sub(1);
                let _ = info.send(Err(not_opened(error)));
            }
            _ => {}
        }
    }
}

fn not_opened(error: StreamUpgradeError<Infallible>) -> OpenError {
    match error {
        StreamUpgradeError::Timeout => OpenError::Timeout,
        StreamUpgradeError::Apply(never) => match never {},
        StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
        StreamUpgradeError::Io(error) => OpenError::Io(error),
    }
}
