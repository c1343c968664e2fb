//! Flags about this node, whatever it speaks.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;
use devp2p::Nat;

/// Flags about this node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node")]
pub struct BaseArgs {
    /// A file of flags, in TOML, one a line without the dashes: tcp-port = 60001. What stands on the command line or in the
    /// environment wins
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Print such a file with every flag, its help and its default, and end
    #[arg(long)]
    pub print_config: bool,
    /// Where the node key, the database and the lock live [default: ~/.causeway]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's secp256k1 key, 64 hex digits; serves enode and libp2p peer id alike. Without it, the key in the data
    /// directory, made at the first start
    #[arg(long, value_name = "HEX")]
    pub nodekey: Option<String>,
    /// The same in a file
    #[arg(long, alias = "key-file", value_name = "FILE", conflicts_with = "nodekey")]
    pub nodekey_file: Option<PathBuf>,
    /// Address that peers reach us at; HTTP has flags of its own
    #[arg(long, alias = "address", value_name = "IP", default_value = "0.0.0.0")]
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
    #[arg(long, alias = "dns-discovery-name-server", value_name = "IP")]
    pub dns_addrs_name_server: Vec<String>,
}
