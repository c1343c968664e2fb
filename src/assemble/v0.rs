//! The room of waku/0: the node, what finds it peers, and the accounts that it keeps. A bridge has it, and so has a node
//! alone.

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use devp2p::{
    NodeKey, PublicKey,
    enode::Enode,
    enr::{self, Enr},
};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};

use super::{DISCV4_NODES, DNS_NODES, MailRoom, StartError};
use crate::{
    agent, config,
    discovery::{self, Discovery, Queues, Udp},
    rpc,
    storage::{
        Database,
        accounts::{self, Ledger},
    },
};

/// How often another port is tried where any will do, but UDP and TCP need the same number: one is taken by chance.
const PORT_TRIES: u32 = 16;

/// File of the data directory in which devp2p peers are kept that discovery found.
const ADDRESS_BOOK: &str = "peers-v1.json";

/// A running node, and what belongs to it.
#[derive(Debug)]
pub(super) struct V0Room {
    pub(super) node: waku0::Handle,
    pub(super) ledger: Ledger,
    /// Our signed record, which others may put into a list. Without an address of our own there is none.
    pub(super) record: Option<Enr>,
    pub(super) discovery: Discovery,
    /// Peers that have room.
    pub(super) max_peers: usize,
    /// How the node was set at the start.
    settings: waku0::Settings,
    /// Nodes that it is always to be connected to.
    statics: HashSet<PublicKey>,
    task: JoinHandle<()>,
    keeper: JoinHandle<()>,
    pub(super) database: Database,
}

impl V0Room {
    /// Starts all of it. When it returns, its ports are bound.
    pub(super) async fn start(
        config: config::V0,
        key: NodeKey,
        directory: &Path,
        events: mpsc::Sender<waku0::Event>,
        mail: Option<waku0::handle::Mailroom>,
    ) -> Result<Self, StartError> {
        let database = Database::open(directory).await?;
        let ledger = Ledger::new(&database);
        let (epochs, closed_epochs) = mpsc::channel(accounts::EPOCHS);
        let advertised_ip = config.network.nat.external().or_else(|| bound_to(config.listen.ip()));
        let (sought, retention) = (config.discovery.clone(), config.accounting_retention);
        let (settings, max_peers) = (config.settings.clone(), config.limits.max_peers);
        let statics = config.static_nodes.iter().map(|node| node.key).collect();
        let config = waku0::run::Config {
            key: key.clone(),
            client_id: agent(),
            listen: Some(config.listen),
            static_nodes: config.static_nodes,
            limits: config.limits,
            network: devp2p::Network { address_book: Some(directory.join(ADDRESS_BOOK)), ..config.network },
            settings: config.settings,
            accounts: Some(epochs),
            mail,
        };
        let (node, task, socket) = start_node(config, &sought, events).await?;
        let keeper = ledger.clone().keep(closed_epochs, retention);
        let bootstrap = sought.discv4.unwrap_or_default();
        let udp = socket.map(|socket| Udp { socket, key: key.clone(), advertised_ip, bootstrap });
        let queues = Queues { discv4: mpsc::channel(DISCV4_NODES), dns: mpsc::channel(DNS_NODES) };
        let discovery = Discovery::start(udp, sought.dns, node.clone(), queues)?;
        let record = discovery.record().cloned().or_else(|| record(&key, advertised_ip, node.enode()));
        Ok(Self { node, ledger, record, discovery, max_peers, settings, statics, task, keeper, database })
    }

    /// What JSON-RPC is told of the node, whose key this is, and of the archive that it serves history from.
    pub(super) fn asked(&self, key: NodeKey, mail: Option<&MailRoom>) -> rpc::Node {
        rpc::Node {
            handle: self.node.clone(),
            key,
            record: self.record.clone(),
            settings: self.settings.clone(),
            statics: self.statics.clone(),
            archive: mail.map(|mail| mail.server.history.clone()),
        }
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub(super) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.task => "the waku/0 node",
            () = self.discovery.ended() => "discovery",
        }
    }

    /// Stops in order. Peers are told, and the open accounts are written.
    pub(super) async fn shutdown(self) {
        self.discovery.shutdown().await;
        self.node.shutdown().await;
        // It ends once the node's last accounts are written.
        let _ = self.keeper.await;
        self.database.close().await;
    }
}

/// The address that we listen on, unless it is all of them.
fn bound_to(ip: IpAddr) -> Option<IpAddr> {
    (!ip.is_unspecified()).then_some(ip)
}

/// Starts the node, and opens the socket of discovery over UDP if that was asked for. UDP has the number of the first devp2p
/// port. Where that may be any, UDP takes one first, for the node must know it when it starts.
async fn start_node(
    mut config: waku0::run::Config,
    sought: &config::Discovery,
    events: mpsc::Sender<waku0::Event>,
) -> Result<(waku0::Handle, JoinHandle<()>, Option<UdpSocket>), StartError> {
    let Some(listen) = config.listen.filter(|_| sought.discv4.is_some()) else {
        let (node, task) = waku0::run::start(config, events).await?;
        return Ok((node, task, None));
    };
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let socket = discovery::bind(listen).await?;
        let port = socket.local_addr().map_or_else(|_| listen.port(), |bound| bound.port());
        config.listen = Some(SocketAddr::new(listen.ip(), port));
        config.network.discovery_port = port;
        tries -= 1;
        match waku0::run::start(config.clone(), events.clone()).await {
            Err(waku0::run::StartError::Listen { source, .. })
                if tries > 0 && source.kind() == ErrorKind::AddrInUse => {}
            started => {
                let (node, task) = started?;
                return Ok((node, task, Some(socket)));
            }
        }
    }
}

fn record(key: &NodeKey, ip: Option<IpAddr>, enode: &Enode) -> Option<Enr> {
    let endpoint = enr::Endpoint { ip, tcp: Some(enode.tcp), udp: None };
    // Milliseconds grow over restarts, as the sequence number must. Source: go-ethereum, `nowMilliseconds`.
    let seq = u64::try_from(devp2p::clock::now().unix.as_millis()).unwrap_or(u64::MAX);
    enr::sign(key, seq, &endpoint).ok()
}
