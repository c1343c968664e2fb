//! Flags: what a person types.  Names and defaults are those that operators of nwaku and of its old bridge know.
//!
//! Every flag can also be given in the environment, as `CAUSEWAY_` and the flag in capitals (`--tcp-port` is
//! `CAUSEWAY_TCP_PORT`); `WAKUNODE2_` works as well, where the first is not set. A flag on the command line wins.

use std::{ffi::OsString, net::IpAddr, num::NonZeroUsize, path::PathBuf};

use bridge::policy::{Ephemeral, LateV1, LateV2, Switch, UnknownVersion, VersionZero, Ways};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use devp2p::Nat;
use waku0::{limits::RateLimit, whitelist::Exempt};

mod network;
mod seek;

pub use network::NetworkArgs;
pub use seek::SeekArgs;

/// Prefixes under which a flag is looked up in the environment, the first that is set wins.
const ENV_PREFIXES: [&str; 2] = ["CAUSEWAY_", "WAKUNODE2_"];

/// Joins Waku v0 (devp2p) to the Waku Network (libp2p): every envelope becomes a message, every message an envelope, once.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  causeway demo                        see envelopes and messages cross, with nothing else installed
  causeway bridge                      a bridge of your own open network, keys kept in ~/.causeway
  causeway bridge --staticnode-v1 enode://KEY@HOST:30303 --staticnode-v2 /ip4/HOST/tcp/60000/p2p/ID

Flags can stand in the environment: --tcp-port 60001 is CAUSEWAY_TCP_PORT=60001.";

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a bridge between waku/0 peers and Waku Network peers
    Bridge(Box<BridgeArgs>),
    /// Run a waku/0 node alone: gossip for old clients, and nothing that crosses
    Legacy(Box<LegacyArgs>),
    /// Start a bridge and a client on either side of it, send both ways, and check that all arrived exactly once
    Demo(DemoArgs),
    /// Print what a peer passes on: envelopes from an enode, messages from a multiaddr
    Listen(ListenArgs),
    /// Post one text to a peer: an envelope to an enode, a message to a multiaddr
    Post(PostArgs),
    /// Make and sign a list of nodes for DNS (EIP-1459): prints the records to publish, and the enrtree:// link to give away
    DnsTree(DnsTreeArgs),
}

/// Flags of `bridge`.
#[derive(Debug, Args)]
pub struct BridgeArgs {
    /// Flags about this node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Flags about the waku/0 side.
    #[command(flatten)]
    pub v1: V1Args,
    /// Flags about the Waku Network side.
    #[command(flatten)]
    pub v2: V2Args,
    /// Flags about which network that is.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Flags about finding its peers.
    #[command(flatten)]
    pub seek: SeekArgs,
    /// Flags about what crosses, and how.
    #[command(flatten)]
    pub bridge: CrossingArgs,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
}

/// Flags of `legacy`.
#[derive(Debug, Args)]
pub struct LegacyArgs {
    /// Flags about this node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Flags about the waku/0 side.
    #[command(flatten)]
    pub v1: V1Args,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
}

/// Flags about this node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeArgs {
    /// Where the node key, the database and the lock live [default: ~/.causeway]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's secp256k1 key, 64 hex digits; serves enode and libp2p peer id alike. Without it, the key in the data
    /// directory, made at the first start
    #[arg(long, value_name = "HEX", hide_env_values = true)]
    pub nodekey: Option<String>,
    /// Address that peers reach us at; HTTP has flags of its own
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub listen_address: IpAddr,
    /// Added to every port that is not 0, to run several nodes on one machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ports_shift: u16,
    /// How peers of both networks are told our address: none (the one listened on) or extip:IP. any, upnp and pmp are
    /// understood, but no port is mapped: open it on the router yourself
    #[arg(long, value_name = "HOW", default_value_t = Nat::None)]
    pub nat: Nat,
    /// A name server: an IP address, or one with a port; may be repeated. It is asked for lists of nodes [default: 1.1.1.1
    /// 1.0.0.1], and for the addresses of Waku Network peers given by name [default: the system's]
    #[arg(long, value_name = "IP")]
    pub dns_addrs_name_server: Vec<String>,
}

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
    /// Of these, slots that peers who dial us never take; as many peers are sought among nodes that discovery finds. At most a
    /// third of all slots
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

/// Flags about the Waku Network side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Waku Network (libp2p)")]
pub struct V2Args {
    /// libp2p TCP port; 0 takes any free one
    #[arg(long, alias = "libp2p-tcp-port", value_name = "PORT", default_value_t = 60000)]
    pub tcp_port: u16,
    /// Take WebSocket connections: browsers can make no others
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub websocket_support: bool,
    /// WebSocket port; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub websocket_port: u16,
    /// Take secure WebSocket connections (wss) on the WebSocket port, and plain ones no more: pages served over HTTPS make no
    /// others. Needs the two files below; a renewed certificate is taken at the next start
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub websocket_secure_support: bool,
    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub websocket_secure_key_path: Option<PathBuf>,
    /// The certificate and those that signed it, PEM
    #[arg(long, value_name = "FILE")]
    pub websocket_secure_cert_path: Option<PathBuf>,
    /// An address that Waku Network peers are told beside those listened on, for what a router or a proxy maps elsewhere; may
    /// be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub ext_multiaddr: Vec<String>,
    /// Tell Waku Network peers the addresses of --ext-multiaddr and no others
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub ext_multiaddr_only: bool,
    /// A name with an A record that Waku Network peers are told in place of our address
    #[arg(long, value_name = "NAME")]
    pub dns4_domain_name: Option<String>,
    /// Most Waku Network connections at once; two thirds of them may be opened by peers
    #[arg(long, value_name = "N", default_value_t = waku2::limits::MAX_CONNECTIONS, value_parser = clap::value_parser!(u32).range(i64::from(waku2::limits::MIN_CONNECTIONS)..))]
    pub max_connections: u32,
    /// Most Waku Network peers that may connect to us from one address (of IPv6, one /64): with a further one the oldest is
    /// left. 0 for no limit; loopback and private ranges are not counted
    #[arg(long, value_name = "N", default_value_t = waku2::limits::MAX_PER_ADDRESS)]
    pub ip_colocation_limit: u32,
    /// A Waku Network peer to stay connected to; may be repeated
    #[arg(long, alias = "staticnode", value_name = "MULTIADDR")]
    pub staticnode_v2: Vec<String>,
    /// Name that peers see
    #[arg(long, value_name = "TEXT", default_value_t = crate::agent())]
    pub agent_string: String,
}

/// Flags about what crosses, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bridge")]
pub struct CrossingArgs {
    /// Pubsub topic to bridge with; repeated: the first takes what comes from waku/0, all feed it. They are relayed
    /// whatever --shard says [default: the shard on which /waku/1/… topics land, /waku/2/rs/0/0 in the default network; 64 and 32 of
    /// --preset status]
    #[arg(long, value_name = "TOPIC")]
    pub bridge_pubsub_topic: Vec<String>,
    /// Which way to bridge
    #[arg(long, value_parser = one_of(Ways::ALL, Ways::as_str), default_value_t = Ways::Both)]
    pub bridge_direction: Ways,
    /// Time to live of envelopes made from messages, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub bridge_ttl: u32,
    /// Proof of work mined for envelopes of up to 50,000 bytes; the same on all bridges of a network
    #[arg(long, value_name = "POW", default_value_t = 0.002)]
    pub pow_target: f64,
    /// Proof of work mined for larger envelopes; the same on all bridges of a network
    #[arg(long, value_name = "POW", default_value_t = 0.000_002)]
    pub pow_target_large: f64,
    /// Threads that mine [default: half of the cores]
    #[arg(long, value_name = "N")]
    pub pow_threads: Option<NonZeroUsize>,
    /// What happens to an envelope sent more than 20 s ago
    #[arg(long, value_parser = one_of(LateV1::ALL, LateV1::as_str), default_value_t = LateV1::Drop)]
    pub v1_late_policy: LateV1,
    /// What happens to a message older than the time to live
    #[arg(long, value_parser = one_of(LateV2::ALL, LateV2::as_str), default_value_t = LateV2::Drop)]
    pub v2_late_policy: LateV2,
    /// What happens to messages of version 0: put into an unencrypted payload frame, copied as they are, or dropped
    #[arg(long, value_parser = one_of(VersionZero::ALL, VersionZero::as_str), default_value_t = VersionZero::Wrap)]
    pub v0_policy: VersionZero,
    /// What happens to messages of version 2 and above
    #[arg(long, value_parser = one_of(UnknownVersion::ALL, UnknownVersion::as_str), default_value_t = UnknownVersion::Drop)]
    pub bridge_unknown_version: UnknownVersion,
    /// What happens to ephemeral messages: bridged live, or dropped
    #[arg(long, value_parser = one_of(Ephemeral::ALL, Ephemeral::as_str), default_value_t = Ephemeral::Live)]
    pub ephemeral: Ephemeral,
    /// Mark what we convert, so that it can be turned back into the very same envelope or message; the same on all bridges
    /// of a network
    #[arg(long, value_parser = one_of(Switch::ALL, Switch::as_str), default_value_t = Switch::On)]
    pub origin_tags: Switch,
    /// Publish messages that come back from waku/0, restored bit for bit, if they were not heard here within 30 s: joins two
    /// v2 networks that meet only in a waku/0 network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub restore_tagged: bool,
}

/// Flags about logs and HTTP.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs and HTTP")]
pub struct SurfaceArgs {
    /// Address of health and metrics over HTTP
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub rest_address: IpAddr,
    /// Port of health and metrics over HTTP; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8645)]
    pub rest_port: u16,
    /// How logs read.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// How logs read.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogArgs {
    /// Least severity that is logged
    #[arg(long, value_enum, ignore_case = true, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// Logs for people or for programs
    #[arg(long, value_enum, ignore_case = true, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

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
    /// Time to live of the envelope, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub ttl: u32,
    /// Seconds to wait until the peer is reached
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub timeout: u64,
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

/// Least severity that is logged, by nwaku's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything
    Trace,
    /// What developers want
    Debug,
    /// What operators want
    Info,
    /// The same as info here
    Notice,
    /// Only warnings and errors
    Warn,
    /// Only errors
    Error,
    /// The same as error here
    Fatal,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

impl Cli {
    /// Reads a command line and the environment.
    ///
    /// # Errors
    /// What clap says: a wrong flag, a value out of range, or a request for help or version.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Self::read_with(args, |name| std::env::var_os(name))
    }

    /// Reads a command line alone.
    ///
    /// # Errors
    /// As [`Cli::read`].
    pub fn without_environment(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }

    fn read_with(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        for name in names {
            command = command.mut_subcommand(name, |sub| with_environment(sub, &var));
        }
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// Gives every long flag the name under which it is looked up in the environment.
fn with_environment(command: clap::Command, var: &impl Fn(&str) -> Option<OsString>) -> clap::Command {
    command.mut_args(|arg| {
        let Some(long) = arg.get_long().filter(|l| !matches!(*l, "help" | "version")) else { return arg };
        let flag = long.to_uppercase().replace('-', "_");
        let names = ENV_PREFIXES.map(|prefix| format!("{prefix}{flag}"));
        let found = names.iter().find(|name| var(name).is_some()).unwrap_or(&names[0]).clone();
        arg.env(clap::builder::OsStr::from(found)).hide_env(true)
    })
}

/// A flag that takes one of a policy's choices, by the policy's own texts.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    text: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(move |choice| text(*choice)))
        .try_map(move |given| all.iter().copied().find(|choice| text(*choice) == given).ok_or("no such choice"))
}

/// A number of bytes, with a unit or without.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("{other:?} is no unit: give bytes, KiB, MiB or GiB")),
    };
    let number: usize = digits.parse().map_err(|_| "give a number, 64MiB for example")?;
    number.checked_mul(unit).ok_or_else(|| "that is too many bytes".into())
}

/// `true` and `false` in any case, because compose files write `True`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("give true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(args: &[&str]) -> Result<BridgeArgs, clap::Error> {
        let args = ["causeway", "bridge"].iter().chain(args);
        match Cli::read(args)?.command {
            Command::Bridge(b) => Ok(*b),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_the_defaults_that_operators_know() {
        let b = bridge(&[]).unwrap();
        assert_eq!((&b.v1.devp2p_tcp_port[..], b.v2.tcp_port, b.surface.rest_port), (&[30303][..], 60000, 8645));
        assert_eq!((b.v1.read_budget, b.v1.devp2p_inbound_throttle, b.node.nat), (64 << 20, 30, Nat::None));
        assert_eq!(b.node.listen_address.to_string(), "0.0.0.0");
        assert!(b.surface.rest_address.is_loopback());
        assert_eq!((b.v1.waku_v1_pow, b.bridge.bridge_ttl, b.network.cluster_id), (0.002, 15, None));
    }

    #[test]
    fn connections_have_the_defaults_that_operators_know() {
        let v2 = bridge(&[]).unwrap().v2;
        assert_eq!((v2.websocket_support, v2.websocket_port, v2.websocket_secure_support), (true, 8000, false));
        assert_eq!((v2.max_connections, v2.ip_colocation_limit, v2.ext_multiaddr_only), (50, 5, false));
        assert!(bridge(&["--max-connections=11"]).unwrap_err().to_string().contains("--max-connections"));
        assert!(!bridge(&["--websocket-support=False"]).unwrap().v2.websocket_support);
    }

    #[test]
    fn names_of_the_old_bridge_still_work() {
        let b = bridge(&["--libp2p-tcp-port=9000", "--staticnode=/ip4/127.0.0.1/tcp/1"]).unwrap();
        assert_eq!((b.v2.tcp_port, b.v2.staticnode_v2.len()), (9000, 1));
    }

    #[test]
    fn ports_repeat_and_sizes_have_units() {
        let b = bridge(&["--devp2p-tcp-port=1,2", "--devp2p-tcp-port=3", "--read-budget=1GiB", "--nat=extip:1.2.3.4"])
            .unwrap();
        assert_eq!((&b.v1.devp2p_tcp_port[..], b.v1.read_budget), (&[1, 2, 3][..], 1 << 30));
        assert_eq!(b.node.nat.to_string(), "extip:1.2.3.4");
        assert_eq!((parse_bytes("7"), parse_bytes("7KiB")), (Ok(7), Ok(7 << 10)));
        for bad in ["", "MiB", "1MB", "-1", "1.5MiB", "99999999999GiB", "1 MiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert!(bridge(&["--nat=stun"]).unwrap_err().to_string().contains("extip:<address>"));
    }

    #[test]
    fn a_bare_switch_and_a_capitalised_word_are_true() {
        assert!(bridge(&["--restore-tagged"]).unwrap().bridge.restore_tagged);
        assert!(bridge(&["--restore-tagged=True"]).unwrap().bridge.restore_tagged);
        assert!(!bridge(&["--restore-tagged=false"]).unwrap().bridge.restore_tagged);
    }

    #[test]
    fn the_environment_fills_in_and_the_command_line_wins() {
        // The names are looked up by clap itself, so this test takes a variable that every test run has.
        let seen = std::cell::RefCell::new(Vec::new());
        let read = |args: &[&str]| {
            Cli::read_with(args.to_vec(), |name| {
                seen.borrow_mut().push(name.to_owned());
                None
            })
        };
        read(&["causeway", "bridge"]).unwrap();
        let seen = seen.borrow();
        for name in ["CAUSEWAY_TCP_PORT", "WAKUNODE2_TCP_PORT", "CAUSEWAY_STATICNODE_V1", "CAUSEWAY_REST_PORT"] {
            assert!(seen.iter().any(|s| s == name), "{name} is not looked up");
        }
    }

    #[test]
    fn a_wrong_flag_says_which_is_meant() {
        let error = bridge(&["--staticnode-v3=x"]).unwrap_err().to_string();
        assert!(error.contains("similar argument exists: '--staticnode-v"), "{error}");
    }

    #[test]
    fn help_speaks_of_every_sub_command() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["bridge", "legacy", "demo", "listen", "post", "dns-tree", "CAUSEWAY_TCP_PORT"] {
            assert!(help.contains(word), "{word} is missing in:\n{help}");
        }
    }
}
