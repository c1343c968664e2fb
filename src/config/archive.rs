//! Flags about what is kept, checked.

use std::path::{Path, PathBuf};

use archive::Retention;

use super::ConfigError;
use crate::{
    cli::{ArchiveArgs, StoreArgs},
    storage::archive::ARCHIVE_FILE,
};

/// What an archive in SQLite is named by.
const SQLITE: &str = "sqlite://";
/// What one is named by that is gone at the end.  Deployed: nwaku.
const MEMORY: &str = "sqlite://:memory:";
/// How long what is relayed is kept, in seconds: two days. Source: nwaku's `--store-message-retention-policy`.
const STORE_SECS: u64 = 172_800;
/// Connections of a store to PostgreSQL.  Deployed: nwaku.
const STORE_CONNECTIONS: u32 = 50;
/// What one in PostgreSQL is named by.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// An archive to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    pub place: Place,
    /// What is kept.
    pub retention: Retention,
}

/// Where an archive is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In memory: it is gone at the end.
    Memory,
    /// In a SQLite file; `None` is one in the data directory.
    Sqlite(Option<PathBuf>),
    /// In PostgreSQL.
    Postgres {
        /// With the password.
        url: String,
        /// At most so many, one of which writes.
        connections: u32,
    },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            // The URL has a password.
            Self::Postgres { connections, .. } => {
                f.debug_struct("Postgres").field("connections", connections).finish_non_exhaustive()
            }
        }
    }
}

/// Connections of a command that reads or writes an archive and ends.
const COMMAND_CONNECTIONS: u32 = 2;

impl Place {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self, data_dir: &Path) -> Option<PathBuf> {
        match self {
            Self::Sqlite(path) => Some(path.clone().unwrap_or_else(|| data_dir.join(ARCHIVE_FILE))),
            Self::Memory | Self::Postgres { .. } => None,
        }
    }

    /// Its name for people, without a password.
    #[must_use]
    pub fn named(&self, data_dir: &Path) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite(_) => self.file(data_dir).unwrap_or_default().display().to_string(),
            Self::Postgres { .. } => "PostgreSQL".to_owned(),
        }
    }
}

/// The archive that a command names.
///
/// # Errors
/// A URL of neither engine.
pub fn at(url: Option<&str>) -> Result<Place, ConfigError> {
    url.filter(|url| !url.is_empty()).map_or(Ok(Place::Sqlite(None)), |url| place(url, COMMAND_CONNECTIONS))
}

/// Does a bridge with these flags have an archive?
pub(super) fn is_wanted(args: &ArchiveArgs, store: &StoreArgs) -> bool {
    args.archive || store.serves()
}

/// Reads the flags of a bridge; `None` where no archive is asked for. It has one, which is also its store: what is said of the store and
/// not of the archive counts for it.
pub(super) fn archive(args: &ArchiveArgs, store: &StoreArgs) -> Result<Option<Archive>, ConfigError> {
    let url = args.archive_url.as_deref().filter(|url| !url.is_empty());
    if !is_wanted(args, store) {
        return url.map_or(Ok(None), |_| Err(ConfigError::UnusedArchive));
    }
    let place = match (url, store.store_message_db_url.as_deref()) {
        (Some(url), Some(other)) if url != other => {
            return Err(ConfigError::ArchiveTwice("--archive-url", "--store-message-db-url"));
        }
        (None, Some(url)) => store_place(Some(url), store.store_max_num_db_connections)?,
        (url, _) => place_of(url, store.store_max_num_db_connections.unwrap_or(args.archive_max_connections))?,
    };
    let own = args.archive_retention_policy;
    let retention = match store.store_message_retention_policy {
        Some(retention) if own != ArchiveArgs::RETENTION && own != retention => {
            return Err(ConfigError::ArchiveTwice("--archive-retention-policy", "--store-message-retention-policy"));
        }
        Some(retention) => retention,
        None => own,
    };
    Ok(Some(Archive { place, retention }))
}

/// Reads the flags of a node that bridges nothing; `None` where it keeps nothing.
pub(super) fn of_store(store: &StoreArgs) -> Result<Option<Archive>, ConfigError> {
    if !store.serves() {
        return Ok(None);
    }
    let place = store_place(store.store_message_db_url.as_deref(), store.store_max_num_db_connections)?;
    let by_age = Retention { max_age_secs: Some(STORE_SECS), ..Retention::default() };
    Ok(Some(Archive { place, retention: store.store_message_retention_policy.unwrap_or(by_age) }))
}

/// Where a URL of nwaku's says: an empty one is memory, none is in the data directory.
fn store_place(url: Option<&str>, connections: Option<u32>) -> Result<Place, ConfigError> {
    match url {
        None => Ok(Place::Sqlite(None)),
        Some("") => Ok(Place::Memory),
        Some(url) => place(url, connections.unwrap_or(STORE_CONNECTIONS)),
    }
}

/// Where a URL says, or in the data directory without one.
pub(super) fn place_of(url: Option<&str>, connections: u32) -> Result<Place, ConfigError> {
    match url.filter(|url| !url.is_empty()) {
        None => Ok(Place::Sqlite(None)),
        Some(url) => place(url, connections),
    }
}

/// What is given may hold a password, so an error says only how it begins.
fn place(url: &str, connections: u32) -> Result<Place, ConfigError> {
    if url == MEMORY {
        return Ok(Place::Memory);
    }
    if let Some(path) = url.strip_prefix(SQLITE).filter(|path| !path.is_empty()) {
        return Ok(Place::Sqlite(Some(path.into())));
    }
    if POSTGRES.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(Place::Postgres { url: url.to_owned(), connections });
    }
    Err(ConfigError::ArchiveUrl(url.split([':', '@']).next().unwrap_or_default().chars().take(32).collect()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        archive: ArchiveArgs,
        #[command(flatten)]
        store: StoreArgs,
    }

    fn flags(flags: &[&str]) -> Flags {
        Flags::try_parse_from(["x"].iter().chain(flags)).unwrap()
    }

    fn read(given: &[&str]) -> Result<Option<Archive>, ConfigError> {
        let Flags { archive: args, store } = flags(given);
        archive(&args, &store)
    }

    #[test]
    fn a_store_is_an_archive() {
        let node = |given: &[&str]| of_store(&flags(given).store).unwrap().unwrap();
        assert_eq!(of_store(&flags(&["--store-message-db-url=sqlite://x"]).store).unwrap(), None);
        let plain = node(&["--store"]);
        assert_eq!((plain.place, plain.retention.to_string()), (Place::Sqlite(None), "time:172800".to_owned()));
        for memory in ["--store-message-db-url=", "--store-message-db-url=sqlite://:memory:"] {
            assert_eq!(node(&["--legacy-store", memory]).place, Place::Memory);
        }
        let url = "postgres://u:p@h/db".to_owned();
        let given = ["--store", &format!("--store-message-db-url={url}"), "--store-max-num-db-connections=7"];
        assert_eq!(node(&given).place, Place::Postgres { url, connections: 7 });
        assert_eq!(node(&["--store", "--store-message-retention-policy=capacity:9"]).retention.max_rows, Some(9));
    }

    #[test]
    fn a_bridge_has_one_of_both_names() {
        let of = |given: &[&str]| read(given).map(Option::unwrap);
        let plain = of(&["--store"]).unwrap();
        assert_eq!((plain.place, plain.retention), (Place::Sqlite(None), ArchiveArgs::RETENTION));
        let both = ["--archive", "--archive-url=sqlite://a", "--store-message-db-url=sqlite://a", "--store"];
        assert_eq!(of(&both).unwrap().place, Place::Sqlite(Some("a".into())));
        assert_eq!(of(&["--archive", "--store-message-retention-policy=none"]).unwrap().retention.to_string(), "none");
        for twice in [
            ["--archive-url=sqlite://a", "--store-message-db-url=sqlite://b"],
            ["--archive-retention-policy=time:1", "--store-message-retention-policy=time:2"],
        ] {
            assert!(matches!(of(&["--store", twice[0], twice[1]]), Err(ConfigError::ArchiveTwice(..))), "{twice:?}");
        }
    }

    #[test]
    fn none_unless_asked_for() {
        assert_eq!(read(&[]).unwrap(), None);
        assert!(matches!(read(&["--archive-url=sqlite://a"]), Err(ConfigError::UnusedArchive)));
    }

    #[test]
    fn urls_name_the_engine() {
        let at =
            |url: &str| read(&["--archive", &format!("--archive-url={url}")]).map(|archive| archive.unwrap().place);
        assert_eq!(read(&["--archive"]).unwrap().unwrap().place, Place::Sqlite(None));
        assert_eq!(at("sqlite://a/b.db").unwrap(), Place::Sqlite(Some("a/b.db".into())));
        let url = "postgres://u:secret@h/db".to_owned();
        assert_eq!(at(&url).unwrap(), Place::Postgres { url, connections: 8 });
        for wrong in ["sqlite://", "mysql://u:secret@h", "u:secret@h"] {
            let said = at(wrong).unwrap_err().to_string();
            assert!(said.contains("postgres://") && !said.contains("secret"), "{said}");
        }
        assert!(!format!("{:?}", at("postgres://u:secret@h/db").unwrap()).contains("secret"));
    }
}
