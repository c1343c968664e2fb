//! Connections from one address: what one machine, or all behind one router, may take of us.
//!
//! [`Crowd`] is the pure core; [`Behaviour`] puts it into a swarm. Only inbound connections count, for whom we call is our own choice.
//! Deployed: nwaku closes the oldest when there are too many (`--ip-colocation-limit`), so that a peer whose connections died without a
//! word gets in again.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    task::{Context, Poll, Waker},
};

use devp2p::inbound::is_local;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionEstablished, ListenFailure},
        dummy,
    },
};
use tracing::debug;

use crate::limits::Limits;

/// Too many connections from one address are in their handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} connections from that address are in their handshake")]
pub(crate) struct Crowded {
    limit: usize,
}

/// What counts together: an IPv4 address, or a /64 of IPv6, which is what one customer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(IpAddr);

impl Place {
    fn of(addr: &Multiaddr) -> Option<(Self, IpAddr)> {
        let ip = match addr.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        let place = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        };
        Some((Self(place), ip))
    }
}

/// Who is in a handshake from a place, and who is connected, oldest first. Never empty.
#[derive(Debug, Default)]
struct Guests {
    pending: Vec<ConnectionId>,
    connected: VecDeque<(ConnectionId, PeerId)>,
}

/// Inbound connections by where they come from. Bounded by the limits on all connections, which are asked first.
#[derive(Debug)]
pub(crate) struct Crowd {
    per_place: usize,
    local_counts: bool,
    places: HashMap<Place, Guests>,
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_place: limits.per_address as usize,
            local_counts: limits.local_addresses_count,
            places: HashMap::new(),
        }
    }

    /// Where it comes from, if that is counted.
    fn counted(&self, addr: &Multiaddr) -> Option<Place> {
        let (place, ip) = Place::of(addr)?;
        (self.per_place > 0 && (self.local_counts || !is_local(ip))).then_some(place)
    }

    /// A handshake begins.
    ///
    /// # Errors
    /// When as many as may be connected are in theirs.
    pub(crate) fn begins(&mut self, connection: ConnectionId, addr: &Multiaddr) -> Result<(), Crowded> {
        let Some(place) = self.counted(addr) else { return Ok(()) };
        let limit = self.per_place;
        let pending = &mut self.places.entry(place).or_default().pending;
        if pending.len() >= limit {
            return Err(Crowded { limit });
        }
        pending.push(connection);
        Ok(())
    }

    /// A handshake has failed.
    pub(crate) fn failed(&mut self, connection: ConnectionId, addr: &Multiaddr) {
        self.change(addr, |guests| guests.pending.retain(|id| *id != connection));
    }

    /// A connection is made. Which one is to be closed for it, if there are too many now.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
    ) -> Option<(ConnectionId, PeerId)> {
        let place = self.counted(addr)?;
        let guests = self.places.entry(place).or_default();
        guests.pending.retain(|id| *id != connection);
        guests.connected.push_back((connection, peer));
        if guests.connected.len() > self.per_place { guests.connected.pop_front() } else { None }
    }

    /// A connection has ended.
    pub(crate) fn ended(&mut self, connection: ConnectionId, addr: &Multiaddr) {
        self.change(addr, |guests| guests.connected.retain(|(id, _)| *id != connection));
    }

    fn change(&mut self, addr: &Multiaddr, change: impl FnOnce(&mut Guests)) {
        let Some(place) = self.counted(addr) else { return };
        let Some(guests) = self.places.get_mut(&place) else { return };
        change(guests);
        if guests.pending.is_empty() && guests.connected.is_empty() {
            self.places.remove(&place);
        }
    }
}

/// The core in a swarm.
#[derive(Debug)]
pub(crate) struct Behaviour {
    crowd: Crowd,
    /// To be closed; as many as connections at most.
    closing: VecDeque<(ConnectionId, PeerId)>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { crowd: Crowd::new(limits), closing: VecDeque::new(), waker: None }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.crowd.begins(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: ConnectedPoint::Listener { send_back_addr, .. },
                ..
            }) => {
                let oldest = self.crowd.connected(connection_id, peer_id, send_back_addr);
                self.closing.extend(oldest);
                if let Some(waker) = self.waker.take().filter(|_| oldest.is_some()) {
                    waker.wake();
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                connection_id,
                endpoint: ConnectedPoint::Listener { send_back_addr, .. },
                ..
            }) => self.crowd.ended(connection_id, send_back_addr),
            FromSwarm::ListenFailure(ListenFailure { connection_id, send_back_addr, .. }) => {
                self.crowd.failed(connection_id, send_back_addr);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((connection, peer_id)) = self.closing.pop_front() {
            debug!(peer = %peer_id, "the oldest of too many at one address is left");
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(per_address: u32) -> Crowd {
        Crowd::new(&Limits { per_address, ..Limits::default() })
    }

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    /// Goes through a handshake; who is left for it.
    fn comes(crowd: &mut Crowd, n: usize, addr: &str) -> Result<Option<ConnectionId>, Crowded> {
        let (id, addr) = (ConnectionId::new_unchecked(n), at(addr));
        crowd.begins(id, &addr)?;
        Ok(crowd.connected(id, PeerId::random(), &addr).map(|(id, _)| id))
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut crowd = crowd(2);
        let id = ConnectionId::new_unchecked;
        let here = "/ip4/8.8.8.8/tcp/1/ws";
        assert_eq!([1, 2].map(|n| comes(&mut crowd, n, here)), [Ok(None), Ok(None)]);
        assert_eq!(comes(&mut crowd, 3, "/ip4/8.8.8.9/tcp/1"), Ok(None), "another address");
        assert_eq!(comes(&mut crowd, 4, here), Ok(Some(id(1))));
        assert_eq!(comes(&mut crowd, 5, "/ip4/8.8.8.8/tcp/2"), Ok(Some(id(2))), "another port is the same address");
        crowd.ended(id(4), &at(here));
        assert_eq!(comes(&mut crowd, 6, here), Ok(None));
    }

    #[test]
    fn handshakes_are_bounded_and_forgotten() {
        let mut crowd = crowd(2);
        let (id, here) = (ConnectionId::new_unchecked, at("/ip4/8.8.8.8/tcp/1"));
        assert_eq!([1, 2].map(|n| crowd.begins(id(n), &here)), [Ok(()), Ok(())]);
        assert_eq!(crowd.begins(id(3), &here), Err(Crowded { limit: 2 }));
        crowd.failed(id(3), &here);
        assert!(crowd.begins(id(4), &here).is_err(), "who was refused made no room");
        crowd.failed(id(1), &here);
        assert_eq!(crowd.begins(id(5), &here), Ok(()));
        [2, 5].into_iter().for_each(|n| crowd.failed(id(n), &here));
        assert!(crowd.places.is_empty());
    }

    #[test]
    fn a_customer_of_ipv6_is_one_place() {
        let mut crowd = crowd(1);
        assert_eq!(comes(&mut crowd, 1, "/ip6/2001:db8:0:1::1/tcp/1"), Ok(None));
        assert_eq!(comes(&mut crowd, 2, "/ip6/2001:db8:0:2::1/tcp/1"), Ok(None));
        assert_eq!(comes(&mut crowd, 3, "/ip6/2001:db8:0:1:ffff::2/tcp/1"), Ok(Some(ConnectionId::new_unchecked(1))));
        assert_eq!(comes(&mut crowd, 4, "/ip6/::ffff:8.8.8.8/tcp/1"), Ok(None));
        assert_eq!(comes(&mut crowd, 5, "/ip4/8.8.8.8/tcp/1"), Ok(Some(ConnectionId::new_unchecked(4))));
    }

    #[test]
    fn local_addresses_count_only_when_told_and_zero_is_no_limit() {
        let all = |crowd: &mut Crowd, addr: &str| (0..100).all(|n| comes(crowd, n, addr) == Ok(None));
        for local in ["/ip4/127.0.0.1/tcp/1", "/ip4/10.1.2.3/tcp/1", "/ip6/::1/tcp/1", "/dns4/example.org/tcp/1"] {
            assert!(all(&mut crowd(1), local), "{local}");
        }
        assert!(all(&mut crowd(0), "/ip4/8.8.8.8/tcp/1"));
        let told = Limits { per_address: 1, local_addresses_count: true, ..Limits::default() };
        assert!(!all(&mut Crowd::new(&told), "/ip4/127.0.0.1/tcp/1"));
    }
}
