//! What a peer may say of itself.  Spec: libp2p, identify.

use std::{io, net::TcpListener, time::Duration};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm,
    core::PeerRecord,
    identity::Keypair,
    request_response::{self, Event, Message, ProtocolSupport},
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use prost::Message as _;
use waku2::{
    ClusterId,
    handle::PeerInfo,
    metadata::{self, Metadata},
    peers::{MAX_AGENT_BYTES, MAX_PROTOCOLS},
};

use crate::{
    carrier::{Carrier, Muxer},
    hostile::{goes_on, node},
    node::{Node, soon},
};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Identify {
    #[prost(bytes = "vec", optional, tag = "1")]
    public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    listen_addrs: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    protocols: Vec<String>,
    #[prost(string, optional, tag = "5")]
    protocol_version: Option<String>,
    #[prost(string, optional, tag = "6")]
    agent_version: Option<String>,
    #[prost(bytes = "vec", optional, tag = "8")]
    signed_peer_record: Option<Vec<u8>>,
}

/// Answers with any bytes.
#[derive(Debug, Clone, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<()> {
        Ok(())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Vec::new())
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        // Who has had enough ends the stream: that is an answer as well.
        let _ = io.write_all(&answer).await;
        Ok(())
    }
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    identify: request_response::Behaviour<Codec>,
    metadata: request_response::Behaviour<metadata::Codec>,
}

/// A peer that says this of itself, once it has been asked for it and for its metadata.
pub async fn says(node: &mut Node, key: &Keypair, said: &Identify) -> Swarm<Behaviour> {
    let settings = || request_response::Config::default();
    let identify = StreamProtocol::new("/ipfs/id/1.0.0");
    let behaviour = Behaviour {
        identify: request_response::Behaviour::with_codec(Codec, [(identify, ProtocolSupport::Inbound)], settings()),
        metadata: request_response::Behaviour::new([(metadata::PROTOCOL, ProtocolSupport::Full)], settings()),
    };
    let idle = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3_600));
    let id = key.public().to_peer_id();
    let mut swarm = Swarm::new(Carrier::Tcp.transport(Muxer::Yamux, key), behaviour, id, idle);
    swarm.dial(node.addr()).unwrap();
    let mut framed = Vec::new();
    said.encode_length_delimited(&mut framed).unwrap();
    let (mut told, mut welcomed) = (false, false);
    soon("to be asked", async {
        while !told || !welcomed {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(Event::Message {
                    message: Message::Request { channel, .. },
                    ..
                })) => {
                    swarm.behaviour_mut().identify.send_response(channel, framed.clone()).unwrap();
                }
                SwarmEvent::Behaviour(BehaviourEvent::Identify(
                    Event::ResponseSent { .. } | Event::InboundFailure { .. },
                )) => told = true,
                SwarmEvent::Behaviour(BehaviourEvent::Metadata(Event::Message {
                    message: Message::Request { channel, .. },
                    ..
                })) => {
                    let ours = Metadata { cluster: Some(ClusterId(1)), shards: vec![1] };
                    swarm.behaviour_mut().metadata.send_response(channel, ours).unwrap();
                }
                SwarmEvent::Behaviour(BehaviourEvent::Metadata(Event::ResponseSent { .. })) => welcomed = true,
                _ => {}
            }
        }
    })
    .await;
    swarm
}

/// What the node keeps of a peer that says this, once it has kept anything, if it ever does.
async fn kept(node: &mut Node, key: &Keypair, said: &Identify, something: bool) -> PeerInfo {
    let mut swarm = says(node, key, said).await;
    let id = key.public().to_peer_id();
    let look = async {
        if !something {
            goes_on(node).await;
        }
        loop {
            let peers = node.handle.peers().await;
            if let Some(info) = peers.into_iter().find(|info| info.peer == id && (info.agent.is_some() || !something)) {
                return info;
            }
        }
    };
    soon("an answer", async {
        let mut look = std::pin::pin!(look);
        loop {
            tokio::select! { info = &mut look => return info, _ = swarm.select_next_some() => {} }
        }
    })
    .await
}

pub fn honest(key: &Keypair) -> Identify {
    Identify {
        public_key: Some(key.public().encode_protobuf()),
        listen_addrs: vec!["/ip4/8.8.8.8/tcp/1".parse::<Multiaddr>().unwrap().to_vec()],
        protocols: vec!["/ipfs/id/1.0.0".to_owned(), "/vac/waku/metadata/1.0.0".to_owned()],
        protocol_version: Some("ipfs/0.1.0".to_owned()),
        agent_version: Some("honest".to_owned()),
        signed_peer_record: None,
    }
}

#[tokio::test]
async fn h66_who_says_too_much_of_itself_is_not_listened_to() {
    let mut node = node().await;
    let key = Keypair::generate_ed25519;
    let info = {
        let key = key();
        kept(&mut node, &key, &honest(&key), true).await
    };
    assert_eq!((info.agent.as_deref(), info.protocols.len()), (Some("honest"), 2));
    let addr = vec![1; 100];
    let too_much: [fn(Identify, Vec<u8>) -> Identify; 4] = [
        |honest, _| Identify { agent_version: Some("x".repeat(1 << 20)), ..honest },
        |honest, _| Identify { protocols: (0..10_000).map(|n| format!("/p/{n}")).collect(), ..honest },
        |honest, addr| Identify { listen_addrs: vec![addr; 10_000], ..honest },
        |honest, _| Identify { public_key: Some(Keypair::generate_ed25519().public().encode_protobuf()), ..honest },
    ];
    for (n, lie) in too_much.into_iter().enumerate() {
        let key = key();
        let info = kept(&mut node, &key, &lie(honest(&key), addr.clone()), false).await;
        assert_eq!((info.agent, info.protocols.len()), (None, 0), "lie {n}");
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h66_what_is_kept_of_a_peer_is_bounded() {
    let mut node = node().await;
    let key = Keypair::generate_ed25519();
    let long = Identify { agent_version: Some("x".repeat(3_000)), ..honest(&key) };
    assert_eq!(kept(&mut node, &key, &long, true).await.agent, Some("x".repeat(MAX_AGENT_BYTES)));
    let key = Keypair::generate_ed25519();
    let many = Identify { protocols: vec!["/".to_owned(); 1_200], ..honest(&key) };
    assert_eq!(kept(&mut node, &key, &many, true).await.protocols.len(), MAX_PROTOCOLS);
}

#[tokio::test]
async fn h66_the_record_of_another_leads_nowhere() {
    let mut node = node().await;
    let victim = TcpListener::bind("127.0.0.1:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let addr: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", victim.local_addr().unwrap().port()).parse().unwrap();
    let (key, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    for signer in [&key, &other] {
        let record = PeerRecord::new(signer, vec![addr.clone()]).unwrap();
        let record = Some(record.into_signed_envelope().into_protobuf_encoding());
        let said = Identify { listen_addrs: vec![addr.to_vec()], signed_peer_record: record, ..honest(&key) };
        assert_eq!(kept(&mut node, &key, &said, true).await.agent.as_deref(), Some("honest"));
    }
    goes_on(&mut node).await;
    let error = victim.accept().expect_err("nobody is called for what it says of itself");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}
