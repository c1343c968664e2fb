//! The file of an address book, ours or another layer's: shell.
//!
//! Written beside its place and then moved there, so that it is always whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::book::{self, BookError, Entry, MAX_FILE_BYTES};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Reads the file; one that is not there says nothing.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, FileError> {
    match read_bytes(path, MAX_FILE_BYTES)? {
        Some(bytes) => Ok(book::decode(&bytes)?),
        None => Ok(Vec::new()),
    }
}

/// Replaces the file.
pub(crate) fn write(path: &Path, entries: &[Entry]) -> Result<(), FileError> {
    Ok(replace(path, &book::encode(entries)?)?)
}

/// Reads a file, `limit` bytes of it at most; `None` when it is not there.
///
/// # Errors
/// Those of the system.
pub fn read_bytes(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Replaces a file, or makes it.
///
/// # Errors
/// Those of the system; the old file is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers-v1.json");
        assert!(read(&path).unwrap().is_empty(), "there is none yet");
        let entry = |port: u16| Entry {
            enode: format!("enode://x@127.0.0.1:{port}"),
            last_good_unix_secs: Some(7),
            failures: 0,
            retry_unix_secs: 0,
        };
        write(&path, &[entry(1)]).unwrap();
        write(&path, &[entry(2), entry(3)]).unwrap();
        assert_eq!(read(&path).unwrap(), [entry(2), entry(3)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, b"{\"version\":1,").unwrap();
        assert!(matches!(read(&path), Err(FileError::Book(BookError::Json(_)))));
        assert!(matches!(write(&dir.path().join("no/such"), &[]), Err(FileError::Io(_))));
    }
}
