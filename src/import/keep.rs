//! Where imported rows go: into the archive, or, in a dry run, only past it.

use std::path::Path;

use archive::{Appended, Archive, Error, Name, OpenError, Row};
use devp2p::clock::now;

use crate::{config::archive::Place, storage::archive::open};

/// An archive to write, or to compare with.
#[derive(Debug)]
pub(super) enum Keeper {
    /// Rows are kept.
    Archive(Archive),
    /// They are not. `None` where there is no archive yet.
    Dry(Option<Archive>),
}

impl Keeper {
    /// Opens the archive. A dry run makes none.
    ///
    /// # Errors
    /// [`OpenError`] names it.
    pub(super) async fn open(place: &Place, data_dir: &Path, dry: bool) -> Result<Self, OpenError> {
        if dry && place.file(data_dir).is_some_and(|file| !file.exists()) {
            return Ok(Self::Dry(None));
        }
        if matches!(place, Place::Sqlite(None)) {
            // There may be no node here yet. A path that somebody has named is his to make.
            let unusable = |error: std::io::Error| OpenError::Unusable(data_dir.display().to_string(), error.into());
            std::fs::create_dir_all(data_dir).map_err(unusable)?;
        }
        let archive = open(place, data_dir).await?;
        Ok(if dry { Self::Dry(Some(archive)) } else { Self::Archive(archive) })
    }

    pub(super) const fn is_dry(&self) -> bool {
        matches!(self, Self::Dry(_))
    }

    /// Keeps rows, all or none: what became of each. In a dry run: what would.
    ///
    /// # Errors
    /// When the archive can't be written or read.
    pub(super) async fn keep(&self, rows: &[Row]) -> Result<Vec<Appended>, Error> {
        let now_secs = now().unix_secs();
        let archive = match self {
            Self::Archive(archive) => return archive.append(rows, now_secs).await,
            Self::Dry(archive) => archive,
        };
        // An empty one says which rows no archive takes.
        let mut outcomes = Archive::memory().append(rows, now_secs).await?;
        if let Some(archive) = archive {
            let known = Known::of(rows, archive).await?;
            for (outcome, row) in outcomes.iter_mut().zip(rows) {
                if *outcome == Appended::Stored && known.has(row) {
                    *outcome = Appended::Known;
                }
            }
        }
        Ok(outcomes)
    }

    /// Lets go of the database.
    pub(super) async fn close(self) {
        match self {
            Self::Archive(archive) | Self::Dry(Some(archive)) => archive.close().await,
            Self::Dry(None) => {}
        }
    }
}

/// Which of some rows are in an archive.
struct Known {
    messages: Vec<archive::Hash>,
    envelopes: Vec<archive::Hash>,
}

impl Known {
    async fn of(rows: &[Row], archive: &Archive) -> Result<Self, Error> {
        let messages: Vec<_> = rows.iter().filter_map(|row| Some(row.message.as_ref()?.hash)).collect();
        let alone = rows.iter().filter(|row| row.message.is_none());
        let envelopes: Vec<_> = alone.filter_map(|row| Some(row.mined()?.hash)).collect();
        let messages = archive.messages_present(&messages).await?.into_iter().map(|place| place.hash).collect();
        let page = archive.find(Name::Envelope, &envelopes).await?;
        let envelopes = page.rows.iter().filter_map(|row| Some(row.mined()?.hash)).collect();
        Ok(Self { messages, envelopes })
    }

    fn has(&self, row: &Row) -> bool {
        match (&row.message, row.mined()) {
            (Some(message), _) => self.messages.contains(&message.hash),
            (None, Some(mined)) => self.envelopes.contains(&mined.hash),
            (None, None) => false,
        }
    }
}
