//! What methods work on: the node, its filters, and the keys that it keeps.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use devp2p::{Enode, NodeId, NodeKey, PublicKey, dial::MAX_ADDED, enr::Enr};
use jsonrpsee::types::ErrorObjectOwned;
use tokio::sync::{Notify, Semaphore, mpsc};
use waku0::{
    Envelope, Event, Handle, Pow, Settings,
    filter::{Criteria, FilterId, Filters, Message, Reader},
    interest::Interest,
    packet::p2p::Direct,
    payload::{Key, SymKey},
};

use super::{
    confirmed::{Confirmed, Said},
    events::{Feed, Peers},
    history::Requests,
    sync::Syncs,
    values::{self, failed},
};
use crate::{cli::BytesForm, keys::system_rng, keystore::KeyStore, storage::archive::History};

/// Posts that search a nonce at the same time; further ones wait.
const MINERS: usize = 1;

/// The node that is spoken for.
#[derive(Debug)]
pub(crate) struct Node {
    /// It.
    pub(crate) handle: Handle,
    /// What it signs requests for history with.
    pub(crate) key: NodeKey,
    /// Its signed record, if it knows an address of its own.
    pub(crate) record: Option<Enr>,
    /// How it was started.
    pub(crate) settings: Settings,
    /// Nodes that it is always to be connected to.
    pub(crate) statics: HashSet<PublicKey>,
    /// What it serves history from, if it does.
    pub(crate) archive: Option<History>,
}

/// What methods work on.
#[derive(Debug)]
pub(crate) struct Context {
    pub(super) node: Handle,
    pub(super) key: NodeKey,
    pub(super) record: Option<Enr>,
    pub(super) data_dir: PathBuf,
    pub(super) form: BytesForm,
    pub(super) miners: Semaphore,
    pub(super) archive: Option<History>,
    /// What becomes of posts and requests.
    pub(super) events: Feed,
    /// Who is connected.
    pub(super) peers: Peers,
    /// Answers of other mailservers.
    pub(super) syncs: Syncs,
    settings: Mutex<Settings>,
    filters: Mutex<Filters>,
    subscribers: Mutex<HashMap<FilterId, Arc<Notify>>>,
    keys: Mutex<KeyStore>,
    /// Peers that are trusted as soon as they connect.
    trusted: Mutex<HashSet<PublicKey>>,
    /// Peers that are dialled for ever; [`MAX_ADDED`] beside those of the beginning.
    statics: Mutex<HashSet<PublicKey>>,
    max_statics: usize,
    requests: Mutex<Requests>,
    confirmed: Mutex<Confirmed>,
    left_out: Arc<AtomicU64>,
}

/// What one panicked with is whole: every change here is a single step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    pub(super) fn new(node: Node, left_out: Arc<AtomicU64>, keys: KeyStore, data_dir: &Path, form: BytesForm) -> Self {
        let Node { handle, key, record, settings, statics, archive } = node;
        Self {
            node: handle,
            key,
            record,
            data_dir: data_dir.to_owned(),
            form,
            miners: Semaphore::new(MINERS),
            archive,
            events: Feed::default(),
            peers: Peers::default(),
            syncs: Syncs::default(),
            settings: Mutex::new(settings),
            filters: Mutex::default(),
            subscribers: Mutex::default(),
            keys: Mutex::new(keys),
            trusted: Mutex::default(),
            max_statics: statics.len().saturating_add(MAX_ADDED),
            statics: Mutex::new(statics),
            requests: Mutex::default(),
            confirmed: Mutex::default(),
            left_out,
        }
    }

    /// Gives filters what the node hears, until it stops.
    pub(super) async fn follow(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Envelope { envelope, .. } => self.offer(&envelope, false),
                Event::Direct { packet: Direct::Envelopes(envelopes), .. } => {
                    for envelope in envelopes.flatten().flatten() {
                        self.offer(&envelope, true);
                    }
                }
                Event::Direct { packet: Direct::Completion(completion), .. } => {
                    self.events.completed(&completion);
                    self.requests().complete(completion);
                }
                Event::Direct { conn, packet: Direct::SyncResponse(part) } => self.syncs.hand(conn, part).await,
                Event::PeerRunning { .. } => self.look_at_peers().await,
                Event::PeerGone { conn } => {
                    self.syncs.gone(conn);
                    self.look_at_peers().await;
                }
                Event::PostEnded { .. } => {}
            }
        }
    }

    /// Gives one envelope to filters, and tells subscribers.
    pub(super) fn offer(&self, envelope: &Envelope, direct: bool) {
        let told = {
            let mut filters = locked(&self.filters);
            // What nobody asks for any more costs a decryption no longer.
            filters.remove_idle(devp2p::clock::now().instant);
            filters.offer(envelope, envelope.pow(), direct)
        };
        let subscribers = locked(&self.subscribers);
        told.iter().filter_map(|id| subscribers.get(id)).for_each(|subscriber| subscriber.notify_one());
    }

    pub(super) fn install(&self, criteria: Criteria) -> Result<FilterId, ErrorObjectOwned> {
        let now = devp2p::clock::now().instant;
        locked(&self.filters).install(criteria, Reader::Polls, now, &mut system_rng()).map_err(failed)
    }

    pub(super) fn poll(&self, id: FilterId) -> Option<Vec<Arc<Message>>> {
        locked(&self.filters).poll(id, devp2p::clock::now().instant)
    }

    pub(super) fn remove(&self, id: FilterId) -> bool {
        locked(&self.filters).remove(id)
    }

    /// A filter whose messages are announced.
    pub(super) fn subscribe(&self, criteria: Criteria) -> Result<(FilterId, Arc<Notify>), ErrorObjectOwned> {
        let now = devp2p::clock::now().instant;
        let id = locked(&self.filters).install(criteria, Reader::IsTold, now, &mut system_rng()).map_err(failed)?;
        let told = Arc::new(Notify::new());
        locked(&self.subscribers).insert(id, Arc::clone(&told));
        Ok((id, told))
    }

    pub(super) fn unsubscribe(&self, id: FilterId) {
        locked(&self.subscribers).remove(&id);
        self.remove(id);
    }

    /// Keeps a key, and returns its id.
    pub(super) async fn keep(self: &Arc<Self>, key: Key) -> Result<String, ErrorObjectOwned> {
        let context = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || locked(&context.keys).add(key, &mut system_rng()));
        Ok(kept.await.map_err(failed)?.map_err(failed)?.to_string())
    }

    /// Deletes a key of this kind. Returns whether it was there.
    pub(super) async fn forget(self: &Arc<Self>, id: &str, kind: fn(&Key) -> bool) -> Result<bool, ErrorObjectOwned> {
        let Ok(id) = id.parse() else { return Ok(false) };
        let context = Arc::clone(self);
        let forgotten = tokio::task::spawn_blocking(move || {
            let mut keys = locked(&context.keys);
            if keys.get(&id).is_some_and(kind) { keys.remove(&id) } else { Ok(false) }
        });
        forgotten.await.map_err(failed)?.map_err(failed)
    }

    /// The key of an id.
    pub(super) fn key(&self, id: &str) -> Option<Key> {
        locked(&self.keys).get(&id.parse().ok()?).cloned()
    }

    /// The symmetric key of an id.
    pub(super) fn sym_key(&self, id: &str) -> Result<SymKey, ErrorObjectOwned> {
        values::key_id(id)?;
        match self.key(id) {
            Some(Key::Symmetric(key)) => Ok(key),
            _ => Err(failed("non-existent key ID")),
        }
    }

    /// The key pair of an id.
    pub(super) fn key_pair(&self, id: &str) -> Result<NodeKey, ErrorObjectOwned> {
        match self.key(id) {
            Some(Key::Private(key)) => Ok(key),
            _ => Err(failed("invalid id")),
        }
    }

    /// Requests for history that are under way.
    pub(super) fn requests(&self) -> MutexGuard<'_, Requests> {
        locked(&self.requests)
    }

    /// How the node is set.
    pub(super) fn settings(&self) -> Settings {
        locked(&self.settings).clone()
    }

    pub(super) async fn set_min_pow(&self, pow: Pow) {
        locked(&self.settings).min_pow = pow;
        self.node.set_min_pow(pow).await;
    }

    pub(super) async fn set_interest(&self, interest: Interest) {
        locked(&self.settings).interest = interest.clone();
        self.node.set_interest(interest).await;
    }

    pub(super) async fn set_max_message_size(&self, bytes: usize) {
        locked(&self.settings).max_message_size = bytes;
        self.node.set_max_message_size(bytes).await;
    }

    pub(super) async fn set_light(&self, light: bool) {
        locked(&self.settings).light = light;
        self.node.set_light(light).await;
    }

    /// Filters, and messages that nobody asked for in time.
    pub(super) fn filter_counts(&self) -> (usize, u64) {
        let filters = locked(&self.filters);
        (filters.len(), filters.dropped())
    }

    /// Trusts a node now, and whenever it connects. Returns whether it is connected.
    pub(super) async fn trust(&self, key: PublicKey) -> bool {
        locked(&self.trusted).insert(key);
        self.set_trust(key, true).await
    }

    /// Trusts a node no longer. Returns whether it was trusted.
    pub(super) async fn distrust(&self, key: PublicKey) -> bool {
        self.set_trust(key, false).await;
        locked(&self.trusted).remove(&key)
    }

    /// Is a node trusted whenever it connects?
    pub(super) fn is_trusted(&self, key: &PublicKey) -> bool {
        locked(&self.trusted).contains(key)
    }

    async fn set_trust(&self, key: PublicKey, trusted: bool) -> bool {
        match self.node.peers().await.into_iter().find(|peer| peer.key == key) {
            Some(peer) => self.node.trust(peer.conn, trusted).await,
            None => false,
        }
    }

    /// Trusts those who are to be trusted, and tells who has come and gone.
    async fn look_at_peers(&self) {
        let peers = self.node.peers().await;
        self.peers.look(&peers);
        let known = locked(&self.trusted).clone();
        for peer in peers.iter().filter(|peer| known.contains(&peer.key)) {
            self.node.trust(peer.conn, true).await;
        }
    }

    /// Keeps a node connected from now on.
    pub(super) async fn keep_connected(&self, enode: Enode) -> Result<(), ErrorObjectOwned> {
        let key = enode.key;
        if key == self.node.enode().key {
            return Err(failed("a node is no peer of itself"));
        }
        {
            let mut statics = locked(&self.statics);
            if statics.len() >= self.max_statics && !statics.contains(&key) {
                return Err(failed(format!("{MAX_ADDED} peers were added already: remove one that is not needed")));
            }
            statics.insert(key);
        }
        if self.node.keep(enode).await { Ok(()) } else { Err(failed("the dialler is busy, try again")) }
    }

    /// Leaves a node, and does not dial it again.
    pub(super) async fn leave(&self, key: PublicKey) -> Result<(), ErrorObjectOwned> {
        if !self.node.release(key.id()).await {
            return Err(failed("the dialler is busy, try again"));
        }
        locked(&self.statics).remove(&key);
        for peer in self.node.peers().await.into_iter().filter(|peer| peer.key == key) {
            self.node.disconnect(peer.conn);
        }
        Ok(())
    }

    /// Is a node to be connected always?
    pub(super) fn is_static(&self, key: &PublicKey) -> bool {
        locked(&self.statics).contains(key)
    }

    /// Remembers what an application has processed.
    pub(super) fn confirm(&self, said: impl IntoIterator<Item = Said>) {
        let mut confirmed = locked(&self.confirmed);
        said.into_iter().for_each(|said| confirmed.add(said));
    }

    /// Has it been processed?
    pub(super) fn is_confirmed(&self, said: &Said) -> bool {
        locked(&self.confirmed).contains(said)
    }

    /// Events that never came here, for want of room.
    pub(super) fn lost(&self) -> u64 {
        self.node.counters().events_shed.load(Relaxed) + self.left_out.load(Relaxed)
    }

    /// Our node id.
    pub(super) fn node_id(&self) -> NodeId {
        self.node.enode().key.id()
    }
}
