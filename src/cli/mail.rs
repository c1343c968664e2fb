//! Flags about history for waku/0 clients.

use clap::Args;
use waku0::limits::RateLimit;

/// Flags about answers to requests for history.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mailserver")]
pub struct MailArgs {
    /// The password that requests are encrypted with, unless they are for the node's key; empty for none. It shares a key, and
    /// keeps nobody out
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_PASSWORD)]
    pub mail_password: String,
    /// Seconds that a peer has to wait between two requests; 0 for none, and then 20 requests a second are answered
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub mail_rate_limit: u64,
    /// Bytes of answers in a second, to a peer or an address; may be repeated. Who has had them for five seconds is refused. `none`
    /// for no limits [default: peer:16MiB/s ip:64MiB/s]
    #[arg(long, value_name = "LIMIT")]
    pub mail_byte_limit: Vec<RateLimit>,
    /// Which envelopes are sent first: the oldest, as statusd does with LevelDB, or the newest, as it does with PostgreSQL. The same
    /// on all servers of one archive, or a cursor of one leads nowhere at another
    #[arg(long, value_name = "ORDER", value_parser = ["oldest-first", "newest-first"], default_value = "oldest-first")]
    pub mail_order: String,
    /// Lowest proof of work of a request
    #[arg(long, value_name = "POW", default_value_t = 0.0)]
    pub mail_pow: f64,
}

/// What every deployed client and server knows.  Deployed: statusd, `params/config.go`.
pub const DEFAULT_PASSWORD: &str = "status-offline-inbox";

/// Flags about what a mailserver keeps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Archive")]
pub struct MailStoreArgs {
    /// Where envelopes are kept: sqlite://FILE, or postgres://USER:PASSWORD@HOST/DATABASE, which several nodes may share [default:
    /// archive.sqlite3 in the data directory]
    #[arg(long, value_name = "URL")]
    pub archive_url: Option<String>,
    /// Days for which envelopes are kept; 0 for ever
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=36_500))]
    pub mail_retention: u64,
    /// Connections to PostgreSQL
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub archive_max_connections: u32,
}
