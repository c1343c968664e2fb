//! The sub-command `import`: rows of another program's archive, or of an export, into ours.
//!
//! | module | what |
//! |---|---|
//! | `source` | what is read, told apart by what it is |
//! | `mail` | archives of status-go's mail servers, in LevelDB and PostgreSQL |
//! | `leveldb` | the former's database |
//! | `nwaku` | nwaku's store, in SQLite |
//! | `lines` | what `export` writes |
//! | `keep` | into the archive, or only compared with it |
//!
//! Every record is checked: its bytes are an envelope or a message, and have the hash and the time under which they were kept. What is
//! not so is refused and counted by reason ([`Refused`]); what can't be read is told, and the rest is read all the same. Rows are
//! on disk, a chunk at a time, before they count, and a row that is here already is known again. So an import that was stopped is
//! begun anew, and comes soon to where it was: a known row costs a look-up.
//!
//! Limits: a thousand rows and about 8 MiB at a time; [`MAX_SHOWN`] refusals are shown.

use std::{collections::BTreeMap, time::Instant};

use archive::{Appended, Refusal};
use devp2p::clock::now;
use serde::Serialize;

use crate::{cli::ImportArgs, config::archive::at, keys::DataDir, output::say, progress::Progress};

mod keep;
mod leveldb;
mod lines;
mod mail;
mod nwaku;
mod source;

use keep::Keeper;
pub use source::SourceError;
use source::{Item, Source};

/// Refused and damaged records that are told one by one; the rest is counted.
pub const MAX_SHOWN: u64 = 10;

/// Why a record is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Its key is not one of such an archive.
    Key,
    /// It is no envelope, or not a message that could be relayed.
    Unreadable(String),
    /// Its content has another hash than it is kept under.
    Hash,
    /// It was sent at another time than it is kept under.
    Time,
    /// A message that does not say when it was sent.
    NoTime,
    /// Its topic is not that of its key.
    Topic,
    /// The archive does not keep such rows.
    Archive(Refusal),
}

impl Refused {
    /// What it is counted under.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Unreadable(_) => "unreadable",
            Self::Hash => "hash",
            Self::Time => "time",
            Self::NoTime => "no_time",
            Self::Topic => "topic",
            Self::Archive(Refusal::Nameless) => "nameless",
            Self::Archive(Refusal::OutOfTime) => "out_of_time",
            Self::Archive(Refusal::Ahead) => "ahead",
            Self::Archive(Refusal::TooOld) => "too_old",
            Self::Archive(Refusal::OutOfBounds(_)) => "out_of_bounds",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key => f.write_str("a key that such an archive does not have"),
            Self::Unreadable(why) => f.write_str(why),
            Self::Hash => f.write_str("its content has another hash"),
            Self::Time => f.write_str("it was sent at another time than its key says"),
            Self::NoTime => f.write_str("a message without a time, whose hash a row can't tell"),
            Self::Topic => f.write_str("its topic is not that of its key"),
            Self::Archive(refusal) => write!(f, "the archive does not keep it: {refusal}"),
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Nothing was written.
    pub dry_run: bool,
    /// Records.
    pub read: u64,
    /// Of these, rows that were not here.
    pub new: u64,
    /// Rows that were here in part.
    pub completed: u64,
    /// Rows that were here.
    pub known: u64,
    /// Not taken, by reason ([`Refused::as_str`]).
    pub refused: BTreeMap<&'static str, u64>,
    /// Parts of the source that can't be read.
    pub damaged: u64,
    /// How long it took.
    pub seconds: u64,
}

impl Summary {
    fn refuse(&mut self, reason: &Refused) -> u64 {
        let count = self.refused.entry(reason.as_str()).or_default();
        *count += 1;
        self.refused.values().sum()
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dry_run, read, new, completed, known, refused, damaged, seconds } = self;
        let would = if *dry_run { " (dry run: nothing was written)" } else { "" };
        write!(f, "read {read} in {seconds} s: {new} new, {known} known")?;
        if *completed > 0 {
            write!(f, ", {completed} completed")?;
        }
        let sum: u64 = refused.values().sum();
        write!(f, ", {sum} refused{would}")?;
        refused.iter().try_for_each(|(reason, count)| write!(f, "\n  refused  {reason:<11} {count}"))?;
        match damaged {
            0 => Ok(()),
            count => write!(f, "\n  damaged  {count} parts of the source can't be read; what they held is missing"),
        }
    }
}

/// The import left something out that it should have had.
#[derive(Debug, thiserror::Error)]
#[error("{0} parts of the source can't be read; all others were")]
pub struct Incomplete(u64);

/// Imports, and prints what came of it.
///
/// # Errors
/// A source that can't be read, or not to its end; an archive that can't be opened or written. What was read before is kept.
pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let place = at(args.archive_url.as_deref())?;
    let source = Source::open(&args.source, args.rehash).await?;
    let data_dir = DataDir::place(args.data_dir)?;
    let keeper = Keeper::open(&place, &data_dir, args.dry_run).await?;
    let mut progress = Progress::start(args.quiet);
    progress.remark(format_args!("importing {source} into {}", place.named(&data_dir)));
    let (summary, ended) = import(source, &keeper, &mut progress).await;
    progress.end();
    keeper.close().await;
    let printed = if args.json { serde_json::to_string(&summary)? } else { summary.to_string() };
    // Nobody need read to the end.
    let _ = say(printed)?;
    ended?;
    if summary.damaged > 0 {
        return Err(Incomplete(summary.damaged).into());
    }
    Ok(())
}

/// Imports; what came of it, also where it could not go on.
async fn import(mut source: Source, keeper: &Keeper, progress: &mut Progress) -> (Summary, anyhow::Result<()>) {
    let began = now().instant;
    let mut summary = Summary { dry_run: keeper.is_dry(), ..Summary::default() };
    let ended = loop {
        let chunk = match source.next_chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        if let Err(error) = take(chunk, keeper, &mut summary, progress).await {
            break Err(error.into());
        }
        let (done, total) = source.progress();
        progress.tell(done, total, || word(&summary, began));
    };
    summary.seconds = now().instant.duration_since(began).as_secs();
    (summary, ended)
}

fn word(summary: &Summary, began: Instant) -> String {
    let millis = u64::try_from(now().instant.duration_since(began).as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = summary.read.saturating_mul(1_000) / millis;
    format!("{} read, {} new, {} known, {rate}/s", summary.read, summary.new, summary.known)
}

async fn take(
    chunk: Vec<Item>,
    keeper: &Keeper,
    summary: &mut Summary,
    progress: &Progress,
) -> Result<(), archive::Error> {
    let mut rows = Vec::with_capacity(chunk.len());
    let mut read = 0;
    for item in chunk {
        read += u64::from(!matches!(item, Item::Damaged(_)));
        match item {
            Item::Row(row) => rows.push(*row),
            Item::Refused { reason, place } => {
                if summary.refuse(&reason) <= MAX_SHOWN {
                    progress.remark(format_args!("{place}: {reason}"));
                }
            }
            Item::Damaged(what) => {
                summary.damaged += 1;
                if summary.damaged <= MAX_SHOWN {
                    progress.remark(what);
                }
            }
        }
    }
    for outcome in keeper.keep(&rows).await? {
        match outcome {
            Appended::Stored => summary.new += 1,
            Appended::Completed => summary.completed += 1,
            Appended::Known => summary.known += 1,
            Appended::Refused(refusal) => {
                let reason = Refused::Archive(refusal);
                if summary.refuse(&reason) <= MAX_SHOWN {
                    progress.remark(reason);
                }
            }
        }
    }
    summary.read += read;
    Ok(())
}
