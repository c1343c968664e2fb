//! Commands to a peer, a line each, and the events that answer them.

use crate::process::{Event, Process, is, text};
use anyhow::Result;
use std::time::Duration;

impl Process {
    /// What it says of itself once it runs.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn ready(&self, limit: Duration) -> Result<Event> {
        self.wait("`ready`", 0, limit, |e| is(e, "ready").then(|| Event::new(e.clone())))
    }

    /// Gives a command that only one at a time is under way of, and waits for the event of that name that answers it. Where events name
    /// the command that they are about, only those count.
    ///
    /// # Errors
    /// When it answers with an error, or not in time.
    pub(crate) fn ask(&self, line: &str, answer: &str, limit: Duration) -> Result<Event> {
        let cursor = self.log().len();
        self.line(line)?;
        let command = line.split(' ').next().unwrap_or_default();
        let found = self.wait(&format!("answer to `{command}`"), cursor, limit, |e| {
            let about = e.get("cmd").is_none_or(|named| named == command);
            (about && (is(e, answer) || is(e, "error"))).then(|| Event::new(e.clone()))
        })?;
        if is(&found, "error") {
            return Err(self.failure(&format!("`{command}` failed: {}", text(&found, "error"))));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Far more than a shell takes.
    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Path::new("sh"), &["-c", script]).unwrap()
    }

    #[test]
    fn the_answer_to_a_command_is_told_from_answers_to_others() {
        let peer = shell(
            r#"echo '{"event":"ready","n":1}'; read line
            echo '{"event":"error","cmd":"other"}'; echo '{"event":"reply","cmd":"other"}'; echo '{"event":"reply","cmd":"ask","n":2}'"#,
        );
        assert_eq!(peer.ready(LIMIT).unwrap()["n"], 1);
        assert_eq!(peer.ask("ask a b", "reply", LIMIT).unwrap()["n"], 2);
    }

    #[test]
    fn an_error_is_an_answer() {
        let peer = shell(r#"read line; echo '{"event":"error","error":"no such thing"}'"#);
        let error = peer.ask("ask a b", "reply", LIMIT).unwrap_err().to_string();
        assert!(error.contains("`ask` failed: no such thing"), "{error}");
    }

    #[test]
    fn a_peer_that_ends_does_not_answer() {
        let peer = shell("read line");
        let error = peer.ask("ask", "reply", LIMIT).unwrap_err().to_string();
        assert!(error.contains("no answer to `ask`"), "{error}");
    }
}
