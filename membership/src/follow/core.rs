//! What to ask the chain next, and what its answers mean: core.
//!
//! One look is: the newest block; its root; if that is news, the roots of the blocks since the last look; the paths of own members;
//! the root of that block again. A root counts as soon as it is there. What is asked beyond it may fail without failing the look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use devp2p::clock::Now;
use waku2::rln::element::Element;

use super::between::{Between, NO_ROOT};
use crate::{
    contract::Path,
    path::{Own, Places},
    provider::{At, Fault},
};

/// Blocks before the newest in which roots are looked for, and that nodes without an archive still know.
pub const MAX_BLOCKS_BACK: u64 = 120;

/// Blocks before the last one looked at that are looked at again, since a reorganisation may have replaced them.
pub const REORGANISED_BLOCKS: u64 = 8;

/// A question to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which block is the newest?
    Head,
    /// Which root is there?
    Root(At),
    /// Which root was there at the end of that earlier block?
    Past(u64),
    /// Which path had this index at the end of that block?
    Path(u32, u64),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Head`].
    Head(u64),
    /// To [`Question::Root`].
    Root(Element),
    /// To [`Question::Past`]: none, if the contract was not there yet.
    Past(Option<Element>),
    /// To [`Question::Path`].
    Path(Box<Path>),
}

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These roots, oldest first; the last of them is the newest.
    Roots(Vec<Element>),
    /// The places of own members.
    Places(Arc<Places>),
}

/// How following goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The newest block that was seen.
    pub block: Option<u64>,
    /// When the root was read last, since 1970.
    pub read: Option<Duration>,
    /// Since when it cannot be read. The last roots count meanwhile.
    pub failing: Option<Failing>,
}

/// The root cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when, since 1970.
    pub since: Duration,
    /// How many looks failed.
    pub looks: u64,
    /// Why the last one did.
    pub fault: Fault,
}

/// Follows one group.
#[derive(Debug, Default)]
pub struct Core {
    step: Step,
    /// The newest root, and its block.
    newest: Option<(u64, Element)>,
    own: Own,
    places: Option<Arc<Places>>,
    health: Health,
}

#[derive(Debug, Default)]
enum Step {
    /// Between two looks.
    #[default]
    Idle,
    Head,
    Root(At, u64),
    /// The root of an earlier block, from which on roots are looked for.
    Earlier {
        earlier: u64,
        to: (u64, Element),
    },
    Between {
        between: Between,
        to: (u64, Element),
    },
    Paths {
        at: (u64, Element),
        paths: BTreeMap<u32, Path>,
    },
    Again {
        at: (u64, Element),
        paths: BTreeMap<u32, Path>,
    },
}

impl Core {
    /// Begins a look. One that is under way is given up.
    pub fn look(&mut self, own: Own) {
        self.own = own;
        self.step = Step::Head;
    }

    /// How it goes.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// What to ask; `None` when the look is over.
    pub fn question(&mut self) -> Option<Question> {
        match &mut self.step {
            Step::Idle => None,
            Step::Head => Some(Question::Head),
            Step::Root(at, _) => Some(Question::Root(*at)),
            Step::Earlier { earlier, .. } => Some(Question::Past(*earlier)),
            Step::Between { between, .. } => between.next().map(Question::Past),
            Step::Paths { at, paths } => {
                self.own.indexes().find(|index| !paths.contains_key(index)).map(|index| Question::Path(index, at.0))
            }
            Step::Again { at, .. } => Some(Question::Root(At::Block(at.0))),
        }
    }

    /// The answer to [`Core::question`].
    pub fn answered(&mut self, now: Now, answer: Result<Answer, Fault>) -> Option<Change> {
        let step = std::mem::take(&mut self.step);
        let (next, change) = match answer {
            Ok(answer) => self.took(now, step, answer),
            Err(fault) => self.failed(now, step, fault),
        };
        self.step = next;
        change.or_else(|| self.settled())
    }

    fn took(&mut self, now: Now, step: Step, answer: Answer) -> (Step, Option<Change>) {
        match (step, answer) {
            (Step::Head, Answer::Head(head)) => (Step::Root(At::Block(head), head), None),
            (Step::Root(_, head), Answer::Root(root)) => self.root(now, (head, root)),
            (Step::Earlier { earlier, to }, Answer::Past(root)) => {
                let from = (earlier, root.unwrap_or(NO_ROOT));
                (Step::Between { between: Between::new(from, to), to }, None)
            }
            (Step::Between { mut between, to }, Answer::Past(root)) => {
                between.tell(root.unwrap_or(NO_ROOT));
                (Step::Between { between, to }, None)
            }
            (Step::Paths { at, mut paths }, Answer::Path(path)) => {
                let index = self.own.indexes().find(|index| !paths.contains_key(index));
                paths.extend(index.map(|index| (index, *path)));
                (Step::Paths { at, paths }, None)
            }
            (Step::Again { at, paths }, Answer::Root(root)) if root == at.1 => (Step::Idle, self.placed(at, paths)),
            // The block is another one by now, or an answer to something else: the next look tells.
            _ => (Step::Idle, None),
        }
    }

    fn root(&mut self, now: Now, newest: (u64, Element)) -> (Step, Option<Change>) {
        self.health = Health { block: Some(newest.0), read: Some(now.unix), failing: None };
        let last = self.newest.replace(newest);
        if last.is_some_and(|(_, root)| root == newest.1) {
            return (self.places(newest), None);
        }
        let earlier = last.map_or(0, |(block, _)| block.saturating_sub(REORGANISED_BLOCKS));
        let earlier = earlier.max(newest.0.saturating_sub(MAX_BLOCKS_BACK));
        let next = if earlier < newest.0 { Step::Earlier { earlier, to: newest } } else { self.places(newest) };
        (next, Some(Change::Roots(vec![newest.1])))
    }

    /// Asks for paths, if there are some to ask for.
    fn places(&self, at: (u64, Element)) -> Step {
        let are_there = self.places.as_ref().is_some_and(|places| places.are_current(&at.1, &self.own));
        if are_there || self.own.is_empty() { Step::Idle } else { Step::Paths { at, paths: BTreeMap::new() } }
    }

    fn placed(&mut self, (block, root): (u64, Element), paths: BTreeMap<u32, Path>) -> Option<Change> {
        let places = Arc::new(Places { root, block, paths });
        self.places = Some(Arc::clone(&places));
        Some(Change::Places(places))
    }

    /// Goes on from a step that has no more questions.
    fn settled(&mut self) -> Option<Change> {
        if self.question().is_some() {
            return None;
        }
        match std::mem::take(&mut self.step) {
            Step::Between { between, to } => {
                self.step = self.places(to);
                Some(Change::Roots(between.found()))
            }
            Step::Paths { at, paths } => {
                self.step = Step::Again { at, paths };
                None
            }
            Step::Idle | Step::Head | Step::Root(..) | Step::Earlier { .. } | Step::Again { .. } => None,
        }
    }

    fn failed(&mut self, now: Now, step: Step, fault: Fault) -> (Step, Option<Change>) {
        match step {
            // Another node of the same provider may not know that block yet.
            Step::Root(At::Block(_), head) if matches!(fault, Fault::Refused { .. }) => {
                (Step::Root(At::Latest, head), None)
            }
            Step::Head | Step::Root(..) => {
                self.health.failing = Some(match self.health.failing.take() {
                    Some(failing) => Failing { looks: failing.looks.saturating_add(1), fault, ..failing },
                    None => Failing { since: now.unix, looks: 1, fault },
                });
                (Step::Idle, None)
            }
            // Not everybody answers about the past: then only what is asked for while it is new is known.
            Step::Earlier { to, .. } => (self.places(to), None),
            Step::Between { between, to } => (self.places(to), Some(Change::Roots(between.found()))),
            Step::Idle | Step::Paths { .. } | Step::Again { .. } => (Step::Idle, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{contract::DEPTH, provider::Revert};

    fn now(secs: u64) -> Now {
        Now { unix: Duration::from_secs(secs), ..devp2p::clock::now() }
    }

    fn refused() -> Fault {
        Fault::Refused { code: -32_000, words: "header not found".into() }
    }

    /// A chain whose block `n` ends with the root `roots[n]`; 0 is before the contract was there. A path has its index and its block in it.
    #[derive(Default)]
    struct Chain {
        roots: Vec<u64>,
        /// Blocks before this one are not answered about.
        forgets: u64,
    }

    impl Chain {
        fn answer(&self, question: Question) -> Result<Answer, Fault> {
            let head = self.roots.len() as u64 - 1;
            let root = |block: u64| self.roots.get(block as usize).filter(|_| block >= self.forgets || block == head);
            match question {
                Question::Head => Ok(Answer::Head(head)),
                Question::Root(At::Latest) => Ok(Answer::Root(Element::from(self.roots[head as usize]))),
                Question::Root(At::Block(block)) => {
                    root(block).map(|root| Answer::Root(Element::from(*root))).ok_or_else(refused)
                }
                Question::Past(block) => root(block)
                    .map(|root| Answer::Past(Some(Element::from(*root)).filter(|root| *root != NO_ROOT)))
                    .ok_or_else(refused),
                Question::Path(index, block) => {
                    Ok(Answer::Path(Box::new([Element::from(block * 1_000 + u64::from(index)); DEPTH])))
                }
            }
        }
    }

    #[derive(Default)]
    struct Follower {
        core: Core,
        roots: waku2::rln::roots::Roots,
        places: Option<Arc<Places>>,
        questions: usize,
        news: usize,
    }

    impl Follower {
        fn look(&mut self, secs: u64, own: &[u32], mut answer: impl FnMut(Question) -> Result<Answer, Fault>) {
            self.core.look(Own::new(own.iter().copied()).unwrap());
            while let Some(question) = self.core.question() {
                self.questions += 1;
                match self.core.answered(now(secs), answer(question)) {
                    Some(Change::Roots(roots)) => {
                        self.news += roots.into_iter().filter(|root| self.roots.now(*root)).count()
                    }
                    Some(Change::Places(places)) => self.places = Some(places),
                    None => {}
                }
            }
        }

        fn at(&mut self, chain: &Chain, own: &[u32]) {
            self.look(1, own, |question| chain.answer(question));
        }

        fn newest(&self) -> Option<Element> {
            self.roots.newest().copied()
        }
    }

    #[test]
    fn a_look_without_news_takes_two_questions() {
        let chain = Chain { roots: vec![7; 50], ..Chain::default() };
        let mut follower = Follower::default();
        follower.at(&chain, &[]);
        assert_eq!((follower.questions, follower.newest()), (3, Some(Element::from(7))), "the first looks back too");
        follower.at(&chain, &[]);
        assert_eq!((follower.questions, follower.news), (5, 1));
        assert_eq!(follower.core.health().block, Some(49));
    }

    #[test]
    fn f19_roots_of_blocks_between_two_looks_count_too() {
        let mut chain = Chain { roots: vec![1], ..Chain::default() };
        let mut follower = Follower::default();
        follower.at(&chain, &[]);
        chain.roots.extend([1, 2, 3, 3, 4]);
        follower.at(&chain, &[]);
        for root in 1..=4 {
            assert!(follower.roots.contains(&Element::from(root)), "{root}");
        }
        assert_eq!((follower.newest(), follower.roots.len()), (Some(Element::from(4)), 4));
    }

    #[test]
    fn blocks_before_the_contract_have_no_root_and_are_no_fault() {
        let mut chain = Chain { roots: vec![0, 0, 0, 1], ..Chain::default() };
        let mut follower = Follower::default();
        follower.at(&chain, &[]);
        assert_eq!((follower.newest(), follower.roots.len()), (Some(Element::from(1)), 1));
        chain.roots.extend([2, 3, 4]);
        follower.at(&chain, &[]);
        assert_eq!((follower.newest(), follower.roots.len()), (Some(Element::from(4)), 4));
        assert!(!follower.roots.contains(&NO_ROOT));
    }

    #[test]
    fn f19_a_block_range_that_nobody_knows_costs_only_the_roots_in_it() {
        let mut chain = Chain { roots: vec![1], forgets: 4 };
        let mut follower = Follower::default();
        follower.at(&chain, &[]);
        chain.roots.extend([2, 3, 4, 5]);
        follower.at(&chain, &[9]);
        let known = |root: u64| follower.roots.contains(&Element::from(root));
        assert_eq!((known(1), known(2), known(3), known(5)), (true, false, false, true));
        assert_eq!(follower.newest(), Some(Element::from(5)));
        assert_eq!(follower.places.as_ref().unwrap().root, Element::from(5), "paths are asked for nevertheless");
        assert_eq!(follower.core.health().failing, None);
    }

    #[test]
    fn f18_after_a_reorganisation_of_five_blocks_the_root_is_what_the_chain_says() {
        let mut chain = Chain { roots: (1..21).collect(), ..Chain::default() };
        let mut follower = Follower::default();
        follower.at(&chain, &[3]);
        assert_eq!(follower.newest(), Some(Element::from(20)));
        // Five blocks go, three come: the newest block has a lower number than before.
        chain.roots.truncate(15);
        chain.roots.extend([100, 101, 102]);
        follower.at(&chain, &[3]);
        assert_eq!(follower.newest(), Some(Element::from(102)));
        assert!([100, 101].into_iter().all(|root| follower.roots.contains(&Element::from(root))), "those between too");
        assert_eq!(follower.places.as_ref().unwrap().root, Element::from(102));
        // And back to an older root alone.
        chain.roots.truncate(10);
        follower.at(&chain, &[3]);
        assert_eq!(follower.newest(), Some(Element::from(10)));
        assert_eq!(follower.places.as_ref().unwrap().root, Element::from(10));
    }

    #[test]
    fn paths_are_of_the_block_of_their_root_and_asked_for_when_it_changes_or_own_members_do() {
        let mut chain = Chain { roots: vec![5, 6], ..Chain::default() };
        let mut follower = Follower::default();
        follower.at(&chain, &[2, 4]);
        let places = follower.places.take().unwrap();
        assert_eq!((places.root, places.block), (Element::from(6), 1));
        assert_eq!(
            places.paths.iter().map(|(index, path)| (*index, path[0])).collect::<Vec<_>>(),
            [(2, Element::from(1_002)), (4, Element::from(1_004))]
        );
        chain.roots.push(6);
        follower.at(&chain, &[2, 4]);
        assert_eq!(follower.places, None, "nothing has changed");
        follower.at(&chain, &[2, 4, 8]);
        assert_eq!(follower.places.take().unwrap().paths.len(), 3);
        chain.roots.push(7);
        follower.at(&chain, &[2, 4, 8]);
        assert_eq!(follower.places.unwrap().root, Element::from(7));
    }

    #[test]
    fn a_path_across_a_reorganisation_is_not_taken() {
        let chain = Chain { roots: vec![5, 6], ..Chain::default() };
        let mut follower = Follower::default();
        let mut asked = false;
        follower.look(1, &[2], |question| {
            let again = asked;
            asked |= matches!(question, Question::Path(..));
            if again { Ok(Answer::Root(Element::from(9))) } else { chain.answer(question) }
        });
        assert_eq!(follower.places, None);
        follower.at(&chain, &[2]);
        assert_eq!(follower.places.unwrap().root, Element::from(6));
    }

    #[test]
    fn f18_while_the_chain_is_away_the_last_roots_count_and_since_when_is_told() {
        let chain = Chain { roots: vec![5, 6], ..Chain::default() };
        let mut follower = Follower::default();
        follower.look(10, &[], |question| chain.answer(question));
        for (secs, looks) in [(15, 1), (20, 2), (25, 3)] {
            follower.look(secs, &[], |_| Err(Fault::Timeout));
            let failing = follower.core.health().failing.clone().unwrap();
            assert_eq!((failing.since.as_secs(), failing.looks, failing.fault), (15, looks, Fault::Timeout));
        }
        assert_eq!(follower.core.health().read, Some(Duration::from_secs(10)));
        assert!(follower.roots.contains(&Element::from(6)));
        follower.look(30, &[], |question| chain.answer(question));
        assert_eq!(follower.core.health().failing, None);
    }

    #[test]
    fn a_head_that_the_next_node_does_not_know_yet_is_asked_for_as_the_newest() {
        let chain = Chain { roots: vec![5, 6], ..Chain::default() };
        let mut follower = Follower::default();
        follower.look(1, &[], |question| match question {
            Question::Root(At::Block(1)) => Err(refused()),
            question => chain.answer(question),
        });
        assert_eq!(follower.newest(), Some(Element::from(6)));
    }

    proptest! {
        /// Whatever is answered, looks end, within bounds.
        #[test]
        fn every_look_ends(answers in proptest::collection::vec((0..7_u8, any::<u64>()), 0..400), own in 0..4_u32) {
            let mut follower = Follower::default();
            let mut answers = answers.into_iter();
            let own: Vec<u32> = (0..own).collect();
            for secs in 0..4 {
                let before = follower.questions;
                follower.look(secs, &own, |_| match answers.next() {
                    Some((0, number)) => Ok(Answer::Head(number)),
                    Some((1 | 2, number)) => Ok(Answer::Root(Element::from(number % 5))),
                    Some((3, _)) => Ok(Answer::Path(Box::new([Element::ZERO; DEPTH]))),
                    Some((4, _)) => Err(refused()),
                    Some((5, number)) => Ok(Answer::Past(Some(Element::from(number % 5)).filter(|_| number % 7 > 0))),
                    _ => Err(Fault::Reverted(Revert::Silent)),
                });
                prop_assert!(follower.questions - before <= 6 + super::super::between::MAX_QUESTIONS + own.len());
            }
        }
    }
}
