//! Flags about connections of the Waku Network side.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};

use waku2::service::rate::RateLimit;

use super::parse_bool;

/// Flags about the Waku Network side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Waku Network (libp2p)")]
pub struct V2Args {
    /// Relay messages; false leaves the waku/0 node of --waku-v0 alone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub relay: bool,
    /// libp2p TCP port; 0 takes any free one
    #[arg(long, alias = "libp2p-tcp-port", value_name = "PORT", default_value_t = 60000)]
    pub tcp_port: u16,
    /// Take WebSocket connections: browsers can make no others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub websocket_support: bool,
    /// WebSocket port; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub websocket_port: u16,
    /// Take secure WebSocket connections (wss) on the WebSocket port, and plain ones no more: pages served over HTTPS make no
    /// others. Needs the two files below; a renewed certificate is taken at the next start
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub websocket_secure_support: bool,
    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE", value_parser = maybe_path())]
    pub websocket_secure_key_path: Option<PathBuf>,
    /// The certificate and those that signed it, PEM
    #[arg(long, value_name = "FILE", value_parser = maybe_path())]
    pub websocket_secure_cert_path: Option<PathBuf>,
    /// An address that Waku Network peers are told beside those listened on, for what a router or a proxy maps elsewhere; may
    /// be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub ext_multiaddr: Vec<String>,
    /// Tell Waku Network peers the addresses of --ext-multiaddr and no others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
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
    /// How much is answered: VOLUME/PERIOD with h, m, s or ms, of one service with its name before it, as in px:10/1m; may be
    /// repeated. Services are px (peer exchange), lightpush, filter, store, storev2 and storev3; 0/1s is no limit. One peer has three quarters
    /// of it, over some periods; of filter, all of it [default: px:100/10s, and 10 a minute of one peer; filter:30/1m; others none]
    #[arg(long, value_name = "LIMIT")]
    pub rate_limit: Vec<RateLimit>,
    /// A Waku Network peer to stay connected to; may be repeated
    #[arg(long, visible_alias = "staticnode", value_name = "MULTIADDR")]
    pub staticnode_v2: Vec<String>,
    /// Name that peers see
    #[arg(long, value_name = "TEXT", default_value_t = crate::agent())]
    pub agent_string: String,
}

/// A path, or an empty text for none.
fn maybe_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
