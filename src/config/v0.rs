//! Flags about the waku/0 side, checked.

use std::{net::SocketAddr, time::Duration};

use devp2p::{
    Limits, Network,
    dnsdisc::{self, Link},
    enode::Enode,
    inbound::InboundLimits,
};
use waku0::{Settings, limits::Rates, pool::PoolLimits, version::Version};

use super::{ConfigError, name_servers, parse_all, pow, shifted};
use crate::cli::{BaseArgs, V1Args};

/// The unit of retentions.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Reads the flags.
pub(super) fn v0(args: &V1Args, node: &BaseArgs) -> Result<V0, ConfigError> {
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
        versions: versions(&args.v1_protocols),
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

/// Each once.
fn versions(named: &[Version]) -> Vec<Version> {
    Version::ALL.into_iter().filter(|version| named.contains(version)).collect()
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
fn dns(args: &V1Args, node: &BaseArgs) -> Result<Option<dnsdisc::Config>, ConfigError> {
    let links: Vec<Link> = parse_all(&args.dns_discovery_url_v1, |value, cause| ConfigError::Link { value, cause })?;
    let name_servers = name_servers(node)?;
    Ok((!links.is_empty()).then_some(dnsdisc::Config { links, name_servers }))
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
