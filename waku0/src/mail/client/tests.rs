//! A client and servers that answer as they should, or as they like.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    mail::Place,
    packet::{messages, p2p::decode_messages},
};

const TOPIC: Topic = Topic([1, 2, 3, 4]);
const OTHER: Topic = Topic([9, 9, 9, 9]);

fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    let instant = Instant::now();
    Now { instant, unix: Duration::from_secs(1_700_000_000) }
}

fn envelope(sent: u32, number: u64, topic: Topic) -> Envelope {
    Envelope::new(sent + 50, 50, topic, Bytes::from(vec![7; 20]), number).unwrap()
}

/// Envelopes that were sent in seconds 1000 to 1009, ten in each.
fn archive() -> Vec<Envelope> {
    (0..100).map(|number| envelope(1_000 + number / 10, u64::from(number), TOPIC)).collect()
}

fn packet(envelopes: &[Envelope]) -> Direct {
    let shared: Vec<_> = envelopes.iter().cloned().map(Arc::new).collect();
    let body = messages::encode(&shared).pop().unwrap_or_else(|| Bytes::from_static(&[0xc0]));
    Direct::Envelopes(decode_messages(&body).unwrap())
}

fn done(name: u8, last: Option<&Envelope>, cursor: Option<Cursor>) -> Direct {
    Direct::Completion(Completion::Done { request: [name; 32], last: last.map(Envelope::hash), cursor })
}

/// A server with an archive.
struct Server {
    archive: Vec<Envelope>,
    newest_first: bool,
}

impl Server {
    fn of(archive: Vec<Envelope>, newest_first: bool) -> Self {
        let mut archive = archive;
        archive.sort_by_key(Place::of);
        if newest_first {
            archive.reverse();
        }
        Self { archive, newest_first }
    }

    /// One page, in packets of seven, as a deployed server answers.
    fn answer(&self, request: &Request, name: u8) -> Vec<Direct> {
        let after = request.cursor.map(|cursor| Place::of_cursor(&cursor));
        let is_behind =
            |place: Place| after.is_none_or(|after| if self.newest_first { place < after } else { place > after });
        let wanted = |envelope: &&Envelope| {
            (request.lower..=request.upper).contains(&envelope.sent())
                && request.topics.contains(&envelope.topic())
                && is_behind(Place::of(envelope))
        };
        let page: Vec<_> = self.archive.iter().filter(wanted).take(request.limit as usize).cloned().collect();
        let cursor = page.last().filter(|_| page.len() == request.limit as usize).map(|last| Place::of(last).cursor());
        let packets = page.chunks(7).map(packet);
        packets.chain([done(name, page.last(), cursor)]).collect()
    }
}

/// A client, and what it did.
struct Story {
    client: Client,
    now: Now,
    asks: u8,
    delivered: Vec<Envelope>,
    left: Vec<(usize, Trouble)>,
    resumes: Vec<Resume>,
    ended: bool,
}

impl Story {
    fn new(page: u32, servers: usize) -> Self {
        Self::going_on(page, servers, None)
    }

    fn going_on(page: u32, servers: usize, resume: Option<Resume>) -> Self {
        let wanted = Wanted { sent: 1_000..=1_009, topics: vec![TOPIC] };
        Self::of(Client::new(wanted, Settings { page, ..Settings::default() }, servers, resume))
    }

    fn of(client: Client) -> Self {
        let (delivered, left, resumes) = (Vec::new(), Vec::new(), Vec::new());
        Self { client, now: now(), asks: 0, delivered, left, resumes, ended: false }
    }

    /// Goes on to the next request, which gets a name; `None` at the end, or in a pause.
    fn next(&mut self) -> Option<(usize, Request, u8)> {
        while let Some(action) = self.client.next_action() {
            match action {
                Action::Ask { server, request } => {
                    self.asks += 1;
                    self.client.asked(self.now, [self.asks; 32]);
                    return Some((server, request, self.asks));
                }
                Action::Deliver(envelope) => self.delivered.push(envelope),
                Action::Page(resume) => self.resumes.push(resume),
                Action::Leave { server, why } => self.left.push((server, why)),
                Action::End => self.ended = true,
            }
        }
        None
    }

    fn hear(&mut self, server: usize, packets: impl IntoIterator<Item = Direct>) {
        packets.into_iter().for_each(|packet| self.client.receive(self.now, server, packet));
    }

    /// Lets servers answer to the end.
    fn run(&mut self, servers: &[Server]) {
        while let Some((server, request, name)) = self.next() {
            self.hear(server, servers[server].answer(&request, name));
        }
    }

    fn wait(&mut self) {
        self.now = self.now.after(self.client.wake_at().unwrap().duration_since(self.now.instant));
        self.client.tick(self.now);
    }

    /// Who was left, and why, without its end.
    fn last_trouble(&mut self) -> Option<Trouble> {
        while self.next().is_some() {}
        self.left.last().map(|(_, why)| why.clone())
    }
}

fn sorted(envelopes: &[Envelope]) -> Vec<EnvelopeHash> {
    let mut hashes: Vec<_> = envelopes.iter().map(Envelope::hash).collect();
    hashes.sort();
    hashes
}

#[test]
fn pages_in_either_order_until_there_is_no_more() {
    for newest_first in [false, true] {
        for page in [1, 9, 10, 100, 1_000] {
            let mut story = Story::new(page, 1);
            story.run(&[Server::of(archive(), newest_first)]);
            assert!(story.ended && story.client.report().is_complete());
            assert_eq!(sorted(&story.delivered), sorted(&archive()), "{page} {newest_first}");
            // A page that reaches its limit says that there may be more.
            let pages = 100 / u64::from(page) + 1;
            assert_eq!(story.client.report().pages, pages);
            assert_eq!((story.client.covered(), story.client.resume()), ((10, 10), None));
        }
    }
}

#[test]
fn the_next_server_is_asked_for_what_is_left() {
    for newest_first in [false, true] {
        let servers = [Server::of(archive(), newest_first), Server::of(archive(), !newest_first)];
        let mut story = Story::new(35, 2);
        let (server, request, name) = story.next().unwrap();
        assert_eq!((server, request.lower, request.upper, request.limit), (0, 1_000, 1_009, 35));
        story.hear(0, servers[0].answer(&request, name));
        let (_, request, _) = story.next().unwrap();
        assert!(request.cursor.is_some());
        story.client.lost(story.now, 0);
        let (server, request, name) = story.next().unwrap();
        let left = if newest_first { (1_000, 1_006) } else { (1_003, 1_009) };
        assert_eq!((server, (request.lower, request.upper), request.cursor), (1, left, None));
        assert_eq!(story.left, [(0, Trouble::Lost)]);
        story.hear(1, servers[1].answer(&request, name));
        story.run(&servers);
        assert_eq!(sorted(&story.delivered), sorted(&archive()));
        // Of the second in which the first one stopped.
        assert_eq!(story.client.report().duplicates, 5);
        assert!(story.client.report().is_complete());
    }
}

#[test]
fn another_run_goes_on_where_one_stopped() {
    let servers = [Server::of(archive(), false)];
    let mut first = Story::new(40, 1);
    let (_, request, name) = first.next().unwrap();
    first.hear(0, servers[0].answer(&request, name));
    assert!(first.next().is_some());
    let resume = first.resumes.pop().unwrap();
    assert_eq!(resume, first.client.resume().unwrap());
    let mut second = Story::going_on(40, 1, Some(resume.clone()));
    second.run(&servers);
    assert!(second.client.report().is_complete());
    let both = [first.delivered.clone(), second.delivered].concat();
    assert_eq!(sorted(&both), sorted(&archive()));
    // The server is gone: another one is asked for the range.
    let gone = Resume { place: resume.place.map(|place| PlaceAt { server: 5, ..place }), ..resume };
    let mut third = Story::going_on(40, 1, Some(gone));
    third.run(&servers);
    let all: HashSet<_> = first.delivered.iter().chain(&third.delivered).map(Envelope::hash).collect();
    assert_eq!(all.len(), 100);
}

#[test]
fn a_server_that_never_answers_is_left_and_what_is_missing_is_told() {
    let servers = [Server::of(archive(), false)];
    let mut story = Story::new(35, 1);
    let (_, request, name) = story.next().unwrap();
    story.hear(0, servers[0].answer(&request, name));
    let began = story.now.instant;
    for round in 0..MAX_ROUNDS {
        assert!(story.next().is_some(), "{round}");
        story.wait(); // In vain.
        assert!(story.next().is_none());
        if round + 1 < MAX_ROUNDS {
            story.wait(); // The pause.
        }
    }
    assert!(story.ended);
    assert_eq!(story.left, vec![(0, Trouble::Silent); 3]);
    assert_eq!(story.now.instant.duration_since(began), TIMEOUT * 3 + PAUSE + PAUSE * 2);
    let report = story.client.report();
    assert_eq!((report.gap.clone(), report.limited, report.envelopes), (Some(1_003..=1_009), false, 35));
    assert_eq!(report.servers[0], ServerReport { pages: 1, failures: 3, last: Some(Trouble::Silent) });
}

#[test]
fn what_a_server_refuses_with_is_told_and_the_next_one_is_asked() {
    let servers = [Server::of(vec![], false), Server::of(archive(), false)];
    let mut story = Story::new(100, 2);
    story.next().unwrap();
    let refusal = Completion::Failed { request: [1; 32], text: "rate limit exceeded".into() };
    story.hear(0, [Direct::Completion(refusal)]);
    story.run(&servers);
    assert_eq!(story.left, [(0, Trouble::Refused("rate limit exceeded".into()))]);
    assert_eq!((story.delivered.len(), story.client.report().is_complete()), (100, true));
}

#[test]
fn a_limit_ends_it_and_says_so() {
    let wanted = Wanted { sent: 1_000..=1_009, topics: vec![TOPIC] };
    let settings = Settings { page: 30, limit: 70, ..Settings::default() };
    let mut story = Story::of(Client::new(wanted, settings, 1, None));
    story.run(&[Server::of(archive(), false)]);
    let report = story.client.report();
    assert_eq!((report.envelopes, report.pages, report.limited), (70, 3, true));
    assert_eq!(report.gap, Some(1_006..=1_009));
    assert!(story.resumes.pop().unwrap().place.is_some());
}

#[test]
fn without_servers_or_a_range_there_is_nothing_to_ask() {
    assert!(Story::new(10, 0).next().is_none());
    let nothing = Wanted { sent: RangeInclusive::new(5, 4), topics: vec![] };
    let mut story = Story::of(Client::new(nothing, Settings::default(), 1, None));
    assert!(story.next().is_none() && story.ended && story.client.report().is_complete());
}

#[test]
fn h37_what_was_never_asked_for_changes_nothing() {
    let mut story = Story::new(10, 2);
    let stray = |name: u8| [packet(&archive()[..3]), done(name, None, None)];
    // Before anything was asked: the shell has the request still.
    let Some(Action::Ask { .. }) = story.client.next_action() else { panic!() };
    story.hear(0, stray(1));
    story.client.asked(story.now, [1; 32]);
    // Of another server, and under another name.
    story.hear(1, stray(1));
    story.hear(0, [done(99, None, None)]);
    let other = Completion::Failed { request: [98; 32], text: "no".into() };
    story.hear(0, [Direct::Completion(other)]);
    assert!(story.next().is_none() && !story.ended);
    assert!(story.delivered.is_empty() && story.left.is_empty());
    assert_eq!(story.client.report().unasked, 6);
    story.hear(0, [done(1, None, None)]);
    assert!(story.next().is_none() && story.ended);
}

#[test]
fn h37_envelopes_of_other_times_and_topics_are_not_given_away() {
    let mut story = Story::new(10, 1);
    story.next().unwrap();
    let foreign = [envelope(999, 1, TOPIC), envelope(1_010, 1, TOPIC), envelope(1_005, 1, OTHER)];
    story.hear(0, [packet(&foreign), done(1, Some(&foreign[2]), None)]);
    assert!(story.next().is_none() && story.ended);
    assert!(story.delivered.is_empty());
    assert_eq!(story.client.report().unwanted, 3);
}

#[test]
fn h37_more_than_was_asked_for_is_a_breach() {
    let mut story = Story::new(10, 1);
    story.next().unwrap();
    story.hear(0, [packet(&archive()[..11])]);
    assert_eq!(story.last_trouble(), Some(Trouble::TooMuch));
    assert!(story.ended && story.delivered.len() <= 10, "who breaks his word is not asked again");
    let mut story = Story::new(10, 1);
    story.next().unwrap();
    story.hear(0, (0..1_000).map(|_| packet(&[])));
    assert_eq!(story.last_trouble(), Some(Trouble::TooMuch));
}

#[test]
fn h37_a_page_that_trickles_for_ever_ends() {
    let mut story = Story::new(1_000, 1);
    story.next().unwrap();
    let began = story.now.instant;
    for one in archive().chunks(1).cycle() {
        if !story.left.is_empty() || story.ended {
            break;
        }
        story.hear(0, [packet(one)]);
        story.now = story.now.after(TIMEOUT - Duration::from_millis(1));
        story.client.tick(story.now);
        assert!(story.next().is_none());
    }
    assert_eq!(story.left, [(0, Trouble::Silent)]);
    assert!(story.now.instant.duration_since(began) < PAGE_TIMEOUT + TIMEOUT);
}

#[test]
fn h37_a_cursor_that_does_not_move_or_leads_in_a_circle_is_a_breach() {
    for cursors in [vec![1, 1], vec![1, 2, 3, 1]] {
        let mut story = Story::new(10, 1);
        for (place, cursor) in cursors.iter().enumerate() {
            let (_, _, name) = story.next().unwrap();
            let page = &archive()[place * 10..place * 10 + 10];
            story.hear(0, [packet(page), done(name, page.last(), Some([*cursor; 36]))]);
        }
        assert_eq!(story.last_trouble(), Some(Trouble::Stuck));
        assert!(story.ended && !story.client.report().is_complete());
    }
}

#[test]
fn h37_an_empty_page_with_a_cursor_is_a_breach() {
    let mut story = Story::new(10, 1);
    let (_, _, name) = story.next().unwrap();
    story.hear(0, [done(name, None, Some([1; 36]))]);
    assert_eq!(story.last_trouble(), Some(Trouble::Hollow));
}

#[test]
fn pages_without_end_end() {
    let wanted = Wanted { sent: 0..=u32::MAX, topics: vec![TOPIC] };
    let settings = Settings { page: 1, limit: 500, ..Settings::default() };
    let mut story = Story::of(Client::new(wanted, settings, 1, None));
    // Ever new envelopes, all of one second, behind ever new cursors.
    let mut number = 0;
    while let Some((_, _, name)) = story.next() {
        number += 1;
        let one = envelope(1_000, number, TOPIC);
        story.asks = 0; // Names may come again.
        story.hear(0, [packet(std::slice::from_ref(&one)), done(name, Some(&one), Some(Place::of(&one).cursor()))]);
    }
    assert_eq!((number, story.client.report().limited), (500, true));
    assert_eq!(story.client.report().gap, Some(0..=u32::MAX), "one second tells no order");
}

#[test]
fn a_page_that_is_not_whole_is_asked_for_again() {
    let servers = [Server::of(archive(), false)];
    for shed in [false, true] {
        let mut story = Story::new(100, 1);
        let (_, request, name) = story.next().unwrap();
        let mut packets = servers[0].answer(&request, name);
        if shed {
            packets.remove(3);
            story.client.shed();
        } else {
            let last = packets.len() - 2;
            packets.remove(last);
        }
        story.hear(0, packets);
        assert!(story.next().is_none());
        assert_eq!(story.left, [(0, Trouble::Torn)]);
        story.wait();
        story.run(&servers);
        assert!(story.ended && story.client.report().is_complete());
        assert_eq!(sorted(&story.delivered), sorted(&archive()));
    }
}

#[test]
fn what_is_no_envelope_costs_itself() {
    let mut story = Story::new(10, 1);
    story.next().unwrap();
    let good = archive().remove(0);
    let items = [&[0xc1, 0x01][..], good.raw()].concat();
    let mut body = Vec::new();
    alloy_rlp::Header { list: true, payload_length: items.len() }.encode(&mut body);
    body.extend(items);
    story.hear(0, [Direct::Envelopes(decode_messages(&Bytes::from(body)).unwrap()), done(1, Some(&good), None)]);
    assert!(story.next().is_none() && story.ended);
    assert_eq!((story.delivered.len(), story.client.report().unreadable), (1, 1));
}

proptest! {
    /// Whatever servers fail after whatever page: nothing is lost as long as one goes on, nothing comes twice.
    #[test]
    fn nothing_is_lost_between_servers(
        orders in prop::collection::vec(any::<bool>(), 1..4),
        page in 1_u32..60,
        fails in prop::collection::vec(0_u8..5, 0..12),
    ) {
        let servers: Vec<_> = orders.iter().map(|newest_first| Server::of(archive(), *newest_first)).collect();
        let mut story = Story::new(page, servers.len());
        let mut fails = fails.into_iter();
        loop {
            let Some((server, request, name)) = story.next() else {
                if story.ended {
                    break;
                }
                story.wait();
                continue;
            };
            match fails.next() {
                Some(0) => story.client.lost(story.now, server),
                Some(1) => story.wait(),
                Some(2) => {
                    let packets = servers[server].answer(&request, name);
                    story.hear(server, packets.into_iter().take(2));
                    story.client.lost(story.now, server);
                }
                _ => story.hear(server, servers[server].answer(&request, name)),
            }
        }
        let report = story.client.report();
        let delivered: HashSet<_> = story.delivered.iter().map(Envelope::hash).collect();
        prop_assert_eq!(delivered.len(), story.delivered.len());
        match &report.gap {
            None => prop_assert_eq!(delivered.len(), 100),
            Some(gap) => {
                for missing in archive().iter().filter(|one| !delivered.contains(&one.hash())) {
                    prop_assert!(gap.contains(&missing.sent()), "{:?} {:?}", gap, missing);
                }
            }
        }
    }

    #[test]
    fn no_packets_make_it_panic(packets in prop::collection::vec((0_usize..3, 0_u8..4, any::<u8>()), 0..200)) {
        let mut story = Story::new(5, 2);
        for (server, kind, value) in packets {
            story.next();
            let number = u32::from(value);
            let cursor = Some([value; 36]).filter(|_| value % 3 == 0);
            story.hear(server, [match kind {
                0 => packet(&[envelope(990 + number, 1, TOPIC)]),
                1 => done(story.asks, None, cursor),
                2 => done(value, None, cursor),
                _ => packet(&[]),
            }]);
            if value % 7 == 0 && story.client.wake_at().is_some() {
                story.wait();
            }
        }
    }
}
