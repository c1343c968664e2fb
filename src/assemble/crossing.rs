//! The rooms of the Waku Network and of the bridge: what a bridge has beside its waku/0 node.

use std::{fs, path::Path};

use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{info, warn};
use waku2::Multiaddr;

use super::{StartError, V2_EVENTS};
use crate::config::{self, CertificateFiles};

/// The address book of the Waku Network side, in the data directory.
const ADDRESS_BOOK: &str = "peers-v2.json";

/// A running node of the Waku Network, and the bridge to it.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) v2: waku2::Handle,
    pub(super) bridge: bridge::Handle,
    pub(super) limits: bridge::Limits,
    /// What crosses where, for people.
    pub(super) route: String,
    /// Flags that `causeway listen` needs for this bridge, each after a blank.
    pub(super) listen_arguments: String,
    pub(super) addresses: Vec<Multiaddr>,
    v2_task: JoinHandle<()>,
    bridge_task: JoinHandle<()>,
}

impl Crossing {
    /// Starts both. When it returns, their ports are bound.
    pub(super) async fn start(
        config: config::Crossing,
        key: [u8; 32],
        directory: &Path,
        v0: waku0::Handle,
        v0_events: mpsc::Receiver<waku0::Event>,
    ) -> Result<Self, StartError> {
        let (route, listen_arguments) = (config.bridge.routes.to_string(), listen_arguments(&config.v2));
        let limits = config.bridge.limits;
        info!(rules = %config.v2.network.policy, "network rules");
        config.v2.network.notices.iter().for_each(|notice| warn!("{notice}"));
        let config::seek::Seek { mut how, persistent, exchange_node, notices } = config.v2.seek;
        notices.iter().for_each(|notice| warn!("{notice}"));
        how.address_book = persistent.then(|| directory.join(ADDRESS_BOOK));
        let (v2_sender, v2_events) = mpsc::channel(V2_EVENTS);
        let v2_config = waku2::Config {
            certificate: config.v2.certificate.as_ref().map(certificate).transpose()?,
            listen: std::iter::once(config.v2.listen).chain(config.v2.websocket).collect(),
            announce: config.v2.announce,
            limits: config.v2.limits,
            name_servers: config.v2.name_servers,
            cluster: config.v2.network.cluster,
            topics: config.v2.network.topics,
            policy: config.v2.network.policy,
            static_peers: config.v2.static_peers.into_iter().chain(exchange_node).collect(),
            seek: how,
            agent: config.v2.agent,
            ..waku2::Config::new(key)
        };
        let (v2, v2_task) = waku2::run::start(v2_config, v2_sender).await?;
        let (bridge, bridge_task) = bridge::run::start(config.bridge, v0, v0_events, v2.clone(), v2_events).await?;
        let addresses = v2.addresses();
        Ok(Self { v2, bridge, limits, route, listen_arguments, addresses, v2_task, bridge_task })
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub(super) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.v2_task => "the Waku Network node",
            _ = &mut self.bridge_task => "the bridge",
        }
    }

    /// Stops the bridge, and then the node, whose peers are told.
    pub(super) async fn shutdown(self) {
        self.bridge.shutdown().await;
        self.v2.shutdown().await;
    }
}

/// Reads the files of a certificate.
fn certificate(files: &CertificateFiles) -> Result<waku2::Certificate, StartError> {
    let read =
        |path: &Path| fs::read(path).map_err(|source| StartError::CertificateFile { path: path.to_owned(), source });
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    waku2::Certificate::from_pem(&certificate, &key).map_err(StartError::Certificate)
}

/// What `listen` needs to be told beside the address, where it is not what `listen` assumes.
fn listen_arguments(config: &config::V2) -> String {
    let cluster = match config.network.cluster.0 {
        0 => String::new(),
        other => format!(" --cluster-id {other}"),
    };
    match config.network.topics.first().map(|topic| topic.as_str()) {
        None | Some("/waku/2/rs/0/0") => cluster,
        Some(topic) => format!("{cluster} --pubsub-topic {topic}"),
    }
}
