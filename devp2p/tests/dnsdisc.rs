//! Node lists in virtual time, over a scripted DNS; and one on loopback, over a real one.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use devp2p::NodeKey;
use devp2p::clock::{self, Now};
use devp2p::dnsdisc::resolve::{FIRST_RETRY, MAX_ENTRIES, MAX_LISTS, QUERY_EVERY, RECHECK_EVERY};
use devp2p::dnsdisc::{Entry, Event, Label, Link, LookupError, Resolver, Root, Tree, TreeError, Trouble};
use devp2p::enr::{self, Enr};

fn key(number: u16) -> NodeKey {
    let mut bytes = [5; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_bytes(&bytes).unwrap()
}

fn node(number: u16, seq: u64) -> Enr {
    let ip = [9, 9, (number >> 8) as u8, number as u8].into();
    enr::sign(&key(number), seq, &enr::Endpoint { ip: Some(ip), tcp: Some(30303), udp: None }).unwrap()
}

fn nodes(numbers: std::ops::Range<u16>) -> Vec<Enr> {
    numbers.map(|number| node(number, 1)).collect()
}

/// The list of signer `number`.
fn link(number: u16) -> Link {
    Link::new(key(number).public(), &format!("list{number}.example.org")).unwrap()
}

fn ids(records: &[Enr]) -> BTreeSet<[u8; 32]> {
    records.iter().map(|record| record.node_id().raw()).collect()
}

/// A resolver, the DNS that it asks, and the clock.
struct World {
    resolver: Resolver,
    dns: BTreeMap<String, Result<Vec<String>, LookupError>>,
    now: Now,
    asked: Vec<String>,
    events: Vec<Event>,
}

impl World {
    fn new(links: &[Link]) -> Self {
        let now = clock::now();
        let resolver = Resolver::new(links, now);
        Self { resolver, dns: BTreeMap::new(), now, asked: Vec::new(), events: Vec::new() }
    }

    /// Publishes a list in the place of the last one.
    fn publish(&mut self, link: &Link, tree: &Tree) {
        self.dns.retain(|name, _| !name.ends_with(link.domain()));
        self.dns.extend(tree.records(link).into_iter().map(|(name, text)| (name, Ok(vec![text]))));
    }

    fn set(&mut self, name: &str, texts: &[&str]) {
        self.dns.insert(name.to_owned(), Ok(texts.iter().map(|text| (*text).to_owned()).collect()));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            while let Some(name) = self.resolver.next_query(self.now) {
                assert_eq!(self.resolver.next_query(self.now), None, "one question at a time");
                let answer = self.dns.get(&name).cloned().unwrap_or(Err(LookupError::Missing));
                let texts = answer.map(|texts| texts.into_iter().map(String::into_bytes).collect());
                self.asked.push(name);
                self.resolver.answer(self.now, texts);
            }
            self.events.extend(std::iter::from_fn(|| self.resolver.next_event()));
            let wake_at = self.resolver.wake_at().unwrap_or(end).min(end);
            if wake_at >= end {
                break;
            }
            // Time moves on, or this never ends.
            self.now =
                self.now.after(wake_at.saturating_duration_since(self.now.instant).max(Duration::from_millis(1)));
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }

    fn troubles(&self) -> Vec<Trouble> {
        let trouble = |event: &Event| match event {
            Event::Refused { trouble, .. } => Some(*trouble),
            _ => None,
        };
        self.events.iter().filter_map(trouble).collect()
    }

    fn told(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Node(_))).count()
    }

    /// The list as it is known, and a list in DNS with `nodes`.
    fn with_list(count: u16) -> Self {
        let mut world = Self::new(&[link(1)]);
        world.publish(&link(1), &Tree::make(&nodes(100..100 + count), &[], 5, &key(1)));
        world.run(Duration::from_secs(60));
        assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..100 + count)));
        assert_eq!(world.troubles(), []);
        world
    }
}

const SOON: Duration = Duration::from_secs(60);

/// Long enough for the next look at the root and a walk.
const RECHECK: Duration = Duration::from_secs(31 * 60);

#[test]
fn a_list_is_read_whole_and_each_record_once() {
    let world = World::with_list(30);
    let unique: BTreeSet<_> = world.asked.iter().collect();
    assert_eq!(unique.len(), world.asked.len(), "no name is asked for twice");
    assert_eq!(world.told(), 30);
    let walked = Event::Walked { link: link(1), seq: 5, nodes: 30, complete: true };
    assert_eq!(world.events.last(), Some(&walked));
}

#[test]
fn three_questions_a_second() {
    let mut world = World::new(&[link(1)]);
    world.publish(&link(1), &Tree::make(&nodes(100..200), &[], 5, &key(1)));
    world.run(Duration::from_secs(10));
    assert_eq!(world.asked.len(), 10_000_usize.div_ceil(QUERY_EVERY.as_millis() as usize));
}

#[test]
fn an_unchanged_root_costs_one_question_and_a_changed_one_what_is_new() {
    let mut world = World::with_list(30);
    world.asked.clear();
    world.run(RECHECK);
    assert_eq!(world.asked, [link(1).domain()]);
    let mut changed = nodes(100..130);
    changed[3] = node(103, 2);
    changed.push(node(200, 1));
    world.publish(&link(1), &Tree::make(&changed, &[], 6, &key(1)));
    let told = world.told();
    world.run(RECHECK);
    assert!(world.asked.len() < 10, "{:?}", world.asked);
    assert_eq!(world.told() - told, 2, "the node that changed, and the new one");
    assert_eq!(world.resolver.nodes().len(), 31);
    assert!(world.resolver.nodes().contains(&node(103, 2)));
    world.publish(&link(1), &Tree::make(&nodes(100..102), &[], 7, &key(1)));
    world.run(RECHECK);
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..102)), "nodes that were taken off are gone");
}

#[test]
fn other_texts_of_the_domain_do_not_disturb() {
    let mut world = World::new(&[link(1)]);
    let tree = Tree::make(&nodes(100..101), &[], 5, &key(1));
    world.publish(&link(1), &tree);
    world.set(link(1).domain(), &["v=spf1 -all", &tree.root().to_string(), "x"]);
    world.run(SOON);
    assert_eq!((world.resolver.nodes().len(), world.troubles()), (1, vec![]));
}

#[test]
fn linked_lists_are_followed_and_dropped_with_the_link() {
    let mut world = World::new(&[link(1)]);
    world.publish(&link(1), &Tree::make(&nodes(100..103), &[link(2)], 5, &key(1)));
    world.publish(&link(2), &Tree::make(&nodes(102..106), &[], 9, &key(2)));
    world.run(SOON);
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..106)));
    world.publish(&link(1), &Tree::make(&nodes(100..103), &[], 6, &key(1)));
    world.run(RECHECK);
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..103)));
}

#[test]
fn h54_links_in_a_circle_end() {
    let mut world = World::new(&[link(1)]);
    for (number, next) in [(1, 2), (2, 3), (3, 1)] {
        let links = [link(next), link(number)];
        world.publish(&link(number), &Tree::make(&nodes(number * 100..number * 100 + 2), &links, 5, &key(number)));
    }
    world.run(SOON);
    assert_eq!(world.resolver.nodes().len(), 6);
    assert!(world.asked.len() < 30, "{:?}", world.asked);
}

#[test]
fn h54_lists_without_end_are_cut_off() {
    let mut world = World::new(&[link(1)]);
    for number in 1..50 {
        let tree = Tree::make(&nodes(number * 100..number * 100 + 1), &[link(number + 1)], 5, &key(number));
        world.publish(&link(number), &tree);
    }
    world.run(Duration::from_secs(300));
    assert_eq!(world.resolver.nodes().len(), MAX_LISTS);
    assert_eq!(world.troubles(), [Trouble::TooManyLists]);
}

#[test]
fn h54_a_root_with_a_bad_signature_changes_nothing() {
    let mut world = World::with_list(3);
    let forged = Tree::make(&nodes(200..203), &[], 6, &key(2));
    world.publish(&link(1), &forged);
    world.run(RECHECK);
    assert_eq!(world.troubles()[0], Trouble::Signature);
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..103)));
}

#[test]
fn h54_a_lower_sequence_number_changes_nothing() {
    let mut world = World::with_list(3);
    world.publish(&link(1), &Tree::make(&nodes(200..203), &[], 4, &key(1)));
    world.run(RECHECK);
    assert_eq!(world.troubles()[0], Trouble::SequenceWentBack { seq: 4, seen: 5 });
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..103)));
}

#[test]
fn h54_a_branch_that_names_itself_is_no_record() {
    // A text cannot hold its own hash; what stands at the name is refused, and asked for once a walk.
    let mut world = World::new(&[link(1)]);
    let looping = Label::of("loop");
    let branch = Entry::Branch(vec![looping.clone(), looping.clone()]);
    let root = Root::sign(&key(1), Label::of(&branch.to_string()), looping.clone(), 1);
    world.set(link(1).domain(), &[&root.to_string()]);
    world.set(&format!("{}.{}", Label::of(&branch.to_string()), link(1).domain()), &[&branch.to_string()]);
    world.set(&format!("{looping}.{}", link(1).domain()), &[&branch.to_string()]);
    world.run(FIRST_RETRY - Duration::from_secs(5));
    assert_eq!(world.asked.len(), 3);
    assert_eq!(world.troubles(), [Trouble::Hash]);
    let walked = Event::Walked { link: link(1), seq: 1, nodes: 0, complete: false };
    assert_eq!(world.events.last(), Some(&walked));
}

#[test]
fn h54_ten_thousand_children_and_long_texts_are_refused() {
    let mut world = World::with_list(3);
    let children = Entry::Branch(vec![Label::of("x"); 10_000]).to_string();
    let root = Root::sign(&key(1), Label::of(&children), Label::of("enrtree-branch:"), 6);
    world.set(link(1).domain(), &[&root.to_string()]);
    world.set(&format!("{}.{}", Label::of("enrtree-branch:"), link(1).domain()), &["enrtree-branch:"]);
    world.set(&format!("{}.{}", Label::of(&children), link(1).domain()), &[&children]);
    world.asked.clear();
    world.run(RECHECK_EVERY);
    assert_eq!(world.troubles(), [Trouble::Record(TreeError::TooLong(children.len()))]);
    assert_eq!(world.asked.len(), 2, "nothing below it is asked for");
    // A root of 64 KB.
    world.set(link(1).domain(), &[&format!("{root}{}", " ".repeat(65_536))]);
    world.run(RECHECK);
    assert!(matches!(world.troubles()[..], [_, Trouble::Record(TreeError::TooLong(_)), ..]));
}

#[test]
fn h54_a_list_of_too_many_records_is_cut_off() {
    let mut world = World::new(&[link(1)]);
    // Branches over branches; the leaves do not exist.
    let mut level: Vec<_> = (0..6000).map(|leaf| Label::of(&leaf.to_string())).collect();
    while level.len() > 1 {
        let branches = level.chunks(100).map(|part| Entry::Branch(part.to_vec()).to_string());
        level = branches
            .map(|branch| {
                world.set(&format!("{}.{}", Label::of(&branch), link(1).domain()), &[&branch]);
                Label::of(&branch)
            })
            .collect();
    }
    let root = Root::sign(&key(1), level.remove(0), Label::of("none"), 1);
    world.set(link(1).domain(), &[&root.to_string()]);
    world.run(Duration::from_secs(25 * 60));
    assert_eq!(world.troubles().iter().filter(|trouble| **trouble == Trouble::TooManyEntries).count(), 1);
    world.run(Duration::from_secs(10 * 60));
    assert!(world.asked.len() <= MAX_ENTRIES * 2, "{}", world.asked.len());
}

#[test]
fn h54_a_missing_record_keeps_the_list_and_is_asked_for_again() {
    let mut world = World::with_list(3);
    world.publish(&link(1), &Tree::make(&nodes(102..106), &[], 6, &key(1)));
    let absent = format!("{}.{}", Label::of(&node(105, 1).to_base64()), link(1).domain());
    let text = world.dns.insert(absent.clone(), Err(LookupError::Timeout)).unwrap();
    world.run(RECHECK_EVERY);
    assert_eq!(world.troubles()[0], Trouble::Lookup(LookupError::Timeout));
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..105)), "the old list and what is new");
    world.dns.insert(absent, text);
    world.asked.clear();
    world.run(RECHECK_EVERY);
    assert!((2..=3).contains(&world.asked.len()), "the root, and what was missing: {:?}", world.asked);
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(102..106)));
}

#[test]
fn h54_records_in_the_wrong_part_are_left_out() {
    let mut world = World::new(&[link(1)]);
    let (of_node, of_link) = (node(100, 1).to_base64(), link(2).to_string());
    let root = Root::sign(&key(1), Label::of(&of_link), Label::of(&of_node), 1);
    world.set(link(1).domain(), &[&root.to_string()]);
    for text in [&of_node, &of_link] {
        world.set(&format!("{}.{}", Label::of(text), link(1).domain()), &[text]);
    }
    world.run(SOON);
    assert_eq!(world.troubles(), [Trouble::Misplaced; 2]);
    assert_eq!((world.resolver.nodes().len(), world.asked.len()), (0, 3));
}

#[test]
fn h54_a_record_that_is_none_is_left_out_and_the_rest_stays() {
    let mut world = World::new(&[link(1)]);
    let long = format!("enr:{}", "A".repeat(667));
    let (good, html) = (node(100, 1).to_base64(), "<html><body>It works!</body></html>");
    let branch = Entry::Branch([&long, &good, html].map(Label::of).to_vec()).to_string();
    let root = Root::sign(&key(1), Label::of(&branch), Label::of("enrtree-branch:"), 1);
    world.set(link(1).domain(), &[&root.to_string()]);
    for text in [&long, &good, html, &branch, "enrtree-branch:"] {
        world.set(&format!("{}.{}", Label::of(text), link(1).domain()), &[text]);
    }
    world.run(SOON);
    let expected = [Trouble::Record(TreeError::Record(enr::EnrError::Text)), Trouble::Record(TreeError::Unknown)];
    assert_eq!(world.troubles(), expected);
    assert_eq!(world.resolver.nodes(), [node(100, 1)]);
}

#[test]
fn h55_answers_of_a_lying_server_change_nothing() {
    let mut world = World::with_list(3);
    for answer in
        ["<html><body>502 Bad Gateway</body></html>", "", "enrtree-root:v1", "enrtree-root:v1 e= l= seq= sig="]
    {
        world.set(link(1).domain(), &[answer]);
        world.run(RECHECK);
    }
    // Right root, wrong records: those of another list.
    let other = Tree::make(&nodes(200..203), &[], 6, &key(2));
    world.publish(&link(1), &Tree::make(&nodes(100..104), &[], 6, &key(1)));
    let names: Vec<_> = world.dns.keys().filter(|name| *name != link(1).domain()).cloned().collect();
    for (name, (_, text)) in names.iter().zip(other.records(&link(1)).iter().cycle()) {
        world.set(name, &[text]);
    }
    world.run(RECHECK);
    assert!(world.troubles().contains(&Trouble::Hash) || world.troubles().contains(&Trouble::NoRecord));
    assert_eq!(ids(&world.resolver.nodes()), ids(&nodes(100..103)));
}

#[test]
fn f15_a_list_that_cannot_be_reached_is_tried_again_ever_more_rarely() {
    let mut world = World::new(&[link(1)]);
    world.dns.insert(link(1).domain().to_owned(), Err(LookupError::Timeout));
    world.run(Duration::from_secs(24 * 60 * 60));
    // 30 s doubling to 30 min, then 48 a day.
    assert!((45..60).contains(&world.asked.len()), "{} questions in a day", world.asked.len());
    world.publish(&link(1), &Tree::make(&nodes(100..103), &[], 5, &key(1)));
    world.run(RECHECK);
    assert_eq!(world.resolver.nodes().len(), 3);
}

#[path = "../../tests/support/name_server.rs"]
mod name_server;

mod loopback {
    use std::net::UdpSocket;

    use devp2p::dnsdisc::{Client, Config};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::name_server::NameServer;
    use super::*;

    /// Longest a test may take: a name that got no answer is asked for again after [`FIRST_RETRY`] only, and then after twice
    /// that time.
    const LIMIT: Duration = Duration::from_secs(120);

    /// Ports are used again: whoever had that of the name server before may still be sent something.
    #[tokio::test]
    async fn a_list_is_read_over_real_dns_among_stray_packets() {
        let tree = Tree::make(&nodes(100..104), &[], 5, &key(1));
        let server = NameServer::start(tree.records(&link(1))).unwrap();
        for stray in [&b""[..], b"no query", &[0; 1200]] {
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(stray, server.addr()).unwrap();
        }
        let (found, mut records) = mpsc::channel(16);
        let config = Config { links: vec![link(1)], name_servers: vec![server.addr()] };
        let client = Client::start(config, found).unwrap();
        let reading = async {
            let mut read = Vec::new();
            while read.len() < 4 {
                read.push(records.recv().await.unwrap());
            }
            assert_eq!(ids(&read), ids(&nodes(100..104)));
            assert_eq!(ids(&client.nodes().await), ids(&read));
            client.shutdown().await;
            assert!(records.recv().await.is_none(), "stopped");
            assert_eq!(client.nodes().await, []);
        };
        timeout(LIMIT, reading).await.unwrap();
    }
}
