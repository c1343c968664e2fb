//! A mail server, and the connection to it.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bytes::Bytes;
use devp2p::{ConnId, Enode, clock::now, key::NodeKey};
use waku0::{
    Event, Pow,
    interest::Interest,
    limits::Rates,
    mail::{
        client::{SealRequestError, Trouble, seal_request},
        request::Request,
    },
    node::Settings,
    packet::{Code, p2p::Direct},
    payload::{SealTo, SymKey},
};

use crate::{
    client::{ClientError, PeerAddress, V0Client},
    keys::system_rng,
};

/// How long a server may take until it can be asked.
const REACH: Duration = Duration::from_secs(20);

/// A mail server, as its operator gives it away: `enode://KEY:PASSWORD@HOST:PORT`.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    enode: Enode,
    /// Without one, requests are encrypted to the server's own key.
    password: Option<String>,
}

/// A text that is no mail server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A node of the Waku Network, beside one of waku/0.
    #[error("{0} is a store node of the Waku Network: ask mail servers or store nodes, not both at once")]
    Store(String),
    /// Neither.
    #[error(
        "{0:?} is neither a mail server, enode://KEY:PASSWORD@HOST:PORT, with or without the password, nor a store node, /ip4/HOST/tcp/PORT/p2p/ID"
    )]
    Malformed(String),
}

impl FromStr for MailServer {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text may hold a password, which stands before the last @.
        let place = text.rsplit('@').next().unwrap_or_default();
        let malformed = || ServerError::Malformed(place.chars().take(80).collect());
        if text.starts_with('/') {
            return match text.parse() {
                Ok(PeerAddress::V2(_)) => Err(ServerError::Store(text.to_owned())),
                _ => Err(malformed()),
            };
        }
        let (who, place) =
            text.strip_prefix("enode://").and_then(|rest| rest.rsplit_once('@')).ok_or_else(malformed)?;
        let (key, password) = match who.split_once(':') {
            Some((key, password)) => (key, Some(password.to_owned())),
            None => (who, None),
        };
        let enode = format!("enode://{key}@{place}").parse().map_err(|_| malformed())?;
        Ok(Self { enode, password })
    }
}

impl Display for MailServer {
    /// Without the password.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let key = self.enode.key.to_string();
        write!(f, "{}…@{}:{}", &key[..key.len().min(8)], self.enode.host, self.enode.tcp)
    }
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl MailServer {
    /// Was it asked without a password, and could not read that?
    pub(super) fn lacks_password(&self, why: &Trouble) -> bool {
        self.password.is_none() && matches!(why, Trouble::Refused(text) if text.contains("decrypt"))
    }

    /// Its key, which names it wherever it is.
    pub(super) fn key(&self) -> String {
        self.enode.key.to_string()
    }
}

/// Why a server can't be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Seal(#[from] SealRequestError),
    #[error(transparent)]
    NotSent(#[from] waku0::handle::NotSent),
    #[error("it is not trusted: the connection has ended")]
    Gone,
}

/// What has come over a connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer. `shed` says that others were lost on our side since the last one.
    Packet { packet: Direct, shed: bool },
    /// It has ended.
    Gone,
}

/// A connection to one server, which is trusted as long as it lives. No gossip comes over it.
#[derive(Debug)]
pub(super) struct Link {
    client: V0Client,
    conn: ConnId,
    key: NodeKey,
    /// Derived once: it takes a while.
    shared: Option<SymKey>,
    server: MailServer,
    shed: u64,
}

impl Link {
    pub(super) async fn open(server: &MailServer) -> Result<Self, AskError> {
        let key = NodeKey::generate(&mut system_rng());
        let nothing = Interest::topics(Vec::new()).unwrap_or_default();
        let settings = Settings { min_pow: Pow::ZERO, rates: Rates::NONE, interest: nothing, ..Settings::default() };
        let (client, conn) = V0Client::start(std::slice::from_ref(&server.enode), REACH, key.clone(), settings).await?;
        let password = server.password.clone();
        let shared = tokio::task::spawn_blocking(move || password.map(|password| SymKey::from_password(&password)));
        let shared = shared.await.map_err(|_| ClientError::Stopped)?;
        Ok(Self { client, conn, key, shared, server: server.clone(), shed: 0 })
    }

    /// Sends a request, and trusts the server with the answer: the name of the request.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<[u8; 32], AskError> {
        let handle = self.client.handle();
        let peers = handle.peers().await;
        let options = peers.into_iter().find(|peer| peer.conn == self.conn).and_then(|peer| peer.options);
        let floor = options.ok_or(AskError::Gone)?.min_pow;
        let sealed = tokio::task::block_in_place(|| {
            let to = self.shared.as_ref().map_or(SealTo::Public(&self.server.enode.key), SealTo::Symmetric);
            seal_request(request, to, &self.key, now().unix_secs(), floor, &mut system_rng())
        })?;
        if !handle.trust(self.conn, true).await {
            return Err(AskError::Gone);
        }
        self.shed = handle.counters().events_shed.load(Relaxed);
        let body: Bytes = sealed.raw().clone();
        handle.mail(self.conn, Code::P2pRequest, body).await?;
        Ok(*sealed.hash().as_bytes())
    }

    /// What comes next. Safe to be given up.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            match self.client.event().await {
                Some(Event::Direct { conn, packet }) if conn == self.conn => {
                    let shed = self.client.handle().counters().events_shed.load(Relaxed);
                    let lost = shed > std::mem::replace(&mut self.shed, shed);
                    return Heard::Packet { packet, shed: lost };
                }
                Some(Event::PeerGone { conn }) if conn == self.conn => return Heard::Gone,
                None => return Heard::Gone,
                Some(_) => {}
            }
        }
    }

    /// Takes leave; with the connection the trust ends.
    pub(super) async fn close(self) {
        self.client.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1";

    #[test]
    fn servers_with_and_without_a_password() {
        let with: MailServer = format!("enode://{KEY}:status-offline-inbox@127.0.0.1:30303").parse().unwrap();
        assert_eq!(with.password.as_deref(), Some("status-offline-inbox"));
        let odd: MailServer = format!("enode://{KEY}:p@ss:word@127.0.0.1:30303?discport=0").parse().unwrap();
        assert_eq!((odd.password.as_deref(), odd.enode.tcp), (Some("p@ss:word"), 30303));
        let without: MailServer = format!("enode://{KEY}@127.0.0.1:30303").parse().unwrap();
        assert_eq!((&without.password, &without.enode), (&None, &with.enode));
        assert!(!format!("{with} {with:?}").contains("inbox"));
    }

    #[test]
    fn other_addresses_say_what_is_meant() {
        let said = |text: &str| text.parse::<MailServer>().unwrap_err().to_string();
        let id = "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ";
        assert!(said(&format!("/ip4/127.0.0.1/tcp/60000/p2p/{id}")).contains("not both at once"));
        for wrong in ["", "/ip4/127.0.0.1", "enode://", "http://x", &format!("enode://{KEY}:secret@nowhere")] {
            assert!(said(wrong).contains("enode://KEY") && !said(wrong).contains("secret"), "{wrong}");
        }
    }
}
