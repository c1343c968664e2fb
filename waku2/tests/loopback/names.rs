//! Static peers by name, asked of a name server of our own.

use libp2p::multiaddr::Protocol;
use waku2::{Config, Multiaddr, PeerId};

use crate::{
    name_server::NameServer,
    node::{Node, config},
};

#[tokio::test]
async fn a_static_peer_is_found_by_its_dnsaddr() {
    let mut callee = Node::start(config(vec![])).await;
    let (addr, id, lost) = (callee.addr(), callee.handle.peer_id(), PeerId::random());
    let records = [
        // In two steps; once to a place that leads to itself, and once to one that does not exist.
        ("_dnsaddr.nodes.example.org", format!("dnsaddr=/dnsaddr/one.example.org/p2p/{id}")),
        ("_dnsaddr.one.example.org", format!("dnsaddr={addr}")),
        ("_dnsaddr.circle.example.org", format!("dnsaddr=/dnsaddr/circle.example.org/p2p/{lost}")),
        ("_dnsaddr.none.example.org", format!("dnsaddr=/dns4/nowhere.example.org/tcp/1/p2p/{lost}")),
    ];
    let server = NameServer::start(records.map(|(name, text)| (name.to_owned(), text))).unwrap();
    let named = |name: &str| -> Multiaddr { format!("/dnsaddr/{name}.example.org").parse().unwrap() };
    for found in [named("nodes"), named("nodes").with(Protocol::P2p(id))] {
        let lost = ["circle", "none", "unknown"].map(|name| named(name).with(Protocol::P2p(lost)));
        let statics = lost.into_iter().chain([found.clone()]).collect();
        let name_servers = vec![server.addr()];
        let mut caller = Node::start(Config { name_servers, listen: vec![], ..config(statics) }).await;
        assert_eq!(caller.peer_connected().await, id, "{found}");
        callee.meets(caller.handle.peer_id()).await;
        caller.handle.shutdown().await;
    }
}
