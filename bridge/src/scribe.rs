//! The shell's hand on the journal: gathers notes, gives them away a batch at a time, and says whose beginning is on disk.
//!
//! One batch is under way at a time; what comes meanwhile goes together into the next, so that a slow disk makes larger batches
//! and not a longer queue. Ends are kept back for [`ENDS_SETTLE`], and then wait for a beginning to go with, a second at most.

use std::collections::VecDeque;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    job::JobId,
    journal::{Batch, ENDS_SETTLE, MAX_NOTES, Note, WRITE_ENDS_AFTER},
};

#[derive(Debug)]
pub(crate) struct Scribe {
    batches: mpsc::Sender<Batch>,
    /// Beginnings to be written.
    notes: Vec<Note>,
    /// Whose they are.
    begun: Vec<JobId>,
    ends: Ends,
    under_way: Option<(oneshot::Receiver<()>, Vec<JobId>)>,
    /// Notes in the batch under way, or in the last one.
    given: usize,
}

impl Scribe {
    pub(crate) fn new(batches: mpsc::Sender<Batch>) -> Self {
        Self { batches, notes: Vec::new(), begun: Vec::new(), ends: Ends::default(), under_way: None, given: 0 }
    }

    pub(crate) fn begin(&mut self, job: JobId, note: Note) {
        self.notes.push(note);
        self.begun.push(job);
    }

    pub(crate) fn end(&mut self, note: Note) {
        self.ends.push(now(), note);
    }

    /// Notes that are not on disk.
    pub(crate) fn waiting(&self) -> usize {
        let given = if self.under_way.is_some() { self.given } else { 0 };
        self.notes.len() + self.ends.0.len() + given
    }

    /// Gives away what is to be written, if nothing is under way.
    pub(crate) fn write(&mut self) {
        let now = now();
        if self.under_way.is_some() || (self.begun.is_empty() && self.ends.due().is_none_or(|due| now < due)) {
            return;
        }
        self.notes.extend(self.ends.settled(now));
        self.give();
    }

    fn give(&mut self) {
        let (done, written) = oneshot::channel();
        let notes = std::mem::take(&mut self.notes);
        self.given = notes.len();
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
                match self.ends.due() {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
                Vec::new()
            }
        }
    }

    /// Writes what is left, and waits for it. The nodes run on, and send what they have, so that every end counts.
    pub(crate) async fn finish(mut self) {
        if let Some((written, _)) = self.under_way.take() {
            let _ = written.await;
        }
        self.notes.extend(self.ends.all());
        if self.notes.is_empty() {
            return;
        }
        self.give();
        if let Some((written, _)) = self.under_way {
            let _ = written.await;
        }
    }
}

/// Ends that are kept back, the oldest first. Beyond [`MAX_NOTES`] none is taken.
#[derive(Debug, Default)]
struct Ends(VecDeque<(Instant, Note)>);

impl Ends {
    fn push(&mut self, at: Instant, note: Note) {
        if self.0.len() < MAX_NOTES {
            self.0.push_back((at, note));
        }
    }

    /// When some are to be written even if nothing begins.
    fn due(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at + ENDS_SETTLE + WRITE_ENDS_AFTER)
    }

    /// Those that may be written.
    fn settled(&mut self, now: Instant) -> impl Iterator<Item = Note> + '_ {
        let count = self.0.partition_point(|(at, _)| *at + ENDS_SETTLE <= now);
        self.0.drain(..count).map(|(_, note)| note)
    }

    fn all(&mut self) -> impl Iterator<Item = Note> + '_ {
        self.0.drain(..).map(|(_, note)| note)
    }
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::seen::{Fingerprint, State};

    fn end(sent: u64) -> Note {
        let content = Fingerprint::from_bytes([7; 32]);
        Note::Ended { content, sent, state: State::Done, envelope: None, message: None }
    }

    #[test]
    fn an_end_is_kept_back_until_its_bytes_are_gone() {
        let (start, tick) = (now(), Duration::from_millis(1));
        let mut ends = Ends::default();
        ends.push(start, end(1));
        ends.push(start + tick, end(2));
        assert_eq!(ends.settled(start + ENDS_SETTLE - tick).count(), 0);
        assert_eq!(ends.due(), Some(start + ENDS_SETTLE + WRITE_ENDS_AFTER));
        assert_eq!(ends.settled(start + ENDS_SETTLE).collect::<Vec<_>>(), [end(1)]);
        assert_eq!(ends.settled(start + 2 * ENDS_SETTLE).collect::<Vec<_>>(), [end(2)]);
        assert_eq!(ends.due(), None);
    }

    #[tokio::test]
    async fn a_beginning_goes_at_once_and_takes_no_fresh_end_along() {
        let (batches, mut given) = mpsc::channel(1);
        let mut scribe = Scribe::new(batches);
        scribe.end(end(1));
        scribe.write();
        assert!(given.try_recv().is_err());
        let begun = Note::Begun {
            content: Fingerprint::from_bytes([8; 32]),
            sent: 2,
            at: 2,
            first: crate::crossing::Direction::V1ToV2,
            cargo: crate::journal::Cargo::Envelope(bytes::Bytes::new()),
        };
        scribe.begin(JobId(1), begun.clone());
        scribe.write();
        let batch = given.try_recv().unwrap();
        assert_eq!((&batch.notes[..], scribe.waiting()), (&[begun][..], 2));
        batch.done.send(()).unwrap();
        assert_eq!((scribe.written().await, scribe.waiting()), (vec![JobId(1)], 1));
        let finished = tokio::spawn(scribe.finish());
        let last = given.recv().await.unwrap();
        assert_eq!(last.notes, [end(1)]);
        last.done.send(()).unwrap();
        finished.await.unwrap();
    }
}
