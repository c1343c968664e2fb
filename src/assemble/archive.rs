//! The room of the archive: what is kept, whoever keeps it there.

use std::path::Path;

use tokio::task::JoinHandle;

use super::StartError;
use crate::{
    config::archive::{Archive, Place},
    storage::archive::History,
};

/// An open archive, and the task that writes it.
#[derive(Debug)]
pub(super) struct ArchiveRoom {
    pub(super) history: History,
    /// What it is kept in, for metrics.
    pub(super) engine: &'static str,
    writer: JoinHandle<()>,
}

impl ArchiveRoom {
    /// Opens it.
    pub(super) async fn start(wanted: &Archive, data_dir: &Path) -> Result<Self, StartError> {
        let (history, writer) = History::open(wanted, data_dir).await?;
        let engine = match wanted.place {
            Place::Memory => "memory",
            Place::Sqlite(_) => "sqlite",
            Place::Postgres { .. } => "postgres",
        };
        Ok(Self { history, engine, writer })
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        let _ = (&mut self.writer).await;
        "the archive"
    }

    /// Lets go of it. Whoever handed something in has waited until it was written, and has stopped.
    pub(super) async fn shutdown(self) {
        self.history.archive().close().await;
    }
}
