//! Streams of all service protocols: a small behaviour beside the others.
//!
//! A peer's stream goes to [`Server::accept`] in the moment its protocol is agreed on, so that none is dropped between the two. A stream to a
//! peer is opened on any connection with it; without one, the peer is called at the addresses that the asker knows. [`Lines`] lead to
//! connections past the swarm and its task, and what is to be done on a stream may be done by the connection's own task: a push then
//! wakes one task instead of three.
//!
//! Limits: [`WAITING`] streams wait for a call to a peer, [`OPENING`] to be opened on a connection, and as many in its line; a further one fails
//! at once. Those that a peer opens and has not named a protocol for are bounded by libp2p, and those that a connection works on by who gives
//! it the work.

use std::{
    array,
    collections::{HashMap, VecDeque},
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    io,
    iter::Take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};

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
use tokio::sync::{mpsc, oneshot};

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

impl OpenError {
    /// Of a stream on which the peer was to agree on the protocol.
    pub(crate) fn of(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::Unsupported { Self::Unsupported } else { Self::Io(error) }
    }
}

/// A stream, and what is spoken on it.
pub(crate) type Opened = Result<(Protocol, Stream), OpenError>;

/// A stream that somebody waits for.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) offer: Offer,
    pub(crate) then: Then,
}

/// What becomes of a stream once it is open, or is not.
pub(crate) enum Then {
    /// Who waits for it has it.
    Give(oneshot::Sender<Opened>),
    /// This is done by the connection's task. Dropped undone, or half done, when the connection ends.
    Do(Work),
}

/// What is done on a stream.
pub(crate) type Work = Box<dyn FnOnce(Opened) -> BoxFuture<'static, ()> + Send>;

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Give(_) => "Give",
            Self::Do(_) => "Do",
        })
    }
}

impl Then {
    /// Does anybody still want it?
    fn is_wanted(&self) -> bool {
        match self {
            Self::Give(done) => !done.is_closed(),
            Self::Do(_) => true,
        }
    }

    /// Gives what is to be done now. A caller that stopped waiting needs no answer.
    fn end(self, outcome: Opened) -> Option<BoxFuture<'static, ()>> {
        match self {
            Self::Give(done) => {
                let _ = done.send(outcome);
                None
            }
            Self::Do(work) => Some(work(outcome)),
        }
    }
}

impl Open {
    /// Where there is no connection. Work is dropped undone.
    fn fail(self, error: OpenError) {
        if let Then::Give(done) = self.then {
            let _ = done.send(Err(error));
        }
    }
}

/// The way to one connection.
#[derive(Debug)]
struct Line {
    connection: ConnectionId,
    queue: mpsc::Sender<Open>,
}

/// The ways to all connections.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<PeerId, Vec<Line>>>);

impl Lines {
    /// No holder panics; if one did, each line is whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Vec<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream on the newest connection with a peer that is connected. On an error, `open` is dropped.
    pub(crate) fn open(&self, peer: &PeerId, open: Open) -> Result<(), OpenError> {
        let queue = self.lock().get(peer).and_then(|lines| Some(lines.last()?.queue.clone()));
        queue.ok_or(OpenError::NotConnected)?.try_send(open).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => OpenError::Busy,
            mpsc::error::TrySendError::Closed(_) => OpenError::Closed,
        })
    }

    fn add(&self, peer: PeerId, connection: ConnectionId) -> mpsc::Receiver<Open> {
        let (queue, line) = mpsc::channel(OPENING);
        self.lock().entry(peer).or_default().push(Line { connection, queue });
        line
    }

    fn remove(&self, peer: &PeerId, connection: ConnectionId) {
        let mut all = self.lock();
        if let Some(lines) = all.get_mut(peer) {
            lines.retain(|line| line.connection != connection);
            if lines.is_empty() {
                all.remove(peer);
            }
        }
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
    lines: Arc<Lines>,
    /// The connections of each connected peer.
    connected: HashMap<PeerId, usize>,
    calls: HashMap<PeerId, Call>,
    actions: VecDeque<ToSwarm<Infallible, Open>>,
}

impl Behaviour {
    pub(crate) fn new(server: Server, lines: Arc<Lines>) -> Self {
        Self { server, lines, connected: HashMap::new(), calls: HashMap::new(), actions: VecDeque::new() }
    }

    /// Opens a stream; the swarm is to be polled afterwards.
    pub(crate) fn open(&mut self, target: Target, open: Open) {
        let Target { peer, addrs } = target;
        if self.connected.contains_key(&peer) {
            return self.notify(peer, open);
        }
        if self.waiting() >= WAITING {
            return open.fail(OpenError::Busy);
        }
        if let Some(call) = self.calls.get_mut(&peer) {
            return call.waiting.push(open);
        }
        if addrs.is_empty() {
            return open.fail(OpenError::NotConnected);
        }
        // Also while another call is under way, which may be to a wrong address; from a port of its own, as every call.
        let opts =
            DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addrs).allocate_new_port().build();
        self.calls.insert(peer, Call { connection: opts.connection_id(), waiting: vec![open] });
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    /// Streams that wait for a call; those whose asker has gone are forgotten.
    fn waiting(&mut self) -> usize {
        self.calls.values_mut().for_each(|call| call.waiting.retain(|open| open.then.is_wanted()));
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
                open.fail(OpenError::Dial(error.to_string()));
            }
        }
    }

    fn handler(&self, peer: PeerId, connection: ConnectionId) -> Handler {
        Handler {
            peer,
            connection,
            server: self.server.clone(),
            lines: Arc::clone(&self.lines),
            line: self.lines.add(peer, connection),
            opening: 0,
            wanted: VecDeque::new(),
            working: FuturesUnordered::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
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

/// The protocols of a stream, of which one is agreed on, most wanted first. libp2p asks for those that are served at each turn of a connection:
/// nothing is allocated for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    protocols: [Protocol; Protocol::COUNT],
    count: usize,
}

impl FromIterator<Protocol> for Offer {
    /// Takes [`Protocol::COUNT`] of them.
    fn from_iter<I: IntoIterator<Item = Protocol>>(offered: I) -> Self {
        let (mut protocols, mut count) = (Protocol::ALL, 0);
        for (place, protocol) in protocols.iter_mut().zip(offered) {
            *place = protocol;
            count += 1;
        }
        Self { protocols, count }
    }
}

impl UpgradeInfo for Offer {
    type Info = Protocol;
    type InfoIter = Take<array::IntoIter<Protocol, { Protocol::COUNT }>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.protocols.into_iter().take(self.count)
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
    connection: ConnectionId,
    server: Server,
    lines: Arc<Lines>,
    line: mpsc::Receiver<Open>,
    /// How many are being opened.
    opening: usize,
    wanted: VecDeque<Open>,
    /// On streams that were opened.
    working: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.lines.remove(&self.peer, self.connection);
    }
}

impl Handler {
    /// The next stream to open.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<Open> {
        if self.wanted.is_empty()
            && self.opening < OPENING
            && let Poll::Ready(open) = self.line.poll_recv(cx)
        {
            return open;
        }
        self.wanted.pop_front()
    }

    fn opened(&mut self, then: Then, outcome: Opened) {
        self.opening = self.opening.saturating_sub(1);
        self.working.extend(then.end(outcome));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Then;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.server.offer(), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        while let Poll::Ready(Some(())) = self.working.poll_next_unpin(cx) {}
        let Some(Open { offer, then }) = self.next(cx) else { return Poll::Pending };
        self.opening += 1;
        let protocol = SubstreamProtocol::new(offer, then);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, open: Open) {
        if self.opening + self.wanted.len() >= OPENING {
            return open.fail(OpenError::Busy);
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
                self.opened(info, Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opened(info, Err(not_opened(error)));
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
