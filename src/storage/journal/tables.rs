//! The rows of the journal: [`Keeper`] reads them at the start and is the only one who writes them.

use archive::checkpoint::Checkpoints;
use bridge::{
    journal::{
        Note, Remembered, Unfinished,
        encoding::{self, Beginning, DecodeError},
    },
    seen::MAX_WINDOW,
};
use devp2p::clock::now;
use sqlx::{Connection, SqliteConnection, SqlitePool};

use super::{
    book::{Book, Draft},
    earlier,
};
use crate::storage::to_sql;

/// Rows read together at the start.
const ROWS: i64 = 64;

/// [`archive::checkpoint::NOT_BY_ITSELF`], of a connection that is open.
const NOT_BY_ITSELF: &str = "PRAGMA wal_autocheckpoint = 0";

/// Ends that go in one transaction: those of ten seconds at 20,000 crossings a second, some 20 MB.
pub(super) const TRIM_AT_ONCE: i64 = 200_000;

/// Bytes that are written anew in one transaction, one batch in any case.
const REWRITE_AT_ONCE: usize = 16 << 20;

/// A row of `begun_batches`.
type BegunRow = (i64, Vec<u8>);

/// Who holds the journal's own connection. One statement at a time, nothing beside it.
#[derive(Debug)]
pub(super) struct Keeper {
    line: Line,
    checkpoints: Checkpoints,
    book: Book,
    /// Ends on disk.
    ends: i64,
    max_entries: i64,
}

/// A connection of its own: what others write waits for a transaction, not for a connection.
///
/// One that has failed is given up: whether its transaction is still open, and keeps all others from writing, is not known.
#[derive(Debug)]
struct Line {
    pool: SqlitePool,
    open: Option<SqliteConnection>,
}

impl Line {
    async fn get(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut open = self.pool.acquire().await?.detach();
                sqlx::query(NOT_BY_ITSELF).execute(&mut open).await?;
                open
            }
        };
        Ok(self.open.insert(open))
    }

    async fn give_up(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.close_hard().await
        {
            tracing::debug!(%error, "a connection of the journal that has failed is not closed well");
        }
    }
}

/// What an earlier life left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) ended: Vec<Remembered>,
    pub(super) unfinished: Vec<Unfinished>,
}

impl Keeper {
    /// Reads all there is. Of what can't be read, the rest of its batch is left out and told.
    pub(super) async fn open(pool: &SqlitePool, max_entries: usize) -> Result<(Self, Left), sqlx::Error> {
        let max_entries = i64::try_from(max_entries).unwrap_or(i64::MAX);
        let checkpoints = Checkpoints::start(pool.clone());
        let line = Line { pool: pool.clone(), open: None };
        let mut keeper = Self { line, checkpoints, book: Book::default(), ends: 0, max_entries };
        earlier::carry_over(keeper.line.get().await?).await?;
        let begun = keeper.read_begun().await?;
        let ended = keeper.read_ended().await?;
        let open =
            begun.into_iter().flat_map(|(id, entries)| entries.into_iter().enumerate().map(move |entry| (id, entry)));
        let open = open.filter(|(id, (index, entry))| keeper.book.is_open(*id, *index, &(entry.content, entry.sent)));
        let mut unfinished: Vec<Unfinished> = open.map(|(_, (_, entry))| unfinished(entry)).collect();
        unfinished.sort_by_key(|unfinished| unfinished.at);
        Ok((keeper, Left { ended, unfinished }))
    }

    async fn read_begun(&mut self) -> Result<Vec<(i64, Vec<Beginning>)>, sqlx::Error> {
        let (unix, mut begun, mut after) = (now().unix_secs(), Vec::new(), i64::MIN);
        loop {
            let select = "SELECT id, data FROM begun_batches WHERE id > $1 ORDER BY id LIMIT $2";
            let rows: Vec<BegunRow> =
                sqlx::query_as(select).bind(after).bind(ROWS).fetch_all(self.line.get().await?).await?;
            let Some((last, _)) = rows.last() else { return Ok(begun) };
            after = *last;
            for (id, data) in rows {
                let entries: Vec<Beginning> = readable(id, encoding::begun(&data)).collect();
                self.book.found(id, unix, &entries);
                begun.push((id, entries));
            }
        }
    }

    /// The ends that are young enough, as many as are to be remembered, the oldest first.
    async fn read_ended(&mut self) -> Result<Vec<Remembered>, sqlx::Error> {
        let (oldest, mut ended, mut after) = (oldest(), Vec::new(), i64::MIN);
        loop {
            let select = "SELECT id, entries, data FROM ended_batches WHERE id > $1 ORDER BY id LIMIT $2";
            let rows: Vec<(i64, i64, Vec<u8>)> =
                sqlx::query_as(select).bind(after).bind(ROWS).fetch_all(self.line.get().await?).await?;
            let Some((last, ..)) = rows.last() else { break };
            after = *last;
            for (id, entries, data) in rows {
                self.ends = self.ends.saturating_add(entries.max(0));
                self.book.found_row(id);
                for end in readable(id, encoding::ended(&data)) {
                    self.book.found_end(id, (end.content, end.sent));
                    ended.push(end);
                }
            }
        }
        ended.retain(|end| end.at >= oldest);
        let too_many = ended.len().saturating_sub(usize::try_from(self.max_entries).unwrap_or(usize::MAX));
        ended.drain(..too_many);
        // By the time of coming, as the bridge forgets them; it is nearly that of ending.
        ended.sort_by_key(|end| end.at);
        Ok(ended)
    }

    /// Writes notes, all or none. When it returns they are on disk; false says that there was nothing to write.
    pub(super) async fn write(&mut self, notes: &[Note]) -> Result<bool, sqlx::Error> {
        let written = self.write_notes(notes).await;
        self.or_another_line(written).await
    }

    /// Deletes some of what is too old or too much, and writes anew what is worn. False says that there was nothing to do.
    pub(super) async fn trim(&mut self) -> Result<bool, sqlx::Error> {
        let trimmed = self.delete_some().await;
        self.or_another_line(trimmed).await
    }

    async fn or_another_line<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if result.is_err() {
            self.line.give_up().await;
        }
        result
    }

    async fn write_notes(&mut self, notes: &[Note]) -> Result<bool, sqlx::Error> {
        let unix = now().unix_secs();
        let Draft { id, begun } = self.book.take(unix, notes);
        let (ends, ended) = self.book.ended();
        if begun.is_none() && ends == 0 && self.book.finished().is_empty() {
            return Ok(false);
        }
        let _turn = self.checkpoints.turn().await;
        let bytes = ended.len() + begun.as_ref().map_or(0, Vec::len);
        let mut transaction = self.line.get().await?.begin().await?;
        if let Some(data) = begun {
            let insert = "INSERT INTO begun_batches (id, data) VALUES ($1, $2)";
            sqlx::query(insert).bind(id).bind(data).execute(&mut *transaction).await?;
        }
        let ends = i64::try_from(ends).unwrap_or(i64::MAX);
        if ends > 0 {
            let insert = "INSERT INTO ended_batches (id, at, entries, data) VALUES ($1, $2, $3, $4)";
            let insert = sqlx::query(insert).bind(id).bind(to_sql(unix)).bind(ends).bind(ended);
            insert.execute(&mut *transaction).await?;
        }
        for finished in self.book.finished() {
            delete_begun(&mut transaction, *finished).await?;
        }
        transaction.commit().await?;
        self.checkpoints.written(1, bytes);
        self.book.deleted();
        self.book.written();
        self.ends = self.ends.saturating_add(ends);
        Ok(true)
    }

    async fn delete_some(&mut self) -> Result<bool, sqlx::Error> {
        self.book.forget(oldest());
        let (mut until, mut ends) = self.too_old_or_too_many().await?;
        if let Some(left) = self.rewrite(until).await? {
            // What still stands in the way goes at the next time.
            (until, ends) = self.ends_before(left.min(until)).await?;
        }
        if until == i64::MIN && self.book.finished().is_empty() {
            return Ok(false);
        }
        let _turn = self.checkpoints.turn().await;
        let mut transaction = self.line.get().await?.begin().await?;
        sqlx::query("DELETE FROM ended_batches WHERE id <= $1").bind(until).execute(&mut *transaction).await?;
        for finished in self.book.finished() {
            delete_begun(&mut transaction, *finished).await?;
        }
        transaction.commit().await?;
        self.checkpoints.written(1, 0);
        self.book.deleted();
        self.ends = self.ends.saturating_sub(ends);
        Ok(true)
    }

    /// Up to which row ends are to be deleted, and how many those are.
    async fn too_old_or_too_many(&mut self) -> Result<(i64, i64), sqlx::Error> {
        let (oldest, mut until, mut ends) = (to_sql(oldest()), i64::MIN, 0);
        loop {
            let select = "SELECT id, at, entries FROM ended_batches WHERE id > $1 ORDER BY id LIMIT $2";
            let rows: Vec<(i64, i64, i64)> =
                sqlx::query_as(select).bind(until).bind(ROWS).fetch_all(self.line.get().await?).await?;
            if rows.is_empty() {
                return Ok((until, ends));
            }
            for (id, at, entries) in rows {
                let entries = entries.max(0);
                let too_many = self.ends.saturating_sub(ends).saturating_sub(entries) >= self.max_entries;
                if (at >= oldest && !too_many) || ends >= TRIM_AT_ONCE {
                    return Ok((until, ends));
                }
                (until, ends) = (id, ends.saturating_add(entries));
            }
        }
    }

    /// The same up to another row.
    async fn ends_before(&mut self, until: i64) -> Result<(i64, i64), sqlx::Error> {
        let select = "SELECT coalesce(sum(entries), 0) FROM ended_batches WHERE id < $1";
        let ends = sqlx::query_scalar(select).bind(until).fetch_one(self.line.get().await?).await?;
        Ok((until.saturating_sub(1), ends))
    }

    /// Writes worn batches anew, as many as go in one transaction; the first that is left over.
    async fn rewrite(&mut self, until: i64) -> Result<Option<i64>, sqlx::Error> {
        let unix = now().unix_secs();
        let worn = self.book.worn(unix, until);
        let (mut rows, mut bytes, mut left) = (Vec::new(), 0, None);
        for id in worn {
            if bytes >= REWRITE_AT_ONCE {
                left = Some(id);
                break;
            }
            let select = "SELECT id, data FROM begun_batches WHERE id = $1";
            let row: Option<BegunRow> = sqlx::query_as(select).bind(id).fetch_optional(self.line.get().await?).await?;
            // A batch that could not be written has no row: what is on its way of it stays without one.
            let data = row.map(|(_, data)| data).unwrap_or_else(|| encoding::start(0));
            bytes += data.len();
            rows.push((id, readable(id, encoding::begun(&data)).collect()));
        }
        if rows.is_empty() {
            return Ok(left);
        }
        let rewrite = self.book.rewrite(&rows);
        let _turn = self.checkpoints.turn().await;
        let mut transaction = self.line.get().await?.begin().await?;
        let insert = "INSERT INTO begun_batches (id, data) VALUES ($1, $2)";
        sqlx::query(insert).bind(rewrite.id).bind(&rewrite.data).execute(&mut *transaction).await?;
        for id in &rewrite.from {
            delete_begun(&mut transaction, *id).await?;
        }
        transaction.commit().await?;
        self.checkpoints.written(rows.len(), rewrite.data.len());
        self.book.rewritten(unix, &rewrite);
        Ok(left)
    }
}

async fn delete_begun(connection: &mut SqliteConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM begun_batches WHERE id = $1").bind(id).execute(connection).await?;
    Ok(())
}

/// What came before this is not remembered: unix seconds.
pub(super) fn oldest() -> u64 {
    now().unix.saturating_sub(MAX_WINDOW).as_secs()
}

fn unfinished(Beginning { content, sent, at, cargo, .. }: Beginning) -> Unfinished {
    Unfinished { content, sent, at, cargo }
}

/// The entries of a row up to the first that this program has not written.
fn readable<T>(id: i64, entries: impl Iterator<Item = Result<T, DecodeError>>) -> impl Iterator<Item = T> {
    entries.map_while(move |entry| {
        entry
            .inspect_err(
                |error| tracing::warn!(batch = id, %error, "the bridge's journal: the rest of a batch is left out"),
            )
            .ok()
    })
}

#[cfg(test)]
impl Keeper {
    pub(super) async fn connection(&mut self) -> &mut SqliteConnection {
        self.line.get().await.unwrap()
    }
}
