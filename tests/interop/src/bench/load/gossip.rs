//! A peer of the Waku Network that measures: gossip, and the metadata without which no node keeps it.
//!
//! Once a second a gossip node looks through all that it has of the last three: at 10,000 messages a second some 30 ms in which it
//! neither sends nor reads. Of the node that is judged these belong to the figure; of the one that measures they do not. So here that
//! comes once a minute. The mesh is made by the other side, whose heartbeat asks for it.

use super::item::{self, Arrival, pubsub_topic};
use crate::deadline::now;
use anyhow::{Context, Result, anyhow};
use libp2p::futures::StreamExt;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, Message, MessageAcceptance, MessageAuthenticity, MessageId, ValidationMode,
    Version,
};
use libp2p::identity::{Keypair, secp256k1};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use waku2::metadata::{self, Metadata};

/// How often it looks after its mesh and its memory: less often than a run is long.
const UPKEEP: Duration = Duration::from_secs(60);
/// Messages that wait to be sent, or to be read. Above all that is ever on its way.
const QUEUE: usize = 65_536;
/// What its connection may have waiting: above it too.
const WAITING: usize = 8_192;

/// What it speaks.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Spoken {
    gossip: gossipsub::Behaviour,
    metadata: request_response::Behaviour<metadata::Codec>,
}

/// The peer.
pub(super) struct Gossip {
    out: mpsc::Sender<Vec<u8>>,
    arrivals: mpsc::Receiver<Arrival>,
    task: JoinHandle<()>,
}

impl Gossip {
    /// Connects to a node and waits to be in its mesh.
    pub(super) async fn connect(multiaddr: &str, key: [u8; 32]) -> Result<Self> {
        let mut swarm = swarm(key)?;
        let topic = IdentTopic::new(pubsub_topic()?.to_string());
        swarm.behaviour_mut().gossip.subscribe(&topic)?;
        swarm.dial(multiaddr.parse::<Multiaddr>()?)?;
        while swarm.behaviour().gossip.mesh_peers(&topic.hash()).next().is_none() {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(SpokenEvent::Metadata(event)) => answer(&mut swarm, event),
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    return Err(error).context("the bridge can't be dialled");
                }
                _ => {}
            }
        }
        let (out, messages) = mpsc::channel(QUEUE);
        let (seen, arrivals) = mpsc::channel(QUEUE);
        Ok(Self { out, arrivals, task: tokio::spawn(carry(swarm, topic, messages, seen)) })
    }

    pub(super) async fn publish(&self, data: Vec<u8>) -> Result<()> {
        self.out.send(data).await.map_err(|_| anyhow!("the relay peer has ended"))
    }

    /// The next message that says a number. Safe to cancel.
    pub(super) async fn arrival(&mut self) -> Result<Arrival> {
        self.arrivals.recv().await.context("the relay peer has ended")
    }

    pub(super) async fn close(self) {
        drop((self.out, self.arrivals));
        self.task.abort();
        let _ended = self.task.await;
    }
}

fn swarm(key: [u8; 32]) -> Result<Swarm<Spoken>> {
    let secret = secp256k1::SecretKey::try_from_bytes(key)?;
    let config = ConfigBuilder::default()
        .protocol_id("/vac/waku/relay/2.0.0", Version::V1_1)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::new(waku2::hash::gossip_id(&message.data).as_bytes()))
        .heartbeat_interval(UPKEEP)
        .connection_handler_queue_len(WAITING)
        .build()?;
    let gossip =
        gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|error| anyhow!("{error}"))?;
    let metadata = request_response::Behaviour::new(
        [(metadata::PROTOCOL, ProtocolSupport::Full)],
        request_response::Config::default(),
    );
    Ok(SwarmBuilder::with_existing_identity(Keypair::from(secp256k1::Keypair::from(secret)))
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Spoken { gossip, metadata })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(UPKEEP))
        .build())
}

/// Tells the bridge what it tells us: a peer of its cluster, on its shards.
fn answer(swarm: &mut Swarm<Spoken>, event: request_response::Event<Metadata, Metadata>) {
    if let request_response::Event::Message {
        message: request_response::Message::Request { request, channel, .. },
        ..
    } = event
    {
        // Too late only when the connection is gone, which the run notices.
        let _gone = swarm.behaviour_mut().metadata.send_response(channel, request);
    }
}

/// Sends what it is given and notes what comes, until either end is dropped.
async fn carry(
    mut swarm: Swarm<Spoken>,
    topic: IdentTopic,
    mut messages: mpsc::Receiver<Vec<u8>>,
    seen: mpsc::Sender<Arrival>,
) {
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                let SwarmEvent::Behaviour(event) = event else { continue };
                let (propagation_source, message_id, message) = match event {
                    SpokenEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                        (propagation_source, message_id, message)
                    }
                    SpokenEvent::Metadata(event) => {
                        answer(&mut swarm, event);
                        continue;
                    }
                    SpokenEvent::Gossip(_) => continue,
                };
                let gossip = &mut swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, MessageAcceptance::Ignore);
                if let Some(arrival) = arrival(&message)
                    && seen.try_send(arrival).is_err()
                {
                    return;
                }
            }
            data = messages.recv() => {
                let Some(data) = data else { return };
                // Its queue holds more than is ever on its way, so whatever this is, the run is over.
                if let Err(error) = swarm.behaviour_mut().gossip.publish(topic.hash(), data) {
                    eprintln!("interop: the relay peer can't publish: {error}");
                    return;
                }
            }
        }
    }
}

fn arrival(message: &Message) -> Option<Arrival> {
    let at = now();
    let message = waku2::WakuMessage::decode(&message.data).ok()?;
    item::number(&message.payload).map(|number| Arrival { number, at })
}
