//! Flags, checked: what [`crate::assemble`] builds from. Every refusal names the flag and says what to give instead.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use bridge::{config::ConfigError as BridgeError, policy::Ways, router::RouterError};
use devp2p::{dnsdisc::LinkError, enode::EnodeError};
use waku0::Pow;
use waku2::{address_book::MAX_KNOWN, announce::MAX_ANNOUNCED, service::rate::Budgets};

pub mod archive;
mod connections;
pub mod crossing;
pub mod mail;
pub mod network;
#[cfg(all(test, feature = "rln"))]
mod nwaku_flags;
pub mod reserves;
#[cfg_attr(not(feature = "rln"), path = "config/rln_off.rs")]
pub mod rln;
pub mod routes;
pub mod rpc;
pub mod seek;
pub mod services;
pub mod store;
mod v0;

pub use connections::{CertificateFiles, V2, peer_address};
pub use crossing::Bridging;
pub use rpc::Rpc;
pub use v0::{Discovery, V0};

use network::NetworkError;
use rln::RlnError;
use routes::RouteFileError;
use seek::SeekError;

use crate::cli::{
    BaseArgs, BridgeArgs, Cli, Command, Fate, FilterArgs, ForeignArgs, LegacyArgs, LightpushArgs, MailserverArgs,
    NetworkArgs, NodeArgs, SeekArgs, StoreArgs, SurfaceArgs, V2Args,
};
use crate::{
    cli::statusd::{self, StatusdError},
    http::origins::Pattern,
};

/// Port of name servers. Source: RFC 1035, section 4.2.
const DNS_PORT: u16 = 53;

/// Everything that a node of either network needs to start, or of both, or a bridge between them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the key and the lock live; `None` is `~/.causeway`.
    pub data_dir: Option<PathBuf>,
    /// The key of the flag.
    pub nodekey: Option<String>,
    /// The file of the flag.
    pub nodekey_file: Option<PathBuf>,
    /// The waku/0 side.
    pub v0: Option<V0>,
    /// The Waku Network side.
    pub v2: Option<V2>,
    /// What crosses between the two, and how. Without both there is nothing to bridge.
    pub bridge: Option<Bridging>,
    /// What is kept of it.
    pub archive: Option<archive::Archive>,
    /// How history is served on the Waku Network, and asked for; `None` without such a side.
    pub store: Option<store::Store>,
    /// How history is served to waku/0 clients, out of the archive; `None` where it is not.
    pub mail: Option<mail::Mail>,
    /// What is served over HTTP.
    pub http: Http,
    /// JSON-RPC of the waku/0 side.
    pub rpc: Option<Rpc>,
    /// What an operator should know of flags that have no effect.
    pub notices: Vec<String>,
}

/// What is served over HTTP, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// REST, health, metrics and accounts.
    pub rest: Option<SocketAddr>,
    /// What REST serves.
    pub api: Api,
    /// Whose pages may read these; nothing is looked at if empty.
    pub allow_origin: Vec<Pattern>,
    /// Metrics alone.
    pub metrics: Option<SocketAddr>,
}

/// What REST serves, and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// What an operator may do as well.
    pub admin: bool,
    /// Messages of relay that are kept for those who poll.
    pub relay_cache: usize,
    /// The same of filter.
    pub filter_cache: usize,
    /// What it says is its version.
    pub version: String,
    /// Content topics whose messages are kept from the start.
    pub content_topics: Vec<waku2::ContentTopic>,
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
    /// Two tables.
    #[error(
        "--route-file says what crosses and which way: leave --bridge-pubsub-topic and --bridge-direction out, or the file"
    )]
    RoutesTwice,
    /// The route file.
    #[error(transparent)]
    RouteFile(#[from] RouteFileError),
    /// The routes of the flags.
    #[error("--bridge-pubsub-topic: {0}")]
    Routes(RouterError),
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
    /// Not a node that could be asked.
    #[error("--{flag} {value}: {cause}. Give /ip4/<address>/tcp/<port>/p2p/<peer id>")]
    ServiceNode {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Publishing for others, and no relay to do it by.
    #[error("--lightpush publishes by relay: leave --relay=false out, or --lightpush")]
    LightpushWithoutRelay,
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
    /// JSON-RPC of nothing.
    #[error("--rpc, --ws and --ipc serve the waku/0 side: add --waku-v0, or leave them out")]
    RpcOfNothing,
    /// Neither side.
    #[error("--relay=false leaves nothing to do: add --waku-v0, or leave it out")]
    Nothing,
    /// A bridge to a side that does not run.
    #[error(
        "--relay=false has no place in `causeway bridge`, which relays what it bridges. `causeway legacy` is a waku/0 node alone"
    )]
    BridgeWithoutRelay,
    /// Proofs that can't be verified or made as the flags say.
    #[error(transparent)]
    Rln(#[from] RlnError),
    /// A bridge that would publish what its peers reject.
    #[error(
        "this network asks every message for a rate-limit proof (RLN), and no membership is given to make them with, so nothing can cross to it: give --rln-relay-eth-client-address and --rln-relay-cred-path (`causeway rln register` makes a membership), or --bridge-lightpush and --lightpushnode, a node that proves what it publishes for us, or --bridge-direction=v2-to-v1, which needs neither"
    )]
    BridgeWithoutMembership,
    /// Messages that nobody would publish.
    #[error("--bridge-lightpush hands what crosses to a node that publishes it: name it with --lightpushnode")]
    HandedToNobody,
    /// A flag of another program that can't be passed over.
    #[error("{0}")]
    Foreign(&'static str),
    /// More peers than are kept in mind.
    #[error("--peer-store-capacity {0}: give a number from 1 to {most}", most = MAX_KNOWN)]
    PeerStore(usize),
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
    /// Where no archive is asked for.
    #[error("--archive-url says where, and not whether: add --archive, or leave it out")]
    UnusedArchive,
    /// No engine.
    #[error(
        "no archive can be at {0}…: --archive-url and --store-message-db-url take sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    ArchiveUrl(String),
    /// Two names of one thing, and two things.
    #[error("{0} and {1} are two names of one thing, for there is one archive: leave one of the two out")]
    ArchiveTwice(&'static str, &'static str),
    /// Something that is no mail server.
    #[error("--backfill-v1: {0}")]
    Backfill(crate::history::ServerError),
    /// A store of nothing.
    #[error("--store and --legacy-store keep what is relayed: leave them out, or --relay=false")]
    StoreWithoutRelay,
    /// A limit of packets where bytes are counted.
    #[error("--mail-byte-limit counts bytes: give peer:16MiB/s, ip:64MiB/s or none")]
    MailByteLimit,
    /// History, and nothing to keep it in.
    #[error("--mailserver answers from the archive: add --archive, or leave it out")]
    MailWithoutArchive,
    /// A configuration file of statusd.
    #[error(transparent)]
    Statusd(#[from] StatusdError),
    /// A setting of the bridge that it refuses.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

/// What a table of routes has to fit.
///
/// # Errors
/// A flag that makes no network.
pub fn surroundings(flags: &NetworkArgs, has_archive: bool) -> Result<routes::Surroundings, ConfigError> {
    Ok(crossing::around(&network::place(flags)?, has_archive))
}

/// Said where another node publishes.
const HANDED_OVER: &str =
    "--bridge-lightpush: what crosses to the Waku Network is published, and proven, by the node of --lightpushnode";

impl TryFrom<BridgeArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: BridgeArgs) -> Result<Self, Self::Error> {
        if !args.v2.relay {
            return Err(ConfigError::BridgeWithoutRelay);
        }
        let place = network::place(&args.network)?;
        let archive = archive::archive(&args.archive, &args.store)?;
        let around = crossing::around(&place, archive.is_some());
        let has_proofs = args.rln.rln_relay.unwrap_or(around.has_proofs);
        let around = routes::Surroundings { has_proofs, ..around };
        let table = crossing::table(&args.bridge, &around, &place)?;
        let named = args.bridge.route_file.is_some() || !args.bridge.bridge_pubsub_topic.is_empty();
        let mut network = place.network(&args.network, &table.router.pubsub_topics(), named)?;
        let mut notices = notices(&args.foreign)?;
        let rln = rln::rln(&args.rln, &mut network, &mut notices)?.map(|rln| rln.keeping(&table.reserves));
        let publishes = table.router.routes().iter().any(|route| matches!(route.ways, Ways::Both | Ways::V1ToV2));
        if args.bridge.bridge_lightpush && args.lightpush.lightpushnode.is_empty() {
            return Err(ConfigError::HandedToNobody);
        }
        if network.asks_for_proofs
            && publishes
            && !args.bridge.dry_run
            && !args.bridge.bridge_lightpush
            && !rln.as_ref().is_some_and(rln::Rln::can_publish)
        {
            return Err(ConfigError::BridgeWithoutMembership);
        }
        notices.extend(table.notices);
        let store = store::store(&args.store, (&network, rln.is_some()), archive.is_some(), &mut notices);
        let (path, picky) = (args.bridge.route_file.clone(), args.bridge.waku_v1_topic_interest);
        let (unbridged, reserves) = (network.unbridged.clone(), table.reserves);
        let source = crossing::Source { path, around, unbridged, reserves, picky };
        let backfill = crossing::backfill(&args.bridge, archive.is_some(), &mut notices)?;
        let mail = args.mailserver.then(|| mail::mail(&args.mail)).transpose()?;
        if mail.is_some() && archive.is_none() {
            return Err(ConfigError::MailWithoutArchive);
        }
        let mut v0 = v0::v0(&args.v1, &args.base)?;
        if picky {
            v0.settings.interest = table.router.interest();
        }
        let v2 = v2(&args.base, &args.v2, &args.seek, (&args.store, &args.filter, &args.lightpush), network)?;
        let handed_over = args.bridge.bridge_lightpush.then_some(v2.services.lightpush);
        notices.extend(handed_over.map(|_| HANDED_OVER.to_owned()));
        let config = crossing::bridge_config(&args, table.router)?;
        Ok(Self {
            bridge: Some(Bridging { config, source, backfill, handed_over }),
            archive,
            store: Some(store),
            mail,
            v2: Some(V2 { rln, ..v2 }),
            v0: Some(v0),
            http: http(&args.surface, &args.network.content_topic, args.base.ports_shift)?,
            rpc: rpc::rpc(args.rpc, args.base.ports_shift)?,
            data_dir: args.base.data_dir,
            nodekey: args.base.nodekey,
            nodekey_file: args.base.nodekey_file,
            notices,
        })
    }
}

impl TryFrom<NodeArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: NodeArgs) -> Result<Self, Self::Error> {
        if !args.v2.relay && !args.waku_v0 {
            return Err(ConfigError::Nothing);
        }
        if args.store.serves() && !args.v2.relay {
            return Err(ConfigError::StoreWithoutRelay);
        }
        let mut network = network::place(&args.network)?.network(&args.network, &[], false)?;
        let mut notices = notices(&args.foreign)?;
        let rln = rln::rln(&args.rln, &mut network, &mut notices)?;
        if args.lightpush.lightpush && !args.v2.relay {
            return Err(ConfigError::LightpushWithoutRelay);
        }
        let store = store::store(&args.store, (&network, rln.is_some()), args.store.serves(), &mut notices);
        let v2 = args
            .v2
            .relay
            .then(|| v2(&args.base, &args.v2, &args.seek, (&args.store, &args.filter, &args.lightpush), network))
            .transpose()?
            .map(|v2| V2 { rln, ..v2 });
        let v0 = args.waku_v0.then(|| v0::v0(&args.v1, &args.base)).transpose()?;
        let rpc = rpc::rpc(args.rpc, args.base.ports_shift)?;
        if rpc.is_some() && v0.is_none() {
            return Err(ConfigError::RpcOfNothing);
        }
        Ok(Self {
            rpc,
            v0,
            v2,
            bridge: None,
            archive: archive::of_store(&args.store)?,
            store: args.v2.relay.then_some(store),
            mail: None,
            http: http(&args.surface, &args.network.content_topic, args.base.ports_shift)?,
            data_dir: args.base.data_dir,
            nodekey: args.base.nodekey,
            nodekey_file: args.base.nodekey_file,
            notices,
        })
    }
}

impl TryFrom<LegacyArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: LegacyArgs) -> Result<Self, Self::Error> {
        Ok(Self {
            v0: Some(v0::v0(&args.v1, &args.base)?),
            v2: None,
            bridge: None,
            archive: None,
            store: None,
            mail: None,
            http: http(&args.surface, &[], args.base.ports_shift)?,
            rpc: rpc::rpc(args.rpc, args.base.ports_shift)?,
            data_dir: args.base.data_dir,
            nodekey: args.base.nodekey,
            nodekey_file: args.base.nodekey_file,
            notices: Vec::new(),
        })
    }
}

impl TryFrom<MailserverArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: MailserverArgs) -> Result<Self, Self::Error> {
        Ok(Self {
            v0: Some(v0::v0(&args.v1, &args.base)?),
            v2: None,
            bridge: None,
            archive: Some(mail::store(&args.store)?),
            store: None,
            mail: Some(mail::mail(&args.mail)?),
            http: http(&args.surface, &[], args.base.ports_shift)?,
            rpc: rpc::rpc(args.rpc, args.base.ports_shift)?,
            // Its keys are among the flags by now; what has no effect is to be told.
            notices: statusd::read(&args.statusd_config)?.notices,
            data_dir: args.base.data_dir,
            nodekey: args.base.nodekey,
            nodekey_file: args.base.nodekey_file,
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

fn v2(
    base: &BaseArgs,
    args: &V2Args,
    seeking: &SeekArgs,
    served: (&StoreArgs, &FilterArgs, &LightpushArgs),
    network: network::Network,
) -> Result<V2, ConfigError> {
    let (ip, shift) = (base.listen_address, base.ports_shift);
    let name_servers = name_servers(base)?;
    let known = seeking.peer_store_capacity.unwrap_or(MAX_KNOWN);
    if !(1..=MAX_KNOWN).contains(&known) {
        return Err(ConfigError::PeerStore(known));
    }
    let udp = SocketAddr::new(ip, shifted(seeking.discv5_udp_port, shift)?);
    let mut seek = seek::seek(seeking, network.preset, udp, &name_servers)?;
    seek.how.capacity = known;
    seek.how.exchange_budgets = Budgets::of_exchange(&args.rate_limit);
    let services = services::services(args, served, &network)?;
    seek.how.services = services.bits();
    let static_peers = args.staticnode_v2.iter().filter(|text| !text.is_empty());
    let static_peers = static_peers.map(|text| connections::static_peer(text)).collect::<Result<Vec<_>, _>>()?;
    let has_begin = |preset: waku2::Preset| !preset.bootstrap.is_empty() || !preset.lists.is_empty();
    let is_left_open = seeking.discv5_discovery.is_none() && network.preset.is_some_and(has_begin);
    if is_left_open && static_peers.is_empty() && !seek.how.seeks() {
        seek.notices.push(seek::NOBODY);
    }
    Ok(V2 {
        listen: connections::address(ip, shifted(args.tcp_port, shift)?, ""),
        websocket: connections::websocket(args, ip, shift)?,
        certificate: connections::certificate(args)?,
        announce: connections::announce(args, base.nat)?,
        limits: waku2::Limits {
            connections: args.max_connections,
            per_address: args.ip_colocation_limit,
            ..waku2::Limits::default()
        },
        seek,
        services,
        name_servers,
        static_peers,
        network,
        rln: None,
        agent: args.agent_string.clone(),
    })
}

fn http(args: &SurfaceArgs, content_topics: &[String], shift: u16) -> Result<Http, ConfigError> {
    let at = |on: bool, ip, port| -> Result<_, ConfigError> {
        on.then(|| Ok(SocketAddr::new(ip, shifted(port, shift)?))).transpose()
    };
    Ok(Http {
        rest: at(args.rest, args.rest_address, args.rest_port)?,
        api: Api {
            admin: args.rest_admin,
            relay_cache: args.rest_relay_cache_capacity as usize,
            filter_cache: args.rest_filter_cache_capacity as usize,
            version: args.version_string.clone().unwrap_or_else(|| format!("v{}", crate::VERSION)),
            content_topics: content_topics.iter().map(|topic| topic.as_str().into()).collect(),
        },
        allow_origin: args.rest_allow_origin.iter().filter(|pattern| !pattern.is_empty()).cloned().collect(),
        metrics: at(args.metrics_server, args.metrics_server_address, args.metrics_server_port)?,
    })
}

/// What is to be said of flags that are taken and not served.
fn notices(foreign: &ForeignArgs) -> Result<Vec<String>, ConfigError> {
    let mut unserved: Vec<String> = Vec::new();
    let mut notices = Vec::new();
    for flag in &foreign.asked {
        let name = flag.flag;
        match flag.fate {
            Fate::Later => unserved.push(format!("--{name}")),
            Fate::Deprecated => notices.push(format!("--{name} is deprecated, and has no effect")),
            Fate::Told(why) => notices.push(why.to_owned()),
            Fate::Refused(why) => return Err(ConfigError::Foreign(why)),
        }
    }
    if !unserved.is_empty() {
        notices.push(format!("not served yet: {}", unserved.join(", ")));
    }
    Ok(notices)
}

fn name_servers(args: &BaseArgs) -> Result<Vec<SocketAddr>, ConfigError> {
    args.dns_addrs_name_server.iter().map(|text| name_server(text)).collect()
}

fn name_server(text: &str) -> Result<SocketAddr, ConfigError> {
    let with_port = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
    with_port.map_err(|_| ConfigError::NameServer(text.to_owned()))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bridge::config::Config as BridgeConfig;
    use devp2p::{Limits, Network};
    use waku0::{Settings, limits::Rates, whitelist::Whitelist};
    use waku2::PubsubTopic;

    use super::*;
    use crate::storage::accounts::DEFAULT_RETENTION;

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        let flags = ["causeway", "bridge"].iter().chain(flags);
        match Cli::without_environment(flags).unwrap().command {
            Command::Bridge(args) => (*args).try_into(),
            other => panic!("{other:?}"),
        }
    }

    fn v0_of(config: &Config) -> &V0 {
        config.v0.as_ref().expect("a bridge")
    }

    fn v2_of(config: &Config) -> &V2 {
        config.v2.as_ref().expect("a bridge")
    }

    fn bridge_of(config: &Config) -> &BridgeConfig {
        &config.bridge.as_ref().expect("a bridge").config
    }

    fn refusal(flags: &[&str]) -> String {
        config(flags).unwrap_err().to_string()
    }

    fn topic_names(config: &Config) -> Vec<&str> {
        v2_of(config).network.topics.iter().map(PubsubTopic::as_str).collect()
    }

    #[test]
    fn without_flags_an_open_network_of_ones_own() {
        let config = config(&[]).unwrap();
        assert_eq!(topic_names(&config), ["/waku/2/rs/0/0"]);
        assert_eq!(bridge_of(&config), &BridgeConfig::default());
        assert_eq!(v0_of(&config).listen.to_string(), "0.0.0.0:30303");
        assert_eq!(v2_of(&config).listen.to_string(), "/ip4/0.0.0.0/tcp/60000");
        assert_eq!(config.http.rest.unwrap().to_string(), "127.0.0.1:8645");
        assert!(v0_of(&config).static_nodes.is_empty() && v2_of(&config).static_peers.is_empty());
    }

    #[test]
    fn the_memory_and_the_pool_have_bounds_of_ones_own() {
        let flags = ["--pow-queue=5", "--dedup-tolerance=60", "--dedup-window=10800", "--dedup-entries=9"];
        let config = config(&[&flags[..], &["--bridge-extra-encoding=rlp"]].concat()).unwrap();
        let bridge = bridge_of(&config);
        assert_eq!((bridge.limits.max_seal_jobs, bridge.seen.tolerance_secs, bridge.seen.max_entries), (5, 60, 9));
        assert_eq!((bridge.seen.min_window, bridge.policy.early_encoding), (Duration::from_secs(10_800), true));
        assert!(refusal(&["--pow-queue=0"]).contains("lets nothing through"));
        assert!(refusal(&["--dedup-entries=0"]).contains("lets nothing through"));
    }

    #[test]
    fn several_bridges_and_trials_have_flags() {
        let config = config(&["--stagger=500ms", "--standby-after=4s", "--dry-run", "--canary"]).unwrap();
        let bridge = bridge_of(&config);
        assert_eq!((bridge.stagger, bridge.standby_after), (Duration::from_millis(500), Some(Duration::from_secs(4))));
        assert!(bridge.dry_run && bridge.canary);
        assert!(
            refusal(&["--standby-after=20s"]).contains("everything is late"),
            "{}",
            refusal(&["--standby-after=20s"])
        );
        assert!(refusal(&["--v1-late-policy=archive"]).contains("needs an archive"));
        assert!(refusal(&["--bridge-direction=archive-only"]).contains("needs an archive"));
    }

    #[test]
    fn the_default_route_is_where_bridged_topics_land() {
        let eight = config(&["--cluster-id=5", "--num-shards-in-network=8"]).unwrap();
        assert_eq!((topic_names(&eight)[0], topic_names(&eight).len()), ("/waku/2/rs/5/4", 8));
        let [route] = bridge_of(&eight).routes.routes() else { panic!("{:?}", bridge_of(&eight).routes) };
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
        let [first, second] = bridge_of(&config).routes.routes() else { panic!("{:?}", bridge_of(&config).routes) };
        assert_eq!((first.ways, second.ways), (Ways::Both, Ways::V2ToV1));
        assert_eq!((&*first.name, &*second.name), ("default", "default-2"));
    }

    #[test]
    fn rate_limits_add_up_to_the_default() {
        assert_eq!(v0_of(&config(&[]).unwrap()).settings.rates, Rates::default());
        let flags = ["--waku-v0-rate-limit=peer:7/s", "--waku-v0-rate-limit=ip:1MiB/s"];
        let rates = config(&flags).unwrap().v0.expect("a bridge").settings.rates;
        assert_eq!((rates.peer.packets, rates.ip.bytes, rates.topic), (7, 1 << 20, 200));
        let none = config(&["--waku-v0-rate-limit=none", "--waku-v0-rate-whitelist=10.0.0.0/8"])
            .unwrap()
            .v0
            .expect("a bridge")
            .settings;
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
        assert_eq!((&v0_of(&config).limits, &v0_of(&config).network), (&Limits::default(), &Network::default()));
        assert_eq!(v0_of(&config).settings, Settings::default());
        assert_eq!(v0_of(&config).accounting_retention, DEFAULT_RETENTION);
    }

    #[test]
    fn no_discovery_unless_asked_for() {
        let enode = |at: &str| format!("enode://{}@{at}", devp2p::NodeKey::from_bytes(&[1; 32]).unwrap().public());
        let link = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@nodes.example.org";
        let off = config(&["--dns-addrs-name-server=9.9.9.9"]).unwrap().v0.expect("a bridge").discovery;
        assert!(off.discv4.is_none() && off.dns.is_none());
        let found_only = config(&["--discv4-discovery"]).unwrap().v0.expect("a bridge").discovery;
        assert_eq!(found_only.discv4, Some(Vec::new()));

        let begin = format!("--discv4-bootstrap-node={}", enode("1.2.3.4:30303"));
        let both = config(&["--discv4-discovery=True", &begin, &begin]).unwrap().v0.expect("a bridge").discovery;
        assert_eq!(both.discv4.map(|nodes| nodes.len()), Some(2));
        let listed = format!("--dns-discovery-url-v1={link}");
        let servers = ["--dns-addrs-name-server=9.9.9.9", "--dns-addrs-name-server=[::1]:5353"];
        let dns = config(&[&listed, servers[0], servers[1]]).unwrap().v0.expect("a bridge").discovery.dns.unwrap();
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
        assert_eq!(v0_of(&config).listen.port(), 30304);
        assert_eq!(v0_of(&config).network.also_listen, ["0.0.0.0:444".parse().unwrap()]);
        assert_eq!(v0_of(&config).network.advertised_port, Some(80));
    }

    #[test]
    fn ports_shift_leaves_free_ports_alone() {
        let config = config(&["--ports-shift=7", "--tcp-port=0"]).unwrap();
        assert_eq!((v0_of(&config).listen.port(), config.http.rest.unwrap().port()), (30310, 8652));
        assert_eq!(v2_of(&config).listen.to_string(), "/ip4/0.0.0.0/tcp/0");
    }

    #[test]
    fn loopback_needs_no_flags() {
        let config = Config::on_loopback();
        assert!(v0_of(&config).listen.ip().is_loopback() && v0_of(&config).listen.port() == 0);
    }
}
