//! Flags: what a person types.  Names and defaults are those that operators of nwaku and of its old bridge know.
//!
//! Every flag can also be given in the environment and, for nodes, in a file: see [`sources`].

use std::{ffi::OsString, path::PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

mod archive;
mod base;
mod clients;
mod crossing;
mod filter;
mod foreign;
mod lightpush;
mod mail;
mod network;
mod records;
mod rln;
mod rpc;
pub mod sample;
mod seek;
pub mod sources;
pub mod statusd;
mod store;
mod surface;
mod v1;
mod v2;

pub use archive::ArchiveArgs;
pub use base::BaseArgs;
pub use clients::{
    DemoArgs, DnsTreeArgs, KeyArgs, KeyCommand, ListenArgs, NameArgs, OpenArgs, PlaceArgs, PostArgs, PostAtArgs,
    PowArgs, PowCommand, SealArgs, TraceArgs,
};
pub use crossing::CrossingArgs;
pub use filter::FilterArgs;
pub use foreign::{FOREIGN, Fate, Foreign, ForeignArgs, Form};
pub use lightpush::LightpushArgs;
pub use mail::{DEFAULT_PASSWORD, MailArgs, MailStoreArgs};
pub use network::NetworkArgs;
pub use records::{ExportArgs, HistoryArgs, ImportArgs};
pub use rln::{
    ChainArgs, ExtendArgs, Hidden, KeystoreCommand, KeystorePasswordArgs, MembersArgs, MessageIds, RegisterArgs,
    RlnArgs, RlnCommand, RlnCommandArgs,
};
pub use rpc::{BytesForm, Namespace, RpcArgs};
pub use seek::SeekArgs;
pub use store::{RequireProof, StoreArgs};
pub use surface::{LogArgs, LogFormat, LogLevel, SurfaceArgs};
pub use v1::V1Args;
pub use v2::V2Args;

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
  causeway node --preset=twn --discv5-discovery       a relay of the Waku Network; takes nwaku's flags

Flags can stand in the environment, --tcp-port 60001 as CAUSEWAY_TCP_PORT=60001 or WAKUNODE2_TCP_PORT=60001, and in
a file, which `causeway node --print-config` prints. `causeway node --help-all` shows rare and foreign flags too.";

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a bridge between waku/0 peers and Waku Network peers
    Bridge(Box<BridgeArgs>),
    /// Run a node of the Waku Network, with the flags of nwaku; with --waku-v0 a waku/0 node beside it
    Node(Box<NodeArgs>),
    /// Run a waku/0 node alone: gossip for old clients, and nothing that crosses
    Legacy(Box<LegacyArgs>),
    /// Run a waku/0 node that keeps history for clients that were away, as statusd did
    Mailserver(Box<MailserverArgs>),
    /// Start a bridge and a client on either side of it, send both ways, and check that all arrived exactly once
    Demo(DemoArgs),
    /// Print what a peer passes on: envelopes from an enode, messages from a multiaddr
    Listen(ListenArgs),
    /// Post one text to a peer: an envelope to an enode, a message to a multiaddr
    Post(PostArgs),
    /// Make, show and import keys, and derive them from passwords
    Key(KeyArgs),
    /// Compute, search and measure proofs of work
    Pow(PowArgs),
    /// Tell what became of an envelope or a message: where it is, what it was made into, or why it did not cross
    Trace(TraceArgs),
    /// Ask mail servers for what was sent, and print it
    History(HistoryArgs),
    /// Take the archive of status-go's mail server, the store of nwaku, or an export, into ours
    Import(ImportArgs),
    /// Write the archive as JSON lines: envelopes and messages
    Export(ExportArgs),
    /// Make and sign a list of nodes for DNS (EIP-1459): prints the records to publish, and the enrtree:// link to give away
    DnsTree(DnsTreeArgs),
    /// Become a member of a network with rate-limit proofs (RLN), look into keystores, and ask what has become of memberships
    Rln(RlnCommandArgs),
    /// Become a member, by the name that nwaku has for it: as `causeway rln register`
    #[command(name = "generateRlnKeystore", hide = true)]
    GenerateRlnKeystore(Box<RegisterArgs>),
}

/// What follows the flags of nodes in their help.
const MORE: &str = "--help-all shows rare flags, and those of nwaku that are not served yet.";

/// Flags of `bridge`.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub struct BridgeArgs {
    /// Flags about this node.
    #[command(flatten)]
    pub base: BaseArgs,
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
    /// Flags about rate-limit proofs.
    #[command(flatten)]
    pub rln: RlnArgs,
    /// Flags about filter.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Flags about lightpush.
    #[command(flatten)]
    pub lightpush: LightpushArgs,
    /// Flags about what crosses, and how.
    #[command(flatten)]
    pub bridge: CrossingArgs,
    /// Flags about what is kept.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// Flags about history for the Waku Network.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Flags about JSON-RPC.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// Answer waku/0 clients that ask for history, from the archive: needs --archive
    #[arg(long, value_name = "BOOL", help_heading = "Mailserver", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub mailserver: bool,
    /// Flags about these answers.
    #[command(flatten)]
    pub mail: MailArgs,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
    /// Flags that are taken and not served.
    #[command(flatten)]
    pub foreign: ForeignArgs,
}

/// Flags of `node`.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub struct NodeArgs {
    /// Flags about this node.
    #[command(flatten)]
    pub base: BaseArgs,
    /// Flags about the Waku Network side.
    #[command(flatten)]
    pub v2: V2Args,
    /// Flags about which network that is.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Flags about finding its peers.
    #[command(flatten)]
    pub seek: SeekArgs,
    /// Flags about rate-limit proofs.
    #[command(flatten)]
    pub rln: RlnArgs,
    /// Flags about filter.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Flags about lightpush.
    #[command(flatten)]
    pub lightpush: LightpushArgs,
    /// Flags about history for the Waku Network.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Run a waku/0 node as well; nothing crosses between the two
    #[arg(long, value_name = "BOOL", help_heading = "Waku v0 (devp2p)", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub waku_v0: bool,
    /// Flags about the waku/0 side.
    #[command(flatten)]
    pub v1: V1Args,
    /// Flags about JSON-RPC.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
    /// Flags that are taken and not served.
    #[command(flatten)]
    pub foreign: ForeignArgs,
}

/// Flags of `legacy`.
#[derive(Debug, Args)]
pub struct LegacyArgs {
    /// Flags about this node.
    #[command(flatten)]
    pub base: BaseArgs,
    /// Flags about the waku/0 side.
    #[command(flatten)]
    pub v1: V1Args,
    /// Flags about JSON-RPC.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
}

/// Flags of `mailserver`.
#[derive(Debug, Args)]
pub struct MailserverArgs {
    /// A configuration file of statusd, in JSON; may be repeated, and what stands in a later one wins. What stands on the command line,
    /// in the environment or in --config-file wins over all of them
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "Node")]
    pub statusd_config: Vec<PathBuf>,
    /// Flags about this node.
    #[command(flatten)]
    pub base: BaseArgs,
    /// Flags about the waku/0 side.
    #[command(flatten)]
    pub v1: V1Args,
    /// Flags about answers.
    #[command(flatten)]
    pub mail: MailArgs,
    /// Flags about what is kept.
    #[command(flatten)]
    pub store: MailStoreArgs,
    /// Flags about JSON-RPC.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// Flags about logs and HTTP.
    #[command(flatten)]
    pub surface: SurfaceArgs,
}

impl Cli {
    /// Reads a command line, the environment, and the file that either names.
    ///
    /// # Errors
    /// What clap says: a wrong flag, a value out of range, or a request for help or version. What [`sources`] says of the
    /// environment and the file.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Self::read_with(args, |name| std::env::var_os(name))
    }

    /// Reads a command line, and the file that it names, alone.
    ///
    /// # Errors
    /// As [`Cli::read`].
    pub fn without_environment(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        Self::read_with(args, |_| None)
    }

    /// The same with an environment of the caller's.
    ///
    /// # Errors
    /// As [`Cli::read`].
    pub fn read_with(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let line = args.into_iter().map(Into::into).collect();
        let (command, line) = sources::gather(command(), line, &var)?;
        Self::from_arg_matches(&command.try_get_matches_from(line)?)
    }
}

/// All flags. Where a sub-command has another default than others it is said here.
#[must_use]
pub fn command() -> clap::Command {
    // Deployed: statusd, which keeps what its clients mine lowest too.
    Cli::command().mut_subcommand("mailserver", |sub| sub.mut_arg("waku_v1_pow", |arg| arg.default_value("0.000002")))
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
    use devp2p::Nat;

    use super::*;

    fn bridge(args: &[&str]) -> Result<BridgeArgs, clap::Error> {
        let args = ["causeway", "bridge"].iter().chain(args);
        match Cli::without_environment(args)?.command {
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
        assert_eq!((b.v1.read_budget, b.v1.devp2p_inbound_throttle, b.base.nat), (64 << 20, 30, Nat::None));
        assert_eq!(b.base.listen_address.to_string(), "0.0.0.0");
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
        assert_eq!(b.base.nat.to_string(), "extip:1.2.3.4");
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
    fn times_are_fudged_on_the_waku_network_and_where_asked_for() {
        let fudges = |flags: &[&str]| {
            let line = ["causeway", "post", "x"].iter().chain(flags);
            match Cli::without_environment(line).unwrap().command {
                Command::Post(args) => args.fudges(),
                other => panic!("{other:?}"),
            }
        };
        assert!(!fudges(&[]) && fudges(&["--cluster-id=1"]) && fudges(&["--timestamp-fudge"]));
        assert!(!fudges(&["--cluster-id=1", "--timestamp-fudge=false"]));
    }

    #[test]
    fn a_wrong_flag_says_which_is_meant() {
        let error = bridge(&["--staticnode-v3=x"]).unwrap_err().to_string();
        assert!(error.contains("similar argument exists: '--staticnode-v"), "{error}");
    }

    #[test]
    fn help_speaks_of_every_sub_command() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["bridge", "node", "legacy", "demo", "listen", "post", "dns-tree", "CAUSEWAY_TCP_PORT"] {
            assert!(help.contains(word), "{word} is missing in:\n{help}");
        }
    }
}
