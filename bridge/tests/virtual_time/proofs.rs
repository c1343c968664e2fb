//! A v2 side that asks for rate-limit proofs: what is proven, by whom, in whose share, and what becomes of the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bridge::{
    Config, Direction, DropReason, Stage,
    answer::Answer,
    history::{Kept, Why},
    policy::Ways,
    router::{Route, Router},
};
use devp2p::clock::Now;
use waku0::Envelope;
use waku2::{
    PublishError, Received, WakuMessage,
    handle::Published,
    rln::{NoProof, epoch::EpochLength},
};

use crate::support::{
    disk::Disk,
    lone::{ACCEPTED, Lone},
    users::{envelope, message_now, pubsub, received},
};

const SECOND: Duration = Duration::from_secs(1);

fn with_proofs(change: impl FnOnce(&mut Config)) -> Lone {
    Lone::with(|config| {
        (config.proofs, config.archive) = (true, true);
        change(config);
    })
}

/// A membership: so many messages an epoch, and no id twice, whatever becomes of the bridge.
struct Member {
    limit: u64,
    taken: BTreeMap<u64, u64>,
    proofs: BTreeSet<String>,
}

impl Member {
    fn new(limit: u64) -> Self {
        Self { limit, taken: BTreeMap::new(), proofs: BTreeSet::new() }
    }

    /// What the node says to a publication.
    fn publishes(&mut self, now: Now) -> Answer {
        let epoch = EpochLength::default().at(now.unix).0;
        let taken = self.taken.entry(epoch).or_default();
        if *taken == self.limit {
            return Err::<Published, _>(PublishError::NoProof(NoProof::OutOfIds)).into();
        }
        *taken += 1;
        let proof = format!("{epoch}:{taken}");
        assert!(self.proofs.insert(proof.clone()), "an id is given out once");
        Ok(Published { peers: 1, duplicate: false, proof: Some(proof.into()) }).into()
    }
}

fn unavailable() -> Answer {
    Err::<Published, _>(PublishError::NoProof(NoProof::NotReady)).into()
}

/// The same message with a proof of somebody else.
fn theirs(message: &WakuMessage) -> WakuMessage {
    WakuMessage { rate_limit_proof: Some("theirs".into()), ..message.clone() }
}

fn unproven(message: &WakuMessage) -> Arc<Received> {
    Arc::new(Received { proven: false, ..Arc::unwrap_or_clone(received(message)) })
}

/// Everything that waits for its turn has it, and each publication is answered.
fn publishes_all(lone: &mut Lone, member: &mut Member) {
    lone.passes(SECOND * 2);
    while !lone.published.is_empty() {
        let answer = member.publishes(lone.now);
        lone.publish_is(answer);
    }
}

fn kept_all(lone: &mut Lone) -> Vec<Kept> {
    std::iter::from_fn(|| (!lone.to_keep.is_empty()).then(|| lone.keeps(Ok(())))).collect()
}

fn proven(rows: &[Kept]) -> usize {
    let has_proof = |row: &&Kept| row.proven && row.message.message.rate_limit_proof.is_some();
    rows.iter().filter(has_proof).count()
}

#[test]
fn of_fifty_messages_a_budget_of_ten_publishes_ten_and_forty_are_archived_as_unproven() {
    let (mut lone, mut member) = (with_proofs(|_| ()), Member::new(10));
    for n in 0..50_u8 {
        lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
    }
    publishes_all(&mut lone, &mut member);
    let rows = kept_all(&mut lone);
    assert_eq!((rows.len(), proven(&rows), member.proofs.len()), (50, 10, 10));
    let over = |row: &&Kept| row.why == Why::Instead(DropReason::RlnBudget) && !row.proven;
    assert_eq!(rows.iter().filter(over).count(), 40);
    assert!(rows.iter().filter(|row| !row.proven).all(|row| row.message.message.rate_limit_proof.is_none()));
    let ends: Vec<_> = lone.reports.drain(..).map(|end| (end.outcome.result(), end.outcome.reason())).collect();
    let count = |end| ends.iter().filter(|other| **other == end).count();
    assert_eq!((count(("crossed", "ok")), count(("archived", "rln_budget")), ends.len()), (10, 40, 50));
    // It is final: nothing is tried again by itself.
    lone.passes(SECOND * 60);
    lone.is_quiet();
}

#[test]
fn the_next_epoch_resumes() {
    let (mut lone, mut member) = (with_proofs(|_| ()), Member::new(1));
    for data in ["first", "second"] {
        lone.hears_envelope(&envelope(lone.secs(), 15, data));
        publishes_all(&mut lone, &mut member);
    }
    assert_eq!(proven(&kept_all(&mut lone)), 1);
    lone.passes(SECOND * 600);
    lone.reports.clear();
    lone.hears_envelope(&envelope(lone.secs(), 15, "third"));
    publishes_all(&mut lone, &mut member);
    assert_eq!(proven(&kept_all(&mut lone)), 1);
    lone.is_crossed();
}

#[test]
fn an_exhausted_budget_loses_nothing_over_a_restart_and_no_id_is_taken_twice() {
    let member = &mut Member::new(10);
    let mut lone = with_proofs(|config| config.journal = true);
    for n in 0..50_u8 {
        lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
    }
    let mut disk = Disk::default();
    while !lone.begun.is_empty() {
        disk.write(&lone.is_noted());
    }
    lone.passes(SECOND * 2);
    for _ in 0..5 {
        let answer = member.publishes(lone.now);
        lone.publish_is(answer);
    }
    let mut rows = kept_all(&mut lone);
    lone.ended.drain(..).for_each(|note| disk.write(&note));
    // One more goes out, and nobody hears of it any more.
    member.publishes(lone.now);
    let mut next = with_proofs(|config| config.journal = true);
    next.now = lone.now;
    next.bridge.recall(next.now, &disk.ended());
    for unfinished in disk.unfinished() {
        next.bridge.resume(next.now, &unfinished, received(&message_now(next.now, "x")).from);
    }
    next.take_actions();
    while !next.begun.is_empty() {
        next.is_noted();
    }
    publishes_all(&mut next, member);
    rows.extend(kept_all(&mut next));
    let contents: BTreeSet<_> = rows.iter().map(|row| row.content).collect();
    assert_eq!((contents.len(), rows.len()), (50, 50));
    assert_eq!((member.proofs.len(), proven(&rows)), (10, 9), "the one in flight spent an id and is tried again");
}

#[test]
fn of_two_bridges_one_publishes_and_both_keep_it_as_proven() {
    let bridges = [1, 2].map(|key| with_proofs(|config| config.key = [key; 32]));
    let heard = envelope(bridges[0].secs(), 15, "x");
    let [mut faster, mut slower] = bridges;
    for lone in [&mut faster, &mut slower] {
        lone.hears_envelope(&heard);
        assert_eq!(lone.bridge.depths().of(Direction::V1ToV2, Stage::Yielding), 1);
    }
    let due = |lone: &Lone| lone.bridge.wake_at().unwrap().saturating_duration_since(lone.now.instant);
    if due(&slower) < due(&faster) {
        std::mem::swap(&mut faster, &mut slower);
    }
    assert!(due(&faster) < due(&slower) && due(&slower) < SECOND * 2);
    faster.passes(due(&faster));
    let message = faster.publish_is(Member::new(1).publishes(faster.now));
    assert!(kept_all(&mut faster)[0].proven);
    slower.hears(&theirs(&message));
    let rows = kept_all(&mut slower);
    assert_eq!((rows.len(), rows[0].proven, rows[0].why), (1, true, Why::Crossed));
    assert_eq!(rows[0].message.message.rate_limit_proof, Some("theirs".into()));
    let ends: Vec<_> = slower.reports.drain(..).map(|end| (end.direction, end.outcome.reason())).collect();
    assert_eq!(ends, [(Direction::V2ToV1, "returning"), (Direction::V1ToV2, "duplicate")]);
    slower.passes(SECOND * 30);
    slower.is_quiet();
}

#[test]
fn without_a_prover_all_goes_to_the_archive_and_the_other_way_goes_on() {
    let mut lone = with_proofs(|_| ());
    let heard = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&heard);
    lone.passes(SECOND * 2);
    lone.publish_is(unavailable());
    let rows = kept_all(&mut lone);
    assert_eq!((rows[0].why, rows[0].proven), (Why::Instead(DropReason::RlnUnavailable), false));
    assert_eq!(rows[0].envelope.hash, Some(heard.hash()), "who asks for mail gets it");
    lone.is_archived(DropReason::RlnUnavailable);
    lone.hears(&theirs(&message_now(lone.now, "y")));
    lone.seals();
    lone.post_is(ACCEPTED);
    assert!(kept_all(&mut lone)[0].proven);
    lone.is_crossed();
}

#[test]
fn a_busy_prover_is_asked_again_until_it_is_too_late() {
    let mut lone = with_proofs(|_| ());
    let busy = || Answer::from(Err::<Published, _>(PublishError::NoProof(NoProof::Busy)));
    lone.hears_envelope(&envelope(lone.secs(), 60, "x"));
    lone.passes(SECOND * 2);
    lone.publish_is(busy());
    lone.is_quiet();
    lone.passes(SECOND);
    lone.publish_is(Member::new(1).publishes(lone.now));
    assert_eq!(proven(&kept_all(&mut lone)), 1);
    lone.is_crossed();

    lone.hears_envelope(&envelope(lone.secs(), 60, "y"));
    let mut asked = 0;
    for _ in 0..30 {
        lone.passes(SECOND);
        if !lone.published.is_empty() {
            lone.publish_is(busy());
            asked += 1;
        }
    }
    assert!(asked > 3, "{asked}");
    assert_eq!(kept_all(&mut lone)[0].why, Why::Instead(DropReason::RlnUnavailable));
    lone.is_archived(DropReason::RlnUnavailable);

    // Who was proven at last, and reached nobody, did not want for a proof.
    lone.hears_envelope(&envelope(lone.secs(), 60, "z"));
    lone.passes(SECOND * 2);
    lone.publish_is(busy());
    for _ in 0..30 {
        lone.passes(SECOND);
        if !lone.published.is_empty() {
            lone.publish_is(Answer::Busy);
        }
    }
    assert_eq!(kept_all(&mut lone)[0].why, Why::Instead(DropReason::PublishFailed));
    lone.is_archived(DropReason::PublishFailed);
}

#[test]
fn what_has_no_proof_causes_no_work_and_stands_in_nobodys_way() {
    let mut lone = with_proofs(|_| ());
    let message = message_now(lone.now, "x");
    lone.hears_received(&unproven(&message));
    lone.is_dropped(DropReason::Rate);
    lone.is_quiet();
    lone.hears(&theirs(&message));
    lone.seals();
    lone.post_is(ACCEPTED);
    kept_all(&mut lone);
    lone.is_crossed();
    // Nor does it make an envelope give way.
    let heard = envelope(lone.secs(), 15, "y");
    lone.hears_envelope(&heard);
    let early = bridge::mapping::message_of(&heard, bridge::mapping::timestamp_of(&heard), true);
    lone.hears_received(&unproven(&early));
    lone.is_dropped(DropReason::Rate);
    lone.passes(SECOND * 2);
    lone.publish_is(Member::new(1).publishes(lone.now));
    assert_eq!(proven(&kept_all(&mut lone)), 1);
    lone.is_crossed();
    // Where no proofs are asked for, it is as before.
    let mut open = Lone::with(|_| ());
    open.hears_received(&unproven(&message));
    assert_eq!(open.to_seal.len(), 1);
}

#[test]
fn each_publication_and_each_further_attempt_has_the_class_of_its_route() {
    for class in [None, Some("pool-a")] {
        let mut lone = with_proofs(|config| {
            let everything = Route::everything(pubsub(), Ways::Both);
            config.routes = Router::new(Route { class: class.map(Arc::from), ..everything });
        });
        lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
        lone.passes(SECOND * 2);
        assert_eq!(lone.classes[0].as_deref(), class);
        lone.publish_is(Answer::Failed);
        lone.passes(SECOND);
        assert_eq!(lone.classes[0].as_deref(), class);
    }
}

#[test]
fn a_proven_message_that_was_on_its_way_is_mined_after_a_crash() {
    let mut lone = with_proofs(|config| config.journal = true);
    lone.hears(&theirs(&message_now(lone.now, "x")));
    let mut disk = Disk::default();
    disk.write(&lone.is_noted());
    let mut next = with_proofs(|config| config.journal = true);
    for unfinished in disk.unfinished() {
        next.bridge.resume(next.now, &unfinished, received(&message_now(next.now, "x")).from);
    }
    next.take_actions();
    next.is_noted();
    next.seals();
    next.post_is(ACCEPTED);
    assert!(kept_all(&mut next)[0].proven);
    next.is_crossed();
}

#[test]
fn the_proof_counts_towards_the_largest_size() {
    let sized = |data: usize| -> Arc<Envelope> {
        let now = u32::try_from(crate::support::START_SECS).unwrap();
        let topic = crate::support::users::TOPIC;
        Arc::new(Envelope::new(now + 15, 15, topic, vec![0; data].into(), 0).unwrap())
    };
    let fits = 150 * 1024 - 4 - 26 - 2 - 10 - 19 - waku2::rln::proof::PROOF_FIELD_BYTES;
    let mut lone = with_proofs(|config| config.min_pow = waku0::pow::Pow::ZERO);
    lone.hears_envelope(&sized(fits));
    lone.hears_envelope(&sized(fits + 1));
    lone.passes(SECOND * 2);
    assert_eq!(kept_all(&mut lone)[0].why, Why::Instead(DropReason::TooLargeV2));
    assert_eq!(lone.published.len(), 1);
}
