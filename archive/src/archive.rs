//! The archive, whatever keeps it.

use std::{
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "postgres")]
use crate::postgres::PostgresLog;
use crate::{
    error::{Error, OpenError},
    mail::MailPage,
    memory::Memory,
    query::{Appended, MAX_PAGE, MAX_TOPICS, Name, Page, Place, Query, Totals, View, page_length},
    record::{PlaceRecord, TopicRecord},
    retention::Excess,
    row::{Hash, MessagePosition, Row},
    session::Readable,
    sql::{self, Statement},
    sqlite::SqliteLog,
};

/// Most topics that [`Archive::topics_between`] answers with.
pub const MAX_TOPIC_PAGE: usize = 10_000;

/// The archive. Cheap to clone: all clones are one.
///
/// Any call may be given up by dropping its future: what was to be written is then written as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Archive {
    engine: Arc<Engine>,
}

#[derive(Debug)]
enum Engine {
    Memory(Mutex<Memory>),
    Sqlite(SqliteLog),
    #[cfg(feature = "postgres")]
    Postgres(PostgresLog),
}

impl Archive {
    /// One that is gone when the program ends.
    #[must_use]
    pub fn memory() -> Self {
        Self::of(Engine::Memory(Mutex::default()))
    }

    /// One in a SQLite file, which is made if there is none and belongs to this archive alone.
    ///
    /// # Errors
    /// [`OpenError`] names the file. Nothing in it has changed.
    pub async fn sqlite(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(SqliteLog::open(path).await?)))
    }

    /// One in PostgreSQL, by URL (`postgres://USER:PASSWORD@HOST/DATABASE`), which several nodes may share. It takes at most so
    /// many connections, one of which writes. `now_secs` is the time (unix seconds).
    ///
    /// # Errors
    /// [`OpenError`] names the host and the database, not the password.
    #[cfg(feature = "postgres")]
    pub async fn postgres(url: &str, connections: u32, now_secs: u64) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Postgres(PostgresLog::open(url, connections, now_secs).await?)))
    }

    fn of(engine: Engine) -> Self {
        Self { engine: Arc::new(engine) }
    }

    /// Writes what is left and lets go of the database.
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Memory(_) => {}
            Engine::Sqlite(log) => log.close().await,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.close().await,
        }
    }

    /// Keeps rows, all or none: what became of each, in their order. They are on disk when it returns. A row that is here already
    /// is not kept again, but completed where the new one says more. [`crate::Writer`] does this for many at once.
    ///
    /// # Errors
    /// [`Error::Database`] or [`Error::Full`]: nothing was kept.
    pub async fn append(&self, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, Error> {
        Ok(match &*self.engine {
            Engine::Memory(memory) => lock(memory).append(rows, now_secs)?,
            Engine::Sqlite(log) => log.append(rows, now_secs).await?,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.append(rows, now_secs).await?,
        })
    }

    /// One page.
    ///
    /// # Errors
    /// [`Error::Database`], or [`Error::TooManyTopics`].
    pub async fn page(&self, query: &Query) -> Result<Page, Error> {
        if query.topics() > MAX_TOPICS {
            return Err(Error::TooManyTopics(query.topics()));
        }
        match &*self.engine {
            Engine::Memory(memory) => Ok(lock(memory).page(query)),
            Engine::Sqlite(log) => Ok(log.page(query).await?),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => {
                let mut places = Vec::new();
                for statement in sql::places(query) {
                    places.extend(self.places(statement).await?);
                    query.keep_first(&mut places);
                }
                self.read(&places, query.limit()).await
            }
        }
    }

    /// One page of envelopes; of a query for messages, the envelopes of its rows.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub async fn mail_page(&self, query: &Query) -> Result<MailPage, Error> {
        match (&*self.engine, &query.view) {
            (Engine::Sqlite(log), View::Envelopes { topics, .. }) if topics.len() <= MAX_TOPICS => {
                Ok(log.mail_page(query).await?)
            }
            _ => Ok(MailPage::of(&self.page(query).await?)),
        }
    }

    /// Rows by their names, oldest first. What is not here is left out.
    ///
    /// # Errors
    /// [`Error::Database`], or [`Error::TooManyHashes`].
    pub async fn find(&self, name: Name, hashes: &[Hash]) -> Result<Page, Error> {
        if let Engine::Memory(memory) = &*self.engine {
            return Ok(lock(memory).find(name, hashes));
        }
        let places = self.named(name, hashes).await?;
        self.read(&places, MAX_PAGE).await
    }

    /// Which of these messages are here, and where, oldest first. It reads no payload.
    ///
    /// # Errors
    /// [`Error::Database`], or [`Error::TooManyHashes`].
    pub async fn messages_present(&self, hashes: &[Hash]) -> Result<Vec<MessagePosition>, Error> {
        if let Engine::Memory(memory) = &*self.engine {
            return Ok(lock(memory).present(hashes));
        }
        let places = self.named(Name::Message, hashes).await?;
        Ok(places.iter().map(|place| MessagePosition { sent_ns: place.key.sent_ns, hash: place.key.id }).collect())
    }

    /// The topics of envelopes that were sent at these times, ascending, beyond a given one; at most `limit` and
    /// [`MAX_TOPIC_PAGE`]. A bloom filter is asked for as those that it holds; each costs a step, not each envelope.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn topics_between(
        &self,
        sent_ns: RangeInclusive<i64>,
        after: Option<[u8; 4]>,
        limit: usize,
    ) -> Result<Vec<[u8; 4]>, Error> {
        let limit = limit.min(MAX_TOPIC_PAGE);
        if let Engine::Memory(memory) = &*self.engine {
            return Ok(lock(memory).topics(&sent_ns, after, limit));
        }
        let topics: Vec<TopicRecord> = self.fetch(sql::topics_between(&sent_ns, after, limit)).await?;
        Ok(topics.into_iter().filter_map(|record| record.topic.try_into().ok()).collect())
    }

    /// How much is here. It costs no more with more rows.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn totals(&self) -> Result<Totals, Error> {
        Ok(match &*self.engine {
            Engine::Memory(memory) => lock(memory).totals(),
            Engine::Sqlite(log) => log.totals().await?,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.totals().await?,
        })
    }

    /// Deletes some of the oldest rows, at most about `chunk` unless they lie in a partition that goes as a whole: how many
    /// went, `None` when nothing has to go.
    pub(crate) async fn trim(&self, excess: &Excess, chunk: usize) -> Result<Option<u64>, Error> {
        Ok(match &*self.engine {
            Engine::Memory(memory) => lock(memory).trim(excess, chunk),
            Engine::Sqlite(log) => log.trim(excess, chunk).await?,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.trim(excess, chunk).await?,
        })
    }

    /// What has to be done now and then beside deleting; whether there is more of it at once.
    pub(crate) async fn tend(&self, now_secs: u64) -> Result<bool, Error> {
        let _ = now_secs;
        Ok(match &*self.engine {
            Engine::Memory(_) => false,
            Engine::Sqlite(log) => log.give_back().await?,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.prepare(now_secs).await.map(|()| false)?,
        })
    }

    async fn named(&self, name: Name, hashes: &[Hash]) -> Result<Vec<Place>, Error> {
        match hashes.len() {
            0 => Ok(vec![]),
            1..=MAX_PAGE => self.places(sql::named(name, hashes)).await,
            more => Err(Error::TooManyHashes(more)),
        }
    }

    async fn places(&self, statement: Statement) -> Result<Vec<Place>, Error> {
        if let Engine::Sqlite(log) = &*self.engine {
            return Ok(log.places(statement).await?);
        }
        let records: Vec<PlaceRecord> = self.fetch(statement).await?;
        Ok(records.into_iter().filter_map(PlaceRecord::read).collect())
    }

    /// The rows of some places, in their order, as many as make a page.
    async fn read(&self, places: &[Place], limit: usize) -> Result<Page, Error> {
        let length = page_length(places, limit);
        let wanted = &places[..length];
        let rows = match &*self.engine {
            _ if wanted.is_empty() => vec![],
            Engine::Memory(_) => vec![],
            Engine::Sqlite(log) => log.rows(wanted).await?,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => in_their_order(log.rows(wanted).await?, wanted),
        };
        Ok(Page { rows, more: length < places.len() })
    }

    async fn fetch<T: Readable>(&self, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        match &*self.engine {
            Engine::Memory(_) => Ok(vec![]),
            Engine::Sqlite(log) => log.fetch(statement).await,
            #[cfg(feature = "postgres")]
            Engine::Postgres(log) => log.fetch(statement).await,
        }
    }
}

/// Rows as their places stand.
#[cfg(feature = "postgres")]
fn in_their_order(records: Vec<crate::record::Record>, places: &[Place]) -> Vec<Row> {
    let rows = records.into_iter().filter_map(crate::record::Record::read);
    let mut by_key: std::collections::HashMap<_, _> = rows.filter_map(|row| Some((row.key()?, row))).collect();
    places.iter().filter_map(|place| by_key.remove(&place.key)).collect()
}

/// The memory, also after a panic elsewhere: nothing is left half done in it.
fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
