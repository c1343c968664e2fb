//! A process that runs out of file descriptors: it goes on, and lets peers in again once it has some.
//!
//! The limit is of a whole process, so the test runs itself again in one of its own (`ulimit -n`).

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::fs::File;
use std::process::Command;

use devp2p::Packet;
use support::nodes::{Node, config};
use support::{WAKU0, key, plain};
use tokio::net::TcpSocket;

/// Set in the process that has few descriptors.
const CHILD: &str = "DEVP2P_TEST_FEW_DESCRIPTORS";

const NAME: &str = "f07_accepting_resumes_when_descriptors_are_free_again";

#[test]
fn f07_accepting_resumes_when_descriptors_are_free_again() {
    if std::env::var_os(CHILD).is_some() {
        return in_the_child();
    }
    let itself = std::env::current_exe().unwrap();
    let run = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(itself)
        .arg(NAME)
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"), "the child ran the test");
}

#[tokio::main(flavor = "current_thread")]
async fn in_the_child() {
    let mut node = Node::start(config(1, &[])).await;
    let mut first = node.puppet(2).await;
    first.hello().await;
    let (conn, ..) = node.opened().await;
    assert_eq!(first.frames().await[0].code, 0);

    let socket = TcpSocket::new_v4().unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // The system lets it connect; to accept it the node has no descriptor.
    let stream = socket.connect(node.handle.listen_addr().unwrap()).await.unwrap();
    for number in 0..50_u8 {
        node.handle.try_send(conn, Packet::new(WAKU0, 1, vec![number])).unwrap();
        let mut heard = first.frames().await;
        assert_eq!(plain(&heard.remove(0).data, true), [number], "who is connected is not hurt");
    }
    assert_eq!(node.handle.connections().all, 1);
    drop(hoard);
    let mut second = node.greeted(stream, 3).await;
    second.hello().await;
    assert_eq!(node.opened().await.1.key, key(3).public());
}
