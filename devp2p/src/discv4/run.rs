//! Carries packets and time for the core: shell.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::endpoint::{Contact, Endpoint};
use super::packet::MAX_PACKET_BYTES;
use super::protocol::{Action, LookupId, Protocol, RecordId, Settings};
use crate::clock::now;
use crate::enode::{Enode, Host};
use crate::enr::{Enr, EnrError};
use crate::key::{NodeKey, PublicKey};
use crate::listen::FIRST_COMMON_PORT;

/// Commands waiting for the task; who finds the queue full waits.
const MAX_COMMANDS: usize = 16;

/// Records asked for at once; more are refused with [`RequestError::Busy`].
const MAX_RECORDS: usize = 32;

/// Names of bootstrap nodes on their way from the resolver; the resolver waits when the queue is full.
const MAX_RESOLVED: usize = 16;

/// Between two attempts to look up the names of bootstrap nodes.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// Pause after the socket failed to receive, so that a broken socket does not take a processor.
const SOCKET_PAUSE: Duration = Duration::from_millis(100);

/// The address of a socket that has none.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What discovery is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our static key, that of RLPx.
    pub key: NodeKey,
    /// The address to tell others, when it is not that of the socket.
    pub advertised_ip: Option<IpAddr>,
    /// The port of RLPx to tell others; 0 for none.
    pub tcp: u16,
    /// Where to begin. Without any, we are found, but find nobody by ourselves.
    pub bootstrap: Vec<Enode>,
}

/// Why discovery does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("discovery cannot listen on udp {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The port is one for which a right is needed.
    #[error(
        "discovery cannot listen on udp {addr}: ports below {FIRST_COMMON_PORT} need the right CAP_NET_BIND_SERVICE. Give it to the program (setcap cap_net_bind_service=+ep FILE, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit), or choose a higher port"
    )]
    Privileged {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Our own record is refused, which no configuration brings about.
    #[error("our own record: {0}")]
    Record(#[from] EnrError),
    /// The system gives no random numbers.
    #[error("no system randomness")]
    NoRandomness,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too many are under way.
    #[error("too many requests are under way")]
    Busy,
    /// The node cannot be asked: it has no discovery port, or a name instead of an address.
    #[error("the node has no address for discovery")]
    NoAddress,
    /// The node did not answer.
    #[error("the node did not answer")]
    NoAnswer,
    /// Discovery has stopped.
    #[error("discovery has stopped")]
    Stopped,
}

enum Command {
    Nodes(oneshot::Sender<Vec<Enode>>),
    Lookup([u8; 64], oneshot::Sender<Result<Vec<Enode>, RequestError>>),
    Record(Contact, oneshot::Sender<Result<Enr, RequestError>>),
    Stop,
}

/// Discovery, for those who use it. Cheap to clone; discovery stops with the last of its handles.
#[derive(Debug, Clone)]
pub struct Handle {
    enode: Enode,
    record: Enr,
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Where we can be found: the port really bound, and 127.0.0.1 for an unspecified address.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        &self.enode
    }

    /// Our record, as others get it.
    #[must_use]
    pub fn record(&self) -> &Enr {
        &self.record
    }

    /// The nodes of the table; none when discovery has stopped. Safe to cancel.
    pub async fn nodes(&self) -> Vec<Enode> {
        let (answer, nodes) = oneshot::channel();
        match self.commands.send(Command::Nodes(answer)).await {
            Ok(()) => nodes.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Looks for the nodes nearest to `target`, nearest first, and for itself among them. Safe to cancel: what is found on
    /// the way still goes to the channel.
    ///
    /// # Errors
    /// [`RequestError`] when too many lookups are under way, or discovery has stopped.
    pub async fn lookup(&self, target: &PublicKey) -> Result<Vec<Enode>, RequestError> {
        let (answer, nodes) = oneshot::channel();
        let command = Command::Lookup(*target.as_bytes(), answer);
        self.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
        nodes.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Asks a node for its record (EIP-868). Safe to cancel.
    ///
    /// # Errors
    /// [`RequestError`] when the node cannot be asked or does not answer.
    pub async fn ask_record(&self, node: &Enode) -> Result<Enr, RequestError> {
        let Host::Ip(ip) = node.host else { return Err(RequestError::NoAddress) };
        let contact = Contact::from_enode(node, ip).ok_or(RequestError::NoAddress)?;
        let (answer, record) = oneshot::channel();
        let command = Command::Record(contact, answer);
        self.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
        record.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Stops discovery, for all its handles.
    pub async fn shutdown(&self) {
        // Fails only when it has stopped.
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// A socket to receive on; port 0 takes a free one. Whoever must know the port before discovery begins opens it first.
///
/// # Errors
/// [`StartError`] when the port is taken, or one that needs a right.
pub async fn bind(addr: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(addr).await.map_err(|source| refused(addr, source))
}

fn refused(addr: SocketAddr, source: io::Error) -> StartError {
    if source.kind() == io::ErrorKind::PermissionDenied && (1..FIRST_COMMON_PORT).contains(&addr.port()) {
        return StartError::Privileged { addr };
    }
    StartError::Listen { addr, source }
}

/// Begins discovery on a socket. Nodes that proved their address go to `found`; when it is full they are left out, for the
/// table keeps them and [`Handle::nodes`] gives them.
///
/// # Errors
/// [`StartError`] when the socket is none any more or the system has no randomness. Bootstrap nodes that do not answer are
/// no error: they are asked again, at growing intervals.
pub fn start(socket: UdpSocket, config: Config, found: mpsc::Sender<Enode>) -> Result<Handle, StartError> {
    let bound = socket.local_addr().map_err(|source| StartError::Listen { addr: UNKNOWN, source })?;
    let ip = config.advertised_ip.or_else(|| Some(bound.ip()).filter(|ip| !ip.is_unspecified()));
    let endpoint = Endpoint { ip, udp: bound.port(), tcp: config.tcp };
    let (bootstrap, names) = split(&config.bootstrap);
    let enode = Enode {
        key: config.key.public(),
        host: Host::Ip(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        tcp: config.tcp,
        udp: bound.port(),
    };
    let settings = Settings { key: config.key, endpoint, bootstrap };
    let protocol = Protocol::new(settings, seed()?, now())?;
    let record = protocol.record().clone();
    let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
    let (resolved, contacts) = mpsc::channel(MAX_RESOLVED);
    if !names.is_empty() {
        tokio::spawn(resolve(names, bound.is_ipv4(), resolved));
    }
    let shell = Shell { socket, protocol, found, lookups: HashMap::new(), records: HashMap::new() };
    tokio::spawn(shell.run(inbox, contacts));
    Ok(Handle { enode, record, commands })
}

#[expect(clippy::disallowed_types, reason = "shell")]
fn seed() -> Result<[u8; 32], StartError> {
    use rand::rngs::SysRng;

    let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|_| StartError::NoRandomness)?;
    Ok(rng.random())
}

/// Bootstrap nodes with an address, and those with a name.
fn split(bootstrap: &[Enode]) -> (Vec<Contact>, Vec<(String, Enode)>) {
    let (mut contacts, mut names) = (Vec::new(), Vec::new());
    for enode in bootstrap {
        match &enode.host {
            Host::Ip(ip) => contacts.extend(Contact::from_enode(enode, *ip)),
            Host::Dns(name) => names.push((name.clone(), enode.clone())),
        }
    }
    (contacts, names)
}

/// Looks names up until each has an address.
async fn resolve(mut names: Vec<(String, Enode)>, v4: bool, contacts: mpsc::Sender<Contact>) {
    while !names.is_empty() && !contacts.is_closed() {
        let mut unknown = Vec::new();
        for (name, enode) in names {
            let found = lookup_host((name.as_str(), enode.udp)).await;
            match found.ok().and_then(|mut addrs| addrs.find(|addr| addr.is_ipv4() == v4)) {
                None => unknown.push((name, enode)),
                Some(addr) => {
                    if let Some(contact) = Contact::from_enode(&enode, addr.ip()) {
                        // Fails only when discovery has stopped.
                        let _ = contacts.send(contact).await;
                    }
                }
            }
        }
        names = unknown;
        if !names.is_empty() {
            tracing::debug!(missing = names.len(), "bootstrap names without address");
            sleep(RESOLVE_EVERY).await;
        }
    }
}

struct Shell {
    socket: UdpSocket,
    protocol: Protocol,
    found: mpsc::Sender<Enode>,
    lookups: HashMap<LookupId, oneshot::Sender<Result<Vec<Enode>, RequestError>>>,
    records: HashMap<RecordId, oneshot::Sender<Result<Enr, RequestError>>>,
}

impl Shell {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut contacts: mpsc::Receiver<Contact>) {
        // One more than the limit, to tell a packet over it from one that fills it.
        let mut buffer = [0; MAX_PACKET_BYTES + 1];
        loop {
            while let Some(action) = self.protocol.next_action() {
                self.carry_out(action).await;
            }
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => self.receive(from, &buffer[..length]),
                    Err(error) => {
                        tracing::debug!(%error, "discovery cannot receive");
                        sleep(SOCKET_PAUSE).await;
                    }
                },
                command = inbox.recv() => match command {
                    None | Some(Command::Stop) => return,
                    Some(command) => self.obey(command),
                },
                Some(contact) = contacts.recv() => self.protocol.add_bootstrap(now(), contact),
                () = sleep_until(self.protocol.wake_at().into()) => self.protocol.tick(now()),
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, packet: &[u8]) {
        if let Err(refused) = self.protocol.receive(now(), from, packet) {
            tracing::trace!(%from, %refused, "discovery packet dropped");
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { to, packet } => {
                if let Err(error) = self.socket.send_to(&packet, to).await {
                    tracing::debug!(%to, %error, "discovery cannot send");
                }
            }
            Action::Found(enode) => {
                tracing::debug!(%enode, "node found");
                // Full or closed: the table still has it.
                let _ = self.found.try_send(enode);
            }
            Action::LookedUp { id, nodes } => answer(self.lookups.remove(&id), Ok(nodes)),
            Action::Record { id, record } => {
                answer(self.records.remove(&id), record.ok_or(RequestError::NoAnswer));
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Nodes(to) => answer(Some(to), self.protocol.nodes()),
            Command::Lookup(target, to) => match self.protocol.lookup(now(), target) {
                Some(id) => drop(self.lookups.insert(id, to)),
                None => answer(Some(to), Err(RequestError::Busy)),
            },
            Command::Record(_, to) if self.records.len() >= MAX_RECORDS => answer(Some(to), Err(RequestError::Busy)),
            Command::Record(contact, to) => drop(self.records.insert(self.protocol.ask_record(now(), contact), to)),
            Command::Stop => {}
        }
    }
}

/// Answers, unless nobody waits any more.
fn answer<T>(to: Option<oneshot::Sender<T>>, value: T) {
    if let Some(to) = to {
        let _ = to.send(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_without_the_right_to_it_says_which_right() {
        let said = |port: u16| refused(([0, 0, 0, 0], port).into(), io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(said(443).contains("CAP_NET_BIND_SERVICE") && !said(30303).contains("CAP_NET_BIND_SERVICE"));
    }

    #[tokio::test]
    async fn two_nodes_find_each_other_and_a_taken_port_is_an_error() {
        let (found, mut by_a) = mpsc::channel(4);
        let socket = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let taken = socket.local_addr().unwrap();
        assert!(matches!(bind(taken).await, Err(StartError::Listen { addr, .. }) if addr == taken));
        let config = |secret, bootstrap| Config {
            key: NodeKey::from_bytes(&[secret; 32]).unwrap(),
            advertised_ip: None,
            tcp: taken.port(),
            bootstrap,
        };
        let a = start(socket, config(1, Vec::new()), found).unwrap();
        assert_eq!((a.enode().udp, a.enode().tcp), (taken.port(), taken.port()));

        let (found, mut by_b) = mpsc::channel(4);
        let socket = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let b = start(socket, config(2, vec![a.enode().clone()]), found).unwrap();
        let both = async { (by_a.recv().await, by_b.recv().await) };
        let (found_by_a, found_by_b) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
        assert_eq!((found_by_a.as_ref(), found_by_b.as_ref()), (Some(b.enode()), Some(a.enode())));
        assert_eq!(b.ask_record(a.enode()).await.as_ref(), Ok(a.record()));
        a.shutdown().await;
        b.shutdown().await;
        assert_eq!((by_a.recv().await, by_b.recv().await), (None, None), "stopped");
    }
}
