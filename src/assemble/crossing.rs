//! The room of the bridge: what a bridge has beside its two nodes.

use tokio::{sync::mpsc, task::JoinHandle};

use super::StartError;

/// A running bridge.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) bridge: bridge::Handle,
    pub(super) limits: bridge::Limits,
    /// What crosses where, for people.
    pub(super) route: String,
    task: JoinHandle<()>,
}

impl Crossing {
    /// Starts it between two nodes, of each its handle and what it tells.
    pub(super) async fn start(
        config: bridge::config::Config,
        (v0, v0_events): (waku0::Handle, mpsc::Receiver<waku0::Event>),
        (v2, v2_events): (waku2::Handle, mpsc::Receiver<waku2::Event>),
    ) -> Result<Self, StartError> {
        let (route, limits) = (config.routes.to_string(), config.limits);
        let (bridge, task) = bridge::run::start(config, v0, v0_events, v2, v2_events).await?;
        Ok(Self { bridge, limits, route, task })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        let _ = (&mut self.task).await;
        "the bridge"
    }

    /// Stops it; the nodes run on.
    pub(super) async fn shutdown(self) {
        self.bridge.shutdown().await;
    }
}
