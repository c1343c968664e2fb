//! What a node wants: a bloom filter or a list of topics, and one matcher for both.
//! Spec: 5/WAKU0, "Bloom Filter Field", "Topic Interest Field".
//!
//! Limit: [`MAX_TOPICS`] topics.

use crate::{bloom::Bloom, topic::Topic};

/// Topics that an interest may list. Source: status-go and Nimbus both disconnect a peer that lists more.
pub const MAX_TOPICS: usize = 10_000;

/// Which envelopes a node wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Those whose topic is in the filter.
    Bloom(Bloom),
    /// Those with exactly one of these topics. No topics: none at all.
    Topics(TopicList),
}

impl Interest {
    /// Everything. What a peer wants that says nothing.
    pub const EVERYTHING: Self = Self::Bloom(Bloom::FULL);

    /// Exactly these topics.
    ///
    /// # Errors
    /// [`TooManyTopics`] above [`MAX_TOPICS`].
    pub fn topics(topics: Vec<Topic>) -> Result<Self, TooManyTopics> {
        TopicList::new(topics).map(Self::Topics)
    }

    /// Whether no topic at all is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Bloom(bloom) => *bloom == Bloom::EMPTY,
            Self::Topics(topics) => topics.as_slice().is_empty(),
        }
    }

    /// Whether an envelope of this topic is wanted.
    #[must_use]
    pub fn matches(&self, topic: Topic) -> bool {
        match self {
            Self::Bloom(bloom) => bloom.contains(topic),
            Self::Topics(topics) => topics.contains(topic),
        }
    }
}

impl Default for Interest {
    fn default() -> Self {
        Self::EVERYTHING
    }
}

/// Distinct topics, at most [`MAX_TOPICS`], sorted so that asking is quick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicList(Vec<Topic>);

/// A list that deployed peers would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} topics of interest, more than {MAX_TOPICS}")]
pub struct TooManyTopics(pub usize);

impl TopicList {
    /// Takes topics in any order, repeated or not.
    ///
    /// # Errors
    /// [`TooManyTopics`] above [`MAX_TOPICS`], repeats included.
    pub fn new(mut topics: Vec<Topic>) -> Result<Self, TooManyTopics> {
        if topics.len() > MAX_TOPICS {
            return Err(TooManyTopics(topics.len()));
        }
        topics.sort_unstable();
        topics.dedup();
        Ok(Self(topics))
    }

    /// Whether this topic is listed.
    #[must_use]
    pub fn contains(&self, topic: Topic) -> bool {
        self.0.binary_search(&topic).is_ok()
    }

    /// The topics, in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[Topic] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_list_wants_nothing_and_the_default_everything() {
        let topic = Topic(*b"abcd");
        assert!(!Interest::Topics(TopicList::default()).matches(topic));
        assert!(!Interest::Bloom(Bloom::EMPTY).matches(topic));
        assert!(Interest::default().matches(topic));
    }

    #[test]
    fn a_list_ends_at_ten_thousand() {
        assert_eq!(TopicList::new(vec![Topic([0; 4]); MAX_TOPICS]).unwrap().as_slice().len(), 1);
        assert_eq!(Interest::topics(vec![Topic([0; 4]); MAX_TOPICS + 1]), Err(TooManyTopics(MAX_TOPICS + 1)));
    }

    proptest! {
        #[test]
        fn a_list_has_what_it_was_made_of(topics: Vec<[u8; 4]>, other: [u8; 4]) {
            let interest = Interest::topics(topics.iter().copied().map(Topic).collect()).unwrap();
            prop_assert!(topics.iter().all(|topic| interest.matches(Topic(*topic))));
            prop_assert_eq!(interest.matches(Topic(other)), topics.contains(&other));
        }
    }
}
