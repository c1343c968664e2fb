//! Peers that come and go in great number, and what is left of them: nothing.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use devp2p::server::ConnectionCounts;
use devp2p::{Limits, ServerConfig, ServerEvent};
use support::nodes::{Node, config};
use support::snappy;

/// How a peer leaves.
#[derive(Clone, Copy)]
enum Leaving {
    AfterAPacket,
    AfterHello,
    BeforeHello,
    WithADisconnect,
}

const WAYS: [Leaving; 4] = [Leaving::AfterAPacket, Leaving::AfterHello, Leaving::BeforeHello, Leaving::WithADisconnect];

/// What the node is told of those that were opened.
#[derive(Default)]
struct Told {
    opened: usize,
    packets: usize,
    closed: usize,
}

impl Told {
    fn hear(&mut self, event: &ServerEvent) {
        match event {
            ServerEvent::Opened { .. } => self.opened += 1,
            ServerEvent::Packet { .. } => self.packets += 1,
            ServerEvent::Closed { .. } => self.closed += 1,
        }
    }
}

#[tokio::test]
async fn f25_two_hundred_peers_leave_nothing_behind() {
    let limits = Limits { max_peers: 30, ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let (mut told, mut expected) = (Told::default(), 0);
    for wave in 0..10 {
        let mut wires = Vec::new();
        for at in 0..20_u8 {
            let mut wire = node.puppet(2 + wave * 20 + at).await;
            let leaving = WAYS[usize::from(at) % 4];
            if !matches!(leaving, Leaving::BeforeHello) {
                wire.hello().await;
                expected += 1;
            }
            match leaving {
                Leaving::AfterAPacket => wire.send(17, &snappy(b"status")).await,
                Leaving::WithADisconnect => wire.send(1, &snappy(&[0xc1, 0x08])).await,
                Leaving::AfterHello | Leaving::BeforeHello => {}
            }
            wires.push(wire);
            while let Ok(event) = node.events.try_recv() {
                told.hear(&event);
            }
        }
        drop(wires);
        while told.closed < expected {
            told.hear(&node.event().await);
        }
    }
    assert_eq!((told.opened, told.closed), (150, 150));
    assert!(told.packets <= 50);
    node.all_closed().await;
    assert_eq!(node.handle.connections(), ConnectionCounts::default());
    assert_eq!(node.handle.read_memory().bytes, 0);
    assert!(node.events.try_recv().is_err(), "and nothing is told twice");
}
