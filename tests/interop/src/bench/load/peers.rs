//! The two peers: a waku/0 session over devp2p, driven packet by packet, and one of the Waku Network's gossip.

use super::Way;
use super::gossip::Gossip;
use super::item::{self, Arrival};
use crate::deadline::now;
use anyhow::{Context, Result, bail};
use devp2p::{ConnId, Limits, Network, NodeKey, Packet, Server, ServerConfig, ServerEvent, ServerHandle};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use waku0::packet::{Code, messages};
use waku0::status::StatusOptions;
use waku0::version::Version;
use waku0::{Envelope, Pow};

/// Until both have a session with the bridge.
const CONNECTING: Duration = Duration::from_secs(30);
/// Packets and messages that wait to be read. Above all that is ever on its way: nothing is to be lost here.
const QUEUE: usize = 65_536;
/// Keys of the two.
const KEYS: [[u8; 32]; 2] = [[0x51; 32], [0x52; 32]];

/// Both peers, connected to the bridge.
pub(super) struct Peers {
    server: ServerHandle,
    conn: ConnId,
    packets: mpsc::Receiver<ServerEvent>,
    relay: Gossip,
}

impl Peers {
    pub(super) async fn connect(enode: &str, multiaddr: &str) -> Result<Self> {
        let both = async {
            let (server, conn, packets) = session(enode).await?;
            let relay = Gossip::connect(multiaddr, KEYS[1]).await?;
            Ok(Self { server, conn, packets, relay })
        };
        timeout(CONNECTING, both).await.context("no session with the bridge")?
    }

    /// Sends the items of these numbers; `sent` is told just before which of them go out.
    pub(super) async fn send(&self, way: Way, numbers: Range<u64>, mut sent: impl FnMut(Range<u64>)) -> Result<()> {
        match way {
            Way::V0ToV2 => {
                let made: Result<Vec<Arc<Envelope>>> =
                    numbers.clone().map(|number| item::envelope(number).map(Arc::new)).collect();
                let bodies = messages::encode(&made?);
                sent(numbers);
                for body in bodies {
                    self.server.try_send(self.conn, packet(Code::Messages, body))?;
                }
            }
            Way::V2ToV0 => {
                for number in numbers {
                    let data = item::message(number).encode();
                    sent(number..number + 1);
                    self.relay.publish(data.into()).await?;
                }
            }
        }
        Ok(())
    }

    /// What has arrived at the far peer; waits for something. Safe to cancel.
    pub(super) async fn arrivals(&mut self, way: Way) -> Result<Vec<Arrival>> {
        loop {
            let arrived = match way {
                Way::V0ToV2 => vec![self.relay.arrival().await?],
                Way::V2ToV0 => self.envelopes().await?,
            };
            if !arrived.is_empty() {
                return Ok(arrived);
            }
        }
    }

    async fn envelopes(&mut self) -> Result<Vec<Arrival>> {
        match self.packets.recv().await.context("the waku/0 peer has ended")? {
            ServerEvent::Packet { code, body, .. } if code == Code::Messages.number() => {
                let at = now();
                let envelopes = messages::decode(&body)?;
                let numbers = envelopes.filter_map(|envelope| item::number(envelope.ok()?.ok()?.data()));
                Ok(numbers.map(|number| Arrival { number, at }).collect())
            }
            ServerEvent::Closed { cause, .. } => bail!("the bridge has left the waku/0 peer: {cause}"),
            ServerEvent::Packet { .. } | ServerEvent::Opened { .. } => Ok(Vec::new()),
        }
    }

    pub(super) async fn close(self) {
        self.server.shutdown().await;
        self.relay.close().await;
    }
}

fn packet(code: Code, body: bytes::Bytes) -> Packet {
    Packet::new(Version::Waku0.capability(), code.number(), body)
}

/// A waku/0 session with the bridge, after the exchange of Status.
async fn session(enode: &str) -> Result<(ServerHandle, ConnId, mpsc::Receiver<ServerEvent>)> {
    let (events, mut packets) = mpsc::channel(QUEUE);
    let config = ServerConfig {
        key: NodeKey::from_bytes(&KEYS[0])?,
        client_id: "load".to_owned(),
        offered: vec![Version::Waku0.offered()],
        listen: None,
        static_nodes: vec![enode.parse()?],
        limits: Limits::default(),
        network: Network::default(),
    };
    let server = Server::start(config, events).await?;
    loop {
        match packets.recv().await.context("the waku/0 peer has ended")? {
            ServerEvent::Opened { conn, .. } => {
                let status = StatusOptions { pow: Some(Pow::ZERO), ..StatusOptions::default() };
                server.try_send(conn, packet(Code::Status, status.encode_status(Version::Waku0)))?;
            }
            ServerEvent::Packet { conn, code, .. } if code == Code::Status.number() => {
                return Ok((server, conn, packets));
            }
            ServerEvent::Packet { .. } => {}
            ServerEvent::Closed { cause, .. } => bail!("the bridge does not take the waku/0 peer: {cause}"),
        }
    }
}
