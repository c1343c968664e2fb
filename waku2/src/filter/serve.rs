//! The shell of the service node: requests in, pushes out.
//!
//! A push has [`PUSH_TIME`] to be written. Then we end our half of its stream, and the subscriber ends its own. js-waku never does, and takes no
//! more when a hundred are open: whoever has not in [`END_TIME`] has his streams reset from then on, [`RESET_TIME`] after the push. How many are
//! under way says [`super::push`].

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt,
    future::{BoxFuture, ready},
};
use libp2p::{PeerId, Stream};
use tokio::time::timeout;
use tracing::debug;

use super::{
    counters::{Counters, Kind, Trouble},
    legacy,
    push::{Outboxes, Put},
    server::{Delivery, Served, Server},
    subscriptions::{Form, Limits},
    wire::{Request, Response},
};
use crate::{
    handle::{self, Received, WeakHandle},
    service::{
        Answer, AskError, OpenError, Protocol,
        frame::{FrameError, write_frame},
        rate::{Budgets, Limiter, RateLimit},
    },
    topic::PubsubTopic,
};

/// How long a push may take until it is written.  Deployed: nwaku and go-waku.
pub const PUSH_TIME: Duration = Duration::from_secs(20);

/// How long a subscriber may take to end its half of a stream.
pub const END_TIME: Duration = Duration::from_secs(2);

/// How long a stream stays that the subscriber does not end. What it has not read by then may be lost to it, though not to js-waku, which reads what came before a reset.
pub const RESET_TIME: Duration = Duration::from_millis(500);

/// How often those whose time is over are forgotten.  Deployed: nwaku.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Why a push did not arrive.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("not taken in time")]
    Timeout,
    #[error(transparent)]
    Open(AskError),
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

impl From<AskError> for PushError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Open(OpenError::Timeout) | AskError::Timeout => Self::Timeout,
            AskError::Frame(FrameError::Io(error)) => Self::Write(error),
            error => Self::Open(error),
        }
    }
}

impl PushError {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Timeout => Trouble::PushTimeout,
            Self::Open(_) => Trouble::Dial,
            Self::Write(_) => Trouble::PushWrite,
        }
    }
}

#[derive(Debug)]
struct State {
    server: Server,
    outboxes: Outboxes,
    /// Of the first filter, whose requests and pushes come on one id.
    limiter: Limiter,
}

/// A push that was written.
struct End {
    peer: PeerId,
    stream: Stream,
    /// Is its stream ended by a reset?
    resets: bool,
}

/// The serving side.
#[derive(Debug)]
pub(super) struct Service {
    state: Mutex<State>,
    node: WeakHandle,
    counters: Arc<handle::Counters>,
}

impl Service {
    pub(super) fn new(limits: Limits, rates: &[RateLimit], node: WeakHandle, counters: Arc<handle::Counters>) -> Self {
        let limiter = Limiter::new(Budgets::of(Protocol::FilterV1, rates));
        let state = State { server: Server::new(limits), outboxes: Outboxes::default(), limiter };
        Self { state: Mutex::new(state), node, counters }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> &Counters {
        &self.counters.filter
    }

    fn count_subscribers(&self, state: &mut State) {
        let subscribers = state.server.subscriptions().peers();
        self.counters().subscribers.store(subscribers as u64, Relaxed);
    }

    pub(super) fn connected(&self, peer: PeerId) {
        self.state().server.subscriptions().connected(now().instant, peer);
    }

    pub(super) fn disconnected(&self, peer: &PeerId) {
        let mut state = self.state();
        state.server.subscriptions().disconnected(now().instant, peer);
        state.outboxes.ends_streams(*peer, true);
    }

    pub(super) fn subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, String)>)> {
        self.state().server.subscriptions().all()
    }

    pub(super) fn sweep(&self) {
        let mut state = self.state();
        state.server.subscriptions().sweep(now().instant);
        self.count_subscribers(&mut state);
    }

    /// Answers a request of filter v2; what cannot be read has no answer.
    fn answer(&self, peer: PeerId, request: &[u8], at: Now) -> Option<Bytes> {
        let request = Request::decode(request).inspect_err(|error| self.undecodable(peer, error)).ok()?;
        let kind = Kind::Current(request.operation);
        let mut state = self.state();
        let response = state.server.answer(at.instant, peer, request);
        self.count_subscribers(&mut state);
        drop(state);
        debug!(%peer, kind = kind.name(), code = response.status.code(), "filter asked");
        self.counters().asked(kind, now().instant.saturating_duration_since(at.instant));
        Some(response.encode())
    }

    pub(super) fn undecodable(&self, peer: PeerId, error: &super::wire::FilterWireError) {
        debug!(%peer, %error, "not a message of filter");
        self.counters().trouble(Trouble::Undecodable);
    }

    /// Serves a request of the first filter.
    pub(super) fn serve_legacy(&self, peer: PeerId, id: &str, request: &legacy::Request, at: Now) {
        let mut state = self.state();
        if !state.limiter.take(at.instant, peer) {
            debug!(%peer, "the first filter asked too often");
            return self.counters().trouble(Trouble::OverRate);
        }
        let served = state.server.serve_legacy(at.instant, peer, id, request);
        self.count_subscribers(&mut state);
        drop(state);
        debug!(%peer, ?served, "the first filter asked");
        match served {
            Ok(Served::Subscribed | Served::Unsubscribed) => {}
            Ok(Served::MatchesNothing) => self.counters().trouble(Trouble::MatchesNothing),
            Err(refusal) => self.counters().trouble(Trouble::Refused(refusal)),
        }
        let took = now().instant.saturating_duration_since(at.instant);
        self.counters().asked(Kind::Legacy(request.subscribe), took);
    }

    /// Pushes an accepted message to whoever wants it. Returns at once.
    pub(super) fn accepted(self: &Arc<Self>, received: &Received) {
        let Received { pubsub_topic, message, hash, data, .. } = received;
        let mut state = self.state();
        let content_topic = message.content_topic.as_str();
        let deliveries = state.server.accepted(now().instant, pubsub_topic, content_topic, *hash, data);
        if deliveries.is_empty() {
            return;
        }
        self.counters().messages.fetch_add(1, Relaxed);
        let mut left_out = 0;
        for delivery in deliveries {
            match state.outboxes.put(delivery) {
                Put::Write(delivery) => drop(tokio::spawn(Arc::clone(self).push(delivery))),
                Put::Waits => {}
                Put::Full => left_out += 1,
            }
        }
        self.counters().shed(left_out);
    }

    /// Writes a push, and then those that wait for the same subscriber.
    async fn push(self: Arc<Self>, delivery: Delivery) {
        let mut next = Some(delivery);
        while let Some(delivery) = next {
            let written = timeout(PUSH_TIME, self.write(&delivery)).await.unwrap_or(Err(PushError::Timeout));
            next = match written {
                Ok(end) => self.written(&delivery, end),
                Err(error) => {
                    self.failed(&delivery.peer, &error);
                    let left_out = self.state().outboxes.failed(&delivery.peer);
                    self.counters().shed(left_out);
                    None
                }
            };
        }
    }

    async fn write(&self, delivery: &Delivery) -> Result<End, PushError> {
        let Delivery { peer, form, frame, .. } = delivery;
        let node = self.node.upgrade().ok_or(AskError::Stopped)?;
        let protocol = match form {
            Form::Current => Protocol::FilterPush,
            Form::Legacy(_) => Protocol::FilterV1,
        };
        let (_, mut stream) = node.open((*peer).into(), [protocol]).await?;
        write_frame(&mut stream, frame).await?;
        // What is not ended by us is reset when it is dropped.
        let resets = self.state().outboxes.leaves_open(peer);
        if !resets {
            stream.close().await?;
        }
        Ok(End { peer: *peer, stream, resets })
    }

    fn written(self: &Arc<Self>, delivery: &Delivery, end: End) -> Option<Delivery> {
        let took = now().instant.saturating_duration_since(delivery.accepted_at);
        self.counters().pushed(delivery.frame.len(), took);
        tokio::spawn(Arc::clone(self).end(end));
        self.state().outboxes.written(&delivery.peer)
    }

    /// Waits for the subscriber to end its half.
    async fn end(self: Arc<Self>, end: End) {
        let End { peer, mut stream, resets } = end;
        let mut unread = [0; 64];
        let ended = timeout(if resets { RESET_TIME } else { END_TIME }, async {
            while stream.read(&mut unread).await? > 0 {}
            Ok::<(), std::io::Error>(())
        });
        let ended = ended.await.map(|read| read.map_err(PushError::Write));
        drop(stream);
        if let Some(next) = self.ended(&peer, ended.as_ref().ok()) {
            self.push(next).await;
        }
    }

    /// A stream has ended as it did, or in no time. Gives what is to be pushed next.
    fn ended(&self, peer: &PeerId, how: Option<&Result<(), PushError>>) -> Option<Delivery> {
        if let Some(Err(error)) = how {
            self.failed(peer, error);
        }
        let mut state = self.state();
        if !matches!(how, Some(Err(_))) {
            state.server.subscriptions().reached(now().instant, peer);
            state.outboxes.ends_streams(*peer, how.is_some());
        }
        state.outboxes.ended(peer)
    }

    fn failed(&self, peer: &PeerId, error: &PushError) {
        debug!(%peer, %error, "not pushed");
        self.counters().trouble(error.trouble());
        self.state().server.subscriptions().failed(now().instant, peer);
    }
}

/// What answers filter v2.
#[derive(Debug)]
pub(super) struct Subscribe(pub(super) Arc<Service>);

impl Answer for Subscribe {
    fn answer(&self, peer: PeerId, request: Bytes, now: Now) -> BoxFuture<'_, Option<Bytes>> {
        ready(self.0.answer(peer, &request, now)).boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        Some(Response::over_rate().encode())
    }
}
