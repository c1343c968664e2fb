//! The node key and the lock of the data directory.
//!
//! A key is kept as 64 hex digits in `nodekey`, readable by its owner alone, as go-ethereum keeps it. An existing file is
//! never replaced: a node that silently changed its identity would be lost to its peers.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use devp2p::key::NodeKey;
use rand::{SeedableRng, rngs::StdRng};

/// The key's file within the data directory.
pub const NODE_KEY_FILE: &str = "nodekey";
/// The lock's file within the data directory.
const LOCK_FILE: &str = "LOCK";
/// Longest key file read, in bytes: 64 digits and some white space.
const MAX_KEY_FILE_BYTES: u64 = 128;

/// Why the data directory or the key can't be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No place to keep anything.
    #[error("there is no home directory to keep the node key in: give --data-dir DIR")]
    NoHome,
    /// The directory can't be made or entered.
    #[error("the data directory {0} can't be used: {1}. Give another with --data-dir DIR")]
    Directory(PathBuf, io::Error),
    /// Another process has the lock.
    #[error("the data directory {0} is in use by another process: give --data-dir DIR to run a second node")]
    InUse(PathBuf),
    /// The file is there but can't be read.
    #[error("the key {0} can't be read: {1}. Make it readable, or move it away to get a new identity")]
    Unreadable(PathBuf, io::Error),
    /// The file is there but is no key.
    #[error("the key {0} is no secp256k1 key of 64 hex digits: mend it, or move it away to get a new identity")]
    Malformed(PathBuf),
    /// The flag is no key.
    #[error("--nodekey is no secp256k1 key of 64 hex digits; `openssl rand -hex 32` makes one")]
    BadFlag,
    /// A new key can't be written.
    #[error("the new key {0} can't be written: {1}")]
    Unwritable(PathBuf, io::Error),
}

/// A data directory that this process alone uses, as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and locks it. `None` is `~/.causeway`.
    ///
    /// # Errors
    /// Without a home directory, if the directory can't be used, or while another process holds it.
    pub fn open(path: Option<PathBuf>) -> Result<Self, KeyError> {
        let path = Self::place(path)?;
        let unusable = |e| KeyError::Directory(path.clone(), e);
        fs::create_dir_all(&path).map_err(unusable)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(KeyError::InUse(path)),
            Err(fs::TryLockError::Error(e)) => Err(unusable(e)),
        }
    }

    /// Where one is, or would be. `None` is `~/.causeway`.
    ///
    /// # Errors
    /// Without a home directory.
    pub fn place(path: Option<PathBuf>) -> Result<PathBuf, KeyError> {
        match path {
            Some(path) => Ok(path),
            None => Ok(PathBuf::from(std::env::var_os("HOME").ok_or(KeyError::NoHome)?).join(".causeway")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is there a key in it?
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.path.join(NODE_KEY_FILE).exists()
    }

    /// The key of the flag if there is one, or of the file that a flag names; else the kept one, else a new one, which is then kept.
    ///
    /// # Errors
    /// If the flag or the file is no key, or the file can't be read or written.
    pub fn node_key(&self, flag: Option<&str>, file: Option<&Path>) -> Result<NodeKey, KeyError> {
        if let Some(text) = flag.filter(|text| !text.is_empty()) {
            return text.parse().map_err(|_| KeyError::BadFlag);
        }
        if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
            return read_key(path);
        }
        Ok(kept_key(&self.path.join(NODE_KEY_FILE))?.0)
    }
}

/// The key of a file, or a new one, which is then kept there; and whether it is new.
///
/// # Errors
/// If the file is no key, or can't be read or written.
pub fn kept_key(path: &Path) -> Result<(NodeKey, bool), KeyError> {
    match read_key(path) {
        Err(KeyError::Unreadable(_, e)) if e.kind() == io::ErrorKind::NotFound => Ok((write_new_key(path)?, true)),
        other => Ok((other?, false)),
    }
}

/// The key of a file. That others can read it is logged.
///
/// # Errors
/// If the file can't be read or is no key.
pub fn read_key(path: &Path) -> Result<NodeKey, KeyError> {
    let unreadable = |e| KeyError::Unreadable(path.to_owned(), e);
    let meta = fs::metadata(path).map_err(unreadable)?;
    if meta.len() > MAX_KEY_FILE_BYTES {
        return Err(KeyError::Malformed(path.to_owned()));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the key can be read by others: chmod 600 it");
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    text.trim().parse().map_err(|_| KeyError::Malformed(path.to_owned()))
}

fn write_new_key(path: &Path) -> Result<NodeKey, KeyError> {
    let key = NodeKey::generate(&mut system_rng());
    keep_key(path, &key)?;
    Ok(key)
}

/// Writes a key to a file. What was there is lost.
///
/// # Errors
/// [`KeyError::Unwritable`].
pub fn keep_key(path: &Path, key: &NodeKey) -> Result<(), KeyError> {
    write_secret(path, &hex::encode(key.to_bytes())).map_err(|error| KeyError::Unwritable(path.to_owned(), error))
}

/// Writes a line that its owner alone can read: beside the final name, then renamed, so that a crash never leaves half of it. When it
/// returns, it is on disk.
pub(crate) fn write_secret(path: &Path, line: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// A generator seeded by the system.
#[expect(clippy::disallowed_methods, reason = "shell")]
#[must_use]
pub fn system_rng() -> StdRng {
    rand::make_rng()
}

/// A generator from one number, where chance must be repeatable.
#[must_use]
pub fn seeded_rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(Some(temp.path().join("data"))).unwrap();
        (temp, data)
    }

    #[test]
    fn a_new_key_is_kept_and_private() {
        let (_temp, data) = dir();
        let key = data.node_key(None, None).unwrap();
        assert_eq!(data.node_key(None, None).unwrap().to_bytes(), key.to_bytes());
        assert_eq!(
            kept_key(&data.path().join(NODE_KEY_FILE)).map(|(kept, new)| (kept.to_bytes(), new)).unwrap(),
            (key.to_bytes(), false)
        );
        let mode = fs::metadata(data.path().join(NODE_KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_flag_wins_and_is_not_kept() {
        let (_temp, data) = dir();
        let hex = "01".repeat(32);
        assert_eq!(data.node_key(Some(&hex), None).unwrap().to_bytes(), [1; 32]);
        assert!(!data.path().join(NODE_KEY_FILE).exists());
        assert!(matches!(data.node_key(Some("zz"), None), Err(KeyError::BadFlag)));
        assert!(matches!(data.node_key(Some(&"00".repeat(32)), None), Err(KeyError::BadFlag)));
    }

    #[test]
    fn a_file_that_is_named_is_read_and_never_made() {
        let (temp, data) = dir();
        let path = temp.path().join("elsewhere");
        assert!(matches!(data.node_key(None, Some(&path)), Err(KeyError::Unreadable(..))));
        assert!(!path.exists());
        fs::write(&path, format!("{}\n", "02".repeat(32))).unwrap();
        assert_eq!(data.node_key(None, Some(&path)).unwrap().to_bytes(), [2; 32]);
        assert!(!data.path().join(NODE_KEY_FILE).exists());
        fs::write(&path, "{\"crypto\": {}}").unwrap();
        assert!(matches!(data.node_key(None, Some(&path)), Err(KeyError::Malformed(_))));
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let (_temp, data) = dir();
        let path = data.path().join(NODE_KEY_FILE);
        for text in ["", "1234", &"g".repeat(64), &"1".repeat(500)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(data.node_key(None, None), Err(KeyError::Malformed(_))), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_second_process_is_refused() {
        let (_temp, data) = dir();
        let second = DataDir::open(Some(data.path().to_owned()));
        assert!(matches!(second, Err(KeyError::InUse(_))));
    }
}
