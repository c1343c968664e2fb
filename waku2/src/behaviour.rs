//! The one composed libp2p behaviour, its transport, and their bounds.
//!
//! TCP with Noise XX and yamux; identify, ping, metadata and relay. Each stream protocol has a time limit and a frame cap
//! of its own. Store, filter, lightpush and peer exchange are further fields of `Behaviour`.

use std::time::Duration;

use libp2p::{
    Swarm, SwarmBuilder,
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    noise, ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
    tcp, yamux,
};

use crate::{
    metadata::{self, Codec},
    relay::Gossip,
};

/// Established connections. Deployed: nwaku's default. A further one is closed at once.
pub const MAX_CONNECTIONS: u32 = 50;

/// Of these, how many others may have opened: two thirds, as nwaku shares them out, so that callers cannot keep us from calling.
pub const MAX_INBOUND: u32 = 33;

/// Connections with one peer: two, for when both call each other at the same moment.
pub const MAX_PER_PEER: u32 = 2;

/// Inbound connections still in their handshake. A further one is refused.
pub const MAX_PENDING_INBOUND: u32 = 32;

/// Outbound connections still in their handshake, nwaku's parallel dials and some slack; static peers beyond it wait.
pub const MAX_PENDING_OUTBOUND: u32 = 16;

/// Streams in one connection, either way.  Deployed: nim-libp2p's yamux.
pub const MAX_STREAMS: usize = 256;

/// How long a metadata request may take, and an answer. Deployed nodes have no limit; a silent peer is left after it.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Metadata streams in one connection at a time: a peer asks once.
const METADATA_STREAMS: usize = 4;

/// How long a connection may be idle, that is outside every mesh. Peers that only listen are peers, and deployed nodes keep
/// them; the limits above bound how many there are, pings find those that have died.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long TCP, Noise and yamux may take together.  Deployed: nwaku's dial time limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Identify's protocol version string.  Deployed: all Waku nodes.
const IDENTIFY_VERSION: &str = "ipfs/0.1.0";

/// What runs on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First, so that a refused connection reaches none of the others.
    limits: connection_limits::Behaviour,
    pub(crate) gossip: Gossip,
    pub(crate) metadata: request_response::Behaviour<Codec>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair, agent: String, gossip: Gossip) -> Self {
        let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), key.public())
            .with_agent_version(agent)
            .with_cache_size(0);
        Self {
            limits: connection_limits::Behaviour::new(limits()),
            gossip,
            metadata: request_response::Behaviour::new(
                [(metadata::PROTOCOL, ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(METADATA_TIMEOUT)
                    .with_max_concurrent_streams(METADATA_STREAMS),
            ),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
        }
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_incoming(Some(MAX_INBOUND))
        .with_max_established_per_peer(Some(MAX_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_INBOUND))
        .with_max_pending_outgoing(Some(MAX_PENDING_OUTBOUND))
}

/// A swarm that neither listens nor dials yet.
///
/// # Errors
/// When Noise cannot make its own key.
pub(crate) fn swarm(key: Keypair, agent: String, gossip: Gossip) -> Result<Swarm<Behaviour>, noise::Error> {
    let behaviour = Behaviour::new(&key, agent, gossip);
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer)?
        .with_behaviour(|_| behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .with_connection_timeout(CONNECT_TIMEOUT)
        .build();
    Ok(swarm)
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}
