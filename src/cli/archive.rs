//! Flags about what is kept.

use archive::Retention;
use clap::Args;

use super::parse_bool;

/// Flags about what is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Archive")]
pub struct ArchiveArgs {
    /// Keep an archive of what crosses, and of what could not: late, too large, or with nobody on the other side. Both late policies
    /// then begin as `archive`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub archive: bool,
    /// Where: sqlite://FILE, or postgres://USER:PASSWORD@HOST/DATABASE, which several bridges and nodes may share [default:
    /// archive.sqlite3 in the data directory]
    #[arg(long, value_name = "URL")]
    pub archive_url: Option<String>,
    /// What is kept: time:SECONDS, capacity:ROWS, size:NUMBER with MB or GB, or several of them joined by ; or none for everything
    #[arg(long, value_name = "POLICY", default_value_t = Self::RETENTION)]
    pub archive_retention_policy: Retention,
    /// Connections to PostgreSQL
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub archive_max_connections: u32,
}

impl ArchiveArgs {
    /// What is kept unless somebody says otherwise: two days, and 10 GiB.
    pub const RETENTION: Retention =
        Retention { max_age_secs: Some(172_800), max_rows: None, max_bytes: Some(10 << 30) };
}
