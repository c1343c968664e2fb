//! What is imported, told apart by what it is: nobody need say.

use std::{
    fmt::{self, Display, Formatter},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use archive::Row;

use super::{
    Refused,
    leveldb::{Database, DatabaseError},
    lines::Lines,
    mail::{LevelDb, Postgres},
    nwaku::{Nwaku, NwakuError},
};

/// Most rows of a chunk: what an archive writes at once.
const CHUNK_ROWS: usize = archive::writer::MAX_BATCH;
/// Bytes of a chunk, one row's more at most: 8 MiB.
const CHUNK_BYTES: usize = archive::writer::MAX_BATCH_BYTES;
/// Where status-go keeps the archive within its data directory: of waku, of Whisper.
const WITHIN: [&str; 2] = ["waku", "wnode"];
/// What a SQLite file begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// One record, or what should have been some.
#[derive(Debug)]
pub(crate) enum Item {
    /// A row to keep.
    Row(Box<Row>),
    /// A record that is not taken.
    Refused {
        /// Why.
        reason: Refused,
        /// Which.
        place: String,
    },
    /// A part that can't be read.
    Damaged(String),
}

/// Why nothing, or nothing more, is read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such thing.
    #[error(
        "{0} is nothing that can be imported: give the data directory of status-go, the URL of its PostgreSQL, \
         nwaku's SQLite file, or JSON lines as `export` writes them (- for standard input)"
    )]
    Unknown(PathBuf),
    /// It can't be read.
    #[error("{0} can't be read: {1}")]
    Io(PathBuf, io::Error),
    /// The database of a mail server.
    #[error(transparent)]
    LevelDb(#[from] DatabaseError),
    /// PostgreSQL says no.
    #[error("the PostgreSQL of status-go ({0}) can't be read: {1}")]
    Postgres(String, sqlx::Error),
    /// It has no such table.
    #[error("the PostgreSQL {0} has no table `envelopes` with `id` and `data`: it is no archive of status-go")]
    NotPostgres(String),
    /// The store of nwaku.
    #[error(transparent)]
    Nwaku(#[from] NwakuError),
}

/// A source that is being read.
#[derive(Debug)]
pub(crate) enum Source {
    LevelDb(Box<LevelDb>),
    Postgres(Postgres),
    Nwaku(Nwaku),
    Lines(Lines),
}

impl Source {
    /// Finds out what it is, and opens it.
    ///
    /// # Errors
    /// [`SourceError`] says what it is instead.
    pub(crate) async fn open(name: &str, rehash: bool) -> Result<Self, SourceError> {
        if name == "-" {
            return Ok(Self::Lines(Lines::stdin()));
        }
        if ["postgres://", "postgresql://"].iter().any(|scheme| name.starts_with(scheme)) {
            return Ok(Self::Postgres(Postgres::open(name).await?));
        }
        let path = PathBuf::from(name.strip_prefix("sqlite://").unwrap_or(name));
        if path.is_dir() {
            let directory = database_in(&path).ok_or_else(|| SourceError::Unknown(path.clone()))?;
            return Ok(Self::LevelDb(Box::new(LevelDb::open(directory)?)));
        }
        match first_bytes(&path).map_err(|error| SourceError::Io(path.clone(), error))? {
            first if first == SQLITE => Ok(Self::Nwaku(Nwaku::open(&path, rehash).await?)),
            first if first.is_empty() || first.trim_ascii_start().starts_with(b"{") => {
                Ok(Self::Lines(Lines::file(&path).map_err(|error| SourceError::Io(path.clone(), error))?))
            }
            _ => Err(SourceError::Unknown(path)),
        }
    }

    /// The next records; `None` behind the last one. Not to be given up half way: what was read would be lost.
    ///
    /// # Errors
    /// What keeps it from being read on.
    pub(crate) async fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        match self {
            // Files are read here and now; other tasks go elsewhere meanwhile.
            Self::LevelDb(source) => Ok(tokio::task::block_in_place(|| source.next_chunk())),
            Self::Lines(source) => tokio::task::block_in_place(|| source.next_chunk()),
            Self::Postgres(source) => source.next_chunk().await,
            Self::Nwaku(source) => Ok(source.next_chunk().await?),
        }
    }

    /// How much was read, of how much: bytes or rows, 0 where it is not known.
    pub(crate) fn progress(&self) -> (u64, u64) {
        match self {
            Self::LevelDb(source) => source.progress(),
            Self::Postgres(source) => source.progress(),
            Self::Nwaku(source) => source.progress(),
            Self::Lines(source) => source.progress(),
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::LevelDb(source) => write!(f, "status-go's archive (LevelDB) {}", source.directory().display()),
            Self::Postgres(source) => write!(f, "status-go's archive (PostgreSQL) {}", source.name()),
            Self::Nwaku(source) => write!(f, "nwaku's store (SQLite) {}", source.path().display()),
            Self::Lines(source) => write!(f, "JSON lines of {}", source.name()),
        }
    }
}

/// The database of a directory, or of status-go's data directory.
fn database_in(path: &Path) -> Option<PathBuf> {
    let places = std::iter::once(path.to_owned()).chain(WITHIN.iter().map(|name| path.join(name)));
    places.into_iter().find(|place| Database::is_in(place))
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    File::open(path)?.take(SQLITE.len() as u64).read_to_end(&mut first)?;
    Ok(first)
}

/// Records that are being gathered.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    items: Vec<Item>,
    bytes: usize,
}

impl Chunk {
    pub(super) fn push(&mut self, item: Item) {
        self.bytes += match &item {
            Item::Row(row) => row.size_bytes(),
            Item::Refused { .. } | Item::Damaged(_) => 0,
        };
        self.items.push(item);
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    pub(super) fn end(self) -> Option<Vec<Item>> {
        (!self.items.is_empty()).then_some(self.items)
    }
}

/// What a record of a source became.
pub(super) fn item(read: Result<Row, Refused>, place: impl FnOnce() -> String) -> Item {
    match read {
        Ok(row) => Item::Row(Box::new(row)),
        Err(reason) => Item::Refused { reason, place: place() },
    }
}
