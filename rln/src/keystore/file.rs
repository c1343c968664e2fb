//! Keystores on disk: readable by their owner alone, written beside and renamed, so that a crash never leaves half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Application, Keystore, KeystoreError, MAX_FILE_BYTES};

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".new";

/// Why a file is no keystore, or can't become one.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not for us.
    #[error("the keystore {0} can't be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is none, or another's.
    #[error("{0}: {1}")]
    Keystore(PathBuf, KeystoreError),
    /// The disk does not take it.
    #[error("the keystore {0} can't be written: {1}")]
    Unwritable(PathBuf, io::Error),
}

/// Reads one.
///
/// # Errors
/// [`FileError`] names the file.
pub fn load(path: &Path, application: &Application) -> Result<Keystore, FileError> {
    let json = bytes(path).map_err(|error| FileError::Unreadable(path.to_owned(), error))?;
    Keystore::read(&json, application).map_err(|error| FileError::Keystore(path.to_owned(), error))
}

/// One byte more than may be is read at most, by which it is seen.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes one. What was there is replaced. When it returns, it is on disk.
///
/// # Errors
/// [`FileError::Unwritable`].
pub fn save(path: &Path, keystore: &Keystore) -> Result<(), FileError> {
    write(path, &keystore.to_json()).map_err(|error| FileError::Unwritable(path.to_owned(), error))
}

fn write(path: &Path, line: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(UNFINISHED);
    // One that a crash has left behind may be readable by others.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_read_what_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.json");
        let (application, keystore) = (Application::default(), Keystore::default());
        fs::write(directory.path().join("keystore.json.new"), "half of").unwrap();
        for _ in 0..2 {
            save(&path, &keystore).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(load(&path, &application).unwrap(), keystore);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.json");
        let error = |path: &Path| load(path, &Application::default()).unwrap_err();
        assert!(matches!(error(&path), FileError::Unreadable(named, _) if named == path));
        fs::write(&path, " ".repeat(MAX_FILE_BYTES + 1)).unwrap();
        assert!(matches!(error(&path), FileError::Keystore(named, KeystoreError::TooLarge) if named == path));
        assert!(matches!(save(&path.join("x"), &Keystore::default()), Err(FileError::Unwritable(..))));
    }
}
