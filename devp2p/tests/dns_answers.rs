//! Answers that no honest name server gives, and the one that does behind them.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

#[path = "../../tests/support/name_server.rs"]
mod name_server;

use std::net::SocketAddr;
use std::time::Duration;

use devp2p::NodeKey;
use devp2p::dnsdisc::{Client, Config, Link, Tree};
use devp2p::enr;
use name_server::NameServer;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// So long is never needed.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(LIMIT, wait).await.expect("it comes at last")
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// In front of a server: before its answer comes, lies are told from another address, and from its own under another id.
async fn among_liars(server: SocketAddr) -> SocketAddr {
    let (asked, elsewhere, behind) = (socket().await, socket().await, socket().await);
    let addr = asked.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut question, mut answer) = ([0; 1500], [0; 1500]);
        loop {
            let (length, from) = asked.recv_from(&mut question).await.unwrap();
            for mut lie in lies(&question[..length]) {
                elsewhere.send_to(&lie, from).await.unwrap();
                lie.iter_mut().take(2).for_each(|byte| *byte ^= 0x55);
                asked.send_to(&lie, from).await.unwrap();
            }
            behind.send_to(&question[..length], server).await.unwrap();
            let (length, _) = behind.recv_from(&mut answer).await.unwrap();
            asked.send_to(&answer[..length], from).await.unwrap();
        }
    });
    addr
}

/// No such name; a name that points at itself; a long ladder of pointers; next to nothing, and nothing.
fn lies(question: &[u8]) -> Vec<Vec<u8>> {
    const TXT_IN: [u8; 4] = [0, 16, 0, 1];
    let id = &question[..2];
    let message = |counts: [u8; 4], rest: &[u8]| [id, &[0x84, 0], &counts, &[0; 4], rest].concat();
    let mut none_such = message([0, 1, 0, 0], &question[12..]);
    none_such[3] = 3;
    let to_itself = [&[0xc0, 12][..], &TXT_IN].concat();
    let endless = message([0, 1, 0, 1], &[&to_itself[..], &to_itself, &[0, 0, 0, 60, 0, 2, 1, b'x']].concat());
    let mut ladder = message([0, 1, 2, 0], &[1, b'x', 0, 0, 16, 0, 1]);
    let mut name = 12_u16;
    for _ in 0..512 {
        let next = u16::try_from(ladder.len()).unwrap();
        ladder.extend([1, b'x']);
        ladder.extend((name | 0xc000).to_be_bytes());
        ladder.extend(TXT_IN.iter().chain(&[0, 0, 0, 60, 0, 0]));
        name = next;
    }
    vec![none_such, endless, ladder, id.to_vec(), Vec::new()]
}

fn key(secret: u8) -> NodeKey {
    NodeKey::from_bytes(&[secret; 32]).unwrap()
}

fn link() -> Link {
    Link::new(key(1).public(), "list.example.org").unwrap()
}

#[tokio::test]
async fn h55_answers_from_elsewhere_and_under_another_id_are_passed_over() {
    let endpoint = enr::Endpoint { ip: Some([9, 9, 9, 9].into()), tcp: Some(30303), udp: None };
    let nodes = [2, 3, 4].map(|secret| enr::sign(&key(secret), 1, &endpoint).unwrap());
    let server = NameServer::start(Tree::make(&nodes, &[], 1, &key(1)).records(&link())).unwrap();
    let addr = among_liars(server.addr()).await;
    let (found, mut records) = mpsc::channel(16);
    let client = Client::start(Config { links: vec![link()], name_servers: vec![addr] }, found).unwrap();
    for _ in 0..nodes.len() {
        let record = soon(records.recv()).await.unwrap();
        assert!(nodes.contains(&record));
    }
    assert_eq!(soon(client.nodes()).await.len(), nodes.len());
}

/// From the server itself: the question has failed, and nothing else has.
#[tokio::test]
async fn h55_answers_of_names_without_end_are_survived() {
    for lie in 0..lies(&[0; 40]).len() {
        let server = socket().await;
        let config = Config { links: vec![link()], name_servers: vec![server.local_addr().unwrap()] };
        let (found, mut records) = mpsc::channel(16);
        let client = Client::start(config, found).unwrap();
        let mut question = [0; 1500];
        let (length, from) = soon(server.recv_from(&mut question)).await.unwrap();
        server.send_to(&lies(&question[..length])[lie], from).await.unwrap();
        assert_eq!(soon(client.nodes()).await, []);
        soon(client.shutdown()).await;
        assert!(soon(records.recv()).await.is_none());
    }
}
