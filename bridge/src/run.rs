//! The shell: both networks' events and the mining pool's answers into the core, its actions out.
//!
//! The loop never waits for a network. Publishing and posting are tasks whose answers come back as events. The core lets
//! [`crate::config::Limits::max_in_flight`] of them run each way and waits for the answer of each, so each has a time
//! limit here.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use devp2p::clock::{self, Now};
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinHandle, JoinSet},
    time::{self, MissedTickBehavior, sleep_until, timeout},
};

use crate::{
    action::Action,
    answer::Answer,
    bridge::Bridge,
    canary::{Canary, Probe},
    config::{Config, ConfigError},
    crossing::{Crossing, Direction},
    handle::{Handle, Request, Status},
    history::{Archive, NotKept},
    job::JobId,
    journal::{Journal, Unfinished},
    keeper::{Done, Keeper},
    outlet::Outlet,
    scribe::Scribe,
    seal::{Mining, SealError, SealPool, Sealed},
    skew::{Skew, further},
};

/// How long a publish or a post may take before it counts as failed. Both only hand something to a node's task.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Sealed envelopes waiting for the loop; the pool's threads wait beyond it.
const SEALED_QUEUE: usize = 64;
/// Events of one side that are taken before what follows from them is carried out: a turn of the loop costs as much as an event, and
/// none of these waits for anything.
const BATCH_EVENTS: usize = 64;
/// How often the log says how much crossed.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// The side of the Waku Network.
#[derive(Debug)]
pub struct V2 {
    /// Its node.
    pub node: waku2::Handle,
    /// What that tells, which the bridge alone takes.
    pub events: mpsc::Receiver<waku2::Event>,
    /// Who publishes there.
    pub outlet: Outlet,
}

/// A bridge that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No bridge can work by the settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system gives no threads to mine with.
    #[error("no thread to mine with: {0}")]
    Threads(#[from] io::Error),
}

/// Starts a bridge between two running nodes, whose events it alone takes. It ends with [`Handle::shutdown`], or when both
/// streams of events have ended. Async so that it is called inside a runtime, whose tasks it starts. With a journal it takes up
/// what an earlier life left, and goes on with what was on its way. With an archive
/// it gives away what crossed, and what could not.
///
/// # Errors
/// [`StartError`], before anything runs.
pub async fn start(
    config: Config,
    v0: waku0::Handle,
    v0_events: mpsc::Receiver<waku0::Event>,
    v2: V2,
    journal: Option<Journal>,
    archive: Option<Archive>,
) -> Result<(Handle, JoinHandle<()>), StartError> {
    let (sealed, seals) = mpsc::channel(SEALED_QUEUE);
    let (stop, stopped) = watch::channel(false);
    let mining = Arc::<Mining>::default();
    let (handle, requests) = Handle::new(&config.routes, Arc::clone(&mining), stop);
    let (threads, limits) = (config.pow_threads, config.limits);
    let V2 { node: v2, events: v2_events, outlet } = v2;
    let key = Sha256::digest(v2.peer_id().to_bytes()).into();
    let (proofs, handed_over) = (v2.verifies_proofs(), outlet.is_elsewhere());
    let config = Config { journal: journal.is_some(), archive: archive.is_some(), proofs, handed_over, key, ..config };
    let mut bridge = Bridge::new(config, rng())?;
    let mut left = VecDeque::new();
    let scribe = journal.map(|journal| {
        bridge.recall(clock::now(), &journal.ended);
        bridge.recall_gaps(&journal.gaps);
        left = journal.unfinished.into();
        Scribe::new(journal.batches)
    });
    let pool = SealPool::start(threads, &limits, sealed, mining)?;
    let canary = bridge.config().canary.then(|| (Canary::new(clock::now(), v2.peer_id()), rng()));
    let shell = Shell {
        bridge,
        left,
        handle: handle.clone(),
        pool,
        v0,
        v2,
        outlet,
        scribe,
        keeper: archive.map(Keeper::new),
        canary,
        skew: Skew::default(),
        clock_skew_nanos: None,
        mismatches_told: 0,
        running: JoinSet::new(),
        jobs: HashMap::new(),
    };
    let inputs = Inputs { v0: Some(v0_events), v2: Some(v2_events), seals, requests, stopped };
    Ok((handle, tokio::spawn(shell.run(inputs))))
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn rng() -> StdRng {
    rand::make_rng()
}

/// Whatever the loop waits for beside its own tasks.
struct Inputs {
    /// `None` once ended.
    v0: Option<mpsc::Receiver<waku0::Event>>,
    /// `None` once ended.
    v2: Option<mpsc::Receiver<waku2::Event>>,
    seals: mpsc::Receiver<(JobId, Sealed)>,
    requests: mpsc::Receiver<Request>,
    stopped: watch::Receiver<bool>,
}

struct Shell {
    bridge: Bridge,
    /// What was on its way in an earlier life and has not begun again: it begins as there is room, the oldest first.
    left: VecDeque<Unfinished>,
    handle: Handle,
    pool: SealPool,
    v0: waku0::Handle,
    v2: waku2::Handle,
    outlet: Outlet,
    scribe: Option<Scribe>,
    keeper: Option<Keeper>,
    canary: Option<(Canary, StdRng)>,
    /// What v1 peers say of our clock.
    skew: Skew<devp2p::ConnId>,
    clock_skew_nanos: Option<i64>,
    /// Envelopes of bridges set up differently, as far as the operator was told.
    mismatches_told: u64,
    /// Publishing and posting: at most as many as the core has in flight.
    running: JoinSet<Answer>,
    jobs: HashMap<task::Id, JobId>,
}

impl Shell {
    async fn run(mut self, mut inputs: Inputs) {
        let mut summary = time::interval(SUMMARY_EVERY);
        summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
        summary.reset();
        self.count_v0_peers(clock::now());
        while inputs.v0.is_some() || inputs.v2.is_some() {
            self.resume();
            self.carry_all();
            let wake_at = self.wake_at();
            tokio::select! {
                event = next(&mut inputs.v0) => match event {
                    Some(event) => {
                        self.v0_event(event);
                        waiting(&mut inputs.v0).for_each(|event| self.v0_event(event));
                    }
                    None => inputs.v0 = None,
                },
                event = next(&mut inputs.v2) => match event {
                    Some(event) => {
                        self.v2_event(event);
                        waiting(&mut inputs.v2).for_each(|event| self.v2_event(event));
                    }
                    None => inputs.v2 = None,
                },
                Some((job, sealed)) = inputs.seals.recv() => self.bridge.sealed(clock::now(), job, sealed),
                Some(ended) = self.running.join_next_with_id() => {
                    self.answered(ended);
                    while let Some(ended) = self.running.try_join_next_with_id() {
                        self.answered(ended);
                    }
                }
                written = written(&mut self.scribe) => {
                    let now = clock::now();
                    written.into_iter().for_each(|job| self.bridge.noted(now, job));
                }
                Some(request) = inputs.requests.recv() => self.answer(request),
                (jobs, result) = archived(&mut self.keeper) => {
                    let now = clock::now();
                    jobs.into_iter().for_each(|job| self.bridge.kept(now, job, result));
                }
                () = until(wake_at) => self.tick(),
                _ = summary.tick() => self.summarise(),
                _ = inputs.stopped.wait_for(|stop| *stop) => break,
            }
        }
        self.stop(inputs).await;
    }

    fn wake_at(&self) -> Option<std::time::Instant> {
        let canary = self.canary.as_ref().map(|(canary, ..)| canary.wake_at());
        self.bridge.wake_at().into_iter().chain(canary).min()
    }

    fn tick(&mut self) {
        let now = clock::now();
        self.bridge.tick(now);
        let Some((canary, rng)) = &mut self.canary else { return };
        for probe in canary.fly(now, self.bridge.config(), rng) {
            match probe {
                Probe::Envelope(envelope) => self.bridge.envelope(now, &envelope),
                Probe::Message(received) => self.bridge.message(now, &received),
            }
        }
    }

    fn resume(&mut self) {
        while let Some(next) = self.left.pop_front_if(|next| self.bridge.has_room(next.direction())) {
            self.bridge.resume(clock::now(), &next, self.v2.peer_id());
        }
    }

    /// Carries out all that the core wants done now.
    fn carry_all(&mut self) {
        while let Some(action) = self.bridge.next_action() {
            self.carry(action);
        }
        let (v1_peers, v2_peers) = self.bridge.peers();
        if let Some(scribe) = &mut self.scribe {
            scribe.write(|direction| match direction {
                // Another node has said that it sent it.
                Direction::V1ToV2 => v2_peers > 0 || self.outlet.is_elsewhere(),
                Direction::V2ToV1 => v1_peers > 0,
            });
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.write();
        }
        self.look_at_the_clock(clock::now());
        self.handle.set_status(Status {
            v1_peers,
            v2_peers,
            depths: self.bridge.depths(),
            waiting_to_mine: self.pool.waiting() + self.bridge.waiting_for_pool(),
            journal_waiting: self.scribe.as_ref().map_or(0, Scribe::waiting),
            tally: self.bridge.tally(),
            seen_entries: self.bridge.seen_entries(),
            clock_skew_nanos: self.clock_skew_nanos,
            canaries: self.canary.as_ref().map(|(canary, ..)| canary.readings()),
        });
        if let Some(gaps) = self.bridge.new_gaps() {
            self.handle.set_gaps(gaps);
        }
        if let Some(sources) = self.bridge.new_sources() {
            self.handle.set_sources(sources);
        }
    }

    fn carry(&mut self, action: Action) {
        match action {
            Action::Publish { job, topic, data, class } => {
                let (v2, outlet) = (self.v2.clone(), self.outlet.clone());
                self.spawn(job, outlet.publish(v2, topic, data, class));
            }
            Action::Post { job, envelope } => {
                let v0 = self.v0.clone();
                self.spawn(job, async move { v0.post(envelope).await.into() });
            }
            Action::Seal(job) => {
                for shed in self.pool.submit(job) {
                    self.bridge.sealed(clock::now(), shed, Err(SealError::Shed));
                }
            }
            Action::CancelSeal(job) => self.pool.cancel(job),
            Action::Begin { job, note } => {
                if let Some(scribe) = &mut self.scribe {
                    scribe.begin(job, note);
                }
            }
            Action::End { direction, note } => {
                if let Some(scribe) = &mut self.scribe {
                    scribe.end(direction, note);
                }
            }
            Action::Keep { job, kept } => {
                let result = self.keeper.as_mut().map_or(Err(NotKept), |keeper| keeper.keep(job, *kept));
                if result.is_err() {
                    self.bridge.kept(clock::now(), job, result);
                }
            }
            Action::Report(crossing) => self.report(crossing),
        }
    }

    fn spawn(&mut self, job: JobId, attempt: impl Future<Output = Answer> + Send + 'static) {
        let attempt = async { timeout(ANSWER_TIMEOUT, attempt).await.unwrap_or(Answer::Failed) };
        let task = self.running.spawn(attempt);
        self.jobs.insert(task.id(), job);
    }

    fn answered(&mut self, ended: Result<(task::Id, Answer), JoinError>) {
        let (task, answer) = ended.unwrap_or_else(|error| (error.id(), Answer::Failed));
        if let Some(job) = self.jobs.remove(&task) {
            let now = clock::now();
            // What a post means depends on it, and a full queue of events may have lost the change.
            self.count_v0_peers(now);
            self.bridge.answered(now, job, answer);
        }
    }

    fn v0_event(&mut self, event: waku0::Event) {
        let now = clock::now();
        match event {
            waku0::Event::Envelope { envelope, from } => {
                self.skew.note(now, from, envelope.sent());
                self.bridge.envelope(now, &envelope);
            }
            waku0::Event::PeerRunning { .. } | waku0::Event::PeerGone { .. } => self.count_v0_peers(now),
            // What trusted peers send outside of gossip is not for the network. A post has crossed once it is pooled.
            waku0::Event::Direct { .. } | waku0::Event::PostEnded { .. } => {}
        }
    }

    fn v2_event(&mut self, event: waku2::Event) {
        let now = clock::now();
        match event {
            waku2::Event::Message(received) => self.bridge.message(now, &received),
            waku2::Event::RelayPeers { topic, count } => self.bridge.v2_peers(now, &topic, count),
            waku2::Event::PeerConnected(_) | waku2::Event::PeerDisconnected { .. } => {}
        }
    }

    /// Whoever asked may have stopped waiting.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Routes(routes, done) => {
                tracing::info!(%routes, "routes");
                self.bridge.set_routes(clock::now(), routes.clone());
                self.handle.show_routes(routes);
                let _ = done.send(());
            }
            Request::Story(hash, answer) => {
                let _ = answer.send(self.bridge.story(clock::now(), &hash));
            }
        }
    }

    /// Tells the bridge how far our clock is off, by whichever side says more.
    fn look_at_the_clock(&mut self, now: Now) {
        let by_v2 = self.v2.clock_skew_secs().map(|secs| (secs * 1e9) as i64);
        self.clock_skew_nanos = further(self.skew.measure(now.instant), by_v2);
        self.bridge.clock_skew(self.clock_skew_nanos);
    }

    fn count_v0_peers(&mut self, now: Now) {
        let count = self.v0.counters().peers.load(Relaxed);
        self.bridge.v0_peers(now, usize::try_from(count).unwrap_or(usize::MAX));
    }

    fn report(&mut self, crossing: Crossing) {
        if let Some((canary, ..)) = &mut self.canary {
            canary.ended(&crossing);
        }
        tracing::debug!(
            direction = crossing.direction.as_str(),
            result = crossing.outcome.result(),
            reason = crossing.outcome.reason(),
            envelope = crossing.envelope.map(tracing::field::display),
            message = crossing.message.map(tracing::field::display),
            "crossing"
        );
        self.handle.record(crossing);
    }

    fn summarise(&mut self) {
        let mismatches = self.bridge.tally().profile_mismatches;
        if mismatches > self.mismatches_told {
            let envelopes = mismatches - self.mismatches_told;
            tracing::warn!(
                envelopes,
                "another bridge makes envelopes of another time to live or less work: clients see some twice"
            );
            self.mismatches_told = mismatches;
        }
        let (counters, depths) = (self.handle.counters(), self.bridge.depths());
        let [v1_to_v2, v2_to_v1] = Direction::ALL.map(|direction| counters.crossed(direction));
        let waiting = Direction::ALL.map(|direction| depths.total(direction)).iter().sum::<usize>();
        let (v1_peers, v2_peers) = self.bridge.peers();
        tracing::info!(v1_peers, v2_peers, v1_to_v2, v2_to_v1, waiting, "crossed so far");
    }

    /// Ends what runs. The pool's threads are joined elsewhere, for that blocks; the last receiver goes last, as the sign
    /// that all has ended.
    async fn stop(self, inputs: Inputs) {
        let Self { pool, mut running, scribe, keeper, .. } = self;
        if let Some(keeper) = keeper {
            keeper.finish().await;
        }
        if let Some(scribe) = scribe {
            scribe.finish().await;
        }
        let Inputs { seals, requests, stopped, .. } = inputs;
        drop((seals, requests));
        running.shutdown().await;
        if task::spawn_blocking(move || pool.stop()).await.is_err() {
            tracing::warn!("the mining pool was not joined");
        }
        drop(stopped);
    }
}

/// The next event; waits for ever once they have ended, so that the other branches of the loop go on.
async fn next<T>(events: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// What waits behind an event, up to a batch.
fn waiting<T>(events: &mut Option<mpsc::Receiver<T>>) -> impl Iterator<Item = T> {
    events.iter_mut().flat_map(|events| std::iter::from_fn(|| events.try_recv().ok())).take(BATCH_EVENTS - 1)
}

/// The jobs whose beginning has been written; waits for ever where there is no journal.
async fn written(scribe: &mut Option<Scribe>) -> Vec<JobId> {
    match scribe {
        Some(scribe) => scribe.written().await,
        None => std::future::pending().await,
    }
}

/// Whose rows the archive has written, or not; waits for ever where there is none.
async fn archived(keeper: &mut Option<Keeper>) -> Done {
    match keeper {
        Some(keeper) => keeper.written().await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_waits_and_bounded() {
        let (sender, receiver) = mpsc::channel(BATCH_EVENTS * 2);
        (0..BATCH_EVENTS + 1).for_each(|n| sender.try_send(n).unwrap());
        let mut events = Some(receiver);
        assert_eq!(waiting(&mut events).collect::<Vec<_>>(), (0..BATCH_EVENTS - 1).collect::<Vec<_>>());
        assert_eq!(waiting(&mut events).count(), 2);
        assert_eq!(waiting(&mut events).count() + waiting::<usize>(&mut None).count(), 0);
    }
}
