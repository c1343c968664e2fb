//! The shell of the asking side: subscribes at service nodes, keeps that up, and takes what they push.
//!
//! Filter v2 is spoken where a node has it, else, if wanted, the first filter, which has no answers: there a request that was written counts as
//! served. A node is called where its address is known. Messages go to whoever called [`Subscriber::messages`]; [`MESSAGES`] wait for each, and
//! whoever reads more slowly misses the oldest.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use libp2p::PeerId;
use tokio::sync::broadcast;
use tracing::{debug, info};

use super::{
    client::{Client, Due, FilterError, Generation, Node, Pushed, Unwanted},
    counters::Trouble,
    legacy,
    wire::{Operation, Push, Request, Status},
};
use crate::{
    handle::{self, Handle, Received, WeakHandle},
    run::system_rng,
    service::{Answer, AskError, OpenError, Protocol, Target, request_id},
    shard::Shard,
    topic::PubsubTopic,
};

/// Messages that wait for a reader.
pub const MESSAGES: usize = 256;

/// How often it is seen to that service nodes still serve us.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Nodes that are asked one after the other while each fails.
const TRIES: usize = 3;

/// The asking side.
#[derive(Debug)]
pub struct Subscriber {
    client: Mutex<Client>,
    node: WeakHandle,
    /// Is the first filter spoken with nodes that have no other?
    legacy: bool,
    messages: broadcast::Sender<Arc<Received>>,
    counters: Arc<handle::Counters>,
}

impl Subscriber {
    pub(super) fn new(legacy: bool, node: WeakHandle, counters: Arc<handle::Counters>) -> Self {
        let (messages, _) = broadcast::channel(MESSAGES);
        Self { client: Mutex::default(), node, legacy, messages, counters }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Result<Handle, FilterError> {
        self.node.upgrade().ok_or_else(|| FilterError::new(Status::Unavailable, "the node has stopped"))
    }

    /// What service nodes push from now on, each message once.
    #[must_use]
    pub fn messages(&self) -> broadcast::Receiver<Arc<Received>> {
        self.messages.subscribe()
    }

    /// The nodes that serve us, by pubsub topic.
    #[must_use]
    pub fn nodes(&self) -> Vec<(PubsubTopic, Node)> {
        self.client().nodes()
    }

    /// Subscribes to content topics on a pubsub topic, at the node that serves it already, else at one that is chosen. From then on the
    /// subscription is kept up until it is ended. Cancelling leaves open whether the node was asked.
    ///
    /// # Errors
    /// What the node said, or that there is none, or none that answers.
    pub async fn subscribe(&self, topic: &PubsubTopic, content_topics: &[String]) -> Result<(), FilterError> {
        self.client().room(topic, content_topics)?;
        let serving = self.client().node(topic).cloned();
        if let Some(node) = serving {
            self.subscribe_with(&node, node.peer.into(), topic, &[content_topics.to_vec()]).await?;
            self.client().subscribed(now().instant, topic, content_topics, node);
            return Ok(());
        }
        let requests = [content_topics.to_vec()];
        let node = self.subscribe_somewhere(topic, &requests, None).await.map_err(|(error, _)| error)?;
        info!(peer = %node.peer, %topic, generation = ?node.generation, "subscribed to a filter");
        self.client().subscribed(now().instant, topic, content_topics, node);
        Ok(())
    }

    /// Ends a subscription. Cancelling leaves open whether the node was asked.
    ///
    /// # Errors
    /// What the node said, or that none serves this topic.
    pub async fn unsubscribe(&self, topic: &PubsubTopic, content_topics: &[String]) -> Result<(), FilterError> {
        let serving = self.client().node(topic).cloned();
        let outcome = match serving {
            Some(node) => self.unsubscribe_at(&node, topic, content_topics).await,
            None => Err(self.nothing().await),
        };
        if outcome.as_ref().map_err(|error| error.status) != Err(Status::BadRequest) {
            self.client().unsubscribed(topic, content_topics);
        }
        outcome
    }

    async fn unsubscribe_at(
        &self,
        node: &Node,
        topic: &PubsubTopic,
        content_topics: &[String],
    ) -> Result<(), FilterError> {
        match node.generation {
            Generation::Current => {
                self.ask(node.peer.into(), Operation::Unsubscribe, Some(topic), content_topics).await
            }
            Generation::Legacy => {
                self.tell(node.peer.into(), &request_id(&mut system_rng()), false, topic, content_topics).await
            }
        }
    }

    /// Ends all subscriptions.
    ///
    /// # Errors
    /// The first thing that a node said, or that none serves us. Whatever it is, nothing is taken from them any more.
    pub async fn unsubscribe_all(&self) -> Result<(), FilterError> {
        let wanted: Vec<(PubsubTopic, Vec<String>)> =
            self.client().wanted().map(|(topic, of)| (topic.clone(), of.iter().cloned().collect())).collect();
        let nodes = self.nodes();
        self.client().unsubscribed_all();
        let mut outcome = if nodes.is_empty() { Err(self.nothing().await) } else { Ok(()) };
        let mut told: Vec<PeerId> = Vec::new();
        for (topic, node) in nodes {
            let done = match node.generation {
                Generation::Current if told.contains(&node.peer) => Ok(()),
                Generation::Current => {
                    told.push(node.peer);
                    self.ask(node.peer.into(), Operation::UnsubscribeAll, None, &[]).await
                }
                Generation::Legacy => {
                    let content_topics = wanted.iter().find(|(of, _)| *of == topic).map(|(_, of)| of.as_slice());
                    self.unsubscribe_at(&node, &topic, content_topics.unwrap_or_default()).await
                }
            };
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Asks the nodes that serve us by filter v2 whether they still do.
    ///
    /// # Errors
    /// The first thing that a node said, or that none serves us.
    pub async fn ping(&self) -> Result<(), FilterError> {
        let mut peers: Vec<PeerId> = self.nodes().into_iter().map(|(_, node)| node.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        let mut outcome = if peers.is_empty() { Err(self.nothing().await) } else { Ok(()) };
        for peer in peers {
            let pinged = self.ask(peer.into(), Operation::Ping, None, &[]).await;
            self.client().pinged(now().instant, &peer, &pinged);
            outcome = outcome.and(pinged);
        }
        outcome
    }

    /// What is wrong where nobody serves us: there may be nobody who could.
    async fn nothing(&self) -> FilterError {
        match self.node() {
            Ok(node) if node.candidates(self.protocols(), None).await.is_empty() => {
                FilterError::new(Status::Unavailable, node.no_peer().to_string())
            }
            Ok(_) => FilterError::new(Status::NotFound, "NOT_FOUND: peer has no subscriptions"),
            Err(stopped) => stopped,
        }
    }

    /// What service nodes are asked in.
    const fn protocols(&self) -> &'static [Protocol] {
        if self.legacy { &[Protocol::FilterSubscribe, Protocol::FilterV1] } else { &[Protocol::FilterSubscribe] }
    }

    /// Subscribes at some node; says who failed last, if anybody was asked.
    async fn subscribe_somewhere(
        &self,
        topic: &PubsubTopic,
        requests: &[Vec<String>],
        avoid: Option<PeerId>,
    ) -> Result<Node, (FilterError, Option<PeerId>)> {
        let node = self.node().map_err(|error| (error, None))?;
        let shard = topic.as_str().parse::<Shard>().ok().map(|shard| shard.index);
        let mut targets = node.candidates(self.protocols(), shard).await;
        // Stable: the others stay in their order.
        targets.sort_by_key(|target| Some(target.peer) == avoid);
        let mut failure = (FilterError::new(Status::Unavailable, node.no_peer().to_string()), None);
        for target in targets.into_iter().take(TRIES) {
            let peer = target.peer;
            match self.subscribe_at(target, topic, requests).await {
                Ok(node) => return Ok(node),
                // It is there and does not want this: another would not either.
                Err(error) if error.status == Status::BadRequest => return Err((error, Some(peer))),
                Err(error) => failure = (error, Some(peer)),
            }
        }
        Err(failure)
    }

    async fn subscribe_at(
        &self,
        target: Target,
        topic: &PubsubTopic,
        requests: &[Vec<String>],
    ) -> Result<Node, FilterError> {
        let current = Node { peer: target.peer, generation: Generation::Current, id: String::new() };
        match self.subscribe_with(&current, target.clone(), topic, requests).await {
            Err(error) if self.legacy && error.cause == UNSUPPORTED => {
                let legacy = Node { generation: Generation::Legacy, id: request_id(&mut system_rng()), ..current };
                self.subscribe_with(&legacy, target, topic, requests).await.map(|()| legacy)
            }
            outcome => outcome.map(|()| current),
        }
    }

    /// Subscribes in one generation, all requests one after the other.
    async fn subscribe_with(
        &self,
        node: &Node,
        target: Target,
        topic: &PubsubTopic,
        requests: &[Vec<String>],
    ) -> Result<(), FilterError> {
        self.client().asking(topic, &requests.concat(), node);
        let mut outcome = Ok(());
        for content_topics in requests {
            outcome = match node.generation {
                Generation::Current => {
                    self.ask(target.clone(), Operation::Subscribe, Some(topic), content_topics).await
                }
                Generation::Legacy => self.tell(target.clone(), &node.id, true, topic, content_topics).await,
            };
            if outcome.is_err() {
                break;
            }
        }
        self.client().answered(topic, node);
        outcome
    }

    async fn ask(
        &self,
        target: Target,
        operation: Operation,
        topic: Option<&PubsubTopic>,
        content_topics: &[String],
    ) -> Result<(), FilterError> {
        let id = request_id(&mut system_rng());
        let pubsub_topic = topic.map(ToString::to_string);
        let request = Request { id: id.clone(), operation, pubsub_topic, content_topics: content_topics.to_vec() };
        let peer = target.peer;
        let asked = self.node()?.ask(target, Protocol::FilterSubscribe, request.encode()).await;
        FilterError::check(&id, &asked.map_err(|error| unasked(peer, &error))?)
    }

    /// Asks by the first filter, which has no answer.
    async fn tell(
        &self,
        target: Target,
        id: &str,
        subscribe: bool,
        topic: &PubsubTopic,
        content_topics: &[String],
    ) -> Result<(), FilterError> {
        let pubsub_topic = Some(topic.to_string());
        let request = legacy::Request { subscribe, pubsub_topic, content_topics: content_topics.to_vec() };
        let rpc = legacy::Rpc { id: id.to_owned(), request: Some(request), push: None };
        let peer = target.peer;
        let told = self.node()?.tell(target, Protocol::FilterV1, rpc.encode()).await;
        told.map_err(|error| unasked(peer, &error))
    }

    pub(super) fn disconnected(&self, peer: &PeerId) {
        self.client().disconnected(now().instant, peer);
    }

    /// Does what is due, each thing in a task of its own; there is one at a time for each pubsub topic.
    pub(super) fn check(self: &Arc<Self>) {
        let due = self.client().due(now().instant);
        for one in due {
            let subscriber = Arc::clone(self);
            tokio::spawn(async move { subscriber.carry(one).await });
        }
    }

    async fn carry(&self, due: Due) {
        match due {
            Due::Ping(peer) => {
                let pinged = self.ask(peer.into(), Operation::Ping, None, &[]).await;
                debug!(%peer, ?pinged, "a filter node pinged");
                self.client().pinged(now().instant, &peer, &pinged);
            }
            Due::Renew { topic, requests, avoid } => {
                let found = self.subscribe_somewhere(&topic, &requests, avoid).await;
                match &found {
                    Ok(node) => info!(peer = %node.peer, %topic, "subscribed to a filter again"),
                    Err((error, tried)) => debug!(%topic, %error, ?tried, "no filter node"),
                }
                self.client().renewed(now().instant, &topic, found.map_err(|(_, tried)| tried));
            }
        }
    }

    /// Takes what filter v2 pushes.
    fn take(&self, peer: PeerId, frame: Bytes, at: Now) {
        let push = Push::decode(frame);
        let taken =
            push.map_err(|_| Unwanted::Malformed).and_then(|push| self.client().pushed(at.instant, &peer, push));
        self.give_on(peer, taken);
    }

    /// Takes what the first filter pushes.
    pub(super) fn take_legacy(&self, peer: PeerId, id: &str, messages: Vec<Bytes>, at: Now) {
        for data in messages {
            let taken = self.client().pushed_legacy(at.instant, &peer, id, data);
            self.give_on(peer, taken);
        }
    }

    fn give_on(&self, from: PeerId, taken: Result<Pushed, Unwanted>) {
        match taken {
            Ok(Pushed { topic, message, hash, data }) => {
                self.counters.filter.taken.fetch_add(1, Relaxed);
                let received = Received { pubsub_topic: topic, message, hash, data, from, proven: false };
                // An error says that nobody listens.
                let _ = self.messages.send(Arc::new(received));
            }
            Err(unwanted) => {
                debug!(peer = %from, %unwanted, "a push not taken");
                self.counters.filter.trouble(Trouble::Unwanted(unwanted));
            }
        }
    }
}

/// The words for a node that speaks another generation.
const UNSUPPORTED: &str = "it does not serve filter";

fn unasked(peer: PeerId, error: &AskError) -> FilterError {
    match error {
        AskError::Open(OpenError::Unsupported) => FilterError::new(Status::DialFailure, UNSUPPORTED),
        AskError::Open(_) => FilterError::new(Status::DialFailure, format!("{peer}: {error}")),
        AskError::Stopped => FilterError::new(Status::Unavailable, error.to_string()),
        AskError::Timeout | AskError::Frame(_) => FilterError::new(Status::BadResponse, error.to_string()),
    }
}

/// What takes the pushes of filter v2.
#[derive(Debug)]
pub(super) struct Pushes(pub(super) Arc<Subscriber>);

impl Answer for Pushes {
    fn answer(&self, peer: PeerId, push: Bytes, now: Now) -> BoxFuture<'_, Option<Bytes>> {
        self.0.take(peer, push, now);
        ready(None).boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        None
    }
}
