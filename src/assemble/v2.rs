//! The room of the Waku Network: the node. A bridge has it, and so has a node alone.

use std::{fs, future::pending, path::Path};

use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{info, warn};
use waku2::{Multiaddr, PubsubTopic, service::Services, validate::Policy};

use super::StartError;
use crate::{
    config::{self, CertificateFiles},
    rln,
};

/// The address book of the Waku Network side, in the data directory.
const ADDRESS_BOOK: &str = "peers-v2.json";

/// A running node of the Waku Network.
#[derive(Debug)]
pub(super) struct V2Room {
    pub(super) node: waku2::Handle,
    /// Flags that `causeway listen` and `causeway post` need for it, each after a blank.
    pub(super) client_arguments: String,
    /// Does it tell others of nodes that it found?
    pub(super) answers_exchange: bool,
    pub(super) addresses: Vec<Multiaddr>,
    /// What it relays from the start.
    pub(super) topics: Vec<PubsubTopic>,
    /// Rate-limit proofs, where they are verified.
    pub(super) rln: Option<rln::Room>,
    task: JoinHandle<()>,
}

impl V2Room {
    /// Starts it. When it returns, its ports are bound.
    pub(super) async fn start(
        config: config::V2,
        key: [u8; 32],
        directory: &Path,
        services: Services,
        events: mpsc::Sender<waku2::Event>,
    ) -> Result<Self, StartError> {
        let (client_arguments, answers_exchange) = (client_arguments(&config), config.seek.how.answer_exchange);
        config.network.notices.iter().for_each(|notice| warn!("{notice}"));
        let config::seek::Seek { mut how, persistent, exchange_node, notices } = config.seek;
        notices.iter().for_each(|notice| warn!("{notice}"));
        how.address_book = persistent.then(|| directory.join(ADDRESS_BOOK));
        let services = with(services, &config.services);
        let (rln, proofs) = match config.rln {
            Some(rln) => rln::Room::start(rln, directory).await.map(|(room, proofs)| (Some(room), Some(proofs)))?,
            None => (None, None),
        };
        let policy = Policy { rln: proofs, ..config.network.policy };
        info!(rules = %policy, "network rules");
        let config = waku2::Config {
            certificate: config.certificate.as_ref().map(certificate).transpose()?,
            listen: std::iter::once(config.listen).chain(config.websocket).collect(),
            announce: config.announce,
            limits: config.limits,
            name_servers: config.name_servers,
            cluster: config.network.cluster,
            topics: config.network.topics,
            policy,
            static_peers: config.static_peers.into_iter().chain(exchange_node).collect(),
            seek: how,
            agent: config.agent,
            services,
            ..waku2::Config::new(key)
        };
        let topics = config.topics.clone();
        let (node, task) = waku2::run::start(config, events).await?;
        let addresses = node.addresses();
        Ok(Self { node, client_arguments, answers_exchange, addresses, topics, rln, task })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        let proofs = async {
            match &mut self.rln {
                Some(rln) => rln.failed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            // Why it ended is in the log.
            _ = &mut self.task => "the Waku Network node",
            part = proofs => part,
        }
    }

    /// Stops the node, whose peers are told.
    pub(super) async fn shutdown(self) {
        self.node.shutdown().await;
    }
}

/// What is served beside `mounted`, and whom the node asks.
fn with(mounted: Services, config: &config::services::Services) -> Services {
    Services {
        rate_limits: config.rate_limits.clone(),
        nodes: config.nodes.clone(),
        lightpush: config.serves_lightpush.then_some(config.lightpush),
        filter: Some(config.filter),
        ..mounted
    }
}

/// Reads the files of a certificate.
fn certificate(files: &CertificateFiles) -> Result<waku2::Certificate, StartError> {
    let read =
        |path: &Path| fs::read(path).map_err(|source| StartError::CertificateFile { path: path.to_owned(), source });
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    waku2::Certificate::from_pem(&certificate, &key).map_err(StartError::Certificate)
}

/// What `listen` and `post` need to be told beside the address, where it is not what they assume.
fn client_arguments(config: &config::V2) -> String {
    let cluster = match config.network.cluster.0 {
        0 => String::new(),
        other => format!(" --cluster-id {other}"),
    };
    match config.network.topics.first().map(|topic| topic.as_str()) {
        None | Some("/waku/2/rs/0/0") => cluster,
        Some(topic) => format!("{cluster} --pubsub-topic {topic}"),
    }
}
