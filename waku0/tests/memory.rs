//! A process with little memory: what peers fill is bounded, so that it lives.
//!
//! The limit is of a whole process, so the test runs itself again in one of its own (`ulimit -v`).

#![expect(clippy::unwrap_used, reason = "a script that cannot go on has failed")]

use std::{net::Ipv4Addr, process::Command, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use devp2p::{ConnId, NodeKey, clock::Now};
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, Pow, Topic,
    limits::Rates,
    node::{Action, Node, Settings},
    packet::Code,
    peer::Remote,
    pool::PoolLimits,
    status::StatusOptions,
    version::Version,
};

/// Set in the process that has little memory.
const CHILD: &str = "WAKU0_TEST_LITTLE_MEMORY";

const NAME: &str = "f08_half_a_gigabyte_holds_a_flood_beyond_the_pool";

/// Unix seconds at which it begins.
const START: u32 = 1_600_000_000;

#[test]
fn f08_half_a_gigabyte_holds_a_flood_beyond_the_pool() {
    if std::env::var_os(CHILD).is_some() {
        return in_the_child();
    }
    let itself = std::env::current_exe().unwrap();
    let run = Command::new("sh")
        .args(["-c", "ulimit -v 524288 && exec \"$0\" --exact \"$1\" --nocapture --test-threads=1"])
        .arg(itself)
        .arg(NAME)
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"), "the child ran the test");
}

/// Envelopes that live for two days, from a peer without a limit, beside one that reads nothing of them.
fn in_the_child() {
    let now = Now { unix: Duration::from_secs(START.into()), ..devp2p::clock::now() };
    let settings = Settings { min_pow: Pow::ZERO, rates: Rates::NONE, ..Settings::default() };
    let mut node = Node::new(settings, now, &mut StdRng::seed_from_u64(1));
    let [flooder, stuck] = [1, 2].map(ConnId);
    for conn in [flooder, stuck] {
        let id = NodeKey::from_bytes(&[conn.0 as u8; 32]).unwrap().public().id();
        node.connected(now, conn, Remote::new(Ipv4Addr::LOCALHOST.into(), id), Version::Waku0);
        let options = StatusOptions { pow: Some(Pow::ZERO), ..Default::default() };
        node.receive(now, conn, Code::Status.number(), options.encode_status(Version::Waku0));
    }
    let limits = PoolLimits::default();
    for packet in 0..120 {
        node.receive(now, flooder, Code::Messages.number(), body(packet));
        while let Some(action) = node.next_action() {
            if let Action::Send { to, packet } = action
                && to == stuck
            {
                node.stalled(now, to, packet);
            }
        }
        assert!(node.pool().bytes() <= limits.max_bytes);
    }
    let counters = node.counters();
    assert_eq!((counters.received.load(Relaxed), counters.rejected.malformed.load(Relaxed)), (120_000, 0));
    assert!(node.pool().len() < 110_000 && node.pool().bytes() > limits.max_bytes / 10 * 9);
}

/// A thousand envelopes of a kilobyte, as no other packet has them: the last eight bytes of each are its nonce.
fn body(packet: u64) -> Bytes {
    let data = Bytes::from_static(&[7; 1000]);
    let one = Envelope::new(START + 172_800, 172_800, Topic(*b"long"), data, u64::MAX).unwrap();
    let len = one.raw().len();
    let mut body = vec![0xfa];
    body.extend(&u32::try_from(1000 * len).unwrap().to_be_bytes()[1..]);
    for nonce in packet * 1000..(packet + 1) * 1000 {
        body.extend(&one.raw()[..len - 8]);
        body.extend((u64::MAX - nonce).to_be_bytes());
    }
    body.into()
}
