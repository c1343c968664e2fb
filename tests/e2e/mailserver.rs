//! A mailserver as its clients meet it: what passes is kept, and given to who asks. What fails meanwhile is in `mail_faults`.

use std::{collections::HashSet, path::Path, time::Duration};

use devp2p::{ConnId, Limits, Network, NodeKey, clock::now};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;
use waku0::{
    Envelope, EnvelopeHash, Event, Handle, Settings, Topic,
    interest::Interest,
    mail::{
        REQUEST_TOPIC,
        request::{Form, Request},
    },
    packet::{
        Code,
        p2p::{Completion, Cursor, Direct},
    },
    payload::{self, SealTo, SymKey},
};

use crate::process::{Bridge, run};

/// What every deployed client knows.
pub(crate) const PASSWORD: &str = "status-offline-inbox";
/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn mailserver(directory: &Path, flags: &[&str]) -> Bridge {
    Bridge::mailserver_in(directory, flags)
}

/// Posts a text and says under which hash.
pub(crate) fn post(server: &Bridge, topic: &str, text: &str) -> String {
    let said = run(&["post", &server.enode, &format!("--topic={topic}"), &format!("--text={text}")]);
    assert!(said.success, "{said:?}");
    said.stdout.split_whitespace().nth(1).expect("a hash").to_owned()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    within(LIMIT, what, is_so);
}

/// The same, for what may take longer, or must not.
pub(crate) fn within(limit: Duration, what: &str, is_so: impl Fn() -> bool) {
    let start = now().instant;
    while !is_so() {
        assert!(now().instant - start < limit, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until so many envelopes are in the archive.
pub(crate) fn await_archived(server: &Bridge, count: usize) {
    let line = format!("mailserver_archived_envelopes_total{{db=\"sqlite\"}} {count}.0");
    eventually(&line, || server.get("/metrics").1.lines().any(|l| l == line));
}

/// A client: a waku/0 node that knows one server and trusts it.
pub(crate) struct Client {
    node: Handle,
    events: mpsc::Receiver<Event>,
    conn: ConnId,
    rng: StdRng,
    key: NodeKey,
}

/// What came in answer to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) hashes: Vec<EnvelopeHash>,
    end: Completion,
}

impl Answer {
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        match &self.end {
            Completion::Done { cursor, .. } => *cursor,
            Completion::Failed { text, .. } => panic!("{text}"),
        }
    }
}

impl Client {
    pub(crate) async fn connect(server: &str) -> Self {
        Self::connect_as(server, Settings::default()).await
    }

    async fn connect_as(server: &str, settings: Settings) -> Self {
        let mut rng = StdRng::seed_from_u64(7);
        let key = NodeKey::generate(&mut rng);
        let (sender, mut events) = mpsc::channel(8_192);
        let config = waku0::run::Config {
            key: key.clone(),
            client_id: "test".into(),
            listen: None,
            static_nodes: vec![server.parse().expect("an enode")],
            limits: Limits::default(),
            network: Network::default(),
            settings,
            accounts: None,
            mail: None,
        };
        let (node, _task) = waku0::run::start(config, sender).await.expect("a client starts");
        let conn = loop {
            let event = tokio::time::timeout(LIMIT, events.recv()).await.expect("in time").expect("it runs");
            if let Event::PeerRunning { conn } = event {
                break conn;
            }
        };
        assert!(node.trust(conn, true).await);
        Self { node, events, conn, rng, key }
    }

    /// Asks with this password, as deployed clients do; `None` when the server is gone before the end.
    pub(crate) async fn ask(&mut self, request: &Request, password: &str) -> Option<Answer> {
        let (key, secs) = (SymKey::from_password(password), u32::try_from(now().unix_secs()).expect("before 2106"));
        let content = payload::Content::from(request.encode(Form::Deployed));
        let data = payload::seal(&content, SealTo::Symmetric(&key), Some(&self.key), &mut self.rng).expect("it fits");
        let envelope = Envelope::new(secs + 50, 50, REQUEST_TOPIC, data, 0).expect("an envelope");
        self.node.mail(self.conn, Code::P2pRequest, envelope.raw().clone()).await.ok()?;
        let mut hashes = Vec::new();
        loop {
            match tokio::time::timeout(LIMIT, self.events.recv()).await.expect("in time")? {
                Event::Direct { packet: Direct::Envelopes(envelopes), .. } => {
                    hashes.extend(envelopes.map(|item| item.expect("a list").expect("an envelope").hash()));
                }
                Event::Direct { packet: Direct::Completion(end), .. } => {
                    let named = match &end {
                        Completion::Done { request, .. } | Completion::Failed { request, .. } => request,
                    };
                    assert_eq!(named, envelope.hash().as_bytes());
                    return Some(Answer { hashes, end });
                }
                Event::PeerGone { .. } => return None,
                _ => {}
            }
        }
    }
}

pub(crate) fn of(topics: &[&str], limit: u32, cursor: Option<Cursor>) -> Request {
    let topics: Vec<Topic> = topics.iter().map(|topic| topic.parse().expect("a topic")).collect();
    Request { lower: 0, upper: 0, bloom: None, topics, limit, cursor, batch: true }
}

pub(crate) fn text(hashes: &[EnvelopeHash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_a_mailserver_is_given_to_who_asks() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = mailserver(data.path(), &[]);
    let mail = server.banner.iter().find(|line| line.starts_with("mail ")).expect("an address for clients");
    assert!(mail.contains(&format!(":{PASSWORD}@127.0.0.1:")), "{mail}");
    let posted: Vec<String> = (0..3).map(|n| post(&server, "0x01020304", &n.to_string())).collect();
    post(&server, "0x01020305", "another topic");
    await_archived(&server, 4);

    let mut client = Client::connect(&server.enode).await;
    let answer = client.ask(&of(&["0x01020304"], 0, None), PASSWORD).await.expect("an answer");
    let found: HashSet<String> = text(&answer.hashes).into_iter().collect();
    assert_eq!((found, answer.cursor()), (posted.iter().cloned().collect(), None));
    let first = client.ask(&of(&["0x01020304"], 2, None), PASSWORD).await.expect("an answer");
    let rest = client.ask(&of(&["0x01020304"], 2, first.cursor()), PASSWORD).await.expect("an answer");
    assert_eq!((first.hashes.len(), rest.hashes.len(), rest.cursor()), (2, 1, None));
    let wrong = client.ask(&of(&["0x01020304"], 0, None), "guessed").await.expect("an answer");
    assert!(
        matches!(&wrong.end, Completion::Failed { text, .. } if text == "failed to decrypt p2p request"),
        "{wrong:?}"
    );

    let metrics = server.get("/metrics").1;
    for line in [
        "mailserver_delivery_attempts_total 4",
        "mailserver_delivery_failures_total{type=\"validation\"} 1",
        "mailserver_envelope_queries_total{filter=\"partial\",history=\"full\"} 2",
        "mailserver_envelope_queries_total{filter=\"partial\",history=\"partial\"} 1",
        "mailserver_sync_attempts_total 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is missing in:\n{metrics}");
    }
    assert_eq!(server.terminate(Duration::from_secs(10)), Some(0));
}

/// What a client announces is of gossip, and has no say in what it asks for.
#[tokio::test(flavor = "multi_thread")]
async fn light_clients_and_those_of_one_topic_are_given_what_they_ask_for() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = mailserver(data.path(), &[]);
    let posted = ["0x01020304", "0x01020305"].map(|topic| post(&server, topic, "for later"));
    await_archived(&server, 2);
    let of_one = Interest::topics(vec![Topic([1, 2, 3, 4])]).expect("an interest");
    let of_none = Interest::topics(Vec::new()).expect("an interest");
    for settings in [
        Settings { light: true, ..Settings::default() },
        Settings { interest: of_one, ..Settings::default() },
        Settings { light: true, interest: of_none, ..Settings::default() },
    ] {
        let mut client = Client::connect_as(&server.enode, settings).await;
        for (topic, hash) in ["0x01020304", "0x01020305"].iter().zip(&posted) {
            let answer = client.ask(&of(&[topic], 0, None), PASSWORD).await.expect("an answer");
            assert_eq!((text(&answer.hashes), answer.cursor()), (vec![hash.clone()], None));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_while_the_disk_is_full_a_mailserver_relays_and_answers_from_what_it_has() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let first = mailserver(data.path(), &[]);
    let kept = post(&first, "0x01020304", "before");
    await_archived(&first, 1);
    assert_eq!(first.terminate(Duration::from_secs(10)), Some(0));
    let server = Bridge::mailserver_with_little_disk(data.path(), 512);
    for n in 0..30 {
        post(&server, "0x01020304", &format!("{n} {}", "x".repeat(25_000)));
    }
    eventually("the archive fails", || server.get("/readyz").1.contains("\"part\":\"archive\""));
    let mut client = Client::connect(&server.enode).await;
    let answer = client.ask(&of(&["0x01020304"], 0, None), PASSWORD).await.expect("an answer");
    assert!(text(&answer.hashes).contains(&kept), "{answer:?}");
    let metrics = server.get("/metrics").1;
    assert!(metrics.lines().any(|l| l == "waku_envelopes_validated_total 30"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_serves_history_where_it_keeps_an_archive() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Bridge::start_in(data.path(), &["--archive", "--mailserver", "--bridge-direction=archive-only"]);
    let posted = post(&server, "0x01020304", "for later");
    let mut client = Client::connect(&server.enode).await;
    let mut found = Vec::new();
    for _ in 0..100 {
        let answer = client.ask(&of(&["0x01020304"], 0, None), PASSWORD).await.expect("an answer");
        found = text(&answer.hashes);
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(found, [posted]);
    let said = run(&["bridge", "--mailserver"]);
    assert!(said.code == Some(2) && said.stderr.contains("--archive"), "{said:?}");
}

#[test]
fn a_file_of_statusd_is_read_and_what_has_no_effect_is_told() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let file = data.path().join("statusd.json");
    let json = r#"{"RegisterTopics": ["whispermail"], "HTTPEnabled": true,
        "WakuConfig": {"Enabled": true, "EnableMailServer": true, "MailServerPassword": "sesame"}}"#;
    std::fs::write(&file, json).expect("a file is written");
    let flag = format!("-c={}", file.display());
    let server = mailserver(data.path(), &[&flag]);
    let mail = server.banner.iter().find(|line| line.starts_with("mail ")).expect("an address for clients");
    assert!(mail.contains(":sesame@"), "{mail}");
    let said = run(&["mailserver", "-c", "/nowhere.json"]);
    assert!(said.code == Some(2) && said.stderr.contains("/nowhere.json"), "{said:?}");
}
