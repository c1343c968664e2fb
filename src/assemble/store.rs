//! The room of history for the Waku Network: what keeps what is relayed, and answers who asks.

use std::sync::{Arc, atomic::AtomicU64};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use waku2::{
    PubsubTopic,
    service::{Protocol, Services},
    store::serve::{Counters, Store},
};

use super::crossing::Crossing;
use crate::{
    config,
    storage::archive::History,
    store::{
        ArchivedHistory,
        keep::{self, MESSAGES, Stats, Tap},
        resume::{self, Progress},
    },
};

/// A running store.
#[derive(Debug)]
pub(super) struct StoreRoom {
    /// What answers, whoever asks.
    pub(super) history: Arc<ArchivedHistory>,
    /// Is version 3 answered?
    pub(super) v3: bool,
    /// Is version 2.0.0-beta4?
    pub(super) legacy: bool,
    /// What each protocol counts.
    pub(super) served: Vec<(Protocol, Arc<Counters>)>,
    /// What became of what was relayed.
    pub(super) stats: Arc<Stats>,
    /// Messages that found no room on their way to the archive.
    pub(super) shed: Arc<AtomicU64>,
    /// What is made up for.
    pub(super) resumed: Arc<Progress>,
    keeper: Option<JoinHandle<()>>,
    /// What was missed, and when we were last here.
    resuming: JoinSet<()>,
}

impl StoreRoom {
    /// Takes its place among the services of a node that is about to start.
    pub(super) fn mount(config: &config::store::Store, history: &History, services: &mut Services) -> Self {
        let archived = Arc::new(ArchivedHistory::new(history.archive().clone(), config.proven_only));
        let mut served = Vec::new();
        let mut serve = |store: Store| {
            served.push((store.protocol(), store.counters()));
            services.answers.insert(store.protocol(), Arc::new(store));
        };
        if config.v3 {
            serve(Store::v3(Arc::clone(&archived) as _));
        }
        if config.legacy {
            serve(Store::legacy(Arc::clone(&archived) as _));
        }
        let (messages, inbox) = mpsc::channel(MESSAGES);
        let tap = Tap::new(messages);
        let (shed, stats) = (tap.shed(), Arc::new(Stats::default()));
        // A bridge that serves no store keeps what crosses, and no more.
        let keeper = config.serves().then(|| {
            services.witnesses.push(Arc::new(tap));
            tokio::spawn(keep::keep(history.clone(), inbox, Arc::clone(&stats)))
        });
        Self {
            history: archived,
            v3: config.v3,
            legacy: config.legacy,
            served,
            stats,
            shed,
            resumed: Arc::default(),
            keeper,
            resuming: JoinSet::new(),
        }
    }

    /// Begins to make up for an absence, if that is wanted: the node has started. Of what a bridge bridges its books say what to ask for.
    pub(super) fn resume(
        &mut self,
        config: &config::store::Store,
        history: &History,
        crossing: Option<&Crossing>,
        node: &waku2::Handle,
        topics: Vec<PubsubTopic>,
        directory: &std::path::Path,
    ) {
        let Some(most) = config.resume else { return };
        let bridged = crossing.map(|crossing| crossing.books.routes());
        let is_bridged = |topic: &PubsubTopic| bridged.as_ref().is_some_and(|routes| routes.knows(topic));
        let resuming = resume::Resuming {
            node: node.downgrade(),
            history: history.clone(),
            miner: crossing.and_then(|crossing| crossing.miner.clone()),
            topics: topics.into_iter().filter(|topic| !is_bridged(topic)).collect(),
            most,
            require_proof: config.require_proof,
            proofs: node.past_proofs().cloned(),
            progress: Arc::clone(&self.resumed),
        };
        if let Some(crossing) = crossing {
            self.resuming.spawn(resume::follow(resuming.clone(), Arc::clone(&crossing.books)));
        }
        if !resuming.topics.is_empty() {
            self.resuming.spawn(resume::run(resuming, directory.join(resume::LAST_ONLINE)));
        }
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        match &mut self.keeper {
            Some(keeper) => drop(keeper.await),
            None => std::future::pending().await,
        }
        "what hands messages to the archive"
    }

    /// Waits until all that was relayed is written; the node has stopped.
    pub(super) async fn shutdown(mut self) {
        self.resuming.shutdown().await;
        if let Some(keeper) = self.keeper {
            let _ = keeper.await;
        }
    }
}
