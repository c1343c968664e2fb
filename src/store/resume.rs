//! What was relayed while this node was away, asked of other nodes: after a start, and after its peers were gone.
//!
//! When this node was last on the network is written to a file each [`HEARTBEAT`]. As soon as it is there again, what was sent in between is
//! asked for, a topic after the other, oldest first, of one node after the other until one has answered to the end; what came stands, and
//! the next node is asked for the rest. Live messages come beside it. What is here is known again, so that nothing is kept twice.
//!
//! Limits: one question at a time; an absence of [`Resuming::most`]. Nobody to ask: tried again, less and less often, up to `PATIENCE`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use devp2p::clock::now;
use tokio::time::{Instant, interval, sleep};
use waku2::{
    PubsubTopic, Shard,
    handle::WeakHandle,
    service::{Protocol, Target},
    store::{
        Query, Selection,
        ask::{PageError, Pages},
        client::{Answer, Dialect},
        query::MAX_PAGE,
        resume::{HEARTBEAT, Window, window},
    },
};

use crate::{keys::system_rng, rows, storage::archive::History, store::mine::Miner};

/// The file in the data directory: unix seconds.
pub const LAST_ONLINE: &str = "store-last-online";
/// Why such a row is in the archive.
pub const REASON: &str = "resumed";
/// How often it is looked whether this node has peers.
const LOOK: Duration = Duration::from_secs(5);
/// An absence shorter than this is left to relay, which tells peers what it had for a while.
const SHORT: Duration = Duration::from_secs(20);
/// The first wait when there is nobody to ask, or nobody who answers; then twice as long each time.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// The longest one.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is offered, best first.
const DIALECTS: [Dialect; 2] = [Dialect::V3, Dialect::Legacy];
/// Parts of a whole, as [`Progress`] keeps it.
const WHOLE: f64 = 1_000_000.0;

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages that were new here.
    pub came: AtomicU64,
    /// Messages that were left out.
    pub discarded: AtomicU64,
    covered: AtomicU64,
}

impl Progress {
    /// How much of the last absence has been asked for, from 0 to 1.
    #[must_use]
    pub fn covered(&self) -> f64 {
        self.covered.load(Relaxed) as f64 / WHOLE
    }

    fn cover(&self, part: f64) {
        self.covered.store((part * WHOLE) as u64, Relaxed);
    }
}

/// What it takes to ask.
#[derive(Debug)]
pub struct Resuming {
    /// Who asks. Not to be kept running for it.
    pub node: WeakHandle,
    /// Where it is kept.
    pub history: History,
    /// Makes envelopes of what came, where somebody asks for mail.
    pub miner: Option<Miner>,
    /// What is relayed.
    pub topics: Vec<PubsubTopic>,
    /// The longest absence.
    pub most: Duration,
    /// What has no valid proof is left out.
    pub require_proof: bool,
    /// How far it is.
    pub progress: Arc<Progress>,
}

/// Asks whenever this node comes back, until it stops.
pub async fn run(resuming: Resuming, file: PathBuf) {
    let mut last_online = read(&file);
    let mut looks = interval(LOOK);
    let mut written = None;
    // A new node has missed all there is.
    let mut was_away = true;
    loop {
        looks.tick().await;
        let Some(node) = resuming.node.upgrade() else { return };
        if node.counters().peers.load(Relaxed) == 0 {
            was_away |= last_online.is_none_or(|last| now().unix_secs().saturating_sub(last) > SHORT.as_secs());
            continue;
        }
        drop(node);
        if std::mem::take(&mut was_away) {
            resuming.make_up(window(last_online, now().unix_secs(), resuming.most)).await;
        }
        last_online = Some(now().unix_secs());
        if written.is_none_or(|at: Instant| at.elapsed() >= HEARTBEAT) {
            written = Some(Instant::from_std(now().instant));
            if let Err(error) = write(&file, now().unix_secs()) {
                tracing::warn!(%error, file = %file.display(), "when this node was last online can't be written");
            }
        }
    }
}

impl Resuming {
    /// Asks for all topics, however long it takes.
    async fn make_up(&self, missed: Window) {
        self.progress.cover(0.0);
        let (from, until) = (missed.from / 1_000_000_000, missed.until / 1_000_000_000);
        tracing::info!(from, until, topics = self.topics.len(), "asking others for what was relayed meanwhile");
        for (place, topic) in self.topics.iter().enumerate() {
            if self.make_up_topic(topic, missed, place).await.is_none() {
                return;
            }
        }
        self.progress.cover(1.0);
        let (came, discarded) = (self.progress.came.load(Relaxed), self.progress.discarded.load(Relaxed));
        tracing::info!(came, discarded, "what was missed is here");
    }

    /// Until some node has answered to the end; `None` when this one has stopped.
    async fn make_up_topic(&self, topic: &PubsubTopic, missed: Window, place: usize) -> Option<()> {
        let (mut left, mut wait) = (missed, IMPATIENCE);
        loop {
            let nodes = self.candidates(topic).await?;
            if nodes.is_empty() {
                tracing::info!(%topic, "nobody to ask yet for what was missed");
            }
            for target in nodes {
                let peer = target.peer;
                match self.ask(topic, target, &mut left, missed, place).await {
                    Ok(()) => return Some(()),
                    Err(error) => tracing::info!(%peer, %topic, %error, "not all of what was missed came"),
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(PATIENCE);
        }
    }

    async fn candidates(&self, topic: &PubsubTopic) -> Option<Vec<Target>> {
        let shard = topic.as_str().parse::<Shard>().ok().map(|shard| shard.index);
        let node = self.node.upgrade()?;
        Some(node.candidates(&[Protocol::StoreV3, Protocol::StoreLegacy], shard).await)
    }

    /// All pages of one node; `left` is what is still missing, also after an error.
    async fn ask(
        &self,
        topic: &PubsubTopic,
        target: Target,
        left: &mut Window,
        missed: Window,
        place: usize,
    ) -> Result<(), PageError> {
        // It ends with the node, of which the next question would be told.
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        let selection = Selection::Content {
            pubsub_topic: Some(topic.clone()),
            content_topics: Vec::new(),
            from: Some(left.from),
            until: Some(left.until),
        };
        let query = Query { selection, cursor: None, forward: true, limit: MAX_PAGE, include_data: true };
        let mut pages = Pages::new(node, target, &DIALECTS, &query)?;
        let mut rng = system_rng();
        let mut wait = IMPATIENCE;
        loop {
            let answer = match pages.next(&mut rng).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(()),
                Err(error) if error.is_too_often() && wait < PATIENCE => {
                    sleep(wait).await;
                    wait *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            wait = IMPATIENCE;
            if let Some(reached) = self.keep(answer).await {
                *left = left.behind(reached);
                let part = (place as f64 + missed.covered(reached)) / self.topics.len() as f64;
                self.progress.cover(part);
            }
        }
    }

    /// Keeps what came; the time of the last message.
    async fn keep(&self, answer: Answer) -> Option<i64> {
        let (at, mut reached, mut pending) = (now().unix_secs(), None, Vec::new());
        let mut discarded = answer.discarded;
        for kept in answer.entries.into_iter().filter_map(|entry| entry.kept) {
            reached = reached.max(kept.message.timestamp);
            // Proofs are not verified yet: none is known to be valid.
            if self.require_proof {
                discarded += 1;
                continue;
            }
            let row = rows::of_message(&kept.pubsub_topic, &kept.message, Some(REASON), at);
            match row {
                Some(row) => pending.push((row.clone(), self.history.writer().hand_in(row).await)),
                None => discarded += 1,
            }
        }
        self.progress.discarded.fetch_add(discarded as u64, Relaxed);
        for (row, handed) in pending {
            let Ok(handed) = handed else { continue };
            if matches!(handed.durable().await, Ok(archive::Appended::Stored)) {
                self.progress.came.fetch_add(1, Relaxed);
                self.miner.iter().for_each(|miner| miner.offer(row.clone()));
            }
        }
        reached
    }
}

/// `None` where there is no such file, or nothing in it.
fn read(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Beside the old one and then in its place, so that a kill leaves one of the two.
fn write(file: &Path, secs: u64) -> io::Result<()> {
    let beside = file.with_added_extension("new");
    std::fs::write(&beside, format!("{secs}\n"))?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(LAST_ONLINE);
        assert_eq!(read(&file), None);
        write(&file, 1_700_000_000).unwrap();
        assert_eq!(read(&file), Some(1_700_000_000));
        std::fs::write(&file, "yesterday").unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn progress_is_a_part_of_a_whole() {
        let progress = Progress::default();
        assert_eq!(progress.covered().to_bits(), 0.0_f64.to_bits());
        progress.cover(0.25);
        assert!((progress.covered() - 0.25).abs() < 1e-6);
    }
}
