//! A peer that writes any bytes on streams of relay and metadata, and notes what it is sent.

use std::{
    future::{Future, pending},
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm,
    identity::Keypair,
    request_response::{self, Event, Message, OutboundRequestId, ProtocolSupport},
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use prost::Message as _;
use tokio::sync::Notify;
use waku2::{
    ClusterId,
    metadata::{self, Metadata},
    relay,
};

use crate::{
    carrier::{Carrier, Muxer},
    node::soon,
};

/// Longer than any test.
const EVER: Duration = Duration::from_secs(3_600);

#[derive(Clone, PartialEq, prost::Message)]
pub struct Rpc {
    #[prost(message, repeated, tag = "1")]
    pub subscriptions: Vec<Subscription>,
    #[prost(message, repeated, tag = "2")]
    pub publish: Vec<Publish>,
    #[prost(message, optional, tag = "3")]
    pub control: Option<Control>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscription {
    #[prost(bool, optional, tag = "1")]
    pub subscribe: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pub topic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Publish {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub from: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub data: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub seqno: Option<Vec<u8>>,
    #[prost(string, optional, tag = "4")]
    pub topic: Option<String>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub signature: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    #[prost(message, repeated, tag = "1")]
    pub ihave: Vec<TopicIds>,
    #[prost(message, repeated, tag = "2")]
    pub iwant: Vec<Ids>,
    #[prost(message, repeated, tag = "3")]
    pub graft: Vec<Graft>,
    #[prost(message, repeated, tag = "4")]
    pub prune: Vec<Prune>,
    #[prost(message, repeated, tag = "5")]
    pub idontwant: Vec<Ids>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TopicIds {
    #[prost(string, optional, tag = "1")]
    pub topic: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Ids {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Graft {
    #[prost(string, optional, tag = "1")]
    pub topic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Prune {
    #[prost(string, optional, tag = "1")]
    pub topic: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    pub backoff: Option<u64>,
}

impl Rpc {
    pub fn subscribe(topics: impl IntoIterator<Item = String>) -> Self {
        let one = |topic| Subscription { subscribe: Some(true), topic: Some(topic) };
        Self { subscriptions: topics.into_iter().map(one).collect(), ..Self::default() }
    }

    pub fn publish(messages: impl IntoIterator<Item = Publish>) -> Self {
        Self { publish: messages.into_iter().collect(), ..Self::default() }
    }

    pub fn control(control: Control) -> Self {
        Self { control: Some(control), ..Self::default() }
    }

    /// With its length before it.
    pub fn frame(&self) -> Vec<u8> {
        self.encode_length_delimited_to_vec()
    }
}

impl Publish {
    pub fn on(topic: &str, data: &[u8]) -> Self {
        Self { data: Some(data.to_vec()), topic: Some(topic.to_owned()), ..Self::default() }
    }
}

/// Does the peer read what it is sent?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ear {
    Open,
    Deaf,
}

#[derive(Clone)]
pub struct Codec {
    ear: Ear,
    heard: Arc<Mutex<Vec<u8>>>,
    news: Arc<Notify>,
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    /// Streams of relay stay open: what comes is noted at once.
    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        if self.ear == Ear::Deaf {
            return pending().await;
        }
        let mut piece = vec![0; 64 * 1024];
        loop {
            match io.read(&mut piece).await? {
                0 => return Ok(Vec::new()),
                n => {
                    self.heard.lock().unwrap().extend_from_slice(&piece[..n]);
                    self.news.notify_one();
                }
            }
        }
    }

    /// A reset is an end as well.
    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut answer = Vec::new();
        let _ = io.read_to_end(&mut answer).await;
        Ok(answer)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        // A node that ends the stream in the middle has had enough: its end is the answer.
        let _ = io.write_all(&request).await;
        let _ = io.flush().await;
        Ok(())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, _: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}

impl Codec {
    fn new(ear: Ear) -> Self {
        Self { ear, heard: Arc::default(), news: Arc::default() }
    }
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    relay: request_response::Behaviour<Codec>,
    questions: request_response::Behaviour<Codec>,
    metadata: request_response::Behaviour<metadata::Codec>,
}

pub struct Raw {
    swarm: Swarm<Behaviour>,
    node: PeerId,
    heard: Arc<Mutex<Vec<u8>>>,
    news: Arc<Notify>,
    answers: bool,
    /// Kept, so that the node waits for its answer.
    unanswered: Vec<request_response::ResponseChannel<Metadata>>,
}

impl Raw {
    /// Connects to the node; metadata is answered as a peer of cluster 1 would, or never if it does not `answer`.
    pub async fn connect(addr: Multiaddr, node: PeerId, ear: Ear, answers: bool) -> Self {
        let codec = Codec::new(ear);
        let (heard, news) = (Arc::clone(&codec.heard), Arc::clone(&codec.news));
        let ever = || request_response::Config::default().with_request_timeout(EVER);
        let relay = StreamProtocol::new(relay::PROTOCOL);
        let behaviour = Behaviour {
            relay: request_response::Behaviour::with_codec(codec, [(relay, ProtocolSupport::Full)], ever()),
            questions: request_response::Behaviour::with_codec(
                Codec::new(Ear::Open),
                [(metadata::PROTOCOL, ProtocolSupport::Outbound)],
                ever(),
            ),
            metadata: request_response::Behaviour::new([(metadata::PROTOCOL, ProtocolSupport::Inbound)], ever()),
        };
        let key = Keypair::generate_ed25519();
        let settings = swarm::Config::with_tokio_executor().with_idle_connection_timeout(EVER);
        let transport = Carrier::Tcp.transport(Muxer::Yamux, &key);
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), settings);
        swarm.dial(addr).unwrap();
        let mut raw = Self { swarm, node, heard, news, answers, unanswered: Vec::new() };
        raw.wait("a connection", |event| matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(())).await;
        raw
    }

    pub fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Writes on a new stream of relay, and closes its half.
    pub fn send(&mut self, bytes: Vec<u8>) -> OutboundRequestId {
        self.swarm.behaviour_mut().relay.send_request(&self.node, bytes)
    }

    /// Writes, and waits until the node has closed the stream.
    pub async fn send_to_the_end(&mut self, bytes: Vec<u8>) {
        let sent = self.send(bytes);
        self.wait("the end of a stream", |event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Relay(
                Event::Message { message: Message::Response { request_id, .. }, .. }
                | Event::OutboundFailure { request_id, .. },
            )) if *request_id == sent => Some(()),
            _ => None,
        })
        .await;
    }

    /// Asks for metadata in any bytes: all that is answered until the node closes.
    pub async fn ask(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.swarm.behaviour_mut().questions.send_request(&self.node, bytes);
        self.wait("an answer", |event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Questions(Event::Message {
                message: Message::Response { response, .. },
                ..
            })) => Some(response.clone()),
            SwarmEvent::Behaviour(BehaviourEvent::Questions(Event::OutboundFailure { .. })) => Some(Vec::new()),
            _ => None,
        })
        .await
    }

    pub async fn closed(&mut self) {
        self.wait("the end of the connection", |event| {
            matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
        })
        .await;
    }

    /// Waits until what was heard so far has something of interest.
    pub async fn hears<T>(&mut self, what: &str, mut pick: impl FnMut(&[Rpc]) -> Option<T>) -> T {
        soon(what, async {
            loop {
                if let Some(found) = pick(&self.heard()) {
                    return found;
                }
                // What comes on a stream makes no event of the swarm.
                let news = Arc::clone(&self.news);
                tokio::select! {
                    event = self.swarm.select_next_some() => self.answer(event),
                    () = news.notified() => {}
                }
            }
        })
        .await
    }

    /// All that was heard.
    pub fn bytes(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    /// The RPCs heard, as far as they are whole.
    pub fn heard(&self) -> Vec<Rpc> {
        let heard = self.heard.lock().unwrap();
        let (mut rest, mut rpcs) = (&heard[..], Vec::new());
        while let Ok(rpc) = Rpc::decode_length_delimited(&mut rest) {
            rpcs.push(rpc);
            if rest.is_empty() {
                break;
            }
        }
        rpcs
    }

    /// Goes on answering until `done`.
    pub async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                done = &mut done => return done,
                event = self.swarm.select_next_some() => self.answer(event),
            }
        }
    }

    async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&SwarmEvent<BehaviourEvent>) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let event = self.swarm.select_next_some().await;
                if let Some(found) = pick(&event) {
                    self.answer(event);
                    return found;
                }
                self.answer(event);
            }
        })
        .await
    }

    fn answer(&mut self, event: SwarmEvent<BehaviourEvent>) {
        if let SwarmEvent::Behaviour(BehaviourEvent::Metadata(Event::Message {
            message: Message::Request { channel, .. },
            ..
        })) = event
        {
            if !self.answers {
                self.unanswered.push(channel);
                return;
            }
            let ours = Metadata { cluster: Some(ClusterId(1)), shards: vec![1] };
            let _ = self.swarm.behaviour_mut().metadata.send_response(channel, ours);
        }
    }
}
