//! One core on a string: the test is clock, networks and mining pool.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, Bridge, Config, Crossing, DropReason, JobId, Outcome,
    answer::Answer,
    history::{Kept, NotKept},
    journal::Note,
    seal::{SealError, SealJob},
};
use bytes::Bytes;
use devp2p::clock::Now;
use rand::{SeedableRng, rngs::StdRng};
use waku0::Envelope;
use waku2::{PubsubTopic, Received, WakuMessage};

use super::{start, users};

pub(crate) struct Lone {
    pub(crate) bridge: Bridge,
    pub(crate) now: Now,
    /// What the core has asked for and the test has not looked at.
    pub(crate) published: Vec<(JobId, PubsubTopic, Bytes)>,
    /// Of what class each of these is.
    pub(crate) classes: Vec<Option<Arc<str>>>,
    pub(crate) posted: Vec<(JobId, Envelope)>,
    pub(crate) to_seal: Vec<SealJob>,
    pub(crate) cancelled: Vec<JobId>,
    pub(crate) reports: Vec<Crossing>,
    /// Only where there is a journal.
    pub(crate) begun: Vec<(JobId, Note)>,
    pub(crate) ended: Vec<Note>,
    /// Only where there is an archive.
    pub(crate) to_keep: Vec<(JobId, Kept)>,
}

impl Lone {
    pub(crate) fn new(config: Config) -> Self {
        let mut bridge = Bridge::new(config, StdRng::seed_from_u64(7)).unwrap();
        let now = start();
        bridge.v0_peers(now, 1);
        Self {
            bridge,
            now,
            published: vec![],
            classes: vec![],
            posted: vec![],
            to_seal: vec![],
            cancelled: vec![],
            reports: vec![],
            begun: vec![],
            ended: vec![],
            to_keep: vec![],
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::new(config)
    }

    pub(crate) fn secs(&self) -> u64 {
        self.now.unix_secs()
    }

    pub(crate) fn hears_envelope(&mut self, envelope: &Arc<Envelope>) {
        self.bridge.envelope(self.now, envelope);
        self.take_actions();
    }

    pub(crate) fn hears(&mut self, message: &WakuMessage) {
        self.hears_received(&users::received(message));
    }

    pub(crate) fn hears_received(&mut self, received: &Arc<Received>) {
        self.bridge.message(self.now, received);
        self.take_actions();
    }

    /// Time goes on; whatever comes due on the way does so at its time.
    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.bridge.wake_at().filter(|due| *due <= end.instant) {
            self.now = self.now.after(due.saturating_duration_since(self.now.instant));
            self.bridge.tick(self.now);
            self.take_actions();
        }
        self.now = end;
        self.bridge.tick(self.now);
        self.take_actions();
    }

    pub(crate) fn gains_v2_peer(&mut self, count: usize) {
        self.bridge.v2_peers(self.now, &users::pubsub(), count);
        self.take_actions();
    }

    pub(crate) fn gains_v1_peer(&mut self, count: usize) {
        self.bridge.v0_peers(self.now, count);
        self.take_actions();
    }

    /// Answers the one publish that was asked for.
    pub(crate) fn publish_is(&mut self, answer: Answer) -> WakuMessage {
        let (job, _, data) = self.published.remove(0);
        self.classes.remove(0);
        self.bridge.published(self.now, job, answer);
        self.take_actions();
        WakuMessage::decode(&data).unwrap()
    }

    /// Answers the one post that was asked for.
    pub(crate) fn post_is(&mut self, answer: Answer) -> Envelope {
        let (job, envelope) = self.posted.remove(0);
        self.bridge.posted(self.now, job, answer);
        self.take_actions();
        envelope
    }

    /// Mines the one envelope that was asked for.
    pub(crate) fn seals(&mut self) {
        let SealJob { job, unsealed, base, bits, .. } = self.to_seal.remove(0);
        let nonce = unsealed.search(base, 0, 1 << 26, bits).unwrap();
        self.bridge.sealed(self.now, job, Ok(unsealed.seal(nonce)));
        self.take_actions();
    }

    pub(crate) fn seal_fails(&mut self, error: SealError) {
        let job = self.to_seal.remove(0).job;
        self.bridge.sealed(self.now, job, Err(error));
        self.take_actions();
    }

    /// The journal has written the one beginning that it was given.
    pub(crate) fn is_noted(&mut self) -> Note {
        let (job, note) = self.begun.remove(0);
        self.bridge.noted(self.now, job);
        self.take_actions();
        note
    }

    /// The archive answers for the one row that it was given.
    pub(crate) fn keeps(&mut self, result: Result<(), NotKept>) -> Kept {
        let (job, kept) = self.to_keep.remove(0);
        self.bridge.kept(self.now, job, result);
        self.take_actions();
        kept
    }

    /// The one report since the last look; nothing else is on its way or asked for.
    #[track_caller]
    pub(crate) fn only_report(&mut self) -> Crossing {
        assert_eq!(self.reports.len(), 1, "{:?}", self.reports);
        self.reports.remove(0)
    }

    #[track_caller]
    pub(crate) fn is_dropped(&mut self, reason: DropReason) {
        assert_eq!(self.only_report().outcome, Outcome::Dropped(reason));
    }

    #[track_caller]
    pub(crate) fn is_dropped_all(&mut self, reasons: &[DropReason]) {
        let ended: Vec<Outcome> = self.reports.drain(..).map(|report| report.outcome).collect();
        assert_eq!(ended, reasons.iter().map(|reason| Outcome::Dropped(*reason)).collect::<Vec<_>>());
    }

    #[track_caller]
    pub(crate) fn is_archived(&mut self, reason: DropReason) {
        assert_eq!(self.only_report().outcome, Outcome::Archived(reason));
    }

    #[track_caller]
    pub(crate) fn is_crossed(&mut self) -> Crossing {
        let report = self.only_report();
        assert!(matches!(report.outcome, Outcome::Crossed { .. }), "{report:?}");
        report
    }

    #[track_caller]
    pub(crate) fn is_quiet(&self) {
        let networks = (self.published.len(), self.posted.len(), self.to_seal.len());
        assert_eq!((networks, self.reports.len(), self.to_keep.len()), ((0, 0, 0), 0, 0), "{:?}", self.reports);
    }

    pub(crate) fn take_actions(&mut self) {
        while let Some(action) = self.bridge.next_action() {
            match action {
                Action::Publish { job, topic, data, class } => {
                    self.published.push((job, topic, data));
                    self.classes.push(class);
                }
                Action::Post { job, envelope } => self.posted.push((job, envelope)),
                Action::Seal(job) => self.to_seal.push(job),
                Action::CancelSeal(job) => self.cancelled.push(job),
                Action::Begin { job, note } => self.begun.push((job, note)),
                Action::End { note, .. } => self.ended.push(note),
                Action::Keep { job, kept } => self.to_keep.push((job, *kept)),
                Action::Report(crossing) => self.reports.push(crossing),
            }
        }
    }
}

pub(crate) const ACCEPTED: Answer = Answer::Accepted { already_there: false };
pub(crate) const ALREADY_THERE: Answer = Answer::Accepted { already_there: true };
