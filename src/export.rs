//! The sub-command `export`: the archive as JSON lines ([`crate::rows::line`]), page by page, the oldest first.
//!
//! Rows with a message come in the order of messages, those of an envelope alone in the order of mail requests, and the two are
//! joined by their seconds. What is appended meanwhile may be in the export or not.
//!
//! Limit: two pages of [`archive::query::MAX_PAGE_BYTES`] at a time.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use archive::{
    Archive, Query, Row, View,
    query::{ALL_TIMES, seconds},
};
use bridge::content_topic;
use devp2p::clock::now;
use serde::Serialize;
use waku0::{Topic, topic::TopicError};
use waku2::ContentTopic;

use crate::{
    cli::ExportArgs,
    config::archive::at,
    keys::DataDir,
    moment::{Moment, MomentError},
    output::remark,
    progress::{Progress, bytes},
    rows::line,
    storage::archive::open,
};

/// Why nothing is exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A wrong time.
    #[error(transparent)]
    Time(#[from] MomentError),
    /// Neither form of topic.
    #[error("--topic: {0}; or a content topic, which begins with /")]
    Topic(#[from] TopicError),
    /// Nothing to read.
    #[error("there is no archive {0}: name one with --data-dir or --archive-url")]
    NoArchive(PathBuf),
    /// Not to be written over.
    #[error("{0} can't be made: {1}")]
    File(PathBuf, io::Error),
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    rows: u64,
    envelopes: u64,
    messages: u64,
    bytes: u64,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    sent_ns: RangeInclusive<i64>,
    /// None of either is all.
    topics: Vec<[u8; 4]>,
    content_topics: Vec<String>,
}

/// Exports.
///
/// # Errors
/// [`ExportError`]; an archive that can't be opened or read; output that can't be written.
pub async fn run(args: ExportArgs) -> anyhow::Result<()> {
    let wanted = Wanted::of(&args)?;
    let (place, data_dir) = (at(args.archive_url.as_deref())?, DataDir::place(args.data_dir)?);
    if let Some(file) = place.file(&data_dir).filter(|file| !file.exists()) {
        return Err(ExportError::NoArchive(file).into());
    }
    let archive = open(&place, &data_dir).await?;
    let mut progress = Progress::start(args.quiet);
    let exported = match &args.file {
        Some(path) => to_file(path, &archive, &wanted, &mut progress).await,
        None => write(&mut BufWriter::new(io::stdout()), &archive, &wanted, &mut progress).await,
    };
    progress.end();
    archive.close().await;
    let summary = exported?;
    match args.json {
        true => remark(serde_json::to_string(&summary)?),
        false => remark(format_args!(
            "{} rows: {} envelopes, {} messages, {}",
            summary.rows,
            summary.envelopes,
            summary.messages,
            bytes(summary.bytes)
        )),
    }
    Ok(())
}

async fn to_file(path: &Path, archive: &Archive, wanted: &Wanted, progress: &mut Progress) -> anyhow::Result<Summary> {
    let file = File::create_new(path).map_err(|error| ExportError::File(path.to_owned(), error))?;
    let mut out = BufWriter::new(file);
    let summary = write(&mut out, archive, wanted, progress).await?;
    out.into_inner()?.sync_all()?;
    Ok(summary)
}

/// Writes all that is wanted. A reader that has left is no fault.
async fn write(
    out: &mut (impl Write + Send),
    archive: &Archive,
    wanted: &Wanted,
    progress: &mut Progress,
) -> anyhow::Result<Summary> {
    let total = if *wanted == Wanted::all() { archive.totals().await?.rows } else { 0 };
    let mut summary = Summary::default();
    let mut rows = Rows::new(archive, wanted);
    while let Some(row) = rows.next().await? {
        let line = line::write(&row)?;
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(summary),
            written => written?,
        }
        summary.rows += 1;
        summary.envelopes += u64::from(row.mined().is_some());
        summary.messages += u64::from(row.message.is_some());
        summary.bytes += line.len() as u64 + 1;
        progress.tell(summary.rows, total, || format!("{} rows, {}", summary.rows, bytes(summary.bytes)));
    }
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(summary),
    }
}

impl Wanted {
    fn all() -> Self {
        Self { sent_ns: ALL_TIMES, topics: Vec::new(), content_topics: Vec::new() }
    }

    fn of(args: &ExportArgs) -> Result<Self, ExportError> {
        let now_secs = now().unix_secs();
        let moment = |text: &Option<String>| text.as_deref().map(str::parse::<Moment>).transpose();
        let (from, to) = (moment(&args.from)?, moment(&args.to)?);
        let mut wanted = Self::all();
        if from.is_some() || to.is_some() {
            let secs = |moment: Option<Moment>, or: u32| moment.map_or(or, |moment| moment.envelope_secs(now_secs));
            wanted.sent_ns = seconds(secs(from, 0), secs(to, u32::MAX));
        }
        for text in &args.topic {
            wanted.add_topic(text)?;
        }
        Ok(wanted)
    }

    /// A topic of either network, and what it is on the other.
    fn add_topic(&mut self, text: &str) -> Result<(), TopicError> {
        if text.starts_with('/') {
            let topic = content_topic::parse(&ContentTopic::from(text), true).ok().map(|read| read.topic);
            self.topics.extend(topic.map(|topic| topic.0));
            self.content_topics.push(text.to_owned());
        } else {
            let topic: Topic = text.parse()?;
            self.topics.push(topic.0);
            self.content_topics.push(content_topic::canonical(topic).to_string());
        }
        Ok(())
    }

    /// Does the order of messages have this row?
    fn is_told_as_message(&self, row: &Row) -> bool {
        let Some(message) = &row.message else { return false };
        self.content_topics.is_empty() || self.content_topics.contains(&message.content_topic)
    }

    fn messages(&self) -> Query {
        let view = View::Messages {
            after: None,
            content_topics: self.content_topics.clone(),
            pubsub_topic: None,
            proven_only: false,
        };
        Query { view, sent_ns: self.sent_ns.clone(), ..Query::messages() }
    }

    /// `None` where content topics are wanted that no envelope has.
    fn envelopes(&self) -> Option<Query> {
        if self.topics.is_empty() && !self.content_topics.is_empty() {
            return None;
        }
        let view = View::Envelopes { after: None, topics: self.topics.clone() };
        Some(Query { view, sent_ns: self.sent_ns.clone(), ..Query::envelopes() })
    }
}

/// Rows of both orders, joined by time, each once.
struct Rows<'a> {
    archive: &'a Archive,
    wanted: &'a Wanted,
    messages: Pages,
    envelopes: Pages,
}

/// Pages of one order.
struct Pages {
    /// The next page; `None` behind the last one.
    query: Option<Query>,
    rows: VecDeque<Row>,
}

impl<'a> Rows<'a> {
    fn new(archive: &'a Archive, wanted: &'a Wanted) -> Self {
        let pages = |query| Pages { query, rows: VecDeque::new() };
        Self { archive, wanted, messages: pages(Some(wanted.messages())), envelopes: pages(wanted.envelopes()) }
    }

    async fn next(&mut self) -> Result<Option<Row>, archive::Error> {
        self.messages.fill(self.archive, |_| true).await?;
        let wanted = self.wanted;
        self.envelopes.fill(self.archive, |row| !wanted.is_told_as_message(row)).await?;
        let from_messages = match (self.messages.rows.front(), self.envelopes.rows.front()) {
            (Some(message), Some(envelope)) => message.sent_secs() <= envelope.sent_secs(),
            (message, _) => message.is_some(),
        };
        let pages = if from_messages { &mut self.messages } else { &mut self.envelopes };
        Ok(pages.rows.pop_front())
    }
}

impl Pages {
    /// Reads on until there is a row that is wanted, or none is left.
    async fn fill(&mut self, archive: &Archive, is_wanted: impl Fn(&Row) -> bool) -> Result<(), archive::Error> {
        while self.rows.is_empty() {
            let Some(query) = self.query.take() else { return Ok(()) };
            let page = archive.page(&query).await?;
            self.query = page.rows.last().filter(|_| page.more).and_then(|last| query.after(last));
            self.rows = page.rows.into_iter().filter(&is_wanted).collect();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use waku0::Envelope;
    use waku2::{Meta, WakuMessage};

    use super::*;
    use crate::rows;

    const SENT: u32 = 1_700_000_000;

    fn envelope(number: u32) -> Row {
        let topic = Topic([1, 2, 3, (number % 3) as u8]);
        let sealed = Envelope::new(SENT + number / 2 + 50, 50, topic, Bytes::from(format!("e{number}")), 7).unwrap();
        rows::of_envelope(&sealed, Some("imported"), 9)
    }

    fn message(number: u32) -> Row {
        let message = WakuMessage {
            payload: format!("m{number}").into(),
            content_topic: if number.is_multiple_of(2) { "/my/1/app/proto" } else { "/waku/1/0x01020301/rfc26" }.into(),
            version: 1,
            timestamp: Some(i64::from(SENT + number / 2) * 1_000_000_000 + 5),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        rows::of_message(&"/waku/2/rs/0/0".parse().unwrap(), &message, Some("imported"), 9).unwrap()
    }

    /// One row that is both.
    fn both() -> Row {
        let envelope = envelope(1);
        let of_envelope = rows::envelope(&envelope).unwrap();
        let message = bridge::mapping::message_of(&of_envelope, bridge::mapping::timestamp_of(&of_envelope), true);
        let message = rows::of_message(&"/waku/2/rs/0/0".parse().unwrap(), &message, Some("imported"), 9).unwrap();
        Row { envelope: envelope.envelope, reason: None, ..message }
    }

    async fn filled() -> Archive {
        let archive = Archive::memory();
        for number in 0..700 {
            archive.append(&[envelope(number * 2), message(number)], u64::from(SENT) + 10_000).await.unwrap();
        }
        for number in 700..1_500 {
            archive.append(&[envelope(number * 2)], u64::from(SENT) + 10_000).await.unwrap();
        }
        archive.append(&[both()], u64::from(SENT) + 10_000).await.unwrap();
        archive
    }

    async fn exported(archive: &Archive, wanted: &Wanted) -> (Vec<Row>, Summary) {
        let mut out = Vec::new();
        let summary = write(&mut out, archive, wanted, &mut Progress::start(true)).await.unwrap();
        assert_eq!(summary.bytes, out.len() as u64);
        (out.split_inclusive(|byte| *byte == b'\n').map(|line| line::read(line).unwrap()).collect(), summary)
    }

    #[tokio::test]
    async fn every_row_once_the_oldest_first_and_again_the_same() {
        let archive = filled().await;
        let (rows, summary) = exported(&archive, &Wanted::all()).await;
        assert_eq!((summary.rows, summary.envelopes, summary.messages), (2_201, 1_501, 701));
        assert!(rows.is_sorted_by_key(Row::sent_secs));
        let other = Archive::memory();
        for row in &rows {
            assert_eq!(
                other.append(std::slice::from_ref(row), u64::from(SENT) + 10_000).await.unwrap(),
                [archive::Appended::Stored]
            );
        }
        assert_eq!(exported(&other, &Wanted::all()).await.0, rows);
    }

    #[tokio::test]
    async fn times_and_topics_of_either_network() {
        let archive = filled().await;
        let mut of_topic = Wanted::all();
        of_topic.add_topic("0x01020301").unwrap();
        let (rows, _) = exported(&archive, &of_topic).await;
        assert_eq!(rows.len(), 500 + 350 + 1);
        let mut of_content = Wanted::all();
        of_content.add_topic("/my/1/app/proto").unwrap();
        let (rows, _) = exported(&archive, &of_content).await;
        assert!(rows.len() == 350 && rows.iter().all(|row| row.envelope.is_none()));
        let early = Wanted { sent_ns: seconds(SENT, SENT + 9), ..Wanted::all() };
        let (rows, _) = exported(&archive, &early).await;
        assert_eq!(rows.len(), 10 + 20 + 1);
        assert!(Wanted::all().add_topic("0x0102").is_err());
    }
}
