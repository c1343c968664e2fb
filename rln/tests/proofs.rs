//! Proofs made and published, verified singly and many at once. Making one is slow, so a few are made once, for all tests.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, LazyLock};

use proptest::{prelude::*, sample::Index};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use waku_rln::{
    Identity, Limit, Member, Path, Prover, Secret, Tree, Verifier,
    prove::{Message, ProveError, Ready},
    share::{self, NoSecret},
};
use waku2::rln::{
    Verify as _,
    element::Element,
    epoch::Epoch,
    proof::{IDENTIFIER, RateLimitProof},
};

/// Proofs that are made here.
const MADE: u16 = 3;

/// The modulus of the field of public inputs, little-endian.
const MODULUS: &str = "010000f093f5e1439170b97948e833285d588181b64550b829a031e1724e6430";

static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| Arc::new(Verifier::new(&mut StdRng::seed_from_u64(1))));
static PROVER: LazyLock<Prover> = LazyLock::new(|| Prover::new(Arc::clone(&VERIFIER)));

/// The published member in a group where others came before and after it.
static READY: LazyLock<Ready> = LazyLock::new(|| {
    let (path, root) = place();
    PROVER.ready(member(), path, root).unwrap()
});

static PROOFS: LazyLock<Vec<RateLimitProof>> = LazyLock::new(|| {
    let made = (0..MADE).map(|id| PROVER.prove(&READY, &message(id)).unwrap());
    made.chain(published()).collect()
});

fn member() -> Member {
    let identity = Arc::new(Identity::seeded(b"waku-bridge-test-vector"));
    Member { identity, limit: Limit::new(100).unwrap() }
}

fn place() -> (Path, Element) {
    let tree = Tree::new(&[3.into(), 4.into(), member().leaf(), 5.into()]).unwrap();
    (tree.path(2).unwrap(), tree.root())
}

fn message(id: u16) -> Message {
    Message { id, x: Element::from(u64::from(id) + 1_000), epoch: Epoch(2_833_333), identifier: IDENTIFIER }
}

/// Of releases 0.9.0 and 3.0.0 of the reference library.
fn published() -> Vec<RateLimitProof> {
    let file: Value = serde_json::from_str(include_str!("../../fixtures/rln/proofs.json")).unwrap();
    let field = |name: &str| bytes(file[name].as_str().unwrap());
    let proofs = file["proofs"].as_object().unwrap().values().map(|snark| RateLimitProof {
        snark: bytes(snark.as_str().unwrap()),
        root: field("root"),
        epoch: Epoch(file["epoch"].as_u64().unwrap()).bytes(),
        share_x: field("x"),
        share_y: field("y"),
        nullifier: field("nullifier"),
        identifier: IDENTIFIER,
    });
    proofs.collect()
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn singly(proof: &RateLimitProof) -> bool {
    VERIFIER.verify(std::slice::from_ref(proof)) == [true]
}

/// Among so many that hold that it is looked for in a batch.
fn in_a_batch(proof: &RateLimitProof) -> bool {
    let mut batch = PROOFS.clone();
    batch.push(proof.clone());
    let mut holds = VERIFIER.verify(&batch);
    let last = holds.pop();
    assert!(holds.into_iter().all(|holds| holds), "those that hold still do");
    last == Some(true)
}

fn either(proof: &RateLimitProof) -> bool {
    let (singly, in_a_batch) = (singly(proof), in_a_batch(proof));
    assert_eq!(singly, in_a_batch, "{proof:?}");
    singly
}

/// Its parts, by number.
fn part(proof: &mut RateLimitProof, number: usize) -> &mut [u8] {
    match number {
        0 => &mut proof.snark,
        1 => &mut proof.root,
        2 => &mut proof.epoch,
        3 => &mut proof.share_x,
        4 => &mut proof.share_y,
        5 => &mut proof.nullifier,
        _ => &mut proof.identifier,
    }
}

const PARTS: usize = 7;

#[test]
fn the_published_proofs_hold_singly_and_together() {
    let published = published();
    assert_eq!(published.len(), 2);
    assert!(published.iter().all(either));
    assert_eq!(VERIFIER.verify(&published), [true; 2]);
    assert!(VERIFIER.verify(&[]).is_empty());
}

#[test]
fn made_proofs_hold_and_say_what_they_were_asked_to() {
    let (_, root) = place();
    for (id, proof) in (0..MADE).zip(PROOFS.iter()) {
        assert!(either(proof));
        let message = message(id);
        assert_eq!((proof.root, proof.share_x), (*root.bytes(), *message.x.bytes()));
        assert_eq!((proof.epoch, proof.identifier), (message.epoch.bytes(), IDENTIFIER));
        assert_eq!(RateLimitProof::decode(&proof.encode()).as_ref(), Ok(proof));
    }
    let mut nullifiers: Vec<_> = PROOFS.iter().map(|proof| proof.nullifier).collect();
    nullifiers.sort_unstable();
    nullifiers.dedup();
    assert_eq!(nullifiers.len(), usize::from(MADE), "one for each id; the published ones are of id 0");
}

/// Share, nullifier and root of the published message, by our own prover.
#[test]
fn the_published_message_has_the_published_share() {
    let published = published().remove(0);
    let tree = Tree::new(&[member().leaf()]).unwrap();
    let ready = PROVER.ready(member(), tree.path(0).unwrap(), tree.root()).unwrap();
    let x = Element::canonical(published.share_x).unwrap();
    let made = PROVER.prove(&ready, &Message { x, ..message(0) }).unwrap();
    assert_ne!(made.snark, published.snark, "proofs are blinded");
    assert_eq!(RateLimitProof { snark: published.snark, ..made }, published);
}

#[test]
fn another_signal_root_epoch_or_application_does_not_hold() {
    for number in 1..PARTS {
        let mut proof = PROOFS[0].clone();
        part(&mut proof, number)[0] ^= 1;
        assert!(!either(&proof), "{number}");
    }
    let mut exchanged = PROOFS[0].clone();
    exchanged.snark = PROOFS[1].snark;
    assert!(!either(&exchanged));
}

#[test]
fn each_byte_counts() {
    for number in 0..PARTS {
        for place in 0..part(&mut PROOFS[0].clone(), number).len() {
            let mut proof = PROOFS[0].clone();
            part(&mut proof, number)[place] ^= 0x15;
            assert!(!singly(&proof), "{number} {place}");
        }
    }
}

/// As deployed nodes do; whether such a number may be sent is not for who verifies.
#[test]
fn numbers_are_reduced() {
    let modulus: [u8; 32] = bytes(MODULUS);
    for number in [1, 3, 4, 5] {
        let mut proof = PROOFS[0].clone();
        let mut carry = 0;
        for (byte, more) in part(&mut proof, number).iter_mut().zip(modulus) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert_eq!(carry, 0);
        assert_ne!(proof, PROOFS[0]);
        assert!(either(&proof), "{number}");
    }
}

/// At infinity, off the curve, beyond the field, and of the curve but not of the group.
#[test]
fn points_that_are_none_do_not_hold() {
    let infinity = |bytes: usize| {
        let mut point = vec![0; bytes];
        point[bytes - 1] = 0x40;
        point
    };
    let (beyond, both_flags) = (vec![0x3f; 32], vec![0xff; 32]);
    let elsewhere = elsewhere_on_the_curve();
    let points = [
        (0, infinity(32)),
        (32, infinity(64)),
        (96, infinity(32)),
        (0, beyond.clone()),
        (32, [beyond.clone(), beyond.clone()].concat()),
        (96, beyond),
        (0, both_flags.clone()),
        (64, both_flags.clone()),
        (96, both_flags),
        (0, vec![0; 32]),
        (32, vec![0; 64]),
        (96, vec![0; 32]),
        (32, elsewhere),
    ];
    for (place, point) in points {
        let mut proof = PROOFS[0].clone();
        proof.snark[place..place + point.len()].copy_from_slice(&point);
        assert!(!either(&proof), "{place} {}", hex::encode(point));
    }
    for byte in [0, 0x40, 0x80, 0xff] {
        assert!(!either(&RateLimitProof { snark: [byte; 128], ..PROOFS[0].clone() }));
    }
}

/// A point of the twist's curve that is not in the group of pairings. Almost none is.
fn elsewhere_on_the_curve() -> Vec<u8> {
    use ark_bn254::{Fq, Fq2, G2Affine};
    use ark_serialize::CanonicalSerialize as _;
    let points =
        (1..100_u64).filter_map(|x| G2Affine::get_point_from_x_unchecked(Fq2::new(Fq::from(x), Fq::from(1)), true));
    let point = points.into_iter().find(|point| !point.is_in_correct_subgroup_assuming_on_curve()).unwrap();
    assert!(point.is_on_curve());
    let mut bytes = vec![];
    point.serialize_compressed(&mut bytes).unwrap();
    bytes
}

/// Points whose sum over a batch is right, though each proof alone is wrong: what an equation without weights would take.
#[test]
fn faults_that_cancel_each_other_are_found() {
    use ark_bn254::{Fr, G1Affine};
    use ark_ec::AffineRepr as _;
    use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
    let shifted = |proof: &RateLimitProof, by: i64| {
        let c = G1Affine::deserialize_compressed(&proof.snark[96..]).unwrap();
        let c = G1Affine::from(c + G1Affine::generator() * Fr::from(by));
        let mut proof = proof.clone();
        c.serialize_compressed(&mut proof.snark[96..]).unwrap();
        proof
    };
    let mut batch = PROOFS.clone();
    (batch[0], batch[1]) = (shifted(&batch[0], 7), shifted(&batch[1], -7));
    assert_eq!(VERIFIER.verify(&batch), [false, false, true, true, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_batch_finds_exactly_the_false_ones(size in 1..40_usize, falses in prop::collection::vec(any::<Index>(), 0..6)) {
        let mut batch: Vec<_> = PROOFS.iter().cycle().take(size).cloned().collect();
        let mut expected = vec![true; size];
        for (n, place) in falses.into_iter().map(|place| place.index(size)).enumerate() {
            expected[place] = false;
            part(&mut batch[place], n % PARTS)[1] ^= 0x22;
        }
        prop_assert_eq!(VERIFIER.verify(&batch), expected);
    }

    #[test]
    fn a_batch_takes_what_each_alone_is_taken(number in 0..PARTS, place: Index, bits in 1..=255_u8) {
        let mut proof = PROOFS[1].clone();
        let bytes = part(&mut proof, number);
        bytes[place.index(bytes.len())] ^= bits;
        prop_assert!(!either(&proof));
    }

    #[test]
    fn bytes_of_chance_do_not_hold(seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut proof = PROOFS[2].clone();
        part(&mut proof, usize::from(rng.random::<u8>()) % PARTS).iter_mut().for_each(|byte| *byte = rng.random());
        prop_assert!(!either(&proof));
    }
}

#[test]
fn all_false_are_all_found() {
    let mut batch: Vec<_> = PROOFS.iter().cycle().take(21).cloned().collect();
    batch.iter_mut().for_each(|proof| proof.share_y[3] ^= 1);
    assert_eq!(VERIFIER.verify(&batch), [false; 21]);
}

#[test]
fn what_can_not_be_proven_is_not_begun() {
    let over = PROVER.prove(&READY, &message(100));
    assert!(matches!(over, Err(ProveError::OverLimit { id: 100, limit: 100 })));
    let (path, root) = place();
    let other = Member { limit: Limit::new(99).unwrap(), ..member() };
    for (member, root) in [(other, root), (member(), Element::from(1))] {
        assert!(matches!(PROVER.ready(member, path.clone(), root), Err(ProveError::OtherRoot)));
    }
    let elsewhere = Path::new(3, *path.siblings()).unwrap();
    assert!(matches!(PROVER.ready(member(), elsewhere, root), Err(ProveError::OtherRoot)));
}

#[test]
fn two_messages_of_one_id_give_the_secret_away() {
    let again = PROVER.prove(&READY, &Message { x: 77.into(), ..message(1) }).unwrap();
    let secret: Secret = share::secret(&PROOFS[1], &again).unwrap();
    assert_eq!(secret, *member().identity.secret());
    assert_eq!(share::secret(&PROOFS[0], &PROOFS[1]), Err(NoSecret::OtherNullifier));
    assert_eq!(share::secret(&again, &again), Err(NoSecret::SameShare));
    let unrelated = RateLimitProof { share_y: [1; 32], ..again };
    assert_eq!(share::secret(&PROOFS[1], &unrelated), Err(NoSecret::Unrelated));
}
