//! Flags of the sub-commands that are no nodes.

use std::path::PathBuf;

use clap::Args;
use waku2::Preset;

use super::parse_bool;

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many to send each way
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub messages: u32,
    /// Seconds to wait for all of them to arrive
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
}

/// Flags of `listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where to listen.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// Show only this topic, 8 hex digits
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// End after so many [default: never]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Fail after so many seconds [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// Flags of `post`.
#[derive(Debug, Args)]
pub struct PostArgs {
    /// Where to post.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// Topic, 8 hex digits
    #[arg(long, value_name = "TOPIC", default_value = "0xcd423760")]
    pub topic: String,
    /// The text, sent as it is; without it, standard input. Encrypt first what is not for everybody
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// A file with the key of a signed shard, 64 hex digits: the message is signed with it. The digits can stand in
    /// CAUSEWAY_SIGNING_KEY instead
    #[arg(long, value_name = "FILE", conflicts_with = "signing_key")]
    pub signing_key_file: Option<PathBuf>,
    /// The same without a file. On a command line others can read it: meant for the environment
    #[arg(long, value_name = "HEX", hide = true)]
    pub signing_key: Option<String>,
    /// Move the time of the message by up to a second, by chance, so that it tells less of who sent it [default: true in cluster 1]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub timestamp_fudge: Option<bool>,
    /// Time to live of the envelope, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub ttl: u32,
    /// Seconds to wait until the peer is reached
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub timeout: u64,
}

impl PostArgs {
    /// Is the time of a message moved? On the Waku Network it is unless told otherwise: 64/WAKU2-NETWORK allows it, so that times tell
    /// less.
    #[must_use]
    pub fn fudges(&self) -> bool {
        self.timestamp_fudge.unwrap_or(self.peer.cluster_id == Preset::TWN.cluster.0)
    }
}

/// The peer that `listen` and `post` talk to.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// An enode URL (waku/0) or a multiaddr that ends in /p2p/ID (Waku Network), as a bridge prints them when it starts
    #[arg(value_name = "ENODE|MULTIADDR")]
    pub peer: String,
    /// Cluster of the Waku Network peer
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cluster_id: u16,
    /// Pubsub topic on the Waku Network
    #[arg(long, value_name = "TOPIC", default_value = "/waku/2/rs/0/0")]
    pub pubsub_topic: String,
}

/// Flags of `trace`.
#[derive(Debug, Args)]
#[command(after_help = TRACE_EXAMPLES)]
pub struct TraceArgs {
    /// The hash of an envelope, of a message, or of what they say: 64 hex digits
    #[arg(value_name = "HASH")]
    pub hash: String,
    /// Where the bridge serves HTTP: its --rest-address and --rest-port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8645")]
    pub rest: String,
    /// Print the bridge's answer as it is, in JSON
    #[arg(long)]
    pub json: bool,
}

const TRACE_EXAMPLES: &str = "\
Example:
  causeway post enode://… --text hello       prints the hash of the envelope
  causeway trace 0xc0ffee…                   tells which message it became, and when";

/// Flags of `dns-tree`.
#[derive(Debug, Args)]
#[command(after_help = DNS_TREE_EXAMPLES)]
pub struct DnsTreeArgs {
    /// Node records (enr:…), and links to other lists (enrtree://…). A bridge logs its own record when it starts, with an
    /// address in it if --nat or --listen-address gave one
    #[arg(value_name = "ENR|ENRTREE")]
    pub records: Vec<String>,
    /// A file of more of them, one a line; empty lines and those that begin with # are skipped. - is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The domain at which the list will be
    #[arg(long, value_name = "NAME")]
    pub domain: String,
    /// The secp256k1 key that signs the list, 64 hex digits; made if there is no such file. The link names the key: who
    /// loses it must give away a new link
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Sequence number, above that of the list it replaces: readers refuse a lower one [default: the present time in seconds]
    #[arg(long, value_name = "N")]
    pub seq: Option<u64>,
    /// Seconds for which resolvers may keep the root, which changes with the list; all else never does and gets a day
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub ttl: u32,
    /// Print one JSON object instead of a zone file
    #[arg(long)]
    pub json: bool,
}

const DNS_TREE_EXAMPLES: &str = "\
Example:
  causeway dns-tree --domain nodes.example.org --key-file list.key --file nodes.txt > nodes.zone
  causeway bridge --dns-discovery-url-v1 enrtree://KEY@nodes.example.org     with the link that the first line names";
