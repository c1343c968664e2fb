//! Peers and networks that go and come back: cut, vanished, started again before anybody noticed.

use std::sync::atomic::Ordering::Relaxed;

use waku2::{Config, Multiaddr};

use crate::{
    link::{Line, Link, State},
    node::{Node, config, key, message, soon, topic},
};

/// As good as no line at all.
pub fn short() -> Line {
    Line { delay_millis: 0..1, lost_permille: 0, bytes_per_sec: None }
}

fn port(node: &Node) -> u16 {
    node.addr().to_string().split('/').nth(4).unwrap().parse().unwrap()
}

pub async fn link(node: &Node, line: Line) -> Link {
    Link::new(line, port(node), 1).await.unwrap()
}

pub fn over(link: &Link) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{}", link.port()).parse().unwrap()
}

/// What is published at one arrives at the others.
async fn crosses(from: &Node, to: &mut [Node], what: &str) {
    let data = message(what.to_owned()).encode();
    assert!(soon("an answer", from.handle.publish(topic(), data.clone())).await.is_ok());
    for node in to {
        assert_eq!(node.received().await.data, data);
    }
}

/// The schedule of calls over a minute is a test of its own ([`waku2::redial`]); here it is a few seconds.
#[tokio::test]
async fn f11_a_network_that_is_cut_both_ways_is_whole_again_after_it() {
    let mut middle = Node::start(config(vec![])).await;
    let mut links = Vec::new();
    let mut others = Vec::new();
    for _ in 0..3 {
        let link = link(&middle, short()).await;
        others.push(Node::start(config(vec![over(&link)])).await);
        links.push(link);
    }
    middle.relay_peers(3).await;
    for time in ["once", "twice"] {
        links.iter().for_each(|link| link.set(State::Down));
        middle.relay_peers(0).await;
        for other in &mut others {
            other.relay_peers(0).await;
        }
        links.iter().for_each(|link| link.set(State::Up));
        middle.relay_peers(3).await;
        for other in &mut others {
            other.relay_peers(1).await;
        }
        crosses(&middle, &mut others, time).await;
        for other in &others {
            let middle = std::slice::from_mut(&mut middle);
            crosses(other, middle, &format!("{time} from {}", other.handle.peer_id())).await;
        }
        // What each of them sent has come to the others as well.
        for other in &mut others {
            other.received().await;
            other.received().await;
        }
    }
    assert_eq!(middle.handle.counters().refused_peers.load(Relaxed), 0);
}

#[tokio::test]
async fn f16_when_all_peers_vanish_and_come_back_the_mesh_does_as_well() {
    let mut peers = Vec::new();
    let mut links = Vec::new();
    let mut configs = Vec::new();
    for _ in 0..4 {
        let config = config(vec![]);
        peers.push(Node::start(Config { key: config.key, ..config.clone() }).await);
        configs.push(config);
    }
    for peer in &peers {
        links.push(link(peer, short()).await);
    }
    let mut node = Node::start(config(links.iter().map(over).collect())).await;
    node.relay_peers(4).await;
    for peer in peers {
        peer.task.abort();
        // An error says that it was aborted.
        let _ = peer.task.await;
    }
    node.relay_peers(0).await;
    let mut back = Vec::new();
    for (link, config) in links.iter().zip(configs) {
        let peer = Node::start(config).await;
        link.lead_to(port(&peer));
        back.push(peer);
    }
    node.relay_peers(4).await;
    for peer in &mut back {
        peer.relay_peers(1).await;
    }
    crosses(&node, &mut back, "to all").await;
}

/// A peer lost its power and called again; its first connection ends when it is long there on a second one, on which gossip tells it nothing.
#[tokio::test]
async fn who_started_again_before_it_was_missed_is_told_everything_again() {
    let mut node = Node::start(config(vec![])).await;
    let (first, second) = (link(&node, short()).await, link(&node, short()).await);
    let key = key();
    let before = Node::start(Config { key, ..config(vec![over(&first)]) }).await;
    node.relay_peers(1).await;
    first.set(State::Silent);
    before.task.abort();
    let mut again = Node::start(Config { key, ..config(vec![over(&second)]) }).await;
    again.peer_connected().await;
    // The node finds out about the first one, by its pings or by an end that comes late.
    first.cut();
    again.relay_peers(1).await;
    node.relay_peers(1).await;
    crosses(&node, std::slice::from_mut(&mut again), "after all").await;
}
