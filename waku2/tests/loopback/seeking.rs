//! Nodes that find each other: over UDP, and by peer exchange. Nobody sleeps; lookups and questions come by themselves.

use waku2::{
    Config, PubsubTopic, Shard,
    limits::Limits,
    run::StartError,
    seek::{self, SeekError, Udp},
};

use crate::node::{Node, config, soon, topic};

fn other_topic() -> PubsubTopic {
    Shard { cluster: waku2::ClusterId(1), index: 5 }.into()
}

/// A node that looks for others over UDP, beginning at these.
fn looking(topic: PubsubTopic, bootstrap: &[&Node]) -> Config {
    let udp = Udp {
        listen: "127.0.0.1:0".parse().unwrap(),
        bootstrap: bootstrap.iter().map(|node| node.handle.record().unwrap()).collect(),
        auto_update: false,
        ip_limit: true,
    };
    let seek = seek::Config { discv5: Some(udp), local_addresses: true, ..seek::Config::default() };
    Config { topics: vec![topic], seek, ..config(vec![]) }
}

#[tokio::test]
async fn a_stranger_is_found_over_udp_and_told_of_to_who_asks() {
    let first = Node::start(looking(other_topic(), &[])).await;
    let mut second = Node::start(looking(topic(), &[&first])).await;
    // Bootstrap nodes are peers whatever they relay; sharing no topic, they are not in each other's mesh.
    second.meets(first.handle.peer_id()).await;
    let asking = seek::Config { ask_peers: true, local_addresses: true, ..seek::Config::default() };
    let third = Config { seek: asking, topics: vec![other_topic()], ..config(vec![second.addr()]) };
    let mut third = Node::start(third).await;
    third.meets(first.handle.peer_id()).await;
    assert_eq!(third.handle.record(), None, "it has none, for it does not look over UDP");
    for node in [first, second, third] {
        soon("the end", node.handle.shutdown()).await;
    }
}

#[tokio::test]
async fn a_book_outlives_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("peers-v2.json");
    let first = Node::start(looking(topic(), &[])).await;
    let mut begun = looking(topic(), &[&first]);
    begun.seek.address_book = Some(path.clone());
    let mut second = Node::start(begun).await;
    second.meets(first.handle.peer_id()).await;
    soon("the end", second.handle.shutdown()).await;
    // Without discovery, and asking nobody, it is called all the same.
    let seek = seek::Config { address_book: Some(path), local_addresses: true, ..seek::Config::default() };
    let mut third = Node::start(Config { seek, ..config(vec![]) }).await;
    third.meets(first.handle.peer_id()).await;
}

#[tokio::test]
async fn too_few_connections_for_a_mesh_are_refused_when_peers_are_sought() {
    let limits = Limits { connections: 11, ..Limits::default() };
    let refused = Node::try_start(Config { limits, ..looking(topic(), &[]) }).await;
    assert!(matches!(refused, Err(StartError::Seek(SeekError::Slots(_)))));
    assert!(Node::try_start(Config { limits, ..config(vec![]) }).await.is_ok());
}
