//! What relay accepts, handed to the archive.
//!
//! Kept is what has a time, and one within [`WINDOW`] of ours at its arrival; never what is ephemeral.  Spec: 13/WAKU2-STORE. A bridge gives
//! the archive what crosses by itself: the same row comes twice then, and is one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use archive::Row;
use bridge::histogram::Histogram;
use devp2p::clock::{Now, now};
use tokio::sync::mpsc;
use waku2::{PubsubTopic, Received, Shard, WakuMessage, handle::Witness};

use crate::{rows, storage::archive::History};

/// How far from ours a message's time may be.  Spec: 13/WAKU2-STORE; deployed: nwaku.
pub const WINDOW: Duration = Duration::from_secs(20);
/// Messages on their way to the archive. Full: shed and counted, for gossip must not wait for a disk.
pub const MESSAGES: usize = 8_192;
/// Messages handed to the archive together.
const BATCH: usize = 256;

/// Why a message is not kept, by nwaku's names of its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// It says so.
    #[error("ephemeral")]
    Ephemeral,
    /// It has no time: a hash could not be told from its row.
    #[error("invalid_message_no_timestamp")]
    Timeless,
    /// Too long ago.
    #[error("invalid_message_too_old")]
    TooOld,
    /// Too far ahead.
    #[error("invalid_message_future_timestamp")]
    Future,
}

/// Bounds of the classes of time that reading and writing the archive take, in seconds.  Deployed: nwaku, the usual ones of Prometheus.
pub const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What became of messages.
#[derive(Debug)]
pub struct Stats {
    /// Handed to the archive.
    pub handed_in: AtomicU64,
    /// Not kept: [`NotKept::TooOld`].
    pub too_old: AtomicU64,
    /// Not kept: [`NotKept::Future`], and those without a time.
    pub future: AtomicU64,
    /// The archive could not be written.
    pub failed: AtomicU64,
    /// How long a message took from its arrival at the archive to the disk.
    pub insert_took: Histogram,
    /// Messages handed to the archive, by shard: no more than there are.
    shards: Mutex<BTreeMap<u16, u64>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            handed_in: AtomicU64::default(),
            too_old: AtomicU64::default(),
            future: AtomicU64::default(),
            failed: AtomicU64::default(),
            insert_took: Histogram::new(SECONDS),
            shards: Mutex::default(),
        }
    }
}

impl Stats {
    fn handed_in(&self, shard: Option<u16>, took: Duration) {
        self.handed_in.fetch_add(1, Relaxed);
        self.insert_took.record(took.as_secs_f64());
        if let Some(shard) = shard {
            *self.shards.lock().unwrap_or_else(PoisonError::into_inner).entry(shard).or_default() += 1;
        }
    }

    /// Messages handed to the archive, by shard.
    #[must_use]
    pub fn by_shard(&self) -> Vec<(u16, u64)> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|(shard, count)| (*shard, *count)).collect()
    }
}

/// Hands what the node accepts to [`keep`]: it never waits.
#[derive(Debug)]
pub struct Tap {
    messages: mpsc::Sender<Arc<Received>>,
    shed: Arc<AtomicU64>,
}

impl Tap {
    /// Into this queue.
    #[must_use]
    pub fn new(messages: mpsc::Sender<Arc<Received>>) -> Self {
        Self { messages, shed: Arc::default() }
    }

    /// How many found it full.
    #[must_use]
    pub fn shed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shed)
    }
}

impl Witness for Tap {
    fn accepted(&self, message: &Arc<Received>) {
        // Closed at the end of the node alone.
        if !message.message.ephemeral && self.messages.try_send(Arc::clone(message)).is_err() {
            self.shed.fetch_add(1, Relaxed);
        }
    }
}

/// Is it to be kept?
///
/// # Errors
/// [`NotKept`].
pub fn eligible(message: &WakuMessage, now: Now) -> Result<(), NotKept> {
    if message.ephemeral {
        return Err(NotKept::Ephemeral);
    }
    let sent = i128::from(message.timestamp.ok_or(NotKept::Timeless)?);
    let (at, window) = (now.unix.as_nanos() as i128, WINDOW.as_nanos() as i128);
    match sent - at {
        ahead if ahead > window => Err(NotKept::Future),
        ahead if -ahead > window => Err(NotKept::TooOld),
        _ => Ok(()),
    }
}

fn shard_of(topic: &PubsubTopic) -> Option<u16> {
    topic.as_str().parse::<Shard>().ok().map(|shard| shard.index)
}

/// Hands over what comes, in batches, until the node stops.
pub async fn keep(history: History, mut inbox: mpsc::Receiver<Arc<Received>>, stats: Arc<Stats>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut pending = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        let at = now();
        for received in batch.drain(..) {
            match eligible(&received.message, at) {
                Ok(()) => {}
                Err(NotKept::Ephemeral) => continue,
                Err(NotKept::TooOld) => {
                    stats.too_old.fetch_add(1, Relaxed);
                    continue;
                }
                Err(NotKept::Future | NotKept::Timeless) => {
                    stats.future.fetch_add(1, Relaxed);
                    continue;
                }
            }
            let Some(row) = rows::of_message(&received.pubsub_topic, &received.message, None, at.unix_secs()) else {
                continue;
            };
            let row = Row { proven: received.proven, ..row };
            match history.writer().hand_in(row).await {
                Ok(handed) => pending.push((shard_of(&received.pubsub_topic), handed)),
                Err(_) => return, // The archive is closed.
            }
        }
        for (shard, handed) in pending.drain(..) {
            if handed.durable().await.is_ok() {
                stats.handed_in(shard, now().instant.saturating_duration_since(at.instant));
            } else {
                // Why it could not is in the log.
                stats.failed.fetch_add(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use waku2::{ContentTopic, Meta};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    #[expect(clippy::disallowed_methods, reason = "an instant that is not looked at")]
    fn at() -> Now {
        Now { instant: Instant::now(), unix: Duration::from_secs(NOW) }
    }

    fn message(timestamp: Option<i64>) -> WakuMessage {
        WakuMessage {
            payload: "x".into(),
            content_topic: ContentTopic::from("t"),
            version: 0,
            timestamp,
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    #[test]
    fn h73_twenty_seconds_either_way_and_never_what_is_ephemeral() {
        let kept = |timestamp| eligible(&message(timestamp), at());
        let nanos = |secs: i64| Some(secs * 1_000_000_000);
        let now = NOW as i64;
        for good in [nanos(now), nanos(now - 20), nanos(now + 20)] {
            assert_eq!(kept(good), Ok(()), "{good:?}");
        }
        assert_eq!(kept(nanos(now + 20).map(|nanos| nanos + 1)), Err(NotKept::Future));
        assert_eq!(kept(nanos(now - 20).map(|nanos| nanos - 1)), Err(NotKept::TooOld));
        assert_eq!(kept(Some(i64::MAX)), Err(NotKept::Future));
        assert_eq!(kept(Some(i64::MIN)), Err(NotKept::TooOld));
        assert_eq!(kept(None), Err(NotKept::Timeless));
        let ephemeral = WakuMessage { ephemeral: true, ..message(nanos(now)) };
        assert_eq!(eligible(&ephemeral, at()), Err(NotKept::Ephemeral));
    }
}
