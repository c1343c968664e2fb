//! What a node has counted since it started; read by the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use devp2p::DisconnectReason;

use crate::{admit::Refusal, confirm::Outcome, limits::Meter};

/// Counters of one node: sums, but for the gauges, which say so. Updated by the node alone, read by anyone.
#[derive(Debug, Default)]
pub struct Counters {
    /// Envelopes read from Messages packets, whatever became of them.
    pub received: AtomicU64,
    /// New envelopes taken from peers.
    pub validated: AtomicU64,
    /// Of these, how many were how large.
    pub sizes: Sizes,
    /// Envelopes that were here before.
    pub duplicates: AtomicU64,
    /// Copies of envelopes handed to connections.
    pub forwarded: AtomicU64,
    /// Own envelopes taken.
    pub posted: AtomicU64,
    /// Envelopes that left the pool because they expired.
    pub expired: AtomicU64,
    /// Envelopes kept but sent to nobody, because they fit no packet that deployed peers read.
    pub unsendable: AtomicU64,
    /// Copies of envelopes that waited because the peer had announced a rate.
    pub throttled: AtomicU64,
    /// Status Updates handed to connections.
    pub updates_sent: AtomicU64,
    /// Packets of envelopes that were acknowledged to their senders.
    pub batches_confirmed: AtomicU64,
    /// Packets of envelopes that were not, because the sender wants few packets.
    pub confirmations_shed: AtomicU64,
    /// Acknowledgements of nothing that we have sent, and those that could not be read.
    pub answers_ignored: AtomicU64,
    /// Own envelopes that a peer has acknowledged.
    pub posts_acknowledged: AtomicU64,
    /// Own envelopes that were refused.
    pub posts_refused: AtomicU64,
    /// Own envelopes that nobody answered for.
    pub posts_unanswered: AtomicU64,
    /// Packets between peers (124, 125, 127) taken from trusted peers.
    pub p2p_received: AtomicU64,
    /// Packets between peers (123, 124, 125, 127) ignored because their sender is not trusted.
    pub p2p_untrusted: AtomicU64,
    /// Requests for history ignored, because there is none here.
    pub requests_ignored: AtomicU64,
    /// Requests for history that were handed to the server.
    pub requests_taken: AtomicU64,
    /// Of these, requests that the server was too busy for; the peer was told.
    pub requests_shed: AtomicU64,
    /// New envelopes that were not archived because the archive was too busy.
    pub archive_shed: AtomicU64,
    /// Packets of codes that are unknown or not spoken.
    pub ignored_packets: AtomicU64,
    /// Peers left because they read too slowly.
    pub too_slow: AtomicU64,
    /// Peers left because they sent too much.
    pub over_rate: AtomicU64,
    /// Packets that were held against the limits of their peers and addresses.
    pub metered: AtomicU64,
    /// What was more than peers may send, by meter.
    pub excess: Excesses,
    /// Peers left for any fault, slowness included.
    pub faults: AtomicU64,
    /// Peers that are gone, by why.
    pub disconnects: Disconnects,
    /// Peers left so that a better one has room; of [`Self::disconnects`].
    pub rotated: AtomicU64,
    /// Events lost because nobody took them.
    pub events_shed: AtomicU64,
    /// Epochs of accounts lost because nobody took them.
    pub epochs_shed: AtomicU64,
    /// Gauge: peers whose Status was exchanged.
    pub peers: AtomicU64,
    /// Gauge: envelopes in the pool.
    pub pooled: AtomicU64,
    /// Gauge: bytes in the pool.
    pub pooled_bytes: AtomicU64,
    /// Envelopes not taken, by reason.
    pub rejected: Rejected,
}

/// Ends of connections by reason, whoever ended them, in the order of [`DisconnectReason::ALL`].
#[derive(Debug, Default)]
pub struct Disconnects([AtomicU64; DisconnectReason::ALL.len()]);

impl Disconnects {
    pub(crate) fn count(&self, reason: DisconnectReason) {
        let place = DisconnectReason::ALL.iter().position(|known| known.label() == reason.label());
        place.and_then(|place| self.0.get(place)).into_iter().for_each(count);
    }

    /// Every reason by its name, with its sum.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DisconnectReason::ALL.iter().zip(&self.0).map(|(reason, sum)| (reason.label(), sum.load(Relaxed)))
    }
}

/// Envelopes not taken, by reason.
#[derive(Debug, Default)]
pub struct Rejected {
    /// No envelope at all.
    pub malformed: AtomicU64,
    /// [`Refusal::Future`].
    pub future: AtomicU64,
    /// [`Refusal::VeryOld`].
    pub very_old: AtomicU64,
    /// [`Refusal::Expired`].
    pub expired: AtomicU64,
    /// [`Refusal::TooLarge`].
    pub too_large: AtomicU64,
    /// [`Refusal::ZeroTtl`].
    pub zero_ttl: AtomicU64,
    /// [`Refusal::LowPow`].
    pub low_pow: AtomicU64,
    /// [`Refusal::NotWanted`].
    pub not_wanted: AtomicU64,
    /// The pool was full of envelopes with more work.
    pub pool_full: AtomicU64,
}

impl Rejected {
    /// The counter of one refusal.
    #[must_use]
    pub fn of(&self, refusal: Refusal) -> &AtomicU64 {
        match refusal {
            Refusal::Future => &self.future,
            Refusal::VeryOld => &self.very_old,
            Refusal::Expired => &self.expired,
            Refusal::TooLarge => &self.too_large,
            Refusal::ZeroTtl => &self.zero_ttl,
            Refusal::LowPow => &self.low_pow,
            Refusal::NotWanted => &self.not_wanted,
        }
    }

    /// Every reason by its name, with its sum.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        [
            ("malformed", &self.malformed),
            ("future", &self.future),
            ("very_old", &self.very_old),
            ("expired", &self.expired),
            ("too_large", &self.too_large),
            ("zero_ttl", &self.zero_ttl),
            ("low_pow", &self.low_pow),
            ("not_wanted", &self.not_wanted),
            ("pool_full", &self.pool_full),
        ]
        .into_iter()
        .map(|(reason, sum)| (reason, sum.load(Relaxed)))
    }

    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().map(|(_, sum)| sum).sum()
    }
}

impl Counters {
    /// Counts how a post has ended.
    pub(crate) fn count_outcome(&self, outcome: &Outcome) {
        count(match outcome {
            Outcome::Acknowledged { .. } => &self.posts_acknowledged,
            Outcome::Refused { .. } => &self.posts_refused,
            Outcome::Unanswered => &self.posts_unanswered,
        });
    }
}

/// What was more than peers may send: packets and envelopes that found their bucket empty, and packets of whose bytes
/// some did.
#[derive(Debug, Default)]
pub struct Excesses([AtomicU64; Meter::ALL.len()]);

impl Excesses {
    pub(crate) fn count(&self, meter: Meter) {
        count(&self.0[meter as usize]);
    }

    /// The sum of one meter.
    #[must_use]
    pub fn of(&self, meter: Meter) -> u64 {
        self.0[meter as usize].load(Relaxed)
    }
}

/// Bounds of the classes of size, in bytes: our own; statusd tells sizes in classes as well.
pub const SIZES_BYTES: [u32; 10] =
    [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// How many envelopes were how large.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Not cumulative; the last one holds what is above every bound.
    classes: [AtomicU64; SIZES_BYTES.len() + 1],
    bytes: AtomicU64,
}

impl Sizes {
    pub(crate) fn count(&self, bytes: usize) {
        let place = SIZES_BYTES.partition_point(|bound| (*bound as usize) < bytes);
        self.classes.get(place).into_iter().for_each(count);
        count_by(&self.bytes, bytes);
    }

    /// Upper bounds in bytes, the last one infinite, and how many envelopes each holds.
    pub fn classes(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = SIZES_BYTES.iter().map(|bound| f64::from(*bound)).chain([f64::INFINITY]);
        bounds.zip(self.classes.iter().map(|class| class.load(Relaxed)))
    }

    /// All of them together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    count_by(counter, 1);
}

/// Counts several more.
pub(crate) fn count_by(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Relaxed);
}

/// Sets a gauge.
pub(crate) fn gauge(counter: &AtomicU64, value: usize) {
    counter.store(value as u64, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_reason_and_strange_reasons_together() {
        let ends = Disconnects::default();
        [4, 4, 0x10, 0x7f, 0x80].map(DisconnectReason::from_code).into_iter().for_each(|reason| ends.count(reason));
        let counted: Vec<_> = ends.by_reason().filter(|(_, sum)| *sum > 0).collect();
        assert_eq!(counted, [("too_many_peers", 2), ("subprotocol_error", 1), ("unknown", 2)]);
    }

    #[test]
    fn envelopes_are_counted_by_their_size() {
        let sizes = Sizes::default();
        [0, 256, 257, 67_108_865].into_iter().for_each(|bytes| sizes.count(bytes));
        let filled: Vec<_> = sizes.classes().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(256.0, 2), (1_024.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(sizes.bytes(), 67_109_378);
    }

    #[test]
    fn every_refusal_has_a_counter_that_is_listed() {
        let rejected = Rejected::default();
        let refusals = [
            Refusal::Future,
            Refusal::VeryOld,
            Refusal::Expired,
            Refusal::TooLarge,
            Refusal::ZeroTtl,
            Refusal::LowPow,
            Refusal::NotWanted,
        ];
        refusals.iter().for_each(|refusal| count(rejected.of(*refusal)));
        count_by(&rejected.malformed, 2);
        let ones = rejected.by_reason().filter(|(_, sum)| *sum == 1).count();
        assert_eq!((ones, rejected.total()), (refusals.len(), 9));
    }
}
