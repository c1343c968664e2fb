//! Every way to reach a node carries relay, and what is told of these ways is right.

use std::sync::atomic::Ordering::Relaxed;

use futures::future::{join, join_all};
use libp2p::{gossipsub::MessageAuthenticity, websocket};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Barrier,
};
use waku2::{Announce, Certificate, ClusterId, Config, Multiaddr, announce::Host, metadata::Metadata, run::StartError};

use crate::{
    carrier::{Carrier, Muxer},
    node::{Node, config, free_port, message, soon, topic},
    stranger::Stranger,
};

/// A certificate for 127.0.0.1, and what trusts it.
fn certificate() -> (Certificate, Carrier) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let ours = Certificate::from_pem(made.cert.pem().as_bytes(), made.key_pair.serialize_pem().as_bytes()).unwrap();
    (ours, Carrier::Wss(websocket::tls::Certificate::new(made.cert.der().to_vec())))
}

fn on_loopback(behind: &[&str]) -> Vec<Multiaddr> {
    behind.iter().map(|behind| format!("/ip4/127.0.0.1/tcp/0{behind}").parse().unwrap()).collect()
}

fn stranger(carrier: &Carrier, muxer: Muxer) -> Stranger {
    let metadata = Metadata { cluster: Some(ClusterId(1)), shards: vec![1] };
    Stranger::over(carrier, muxer, MessageAuthenticity::Anonymous, Some(metadata))
}

/// Peers that come these ways exchange one message each through a node. No more than four: a node takes so many into its mesh at once, and
/// what is published before a fifth is there may pass it by.
async fn exchange(ways: &[(Carrier, Muxer)], certificate: Certificate) {
    let listen = on_loopback(&["", "/ws", "/wss"]);
    let mut node = Node::start(Config { listen, certificate: Some(certificate), ..config(vec![]) }).await;
    let (handle, steps) = (node.handle.clone(), Barrier::new(ways.len() + 1));
    let payload = |n: usize| message(vec![n as u8; 1 + n * 45_000]).encode().to_vec();
    let talks = ways.iter().enumerate().map(async |(n, (carrier, muxer))| {
        let mut stranger = stranger(carrier, *muxer);
        stranger.dial(handle.addresses().into_iter().find(|addr| carrier.takes(addr)).unwrap());
        stranger.subscribed().await;
        stranger.until(steps.wait()).await;
        stranger.publish(payload(n));
        let mut heard = Vec::new();
        while heard.len() + 1 < ways.len() {
            heard.push(stranger.received().await);
        }
        // Whoever has heard all goes on answering the others.
        stranger.until(steps.wait()).await;
        heard.sort();
        heard
    });
    let meshed = async {
        node.relay_peers(ways.len()).await;
        steps.wait().await;
        steps.wait().await;
    };
    let (heard, ()) = soon("all talks", join(join_all(talks), meshed)).await;
    for (n, heard) in heard.into_iter().enumerate() {
        let mut expected: Vec<_> = (0..ways.len()).filter(|other| *other != n).map(payload).collect();
        expected.sort();
        assert!(heard == expected, "{:?} heard each once", ways[n]);
    }
    assert_eq!(handle.counters().accepted.load(Relaxed), ways.len() as u64);
}

#[tokio::test]
async fn peers_that_share_no_transport_and_no_muxer_talk_through_us() {
    let (certificate, wss) = certificate();
    let ways = [
        (Carrier::Tcp, Muxer::Yamux),
        (Carrier::Ws, Muxer::Mplex),
        (Carrier::Ws, Muxer::Yamux),
        (wss.clone(), Muxer::Mplex),
    ];
    exchange(&ways, certificate.clone()).await;
    exchange(&[(Carrier::Tcp, Muxer::Mplex), (wss, Muxer::Yamux)], certificate).await;
}

#[tokio::test]
async fn nodes_call_each_other_over_websocket_and_by_name() {
    let mut callee = Node::start(Config { listen: on_loopback(&["", "/ws"]), ..config(vec![]) }).await;
    let [tcp, ws] = [Carrier::Tcp, Carrier::Ws]
        .map(|carrier| callee.handle.addresses().into_iter().find(|addr| carrier.takes(addr)).unwrap().to_string());
    for addr in
        [ws.clone(), ws.replace("/ip4/127.0.0.1", "/dns4/localhost"), tcp.replace("/ip4/127.0.0.1", "/dns/localhost")]
    {
        let caller = Node::start(config(vec![addr.parse().unwrap()])).await;
        callee.relay_peers(1).await;
        assert_eq!(callee.handle.peers().await[0].peer, caller.handle.peer_id(), "{addr}");
        let data = message(addr).encode();
        caller.handle.publish(topic(), data.clone()).await.unwrap();
        assert_eq!(callee.received().await.data, data);
        caller.handle.shutdown().await;
        callee.relay_peers(0).await;
    }
}

#[tokio::test]
async fn identify_tells_exactly_what_is_announced() {
    let told = async |announce: Announce, behind: &[&str], certificate: Option<Certificate>| {
        let bound: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap();
        let listen = [vec![bound.clone()], on_loopback(behind)].concat();
        let node = Node::start(Config { announce, listen, certificate, ..config(vec![]) }).await;
        let mut stranger = stranger(&Carrier::Tcp, Muxer::Yamux);
        stranger.dial(bound);
        let mut told: Vec<String> = stranger.identified().await.listen_addrs.iter().map(ToString::to_string).collect();
        let end = format!("/p2p/{}", node.handle.peer_id());
        let mut shown: Vec<String> =
            node.handle.addresses().iter().map(|addr| addr.to_string().replace(&end, "")).collect();
        told.sort();
        shown.sort();
        assert_eq!(told, shown);
        told
    };
    let bound = told(Announce::default(), &["/ws"], None).await;
    assert!(bound.len() == 2 && bound.iter().all(|addr| addr.starts_with("/ip4/127.0.0.1/tcp/")), "{bound:?}");

    let (certificate, _) = certificate();
    let name = Announce { host: Some(Host::Dns4("node.example.org".to_owned())), ..Announce::default() };
    let named = told(name, &["/wss"], Some(certificate)).await;
    assert!(named.len() == 3 && named.iter().all(|addr| addr.starts_with("/dns4/node.example.org/tcp/")), "{named:?}");
    assert!(["/wss", "/tls/ws"].iter().all(|end| named.iter().any(|addr| addr.ends_with(end))), "{named:?}");

    let extra: Vec<Multiaddr> = vec!["/dns4/ws.example.org/tcp/443/wss".parse().unwrap()];
    let alone = Announce { extra: extra.clone(), only_extra: true, ..Announce::default() };
    assert_eq!(told(alone, &["/ws"], None).await, ["/dns4/ws.example.org/tcp/443/wss"]);
}

#[tokio::test]
async fn addresses_of_others_and_wss_without_a_certificate_are_refused() {
    let refused = async |config| Node::try_start(config).await.err().unwrap();
    let wss = Config { listen: on_loopback(&["/wss"]), ..config(vec![]) };
    assert!(matches!(refused(wss).await, StartError::Transport { .. }));
    let other = format!("/dns4/example.org/tcp/1/p2p/{}", libp2p::PeerId::random()).parse().unwrap();
    let announce = Announce { extra: vec![other], ..Announce::default() };
    assert!(matches!(refused(Config { announce, ..config(vec![]) }).await, StartError::Announce { .. }));
}

#[tokio::test]
async fn a_websocket_port_in_use_is_told_at_the_start() {
    let node = Node::start(Config { listen: on_loopback(&["", "/ws"]), ..config(vec![]) }).await;
    let end = format!("/p2p/{}", node.handle.peer_id());
    let bound: Vec<String> = node.handle.addresses().iter().map(|addr| addr.to_string().replace(&end, "")).collect();
    for listen in [format!("{}/ws", bound[0]), bound[1].clone()] {
        let listen: Vec<Multiaddr> = vec![listen.parse().unwrap()];
        let error = Node::try_start(Config { listen: listen.clone(), ..config(vec![]) }).await.err().unwrap();
        let StartError::Listen { addr, source } = error else { panic!("{error}") };
        assert_eq!((addr, source.kind()), (listen[0].clone(), std::io::ErrorKind::AddrInUse));
    }
}

#[tokio::test]
async fn wss_is_dialled_only_with_a_certificate_that_somebody_has_signed() {
    let (certificate, _) = certificate();
    let listen = on_loopback(&["/wss"]);
    let node = Node::start(Config { listen, certificate: Some(certificate), ..config(vec![]) }).await;
    let port = |addr: &Multiaddr| addr.to_string().split('/').nth(4).unwrap().to_owned();
    let behind = port(&node.addr());
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}/wss", between.local_addr().unwrap().port()).parse().unwrap();
    let caller = Node::start(Config { listen: vec![], ..config(vec![addr]) }).await;
    // The whole of the first try, as it goes by: the caller has seen the certificate, and left.
    let (mut from, _) = soon("a call", between.accept()).await.unwrap();
    let mut to = TcpStream::connect(format!("127.0.0.1:{behind}")).await.unwrap();
    let carried = soon("the end of the call", copy_bidirectional(&mut from, &mut to)).await;
    assert!(carried.is_err() || carried.is_ok_and(|(sent, shown)| sent > 0 && shown > 500), "no certificate shown");
    assert_eq!((caller.handle.peers().await, node.handle.peers().await), (vec![], vec![]));
}

#[tokio::test]
async fn a_burst_over_mplex_arrives_whole_in_both_directions() {
    const SMALL: usize = 300;
    const LARGE: usize = 16;
    let mut node = Node::start(Config { listen: on_loopback(&["/ws"]), ..config(vec![]) }).await;
    let mut stranger = stranger(&Carrier::Ws, Muxer::Mplex);
    stranger.dial(node.addr());
    stranger.subscribed().await;
    stranger.until(node.relay_peers(1)).await;
    // Far more than may wait unread, in far more frames than libp2p's mplex would keep of a stream.
    let sizes = [vec![10; SMALL], vec![140_000; LARGE]].concat();
    let payload = |from: u8, n: usize| [vec![from], n.to_be_bytes().to_vec(), vec![7; sizes[n]]].concat();
    for n in 0..sizes.len() {
        stranger.publish(message(payload(0, n)).encode().to_vec());
    }
    for n in 0..sizes.len() {
        let received = stranger.until(node.received()).await;
        assert!(received.message.payload == payload(0, n), "{n}");
    }
    for n in 0..sizes.len() {
        let data = message(payload(1, n)).encode();
        stranger.until(node.handle.publish(topic(), data)).await.unwrap();
    }
    for n in 0..sizes.len() {
        assert!(stranger.received().await == message(payload(1, n)).encode(), "{n}");
    }
}
