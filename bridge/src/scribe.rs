//! The shell's hand on the journal: gathers notes, gives them away a batch at a time, and says whose beginning is on disk.
//!
//! One batch is under way at a time; what comes meanwhile goes together into the next, so that a slow disk makes larger batches
//! and not a longer queue. Ends wait for a beginning to go with, a second at most.

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    job::JobId,
    journal::{Batch, MAX_NOTES, Note, WRITE_ENDS_AFTER},
};

#[derive(Debug)]
pub(crate) struct Scribe {
    batches: mpsc::Sender<Batch>,
    notes: Vec<Note>,
    /// Whose beginnings are among `notes`.
    begun: Vec<JobId>,
    /// When the ends among `notes` are to be written, if nothing begins.
    due: Option<Instant>,
    under_way: Option<(oneshot::Receiver<()>, Vec<JobId>)>,
}

impl Scribe {
    pub(crate) fn new(batches: mpsc::Sender<Batch>) -> Self {
        Self { batches, notes: Vec::new(), begun: Vec::new(), due: None, under_way: None }
    }

    pub(crate) fn begin(&mut self, job: JobId, note: Note) {
        self.notes.push(note);
        self.begun.push(job);
    }

    pub(crate) fn end(&mut self, note: Note) {
        if self.notes.len() >= MAX_NOTES {
            return;
        }
        self.notes.push(note);
        if self.due.is_none() {
            self.due = Some(later());
        }
    }

    /// Gives away what is to be written, if nothing is under way.
    pub(crate) fn write(&mut self) {
        let is_due = || self.due.is_some_and(|due| due <= now());
        if self.under_way.is_some() || self.notes.is_empty() || (self.begun.is_empty() && !is_due()) {
            return;
        }
        let (done, written) = oneshot::channel();
        let notes = std::mem::take(&mut self.notes);
        self.due = None;
        // The queue holds one batch and none is under way: this fails only once the journal has ended, and `written` says so too.
        let _ = self.batches.try_send(Batch { notes, done });
        self.under_way = Some((written, std::mem::take(&mut self.begun)));
    }

    /// Waits for a batch to be written, or for ends to become due; tells whose beginnings are on disk. Safe to cancel.
    pub(crate) async fn written(&mut self) -> Vec<JobId> {
        match &mut self.under_way {
            Some((written, _)) => {
                // An error says that the journal has ended; then things cross without it.
                let _ = written.await;
                self.under_way.take().map(|(_, jobs)| jobs).unwrap_or_default()
            }
            None => {
                match self.due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
                Vec::new()
            }
        }
    }

    /// Writes what is left, and waits for it.
    pub(crate) async fn finish(mut self) {
        if let Some((written, _)) = self.under_way.take() {
            let _ = written.await;
        }
        self.due = Some(now());
        self.write();
        if let Some((written, _)) = self.under_way {
            let _ = written.await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn now() -> Instant {
    Instant::now()
}

fn later() -> Instant {
    now() + WRITE_ENDS_AFTER
}
