//! go-ethereum's node discovery under the driver.

use crate::process::{Event, Process, is, text};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// From the start of the program to its `ready`.
const START: Duration = Duration::from_secs(20);
/// From a command to its answer: a question over UDP that is asked twice, or a few questions to a name server.
const ANSWER: Duration = Duration::from_secs(30);

/// A running node.
#[derive(Debug)]
pub(crate) struct GethPeer {
    process: Process,
    enode: String,
    record: String,
}

impl GethPeer {
    /// Starts a node.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(program: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        let process = Process::spawn(name, program, flags)?;
        let ready =
            |e: &serde_json::Value| is(e, "ready").then(|| (text(e, "enode").to_owned(), text(e, "enr").to_owned()));
        let (enode, record) = process.wait("`ready`", 0, START, ready)?;
        Ok(Self { process, enode, record })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn enode(&self) -> &str {
        &self.enode
    }

    /// Its signed node record.
    pub(crate) fn record(&self) -> &str {
        &self.record
    }

    /// Gives a command and waits for the event that answers it.
    ///
    /// # Errors
    /// When it answers with an error, or not in time.
    pub(crate) fn ask(&self, line: &str, answer: &str) -> Result<Event> {
        let cursor = self.process.log().len();
        self.process.line(line)?;
        let command = line.split(' ').next().unwrap_or_default();
        let found = self.process.wait(&format!("answer to `{command}`"), cursor, ANSWER, |e| {
            (is(e, answer) || is(e, "error")).then(|| Event::new(e.clone()))
        })?;
        if is(&found, "error") {
            return Err(self.process.failure(&format!("`{command}` failed: {}", text(&found, "error"))));
        }
        Ok(found)
    }
}
