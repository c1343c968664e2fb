//! Two networks of a seed with the bridges between them: planned by [`world`] and run by it and [`course`], with [`medium`] as the networks and [`life`] as
//! the bridges; judged by [`judge`] as it goes and at its end.
//!
//! | Rule | In words |
//! |---|---|
//! | [`Rule::OneForm`] | our bridges make one thing of a thing, all of them the same |
//! | [`Rule::NothingBack`] | nothing comes back to the side that said it in another form |
//! | [`Rule::Delivered`] | what a bridge was there for is on the other side |
//! | [`Rule::OneEnd`] | all that a bridge is given ends once |
//! | [`Rule::Kept`] | what crossed or was archived is in the archive, and nothing ephemeral is, but by a foreign bridge's doing |
//! | [`Rule::NotedFirst`] | nothing is mined, published or posted that is not on disk |
//! | [`Rule::Bounded`] | with a foreign bridge that stamps anew: a thing has few forms, not ever more |
//!
//! The first two hold where no foreign bridge is. Time is virtual; a seed always gives the same networks.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod course;
#[path = "../../virtual_time/support/disk.rs"]
mod disk;
mod judge;
mod life;
mod medium;
#[path = "../../virtual_time/support/old.rs"]
mod old;
#[path = "../../virtual_time/support/users.rs"]
#[expect(dead_code, reason = "of what other tests use some is not needed here")]
mod users;
mod world;

use std::{fmt, iter::Sum};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    OneForm,
    NothingBack,
    Delivered,
    OneEnd,
    Kept,
    NotedFirst,
    Bounded,
}

/// A fault planted in bridges, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    OtherProfile,
    ForgetsAndTagsNothing,
    LosesWhatItPublished,
    TellsTwice,
    ForgetsRows,
    NotesNothing,
    SecondForeign,
}

impl Planted {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::OtherProfile,
        Self::ForgetsAndTagsNothing,
        Self::LosesWhatItPublished,
        Self::TellsTwice,
        Self::ForgetsRows,
        Self::NotesNothing,
        Self::SecondForeign,
    ];

    /// What it breaks.
    pub(crate) fn breaks(self) -> Rule {
        match self {
            Self::OtherProfile => Rule::OneForm,
            Self::ForgetsAndTagsNothing => Rule::NothingBack,
            Self::LosesWhatItPublished => Rule::Delivered,
            Self::TellsTwice => Rule::OneEnd,
            Self::ForgetsRows => Rule::Kept,
            Self::NotesNothing => Rule::NotedFirst,
            Self::SecondForeign => Rule::Bounded,
        }
    }
}

/// A rule that did not hold.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) rule: Rule,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What happened, so that it is seen that enough did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) said: u64,
    pub(crate) owed: u64,
    pub(crate) crossed: u64,
    pub(crate) lost: u64,
    pub(crate) splits: u64,
    pub(crate) crashes: u64,
    pub(crate) foreign: u64,
    pub(crate) gave_way: u64,
    pub(crate) kept: u64,
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |all, one| Self {
            said: all.said + one.said,
            owed: all.owed + one.owed,
            crossed: all.crossed + one.crossed,
            lost: all.lost + one.lost,
            splits: all.splits + one.splits,
            crashes: all.crashes + one.crashes,
            foreign: all.foreign + one.foreign,
            gave_way: all.gave_way + one.gave_way,
            kept: all.kept + one.kept,
        })
    }
}

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) broken: Vec<Broken>,
    pub(crate) tally: Tally,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, planted: Option<Planted>) -> Report {
    world::World::of(seed, planted).run()
}
