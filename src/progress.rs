//! How far something long has come: a bar on a terminal, now and then a line elsewhere. On standard error, always.

use std::{
    fmt::Display,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use devp2p::clock::now;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::remark;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// What a bar looks like; the message says the rest.
const BAR: &str = "{bar:30} {percent:>3} %  {msg}  {eta} left";
/// Without a known end.
const SPINNER: &str = "{spinner} {msg}";

/// A bar, or lines.
#[derive(Debug)]
pub(crate) struct Progress {
    /// On a terminal alone.
    bar: Option<ProgressBar>,
    quiet: bool,
    told_at: Instant,
}

impl Progress {
    /// Begins. Nobody is told anything when `quiet`.
    pub(crate) fn start(quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(ProgressBar::no_length);
        Self { bar, quiet, told_at: now().instant }
    }

    /// Tells how much of how much is done (0 is unknown), with a word on it.
    pub(crate) fn tell(&mut self, done: u64, total: u64, word: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                if bar.length() != Some(total) {
                    let style = ProgressStyle::with_template(if total > 0 { BAR } else { SPINNER });
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_length(total);
                }
                bar.set_position(done);
                bar.set_message(word());
            }
            None if !self.quiet && now().instant.duration_since(self.told_at) >= LINE_EVERY => {
                self.told_at = now().instant;
                match done.saturating_mul(100).checked_div(total) {
                    Some(percent) => remark(format_args!("{percent} %, {}", word())),
                    None => remark(word()),
                }
            }
            None => {}
        }
    }

    /// A line of its own, which a bar makes room for.
    pub(crate) fn remark(&self, line: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(line)),
            None => remark(line),
        }
    }

    /// Takes the bar away, as does dropping it.
    pub(crate) fn end(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}
