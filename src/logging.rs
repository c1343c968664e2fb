//! Logs: text for people, JSON for programs, both on standard error, so that standard output carries only what was asked for.

mod lines;

use std::{ffi::OsString, io::IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::{LogArgs, LogFormat, LogLevel};

pub use lines::finish;

/// Starts logging. `RUST_LOG` refines the level by module, for developers.
pub fn start(args: LogArgs) {
    let filter = EnvFilter::builder()
        .with_default_directive(level(args.log_level).into())
        .from_env_lossy()
        // Libraries tell their inner life at info; operators asked about ours.
        // What gossip warns of is what peers send, as often as they like; counters tell of it.
        .add_directive("libp2p_gossipsub=off".parse().expect("a target and a level make a directive"))
        .add_directive(quiet("libp2p_swarm"));
    let registry = tracing_subscriber::registry().with(filter);
    let queue = lines::Queue::start();
    let writer = move || queue.clone();
    // A second start (tests run several nodes in one process) leaves the first in place.
    let _ = match args.log_format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && wants_colour(std::env::var_os("NO_COLOR"));
            registry.with(fmt::layer().with_writer(writer).with_ansi(colour).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).try_init(),
    };
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
