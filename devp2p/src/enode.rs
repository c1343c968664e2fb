//! enode URLs: `enode://<128 hex>@<ip or name>:<tcp port>[?discport=<udp port>]`.
//!
//! The UDP port is that of TCP when `discport` is missing; `discport=0` means no discovery.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::key::{KeyError, PublicKey};

/// Longest host name, in bytes. Source: RFC 1035, section 2.3.4.
const MAX_NAME_BYTES: usize = 253;

/// Where a node is and which key it answers with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enode {
    /// Its public key.
    pub key: PublicKey,
    /// Its address or name.
    pub host: Host,
    /// Port of RLPx.
    pub tcp: u16,
    /// Port of discovery; 0 for none.
    pub udp: u16,
}

/// The host of an enode URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, to be looked up when dialling.
    Dns(String),
}

impl Enode {
    /// True when both are dialled alike, whatever their keys.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        (&self.host, self.tcp) == (&other.host, other.tcp)
    }
}

impl FromStr for Enode {
    type Err = EnodeError;

    fn from_str(text: &str) -> Result<Self, EnodeError> {
        let rest = text.strip_prefix("enode://").ok_or(EnodeError::Scheme)?;
        let (key, rest) = rest.split_once('@').ok_or(EnodeError::NoAddress)?;
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or(EnodeError::Port)?;
        let tcp = parse_port(port)?;
        let udp = match query {
            None => tcp,
            Some(query) => parse_port(query.strip_prefix("discport=").ok_or(EnodeError::Query)?)?,
        };
        Ok(Self { key: key.parse().map_err(EnodeError::Key)?, host: host.parse()?, tcp, udp })
    }
}

fn parse_port(text: &str) -> Result<u16, EnodeError> {
    // `u16::from_str` also takes a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EnodeError::Port);
    }
    text.parse().map_err(|_| EnodeError::Port)
}

impl FromStr for Host {
    type Err = EnodeError;

    fn from_str(text: &str) -> Result<Self, EnodeError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().map(|ip| Self::Ip(ip.into())).map_err(|_| EnodeError::Host);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        // Dotted digits that are no address would be looked up as a name otherwise.
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if digits_only || text.len() > MAX_NAME_BYTES || !text.bytes().all(in_name) {
            return Err(EnodeError::Host);
        }
        Ok(Self::Dns(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enode://{}@{}:{}", self.key, self.host, self.tcp)?;
        if self.udp != self.tcp {
            write!(f, "?discport={}", self.udp)?;
        }
        Ok(())
    }
}

/// Why a text is no enode URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnodeError {
    /// It does not begin with `enode://`.
    #[error("an enode URL begins with enode://")]
    Scheme,
    /// A key alone, which nobody can dial.
    #[error("the enode URL has no address")]
    NoAddress,
    /// The key is none.
    #[error("the key of the enode URL: {0}")]
    Key(KeyError),
    /// Neither an address nor a name.
    #[error("the host of the enode URL is neither an address nor a name")]
    Host,
    /// A port that is missing or no number up to 65535.
    #[error("the enode URL needs a port from 0 to 65535")]
    Port,
    /// A query other than `discport`.
    #[error("the only query of an enode URL is discport=<port>")]
    Query,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{hex, json, key};

    #[test]
    fn recorded_urls_both_ways() {
        let nodes = json("enode/enodes.json");
        assert_eq!(nodes.as_array().unwrap().len(), 12);
        for node in nodes.as_array().unwrap() {
            let url = node["enode"].as_str().unwrap();
            let enode: Enode = url.parse().unwrap();
            assert_eq!(enode.to_string(), url);
            assert_eq!(enode.key, key(node, "private").public());
            assert_eq!(enode.key.id().as_bytes(), &hex(node, "id")[..]);
        }
    }

    fn with(rest: &str) -> Result<Enode, EnodeError> {
        let key = crate::key::NodeKey::from_bytes(&[1; 32]).unwrap().public();
        format!("enode://{key}{rest}").parse()
    }

    #[test]
    fn hosts_and_ports() {
        let enode = with("@[::1]:443?discport=0").unwrap();
        assert_eq!((enode.host, enode.tcp, enode.udp), (Host::Ip(Ipv6Addr::LOCALHOST.into()), 443, 0));
        let enode = with("@node-01.status.im:30504").unwrap();
        assert_eq!((enode.host, enode.udp), (Host::Dns("node-01.status.im".into()), 30504));
    }

    #[test]
    fn bad_urls_have_their_errors() {
        assert_eq!(with(""), Err(EnodeError::NoAddress));
        for bad in ["@127.0.0.1", "@127.0.0.1:", "@127.0.0.1:65536", "@127.0.0.1:+1", "@127.0.0.1:1?discport=x"] {
            assert_eq!(with(bad), Err(EnodeError::Port), "{bad}");
        }
        for bad in ["@:1", "@1.2.3:1", "@[::1:1", "@a b:1", "@::1:1"] {
            assert_eq!(with(bad), Err(EnodeError::Host), "{bad}");
        }
        assert_eq!(with("@127.0.0.1:1?x=1"), Err(EnodeError::Query));
        assert_eq!("enr://x".parse::<Enode>(), Err(EnodeError::Scheme));
        assert_eq!("enode://00@127.0.0.1:1".parse::<Enode>(), Err(EnodeError::Key(KeyError::NotHex)));
        let off_curve = format!("enode://{}@127.0.0.1:1", "00".repeat(64));
        assert_eq!(off_curve.parse::<Enode>(), Err(EnodeError::Key(KeyError::NotOnCurve)));
    }

    proptest! {
        #[test]
        fn round_trip(ip: IpAddr, tcp: u16, udp: u16) {
            let key = crate::key::NodeKey::from_bytes(&[1; 32]).unwrap().public();
            let enode = Enode { key, host: Host::Ip(ip), tcp, udp };
            prop_assert_eq!(enode.to_string().parse::<Enode>(), Ok(enode));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
            prop_assert!(text.parse::<Enode>().is_err());
            let _ = with(&text);
        }
    }
}
