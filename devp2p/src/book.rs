//! The address book: nodes that discovery named, and how dialling them went. Core, and the form of its file.
//!
//! Bounded by [`MAX_KNOWN`]. A node whose dials keep failing is forgotten, one that answered before later than one that
//! never did; when the book is full, the worst entry makes room. A new address for a known key is taken when the old one
//! no longer answers, and never before: whoever names nodes to us cannot turn us away from one that works.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::dial::{ALONE_WAIT, Backoff, State};
use crate::enode::{Enode, Host};
use crate::key::NodeId;

/// Most nodes kept; about 120 KiB as a file.
pub const MAX_KNOWN: usize = 512;

/// Longest file read, in bytes: a full book has about a quarter.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Failures in a row after which a node is forgotten that never answered.
pub const MAX_FAILURES: u32 = 5;

/// A node that answered is forgotten after this time without another good connection, once it fails.
pub const MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The wait after a first failure: longer than peers refuse an address that comes again (go-ethereum,
/// `dialHistoryExpiration`).
pub const FIRST_WAIT: Duration = Duration::from_secs(35);

/// The longest wait, before jitter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Version of the file.
const FILE_VERSION: u32 = 1;

/// What the file says of one node. Times are of the wall clock, since a file outlives the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub enode: String,
    /// When a connection last came up, in seconds since 1970; none so far if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_unix_secs: Option<u64>,
    /// Dials in a row that came to nothing, or to a short connection.
    #[serde(default)]
    pub failures: u32,
    /// Not dialled before, in seconds since 1970.
    #[serde(default)]
    pub retry_unix_secs: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    peers: Vec<Entry>,
}

/// Why a file is no address book.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Not the JSON it should be.
    #[error("not an address book: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a later program.
    #[error("an address book of version {0}, and this program knows {FILE_VERSION}")]
    Version(u32),
}

/// Writes a file.
///
/// # Errors
/// [`BookError::Json`], which plain strings and numbers never cause.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>, BookError> {
    Ok(serde_json::to_vec_pretty(&File { version: FILE_VERSION, peers: entries.to_vec() })?)
}

/// Reads a file.
///
/// # Errors
/// [`BookError`]; the book then begins empty.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, BookError> {
    let file: File = serde_json::from_slice(bytes)?;
    if file.version != FILE_VERSION {
        return Err(BookError::Version(file.version));
    }
    Ok(file.peers)
}

/// How a connection or a dial ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ending {
    /// Trying again soon has no point.
    pub(crate) hopeless: bool,
    /// No other node is connected.
    pub(crate) is_alone: bool,
}

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    nodes: HashMap<NodeId, Known>,
    changed: bool,
}

#[derive(Debug)]
struct Known {
    enode: Enode,
    last_good_unix_secs: Option<u64>,
    backoff: Backoff,
    state: State,
}

impl Known {
    /// Better ones are dialled first and forgotten last.
    fn rank(&self) -> (bool, std::cmp::Reverse<u32>) {
        (self.last_good_unix_secs.is_some(), std::cmp::Reverse(self.backoff.failures))
    }

    fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Dialling | State::Connected { .. } => None,
        }
    }

    fn is_forgotten(&self, now: Now) -> bool {
        let memory = self.last_good_unix_secs.map_or(0, |at| at + MEMORY.as_secs());
        self.backoff.failures >= MAX_FAILURES && now.unix_secs() >= memory
    }
}

impl Book {
    /// Takes up what a file said.
    pub(crate) fn recall(&mut self, now: Now, entries: Vec<Entry>) {
        for entry in entries.into_iter().take(MAX_KNOWN) {
            let Ok(enode) = entry.enode.parse::<Enode>() else { continue };
            // A clock that was wrong when the file was written must not keep a node waiting for ever.
            let wait = Duration::from_secs(entry.retry_unix_secs.saturating_sub(now.unix_secs())).min(LONGEST_WAIT);
            let known = Known {
                last_good_unix_secs: entry.last_good_unix_secs.map(|at| at.min(now.unix_secs())),
                backoff: Backoff { failures: entry.failures },
                state: State::Waiting { until: now.instant + wait },
                enode,
            };
            self.nodes.insert(known.enode.key.id(), known);
        }
    }

    /// What a file is to say.
    pub(crate) fn entries(&self, now: Now) -> Vec<Entry> {
        let retry =
            |known: &Known| known.due_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now.instant));
        let entry = |known: &Known| Entry {
            enode: known.enode.to_string(),
            last_good_unix_secs: known.last_good_unix_secs,
            failures: known.backoff.failures,
            retry_unix_secs: now.unix_secs() + retry(known).as_secs(),
        };
        let mut entries: Vec<_> = self.nodes.values().map(entry).collect();
        entries.sort_by(|a, b| a.enode.cmp(&b.enode));
        entries
    }

    /// True once after something changed that a file should say.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A node was named to us.
    pub(crate) fn suggest(&mut self, now: Now, enode: Enode) {
        if !is_dialable(&enode) {
            return;
        }
        let id = enode.key.id();
        if let Some(known) = self.nodes.get_mut(&id) {
            let works = known.last_good_unix_secs.is_some() && known.backoff.failures == 0;
            if !known.enode.same_place(&enode) && !works && known.due_at().is_some() {
                (known.enode, known.backoff) = (enode, Backoff::default());
                known.state = State::Waiting { until: now.instant };
                self.changed = true;
            }
            return;
        }
        if self.nodes.len() >= MAX_KNOWN && !self.make_room() {
            return;
        }
        let state = State::Waiting { until: now.instant };
        self.nodes.insert(id, Known { enode, last_good_unix_secs: None, backoff: Backoff::default(), state });
        self.changed = true;
    }

    /// Forgets the worst entry; false when all are good.
    fn make_room(&mut self) -> bool {
        let idle = self.nodes.iter().filter(|(_, known)| known.due_at().is_some());
        let worst = idle.min_by_key(|(_, known)| (known.rank(), known.last_good_unix_secs));
        match worst.map(|(id, known)| (*id, known.last_good_unix_secs.is_some() && known.backoff.failures == 0)) {
            Some((id, false)) => self.nodes.remove(&id).is_some(),
            Some((_, true)) | None => false,
        }
    }

    /// Dials under way, and connections that came of dials.
    pub(crate) fn outbound(&self) -> usize {
        let is_outbound =
            |known: &&Known| matches!(known.state, State::Dialling | State::Connected { dialled: true, .. });
        self.nodes.values().filter(is_outbound).count()
    }

    /// Dials under way.
    pub(crate) fn dialling(&self) -> usize {
        self.nodes.values().filter(|known| known.state == State::Dialling).count()
    }

    /// The best node that is due, any of them when several are as good.
    pub(crate) fn next_dial(&mut self, now: Now, rng: &mut StdRng) -> Option<Enode> {
        let due = |known: &Known| known.due_at().is_some_and(|at| at <= now.instant);
        let best = self.nodes.values().filter(|known| due(known)).map(Known::rank).max()?;
        let mut ids: Vec<_> =
            self.nodes.iter().filter(|(_, known)| due(known) && known.rank() == best).map(|(id, _)| *id).collect();
        // In an order of its own, so that a seed replays.
        ids.sort_unstable();
        let known = self.nodes.get_mut(&ids[rng.random_range(..ids.len())])?;
        known.state = State::Dialling;
        Some(known.enode.clone())
    }

    /// When the next node is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.nodes.values().filter_map(Known::due_at).min()
    }

    /// A connection is up. Who else was said to be at its place is not there.
    pub(crate) fn connected(&mut self, now: Now, id: NodeId, dialled: bool) {
        let Some(known) = self.nodes.get_mut(&id) else { return };
        known.state = State::Connected { since: now.instant, dialled };
        self.changed = true;
        if dialled {
            known.last_good_unix_secs = Some(now.unix_secs());
            let place = known.enode.clone();
            self.nodes
                .retain(|other, known| *other == id || known.due_at().is_none() || !known.enode.same_place(&place));
        }
    }

    /// A connection ended, or a dial failed.
    pub(crate) fn ended(&mut self, now: Now, id: NodeId, ending: Ending, rng: &mut impl Rng) {
        let Some(known) = self.nodes.get_mut(&id) else { return };
        known.backoff.note(known.state, now);
        let answered = known.last_good_unix_secs.is_some();
        let wait = if ending.is_alone && !ending.hopeless && answered && known.state == State::Dialling {
            // It is the network that is away: that says nothing of the node.
            Backoff::default().next(ALONE_WAIT, ALONE_WAIT, false, rng)
        } else {
            known.backoff.next(FIRST_WAIT, LONGEST_WAIT, ending.hopeless, rng)
        };
        known.state = State::Waiting { until: now.instant + wait };
        self.changed = true;
        if known.is_forgotten(now) {
            self.nodes.remove(&id);
        }
    }

    /// Is any node connected, this one aside?
    pub(crate) fn is_connected_but_for(&self, id: NodeId) -> bool {
        self.nodes.iter().any(|(other, known)| *other != id && matches!(known.state, State::Connected { .. }))
    }

    pub(crate) fn state(&self, id: NodeId) -> Option<State> {
        self.nodes.get(&id).map(|known| known.state)
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }
}

fn is_dialable(enode: &Enode) -> bool {
    let somewhere = match &enode.host {
        Host::Ip(IpAddr::V4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Host::Ip(IpAddr::V6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Host::Dns(_) => true,
    };
    somewhere && enode.tcp != 0
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::clock;
    use crate::key::NodeKey;

    fn enode(secret: u16, port: u16) -> Enode {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&(secret + 1).to_be_bytes());
        let key = NodeKey::from_bytes(&bytes).unwrap().public();
        Enode { key, host: Host::Ip([127, 0, 0, 1].into()), tcp: port, udp: port }
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    /// Dials the next node and lets that fail.
    fn fail(book: &mut Book, now: Now) -> Option<Enode> {
        let enode = book.next_dial(now, &mut rng())?;
        book.ended(now, enode.key.id(), Ending::default(), &mut rng());
        Some(enode)
    }

    #[test]
    fn a_file_says_what_the_book_knows() {
        let (mut book, now) = (Book::default(), clock::now());
        book.suggest(now, enode(1, 1000));
        book.suggest(now, enode(2, 1001));
        assert!(book.take_changed() && !book.take_changed());
        let first = book.next_dial(now, &mut rng()).unwrap();
        book.connected(now, first.key.id(), true);
        let second = fail(&mut book, now).unwrap();
        let read = decode(&encode(&book.entries(now)).unwrap()).unwrap();
        assert_eq!(read.len(), 2);
        let of = |enode: &Enode| read.iter().find(|entry| entry.enode == enode.to_string()).unwrap();
        assert_eq!((of(&first).last_good_unix_secs, of(&first).failures), (Some(now.unix_secs()), 0));
        assert_eq!((of(&second).last_good_unix_secs, of(&second).failures), (None, 1));
        let mut recalled = Book::default();
        recalled.recall(now, read.clone());
        assert_eq!(recalled.next_dial(now, &mut rng()), Some(first), "the good one at once");
        assert_eq!(recalled.next_dial(now, &mut rng()), None, "the other one after its wait");
        let until = recalled.wake_at().unwrap().saturating_duration_since(now.instant);
        assert!(until > Duration::from_secs(20) && until < Duration::from_secs(45), "{until:?}");
    }

    #[test]
    fn files_that_are_none_are_refused_and_bad_lines_skipped() {
        assert!(matches!(decode(b"{\"version\":2,\"peers\":[]}"), Err(BookError::Version(2))));
        for bad in [&b""[..], b"[]", b"{\"version\":1}", b"{\"version\":1,\"peers\":[{}]}"] {
            assert!(matches!(decode(bad), Err(BookError::Json(_))));
        }
        let (mut book, now) = (Book::default(), clock::now());
        let entries = decode(b"{\"version\":1,\"peers\":[{\"enode\":\"nonsense\",\"retry_unix_secs\":1}]}").unwrap();
        book.recall(now, entries);
        assert_eq!(book.wake_at(), None);
        let far = Entry {
            enode: enode(1, 1).to_string(),
            last_good_unix_secs: Some(u64::MAX),
            failures: 9,
            retry_unix_secs: u64::MAX,
        };
        book.recall(now, vec![far]);
        assert!(book.wake_at().unwrap() <= now.instant + LONGEST_WAIT, "a wrong clock heals");
        assert_eq!(book.entries(now)[0].last_good_unix_secs, Some(now.unix_secs()));
    }

    #[test]
    fn the_book_is_bounded_and_keeps_what_is_good() {
        let (mut book, now) = (Book::default(), clock::now());
        book.suggest(now, enode(0, 1));
        let good = book.next_dial(now, &mut rng()).unwrap();
        book.connected(now, good.key.id(), true);
        for at in 1..MAX_KNOWN as u16 + 50 {
            book.suggest(now, enode(at, 1000 + at));
        }
        assert_eq!(book.nodes.len(), MAX_KNOWN);
        assert!(book.nodes.contains_key(&good.key.id()));
        let after = now.after(crate::dial::LASTING);
        book.ended(after, good.key.id(), Ending::default(), &mut rng());
        book.suggest(after, enode(4000, 9));
        assert!(book.nodes.contains_key(&good.key.id()), "the worst one goes, not the good one");
    }

    #[test]
    fn f17_a_node_that_moved_is_found_again_and_the_old_place_forgotten() {
        let (mut book, now) = (Book::default(), clock::now());
        book.suggest(now, enode(1, 1000));
        let id = book.next_dial(now, &mut rng()).unwrap().key.id();
        book.connected(now, id, true);
        let ended = now.after(crate::dial::LASTING);
        book.suggest(ended, enode(1, 2000));
        assert_eq!(book.nodes[&id].enode.tcp, 1000, "as long as it works it is left alone");
        book.ended(ended, id, Ending::default(), &mut rng());
        let retry = ended.after(FIRST_WAIT * 2);
        assert_eq!(fail(&mut book, retry).unwrap().tcp, 1000);
        book.suggest(retry, enode(1, 2000));
        assert_eq!(book.next_dial(retry, &mut rng()).unwrap().tcp, 2000, "the new place, at once");
    }

    #[test]
    fn f17_another_key_at_the_same_place_replaces_the_old_one() {
        let (mut book, now) = (Book::default(), clock::now());
        book.suggest(now, enode(1, 1000));
        let old = fail(&mut book, now).unwrap();
        book.suggest(now, enode(2, 1000));
        let new = book.next_dial(now, &mut rng()).unwrap();
        assert_ne!(old.key, new.key);
        book.connected(now, new.key.id(), true);
        assert!(!book.nodes.contains_key(&old.key.id()));
    }

    #[test]
    fn nodes_that_never_answer_are_forgotten() {
        let (mut book, mut now) = (Book::default(), clock::now());
        book.suggest(now, enode(1, 1000));
        for _ in 0..MAX_FAILURES {
            assert!(fail(&mut book, now).is_some());
            now = now.after(LONGEST_WAIT * 2);
        }
        assert!(book.nodes.is_empty());
    }

    #[test]
    fn hopeless_nodes_wait_longest_and_nowhere_is_not_dialled() {
        let (mut book, now) = (Book::default(), clock::now());
        book.suggest(now, enode(1, 1000));
        let id = book.next_dial(now, &mut rng()).unwrap().key.id();
        book.ended(now, id, Ending { hopeless: true, is_alone: false }, &mut rng());
        assert!(book.wake_at().unwrap() >= now.instant + LONGEST_WAIT * 3 / 4);
        book.suggest(now, enode(2, 0));
        book.suggest(now, Enode { host: Host::Ip([0, 0, 0, 0].into()), ..enode(3, 1) });
        assert_eq!(book.nodes.len(), 1);
    }
}
