//! The shell of the service node: requests in, pushes out.
//!
//! A push is done by the task of the subscriber's connection, and has [`PUSH_TIME`] to be written. Then we end our half of its stream, and the
//! subscriber ends its own. js-waku never does, and takes no more when a hundred are open: who has not in [`END_TIME`] has his streams reset from then
//! on, [`RESET_TIME`] after he answered something that came after the push, and [`UNREAD_TIME`] after it if nothing did. How many are under way says
//! [`super::push`].

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt,
    future::{self, BoxFuture},
};
use libp2p::{PeerId, Stream};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{
    counters::{Counters, Kind, Trouble},
    legacy,
    push::{Numbered, Outboxes, Put, Read},
    server::{Delivery, Served, Server},
    subscriptions::{Form, Limits},
    wire::{Request, Response},
};
use crate::{
    handle::{self, Received, WeakHandle},
    service::{
        Answer, OpenError, Protocol,
        frame::write_frame,
        rate::{Budgets, Limiter, RateLimit},
        streams::{Open, Opened, Then, Work},
    },
    topic::PubsubTopic,
};

/// How long a push may take until it is written.  Deployed: nwaku and go-waku.
pub const PUSH_TIME: Duration = Duration::from_secs(20);

/// How long a subscriber may take to end its half of a stream.
pub const END_TIME: Duration = Duration::from_secs(2);

/// How long a stream stays that the subscriber does not end, once it answered something that came later. js-waku forgets at a reset what it has not
/// read; one that is busy for longer than this after it answered may lose a message.
pub const RESET_TIME: Duration = Duration::from_millis(500);

/// How long such a stream stays if there was nothing later to answer: who has not read it by then does not get it.
pub const UNREAD_TIME: Duration = PUSH_TIME;

/// How often those whose time is over are forgotten.  Deployed: nwaku.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Why a push did not arrive.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("not taken in time")]
    Timeout,
    #[error(transparent)]
    Open(OpenError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl From<OpenError> for PushError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Timeout => Self::Timeout,
            error => Self::Open(error),
        }
    }
}

impl PushError {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Timeout => Trouble::PushTimeout,
            Self::Open(_) => Trouble::Dial,
            // The peer does not take pushes.
            Self::Write(error) if error.kind() == io::ErrorKind::Unsupported => Trouble::Dial,
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

/// How far a push is.
enum Phase {
    Writing,
    /// It was written, and its stream is open.
    Ending,
    Over,
}

/// A push that the outboxes count. When it is dropped, its connection has ended.
struct UnderWay {
    service: Arc<Service>,
    peer: PeerId,
    phase: Phase,
}

impl UnderWay {
    async fn run(mut self, Numbered { number, delivery }: Numbered, opened: Opened) {
        let resets = {
            let outboxes = &self.service.state().outboxes;
            if opened.is_ok() {
                outboxes.opened(&self.peer, number);
            }
            outboxes.leaves_open(&self.peer)
        };
        let written =
            timeout(PUSH_TIME, write(&delivery.frame, opened, resets)).await.unwrap_or(Err(PushError::Timeout));
        let mut stream = match written {
            Ok(stream) => stream,
            Err(error) => return self.failed(&error),
        };
        let read = self.written(&delivery);
        let over = async {
            if !resets {
                sleep(END_TIME).await;
                self.service.state().outboxes.ends_streams(self.peer, false);
            }
            if let Some(read) = read {
                read.wait().await;
            }
            sleep(RESET_TIME).await;
        };
        let ended = tokio::select! {
            how = until_its_end(&mut stream) => Some(how),
            _ = timeout(UNREAD_TIME, over) => None,
        };
        drop(stream);
        self.ended(ended);
    }

    fn failed(&mut self, error: &PushError) {
        self.phase = Phase::Over;
        self.service.failed(&self.peer, error);
        let left_out = self.service.state().outboxes.failed(&self.peer);
        self.service.counters().shed(left_out);
    }

    /// Gives what tells when the subscriber has answered something that came later.
    fn written(&mut self, delivery: &Delivery) -> Option<Read> {
        self.phase = Phase::Ending;
        let took = now().instant.saturating_duration_since(delivery.accepted_at);
        self.service.counters().pushed(delivery.frame.len(), took);
        let mut state = self.service.state();
        let read = state.outboxes.read(&self.peer);
        let next = state.outboxes.written(&self.peer);
        drop(state);
        next.into_iter().for_each(|next| self.service.push(next));
        read
    }

    /// The stream has ended as it did, or in no time.
    fn ended(&mut self, how: Option<io::Result<()>>) {
        self.phase = Phase::Over;
        let in_time = how.is_some();
        let failure = how.and_then(Result::err).map(PushError::from);
        if let Some(error) = &failure {
            self.service.failed(&self.peer, error);
        }
        let mut state = self.service.state();
        if failure.is_none() {
            state.server.subscriptions().reached(now().instant, &self.peer);
            state.outboxes.ends_streams(self.peer, in_time);
        }
        let next = state.outboxes.ended(&self.peer);
        drop(state);
        next.into_iter().for_each(|next| self.service.push(next));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        match self.phase {
            Phase::Writing => self.failed(&PushError::Open(OpenError::Closed)),
            Phase::Ending => self.ended(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
            Phase::Over => {}
        }
    }
}

/// Writes a push, and that no other follows. What is not ended by us is reset when it is dropped.
async fn write(frame: &[u8], opened: Opened, resets: bool) -> Result<Stream, PushError> {
    let (_, mut stream) = opened?;
    write_frame(&mut stream, frame).await?;
    if !resets {
        stream.close().await?;
    }
    Ok(stream)
}

/// Waits for the subscriber to end its half.
async fn until_its_end(stream: &mut Stream) -> io::Result<()> {
    let mut unread = [0; 64];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
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
        let (mut ready, mut left_out) = (Vec::with_capacity(deliveries.len()), 0);
        for delivery in deliveries {
            match state.outboxes.put(delivery) {
                Put::Write(push) => ready.push(push),
                Put::Waits => {}
                Put::Full => left_out += 1,
            }
        }
        drop(state);
        self.counters().shed(left_out);
        ready.into_iter().for_each(|push| self.push(push));
    }

    /// Pushes on a stream of its own, in the task of the subscriber's connection.
    fn push(self: &Arc<Self>, push: Numbered) {
        let Some(node) = self.node.upgrade() else { return };
        let peer = push.delivery.peer;
        let protocol = match push.delivery.form {
            Form::Current => Protocol::FilterPush,
            Form::Legacy(_) => Protocol::FilterV1,
        };
        let under_way = UnderWay { service: Arc::clone(self), peer, phase: Phase::Writing };
        let work: Work = Box::new(move |opened| under_way.run(push, opened).boxed());
        let open = Open { offer: [protocol].into_iter().collect(), then: Then::Do(work) };
        if let Err(error) = node.shared.lines.open(&peer, open) {
            debug!(%peer, %error, "no stream for a push");
        }
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
        future::ready(self.0.answer(peer, &request, now)).boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        Some(Response::over_rate().encode())
    }
}
