//! Flags about logs and HTTP.

use std::net::IpAddr;

use clap::{Args, ValueEnum};

use super::parse_bool;
use crate::http::origins::Pattern;

/// Most messages kept for those who poll: with each at its longest, 1.5 GiB. Each that comes is compared with all of them.
const MAX_CACHE: i64 = 10_000;

/// Flags about logs and HTTP.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs and HTTP")]
pub struct SurfaceArgs {
    /// Serve REST, health, metrics and accounts over HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = parse_bool)]
    pub rest: bool,
    /// Address of these
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub rest_address: IpAddr,
    /// Port of these; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8645)]
    pub rest_port: u16,
    /// Pages in a browser that may read these: an origin with its scheme, or a host such as localhost:8080 for http and https, with
    /// * and ? for what may differ; * alone for all; may be repeated. On loopback, further names than localhost to answer to
    #[arg(long, value_name = "ORIGIN")]
    pub rest_allow_origin: Vec<Pattern>,
    /// Serve /admin as well: peers and whom to call, who is subscribed, the level of the log. There is no login
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub rest_admin: bool,
    /// Messages kept of relay until somebody polls for them; the oldest makes room
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=MAX_CACHE))]
    pub rest_relay_cache_capacity: u32,
    /// The same of what a filter node pushes
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=MAX_CACHE))]
    pub rest_filter_cache_capacity: u32,
    /// What /version says, for tools that ask for one of nwaku's, v0.37.0 for example [default: our own]
    #[arg(long, value_name = "TEXT")]
    pub version_string: Option<String>,
    /// Serve metrics at an address of their own as well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub metrics_server: bool,
    /// Address of metrics
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub metrics_server_address: IpAddr,
    /// Port of metrics; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8008)]
    pub metrics_server_port: u16,
    /// How logs read.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// How logs read.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogArgs {
    /// Least severity that is logged
    #[arg(long, value_enum, ignore_case = true, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// Logs for people or for programs
    #[arg(long, value_enum, ignore_case = true, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Least severity that is logged, by nwaku's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything
    Trace,
    /// What developers want
    Debug,
    /// What operators want
    Info,
    /// The same as info here
    Notice,
    /// Only warnings and errors
    Warn,
    /// Only errors
    Error,
    /// The same as error here
    Fatal,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}
