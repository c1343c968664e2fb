//! What was relayed while this node was away, asked of other nodes: after a start, and after its peers were gone.
//!
//! When this node was last on the network is written to a file each [`HEARTBEAT`]; of the topics that a bridge bridges, its [`Books`] say it
//! instead, topic by topic. As soon as it is there again, what was sent in between is
//! asked for, a topic after the other, oldest first, of one node after the other until one has answered to the end; what came stands, and
//! the next node is asked for the rest. Live messages come beside it. What is here is known again, so that nothing is kept twice.
//!
//! Limits: one question at a time; an absence of [`Resuming::most`]. Nobody to ask: tried again, less and less often, up to `PATIENCE`.
//! So it is when the verifier of proofs does not answer: of a page nothing is taken then, and it is asked for again.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use archive::Row;
use bridge::{
    backfill::{Source, Task},
    content_topic,
};
use devp2p::clock::now;
use tokio::time::{Instant, interval, sleep};
use waku2::{
    PubsubTopic, Shard,
    handle::WeakHandle,
    rln::past::{Past, Unanswered},
    service::{Protocol, Target},
    store::{
        Query, Selection,
        ask::{PageError, Pages},
        client::{Answer, Dialect},
        query::{Kept, MAX_PAGE},
        resume::{HEARTBEAT, Window, window},
    },
};

use crate::{backfill::books::Books, keys::system_rng, rows, storage::archive::History, store::mine::Miner};

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
#[derive(Debug, Clone)]
pub struct Resuming {
    /// Who asks. Not to be kept running for it.
    pub node: WeakHandle,
    /// Where it is kept.
    pub history: History,
    /// Makes envelopes of what came, where somebody asks for mail.
    pub miner: Option<Miner>,
    /// What is relayed, and not in a bridge's books.
    pub topics: Vec<PubsubTopic>,
    /// The longest absence.
    pub most: Duration,
    /// What has no valid proof is left out.
    pub require_proof: bool,
    /// Who judges proofs; without it none is known to be valid.
    pub proofs: Option<Past>,
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

/// Asks for whatever is missing in the books of a bridge, until the node stops.
pub async fn follow(resuming: Resuming, books: Arc<Books>) {
    let (mut wait, mut has_asked) = (IMPATIENCE, false);
    loop {
        if resuming.node.upgrade().is_none() {
            return;
        }
        let Some(task) = books.next(|source| matches!(source, Source::V2(_))) else {
            if std::mem::take(&mut has_asked) {
                resuming.tell_end();
            }
            sleep(LOOK).await;
            continue;
        };
        let Source::V2(topic) = &task.source else { continue };
        if !std::mem::replace(&mut has_asked, true) {
            resuming.progress.cover(0.0);
        }
        tracing::info!(from = task.from, until = task.until, %topic, "asking others for what was relayed meanwhile");
        let mut stretch = Stretch::of(topic, task.from, task.until, Some((&books, &task)));
        match resuming.round(&mut stretch).await {
            None => return,
            Some(true) => {
                books.advance(&task, task.until, &BTreeMap::new());
                wait = IMPATIENCE;
            }
            Some(false) => {
                books.fail(&task);
                sleep(wait).await;
                wait = (wait * 2).min(PATIENCE);
            }
        }
    }
}

/// Messages of one topic that are missing.
struct Stretch<'a> {
    topic: &'a PubsubTopic,
    /// All of them.
    missed: Window,
    /// What has not come yet.
    left: Window,
    /// Its place among so many.
    place: (usize, usize),
    /// Where it is written down how far it is.
    task: Option<(&'a Books, &'a Task)>,
}

impl<'a> Stretch<'a> {
    /// From one second to the other, both included.
    fn of(topic: &'a PubsubTopic, from: u64, until: u64, task: Option<(&'a Books, &'a Task)>) -> Self {
        let nanos = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let missed = Window { from: nanos(from), until: nanos(until.saturating_add(1)).saturating_sub(1) };
        Self { topic, missed, left: missed, place: (0, 1), task }
    }

    /// All up to this time has come; the first of it is asked for again.
    fn reached(&mut self, nanos: i64, came: &BTreeMap<Arc<str>, u64>) -> f64 {
        self.left = self.left.behind(nanos);
        if let Some((books, task)) = self.task {
            books.advance(task, u64::try_from(nanos / 1_000_000_000).unwrap_or(0), came);
        }
        (self.place.0 as f64 + self.missed.covered(nanos)) / self.place.1 as f64
    }
}

/// Why a node has not given all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("the archive can't be written")]
    NotKept,
    #[error(transparent)]
    Unjudged(#[from] Unanswered),
}

impl Resuming {
    /// Asks for all topics, however long it takes.
    async fn make_up(&self, missed: Window) {
        self.progress.cover(0.0);
        let (from, until) = (missed.from / 1_000_000_000, missed.until / 1_000_000_000);
        tracing::info!(from, until, topics = self.topics.len(), "asking others for what was relayed meanwhile");
        for (place, topic) in self.topics.iter().enumerate() {
            let place = (place, self.topics.len());
            if self.make_up_topic(Stretch { topic, missed, left: missed, place, task: None }).await.is_none() {
                return;
            }
        }
        self.tell_end();
    }

    fn tell_end(&self) {
        self.progress.cover(1.0);
        let (came, discarded) = (self.progress.came.load(Relaxed), self.progress.discarded.load(Relaxed));
        tracing::info!(came, discarded, "what was missed is here");
    }

    /// Until some node has answered to the end; `None` when this one has stopped.
    async fn make_up_topic(&self, mut stretch: Stretch<'_>) -> Option<()> {
        let mut wait = IMPATIENCE;
        while !self.round(&mut stretch).await? {
            sleep(wait).await;
            wait = (wait * 2).min(PATIENCE);
        }
        Some(())
    }

    /// Asks each node that can be asked, until one has answered to the end; `None` when this one has stopped.
    async fn round(&self, stretch: &mut Stretch<'_>) -> Option<bool> {
        let topic = stretch.topic;
        let nodes = self.candidates(topic).await?;
        if nodes.is_empty() {
            tracing::info!(%topic, "nobody to ask yet for what was missed");
        }
        for target in nodes {
            let peer = target.peer;
            match self.ask(target, stretch).await {
                Ok(()) => return Some(true),
                Err(error) => tracing::info!(%peer, %topic, %error, "not all of what was missed came"),
            }
        }
        Some(false)
    }

    async fn candidates(&self, topic: &PubsubTopic) -> Option<Vec<Target>> {
        let shard = topic.as_str().parse::<Shard>().ok().map(|shard| shard.index);
        let node = self.node.upgrade()?;
        Some(node.candidates(&[Protocol::StoreV3, Protocol::StoreLegacy], shard).await)
    }

    /// All pages of one node; what is still missing is told also after an error.
    async fn ask(&self, target: Target, stretch: &mut Stretch<'_>) -> Result<(), Trouble> {
        // It ends with the node, of which the next question would be told.
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        let selection = Selection::Content {
            pubsub_topic: Some(stretch.topic.clone()),
            content_topics: Vec::new(),
            from: Some(stretch.left.from),
            until: Some(stretch.left.until),
        };
        let query = Query { selection, cursor: None, forward: true, limit: MAX_PAGE, include_data: true };
        let mut pages = Pages::new(node, target, &DIALECTS, &query).map_err(PageError::from)?;
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
                Err(error) => return Err(error.into()),
            };
            wait = IMPATIENCE;
            let (reached, came) = self.keep(answer, stretch.task.map(|(books, _)| books)).await?;
            if let Some(reached) = reached {
                self.progress.cover(stretch.reached(reached, &came));
            }
        }
    }

    /// Whether each has a valid proof.
    async fn judged(&self, entries: &[Kept]) -> Result<Vec<bool>, Unanswered> {
        let Some(past) = &self.proofs else { return Ok(vec![false; entries.len()]) };
        past.judge(entries.iter().map(|kept| kept.message.clone()).collect(), now()).await
    }

    /// Keeps what came: the time of the last message, and how many were new, by route.
    async fn keep(
        &self,
        answer: Answer,
        books: Option<&Books>,
    ) -> Result<(Option<i64>, BTreeMap<Arc<str>, u64>), Trouble> {
        let (at, mut reached, mut pending) = (now().unix_secs(), None, Vec::new());
        let mut discarded = answer.discarded;
        let entries: Vec<Kept> = answer.entries.into_iter().filter_map(|entry| entry.kept).collect();
        let valid = self.judged(&entries).await?;
        for (kept, proven) in entries.into_iter().zip(valid) {
            reached = reached.max(kept.message.timestamp);
            if self.require_proof && !proven {
                discarded += 1;
                continue;
            }
            let row = rows::of_message(&kept.pubsub_topic, &kept.message, Some(REASON), at);
            match row.map(|row| Row { proven, ..row }) {
                Some(row) => {
                    let handed = self.history.writer().hand_in(row.clone()).await.map_err(|_| Trouble::NotKept)?;
                    pending.push((kept, row, handed));
                }
                None => discarded += 1,
            }
        }
        self.progress.discarded.fetch_add(discarded as u64, Relaxed);
        let (routes, mut came) = (books.map(Books::routes), BTreeMap::new());
        for (kept, row, handed) in pending {
            if handed.durable().await.map_err(|_| Trouble::NotKept)? != archive::Appended::Stored {
                continue;
            }
            self.progress.came.fetch_add(1, Relaxed);
            self.miner.iter().for_each(|miner| miner.offer(row.clone()));
            let topic = content_topic::parse(&kept.message.content_topic, true).ok();
            let route =
                routes.as_ref().zip(topic).and_then(|(routes, read)| routes.to_v1(&kept.pubsub_topic, read.topic));
            if let Some(route) = route {
                *came.entry(Arc::clone(&route.name)).or_default() += 1;
            }
        }
        Ok((reached, came))
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
    use waku2::{
        ContentTopic, Meta, WakuMessage,
        hash::message_hash,
        rln::{
            Verify,
            element::Element,
            epoch::Epoch,
            proof::{IDENTIFIER, RateLimitProof},
            roots::follow,
            signal::Signal,
        },
        store::Entry,
    };

    use super::*;
    use crate::config::{self, archive::Place};

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

    /// A node that asked another one, and kept one message of what it was told.
    async fn told_one(require_proof: bool, proofs: Option<Past>, valid: bool) -> Resuming {
        let (resuming, kept) = telling_one(require_proof, proofs, valid).await;
        assert_eq!(kept.unwrap().0, Some(7), "it is not asked for again");
        resuming
    }

    /// The same, and what came of keeping it.
    async fn telling_one(
        require_proof: bool,
        proofs: Option<Past>,
        valid: bool,
    ) -> (Resuming, Result<(Option<i64>, BTreeMap<Arc<str>, u64>), Trouble>) {
        let (events, _) = tokio::sync::mpsc::channel(1);
        let (node, _task) = waku2::run::start(waku2::Config::new([1; 32]), events).await.unwrap();
        let wanted = config::archive::Archive { place: Place::Memory, retention: archive::Retention::default() };
        let (history, _writer) = History::open(&wanted, Path::new("")).await.unwrap();
        let resuming = Resuming {
            node: node.downgrade(),
            history,
            miner: None,
            topics: Vec::new(),
            most: Duration::ZERO,
            require_proof,
            proofs,
            progress: Arc::default(),
        };
        let pubsub_topic: PubsubTopic = "/waku/2/rs/1/0".parse().unwrap();
        let message = WakuMessage {
            payload: "x".into(),
            content_topic: ContentTopic::from("/a/1/b/c"),
            version: 0,
            timestamp: Some(7),
            meta: Meta::default(),
            // There is one, and nobody has looked whether it holds.
            rate_limit_proof: Some(vec![9].into()),
            ephemeral: false,
        };
        let message = if valid { proven(message) } else { message };
        let hash = message_hash(&pubsub_topic, &message);
        let entry = Entry { hash, kept: Some(Kept { pubsub_topic, message, stored_at: 7 }) };
        let kept = resuming.keep(Answer { entries: vec![entry], discarded: 0 }, None).await;
        (resuming, kept)
    }

    #[tokio::test]
    async fn net_12_what_has_no_proof_known_to_be_valid_is_not_taken_from_others() {
        for (require_proof, came, discarded) in [(true, 0, 1), (false, 1, 0)] {
            let resuming = told_one(require_proof, None, true).await;
            let progress = &resuming.progress;
            assert_eq!((progress.came.load(Relaxed), progress.discarded.load(Relaxed)), (came, discarded));
            assert_eq!(resuming.history.archive().totals().await.unwrap().rows, came);
        }
    }

    /// The message with a proof that is in order.
    fn proven(message: WakuMessage) -> WakuMessage {
        let one = *Element::from(1).bytes();
        let proof = RateLimitProof {
            snark: [1; 128],
            root: one,
            epoch: Epoch(0).bytes(),
            share_x: *Signal::of(&message).x().bytes(),
            share_y: one,
            nullifier: one,
            identifier: IDENTIFIER,
        };
        WakuMessage { rate_limit_proof: Some(proof.encode()), ..message }
    }

    #[derive(Debug)]
    struct Verifier;

    impl Verify for Verifier {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            vec![true; proofs.len()]
        }
    }

    #[tokio::test]
    async fn net_12_what_is_verified_is_taken_and_kept_as_proven() {
        let (follow, known) = follow();
        follow.now(Element::from(1));
        let past = Past::new(&waku2::rln::Config::new(Arc::new(Verifier), known));
        for (require_proof, valid, rows, of_these_proven) in
            [(true, true, 1, 1), (true, false, 0, 0), (false, true, 1, 1), (false, false, 1, 0)]
        {
            let resuming = told_one(require_proof, Some(past.clone()), valid).await;
            let page = resuming.history.archive().page(&archive::Query::messages()).await.unwrap();
            let proven = page.rows.iter().filter(|row| row.proven).count();
            assert_eq!((page.rows.len(), proven), (rows, of_these_proven), "{require_proof} {valid}");
        }
    }

    /// Answers once the other end is gone.
    #[derive(Debug)]
    struct Silent(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

    impl Verify for Silent {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            let _ = self.0.lock().unwrap().recv();
            vec![true; proofs.len()]
        }
    }

    #[tokio::test]
    async fn h80_what_nobody_judges_is_not_taken_and_asked_for_again() {
        for require_proof in [true, false] {
            let ((go, gone), (follow, known)) = (std::sync::mpsc::sync_channel(1), follow());
            follow.now(Element::from(1));
            let silent = Arc::new(Silent(std::sync::Mutex::new(gone)));
            let past = Past::new(&waku2::rln::Config::new(silent, known)).within(Duration::ZERO);
            let (resuming, kept) = telling_one(require_proof, Some(past), true).await;
            assert!(matches!(kept, Err(Trouble::Unjudged(Unanswered))));
            let progress = &resuming.progress;
            assert_eq!((progress.came.load(Relaxed), progress.discarded.load(Relaxed)), (0, 0));
            assert_eq!(resuming.history.archive().totals().await.unwrap().rows, 0);
            drop(go);
        }
    }

    #[test]
    fn progress_is_a_part_of_a_whole() {
        let progress = Progress::default();
        assert_eq!(progress.covered().to_bits(), 0.0_f64.to_bits());
        progress.cover(0.25);
        assert!((progress.covered() - 0.25).abs() < 1e-6);
    }
}
