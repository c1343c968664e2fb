//! One budget of memory for all packets in flight: core.
//!
//! Charged are the bytes of a long packet as they arrive, its decompressed length before that is allocated, and the body
//! until whoever takes it has dropped it. While the budget is spent, connections stop reading, and TCP slows their peers.
//! Three rules keep that from doing harm:
//!
//! - Packets up to [`SMALL_PACKET_BYTES`] have a share of their own, which long ones cannot use up. Handshakes, Hello and
//!   the base protocol are bounded per connection and not charged at all.
//! - Who began first is served first, so that a long packet is not starved by those behind it.
//! - When everything is spent on packets that are not whole yet, nobody could go on; the one longest under way among those
//!   that wait then goes on regardless. There is never more than one such packet, and none while bodies that are whole wait
//!   to be taken. So the most that is ever charged is the budget and one packet, twice: as it came and decompressed.

use std::collections::{BTreeMap, VecDeque};

/// The budget unless set otherwise, in bytes: four packets of the greatest length.
pub const DEFAULT_READ_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// Longest packet that is charged to the share of small ones, in bytes, as it came and decompressed.
pub const SMALL_PACKET_BYTES: usize = 64 * 1024;

/// The share of small packets: one part in so many.
const SMALL_PART: usize = 8;

/// Names a packet under way; lower ones are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a packet is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// Packets up to [`SMALL_PACKET_BYTES`].
    Small,
    /// All others.
    Large,
}

/// Bytes that a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// How many.
    pub bytes: usize,
    /// What they are charged to.
    pub share: Share,
}

/// How much is charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Bytes now.
    pub bytes: usize,
    /// Most bytes at any time so far.
    pub peak_bytes: usize,
}

/// The budget.
#[derive(Debug)]
pub struct Budget {
    small: Pool,
    large: Pool,
    /// The packet that goes on regardless.
    privileged: Option<Ticket>,
    next: u64,
    granted: VecDeque<Ticket>,
    peak: usize,
}

#[derive(Debug)]
struct Pool {
    limit: usize,
    /// Charged to packets under way, by packet.
    under_way: BTreeMap<Ticket, usize>,
    under_way_bytes: usize,
    /// Charged to bodies that are whole and not yet dropped.
    delivered_bytes: usize,
    waiting: BTreeMap<Ticket, usize>,
}

impl Budget {
    /// A budget of `bytes`, of which nothing is spent.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let small = (bytes / SMALL_PART).max(SMALL_PACKET_BYTES);
        Self {
            small: Pool::new(small),
            large: Pool::new(bytes.saturating_sub(small)),
            privileged: None,
            next: 0,
            granted: VecDeque::new(),
            peak: 0,
        }
    }

    /// A packet begins.
    pub fn begin(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// Charges bytes to a packet, or puts it among those that wait; true when it is charged at once. Whoever waits is named
    /// by [`Budget::next_granted`] later, and asks for nothing else before.
    pub fn ask(&mut self, ticket: Ticket, want: Want) -> bool {
        self.pool(want.share).waiting.insert(ticket, want.bytes);
        self.settle();
        match self.granted.iter().position(|granted| *granted == ticket) {
            Some(at) => self.granted.remove(at).is_some(),
            None => false,
        }
    }

    /// A packet whose wait is over: what it asked for is charged.
    pub fn next_granted(&mut self) -> Option<Ticket> {
        self.granted.pop_front()
    }

    /// A packet is whole: all that was charged to it is given back but for its body of `bytes`.
    pub fn deliver(&mut self, ticket: Ticket, share: Share, bytes: usize) {
        let pool = self.pool(share);
        pool.release(ticket);
        pool.delivered_bytes += bytes;
        self.ended(ticket);
    }

    /// A body of `bytes` was dropped by whoever took it.
    pub fn consumed(&mut self, share: Share, bytes: usize) {
        let pool = self.pool(share);
        pool.delivered_bytes = pool.delivered_bytes.saturating_sub(bytes);
        self.settle();
    }

    /// A packet comes to nothing: its connection is over.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.small.release(ticket);
        self.large.release(ticket);
        self.granted.retain(|granted| *granted != ticket);
        self.ended(ticket);
    }

    /// How much is charged.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent { bytes: self.small.spent() + self.large.spent(), peak_bytes: self.peak }
    }

    /// Packets that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.small.waiting.len() + self.large.waiting.len()
    }

    fn pool(&mut self, share: Share) -> &mut Pool {
        match share {
            Share::Small => &mut self.small,
            Share::Large => &mut self.large,
        }
    }

    fn ended(&mut self, ticket: Ticket) {
        if self.privileged == Some(ticket) {
            self.privileged = None;
        }
        self.settle();
    }

    /// Charges what there is room for, the oldest packet first.
    fn settle(&mut self) {
        while let Some(ticket) = self.small.oldest_that_fits() {
            self.small.grant(ticket);
            self.granted.push_back(ticket);
        }
        while let Some(ticket) = self.next_large() {
            self.large.grant(ticket);
            self.granted.push_back(ticket);
        }
        self.peak = self.peak.max(self.spent().bytes);
    }

    fn next_large(&mut self) -> Option<Ticket> {
        if let Some(ticket) = self.privileged.filter(|ticket| self.large.waiting.contains_key(ticket)) {
            return Some(ticket);
        }
        if let Some(ticket) = self.large.oldest_that_fits() {
            return Some(ticket);
        }
        if self.privileged.is_some() || self.large.delivered_bytes > 0 {
            return None;
        }
        self.privileged = self.large.waiting.first_key_value().map(|(ticket, _)| *ticket);
        self.privileged
    }
}

impl Pool {
    fn new(limit: usize) -> Self {
        Self { limit, under_way: BTreeMap::new(), under_way_bytes: 0, delivered_bytes: 0, waiting: BTreeMap::new() }
    }

    fn spent(&self) -> usize {
        self.under_way_bytes + self.delivered_bytes
    }

    fn oldest_that_fits(&self) -> Option<Ticket> {
        let (ticket, bytes) = self.waiting.first_key_value()?;
        (self.spent() + bytes <= self.limit).then_some(*ticket)
    }

    fn grant(&mut self, ticket: Ticket) {
        let bytes = self.waiting.remove(&ticket).unwrap_or_default();
        *self.under_way.entry(ticket).or_default() += bytes;
        self.under_way_bytes += bytes;
    }

    fn release(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        self.under_way_bytes -= self.under_way.remove(&ticket).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn large(bytes: usize) -> Want {
        Want { bytes, share: Share::Large }
    }

    fn small(bytes: usize) -> Want {
        Want { bytes, share: Share::Small }
    }

    #[test]
    fn bytes_are_charged_until_the_body_is_dropped() {
        let mut budget = Budget::new(64 * MIB);
        let ticket = budget.begin();
        assert!(budget.ask(ticket, large(MIB)));
        assert!(budget.ask(ticket, large(3 * MIB)));
        assert_eq!(budget.spent().bytes, 4 * MIB);
        budget.deliver(ticket, Share::Large, 3 * MIB);
        assert_eq!(budget.spent().bytes, 3 * MIB);
        budget.consumed(Share::Large, 3 * MIB);
        assert_eq!(budget.spent(), Spent { bytes: 0, peak_bytes: 4 * MIB });
    }

    #[test]
    fn long_packets_wait_in_order_of_age_and_small_ones_pass() {
        let mut budget = Budget::new(64 * MIB);
        let whole = budget.begin();
        assert!(budget.ask(whole, large(50 * MIB)));
        budget.deliver(whole, Share::Large, 50 * MIB);
        let (older, younger) = (budget.begin(), budget.begin());
        assert!(!budget.ask(younger, large(7 * MIB)));
        assert!(!budget.ask(older, large(7 * MIB)));
        assert_eq!(budget.next_granted(), None, "bodies that are whole will be taken: nobody is let past");
        let tiny = budget.begin();
        assert!(budget.ask(tiny, small(SMALL_PACKET_BYTES)));
        budget.consumed(Share::Large, 2 * MIB);
        assert_eq!((budget.next_granted(), budget.next_granted()), (Some(older), None));
        budget.consumed(Share::Large, 48 * MIB);
        assert_eq!(budget.next_granted(), Some(younger));
    }

    #[test]
    fn packets_that_block_each_other_are_resolved_one_by_one() {
        let mut budget = Budget::new(64 * MIB);
        let tickets: Vec<_> = (0..20).map(|_| budget.begin()).collect();
        let mut stuck = Vec::new();
        // Everybody has 2.5 MiB; then all ask for 12 MiB more.
        for ticket in &tickets {
            assert!(budget.ask(*ticket, large(5 * MIB / 2)));
        }
        for ticket in tickets.iter().rev() {
            if !budget.ask(*ticket, large(12 * MIB)) {
                stuck.push(*ticket);
            }
        }
        // The youngest asked first and alone, so it was the oldest of those that waited.
        assert_eq!(stuck.len(), 19);
        assert!(budget.ask(tickets[19], large(15 * MIB)), "it goes on to its end");
        budget.deliver(tickets[19], Share::Large, 15 * MIB);
        assert_eq!(budget.next_granted(), None, "not before the body is dropped");
        budget.consumed(Share::Large, 15 * MIB);
        for ticket in &tickets[..19] {
            assert_eq!(budget.next_granted(), Some(*ticket), "oldest first");
            budget.abandon(*ticket);
        }
        assert_eq!((budget.spent().bytes, budget.waiting()), (0, 0));
        assert!(budget.spent().peak_bytes <= 64 * MIB + 32 * MIB, "{:?}", budget.spent());
    }

    #[test]
    fn a_packet_longer_than_the_budget_goes_alone() {
        let mut budget = Budget::new(MIB);
        let (first, second) = (budget.begin(), budget.begin());
        assert!(budget.ask(first, large(16 * MIB)));
        assert!(!budget.ask(second, large(1)));
        budget.abandon(first);
        assert_eq!(budget.next_granted(), Some(second));
    }

    #[test]
    fn the_share_of_small_packets_is_bounded_too() {
        let mut budget = Budget::new(8 * MIB);
        let granted = (0..100).filter(|_| {
            let ticket = budget.begin();
            budget.ask(ticket, small(SMALL_PACKET_BYTES))
        });
        assert_eq!(granted.count(), 16);
        assert_eq!(budget.waiting(), 84);
    }

    proptest! {
        /// Many packets of a few pieces each, in any order, with a consumer that takes bodies at any time: all get through,
        /// within the bound, and nothing is left charged.
        #[test]
        fn everybody_gets_through_within_the_bound(sizes in prop::collection::vec(1_usize..100, 1..30), order: Vec<u8>) {
            let mut budget = Budget::new(8 * MIB);
            const UNIT: usize = 100 * 1024;
            let mut left: BTreeMap<Ticket, (usize, usize)> =
                sizes.iter().map(|size| (budget.begin(), (*size, *size))).collect();
            let mut ready: Vec<Ticket> = left.keys().copied().collect();
            let mut bodies = Vec::new();
            let mut dice = order.into_iter().cycle();
            while !left.is_empty() || !bodies.is_empty() {
                let dice = usize::from(dice.next().unwrap_or(1));
                if (ready.is_empty() || dice % 4 == 0) && let Some(bytes) = bodies.pop() {
                    budget.consumed(Share::Large, bytes);
                } else if !ready.is_empty() {
                    let ticket = ready.swap_remove(dice % ready.len());
                    let (size, rest) = left[&ticket];
                    if rest == 0 {
                        budget.deliver(ticket, Share::Large, size * UNIT);
                        bodies.push(size * UNIT);
                        left.remove(&ticket);
                    } else {
                        left.insert(ticket, (size, rest - 1));
                        if budget.ask(ticket, large(UNIT)) {
                            ready.push(ticket);
                        }
                    }
                } else {
                    prop_assert!(budget.waiting() == 0 || budget.next_granted().is_some(), "nobody goes on");
                }
                while let Some(ticket) = budget.next_granted() {
                    ready.push(ticket);
                }
                prop_assert!(budget.spent().peak_bytes <= 8 * MIB + 100 * UNIT);
            }
            prop_assert_eq!((budget.spent().bytes, budget.waiting()), (0, 0));
        }
    }
}
