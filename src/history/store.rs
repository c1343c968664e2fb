//! `history` of a store node of the Waku Network: its messages, printed as they come, each once.
//!
//! When a node fails the next one is asked for the rest. Over 13/WAKU2-STORE 3, or 2.0.0-beta4 where a node speaks only that.

use std::path::PathBuf;

use bridge::content_topic::canonical;
use devp2p::key::NodeKey;
use tokio::sync::mpsc;
use waku0::Topic;
use waku2::{
    MessageHash, PubsubTopic, Shard,
    service::Target,
    store::{
        Query, Selection,
        ask::Pages,
        client::{Answer, Dialect},
        query::{Kept, MAX_PAGE},
        resume::Window,
    },
};

use super::{
    HistoryError, Incomplete, Keys, Printer, ServerError,
    place::{self, Place},
    range, state,
};
use crate::{
    agent,
    cli::HistoryArgs,
    client::PeerAddress,
    keys::system_rng,
    output::Reader,
    progress::{Progress, bytes},
};

/// What is offered, best first.
const DIALECTS: [Dialect; 2] = [Dialect::V3, Dialect::Legacy];
/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// Is it the address of a store node, and not that of a mail server?
pub(super) fn is_node(server: &str) -> bool {
    server.starts_with('/')
}

/// Asks, and prints what comes.
///
/// # Errors
/// As [`super::run`].
pub(super) async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let targets = args.server.iter().map(|text| target(text)).collect::<Result<Vec<_>, _>>()?;
    let topic: PubsubTopic = args.pubsub_topic.parse().map_err(HistoryError::PubsubTopic)?;
    let content_topics: Vec<String> = args.topic.iter().map(|text| content_topic(text)).collect();
    let left = args.resume.as_deref().map(|path| place::read(path, &topic, &content_topics)).transpose()?.flatten();
    let place = match left {
        Some(place) => place,
        None => Place::of(window(&args)?),
    };
    let node = node(&topic).await?;
    let mut asking = Asking {
        limit: if args.all { u64::MAX } else { args.limit },
        content_topics,
        printer: Printer { json: args.json, keys: Keys::of(&args)? },
        progress: Progress::start(args.quiet),
        topic,
        place,
        resume_file: args.resume,
        came: 0,
        came_bytes: 0,
        discarded: 0,
    };
    let mut done = Ok(Reader::Listens);
    let (mut is_complete, mut is_enough) = (false, false);
    for target in targets {
        let name = target.peer;
        match asking.all_of(node.clone(), target).await {
            Ok(End::Complete) => is_complete = true,
            Ok(End::Left(reader)) => (is_enough, done) = (true, Ok(reader)),
            Err(Trouble::Print(error)) => (is_enough, done) = (true, Err(error)),
            Err(Trouble::Server(error)) => {
                asking.progress.remark(format_args!("{name}: {error}"));
                continue;
            }
        }
        break;
    }
    node.shutdown().await;
    asking.finish(done, is_complete, is_enough)
}

/// The times that are asked for.
fn window(args: &HistoryArgs) -> Result<Window, HistoryError> {
    let sent = range(args)?;
    let (from, until) = (i64::from(*sent.start()) * NANOS, i64::from(*sent.end()) * NANOS + (NANOS - 1));
    Ok(Window { from, until })
}

fn target(text: &str) -> Result<Target, ServerError> {
    let malformed = || ServerError::Malformed(text.chars().take(80).collect());
    match text.parse() {
        Ok(PeerAddress::V2(addr)) => Target::try_from(addr).map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

/// What begins with a slash is one; anything else stands for a topic of waku/0, as a bridge names it here.
fn content_topic(text: &str) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    canonical(text.parse().unwrap_or_else(|_| Topic::of_name(text))).to_string()
}

/// A node that relays nothing, in the cluster of the topic: others of it would leave us.
async fn node(topic: &PubsubTopic) -> Result<waku2::Handle, waku2::run::StartError> {
    let key = NodeKey::generate(&mut system_rng()).to_bytes();
    let cluster = topic.as_str().parse::<Shard>().map(|shard| shard.cluster);
    let config = waku2::Config::new(key);
    let config = waku2::Config { cluster: cluster.unwrap_or(config.cluster), agent: agent(), ..config };
    // Nobody looks at what it tells.
    let (events, _) = mpsc::channel(1);
    Ok(waku2::run::start(config, events).await?.0)
}

/// A question under way.
struct Asking {
    limit: u64,
    content_topics: Vec<String>,
    printer: Printer,
    progress: Progress,
    topic: PubsubTopic,
    /// How far it is.
    place: Place,
    /// Where that is written after each page.
    resume_file: Option<PathBuf>,
    came: u64,
    came_bytes: u64,
    discarded: usize,
}

/// How the question of a node ended.
enum End {
    /// It has no more.
    Complete,
    /// Enough has come, or nobody reads.
    Left(Reader),
}

/// Why it did not end well.
enum Trouble {
    /// The next node may know more.
    Server(anyhow::Error),
    /// Nothing can be printed.
    Print(anyhow::Error),
}

impl Asking {
    async fn all_of(&mut self, node: waku2::Handle, target: Target) -> Result<End, Trouble> {
        let server = |error: anyhow::Error| Trouble::Server(error);
        let selection = Selection::Content {
            pubsub_topic: Some(self.topic.clone()),
            content_topics: self.content_topics.clone(),
            from: Some(self.place.missing.from),
            until: Some(self.place.missing.until),
        };
        let query = Query { selection, cursor: None, forward: true, limit: self.page(), include_data: true };
        self.progress.remark(format_args!("asking {}", target.peer));
        let pages = Pages::new(node, target, &DIALECTS, &query);
        let mut pages = pages.map_err(|error| server(error.into()))?;
        let mut rng = system_rng();
        while let Some(answer) = pages.next(&mut rng).await.map_err(|error| server(error.into()))? {
            let reader = self.take(answer).map_err(Trouble::Print)?;
            self.leave_place().map_err(Trouble::Print)?;
            match reader {
                Reader::Listens if self.came < self.limit => {}
                reader => return Ok(End::Left(reader)),
            }
        }
        Ok(End::Complete)
    }

    fn page(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.came)).unwrap_or(MAX_PAGE).min(MAX_PAGE)
    }

    fn take(&mut self, answer: Answer) -> anyhow::Result<Reader> {
        self.discarded += answer.discarded;
        for (hash, kept) in answer.entries.into_iter().filter_map(|entry| Some((entry.hash, entry.kept?))) {
            let sent = kept.message.timestamp.unwrap_or_default();
            if sent > self.place.missing.from {
                self.place.at_the_end.clear();
            }
            self.place.missing = self.place.missing.behind(sent);
            if !self.place.at_the_end.insert(hash) {
                continue;
            }
            self.came += 1;
            self.came_bytes += kept.message.payload.len() as u64;
            if self.print(&kept, hash)? == Reader::Left {
                return Ok(Reader::Left);
            }
            if self.came >= self.limit {
                break;
            }
        }
        let (covered, told) = (self.place.whole.covered(self.place.missing.from), self.told());
        self.progress.tell((covered * 1e6) as u64, 1_000_000, || told);
        Ok(Reader::Listens)
    }

    /// Writes down how far it is: what was printed is not asked for again.
    fn leave_place(&self) -> anyhow::Result<()> {
        match &self.resume_file {
            Some(path) => Ok(place::write(path, &self.topic, &self.content_topics, &self.place)?),
            None => Ok(()),
        }
    }

    fn print(&self, Kept { pubsub_topic, message, .. }: &Kept, hash: MessageHash) -> anyhow::Result<Reader> {
        self.printer.print_message(pubsub_topic, message, hash)
    }

    fn told(&self) -> String {
        let mut told = format!("{} messages, {}", self.came, bytes(self.came_bytes));
        if self.discarded > 0 {
            told.push_str(&format!(", {} not asked for", self.discarded));
        }
        told
    }

    fn finish(self, done: anyhow::Result<Reader>, is_complete: bool, is_enough: bool) -> anyhow::Result<()> {
        self.progress.remark(self.told());
        // Nothing may have come yet; the times are kept all the same, for `24h` ago is another time later.
        let left = match &self.resume_file {
            Some(path) if is_complete => state::remove(path).map_err(Into::into),
            _ => self.leave_place(),
        };
        self.progress.end();
        done?;
        left?;
        if is_complete || is_enough {
            return Ok(());
        }
        let secs = |nanos: i64| u32::try_from(nanos / NANOS).unwrap_or(u32::MAX);
        let how = if self.resume_file.is_some() { "; the same command goes on there" } else { "" };
        Err(Incomplete(secs(self.place.missing.from), secs(self.place.missing.until), how).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_either_generation() {
        assert_eq!(content_topic("/toychat/2/huilong/proto"), "/toychat/2/huilong/proto");
        assert_eq!(content_topic("0x1a2b3c4d"), "/waku/1/0x1a2b3c4d/rfc26");
        assert_eq!(content_topic("status"), "/waku/1/0xcd423760/rfc26");
    }

    #[test]
    fn a_node_is_an_address_with_its_name() {
        let peer = "/ip4/1.2.3.4/tcp/60000/p2p/16Uiu2HAm2HyS6brcCspSbszG9i36re2bWBVjMe3tMdnFp1Hua34F";
        assert!(is_node(peer) && !is_node("enode://x"));
        assert_eq!(target(peer).unwrap().addrs[0].to_string(), peer);
        assert!(matches!(target("/ip4/1.2.3.4/tcp/60000"), Err(ServerError::Malformed(_))));
    }
}
