//! Several bridges between the same networks, without a coordinator: who waits, how long, and what it waits for.
//!
//! Most of what two bridges make of one thing is the same bytes, and the networks keep one of them. Where it is not, as where each puts a
//! rate-limit proof of its own into it, or where making it is dear, each bridge waits for a time of its own and gives way to whoever was faster. A bridge in standby waits for
//! everything. What it waits for is the same content on the other side; then its own attempt ends as a duplicate.

use std::time::{Duration, Instant};

use devp2p::clock::Now;
use sha2::{Digest, Sha256};
use waku2::handle::Received;

use crate::{
    bridge::Bridge,
    crossing::{Direction, Outcome},
    drop_reason::DropReason,
    job::JobId,
    passage::Passage,
    seen::Fingerprint,
};

/// Mining more zero bits than this is left to whoever is first, if somebody is: 65,536 hashes on average.
pub(crate) const CHEAP_BITS: u32 = 16;
/// How long a bridge whose memory is lost gives way: a third of the usual time to live, which leaves time to mine.
pub(crate) const RECOVERY_WAIT: Duration = Duration::from_secs(5);

/// Which part of `within` a bridge waits: by its key and the content, so that each bridge has another order of its own. Both texts
/// have a fixed length, so that a plain hash over them serves as one with a key.
pub(crate) fn delay(key: &[u8; 32], content: Fingerprint, within: Duration) -> Duration {
    let hash = Sha256::new().chain_update(key).chain_update(content.as_bytes()).finalize();
    let (first, _) = hash.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    within.mul_f64(f64::from(u32::from_be_bytes(*first)) / (f64::from(u32::MAX) + 1.0))
}

impl Bridge {
    /// When a passage may go on, if it is to give way to others first. `differs`: others make other bytes of it, or it is dear.
    pub(crate) fn gives_way(&self, now: Now, passage: &Passage, differs: bool) -> Option<Instant> {
        let content = passage.content.filter(|_| !passage.waited)?;
        let own = if differs { delay(&self.config.key, content, self.config.stagger) } else { Duration::ZERO };
        let recovering = self.recovering_until.is_some_and(|until| now.instant < until);
        let standby = self.config.standby_after.unwrap_or_default();
        let wait = own.max(standby).max(if recovering { RECOVERY_WAIT } else { Duration::ZERO });
        (wait > Duration::ZERO).then(|| now.instant + wait)
    }

    /// A content has shown itself on the far side of `direction`, sent at `sent`: whoever waits to carry it there need not. `on_v2` is
    /// how it looks there, where that side is v2.
    pub(crate) fn give_way(
        &mut self,
        now: Now,
        direction: Direction,
        content: Fingerprint,
        sent: u64,
        on_v2: Option<&Received>,
    ) {
        if self.yielding.is_empty() {
            return;
        }
        let [first, last] = [0, u64::MAX].map(|n| (direction, content, JobId(n)));
        let waiting: Vec<JobId> = self.yielding.range(first..=last).map(|(.., id)| *id).collect();
        for id in waiting {
            let is_it = |passage: &Passage| {
                passage.sent.abs_diff(sent) <= self.seen.tolerance_secs()
                    && on_v2.is_none_or(|received| passage.pubsub.as_ref() == Some(&received.pubsub_topic))
            };
            if let Some(job) = self.jobs.get_mut(id).filter(|job| is_it(&job.passage)) {
                if let Some(received) = on_v2 {
                    job.passage.is_on_v2(received);
                }
                self.tally.gave_way += 1;
                self.finish(now, id, Outcome::Dropped(DropReason::Duplicate));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_time_is_no_wait() {
        assert_eq!(delay(&[1; 32], Fingerprint::from_bytes([2; 32]), Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn known_delay() {
        // The first four bytes of SHA-256 over 32 bytes of 1 and 32 bytes of 2, as a part of 2^32, made with another tool.
        let wait = delay(&[1; 32], Fingerprint::from_bytes([2; 32]), Duration::from_secs(1));
        assert_eq!(wait.as_micros(), 969_126);
    }

    proptest! {
        #[test]
        fn two_bridges_wait_differently_and_within_the_time(one: [u8; 32], other: [u8; 32], content: [u8; 32]) {
            let within = Duration::from_secs(2);
            let wait = |key| delay(key, Fingerprint::from_bytes(content), within);
            prop_assert!(wait(&one) < within);
            prop_assert_eq!(wait(&one) == wait(&other), one == other);
        }
    }
}
