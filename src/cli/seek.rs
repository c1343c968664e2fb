//! Flags about peers of the Waku Network that nobody names beforehand.

use clap::Args;
use waku2::slots::Ratio;

use super::parse_bool;

/// How peers of the Waku Network are found. Without any of these, only `--staticnode-v2` are called.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waku Network: finding peers")]
pub struct SeekArgs {
    /// A signed list of Waku Network nodes in DNS (EIP-1459), which is read again every half hour; may be repeated
    #[arg(long, value_name = "ENRTREE")]
    pub dns_discovery_url: Vec<String>,
    /// Deprecated: a list that is given is read
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub dns_discovery: Option<bool>,
    /// Look for Waku Network nodes over UDP (discv5), and let others find us. Every node of the discovery network can then learn
    /// our address and key. With a preset and neither nodes nor lists of your own it begins at those of the network [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub discv5_discovery: Option<bool>,
    /// UDP port of --discv5-discovery; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 9000)]
    pub discv5_udp_port: u16,
    /// A node at which --discv5-discovery begins; may be repeated
    #[arg(long, value_name = "ENR")]
    pub discv5_bootstrap_node: Vec<String>,
    /// Let ten or more nodes that agree tell us our address outside
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub discv5_enr_auto_update: bool,
    /// Nodes of one /24 in the table: 10, or 0 for no limit
    #[arg(long, hide = true, value_name = "N", default_value_t = 10)]
    pub discv5_table_ip_limit: u32,
    /// Nodes of one /24 in a bucket of the table: 2, or 0 for no limit
    #[arg(long, hide = true, value_name = "N", default_value_t = 2)]
    pub discv5_bucket_ip_limit: u32,
    /// Bits by which a lookup comes closer with each step: 1
    #[arg(long, hide = true, value_name = "N", default_value_t = 1)]
    pub discv5_bits_per_hop: u32,
    /// Tell peers that ask of nodes that --discv5-discovery found
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub peer_exchange: bool,
    /// A Waku Network peer to stay connected to, which is asked for others; so is every peer that answers such questions
    #[arg(long, value_name = "MULTIADDR", default_value = "")]
    pub peer_exchange_node: String,
    /// Keep what was found, and how calls went, in peers-v2.json of the data directory
    #[arg(long, alias = "persist-peers", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub peer_persistence: bool,
    /// Most peers that are kept in mind, those found anew replacing the worst [default: 512, which is also the most]
    #[arg(long, value_name = "N")]
    pub peer_store_capacity: Option<usize>,
    /// Of a hundred Waku Network connections, how many are for relay and how many for services; a third of the first are sought by
    /// our own calls, and of peers that relay and have called us, what is more than the rest is left
    #[arg(long, value_name = "N:N", default_value = "60:40")]
    pub relay_service_ratio: Ratio,
}
