//! Listening: addresses are bound before a node starts, and known by their real port and interface.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use libp2p::{
    Multiaddr, Swarm, TransportError, core::transport::ListenerId, multiaddr::Protocol, swarm::NetworkBehaviour,
};

use crate::run::StartError;

/// Listeners and the addresses the system gave them, in the order of the settings.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    /// None while they are not known yet, which they are soon.
    addresses: Vec<Multiaddr>,
}

impl Listeners {
    /// Binds every address.
    pub(crate) fn bind<B: NetworkBehaviour>(swarm: &mut Swarm<B>, addrs: Vec<Multiaddr>) -> Result<Self, StartError> {
        let listener = |addr| Ok(Listener { id: bind(swarm, addr)?, addresses: Vec::new() });
        addrs.into_iter().map(listener).collect::<Result<_, _>>().map(Self)
    }

    /// Has every listener told an address?
    pub(crate) fn all_known(&self) -> bool {
        self.0.iter().all(|listener| !listener.addresses.is_empty())
    }

    /// An interface was found.
    pub(crate) fn up(&mut self, listener: ListenerId, addr: Multiaddr) {
        if let Some(known) = self.0.iter_mut().find(|known| known.id == listener) {
            known.addresses.push(addr);
        }
    }

    /// An interface went away.
    pub(crate) fn down(&mut self, listener: ListenerId, addr: &Multiaddr) {
        if let Some(known) = self.0.iter_mut().find(|known| known.id == listener) {
            known.addresses.retain(|one| one != addr);
        }
    }

    /// A listener ended.
    pub(crate) fn closed(&mut self, listener: ListenerId) {
        self.0.retain(|known| known.id != listener);
    }

    /// What is bound.
    pub(crate) fn bound(&self) -> Vec<Multiaddr> {
        self.0.iter().flat_map(|listener| listener.addresses.iter().cloned()).collect()
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

/// `/ip4/A/tcp/P` or `/ip6/A/tcp/P`, perhaps with `/ws`, `/wss` or `/tls/ws` behind. A `/p2p/ID` has no meaning there.
fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    let known = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => true,
        (Some(Protocol::Ws(path) | Protocol::Wss(path)), None, None)
        | (Some(Protocol::Tls), Some(Protocol::Ws(path)), None) => path == "/",
        _ => false,
    };
    known.then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn tcp_and_websockets_are_addresses() {
        let parse = |text: &str| socket_addr(&text.parse().unwrap()).map(|addr| addr.to_string());
        assert_eq!(parse("/ip4/127.0.0.1/tcp/60000").as_deref(), Some("127.0.0.1:60000"));
        for end in ["", "/ws", "/wss", "/tls/ws"] {
            assert_eq!(parse(&format!("/ip6/::1/tcp/0{end}")).as_deref(), Some("[::1]:0"), "{end}");
        }
        let peer = PeerId::random();
        for other in [
            "/ip4/127.0.0.1/udp/9000",
            "/dns4/localhost/tcp/1",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/tcp/1/tls",
            "/ip4/127.0.0.1/tcp/1/ws/ws",
            &format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}"),
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn addresses_come_and_go_and_keep_the_order_of_the_settings() {
        let ids = [ListenerId::next(), ListenerId::next()];
        let addr = |text: &str| text.parse::<Multiaddr>().unwrap();
        let mut listeners = Listeners(ids.map(|id| Listener { id, addresses: vec![] }).into());
        listeners.up(ids[1], addr("/ip4/127.0.0.1/tcp/2/ws"));
        assert!(!listeners.all_known());
        listeners.up(ids[0], addr("/ip4/127.0.0.1/tcp/1"));
        listeners.up(ids[0], addr("/ip4/10.0.0.1/tcp/1"));
        assert!(listeners.all_known());
        listeners.down(ids[0], &addr("/ip4/10.0.0.1/tcp/1"));
        assert_eq!(listeners.bound(), [addr("/ip4/127.0.0.1/tcp/1"), addr("/ip4/127.0.0.1/tcp/2/ws")]);
        listeners.closed(ids[0]);
        assert_eq!(listeners.bound(), [addr("/ip4/127.0.0.1/tcp/2/ws")]);
    }
}
