//! Keys that applications keep with a node: key pairs and symmetric keys, each by an id of 32 random bytes.
//!
//! Each is a file of its own in `keys` of the data directory, named by the id in hex and readable by its owner alone: one line, `private` or
//! `symmetric` and 64 hex digits. A file appears whole or not at all. What is in the directory and is no key is an error at the
//! start, not a key less.
//!
//! Limit: [`MAX_KEYS`] keys.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use rand::Rng;
use waku0::payload::Key;

use crate::keys::write_secret;

/// Keys at a time: each is a file, and all are in memory.
pub const MAX_KEYS: usize = 4_096;

/// Their directory within the data directory.
const DIRECTORY: &str = "keys";

/// Ends the name of a file that was being written when the program died.
const UNFINISHED: &str = ".new";

/// By which a key is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 64 hex digits")]
pub struct KeyIdError;

impl fmt::Display for KeyId {
    /// 64 hex digits without `0x`, as deployed nodes write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let mut id = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id).map_err(|_| KeyIdError)?;
        Ok(Self(id))
    }
}

/// Why keys can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The directory can't be used.
    #[error("the keys in {0} can't be read or written: {1}")]
    Directory(PathBuf, io::Error),
    /// A file that is no key.
    #[error("{0} is no key: mend it, or move it away")]
    Malformed(PathBuf),
    /// There are too many.
    #[error("there are {MAX_KEYS} keys already: delete one that is not needed")]
    Full,
}

/// The keys of a data directory.
#[derive(Debug)]
pub struct KeyStore {
    directory: PathBuf,
    keys: BTreeMap<KeyId, Key>,
}

impl KeyStore {
    /// Reads the keys of a data directory.
    ///
    /// # Errors
    /// [`KeyStoreError`] names the file.
    pub fn open(data_dir: &Path) -> Result<Self, KeyStoreError> {
        let directory = data_dir.join(DIRECTORY);
        let unusable = |error| KeyStoreError::Directory(directory.clone(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(unusable)?;
        let mut keys = BTreeMap::new();
        for entry in fs::read_dir(&directory).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(&path).map_err(unusable)?;
                continue;
            }
            if keys.len() >= MAX_KEYS {
                return Err(KeyStoreError::Full);
            }
            let (id, key) = read(&path)?;
            keys.insert(id, key);
        }
        Ok(Self { directory, keys })
    }

    /// Keeps a key. When it returns, the key is on disk.
    ///
    /// # Errors
    /// If there are too many, or it can't be written.
    pub fn add(&mut self, key: Key, rng: &mut impl Rng) -> Result<KeyId, KeyStoreError> {
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyStoreError::Full);
        }
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        let id = KeyId(id);
        write_secret(&self.path(&id), &line(&key)).map_err(|error| self.unusable(error))?;
        self.keys.insert(id, key);
        Ok(id)
    }

    /// The key of an id.
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&Key> {
        self.keys.get(id)
    }

    /// Deletes a key. Returns whether it was there.
    ///
    /// # Errors
    /// If its file can't be removed; then it stays.
    pub fn remove(&mut self, id: &KeyId) -> Result<bool, KeyStoreError> {
        if !self.keys.contains_key(id) {
            return Ok(false);
        }
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.unusable(error)),
            _ => {}
        }
        Ok(self.keys.remove(id).is_some())
    }

    fn path(&self, id: &KeyId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn unusable(&self, error: io::Error) -> KeyStoreError {
        KeyStoreError::Directory(self.directory.clone(), error)
    }
}

fn line(key: &Key) -> String {
    match key {
        Key::Private(key) => format!("private {}", hex::encode(key.to_bytes())),
        Key::Symmetric(key) => format!("symmetric {}", hex::encode(key.to_bytes())),
    }
}

fn read(path: &Path) -> Result<(KeyId, Key), KeyStoreError> {
    let malformed = || KeyStoreError::Malformed(path.to_owned());
    let id = path.file_name().and_then(|name| name.to_str()?.parse().ok()).ok_or_else(malformed)?;
    let text = fs::read_to_string(path).map_err(|error| KeyStoreError::Directory(path.to_owned(), error))?;
    let key = match text.trim().split_once(' ') {
        Some(("private", hex)) => hex.parse().ok().map(Key::Private),
        Some(("symmetric", hex)) => hex.parse().ok().map(Key::Symmetric),
        _ => None,
    };
    Ok((id, key.ok_or_else(malformed)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use devp2p::NodeKey;
    use waku0::payload::SymKey;

    use super::*;
    use crate::keys::seeded_rng;

    fn keys() -> [Key; 2] {
        [Key::Private(NodeKey::from_bytes(&[1; 32]).unwrap()), Key::Symmetric(SymKey::from_bytes([2; 32]).unwrap())]
    }

    #[test]
    fn keys_are_there_after_a_restart_until_they_are_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let mut rng = seeded_rng(1);
        let mut store = KeyStore::open(directory.path()).unwrap();
        let ids = keys().map(|key| store.add(key, &mut rng).unwrap());
        let mut store = KeyStore::open(directory.path()).unwrap();
        assert_eq!(ids.map(|id| store.get(&id).cloned()), keys().map(Some));
        assert!(store.remove(&ids[0]).unwrap() && !store.remove(&ids[0]).unwrap());
        let store = KeyStore::open(directory.path()).unwrap();
        assert_eq!((store.get(&ids[0]), store.get(&ids[1])), (None, Some(&keys()[1])));
    }

    #[test]
    fn nobody_else_can_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = KeyStore::open(directory.path()).unwrap();
        let id = store.add(keys()[0].clone(), &mut seeded_rng(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.directory), mode(&store.path(&id))), (0o700, 0o600));
    }

    #[test]
    fn half_a_key_is_none_and_what_is_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyStore::open(directory.path()).unwrap();
        let id = KeyId([7; 32]);
        let unfinished = store.directory.join(format!("{id}.new"));
        fs::write(&unfinished, "priv").unwrap();
        assert_eq!(KeyStore::open(directory.path()).unwrap().keys.len(), 0);
        assert!(!unfinished.exists());
        for (name, text) in [(id.to_string(), "private 00"), (id.to_string(), "public"), ("readme".into(), "hello")] {
            let path = store.directory.join(name);
            fs::write(&path, text).unwrap();
            let error = KeyStore::open(directory.path()).unwrap_err();
            assert!(matches!(&error, KeyStoreError::Malformed(named) if *named == path), "{error}");
            fs::remove_file(&path).unwrap();
        }
    }
}
