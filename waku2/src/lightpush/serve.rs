//! The serving side: from a request to relay and back.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use devp2p::Now;
use futures::{FutureExt, future::BoxFuture};
use libp2p::PeerId;
use tracing::debug;

use super::{
    Config, Failure, NO_ID,
    server::{self, Asked, Push},
    status::relayed,
};
use crate::{
    handle::{Counters, Handle, PublishError, WeakHandle},
    service::{Answer, Protocol},
};

/// Lightpush of one version.
#[derive(Debug)]
struct Lightpush {
    legacy: bool,
    config: Config,
    node: WeakHandle,
    counters: Arc<Counters>,
}

/// What answers the requests of both versions.
pub(crate) fn answers(config: Config, node: &Handle) -> [(Protocol, Arc<dyn Answer>); 2] {
    let answer = |legacy| -> Arc<dyn Answer> {
        Arc::new(Lightpush { legacy, config, node: node.downgrade(), counters: node.counters() })
    };
    [(Protocol::LightpushV3, answer(false)), (Protocol::LightpushLegacy, answer(true))]
}

/// Publishes what somebody pushed, with a proof of ours where it has none and `proves` says so; tells to how many peers.
pub(super) async fn publish(node: &Handle, from: PeerId, push: Push, proves: bool) -> Result<u32, Failure> {
    let Push { pubsub_topic, data } = push;
    relayed(match proves {
        true => node.submit(from, pubsub_topic, data).await,
        false => node.submit_as_it_is(from, pubsub_topic, data).await,
    })
}

impl Lightpush {
    async fn push(&self, peer: PeerId, Asked { id, push }: Asked) -> (String, Result<u32, Failure>) {
        let outcome = match (push, self.node.upgrade()) {
            (Ok(push), Some(node)) => {
                self.pushed().fetch_add(1, Relaxed);
                publish(&node, peer, push, self.config.proves).await
            }
            (Ok(_), None) => Err(Failure::from(&PublishError::Stopped)),
            (Err(failure), _) => Err(failure),
        };
        if let Err(failure) = &outcome {
            debug!(%peer, code = failure.status.code(), %failure, "not pushed");
            self.counters.lightpush.failed(self.legacy, failure.status);
        }
        (id, outcome)
    }

    fn pushed(&self) -> &std::sync::atomic::AtomicU64 {
        let counters = &self.counters.lightpush;
        if self.legacy { &counters.pushed_legacy } else { &counters.pushed }
    }

    fn encode(&self, id: String, outcome: Result<u32, Failure>) -> Bytes {
        match self.legacy {
            true => server::answer_legacy(id, outcome).encode(),
            false => server::answer(id, outcome, &self.config).encode(),
        }
    }
}

impl Answer for Lightpush {
    fn answer(&self, peer: PeerId, request: Bytes, _: Now) -> BoxFuture<'_, Option<Bytes>> {
        async move {
            let asked = match self.legacy {
                true => server::asked_legacy(request, &self.config),
                false => server::asked(request, &self.config),
            };
            let (id, outcome) = self.push(peer, asked).await;
            Some(self.encode(id, outcome))
        }
        .boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        let failure = Failure::too_many();
        self.counters.lightpush.failed(self.legacy, failure.status);
        Some(self.encode(NO_ID.to_owned(), Err(failure)))
    }
}
