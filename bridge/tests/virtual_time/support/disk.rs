//! A journal in memory that survives its bridge.

use std::collections::BTreeMap;

use bridge::{
    Direction,
    journal::{Cargo, Note, Remembered, Unfinished},
    seen::Fingerprint,
};

/// What is written, and survives.
#[derive(Debug, Default)]
pub(crate) struct Disk(pub(crate) BTreeMap<([u8; 32], u64), Row>);

#[derive(Debug)]
pub(crate) struct Row {
    at: u64,
    first: Direction,
    cargo: Option<Cargo>,
    ended: Option<Remembered>,
}

impl Disk {
    pub(crate) fn write(&mut self, note: &Note) {
        match note {
            Note::Begun { content, sent, at, first, cargo } => {
                let row = Row { at: *at, first: *first, cargo: Some(cargo.clone()), ended: None };
                self.0.insert((*content.as_bytes(), *sent), row);
            }
            Note::Ended { content, sent, state, envelope, message } => {
                let Some(row) = self.0.get_mut(&(*content.as_bytes(), *sent)) else { return };
                let (content, sent, state, envelope, message) = (*content, *sent, *state, *envelope, *message);
                row.cargo = None;
                row.ended = Some(Remembered { content, sent, at: row.at, first: row.first, state, envelope, message });
            }
        }
    }

    pub(crate) fn ended(&self) -> Vec<Remembered> {
        let mut ended: Vec<Remembered> = self.0.values().filter_map(|row| row.ended).collect();
        ended.sort_by_key(|ended| ended.at);
        ended
    }

    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let unfinished = |((content, sent), row): (&([u8; 32], u64), &Row)| {
            let content = Fingerprint::from_bytes(*content);
            Some(Unfinished { content, sent: *sent, at: row.at, cargo: row.cargo.clone()? })
        };
        self.0.iter().filter_map(unfinished).collect()
    }
}
