//! Builds the rooms and joins them. Every channel between two rooms has its length and its reason here.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use devp2p::{enode::Enode, enr::Enr};
use tokio::sync::mpsc;
use tracing::warn;
use waku2::{Multiaddr, service::Services};

mod api;
mod archive;
mod crossing;
mod mail;
mod rooms;
mod store;
mod v0;
mod v2;

use api::Api;
use archive::ArchiveRoom;
use crossing::{Crossing, Keeping};
use mail::MailRoom;
use rooms::Rooms;
use store::StoreRoom;
use v0::V0Room;
use v2::V2Room;

use crate::{
    config::{self, Config, ConfigError},
    discovery,
    http::{self, Served},
    keys::{DataDir, KeyError},
    reload::Reloader,
    rln, rpc,
    storage::{self, Database, archive::History},
};

/// Envelopes and news of peers on their way from the waku/0 node to the bridge, which only sorts them and is quick; a peer
/// that has just connected hands over a pool of thousands at once. Full: envelopes are shed and counted.
const V0_EVENTS: usize = 8192;
/// Messages and news of peers on their way from the relay to the bridge. Full: messages are shed and counted.
const V2_EVENTS: usize = 8192;
/// Nodes on their way from discovery over UDP to the dialler, which looks at them at once. Full: left out, named again later.
const DISCV4_NODES: usize = 64;
/// Nodes on their way from lists in DNS to the dialler; they come three a second. Full: left out, named again later.
const DNS_NODES: usize = 64;

/// Why a node can't start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or the key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] storage::OpenError),
    /// The waku/0 side.
    #[error(
        "the waku/0 side can't start: {0}. Another devp2p port: --devp2p-tcp-port, or 0 for any free one; another address: --listen-address"
    )]
    V0(#[from] waku0::run::StartError),
    /// Discovery.
    #[error("discovery can't start: {0}")]
    Discovery(#[from] discovery::StartError),
    /// The Waku Network side.
    #[error(
        "the Waku Network side can't start: {0}. Other ports: --tcp-port and --websocket-port, or 0 for any free one; another address: --listen-address; without WebSocket: --websocket-support=false"
    )]
    V2(#[from] waku2::run::StartError),
    /// A file of the certificate.
    #[error("can't read {path}: {source}. --websocket-secure-cert-path and --websocket-secure-key-path name the files")]
    CertificateFile {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The certificate.
    #[error("the certificate of --websocket-secure-cert-path with the key of --websocket-secure-key-path: {0}")]
    Certificate(waku2::transport::CertificateError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ::archive::OpenError),
    /// The bridge's journal.
    #[error("the bridge's journal can't be read: {0}")]
    Journal(sqlx::Error),
    /// The bridge.
    #[error("the bridge can't start: {0}")]
    Bridge(#[from] bridge::run::StartError),
    /// Rate-limit proofs.
    #[error("rate-limit proofs (RLN) can't start: {0}")]
    Rln(#[from] rln::StartError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] http::BindError),
    /// JSON-RPC.
    #[error(transparent)]
    Rpc(#[from] rpc::StartError),
}

/// A running node of either network, or of both, or a bridge between them.
#[derive(Debug)]
pub struct Running {
    data_dir: DataDir,
    rooms: Rooms,
    http: Served,
    rpc: Option<rpc::Served>,
}

/// Starts all parts. When it returns, all ports are bound.
///
/// # Errors
/// [`StartError`] names the part and the flag.
pub async fn start(config: Config) -> Result<Running, StartError> {
    config.notices.iter().for_each(|notice| warn!("{notice}"));
    let api = Api::new(config.http.api.clone(), config.v2.as_ref());
    let data_dir = DataDir::open(config.data_dir)?;
    // Before all that may take long, so that it can be asked how far the start is.
    let opened = http::open(config.http).await?;
    // A bridge that has lost its memory stands by for a while: what it brought over lately it does not know.
    let memory_lost = data_dir.has_key() && !Database::is_in(data_dir.path());
    let key = data_dir.node_key(config.nodekey.as_deref(), config.nodekey_file.as_deref())?;
    let at = data_dir.path();
    // Of a node that bridges nothing nobody hears, and nothing waits.
    let (v0_sender, v0_events) = mpsc::channel(V0_EVENTS);
    let (v2_sender, v2_events) = mpsc::channel(V2_EVENTS);
    let (mailroom, inbox) = config.mail.as_ref().map(|_| mail::channels(config.bridge.is_none())).unzip();
    let v0 = match config.v0 {
        Some(config) => Some(V0Room::start(config, key.clone(), at, v0_sender, mailroom).await?),
        None => None,
    };
    let archive = match &config.archive {
        Some(wanted) => Some(ArchiveRoom::start(wanted, at).await?),
        None => None,
    };
    let history = archive.as_ref().map(|archive| archive.history.clone());
    let mut services = Services::default();
    services.witnesses.extend(opened.listens().then(|| api.witness()));
    let mut store = mounted(config.store.as_ref(), history.as_ref(), &mut services);
    let v2 = match config.v2 {
        Some(config) => Some(V2Room::start(config, key.to_bytes(), at, services, v2_sender).await?),
        None => None,
    };
    let (calls, v0_events) = calls(config.rpc, v0_events, config.bridge.is_some());
    let crossing = match (config.bridge, &v0, &v2) {
        (Some(mut bridging), Some(v0), Some(v2)) => {
            bridging.config.memory_lost = memory_lost;
            let (v0_side, v2_side) = ((v0.node.clone(), v0_events), (v2.node.clone(), v2_events));
            // Where proofs are asked for and nobody verifies them, nothing of what others kept would be taken.
            let verifies = v2.rln.is_some();
            let asked = config.store.as_ref().filter(|store| !store.require_proof || verifies);
            let resume = asked.and_then(|store| store.resume);
            let (database, history) = (&v0.database, history.clone());
            let keeping = Keeping { database, history, mail: config.mail.is_some(), resume };
            let shares = v2.rln.as_ref().map(rln::Room::shares);
            Some(Crossing::start(bridging, keeping, v0_side, v2_side, shares).await?)
        }
        _ => None,
    };
    if let (Some(room), Some(config), Some(history), Some(v2)) = (&mut store, &config.store, &history, &v2) {
        room.resume(config, history, crossing.as_ref(), &v2.node, v2.topics.clone(), at);
    }
    let mail = match (config.mail, &history, inbox, &v0) {
        (Some(mail), Some(history), Some(inbox), Some(v0)) => {
            Some(MailRoom::start(mail, history.clone(), key.clone(), v0.node.clone(), inbox))
        }
        _ => None,
    };
    let rooms = Rooms { v0, v2, crossing, mail, store, archive };
    let probe = Arc::new(rooms.probe());
    let http = opened.complete(&api.groups(&key, rooms.asked(), Arc::clone(&probe)), probe).await?;
    let rpc = match (calls, &rooms.v0) {
        (Some((config, events)), Some(v0)) => {
            Some(rpc::start(config, v0.asked(key, rooms.mail.as_ref()), at, events).await?)
        }
        _ => None,
    };
    Ok(Running { data_dir, rooms, http, rpc })
}

/// JSON-RPC hears what the bridge hears, and nothing is in between where there is none.
fn calls(
    config: Option<config::Rpc>,
    events: mpsc::Receiver<waku0::Event>,
    bridges: bool,
) -> (Option<(config::Rpc, rpc::Tapped)>, mpsc::Receiver<waku0::Event>) {
    let Some(config) = config else { return (None, events) };
    let (sender, others) = mpsc::channel(V0_EVENTS);
    (Some((config, rpc::tap(events, bridges.then_some(sender)))), others)
}

/// The store, where one is wanted: it has an archive then.
fn mounted(
    config: Option<&config::store::Store>,
    history: Option<&History>,
    services: &mut Services,
) -> Option<StoreRoom> {
    let config = config?;
    let history = history.filter(|_| config.serves() || config.resume.is_some())?;
    Some(StoreRoom::mount(config, history, services))
}

impl Running {
    /// Where waku/0 peers reach this node; `None` where there is no waku/0 node.
    #[must_use]
    pub fn enode(&self) -> Option<&Enode> {
        self.rooms.v0.as_ref().map(|v0| v0.node.enode())
    }

    /// Where clients ask for history: the enode with the password, as statusd's clients are given it. `None` where none is served.
    #[must_use]
    pub fn mail_enode(&self) -> Option<String> {
        let (mail, enode) = (self.rooms.mail.as_ref()?, self.enode()?.to_string());
        match (&mail.password, enode.split_once('@')) {
            (Some(password), Some((key, host))) => Some(format!("{key}:{password}@{host}")),
            _ => Some(enode),
        }
    }

    /// Where Waku Network peers reach this node, one address an interface; none for a waku/0 node alone.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        self.rooms.v2.as_ref().map(|v2| &*v2.addresses).unwrap_or_default()
    }

    /// Where health, metrics and accounts are, if anywhere.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.rest
    }

    /// Where metrics are alone, if anywhere.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.http.metrics
    }

    /// Where JSON-RPC is: over HTTP, WebSocket, and on a Unix socket.
    pub fn rpc(&self) -> impl Iterator<Item = String> {
        let served = self.rpc.as_ref();
        let http = served.and_then(|rpc| rpc.http).map(|at| format!("http://{at}"));
        let ws = served.and_then(|rpc| rpc.ws).map(|at| format!("ws://{at}"));
        let ipc = served.and_then(|rpc| rpc.ipc.as_ref()).map(|path| path.display().to_string());
        [http, ws, ipc].into_iter().flatten()
    }

    /// Where the key and the lock are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// What crosses where, for people; `None` where nothing does.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.rooms.crossing.as_ref().map(|crossing| &*crossing.route)
    }

    /// Flags that `causeway listen` and `causeway post` need for this node, each after a blank.
    #[must_use]
    pub fn client_arguments(&self) -> &str {
        self.rooms.v2.as_ref().map(|v2| &*v2.client_arguments).unwrap_or_default()
    }

    /// What reads the route file again; `None` where nothing crosses.
    #[must_use]
    pub fn reloader(&self) -> Option<&Reloader> {
        self.rooms.crossing.as_ref().map(|crossing| &crossing.reloader)
    }

    /// Says in the log that the node is up, in the words that scripts wait for.
    pub fn log_ready(&self) {
        let enode = self.enode().map(tracing::field::display);
        let multiaddr = self.addresses().first().map(tracing::field::display);
        let enr = self.rooms.v0.as_ref().and_then(|v0| v0.record.as_ref()).map(Enr::to_base64);
        let enr = enr.or_else(|| self.rooms.v2.as_ref()?.node.record().map(|record| record.to_base64()));
        let (enr, http) = (enr.map(tracing::field::display), self.http.rest.map(tracing::field::display));
        tracing::info!(enode, enr, multiaddr, http, "Node setup complete");
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.rooms.failed() => part,
            Some(_) = self.http.tasks.join_next() => "HTTP",
        }
    }

    /// Stops in order: first what takes work, then what it is handed to. Peers are told.
    pub async fn shutdown(mut self) {
        self.http.tasks.abort_all();
        drop(self.rpc.take());
        self.rooms.shutdown().await;
        tracing::info!("stopped");
    }
}
