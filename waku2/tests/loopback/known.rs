//! Who is known, as operators are told, and calls that they ask for.

use libp2p::PeerId;
use waku2::{
    Multiaddr,
    known::{ConnectError, Connectedness, KnownPeer, Origin},
};

use crate::node::{Node, config, free_port, soon, topic};

async fn known(node: &Node) -> Vec<KnownPeer> {
    node.handle.known_peers().await.expect("a running node")
}

#[tokio::test]
async fn a_peer_that_was_asked_for_is_called_and_told() {
    let mut node = Node::start(config(vec![])).await;
    let mut other = Node::start(config(vec![])).await;
    assert_eq!(known(&node).await, []);
    assert_eq!(soon("the call", node.handle.connect(other.addr())).await, Ok(()));
    node.relay_peers(1).await;
    other.relay_peers(1).await;
    assert_eq!(soon("the call", node.handle.connect(other.addr())).await, Ok(()), "it is connected");
    let [peer] = &known(&node).await[..] else { panic!("one peer") };
    assert_eq!((peer.peer, peer.connectedness), (other.handle.peer_id(), Connectedness::Connected));
    assert_eq!((peer.origin, &peer.relays), (Origin::Unknown, &vec![topic()]));
    assert!(peer.score.is_some(), "{peer:?}");
    node.handle.shutdown().await;
    assert_eq!(node.handle.known_peers().await, None);
    assert_eq!(node.handle.connect(other.addr()).await, Err(ConnectError::Stopped));
}

#[tokio::test]
async fn calls_that_lead_nowhere_say_so() {
    let node = Node::start(config(vec![])).await;
    let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap();
    assert_eq!(node.handle.connect(nobody.clone()).await, Err(ConnectError::NoPeerId));
    let named: Multiaddr = format!("{nobody}/p2p/{}", PeerId::random()).parse().unwrap();
    let refused = soon("the end of the call", node.handle.connect(named)).await;
    assert!(matches!(refused, Err(ConnectError::Failed(_))), "{refused:?}");
    let other = Node::start(config(vec![])).await;
    let mistaken = other.addr().to_string().replace(&other.handle.peer_id().to_string(), &PeerId::random().to_string());
    let refused = soon("the end of the call", node.handle.connect(mistaken.parse().unwrap())).await;
    assert!(matches!(refused, Err(ConnectError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_static_peer_is_known_before_it_is_there() {
    let id = PeerId::random();
    let addr: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", free_port()).parse().unwrap();
    let node = Node::start(config(vec![addr.clone()])).await;
    let [peer] = &known(&node).await[..] else { panic!("one peer") };
    let told = (peer.peer, &peer.addrs[..], peer.connectedness, peer.origin);
    assert_eq!(told, (id, &[addr][..], Connectedness::NotConnected, Origin::Static));

    let mut other = Node::start(config(vec![])).await;
    let caller = Node::start(config(vec![other.addr()])).await;
    other.relay_peers(1).await;
    let [peer] = &known(&caller).await[..] else { panic!("one peer") };
    assert_eq!((peer.connectedness, peer.origin), (Connectedness::Connected, Origin::Static));
}
