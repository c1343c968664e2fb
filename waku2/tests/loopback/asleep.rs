//! A node that does not run for a while: its process is stopped, or gets no share of the processor.

use std::{sync::mpsc as threads, thread, time::Duration};

use tokio::{runtime::Builder, sync::mpsc};
use waku2::{Config, Event};

use crate::{
    absence::{link, over, short},
    node::{Node, config, message, soon, topic},
};

/// Messages published while it is stopped.
const MESSAGES: u32 = 50;

/// More than the peers say to each other in taking up where they were, and far less than a storm.
const FEW_BYTES: u64 = 200_000;

/// Twice as long as pings take to find out that a connection has died.
const FOUND_OUT: Duration = Duration::from_secs(110);

/// A node on a thread of its own, which can be stopped.
struct Stoppable {
    node: Node,
    stops: mpsc::Sender<threads::Receiver<()>>,
}

impl Stoppable {
    async fn start(config: Config) -> Self {
        let (stops, mut asked) = mpsc::channel::<threads::Receiver<()>>(1);
        let (started, node) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                assert!(started.send(Node::start(config).await).is_ok());
                while let Some(resumed) = asked.recv().await {
                    // Nothing of the node runs until then; an error says that the test is over.
                    let _ = resumed.recv();
                }
            });
        });
        Self { node: soon("the node", node).await.unwrap(), stops }
    }

    /// Stops it until what is returned is dropped.
    async fn stop(&self) -> threads::SyncSender<()> {
        let (resume, resumed) = threads::sync_channel(1);
        self.stops.send(resumed).await.unwrap();
        resume
    }
}

fn data(n: u32) -> bytes::Bytes {
    message([&n.to_be_bytes()[..], &[7; 500]].concat()).encode()
}

/// Publishes at one, and waits until all has arrived at the other.
async fn cross(from: &Node, to: &mut Node, numbers: std::ops::Range<u32>) {
    for n in numbers.clone() {
        assert!(soon("an answer", from.handle.publish(topic(), data(n))).await.is_ok());
    }
    arrive(to, numbers).await;
}

async fn arrive(to: &mut Node, numbers: std::ops::Range<u32>) {
    for n in numbers {
        assert_eq!(to.received().await.data, data(n), "once, and in order");
    }
}

/// Waits until the only peer is welcome, and known to relay.
async fn joined(node: &mut Node) {
    let (mut is_welcome, mut relays) = (false, false);
    node.wait("a peer that relays", |event| {
        is_welcome |= matches!(event, Event::PeerConnected(_));
        relays |= matches!(event, Event::RelayPeers { count: 1, .. });
        (is_welcome && relays).then_some(())
    })
    .await;
}

/// Waits until pings have found out that the only peer is gone.
async fn missed(node: &mut Node) {
    let gone = async { while !matches!(node.events.recv().await.unwrap(), Event::PeerDisconnected { .. }) {} };
    tokio::time::timeout(FOUND_OUT, gone).await.expect("pings find out within a minute");
}

/// How many connections ended since somebody looked.
fn ended(node: &mut Node) -> usize {
    std::iter::from_fn(|| node.events.try_recv().ok())
        .filter(|event| matches!(event, Event::PeerDisconnected { .. }))
        .count()
}

#[tokio::test]
async fn f09_who_was_stopped_unnoticed_gets_everything_once() {
    let mut a = Node::start(config(vec![])).await;
    let link = link(&a, short()).await;
    let mut b = Stoppable::start(config(vec![over(&link)])).await;
    joined(&mut a).await;
    joined(&mut b.node).await;
    let resume = b.stop().await;
    for n in 0..MESSAGES {
        assert!(soon("an answer", a.handle.publish(topic(), data(n))).await.is_ok());
    }
    let before = link.carried();
    drop(resume);
    arrive(&mut b.node, 0..MESSAGES).await;
    cross(&b.node, &mut a, MESSAGES..2 * MESSAGES).await;
    assert_eq!((ended(&mut a), ended(&mut b.node)), (0, 0));
    assert!(link.carried() - before < FEW_BYTES, "{} bytes", link.carried() - before);
}

/// Both take most of a minute, and so they share it.
#[tokio::test]
async fn f09_f12_who_is_stopped_or_dies_without_a_word_is_missed_and_met_again_once() {
    futures::future::join(stopped_until_missed(), dead_without_a_word()).await;
}

async fn stopped_until_missed() {
    let mut a = Node::start(config(vec![])).await;
    let link = link(&a, short()).await;
    let mut b = Stoppable::start(config(vec![over(&link)])).await;
    joined(&mut a).await;
    joined(&mut b.node).await;
    let resume = b.stop().await;
    missed(&mut a).await;
    let before = link.carried();
    drop(resume);
    missed(&mut b.node).await;
    a.relay_peers(1).await;
    b.node.relay_peers(1).await;
    cross(&a, &mut b.node, 0..MESSAGES).await;
    cross(&b.node, &mut a, MESSAGES..2 * MESSAGES).await;
    assert_eq!((ended(&mut a), ended(&mut b.node)), (0, 0), "and stays");
    assert!(link.carried() - before < FEW_BYTES, "{} bytes", link.carried() - before);
}

/// Nothing comes and nobody says so: both ends find out by themselves.
async fn dead_without_a_word() {
    let mut a = Node::start(config(vec![])).await;
    let link = link(&a, short()).await;
    let mut b = Node::start(config(vec![over(&link)])).await;
    joined(&mut a).await;
    joined(&mut b).await;
    link.forget();
    missed(&mut a).await;
    missed(&mut b).await;
    a.relay_peers(1).await;
    b.relay_peers(1).await;
    cross(&a, &mut b, 0..MESSAGES).await;
}
