//! Where a node is reached beyond its first port, how it names itself, and whom it favours.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::enode::Enode;

/// Settings of a server that most users leave alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Further addresses to listen on, with the same key: a port hardly used otherwise is easy to block.
    pub also_listen: Vec<SocketAddr>,
    /// The port that others are told; that of the first listener unless set.
    pub advertised_port: Option<u16>,
    /// UDP port of discovery in our URL; 0 for none.
    pub discovery_port: u16,
    /// How our address outside is found.
    pub nat: Nat,
    /// Nodes that are always let in, and not dialled.
    pub trusted_nodes: Vec<Enode>,
    /// File of the address book; without it, nothing outlives the program.
    pub address_book: Option<PathBuf>,
}

/// How our address outside is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nat {
    /// It is the one listened on.
    #[default]
    None,
    /// By any protocol; none is spoken yet.
    Any,
    /// By UPnP, which is not spoken yet.
    Upnp,
    /// By NAT-PMP, which is not spoken yet.
    Pmp,
    /// It is this.
    External(IpAddr),
}

impl Nat {
    /// The address outside, if it was set.
    #[must_use]
    pub fn external(self) -> Option<IpAddr> {
        match self {
            Self::External(ip) => Some(ip),
            Self::None | Self::Any | Self::Upnp | Self::Pmp => None,
        }
    }

    /// True for a setting that asks for a port mapping: none is made.
    #[must_use]
    pub fn wants_mapping(self) -> bool {
        matches!(self, Self::Any | Self::Upnp | Self::Pmp)
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::Upnp => f.write_str("upnp"),
            Self::Pmp => f.write_str("pmp"),
            Self::External(ip) => write!(f, "extip:{ip}"),
        }
    }
}

/// What is no NAT setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give none, any, upnp, pmp or extip:<address>")]
pub struct NatError;

impl FromStr for Nat {
    type Err = NatError;

    fn from_str(text: &str) -> Result<Self, NatError> {
        match text {
            "none" => Ok(Self::None),
            "any" => Ok(Self::Any),
            "upnp" => Ok(Self::Upnp),
            "pmp" => Ok(Self::Pmp),
            _ => {
                let ip = text.strip_prefix("extip:").ok_or(NatError)?;
                ip.parse().map(Self::External).map_err(|_| NatError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_both_ways() {
        for text in ["none", "any", "upnp", "pmp", "extip:203.0.113.7", "extip:2001:db8::7"] {
            assert_eq!(text.parse::<Nat>().unwrap().to_string(), text);
        }
        for bad in ["", "extip", "extip:", "extip:example.org", "203.0.113.7", "stun"] {
            assert_eq!(bad.parse::<Nat>(), Err(NatError), "{bad}");
        }
        assert_eq!("extip:203.0.113.7".parse::<Nat>().unwrap().external(), Some([203, 0, 113, 7].into()));
        assert!(Nat::Upnp.wants_mapping() && !Nat::default().wants_mapping());
    }
}
