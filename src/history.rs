//! The sub-command `history`: asks mail servers for what was sent, or store nodes of the Waku Network, and prints it.
//!
//! [`waku0::mail::client`] knows what to ask whom for; here it gets a connection to one server at a time, a terminal, and a file
//! from which another run goes on. Envelopes are printed as they come, each once; what of a page was printed when the program was killed is
//! printed again by the next run.

use std::{
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::clock::now;
use waku0::{
    Envelope, Topic,
    mail::client::{MAX_ENVELOPES, Report, Resume, Settings, Wanted},
    payload::{self, Key, Opened, SymKey},
};
use waku2::{MessageHash, PubsubTopic, WakuMessage};

use crate::{
    cli::HistoryArgs,
    keys,
    moment::{Moment, MomentError},
    output::{Reader, say},
    progress::{Progress, bytes},
    rows::{self, line},
};

pub(crate) mod conversation;
mod place;
mod server;
mod state;
mod store;

use conversation::{Conversation, Step};
pub use server::{MailServer, ServerError};
pub use state::ResumeError;

/// Why an envelope that is printed in the form of an export is in it.
const REASON: &str = "history";

/// Wrongly called.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A wrong time.
    #[error(transparent)]
    Time(#[from] MomentError),
    /// Nothing that can be asked.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// It ends before it begins.
    #[error("--from is after --to")]
    Inverted,
    /// A key that is none.
    #[error("--sym-key: {0}")]
    SymKey(#[from] payload::SymKeyError),
    /// A topic that is none.
    #[error("--pubsub-topic: {0}")]
    PubsubTopic(waku2::topic::PubsubTopicError),
    /// A file with a key that is none.
    #[error("--private-key-file: {0}")]
    PrivateKey(#[from] keys::KeyError),
}

/// Not all has come.
#[derive(Debug, thiserror::Error)]
#[error("incomplete: what was sent from {0} to {1} (unix seconds) is missing{2}")]
pub struct Incomplete(u32, u32, &'static str);

/// Asks, and prints what comes.
///
/// # Errors
/// [`HistoryError`]; [`Incomplete`] when no server goes on; a resume file or standard output that can't be written.
pub async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    if args.server.iter().all(|server| store::is_node(server)) {
        return store::run(args).await;
    }
    let servers = args.server.iter().map(|text| text.parse()).collect::<Result<Vec<MailServer>, ServerError>>();
    let servers = servers.map_err(HistoryError::from)?;
    let topics: Vec<Topic> = args.topic.iter().map(|text| topic(text)).collect();
    let (sent, resume) = match args.resume.as_deref().map(|path| state::read(path, &topics, &servers)).transpose()? {
        Some(Some((sent, resume))) => (sent, Some(resume)),
        _ => (range(&args)?, None),
    };
    let printer = Printer { json: args.json, keys: Keys::of(&args)? };
    let settings =
        Settings { page: args.page, limit: if args.all { MAX_ENVELOPES } else { args.limit }, ..Settings::default() };
    let wanted = Wanted { sent, topics };
    let talk = Conversation::new(wanted.clone(), settings, servers, resume);
    let mut asking = Asking {
        talk,
        wanted,
        resume_file: args.resume,
        printer,
        progress: Progress::start(args.quiet),
        began: now().instant,
    };
    let asked = asking.run().await;
    asking.finish(asked).await
}

/// Eight hex digits, or else a name, as Status makes topics of names.
fn topic(text: &str) -> Topic {
    text.parse().unwrap_or_else(|_| Topic::of_name(text))
}

fn range(args: &HistoryArgs) -> Result<RangeInclusive<u32>, HistoryError> {
    let now_secs = now().unix_secs();
    let secs = |text: &str| Ok::<_, MomentError>(text.parse::<Moment>()?.envelope_secs(now_secs));
    let (from, to) = (secs(&args.from)?, secs(&args.to)?);
    if from > to { Err(HistoryError::Inverted) } else { Ok(from..=to) }
}

/// A request under way.
struct Asking {
    talk: Conversation,
    wanted: Wanted,
    resume_file: Option<PathBuf>,
    printer: Printer,
    progress: Progress,
    began: Instant,
}

impl Asking {
    /// To the end of it, or until nobody reads.
    async fn run(&mut self) -> anyhow::Result<Reader> {
        loop {
            match self.talk.next().await {
                Step::Envelope(envelope) => {
                    if self.printer.print(&envelope)? == Reader::Left {
                        return Ok(Reader::Left);
                    }
                }
                Step::Page(resume) => self.page(&resume)?,
                Step::Told(what) => self.progress.remark(what),
                Step::Heard => self.tell(),
                Step::End => return Ok(Reader::Listens),
            }
        }
    }

    fn page(&self, resume: &Resume) -> anyhow::Result<()> {
        match &self.resume_file {
            Some(path) => Ok(state::write(path, &self.wanted, resume, self.talk.servers())?),
            None => Ok(()),
        }
    }

    fn tell(&mut self) {
        let (report, began) = (self.talk.client().report(), self.began);
        let (done, all) = self.talk.client().covered();
        self.progress.tell(done, all, || told(report, now().instant.duration_since(began)));
    }

    /// Says what came of it.
    async fn finish(mut self, asked: anyhow::Result<Reader>) -> anyhow::Result<()> {
        self.talk.hang_up().await;
        let report = self.talk.client().report().clone();
        let took = now().instant.duration_since(self.began);
        self.progress.remark(told(&report, took));
        self.progress.end();
        let reader = asked?;
        match (&self.resume_file, report.is_complete()) {
            (Some(path), true) => state::remove(path)?,
            // Nothing has come yet; the range is kept all the same, for `24h` ago is another time later.
            (Some(path), false) => {
                if let Some(resume) = self.talk.client().resume() {
                    state::write(path, &self.wanted, &resume, self.talk.servers())?;
                }
            }
            (None, _) => {}
        }
        match report.gap {
            Some(gap) if !report.limited && reader == Reader::Listens => {
                let how = if self.resume_file.is_some() { "; the same command goes on there" } else { "" };
                Err(Incomplete(*gap.start(), *gap.end(), how).into())
            }
            _ => Ok(()),
        }
    }
}

/// How much has come, and how fast.
fn told(report: &Report, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let Report { envelopes, pages, bytes: received, duplicates, .. } = report;
    let rate = bytes(received.saturating_mul(1_000) / millis);
    let mut told = format!("{envelopes} envelopes on {pages} pages, {} ({rate}/s)", bytes(*received));
    let others = [
        (*duplicates, "came twice"),
        (report.unwanted, "not asked for"),
        (report.unreadable, "unreadable"),
        (report.unasked, "stray packets"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        told.push_str(&format!(", {count} {what}"));
    }
    if report.limited {
        told.push_str("; there is more, --all or a larger --limit gets it");
    }
    told
}

/// With what payloads are opened.
struct Keys(Vec<Key>);

impl Keys {
    fn of(args: &HistoryArgs) -> Result<Self, HistoryError> {
        let mut keys = Vec::new();
        for password in &args.sym_password {
            keys.push(Key::Symmetric(SymKey::from_password(password)));
        }
        for text in &args.sym_key {
            keys.push(Key::Symmetric(text.parse()?));
        }
        if let Some(path) = &args.private_key_file {
            keys.push(Key::Private(keys::read_key(path)?));
        }
        Ok(Self(keys))
    }

    fn open(&self, data: &Bytes) -> Option<Opened> {
        self.0.iter().find_map(|key| payload::open(data, key).ok())
    }
}

/// Writes envelopes to standard output.
struct Printer {
    json: bool,
    keys: Keys,
}

impl Printer {
    fn print(&self, envelope: &Envelope) -> anyhow::Result<Reader> {
        let opened = self.keys.open(envelope.data());
        Ok(say(if self.json { json(envelope, opened.as_ref())? } else { text(envelope, opened.as_ref()) })?)
    }

    fn print_message(&self, topic: &PubsubTopic, message: &WakuMessage, hash: MessageHash) -> anyhow::Result<Reader> {
        let opened = (message.version == 1).then(|| self.keys.open(&message.payload)).flatten();
        let row = rows::of_message(topic, message, Some(REASON), now().unix_secs());
        match row.filter(|_| self.json) {
            Some(row) => Ok(say(with_opened(line::write(&row)?, opened.as_ref())?)?),
            None => Ok(say(message_text(message, hash, opened.as_ref()))?),
        }
    }
}

/// A line of an export, which `import` takes, with what it says beside it.
fn json(envelope: &Envelope, opened: Option<&Opened>) -> anyhow::Result<String> {
    let line = line::write(&rows::of_envelope(envelope, Some(REASON), now().unix_secs()))?;
    with_opened(line, opened)
}

fn with_opened(line: String, opened: Option<&Opened>) -> anyhow::Result<String> {
    let Some(opened) = opened else { return Ok(line) };
    let mut line: serde_json::Value = serde_json::from_str(&line)?;
    line["opened"] = serde_json::json!({
        "payload": data_encoding::BASE64.encode(&opened.payload),
        "text": std::str::from_utf8(&opened.payload).ok(),
        "signer": opened.signer().map(|key| format!("0x04{key}")),
    });
    Ok(line.to_string())
}

/// When, what about, which, how large, and the text if it can be read.
fn text(envelope: &Envelope, opened: Option<&Opened>) -> String {
    let said = said(opened.map(|opened| &opened.payload));
    let (sent, topic, hash, size) = (envelope.sent(), envelope.topic(), envelope.hash(), envelope.data().len());
    format!("{sent}  {topic}  {hash}  {size:>6} B  {said}").trim_end().to_owned()
}

/// The same of a message. What is not encrypted is read as it is.
fn message_text(message: &WakuMessage, hash: MessageHash, opened: Option<&Opened>) -> String {
    let plain = (message.version == 0).then_some(&message.payload);
    let said = said(opened.map(|opened| &opened.payload).or(plain));
    let (secs, topic, size) =
        (message.timestamp.unwrap_or_default() / 1_000_000_000, &message.content_topic, message.payload.len());
    format!("{secs}  {topic}  {hash}  {size:>6} B  {said}").trim_end().to_owned()
}

/// The text, if it can be read.
fn said(payload: Option<&Bytes>) -> &str {
    match payload.map(|payload| std::str::from_utf8(payload)) {
        Some(Ok(text)) if !text.chars().any(|c| c.is_control() && c != '\n') => text.trim_end(),
        Some(_) => "(binary)",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use waku0::payload::{Content, SealTo, seal};

    use super::*;
    use crate::keys::seeded_rng;

    fn sealed() -> Envelope {
        let key = SymKey::from_password("test");
        let data = seal(&Content::from(Bytes::from("hello\nthere")), SealTo::Symmetric(&key), None, &mut seeded_rng(1));
        Envelope::new(1_700_000_050, 50, Topic([1, 2, 3, 4]), data.unwrap(), 7).unwrap()
    }

    #[test]
    fn a_line_can_be_imported_and_says_what_was_opened() {
        let keys =
            Keys(vec![Key::Symmetric(SymKey::from_password("no")), Key::Symmetric(SymKey::from_password("test"))]);
        let line = json(&sealed(), keys.open(sealed().data()).as_ref()).unwrap();
        assert_eq!(rows::envelope(&line::read(line.as_bytes()).unwrap()), Some(sealed()));
        assert!(line.contains("\"text\":\"hello\\nthere\""), "{line}");
        let closed = json(&sealed(), Keys(vec![]).open(sealed().data()).as_ref()).unwrap();
        assert!(!closed.contains("opened"), "{closed}");
    }

    #[test]
    fn a_line_for_people() {
        let keys = Keys(vec![Key::Symmetric(SymKey::from_password("test"))]);
        let line = text(&sealed(), keys.open(sealed().data()).as_ref());
        assert!(line.starts_with("1700000000  0x01020304  0x") && line.ends_with("hello\nthere"), "{line}");
        assert!(text(&sealed(), None).ends_with(" B"));
    }

    #[test]
    fn topics_are_digits_or_names() {
        assert_eq!(topic("0xcd423760"), topic("status"));
        assert_eq!(topic("cd423760"), Topic([0xcd, 0x42, 0x37, 0x60]));
    }
}
