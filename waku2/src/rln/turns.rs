//! A bounded queue in which peers take turns, however much each of them brings. Pure.
//!
//! Full, the newest of whoever has the most waiting goes: who has less than an equal part of the room never loses anything.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// The queue.
#[derive(Debug)]
pub struct Turns<K, T> {
    capacity: usize,
    len: usize,
    waiting: HashMap<K, VecDeque<T>>,
    /// Those who have something waiting, each once; the first is next.
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, T> Turns<K, T> {
    /// An empty one for so many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, len: 0, waiting: HashMap::new(), order: VecDeque::new() }
    }

    /// One of `peer`. Gives what finds no room: this one, or another.
    pub fn push(&mut self, peer: K, item: T) -> Option<T> {
        let queue = self.waiting.entry(peer).or_default();
        if queue.is_empty() {
            self.order.push_back(peer);
        }
        queue.push_back(item);
        self.len += 1;
        if self.len > self.capacity { self.drop_newest_of_the_longest(peer) } else { None }
    }

    /// The next ones, `most` of them at most: one of each peer in turn.
    pub fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::with_capacity(most.min(self.len));
        while taken.len() < most
            && let Some(peer) = self.order.pop_front()
        {
            let Some(queue) = self.waiting.get_mut(&peer) else { continue };
            taken.extend(queue.pop_front());
            if queue.is_empty() {
                self.waiting.remove(&peer);
            } else {
                self.order.push_back(peer);
            }
        }
        self.len -= taken.len();
        taken
    }

    /// The next one of each peer, in no order.
    pub fn firsts(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().filter_map(VecDeque::front)
    }

    /// Takes the first ones of each peer for as long as they are so.
    pub fn take_while(&mut self, is_so: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in self.waiting.values_mut() {
            taken.extend(std::iter::from_fn(|| queue.pop_front_if(|item| is_so(item))));
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        self.order.retain(|peer| self.waiting.contains_key(peer));
        self.len -= taken.len();
        taken
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Of several who have the most, that is whoever came now, so that there is no gain in coming last.
    fn drop_newest_of_the_longest(&mut self, now: K) -> Option<T> {
        let (longest, _) = self.waiting.iter().max_by_key(|(peer, queue)| (queue.len(), **peer == now))?;
        let longest = *longest;
        let queue = self.waiting.get_mut(&longest)?;
        let dropped = queue.pop_back()?;
        if queue.is_empty() {
            self.waiting.remove(&longest);
            self.order.retain(|peer| *peer != longest);
        }
        self.len -= 1;
        Some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_so_goes_and_turns_stay() {
        let mut turns = Turns::new(100);
        for (peer, item) in [('a', 1), ('b', 2), ('a', 3), ('c', 4), ('a', 2)] {
            assert_eq!(turns.push(peer, item), None);
        }
        let mut firsts: Vec<_> = turns.firsts().copied().collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [1, 2, 4]);
        let mut taken = turns.take_while(|item| *item <= 2);
        taken.sort_unstable();
        assert_eq!((taken, turns.len()), (vec![1, 2], 3));
        assert_eq!(turns.take(9), [3, 4, 2]);
    }

    #[test]
    fn each_has_its_turn() {
        let mut turns = Turns::new(100);
        for item in 0..10 {
            assert_eq!(turns.push('a', ('a', item)), None);
        }
        assert_eq!(turns.push('b', ('b', 0)), None);
        assert_eq!(turns.push('c', ('c', 0)), None);
        assert_eq!(turns.take(4), [('a', 0), ('b', 0), ('c', 0), ('a', 1)]);
        assert_eq!(turns.push('b', ('b', 1)), None);
        assert_eq!(turns.take(3), [('a', 2), ('b', 1), ('a', 3)]);
        assert_eq!((turns.len(), turns.take(100).len(), turns.is_empty()), (6, 6, true));
        assert!(turns.take(1).is_empty() && turns.waiting.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn full_the_newest_of_the_longest_goes() {
        let mut turns = Turns::new(4);
        for item in 0..4 {
            turns.push('a', ('a', item));
        }
        assert_eq!(turns.push('a', ('a', 4)), Some(('a', 4)));
        assert_eq!(turns.push('b', ('b', 0)), Some(('a', 3)));
        assert_eq!(turns.push('b', ('b', 1)), Some(('a', 2)));
        assert_eq!(turns.push('b', ('b', 2)), Some(('b', 2)), "no more than the others");
        assert_eq!(turns.take(9), [('a', 0), ('b', 0), ('a', 1), ('b', 1)]);
        assert_eq!(Turns::new(0).push('a', 1), Some(1));
    }

    proptest! {
        /// Whatever is pushed and taken: the bound holds, each comes out once and in its peer's order, nobody waits longer than a
        /// turn of everybody else, and who stays under an equal part loses nothing.
        #[test]
        fn fair(steps in prop::collection::vec((0_u8..5, 0_usize..4), 1..300)) {
            const CAPACITY: usize = 20;
            let mut turns = Turns::new(CAPACITY);
            let (mut pushed, mut taken) = (0_u32, Vec::new());
            let mut waiting: HashMap<u8, VecDeque<u32>> = HashMap::new();
            for (peer, take) in steps {
                pushed += 1;
                waiting.entry(peer).or_default().push_back(pushed);
                if let Some((of, item)) = turns.push(peer, (peer, pushed)) {
                    prop_assert!(waiting[&of].len() > CAPACITY / 5, "{} lost one of {}", of, waiting[&of].len());
                    prop_assert!(waiting.values().all(|queue| queue.len() <= waiting[&of].len()));
                    prop_assert_eq!(waiting.get_mut(&of).and_then(VecDeque::pop_back), Some(item));
                }
                let before: Vec<u8> = waiting.iter().filter(|(_, queue)| !queue.is_empty()).map(|(peer, _)| *peer).collect();
                let batch = turns.take(take);
                let served: std::collections::HashSet<u8> = batch.iter().map(|(peer, _)| *peer).collect();
                prop_assert_eq!(served.len(), take.min(before.len()), "nobody twice before everybody once");
                for (of, item) in batch {
                    prop_assert_eq!(waiting.get_mut(&of).and_then(VecDeque::pop_front), Some(item));
                    taken.push(item);
                }
                prop_assert!(turns.len() <= CAPACITY);
                prop_assert_eq!(turns.len(), waiting.values().map(VecDeque::len).sum::<usize>());
            }
            let once: std::collections::HashSet<_> = taken.iter().collect();
            prop_assert_eq!(once.len(), taken.len());
        }
    }
}
