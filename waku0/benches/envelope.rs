//! What an envelope costs: on its way through, and to mine.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use devp2p::{ConnId, NodeKey, clock::Now};
use divan::{Bencher, counter::ItemsCount};
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, Pow, Topic, Unsealed,
    admit::{Policy, admit},
    bloom::Bloom,
    interest::Interest,
    keccak::Lanes,
    limits::{Flow, Rates},
    node::{Node, Settings},
    packet::{Code, messages},
    peer::Remote,
    run,
    status::StatusOptions,
    version::Version,
};

fn main() {
    divan::main();
}

/// Unix seconds at which everything here happens.
const NOW: u32 = 1_600_000_000;

/// Nonces tried in one go.
const NONCES: u64 = 1 << 12;

/// An envelope whose short RLP has this many bytes.
fn unsealed(short_rlp_len: usize) -> Unsealed {
    let empty = Unsealed::new(NOW + 15, 15, Topic(*b"chat"), Bytes::new()).map(|unsealed| unsealed.short_rlp_len());
    let overhead = empty.unwrap_or_default();
    let sized = |data: usize| Unsealed::new(NOW + 15, 15, Topic(*b"chat"), vec![7; data].into());
    let fits = (short_rlp_len - overhead - 8..short_rlp_len)
        .filter_map(|data| sized(data).ok())
        .find(|unsealed| unsealed.short_rlp_len() == short_rlp_len);
    fits.expect("every length from 70 up can be had")
}

/// What is taken: everything of two topics.
fn policy() -> Policy {
    Policy {
        min_pow: Pow::ZERO,
        interest: Interest::Bloom(Bloom::from_iter([Topic(*b"chat"), Topic(*b"news")])),
        max_message_size: 1 << 20,
    }
}

/// Decoding, both hashes, and every check, for the envelopes of a packet: as many of 562 bytes as status-go puts into
/// one, with each kind of lanes.
#[divan::bench(args = Lanes::available())]
fn check(bencher: Bencher<'_, '_>, lanes: Lanes) {
    const ENVELOPES: u64 = 100;
    let envelopes: Vec<_> = (0..ENVELOPES).map(|n| Arc::new(unsealed(562 - 3).seal(12_345 + n))).collect();
    let (body, policy) = (messages::encode(&envelopes).remove(0), policy());
    bencher.counter(ItemsCount::new(ENVELOPES)).bench(|| {
        let (mut taken, mut envelopes) = (0, messages::decode(black_box(&body)).expect("a list"));
        while let Some(Ok(batch)) = envelopes.next_batch(lanes) {
            let read: Vec<_> = batch.iter().flatten().collect();
            Envelope::measure_all(lanes, &read);
            taken += read.iter().filter(|envelope| admit(envelope, NOW.into(), &policy).is_ok()).count() as u64;
        }
        assert_eq!(taken, ENVELOPES);
    });
}

/// The same for one envelope alone.
#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    let raw = unsealed(562 - 3).seal(12_345).raw().clone();
    let policy = policy();
    assert_eq!(raw.len(), 562);
    bencher
        .counter(ItemsCount::new(1u32))
        .with_inputs(|| raw.clone())
        .bench_values(|raw| Envelope::decode(raw).map(|envelope| admit(&envelope, NOW.into(), &policy).is_ok()));
}

/// Recognising a duplicate: decoding and one hash.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let raw = unsealed(562 - 3).seal(12_345).raw().clone();
    bencher.counter(ItemsCount::new(1u32)).with_inputs(|| raw.clone()).bench_values(Envelope::decode);
}

/// A node between two peers: packets of one envelope of 562 bytes come in, and leave in the batches that the shell reads.
#[divan::bench]
fn relay(bencher: Bencher<'_, '_>) {
    const PACKETS: u64 = 1_000;
    let now = Now { unix: Duration::from_secs(NOW.into()), ..devp2p::clock::now() };
    let status = StatusOptions { pow: Some(Pow::ZERO), ..StatusOptions::default() }.encode_status(Version::Waku0);
    // Limits that are counted against and never reached.
    let flow = Flow { packets: u32::MAX, bytes: u64::MAX };
    let rates = Rates { peer: flow, ip: flow, topic: u32::MAX, tolerance: 1 };
    let between_two_peers = || {
        let mut node = Node::new(
            Settings { min_pow: Pow::ZERO, rates, ..Settings::default() },
            now,
            &mut StdRng::seed_from_u64(1),
        );
        for conn in [ConnId(1), ConnId(2)] {
            node.connected(now, conn, remote(conn), Version::Waku0);
            node.receive(now, conn, Code::Status.number(), status.clone());
        }
        while node.next_action().is_some() {}
        node
    };
    let bodies: Vec<Bytes> =
        (0..PACKETS).flat_map(|nonce| messages::encode(&[Arc::new(unsealed(562 - 3).seal(12_345 + nonce))])).collect();
    bencher.counter(ItemsCount::new(PACKETS)).with_inputs(between_two_peers).bench_values(|mut node| {
        for batch in bodies.chunks(run::BATCH_EVENTS) {
            for body in batch {
                node.receive(now, ConnId(1), Code::Messages.number(), body.clone());
            }
            while node.next_action().is_some() {}
        }
        assert_eq!(node.pool().len() as u64, PACKETS);
        node
    });
}

/// Nonces a second, for envelopes of which so many bytes are hashed with each, with each kind of lanes.
#[divan::bench(args = searches())]
fn search(bencher: Bencher<'_, '_>, (lanes, hashed): (Lanes, usize)) {
    let unsealed = unsealed(hashed - 8);
    bencher.counter(ItemsCount::new(NONCES)).bench(|| black_box(&unsealed).search_in(lanes, 0, 0, NONCES, 200));
}

fn searches() -> Vec<(Lanes, usize)> {
    Lanes::available().into_iter().flat_map(|lanes| [309, 565, 1_333].map(|hashed| (lanes, hashed))).collect()
}

fn remote(conn: ConnId) -> Remote {
    let key = NodeKey::generate(&mut StdRng::seed_from_u64(conn.0));
    Remote::new([127, 0, 0, 1].into(), key.public().id())
}
