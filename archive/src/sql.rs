//! The statements that read, one text for both databases. Everything that comes from outside is a bound value, never text.

use std::{fmt::Write as _, ops::RangeInclusive};

use crate::{
    query::{Name, Query, View},
    row::{Hash, Key, NANOS_PER_SEC, split},
};

/// Topics in one statement. SQLite takes 500 arms in a compound.
pub(crate) const ARMS: usize = 50;

/// A value to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
}

/// Text with `$1`, `$2` … and their values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: vec![] }
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(crate) fn bind(&mut self, value: Value) -> &mut Self {
        self.values.push(value);
        // Writing to a string does not fail.
        let _ = write!(self.text, "${}", self.values.len());
        self
    }

    /// Binds hashes, and the last one again up to a power of two, so that the database meets few texts.
    pub(crate) fn bind_padded(&mut self, hashes: &[Hash]) -> &mut Self {
        let length = if hashes.is_empty() { 0 } else { hashes.len().next_power_of_two() };
        self.bind_all((0..length).map(|place| Value::Bytes(hashes[place.min(hashes.len() - 1)].to_vec())))
    }

    fn bind_all(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        for (place, value) in values.into_iter().enumerate() {
            self.push(if place == 0 { "" } else { ", " }).bind(value);
        }
        self
    }
}

/// The places of a query's page, and one more: one statement for every [`ARMS`] topics.
pub(crate) fn places(query: &Query) -> Vec<Statement> {
    let topics = topics(&query.view);
    if topics.is_empty() {
        let mut statement = Statement::default();
        arm(&mut statement, query, None);
        return vec![statement];
    }
    topics.chunks(ARMS).map(|topics| union(query, topics)).collect()
}

/// Each topic by its own index, in its order; of all together only the first ones count.
fn union(query: &Query, topics: &[Vec<u8>]) -> Statement {
    let mut statement = Statement::default();
    for (place, topic) in topics.iter().enumerate() {
        statement.push(if place == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
        arm(&mut statement, query, Some(topic));
        let _ = write!(statement.text, ") AS arm{place}");
    }
    statement
}

/// Topics of either kind, each once.
pub(crate) fn topics(view: &View) -> Vec<Vec<u8>> {
    let mut topics: Vec<Vec<u8>> = match view {
        View::Messages { content_topics, .. } => {
            content_topics.iter().map(|topic| topic.clone().into_bytes()).collect()
        }
        View::Envelopes { topics, .. } => topics.iter().map(|topic| topic.to_vec()).collect(),
    };
    topics.sort_unstable();
    topics.dedup();
    topics
}

fn arm(statement: &mut Statement, query: &Query, topic: Option<&[u8]>) {
    statement.push("SELECT sent, nanos, id, envelope, size FROM log WHERE ");
    seen(statement, query, topic);
    ordered(statement, query);
}

/// Rows of one topic or of all, and one more than a page has.
pub(crate) fn rows(columns: &str, query: &Query, topic: Option<&[u8]>) -> Statement {
    let mut statement = Statement::new(format!("SELECT {columns} FROM log WHERE "));
    seen(&mut statement, query, topic);
    ordered(&mut statement, query);
    statement
}

/// The row that stands at a place.
pub(crate) fn row_at(columns: &str, key: &Key) -> Statement {
    let (sent, nanos) = key.split();
    let mut statement = Statement::new(format!("SELECT {columns} FROM log WHERE sent = "));
    statement.bind(Value::Int(sent)).push(" AND nanos = ").bind(Value::Int(nanos));
    statement.push(" AND id = ").bind(Value::Bytes(key.id.to_vec()));
    statement
}

/// What a query sees, of this topic if one is given.
fn seen(statement: &mut Statement, query: &Query, topic: Option<&[u8]>) {
    let (present, name) = match &query.view {
        View::Messages { .. } => ("content_topic IS NOT NULL", "content_topic"),
        View::Envelopes { .. } => ("envelope IS NOT NULL", "topic"),
    };
    statement.push(present);
    if let Some(topic) = topic {
        statement.push(" AND ").push(name).push(" = ").bind(Value::Bytes(topic.to_vec()));
    }
    if let View::Messages { pubsub_topic, proven_only, .. } = &query.view {
        if let Some(pubsub_topic) = pubsub_topic {
            statement.push(" AND pubsub_topic = ").bind(Value::Bytes(pubsub_topic.clone().into_bytes()));
        }
        if *proven_only {
            statement.push(" AND proven");
        }
    }
    between(statement, &ahead(query));
    after(statement, query);
}

/// The times that are ahead of the place behind which a query goes on. A database begins to read at the bound of a time, and does not see
/// which of two is the nearer.
fn ahead(query: &Query) -> RangeInclusive<i64> {
    let second = match &query.view {
        View::Messages { after, .. } => after.map(|after| split(after.sent_ns).0),
        View::Envelopes { after, .. } => after.map(|after| after.sent_secs.into()),
    };
    let (from, until) = (*query.sent_ns.start(), *query.sent_ns.end());
    match second.map(|second| second.saturating_mul(NANOS_PER_SEC)) {
        Some(nanos) if query.newest_first => from..=until.min(nanos.saturating_add(NANOS_PER_SEC - 1)),
        Some(nanos) => from.max(nanos)..=until,
        None => from..=until,
    }
}

/// The columns by which a view is ordered.
const fn order(view: &View) -> &'static [&'static str] {
    match view {
        View::Messages { .. } => &["sent", "nanos", "id"],
        View::Envelopes { .. } => &["sent", "envelope"],
    }
}

fn ordered(statement: &mut Statement, query: &Query) {
    let direction = if query.newest_first { " DESC" } else { "" };
    let order: Vec<String> = order(&query.view).iter().map(|column| format!("{column}{direction}")).collect();
    // A power of two, so that the database meets few texts; what is too much is cut off.
    let limit = (query.limit() + 1).next_power_of_two();
    let _ = write!(statement.text, " ORDER BY {} LIMIT {limit}", order.join(", "));
}

/// The bounds of time. That of whole seconds is said apart: it is what partitions are chosen by.
fn between(statement: &mut Statement, sent_ns: &RangeInclusive<i64>) {
    let ((from, from_nanos), (until, until_nanos)) = (split(*sent_ns.start()), split(*sent_ns.end()));
    if *sent_ns.start() > i64::MIN {
        statement.push(" AND sent >= ").bind(Value::Int(from));
        if from_nanos > 0 {
            statement.push(" AND (sent, nanos) >= (").bind_all([Value::Int(from), Value::Int(from_nanos)]).push(")");
        }
    }
    if *sent_ns.end() < i64::MAX {
        statement.push(" AND sent <= ").bind(Value::Int(until));
        if until_nanos < NANOS_PER_SEC - 1 {
            statement.push(" AND (sent, nanos) <= (").bind_all([Value::Int(until), Value::Int(until_nanos)]).push(")");
        }
    }
}

fn after(statement: &mut Statement, query: &Query) {
    let values = match &query.view {
        View::Messages { after: Some(after), .. } => {
            let (secs, nanos) = split(after.sent_ns);
            vec![Value::Int(secs), Value::Int(nanos), Value::Bytes(after.hash.to_vec())]
        }
        View::Envelopes { after: Some(after), .. } => {
            vec![Value::Int(after.sent_secs.into()), Value::Bytes(after.hash.to_vec())]
        }
        View::Messages { after: None, .. } | View::Envelopes { after: None, .. } => return,
    };
    let sign = if query.newest_first { "<" } else { ">" };
    let order = order(&query.view).join(", ");
    statement.push(" AND (").push(&order).push(") ").push(sign).push(" (").bind_all(values).push(")");
}

/// The places of rows with any of these names, in the order of keys.
pub(crate) fn named(name: Name, hashes: &[Hash]) -> Statement {
    let (column, only) = match name {
        Name::Message => ("id", " AND content_topic IS NOT NULL"),
        Name::Envelope => ("envelope", ""),
        Name::Content => ("content", ""),
    };
    let mut statement = Statement::new("SELECT sent, nanos, id, envelope, size FROM log WHERE ");
    statement.push(column).push(" IN (").bind_padded(hashes).push(")").push(only);
    statement.push(" ORDER BY sent, nanos, id LIMIT ").bind(Value::Int(crate::query::MAX_PAGE as i64 + 1));
    statement
}

/// The topics of envelopes of these times, beyond one: each is found by one step in an index, however many rows it has.
pub(crate) fn topics_between(sent_ns: &RangeInclusive<i64>, after: Option<[u8; 4]>, limit: usize) -> Statement {
    let mut statement =
        Statement::new("WITH RECURSIVE topics (topic) AS (SELECT (SELECT topic FROM log WHERE envelope IS NOT NULL");
    if let Some(after) = after {
        statement.push(" AND topic > ").bind(Value::Bytes(after.to_vec()));
    }
    statement.push(
        " ORDER BY topic LIMIT 1) UNION ALL SELECT (SELECT log.topic FROM log WHERE log.envelope IS NOT NULL \
         AND log.topic > topics.topic ORDER BY log.topic LIMIT 1) FROM topics WHERE topics.topic IS NOT NULL) \
         SELECT topic FROM topics WHERE topic IS NOT NULL AND \
         (SELECT 1 FROM log WHERE log.envelope IS NOT NULL AND log.topic = topics.topic",
    );
    between(&mut statement, sent_ns);
    // Not EXISTS, of which PostgreSQL makes a join that reads everything.
    statement.push(" LIMIT 1) = 1 LIMIT ").bind(Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
    statement
}

/// The time of the oldest or the newest row.
pub(crate) fn edge(newest: bool) -> Statement {
    let direction = if newest { " DESC" } else { "" };
    Statement::new(format!("SELECT sent, nanos FROM log ORDER BY sent{direction}, nanos{direction} LIMIT 1"))
}

/// The places of the oldest rows.
pub(crate) fn oldest(count: usize) -> Statement {
    let mut statement =
        Statement::new("SELECT sent, nanos, id, envelope, size FROM log ORDER BY sent, nanos, id LIMIT ");
    statement.bind(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    statement
}

/// Deletes everything up to a key.
pub(crate) fn delete_until(last: &Key) -> Statement {
    let (sent, nanos) = last.split();
    let mut statement = Statement::new("DELETE FROM log WHERE sent <= ");
    statement.bind(Value::Int(sent)).push(" AND (sent, nanos, id) <= (");
    statement.bind_all([Value::Int(sent), Value::Int(nanos), Value::Bytes(last.id.to_vec())]);
    statement.push(") RETURNING sent, size");
    statement
}
