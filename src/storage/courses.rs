//! What of history is missing, on disk ([`bridge::backfill`]), and when the far side was away ([`bridge::gaps`]).
//!
//! Limits: a row for each direction of each route, of at most [`bridge::backfill::MAX_MISSING`] stretches and as many outages. What was
//! written by something else, and can't be read, is left out: that route begins anew.

use std::sync::Arc;

use bridge::{
    Direction,
    backfill::{Cause, Course, Missing, Source, State},
    gaps::{Gap, Outage},
};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, FromRow, SqliteConnection, SqlitePool};

use super::{Database, from_sql, or_another, to_sql};

/// What an earlier life left, or this one leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// What is missing.
    pub courses: Vec<Course>,
    /// When the far side was away.
    pub gaps: Vec<Gap>,
}

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Courses {
    pool: SqlitePool,
}

impl Courses {
    /// That of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone() }
    }

    /// What an earlier life left.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read(&self) -> Result<Left, sqlx::Error> {
        let rows: Vec<SqlRow> = sqlx::query_as(
            "SELECT route, direction, pubsub, seen, missing, outages FROM courses ORDER BY route, direction",
        )
        .fetch_all(&self.pool)
        .await?;
        let (courses, gaps) = rows.iter().filter_map(SqlRow::read).unzip();
        Ok(Left { courses, gaps })
    }

    /// Writes all, in the place of what is there. When it returns, it is on disk.
    ///
    /// # Errors
    /// What the database says; nothing has changed then.
    pub async fn write(&self, left: &Left) -> Result<(), sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let written = write(&mut connection, left).await;
        or_another(&written, &mut connection);
        written
    }
}

async fn write(connection: &mut SqliteConnection, left: &Left) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("DELETE FROM courses").execute(&mut *transaction).await?;
    for course in &left.courses {
        let of_course = |gap: &&Gap| gap.route == course.route && gap.direction == course.direction;
        let outages = left.gaps.iter().find(of_course).map(|gap| gap.outages.as_slice()).unwrap_or_default();
        sqlx::query(
            "INSERT INTO courses (route, direction, pubsub, seen, missing, outages) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&*course.route)
        .bind(course.direction as i64)
        .bind(match &course.source {
            Source::V1 => "",
            Source::V2(topic) => topic.as_str(),
        })
        .bind(to_sql(course.seen))
        .bind(text(course.missing.iter().map(MissingText::from)))
        .bind(text(outages.iter().map(|outage| (outage.from, outage.to))))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

fn text<T: Serialize>(items: impl Iterator<Item = T>) -> String {
    // Numbers and words always have a text.
    serde_json::to_string(&items.collect::<Vec<_>>()).unwrap_or_default()
}

/// A row as the database has it.
#[derive(FromRow)]
struct SqlRow {
    route: String,
    direction: i64,
    pubsub: String,
    seen: i64,
    missing: String,
    outages: String,
}

impl SqlRow {
    fn read(&self) -> Option<(Course, Gap)> {
        let route: Arc<str> = self.route.as_str().into();
        let direction = Direction::ALL.into_iter().find(|direction| *direction as i64 == self.direction)?;
        let source = if self.pubsub.is_empty() { Source::V1 } else { Source::V2(self.pubsub.parse().ok()?) };
        let missing: Vec<MissingText> = serde_json::from_str(&self.missing).ok()?;
        let missing = missing.iter().map(MissingText::read).collect::<Option<_>>()?;
        let outages: Vec<(u64, Option<u64>)> = serde_json::from_str(&self.outages).ok()?;
        let outages = outages.into_iter().map(|(from, to)| Outage { from, to }).collect();
        let course = Course { route: Arc::clone(&route), direction, source, seen: from_sql(self.seen), missing };
        Some((course, Gap { route, direction, last_crossing: None, outages }))
    }
}

/// [`Missing`] as JSON.
#[derive(Serialize, Deserialize)]
struct MissingText {
    from: u64,
    to: Option<u64>,
    cause: String,
    state: String,
    done_until: u64,
    came: u64,
    failures: u32,
}

impl From<&Missing> for MissingText {
    fn from(missing: &Missing) -> Self {
        let Missing { from, to, cause, state, done_until, came, failures } = *missing;
        let (cause, state) = (cause.as_str().to_owned(), state.as_str().to_owned());
        Self { from, to, cause, state, done_until, came, failures }
    }
}

impl MissingText {
    fn read(&self) -> Option<Missing> {
        let Self { from, to, done_until, came, failures, .. } = *self;
        let cause = Cause::ALL.into_iter().find(|cause| cause.as_str() == self.cause)?;
        let state = State::ALL.into_iter().find(|state| state.as_str() == self.state)?;
        Some(Missing { from, to, cause, state, done_until, came, failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(route: &str) -> Left {
        let filled = Missing { to: Some(20), state: State::Filled, came: 3, ..Missing::since(10, Cause::NoPeer) };
        let missing = vec![filled, Missing::since(30, Cause::Stopped)];
        let course =
            |direction, source| Course { route: route.into(), direction, source, seen: 30, missing: missing.clone() };
        let gap = |direction| Gap {
            route: route.into(),
            direction,
            last_crossing: None,
            outages: vec![Outage { from: 1, to: Some(2) }, Outage { from: 3, to: None }],
        };
        let topic = "/waku/2/rs/0/0".parse().unwrap();
        Left {
            courses: vec![course(Direction::V1ToV2, Source::V1), course(Direction::V2ToV1, Source::V2(topic))],
            gaps: Direction::ALL.map(gap).to_vec(),
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_takes_the_place_of_what_was() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let courses = Courses::new(&database);
        assert_eq!(courses.read().await.unwrap(), Left::default());
        for route in ["one", "two"] {
            courses.write(&left(route)).await.unwrap();
            assert_eq!(courses.read().await.unwrap(), left(route));
        }
        let odd = "UPDATE courses SET missing = '[{}]' WHERE direction = 0";
        sqlx::query(odd).execute(&courses.pool).await.unwrap();
        assert_eq!(courses.read().await.unwrap().courses, left("two").courses[1..]);
    }
}
