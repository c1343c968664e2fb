//! A link that is slow, narrow and lossy. What sleeps here is the link, not the test.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use waku2::Multiaddr;

use crate::node::{Node, config, message, soon, topic};

/// One way, in each direction: js-waku's own figures.
const DELAY: Duration = Duration::from_millis(300);

/// What a lost packet costs until it is sent again.
const RESENT: Duration = Duration::from_millis(900);

/// Every fiftieth piece is lost once.
const LOST: u32 = 50;

/// 1 Mbit/s.
const BYTES_PER_SEC: f64 = 125_000.0;

/// Pieces on their way, at most. Beyond it the sender waits, as with a full window.
const WINDOW: usize = 256;

/// A link to `node`: its own address, to be dialled instead.
async fn link(node: &Node) -> Multiaddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addr = node.addr().to_string();
    let behind: u16 = addr.split('/').nth(4).unwrap().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let callee = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
            let (from_caller, to_caller) = caller.into_split();
            let (from_callee, to_callee) = callee.into_split();
            tokio::spawn(carry(from_caller, to_callee));
            tokio::spawn(carry(from_callee, to_caller));
        }
    });
    addr.replace(&format!("/tcp/{behind}/"), &format!("/tcp/{port}/")).parse().unwrap()
}

async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(WINDOW);
    tokio::spawn(async move {
        while let Some((arrives, piece)) = pieces.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut piece = vec![0; 1_400];
    let mut count = 0_u32;
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        sleep(Duration::from_secs_f64(n as f64 / BYTES_PER_SEC)).await;
        count += 1;
        let left = Instant::from_std(devp2p::clock::now().instant);
        let lost = if count.is_multiple_of(LOST) { RESENT } else { Duration::ZERO };
        let arrives = left + DELAY + lost;
        if sender.send((arrives, piece[..n].to_vec())).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn f13_over_a_slow_narrow_lossy_link_everything_is_delivered() {
    const MESSAGES: u32 = 60;
    let mut a = Node::start(config(vec![])).await;
    let mut b = Node::start(config(vec![link(&a).await])).await;
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
}
