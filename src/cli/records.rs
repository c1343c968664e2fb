//! Flags of the sub-commands that carry history: `import`, `export` and `history`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// What to import: the data directory of status-go (or its LevelDB), the postgres:// URL of its PostgreSQL, the SQLite file
    /// of nwaku's store, or a file of JSON lines as `export` writes them; - is JSON lines on standard input. None of them is changed
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The data directory of the node whose archive it becomes [default: ~/.causeway]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The archive: sqlite://FILE, or postgres://USER:PASSWORD@HOST/DATABASE [default: archive.sqlite3 in the data directory]
    #[arg(long, value_name = "URL")]
    pub archive_url: Option<String>,
    /// Read and check everything, compare it with the archive, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take messages of nwaku's store that are kept under a hash which is not theirs, under the one that is: those from before its
    /// version 8 have a random one
    #[arg(long)]
    pub rehash: bool,
    /// Print what came of it as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Say nothing while it goes on
    #[arg(long)]
    pub quiet: bool,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  causeway import ~/.statusd --dry-run                what would come of it
  causeway import ~/.statusd                          into archive.sqlite3 in ~/.causeway
  causeway import store.sqlite3 --archive-url=postgres://USER:PASSWORD@HOST/DATABASE
  causeway export --from 24h | ssh other causeway import -

What is here already is known again: an import that was stopped is begun anew. A node deletes what is older than its
--archive-retention-policy says, imported or not: give it one that keeps what you import. The exit code is 1 if a part
of the source can't be read, or it ended early; what was read before is kept.";

/// Flags of `export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// A file to write, which must not be there yet [default: standard output]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The data directory of the node whose archive it is [default: ~/.causeway]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The archive: sqlite://FILE, or postgres://USER:PASSWORD@HOST/DATABASE [default: archive.sqlite3 in the data directory]
    #[arg(long, value_name = "URL")]
    pub archive_url: Option<String>,
    /// Sent at this time or later: 24h ago (s, m, h, d, w), in unix seconds, or 2020-07-09T12:00:00Z [default: from the beginning]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Sent at this time or earlier [default: to the end]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Only of this topic, 8 hex digits, or a content topic that begins with /; may be repeated
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Print what came of it as one JSON object on standard error
    #[arg(long)]
    pub json: bool,
    /// Say nothing while it goes on
    #[arg(long)]
    pub quiet: bool,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  causeway export history.jsonl                            everything, one row a line, the oldest first
  causeway export --from 7d --topic 0xcd423760 | gzip > week.jsonl.gz
  causeway import history.jsonl --archive-url=sqlite://other.sqlite3";

/// Flags of `history`.
#[derive(Debug, Args)]
#[command(after_help = HISTORY_EXAMPLES)]
pub struct HistoryArgs {
    /// A mail server, enode://KEY:PASSWORD@HOST:PORT, as its operator gives it away, or a store node of the Waku Network,
    /// /ip4/HOST/tcp/PORT/p2p/ID; may be repeated: when one fails the next is asked for what is left
    #[arg(long, value_name = "SERVER", required = true)]
    pub server: Vec<String>,
    /// Sent at this time or later: 24h ago (s, m, h, d, w), in unix seconds, or 2020-07-09T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub from: String,
    /// Sent at this time or earlier
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub to: String,
    /// Only of this topic: 8 hex digits, or a name of which Status makes a topic; of a store node also a content topic, which begins
    /// with /; may be repeated
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// The pubsub topic that a store node is asked for
    #[arg(long, value_name = "TOPIC", default_value = "/waku/2/rs/0/0")]
    pub pubsub_topic: String,
    /// End after so many
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// Go on to the end, however many there are
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Envelopes on a page
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub page: u32,
    /// Open payloads with the key of this password; may be repeated
    #[arg(long, value_name = "PASSWORD")]
    pub sym_password: Vec<String>,
    /// Open payloads with this key, 64 hex digits; may be repeated
    #[arg(long, value_name = "HEX")]
    pub sym_key: Vec<String>,
    /// Open payloads that were made for the secp256k1 key in this file, 64 hex digits
    #[arg(long, value_name = "FILE")]
    pub private_key_file: Option<PathBuf>,
    /// A file that says where to go on when this ends early; the same command goes on there, with the times of the first run. It is
    /// removed when all has come
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Print JSON lines, as `export` writes them, with what was opened
    #[arg(long)]
    pub json: bool,
    /// Say nothing while it goes on
    #[arg(long)]
    pub quiet: bool,
}

const HISTORY_EXAMPLES: &str = "\
Examples:
  causeway history --server enode://KEY:status-offline-inbox@HOST:30303 --topic status --sym-password status
  causeway history --server /ip4/HOST/tcp/60000/p2p/ID --pubsub-topic /waku/2/rs/16/32 --from 1h
  causeway history --server enode://… --server enode://… --from 30d --all --resume where.json --json > month.jsonl
  causeway import month.jsonl

The exit code is 1 if something is missing that no server gave: the last line says what was sent when.";
