//! Flags about the waku/0 side.

use clap::Args;
use waku0::{limits::RateLimit, version::Version, whitelist::Exempt};

use super::{parse_bool, parse_bytes};

/// Flags about the waku/0 side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Waku v0 (devp2p)")]
pub struct V1Args {
    /// devp2p TCP port; 0 takes any free one. May be repeated (30303, 443, 80), because a port that is hardly used otherwise is
    /// easy to block; the first is the one that others are told
    #[arg(long, value_name = "PORT", value_delimiter = ',', default_values_t = [30303])]
    pub devp2p_tcp_port: Vec<u16>,
    /// devp2p TCP port that others are told, where a router maps it to ours [default: the first that is listened on]
    #[arg(long, value_name = "PORT")]
    pub devp2p_advertised_port: Option<u16>,
    /// What is spoken with old peers, separated by commas: of the waku that both sides offer the highest, and Whisper (shh/6)
    /// with those who offer no such waku. Envelopes pass between all of them unchanged
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', default_values_t = Version::ALL)]
    pub v1_protocols: Vec<Version>,
    /// A waku/0 peer to stay connected to; may be repeated
    #[arg(long, value_name = "ENODE")]
    pub staticnode_v1: Vec<String>,
    /// A waku/0 peer that is always let in, and not dialled; may be repeated
    #[arg(long, value_name = "ENODE")]
    pub trustednode_v1: Vec<String>,
    /// Look for waku/0 nodes over UDP (discv4), and let others find us. UDP takes the number of the first devp2p port: open
    /// that as well. Every node of the discovery network can then learn our address and key, and nodes of all kinds are
    /// in it, which are dialled to see what they speak
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub discv4_discovery: bool,
    /// A node at which --discv4-discovery begins; may be repeated. Without any, others may find us, and we find who does
    #[arg(long, value_name = "ENODE")]
    pub discv4_bootstrap_node: Vec<String>,
    /// A signed list of waku/0 nodes in DNS (EIP-1459), which is read again every half hour; may be repeated. `causeway
    /// dns-tree` makes such lists
    #[arg(long, value_name = "ENRTREE")]
    pub dns_discovery_url_v1: Vec<String>,
    /// Lowest proof of work accepted, the same on all bridges of a network. Status fleets used 0.000002, because their
    /// clients mine envelopes over 50,000 bytes that low
    #[arg(long, value_name = "POW", default_value_t = 0.002)]
    pub waku_v1_pow: f64,
    /// How much waku/0 peers may send: packets or bytes a second of a peer or an address, envelopes a second of a topic; may
    /// be repeated. Whoever goes far beyond it is left. `none` for no limits at all [default: peer:100/s peer:4MiB/s
    /// ip:200/s ip:8MiB/s topic:200/s]
    #[arg(long, value_name = "LIMIT")]
    pub waku_v0_rate_limit: Vec<RateLimit>,
    /// A waku/0 peer that is never left for sending too much: an IP address, a range such as 10.0.0.0/8, an enode URL or a
    /// node id; may be repeated. Static and trusted nodes are on the list
    #[arg(long, value_name = "PEER")]
    pub waku_v0_rate_whitelist: Vec<Exempt>,
    /// Seconds that a waku/0 peer may take for its Status
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub status_timeout: u64,
    /// Largest envelope taken: bytes, KiB or MiB. What no packet of 1 MiB holds is sent to nobody
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_bytes)]
    pub max_message_size: usize,
    /// Most memory for live waku/0 envelopes, each with about 400 bytes beside its own. When it is spent, those with the
    /// least proof of work go first
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = parse_bytes)]
    pub waku_v0_pool_size: usize,
    /// Most live waku/0 envelopes
    #[arg(long, value_name = "N", default_value_t = 131_072)]
    pub waku_v0_pool_envelopes: usize,
    /// Acknowledge packets of envelopes, as clients of status-go ask for
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub confirmations: bool,
    /// Seconds for which the accounts of waku/0 peers are summed up; GET /legacy/v1/accounting shows them
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub accounting_epoch: u64,
    /// Days for which these accounts are kept
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub accounting_retention: u64,
    /// Most waku/0 peers at once
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub devp2p_max_peers: usize,
    /// Of these, slots that peers who dial us never take; as many peers are sought among nodes that discovery finds, and the
    /// worst of them makes room for a better one. At most a third of all slots
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub devp2p_outbound_peers: usize,
    /// Most devp2p connections under way that have not shown their key yet
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub devp2p_max_pending: usize,
    /// Most inbound devp2p connections from one address; loopback and private ranges are not counted
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub devp2p_max_per_address: usize,
    /// Most inbound devp2p connections from one subnet (/24, /64); loopback and private ranges are not counted
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub devp2p_max_per_subnet: usize,
    /// Seconds before one address may connect again over devp2p; 0 for none. Never for loopback and private ranges
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub devp2p_inbound_throttle: u64,
    /// Most memory for waku/0 packets on their way in, for all peers together: bytes, KiB, MiB or GiB. While it is spent,
    /// reading waits
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    pub read_budget: usize,
}
