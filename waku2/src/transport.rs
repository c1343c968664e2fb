//! How bytes travel: TCP or WebSocket, Noise XX, yamux or mplex.
//!
//! | Layer | Offered | Who needs it |
//! |---|---|---|
//! | stream | `/tcp`, `/tcp/…/ws`, `/tcp/…/wss` or `/tcp/…/tls/ws` | browsers reach nothing but the last three |
//! | encryption | Noise XX alone | all Waku nodes |
//! | streams within | yamux, then mplex | go-waku has only the first, js-waku as released only the second |
//!
//! Names (`/dns4`, `/dns6`, `/dns`, `/dnsaddr`) are resolved when dialling. Limits: what `/dnsaddr` leads to is dialled over plain TCP
//! alone; a certificate is read once, so that a renewed one needs a new start.
//!
//! Spec: libp2p, addressing and connections; deployed: nwaku, go-waku and js-waku.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::Boxed,
        upgrade::{SelectUpgrade, Version},
    },
    dns::{self, ResolverConfig, ResolverOpts},
    identity::Keypair,
    noise, tcp, websocket,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use tracing::warn;

use crate::{
    ahead, mplex,
    websocket::Websocket,
    wire::{Counted, Wire},
    yamux,
};

/// Where names are looked up when the system does not say.  Deployed: nwaku's default.
const PUBLIC_NAME_SERVERS: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1)), 53),
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(1, 0, 0, 1)), 53),
];

/// What `wss` listeners show: a chain of certificates and its key. Cheap to clone; never prints the key.
#[derive(Clone)]
pub struct Certificate(websocket::tls::Config);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is no PEM.
    #[error("the certificate is not in PEM: {0}")]
    Chain(pem::Error),
    /// PEM without a certificate.
    #[error("no certificate in the file")]
    NoCertificate,
    /// The key is no PEM, or there is none in it.
    #[error("no private key in PEM: {0}")]
    Key(pem::Error),
    /// A key in a form that is not known: PKCS#8, PKCS#1 and SEC1 are.
    #[error("a private key of an unknown form")]
    UnknownKey,
    /// They do not belong together, or are of a kind that TLS does not take.
    #[error("{0}")]
    Refused(websocket::tls::Error),
}

/// Why there is no transport. Neither is known to happen.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Noise could not make its key.
    #[error("no encryption: {0}")]
    Noise(#[from] noise::Error),
    /// The library of TLS refuses its own defaults.
    #[error("no TLS: {0}")]
    Tls(#[from] futures_rustls::rustls::Error),
}

impl Certificate {
    /// Reads a chain of certificates, the server's own first, and its key, both as the files of certbot have them.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(CertificateError::Chain)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::Key)?.secret_der().to_vec();
        // libp2p panics for a key whose label says what its bytes are not.
        PrivateKeyDer::try_from(key.as_slice()).map_err(|_| CertificateError::UnknownKey)?;
        let chain = chain.into_iter().map(|der| websocket::tls::Certificate::new(der.to_vec()));
        let config = websocket::tls::Config::new(websocket::tls::PrivateKey::new(key), chain);
        config.map(Self).map_err(CertificateError::Refused)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Builds the transport. Without `certificate` it listens on no `wss`; without `name_servers` the system's are asked; what is not
/// encrypted and multiplexed within `handshake` is given up. `wire` counts what travels.
///
/// # Errors
/// See [`TransportError`].
pub(crate) fn build(
    key: &Keypair,
    certificate: Option<Certificate>,
    name_servers: &[SocketAddr],
    handshake: Duration,
    wire: Arc<Wire>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let tcp = || named_tcp(name_servers);
    let certificate = certificate.map(|Certificate(config)| config);
    let transport = Websocket::new(tcp(), tcp(), certificate)?
        .or_transport(tcp())
        .map(move |stream, _| Counted::new(stream, Arc::clone(&wire)))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(SelectUpgrade::new(yamux::Config, mplex::Config))
        .timeout(handshake)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(ahead::Muxer(muxer))))
        .boxed();
    Ok(transport)
}

/// TCP that knows names. Each user has one of its own, since it also keeps listeners.
fn named_tcp(name_servers: &[SocketAddr]) -> dns::tokio::Transport<tcp::tokio::Transport> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    if !name_servers.is_empty() {
        return dns::tokio::Transport::custom(tcp(), ask(name_servers), ResolverOpts::default());
    }
    dns::tokio::Transport::system(tcp()).unwrap_or_else(|error| {
        warn!(%error, "the system names no name server: asking public ones");
        dns::tokio::Transport::custom(tcp(), ask(&PUBLIC_NAME_SERVERS), ResolverOpts::default())
    })
}

fn ask(name_servers: &[SocketAddr]) -> ResolverConfig {
    let server = |addr: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = addr.port();
            connection
        });
        NameServerConfig::new(addr.ip(), true, connections.into())
    };
    ResolverConfig::from_parts(None, Vec::new(), name_servers.iter().map(server).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::pin::Pin;

    use futures::future::{join, poll_fn};
    use libp2p::core::{
        Endpoint,
        transport::{DialOpts, ListenerId, PortUse},
    };

    use super::*;

    /// Both ends of a connection over loopback, first that of the caller.
    pub(crate) async fn tcp_pair() -> [tcp::tokio::TcpStream; 2] {
        let mut tcp = tcp::tokio::Transport::new(tcp::Config::default());
        tcp.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let addr = poll_fn(|cx| Pin::new(&mut tcp).poll(cx)).await.into_new_address().unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = tcp.dial(addr, options).unwrap();
        let accept = async {
            loop {
                if let Some((upgrade, _)) = poll_fn(|cx| Pin::new(&mut tcp).poll(cx)).await.into_incoming() {
                    return upgrade.await.unwrap();
                }
            }
        };
        let (dialled, accepted) = join(dial, accept).await;
        [dialled.unwrap(), accepted]
    }

    /// A certificate and its key, both PEM.
    fn pem() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.key_pair.serialize_pem())
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let ((cert, key), (_, other)) = (pem(), pem());
        let read = |cert: &str, key: &str| Certificate::from_pem(cert.as_bytes(), key.as_bytes());
        assert_eq!(format!("{:?}", read(&cert, &key).unwrap()), "Certificate");
        assert!(read(&format!("{cert}{cert}"), &key).is_ok(), "a chain");
        assert!(matches!(read(&cert, &other), Err(CertificateError::Refused(_))));
        assert!(matches!(read("", &key), Err(CertificateError::NoCertificate)));
        assert!(matches!(read(&key, &key), Err(CertificateError::NoCertificate)));
        assert!(matches!(read(&cert, ""), Err(CertificateError::Key(_))));
        assert!(matches!(read(&cert, &cert), Err(CertificateError::Key(_))));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(read(broken, &key), Err(CertificateError::Chain(_))));
        let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(read(&cert, rubbish), Err(CertificateError::UnknownKey)));
    }

    #[test]
    fn noise_alone_and_yamux_before_mplex() {
        use libp2p::core::UpgradeInfo;
        let names: Vec<&str> = SelectUpgrade::new(yamux::Config, mplex::Config)
            .protocol_info()
            .map(|name| name.either(|a| a, |b| b))
            .collect();
        assert_eq!(names, ["/yamux/1.0.0", "/mplex/6.7.0"]);
        let noise = noise::Config::new(&Keypair::generate_secp256k1()).unwrap();
        assert_eq!(noise.protocol_info().collect::<Vec<_>>(), ["/noise"]);
    }

    #[test]
    fn name_servers_are_asked_at_their_ports() {
        let (_, _, servers) = ask(&["9.9.9.9:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]).into_parts();
        let ports = |n: usize| servers[n].connections.iter().map(|c| c.port).collect::<Vec<_>>();
        assert_eq!((servers[0].ip.to_string(), ports(0), ports(1)), ("9.9.9.9".to_owned(), vec![53; 2], vec![5353; 2]));
    }

    /// All versions in the lock file of a package.
    fn locked(name: &str) -> Vec<[u32; 3]> {
        let lock = include_str!("../../Cargo.lock");
        let value = |package: &str, key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let packages = lock.split("[[package]]").filter(|package| value(package, "name") == name);
        packages
            .map(|package| {
                let version = value(package, "version");
                let mut numbers = version.split(['.', '-', '+']).map_while(|number| number.parse().ok());
                std::array::from_fn(|_| numbers.next().unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn h56_h57_h58_h59_h60_h63_h65_no_library_is_older_than_its_repairs() {
        for (library, repaired) in [
            // CVE-2026-31814 and CVE-2026-32314: windows of streams.
            ("yamux", [0, 13, 10]),
            // RUSTSEC-2024-0011: messages that were sent again.
            ("snow", [0, 9, 5]),
            // CVE-2022-23486 and RUSTSEC-2022-0009: resources, and records of others.
            ("libp2p-swarm", [0, 41, 0]),
            ("libp2p-core", [0, 31, 1]),
            // CVE-2026-33040, CVE-2026-34219, GHSA-g3g5-x568-qvqx and GHSA-vrx6-jcp8-vm7m: back-offs of PRUNE, topics of GRAFT and PRUNE.
            ("libp2p-gossipsub", [0, 50, 1]),
        ] {
            let found = locked(library);
            assert!(!found.is_empty() && found.iter().all(|version| *version >= repaired), "{library} {found:?}");
        }
        // CVE-2023-43669 is in a library that is not in use.
        assert!(locked("tungstenite").iter().all(|version| *version > [0, 20, 0]));
    }

    #[test]
    fn h63_keys_of_rsa_are_not_read() {
        use libp2p::identity::PublicKey;
        for bits in [2_048_usize, 8_192] {
            // Field 1, the kind, is RSA; field 2 is the key.
            let mut key = vec![0x08, 0x00, 0x12];
            prost::encode_length_delimiter(bits / 8, &mut key).unwrap();
            key.resize(key.len() + bits / 8, 0x30);
            assert!(PublicKey::try_decode_protobuf(&key).is_err());
        }
        assert!(PublicKey::try_decode_protobuf(&[]).is_err());
        assert!(PublicKey::try_decode_protobuf(&[0x08, 0x02, 0x12, 0x00]).is_err());
    }
}
