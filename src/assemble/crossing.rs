//! The room of the bridge: what a bridge has beside its two nodes.

use tokio::{sync::mpsc, task::JoinHandle};

use super::StartError;
use crate::{
    config::Bridging,
    reload::Reloader,
    storage::{Database, journal::Journal},
};

/// A running bridge.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) bridge: bridge::Handle,
    pub(super) limits: bridge::Limits,
    /// What crosses where, for people.
    pub(super) route: String,
    pub(super) reloader: Reloader,
    pub(super) journal: Journal,
    task: JoinHandle<()>,
    scribe: JoinHandle<()>,
}

impl Crossing {
    /// Starts it between two nodes, of each its handle and what it tells. It goes on with what an earlier life left.
    pub(super) async fn start(
        Bridging { config, source }: Bridging,
        database: &Database,
        (v0, v0_events): (waku0::Handle, mpsc::Receiver<waku0::Event>),
        (v2, v2_events): (waku2::Handle, mpsc::Receiver<waku2::Event>),
    ) -> Result<Self, StartError> {
        let (route, limits) = (config.routes.to_string(), config.limits);
        let journal = Journal::new(database, config.seen.max_entries);
        let (life, scribe) = journal.clone().start().await.map_err(StartError::Journal)?;
        let (bridge, task) =
            bridge::run::start(config, v0.clone(), v0_events, v2.clone(), v2_events, Some(life), None).await?;
        let reloader = Reloader::new(source, v0, v2, bridge.clone());
        Ok(Self { bridge, limits, route, reloader, journal, task, scribe })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        tokio::select! {
            _ = &mut self.task => "the bridge",
            _ = &mut self.scribe => "the bridge's journal",
        }
    }

    /// Stops it; the nodes run on. What was on its way is in the journal.
    pub(super) async fn shutdown(self) {
        self.bridge.shutdown().await;
        // It ends once the last batch is written.
        let _ = self.scribe.await;
    }
}
