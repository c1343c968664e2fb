//! Flags, checked: what [`crate::assemble`] builds from. Every refusal names the flag and says what to give instead.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bridge::{
    config::{Config as BridgeConfig, ConfigError as BridgeError, Profile},
    policy::{Policy, Switch, Ways},
    router::{DEFAULT_ROUTE, Route, Router},
};
use devp2p::{
    Limits, Nat, Network,
    dnsdisc::{self, Link, LinkError},
    enode::{Enode, EnodeError},
    inbound::InboundLimits,
};
use waku0::{Pow, Settings, limits::Rates, pool::PoolLimits};
use waku2::{
    Announce, Multiaddr, PubsubTopic,
    announce::{Host, MAX_ANNOUNCED},
};

pub mod network;
pub mod seek;

use network::NetworkError;
use seek::SeekError;

use crate::cli::{BridgeArgs, Cli, Command, CrossingArgs, LegacyArgs, NodeArgs, V1Args, V2Args};

/// Port of name servers. Source: RFC 1035, section 4.2.
const DNS_PORT: u16 = 53;

/// The unit of retentions.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that a bridge, or a waku/0 node alone, needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the key and the lock live; `None` is `~/.causeway`.
    pub data_dir: Option<PathBuf>,
    /// The key of the flag.
    pub nodekey: Option<String>,
    /// The waku/0 side.
    pub v0: V0,
    /// What a bridge has besides; `None` for a waku/0 node alone.
    pub crossing: Option<Crossing>,
    /// Where health and metrics are served.
    pub http: SocketAddr,
}

/// What a bridge has beside its waku/0 node.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// The Waku Network side.
    pub v2: V2,
    /// What crosses, and how.
    pub bridge: BridgeConfig,
}

/// The waku/0 side.
#[derive(Debug, Clone)]
pub struct V0 {
    /// Where devp2p peers reach us; further addresses are in `network`.
    pub listen: SocketAddr,
    /// Peers to stay connected to.
    pub static_nodes: Vec<Enode>,
    /// What the node takes, keeps and announces.
    pub settings: Settings,
    /// Bounds of the connections.
    pub limits: Limits,
    /// Further ports, our address outside, trusted nodes.
    pub network: Network,
    /// Where more peers are sought.
    pub discovery: Discovery,
    /// How long accounts of peers are kept.
    pub accounting_retention: Duration,
}

/// Where more waku/0 peers are sought: nowhere, unless asked for.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// The nodes at which discovery over UDP begins; `None` is no such discovery.
    pub discv4: Option<Vec<Enode>>,
    /// The lists in DNS; `None` is none.
    pub dns: Option<dnsdisc::Config>,
}

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
    /// How further peers are found.
    pub seek: seek::Seek,
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

/// A flag whose value can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an enode URL.
    #[error("--{flag} {value}: {cause}. Give enode://<128 hex digits>@<host>:<port>")]
    Enode {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: EnodeError,
    },
    /// A node where discovery is to begin, but no discovery.
    #[error(
        "--discv4-bootstrap-node is given, but discovery over UDP is off: add --discv4-discovery, or leave the node out. To stay connected to one node, use --staticnode-v1"
    )]
    NoDiscovery,
    /// A node that takes no part in discovery.
    #[error(
        "--discv4-bootstrap-node {0}: discport=0 says that it does not answer discovery. To stay connected to it, use --staticnode-v1"
    )]
    NoDiscoveryPort(String),
    /// Not a link to a list in DNS.
    #[error("--dns-discovery-url-v1 {value}: {cause}. Give enrtree://<key in base32>@<domain>")]
    Link {
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: LinkError,
    },
    /// Not a name server.
    #[error(
        "--dns-addrs-name-server {0}: a name server is an IP address, such as 9.9.9.9, or one with a port, such as 127.0.0.1:5353"
    )]
    NameServer(String),
    /// Not a multiaddr with a peer id.
    #[error("--staticnode-v2 {value}: {cause}. Give /ip4/<address>/tcp/<port>/p2p/<peer id>")]
    Multiaddr {
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Secure WebSocket, and no certificate.
    #[error(
        "--websocket-secure-support needs a certificate: give --websocket-secure-cert-path and --websocket-secure-key-path"
    )]
    NoCertificate,
    /// A certificate, and nobody to show it to.
    #[error(
        "--websocket-secure-cert-path and --websocket-secure-key-path serve only --websocket-secure-support: add it, or leave them out"
    )]
    UnusedCertificate,
    /// Not an address to announce.
    #[error(
        "--ext-multiaddr {value}: {cause}. Give /ip4/<address>/tcp/<port>, or /dns4/<name>/tcp/443/wss for example"
    )]
    ExtMultiaddr {
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// More of them than are announced.
    #[error("--ext-multiaddr is given {0} times: peers are told {MAX_ANNOUNCED} addresses at most")]
    ManyExtMultiaddrs(usize),
    /// Nothing to announce.
    #[error("--ext-multiaddr-only leaves no address to tell peers: give --ext-multiaddr, or leave it out")]
    NoExtMultiaddr,
    /// Not a name.
    #[error(
        "--dns4-domain-name {0}: a domain name has letters, digits, hyphens and dots, node.example.org for example"
    )]
    DomainName(String),
    /// Not a proof of work.
    #[error("--{flag} {value}: a proof of work is a number from 0 up, 0.002 for example")]
    Pow {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: f64,
    },
    /// No network can be made of the flags.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No peers can be sought as the flags say.
    #[error(transparent)]
    Seek(#[from] SeekError),
    /// A port above 65,535.
    #[error("--ports-shift {shift} takes port {port} out of range: ports end at 65535")]
    Port {
        /// The port before the shift.
        port: u16,
        /// The shift.
        shift: u16,
    },
    /// A setting of the bridge that it refuses.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

impl TryFrom<BridgeArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: BridgeArgs) -> Result<Self, Self::Error> {
        let shift = args.node.ports_shift;
        let network = network::network(&args.network, &args.bridge)?;
        Ok(Self {
            crossing: Some(Crossing {
                bridge: bridge_config(&args, &network.bridged)?,
                v2: V2 {
                    listen: address(args.node.listen_address, shifted(args.v2.tcp_port, shift)?, ""),
                    websocket: websocket(&args.v2, args.node.listen_address, shift)?,
                    certificate: certificate(&args.v2)?,
                    announce: announce(&args.v2, args.node.nat)?,
                    limits: waku2::Limits {
                        connections: args.v2.max_connections,
                        per_address: args.v2.ip_colocation_limit,
                        ..waku2::Limits::default()
                    },
                    seek: seek::seek(
                        &args.seek,
                        args.node.listen_address,
                        shifted(args.seek.discv5_udp_port, shift)?,
                        &name_servers(&args.node)?,
                    )?,
                    name_servers: name_servers(&args.node)?,
                    static_peers: args.v2.staticnode_v2.iter().map(|a| static_peer(a)).collect::<Result<_, _>>()?,
                    network,
                    agent: args.v2.agent_string,
                },
            }),
            v0: v0(&args.v1, &args.node)?,
            http: SocketAddr::new(args.surface.rest_address, shifted(args.surface.rest_port, shift)?),
            data_dir: args.node.data_dir,
            nodekey: args.node.nodekey,
        })
    }
}

impl TryFrom<LegacyArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: LegacyArgs) -> Result<Self, Self::Error> {
        let shift = args.node.ports_shift;
        Ok(Self {
            crossing: None,
            v0: v0(&args.v1, &args.node)?,
            http: SocketAddr::new(args.surface.rest_address, shifted(args.surface.rest_port, shift)?),
            data_dir: args.node.data_dir,
            nodekey: args.node.nodekey,
        })
    }
}

impl Config {
    /// A bridge on free ports of the loopback interface, with defaults for all else.
    ///
    /// # Panics
    /// Never: the flags are constant, and a test reads them.
    #[must_use]
    pub fn on_loopback() -> Self {
        let flags = [
            "causeway",
            "bridge",
            "--listen-address=127.0.0.1",
            "--devp2p-tcp-port=0",
            "--tcp-port=0",
            "--websocket-port=0",
            "--rest-port=0",
        ];
        let Ok(Cli { command: Command::Bridge(args) }) = Cli::without_environment(flags) else {
            unreachable!("constant flags of `bridge`");
        };
        (*args).try_into().expect("constant flags")
    }
}

fn v0(args: &V1Args, node: &NodeArgs) -> Result<V0, ConfigError> {
    let (ip, shift) = (node.listen_address, node.ports_shift);
    let ports = args.devp2p_tcp_port.iter().map(|port| Ok(SocketAddr::new(ip, shifted(*port, shift)?)));
    let mut ports = ports.collect::<Result<Vec<_>, ConfigError>>()?.into_iter();
    Ok(V0 {
        listen: ports.next().unwrap_or_else(|| SocketAddr::new(ip, 0)),
        static_nodes: enodes("staticnode-v1", &args.staticnode_v1)?,
        settings: settings(args)?,
        limits: limits(args),
        network: Network {
            also_listen: ports.collect(),
            advertised_port: args.devp2p_advertised_port,
            nat: node.nat,
            trusted_nodes: enodes("trustednode-v1", &args.trustednode_v1)?,
            ..Network::default()
        },
        discovery: Discovery { discv4: discv4(args)?, dns: dns(args, node)? },
        accounting_retention: DAY * u32::try_from(args.accounting_retention).unwrap_or(u32::MAX),
    })
}

fn settings(args: &V1Args) -> Result<Settings, ConfigError> {
    Ok(Settings {
        min_pow: pow("waku-v1-pow", args.waku_v1_pow)?,
        rates: Rates::with(args.waku_v0_rate_limit.iter().copied()),
        whitelist: args.waku_v0_rate_whitelist.iter().cloned().collect(),
        status_timeout: Duration::from_secs(args.status_timeout),
        max_message_size: args.max_message_size,
        confirmations: args.confirmations,
        pool: PoolLimits { max_bytes: args.waku_v0_pool_size, max_envelopes: args.waku_v0_pool_envelopes },
        accounting_epoch: Duration::from_secs(args.accounting_epoch),
        ..Settings::default()
    })
}

fn discv4(args: &V1Args) -> Result<Option<Vec<Enode>>, ConfigError> {
    let bootstrap = enodes("discv4-bootstrap-node", &args.discv4_bootstrap_node)?;
    if let Some(deaf) = bootstrap.iter().find(|node| node.udp == 0) {
        return Err(ConfigError::NoDiscoveryPort(deaf.to_string()));
    }
    match args.discv4_discovery {
        true => Ok(Some(bootstrap)),
        false if bootstrap.is_empty() => Ok(None),
        false => Err(ConfigError::NoDiscovery),
    }
}

/// Name servers without a list are no mistake: other lists than those of waku/0 may be asked for there.
fn dns(args: &V1Args, node: &NodeArgs) -> Result<Option<dnsdisc::Config>, ConfigError> {
    let links: Vec<Link> = parse_all(&args.dns_discovery_url_v1, |value, cause| ConfigError::Link { value, cause })?;
    let name_servers = name_servers(node)?;
    Ok((!links.is_empty()).then_some(dnsdisc::Config { links, name_servers }))
}

fn name_servers(args: &NodeArgs) -> Result<Vec<SocketAddr>, ConfigError> {
    args.dns_addrs_name_server.iter().map(|text| name_server(text)).collect()
}

fn name_server(text: &str) -> Result<SocketAddr, ConfigError> {
    let with_port = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
    with_port.map_err(|_| ConfigError::NameServer(text.to_owned()))
}

fn limits(args: &V1Args) -> Limits {
    Limits {
        max_peers: args.devp2p_max_peers,
        outbound_slots: args.devp2p_outbound_peers,
        max_pending_inbound: args.devp2p_max_pending,
        read_budget_bytes: args.read_budget,
        inbound: InboundLimits {
            throttle: Duration::from_secs(args.devp2p_inbound_throttle),
            max_per_address: args.devp2p_max_per_address,
            max_per_subnet: args.devp2p_max_per_subnet,
            ..InboundLimits::default()
        },
        ..Limits::default()
    }
}

fn enodes(flag: &'static str, texts: &[String]) -> Result<Vec<Enode>, ConfigError> {
    parse_all(texts, |value, cause| ConfigError::Enode { flag, value, cause })
}

/// Port 0 means any free port, and stays so.
fn shifted(port: u16, shift: u16) -> Result<u16, ConfigError> {
    match port {
        0 => Ok(0),
        _ => port.checked_add(shift).ok_or(ConfigError::Port { port, shift }),
    }
}

fn pow(flag: &'static str, value: f64) -> Result<Pow, ConfigError> {
    Pow::new(value).map_err(|_| ConfigError::Pow { flag, value })
}

fn parse_all<T: FromStr>(
    texts: &[String],
    refuse: impl Fn(String, T::Err) -> ConfigError,
) -> Result<Vec<T>, ConfigError> {
    texts.iter().map(|text| text.parse().map_err(|cause| refuse(text.clone(), cause))).collect()
}

/// An address on TCP, or on what is behind it.
fn address(ip: IpAddr, port: u16, behind: &str) -> Multiaddr {
    let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{ip}/tcp/{port}{behind}").parse().expect("an IP address and a port make a multiaddr")
}

/// Secure or plain: one port serves one of them, as with nwaku.
fn websocket(args: &V2Args, ip: IpAddr, shift: u16) -> Result<Option<Multiaddr>, ConfigError> {
    if !args.websocket_support && !args.websocket_secure_support {
        return Ok(None);
    }
    let kind = if args.websocket_secure_support { "/wss" } else { "/ws" };
    Ok(Some(address(ip, shifted(args.websocket_port, shift)?, kind)))
}

fn certificate(args: &V2Args) -> Result<Option<CertificateFiles>, ConfigError> {
    match (args.websocket_secure_support, &args.websocket_secure_cert_path, &args.websocket_secure_key_path) {
        (true, Some(certificate), Some(key)) => {
            Ok(Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() }))
        }
        (true, ..) => Err(ConfigError::NoCertificate),
        (false, None, None) => Ok(None),
        (false, ..) => Err(ConfigError::UnusedCertificate),
    }
}

/// A name has precedence over an address, which the devp2p side then still tells.
fn announce(args: &V2Args, nat: Nat) -> Result<Announce, ConfigError> {
    let extra = args.ext_multiaddr.iter().map(|text| own_address(text)).collect::<Result<Vec<_>, _>>()?;
    if extra.len() > MAX_ANNOUNCED {
        return Err(ConfigError::ManyExtMultiaddrs(extra.len()));
    }
    if args.ext_multiaddr_only && extra.is_empty() {
        return Err(ConfigError::NoExtMultiaddr);
    }
    let host = match &args.dns4_domain_name {
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

fn static_peer(text: &str) -> Result<Multiaddr, ConfigError> {
    peer_address(text).map_err(|cause| ConfigError::Multiaddr { value: text.into(), cause })
}

/// Reads a multiaddr that says whom to expect there.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn peer_address(text: &str) -> Result<Multiaddr, String> {
    let address = Multiaddr::from_str(text).map_err(|cause| cause.to_string())?;
    match address.to_string().rsplit('/').nth(1) {
        Some("p2p") => Ok(address),
        _ => Err("it does not end in /p2p/<peer id>".into()),
    }
}

fn bridge_config(args: &BridgeArgs, topics: &[PubsubTopic]) -> Result<BridgeConfig, ConfigError> {
    let flags = &args.bridge;
    let mut config = BridgeConfig {
        routes: routes(topics, flags.bridge_direction),
        profile: Profile {
            ttl_secs: flags.bridge_ttl,
            pow_target: pow("pow-target", flags.pow_target)?,
            pow_target_large: pow("pow-target-large", flags.pow_target_large)?,
        },
        policy: policy(flags),
        min_pow: pow("waku-v1-pow", args.v1.waku_v1_pow)?,
        ..BridgeConfig::default()
    };
    if let Some(threads) = flags.pow_threads {
        config.pow_threads = threads;
    }
    config.check()?;
    Ok(config)
}

/// The first topic takes what comes from waku/0, all feed it.
fn routes(topics: &[PubsubTopic], direction: Ways) -> Router {
    let feeding = match direction {
        Ways::V1ToV2 => &[],
        Ways::Both | Ways::V2ToV1 => topics.get(1..).unwrap_or_default(),
    };
    let first = topics.first().map(|topic| Route::everything(topic.clone(), direction));
    let feeding = feeding.iter().zip(2..).map(|(topic, n)| Route {
        name: format!("{DEFAULT_ROUTE}-{n}").into(),
        ..Route::everything(topic.clone(), Ways::V2ToV1)
    });
    first.into_iter().chain(feeding).collect()
}

fn policy(flags: &CrossingArgs) -> Policy {
    Policy {
        late_v1: flags.v1_late_policy,
        late_v2: flags.v2_late_policy,
        version_zero: flags.v0_policy,
        unknown_version: flags.bridge_unknown_version,
        ephemeral: flags.ephemeral,
        origin_tags: flags.origin_tags,
        restore_tagged: if flags.restore_tagged { Switch::On } else { Switch::Off },
        ..Policy::default()
    }
}

#[cfg(test)]
mod tests {
    use waku0::whitelist::Whitelist;

    use super::*;
    use crate::storage::accounts::DEFAULT_RETENTION;

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        let flags = ["causeway", "bridge"].iter().chain(flags);
        match Cli::without_environment(flags).unwrap().command {
            Command::Bridge(args) => (*args).try_into(),
            other => panic!("{other:?}"),
        }
    }

    fn crossing(config: &Config) -> &Crossing {
        config.crossing.as_ref().expect("a bridge")
    }

    fn refusal(flags: &[&str]) -> String {
        config(flags).unwrap_err().to_string()
    }

    fn topic_names(config: &Config) -> Vec<&str> {
        crossing(config).v2.network.topics.iter().map(PubsubTopic::as_str).collect()
    }

    #[test]
    fn without_flags_an_open_network_of_ones_own() {
        let config = config(&[]).unwrap();
        assert_eq!(topic_names(&config), ["/waku/2/rs/0/0"]);
        assert_eq!(crossing(&config).bridge, BridgeConfig::default());
        assert_eq!(config.v0.listen.to_string(), "0.0.0.0:30303");
        assert_eq!(crossing(&config).v2.listen.to_string(), "/ip4/0.0.0.0/tcp/60000");
        assert_eq!(config.http.to_string(), "127.0.0.1:8645");
        assert!(config.v0.static_nodes.is_empty() && crossing(&config).v2.static_peers.is_empty());
    }

    #[test]
    fn the_default_route_is_where_bridged_topics_land() {
        let eight = config(&["--cluster-id=5", "--num-shards-in-network=8"]).unwrap();
        assert_eq!((topic_names(&eight)[0], topic_names(&eight).len()), ("/waku/2/rs/5/4", 8));
        let [route] = crossing(&eight).bridge.routes.routes() else { panic!("{:?}", crossing(&eight).bridge.routes) };
        assert_eq!(route.ways, Ways::Both, "what is relayed besides is not bridged");
        let said = refusal(&["--cluster-id=16", "--num-shards-in-network=0"]);
        assert!(said.contains("--bridge-pubsub-topic /waku/2/rs/16/"), "{said}");
    }

    #[test]
    fn the_first_topic_takes_and_all_feed() {
        let flags =
            ["--cluster-id=16", "--bridge-pubsub-topic=/waku/2/rs/16/64", "--bridge-pubsub-topic=/waku/2/rs/16/32"];
        let config = config(&flags).unwrap();
        assert_eq!(topic_names(&config), ["/waku/2/rs/16/64", "/waku/2/rs/16/32"]);
        let [first, second] = crossing(&config).bridge.routes.routes() else {
            panic!("{:?}", crossing(&config).bridge.routes)
        };
        assert_eq!((first.ways, second.ways), (Ways::Both, Ways::V2ToV1));
        assert_eq!((&*first.name, &*second.name), ("default", "default-2"));
    }

    #[test]
    fn rate_limits_add_up_to_the_default() {
        assert_eq!(config(&[]).unwrap().v0.settings.rates, Rates::default());
        let flags = ["--waku-v0-rate-limit=peer:7/s", "--waku-v0-rate-limit=ip:1MiB/s"];
        let rates = config(&flags).unwrap().v0.settings.rates;
        assert_eq!((rates.peer.packets, rates.ip.bytes, rates.topic), (7, 1 << 20, 200));
        let none = config(&["--waku-v0-rate-limit=none", "--waku-v0-rate-whitelist=10.0.0.0/8"]).unwrap().v0.settings;
        assert_eq!(none.rates.announced(), Rates::NONE.announced());
        assert_ne!(none.whitelist, Whitelist::default());
        for flag in ["--waku-v0-rate-limit=fast", "--waku-v0-rate-whitelist=host.example"] {
            let said = Cli::without_environment(["causeway", "bridge", flag]).unwrap_err().to_string();
            assert!(said.contains(flag.split('=').next().unwrap()), "{said}");
        }
    }

    #[test]
    fn refusals_name_the_flag() {
        for (flags, word) in [
            (&["--staticnode-v1=enode://12@1.2.3.4:5"][..], "--staticnode-v1"),
            (&["--trustednode-v1=enode://12@1.2.3.4:5"], "--trustednode-v1"),
            (&["--staticnode-v2=/ip4/1.2.3.4/tcp/5"], "--staticnode-v2"),
            (&["--staticnode-v2=1.2.3.4"], "--staticnode-v2"),
            (&["--waku-v1-pow=-1"], "--waku-v1-pow"),
            (&["--pow-target=NaN"], "--pow-target"),
            (&["--bridge-pubsub-topic=/waku/2/rs/1/0"], "--cluster-id"),
            (&["--bridge-pubsub-topic="], "--bridge-pubsub-topic"),
            (&["--ports-shift=10000"], "--ports-shift"),
            (&["--v1-late-policy=archive"], "archive"),
            (&["--bridge-ttl=1"], "6 s"),
        ] {
            let said = refusal(flags);
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }

    #[test]
    fn the_defaults_of_flags_and_library_are_the_same() {
        let config = config(&[]).unwrap();
        assert_eq!((config.v0.limits, config.v0.network), (Limits::default(), Network::default()));
        assert_eq!(config.v0.settings, Settings::default());
        assert_eq!(config.v0.accounting_retention, DEFAULT_RETENTION);
    }

    #[test]
    fn no_discovery_unless_asked_for() {
        let enode = |at: &str| format!("enode://{}@{at}", devp2p::NodeKey::from_bytes(&[1; 32]).unwrap().public());
        let link = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@nodes.example.org";
        let off = config(&["--dns-addrs-name-server=9.9.9.9"]).unwrap().v0.discovery;
        assert!(off.discv4.is_none() && off.dns.is_none());
        let found_only = config(&["--discv4-discovery"]).unwrap().v0.discovery;
        assert_eq!(found_only.discv4, Some(Vec::new()));

        let begin = format!("--discv4-bootstrap-node={}", enode("1.2.3.4:30303"));
        let both = config(&["--discv4-discovery=True", &begin, &begin]).unwrap().v0.discovery;
        assert_eq!(both.discv4.map(|nodes| nodes.len()), Some(2));
        let listed = format!("--dns-discovery-url-v1={link}");
        let servers = ["--dns-addrs-name-server=9.9.9.9", "--dns-addrs-name-server=[::1]:5353"];
        let dns = config(&[&listed, servers[0], servers[1]]).unwrap().v0.discovery.dns.unwrap();
        assert_eq!((dns.links[0].to_string().as_str(), dns.name_servers[0].to_string()), (link, "9.9.9.9:53".into()));
        assert_eq!(dns.name_servers[1].to_string(), "[::1]:5353");

        let deaf = format!("--discv4-bootstrap-node={}", enode("1.2.3.4:30303?discport=0"));
        for (flags, word) in [
            (&[begin.as_str()][..], "add --discv4-discovery"),
            (&["--discv4-discovery=false", &begin], "add --discv4-discovery"),
            (&["--discv4-discovery", &deaf], "discport=0"),
            (&["--discv4-discovery", "--discv4-bootstrap-node=enr:x"], "--discv4-bootstrap-node enr:x"),
            (&["--dns-discovery-url-v1=nodes.example.org"], "--dns-discovery-url-v1 nodes.example.org"),
            (&[listed.as_str(), "--dns-addrs-name-server=dns.example.org"], "--dns-addrs-name-server dns.example.org"),
        ] {
            let said = refusal(flags);
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }

    #[test]
    fn several_ports_are_listened_on_and_one_is_told() {
        let flags =
            ["--devp2p-tcp-port=30303", "--devp2p-tcp-port=443", "--ports-shift=1", "--devp2p-advertised-port=80"];
        let config = config(&flags).unwrap();
        assert_eq!(config.v0.listen.port(), 30304);
        assert_eq!(config.v0.network.also_listen, ["0.0.0.0:444".parse().unwrap()]);
        assert_eq!(config.v0.network.advertised_port, Some(80));
    }

    fn v2(flags: &[&str]) -> V2 {
        config(flags).unwrap().crossing.expect("a bridge").v2
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
        assert_eq!(both.v0.network.nat.external(), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(crossing(&both).v2.announce.host, Some(Host::Ip("203.0.113.7".parse().unwrap())));
        assert_eq!(v2(&[]).announce, Announce::default());
        assert_eq!(v2(&["--nat=any"]).announce, Announce::default());
        let extra = "--ext-multiaddr=/dns4/ws.example.org/tcp/443/wss";
        let told =
            v2(&["--nat=extip:203.0.113.7", "--dns4-domain-name=node.example.org", extra, "--ext-multiaddr-only"]);
        assert_eq!(told.announce.host, Some(Host::Dns4("node.example.org".to_owned())), "a name wins");
        assert!(told.announce.only_extra && told.announce.extra.len() == 1);
        for (flags, word) in [
            (&["--ext-multiaddr-only"][..], "give --ext-multiaddr"),
            (&["--ext-multiaddr="], "--ext-multiaddr"),
            (&["--ext-multiaddr=/ip4/1.2.3/tcp/1"], "--ext-multiaddr /ip4/1.2.3/tcp/1"),
            (&["--dns4-domain-name="], "--dns4-domain-name"),
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

    #[test]
    fn ports_shift_leaves_free_ports_alone() {
        let config = config(&["--ports-shift=7", "--tcp-port=0"]).unwrap();
        assert_eq!((config.v0.listen.port(), config.http.port()), (30310, 8652));
        assert_eq!(crossing(&config).v2.listen.to_string(), "/ip4/0.0.0.0/tcp/0");
    }

    #[test]
    fn loopback_needs_no_flags() {
        let config = Config::on_loopback();
        assert!(config.v0.listen.ip().is_loopback() && config.v0.listen.port() == 0);
    }
}
