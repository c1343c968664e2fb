//! A LevelDB database, read from its first key to its last, and never written to.
//! Source: google/leveldb `doc/impl.md`, `db/version_edit.cc`, `db/dbformat.h`; goleveldb, which status-go's mail servers use.
//!
//! Other readers recover a database first, which rewrites its files, and pass over what they can't read. Here the source stays as
//! it is, and each damaged block is reported ([`Step::Damaged`]) while all others are read. A server that runs holds the
//! lock of its database; then nothing is read.
//!
//! Limits: [`MAX_JOURNAL_BYTES`] of all journals together, which are held in memory; one block of each level; damaged blocks may
//! hide that an entry was deleted later, which then comes back.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

mod journal;
mod table;

use table::{Table, TableError};

/// Bytes of all journals together, 256 MiB: both implementations begin a new one after 4 MiB and drop the old one.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;
/// The name of the order that both implementations have by default: by bytes.
const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";
/// Bytes behind a key: a sequence number and the kind of change.
const TAG: usize = 8;
/// Added to checksums, so that the checksum of data with checksums in it is none of them.
const MASK_DELTA: u32 = 0xa282_ead8;

/// Why a database can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A file is missing or can't be read.
    #[error("{0} can't be read: {1}")]
    Io(PathBuf, io::Error),
    /// Somebody has it open.
    #[error("{0} is in use: stop the server that writes it, or import a copy of its directory")]
    InUse(PathBuf),
    /// The file that says which tables there are is damaged.
    #[error("{0} is damaged: {1}. Repair the database with the program that wrote it, or import a copy of before")]
    Manifest(PathBuf, &'static str),
    /// More is in journals than either implementation leaves there.
    #[error("{0} has journals of {1} bytes; at most {MAX_JOURNAL_BYTES} are read")]
    Journals(PathBuf, u64),
}

/// What reading gives.
#[derive(Debug)]
pub(crate) enum Step {
    /// The newest value of a key.
    Entry {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Bytes,
    },
    /// Something could not be read: a block with its entries, or a table.
    Damaged(String),
}

/// A key at one time, with what was written there then; without a value, it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    tag: u64,
    value: Option<Bytes>,
}

impl Entry {
    /// Of an internal key, as tables have it.
    fn of(key: &[u8], value: &[u8]) -> Option<Self> {
        let (key, tag) = key.split_last_chunk::<TAG>()?;
        let tag = u64::from_le_bytes(*tag);
        let value = match tag & 0xff {
            0 => None,
            1 => Some(Bytes::copy_from_slice(value)),
            _ => return None,
        };
        Some(Self { key: key.to_vec(), tag, value })
    }
}

/// A database that is being read, in the order of its keys.
#[derive(Debug)]
pub(crate) struct Database {
    sources: Vec<Source>,
    /// What each source has next: by key, then the newest first.
    heap: BinaryHeap<Reverse<Due>>,
    /// What each source has next, by its place.
    heads: Vec<Option<Entry>>,
    /// The last key that was met, whatever became of it.
    last: Option<Vec<u8>>,
    damaged: VecDeque<String>,
    total_bytes: u64,
    read_bytes: u64,
    /// Held as long as it is read, so that no server begins to write it.
    _lock: Option<File>,
}

/// A key, when it was written, and the place of its source.
type Due = (Vec<u8>, Reverse<u64>, usize);

#[derive(Debug)]
enum Source {
    /// A table not yet opened: most never are at the same time.
    Waiting(PathBuf, u64),
    Table(Box<Table>),
    Journal(std::vec::IntoIter<Entry>),
    Ended,
}

impl Database {
    /// Is there one in this directory?
    pub(crate) fn is_in(directory: &Path) -> bool {
        directory.join("CURRENT").is_file()
    }

    /// Opens it. The directory stays as it is.
    ///
    /// # Errors
    /// [`DatabaseError`] names the file.
    pub(crate) fn open(directory: &Path) -> Result<Self, DatabaseError> {
        let lock = lock(directory)?;
        let version = Version::read(directory)?;
        let mut database = Self {
            sources: Vec::new(),
            heap: BinaryHeap::new(),
            heads: Vec::new(),
            last: None,
            damaged: VecDeque::new(),
            total_bytes: 0,
            read_bytes: 0,
            _lock: lock,
        };
        for (number, (size, smallest)) in &version.tables {
            database.total_bytes += size;
            let path = table_path(directory, *number);
            database.wait_for(Source::Waiting(path, *size), smallest);
        }
        let written = database.journals(directory, &version)?;
        let place = database.sources.len();
        database.sources.push(Source::Journal(written.into_iter()));
        database.heads.push(None);
        database.advance(place);
        Ok(database)
    }

    /// Bytes of tables that were opened, and of all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    /// The next key and its newest value, or what could not be read; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(damaged) = self.damaged.pop_front() {
                return Some(Step::Damaged(damaged));
            }
            let Reverse((_, _, place)) = self.heap.pop()?;
            let head = self.heads[place].take();
            self.advance(place);
            let Some(entry) = head else { continue }; // A table that has just been opened.
            if self.last.as_ref() == Some(&entry.key) {
                continue; // An older value.
            }
            self.last = Some(entry.key.clone());
            if let Some(value) = entry.value {
                return Some(Step::Entry { key: entry.key, value });
            }
        }
    }

    /// A table that is opened when its first key is due. Before everything else of that key: it may have it newer.
    fn wait_for(&mut self, source: Source, smallest: &[u8]) {
        self.heap.push(Reverse((smallest.to_vec(), Reverse(u64::MAX), self.sources.len())));
        self.sources.push(source);
        self.heads.push(None);
    }

    /// Gets what a source has next.
    fn advance(&mut self, place: usize) {
        if let Source::Waiting(path, size) = &self.sources[place] {
            self.read_bytes += size;
            self.sources[place] = match Table::open(path) {
                Ok(table) => Source::Table(Box::new(table)),
                Err(error) => {
                    self.damaged.push_back(format!("{}: {error}; none of it is read", path.display()));
                    Source::Ended
                }
            };
        }
        let next = loop {
            match &mut self.sources[place] {
                Source::Table(table) => match table.next() {
                    Ok(next) => break next,
                    Err(error) => self.damaged.push_back(block_damaged(table, &error)),
                },
                Source::Journal(entries) => break entries.next(),
                Source::Waiting(..) | Source::Ended => break None,
            }
        };
        match &next {
            Some(entry) => self.heap.push(Reverse((entry.key.clone(), Reverse(entry.tag), place))),
            None => self.sources[place] = Source::Ended,
        }
        self.heads[place] = next;
    }

    /// What was written and is in no table yet, by key, the newest first.
    fn journals(&mut self, directory: &Path, version: &Version) -> Result<Vec<Entry>, DatabaseError> {
        let mut entries = BTreeMap::new();
        for path in version.journals(directory)? {
            let (records, damaged) = journal::records(&read(&path)?);
            if damaged > 0 {
                self.damaged.push_back(format!("{}: {damaged} blocks can't be read", path.display()));
            }
            for record in records {
                if batch(&record, &mut entries).is_none() {
                    self.damaged.push_back(format!("{}: a write that can't be read", path.display()));
                }
            }
        }
        let entry = |((key, Reverse(tag)), value)| Entry { key, tag, value };
        Ok(entries.into_iter().map(entry).collect())
    }
}

fn block_damaged(table: &Table, error: &TableError) -> String {
    format!("{}: a block can't be read: {error}", table.path().display())
}

/// Reads a batch of writes: a sequence number, a count, and so many changes.
fn batch(record: &[u8], into: &mut BTreeMap<(Vec<u8>, Reverse<u64>), Option<Bytes>>) -> Option<()> {
    let (sequence, rest) = record.split_first_chunk::<8>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let sequence = u64::from_le_bytes(*sequence);
    for place in 0..u64::from(u32::from_le_bytes(*count)) {
        let (kind, after) = rest.split_first()?;
        rest = after;
        let key = string(&mut rest)?.to_vec();
        let value = match kind {
            0 => None,
            1 => Some(Bytes::copy_from_slice(string(&mut rest)?)),
            _ => return None,
        };
        let tag = sequence.checked_add(place)?.checked_shl(8)? | u64::from(*kind);
        into.insert((key, Reverse(tag)), value);
    }
    rest.is_empty().then_some(())
}

/// What the manifest says.
#[derive(Debug, Default)]
struct Version {
    /// Tables by their number: their size, and their smallest key.
    tables: BTreeMap<u64, (u64, Vec<u8>)>,
    /// The first journal that is in no table.
    journal: u64,
    /// One before it that is not either.
    former_journal: u64,
}

impl Version {
    fn read(directory: &Path) -> Result<Self, DatabaseError> {
        let current = directory.join("CURRENT");
        let named = read(&current)?;
        let name = std::str::from_utf8(&named).map(str::trim_end).unwrap_or_default();
        if !name.starts_with("MANIFEST-") || name.contains(['/', '\\']) {
            return Err(DatabaseError::Manifest(current, "it names no manifest"));
        }
        let path = directory.join(name);
        let damaged = |what| DatabaseError::Manifest(path.clone(), what);
        let (records, unread) = journal::records(&read(&path)?);
        if unread > 0 {
            return Err(damaged("a block can't be read"));
        }
        let mut version = Self::default();
        for record in &records {
            version
                .edit(record)
                .ok_or_else(|| damaged("it has a record that can't be read, or another order of keys"))?;
        }
        Ok(version)
    }

    /// Takes one change.
    fn edit(&mut self, record: &[u8]) -> Option<()> {
        let mut rest = record;
        while !rest.is_empty() {
            match varint(&mut rest)? {
                1 => (string(&mut rest)? == COMPARATOR).then_some(())?,
                2 => self.journal = varint(&mut rest)?,
                3 | 4 => {
                    varint(&mut rest)?;
                }
                5 => {
                    varint(&mut rest)?;
                    string(&mut rest)?;
                }
                6 => {
                    varint(&mut rest)?;
                    self.tables.remove(&varint(&mut rest)?);
                }
                7 => {
                    varint(&mut rest)?;
                    let (number, size) = (varint(&mut rest)?, varint(&mut rest)?);
                    let (smallest, _) = string(&mut rest)?.split_last_chunk::<TAG>()?;
                    string(&mut rest)?;
                    self.tables.insert(number, (size, smallest.to_vec()));
                }
                9 => self.former_journal = varint(&mut rest)?,
                _ => return None,
            }
        }
        Some(())
    }

    /// The journals that are in no table, the oldest first.
    fn journals(&self, directory: &Path) -> Result<Vec<PathBuf>, DatabaseError> {
        let unreadable = |error| DatabaseError::Io(directory.to_owned(), error);
        let mut found = BTreeMap::new();
        let mut bytes = 0;
        for file in fs::read_dir(directory).map_err(unreadable)? {
            let path = file.map_err(unreadable)?.path();
            let number = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
            let Some(number) = number.filter(|_| path.extension().is_some_and(|kind| kind == "log")) else { continue };
            if number >= self.journal || number == self.former_journal {
                bytes += fs::metadata(&path).map_err(|error| DatabaseError::Io(path.clone(), error))?.len();
                found.insert(number, path);
            }
        }
        if bytes > MAX_JOURNAL_BYTES {
            return Err(DatabaseError::Journals(directory.to_owned(), bytes));
        }
        Ok(found.into_values().collect())
    }
}

/// Tables have either ending; goleveldb writes the newer one.
fn table_path(directory: &Path, number: u64) -> PathBuf {
    let older = directory.join(format!("{number:06}.sst"));
    if older.exists() { older } else { directory.join(format!("{number:06}.ldb")) }
}

/// A lock shared with other readers; a server has it alone. Opened for reading: nothing is written. A copy may have none.
fn lock(directory: &Path) -> Result<Option<File>, DatabaseError> {
    let path = directory.join("LOCK");
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(DatabaseError::Io(path, error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let unreadable = |error| DatabaseError::Io(path.to_owned(), error);
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_JOURNAL_BYTES {
        return Err(DatabaseError::Journals(path.to_owned(), bytes));
    }
    fs::read(path).map_err(unreadable)
}

/// A number of seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Bytes with their length before them.
fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (string, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(string)
}

fn unmasked(stored: u32) -> u32 {
    stored.wrapping_sub(MASK_DELTA).rotate_left(15)
}

#[cfg(test)]
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests;
