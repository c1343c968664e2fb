//! What outlives a bridge: nothing is mined or published before it is noted, and after a crash all goes on, once.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use bridge::{
    Action, Bridge, Config, Crossing, Direction, DropReason, JobId,
    answer::Answer,
    journal::{Cargo, Note},
    router::{Route, Router, Signing},
    seal::SealJob,
    seen::{Fingerprint, State},
};
use bytes::Bytes;
use devp2p::clock::Now;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use waku0::{Envelope, EnvelopeHash};
use waku2::{PeerId, WakuMessage};

use crate::support::{
    disk::Disk,
    lone::{ACCEPTED, ALREADY_THERE, Lone},
    start,
    users::{TOPIC, envelope, message_now, pubsub, received, received_on},
};

fn journalled(config: &mut Config) {
    config.journal = true;
}

fn own() -> PeerId {
    "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap()
}

/// A bridge after a crash, at the same time.
fn again(lone: &Lone, disk: &Disk) -> Lone {
    let mut next = Lone::with(journalled);
    next.now = lone.now;
    next.bridge.recall(next.now, &disk.ended());
    for unfinished in disk.unfinished() {
        next.bridge.resume(next.now, &unfinished, own());
    }
    next.take_actions();
    next
}

fn written(notes: impl IntoIterator<Item = Note>) -> Disk {
    let mut disk = Disk::default();
    notes.into_iter().for_each(|note| disk.write(&note));
    disk
}

#[test]
fn nothing_is_published_or_mined_before_it_is_noted() {
    let mut lone = Lone::with(journalled);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_quiet();
    let begun = lone.is_noted();
    let message = lone.publish_is(ACCEPTED);
    let report = lone.is_crossed();
    let Note::Begun { content, sent, cargo: Cargo::Envelope(_), .. } = begun else { panic!("{begun:?}") };
    let state = State::Done;
    let (envelope, hash) = (report.envelope, report.message);
    assert_eq!(lone.ended, [Note::Ended { content, sent, state, envelope, message: hash }]);
    lone.hears(&message);
    lone.is_dropped(DropReason::Returning);

    lone.hears(&message_now(lone.now, "y"));
    lone.is_quiet();
    let begun = lone.is_noted();
    assert!(matches!(begun, Note::Begun { cargo: Cargo::Message { .. }, .. }), "{begun:?}");
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
    assert_eq!((lone.begun.len(), lone.ended.len()), (0, 2));
}

#[test]
fn what_is_dropped_at_once_or_carries_a_tag_is_not_noted() {
    let mut lone = Lone::with(journalled);
    lone.hears_envelope(&envelope(lone.secs() - 21, 50, "late"));
    lone.is_dropped(DropReason::Late);
    let mut elsewhere = Lone::with(|_| ());
    elsewhere.hears(&message_now(elsewhere.now, "x"));
    elsewhere.seals();
    lone.hears_envelope(&Arc::new(elsewhere.post_is(ACCEPTED)));
    lone.is_dropped(DropReason::Returning);
    assert_eq!((lone.begun.len(), lone.ended.len()), (0, 0));
}

#[test]
fn what_ended_is_known_after_a_crash_by_its_content() {
    let mut lone = Lone::with(journalled);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    let begun = lone.is_noted();
    lone.publish_is(ACCEPTED);
    let disk = written([begun].into_iter().chain(lone.ended.drain(..)));
    let mut next = again(&lone, &disk);
    next.is_quiet();
    // An old bridge stamps it anew.
    next.hears(&WakuMessage { version: 1, ..message_now(next.now.after(Duration::from_secs(60)), "x") });
    next.is_dropped(DropReason::Duplicate);
    assert_eq!(next.bridge.seen_entries(), 1);
}

#[test]
fn what_was_on_its_way_goes_on_with_the_same_bytes() {
    let mut lone = Lone::with(journalled);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.hears(&message_now(lone.now, "y"));
    let disk = written([lone.is_noted(), lone.is_noted()]);
    let (message, mined) = (lone.publish_is(ALREADY_THERE), {
        lone.seals();
        lone.post_is(ACCEPTED)
    });
    let mut next = again(&lone, &disk);
    next.is_quiet();
    let notes: Vec<Note> = (0..2).map(|_| next.is_noted()).collect();
    assert_eq!(next.publish_is(ALREADY_THERE), message);
    next.seals();
    assert_eq!(next.post_is(ALREADY_THERE), mined);
    let disk = written(notes.into_iter().chain(next.ended.drain(..)));
    assert_eq!((disk.ended().len(), disk.unfinished().len()), (2, 0));
}

#[test]
fn a_message_without_a_time_keeps_that_of_its_arrival() {
    let mut lone = Lone::with(journalled);
    lone.hears(&WakuMessage { timestamp: None, ..message_now(lone.now, "x") });
    let disk = written([lone.is_noted()]);
    lone.passes(Duration::from_secs(2));
    lone.seals();
    let mined = lone.post_is(ACCEPTED);
    lone.now = lone.now.after(Duration::from_secs(3));
    let mut next = again(&lone, &disk);
    next.is_noted();
    next.passes(Duration::from_secs(2));
    next.seals();
    assert_eq!(next.post_is(ALREADY_THERE), mined);
}

#[test]
fn what_has_become_too_late_or_is_no_envelope_ends_and_does_not_come_back() {
    let mut lone = Lone::with(journalled);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.hears(&message_now(lone.now, "y"));
    let mut disk = written([lone.is_noted(), lone.is_noted()]);
    let at = lone.secs();
    let cargo = Cargo::Envelope(Bytes::from_static(b"no envelope"));
    let content = Fingerprint::new(TOPIC, b"z");
    disk.write(&Note::Begun { content, sent: 1, at, first: Direction::V1ToV2, cargo });
    lone.now = lone.now.after(Duration::from_secs(60));
    let mut next = again(&lone, &disk);
    assert_eq!((next.begun.len(), next.ended.len()), (0, 3));
    next.ended.drain(..).for_each(|note| disk.write(&note));
    assert_eq!((disk.ended().len(), disk.unfinished().len()), (3, 0));
}

/// There was no room for it at the start.
#[test]
fn what_was_left_and_came_again_before_its_turn_has_the_end_of_what_came() {
    let mut lone = Lone::with(journalled);
    let envelope = envelope(lone.secs(), 60, "x");
    lone.hears_envelope(&envelope);
    let mut disk = written([lone.is_noted()]);
    let left = disk.unfinished().remove(0);
    assert_eq!(left.direction(), Direction::V1ToV2);
    let mut next = Lone::with(journalled);
    next.hears_envelope(&envelope);
    disk.write(&next.is_noted());
    next.bridge.resume(next.now, &left, own());
    next.take_actions();
    next.is_dropped(DropReason::Duplicate);
    assert_eq!((next.begun.len(), next.ended.len()), (0, 0), "it is on its way");
    next.publish_is(ACCEPTED);
    next.is_crossed();
    next.bridge.resume(next.now, &left, own());
    next.take_actions();
    assert_eq!((next.begun.len(), next.ended.len()), (0, 2));
    assert_eq!(next.ended[0], next.ended[1]);
    assert!(matches!(next.ended[0], Note::Ended { state: State::Done, message: Some(_), .. }));
}

#[test]
fn half_of_the_room_is_kept_for_what_comes_now() {
    let mut lone = Lone::with(|config| config.limits.max_jobs = 5);
    let room = |lone: &Lone| Direction::ALL.map(|way| lone.bridge.has_room(way));
    for n in 0..3 {
        assert_eq!(room(&lone), [true, true], "{n}");
        lone.hears_envelope(&envelope(lone.secs(), 60, n.to_string()));
    }
    assert_eq!(room(&lone), [false, true]);
    lone.publish_is(ACCEPTED);
    assert_eq!(room(&lone), [true, true]);
}

#[test]
fn what_has_become_too_late_ends_once_the_archive_has_it() {
    let mut lone = Lone::with(all_written_down);
    lone.hears_envelope(&envelope(lone.secs(), 60, "x"));
    let mut disk = written([lone.is_noted()]);
    let mut next = Lone::with(all_written_down);
    next.now = lone.now.after(Duration::from_secs(30));
    for unfinished in disk.unfinished() {
        next.bridge.resume(next.now, &unfinished, own());
    }
    next.take_actions();
    assert_eq!((next.begun.len(), next.ended.len(), next.to_keep.len()), (0, 0, 1));
    next.keeps(Ok(()));
    next.is_archived(DropReason::Late);
    next.ended.drain(..).for_each(|note| disk.write(&note));
    assert_eq!((disk.ended().len(), disk.unfinished().len()), (1, 0));
}

#[test]
fn a_fan_out_has_ended_when_its_last_way_has() {
    let mut lone = Lone::with(|config| {
        let route = |n: u16, signing| Route {
            name: n.to_string().into(),
            fanout: true,
            max_per_sec: NonZeroU32::new(1),
            signing,
            ..Route::everything(format!("/waku/2/rs/0/{n}").parse().unwrap(), bridge::policy::Ways::Both)
        };
        let routes = vec![route(0, Signing::Open), route(1, Signing::NoKey), route(2, Signing::Open)];
        (config.routes, config.journal) = (Router::table(routes).unwrap(), true);
    });
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    assert_eq!((lone.begun.len(), lone.published.len()), (2, 0));
    let notes = [lone.is_noted(), lone.is_noted()];
    assert_eq!(notes[0], notes[1]);
    lone.publish_is(ACCEPTED);
    assert_eq!(lone.ended, []);
    lone.publish_is(Answer::Refused(DropReason::PublishFailed));
    assert!(matches!(lone.ended[..], [Note::Ended { state: State::Done, .. }]), "{:?}", lone.ended);
    // None of the ways is open: nothing was begun, and nothing ends.
    lone.hears_envelope(&envelope(lone.secs(), 15, "y"));
    assert_eq!((lone.begun.len(), lone.ended.len()), (0, 1));
    lone.passes(Duration::from_secs(1));
    lone.hears_envelope(&envelope(lone.secs(), 15, "y"));
    assert_eq!(lone.begun.len(), 2, "it may be tried again");
}

/// Where it stands when it crashes.
const STAGES: [&str; 8] =
    ["not noted", "noted", "giving way", "held", "mined", "in flight", "to be tried again", "with the archive"];

/// A bridge with an envelope and a message on their way, as far as a stage, and what of it is on disk. What reached the networks by
/// then goes into `networks`.
fn as_far_as(stage: &str, networks: &mut Networks) -> (Lone, Disk) {
    let mut lone = Lone::with(all_written_down);
    if stage == "giving way" {
        lone = Lone::with(|config| {
            all_written_down(config);
            config.standby_after = Some(Duration::from_secs(2));
        });
    }
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    let ahead = Duration::from_millis(if stage == "held" { 3_000 } else { 0 });
    lone.hears(&message_now(lone.now.after(ahead), "y"));
    if stage == "not noted" {
        return (lone, Disk::default());
    }
    let disk = written([lone.is_noted(), lone.is_noted()]);
    if ["noted", "giving way", "held"].contains(&stage) {
        return (lone, disk);
    }
    lone.seals();
    match stage {
        "in flight" => networks.carry(&lone),
        "to be tried again" => {
            lone.publish_is(Answer::Failed);
            lone.post_is(Answer::Failed);
        }
        "with the archive" => {
            networks.carry(&lone);
            lone.publish_is(ACCEPTED);
            lone.post_is(ACCEPTED);
            assert_eq!(lone.to_keep.len(), 2);
        }
        _ => {}
    }
    (lone, disk)
}

fn all_written_down(config: &mut Config) {
    (config.journal, config.archive) = (true, true);
}

/// All that was ever published and posted.
#[derive(Debug, Default)]
struct Networks {
    v1: BTreeSet<EnvelopeHash>,
    v2: BTreeSet<Bytes>,
}

impl Networks {
    fn carry(&mut self, lone: &Lone) {
        self.v1.extend(lone.posted.iter().map(|(_, envelope)| envelope.hash()));
        self.v2.extend(lone.published.iter().map(|(.., data)| data.clone()));
    }
}

#[test]
fn after_a_crash_at_any_stage_each_is_once_on_the_other_side_and_once_in_the_archive() {
    for stage in STAGES {
        let mut networks = Networks::default();
        let (crashed, mut disk) = as_far_as(stage, &mut networks);
        let mut next = Lone::with(all_written_down);
        next.now = crashed.now.after(Duration::from_secs(1));
        next.bridge.recall(next.now, &disk.ended());
        for unfinished in disk.unfinished() {
            next.bridge.resume(next.now, &unfinished, own());
        }
        next.take_actions();
        // What was not noted comes again, and what was too: peers hand over their pools.
        next.hears_envelope(&envelope(crashed.secs(), 15, "x"));
        let ahead = Duration::from_millis(if stage == "held" { 3_000 } else { 0 });
        next.hears(&message_now(crashed.now.after(ahead), "y"));
        let mut rows = BTreeSet::new();
        for _ in 0..20 {
            while !next.begun.is_empty() {
                disk.write(&next.is_noted());
            }
            while !next.to_seal.is_empty() {
                next.seals();
            }
            networks.carry(&next);
            while !next.published.is_empty() {
                next.publish_is(ACCEPTED);
            }
            while !next.posted.is_empty() {
                next.post_is(ACCEPTED);
            }
            while !next.to_keep.is_empty() {
                assert!(rows.insert(next.keeps(Ok(())).content), "{stage}: kept twice");
            }
            next.ended.drain(..).for_each(|note| disk.write(&note));
            next.passes(Duration::from_millis(500));
        }
        assert_eq!((networks.v1.len(), networks.v2.len(), rows.len()), (1, 1, 2), "{stage}");
        assert_eq!((disk.unfinished().len(), disk.ended().len()), (0, 2), "{stage}");
    }
}

/// A bridge that crashes: what it was told, what it had written, and what reached the networks.
struct Mortal {
    config: Config,
    bridge: Bridge,
    now: Now,
    rng: StdRng,
    disk: Disk,
    /// Given to the journal and not written yet.
    notes: Vec<(Option<JobId>, Note)>,
    asked: Vec<Action>,
    v1: BTreeSet<EnvelopeHash>,
    v2: BTreeSet<Bytes>,
    crossed: Vec<Crossing>,
}

impl Mortal {
    fn new(seed: u64) -> Self {
        let config = Config { journal: true, ..Config::default() };
        let mut bridge = Bridge::new(config.clone(), StdRng::seed_from_u64(seed)).unwrap();
        bridge.v0_peers(start(), 1);
        Self {
            config,
            bridge,
            now: start(),
            rng: StdRng::seed_from_u64(seed),
            disk: Disk::default(),
            notes: vec![],
            asked: vec![],
            v1: BTreeSet::new(),
            v2: BTreeSet::new(),
            crossed: vec![],
        }
    }

    fn gather(&mut self) {
        while let Some(action) = self.bridge.next_action() {
            match action {
                Action::Begin { job, note } => self.notes.push((Some(job), note)),
                Action::End { note, .. } => self.notes.push((None, note)),
                Action::Report(crossing) => self.crossed.push(crossing),
                action => self.asked.push(action),
            }
        }
    }

    /// Some notes are written, in their order; some of what was asked for is done, in any.
    fn works(&mut self) {
        self.gather();
        for (job, note) in self.notes.drain(..self.rng.random_range(0..=self.notes.len())).collect::<Vec<_>>() {
            self.disk.write(&note);
            job.into_iter().for_each(|job| self.bridge.noted(self.now, job));
        }
        self.gather();
        for _ in 0..self.rng.random_range(0..=self.asked.len()) {
            let action = self.asked.swap_remove(self.rng.random_range(0..self.asked.len()));
            // The networks have it, and perhaps the bridge does not hear of it any more.
            match action {
                Action::Publish { job, data, .. } => {
                    let answer = if self.v2.insert(data) { ACCEPTED } else { ALREADY_THERE };
                    self.bridge.published(self.now, job, answer);
                }
                Action::Post { job, envelope } => {
                    let answer = if self.v1.insert(envelope.hash()) { ACCEPTED } else { ALREADY_THERE };
                    self.bridge.posted(self.now, job, answer);
                }
                Action::Seal(SealJob { job, unsealed, base, bits, .. }) => {
                    let nonce = unsealed.search(base, 0, 1 << 26, bits).unwrap();
                    self.bridge.sealed(self.now, job, Ok(unsealed.seal(nonce)));
                }
                _ => {}
            }
        }
    }

    fn crashes(&mut self) {
        self.notes.clear();
        self.asked.clear();
        self.bridge = Bridge::new(self.config.clone(), StdRng::seed_from_u64(self.rng.random())).unwrap();
        self.bridge.v0_peers(self.now, 1);
        self.bridge.recall(self.now, &self.disk.ended());
        for unfinished in self.disk.unfinished() {
            self.bridge.resume(self.now, &unfinished, own());
        }
    }

    fn settles(&mut self) {
        for _ in 0..200 {
            self.works();
        }
        assert!(self.notes.is_empty() && self.asked.is_empty(), "{:?} {:?}", self.notes, self.asked);
    }
}

proptest! {
    /// Whenever it crashes, all that was noted reaches the other side, and none of it in two forms.
    #[test]
    fn whatever_was_noted_crosses_once(seed in any::<u64>(), steps in prop::collection::vec(0_u8..8, 1..60)) {
        let mut mortal = Mortal::new(seed);
        let (mut envelopes, mut messages) = (Vec::<Arc<Envelope>>::new(), Vec::<WakuMessage>::new());
        for (n, step) in steps.into_iter().enumerate() {
            let data = u64::try_from(n).unwrap().to_be_bytes().to_vec();
            match step {
                0 | 1 => {
                    envelopes.push(envelope(mortal.now.unix_secs(), 15, data));
                    mortal.bridge.envelope(mortal.now, envelopes.last().unwrap());
                }
                2 | 3 => {
                    messages.push(message_now(mortal.now, data));
                    mortal.bridge.message(mortal.now, &received(messages.last().unwrap()));
                }
                4 => mortal.crashes(),
                _ => mortal.works(),
            }
        }
        mortal.crashes();
        mortal.settles();
        let ended = mortal.disk.ended();
        prop_assert!(ended.iter().all(|ended| ended.state == State::Done), "{:?}", ended);
        prop_assert_eq!((ended.len(), mortal.disk.0.len()), (mortal.v1.len() + mortal.v2.len(), ended.len()));
        // What the crash took before it was noted comes again: peers hand over their pools, gossip its history.
        for envelope in &envelopes {
            mortal.bridge.envelope(mortal.now, envelope);
        }
        for message in &messages {
            mortal.bridge.message(mortal.now, &received_on(pubsub(), message.encode()));
        }
        mortal.settles();
        prop_assert_eq!((mortal.v2.len(), mortal.v1.len()), (envelopes.len(), messages.len()));
        prop_assert_eq!(mortal.disk.unfinished(), vec![]);
        let payloads: BTreeSet<Bytes> = mortal.v2.iter().map(|data| WakuMessage::decode(data).unwrap().payload).collect();
        prop_assert_eq!(payloads, envelopes.iter().map(|envelope| envelope.data().clone()).collect::<BTreeSet<_>>());
        let forms = |way| mortal.crossed.iter().filter(move |crossing| crossing.direction == way);
        let made: BTreeSet<_> = forms(Direction::V2ToV1).filter_map(|crossing| crossing.envelope).collect();
        prop_assert_eq!(made, mortal.v1.clone());
    }
}
