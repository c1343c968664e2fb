//! A plain libp2p peer, which can do what a node of ours never does: sign, lie about its cluster, have no metadata.

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify, noise,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use waku2::{
    metadata::{self, Metadata},
    relay,
};

use crate::node::{soon, topic};

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub gossip: gossipsub::Behaviour,
    metadata: Toggle<request_response::Behaviour<metadata::Codec>>,
    identify: identify::Behaviour,
}

pub struct Stranger {
    pub swarm: Swarm<Behaviour>,
    answer: Option<Metadata>,
}

impl Stranger {
    /// A peer that answers metadata with `answer`, or does not know that protocol.
    pub fn new(authenticity: gossipsub::MessageAuthenticity, answer: Option<Metadata>) -> Self {
        let metadata = answer.is_some().then(metadata_behaviour);
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| Behaviour {
                gossip: gossip(authenticity),
                metadata: metadata.into(),
                identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
            })
            .unwrap()
            .build();
        Self { swarm, answer }
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
        .message_id_fn(|message| gossipsub::MessageId::new(&message.data))
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(authenticity, config).unwrap();
    gossip.subscribe(&gossipsub::IdentTopic::new(topic().as_str())).unwrap();
    gossip
}
