//! Envelopes of other archives into ours, each once.
//!
//! What has the hash of an envelope that is here is known. So is what says the same as something that is here, within the tolerance of the
//! bridge, unless it is that very message, of which only the envelope is missing: two bridges, or a bridge and a client, may have sent it.

use std::{collections::BTreeMap, sync::Arc};

use archive::{Appended, Hash, Name, Row};
use bridge::{
    Config,
    relearn::{Learnt, relearn},
};
use devp2p::clock::now;
use waku0::Envelope;

use crate::{
    rows,
    storage::archive::{History, rows_of},
    store::resume::REASON,
};

/// Envelopes looked up and written together.
pub const BATCH: usize = 64;

/// The archive can't be read or written; why is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the archive can't be read or written")]
pub struct NotKept;

/// Keeps some of them, [`BATCH`] at most; the rows that were new, by route. All are on disk when it returns.
///
/// # Errors
/// [`NotKept`]; some may be kept.
pub async fn keep(
    history: &History,
    config: &Config,
    envelopes: &[Envelope],
) -> Result<BTreeMap<Arc<str>, u64>, NotKept> {
    let at = now().unix_secs();
    let learnt: Vec<_> = envelopes.iter().map(|envelope| rows_for(config, envelope, at)).collect();
    let mut here = here(history, &learnt).await?;
    let mut pending = Vec::new();
    for rows in learnt {
        let new: Vec<_> = rows.into_iter().filter(|(_, row)| !is_known(row, &here, config)).collect();
        here.extend(new.iter().map(|(_, row)| Here::of(row)));
        for (route, row) in new {
            pending.push((route, history.writer().hand_in(row).await.map_err(|_| NotKept)?));
        }
    }
    let mut came = BTreeMap::new();
    for (route, row) in pending {
        if row.durable().await.map_err(|_| NotKept)? == Appended::Stored {
            *came.entry(route).or_default() += 1;
        }
    }
    Ok(came)
}

/// A row for each route, or two.
fn rows_for(config: &Config, envelope: &Envelope, at: u64) -> Vec<(Arc<str>, Row)> {
    let rows = |Learnt { route, kept }: Learnt| {
        let rows = match kept {
            Some(kept) => rows_of(kept, at),
            None => vec![rows::of_envelope(envelope, None, at)],
        };
        rows.into_iter().map(move |row| (Arc::clone(&route), Row { reason: Some(REASON.to_owned()), ..row }))
    };
    relearn(config, envelope).into_iter().flat_map(rows).collect()
}

/// What of a row tells whether another one is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Here {
    content: Hash,
    sent_secs: u32,
    envelope: Option<Hash>,
    /// Its hash, and where it stands.
    message: Option<(Hash, String)>,
}

impl Here {
    fn of(row: &Row) -> Self {
        Self {
            content: row.content,
            sent_secs: row.sent_secs(),
            envelope: row.mined().map(|mined| mined.hash),
            message: row.message.as_ref().map(|message| (message.hash, message.pubsub_topic.clone())),
        }
    }
}

/// Rows of the archive that say the same as any of these.
async fn here(history: &History, learnt: &[Vec<(Arc<str>, Row)>]) -> Result<Vec<Here>, NotKept> {
    let mut contents: Vec<Hash> = learnt.iter().flatten().map(|(_, row)| row.content).collect();
    contents.sort_unstable();
    contents.dedup();
    let find = async |contents: &[Hash]| history.archive().find(Name::Content, contents).await.map_err(|_| NotKept);
    let page = find(&contents).await?;
    if !page.more {
        return Ok(page.rows.iter().map(Here::of).collect());
    }
    let mut here = Vec::new();
    for content in contents {
        here.extend(find(&[content]).await?.rows.iter().map(Here::of));
    }
    Ok(here)
}

fn is_known(row: &Row, here: &[Here], config: &Config) -> bool {
    let new = Here::of(row);
    here.iter().filter(|known| known.content == new.content).any(|known| {
        let is_near = u64::from(known.sent_secs.abs_diff(new.sent_secs)) <= config.seen.tolerance_secs;
        match (&known.message, &new.message) {
            _ if known.envelope.is_some() && known.envelope == new.envelope => true,
            (Some((known, _)), Some((new, _))) if known == new => false,
            (Some((_, known)), Some((_, new))) => is_near && known == new,
            (None, _) | (_, None) => is_near,
        }
    })
}

#[cfg(test)]
mod tests;
