//! One budget of memory for packets in flight: many sessions and the budget in one thread, and a server on loopback. Memory
//! is counted, not timed.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};
use devp2p::budget::{Budget, DEFAULT_READ_BUDGET_BYTES, SMALL_PACKET_BYTES, Share, Ticket, Want};
use devp2p::session::{Fault, PING_INTERVAL, READ_TIMEOUT};
use devp2p::{CloseCause, Now, Session, SessionEvent};
use support::{Puppet, WAKU0, local, rng, snappy, start};

const MIB: usize = 1024 * 1024;

/// Bytes that a shell reads at once.
const READ_BYTES: usize = 32 * 1024;

/// A metered session, the bytes its peer sends, and what it holds of the budget.
struct Reader {
    session: Session,
    puppet: Puppet,
    wire: Bytes,
    packet: Option<(Ticket, Share)>,
    claim: Option<usize>,
    cause: Option<CloseCause>,
}

impl Reader {
    fn new(secret: u8, p2p_version: u32) -> Self {
        let ours = local(1, &[WAKU0]);
        let mut session = Session::respond(&ours, &mut rng(1), start());
        session.meter();
        let mut puppet = Puppet::dials(&mut session, &ours, secret, start());
        let hello = puppet.hello(p2p_version, &[WAKU0]).encode();
        session.receive(start(), &puppet.frame(0, &hello));
        assert!(matches!(session.next_event(), Some(SessionEvent::Established(_))));
        let mut reader = Self { session, puppet, wire: Bytes::new(), packet: None, claim: None, cause: None };
        // A first packet may be shorter than the later ones.
        let mut budget = Budget::new(DEFAULT_READ_BUDGET_BYTES);
        let status = if p2p_version == 5 { snappy(b"status") } else { b"status".to_vec() };
        reader.sends(&status);
        assert!(reader.reads(start()));
        assert_eq!(reader.pump(&mut budget, start()), [6]);
        reader
    }

    fn sends(&mut self, body: &[u8]) {
        self.wire = self.puppet.frame(17, body);
    }

    /// Reads once, if it may; true when something moved.
    fn reads(&mut self, now: Now) -> bool {
        let ready = self.claim.is_none() && self.session.wants().is_none() && !self.wire.is_empty();
        if ready {
            let bytes = self.wire.split_to(READ_BYTES.min(self.wire.len()));
            self.session.receive(now, bytes.chunk());
        }
        ready
    }

    /// Charges and unpacks as far as it goes; the lengths of the bodies that are whole.
    fn pump(&mut self, budget: &mut Budget, now: Now) -> Vec<usize> {
        let mut bodies = Vec::new();
        loop {
            match self.session.next_event() {
                Some(SessionEvent::Packet { body, .. }) => {
                    let (ticket, share) = self.packet.take().unwrap();
                    budget.deliver(ticket, share, body.len());
                    bodies.push(body.len());
                }
                Some(SessionEvent::Closed(cause)) => self.cause = Some(cause),
                Some(SessionEvent::Established(_)) => unreachable!("once"),
                None => match self.session.wants().filter(|_| self.claim.is_none()) {
                    Some(want) => self.asks(budget, now, want),
                    None => return bodies,
                },
            }
        }
    }

    fn asks(&mut self, budget: &mut Budget, now: Now, want: Want) {
        let ticket = self.packet.map_or_else(|| budget.begin(), |(ticket, _)| ticket);
        self.packet = Some((ticket, want.share));
        if budget.ask(ticket, want) {
            self.session.grant(now, want.bytes);
        } else {
            self.claim = Some(want.bytes);
        }
    }

    fn granted(&mut self, now: Now) {
        self.session.grant(now, self.claim.take().unwrap());
    }
}

/// Lets all readers read at once; bodies are taken only when nobody can go on. A small packet of another peer passes at every
/// step. Returns the lengths in order of arrival.
fn run(mut readers: Vec<Reader>, budget: &mut Budget) -> Vec<usize> {
    let now = start();
    let (mut bodies, mut arrived): (VecDeque<usize>, Vec<usize>) = (VecDeque::new(), Vec::new());
    let mut small = Reader::new(200, 5);
    while arrived.len() < readers.len() {
        let mut moved = false;
        for reader in &mut readers {
            moved |= reader.reads(now);
            bodies.extend(reader.pump(budget, now));
        }
        while let Some(ticket) = budget.next_granted() {
            let reader = readers.iter_mut().find(|reader| reader.packet.is_some_and(|(of, _)| of == ticket)).unwrap();
            reader.granted(now);
            bodies.extend(reader.pump(budget, now));
            moved = true;
        }
        small.sends(&snappy(&[7; 1000]));
        assert!(small.reads(now));
        assert_eq!(small.pump(budget, now), [1000], "small packets of others pass");
        budget.consumed(Share::Small, 1000);
        if !moved {
            let bytes = bodies.pop_front().expect("somebody can always go on");
            budget.consumed(Share::Large, bytes);
            arrived.push(bytes);
        }
    }
    assert_eq!((budget.spent().bytes, budget.waiting()), (0, 0));
    arrived
}

#[test]
fn h14_h29_twenty_peers_that_send_15_mib_at_once_share_the_budget() {
    let mut budget = Budget::new(DEFAULT_READ_BUDGET_BYTES);
    let block = snappy(&vec![0; 15 * MIB]);
    let readers = (2..22).map(|secret| {
        let mut reader = Reader::new(secret, 5);
        reader.sends(&block);
        reader
    });
    assert_eq!(run(readers.collect(), &mut budget), [15 * MIB; 20]);
    let peak = budget.spent().peak_bytes;
    assert!(peak > 45 * MIB && peak <= DEFAULT_READ_BUDGET_BYTES + 32 * MIB, "{peak}");
}

/// Nothing is compressed, so that packets block each other half read.
#[test]
fn h29_packets_that_are_half_read_do_not_block_each_other_for_good() {
    let mut budget = Budget::new(4 * MIB);
    let body = vec![1; MIB];
    let readers = (2..14).map(|secret| {
        let mut reader = Reader::new(secret, 4);
        reader.sends(&body);
        reader
    });
    assert_eq!(run(readers.collect(), &mut budget), [MIB; 12]);
    assert!(budget.spent().peak_bytes <= 4 * MIB + MIB + READ_BYTES, "{:?}", budget.spent());
}

#[test]
fn h14_a_block_that_lies_is_charged_before_it_is_unpacked_and_given_back() {
    let mut budget = Budget::new(DEFAULT_READ_BUDGET_BYTES);
    let mut reader = Reader::new(2, 5);
    // As many bytes as could hold 15.9 MiB, and they hold nothing.
    let mut block = vec![0x80, 0x80, 0xfa, 0x07];
    block.resize(MIB, 0xff);
    reader.sends(&block);
    while reader.cause.is_none() {
        assert!(reader.reads(start()));
        assert!(reader.pump(&mut budget, start()).is_empty());
    }
    assert_eq!(reader.cause, Some(CloseCause::Fault(Fault::Snappy)));
    assert!(budget.spent().bytes > 15 * MIB, "{:?}", budget.spent());
    budget.abandon(reader.packet.unwrap().0);
    assert_eq!(budget.spent().bytes, 0);
}

#[test]
fn waiting_for_memory_is_not_the_peers_time_and_we_go_on_pinging() {
    let mut budget = Budget::new(8 * MIB);
    let hog = budget.begin();
    assert!(budget.ask(hog, Want { bytes: 7 * MIB, share: Share::Large }));
    budget.deliver(hog, Share::Large, 7 * MIB);
    let mut reader = Reader::new(2, 4);
    reader.sends(&vec![1; MIB]);
    let mut now = start().after(Duration::from_secs(10));
    assert!(reader.reads(now));
    assert!(reader.pump(&mut budget, now).is_empty());
    assert!(reader.claim.is_some() && !reader.reads(now));
    reader.puppet.hears(&mut reader.session);
    for _ in 0..10 {
        now = now.after(PING_INTERVAL);
        reader.session.tick(now);
        assert_eq!(reader.puppet.hears(&mut reader.session).len(), 1, "a ping");
        assert!(reader.session.wake_at() > now.instant);
    }
    budget.consumed(Share::Large, 7 * MIB);
    assert!(budget.next_granted().is_some());
    reader.granted(now);
    // Ten seconds of the thirty had passed.
    reader.session.tick(now.after(READ_TIMEOUT - Duration::from_millis(10_001)));
    assert!(!reader.session.is_closed());
    reader.session.tick(now.after(READ_TIMEOUT - Duration::from_secs(10)));
    assert_eq!(reader.session.next_event(), Some(SessionEvent::Closed(CloseCause::ReadTimeout)));
}

#[test]
fn long_messages_of_the_base_protocol_close() {
    let mut reader = Reader::new(2, 5);
    let body = snappy(&vec![0xc0; 100_000]);
    reader.session.receive(start(), &reader.puppet.frame(2, &body));
    let fault = Fault::TooLarge { bytes: body.len(), limit: 2048 };
    assert_eq!(reader.session.next_event(), Some(SessionEvent::Closed(CloseCause::Fault(fault))));
    let mut reader = Reader::new(2, 5);
    let body = snappy(&vec![0xc0; 20_000]);
    assert!(body.len() < 2048);
    reader.session.receive(start(), &reader.puppet.frame(2, &body));
    let fault = Fault::TooLarge { bytes: 20_000, limit: 2048 };
    assert_eq!(reader.session.next_event(), Some(SessionEvent::Closed(CloseCause::Fault(fault))));
}

#[test]
fn a_small_packet_is_small_as_it_came_and_unpacked() {
    let mut reader = Reader::new(2, 5);
    for (bytes, share) in [(SMALL_PACKET_BYTES, Share::Small), (SMALL_PACKET_BYTES + 1, Share::Large)] {
        let mut budget = Budget::new(8 * MIB);
        reader.sends(&snappy(&vec![0; bytes]));
        assert!(reader.reads(start()));
        assert_eq!(reader.session.wants(), Some(Want { bytes, share }));
        assert_eq!(reader.pump(&mut budget, start()), [bytes]);
    }
}

mod on_loopback {
    use devp2p::{Limits, ServerConfig, ServerEvent};

    use super::*;
    use crate::support::nodes::{Node, config};

    async fn next_body(node: &mut Node) -> Bytes {
        loop {
            match node.event().await {
                ServerEvent::Packet { body, .. } => return body,
                ServerEvent::Opened { .. } => {}
                event @ ServerEvent::Closed { .. } => panic!("{event:?}"),
            }
        }
    }

    /// The consumer keeps every body it takes: what is charged is what it holds, however many peers send.
    #[tokio::test]
    async fn h29_a_server_charges_bodies_until_they_are_dropped() {
        let limits = Limits { read_budget_bytes: 8 * MIB, ..Limits::default() };
        let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
        let block = snappy(&vec![0; 2 * MIB]);
        let mut senders = Vec::new();
        for secret in 2..14 {
            let mut wire = node.puppet(secret).await;
            wire.hello().await;
            wire.send(17, &snappy(b"status")).await;
            assert_eq!(next_body(&mut node).await, &b"status"[..]);
            senders.push(wire);
        }
        let mut small = senders.pop().unwrap();
        for wire in &mut senders {
            wire.send(17, &block).await;
        }
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(next_body(&mut node).await);
        }
        // The others wait, so this is all there is to receive.
        small.send(17, &snappy(b"small")).await;
        assert_eq!(next_body(&mut node).await, &b"small"[..]);
        let spent = node.handle.read_memory();
        assert!(spent.bytes >= 6 * MIB && spent.peak_bytes <= 8 * MIB + 4 * MIB, "{spent:?}");
        for _ in 3..senders.len() {
            kept.remove(0);
            kept.push(next_body(&mut node).await);
        }
        assert!(kept.iter().all(|body| body.len() == 2 * MIB));
        drop((kept, small, senders));
        node.all_closed().await;
        assert_eq!(node.handle.read_memory().bytes, 0);
        let peak = node.handle.read_memory().peak_bytes;
        assert!(peak <= 8 * MIB + 4 * MIB, "{peak}");
    }
}
