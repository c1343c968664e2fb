use std::{collections::HashSet, net::Ipv4Addr};

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::*;
use crate::{
    bloom::Bloom,
    mail::{
        REQUEST_TOPIC,
        answer::{FIRST_PAGE, MAX_PAGE_TOPICS, NEXT_PAGE},
        request::MAX_LIMIT,
    },
    packet::{
        messages,
        p2p::{CURSOR_LEN, Completion, PlainRequest},
        sync::{MAX_SYNC_LIMIT, SyncRequest, SyncResponse},
    },
    payload::{SealTo, SymKey},
};

mod bounds;
mod mailservers;

const A: Topic = Topic(*b"aaaa");
const B: Topic = Topic(*b"bbbb");
/// When the envelopes of the tests were sent, from here on one a second.
const SENT: u32 = 1_600_000_000;

/// Envelopes, and what a store of them answers.
struct Archive(Vec<Arc<Envelope>>);

impl Archive {
    fn of(envelopes: impl IntoIterator<Item = Envelope>) -> Self {
        let mut envelopes: Vec<_> = envelopes.into_iter().map(Arc::new).collect();
        envelopes.sort_unstable_by_key(|envelope| Place::of(envelope));
        Self(envelopes)
    }

    fn page(&self, query: &PageQuery, rows: usize) -> Page {
        let mut found: Vec<_> = self.0.iter().filter(|envelope| query.sent.contains(&envelope.sent())).collect();
        if query.newest_first {
            found.reverse();
        }
        found.retain(|envelope| query.topics.is_empty() || query.topics.contains(&envelope.topic()));
        found.retain(|envelope| match query.after {
            Some(after) if query.newest_first => Place::of(envelope) < after,
            Some(after) => Place::of(envelope) > after,
            None => true,
        });
        let more = found.len() > rows;
        found.truncate(rows);
        let last = found.last().map(|envelope| Place::of(envelope));
        Page { envelopes: found.into_iter().cloned().collect(), last, more }
    }

    fn topics(&self, after: Option<Topic>) -> Vec<Topic> {
        let mut topics: Vec<_> = self.0.iter().map(|envelope| envelope.topic()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics.retain(|topic| after.is_none_or(|after| *topic > after));
        topics.truncate(crate::mail::answer::TOPIC_STEP);
        topics
    }
}

/// What one connection was sent, in order.
#[derive(Debug, Default)]
struct Sent {
    bundles: Vec<Vec<crate::EnvelopeHash>>,
    ends: Vec<Completion>,
}

impl Sent {
    fn hashes(&self) -> Vec<crate::EnvelopeHash> {
        self.bundles.concat()
    }

    fn text(&self) -> String {
        match self.ends.as_slice() {
            [Completion::Failed { text, .. }] => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn cursor(&self) -> Option<[u8; CURSOR_LEN]> {
        match self.ends.as_slice() {
            [Completion::Done { cursor, .. }] => *cursor,
            other => panic!("{other:?}"),
        }
    }
}

fn start() -> Now {
    Now { unix: Duration::from_secs(u64::from(SENT) + 10_000), ..devp2p::clock::now() }
}

fn later(now: Now, secs: u64) -> Now {
    let more = Duration::from_secs(secs);
    Now { instant: now.instant + more, unix: now.unix + more }
}

fn asker(n: u64) -> Asker {
    let key = devp2p::NodeKey::generate(&mut StdRng::seed_from_u64(n));
    let ip = Ipv4Addr::from(u32::try_from(0x0a00_0000 + n).unwrap()).into();
    let remote = Remote::new(ip, key.public().id());
    Asker { conn: ConnId(n), remote, client_id: "Statusd/v0.79.1".into(), version: Version::Waku0 }
}

fn envelope(n: u32, topic: Topic, len: usize) -> Envelope {
    Envelope::new(SENT + n + 50, 50, topic, vec![7; len].into(), u64::from(n)).unwrap()
}

fn many(count: u32, topic: Topic, len: usize) -> Archive {
    Archive::of((0..count).map(|n| envelope(n, topic, len)))
}

fn plain(topics: &[Topic]) -> PlainRequest {
    let topics = topics.to_vec();
    PlainRequest { id: [9; 32], from: SENT, to: SENT + 9_999, limit: 0, cursor: None, bloom: None, topics }
}

fn ask(request: PlainRequest) -> Asked {
    Asked::History(Ok(P2pRequest::Plain(request)))
}

/// Does everything that the server wants, up to its end, with pages of the length that it asks for.
fn serve(server: &mut Server, archive: &Archive, now: Now) -> BTreeMap<ConnId, Sent> {
    serve_by(server, now, |page| Ok(archive.page(page, page.rows)), archive)
}

fn serve_by(
    server: &mut Server,
    mut now: Now,
    mut read: impl FnMut(&PageQuery) -> Result<Page, ArchiveFailed>,
    archive: &Archive,
) -> BTreeMap<ConnId, Sent> {
    let mut sent = BTreeMap::<ConnId, Sent>::new();
    while let Some(step) = next_step(server, &mut now) {
        match step {
            Step::Topics { ticket, after, .. } => server.topics(now, ticket, Ok(archive.topics(after))),
            Step::Page { ticket, page } => {
                let page = read(&page);
                server.page(now, ticket, page);
            }
            Step::Send { ticket, conn, code, body } => {
                note(sent.entry(conn).or_default(), code, &body);
                if let Some(ticket) = ticket {
                    server.taken(now, ticket, true);
                }
            }
            Step::Ended { .. } => {}
        }
    }
    sent
}

/// The next thing to do, after a rest if there is one.
fn next_step(server: &mut Server, now: &mut Now) -> Option<Step> {
    loop {
        if let Some(step) = server.next_step() {
            return Some(step);
        }
        let rests_until = server.wake_at().filter(|at| *at <= now.instant + REST)?;
        *now = now.after(rests_until - now.instant);
        server.tick(*now);
    }
}

fn note(sent: &mut Sent, code: Code, body: &Bytes) {
    assert!(body.len() <= MAX_SENT_BODY);
    match code {
        Code::P2pMessage => {
            let envelopes = messages::decode(body).unwrap();
            sent.bundles.push(envelopes.map(|item| item.unwrap().unwrap().hash()).collect());
        }
        Code::P2pRequestComplete => sent.ends.push(Completion::decode(body).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Asks one thing of a new server.
fn answer(archive: &Archive, settings: Settings, request: Asked) -> Sent {
    let (mut server, now) = (Server::new(settings), start());
    server.asked(now, asker(1), request);
    let sent = serve(&mut server, archive, now).remove(&ConnId(1)).unwrap();
    assert_eq!((server.running(), sent.ends.len()), (0, 1));
    sent
}

fn answered(archive: &Archive, request: PlainRequest) -> Sent {
    answer(archive, Settings::default(), ask(request))
}

/// A request in an envelope, from a client with this key.
fn sealed(payload: Bytes, to: SealTo<'_>, sign: bool) -> Asked {
    let mut rng = StdRng::seed_from_u64(1);
    let key = devp2p::NodeKey::generate(&mut rng);
    let data = payload::seal(&payload.into(), to, sign.then_some(&key), &mut rng).unwrap();
    let envelope = Envelope::new(SENT + 50, 50, REQUEST_TOPIC, data, 0).unwrap();
    Asked::History(Ok(P2pRequest::Sealed(Box::new(envelope))))
}

fn everything() -> Request {
    Request {
        lower: SENT,
        upper: SENT + 9_999,
        bloom: Some(Bloom::FULL),
        topics: vec![],
        limit: 0,
        cursor: None,
        batch: true,
    }
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("../../../../fixtures/mail/mailserver_queries.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

#[test]
fn every_recorded_query_has_the_recorded_bundles() {
    let file = recorded();
    let envelopes = file["archive"].as_array().unwrap().iter();
    let archive = Archive::of(envelopes.map(|kept| Envelope::decode(bytes(&kept["rlp"]).into()).unwrap()));
    assert_eq!(archive.0.len(), 300);
    let mut compared = 0;
    for case in file["queries"].as_array().unwrap() {
        let request = PlainRequest {
            id: [1; 32],
            from: number(&case["lower"]),
            to: number(&case["upper"]),
            limit: number(&case["limit"]),
            cursor: bytes(&case["cursor"]).try_into().ok(),
            bloom: <[u8; 64]>::try_from(bytes(&case["bloom"])).ok().map(Bloom::from_bytes),
            topics: case["topics"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().parse().unwrap()).collect(),
        };
        let max_packet = number(&case["max_message_size"]) as usize;
        let mut server = Server::new(Settings { max_packet, ..Settings::default() });
        server.asked(start(), asker(1), ask(request));
        // A page as long as the archive: only the bounds of bundles and the limit end one.
        let sent = serve_by(&mut server, start(), |page| Ok(archive.page(page, 1_000)), &archive);
        let sent = &sent[&ConnId(1)];
        if let Some(text) = case["error"].as_str() {
            assert_eq!(sent.text(), format!("request is invalid: {text}"));
            continue;
        }
        let hashes = |bundle: &Value| {
            bundle.as_array().unwrap().iter().map(|hash| <[u8; 32]>::try_from(bytes(hash)).unwrap().into()).collect()
        };
        let bundles: Vec<Vec<_>> = case["bundles"].as_array().unwrap().iter().map(hashes).collect();
        assert_eq!(sent.bundles, bundles, "{}", case["note"]);
        let last: [u8; 32] = bytes(&case["last_envelope_hash"]).try_into().unwrap();
        let cursor = bytes(&case["next_cursor"]).try_into().ok();
        assert_eq!(sent.ends, [Completion::Done { request: [1; 32], last: Some(last.into()), cursor }]);
        compared += 1;
    }
    assert_eq!(compared, 37);
}

#[test]
fn pages_follow_each_other_in_either_order_at_any_server() {
    let archive = Archive::of((0..100).map(|n| envelope(n / 3, A, n as usize)));
    for newest_first in [false, true] {
        let settings = Settings { newest_first, ..Settings::default() };
        let (mut cursor, mut seen) = (None, Vec::new());
        for page in 0.. {
            assert!(page < 20, "it goes on for ever");
            // Each page from another server.
            let sent = answer(&archive, settings.clone(), ask(PlainRequest { limit: 7, cursor, ..plain(&[A]) }));
            seen.extend(sent.hashes());
            cursor = sent.cursor();
            if cursor.is_none() {
                break;
            }
        }
        let mut expected: Vec<_> = archive.0.iter().map(|envelope| envelope.hash()).collect();
        if newest_first {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn the_envelope_that_reaches_the_limit_goes_alone_and_names_the_cursor() {
    let archive = many(10, A, 10);
    let sent = answered(&archive, PlainRequest { limit: 10, ..plain(&[A]) });
    assert_eq!(sent.bundles.iter().map(Vec::len).collect::<Vec<_>>(), [9, 1]);
    assert_eq!(sent.cursor(), Some(Place::of(&archive.0[9]).cursor()));
    let rest = answered(&archive, PlainRequest { cursor: sent.cursor(), ..plain(&[A]) });
    let nothing = Completion::Done { request: [9; 32], last: Some([0; 32].into()), cursor: None };
    assert_eq!((rest.bundles.len(), rest.ends), (0, vec![nothing]));
}

#[test]
fn the_first_envelopes_leave_before_the_last_are_read() {
    let archive = many(1_000, A, 100);
    let (mut server, now) = (Server::new(Settings::default()), start());
    server.asked(now, asker(1), ask(plain(&[A])));
    let (mut reads, mut first) = (0, None);
    while let Some(step) = server.next_step() {
        match step {
            Step::Page { ticket, page } => {
                reads += 1;
                server.page(now, ticket, Ok(archive.page(&page, page.rows)));
            }
            Step::Send { ticket, .. } => {
                first.get_or_insert(reads);
                server.taken(now, ticket.unwrap(), true);
            }
            Step::Topics { .. } | Step::Ended { .. } => {}
        }
    }
    assert_eq!(first, Some(1));
    assert!(reads >= 5, "{reads}");
}

#[test]
fn packets_end_below_the_longest_and_what_fits_none_is_left_out() {
    let small = (0..40).map(|n| envelope(n, A, 50_000));
    let archive = Archive::of(small.chain([envelope(40, A, MAX_SENT_BODY), envelope(41, A, MAX_SENT_BODY - 40)]));
    let sent = answered(&archive, plain(&[A]));
    assert_eq!(sent.hashes().len(), 41);
    assert_eq!(sent.bundles.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 1]);
}

#[test]
fn without_batches_each_envelope_has_a_packet() {
    let password = SymKey::from_bytes([5; 32]).unwrap();
    let settings = Settings { keys: vec![Key::Symmetric(password.clone())], ..Settings::default() };
    let single = Request { batch: false, ..everything() }.encode(Form::Deployed);
    let sent = answer(&many(5, A, 10), settings, sealed(single, SealTo::Symmetric(&password), true));
    assert_eq!(sent.bundles.iter().map(Vec::len).collect::<Vec<_>>(), [1; 5]);
}

#[test]
fn sealed_requests_are_opened_with_either_key_and_must_be_signed() {
    let mut rng = StdRng::seed_from_u64(7);
    let own = devp2p::NodeKey::generate(&mut rng);
    let (password, wrong) = (SymKey::generate(&mut rng), SymKey::generate(&mut rng));
    let keys = vec![Key::Private(own.clone()), Key::Symmetric(password.clone())];
    let settings = Settings { keys, ..Settings::default() };
    let archive = many(3, A, 10);
    let public = own.public();
    for form in [Form::Deployed, Form::Early, Form::Specified] {
        for to in [SealTo::Symmetric(&password), SealTo::Public(&public)] {
            let sent = answer(&archive, settings.clone(), sealed(everything().encode(form), to, true));
            assert_eq!((sent.hashes().len(), sent.cursor()), (3, None));
        }
    }
    let day = Request { upper: SENT + 86_400, ..everything() };
    let raw = sealed(day.encode(Form::Raw), SealTo::Symmetric(&password), true);
    assert_eq!(answer(&archive, settings.clone(), raw).bundles.len(), 3);
    let refused = |request, settings: &Settings| answer(&archive, settings.clone(), request).text();
    let payload = || everything().encode(Form::Deployed);
    let unsigned = sealed(payload(), SealTo::Symmetric(&password), false);
    assert_eq!(refused(unsigned, &settings), "check message signature failed: wrong signature of p2p request");
    let foreign = sealed(payload(), SealTo::Symmetric(&wrong), true);
    assert_eq!(refused(foreign, &settings), "failed to decrypt p2p request");
    let garbage = sealed(Bytes::from_static(&[0xc1, 1]), SealTo::Symmetric(&password), true);
    assert!(refused(garbage, &settings).starts_with("failed to decode data: "));
    let picky = Settings { min_pow: Pow::new(1_000.0).unwrap(), ..settings };
    assert_eq!(refused(sealed(payload(), SealTo::Symmetric(&password), true), &picky), "PoW too low");
}

#[test]
fn nimbus_is_answered_with_a_list() {
    let (mut server, now) = (Server::new(Settings::default()), start());
    let nimbus = Asker { client_id: "nim-eth-p2p/0.2.0".into(), ..asker(1) };
    server.asked(now, nimbus, ask(plain(&[A])));
    let ends = |server: &mut Server| {
        let archive = many(0, A, 0);
        let mut ends = Vec::new();
        while let Some(step) = server.next_step() {
            match step {
                Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
                Step::Send { body, .. } => ends.push(body),
                Step::Topics { .. } | Step::Ended { .. } => {}
            }
        }
        ends
    };
    assert!(ends(&mut server).iter().all(|body| body[0] >= 0xc0));
}

/// go-ethereum leaves whoever sends it a list.
#[test]
fn whisper_is_sent_each_envelope_alone() {
    let (mut server, now, archive) = (Server::new(Settings::default()), start(), many(3, A, 0));
    server.asked(now, Asker { version: Version::Shh6, ..asker(1) }, ask(plain(&[A])));
    let mut envelopes = Vec::new();
    while let Some(step) = server.next_step() {
        match step {
            Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
            Step::Send { ticket, code, body, .. } => {
                if code == Code::P2pMessage {
                    envelopes.push(Envelope::decode(body).unwrap().hash());
                }
                if let Some(ticket) = ticket {
                    server.taken(now, ticket, true);
                }
            }
            Step::Topics { .. } | Step::Ended { .. } => {}
        }
    }
    envelopes.sort_unstable();
    envelopes.dedup();
    assert_eq!(envelopes.len(), 3);
}

#[test]
fn readers_rest_behind_each_page_while_several_are_answered() {
    let archive = many(1_000, A, 10);
    for askers in [1, 2, 10] {
        let (mut server, began) = (Server::new(Settings::default()), start());
        (0..askers).for_each(|n| server.asked(began, asker(n), ask(plain(&[A]))));
        let (mut now, mut read_at, mut ended) = (began, Vec::new(), 0);
        while let Some(step) = next_step(&mut server, &mut now) {
            match step {
                Step::Page { ticket, page } => {
                    read_at.push(now.instant);
                    server.page(now, ticket, Ok(archive.page(&page, page.rows)));
                }
                Step::Send { ticket, .. } => ticket.into_iter().for_each(|ticket| server.taken(now, ticket, true)),
                Step::Ended { .. } => ended += 1,
                Step::Topics { .. } => {}
            }
        }
        assert_eq!((ended, server.wake_at()), (askers, None));
        let pages = 1 + (1_000 - FIRST_PAGE).div_ceil(NEXT_PAGE) as u64;
        assert_eq!(read_at.len() as u64, askers * pages);
        let within_a_rest = |from: &Instant| read_at.iter().filter(|at| (*from..*from + REST).contains(at)).count();
        let most = read_at.iter().map(within_a_rest).max().unwrap();
        assert_eq!(most, if askers == 1 { read_at.len() } else { MAX_READS }, "one alone waits for nobody");
    }
}

#[test]
fn a_filter_is_asked_for_as_the_topics_that_it_holds() {
    let archive = Archive::of((0..50).map(|n| envelope(n, if n % 2 == 0 { A } else { B }, 10)));
    let bloom = Some(Bloom::from_iter([B, Topic(*b"none")]));
    let (mut server, now) = (Server::new(Settings::default()), start());
    server.asked(now, asker(1), ask(PlainRequest { bloom, ..plain(&[]) }));
    let mut asked = Vec::new();
    let read = |page: &PageQuery| {
        asked.push(page.topics.clone());
        Ok(archive.page(page, page.rows))
    };
    let sent = serve_by(&mut server, now, read, &archive);
    assert_eq!(sent[&ConnId(1)].hashes().len(), 25);
    assert_eq!(asked, [vec![B]]);
    let nothing = PlainRequest { bloom: Some(Bloom::EMPTY), ..plain(&[]) };
    assert!(answered(&archive, nothing).hashes().is_empty());
}

#[test]
fn more_topics_than_a_page_is_asked_by_are_looked_for_one_by_one() {
    let topic = |n: u32| Topic((1_000_000 + n).to_be_bytes());
    let archive = Archive::of((0..2_100).map(|n| envelope(n, topic(n), 10)));
    let held: Vec<Topic> = (0..2_100).step_by(2).map(topic).collect();
    assert!(held.len() > MAX_PAGE_TOPICS);
    let sent = answered(&archive, PlainRequest { limit: 900, ..plain(&held) });
    let expected: Vec<_> = archive.0.iter().step_by(2).take(900).map(|envelope| envelope.hash()).collect();
    assert_eq!(sent.hashes(), expected);
    let bloom: Bloom = held.iter().copied().collect();
    let of_bloom = PlainRequest { limit: 900, bloom: Some(bloom), ..plain(&[]) };
    let sent: HashSet<_> = answered(&archive, of_bloom).hashes().into_iter().collect();
    assert_eq!(sent.len(), 900);
    assert!(archive.0.iter().filter(|e| sent.contains(&e.hash())).all(|e| bloom.contains(e.topic())));
}

#[test]
fn an_archive_that_fails_ends_the_answer_with_an_error() {
    let archive = many(400, A, 10);
    for good_pages in [0, 1] {
        let (mut server, now) = (Server::new(Settings::default()), start());
        server.asked(now, asker(1), ask(plain(&[A])));
        let mut left = good_pages;
        let read = |page: &PageQuery| {
            left -= 1;
            if left < 0 { Err(ArchiveFailed) } else { Ok(archive.page(page, page.rows)) }
        };
        let sent = serve_by(&mut server, now, read, &archive);
        let sent = &sent[&ConnId(1)];
        assert_eq!((sent.text().as_str(), sent.bundles.len()), ("the archive can't be read", good_pages as usize));
        assert_eq!(server.running(), 0);
    }
    // So does one that can't tell the topics of a filter.
    let (mut server, now) = (Server::new(Settings::default()), start());
    server.asked(now, asker(1), ask(PlainRequest { bloom: Some(Bloom::EMPTY), ..plain(&[]) }));
    let Some(Step::Topics { ticket, .. }) = server.next_step() else { panic!() };
    server.topics(now, ticket, Err(ArchiveFailed));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(1)].text(), "the archive can't be read");
}

#[test]
fn who_has_had_less_reads_first() {
    let archive = Archive::of(
        (0..1_000).map(|n| envelope(n, if n % 2 == 0 { A } else { B }, if n % 2 == 0 { 9_000 } else { 10 })),
    );
    let (mut server, mut now) = (Server::new(Settings::default()), start());
    (1..=3).for_each(|n| server.asked(now, asker(n), ask(plain(&[A]))));
    server.asked(now, asker(4), ask(plain(&[B])));
    let mut ended = Vec::new();
    while let Some(step) = next_step(&mut server, &mut now) {
        match step {
            Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
            Step::Send { ticket, .. } => server.taken(now, ticket.unwrap(), true),
            Step::Ended { asker, .. } => ended.push(asker.conn.0),
            Step::Topics { .. } => {}
        }
    }
    assert_eq!((ended.len(), ended[0]), (4, 4), "{ended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is kept and asked for, pages bring all of it once, in order, each with one completion.
    #[test]
    fn pages_bring_everything_once(
        kept in proptest::collection::vec((0..40u32, 0..4u8, 0..300usize), 0..200),
        wanted in proptest::collection::vec(0..4u8, 1..4),
        limit in 5..60u32, newest_first: bool, as_bloom: bool, max_packet in 400..4_000usize,
    ) {
        let topic = |n: u8| Topic([n, 1, 2, 3]);
        let envelopes = (0u64..).zip(kept).map(|(nonce, (n, of, len))| {
            Envelope::new(SENT + n + 50, 50, topic(of), vec![1; len].into(), nonce).unwrap()
        });
        let archive = Archive::of(envelopes);
        let topics: Vec<_> = wanted.iter().map(|n| topic(*n)).collect();
        let bloom = as_bloom.then(|| topics.iter().copied().collect::<Bloom>());
        let settings = Settings { newest_first, max_packet, ..Settings::default() };
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let request = PlainRequest {
                limit, cursor, bloom, topics: if as_bloom { vec![] } else { topics.clone() }, ..plain(&[])
            };
            let sent = answer(&archive, settings.clone(), ask(request));
            prop_assert!(sent.hashes().len() <= limit as usize);
            seen.extend(sent.hashes());
            cursor = sent.cursor();
            if cursor.is_none() {
                break;
            }
        }
        let is_wanted = |topic| bloom.map_or_else(|| topics.contains(&topic), |bloom| bloom.contains(topic));
        let mut expected: Vec<_> =
            archive.0.iter().filter(|e| is_wanted(e.topic())).map(|envelope| envelope.hash()).collect();
        if newest_first {
            expected.reverse();
        }
        prop_assert_eq!(seen, expected);
    }
}
