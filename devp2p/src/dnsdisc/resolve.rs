//! Following node lists: the core (EIP-1459, "Client Protocol").
//!
//! One question at a time, at most three a second. A list's root is looked at every 30 minutes; when it has changed, the
//! records it names are walked, those already known without asking again. What a complete walk found replaces the list; an
//! incomplete one adds to it and is repeated, after 30 s at first, twice as long each time. Whatever goes wrong, the last
//! good list stays.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::link::Link;
use super::tree::{Entry, Label, Root, TreeError};
use crate::clock::Now;
use crate::enr::Enr;

/// Between two questions: 3 a second. Source: go-ethereum, `dnsdisc.Config.RateLimit`.
pub const QUERY_EVERY: Duration = Duration::from_millis(334);

/// Between two looks at a root. Source: go-ethereum, `dnsdisc.Config.RecheckInterval`.
pub const RECHECK_EVERY: Duration = Duration::from_secs(30 * 60);

/// Until a list is tried again that did not answer in full; then twice as long each time, up to [`RECHECK_EVERY`].
pub const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Records walked of one list: 4,000 nodes with the branches over them, about 3 MB. What is beyond is left out.
pub const MAX_ENTRIES: usize = 4096;

/// Lists followed at once, those found by links included. What is beyond is left out.
pub const MAX_LISTS: usize = 8;

/// Texts looked at in one answer; a domain may hold others besides.
const MAX_TEXTS: usize = 16;

/// Why a name has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The name does not exist, or has no TXT records.
    #[error("there is no such record")]
    Missing,
    /// The server refused, failed, or answered what is no DNS.
    #[error("the name server failed")]
    Failed,
}

/// What is wrong with an answer. Other nodes are told nothing; the operator reads which name it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is none.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No text in it is a record of a list.
    #[error("no text there is a record of a node list")]
    NoRecord,
    /// The record is malformed, though its hash is right.
    #[error(transparent)]
    Record(#[from] TreeError),
    /// The root is not signed with the key of the link.
    #[error("the root is not signed with the key of the link")]
    Signature,
    /// The root is older than one seen before.
    #[error("the root has sequence number {seq}, after {seen}")]
    SequenceWentBack {
        /// Its sequence number.
        seq: u64,
        /// The highest seen before.
        seen: u64,
    },
    /// The record is not the one that its name stands for.
    #[error("the record does not have the hash that its name stands for")]
    Hash,
    /// A link among nodes, or a node among links.
    #[error("a record of this kind does not belong there")]
    Misplaced,
    /// The list has over [`MAX_ENTRIES`] records.
    #[error("the list has over {MAX_ENTRIES} records; the rest is left out")]
    TooManyEntries,
    /// More than [`MAX_LISTS`] lists.
    #[error("over {MAX_LISTS} lists; this link is left out")]
    TooManyLists,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node, new or with a new record.
    Node(Enr),
    /// A walk is over.
    Walked {
        /// The list.
        link: Link,
        /// Its sequence number.
        seq: u64,
        /// Nodes it has now.
        nodes: usize,
        /// True when nothing was missing.
        complete: bool,
    },
    /// A record that is not used.
    Refused {
        /// Its name.
        name: String,
        /// Why.
        trouble: Trouble,
    },
}

/// The part of a list that a record is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nodes,
    Links,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Root,
    Entry(Label, Part),
}

/// Follows lists.
#[derive(Debug)]
pub struct Resolver {
    configured: Vec<Link>,
    lists: Vec<List>,
    /// More are linked to than are followed.
    crowded: bool,
    /// Whose turn it is.
    turn: usize,
    asked: Option<(Link, Question)>,
    next_query: Instant,
    events: VecDeque<Event>,
}

/// One list.
#[derive(Debug)]
struct List {
    link: Link,
    /// The last good root.
    root: Option<Root>,
    /// All its records are known.
    complete: bool,
    check_at: Instant,
    retry: Duration,
    /// Records known by their hash: of the last walk, and of this one.
    known: HashMap<Label, Entry>,
    walk: Option<Walk>,
    nodes: Nodes,
    links: Vec<Link>,
}

/// Nodes by their id.
type Nodes = BTreeMap<[u8; 32], Enr>;

/// A walk over the records of a root.
#[derive(Debug, Default)]
struct Walk {
    todo: Vec<(Label, Part)>,
    /// Labels met, so that a record named twice, or by itself, is walked once.
    met: HashSet<Label>,
    nodes: Nodes,
    links: Vec<Link>,
    /// A record could not be had.
    incomplete: bool,
}

impl Resolver {
    /// Follows `links`, from now.
    #[must_use]
    pub fn new(links: &[Link], now: Now) -> Self {
        let mut resolver = Self {
            configured: links.to_vec(),
            lists: Vec::new(),
            crowded: false,
            turn: 0,
            asked: None,
            next_query: now.instant,
            events: VecDeque::new(),
        };
        resolver.follow_links(now);
        resolver
    }

    /// The nodes of all lists, each once, in its latest record.
    #[must_use]
    pub fn nodes(&self) -> Vec<Enr> {
        let mut nodes = Nodes::new();
        for list in &self.lists {
            let walked = list.walk.iter().flat_map(|walk| walk.nodes.values());
            list.nodes.values().chain(walked).for_each(|record| {
                insert_latest(&mut nodes, record.clone());
            });
        }
        nodes.into_values().collect()
    }

    /// The name whose TXT records are wanted next, if one may be asked for now. No other follows until [`Resolver::answer`].
    pub fn next_query(&mut self, now: Now) -> Option<String> {
        if self.asked.is_some() || now.instant < self.next_query {
            return None;
        }
        for offset in 0..self.lists.len() {
            let index = (self.turn + offset) % self.lists.len();
            if let Some(question) = self.lists[index].next_question(now, &mut self.events) {
                self.turn = index + 1;
                self.next_query = now.instant + QUERY_EVERY;
                let link = self.lists[index].link.clone();
                let name = name(&link, &question);
                self.asked = Some((link, question));
                return Some(name);
            }
        }
        self.follow_links(now);
        None
    }

    /// Takes the answer: each record's strings joined.
    pub fn answer(&mut self, now: Now, answer: Result<Vec<Vec<u8>>, LookupError>) {
        let Some((link, question)) = self.asked.take() else { return };
        if let Some(list) = self.lists.iter_mut().find(|list| list.link == link) {
            let texts = answer.map(|texts| texts.into_iter().take(MAX_TEXTS).flat_map(String::from_utf8).collect());
            let done = match &question {
                Question::Root => list.take_root(now, texts, &mut self.events),
                Question::Entry(label, part) => list.take_entry(label, *part, texts, &mut self.events),
            };
            if let Err(trouble) = done {
                self.events.push_back(Event::Refused { name: name(&link, &question), trouble });
            }
            list.walk_known(now, &mut self.events);
        }
        self.follow_links(now);
    }

    /// When [`Resolver::next_query`] has a name again; `None` while an answer is awaited.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        if self.asked.is_some() {
            return None;
        }
        let walking = self.lists.iter().any(|list| list.walk.is_some());
        let check_at = self.lists.iter().map(|list| list.check_at).min();
        if walking { Some(self.next_query) } else { check_at.map(|at| at.max(self.next_query)) }
    }

    /// What happened. To be emptied after each call of another method.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Follows the lists that are linked to, over any number of steps, from those configured; drops the others.
    fn follow_links(&mut self, now: Now) {
        let mut wanted: Vec<Link> = Vec::new();
        let mut todo: VecDeque<Link> = self.configured.iter().cloned().collect();
        let mut left_out = None;
        while let Some(link) = todo.pop_front() {
            if wanted.contains(&link) {
                continue;
            }
            if wanted.len() >= MAX_LISTS {
                left_out = Some(link);
                break;
            }
            if let Some(list) = self.lists.iter().find(|list| list.link == link) {
                todo.extend(list.links.iter().cloned());
            }
            wanted.push(link);
        }
        let crowded = std::mem::replace(&mut self.crowded, left_out.is_some());
        if let (false, Some(link)) = (crowded, left_out) {
            let refused = Event::Refused { name: link.domain().to_owned(), trouble: Trouble::TooManyLists };
            self.events.push_back(refused);
        }
        self.lists.retain(|list| wanted.contains(&list.link));
        for link in wanted {
            if self.lists.iter().all(|list| list.link != link) {
                self.lists.push(List::new(link, now));
            }
        }
    }
}

fn name(link: &Link, question: &Question) -> String {
    match question {
        Question::Root => link.domain().to_owned(),
        Question::Entry(label, _) => format!("{label}.{}", link.domain()),
    }
}

/// Keeps the record with the higher sequence number; true when that is `record`.
fn insert_latest(nodes: &mut Nodes, record: Enr) -> bool {
    let id = record.node_id().raw();
    let newer = nodes.get(&id).is_none_or(|known| known.seq() < record.seq());
    if newer {
        nodes.insert(id, record);
    }
    newer
}

impl List {
    fn new(link: Link, now: Now) -> Self {
        Self {
            link,
            root: None,
            complete: false,
            check_at: now.instant,
            retry: FIRST_RETRY,
            known: HashMap::new(),
            walk: None,
            nodes: Nodes::new(),
            links: Vec::new(),
        }
    }

    fn next_question(&mut self, now: Now, events: &mut VecDeque<Event>) -> Option<Question> {
        self.walk_known(now, events);
        if let Some(walk) = &mut self.walk {
            return walk.todo.pop().map(|(label, part)| Question::Entry(label, part));
        }
        (now.instant >= self.check_at).then_some(Question::Root)
    }

    fn take_root(
        &mut self,
        now: Now,
        texts: Result<Vec<String>, LookupError>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Trouble> {
        match self.check_root(texts) {
            Err(trouble) => {
                self.try_again(now);
                Err(trouble)
            }
            Ok(root) if self.complete && self.root.as_ref() == Some(&root) => {
                self.rest(now);
                Ok(())
            }
            Ok(root) => {
                let mut walk = Walk::default();
                // Links last on the stack, to be walked first: they are few, and their lists can begin.
                walk.add(&self.link, root.nodes.clone(), Part::Nodes, events);
                walk.add(&self.link, root.links.clone(), Part::Links, events);
                (self.walk, self.root, self.complete) = (Some(walk), Some(root), false);
                Ok(())
            }
        }
    }

    fn check_root(&self, texts: Result<Vec<String>, LookupError>) -> Result<Root, Trouble> {
        let texts = texts?;
        let text = texts.iter().find(|text| Root::is_meant(text)).ok_or(Trouble::NoRecord)?;
        let root: Root = text.parse()?;
        if !root.is_signed_by(self.link.key()) {
            return Err(Trouble::Signature);
        }
        match &self.root {
            Some(seen) if root.seq < seen.seq => Err(Trouble::SequenceWentBack { seq: root.seq, seen: seen.seq }),
            _ => Ok(root),
        }
    }

    /// All is well until the next look at the root.
    fn rest(&mut self, now: Now) {
        self.check_at = now.instant + RECHECK_EVERY;
        self.retry = FIRST_RETRY;
    }

    fn try_again(&mut self, now: Now) {
        self.check_at = now.instant + self.retry;
        self.retry = (self.retry * 2).min(RECHECK_EVERY);
    }

    fn take_entry(
        &mut self,
        label: &Label,
        part: Part,
        texts: Result<Vec<String>, LookupError>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Trouble> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        let text = texts.map_err(Trouble::from).and_then(|texts| pick(&texts, label));
        // What is not there may be there later; a wrong record with the right hash stays wrong.
        let text = text.inspect_err(|_| walk.incomplete = true)?;
        let entry: Entry = text.parse()?;
        self.known.insert(label.clone(), entry.clone());
        walk.take(&self.link, &self.nodes, entry, part, events)
    }

    /// Walks what needs no asking, and ends the walk when nothing is left.
    fn walk_known(&mut self, now: Now, events: &mut VecDeque<Event>) {
        let Some(walk) = &mut self.walk else { return };
        while let Some(entry) = walk.todo.last().and_then(|(label, _)| self.known.get(label)) {
            let Some((label, part)) = walk.todo.pop() else { return };
            if let Err(trouble) = walk.take(&self.link, &self.nodes, entry.clone(), part, events) {
                let name = format!("{label}.{}", self.link.domain());
                events.push_back(Event::Refused { name, trouble });
            }
        }
        if walk.todo.is_empty() {
            self.end_walk(now, events);
        }
    }

    fn end_walk(&mut self, now: Now, events: &mut VecDeque<Event>) {
        let (Some(walk), Some(root)) = (self.walk.take(), &self.root) else { return };
        let (seq, complete) = (root.seq, !walk.incomplete);
        self.known.retain(|label, _| walk.met.contains(label));
        if complete {
            (self.nodes, self.links, self.complete) = (walk.nodes, walk.links, true);
            self.rest(now);
        } else {
            for record in walk.nodes.into_values() {
                if self.nodes.len() < MAX_ENTRIES {
                    insert_latest(&mut self.nodes, record);
                }
            }
            let new = walk.links.into_iter().filter(|link| !self.links.contains(link)).collect::<Vec<_>>();
            self.links.extend(new.into_iter().take(MAX_LISTS.saturating_sub(self.links.len())));
            self.try_again(now);
        }
        events.push_back(Event::Walked { link: self.link.clone(), seq, nodes: self.nodes.len(), complete });
    }
}

/// The text that a label names.
fn pick(texts: &[String], label: &Label) -> Result<String, Trouble> {
    if let Some(text) = texts.iter().find(|text| label.names(text)) {
        return Ok(text.clone());
    }
    if texts.iter().any(|text| Entry::is_meant(text)) { Err(Trouble::Hash) } else { Err(Trouble::NoRecord) }
}

impl Walk {
    fn take(
        &mut self,
        list: &Link,
        before: &Nodes,
        entry: Entry,
        part: Part,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Trouble> {
        match (entry, part) {
            (Entry::Branch(labels), part) => {
                labels.into_iter().rev().for_each(|label| self.add(list, label, part, events));
            }
            (Entry::Node(record), Part::Nodes) => {
                let known = before.get(&record.node_id().raw()).is_some_and(|known| known.seq() >= record.seq());
                if insert_latest(&mut self.nodes, record.clone()) && !known {
                    events.push_back(Event::Node(record));
                }
            }
            // More than can be followed need not be remembered.
            (Entry::Link(link), Part::Links) if self.links.len() < MAX_LISTS => {
                if !self.links.contains(&link) {
                    self.links.push(link);
                }
            }
            (Entry::Link(_), Part::Links) => return Err(Trouble::TooManyLists),
            (Entry::Node(_), Part::Links) | (Entry::Link(_), Part::Nodes) => return Err(Trouble::Misplaced),
        }
        Ok(())
    }

    fn add(&mut self, list: &Link, label: Label, part: Part, events: &mut VecDeque<Event>) {
        if self.met.contains(&label) {
            return;
        }
        if self.met.len() < MAX_ENTRIES {
            self.met.insert(label.clone());
            self.todo.push((label, part));
        } else if self.met.len() == MAX_ENTRIES {
            // Once a walk: the label that says so is the last one met.
            self.met.insert(label.clone());
            let name = format!("{label}.{}", list.domain());
            events.push_back(Event::Refused { name, trouble: Trouble::TooManyEntries });
        }
    }
}
