//! Flags about what is kept, checked.

use std::path::{Path, PathBuf};

use archive::Retention;

use super::ConfigError;
use crate::{cli::ArchiveArgs, storage::archive::ARCHIVE_FILE};

/// What an archive in SQLite is named by.
const SQLITE: &str = "sqlite://";
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
            Self::Postgres { .. } => None,
        }
    }

    /// Its name for people, without a password.
    #[must_use]
    pub fn named(&self, data_dir: &Path) -> String {
        self.file(data_dir).map_or_else(|| "PostgreSQL".to_owned(), |file| file.display().to_string())
    }
}

/// The archive that a command names.
///
/// # Errors
/// A URL of neither engine.
pub fn at(url: Option<&str>) -> Result<Place, ConfigError> {
    url.filter(|url| !url.is_empty()).map_or(Ok(Place::Sqlite(None)), |url| place(url, COMMAND_CONNECTIONS))
}

/// Reads the flags; `None` where none is asked for.
pub(super) fn archive(args: &ArchiveArgs) -> Result<Option<Archive>, ConfigError> {
    let url = args.archive_url.as_deref().filter(|url| !url.is_empty());
    if !args.archive {
        return url.map_or(Ok(None), |_| Err(ConfigError::UnusedArchive));
    }
    let place = place_of(url, args.archive_max_connections)?;
    Ok(Some(Archive { place, retention: args.archive_retention_policy }))
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
    }

    fn read(flags: &[&str]) -> Result<Option<Archive>, ConfigError> {
        archive(&Flags::try_parse_from(["x"].iter().chain(flags)).unwrap().archive)
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
