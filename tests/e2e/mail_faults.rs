//! Mailservers with requests on their way whose process or disk fails, or whose client does.

use std::{collections::HashSet, fs, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use causeway::{client::V0Client, rows, storage::archive::ARCHIVE_FILE};
use devp2p::clock::now;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, copy},
    net::{TcpListener, TcpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};
use waku0::{Envelope, EnvelopeHash, mail::server::MAX_HELD};

use crate::{
    mailserver::{Client, LIMIT, PASSWORD, await_archived, eventually, mailserver, of, post, text, within},
    process::{Bridge, run},
};

/// What all are about.
const TOPIC: &str = "0x01020304";
/// Lives of a mailserver that end by SIGKILL.
const LIVES: usize = 20;
/// Envelopes that are new to the client within each life.
const NEW: usize = 3;
/// Envelopes that are posted in each life. Those of all lives fit one answer.
const POSTED: usize = 20;
/// Between two requests: fewer than a peer may make.
const BETWEEN: Duration = Duration::from_millis(60);
/// An orderly stop: the program itself gives it eight seconds.
const STOP: Duration = Duration::from_secs(30);
/// Until a client that does not read is left: `devp2p::Limits` and the mailserver give it less together.
const LEFT: Duration = Duration::from_secs(240);
/// Bytes of a large envelope: a packet for each.
const LARGE: usize = 700_000;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Envelopes that come while other things happen, and a connection that brings them as long as the task lives.
fn posting(server: &Bridge, life: usize) -> JoinHandle<()> {
    let enode = server.enode.parse().expect("an enode");
    tokio::spawn(async move {
        let poster = V0Client::connect(&enode, LIMIT).await.expect("a session");
        for n in 0..POSTED {
            let data = Bytes::from(format!("{life} {n}"));
            poster.post(TOPIC.parse().expect("a topic"), 600, data).await.expect("an envelope");
        }
        std::future::pending().await
    })
}

/// All that a server has: nothing of it twice, and everything that it gave before.
async fn grown(client: &mut Client, given: &HashSet<EnvelopeHash>) -> HashSet<EnvelopeHash> {
    let answer = client.ask(&of(&[TOPIC], 0, None), PASSWORD).await.expect("an answer");
    assert_eq!(answer.cursor(), None, "one answer has them all");
    let hashes: HashSet<EnvelopeHash> = answer.hashes.iter().copied().collect();
    assert_eq!(hashes.len(), answer.hashes.len(), "something came twice");
    assert!(hashes.is_superset(given), "{} were given before, now {}", given.len(), hashes.len());
    hashes
}

/// The same, until some more are there.
async fn grown_by(count: usize, client: &mut Client, given: &HashSet<EnvelopeHash>) -> HashSet<EnvelopeHash> {
    let start = now().instant;
    loop {
        let hashes = grown(client, given).await;
        if hashes.len() >= given.len() + count {
            return hashes;
        }
        assert!(now().instant - start < LIMIT, "nothing new came");
        sleep(BETWEEN).await;
    }
}

/// What was given was on disk. Posts go on and a request is on its way at each kill.
#[tokio::test(flavor = "multi_thread")]
async fn f01_killed_twenty_times_a_mailserver_has_all_that_it_ever_gave_and_nothing_twice() {
    let (data, mut given) = (directory(), HashSet::new());
    for life in 0..LIVES {
        let server = mailserver(data.path(), &[]);
        let posts = posting(&server, life);
        let mut client = Client::connect(&server.enode).await;
        given = grown_by(NEW, &mut client, &given).await;
        let asking = tokio::spawn(async move { client.ask(&of(&[TOPIC], 0, None), PASSWORD).await });
        server.kill();
        // It may have come still.
        let _last = asking.await.expect("the client ends");
        posts.abort();
    }
    let server = mailserver(data.path(), &[]);
    let mut client = Client::connect(&server.enode).await;
    assert!(grown(&mut client, &given).await.len() >= LIVES * NEW);
}

/// The files of its archive, as they stand while it is held.
fn copied(server: &Bridge, from: &Path) -> TempDir {
    let copy = directory();
    server.hold();
    for suffix in ["", "-wal"] {
        let name = format!("{ARCHIVE_FILE}{suffix}");
        fs::copy(from.join(&name), copy.path().join(&name)).expect("a copy");
    }
    server.signal("CONT");
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_at_any_moment_the_files_of_a_mailserver_have_all_that_it_gave() {
    let (data, mut given) = (directory(), HashSet::new());
    let server = mailserver(data.path(), &[]);
    let mut client = Client::connect(&server.enode).await;
    for moment in 0..3 {
        let posts = posting(&server, moment);
        given = grown_by(NEW, &mut client, &given).await;
        let copy = copied(&server, data.path());
        let second = mailserver(copy.path(), &[]);
        grown(&mut Client::connect(&second.enode).await, &given).await;
        posts.abort();
    }
}

/// No file may grow: every write fails, as on a disk that is full, read-only or broken.
#[tokio::test(flavor = "multi_thread")]
async fn f04_a_mailserver_that_can_write_nothing_counts_nothing_answers_and_goes_on_when_it_can() {
    let data = directory();
    let server = Bridge::mailserver_with_little_disk(data.path(), 1 << 20);
    let kept = post(&server, TOPIC, "before");
    await_archived(&server, 1);
    let mut client = Client::connect(&server.enode).await;
    server.limit_files("0");
    post(&server, TOPIC, "for nobody");
    eventually("the archive fails", || server.get("/readyz").1.contains("\"part\":\"archive\""));
    let answer = client.ask(&of(&[TOPIC], 0, None), PASSWORD).await.expect("an answer");
    assert_eq!((text(&answer.hashes), answer.cursor()), (vec![kept.clone()], None));
    await_archived(&server, 1);
    assert_eq!(server.get("/livez").0, 200);

    server.limit_files("unlimited");
    let later = post(&server, TOPIC, "after");
    let given = grown_by(1, &mut client, &answer.hashes.iter().copied().collect()).await;
    let given: HashSet<String> = given.iter().map(ToString::to_string).collect();
    assert!(given.contains(&kept) && given.contains(&later), "{given:?}");
    eventually("the archive works", || !server.get("/readyz").1.contains("\"part\":\"archive\""));
    assert_eq!(server.terminate(STOP), Some(0));
}

/// What a node without an archive has left, and back again.
#[tokio::test(flavor = "multi_thread")]
async fn f23_a_legacy_node_becomes_a_mailserver_and_one_again() {
    let data = directory();
    let key = |enode: &str| enode.split('@').next().map(str::to_owned);
    let legacy = Bridge::legacy_in(data.path(), &[]);
    let before = key(&legacy.enode);
    assert_eq!(legacy.terminate(STOP), Some(0));
    let server = mailserver(data.path(), &[]);
    assert_eq!(key(&server.enode), before);
    let posted = post(&server, TOPIC, "kept");
    await_archived(&server, 1);
    assert_eq!(server.terminate(STOP), Some(0));
    let legacy = Bridge::legacy_in(data.path(), &[]);
    assert_eq!(key(&legacy.enode), before);
    assert_eq!(legacy.terminate(STOP), Some(0));
    let server = mailserver(data.path(), &[]);
    let mut client = Client::connect(&server.enode).await;
    let answer = client.ask(&of(&[TOPIC], 0, None), PASSWORD).await.expect("an answer");
    assert_eq!(text(&answer.hashes), [posted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_mailserver_leaves_the_archive_of_a_later_version_alone() {
    let data = directory();
    let file = data.path().join(ARCHIVE_FILE);
    ::archive::Archive::sqlite(&file).await.expect("an archive").close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(later).execute(&pool).await.expect("a row");
    pool.close().await;
    let before = fs::read(&file).expect("the file");
    let flag = format!("--data-dir={}", data.path().display());
    let said = run(&["mailserver", "--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--rest-port=0", &flag]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in [ARCHIVE_FILE, "later version", "9999"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    assert!(said.stdout.is_empty(), "nothing was started: {said:?}");
    assert!(fs::read(&file).expect("the file") == before, "it was changed");
}

/// An archive of so many large envelopes of random bytes, and a small one on another topic.
async fn filled(directory: &Path, count: u32, topic: &str, other: &str) {
    let archive = ::archive::Archive::sqlite(&directory.join(ARCHIVE_FILE)).await.expect("an archive");
    let (secs, mut rng) = (u32::try_from(now().unix_secs()).expect("before 2106"), StdRng::seed_from_u64(38));
    let mut row = |topic: &str, nonce: u32, len: usize| {
        let mut data = vec![0; len];
        rng.fill_bytes(&mut data);
        let topic = topic.parse().expect("a topic");
        let envelope = Envelope::new(secs - 60, 600, topic, data.into(), nonce.into()).expect("an envelope");
        rows::of_envelope(&envelope, None, secs.into())
    };
    let large: Vec<_> = (0..count).map(|n| row(topic, n, LARGE)).collect();
    for row in large.into_iter().chain([row(other, 0, 100)]) {
        archive.append(&[row], secs.into()).await.expect("room");
    }
    archive.close().await;
}

/// A line to a server on which, after so many bytes from there, nothing is read any more, and which stays open; tells when that is so.
async fn stalling(server: &str, after: usize) -> (String, oneshot::Receiver<()>, JoinHandle<()>) {
    let (key, at) = server.split_once('@').expect("an enode");
    let at: SocketAddr = at.split('?').next().and_then(|at| at.parse().ok()).expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let enode = format!("{key}@{}", listener.local_addr().expect("an address"));
    let (stalls, stalled) = oneshot::channel();
    let line = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("the client");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(1 << 16).expect("a small buffer");
        let mut server = socket.connect(at).await.expect("the server");
        let ((mut from_client, mut to_client), (from_server, mut to_server)) = (client.split(), server.split());
        let down = async {
            // Whether the client has gone does not matter.
            let _ = copy(&mut from_server.take(after as u64), &mut to_client).await;
            let _ = stalls.send(());
            std::future::pending::<()>().await;
        };
        tokio::join!(down, async { copy(&mut from_client, &mut to_server).await.ok() });
    });
    (enode, stalled, line)
}

/// A client takes some MiB of sixteen, and then nothing: its connection is given twenty seconds for a piece (`devp2p::Limits`) and then left.
#[tokio::test(flavor = "multi_thread")]
async fn h38_who_stops_reading_in_the_middle_of_an_answer_is_left_and_others_are_answered() {
    let (data, other) = (directory(), "0x01020305");
    filled(data.path(), 24, TOPIC, other).await;
    let server = mailserver(data.path(), &[]);
    let says = |line: &str| server.get("/metrics").1.lines().any(|said| said == line);
    let (enode, stalled, line) = stalling(&server.enode, 3 << 20).await;
    let mut stuck = Client::connect(&enode).await;
    let before = server.resident_bytes();
    let asking = tokio::spawn(async move { stuck.ask(&of(&[TOPIC], 0, None), PASSWORD).await });
    tokio::time::timeout(LIMIT, stalled).await.expect("in time").expect("the line");
    assert!(says("mailserver_answers_running 1.0"), "{}", server.get("/metrics").1);

    let mut client = Client::connect(&server.enode).await;
    let answer = client.ask(&of(&[other], 0, None), PASSWORD).await.expect("an answer");
    assert_eq!((answer.hashes.len(), answer.cursor()), (1, None));
    let large = client.ask(&of(&[TOPIC], 2, None), PASSWORD).await.expect("an answer");
    assert_eq!(large.hashes.len(), 2);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MAX_HELD as u64, "{grown} bytes more");

    let left = "mailserver_delivery_failures_total{type=\"left\"} 1";
    within(LEFT, "the answer ends", || says(left) && says("mailserver_answers_running 0.0"));
    assert!(client.ask(&of(&[other], 0, None), PASSWORD).await.is_some());
    line.abort();
    assert!(asking.await.expect("the client ends").is_none(), "the answer was whole");
    assert_eq!(server.terminate(STOP), Some(0));
}
