//! On which pubsub topics something is wanted: on some, or on all but some. Pure.

use crate::topic::PubsubTopic;

/// A set of pubsub topics that is finite, or whose complement is. In no order; each topic once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// These.
    On(Vec<PubsubTopic>),
    /// All but these.
    AllBut(Vec<PubsubTopic>),
}

impl Default for Scope {
    /// None.
    fn default() -> Self {
        Self::On(Vec::new())
    }
}

impl Scope {
    /// Is it wanted on this one?
    pub(crate) fn contains(&self, topic: &PubsubTopic) -> bool {
        match self {
            Self::On(topics) => topics.contains(topic),
            Self::AllBut(topics) => !topics.contains(topic),
        }
    }

    /// On none?
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::On(topics) if topics.is_empty())
    }

    /// With `topic`, or with all when none is named.
    pub(crate) fn with(mut self, topic: Option<&PubsubTopic>) -> Self {
        let Some(topic) = topic else { return Self::AllBut(Vec::new()) };
        match &mut self {
            Self::On(topics) => put(topics, topic),
            Self::AllBut(topics) => topics.retain(|other| other != topic),
        }
        self
    }

    /// Without `topic`, or without any when none is named.
    pub(crate) fn without(mut self, topic: Option<&PubsubTopic>) -> Self {
        let Some(topic) = topic else { return Self::default() };
        match &mut self {
            Self::On(topics) => topics.retain(|other| other != topic),
            Self::AllBut(topics) => put(topics, topic),
        }
        self
    }

    /// The topics that it names.
    pub(crate) fn named(&self) -> &[PubsubTopic] {
        match self {
            Self::On(topics) | Self::AllBut(topics) => topics,
        }
    }

    /// For how many criteria it counts: one for each topic it names, and one for all others.
    pub(crate) fn criteria(&self) -> usize {
        self.named().len() + usize::from(matches!(self, Self::AllBut(_)))
    }
}

fn put(topics: &mut Vec<PubsubTopic>, topic: &PubsubTopic) {
    if !topics.contains(topic) {
        topics.reserve_exact(1);
        topics.push(topic.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics() -> Vec<PubsubTopic> {
        ["/a", "/b", "/c"].map(|topic| topic.parse().unwrap()).into()
    }

    proptest! {
        /// Whatever is added and taken away: as a plain list of topics, one of which nobody names.
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), proptest::option::of(0..2_usize)), 0..12)) {
            let topics = topics();
            let (mut scope, mut model) = (Scope::default(), [false; 3]);
            for (add, which) in steps {
                let topic = which.map(|n| &topics[n]);
                scope = if add { scope.with(topic) } else { scope.without(topic) };
                (0..3).filter(|n| which.is_none_or(|which| which == *n)).for_each(|n| model[n] = add);
                let held: Vec<bool> = topics.iter().map(|topic| scope.contains(topic)).collect();
                prop_assert_eq!(&held, &model);
                prop_assert_eq!(scope.is_empty(), model == [false; 3]);
                prop_assert_eq!(scope.is_empty(), scope.criteria() == 0);
            }
        }
    }
}
