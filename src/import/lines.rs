//! JSON lines, as `export` writes them ([`crate::rows::line`]).
//!
//! Limit: [`MAX_LINE_BYTES`] of a line. A longer one is refused, and the next one read.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    Refused, SourceError,
    source::{Chunk, Item, item},
};
use crate::rows::line::{self, LineError, MAX_LINE_BYTES};

/// Lines that are being read.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    /// 0 of standard input.
    total_bytes: u64,
    read_bytes: u64,
    number: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("path", &self.path).field("number", &self.number).finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let total_bytes = file.metadata()?.len();
        Ok(Self::of(Box::new(BufReader::new(file)), path.to_owned(), total_bytes))
    }

    pub(super) fn stdin() -> Self {
        Self::of(Box::new(BufReader::new(io::stdin())), "standard input".into(), 0)
    }

    fn of(reader: Box<dyn BufRead + Send>, path: PathBuf, total_bytes: u64) -> Self {
        Self { reader, path, total_bytes, read_bytes: 0, number: 0 }
    }

    pub(super) fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    pub(super) fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        let mut chunk = Chunk::default();
        while !chunk.is_full() {
            let Some(read) = self.next().map_err(|error| SourceError::Io(self.path.clone(), error))? else { break };
            match read {
                Ok(line) if line.trim_ascii().is_empty() => {}
                read => chunk.push(item(read.and_then(|line| row(&line)), || format!("line {}", self.number))),
            }
        }
        Ok(chunk.end())
    }

    /// The next line; what is too long is skipped.
    fn next(&mut self) -> io::Result<Option<Result<Vec<u8>, Refused>>> {
        let mut line = Vec::new();
        let most = MAX_LINE_BYTES as u64 + 1;
        let bytes = (&mut self.reader).take(most).read_until(b'\n', &mut line)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.read_bytes += bytes as u64;
        if bytes as u64 == most && line.last() != Some(&b'\n') {
            self.read_bytes += self.reader.skip_until(b'\n')? as u64;
            return Ok(Some(Err(Refused::Unreadable(format!("a line of more than {MAX_LINE_BYTES} bytes")))));
        }
        Ok(Some(Ok(line)))
    }
}

fn row(line: &[u8]) -> Result<archive::Row, Refused> {
    line::read(line).map_err(|error| match error {
        LineError::Hash(_) => Refused::Hash,
        error @ (LineError::Json(_) | LineError::Field(_) | LineError::Nothing) => {
            Refused::Unreadable(error.to_string())
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use waku0::{Envelope, Topic};

    use super::*;
    use crate::rows;

    fn written(nonce: u64) -> String {
        let envelope = Envelope::new(1_700_000_050, 50, Topic([1; 4]), Bytes::from_static(b"data"), nonce).unwrap();
        line::write(&rows::of_envelope(&envelope, Some("imported"), 7)).unwrap()
    }

    fn read(text: impl Into<Vec<u8>>) -> Vec<Item> {
        let mut lines = Lines::of(Box::new(io::Cursor::new(text.into())), "x".into(), 0);
        std::iter::from_fn(|| lines.next_chunk().unwrap()).flatten().collect()
    }

    #[test]
    fn lines_that_are_torn_or_wrong_are_refused_and_the_others_read() {
        let (first, second) = (written(1), written(2));
        let wrong = first.replace("\"nonce\":\"1\"", "\"nonce\":\"3\"");
        let items = read(format!("{first}\n\n{wrong}\nrubbish\n{second}\n{}", &second[..40]));
        let told: Vec<_> = items
            .iter()
            .map(|item| match item {
                Item::Row(row) => row.mined().map(|mined| mined.nonce.to_string()).unwrap_or_default(),
                Item::Refused { reason, place } => format!("{place} {}", reason.as_str()),
                Item::Damaged(_) => String::new(),
            })
            .collect();
        assert_eq!(told, ["1", "line 3 hash", "line 4 unreadable", "2", "line 6 unreadable"]);
    }

    #[test]
    fn a_line_without_end_is_skipped() {
        let mut text = vec![b'x'; MAX_LINE_BYTES + 100];
        text.push(b'\n');
        text.extend(written(1).into_bytes());
        let items = read(text);
        assert!(matches!(&items[..], [Item::Refused { .. }, Item::Row(_)]), "{items:?}");
    }
}
