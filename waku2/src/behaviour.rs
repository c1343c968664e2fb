//! The one composed libp2p behaviour, and the bounds of its protocols.
//!
//! Identify, ping, metadata, peer exchange, relay and the services over what [`crate::transport`] brings. Each stream protocol has a time limit and a frame cap
//! of its own; a stream on which nothing is said ends after it, and its connection stays: js-waku opens streams ahead of need.

use std::{io, sync::Arc, time::Duration};

use libp2p::{
    Swarm, connection_limits, identify,
    identity::Keypair,
    ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour},
};

use crate::{
    colocation,
    handle::Config,
    metadata::{self, Codec},
    peer_exchange, pong,
    relay::Gossip,
    service::streams,
    transport::{self, TransportError},
    wire::Wire,
};

/// How long a metadata request may take, and an answer. Deployed nodes have no limit; a silent peer is left after it.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Metadata streams in one connection at a time: a peer asks once.
const METADATA_STREAMS: usize = 4;

/// How long a peer-exchange request may take, and an answer; as for metadata.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Peer-exchange streams in one connection at a time: a client asks one question after the other.
const EXCHANGE_STREAMS: usize = 2;

/// How long a connection may be idle, that is outside every mesh. Peers that only listen are peers, and deployed nodes keep
/// them; the limits above bound how many there are, pings find those that have died.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often every peer is pinged, and how long it may take to answer. Deployed: nwaku pings some peers each 10 s and all of them each
/// 2 min, and js-waku all each 10 s, so that this keeps routers on the way awake as well. libp2p tells of the second failure in a row,
/// which is that of opening another stream, for which it waits 10 s: a connection that died is found after 40 to 55 s.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Identify's protocol version string.  Deployed: all Waku nodes.
const IDENTIFY_VERSION: &str = "ipfs/0.1.0";

/// What runs on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First, so that a refused connection reaches none of the others.
    limits: connection_limits::Behaviour,
    colocation: colocation::Behaviour,
    pub(crate) gossip: Gossip,
    pub(crate) metadata: request_response::Behaviour<Codec>,
    pub(crate) exchange: request_response::Behaviour<peer_exchange::Codec>,
    pub(crate) services: streams::Behaviour,
    identify: identify::Behaviour,
    /// Before the next one, whose streams it takes.
    pong: pong::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair, config: &Config, gossip: Gossip, services: streams::Behaviour) -> Self {
        let Config { agent, limits, seek, .. } = config;
        // What is announced is given to the swarm as external addresses, and changes are told at once.
        let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), key.public())
            .with_agent_version(agent.clone())
            .with_hide_listen_addrs(true)
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        Self {
            limits: connection_limits::Behaviour::new(limits.counted()),
            colocation: colocation::Behaviour::new(limits),
            gossip,
            metadata: request_response::Behaviour::new(
                [(metadata::PROTOCOL, ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(METADATA_TIMEOUT)
                    .with_max_concurrent_streams(METADATA_STREAMS),
            ),
            exchange: request_response::Behaviour::new(
                [(
                    peer_exchange::PROTOCOL,
                    if seek.answer_exchange { ProtocolSupport::Full } else { ProtocolSupport::Outbound },
                )],
                request_response::Config::default()
                    .with_request_timeout(EXCHANGE_TIMEOUT)
                    .with_max_concurrent_streams(EXCHANGE_STREAMS),
            ),
            services,
            identify: identify::Behaviour::new(identify),
            pong: pong::Behaviour,
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        }
    }
}

/// Has a peer said nothing for too long?
pub(crate) fn is_silence(failure: &ping::Failure) -> bool {
    match failure {
        ping::Failure::Timeout => true,
        ping::Failure::Unsupported => false,
        // That of opening a stream comes so.
        ping::Failure::Other { error } => {
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        }
    }
}

/// A swarm that neither listens nor dials yet.
///
/// # Errors
/// See [`TransportError`].
pub(crate) fn swarm(
    key: &Keypair,
    config: &Config,
    gossip: Gossip,
    services: streams::Behaviour,
    wire: Arc<Wire>,
) -> Result<Swarm<Behaviour>, TransportError> {
    let handshake = config.limits.handshake;
    let transport = transport::build(key, config.certificate.clone(), &config.name_servers, handshake, wire)?;
    let behaviour = Behaviour::new(key, config, gossip, services);
    let settings = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
    Ok(Swarm::new(transport, behaviour, key.public().to_peer_id(), settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f12_silence_is_told_from_other_failures() {
        let other = |kind| ping::Failure::Other { error: Box::new(io::Error::from(kind)) };
        assert!(is_silence(&ping::Failure::Timeout) && is_silence(&other(io::ErrorKind::TimedOut)));
        for other in [ping::Failure::Unsupported, other(io::ErrorKind::UnexpectedEof)] {
            assert!(!is_silence(&other), "{other}");
        }
    }
}
