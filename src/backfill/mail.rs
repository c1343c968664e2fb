//! Mail servers are asked for the envelopes that a bridge missed (8/WAKU-MAIL), an hour after the other, and page by page.
//!
//! A server that fails is left for the next one, and the one that answered last is asked first. When none gives a part of it, that stays
//! missing, and is asked for again, less and less often, up to `PATIENCE`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bridge::{
    Config, Direction,
    backfill::{Source, Task},
    router::{Router, Topics},
};
use devp2p::clock::now;
use tokio::time::{Instant, sleep};
use waku0::{
    Envelope, Topic,
    mail::client::{Settings, Wanted},
};

use super::{
    books::{Books, LOOK},
    keep::{BATCH, NotKept, keep},
};
use crate::{
    history::{
        MailServer,
        conversation::{Conversation, Step},
    },
    storage::archive::History,
};

/// The first wait after nobody answered; then twice as long each time.
const IMPATIENCE: Duration = Duration::from_secs(5);
/// The longest one.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(5);

/// What it takes to ask.
#[derive(Debug)]
pub struct Asking {
    /// What is missing.
    pub books: Arc<Books>,
    /// Who is asked.
    pub servers: Vec<MailServer>,
    /// Where it is kept.
    pub history: History,
    /// By which rules; the routes are the books'.
    pub rules: Config,
}

impl Asking {
    /// Asks whenever something is missing, until it is aborted.
    pub async fn run(mut self) {
        let (mut talk, mut wait): (Option<Conversation>, _) = (None, IMPATIENCE);
        let mut told = None;
        loop {
            let Some(task) = self.books.next(|source| *source == Source::V1) else {
                if let Some(mut talk) = talk.take() {
                    talk.hang_up().await;
                    let [came, _] = self.books.came();
                    tracing::info!(came, "what mail servers had of what was missed is here");
                    told = None;
                }
                sleep(LOOK).await;
                continue;
            };
            if told.is_none_or(|at: Instant| at.elapsed() >= TELL) {
                told = Some(Instant::from_std(now().instant));
                let [came, _] = self.books.came();
                tracing::info!(from = task.from, until = task.until, came, "asking mail servers for what was missed");
            }
            self.rules.routes = self.books.routes();
            if let Err(why) = self.fill(&task, &mut talk).await {
                tracing::warn!(%why, from = task.from, until = task.until, "envelopes of this time are missing still");
                self.books.fail(&task);
                sleep(wait).await;
                wait = (wait * 2).min(PATIENCE);
            } else {
                wait = IMPATIENCE;
            }
        }
    }

    /// Asks for one part.
    async fn fill(&self, task: &Task, talk: &mut Option<Conversation>) -> Result<(), Unfilled> {
        let secs = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        let wanted = Wanted { sent: secs(task.from)..=secs(task.until), topics: topics(&self.rules.routes) };
        let settings = Settings::default();
        let talk = match talk {
            Some(talk) => {
                talk.again(wanted, settings);
                talk
            }
            None => talk.insert(Conversation::new(wanted, settings, self.servers.clone(), None)),
        };
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            match talk.next().await {
                Step::Envelope(envelope) => batch.push(envelope),
                Step::Told(what) => tracing::info!("{what}"),
                Step::Page(_) | Step::Heard => {}
                Step::End => break,
            }
            if batch.len() >= BATCH {
                self.keep(task, &mut batch).await?;
            }
        }
        self.keep(task, &mut batch).await?;
        match &talk.client().report().gap {
            None => {
                self.books.advance(task, task.until, &Default::default());
                Ok(())
            }
            Some(_) => Err(Unfilled::Nobody),
        }
    }

    /// Keeps what came, and counts it; how far it is, is known at the end of a part.
    async fn keep(&self, task: &Task, batch: &mut Vec<Envelope>) -> Result<(), Unfilled> {
        let came = keep(&self.history, &self.rules, batch).await?;
        batch.clear();
        if !came.is_empty() {
            self.books.advance(task, 0, &came);
        }
        Ok(())
    }
}

/// Why a part is missing still.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Unfilled {
    #[error("no mail server gave all of it")]
    Nobody,
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

/// Topics that routes take from v1; none, where one takes all, or they are more than a request is to name.
fn topics(routes: &Router) -> Vec<Topic> {
    let mut wanted = BTreeSet::new();
    for route in routes.routes().iter().filter(|route| route.takes(Direction::V1ToV2)) {
        match &route.topics {
            Topics::All => return Vec::new(),
            Topics::Some(topics) => wanted.extend(topics.iter().copied()),
        }
    }
    if wanted.len() > archive::query::MAX_TOPICS { Vec::new() } else { wanted.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use bridge::{policy::Ways, router::Route};

    use super::*;

    #[test]
    fn topics_are_asked_for_by_name_where_all_routes_name_them() {
        let route = |n: u8, ways| Route {
            name: format!("{n}").into(),
            topics: [Topic([n; 4])].into_iter().collect(),
            ..Route::everything("/waku/2/rs/0/0".parse().unwrap(), ways)
        };
        let some = vec![route(1, Ways::Both), route(2, Ways::V2ToV1), route(3, Ways::ArchiveOnly)];
        assert_eq!(topics(&Router::table(some.clone()).unwrap()), [Topic([1; 4]), Topic([3; 4])]);
        let all = [some, vec![Route::everything("/waku/2/rs/0/0".parse().unwrap(), Ways::V1ToV2)]].concat();
        assert!(topics(&Router::table(all).unwrap()).is_empty());
    }
}
