//! go-ethereum's node discovery under the driver.

use crate::process::{Event, Process, text};
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
        let ready = process.ready(START)?;
        let (enode, record) = (text(&ready, "enode").to_owned(), text(&ready, "enr").to_owned());
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
        self.process.ask(line, answer, ANSWER)
    }
}
