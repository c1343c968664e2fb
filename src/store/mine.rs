//! Envelopes for messages that never crossed, so that those who ask for mail see them too: mined one after the other, when nothing hurries.
//!
//! A mail request sees rows with the hash of an envelope. What a bridge archived instead of letting it cross, and what was learnt from other
//! nodes, has none yet. Here it gets the one that it would have had ([`bridge::remake`]). All that is kept is looked through at the start,
//! `BREATH` after each page, and what was sent lately each `AGAIN`; what is learnt later is handed in.
//!
//! Limits: [`WAITING`] rows wait, and when more come all is looked through again; one thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use archive::{EnvelopeHalf, Mined, Query, Row};
use bridge::{
    Config,
    remake::{Remade, remake},
};
use devp2p::clock::now;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{interval, sleep},
};
use waku0::Envelope;

use crate::{rows, storage::archive::History};

/// Rows that wait for their nonce. Full: they are found when all is looked through again.
pub const WAITING: usize = 1_024;
/// Rows on a page while all is looked through.
const PAGE: usize = 100;
/// After each of these pages.
const BREATH: Duration = Duration::from_millis(20);
/// How often what was sent lately is looked through.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// How lately: twice that, and the time in which it may cross.
const LATELY: Duration = Duration::from_secs(11 * 60);
/// What was relayed less than this ago may cross yet, and gets its envelope from there.
const CROSSING: Duration = Duration::from_secs(60);

/// The way to the miner. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Miner {
    rows: mpsc::Sender<Row>,
    missed: Arc<AtomicBool>,
    mined: Arc<AtomicU64>,
}

impl Miner {
    /// Starts it over an archive, by the rules of a bridge. It ends with the last of these.
    #[must_use]
    pub fn start(history: History, rules: Arc<Config>) -> (Self, tokio::task::JoinHandle<()>) {
        let (rows, inbox) = mpsc::channel(WAITING);
        let (missed, mined) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicU64>::default());
        let work = Work { history, rules, missed: Arc::clone(&missed), mined: Arc::clone(&mined) };
        (Self { rows, missed, mined }, tokio::spawn(work.run(inbox)))
    }

    /// Hands in a row that is in the archive.
    pub fn offer(&self, row: Row) {
        if lacks_envelope(&row) && self.rows.try_send(row).is_err() {
            self.missed.store(true, Relaxed);
        }
    }

    /// How many have got theirs.
    #[must_use]
    pub fn mined(&self) -> u64 {
        self.mined.load(Relaxed)
    }
}

fn lacks_envelope(row: &Row) -> bool {
    row.message.is_some() && row.mined().is_none()
}

struct Work {
    history: History,
    rules: Arc<Config>,
    /// All has to be looked through.
    missed: Arc<AtomicBool>,
    mined: Arc<AtomicU64>,
}

impl Work {
    async fn run(self, mut inbox: mpsc::Receiver<Row>) {
        let mut rounds = interval(AGAIN);
        loop {
            tokio::select! {
                row = inbox.recv() => match row {
                    Some(row) => self.complete(row).await,
                    None => return,
                },
                _ = rounds.tick() => {
                    if let Err(error) = self.look_through(self.missed.swap(false, Relaxed)).await {
                        self.missed.store(true, Relaxed);
                        tracing::warn!(%error, "the archive can't be looked through for messages without an envelope");
                    }
                }
            }
        }
    }

    async fn look_through(&self, all: bool) -> Result<(), archive::Error> {
        let lately = now().unix.saturating_sub(LATELY).as_nanos();
        let from = if all { i64::MIN } else { i64::try_from(lately).unwrap_or(i64::MAX) };
        let mut query = Query { limit: PAGE, sent_ns: from..=i64::MAX, ..Query::messages() };
        loop {
            let page = self.history.archive().page(&query).await?;
            let next = page.rows.last().filter(|_| page.more).and_then(|last| query.clone().after(last));
            let settled = now().unix_secs().saturating_sub(CROSSING.as_secs());
            for row in page.rows.into_iter().filter(|row| lacks_envelope(row) && row.stored_at < settled) {
                self.complete(row).await;
            }
            match next {
                Some(next) => query = next,
                None => return Ok(()),
            }
            sleep(BREATH).await;
        }
    }

    async fn complete(&self, row: Row) {
        let rules = Arc::clone(&self.rules);
        // A panic there would be told; the row stays as it is.
        let Ok(Some(row)) = spawn_blocking(move || with_envelope(&rules, row)).await else { return };
        if self.history.writer().append(row).await.is_ok() {
            self.mined.fetch_add(1, Relaxed);
        }
    }
}

/// The row with its envelope; `None` where it has none.
fn with_envelope(rules: &Config, row: Row) -> Option<Row> {
    let (pubsub, message) = rows::message(&row)?;
    let (wrapped, envelope): (bool, Envelope) = match remake(rules, &pubsub, &message)? {
        Remade::Rebuilt(envelope) => (false, envelope),
        Remade::Unmined(unmined) => (unmined.wrapped, unmined.mine()?),
    };
    // An envelope tells whole seconds: a message of another second than the one it was has a row of its own.
    if envelope.sent() != row.sent_secs() {
        return None;
    }
    let mined = Mined { hash: *envelope.hash().as_bytes(), nonce: envelope.nonce() };
    let half = EnvelopeHalf { topic: envelope.topic().0, ttl: envelope.ttl(), wrapped, mined: Some(mined) };
    Some(Row { envelope: Some(half), ..row })
}

#[cfg(test)]
mod tests {
    use archive::{Archive, Side};
    use bridge::{
        policy::Ways,
        router::{Route, Router},
    };
    use waku2::{Meta, WakuMessage};

    use super::*;
    use crate::config::archive::{Archive as Wanted, Place};

    const TOPIC: &str = "/waku/2/rs/0/0";
    /// Until the row is seen: far longer than it takes.
    const SEEN: Duration = Duration::from_secs(60);

    fn rules() -> Arc<Config> {
        let routes = Router::table(vec![Route::everything(TOPIC.parse().unwrap(), Ways::Both)]).unwrap();
        Arc::new(Config { routes, ..Config::default() })
    }

    fn row(n: u8, version: u32) -> Row {
        let message = WakuMessage {
            payload: vec![n].into(),
            content_topic: "/waku/1/0x01020304/rfc26".into(),
            version,
            timestamp: Some(1_700_000_000_000_000_007 + i64::from(n)),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        rows::of_message(&TOPIC.parse().unwrap(), &message, Some("resumed"), 1_700_000_001).unwrap()
    }

    async fn mail(archive: &Archive, count: usize) -> Vec<Row> {
        let seen = async {
            loop {
                let page = archive.page(&Query::envelopes()).await.unwrap();
                if page.rows.len() >= count {
                    return page.rows;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SEEN, seen).await.expect("mail sees them")
    }

    #[tokio::test]
    async fn mail_sees_what_was_learnt_from_others_and_store_sees_it_as_before() {
        let wanted = Wanted { place: Place::Memory, retention: "none".parse().unwrap() };
        let (history, _writer) = History::open(&wanted, std::path::Path::new("")).await.unwrap();
        history.writer().append(row(1, 1)).await.unwrap();
        let (miner, _task) = Miner::start(history.clone(), rules());
        mail(history.archive(), 1).await;
        history.writer().append(row(2, 0)).await.unwrap();
        miner.offer(row(2, 0));
        let rows = mail(history.archive(), 2).await;
        let messages = history.archive().page(&Query::messages()).await.unwrap().rows;
        assert_eq!((messages.len(), rows.len()), (2, 2), "the same set");
        for row in &rows {
            let envelope = rows::envelope(row).expect("an envelope");
            assert!(rows::message(row).is_some() && row.first == Side::V2);
            assert_eq!((envelope.sent(), envelope.topic().0), (1_700_000_000, [1, 2, 3, 4]));
            assert!(envelope.pow() >= rules().profile.pow_target);
        }
    }
}
