//! Links that are slow, narrow and lossy.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use waku2::handle::{PublishError, Published};

use crate::{
    absence::{link, over, short},
    link::Line,
    node::{Node, config, message, soon, topic},
};

/// js-waku's own figures: 300 ms and up to 50 more or less, 2 % lost, 1 Mbit/s.
fn bad() -> Line {
    Line { delay_millis: 250..350, lost_permille: 20, bytes_per_sec: Some(125_000) }
}

#[tokio::test]
async fn f13_over_a_slow_narrow_lossy_link_everything_is_delivered() {
    const MESSAGES: u32 = 60;
    let mut a = Node::start(config(vec![])).await;
    let link = link(&a, bad()).await;
    let mut b = Node::start(config(vec![over(&link)])).await;
    a.relay_peers(1).await;
    b.relay_peers(1).await;
    let data = |from: &str, n: u32| message([from.as_bytes(), &n.to_be_bytes(), &[7; 1_000]].concat()).encode();
    for n in 0..MESSAGES {
        assert!(soon("an answer", a.handle.publish(topic(), data("a", n))).await.is_ok());
        assert!(soon("an answer", b.handle.publish(topic(), data("b", n))).await.is_ok());
    }
    for n in 0..MESSAGES {
        assert_eq!(a.received().await.data, data("b", n));
        assert_eq!(b.received().await.data, data("a", n));
    }
    for node in [&a, &b] {
        let counters = node.handle.counters();
        assert_eq!((counters.received.load(Relaxed), counters.unsent.load(Relaxed)), (MESSAGES.into(), 0));
    }
}

/// What waits for a peer: 2,048 messages in its queue, and what its connection holds, 256 KiB of a stream and as much on its way to the
/// system; each has a kilobyte.
#[tokio::test]
async fn f24_a_peer_that_reads_a_kilobyte_a_second_costs_a_bounded_queue_and_nobody_else() {
    const MESSAGES: u32 = 6_000;
    const HELD: u64 = 2_048 + 2 * 256;
    let mut node = Node::start(config(vec![])).await;
    let link = link(&node, Line { bytes_per_sec: Some(1_000), ..short() }).await;
    let slow = Node::start(config(vec![over(&link)])).await;
    node.relay_peers(1).await;
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    node.relay_peers(2).await;
    beyond.relay_peers(1).await;
    let data = |n: u32| message([&n.to_be_bytes()[..], &[7; 1_000]].concat()).encode();
    for first in (0..MESSAGES).step_by(100) {
        for n in first..first + 100 {
            assert!(soon("an answer", node.handle.publish(topic(), data(n))).await.is_ok());
        }
        for n in first..first + 100 {
            assert_eq!(beyond.received().await.data, data(n), "in order, and none is left out");
        }
    }
    let counters = node.handle.counters();
    let given_up = || counters.unsent.load(Relaxed);
    soon("the count of what was given up", async {
        while given_up() < u64::from(MESSAGES) - HELD {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let read = slow.handle.counters().received.load(Relaxed);
    assert!(given_up() + read <= u64::from(MESSAGES), "{} and {read}", given_up());
    assert_eq!(beyond.handle.counters().received.load(Relaxed), u64::from(MESSAGES));
}

/// libp2p's gossip calls it a duplicate from the first attempt on, though nobody has it.
#[tokio::test]
async fn what_found_the_queue_full_goes_out_when_there_is_room() {
    const ENOUGH: u32 = 20_000;
    let mut node = Node::start(config(vec![])).await;
    let link = link(&node, Line { bytes_per_sec: Some(1_000_000), ..short() }).await;
    let mut slow = Node::start(config(vec![over(&link)])).await;
    node.relay_peers(1).await;
    slow.relay_peers(1).await;
    let data = |n: u32| message([&n.to_be_bytes()[..], &[7; 1_000]].concat()).encode();
    let mut refused = None;
    for n in 0..ENOUGH {
        match soon("an answer", node.handle.publish(topic(), data(n))).await {
            Ok(published) => assert!(!published.duplicate),
            Err(error) => {
                assert_eq!(error, PublishError::QueueFull);
                refused = Some(n);
                break;
            }
        }
    }
    let refused = refused.expect("a queue has an end");
    let published = soon("room", async {
        loop {
            match node.handle.publish(topic(), data(refused)).await {
                Err(PublishError::QueueFull) => tokio::time::sleep(Duration::from_millis(10)).await,
                other => break other,
            }
        }
    });
    assert_eq!(published.await, Ok(Published { peers: 1, duplicate: false, proof: None }));
    for n in 0..=refused {
        assert_eq!(slow.received().await.data, data(n), "each once, and in order");
    }
    assert_eq!(
        node.handle.publish(topic(), data(refused)).await,
        Ok(Published { peers: 0, duplicate: true, proof: None })
    );
}
