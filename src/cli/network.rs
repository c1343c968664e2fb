//! Flags about which network, which shards, and what is taken on them.

use clap::Args;
use waku2::{relay::MAX_RPC_BYTES, rules::Position};

use super::{one_of, parse_bytes};

/// Flags about the network. What is not given follows from `--preset`, or is that of an open network of one's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waku Network: which one")]
pub struct NetworkArgs {
    /// A network by its name: twn, the Waku Network (cluster 1, eight shards, times within 20 s; twn-spec is the same with proofs as
    /// 64/WAKU2-NETWORK prints them), or status, that of Status (cluster 16, shards 32 and 64). twn asks every message for a rate-limit
    /// proof (RLN): verifying them takes --rln-relay-eth-client-address, publishing --rln-relay-cred-path as well
    #[arg(long, value_name = "NAME", default_value = "")]
    pub preset: String,
    /// The network: peers of another cluster are left. 0 is an open network of one's own; 1 is the Waku Network, as --preset=twn
    /// [default: 0]
    #[arg(long, value_name = "N")]
    pub cluster_id: Option<u16>,
    /// Shards of the network, for automatic sharding; 0 for static sharding, where no shard follows from a topic [default: 1]
    #[arg(long, value_name = "N")]
    pub num_shards_in_network: Option<u16>,
    /// A shard to relay; may be repeated. Those that are bridged are relayed in any case [default: with automatic sharding all of
    /// them, unless --bridge-pubsub-topic or --pubsub-topic names some; with static sharding none]
    #[arg(long, value_name = "N")]
    pub shard: Vec<u16>,
    /// A content topic whose shard is relayed as well; may be repeated. Automatic sharding only
    #[arg(long, value_name = "TOPIC")]
    pub content_topic: Vec<String>,
    /// A pubsub topic to relay as well; may be repeated
    #[arg(long, alias = "topics", value_name = "TOPIC")]
    pub pubsub_topic: Vec<String>,
    /// A signed shard and its key, as SHARD:KEY with a public key of secp256k1 in hexadecimal digits; may be repeated. Messages on it
    /// pass only if that key signed them. We can't bridge to it, because the signature stands where the bridge needs its own mark
    #[arg(long, value_name = "SHARD:KEY")]
    pub protected_shard: Vec<String>,
    /// Whose word counts where the text of 64/WAKU2-NETWORK and nodes in the field treat a message differently [default: on twn
    /// rule by rule, so that no neighbour blames us; elsewhere text]. The log of the start tells each rule
    #[arg(long, value_name = "WHOSE", value_parser = one_of(&Position::ALL, Position::name))]
    pub network_rules: Option<Position>,
    /// Longest gossip frame that is taken and sent: bytes, KB or KiB. Peers of deployed networks take 150KiB, and more is not possible
    #[arg(long, value_name = "SIZE", default_value = "150KiB", value_parser = parse_message_size)]
    pub max_msg_size: usize,
    /// Seconds that a message's time may be from ours; 0 for any time [default: 20 on twn, else 0]
    #[arg(long, value_name = "SECONDS")]
    pub timestamp_window: Option<u64>,
    /// Bytes a second that each shard carries without rate-limit proofs: bytes, KiB or MiB; 0 for none [default: 125000 where
    /// proofs are asked for and the rules allow it, else unlimited]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub free_bandwidth: Option<usize>,
    /// Of these, bytes at once [default: 1250000]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub free_bandwidth_burst: Option<usize>,
}

/// A number of bytes as nwaku writes it.
fn parse_message_size(text: &str) -> Result<usize, String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        other => return Err(format!("{other:?} is no unit: give B, KB or KiB")),
    };
    let number: usize = digits.trim_end().parse().map_err(|_| "give a number, 150KiB for example")?;
    let bytes = number.checked_mul(unit).filter(|bytes| (1..=MAX_RPC_BYTES).contains(bytes));
    bytes.ok_or_else(|| {
        format!("give at most {MAX_RPC_BYTES} bytes (150KiB), and not none: peers take no longer frames")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_sizes_are_written_as_with_nwaku() {
        for (text, bytes) in [("150KiB", 153_600), ("150 KiB", 153_600), ("100kb", 100_000), ("7", 7), ("8B", 8)] {
            assert_eq!(parse_message_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "KiB", "0", "151KiB", "1MiB", "-1", "1.5KiB", "99999999999999999999KiB", "9999999999999999KiB"]
        {
            assert!(parse_message_size(bad).is_err(), "{bad}");
        }
    }
}
