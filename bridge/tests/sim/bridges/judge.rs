//! What was said, and whether the rules hold.

use std::collections::{BTreeMap, BTreeSet};

use bridge::{Crossing, Direction, Outcome, mapping, policy::Policy, seen::Fingerprint};
use waku2::WakuMessage;

use super::{Broken, Rule, life::Life, users::TOPIC};

/// How long a bridge must have been there for what was said, in milliseconds: retries, a second comparison, mining.
pub(crate) const THERE_FOR: u64 = 14_000;
/// How early it must have heard of it, in milliseconds: a bridge in standby then still has a second to mine in.
pub(crate) const HEARD_WITHIN: u64 = 4_500;
/// Most forms of one thing on one side, where a foreign bridge is: its own, ours, what each makes of the other's, and what comes round
/// once while somebody has crashed.
const MAX_FORMS: usize = 6;

/// One thing that a user said.
pub(crate) struct Said {
    pub(crate) content: Fingerprint,
    pub(crate) way: Direction,
    /// In milliseconds.
    pub(crate) at: u64,
    pub(crate) is_ephemeral: bool,
}

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) said: Vec<Said>,
    pub(crate) ephemeral: BTreeSet<Fingerprint>,
    pub(crate) broken: Vec<Broken>,
}

/// What a message says.
pub(crate) fn content_of(message: &WakuMessage) -> Fingerprint {
    Fingerprint::new(TOPIC, &mapping::frame(message, true, &Policy::default()).unwrap().data)
}

impl Judge {
    pub(crate) fn breaks(&mut self, rule: Rule, what: String) {
        self.broken.push(Broken { rule, what });
    }

    pub(crate) fn says(&mut self, said: Said) {
        if said.is_ephemeral {
            self.ephemeral.insert(said.content);
        }
        self.said.push(said);
    }

    /// A bridge tells an end.
    pub(crate) fn hears_of(&mut self, number: usize, life: &Life, crossing: &Crossing) {
        let Some(content) = crossing.content.filter(|_| life.config.archive) else { return };
        let is_to_be_there = matches!(crossing.outcome, Outcome::Crossed { .. } | Outcome::Archived(_));
        let is_ephemeral = self.ephemeral.contains(&content);
        if is_to_be_there && !is_ephemeral && !life.rows.contains_key(&content) {
            self.breaks(Rule::Kept, format!("bridge {number} has no row of {crossing:?}"));
        }
    }

    /// How many forms each thing has on its own side and on the other.
    pub(crate) fn counts(
        &mut self,
        v1: &BTreeMap<Fingerprint, usize>,
        v2: &BTreeMap<Fingerprint, usize>,
        foreign: bool,
    ) {
        let of = |side: &BTreeMap<Fingerprint, usize>, said: &Said| side.get(&said.content).copied().unwrap_or(0);
        let mut broken = Vec::new();
        for (number, said) in self.said.iter().enumerate() {
            let (own, other) = match said.way {
                Direction::V1ToV2 => (of(v1, said), of(v2, said)),
                Direction::V2ToV1 => (of(v2, said), of(v1, said)),
            };
            let what = || format!("thing {number}, {}: {own} forms on its side, {other} on the other", said.way);
            match foreign {
                true if own.max(other) > MAX_FORMS => broken.push((Rule::Bounded, what())),
                false if own > 1 => broken.push((Rule::NothingBack, what())),
                false if other > 1 => broken.push((Rule::OneForm, what())),
                _ => {}
            }
        }
        broken.into_iter().for_each(|(rule, what)| self.breaks(rule, what));
    }

    /// Each bridge has ended all that it was given, and its archive holds nothing ephemeral.
    pub(crate) fn closes(&mut self, number: usize, life: &Life, foreign: bool) {
        if life.ended != life.given || life.waiting() != 0 {
            let (ended, given, waiting) = (life.ended, life.given, life.waiting());
            self.breaks(Rule::OneEnd, format!("bridge {number}: {given} given, {ended} ended, {waiting} wait"));
        }
        // A foreign bridge passes what is ephemeral on as if it were not.
        if !foreign && life.rows.keys().any(|content| self.ephemeral.contains(content)) {
            self.breaks(Rule::Kept, format!("bridge {number} keeps what is ephemeral"));
        }
    }
}
