//! js-waku in pages of a headless Chromium, under the driver.

use crate::process::{Event, Process, text};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::time::Duration;

/// From the start of the program to its `ready`: a browser starts, and the page's packages are put into one file.
const START: Duration = Duration::from_secs(60);
/// From a command to its answer: opening a page ends when the node is in its mesh.
const ANSWER: Duration = Duration::from_secs(90);
/// From the request to end to the end.
const END: Duration = Duration::from_secs(20);

/// A running browser.
#[derive(Debug)]
pub(crate) struct Browser {
    process: Process,
}

impl Browser {
    /// Starts one with a new profile in this folder.
    ///
    /// # Errors
    /// When it does not get ready, as where there is no Chromium.
    pub(crate) fn start(script: &Path, profile: &Path) -> Result<Self> {
        let words = [script, Path::new("--profile"), profile];
        let process = Process::spawn("browser", Path::new("node"), &words)?;
        process.ready(START)?;
        Ok(Self { process })
    }

    /// Opens a page that dials a node and joins a shard of cluster 0, which has one, and waits until both are in each other's mesh; gives
    /// the muxer.
    ///
    /// # Errors
    /// When the page says that it failed.
    pub(crate) fn open(&self, page: &str, muxer: &str, node: &str, content_topic: &str) -> Result<String> {
        let opened = self.ask(&format!("open {page} {muxer} {node} 0 1 {content_topic}"))?;
        ensure!(opened["state"] == "meshed", "page {page}: {opened}");
        let told = opened["text"].as_str().and_then(|text| text.rsplit(' ').next());
        Ok(told.context("a page without a muxer")?.to_owned())
    }

    /// Opens a page of a light client, which dials a node; gives the muxer.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub(crate) fn open_services(&self, page: &str, muxer: &str, node: &str, content_topic: &str) -> Result<String> {
        let opened = self.ask(&format!("services {page} {muxer} {node} 0 1 {content_topic}"))?;
        ensure!(opened["state"] == "ready", "page {page}: {opened}");
        let told = opened["text"].as_str().and_then(|text| text.rsplit(' ').next());
        Ok(told.context("a page without a muxer")?.to_owned())
    }

    /// Fills in a form of such a page, a choice and a text without blanks, if it has them, and submits it; gives what it says then.
    ///
    /// # Errors
    /// When it says nothing.
    pub(crate) fn submit(&self, page: &str, form: &str) -> Result<String> {
        let told = self.ask(&format!("submit {page} {form}"))?;
        Ok(text(&told, "answer").to_owned())
    }

    /// The history that such a page shows.
    ///
    /// # Errors
    /// When the page has lost its node.
    pub(crate) fn history(&self, page: &str) -> Result<Vec<String>> {
        self.lines(page, "history")
    }

    /// Types a text without blanks into a page, and sends it.
    ///
    /// # Errors
    /// When the page says that nobody took it.
    pub(crate) fn say(&self, page: &str, text: &str) -> Result<()> {
        let said = self.ask(&format!("say {page} {text}"))?;
        ensure!(said["state"] == "meshed", "page {page} did not send: {said}");
        Ok(())
    }

    /// The messages that a page shows, one for each arrival.
    ///
    /// # Errors
    /// When the page has lost its node.
    pub(crate) fn messages(&self, page: &str) -> Result<Vec<String>> {
        self.lines(page, "messages")
    }

    fn lines(&self, page: &str, list: &str) -> Result<Vec<String>> {
        let read = self.ask(&format!("read {page}"))?;
        let is_well = read["state"] == "meshed" || read["state"] == "ready";
        ensure!(is_well, "page {page}: {} ({})", read["state"], read["text"]);
        let Some(lines) = read[list].as_array() else { bail!("page {page}: {read}") };
        Ok(lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect())
    }

    /// Ends it, so that nothing of it is left.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn quit(&self) -> Result<()> {
        self.ask("quit")?;
        self.process.exit(END).map(drop)
    }

    fn ask(&self, line: &str) -> Result<Event> {
        self.process.ask(line, "reply", ANSWER)
    }
}
