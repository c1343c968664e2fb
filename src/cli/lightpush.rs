//! Flags about lightpush.

use clap::Args;
use waku2::rules::Position;

use super::{one_of, parse_bool};

/// Flags about lightpush.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waku Network: lightpush")]
pub struct LightpushArgs {
    /// Publish for light clients what they push (19/WAKU2-LIGHTPUSH, 3.0.0 and 2.0.0-beta1), on the shards that are relayed here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub lightpush: bool,
    /// A node that publishes for us what applications push; without one we do it ourselves with --lightpush, else a peer that serves it
    #[arg(long, value_name = "MULTIADDR", default_value = "")]
    pub lightpushnode: String,
    /// Whose numbers tell a client that there is no peer, or that its message is too large: 503 and 413 of the text, or 505 and 420 of
    /// deployed nodes
    #[arg(long, value_name = "WHOSE", default_value_t = Position::Text, value_parser = one_of(&Position::ALL, Position::name))]
    pub lightpush_status_codes: Position,
}
