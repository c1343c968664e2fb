//! The shell: a [`Node`] over a [`devp2p::server`], in one task.
//!
//! Packets that wait already are read together, up to [`BATCH_EVENTS`] or [`BATCH_BYTES`], before what follows from
//! them is sent: under load envelopes then share packets, and an idle node delays nothing.
//! Limits: [`SERVER_EVENTS`] packets wait for the node, and connections wait with them, so that TCP slows the senders.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use devp2p::{
    CloseCause, ConnId, Enode, Limits, Network, NodeId, NodeKey, Packet, Server, ServerConfig, ServerEvent,
    ServerHandle, TrySendError, clock::now,
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError as EventError},
        oneshot,
    },
    task::JoinHandle,
    time::sleep_until,
};
use tracing::{debug, info};

pub use devp2p::StartError;

use crate::{
    accounting::{Epoch, Traffic},
    confirm::Outcome,
    counters::count,
    envelope::{Envelope, EnvelopeHash},
    handle::{COMMAND_QUEUE, Command, Event, Handle, MailRequest, Mailroom, NotSent, PeerInfo, PostWatch},
    mail::{Asked, reply::Reply},
    node::{Action, Node, PostError, Posted, Settings},
    packet::Code,
    peer::Remote,
    upkeep::{Member, Shares, Upkeep},
    version::Version,
};

/// Packets from connections that wait for the node: a batch. Each may be of 16 MiB, but a deployed peer sends a few
/// small ones a second.
pub const SERVER_EVENTS: usize = BATCH_EVENTS;

/// Packets read before what follows from them is sent.
pub const BATCH_EVENTS: usize = 64;

/// Bytes of packets read before what follows from them is sent: about a millisecond of hashing.
pub const BATCH_BYTES: usize = 128 << 10;

/// Bytes that a connection may have to do before history waits: little enough that gossip behind it is not held up, and
/// enough that the connection never waits for the next packet of an answer.
pub const MAIL_AHEAD: usize = 256 << 10;

/// News of peers that wait for the consumer: two for each peer that a node can have.
const MAX_OWED: usize = 2 * crate::node::MAX_PEERS;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's static key.
    pub key: NodeKey,
    /// Name and version of the client, as peers log it.
    pub client_id: String,
    /// Where to listen; `None` to dial only. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Nodes to stay connected to, redialled for ever.
    pub static_nodes: Vec<Enode>,
    /// Bounds of the connections.
    pub limits: Limits,
    /// Further ports, our address outside, trusted nodes, the address book.
    pub network: Network,
    /// What the node takes, keeps and announces.
    pub settings: Settings,
    /// Who keeps accounts, if anyone does. When this queue is full, an epoch is lost and counted.
    pub accounts: Option<mpsc::Sender<Epoch>>,
    /// Who serves history, if anyone does.
    pub mail: Option<Mailroom>,
}

/// Starts a node. The task ends after [`Handle::shutdown`], or when all handles are dropped.
///
/// # Errors
/// [`StartError`] when the port is taken or the system gives no randomness.
pub async fn start(config: Config, events: mpsc::Sender<Event>) -> Result<(Handle, JoinHandle<()>), StartError> {
    let (inbox, packets) = mpsc::channel(SERVER_EVENTS);
    let mut settings = Settings { serves_mail: config.mail.is_some(), ..config.settings };
    let known = config.static_nodes.iter().chain(&config.network.trusted_nodes);
    settings.whitelist.extend(known.map(Into::into));
    let shares = Shares::new(&settings.versions, config.limits.outbound_peers(), config.limits.max_peers);
    let upkeep = upkeep(shares, &config.limits, &config.static_nodes, &config.network.trusted_nodes);
    let server = ServerConfig {
        key: config.key,
        client_id: config.client_id,
        offered: settings.versions.iter().copied().map(Version::offered).collect(),
        listen: config.listen,
        static_nodes: config.static_nodes,
        limits: config.limits,
        network: config.network,
    };
    let server = Server::start(server, inbox).await?;
    let node = node(settings);
    let (commands, orders) = mpsc::channel(COMMAND_QUEUE);
    let handle = Handle { commands, server: server.clone(), counters: Arc::clone(node.counters()) };
    let shell = Shell {
        node,
        server,
        upkeep,
        connected: HashMap::new(),
        followed: HashMap::new(),
        consumer: Consumer { events, owed: VecDeque::new() },
        accounts: config.accounts,
        mail: config.mail,
        mailed: HashMap::new(),
    };
    Ok((handle, tokio::spawn(shell.run(packets, orders))))
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn node(settings: Settings) -> Node {
    Node::new(settings, now(), &mut rand::make_rng::<rand::rngs::StdRng>())
}

/// A pool without peers, with as much room as the server has.
fn upkeep(shares: Shares, limits: &Limits, statics: &[Enode], trusted: &[Enode]) -> Upkeep {
    let ids = |nodes: &[Enode]| nodes.iter().map(|node| node.key.id()).collect::<Vec<_>>();
    Upkeep::new(shares, limits.max_inbound_peers(), &ids(statics), &ids(trusted), now().instant)
}

/// The node's task.
struct Shell {
    node: Node,
    server: ServerHandle,
    upkeep: Upkeep,
    /// Who is connected; as many as the server allows.
    connected: HashMap<ConnId, PeerInfo>,
    /// Who waits for what becomes of a post; as many posts as the node follows, each of which ends.
    followed: HashMap<EnvelopeHash, Vec<oneshot::Sender<Outcome>>>,
    consumer: Consumer,
    accounts: Option<mpsc::Sender<Epoch>>,
    mail: Option<Mailroom>,
    /// Who waits until a packet of history has gone to its connection, in the order of the packets; as many as a node keeps.
    mailed: HashMap<ConnId, VecDeque<oneshot::Sender<Result<(), NotSent>>>>,
}

impl Shell {
    async fn run(mut self, mut packets: mpsc::Receiver<ServerEvent>, mut orders: mpsc::Receiver<Command>) {
        loop {
            self.carry();
            let (wake_at, look_at) = (self.node.wake_at().into(), self.upkeep.wake_at().into());
            tokio::select! {
                event = packets.recv() => match event {
                    Some(event) => self.read(event, &mut packets),
                    None => break,
                },
                order = orders.recv() => match order {
                    Some(Command::Shutdown { reply }) => {
                        self.stop(packets).await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(order) => self.obey(order),
                    None => return self.stop(packets).await,
                },
                () = sleep_until(wake_at) => self.node.tick(now()),
                () = sleep_until(look_at) => self.look_after_peers(),
                () = self.consumer.room() => self.consumer.pay(),
            }
        }
    }

    /// Carries out one command. Whoever asked may have gone; it is carried out all the same.
    fn obey(&mut self, order: Command) {
        match order {
            Command::Post { envelope, reply } => drop(reply.send(self.post(envelope))),
            Command::Mail { conn, code, body, reply } => self.put_mail(conn, code, body, Some(reply)),
            Command::PostFollowed { envelope, reply } => drop(reply.send(self.post_followed(envelope))),
            Command::Peers { reply } => drop(reply.send(self.peers())),
            Command::Change { change, reply } => {
                self.node.change(now(), change);
                let _ = reply.send(());
            }
            Command::Keep { node, reply } => drop(reply.send(self.keep(node))),
            Command::Release { node, reply } => drop(reply.send(self.release(node))),
            Command::Trust { conn, trusted, reply } => drop(reply.send(self.node.trust(now(), conn, trusted))),
            Command::Shutdown { .. } => {} // Ends the task, which sees to it.
        }
    }

    fn post(&mut self, envelope: Envelope) -> Result<Posted, PostError> {
        let kept = self.mail.as_ref().and_then(|mail| mail.envelopes.as_ref()).map(|_| Arc::new(envelope.clone()));
        let posted = self.node.post(now(), envelope)?;
        if let Some(envelope) = kept.filter(|_| !posted.already_pooled) {
            self.archive(&envelope);
        }
        Ok(posted)
    }

    fn post_followed(&mut self, envelope: Envelope) -> Result<(Posted, PostWatch), PostError> {
        let posted = self.post(envelope)?;
        let (ended, watch) = oneshot::channel();
        if self.node.follows(&posted.hash) {
            let watchers = self.followed.entry(posted.hash).or_default();
            watchers.retain(|watcher| !watcher.is_closed());
            watchers.push(ended);
        }
        Ok((posted, PostWatch(watch)))
    }

    fn post_ended(&mut self, hash: EnvelopeHash, outcome: Outcome) {
        for watcher in self.followed.remove(&hash).unwrap_or_default() {
            let _ = watcher.send(outcome.clone());
        }
        self.tell(Event::PostEnded { hash, outcome });
    }

    /// Takes leave of all peers. What they still say is not read, or a full queue would keep them from closing.
    async fn stop(mut self, packets: mpsc::Receiver<ServerEvent>) {
        drop(packets);
        self.node.close_accounts(now());
        self.carry();
        self.server.shutdown().await;
    }

    /// Reads one event and those that wait behind it.
    fn read(&mut self, event: ServerEvent, packets: &mut mpsc::Receiver<ServerEvent>) {
        let mut bytes = self.read_one(event);
        for _ in 1..BATCH_EVENTS {
            if bytes >= BATCH_BYTES {
                return;
            }
            let Ok(event) = packets.try_recv() else { return };
            bytes += self.read_one(event);
        }
    }

    /// Reads one event and says how many bytes it brought.
    fn read_one(&mut self, event: ServerEvent) -> usize {
        match event {
            ServerEvent::Opened { conn, peer, addr, inbound } => {
                let Some(version) = Version::agreed(&peer.shared) else {
                    return 0; // The server opens a connection only for what was offered.
                };
                info!(conn = conn.0, %addr, inbound, %version, client = peer.client_id, "peer connected");
                let remote = Remote::new(addr.ip(), peer.key.id());
                let info = PeerInfo {
                    conn,
                    key: peer.key,
                    client_id: peer.client_id,
                    addr,
                    inbound,
                    version,
                    since: now(),
                    options: None,
                    traffic: Traffic::default(),
                    score: None,
                };
                self.connected.insert(conn, info);
                self.node.connected(now(), conn, remote, version);
                0
            }
            ServerEvent::Packet { conn, code, body, capability } => {
                let len = body.len();
                // What a peer says in a protocol that is shared and not used is not heard.
                if self.connected.get(&conn).is_some_and(|info| info.version.capability() == capability) {
                    self.node.receive(now(), conn, code, body);
                }
                len
            }
            ServerEvent::Closed { conn, cause } => {
                self.closed(conn, &cause);
                0
            }
        }
    }

    fn closed(&mut self, conn: ConnId, cause: &CloseCause) {
        info!(conn = conn.0, %cause, "peer disconnected");
        self.node.counters().disconnects.count(cause.reason());
        if let Some(info) = self.connected.remove(&conn) {
            self.upkeep.ended(now().instant, info.key.id(), cause.reason());
        }
        self.node.disconnected(now(), conn);
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let (now, members) = (now().instant, self.members());
        let scores: HashMap<ConnId, f64> =
            members.iter().map(|member| (member.conn, self.upkeep.score(now, member))).collect();
        let tell = |info: &PeerInfo| PeerInfo {
            options: self.node.peer(info.conn).cloned(),
            traffic: self.node.traffic(info.conn),
            score: scores.get(&info.conn).copied(),
            ..info.clone()
        };
        self.connected.values().map(tell).collect()
    }

    fn members(&self) -> Vec<Member> {
        self.node.members(|conn| self.connected.get(&conn).is_some_and(|info| info.inbound))
    }

    fn keep(&mut self, node: Enode) -> bool {
        let id = node.key.id();
        let is_heard = self.server.keep(node);
        if is_heard {
            self.upkeep.keep(id);
        }
        is_heard
    }

    fn release(&mut self, node: NodeId) -> bool {
        let is_heard = self.server.release(node);
        if is_heard {
            self.upkeep.release(node);
        }
        is_heard
    }

    /// Says how many peers are to be sought, and leaves one for a better one.
    fn look_after_peers(&mut self) {
        let orders = self.upkeep.look(now().instant, &self.members());
        if !self.server.seek(orders.seek) {
            debug!("the dialler is busy, and is told at the next look how many peers are sought");
        }
        if let Some((conn, reason)) = orders.leave {
            info!(conn = conn.0, %reason, "leaving a peer for a better one");
            count(&self.node.counters().rotated);
            self.server.disconnect(conn, reason);
        }
    }

    /// Does all that the node asks for.
    fn carry(&mut self) {
        while let Some(action) = self.node.next_action() {
            match action {
                Action::Send { to, packet } => self.send(to, packet),
                Action::Disconnect { conn, fault } => {
                    info!(conn = conn.0, %fault, "leaving peer");
                    self.server.disconnect(conn, fault.reason());
                }
                Action::Deliver { envelope, from } => {
                    self.archive(&envelope);
                    self.tell(Event::Envelope { envelope, from });
                }
                Action::PostEnded { hash, outcome } => self.post_ended(hash, outcome),
                Action::Direct { conn, packet } => self.tell(Event::Direct { conn, packet }),
                Action::PeerRunning { conn } => {
                    self.upkeep.stir(now().instant);
                    self.tell(Event::PeerRunning { conn });
                }
                Action::MailRequest { conn, remote, asked } => self.take_request(conn, remote, asked),
                Action::MailReady { conn } => self.send_mail(conn),
                Action::PeerGone { conn } => {
                    // Whoever waits for it is told by the end of the channel.
                    self.mailed.remove(&conn);
                    self.tell(Event::PeerGone { conn });
                }
                Action::EpochClosed(epoch) => self.keep_accounts(epoch),
            }
        }
    }

    fn send(&mut self, to: ConnId, packet: Packet) {
        match self.server.try_send(to, packet.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full) => self.node.stalled(now(), to, packet),
            Err(TrySendError::Gone) => debug!(conn = to.0, "packet for a connection that is over"),
        }
    }

    fn archive(&mut self, envelope: &Arc<Envelope>) {
        let Some(archive) = self.mail.as_ref().and_then(|mail| mail.envelopes.as_ref()) else { return };
        if archive.try_send(Arc::clone(envelope)).is_err() {
            count(&self.node.counters().archive_shed);
        }
    }

    fn take_request(&mut self, conn: ConnId, remote: Remote, asked: Asked) {
        let (Some(mail), Some(info)) = (&self.mail, self.connected.get(&conn)) else { return };
        let (reply, client_id, version) = (Reply::to(&asked), info.client_id.clone(), info.version);
        if mail.requests.try_send(MailRequest { conn, remote, client_id, version, asked }).is_err() {
            count(&self.node.counters().requests_shed);
            let (code, body) = reply.failed(&info.client_id, "the server is busy");
            self.put_mail(conn, code, body, None);
        }
    }

    fn put_mail(&mut self, conn: ConnId, code: Code, body: Bytes, reply: Option<oneshot::Sender<Result<(), NotSent>>>) {
        let put = self.node.mail(now(), conn, code, body);
        match (put, reply) {
            (Ok(()), reply) => {
                // Each packet has its place, also where nobody waits.
                let reply = reply.unwrap_or_else(|| oneshot::channel().0);
                self.mailed.entry(conn).or_default().push_back(reply);
            }
            (Err(refused), Some(reply)) => drop(reply.send(Err(refused))),
            (Err(_), None) => {}
        }
    }

    /// Hands a packet of history to a connection that has little else to do.
    fn send_mail(&mut self, conn: ConnId) {
        if self.server.queued_bytes(conn).is_some_and(|bytes| bytes > MAIL_AHEAD) {
            return self.node.delay_mail(now(), conn);
        }
        let Some(packet) = self.node.take_mail(now(), conn) else { return };
        self.send(conn, packet);
        if let Some(waiting) = self.mailed.get_mut(&conn).and_then(VecDeque::pop_front) {
            let _ = waiting.send(Ok(()));
        }
    }

    fn keep_accounts(&mut self, epoch: Epoch) {
        let Some(accounts) = &self.accounts else { return };
        if accounts.try_send(epoch).is_err() {
            count(&self.node.counters().epochs_shed);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.consumer.tell(event).is_err() {
            count(&self.node.counters().events_shed);
        }
    }
}

/// The queue of whoever listens to this node.
struct Consumer {
    events: mpsc::Sender<Event>,
    /// News of peers that found the queue full, in their order.
    owed: VecDeque<Event>,
}

/// The event was lost.
struct Shed;

impl Consumer {
    fn tell(&mut self, event: Event) -> Result<(), Shed> {
        self.pay();
        let about_peers = matches!(event, Event::PeerRunning { .. } | Event::PeerGone { .. });
        if about_peers && !self.owed.is_empty() {
            return self.owe(event);
        }
        match self.events.try_send(event) {
            Err(EventError::Full(event)) if about_peers => self.owe(event),
            Err(EventError::Full(_)) => Err(Shed),
            // Nobody listens any more; gossip goes on.
            Ok(()) | Err(EventError::Closed(_)) => Ok(()),
        }
    }

    fn owe(&mut self, event: Event) -> Result<(), Shed> {
        self.owed.push_back(event);
        if self.owed.len() > MAX_OWED {
            self.owed.pop_front();
            return Err(Shed);
        }
        Ok(())
    }

    /// Hands over what is owed, as far as there is room.
    fn pay(&mut self) {
        while let Some(event) = self.owed.pop_front() {
            if let Err(EventError::Full(event)) = self.events.try_send(event) {
                return self.owed.push_front(event);
            }
        }
    }

    /// Returns when something is owed and there is room. Cancelling is safe.
    async fn room(&self) {
        if self.owed.is_empty() {
            return std::future::pending().await;
        }
        // The place is given back at once: only this task sends, so it is still there when it is needed.
        drop(self.events.reserve().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope::Envelope, topic::Topic};

    fn envelope() -> Event {
        let envelope = Envelope::new(9, 1, Topic([0; 4]), Bytes::new(), 0).unwrap();
        Event::Envelope { envelope: Arc::new(envelope), from: ConnId(1) }
    }

    fn consumer(queue: usize) -> (Consumer, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(queue);
        (Consumer { events, owed: VecDeque::new() }, received)
    }

    #[tokio::test]
    async fn a_full_consumer_loses_envelopes_but_no_news_of_peers() {
        let (mut consumer, mut received) = consumer(1);
        assert!(consumer.tell(envelope()).is_ok());
        assert!(consumer.tell(envelope()).is_err());
        assert!(consumer.tell(Event::PeerRunning { conn: ConnId(2) }).is_ok());
        assert!(consumer.tell(Event::PeerGone { conn: ConnId(2) }).is_ok());
        assert!(matches!(received.recv().await, Some(Event::Envelope { .. })));
        consumer.room().await;
        consumer.pay();
        assert!(matches!(received.recv().await, Some(Event::PeerRunning { .. })));
        // What is owed goes first.
        assert!(consumer.tell(envelope()).is_err());
        assert!(matches!(received.recv().await, Some(Event::PeerGone { .. })));
        assert!(consumer.owed.is_empty());
        assert!(consumer.tell(envelope()).is_ok());
    }

    #[test]
    fn news_of_peers_are_bounded_and_a_consumer_that_left_costs_nothing() {
        let (mut consumer, received) = consumer(1);
        let gone = |conn| Event::PeerGone { conn: ConnId(conn) };
        let told = (0..).take(MAX_OWED + 3).map(|conn| consumer.tell(gone(conn)).is_ok()).filter(|kept| !kept);
        assert_eq!(told.count(), 2);
        assert_eq!(consumer.owed.len(), MAX_OWED);
        drop(received);
        assert!(consumer.tell(envelope()).is_ok());
        assert!(consumer.owed.is_empty());
    }
}
