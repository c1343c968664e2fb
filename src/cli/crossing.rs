//! Flags about what crosses, and how.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use bridge::{
    config::DEFAULT_MAX_SEAL_JOBS,
    policy::{Ephemeral, LateV1, LateV2, Switch, UnknownVersion, VersionZero, Ways},
    seen::{DEFAULT_MAX_ENTRIES, DEFAULT_TOLERANCE_SECS, MAX_WINDOW, MIN_WINDOW},
};
use clap::Args;

use super::{one_of, parse_bool};

/// Flags about what crosses, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bridge")]
pub struct CrossingArgs {
    /// Pubsub topic to bridge with; repeated: the first takes what comes from waku/0, all feed it. They are relayed
    /// whatever --shard says [default: the shard on which /waku/1/… topics land, /waku/2/rs/0/0 in the default network; 64 and 32 of
    /// --preset status]
    #[arg(long, value_name = "TOPIC")]
    pub bridge_pubsub_topic: Vec<String>,
    /// A table of routes in TOML: which topics cross, where, which way, and how much. It takes the place of the two flags around
    /// this one, and is read again at SIGHUP or POST /bridge/v1/routes/reload. `causeway bridge check FILE` explains one;
    /// `causeway bridge --print-routes` prints a sample
    #[arg(long, value_name = "FILE")]
    pub route_file: Option<PathBuf>,
    /// Explain a route file, with the other flags given, and stop: the same as `causeway bridge check FILE`
    #[arg(long, value_name = "FILE", hide = true)]
    pub check: Option<PathBuf>,
    /// Print a sample of a route file, and stop
    #[arg(long)]
    pub print_routes: bool,
    /// Where no route takes all topics, ask waku/0 peers only for those that routes take: far less traffic. Two nodes that both do
    /// so tell each other nothing, so false for bridges that meet on waku/0
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub waku_v1_topic_interest: bool,
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
    /// Envelopes that the mining threads are given ahead; more wait their turn, those that expire first go first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_SEAL_JOBS)]
    pub pow_queue: usize,
    /// How far apart two times of sending may be for the same content to count as one, in seconds: what bridges that stamp anew may shift
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TOLERANCE_SECS)]
    pub dedup_tolerance: u64,
    /// How long what crossed is remembered at least, up to 24 hours
    #[arg(long, value_name = "SECONDS", default_value_t = MIN_WINDOW.as_secs(), value_parser = clap::value_parser!(u64).range(1..=MAX_WINDOW.as_secs()))]
    pub dedup_window: u64,
    /// How much of it, 160 bytes of memory each; beyond it the oldest is forgotten, and counted
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ENTRIES)]
    pub dedup_entries: usize,
    /// Take content topics that end in this as well as those in rfc26: what early clients of the Waku Network wrote
    #[arg(long, value_name = "ENCODING", value_parser = ["rlp"])]
    pub bridge_extra_encoding: Option<String>,
    /// What happens to an envelope sent more than 20 s ago [default: archive where an archive is mounted, else drop]
    #[arg(long, value_parser = one_of(LateV1::ALL, LateV1::as_str))]
    pub v1_late_policy: Option<LateV1>,
    /// What happens to a message older than the time to live [default: archive where an archive is mounted, else drop]
    #[arg(long, value_parser = one_of(LateV2::ALL, LateV2::as_str))]
    pub v2_late_policy: Option<LateV2>,
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
    /// Several bridges: where they can't make the same bytes of a thing, each waits for a part of this time and gives way to whoever was
    /// faster; 0 for a bridge that is alone
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub stagger: Duration,
    /// Stand by for other bridges: carry only what none of them has carried within this time, 4s for example. Less than the time to
    /// live by 5 s, and less than 20 s, or nothing would ever cross in time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub standby_after: Option<Duration>,
    /// Hand what crosses to the Waku Network to the node of --lightpushnode, which publishes it with rate-limit proofs of its own, and publish
    /// nothing here: for a bridge without a membership
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub bridge_lightpush: bool,
    /// A mail server that is asked for envelopes of the time in which this bridge, or all its waku/0 peers, were away, for --archive:
    /// enode://KEY:PASSWORD@HOST:PORT; may be repeated: when one fails, the next is asked. For messages: --store-resume
    #[arg(long, alias = "mailserver-resume", value_name = "ENODE")]
    pub backfill_v1: Vec<String>,
    /// The longest absence for which they are asked, in seconds; of a longer one its end. A bridge that is new asks for a day
    #[arg(long, value_name = "SECONDS", default_value_t = 2_592_000, value_parser = clap::value_parser!(u64).range(60..=31_536_000))]
    pub backfill_v1_max: u64,
    /// Count what would cross, and publish, post and keep nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub dry_run: bool,
    /// Send something of our own each way once a minute, on waku/0 topic 0x636e7279, and tell how long it takes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub canary: bool,
}

/// Longest time that a flag may give, in milliseconds: an hour.
const MAX_TIME_MILLIS: u64 = 3_600_000;

/// A time with a unit: `500ms`, `4s`; without one, seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "ms" => 1,
        "s" | "" => 1_000,
        other => return Err(format!("{other:?} is no unit of time; ms and s are")),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match millis {
        Some(millis) if millis <= MAX_TIME_MILLIS => Ok(Duration::from_millis(millis)),
        Some(_) => Err("an hour is the most".to_owned()),
        None => Err("not a time like 500ms or 4s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let millis = |text| parse_time(text).map(|time| time.as_millis());
        assert_eq!([millis("500ms"), millis("4s"), millis("4"), millis("0")], [Ok(500), Ok(4_000), Ok(4_000), Ok(0)]);
        assert_eq!(millis("3600s"), Ok(3_600_000));
        for bad in ["", "s", "4h", "-1s", "1.5s", "4 s", "3601s", "99999999999999999999ms", "4µs"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
