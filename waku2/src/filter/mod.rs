//! Filter: messages of some content topics for those who do not relay.  Spec: 12/WAKU2-FILTER, both generations.
//!
//! | Module | What |
//! |---|---|
//! | [`wire`] | requests, responses and pushes of filter v2 |
//! | [`legacy`] | the one message of 2.0.0-beta1 |
//! | [`subscriptions`], `scope` | who wants what, of both together |
//! | [`recent`] | messages of the last minutes |
//! | [`server`], [`push`] | the service node: what it answers, and what waits to be pushed |
//! | [`client`] | what this node itself wants, and of whom |
//! | [`serve`], [`subscriber`] | the shells of these |
//! | [`counters`] | what happened |
//!
//! All but the shells are pure. Limits stand where they are kept.

pub mod client;
pub mod counters;
pub mod legacy;
pub mod push;
pub mod recent;
mod scope;
pub mod serve;
pub mod server;
pub mod subscriber;
pub mod subscriptions;
pub mod wire;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use libp2p::PeerId;
use tokio::time::{self, MissedTickBehavior};

pub use client::FilterError;
pub use counters::Counters;
pub use subscriber::Subscriber;
pub use subscriptions::Limits;

use crate::{
    handle::{Handle, Received, Witness},
    service::{Answer, Protocol, rate::RateLimit},
    topic::PubsubTopic,
};
use serve::{SWEEP_INTERVAL, Service, Subscribe};
use subscriber::{CHECK_INTERVAL, Pushes};

/// How a node takes part in filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// Serves others so much, by both generations; nobody if none.
    pub serve: Option<Limits>,
    /// How it asks others.
    pub ask: Ask,
}

/// By which generations others are asked. What is asked by is told by identify, because pushes come by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// By none: this node asks nobody.
    #[default]
    Nobody,
    /// By filter v2.
    Current,
    /// By the first filter too where a node has no other.
    Both,
}

/// Filter as one node runs it.
#[derive(Debug)]
pub(crate) struct Filter {
    service: Option<Arc<Service>>,
    subscriber: Option<Arc<Subscriber>>,
}

impl Filter {
    /// Must be called within a Tokio runtime: what is to be done from time to time has a task of its own, which ends when this is dropped.
    pub(crate) fn start(config: Config, rates: &[RateLimit], node: &Handle) -> Arc<Self> {
        let service = |limits| Arc::new(Service::new(limits, rates, node.downgrade(), node.counters()));
        let subscriber = |legacy| Arc::new(Subscriber::new(legacy, node.downgrade(), node.counters()));
        let filter = Arc::new(Self {
            service: config.serve.map(service),
            subscriber: match config.ask {
                Ask::Nobody => None,
                Ask::Current => Some(subscriber(false)),
                Ask::Both => Some(subscriber(true)),
            },
        });
        tokio::spawn(upkeep(Arc::downgrade(&filter)));
        filter
    }

    /// The asking side, if there is one.
    pub(crate) fn subscriber(&self) -> Option<&Arc<Subscriber>> {
        self.subscriber.as_ref()
    }

    /// Who is subscribed here to what.
    pub(crate) fn subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, String)>)> {
        self.service.as_ref().map(|service| service.subscriptions()).unwrap_or_default()
    }

    /// What answers peers. The first filter has requests and pushes on one id, so that either side of ours needs it.
    pub(crate) fn answers(self: &Arc<Self>, config: Config) -> Vec<(Protocol, Arc<dyn Answer>)> {
        let mut answers: Vec<(Protocol, Arc<dyn Answer>)> = Vec::new();
        if let Some(service) = &self.service {
            answers.push((Protocol::FilterSubscribe, Arc::new(Subscribe(Arc::clone(service)))));
        }
        if let Some(subscriber) = &self.subscriber {
            answers.push((Protocol::FilterPush, Arc::new(Pushes(Arc::clone(subscriber)))));
        }
        if config.serve.is_some() || config.ask == Ask::Both {
            answers.push((Protocol::FilterV1, Arc::new(First(Arc::clone(self)))));
        }
        answers
    }
}

impl Witness for Filter {
    fn accepted(&self, message: &Arc<Received>) {
        if let Some(service) = &self.service {
            service.accepted(message);
        }
    }

    fn connected(&self, peer: PeerId) {
        if let Some(service) = &self.service {
            service.connected(peer);
        }
    }

    fn disconnected(&self, peer: &PeerId) {
        if let Some(service) = &self.service {
            service.disconnected(peer);
        }
        if let Some(subscriber) = &self.subscriber {
            subscriber.disconnected(peer);
        }
    }
}

async fn upkeep(filter: Weak<Filter>) {
    let mut checks = time::interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept_at = now().instant;
    loop {
        checks.tick().await;
        let Some(filter) = filter.upgrade() else { return };
        if let Some(subscriber) = &filter.subscriber {
            subscriber.check();
        }
        if let Some(service) = &filter.service
            && now().instant.saturating_duration_since(swept_at) >= SWEEP_INTERVAL
        {
            service.sweep();
            swept_at = now().instant;
        }
    }
}

/// What takes the first filter's requests and pushes.
#[derive(Debug)]
struct First(Arc<Filter>);

impl Answer for First {
    fn answer(&self, peer: PeerId, rpc: Bytes, now: Now) -> BoxFuture<'_, Option<Bytes>> {
        let Filter { service, subscriber } = &*self.0;
        match legacy::Rpc::decode(rpc) {
            Ok(legacy::Rpc { id, request, push }) => {
                if let (Some(service), Some(request)) = (service, request) {
                    service.serve_legacy(peer, &id, &request, now);
                }
                if let (Some(subscriber), Some(messages)) = (subscriber, push) {
                    subscriber.take_legacy(peer, &id, messages, now);
                }
            }
            Err(error) => service.iter().for_each(|service| service.undecodable(peer, &error)),
        }
        ready(None).boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        None
    }
}
