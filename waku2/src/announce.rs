//! What a node says of where it is: the addresses of identify, and those that people are shown.
//!
//! Pure. Without settings it is what the system bound. An address outside takes the place of all of these; addresses that the operator
//! wrote out come behind, or alone. Deployed: nwaku, `--nat=extip`, `--dns4-domain-name`, `--ext-multiaddr`, `--ext-multiaddr-only`.

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Most addresses that are announced; libp2p keeps no more. The operator's own have precedence.
pub const MAX_ANNOUNCED: usize = 20;

/// Where others reach this node, beside what it is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announce {
    /// Who we are outside: takes the place of the address in all that is bound.
    pub host: Option<Host>,
    /// Whole addresses, for what a router or a proxy maps elsewhere; with `/p2p/ID` at the end or without.
    pub extra: Vec<Multiaddr>,
    /// Announce nothing but `extra`.
    pub only_extra: bool,
}

/// A name or an address outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name with an A record.
    Dns4(String),
}

impl Host {
    fn protocol(&self) -> Protocol<'_> {
        match self {
            Self::Ip(ip) => Protocol::from(*ip),
            Self::Dns4(name) => Protocol::Dns4(name.as_str().into()),
        }
    }
}

impl Announce {
    /// What to announce for what is bound, without `/p2p`. Each address once.
    #[must_use]
    pub fn of(&self, bound: &[Multiaddr]) -> Vec<Multiaddr> {
        let extra = &self.extra[..self.extra.len().min(MAX_ANNOUNCED)];
        let mut announced = Vec::new();
        if !self.only_extra {
            bound.iter().flat_map(|addr| spellings(&self.outside(addr))).for_each(|addr| add(&mut announced, addr));
            announced.truncate(MAX_ANNOUNCED - extra.len());
        }
        extra.iter().for_each(|addr| add(&mut announced, without_peer(addr)));
        announced
    }

    /// An address of the operator's that ends in the name of another node.
    #[must_use]
    pub fn foreign(&self, own: PeerId) -> Option<&Multiaddr> {
        self.extra.iter().find(|addr| matches!(addr.iter().last(), Some(Protocol::P2p(peer)) if peer != own))
    }

    fn outside(&self, bound: &Multiaddr) -> Multiaddr {
        match &self.host {
            Some(host) => std::iter::once(host.protocol()).chain(bound.iter().skip(1)).collect(),
            None => bound.clone(),
        }
    }
}

fn add(announced: &mut Vec<Multiaddr>, addr: Multiaddr) {
    if !announced.contains(&addr) {
        announced.push(addr);
    }
}

/// Secure WebSocket has two spellings, and peers that know but one: nwaku writes `/wss`, go-waku both.
fn spellings(addr: &Multiaddr) -> Vec<Multiaddr> {
    let mut tcp = addr.clone();
    match tcp.pop() {
        Some(Protocol::Wss(path)) => vec![addr.clone(), tcp.with(Protocol::Tls).with(Protocol::Ws(path))],
        _ => vec![addr.clone()],
    }
}

fn without_peer(addr: &Multiaddr) -> Multiaddr {
    addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const BOUND: [&str; 4] = [
        "/ip4/127.0.0.1/tcp/60000",
        "/ip4/10.0.0.2/tcp/60000",
        "/ip4/127.0.0.1/tcp/8000/ws",
        "/ip4/10.0.0.2/tcp/8000/ws",
    ];

    fn of(announce: &Announce, bound: &[&str]) -> Vec<String> {
        announce.of(&addrs(bound)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_settings_what_is_bound() {
        assert_eq!(of(&Announce::default(), &BOUND), BOUND);
    }

    #[test]
    fn a_host_outside_takes_the_place_of_all_interfaces() {
        let at = |host| Announce { host: Some(host), ..Announce::default() };
        let ip = at(Host::Ip("203.0.113.7".parse().unwrap()));
        assert_eq!(of(&ip, &BOUND), ["/ip4/203.0.113.7/tcp/60000", "/ip4/203.0.113.7/tcp/8000/ws"]);
        let name = at(Host::Dns4("node.example.org".to_owned()));
        assert_eq!(
            of(&name, &["/ip4/10.0.0.2/tcp/60000", "/ip4/10.0.0.2/tcp/443/wss"]),
            [
                "/dns4/node.example.org/tcp/60000",
                "/dns4/node.example.org/tcp/443/wss",
                "/dns4/node.example.org/tcp/443/tls/ws"
            ]
        );
    }

    #[test]
    fn the_operators_own_come_behind_or_alone() {
        let extra = ["/dns4/ws.example.org/tcp/443/wss", "/ip4/10.0.0.2/tcp/60000"];
        let mut announce = Announce { extra: addrs(&extra), ..Announce::default() };
        assert_eq!(of(&announce, &BOUND), [&BOUND[..], &extra[..1]].concat());
        announce.only_extra = true;
        assert_eq!(of(&announce, &BOUND), extra);
    }

    #[test]
    fn a_peer_id_is_left_out_and_must_be_ours() {
        let (own, other) = (PeerId::random(), PeerId::random());
        let ending_in =
            |peer| Announce { extra: addrs(&[&format!("/dns4/example.org/tcp/1/p2p/{peer}")]), ..Announce::default() };
        assert_eq!(ending_in(own).foreign(own), None);
        assert_eq!(of(&ending_in(own), &[]), ["/dns4/example.org/tcp/1"]);
        assert!(ending_in(other).foreign(own).is_some());
    }

    #[test]
    fn too_many_are_cut_but_not_the_operators() {
        let bound: Vec<String> = (1..40).map(|n| format!("/ip4/10.0.0.{n}/tcp/60000")).collect();
        let bound: Vec<&str> = bound.iter().map(String::as_str).collect();
        let mut announce = Announce { extra: addrs(&["/dns4/example.org/tcp/1"]), ..Announce::default() };
        let told = of(&announce, &bound);
        assert_eq!((told.len(), told.last().unwrap().as_str()), (MAX_ANNOUNCED, "/dns4/example.org/tcp/1"));
        announce.extra = addrs(&bound);
        assert_eq!(of(&announce, &BOUND), bound[..MAX_ANNOUNCED]);
    }
}
