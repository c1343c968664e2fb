//! What is known of the peers that are there.

use devp2p::ConnId;

use super::Node;
use crate::{
    accounting::Traffic,
    peer::{Peer, PeerOptions},
    upkeep::Member,
};

impl Node {
    /// What a running peer has announced; `None` before its Status and after its end.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<&PeerOptions> {
        match self.peers.get(&conn) {
            Some(Peer::Running(running)) => Some(&running.options),
            Some(Peer::AwaitingStatus(_)) | None => None,
        }
    }

    /// What went over a peer's connection; nothing before its Status.
    #[must_use]
    pub fn traffic(&self, conn: ConnId) -> Traffic {
        match self.peers.get(&conn) {
            Some(Peer::Running(running)) => running.traffic,
            Some(Peer::AwaitingStatus(_)) | None => Traffic::default(),
        }
    }

    /// The peers whose Status was exchanged; `inbound` says who dialled.
    pub fn members(&self, inbound: impl Fn(ConnId) -> bool) -> Vec<Member> {
        let member = |(conn, peer): (&ConnId, &Peer)| match peer {
            Peer::Running(running) => Some(Member {
                conn: *conn,
                node: running.remote.node,
                version: running.version,
                inbound: inbound(*conn),
                since: running.since,
                light: running.options.light,
                wants_nothing: running.options.wants_nothing(),
                traffic: running.traffic,
            }),
            Peer::AwaitingStatus(_) => None,
        };
        self.peers.iter().filter_map(member).collect()
    }
}
