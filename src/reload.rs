//! Another table of routes while the bridge runs: the route file is read again, and no connection is dropped.
//!
//! In an order in which nothing is lost: shards that are new are joined, then the bridge works by the new table, then waku/0 peers
//! are told what is wanted of them, and last the shards that no route needs any more are left. What is kept of our rate changes before the
//! routes that spend it, and counts from then on, in the present epoch too. A file that makes no table changes nothing.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::Mutex;
use waku2::{PubsubTopic, subscriptions::SubscribeError};

use crate::{
    config::{
        crossing::Source,
        reserves::Reserves,
        routes::{self, RouteFileError, Table},
    },
    rln::Shares,
};

/// Why there is no new table. The old one holds.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The bridge was started without a file.
    #[error("the bridge was started without --route-file: there is nothing to read again")]
    NoFile,
    /// The file makes no table.
    #[error(transparent)]
    File(#[from] RouteFileError),
    /// A shard can't be joined.
    #[error("{0} can't be joined: {1}")]
    Join(PubsubTopic, SubscribeError),
}

/// Reads the route file again when asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloader {
    source: Arc<Source>,
    v0: waku0::Handle,
    v2: waku2::Handle,
    bridge: bridge::Handle,
    /// Of our rate, where v2 asks for proofs.
    shares: Option<Shares>,
    /// One at a time; what is kept now.
    busy: Arc<Mutex<Reserves>>,
}

impl Reloader {
    /// For a running bridge.
    #[must_use]
    pub(crate) fn new(
        source: Source,
        v0: waku0::Handle,
        v2: waku2::Handle,
        bridge: bridge::Handle,
        shares: Option<Shares>,
    ) -> Self {
        let busy = Arc::new(Mutex::new(source.reserves.clone()));
        Self { source: Arc::new(source), v0, v2, bridge, shares, busy }
    }

    /// The bridge.
    #[must_use]
    pub fn bridge(&self) -> &bridge::Handle {
        &self.bridge
    }

    /// Reads the file and works by it. Cancelling may leave shards joined that no route needs.
    ///
    /// # Errors
    /// See [`ReloadError`]; nothing has changed then, but that some shards may be joined.
    pub async fn reload(&self) -> Result<Table, ReloadError> {
        let mut kept = self.busy.lock().await;
        let path = self.source.path.as_ref().ok_or(ReloadError::NoFile)?;
        let table = routes::read(path, &self.source.around)?;
        let (before, after) = (topics(&self.bridge.routes()), topics(&table.router));
        for topic in after.difference(&before) {
            let joined = self.v2.subscribe(topic.clone()).await;
            joined.map_err(|error| ReloadError::Join(topic.clone(), error))?;
        }
        self.keep(&mut kept, &table.reserves).await;
        self.bridge.set_routes(table.router.clone()).await;
        if self.source.picky {
            self.v0.set_interest(table.router.interest()).await;
        }
        for topic in before.difference(&after).filter(|topic| !self.source.unbridged.contains(topic)) {
            self.v2.unsubscribe(topic.clone()).await;
        }
        table.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
        Ok(table)
    }

    async fn keep(&self, kept: &mut Reserves, reserves: &Reserves) {
        if let Some(shares) = self.shares.as_ref().filter(|_| kept != reserves) {
            shares.keep(reserves).await;
            let percent: Vec<String> = reserves.shares().map(|(class, percent)| format!("{class}={percent}")).collect();
            tracing::info!(
                percent = percent.join(","),
                rest = reserves.rest(),
                "other shares of our rate are kept from now on, in this epoch too"
            );
        }
        kept.clone_from(reserves);
    }
}

fn topics(router: &bridge::router::Router) -> BTreeSet<PubsubTopic> {
    router.pubsub_topics().into_iter().collect()
}
