//! The shell's hand on the journal: gathers notes, gives them away a batch at a time, and says whose beginning is on disk.
//!
//! One batch is under way at a time; what comes meanwhile goes together into the next, so that a slow disk makes larger batches
//! and not a longer queue. Ends are kept back for [`ENDS_SETTLE`], and then wait for a beginning to go with, a second at most. What has crossed
//! while, or shortly before, a side was without peers is kept back until both sides have some again: it may have been in a connection that was
//! lost, and our nodes repeat it when a peer comes, if they live until then.

use std::collections::VecDeque;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    job::JobId,
    journal::{Batch, ENDS_SETTLE, MAX_NOTES, Note, WRITE_ENDS_AFTER},
    seen::State,
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
        self.notes.len() + self.ends.len() + given
    }

    /// Gives away what is to be written, if nothing is under way. `whole`: both sides have peers.
    pub(crate) fn write(&mut self, whole: bool) {
        let now = now();
        self.ends.set_whole(now, whole);
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
struct Ends {
    settling: VecDeque<(Instant, Note)>,
    /// Of what has crossed while a side has no peers, and when that is so.
    in_doubt: Option<Vec<Note>>,
}

impl Ends {
    fn push(&mut self, at: Instant, note: Note) {
        if self.len() >= MAX_NOTES {
            return;
        }
        match &mut self.in_doubt {
            Some(in_doubt) if has_crossed(&note) => in_doubt.push(note),
            _ => self.settling.push_back((at, note)),
        }
    }

    fn len(&self) -> usize {
        self.settling.len() + self.in_doubt.as_ref().map_or(0, Vec::len)
    }

    fn set_whole(&mut self, now: Instant, whole: bool) {
        match (whole, self.in_doubt.take()) {
            (true, None) => {}
            // What is repeated now has its time too.
            (true, Some(in_doubt)) => self.settling.extend(in_doubt.into_iter().map(|note| (now, note))),
            (false, Some(in_doubt)) => self.in_doubt = Some(in_doubt),
            (false, None) => {
                let settling = std::mem::take(&mut self.settling);
                let (crossed, others): (Vec<_>, Vec<_>) = settling.into_iter().partition(|(_, note)| has_crossed(note));
                self.settling = others.into();
                self.in_doubt = Some(crossed.into_iter().map(|(_, note)| note).collect());
            }
        }
    }

    /// When some are to be written even if nothing begins.
    fn due(&self) -> Option<Instant> {
        self.settling.front().map(|(at, _)| *at + ENDS_SETTLE + WRITE_ENDS_AFTER)
    }

    /// Those that may be written.
    fn settled(&mut self, now: Instant) -> impl Iterator<Item = Note> + '_ {
        let count = self.settling.partition_point(|(at, _)| *at + ENDS_SETTLE <= now);
        self.settling.drain(..count).map(|(_, note)| note)
    }

    fn all(&mut self) -> impl Iterator<Item = Note> + '_ {
        self.settling.drain(..).map(|(_, note)| note).chain(self.in_doubt.take().unwrap_or_default())
    }
}

fn has_crossed(note: &Note) -> bool {
    matches!(note, Note::Ended { state: State::Done, .. })
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{drop_reason::DropReason, seen::Fingerprint};

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

    #[test]
    fn f11_what_crossed_as_a_side_was_lost_is_kept_back_until_it_is_there_and_has_had_its_time() {
        let (start, second) = (now(), Duration::from_secs(1));
        let dropped = Note::Ended {
            content: Fingerprint::from_bytes([9; 32]),
            sent: 9,
            state: State::Dropped(DropReason::Late),
            envelope: None,
            message: None,
        };
        let mut ends = Ends::default();
        ends.push(start, end(1));
        ends.push(start + 4 * second, end(2));
        assert_eq!(ends.settled(start + ENDS_SETTLE).collect::<Vec<_>>(), [end(1)]);
        ends.set_whole(start + ENDS_SETTLE, false);
        ends.push(start + 6 * second, end(3));
        ends.push(start + 6 * second, dropped.clone());
        ends.set_whole(start + 900 * second, false);
        assert_eq!(
            ends.settled(start + 900 * second).collect::<Vec<_>>(),
            [dropped],
            "what was not sent is not in doubt"
        );
        assert_eq!((ends.due(), ends.len()), (None, 2));
        let back = start + 901 * second;
        ends.set_whole(back, true);
        ends.set_whole(back + second, true);
        assert_eq!(ends.settled(back + ENDS_SETTLE - second).count(), 0);
        assert_eq!(ends.settled(back + ENDS_SETTLE).collect::<Vec<_>>(), [end(2), end(3)]);
        ends.set_whole(back, false);
        ends.push(back, end(4));
        assert_eq!((ends.all().collect::<Vec<_>>(), ends.len()), (vec![end(4)], 0), "at an end in order");
    }

    #[tokio::test]
    async fn a_beginning_goes_at_once_and_takes_no_fresh_end_along() {
        let (batches, mut given) = mpsc::channel(1);
        let mut scribe = Scribe::new(batches);
        scribe.end(end(1));
        scribe.write(true);
        assert!(given.try_recv().is_err());
        let begun = Note::Begun {
            content: Fingerprint::from_bytes([8; 32]),
            sent: 2,
            at: 2,
            first: crate::crossing::Direction::V1ToV2,
            cargo: crate::journal::Cargo::Envelope(bytes::Bytes::new()),
        };
        scribe.begin(JobId(1), begun.clone());
        scribe.write(true);
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
