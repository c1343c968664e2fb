//! Flags about history for the Waku Network.

use archive::Retention;
use clap::{Args, ValueEnum};

use super::parse_bool;

/// Flags about history for the Waku Network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Keep what is relayed, and answer who asks for it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub store: bool,
    /// The same in the protocol of older clients, store 2.0.0-beta4
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub legacy_store: bool,
    /// The node that is asked for what was missed; without it any peer that keeps messages
    #[arg(long, value_name = "MULTIADDR", default_value = "")]
    pub storenode: String,
    /// What is kept: time:SECONDS, capacity:ROWS, size:NUMBER with MB or GB, or several of them joined by ; or none for everything
    /// [default: time:172800]
    #[arg(long, value_name = "POLICY")]
    pub store_message_retention_policy: Option<Retention>,
    /// Where: sqlite://FILE, or postgres://USER:PASSWORD@HOST/DATABASE, which several nodes may share; sqlite://:memory: or nothing is
    /// forgotten at the end [default: archive.sqlite3 in the data directory]
    #[arg(long, value_name = "URL")]
    pub store_message_db_url: Option<String>,
    /// Connections to PostgreSQL [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100))]
    pub store_max_num_db_connections: Option<u32>,
    /// Ask other nodes for what was relayed while this one was away; in a bridge with --archive those who ask for mail are told of it too
    #[arg(long, alias = "backfill-v2", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub store_resume: bool,
    /// The longest absence that is made up for, in seconds; of a longer one its end
    #[arg(long, value_name = "SECONDS", default_value_t = waku2::store::resume::MAX_ABSENCE.as_secs(), value_parser = clap::value_parser!(u64).range(60..=2_592_000))]
    pub store_resume_max: u64,
    /// On a network with rate-limit proofs, answer also with messages whose proof was not verified here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub store_unproven: bool,
    /// Of what other nodes answer, take only messages with a valid rate-limit proof; auto does on networks that ask for them. nwaku keeps no
    /// proofs, so that nothing is left of its answers
    #[arg(long, value_enum, ignore_case = true, default_value_t = RequireProof::Auto)]
    pub store_client_require_proof: RequireProof,
}

impl StoreArgs {
    /// Is history served, in either protocol?
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.store || self.legacy_store
    }
}

/// Whether messages that others kept need a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RequireProof {
    /// Where the network asks for proofs
    Auto,
    /// Always
    On,
    /// Never
    Off,
}
