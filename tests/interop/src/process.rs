//! A child process under the driver: lines in, lines out, and its end.
//!
//! Standard output is kept as a [`Log`] of JSON events (the peers) or plain lines (the bridge). The log is bounded in bytes; a process
//! that exceeds it fails the scenario, since nothing may be dropped from a record that decides what arrived.

use crate::deadline::{Deadline, poll};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What one process may print in one scenario, in bytes: a thousand crossings of up to 100 KiB in hex, several times over.
const MAX_LOG_BYTES: usize = 1 << 30;
/// Lines of standard error kept for the report of a failure; older ones are forgotten.
const STDERR_LINES: usize = 40;
/// After its end, the pipes of a process are empty at once.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Events shown with a failure.
const EVENTS_SHOWN: usize = 6;
/// Characters shown of one line: payloads are long.
const LINE_SHOWN: usize = 260;

/// One line of a process's standard output. A line that is no JSON is kept as a JSON string.
pub(crate) type Event = Arc<Value>;

#[derive(Debug, Default)]
struct LogState {
    events: Vec<Event>,
    bytes: usize,
    ended: Option<&'static str>,
}

/// All that a process has printed on standard output so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    state: Mutex<LogState>,
    grown: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &str) -> bool {
        let event = serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
        let mut state = self.lock();
        state.bytes += line.len();
        if state.bytes > MAX_LOG_BYTES {
            state.ended = Some("it printed more than this driver keeps");
        } else {
            state.events.push(Arc::new(event));
        }
        self.grown.notify_all();
        state.ended.is_none()
    }

    fn end(&self) {
        let mut state = self.lock();
        state.ended.get_or_insert("it closed its standard output");
        self.grown.notify_all();
    }

    /// How many events there are: the cursor for [`Log::since`].
    pub(crate) fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// The events from a cursor on.
    pub(crate) fn since(&self, cursor: usize) -> Vec<Event> {
        self.lock().events.get(cursor..).unwrap_or_default().to_vec()
    }

    /// Waits until there is more than `cursor` events; false when the deadline passed first.
    ///
    /// # Errors
    /// When nothing more can come.
    pub(crate) fn wait_past(&self, cursor: usize, deadline: Deadline) -> Result<bool> {
        let mut state = self.lock();
        loop {
            if state.events.len() > cursor {
                return Ok(true);
            }
            if let Some(why) = state.ended {
                bail!("{why}");
            }
            let Some(left) = deadline.left() else {
                return Ok(false);
            };
            state = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tail(&self) -> String {
        let state = self.lock();
        let from = state.events.len().saturating_sub(EVENTS_SHOWN);
        state.events[from..].iter().map(|event| format!("\n    {}", shortened(&event.to_string()))).collect()
    }
}

/// The beginning of a line.
pub(crate) fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_SHOWN) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    pid: u32,
    stdin: Mutex<Option<ChildStdin>>,
    log: Arc<Log>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a program with piped standard streams and none of our environment but what a program needs to run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn<S: AsRef<OsStr>>(name: &str, program: &Path, args: &[S]) -> Result<Self> {
        Self::spawn_in(&[], name, program, args)
    }

    /// The same with an environment, for what no command line should show.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn_in<S: AsRef<OsStr>>(
        environment: &[(&str, &str)],
        name: &str,
        program: &Path,
        args: &[S],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(environment.iter().copied());
        for kept in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        let mut child = command.spawn().with_context(|| format!("{name}: cannot start {}", program.display()))?;
        let (log, stderr) = (Arc::new(Log::default()), Arc::new(Mutex::new(VecDeque::new())));
        let (stdin, mut readers) = (child.stdin.take(), Vec::new());
        if let Some(pipe) = child.stdout.take() {
            let log = Arc::clone(&log);
            readers.push(thread::spawn(move || {
                each_line(pipe, |line| log.push(line));
                log.end();
            }));
        }
        if let Some(pipe) = child.stderr.take() {
            let stderr = Arc::clone(&stderr);
            readers.push(thread::spawn(move || each_line(pipe, |line| keep_last(&stderr, line))));
        }
        let pid = child.id();
        Ok(Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            pid,
            stdin: Mutex::new(stdin),
            log,
            stderr,
            readers,
        })
    }

    /// What the driver calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// When it no longer reads.
    pub(crate) fn line(&self, line: &str) -> Result<()> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = stdin.as_mut().ok_or_else(|| anyhow!("{}: its input is closed", self.name))?;
        pipe.write_all(format!("{line}\n").as_bytes())
            .map_err(|error| self.failure(&format!("cannot write to it ({error})")))
    }

    /// Waits for an event that `pick` takes, among those from `cursor` on.
    ///
    /// # Errors
    /// When there is none within `limit`: the error says what was missing and what came instead.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        cursor: usize,
        limit: Duration,
        mut pick: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = Deadline::after(limit);
        let mut at = cursor;
        loop {
            let fresh = self.log.since(at);
            if let Some(found) = fresh.iter().find_map(|event| pick(event)) {
                return Ok(found);
            }
            at += fresh.len();
            match self.log.wait_past(at, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(self.failure(&format!("no {what} within {} s", limit.as_secs()))),
                Err(why) => return Err(self.failure(&format!("no {what}: {why}"))),
            }
        }
    }

    /// An error about this process, with the last that it said.
    pub(crate) fn failure(&self, what: &str) -> anyhow::Error {
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let said: String = stderr.iter().map(|line| format!("\n    ! {}", shortened(line))).collect();
        anyhow!("{}: {what}; last output:{}{said}", self.name, self.log.tail())
    }

    /// All of standard error that is kept, as one text.
    pub(crate) fn stderr(&self) -> String {
        let lines = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Asks it to end, as an operator's supervisor does.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub(crate) fn terminate(&self) -> Result<()> {
        let status = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid.to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(self.failure("cannot signal it")) }
    }

    /// Ends it at once, by SIGKILL: it gets no chance to write anything.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = child.try_wait()? {
            return Err(self.failure(&format!("it had ended by itself, with {status}")));
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits for its end, and until all is read that it printed before.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub(crate) fn exit(&self, limit: Duration) -> Result<ExitStatus> {
        let ended = poll(limit, || self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().transpose());
        let status = ended.ok_or_else(|| self.failure(&format!("still runs after {} s", limit.as_secs())))?;
        // A process of its own that outlives it may hold the pipes: then what came so far must do.
        let _ = poll(LAST_WORDS, || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
        status.context("waiting for its end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill(); // it may have ended by itself
        let _ = child.wait();
    }
}

/// Hands on each line until the pipe ends or `take` refuses; after a refusal the rest is read and dropped, so that the process never blocks.
fn each_line(pipe: impl Read, mut take: impl FnMut(&str) -> bool) {
    let mut wanted = true;
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        wanted = wanted && take(&line);
    }
}

fn keep_last(lines: &Mutex<VecDeque<String>>, line: &str) -> bool {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == STDERR_LINES {
        lines.pop_front();
    }
    lines.push_back(line.to_owned());
    true
}

/// A text field of an event.
pub(crate) fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number of an event.
pub(crate) fn number(event: &Value, field: &str) -> Option<u64> {
    event.get(field).and_then(Value::as_u64)
}

/// Whether an event has this name.
pub(crate) fn is(event: &Value, name: &str) -> bool {
    text(event, "event") == name
}
