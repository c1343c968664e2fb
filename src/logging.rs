//! Logs: text for people, JSON for programs, both on standard error, so that standard output carries only what was asked for. Their level can
//! be changed while the program runs.

mod lines;

use std::{ffi::OsString, io::IsTerminal, sync::OnceLock};

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::cli::{LogArgs, LogFormat, LogLevel};

pub use lines::finish;

/// What changes the level of the logs that this program has started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Why the level of logs stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelRefused {
    /// This build leaves it out.
    #[error("Log level is below the least that this build knows")]
    LeftOut,
    /// Logs were not started here.
    #[error("Log level can't be changed at run time")]
    NotOurs,
}

/// Logs nothing below `least` from now on.
///
/// # Errors
/// See [`LevelRefused`].
pub fn set_level(least: LogLevel) -> Result<(), LevelRefused> {
    if level(least) > STATIC_MAX_LEVEL {
        return Err(LevelRefused::LeftOut);
    }
    let handle = FILTER.get().ok_or(LevelRefused::NotOurs)?;
    handle.reload(filter(least)).map_err(|_| LevelRefused::NotOurs)
}

fn filter(least: LogLevel) -> EnvFilter {
    EnvFilter::builder()
        .with_default_directive(level(least).into())
        .from_env_lossy()
        // Libraries tell their inner life at info; operators asked about ours.
        // What gossip warns of is what peers send, as often as they like; counters tell of it.
        .add_directive("libp2p_gossipsub=off".parse().expect("a target and a level make a directive"))
        .add_directive(quiet("libp2p_swarm"))
}

/// Starts logging. `RUST_LOG` refines the level by module, for developers.
pub fn start(args: LogArgs) {
    let (filter, handle) = reload::Layer::new(filter(args.log_level));
    let registry = tracing_subscriber::registry().with(filter);
    let queue = lines::Queue::start();
    let writer = move || queue.clone();
    // A second start (tests run several nodes in one process) leaves the first in place.
    let started = match args.log_format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && wants_colour(std::env::var_os("NO_COLOR"));
            registry.with(fmt::layer().with_writer(writer).with_ansi(colour).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).try_init(),
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Any text that is not empty says no.  Source: no-color.org.
fn wants_colour(no_color: Option<OsString>) -> bool {
    no_color.is_none_or(|text| text.is_empty())
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info | LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
    }
}

fn quiet(target: &'static str) -> tracing_subscriber::filter::Directive {
    format!("{target}=warn").parse().expect("a target and a level make a directive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_left_out_when_the_environment_asks() {
        let wanted = |text: &str| wants_colour(Some(text.into()));
        assert_eq!((wants_colour(None), wanted(""), wanted("1"), wanted("0")), (true, true, false, false));
    }

    #[test]
    fn levels_have_their_names_of_nwaku() {
        let named = [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Notice].map(level);
        assert_eq!(named, [LevelFilter::TRACE, LevelFilter::DEBUG, LevelFilter::INFO, LevelFilter::INFO]);
        let severe = [LogLevel::Warn, LogLevel::Error, LogLevel::Fatal].map(level);
        assert_eq!(severe, [LevelFilter::WARN, LevelFilter::ERROR, LevelFilter::ERROR]);
    }
}
