//! The room of the bridge: what a bridge has beside its two nodes.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};

use super::StartError;
use crate::{
    config::Bridging,
    reload::Reloader,
    storage::{Database, archive::History, journal::Journal},
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
    task: JoinHandle<()>,
    scribe: JoinHandle<()>,
    feeder: Option<JoinHandle<()>>,
}

impl Crossing {
    /// Starts it between two nodes, of each its handle and what it tells. It goes on with what an earlier life left.
    pub(super) async fn start(
        Bridging { config, source }: Bridging,
        Keeping { database, history, mail }: Keeping<'_>,
        (v0, v0_events): (waku0::Handle, mpsc::Receiver<waku0::Event>),
        (v2, v2_events): (waku2::Handle, mpsc::Receiver<waku2::Event>),
    ) -> Result<Self, StartError> {
        let (route, limits) = (config.routes.to_string(), config.limits);
        let journal = Journal::new(database, config.seen.max_entries);
        let (life, scribe) = journal.clone().start().await.map_err(StartError::Journal)?;
        let rules = Arc::new(config.clone());
        let miner = history.clone().filter(|_| mail).map(|history| Miner::start(history, rules).0);
        let (rows, feeder) = history.as_ref().map(|history| history.feed_by_bridge(miner.clone())).unzip();
        let (bridge, task) =
            bridge::run::start(config, v0.clone(), v0_events, v2.clone(), v2_events, Some(life), rows).await?;
        let reloader = Reloader::new(source, v0, v2, bridge.clone());
        Ok(Self { bridge, limits, route, reloader, journal, history, miner, task, scribe, feeder })
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
    pub(super) async fn shutdown(self) {
        self.bridge.shutdown().await;
        // It ends once the last batch is written.
        let _ = self.scribe.await;
        if let Some(feeder) = self.feeder {
            let _ = feeder.await;
        }
    }
}

/// The end of a task; never, where there is none.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        // Why it ended is in the log.
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}
