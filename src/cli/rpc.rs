//! Flags about JSON-RPC.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use super::parse_bool;
use crate::http::origins::Pattern;

/// Flags about JSON-RPC.
#[derive(Debug, Args)]
#[command(next_help_heading = "JSON-RPC")]
pub struct RpcArgs {
    /// Serve JSON-RPC of the waku/0 side over HTTP. Whoever reaches it posts in this node's name, and reads the keys that it keeps
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub rpc: bool,
    /// Its address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub rpc_address: IpAddr,
    /// Its port; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8545)]
    pub rpc_port: u16,
    /// Serve it over WebSocket as well, with subscriptions
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub ws: bool,
    /// Address of WebSocket
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub ws_address: IpAddr,
    /// Port of WebSocket; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8546)]
    pub ws_port: u16,
    /// Serve all of it on a Unix socket that the owner alone can open
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub ipc: bool,
    /// Where that is, from the data directory on [default: geth.ipc]
    #[arg(long, value_name = "FILE")]
    pub ipc_path: Option<PathBuf>,
    /// What is served over HTTP and WebSocket; the Unix socket has everything
    #[arg(
        long,
        value_enum,
        value_name = "NAMESPACE",
        value_delimiter = ',',
        default_value = "waku,shh,wakuext,shhext,net,web3"
    )]
    pub rpc_api: Vec<Namespace>,
    /// How bytes are written in answers: hex, or base64 as clients of status-go's waku_ methods expect. Both are read
    #[arg(long, value_enum, default_value_t = BytesForm::Hex)]
    pub rpc_bytes: BytesForm,
    /// Names by which HTTP and WebSocket may be asked for, beside addresses; * for any. May be repeated
    #[arg(long, alias = "rpcvhosts", value_name = "HOST", value_delimiter = ',', default_value = "localhost")]
    pub rpc_allow_host: Vec<String>,
    /// Pages in a browser that may use it: as for --rest-allow-origin, but without one, none may
    #[arg(long, alias = "rpccorsdomain", value_name = "ORIGIN")]
    pub rpc_allow_origin: Vec<Pattern>,
}

/// A part of JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Namespace {
    /// Keys, filters and posts, under the name of today
    Waku,
    /// The same under the name of Whisper
    Shh,
    /// What Status added
    Wakuext,
    /// The same under the name of Whisper
    Shhext,
    /// Peers of this node
    Admin,
    /// How many peers
    Net,
    /// The name of this program
    Web3,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BytesForm {
    /// 0x and hex digits
    Hex,
    /// Base64 with padding
    Base64,
}
