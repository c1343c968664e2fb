//! JSON-RPC of the waku/0 side: the union of what go-ethereum's Whisper, status-go and Nimbus serve.  Spec: 9/WAKU-RPC.
//!
//! | Module | Concept |
//! |---|---|
//! | `values` | bytes, criteria, posts and messages in JSON |
//! | `context` | what methods work on: node, filters, keys |
//! | `waku`, `keys` | `waku_*`, the same as `shh_*`, and what Status added |
//! | `admin` | `admin_*`, `net_*`, `web3_*`, `rpc_modules` |
//! | `guard` | who may ask over HTTP and WebSocket |
//! | `history`, `sync` | requests for history, and for what a mailserver lacks |
//! | `events` | subscriptions to what happens |
//! | `confirmed` | messages that were processed |
//! | `ipc` | the Unix socket |
//!
//! Off unless asked for, and then on loopback; what changes the node's peers is served over HTTP only when named. Limits: requests of
//! `MAX_REQUEST_BYTES`, answers of `MAX_ANSWER_BYTES`, `MAX_BATCH` calls in one, `MAX_CONNECTIONS` connections,
//! `MAX_SUBSCRIPTIONS` subscriptions of each; what is beyond is refused.

mod admin;
mod confirmed;
mod context;
mod events;
mod guard;
mod history;
mod ipc;
mod keys;
mod sync;
mod values;
mod waku;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use jsonrpsee::{
    RpcModule,
    server::{BatchRequestConfig, RandomStringIdProvider, RegisterMethodError, Server, ServerConfig, ServerHandle},
};
use tokio::{sync::mpsc, task::JoinHandle};
use waku0::Event;

pub(crate) use context::{Context, Node};
pub(crate) use guard::Guard;

use crate::{
    cli::Namespace,
    config,
    keystore::{KeyStore, KeyStoreError},
};

/// Longest request, in bytes. Source: go-ethereum `rpc/http.go`, `maxRequestContentLength`.
const MAX_REQUEST_BYTES: u32 = 5 << 20;
/// Longest answer, in bytes. Source: go-ethereum, `BatchResponseMaxSize`.
const MAX_ANSWER_BYTES: u32 = 25 << 20;
/// Calls in one request. Source: go-ethereum, `BatchRequestLimit`.
const MAX_BATCH: u32 = 1_000;
/// Connections at a time, of HTTP and of WebSocket each.
const MAX_CONNECTIONS: u32 = 100;
/// Subscriptions of a connection: each has a filter.
const MAX_SUBSCRIPTIONS: u32 = 16;
/// Characters of a subscription's id.
const SUBSCRIPTION_ID: usize = 16;
/// Envelopes that wait to be tried with the keys of filters. Full: left out, and counted.
const EVENTS: usize = 1_024;
/// File of the Unix socket within the data directory: where clients of go-ethereum look.
const IPC_FILE: &str = "geth.ipc";

/// Why JSON-RPC can't be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error("JSON-RPC can't listen on {at}: {source}. Give another port with {flag}, or 0 for any free one")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// What sets its port.
        flag: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The Unix socket.
    #[error("JSON-RPC can't listen on {0}: {1}. Give another place with --ipc-path")]
    Ipc(PathBuf, io::Error),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Two methods of one name.
    #[error("JSON-RPC: {0}")]
    Method(#[from] RegisterMethodError),
}

/// What is served, and the tasks that serve it; they end with this.
#[derive(Debug)]
pub(crate) struct Served {
    /// HTTP.
    pub(crate) http: Option<SocketAddr>,
    /// WebSocket.
    pub(crate) ws: Option<SocketAddr>,
    /// The Unix socket.
    pub(crate) ipc: Option<PathBuf>,
    servers: Vec<ServerHandle>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        for server in &self.servers {
            // It may have stopped by itself.
            let _ = server.stop();
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(path) = &self.ipc {
            // A socket that nobody listens on is taken over by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a node tells JSON-RPC.
#[derive(Debug)]
pub(crate) struct Tapped {
    events: mpsc::Receiver<Event>,
    /// Events for which there was no room.
    left_out: Arc<AtomicU64>,
}

/// Hands events to whoever took them so far, and to filters as well.
pub(crate) fn tap(mut from: mpsc::Receiver<Event>, to: Option<mpsc::Sender<Event>>) -> Tapped {
    let (sender, events) = mpsc::channel(EVENTS);
    let left_out = Arc::<AtomicU64>::default();
    let tapped = Tapped { events, left_out: Arc::clone(&left_out) };
    tokio::spawn(async move {
        while let Some(event) = from.recv().await {
            if sender.try_send(event.clone()).is_err() {
                let left_out = left_out.fetch_add(1, Relaxed) + 1;
                if left_out.is_power_of_two() {
                    tracing::warn!(left_out, "envelopes come faster than filters open them; some are not tried");
                }
            }
            if let Some(to) = &to
                && to.send(event).await.is_err()
            {
                return;
            }
        }
    });
    tapped
}

/// Serves as configured. When it returns, its ports are bound.
///
/// # Errors
/// [`StartError`] names the flag.
pub(crate) async fn start(
    config: config::Rpc,
    node: Node,
    data_dir: &Path,
    Tapped { events, left_out }: Tapped,
) -> Result<Served, StartError> {
    let context = Context::new(node, left_out, KeyStore::open(data_dir)?, data_dir, config.bytes);
    let context = Arc::new(context);
    let mut served = Served { http: None, ws: None, ipc: None, servers: Vec::new(), tasks: Vec::new() };
    served.tasks.push(tokio::spawn(Arc::clone(&context).follow(events)));
    let guard = Guard::new(&config.hosts, &config.origins);
    if let Some(at) = config.http {
        let module = module(&context, &config.api)?;
        let (bound, server) = serve(at, limits().http_only().build(), guard.clone(), module, "--rpc-port").await?;
        served.http = Some(bound);
        served.servers.push(server);
    }
    if let Some(at) = config.ws {
        let module = module(&context, &config.api)?;
        let (bound, server) = serve(at, limits().ws_only().build(), guard, module, "--ws-port").await?;
        served.ws = Some(bound);
        served.servers.push(server);
    }
    if config.ipc {
        // A path that is whole stands for itself.
        let path = data_dir.join(config.ipc_path.unwrap_or_else(|| IPC_FILE.into()));
        let all = module(&context, &ALL)?;
        let task = ipc::serve(&path, all).map_err(|error| StartError::Ipc(path.clone(), error))?;
        served.ipc = Some(path);
        served.tasks.push(task);
    }
    Ok(served)
}

/// Everything there is.
const ALL: [Namespace; 7] = [
    Namespace::Waku,
    Namespace::Shh,
    Namespace::Wakuext,
    Namespace::Shhext,
    Namespace::Admin,
    Namespace::Net,
    Namespace::Web3,
];

/// The methods of some namespaces.
fn module(context: &Arc<Context>, api: &[Namespace]) -> Result<RpcModule<Arc<Context>>, RegisterMethodError> {
    let mut module = RpcModule::new(Arc::clone(context));
    for namespace in ALL.into_iter().filter(|namespace| api.contains(namespace)) {
        match namespace {
            Namespace::Waku => {
                waku::waku(&mut module)?;
                keys::waku(&mut module)?;
            }
            Namespace::Shh => {
                waku::shh(&mut module)?;
                keys::shh(&mut module)?;
            }
            Namespace::Wakuext => waku::wakuext(&mut module)?,
            Namespace::Shhext => waku::shhext(&mut module)?,
            Namespace::Admin => admin::admin(&mut module)?,
            Namespace::Net => admin::net(&mut module)?,
            Namespace::Web3 => admin::web3(&mut module)?,
        }
    }
    admin::modules(&mut module, api)?;
    Ok(module)
}

fn limits() -> jsonrpsee::server::ServerConfigBuilder {
    ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_ANSWER_BYTES)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .max_connections(MAX_CONNECTIONS)
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_id_provider(RandomStringIdProvider::new(SUBSCRIPTION_ID))
}

async fn serve(
    at: SocketAddr,
    config: ServerConfig,
    guard: Guard,
    module: RpcModule<Arc<Context>>,
    flag: &'static str,
) -> Result<(SocketAddr, ServerHandle), StartError> {
    let refused = |source| StartError::Bind { at, flag, source };
    let server = Server::builder()
        .set_config(config)
        .set_http_middleware(tower::ServiceBuilder::new().layer(guard))
        .build(at)
        .await
        .map_err(refused)?;
    let bound = server.local_addr().map_err(refused)?;
    Ok((bound, server.start(module)))
}
