//! Flags of the sub-commands that are no nodes.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand};
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

/// Peers that one `listen` names at most.
const MAX_PEERS: usize = 16;

/// Flags of `listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Enode URLs (waku/0), or multiaddrs that end in /p2p/ID (Waku Network), as a bridge prints them when it starts. What several pass on is
    /// shown once
    #[arg(value_name = "ENODE|MULTIADDR", required = true, num_args = 1..=MAX_PEERS)]
    pub peer: Vec<String>,
    /// Begin when so many of them are connected
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MAX_PEERS as i64))]
    pub peers: u8,
    /// Where on the Waku Network they are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Show only this topic: 8 hex digits, or a name, of which the topic is then made
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// What is opened, and with what.
    #[command(flatten)]
    pub open: OpenArgs,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Print what was said and nothing else: no columns, and no line ends
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// End after so many [default: never]; it is a failure if --timeout is over before
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after so many seconds of listening [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Fail if nothing was shown when --timeout is over
    #[arg(long, requires = "timeout")]
    pub expect: bool,
}

/// With what payloads are opened, and which of them are wanted. Without a key all is shown as it came; with one, only what it opens.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Open what was encrypted with the key of this password; in a public chat of Status, its name
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["sym_key", "private_key_file"])]
    pub sym_password: Option<String>,
    /// Open what was encrypted with this key, 64 hex digits. On a command line others can read it; it can stand in
    /// CAUSEWAY_SYM_KEY
    #[arg(long, value_name = "HEX", conflicts_with = "private_key_file")]
    pub sym_key: Option<String>,
    /// Open what was encrypted for the owner of the key in this file, 64 hex digits
    #[arg(long, value_name = "FILE")]
    pub private_key_file: Option<PathBuf>,
    /// Show only what the owner of this public key has signed, 128 hex digits, with 04 before them or without
    #[arg(long, value_name = "HEX")]
    pub from: Option<String>,
}

/// For whom a payload is encrypted, and by whom it is signed. Without a key it is sent as it is.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// Encrypt with the key of this password; in a public chat of Status, its name
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["sym_key", "pub_key"])]
    pub sym_password: Option<String>,
    /// Encrypt with this key, 64 hex digits. On a command line others can read it; it can stand in CAUSEWAY_SYM_KEY
    #[arg(long, value_name = "HEX", conflicts_with = "pub_key")]
    pub sym_key: Option<String>,
    /// Encrypt for the owner of this public key, 128 hex digits, with 04 before them or without
    #[arg(long, value_name = "HEX")]
    pub pub_key: Option<String>,
    /// Sign with the key in this file, 64 hex digits; what is signed is encrypted as well
    #[arg(long, value_name = "FILE")]
    pub sign: Option<PathBuf>,
}

/// Flags of `post`.
#[derive(Debug, Args)]
pub struct PostArgs {
    /// Where to post.
    #[command(flatten)]
    pub at: PostAtArgs,
    /// Where on the Waku Network that is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Topic: 8 hex digits, or a name, of which the topic is then made
    #[arg(long, value_name = "TOPIC", default_value = "0xcd423760")]
    pub topic: String,
    /// The text; without it, standard input. Without a key to encrypt it with everybody can read it
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// For whom it is encrypted, and who signs it.
    #[command(flatten)]
    pub seal: SealArgs,
    /// Proof of work of the envelope [default: 0.002, and 0.000002 above 50,000 bytes, as Status clients do]
    #[arg(long, value_name = "WORK")]
    pub pow: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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

/// Where `post` posts: at a peer, or by way of a node.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PostAtArgs {
    /// Where to post: an enode URL (waku/0) or a multiaddr that ends in /p2p/ID (Waku Network), as a bridge prints them when it starts
    #[arg(value_name = "ENODE|MULTIADDR")]
    pub peer: Option<String>,
    /// Post by way of a running node instead: rpc:http://HOST:PORT is its JSON-RPC, which seals, mines, and is given the keys for
    /// that; rest:http://HOST:PORT its REST, or that of a nwaku, with relay or lightpush
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
}

impl PostArgs {
    /// Is the time of a message moved? On the Waku Network it is unless told otherwise: 64/WAKU2-NETWORK allows it, so that times tell
    /// less.
    #[must_use]
    pub fn fudges(&self) -> bool {
        self.timestamp_fudge.unwrap_or(self.place.cluster_id == Preset::TWN.cluster.0)
    }
}

/// Where on the Waku Network the peer is that `listen` and `post` talk to.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Cluster of the Waku Network peer
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cluster_id: u16,
    /// Pubsub topic on the Waku Network [default: /waku/2/rs/0/0; with `post --to=rest:` the one that the node chooses]
    #[arg(long, value_name = "TOPIC")]
    pub pubsub_topic: Option<String>,
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

/// Flags of `key`.
#[derive(Debug, Args)]
#[command(after_help = KEY_EXAMPLES)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

const KEY_EXAMPLES: &str = "\
Examples:
  causeway key new --file me.key                      makes a key, and prints its names
  causeway key show --ip 203.0.113.7                  the names of the node key in ~/.causeway
  causeway key import old/nodekey --data-dir ~/new    takes the identity of another node
  causeway key derive-password status                 the key of the public chat #status";

/// What `key` does.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, and print its names
    New {
        /// Write the key there, and keep it off the terminal. A file that is there is left alone
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where it will be reached.
        #[command(flatten)]
        names: NameArgs,
    },
    /// Print the names of a key: public key, enode, node record, libp2p peer id, address of Ethereum
    Show {
        /// The key's file [default: the node key in the data directory]
        #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
        file: Option<PathBuf>,
        /// Where the node key lives [default: ~/.causeway]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Where it is reached.
        #[command(flatten)]
        names: NameArgs,
    },
    /// Make the key of a file the node key of a data directory that has none
    Import {
        /// The key, 64 hex digits; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where the node key is to live [default: ~/.causeway]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Where it will be reached.
        #[command(flatten)]
        names: NameArgs,
    },
    /// Print the symmetric key of a password, as Status derives it
    DerivePassword {
        /// The password; without it, a line of standard input
        #[arg(value_name = "PASSWORD")]
        password: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Where a node is reached, for the names that say so.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its address, for enode and node record
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub ip: IpAddr,
    /// Its devp2p port
    #[arg(long, value_name = "PORT", default_value_t = 30303)]
    pub port: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `pow`.
#[derive(Debug, Args)]
pub struct PowArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PowCommand,
}

/// What `pow` does.
#[derive(Debug, Subcommand)]
pub enum PowCommand {
    /// Print the proof of work of an envelope, and what it is reckoned from
    Compute {
        /// The envelope's RLP in hex; without it, standard input
        #[arg(value_name = "ENVELOPE")]
        envelope: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Search another nonce for an envelope, and print it mined
    Mine {
        /// The envelope's RLP in hex; without it, standard input
        #[arg(value_name = "ENVELOPE")]
        envelope: Option<String>,
        /// The work that it shall have
        #[arg(long, value_name = "WORK", default_value_t = 0.002)]
        pow: f64,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Measure this machine, one core of it: nonces a second, and how long usual targets take
    Bench {
        /// Seconds for each figure
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
        seconds: f64,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}
