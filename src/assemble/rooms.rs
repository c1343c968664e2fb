//! All rooms of a running node: what is told of them, and how they end.

use std::{future::pending, sync::Arc};

use devp2p::clock::now;

use super::{api, archive::ArchiveRoom, crossing::Crossing, mail::MailRoom, store::StoreRoom, v0::V0Room, v2::V2Room};
use crate::probe::{CrossingProbe, MailProbe, Probe, StoreProbe, V0Probe, V2Probe};
use crate::rln;

/// Those that there are.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) v0: Option<V0Room>,
    pub(super) v2: Option<V2Room>,
    pub(super) crossing: Option<Crossing>,
    pub(super) mail: Option<MailRoom>,
    pub(super) store: Option<StoreRoom>,
    pub(super) archive: Option<ArchiveRoom>,
}

impl Rooms {
    /// Those that REST asks.
    pub(super) fn asked(&self) -> api::Rooms<'_> {
        let record = self.v0.as_ref().and_then(|v0| v0.record.clone());
        api::Rooms { v2: self.v2.as_ref(), store: self.store.as_ref(), record }
    }

    /// What metrics and health look at.
    pub(super) fn probe(&self) -> Probe {
        let Self { v0, v2, crossing, .. } = self;
        Probe {
            v0: v0.as_ref().map(|v0| V0Probe {
                node: v0.node.clone(),
                ledger: v0.ledger.clone(),
                max_peers: v0.max_peers,
                found: v0.discovery.sources().clone(),
            }),
            v2: v2.as_ref().map(|v2| V2Probe {
                node: v2.node.clone(),
                answers_exchange: v2.answers_exchange,
                rln: v2.rln.as_ref().map(rln::Room::probe),
            }),
            crossing: crossing.as_ref().map(|crossing| CrossingProbe {
                bridge: crossing.bridge.clone(),
                books: Arc::clone(&crossing.books),
                limits: crossing.limits,
                reloader: crossing.reloader.clone(),
                journal: crossing.journal.clone(),
                history: crossing.history.clone(),
            }),
            mail: self.mail_probe(),
            store: self.store_probe(),
            began: now().unix,
        }
    }

    /// A mailserver beside a bridge leaves the archive's own figures to the bridge's.
    fn mail_probe(&self) -> Option<MailProbe> {
        let (mail, v0) = self.mail.as_ref().zip(self.v0.as_ref())?;
        Some(MailProbe {
            stats: Arc::clone(&mail.server.stats),
            node: v0.node.clone(),
            history: self.crossing.is_none().then(|| mail.server.history.clone()),
            engine: self.archive.as_ref().map_or("sqlite", |archive| archive.engine),
        })
    }

    /// A store beside a bridge or a mailserver does the same.
    fn store_probe(&self) -> Option<StoreProbe> {
        let (store, v2) = self.store.as_ref().zip(self.v2.as_ref())?;
        let told = self.crossing.is_some() || self.mail.is_some();
        Some(StoreProbe {
            served: store.served.clone(),
            stats: Arc::clone(&store.stats),
            shed: Arc::clone(&store.shed),
            resumed: Arc::clone(&store.resumed),
            read_took: store.history.took(),
            node: v2.node.clone(),
            writer: self.archive.as_ref().map(|archive| archive.history.writer().clone()),
            history: self.archive.as_ref().filter(|_| !told).map(|archive| archive.history.clone()),
        })
    }

    /// Returns the name of the first part that ends by itself, which none should.
    pub(super) async fn failed(&mut self) -> &'static str {
        macro_rules! end {
            ($room:ident) => {
                async {
                    match &mut self.$room {
                        Some(room) => room.failed().await,
                        None => pending().await,
                    }
                }
            };
        }
        tokio::select! {
            part = end!(v0) => part,
            part = end!(v2) => part,
            part = end!(crossing) => part,
            part = end!(mail) => part,
            part = end!(store) => part,
            part = end!(archive) => part,
        }
    }

    /// Stops in order: first what takes work, then what it is handed to. Peers are told.
    pub(super) async fn shutdown(self) {
        if let Some(crossing) = self.crossing {
            crossing.shutdown().await;
        }
        if let Some(v2) = self.v2 {
            v2.shutdown().await;
        }
        if let Some(v0) = self.v0 {
            v0.shutdown().await;
        }
        // These end with their nodes.
        if let Some(mail) = self.mail {
            mail.shutdown().await;
        }
        if let Some(store) = self.store {
            store.shutdown().await;
        }
        if let Some(archive) = self.archive {
            archive.shutdown().await;
        }
    }
}
