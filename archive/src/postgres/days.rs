//! The days that the log is cut into.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{DAYS_LOCK, LOCK_TIMEOUT, REMOVE_LOCK};
use crate::{query::Totals, retention::Excess, row::MAX_AHEAD_SECS, session::Changes};

pub(super) const SECS_PER_DAY: i64 = 86_400;
/// Days of their own before the first start: what is older then is one piece.
const PAST_DAYS: i64 = 31;
/// How far ahead days are made, in seconds: as far as rows may be sent, and a day.
const AHEAD_SECS: i64 = MAX_AHEAD_SECS as i64 + SECS_PER_DAY;
/// Days that are made at once: after a longer rest what is between is one piece.
const MOST_NEW_DAYS: i64 = 62;

/// The bounds of each, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Days(Vec<(i64, i64)>);

impl Days {
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let days = sqlx::query_as("SELECT lower_secs, upper_secs FROM days ORDER BY lower_secs");
        Ok(Self(days.fetch_all(connection).await?))
    }

    /// The start of the one that a second belongs to.
    pub(super) fn of(&self, secs: i64) -> Option<i64> {
        let place = self.0.partition_point(|(lower, _)| *lower <= secs).checked_sub(1)?;
        self.0.get(place).filter(|(_, upper)| secs < *upper).map(|(lower, _)| *lower)
    }

    /// Whether they go as far as rows may be sent now.
    pub(super) fn reach(&self, now_secs: u64) -> bool {
        let needed = i64::try_from(now_secs.saturating_add(MAX_AHEAD_SECS)).unwrap_or(i64::MAX);
        self.end().is_some_and(|end| end > needed)
    }

    fn end(&self) -> Option<i64> {
        self.0.last().map(|(_, upper)| *upper)
    }

    /// Rows and bytes of each day that changed, ascending.
    pub(super) fn sums(&self, changes: &Changes) -> Vec<(i64, i64, i64)> {
        let mut sums = std::collections::BTreeMap::<i64, (i64, i64)>::new();
        for change in changes {
            if let Some(lower) = self.of(change.sent) {
                let sum = sums.entry(lower).or_default();
                *sum = (sum.0 + change.rows, sum.1 + change.bytes);
            }
        }
        sums.into_iter().filter(|(_, sum)| *sum != (0, 0)).map(|(lower, (rows, bytes))| (lower, rows, bytes)).collect()
    }
}

/// What is to be made beyond `end`, at this time.
fn missing(end: Option<i64>, now_secs: u64) -> Vec<(i64, i64)> {
    let now = i64::try_from(now_secs).unwrap_or(i64::MAX / 2);
    let today = now.div_euclid(SECS_PER_DAY) * SECS_PER_DAY;
    let target = (now.saturating_add(AHEAD_SECS)).div_euclid(SECS_PER_DAY).saturating_add(1) * SECS_PER_DAY;
    let (mut days, mut lower) = match end {
        Some(end) => (vec![], end),
        None => {
            let first = (today - PAST_DAYS * SECS_PER_DAY).max(SECS_PER_DAY);
            (vec![(0, first)], first)
        }
    };
    let first_of_its_own = target - MOST_NEW_DAYS * SECS_PER_DAY;
    if lower < first_of_its_own {
        days.push((lower, first_of_its_own));
        lower = first_of_its_own;
    }
    while lower < target {
        days.push((lower, lower + SECS_PER_DAY));
        lower += SECS_PER_DAY;
    }
    days
}

/// Makes what is missing; which there are then.
pub(super) async fn prepare(pool: &PgPool, now_secs: u64) -> Result<Days, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let days = Days::read(&mut transaction).await?;
    if missing(days.end(), now_secs).is_empty() {
        return Ok(days);
    }
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(DAYS_LOCK).execute(&mut *transaction).await?;
    // Another node may have made them meanwhile.
    let days = Days::read(&mut transaction).await?;
    limit_waiting(&mut transaction).await?;
    for (lower, upper) in missing(days.end(), now_secs) {
        let create = format!("CREATE TABLE log_{lower} PARTITION OF log FOR VALUES FROM ({lower}) TO ({upper})");
        sqlx::query(AssertSqlSafe(create)).execute(&mut *transaction).await?;
        let insert = sqlx::query("INSERT INTO days VALUES ($1, $2)").bind(lower).bind(upper);
        insert.execute(&mut *transaction).await?;
    }
    let days = Days::read(&mut transaction).await?;
    transaction.commit().await?;
    Ok(days)
}

/// Takes the oldest day off if all of it has to go, but never the last that has rows: how many it had. [`remove`] then gives its space back.
pub(super) async fn drop_oldest(
    connection: &mut PgConnection,
    excess: &Excess,
    totals: &Totals,
) -> Result<Option<u64>, sqlx::Error> {
    let oldest: Option<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT days.lower_secs, upper_secs, coalesce(sum(rows), 0)::bigint, coalesce(sum(bytes), 0)::bigint \
         FROM days LEFT JOIN tally ON tally.lower_secs = days.lower_secs \
         GROUP BY days.lower_secs ORDER BY days.lower_secs LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some((lower, upper, rows, bytes)) = oldest else { return Ok(None) };
    let (rows, bytes) = (u64::try_from(rows).unwrap_or(0), u64::try_from(bytes).unwrap_or(0));
    if !excess.covers(totals, upper, rows, bytes)
        || rows >= totals.rows && excess.before_secs.is_none_or(|before| upper > before)
    {
        return Ok(None);
    }
    limit_waiting(connection).await?;
    let detach = format!("ALTER TABLE log DETACH PARTITION log_{lower}");
    sqlx::query(AssertSqlSafe(detach)).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM days WHERE lower_secs = $1").bind(lower).execute(&mut *connection).await?;
    Ok(Some(rows))
}

/// Removes the days that were taken off, also by a node that was killed before it did this. Their files take a good part of a second to
/// go, in which nobody is waited for: they are in nobody's way.
pub(super) async fn remove(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(REMOVE_LOCK).execute(&mut *transaction).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname ~ '^log_[0-9]+$' \
         AND relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *transaction)
    .await?;
    for table in tables {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE {table}"))).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn limit_waiting(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))).execute(connection).await?;
    Ok(())
}
