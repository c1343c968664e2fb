//! Builds the rooms and joins them. Every channel between two rooms is made here, with its length and its reason.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use devp2p::enode::Enode;
use tokio::{sync::mpsc, task::JoinHandle};
use waku0::node::Settings;
use waku2::Multiaddr;

use crate::{
    agent,
    config::{Config, ConfigError},
    http,
    keys::{DataDir, KeyError},
    probe::Probe,
};

/// Envelopes and news of peers on their way from the waku/0 node to the bridge, which only sorts them and is quick; a peer
/// that has just connected hands over a pool of thousands at once. Full: envelopes are shed and counted.
const V0_EVENTS: usize = 8192;
/// Messages and news of peers on their way from the relay to the bridge. Full: messages are shed and counted.
const V2_EVENTS: usize = 8192;

/// File of the data directory in which devp2p peers are kept that discovery found.
const ADDRESS_BOOK: &str = "peers-v1.json";

/// Why a node can't start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or the key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The waku/0 side.
    #[error("the waku/0 side can't start: {0}. Another devp2p port: --devp2p-tcp-port, or 0 for any free one")]
    V0(#[from] waku0::run::StartError),
    /// The Waku Network side.
    #[error("the Waku Network side can't start: {0}. Another libp2p port: --tcp-port, or 0 for any free one")]
    V2(#[from] waku2::run::StartError),
    /// The bridge.
    #[error("the bridge can't start: {0}")]
    Bridge(#[from] bridge::run::StartError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] http::BindError),
}

/// A running bridge.
#[derive(Debug)]
pub struct Running {
    data_dir: DataDir,
    probe: Arc<Probe>,
    route: String,
    listen_arguments: String,
    addresses: Vec<Multiaddr>,
    http: SocketAddr,
    tasks: Tasks,
}

/// What runs; none of it ends before it is told to.
#[derive(Debug)]
struct Tasks {
    v0: JoinHandle<()>,
    v2: JoinHandle<()>,
    bridge: JoinHandle<()>,
    http: JoinHandle<()>,
}

/// Starts all parts. When it returns, all ports are bound.
///
/// # Errors
/// [`StartError`] names the part and the flag.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let data_dir = DataDir::open(config.data_dir)?;
    let key = data_dir.node_key(config.nodekey.as_deref())?;
    let route = config.bridge.routes.to_string();
    let listen_arguments = listen_arguments(&config.v2);

    let address_book = data_dir.path().join(ADDRESS_BOOK);
    let (v0_sender, v0_events) = mpsc::channel(V0_EVENTS);
    let v2_key = key.to_bytes();
    let (v0, v0_task) = waku0::run::start(v0_config(config.v0, key, address_book), v0_sender).await?;
    let (v2_sender, v2_events) = mpsc::channel(V2_EVENTS);
    let v2_config = waku2::Config {
        listen: vec![config.v2.listen],
        cluster: config.v2.cluster,
        topics: config.v2.topics,
        static_peers: config.v2.static_peers,
        agent: config.v2.agent,
        ..waku2::Config::new(v2_key)
    };
    let (v2, v2_task) = waku2::run::start(v2_config, v2_sender).await?;
    let limits = config.bridge.limits;
    let (bridge, bridge_task) = bridge::run::start(config.bridge, v0.clone(), v0_events, v2.clone(), v2_events).await?;

    let addresses = v2.addresses();
    let probe = Arc::new(Probe { v0, v2, bridge, limits });
    let (http, http_task) = http::serve(config.http, Arc::clone(&probe)).await?;
    let tasks = Tasks { v0: v0_task, v2: v2_task, bridge: bridge_task, http: http_task };
    Ok(Running { data_dir, probe, route, listen_arguments, addresses, http, tasks })
}

fn v0_config(config: crate::config::V0, key: devp2p::NodeKey, address_book: PathBuf) -> waku0::run::Config {
    waku0::run::Config {
        key,
        client_id: agent(),
        listen: Some(config.listen),
        static_nodes: config.static_nodes,
        limits: config.limits,
        network: devp2p::Network { address_book: Some(address_book), ..config.network },
        settings: Settings {
            min_pow: config.min_pow,
            rates: config.rates,
            whitelist: config.whitelist,
            ..Settings::default()
        },
    }
}

/// What `listen` needs to be told beside the address, where it is not what `listen` assumes.
fn listen_arguments(config: &crate::config::V2) -> String {
    let cluster = match config.cluster.0 {
        0 => String::new(),
        other => format!(" --cluster-id {other}"),
    };
    match config.topics.first().map(|topic| topic.as_str()) {
        None | Some("/waku/2/rs/0/0") => cluster,
        Some(topic) => format!("{cluster} --pubsub-topic {topic}"),
    }
}

impl Running {
    /// Where waku/0 peers reach this node.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        self.probe.v0.enode()
    }

    /// Where Waku Network peers reach this node, one address an interface.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
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

    /// What crosses where, for people.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Flags that `causeway listen` needs for this bridge, each after a blank.
    #[must_use]
    pub fn listen_arguments(&self) -> &str {
        &self.listen_arguments
    }

    /// The bridge itself.
    #[must_use]
    pub fn bridge(&self) -> &bridge::Handle {
        &self.probe.bridge
    }

    /// Says in the log that the node is up, in the words that scripts wait for.
    pub fn log_ready(&self) {
        let address = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        tracing::info!(enode = %self.enode(), multiaddr = %address, http = %self.http, "Node setup complete");
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.tasks.v0 => "the waku/0 node",
            _ = &mut self.tasks.v2 => "the Waku Network node",
            _ = &mut self.tasks.bridge => "the bridge",
            _ = &mut self.tasks.http => "HTTP",
        }
    }

    /// Stops in order: first what takes work, then what it is handed to. Peers are told.
    pub async fn shutdown(self) {
        self.tasks.http.abort();
        self.probe.bridge.shutdown().await;
        tokio::join!(self.probe.v0.shutdown(), self.probe.v2.shutdown());
        tracing::info!("stopped");
    }
}
