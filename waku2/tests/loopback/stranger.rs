//! A plain libp2p peer, which can do what a node of ours never does: sign, lie about its cluster, have no metadata, know but one
//! muxer.

use std::{collections::VecDeque, pin::pin};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, gossipsub, identify,
    identity::Keypair,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
};
use waku2::{
    hash::gossip_id,
    metadata::{self, Metadata},
    relay,
};

use crate::{
    carrier::{Carrier, Muxer},
    node::{soon, topic},
};

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub gossip: gossipsub::Behaviour,
    metadata: Toggle<request_response::Behaviour<metadata::Codec>>,
    identify: identify::Behaviour,
}

pub struct Stranger {
    pub swarm: Swarm<Behaviour>,
    answer: Option<Metadata>,
    inbox: VecDeque<Vec<u8>>,
}

impl Stranger {
    /// A peer that answers metadata with `answer`, or does not know that protocol.
    pub fn new(authenticity: gossipsub::MessageAuthenticity, answer: Option<Metadata>) -> Self {
        Self::over(&Carrier::Tcp, Muxer::Yamux, authenticity, answer)
    }

    /// The same over another transport.
    pub fn over(
        carrier: &Carrier,
        muxer: Muxer,
        authenticity: gossipsub::MessageAuthenticity,
        answer: Option<Metadata>,
    ) -> Self {
        let metadata = answer.is_some().then(metadata_behaviour);
        let key = Keypair::generate_ed25519();
        let behaviour = Behaviour {
            gossip: gossip(authenticity),
            metadata: metadata.into(),
            identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
        };
        // An idle peer stays: nodes of ours must not be helped.
        let settings =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(std::time::Duration::from_secs(3_600));
        let swarm = Swarm::new(carrier.transport(muxer, &key), behaviour, key.public().to_peer_id(), settings);
        Self { swarm, answer, inbox: VecDeque::new() }
    }

    pub fn dial(&mut self, addr: Multiaddr) {
        self.swarm.dial(addr).unwrap();
    }

    /// The first event that `pick` takes; metadata is answered meanwhile.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&mut Swarm<Behaviour>, &SwarmEvent<BehaviourEvent>) -> Option<T>,
    ) -> T {
        soon(what, async {
            loop {
                let event = self.swarm.select_next_some().await;
                if let Some(found) = pick(&mut self.swarm, &event) {
                    return found;
                }
                self.answer(event);
            }
        })
        .await
    }

    fn answer(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.inbox.extend(data(&event));
        if let SwarmEvent::Behaviour(BehaviourEvent::Metadata(request_response::Event::Message {
            message: request_response::Message::Request { channel, .. },
            ..
        })) = event
        {
            let answer = self.answer.clone().expect("only who has metadata is asked");
            let metadata = self.swarm.behaviour_mut().metadata.as_mut().expect("as above");
            let _ = metadata.send_response(channel, answer);
        }
    }

    /// Waits until the node has taken part in our topic.
    pub async fn subscribed(&mut self) -> PeerId {
        self.wait("a subscription", |_, event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, .. })) => {
                Some(*peer_id)
            }
            _ => None,
        })
        .await
    }

    pub async fn closed(&mut self) {
        self.wait("the end of the connection", |_, event| {
            matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
        })
        .await;
    }

    /// The data of the next message of [`topic`], also of one that came while something else was waited for.
    pub async fn received(&mut self) -> Vec<u8> {
        if let Some(data) = self.inbox.pop_front() {
            return data;
        }
        self.wait("a message", |_, event| data(event)).await
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

    /// What the node says of itself.
    pub async fn identified(&mut self) -> identify::Info {
        self.wait("identify", |_, event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                Some(info.clone())
            }
            _ => None,
        })
        .await
    }

    pub fn publish(&mut self, data: Vec<u8>) {
        self.swarm.behaviour_mut().gossip.publish(gossipsub::IdentTopic::new(topic().as_str()), data).unwrap();
    }
}

fn data(event: &SwarmEvent<BehaviourEvent>) -> Option<Vec<u8>> {
    match event {
        SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
            Some(message.data.clone())
        }
        _ => None,
    }
}

fn metadata_behaviour() -> request_response::Behaviour<metadata::Codec> {
    let protocols: [(StreamProtocol, _); 1] = [(metadata::PROTOCOL, ProtocolSupport::Full)];
    request_response::Behaviour::new(protocols, request_response::Config::default())
}

fn gossip(authenticity: gossipsub::MessageAuthenticity) -> gossipsub::Behaviour {
    let validation = match authenticity.is_signing() {
        true => gossipsub::ValidationMode::Permissive,
        false => gossipsub::ValidationMode::Anonymous,
    };
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(relay::PROTOCOL, gossipsub::Version::V1_1)
        .validation_mode(validation)
        .message_id_fn(|message| gossipsub::MessageId::new(gossip_id(&message.data).as_bytes()))
        .max_transmit_size(relay::MAX_RPC_BYTES)
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(authenticity, config).unwrap();
    gossip.subscribe(&gossipsub::IdentTopic::new(topic().as_str())).unwrap();
    gossip
}
