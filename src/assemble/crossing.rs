//! The room of the bridge: what a bridge has beside its two nodes.

use std::path::Path;

use tokio::{sync::mpsc, task::JoinHandle};

use super::StartError;
use crate::{
    config::Bridging,
    config::archive::Archive,
    reload::Reloader,
    storage::{
        Database,
        archive::{History, Tasks},
        journal::Journal,
    },
};

/// Where a bridge keeps what outlives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping<'a> {
    /// Its journal is here.
    pub(super) database: &'a Database,
    /// The archive is here, unless it is elsewhere.
    pub(super) data_dir: &'a Path,
    /// The archive, if one is wanted.
    pub(super) archive: Option<&'a Archive>,
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
    task: JoinHandle<()>,
    scribe: JoinHandle<()>,
    archiving: Option<Tasks>,
}

impl Crossing {
    /// Starts it between two nodes, of each its handle and what it tells. It goes on with what an earlier life left.
    pub(super) async fn start(
        Bridging { config, source }: Bridging,
        Keeping { database, data_dir, archive }: Keeping<'_>,
        (v0, v0_events): (waku0::Handle, mpsc::Receiver<waku0::Event>),
        (v2, v2_events): (waku2::Handle, mpsc::Receiver<waku2::Event>),
    ) -> Result<Self, StartError> {
        let (route, limits) = (config.routes.to_string(), config.limits);
        let journal = Journal::new(database, config.seen.max_entries);
        let (life, scribe) = journal.clone().start().await.map_err(StartError::Journal)?;
        let (history, rows, archiving) = match archive {
            None => (None, None, None),
            Some(wanted) => {
                let (history, rows, tasks) = History::open_for_bridge(wanted, data_dir).await?;
                (Some(history), Some(rows), Some(tasks))
            }
        };
        let (bridge, task) =
            bridge::run::start(config, v0.clone(), v0_events, v2.clone(), v2_events, Some(life), rows).await?;
        let reloader = Reloader::new(source, v0, v2, bridge.clone());
        Ok(Self { bridge, limits, route, reloader, journal, history, task, scribe, archiving })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        tokio::select! {
            _ = &mut self.task => "the bridge",
            _ = &mut self.scribe => "the bridge's journal",
            () = ended(&mut self.archiving) => "the archive",
        }
    }

    /// Stops it; the nodes run on. What was on its way is in the journal.
    pub(super) async fn shutdown(self) {
        self.bridge.shutdown().await;
        // It ends once the last batch is written.
        let _ = self.scribe.await;
        if let Some(tasks) = self.archiving {
            let _ = tasks.feeder.await;
            drop(self.history);
        }
    }
}

/// The end of either task; never, where there is no archive.
async fn ended(tasks: &mut Option<Tasks>) {
    match tasks {
        // Why it ended is in the log.
        Some(Tasks { writer, feeder }) => tokio::select! { _ = writer => (), _ = feeder => () },
        None => std::future::pending().await,
    }
}
