//! Messages that an application has processed, so that the same content in another envelope is not given to it again.
//! Source: status-go `services/ext/dedup`, which keeps them for two days on disk; here they last as long as the node runs.
//!
//! Limit: [`MAX_CONFIRMED`] messages; the oldest makes room.

use std::collections::{HashSet, VecDeque};

use serde::Deserialize;
use sha3::{Digest, Keccak256};
use waku0::{Topic, filter::Message};

use super::values::{Blob, Topics, sec1};

/// Messages remembered: a busy day of one person.
const MAX_CONFIRMED: usize = 16_384;

/// A message as an application gives it back. What else it has does not matter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Processed {
    sig: Blob,
    topic: Topics,
    payload: Blob,
}

/// What was said, by whom, about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Said([u8; 32]);

impl Said {
    fn new(sender: &[u8], topic: Option<Topic>, payload: &[u8]) -> Self {
        let mut hash = Keccak256::new();
        hash.update(sender.len().to_be_bytes());
        hash.update(sender);
        hash.update(topic.map_or([0; 4], |topic| topic.0));
        hash.update(payload);
        Self(hash.finalize().into())
    }
}

impl From<&Processed> for Said {
    fn from(processed: &Processed) -> Self {
        Self::new(&processed.sig.0, processed.topic.0.first().copied(), &processed.payload.0)
    }
}

impl From<&Message> for Said {
    fn from(message: &Message) -> Self {
        let sender = message.signer().map(|key| sec1(&key)).unwrap_or_default();
        Self::new(&sender, Some(message.topic), &message.payload)
    }
}

/// What was processed.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    known: HashSet<Said>,
    order: VecDeque<Said>,
}

impl Confirmed {
    /// Remembers one.
    pub(super) fn add(&mut self, content: Said) {
        if !self.known.insert(content) {
            return;
        }
        self.order.push_back(content);
        if self.order.len() > MAX_CONFIRMED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Was it processed?
    pub(super) fn contains(&self, content: &Said) -> bool {
        self.known.contains(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_who_said_what_about_what() {
        let of = |sender: &[u8], topic: u8, payload: &[u8]| Said::new(sender, Some(Topic([topic; 4])), payload);
        let said = [of(b"a", 1, b"b"), of(b"", 1, b"b"), of(b"a", 2, b"b"), of(b"a", 1, b"c"), of(b"ab", 1, b"")];
        assert_eq!(said.iter().collect::<HashSet<_>>().len(), said.len());
        let given = serde_json::json!({ "sig": "0x61", "topic": "0x01010101", "payload": "Yg==", "ttl": 5 });
        let given: Processed = serde_json::from_value(given).unwrap();
        assert_eq!(Said::from(&given), said[0]);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut confirmed = Confirmed::default();
        let content = |n: usize| Said::new(&n.to_be_bytes(), None, b"");
        (0..=MAX_CONFIRMED).for_each(|n| confirmed.add(content(n)));
        confirmed.add(content(MAX_CONFIRMED));
        assert!(!confirmed.contains(&content(0)) && confirmed.contains(&content(1)));
        assert_eq!((confirmed.known.len(), confirmed.order.len()), (MAX_CONFIRMED, MAX_CONFIRMED));
    }
}
