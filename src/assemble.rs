//! Builds the rooms and joins them. Every channel between two rooms has its length and its reason here.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use devp2p::{enode::Enode, enr::Enr};
use tokio::{sync::mpsc, task::JoinHandle};
use waku2::Multiaddr;

mod crossing;
mod v0;

use crossing::Crossing;
use v0::V0Room;

use crate::{
    config::{Config, ConfigError},
    discovery, http,
    keys::{DataDir, KeyError},
    probe::{CrossingProbe, Probe},
    storage,
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
    #[error("the waku/0 side can't start: {0}. Another devp2p port: --devp2p-tcp-port, or 0 for any free one")]
    V0(#[from] waku0::run::StartError),
    /// Discovery.
    #[error("discovery can't start: {0}")]
    Discovery(#[from] discovery::StartError),
    /// The Waku Network side.
    #[error(
        "the Waku Network side can't start: {0}. Other ports: --tcp-port and --websocket-port, or 0 for any free one; without WebSocket: --websocket-support=false"
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
    /// The bridge.
    #[error("the bridge can't start: {0}")]
    Bridge(#[from] bridge::run::StartError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] http::BindError),
}

/// A running bridge, or a running waku/0 node alone.
#[derive(Debug)]
pub struct Running {
    data_dir: DataDir,
    v0: V0Room,
    crossing: Option<Crossing>,
    http: SocketAddr,
    http_task: JoinHandle<()>,
}

/// Starts all parts. When it returns, all ports are bound.
///
/// # Errors
/// [`StartError`] names the part and the flag.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let data_dir = DataDir::open(config.data_dir)?;
    let key = data_dir.node_key(config.nodekey.as_deref())?;
    let v2_key = key.to_bytes();
    // Of a node alone nobody hears, and nothing waits.
    let (sender, v0_events) = mpsc::channel(V0_EVENTS);
    let v0 = V0Room::start(config.v0, key, data_dir.path(), sender).await?;
    let crossing = match config.crossing {
        Some(config) => Some(Crossing::start(config, v2_key, data_dir.path(), v0.node.clone(), v0_events).await?),
        None => None,
    };
    let probe = Probe {
        v0: v0.node.clone(),
        ledger: v0.ledger.clone(),
        found: v0.discovery.sources().clone(),
        crossing: crossing.as_ref().map(|crossing| CrossingProbe {
            v2: crossing.v2.clone(),
            bridge: crossing.bridge.clone(),
            limits: crossing.limits,
        }),
    };
    let (http, http_task) = http::serve(config.http, Arc::new(probe)).await?;
    Ok(Running { data_dir, v0, crossing, http, http_task })
}

impl Running {
    /// Where waku/0 peers reach this node.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        self.v0.node.enode()
    }

    /// Where Waku Network peers reach this node, one address an interface; none for a waku/0 node alone.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        self.crossing.as_ref().map(|crossing| &*crossing.addresses).unwrap_or_default()
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the key and the lock are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// What crosses where, for people; `None` for a waku/0 node alone.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.crossing.as_ref().map(|crossing| &*crossing.route)
    }

    /// Flags that `causeway listen` needs for this bridge, each after a blank.
    #[must_use]
    pub fn listen_arguments(&self) -> &str {
        self.crossing.as_ref().map(|crossing| &*crossing.listen_arguments).unwrap_or_default()
    }

    /// Says in the log that the node is up, in the words that scripts wait for.
    pub fn log_ready(&self) {
        let multiaddr = self.addresses().first().map(tracing::field::display);
        let enr = self.v0.record.as_ref().map(Enr::to_base64).map(tracing::field::display);
        tracing::info!(enode = %self.enode(), enr, multiaddr, http = %self.http, "Node setup complete");
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub async fn failed(&mut self) -> &'static str {
        let crossing = async {
            match &mut self.crossing {
                Some(crossing) => crossing.failed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            part = self.v0.failed() => part,
            part = crossing => part,
            _ = &mut self.http_task => "HTTP",
        }
    }

    /// Stops in order: first what takes work, then what it is handed to. Peers are told.
    pub async fn shutdown(self) {
        self.http_task.abort();
        if let Some(crossing) = self.crossing {
            crossing.shutdown().await;
        }
        self.v0.shutdown().await;
        tracing::info!("stopped");
    }
}
