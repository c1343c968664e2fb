//! The room of the bridge: what a bridge has beside its two nodes.

use std::{sync::Arc, time::Duration};

use bridge::{backfill::Reach, outlet::Outlet, run::V2};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use waku2::lightpush;

use super::StartError;
use crate::{
    backfill::{books::Books, mail::Asking},
    config::{Bridging, crossing::Backfill},
    reload::Reloader,
    rln::Shares,
    storage::{Database, archive::History, courses::Courses, journal::Journal},
    store::mine::Miner,
};

/// Where a bridge keeps what outlives it.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    /// Its journal is here.
    pub(super) database: &'a Database,
    /// The archive, if there is one.
    pub(super) history: Option<History>,
    /// Whether its rows are to be seen by mail requests.
    pub(super) mail: bool,
    /// The longest absence of the v2 side that is made up for, if any.
    pub(super) resume: Option<Duration>,
}

/// A running bridge.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) bridge: bridge::Handle,
    pub(super) limits: bridge::Limits,
    /// What crosses where, for people.
    pub(super) route: String,
    pub(super) reloader: Reloader,
    pub(super) journal: Journal,
    pub(super) history: Option<History>,
    /// Makes envelopes of what never crossed.
    pub(super) miner: Option<Miner>,
    /// What of history is missing.
    pub(super) books: Arc<Books>,
    /// What keeps the books, and asks mail servers.
    filling: JoinSet<()>,
    task: JoinHandle<()>,
    scribe: JoinHandle<()>,
    feeder: Option<JoinHandle<()>>,
}

impl Crossing {
    /// Starts it between two nodes, of each its handle and what it tells. It goes on with what an earlier life left.
    pub(super) async fn start(
        Bridging { config, source, backfill, handed_over }: Bridging,
        Keeping { database, history, mail, resume }: Keeping<'_>,
        (v0, v0_events): (waku0::Handle, mpsc::Receiver<waku0::Event>),
        (v2, v2_events): (waku2::Handle, mpsc::Receiver<waku2::Event>),
        shares: Option<Shares>,
    ) -> Result<Self, StartError> {
        let (route, limits) = (config.routes.to_string(), config.limits);
        let journal = Journal::new(database, config.seen.max_entries);
        let courses = Courses::new(database);
        let left = courses.read().await.map_err(StartError::Journal)?;
        let (life, scribe) = journal.clone().start().await.map_err(StartError::Journal)?;
        let life = bridge::journal::Journal { gaps: left.gaps.clone(), ..life };
        let rules = Arc::new(config.clone());
        let miner = history.clone().filter(|_| mail).map(|history| Miner::start(history, Arc::clone(&rules)).0);
        let (rows, feeder) = history.as_ref().map(|history| history.feed_by_bridge(miner.clone())).unzip();
        let client = handed_over.map(|network| lightpush::Client::new(v2.clone(), network));
        let outlet = client.map_or(Outlet::Relay, Outlet::Lightpush);
        let side = V2 { node: v2.clone(), events: v2_events, outlet };
        let (bridge, task) = bridge::run::start(config, v0.clone(), v0_events, side, Some(life), rows).await?;
        let (v1_reach, v2_reach) = (backfill.reach(), resume.map(of_store));
        let books = Books::open(courses, left, bridge.clone(), v1_reach, v2_reach);
        let mut filling = JoinSet::new();
        filling.spawn(Arc::clone(&books).run());
        if let (Backfill { servers, .. }, Some(history), Some(_)) = (backfill, history.clone(), v1_reach) {
            let asking = Asking { books: Arc::clone(&books), servers, history, rules: (*rules).clone() };
            filling.spawn(asking.run());
        }
        let reloader = Reloader::new(source, v0, v2, bridge.clone(), shares);
        Ok(Self { bridge, limits, route, reloader, journal, history, miner, books, filling, task, scribe, feeder })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        tokio::select! {
            _ = &mut self.task => "the bridge",
            _ = &mut self.scribe => "the bridge's journal",
            () = ended(&mut self.feeder) => "what hands rows to the archive",
        }
    }

    /// Stops it; the nodes run on. What was on its way is in the journal.
    pub(super) async fn shutdown(mut self) {
        self.filling.shutdown().await;
        self.books.look();
        self.books.save().await;
        self.bridge.shutdown().await;
        // It ends once the last batch is written.
        let _ = self.scribe.await;
        if let Some(feeder) = self.feeder {
            let _ = feeder.await;
        }
    }
}

/// A node that is new asks as far back as one that was away.
const fn of_store(most: Duration) -> Reach {
    Reach { most_secs: most.as_secs(), new_secs: most.as_secs() }
}

/// The end of a task; never, where there is none.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        // Why it ended is in the log.
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}
