//! Messages whose root is not known yet: their members may be a block ahead of us. Pure.
//!
//! Limits: [`HELD`] messages, [`HOLD`] each. Full, the newest of the peer that has the most held goes.

use std::{
    hash::Hash,
    time::{Duration, Instant},
};

use super::{element::Element, roots::Roots};

/// Most messages held.
pub const HELD: usize = 256;

/// How long one is held, in which several blocks are made. Gossip keeps a message for five seconds at least: one that is accepted later
/// might not be passed on.
pub const HOLD: Duration = Duration::from_secs(5);

/// One that is held.
#[derive(Debug)]
struct Held<K, T> {
    peer: K,
    root: Element,
    until: Instant,
    item: T,
}

/// Those that are held, oldest first.
#[derive(Debug)]
pub struct Hold<K, T> {
    held: Vec<Held<K, T>>,
}

impl<K, T> Default for Hold<K, T> {
    fn default() -> Self {
        Self { held: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash, T> Hold<K, T> {
    /// One that `peer` brought, of a `root` that is not known. Gives what finds no room: this one, or another.
    pub fn push(&mut self, now: Instant, peer: K, root: Element, item: T) -> Option<T> {
        self.held.push(Held { peer, root, until: now + HOLD, item });
        if self.held.len() <= HELD {
            return None;
        }
        let count = |peer: K| self.held.iter().filter(|held| held.peer == peer).count();
        // Of several who have the most, whoever came last; and of its messages the newest.
        let (place, _) = self.held.iter().enumerate().max_by_key(|(place, held)| (count(held.peer), *place))?;
        Some(self.held.remove(place).item)
    }

    /// Those whose root is known now, oldest first.
    pub fn known(&mut self, roots: &Roots) -> Vec<T> {
        self.held.extract_if(.., |held| roots.contains(&held.root)).map(|held| held.item).collect()
    }

    /// Those that were held long enough.
    pub fn expired(&mut self, now: Instant) -> Vec<T> {
        self.held.extract_if(.., |held| held.until <= now).map(|held| held.item).collect()
    }

    /// When the next one was held long enough.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.held.first().map(|held| held.until)
    }

    /// How many are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held.len()
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock;

    use super::*;

    fn root(number: u64) -> Element {
        Element::from(number)
    }

    #[test]
    fn who_is_held_goes_on_when_its_root_is_known() {
        let (mut hold, now) = (Hold::default(), clock::now().instant);
        for (item, number) in [(1, 7), (2, 8), (3, 7)] {
            assert_eq!(hold.push(now, 'a', root(number), item), None);
        }
        let mut roots = Roots::default();
        assert!(hold.known(&roots).is_empty());
        roots.now(root(7));
        assert_eq!((hold.known(&roots), hold.len()), (vec![1, 3], 1));
        assert!(hold.known(&roots).is_empty(), "each once");
    }

    #[test]
    fn five_seconds_and_no_longer() {
        let (mut hold, now) = (Hold::default(), clock::now().instant);
        let second = Duration::from_secs(1);
        hold.push(now, 'a', root(1), 1);
        hold.push(now + second, 'a', root(1), 2);
        assert_eq!(hold.next(), Some(now + HOLD));
        assert!(hold.expired(now + HOLD - Duration::from_nanos(1)).is_empty());
        assert_eq!(hold.expired(now + HOLD), [1]);
        assert_eq!((hold.expired(now + 2 * HOLD), hold.is_empty()), (vec![2], true));
        assert_eq!(hold.next(), None);
    }

    #[test]
    fn h80_garbage_of_one_peer_takes_no_place_from_others() {
        let (mut hold, now) = (Hold::default(), clock::now().instant);
        for item in 0..HELD {
            assert_eq!(hold.push(now, 'a', root(9), ('a', item)), None);
        }
        assert_eq!(hold.push(now, 'a', root(9), ('a', HELD)), Some(('a', HELD)));
        for item in 0..HELD / 2 {
            let gone = hold.push(now, 'b', root(1), ('b', item));
            assert_eq!(gone, Some(('a', HELD - 1 - item)));
        }
        assert_eq!(hold.push(now, 'b', root(1), ('b', HELD)), Some(('b', HELD)), "no more than the other");
        assert_eq!(hold.len(), HELD);
        let mut roots = Roots::default();
        roots.now(root(1));
        assert_eq!(hold.known(&roots).len(), HELD / 2);
    }
}
