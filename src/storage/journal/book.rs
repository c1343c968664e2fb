//! Which batch holds what is on its way. Pure; the rows are [`super::tables`]'.
//!
//! A batch is written once and deleted once nothing in it is on its way any more; what ended of it before that stands among the
//! ends of later batches. So the order of batches tells how everything stands: within one, what ended comes before what began.
//!
//! Limits: as many entries as the bridge has on its way, of each some 90 bytes; [`MAX_NOTES`] ends that could not be written yet.

use std::collections::{BTreeMap, HashMap};

use bridge::{
    Direction,
    journal::{
        MAX_NOTES, Note, Remembered,
        encoding::{self, Beginning},
    },
    seen::Fingerprint,
};

/// A batch is written anew, without what has ended, when this old and more than half of it has: in seconds. Most end within one.
const REWRITE_AFTER: u64 = 60;

/// Bytes of an entry beside its cargo, and of one that has ended: for a guess at the length.
const ENTRY_BYTES: usize = 128;

/// A content and when it was sent.
pub(super) type Name = (Fingerprint, u64);

#[derive(Debug, Default)]
pub(super) struct Book {
    open: HashMap<Name, Place>,
    /// Those with something open.
    batches: BTreeMap<i64, Tally>,
    /// Batches with nothing open, whose rows are still to be deleted.
    finished: Vec<i64>,
    /// What has ended and is still to be written.
    ended: Vec<Remembered>,
    /// The number of the last batch.
    last: i64,
}

/// Where something on its way is written.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: i64,
    /// Its place among the entries of the row; while the batch is taken, among the notes.
    index: usize,
    at: u64,
    first: Direction,
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    open: usize,
    written: usize,
    /// When, in unix seconds.
    at: u64,
}

/// What is to be written of some notes.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: i64,
    /// `None` where nothing has begun that goes on.
    pub(super) begun: Option<Vec<u8>>,
}

/// What several batches come to without what has ended.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) id: i64,
    pub(super) data: Vec<u8>,
    /// The batches it stands for.
    pub(super) from: Vec<i64>,
    names: Vec<Name>,
}

impl Book {
    /// Takes notes in their order. What ends is kept until [`Self::written`]: a batch that can't be written loses none. An end of what is not on its way says nothing, and what began and ended in one batch is written
    /// as ended alone.
    pub(super) fn take(&mut self, unix: u64, notes: &[Note]) -> Draft {
        self.last = self.last.saturating_add(1);
        let id = self.last;
        for (index, note) in notes.iter().enumerate() {
            let name = name(note);
            match note {
                Note::Begun { at, first, .. } => {
                    let place = Place { batch: id, index, at: *at, first: *first };
                    self.place(name, place);
                }
                Note::Ended { state, envelope, message, .. } => {
                    let Some(Place { batch, at, first, .. }) = self.open.remove(&name) else { continue };
                    self.release(batch);
                    // Beyond it an end costs a repetition after a crash.
                    if self.ended.len() < MAX_NOTES {
                        let ((content, sent), state, envelope, message) = (name, *state, *envelope, *message);
                        self.ended.push(Remembered { content, sent, at, first, state, envelope, message });
                    }
                }
            }
        }
        Draft { id, begun: self.begun(id, unix, notes) }
    }

    /// The beginnings among these notes that are still on their way.
    fn begun(&mut self, id: i64, unix: u64, notes: &[Note]) -> Option<Vec<u8>> {
        let length = |note: &Note| match note {
            Note::Begun { cargo, .. } => ENTRY_BYTES + cargo.len(),
            Note::Ended { .. } => 0,
        };
        let (mut data, mut written) = (encoding::start(notes.iter().map(length).sum()), 0);
        for (index, note) in notes.iter().enumerate() {
            let Note::Begun { content, sent, at, first, cargo } = note else { continue };
            let here = |place: &&mut Place| (place.batch, place.index) == (id, index);
            let Some(place) = self.open.get_mut(&name(note)).filter(here) else { continue };
            // No network carries so much that it can't be encoded; it would cross without a note.
            if encoding::put_begun(&mut data, content, (*sent, *at), *first, cargo).is_ok() {
                // No later note has this place, for there are more notes than entries.
                place.index = written;
                written += 1;
            }
        }
        if written == 0 {
            return None;
        }
        self.batches.insert(id, Tally { open: written, written, at: unix });
        Some(data)
    }

    /// Takes what is read of a row, the oldest batch first, and before any end.
    pub(super) fn found(&mut self, id: i64, unix: u64, entries: &[Beginning]) {
        self.last = self.last.max(id);
        self.batches.insert(id, Tally { open: entries.len(), written: entries.len(), at: unix });
        if entries.is_empty() {
            self.finish(id);
        }
        for (index, Beginning { content, sent, at, first, .. }) in entries.iter().enumerate() {
            self.place((*content, *sent), Place { batch: id, index, at: *at, first: *first });
        }
    }

    /// Takes an end that is read of a row.
    pub(super) fn found_end(&mut self, id: i64, name: Name) {
        if let Some(place) = self.open.get(&name).copied()
            && place.batch < id
        {
            self.open.remove(&name);
            self.release(place.batch);
        }
    }

    /// A row of ends was read, or is to be: later batches have higher numbers.
    pub(super) fn found_row(&mut self, id: i64) {
        self.last = self.last.max(id);
    }

    /// Is this entry of this batch on its way?
    pub(super) fn is_open(&self, id: i64, index: usize, name: &Name) -> bool {
        self.open.get(name).is_some_and(|place| (place.batch, place.index) == (id, index))
    }

    /// Takes off what came before a time: no life could go on with it.
    pub(super) fn forget(&mut self, oldest: u64) {
        let old: Vec<Name> = self.open.iter().filter(|(_, place)| place.at < oldest).map(|(name, _)| *name).collect();
        for name in old {
            if let Some(place) = self.open.remove(&name) {
                self.release(place.batch);
            }
        }
    }

    /// Rows to be deleted.
    pub(super) fn finished(&self) -> &[i64] {
        &self.finished
    }

    /// They are.
    pub(super) fn deleted(&mut self) {
        self.finished.clear();
    }

    /// What has ended and is to be written with the next batch: how many, and their bytes.
    pub(super) fn ended(&self) -> (usize, Vec<u8>) {
        let mut data = encoding::start(self.ended.len() * ENTRY_BYTES);
        self.ended.iter().for_each(|ended| encoding::put_ended(&mut data, ended));
        (self.ended.len(), data)
    }

    /// It is.
    pub(super) fn written(&mut self) {
        self.ended.clear();
    }

    /// Batches worth writing anew: old ones of which most has ended, and those of which something has ended up to the number `until`,
    /// so that no end that still counts is deleted.
    pub(super) fn worn(&self, unix: u64, until: i64) -> Vec<i64> {
        let is_worn = |id: i64, tally: &Tally| {
            let old = unix.saturating_sub(tally.at) >= REWRITE_AFTER && tally.open * 2 < tally.written;
            old || (id <= until && tally.open < tally.written)
        };
        self.batches.iter().filter(|(id, tally)| is_worn(**id, tally)).map(|(id, _)| *id).collect()
    }

    /// What these batches come to. Nothing has changed until [`Self::rewritten`].
    pub(super) fn rewrite(&self, rows: &[(i64, Vec<Beginning>)]) -> Rewrite {
        let (mut data, mut names) = (encoding::start(0), Vec::new());
        for (id, entries) in rows {
            for (index, entry) in entries.iter().enumerate() {
                let Beginning { content, sent, at, first, cargo } = entry;
                let open = self.is_open(*id, index, &(*content, *sent));
                if open && encoding::put_begun(&mut data, content, (*sent, *at), *first, cargo).is_ok() {
                    names.push((*content, *sent));
                }
            }
        }
        Rewrite { id: self.last.saturating_add(1), data, from: rows.iter().map(|(id, _)| *id).collect(), names }
    }

    /// It is on disk, and what it stands for is not.
    pub(super) fn rewritten(&mut self, unix: u64, rewrite: &Rewrite) {
        self.last = rewrite.id;
        for id in &rewrite.from {
            self.batches.remove(id);
        }
        let written = rewrite.names.len();
        self.batches.insert(rewrite.id, Tally { open: written, written, at: unix });
        for (index, name) in rewrite.names.iter().enumerate() {
            if let Some(place) = self.open.get_mut(name) {
                (place.batch, place.index) = (rewrite.id, index);
            }
        }
        if written == 0 {
            self.finish(rewrite.id);
        }
    }

    fn place(&mut self, name: Name, place: Place) {
        if let Some(before) = self.open.insert(name, place) {
            self.release(before.batch);
        }
    }

    /// One thing less is open in a batch; that which is being taken has no tally yet.
    fn release(&mut self, batch: i64) {
        let Some(tally) = self.batches.get_mut(&batch) else { return };
        tally.open -= 1;
        if tally.open == 0 {
            self.finish(batch);
        }
    }

    fn finish(&mut self, batch: i64) {
        self.batches.remove(&batch);
        self.finished.push(batch);
    }
}

fn name(note: &Note) -> Name {
    match note {
        Note::Begun { content, sent, .. } | Note::Ended { content, sent, .. } => (*content, *sent),
    }
}
