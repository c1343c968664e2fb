//! A lock that leaves nothing behind: a file that is there while somebody holds it.
//!
//! Whoever holds it removes the file before the lock is let go. Another one may have opened it meanwhile, and gets the lock of a
//! file that is at its place no more, or of which another is there by now: so who has the lock looks whether the file is still at
//! its place, and begins anew if not. What a crash leaves behind is nobody's, and the next one takes it.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// How often a file may be gone that was there a moment ago, before it is said that others are at work.
const TRIES: usize = 16;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

/// Why it is not held.
#[derive(Debug)]
pub(super) enum NoLock {
    /// Somebody else holds it.
    InUse,
    /// What the system says.
    Io(io::Error),
}

impl From<io::Error> for NoLock {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Lock {
    /// Takes it at once, or not at all.
    pub(super) fn take(path: PathBuf) -> Result<Self, NoLock> {
        for _ in 0..TRIES {
            let file = File::create(&path)?;
            file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => NoLock::InUse,
                TryLockError::Error(error) => NoLock::Io(error),
            })?;
            if is_at(&file, &path)? {
                return Ok(Self { path, _file: file });
            }
        }
        Err(NoLock::InUse)
    }
}

impl Drop for Lock {
    /// One that can't be removed is the next one's.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Is this file the one that is at this place?
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let own = file.metadata()?;
    Ok((own.dev(), own.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    #[test]
    fn one_at_a_time_holds_it_and_nothing_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = Lock::take(path.clone()).unwrap();
        assert!(matches!(Lock::take(path.clone()), Err(NoLock::InUse)));
        drop(lock);
        assert!(!path.exists());
        // What a crash has left is nobody's.
        fs::write(&path, "").unwrap();
        drop(Lock::take(path.clone()).unwrap());
        assert!(!path.exists());
        assert!(matches!(Lock::take(path.join("nowhere")), Err(NoLock::Io(_))));
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_not_the_one_at_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }

    /// Many who take it and let it go, as fast as they can: never do two hold it.
    #[test]
    fn never_two() {
        let directory = tempfile::tempdir().unwrap();
        let (path, held, took) = (directory.path().join("lock"), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(lock) = Lock::take(path.clone()) else { continue };
                        assert!(!held.swap(true, SeqCst), "two hold it");
                        took.fetch_add(1, SeqCst);
                        held.store(false, SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(took.load(SeqCst) > 0 && !path.exists());
    }
}
