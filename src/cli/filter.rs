//! Flags about filter.

use clap::Args;

use super::parse_bool;

/// Flags about filter.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waku Network: filter")]
pub struct FilterArgs {
    /// Push to light clients the messages that they subscribe to (12/WAKU2-FILTER, both generations), of the shards that are relayed here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub filter: bool,
    /// A node that pushes to us what applications subscribe to; without one it is a peer that serves filter
    #[arg(long, value_name = "MULTIADDR", default_value = "")]
    pub filternode: String,
    /// Seconds for which --filter pushes to a client that says nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub filter_subscription_timeout: u32,
    /// Most clients of --filter
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub filter_max_peers_to_serve: u32,
    /// Most criteria of one of them: pubsub topic and content topic
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub filter_max_criteria: u32,
}
