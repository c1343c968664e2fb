//! What hostile peers cost in memory, seen from outside: the pages of the whole process, with the peers in it. A program of its own, for
//! nothing else may run beside it.

#![expect(unreachable_pub, dead_code, clippy::unwrap_used, reason = "modules of a test program; a failure may panic")]

#[path = "loopback/carrier.rs"]
mod carrier;
#[path = "loopback/node.rs"]
mod node;
#[path = "loopback/raw.rs"]
mod raw;

use node::{Node, config, message, topic};
use raw::{Ear, Publish, Raw, Rpc};

/// Streams of one connection: with a fifth, libp2p listens to no more of them.
const STREAMS: usize = 4;

/// Bytes of a page on every machine that this is run on.
const PAGE_BYTES: usize = 4_096;

/// What the process has in memory, in bytes; none where the system does not say it so.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<usize>().ok()? * PAGE_BYTES)
}

#[tokio::test]
async fn h67_a_hundred_rpcs_of_350_000_subscriptions_cost_nothing_that_stays() {
    const RPCS: usize = 100;
    const MIB: usize = 1024 * 1024;
    let mut node = Node::start(config(vec![])).await;
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let huge = Rpc::subscribe((0..350_000).map(|n| format!("/t/{n:06}"))).frame();
    assert!(huge.len() > 4 * MIB, "{}", huge.len());
    let before = resident();
    let mut most = 0;
    for n in 0..RPCS / STREAMS {
        let mut raw = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, true).await;
        for stream in 0..STREAMS {
            // What passes comes out on the other side: so far the stream was read. Then the node ends its half at the announced length, and
            // nobody reads the rest.
            let data = message(format!("{n} {stream}")).encode();
            raw.send([Rpc::publish([Publish::on(topic().as_str(), &data)]).frame(), huge.clone()].concat());
            assert_eq!(raw.until(beyond.received()).await.data, data);
            most = most.max(resident().unwrap_or_default());
        }
    }
    let data = message("afterwards").encode();
    node.handle.publish(topic(), data.clone()).await.unwrap();
    assert_eq!(beyond.received().await.data, data);
    // A few copies of the frame wait in the peer; decoded, a hundred of them would be gigabytes.
    let Some(before) = before else { return };
    let grown = most.saturating_sub(before) / MIB;
    println!("{grown} MiB at most beyond the {} before", before / MIB);
    assert!(grown < 100, "{grown} MiB");
}
