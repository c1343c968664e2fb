//! What an envelope costs: on its way through, and to mine.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use devp2p::{ConnId, clock::Now};
use divan::{Bencher, counter::ItemsCount};
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, Pow, Topic, Unsealed,
    admit::{Policy, admit},
    bloom::Bloom,
    interest::Interest,
    node::{Node, Settings},
    packet::{Code, messages},
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
const NONCES: u64 = 256;

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

/// Decoding, both hashes, and every check, for an envelope of 562 bytes.
#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    let raw = unsealed(562 - 3).seal(12_345).raw().clone();
    let policy = Policy {
        min_pow: Pow::ZERO,
        interest: Interest::Bloom(Bloom::from_iter([Topic(*b"chat"), Topic(*b"news")])),
        max_message_size: 1 << 20,
    };
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
    let status = StatusOptions { pow: Some(Pow::ZERO), ..StatusOptions::default() }.encode_status();
    let between_two_peers = || {
        let mut node =
            Node::new(Settings { min_pow: Pow::ZERO, ..Settings::default() }, now, &mut StdRng::seed_from_u64(1));
        for conn in [ConnId(1), ConnId(2)] {
            node.connected(now, conn, Version::Waku0);
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

/// Nonces a second, for envelopes of which so many bytes are hashed with each.
#[divan::bench(args = [309, 565, 1_333])]
fn search(bencher: Bencher<'_, '_>, hashed: usize) {
    let unsealed = unsealed(hashed - 8);
    bencher.counter(ItemsCount::new(NONCES)).bench(|| black_box(&unsealed).search(0, 0, NONCES, 200));
}
