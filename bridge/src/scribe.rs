//! The shell's hand on the journal: gathers notes, gives them away a batch at a time, and says whose beginning is on disk.
//!
//! One batch is under way at a time; what comes meanwhile goes together into the next, so that a slow disk makes larger batches
//! and not a longer queue. Ends are kept back for [`ENDS_SETTLE`], and then wait for a beginning to go with, a second at most. Whose far side is lost
//! meanwhile stays open until that side is back, for [`MAX_DOUBT`] at most: it may have been in a connection that was cut. Our node repeats it when a
//! peer comes; a bridge that dies before begins it again.

use std::collections::VecDeque;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    crossing::Direction,
    job::JobId,
    journal::{Batch, ENDS_SETTLE, MAX_DOUBT, MAX_NOTES, Note, WRITE_ENDS_AFTER},
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

    pub(crate) fn end(&mut self, direction: Direction, note: Note) {
        self.ends.push(now(), direction, note);
    }

    /// Notes that are not on disk.
    pub(crate) fn waiting(&self) -> usize {
        let given = if self.under_way.is_some() { self.given } else { 0 };
        self.notes.len() + self.ends.len() + given
    }

    /// Gives away what is to be written, if nothing is under way. `is_there`: whether the far side of each direction has peers.
    pub(crate) fn write(&mut self, is_there: impl Fn(Direction) -> bool) {
        let now = now();
        Direction::ALL.into_iter().for_each(|direction| self.ends.look(now, direction, is_there(direction)));
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

    /// Writes what is left, and waits for it. The nodes run on, and send what they have, so that every end counts but those in doubt.
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
    settling: VecDeque<End>,
    /// What crossed as the far side of a direction was lost; `None` while the side is there.
    in_doubt: [Option<VecDeque<End>>; Direction::ALL.len()],
}

#[derive(Debug)]
struct End {
    at: Instant,
    direction: Direction,
    note: Note,
}

impl Ends {
    fn push(&mut self, at: Instant, direction: Direction, note: Note) {
        if self.len() >= MAX_NOTES {
            return;
        }
        let end = End { at, direction, note };
        match &mut self.in_doubt[direction as usize] {
            // Handed to a connection before its loss was seen here.
            Some(in_doubt) if end.has_crossed() => in_doubt.push_back(end),
            _ => self.settling.push_back(end),
        }
    }

    fn len(&self) -> usize {
        self.settling.len() + self.in_doubt.iter().flatten().map(VecDeque::len).sum::<usize>()
    }

    /// Sets apart what is in doubt as a side is lost, and lets it settle once the side is back or it has been in doubt too long.
    fn look(&mut self, now: Instant, direction: Direction, is_there: bool) {
        let doubt = &mut self.in_doubt[direction as usize];
        if !is_there && doubt.is_none() {
            let is_doubtful = |end: &End| end.direction == direction && end.has_crossed();
            let (doubtful, others) = std::mem::take(&mut self.settling).into_iter().partition(is_doubtful);
            (*doubt, self.settling) = (Some(doubtful), others);
        }
        let Some(in_doubt) = doubt else { return };
        let over = if is_there { in_doubt.len() } else { in_doubt.partition_point(|end| end.at + MAX_DOUBT <= now) };
        // What is repeated now has its time too.
        self.settling.extend(in_doubt.drain(..over).map(|end| End { at: now, ..end }));
        if is_there {
            *doubt = None;
        }
    }

    /// When some are to be written even if nothing begins.
    fn due(&self) -> Option<Instant> {
        self.settling.front().map(|end| end.at + ENDS_SETTLE + WRITE_ENDS_AFTER)
    }

    /// Those that may be written.
    fn settled(&mut self, now: Instant) -> impl Iterator<Item = Note> + '_ {
        let count = self.settling.partition_point(|end| end.at + ENDS_SETTLE <= now);
        self.settling.drain(..count).map(|end| end.note)
    }

    /// All but those in doubt, which a next life begins again.
    fn all(&mut self) -> impl Iterator<Item = Note> + '_ {
        self.settling.drain(..).map(|end| end.note)
    }
}

impl End {
    fn has_crossed(&self) -> bool {
        matches!(self.note, Note::Ended { state: State::Done, .. })
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
    use crate::{drop_reason::DropReason, seen::Fingerprint};

    const TO_V2: Direction = Direction::V1ToV2;
    const TO_V0: Direction = Direction::V2ToV1;

    fn end(sent: u64) -> Note {
        let content = Fingerprint::from_bytes([7; 32]);
        Note::Ended { content, sent, state: State::Done, envelope: None, message: None }
    }

    #[test]
    fn an_end_is_kept_back_until_its_bytes_are_gone() {
        let (start, tick) = (now(), Duration::from_millis(1));
        let mut ends = Ends::default();
        ends.push(start, TO_V2, end(1));
        ends.push(start + tick, TO_V2, end(2));
        assert_eq!(ends.settled(start + ENDS_SETTLE - tick).count(), 0);
        assert_eq!(ends.due(), Some(start + ENDS_SETTLE + WRITE_ENDS_AFTER));
        assert_eq!(ends.settled(start + ENDS_SETTLE).collect::<Vec<_>>(), [end(1)]);
        assert_eq!(ends.settled(start + 2 * ENDS_SETTLE).collect::<Vec<_>>(), [end(2)]);
        assert_eq!(ends.due(), None);
    }

    #[test]
    fn f11_what_crossed_as_its_far_side_was_lost_stays_open_until_that_side_is_back_and_it_has_had_its_time() {
        let (start, second) = (now(), Duration::from_secs(1));
        let dropped = Note::Ended {
            content: Fingerprint::from_bytes([9; 32]),
            sent: 9,
            state: State::Dropped(DropReason::Late),
            envelope: None,
            message: None,
        };
        let mut ends = Ends::default();
        ends.push(start, TO_V2, end(1));
        ends.push(start + 4 * second, TO_V2, end(2));
        ends.push(start + 4 * second, TO_V0, end(3));
        assert_eq!(ends.settled(start + ENDS_SETTLE).collect::<Vec<_>>(), [end(1)]);
        ends.look(start + ENDS_SETTLE, TO_V2, false);
        ends.push(start + ENDS_SETTLE, TO_V2, dropped.clone());
        ends.push(start + ENDS_SETTLE, TO_V2, end(4));
        ends.look(start + ENDS_SETTLE, TO_V0, true);
        let later = start + 900 * second;
        ends.look(later, TO_V2, false);
        let others = [end(3), dropped];
        assert_eq!(ends.settled(later).collect::<Vec<_>>(), others, "the other way, and what was not sent");
        assert_eq!((ends.due(), ends.len()), (None, 2));
        let back = start + 901 * second;
        ends.look(back, TO_V2, true);
        ends.look(back + second, TO_V2, true);
        assert_eq!(ends.settled(back + ENDS_SETTLE - second).count(), 0);
        assert_eq!(ends.settled(back + ENDS_SETTLE).collect::<Vec<_>>(), [end(2), end(4)]);
    }

    #[test]
    fn nothing_is_in_doubt_for_ever_and_an_orderly_end_leaves_it_open() {
        let (start, second) = (now(), Duration::from_secs(1));
        let mut ends = Ends::default();
        ends.push(start, TO_V0, end(1));
        ends.look(start, TO_V0, false);
        ends.look(start + MAX_DOUBT - second, TO_V0, false);
        assert_eq!((ends.due(), ends.all().count(), ends.len()), (None, 0, 1));
        ends.look(start + MAX_DOUBT, TO_V0, false);
        assert_eq!(ends.settled(start + MAX_DOUBT + ENDS_SETTLE).collect::<Vec<_>>(), [end(1)]);
    }

    #[tokio::test]
    async fn a_beginning_goes_at_once_and_takes_no_fresh_end_along() {
        let (batches, mut given) = mpsc::channel(1);
        let mut scribe = Scribe::new(batches);
        scribe.end(TO_V2, end(1));
        scribe.write(|_| true);
        assert!(given.try_recv().is_err());
        let begun = Note::Begun {
            content: Fingerprint::from_bytes([8; 32]),
            sent: 2,
            at: 2,
            first: TO_V2,
            cargo: crate::journal::Cargo::Envelope(bytes::Bytes::new()),
        };
        scribe.begin(JobId(1), begun.clone());
        scribe.write(|_| true);
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
