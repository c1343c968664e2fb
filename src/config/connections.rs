//! Flags about connections of the Waku Network side, checked: where it listens, what it tells of that, whom it calls.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use devp2p::Nat;
use waku2::{
    Announce, Multiaddr,
    announce::{Host, MAX_ANNOUNCED},
};

use super::{ConfigError, network, rln, seek, services, shifted};
use crate::cli::V2Args;

/// The Waku Network side.
#[derive(Debug, Clone)]
pub struct V2 {
    /// Where libp2p peers reach us.
    pub listen: Multiaddr,
    /// Where browsers reach us: an address on `/ws`, or on `/wss` with [`V2::certificate`].
    pub websocket: Option<Multiaddr>,
    /// What they are shown on `/wss`.
    pub certificate: Option<CertificateFiles>,
    /// Where peers are told that we are.
    pub announce: Announce,
    /// Bounds of the connections.
    pub limits: waku2::Limits,
    /// Who is asked for the addresses of names; none is the system's own.
    pub name_servers: Vec<SocketAddr>,
    /// Peers to stay connected to.
    pub static_peers: Vec<Multiaddr>,
    /// The network, and what is relayed and bridged on it.
    pub network: network::Network,
    /// Rate-limit proofs, where they are verified.
    pub rln: Option<rln::Rln>,
    /// How further peers are found.
    pub seek: seek::Seek,
    /// What is served to peers, and who serves us.
    pub services: services::Services,
    /// Name that peers see.
    pub agent: String,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that signed it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// An address on TCP, or on what is behind it.
pub(super) fn address(ip: IpAddr, port: u16, behind: &str) -> Multiaddr {
    let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{ip}/tcp/{port}{behind}").parse().expect("an IP address and a port make a multiaddr")
}

/// Secure or plain: one port serves one of them, as with nwaku.
pub(super) fn websocket(args: &V2Args, ip: IpAddr, shift: u16) -> Result<Option<Multiaddr>, ConfigError> {
    if !args.websocket_support && !args.websocket_secure_support {
        return Ok(None);
    }
    let kind = if args.websocket_secure_support { "/wss" } else { "/ws" };
    Ok(Some(address(ip, shifted(args.websocket_port, shift)?, kind)))
}

pub(super) fn certificate(args: &V2Args) -> Result<Option<CertificateFiles>, ConfigError> {
    let (certificate, key) = (given(&args.websocket_secure_cert_path), given(&args.websocket_secure_key_path));
    match (args.websocket_secure_support, certificate, key) {
        (true, Some(certificate), Some(key)) => {
            Ok(Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() }))
        }
        (true, ..) => Err(ConfigError::NoCertificate),
        (false, None, None) => Ok(None),
        (false, ..) => Err(ConfigError::UnusedCertificate),
    }
}

/// An empty path is none: nwaku's default.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

/// A name has precedence over an address, which the devp2p side then still tells.
pub(super) fn announce(args: &V2Args, nat: Nat) -> Result<Announce, ConfigError> {
    let extra = args.ext_multiaddr.iter().map(|text| own_address(text)).collect::<Result<Vec<_>, _>>()?;
    if extra.len() > MAX_ANNOUNCED {
        return Err(ConfigError::ManyExtMultiaddrs(extra.len()));
    }
    if args.ext_multiaddr_only && extra.is_empty() {
        return Err(ConfigError::NoExtMultiaddr);
    }
    let host = match args.dns4_domain_name.as_ref().filter(|name| !name.is_empty()) {
        Some(name) if is_domain_name(name) => Some(Host::Dns4(name.clone())),
        Some(name) => return Err(ConfigError::DomainName(name.clone())),
        None => nat.external().map(Host::Ip),
    };
    Ok(Announce { host, extra, only_extra: args.ext_multiaddr_only })
}

fn own_address(text: &str) -> Result<Multiaddr, ConfigError> {
    let refuse = |cause| ConfigError::ExtMultiaddr { value: text.into(), cause };
    if !["/ip4/", "/ip6/", "/dns"].iter().any(|begin| text.starts_with(begin)) {
        return Err(refuse("it names no host".into()));
    }
    text.parse().map_err(|cause: <Multiaddr as FromStr>::Err| refuse(cause.to_string()))
}

/// Spec: RFC 1123, section 2.1.
fn is_domain_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn static_peer(text: &str) -> Result<Multiaddr, ConfigError> {
    peer_address(text).map_err(|cause| ConfigError::Multiaddr { value: text.into(), cause })
}

/// Reads a multiaddr that says whom to expect there.
///
/// # Errors
/// What is wrong with it.
pub fn peer_address(text: &str) -> Result<Multiaddr, String> {
    let address = Multiaddr::from_str(text).map_err(|cause| cause.to_string())?;
    match address.to_string().rsplit('/').nth(1) {
        Some("p2p") => Ok(address),
        _ => Err("it does not end in /p2p/<peer id>".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::Config,
    };

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        match Cli::without_environment(["causeway", "bridge"].iter().chain(flags)).unwrap().command {
            Command::Bridge(args) => (*args).try_into(),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(flags: &[&str]) -> String {
        config(flags).unwrap_err().to_string()
    }

    fn v2(flags: &[&str]) -> V2 {
        config(flags).unwrap().v2.expect("a bridge")
    }

    #[test]
    fn websockets_are_plain_or_secure_or_none() {
        let listened = |flags: &[&str]| v2(flags).websocket.map(|addr| addr.to_string());
        assert_eq!(listened(&[]).as_deref(), Some("/ip4/0.0.0.0/tcp/8000/ws"));
        let flags = ["--listen-address=::1", "--websocket-port=9000", "--ports-shift=1"];
        assert_eq!(listened(&flags).as_deref(), Some("/ip6/::1/tcp/9001/ws"));
        assert_eq!(listened(&["--websocket-support=false"]), None);
        let files = ["--websocket-secure-key-path=key.pem", "--websocket-secure-cert-path=cert.pem"];
        let secure = ["--websocket-support=false", "--websocket-secure-support", files[0], files[1]];
        assert_eq!(listened(&secure).as_deref(), Some("/ip4/0.0.0.0/tcp/8000/wss"));
        let named = CertificateFiles { certificate: "cert.pem".into(), key: "key.pem".into() };
        assert_eq!(v2(&secure).certificate, Some(named));
        for (flags, word) in [
            (&["--websocket-secure-support"][..], "--websocket-secure-cert-path"),
            (&["--websocket-secure-support", files[0]], "--websocket-secure-cert-path"),
            (&files[..1], "add it"),
            (&["--websocket-port=65535", "--ports-shift=1", "--rest-port=0"], "--ports-shift"),
        ] {
            let said = refusal(flags);
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }

    #[test]
    fn peers_are_told_where_we_are() {
        let both = config(&["--nat=extip:203.0.113.7"]).unwrap();
        assert_eq!(both.v0.as_ref().unwrap().network.nat.external(), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(both.v2.as_ref().unwrap().announce.host, Some(Host::Ip("203.0.113.7".parse().unwrap())));
        assert_eq!(v2(&[]).announce, Announce::default());
        for flag in ["--nat=any", "--dns4-domain-name="] {
            assert_eq!(v2(&[flag]).announce, Announce::default(), "{flag}");
        }
        let extra = "--ext-multiaddr=/dns4/ws.example.org/tcp/443/wss";
        let told =
            v2(&["--nat=extip:203.0.113.7", "--dns4-domain-name=node.example.org", extra, "--ext-multiaddr-only"]);
        assert_eq!(told.announce.host, Some(Host::Dns4("node.example.org".to_owned())), "a name wins");
        assert!(told.announce.only_extra && told.announce.extra.len() == 1);
        for (flags, word) in [
            (&["--ext-multiaddr-only"][..], "give --ext-multiaddr"),
            (&["--ext-multiaddr="], "--ext-multiaddr"),
            (&["--ext-multiaddr=/ip4/1.2.3/tcp/1"], "--ext-multiaddr /ip4/1.2.3/tcp/1"),
            (&["--dns4-domain-name=a/tcp/1"], "--dns4-domain-name a/tcp/1"),
            (&[extra; 21], "21 times"),
        ] {
            let said = refusal(flags);
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }

    #[test]
    fn connections_are_bounded_as_told() {
        assert_eq!(v2(&[]).limits, waku2::Limits::default());
        let told = v2(&["--max-connections=500", "--ip-colocation-limit=0", "--dns-addrs-name-server=9.9.9.9"]);
        assert_eq!((told.limits.connections, told.limits.per_address), (500, 0));
        assert_eq!(told.name_servers, ["9.9.9.9:53".parse().unwrap()]);
    }
}
