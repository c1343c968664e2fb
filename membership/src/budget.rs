//! What is left of an epoch's messages: for metrics, and for whoever decides what is worth one.

use std::{collections::BTreeMap, sync::Arc};

use waku2::rln::epoch::Epoch;

use crate::contract::Commitment;

/// The ids of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Which epoch.
    pub epoch: Epoch,
    /// How many an epoch has.
    pub all: u64,
    /// How many are left of each membership, in the order of the pool.
    pub memberships: Vec<(Commitment, u64)>,
    /// How many are kept for each class that it has not taken yet. Of what is left, if that is less.
    pub kept: BTreeMap<Arc<str>, u64>,
}

impl Budget {
    /// How many are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.memberships.iter().map(|(_, left)| left).sum()
    }

    /// How many this class may take, or whoever has no class: what is left but for what others have kept.
    #[must_use]
    pub fn left_for(&self, class: Option<&str>) -> u64 {
        let others = self.kept.iter().filter(|(kept, _)| Some(&***kept) != class);
        self.left().saturating_sub(others.map(|(_, ids)| ids).sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waku2::rln::element::Element;

    use super::*;

    fn budget(left: &[u64], kept: &[(&str, u64)]) -> Budget {
        let member = |(who, left): (usize, &u64)| (Commitment::new(Element::from(who as u64 + 1)).unwrap(), *left);
        let memberships = left.iter().enumerate().map(member).collect();
        let kept = kept.iter().map(|(class, ids)| ((*class).into(), *ids)).collect();
        Budget { epoch: Epoch(1), all: 1_000, memberships, kept }
    }

    #[test]
    fn what_others_have_kept_is_not_there() {
        let budget = budget(&[50, 20], &[("status", 40), ("other", 10)]);
        assert_eq!(budget.left(), 70);
        assert_eq!(budget.left_for(None), 20);
        assert_eq!(budget.left_for(Some("nobody's")), 20);
        assert_eq!(budget.left_for(Some("status")), 60);
        assert_eq!(budget.left_for(Some("other")), 30);
    }

    proptest! {
        #[test]
        fn a_class_never_has_less_than_nobody(left in 0..100_u64, one in 0..100_u64, other in 0..100_u64) {
            let budget = budget(&[left], &[("one", one), ("other", other)]);
            let nobody = budget.left_for(None);
            prop_assert!(nobody <= budget.left_for(Some("one")) && budget.left_for(Some("one")) <= left);
            prop_assert_eq!(budget.left_for(Some("one")), left.saturating_sub(other));
        }
    }
}
