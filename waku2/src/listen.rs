//! Listening: addresses are bound before a node starts, and known by their real port and interface.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use libp2p::{
    Multiaddr, PeerId, Swarm, TransportError, core::transport::ListenerId, multiaddr::Protocol, swarm::NetworkBehaviour,
};

use crate::run::StartError;

/// Listeners and the addresses the system gave them.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// Bound, but their addresses are not known yet.
    unknown: Vec<ListenerId>,
    addresses: Vec<(ListenerId, Multiaddr)>,
}

impl Listeners {
    /// Binds every address.
    pub(crate) fn bind<B: NetworkBehaviour>(swarm: &mut Swarm<B>, addrs: Vec<Multiaddr>) -> Result<Self, StartError> {
        let unknown = addrs.into_iter().map(|addr| bind(swarm, addr)).collect::<Result<_, _>>()?;
        Ok(Self { unknown, addresses: Vec::new() })
    }

    /// Has every listener told an address?
    pub(crate) fn all_known(&self) -> bool {
        self.unknown.is_empty()
    }

    /// An interface was found.
    pub(crate) fn up(&mut self, listener: ListenerId, addr: Multiaddr) {
        self.unknown.retain(|id| *id != listener);
        self.addresses.push((listener, addr));
    }

    /// An interface went away.
    pub(crate) fn down(&mut self, listener: ListenerId, addr: &Multiaddr) {
        self.addresses.retain(|(id, known)| *id != listener || known != addr);
    }

    /// A listener ended.
    pub(crate) fn closed(&mut self, listener: ListenerId) {
        self.addresses.retain(|(id, _)| *id != listener);
    }

    /// What others dial.
    pub(crate) fn dialable(&self, peer: PeerId) -> Vec<Multiaddr> {
        self.addresses.iter().map(|(_, addr)| addr.clone().with(Protocol::P2p(peer))).collect()
    }
}

fn bind<B: NetworkBehaviour>(swarm: &mut Swarm<B>, addr: Multiaddr) -> Result<ListenerId, StartError> {
    let socket = socket_addr(&addr).ok_or_else(|| StartError::Transport { addr: addr.clone() })?;
    probe(socket).map_err(|source| StartError::Listen { addr: addr.clone(), source })?;
    swarm.listen_on(addr.clone()).map_err(|error| match error {
        TransportError::MultiaddrNotSupported(addr) => StartError::Transport { addr },
        TransportError::Other(source) => StartError::Listen { addr, source },
    })
}

/// Binds and lets go. libp2p shares its ports (`SO_REUSEPORT`), so that a second node on the same port would start
/// and take half of the first one's callers; a plain socket is refused there.
fn probe(socket: SocketAddr) -> io::Result<()> {
    if socket.port() != 0 {
        TcpListener::bind(socket)?;
    }
    Ok(())
}

/// `/ip4/A/tcp/P` or `/ip6/A/tcp/P`, perhaps with `/p2p/ID` behind.
fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    matches!(parts.next(), None | Some(Protocol::P2p(_))).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_is_an_address() {
        let parse = |text: &str| socket_addr(&text.parse().unwrap()).map(|addr| addr.to_string());
        assert_eq!(parse("/ip4/127.0.0.1/tcp/60000").as_deref(), Some("127.0.0.1:60000"));
        assert_eq!(parse("/ip6/::1/tcp/0").as_deref(), Some("[::1]:0"));
        for other in ["/ip4/127.0.0.1/udp/9000", "/dns4/localhost/tcp/1", "/ip4/127.0.0.1/tcp/1/ws", "/ip4/127.0.0.1"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn addresses_come_and_go() {
        let (first, second) = (ListenerId::next(), ListenerId::next());
        let addr = |text: &str| text.parse::<Multiaddr>().unwrap();
        let mut listeners = Listeners { unknown: vec![first, second], addresses: vec![] };
        listeners.up(first, addr("/ip4/127.0.0.1/tcp/1"));
        assert!(!listeners.all_known());
        listeners.up(second, addr("/ip4/127.0.0.1/tcp/2"));
        listeners.up(second, addr("/ip4/10.0.0.1/tcp/2"));
        assert!(listeners.all_known());
        listeners.down(second, &addr("/ip4/10.0.0.1/tcp/2"));
        listeners.closed(first);
        let peer = PeerId::random();
        assert_eq!(listeners.dialable(peer), [addr(&format!("/ip4/127.0.0.1/tcp/2/p2p/{peer}"))]);
    }
}
