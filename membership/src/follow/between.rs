//! The roots of blocks between two of which it is known: core.
//!
//! Halves what is between two blocks whose roots differ, the newer half first, so that few questions find the few blocks with news
//! in them. Two blocks with the same root are taken to have nothing between them: a tree of members seldom goes back.
//! Limits: [`MAX_QUESTIONS`]; what is older than the answers to these is left out.

use std::collections::BTreeMap;

use waku2::rln::element::Element;

/// Questions for the roots between two blocks.
pub(crate) const MAX_QUESTIONS: usize = 32;

/// What a block before the contract's own has for a root. No tree of its depth has this one.
pub(crate) const NO_ROOT: Element = Element::ZERO;

/// A search.
#[derive(Debug)]
pub(crate) struct Between {
    /// Stretches with news in them, the newest last.
    open: Vec<Stretch>,
    found: BTreeMap<u64, Element>,
    left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: (u64, Element),
    to: (u64, Element),
}

impl Stretch {
    fn middle(&self) -> Option<u64> {
        let middle = self.from.0.midpoint(self.to.0);
        (self.from.1 != self.to.1 && middle > self.from.0 && middle < self.to.0).then_some(middle)
    }
}

impl Between {
    /// Between a block and a later one.
    pub(crate) fn new(from: (u64, Element), to: (u64, Element)) -> Self {
        Self { open: vec![Stretch { from, to }], found: BTreeMap::from([from, to]), left: MAX_QUESTIONS }
    }

    /// The block whose root to ask for; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<u64> {
        while let Some(stretch) = self.open.last() {
            match stretch.middle() {
                Some(block) if self.left > 0 => return Some(block),
                _ => self.open.pop(),
            };
        }
        None
    }

    /// The root of the block that was asked for; [`NO_ROOT`] if there was none.
    pub(crate) fn tell(&mut self, root: Element) {
        let Some((stretch, block)) = self.open.pop().and_then(|stretch| Some((stretch, stretch.middle()?))) else {
            return;
        };
        let middle = (block, root);
        self.found.insert(block, root);
        self.left = self.left.saturating_sub(1);
        self.open.extend([Stretch { to: middle, ..stretch }, Stretch { from: middle, ..stretch }]);
    }

    /// All roots, the oldest first, each change once.
    pub(crate) fn found(&self) -> Vec<Element> {
        let mut roots: Vec<Element> = self.found.values().copied().filter(|root| *root != NO_ROOT).collect();
        roots.dedup();
        roots
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a search over a chain whose blocks have these roots; the roots found, and how many questions it took.
    fn search(chain: &[u64]) -> (Vec<Element>, usize) {
        let at = |block: usize| (block as u64, Element::from(chain[block]));
        let mut between = Between::new(at(0), at(chain.len() - 1));
        let mut questions = 0;
        while let Some(block) = between.next() {
            between.tell(Element::from(chain[block as usize]));
            questions += 1;
        }
        (between.found(), questions)
    }

    fn changes(chain: &[u64]) -> Vec<Element> {
        let mut roots: Vec<u64> = chain.iter().copied().filter(|root| *root != 0).collect();
        roots.dedup();
        roots.into_iter().map(Element::from).collect()
    }

    #[test]
    fn neighbours_and_the_same_root_take_no_question() {
        assert_eq!(search(&[1, 2]), (changes(&[1, 2]), 0));
        assert_eq!(search(&[1, 1, 1, 1]), (changes(&[1]), 0));
    }

    #[test]
    fn one_change_in_a_hundred_blocks_takes_few_questions() {
        let mut chain = [1; 100];
        chain[60..].fill(2);
        let (found, questions) = search(&chain);
        assert_eq!(found, changes(&chain));
        assert!(questions <= 7, "{questions}");
    }

    #[test]
    fn of_too_many_the_newest_are_found() {
        let chain: Vec<u64> = (1..121).collect();
        let (found, questions) = search(&chain);
        assert_eq!(questions, MAX_QUESTIONS);
        let newest: Vec<Element> = (99..121).map(Element::from).collect();
        assert!(found.ends_with(&newest), "{found:?}");
    }

    proptest! {
        #[test]
        fn a_burst_loses_none(steps in proptest::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1..5_u64], 1..30)) {
            let mut root = 0;
            let chain: Vec<u64> = steps.into_iter().map(|step| { root += step; root }).collect();
            prop_assume!(chain.len() > 1);
            prop_assert_eq!(search(&chain).0, changes(&chain));
        }

        #[test]
        fn any_chain_ends_in_bounds(chain in proptest::collection::vec(0..4_u64, 2..300)) {
            let (found, questions) = search(&chain);
            prop_assert!(questions <= MAX_QUESTIONS && found.len() <= MAX_QUESTIONS + 2);
            let last = chain.last().map(|root| Element::from(*root)).filter(|root| *root != NO_ROOT);
            prop_assert!(last.is_none() || found.last().copied() == last);
            prop_assert!(!found.contains(&NO_ROOT));
        }
    }
}
