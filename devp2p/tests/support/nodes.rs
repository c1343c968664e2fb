//! Servers on loopback, and puppets that talk to them over TCP. No wait is without an end: see [`soon`].

use std::future::Future;
use std::time::Duration;

use devp2p::frame::Frame;
use devp2p::handshake::{AuthSent, Material};
use devp2p::{CloseCause, ConnId, Enode, Limits, Network, Peer, Server, ServerConfig, ServerEvent, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Puppet, SHH6, WAKU0, key, local, rng};

/// So long is never needed; without it what does not come would be waited for without end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What comes of a wait; panics when nothing does.
pub(crate) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.expect("it comes at last")
}

pub(crate) struct Node {
    pub(crate) handle: ServerHandle,
    pub(crate) events: mpsc::Receiver<ServerEvent>,
}

pub(crate) fn config(secret: u8, static_nodes: &[Enode]) -> ServerConfig {
    let local = local(secret, &[WAKU0, SHH6]);
    ServerConfig {
        key: local.key,
        client_id: local.client_id,
        offered: local.offered,
        listen: Some("127.0.0.1:0".parse().unwrap()),
        static_nodes: static_nodes.to_vec(),
        limits: Limits::default(),
        network: Network::default(),
    }
}

impl Node {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let (sender, events) = mpsc::channel(16);
        Self { handle: Server::start(config, sender).await.unwrap(), events }
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        soon(self.events.recv()).await.unwrap()
    }

    pub(crate) async fn opened(&mut self) -> (ConnId, Peer, bool) {
        match self.event().await {
            ServerEvent::Opened { conn, peer, inbound, .. } => (conn, peer, inbound),
            event => panic!("{event:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> (ConnId, CloseCause) {
        match self.event().await {
            ServerEvent::Closed { conn, cause } => (conn, cause),
            event => panic!("{event:?}"),
        }
    }

    pub(crate) async fn body(&mut self) -> Vec<u8> {
        match self.event().await {
            ServerEvent::Packet { body, .. } => body.to_vec(),
            event => panic!("{event:?}"),
        }
    }

    /// Waits until no task of a connection is left.
    pub(crate) async fn all_closed(&self) {
        soon(self.handle.all_closed()).await;
    }

    /// A puppet that has shaken hands with this node over TCP.
    pub(crate) async fn puppet(&self, secret: u8) -> Wire {
        self.greeted(TcpStream::connect(self.handle.listen_addr().unwrap()).await.unwrap(), secret).await
    }

    /// The same over a stream that is connected.
    pub(crate) async fn greeted(&self, mut stream: TcpStream, secret: u8) -> Wire {
        let (state, auth) = AuthSent::start(&key(secret), &self.handle.enode().key, Material::draw(&mut rng(9)));
        stream.write_all(&auth).await.unwrap();
        let mut ack = vec![0; 2];
        soon(stream.read_exact(&mut ack)).await.unwrap();
        ack.resize(2 + usize::from(u16::from_be_bytes([ack[0], ack[1]])), 0);
        soon(stream.read_exact(&mut ack[2..])).await.unwrap();
        Wire { stream, puppet: Puppet::new(secret, state.finish(&ack).unwrap()) }
    }
}

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) puppet: Puppet,
}

impl Wire {
    pub(crate) async fn hello(&mut self) {
        let hello = self.puppet.hello(5, &[WAKU0]).encode();
        let frame = self.puppet.frame(0, &hello);
        soon(self.stream.write_all(&frame)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, code: u64, body: &[u8]) {
        let frame = self.puppet.frame(code, body);
        soon(self.stream.write_all(&frame)).await.unwrap();
    }

    /// The next frames; none once the stream has ended.
    pub(crate) async fn frames(&mut self) -> Vec<Frame> {
        loop {
            let mut buffer = [0; 4096];
            let read = soon(self.stream.read(&mut buffer)).await.unwrap_or(0);
            let frames = self.puppet.takes(&buffer[..read]);
            if read == 0 || !frames.is_empty() {
                return frames;
            }
        }
    }
}
