//! What matches, what is kept, and what is forgotten.

use devp2p::NodeKey;
use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::payload::{Content, SealTo, SymKey};

const TOPIC: Topic = Topic([1, 2, 3, 4]);
const OTHER: Topic = Topic([5, 6, 7, 8]);

#[expect(clippy::disallowed_methods, reason = "a beginning for times that are reckoned from it")]
fn start() -> Instant {
    Instant::now()
}

struct Scene {
    filters: Filters,
    rng: StdRng,
    now: Instant,
    shared: SymKey,
    reader: NodeKey,
    sent: u32,
}

impl Scene {
    fn new() -> Self {
        let (shared, reader) = (SymKey::from_bytes([1; 32]).unwrap(), NodeKey::from_bytes(&[2; 32]).unwrap());
        Self { filters: Filters::default(), rng: StdRng::seed_from_u64(1), now: start(), shared, reader, sent: 100 }
    }

    fn criteria(&self) -> Criteria {
        let key = Key::Symmetric(self.shared.clone());
        Criteria { key, topics: vec![TOPIC.into()], sender: None, min_pow: Pow::ZERO, allow_p2p: false }
    }

    fn install(&mut self, criteria: Criteria) -> FilterId {
        self.filters.install(criteria, Reader::Polls, self.now, &mut self.rng).unwrap()
    }

    /// Each is sent a second after the one before, so that no two are the same.
    fn envelope(&mut self, topic: Topic, to: SealTo<'_>, sign: Option<&NodeKey>, payload: &[u8]) -> Envelope {
        let content = Content::from(Bytes::copy_from_slice(payload));
        let data = payload::seal(&content, to, sign, &mut self.rng).unwrap();
        self.sent += 1;
        Envelope::new(self.sent + 15, 15, topic, data, 0).unwrap()
    }

    fn symmetric(&mut self, topic: Topic, sign: Option<&NodeKey>, payload: &[u8]) -> Envelope {
        let key = self.shared.clone();
        self.envelope(topic, SealTo::Symmetric(&key), sign, payload)
    }

    fn offer(&mut self, envelope: &Envelope) -> Vec<FilterId> {
        self.filters.offer(envelope, Pow::ZERO, false)
    }

    fn payloads(&mut self, id: FilterId) -> Option<Vec<Bytes>> {
        let messages = self.filters.poll(id, self.now)?;
        Some(messages.iter().map(|message| message.payload.clone()).collect())
    }
}

#[test]
fn a_message_is_what_its_envelope_says() {
    let mut scene = Scene::new();
    let (reader, sender) = (scene.reader.clone(), NodeKey::from_bytes(&[3; 32]).unwrap());
    let id = scene.install(Criteria { key: Key::Private(reader.clone()), ..scene.criteria() });
    let envelope = scene.envelope(TOPIC, SealTo::Public(&reader.public()), Some(&sender), b"hello");
    let pow = Pow::new(0.5).unwrap();
    assert_eq!(scene.filters.offer(&envelope, pow, false), []);
    let messages = scene.filters.poll(id, scene.now).unwrap();
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.payload, b"hello"[..]);
    assert_eq!((message.signer(), message.recipient), (Some(sender.public()), Some(reader.public())));
    assert_eq!((message.topic, message.sent, message.ttl), (TOPIC, envelope.sent(), 15));
    assert_eq!((message.hash, message.pow, message.direct), (envelope.hash(), pow, false));
    assert_eq!(scene.payloads(id), Some(vec![]), "what was asked for is gone");
}

#[test]
fn topics_keys_senders_and_work_must_fit() {
    let mut scene = Scene::new();
    let sender = NodeKey::from_bytes(&[3; 32]).unwrap();
    let anything = scene.install(Criteria { topics: vec![], ..scene.criteria() });
    let topic = scene.install(scene.criteria());
    let from = scene.install(Criteria { sender: Some(sender.public()), ..scene.criteria() });
    let work = scene.install(Criteria { min_pow: Pow::new(1.0).unwrap(), ..scene.criteria() });
    let stranger = Key::Symmetric(SymKey::from_bytes([9; 32]).unwrap());
    let stranger = scene.install(Criteria { key: stranger, ..scene.criteria() });

    let plain = scene.symmetric(TOPIC, None, b"plain");
    let elsewhere = scene.symmetric(OTHER, None, b"elsewhere");
    let signed = scene.symmetric(TOPIC, Some(&sender), b"signed");
    let reader = scene.reader.clone();
    let foreign = scene.symmetric(TOPIC, Some(&reader), b"foreign");
    for envelope in [&plain, &elsewhere, &signed, &foreign] {
        scene.offer(envelope);
    }
    let hard = scene.symmetric(TOPIC, None, b"hard");
    scene.filters.offer(&hard, Pow::new(1.0).unwrap(), false);

    assert_eq!(scene.payloads(anything).unwrap(), ["plain", "elsewhere", "signed", "foreign", "hard"]);
    assert_eq!(scene.payloads(topic).unwrap(), ["plain", "signed", "foreign", "hard"]);
    assert_eq!(scene.payloads(from).unwrap(), ["signed"]);
    assert_eq!(scene.payloads(work).unwrap(), ["hard"]);
    assert!(scene.payloads(stranger).unwrap().is_empty());
}

/// The filter that opened it asks for another sender; others with its key still match.
#[test]
fn what_one_filter_opened_others_with_its_key_have() {
    let mut scene = Scene::new();
    let sender = Some(scene.reader.public());
    let picky = scene.install(Criteria { sender, ..scene.criteria() });
    let any = scene.install(scene.criteria());
    let envelope = scene.symmetric(TOPIC, None, b"hello");
    scene.offer(&envelope);
    assert_eq!((scene.payloads(picky).unwrap().len(), scene.payloads(any).unwrap().len()), (0, 1));
}

#[test]
fn outside_of_gossip_only_those_that_allow_it() {
    let mut scene = Scene::new();
    let gossip = scene.install(scene.criteria());
    let both = scene.install(Criteria { allow_p2p: true, ..scene.criteria() });
    let envelope = scene.symmetric(TOPIC, None, b"old");
    scene.filters.offer(&envelope, Pow::ZERO, true);
    assert_eq!((scene.payloads(gossip).unwrap().len(), scene.payloads(both).unwrap().len()), (0, 1));
}

#[test]
fn a_message_waits_once() {
    let mut scene = Scene::new();
    let id = scene.install(scene.criteria());
    let envelope = scene.symmetric(TOPIC, None, b"hello");
    scene.offer(&envelope);
    scene.offer(&envelope);
    assert_eq!(scene.payloads(id).unwrap(), ["hello"]);
}

#[test]
fn subscribers_are_told_and_never_idle() {
    let mut scene = Scene::new();
    let polled = scene.install(scene.criteria());
    let criteria = scene.criteria();
    let told = scene.filters.install(criteria, Reader::IsTold, scene.now, &mut scene.rng).unwrap();
    let envelope = scene.symmetric(TOPIC, None, b"hello");
    assert_eq!(scene.offer(&envelope), [told]);
    assert_eq!(scene.offer(&envelope), [], "it waits already");
    scene.now += IDLE;
    assert_eq!(scene.payloads(polled), None);
    assert_eq!(scene.payloads(told).unwrap(), ["hello"]);
}

#[test]
fn polling_keeps_a_filter_and_forgetting_it_does_not() {
    let mut scene = Scene::new();
    let (kept, forgotten) = (scene.install(scene.criteria()), scene.install(scene.criteria()));
    for _ in 0..3 {
        scene.now += IDLE - Duration::from_secs(1);
        assert!(scene.payloads(kept).is_some());
    }
    assert_eq!((scene.payloads(forgotten), scene.filters.len()), (None, 1));
    assert!(scene.filters.remove(kept) && !scene.filters.remove(kept) && scene.filters.is_empty());
}

#[test]
fn the_oldest_go_when_nobody_asks() {
    let mut scene = Scene::new();
    let id = scene.install(scene.criteria());
    for n in 0..MAX_MESSAGES + 3 {
        let envelope = scene.symmetric(TOPIC, None, &n.to_be_bytes());
        scene.offer(&envelope);
    }
    let messages = scene.filters.poll(id, scene.now).unwrap();
    let first = Message::clone(&messages[0]);
    assert_eq!((messages.len(), &first.payload[..]), (MAX_MESSAGES, &3_usize.to_be_bytes()[..]));
    assert_eq!(scene.filters.dropped(), 3);

    // Sealing so much would take its time; what was opened is put in as it is.
    let put = |scene: &mut Scene, n: u8, bytes: usize| {
        let message = Message { payload: vec![n; bytes].into(), hash: [n; 32].into(), ..first.clone() };
        scene.filters.keep(vec![(0, Arc::new(message))]);
    };
    for n in 0..5 {
        put(&mut scene, n, MAX_BYTES / 4);
    }
    assert_eq!(scene.payloads(id).unwrap().iter().map(|payload| payload[0]).collect::<Vec<_>>(), [2, 3, 4]);
    put(&mut scene, 5, MAX_BYTES * 2);
    assert_eq!(scene.payloads(id).unwrap().len(), 1, "one always has room");
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut scene = Scene::new();
    for _ in 0..MAX_FILTERS {
        scene.install(scene.criteria());
    }
    let criteria = scene.criteria();
    let more = scene.filters.install(criteria.clone(), Reader::Polls, scene.now, &mut scene.rng);
    assert_eq!(more, Err(InstallError::TooManyFilters));
    scene.now += IDLE;
    let wide = Criteria { topics: vec![TOPIC.into(); MAX_TOPICS + 1], ..criteria };
    let more = scene.filters.install(wide, Reader::Polls, scene.now, &mut scene.rng);
    assert_eq!(more, Err(InstallError::TooManyTopics(MAX_TOPICS + 1)));
    scene.install(scene.criteria());
    assert_eq!(scene.filters.len(), 1, "idle ones make room");
}
