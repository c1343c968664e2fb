//! Peers that nobody named to us beforehand: finds them, calls them, and tells others of them.
//!
//! A shell around pure cores: [`crate::address_book`] says whom to call and when, [`crate::slots`] how many, [`crate::peer_exchange`] whom to tell of
//! and whom to believe, [`crate::skew`] what the clocks of others say of ours. [`crate::run`] feeds it what the swarm tells. Nothing is sought
//! unless it is configured; without that it answers peer exchange with nobody, and keeps the time.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::{
    NodeKey, Now, dnsdisc,
    enr::{Endpoint, Enr},
    inbound::is_local,
    key::KeyError,
};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    multiaddr::Protocol,
    request_response::{Event as ExchangeEvent, Message as ExchangeMessage},
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use rand::{rngs::StdRng, seq::IteratorRandom};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{debug, info, warn};

use crate::{
    address_book::{self, AddressBook, Source},
    behaviour::Behaviour,
    discovery::{
        discv5::{self, StartError as Discv5Error},
        dns,
        enr::{Description, Node, RelayShards, Services},
    },
    handle::PeerInfo,
    known::{KnownPeer, Origin},
    message::WakuMessage,
    peer_exchange::{
        self, PROTOCOL, Request, Response, Server,
        client::{ASK, KEPT, RESPONDERS},
        keep,
    },
    peers::PeerBook,
    service::rate::Budgets,
    shard::{ClusterId, Shard},
    skew::{self, Measured, Skew},
    slots::{Ratio, Relaying, Slots, TooFew},
    validate::Verdict,
};

/// How often others are asked for peers while there are too few.  Deployed: nwaku.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// How often the address book is written, when it has changed.
const WRITE_EVERY: Duration = Duration::from_secs(5 * 60);

/// How often a clock that is off is warned of.
const WARN_EVERY: Duration = Duration::from_secs(5 * 60);

/// How peers are sought.
#[derive(Debug, Clone)]
pub struct Config {
    /// Lists in DNS.
    pub dns: Option<dnsdisc::Config>,
    /// Lookups over UDP.
    pub discv5: Option<Udp>,
    /// Whether peer exchange is answered.
    pub answer_exchange: bool,
    /// How much of it is answered.
    pub exchange_budgets: Budgets,
    /// Whether peers that answer peer exchange are asked.
    pub ask_peers: bool,
    /// Where the address book is kept; without it, nothing outlives the program.
    pub address_book: Option<PathBuf>,
    /// Most peers in it; [`address_book::MAX_KNOWN`] at most.
    pub capacity: usize,
    /// How the connections are shared out.
    pub ratio: Ratio,
    /// Whether loopback and private addresses are called, and told to others: for networks that are themselves private.
    pub local_addresses: bool,
    /// What our record says that we serve.
    pub services: Services,
}

impl Default for Config {
    /// Nobody is sought.
    fn default() -> Self {
        Self {
            dns: None,
            discv5: None,
            answer_exchange: true,
            exchange_budgets: Budgets::of_exchange(&[]),
            ask_peers: false,
            address_book: None,
            capacity: address_book::MAX_KNOWN,
            ratio: Ratio::default(),
            local_addresses: false,
            services: Services::RELAY,
        }
    }
}

impl Config {
    /// Is anybody sought?
    #[must_use]
    pub fn seeks(&self) -> bool {
        self.dns.is_some() || self.discv5.is_some() || self.ask_peers
    }
}

/// Settings of [`crate::discovery::discv5`].
#[derive(Debug, Clone)]
pub struct Udp {
    /// Where packets come in.
    pub listen: SocketAddr,
    /// Nodes to begin with.
    pub bootstrap: Vec<Enr>,
    /// Whether others may tell us our address.
    pub auto_update: bool,
    /// Whether the table's limits by address hold.
    pub ip_limit: bool,
}

/// Why no peers can be sought.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// Over UDP.
    #[error(transparent)]
    Discv5(#[from] Discv5Error),
    /// By DNS.
    #[error(transparent)]
    Dns(#[from] dnsdisc::StartError),
    /// The connections do not suffice.
    #[error(transparent)]
    Slots(#[from] TooFew),
    /// Not a secret of the curve.
    #[error("the key is no secp256k1 secret")]
    Key(#[from] KeyError),
}

/// The shell's state.
pub(crate) struct Seeker {
    config: Config,
    key: NodeKey,
    own: PeerId,
    cluster: ClusterId,
    book: AddressBook,
    /// `None` where too few connections are allowed for a mesh.
    slots: Option<Slots>,
    server: Server,
    skew: Skew,
    measured: Arc<Measured>,
    measured_at: Instant,
    /// Calls under way; [`address_book::MAX_CALLING`] at most.
    calls: HashMap<ConnectionId, PeerId>,
    /// Peers asked that have not answered, and what the others said; [`RESPONDERS`] at most together.
    asked: usize,
    answers: Vec<Vec<Enr>>,
    asked_at: Option<Instant>,
    written_at: Instant,
    warned_at: Option<Instant>,
    from_dns: Option<(dnsdisc::Client, mpsc::Receiver<Node>)>,
    from_discv5: Option<(discv5::Handle, mpsc::Receiver<Node>)>,
    rng: StdRng,
}

impl Seeker {
    /// Nobody is sought yet.
    pub(crate) fn new(
        config: Config,
        secret: &[u8; 32],
        own: PeerId,
        cluster: ClusterId,
        connections: u32,
        now: Now,
        rng: StdRng,
    ) -> Result<Self, SeekError> {
        let mut book = AddressBook::new(own, cluster, config.local_addresses).with_capacity(config.capacity);
        match config.address_book.as_deref().map_or_else(|| Ok(Vec::new()), address_book::read) {
            Ok(entries) => book.recall(now, entries),
            Err(error) => warn!(%error, "the address book begins empty"),
        }
        let slots = match Slots::new(connections, config.ratio) {
            Err(error) if config.seeks() => return Err(error.into()),
            slots => slots.ok(),
        };
        Ok(Self {
            key: NodeKey::from_bytes(secret)?,
            own,
            cluster,
            book,
            slots,
            server: Server::new(cluster, config.local_addresses, config.exchange_budgets, now.instant),
            skew: Skew::default(),
            measured: Arc::default(),
            measured_at: now.instant,
            calls: HashMap::new(),
            asked: 0,
            answers: Vec::new(),
            asked_at: None,
            written_at: now.instant,
            warned_at: None,
            from_dns: None,
            from_discv5: None,
            rng,
            config,
        })
    }

    /// Begins to seek as configured; `announced` is where others reach us.
    pub(crate) async fn start(&mut self, announced: &[Multiaddr], shards: &[Shard]) -> Result<(), SeekError> {
        self.book.set_shards(shards.to_vec());
        if let Some(config) = self.config.dns.clone() {
            let (found, nodes) = mpsc::channel(dns::FOUND);
            // The task ends with its client.
            let (client, _task) = dns::start(config, self.cluster, found)?;
            self.from_dns = Some((client, nodes));
        }
        if let Some(udp) = self.config.discv5.clone() {
            let (found, nodes) = mpsc::channel(discv5::FOUND);
            let description = self.description(announced, shards);
            let config = discv5::Config {
                bootstrap: udp.bootstrap,
                auto_update: udp.auto_update,
                ip_limit: udp.ip_limit,
                ..discv5::Config::new(self.key.clone(), udp.listen, description)
            };
            let (handle, _task) = discv5::start(config, found).await?;
            info!(record = %handle.record().to_base64(), "looking for peers over UDP");
            self.from_discv5 = Some((handle, nodes));
        }
        Ok(())
    }

    fn description(&self, announced: &[Multiaddr], shards: &[Shard]) -> Description {
        let (endpoint, addrs) = self.places(announced);
        Description { endpoint, services: self.config.services, shards: relayed(shards), addrs }
    }

    /// As our record has them: the first plain TCP address in `ip` and `tcp`, the others as they are.
    fn places(&self, announced: &[Multiaddr]) -> (Endpoint, Vec<Multiaddr>) {
        let told = announced.iter().filter(|addr| self.config.local_addresses || !ip(addr).is_some_and(is_local));
        let mut addrs: Vec<Multiaddr> = told.cloned().collect();
        let endpoint = addrs.iter().find_map(plain_tcp).unwrap_or_default();
        addrs.retain(|addr| plain_tcp(addr).as_ref() != Some(&endpoint));
        (endpoint, addrs)
    }

    /// Our record as it is now.
    pub(crate) fn discv5(&self) -> Option<&discv5::Handle> {
        self.from_discv5.as_ref().map(|(handle, _)| handle)
    }

    /// Those of the address book.
    pub(crate) fn known(&self) -> impl Iterator<Item = KnownPeer> + '_ {
        self.book.known()
    }

    /// Who named this peer first; `None` of one that nobody named.
    pub(crate) fn origin(&self, peer: &PeerId) -> Option<Origin> {
        self.book.origin(peer)
    }

    /// We relay these shards now.
    pub(crate) fn set_shards(&mut self, shards: &[Shard]) {
        self.book.set_shards(shards.to_vec());
        if let Some(discv5) = self.discv5() {
            discv5.set_shards(relayed(shards));
        }
    }

    /// Others reach us here now.
    pub(crate) fn set_addresses(&mut self, announced: &[Multiaddr]) {
        if let Some(discv5) = self.discv5() {
            let (endpoint, addrs) = self.places(announced);
            discv5.set_addresses(endpoint, addrs);
        }
    }

    /// Waits for a found node. Safe to cancel.
    pub(crate) async fn found(&mut self) -> (Source, Node) {
        let Self { from_dns, from_discv5, .. } = self;
        let dns = async {
            match from_dns {
                Some((_, nodes)) => nodes.recv().await,
                None => None,
            }
        };
        let discv5 = async {
            match from_discv5 {
                Some((_, nodes)) => nodes.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(node) = dns => (Source::Dns, node),
            Some(node) = discv5 => (Source::Discv5, node),
            else => pending().await,
        }
    }

    /// A node was found.
    pub(crate) fn suggest(&mut self, now: Now, source: Source, node: Node) {
        match source {
            // Only what was found over UDP is told to others.
            Source::Discv5 => self.server.found(now.instant, &node),
            Source::Dns | Source::PeerExchange => {
                if let Some(discv5) = self.discv5() {
                    discv5.add(node.record.clone());
                }
            }
        }
        self.book.suggest(now, source, node);
    }

    /// Who is to be left, so that the others have room.
    pub(crate) fn surplus(&self, relaying: &[Relaying]) -> Vec<PeerId> {
        self.slots.as_ref().map(|slots| slots.surplus(relaying)).unwrap_or_default()
    }

    /// A second has passed: makes the calls that are due, asks for peers, writes the book, looks at the clock.
    pub(crate) fn tick(&mut self, now: Now, swarm: &mut Swarm<Behaviour>, peers: &PeerBook, relaying: &[Relaying]) {
        let wanted = self.slots.map_or(0, |slots| slots.calls_wanted(relaying, self.book.calling()));
        for _ in 0..wanted {
            let Some(call) = self.book.next_call(now, peers.is_empty(), &mut self.rng) else { break };
            self.call(now, swarm, call);
        }
        if wanted > 0 {
            self.ask(now.instant, swarm, peers);
        }
        if now.instant.saturating_duration_since(self.written_at) >= WRITE_EVERY {
            self.written_at = now.instant;
            if let Some(write) = self.writing(now) {
                spawn_blocking(write);
            }
        }
        self.look_at_clock(now);
    }

    fn call(&mut self, now: Now, swarm: &mut Swarm<Behaviour>, call: address_book::Call) {
        let options = DialOpts::peer_id(call.peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(call.addrs)
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        match swarm.dial(options) {
            Ok(()) => drop(self.calls.insert(connection, call.peer)),
            Err(error) => {
                debug!(peer = %call.peer, %error, "not called");
                self.book.ended(now, &call.peer);
            }
        }
    }

    /// A peer's first connection is up.
    pub(crate) fn connected(&mut self, now: Now, connection: ConnectionId, peer: &PeerId, called: bool) {
        self.calls.remove(&connection);
        self.book.connected(now, peer, called);
    }

    /// A call failed, perhaps one of ours.
    pub(crate) fn failed(&mut self, now: Now, connection: ConnectionId) {
        if let Some(peer) = self.calls.remove(&connection) {
            self.book.ended(now, &peer);
            self.server.unreachable(&peer);
        }
    }

    /// A peer's last connection is gone.
    pub(crate) fn gone(&mut self, now: Now, peer: &PeerId) {
        self.book.ended(now, peer);
    }

    /// A peer is of another network.
    pub(crate) fn misfit(&mut self, peer: &PeerId) {
        self.book.misfit(peer);
        self.server.unreachable(peer);
    }

    /// Asks some of those who say that they answer.
    fn ask(&mut self, now: Instant, swarm: &mut Swarm<Behaviour>, peers: &PeerBook) {
        let is_early = |at| now.saturating_duration_since(at) < ASK_EVERY;
        if !self.config.ask_peers || self.asked > 0 || self.asked_at.is_some_and(is_early) {
            return;
        }
        let answers = |peer: &&PeerInfo| {
            peer.cluster.is_some() && peer.protocols.iter().any(|protocol| protocol == PROTOCOL.as_ref())
        };
        let chosen = peers.iter().filter(answers).map(|info| info.peer).sample(&mut self.rng, RESPONDERS);
        if !chosen.is_empty() {
            (self.asked, self.asked_at) = (chosen.len(), Some(now));
        }
        for peer in chosen {
            swarm.behaviour_mut().exchange.send_request(&peer, Request::Ask { count: ASK });
        }
    }

    /// Peer exchange, both sides of it.
    pub(crate) fn on_exchange(
        &mut self,
        now: Now,
        swarm: &mut Swarm<Behaviour>,
        counters: &peer_exchange::Counters,
        event: ExchangeEvent<Request, Response>,
    ) {
        match event {
            ExchangeEvent::Message { peer, message: ExchangeMessage::Request { request, channel, .. }, .. } => {
                let mesh: HashSet<PeerId> = swarm.behaviour().gossip.all_mesh_peers().copied().collect();
                let in_mesh = |peer: &PeerId| mesh.contains(peer);
                let response = self.server.answer(now.instant, peer, request, in_mesh, &mut self.rng);
                counters.sent.fetch_add(response.records.len() as u64, Relaxed);
                // An error says that the asker is gone.
                let _ = swarm.behaviour_mut().exchange.send_response(channel, response);
            }
            ExchangeEvent::Message { message: ExchangeMessage::Response { response, .. }, .. } => {
                counters.received.fetch_add(response.records.len() as u64, Relaxed);
                self.answered(now, counters, response.records);
            }
            ExchangeEvent::OutboundFailure { peer, error, .. } => {
                debug!(%peer, %error, "no answer to peer exchange");
                counters.unanswered.fetch_add(1, Relaxed);
                self.answered(now, counters, Vec::new());
            }
            ExchangeEvent::InboundFailure { peer, error, .. } => debug!(%peer, %error, "peer exchange not answered"),
            ExchangeEvent::ResponseSent { .. } => {}
        }
    }

    /// One of those asked has answered, or never will. With the last of them a choice is made.
    fn answered(&mut self, now: Now, counters: &peer_exchange::Counters, records: Vec<Enr>) {
        self.asked = self.asked.saturating_sub(1);
        if !records.is_empty() && self.answers.len() < RESPONDERS {
            self.answers.push(records);
        }
        if self.asked == 0 {
            let answers = std::mem::take(&mut self.answers);
            for node in keep(self.own, self.cluster, answers, KEPT, &mut self.rng) {
                counters.kept.fetch_add(1, Relaxed);
                self.suggest(now, Source::PeerExchange, node);
            }
        }
    }

    /// A message was accepted that nobody had brought before.
    pub(crate) fn heard(&mut self, now: Now, from: PeerId, timestamp: Option<i64>) {
        if let Some(timestamp) = timestamp {
            self.skew.note(now, from, timestamp);
        }
    }

    /// What is measured of our clock.
    pub(crate) fn clock_skew(&self) -> Arc<Measured> {
        Arc::clone(&self.measured)
    }

    /// The verdict on a message from `from`, without blame when its time is far from ours and ours may be the wrong one.
    pub(crate) fn judge_clock(&mut self, now: Now, from: PeerId, data: &Bytes, verdict: Verdict) -> Verdict {
        if verdict.depends_on_time() {
            let message = WakuMessage::decode_shared(data.clone()).ok();
            // Who names no time says nothing of ours.
            let Some(timestamp) = message.and_then(|message| message.timestamp) else { return verdict };
            self.skew.note(now, from, timestamp);
        }
        verdict.unless(|| self.skew.is_in_doubt(now))
    }

    fn look_at_clock(&mut self, now: Now) {
        self.skew.look(now);
        let now = now.instant;
        if now.saturating_duration_since(self.measured_at) < skew::INTERVAL {
            return;
        }
        self.measured_at = now;
        let skew = self.skew.measure(now);
        self.measured.set(skew);
        let is_early = |at| now.saturating_duration_since(at) < WARN_EVERY;
        if let Some(ahead_nanos) = skew.filter(|skew| Skew::is_large(*skew) && !self.warned_at.is_some_and(is_early)) {
            self.warned_at = Some(now);
            let ahead_secs = ahead_nanos / 1_000_000_000;
            warn!(ahead_secs, "the clocks of peers are ahead of ours, or behind: is this one set by NTP?");
        }
    }

    /// What writes the book, if there is anything to write.
    fn writing(&mut self, now: Now) -> Option<impl FnOnce() + Send + use<>> {
        let path = self.config.address_book.clone()?;
        let entries = self.book.take_changed().then(|| self.book.entries(now))?;
        Some(move || {
            if let Err(error) = address_book::write(&path, &entries) {
                warn!(%error, path = %path.display(), "the address book is not kept");
            }
        })
    }

    /// Stops seeking, and keeps what is known.
    pub(crate) async fn stop(&mut self, now: Now) {
        if let Some((discv5, _)) = self.from_discv5.take() {
            discv5.shutdown().await;
        }
        if let Some((dns, _)) = self.from_dns.take() {
            dns.shutdown().await;
        }
        if let Some(write) = self.writing(now) {
            write();
        }
    }
}

fn relayed(shards: &[Shard]) -> Option<RelayShards> {
    let cluster = shards.first()?.cluster;
    RelayShards::new(cluster, shards.iter().map(|shard| shard.index)).ok()
}

fn plain_tcp(addr: &Multiaddr) -> Option<Endpoint> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None) => Some(Endpoint { ip: Some(ip), tcp: Some(port), udp: None }),
        _ => None,
    }
}

fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn what_peers_say_of_our_clock_is_told_every_ten_seconds() {
        let at = devp2p::clock::now();
        let rng = StdRng::seed_from_u64(1);
        let mut seeker = Seeker::new(Config::default(), &[1; 32], PeerId::random(), ClusterId(1), 50, at, rng).unwrap();
        let told = seeker.clock_skew();
        let minute_ahead = at.unix_nanos() + 60_000_000_000;
        (0..skew::MIN_PEERS).for_each(|_| seeker.heard(at, PeerId::random(), Some(minute_ahead)));
        seeker.heard(at, PeerId::random(), None);
        seeker.look_at_clock(at.after(skew::INTERVAL - Duration::from_secs(1)));
        assert_eq!(told.secs(), None, "too early");
        seeker.look_at_clock(at.after(skew::INTERVAL));
        assert_eq!(told.secs(), Some(60.0));
        assert!(seeker.warned_at.is_some());
        seeker.look_at_clock(at.after(skew::WINDOW));
        assert_eq!(told.secs(), None, "what is old says nothing any more");
    }
}
