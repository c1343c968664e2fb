//! What this mailserver lacks, from another one.  Source: status-go `services/shhext/api.go`, `SyncMessages`.
//!
//! Over Whisper alone: waku never had the packets. Nothing about the envelopes is checked but that they were asked for; who is asked is
//! trusted from then on, as with a request for history. What has come is on disk before the answer is given.
//!
//! Limits: one answer a peer at a time, of [`MAX_SYNC_LIMIT`] envelopes a page; a part waits until the one before it is archived, and news
//! that come meanwhile are left out and counted: then the page counts as not had.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use devp2p::{ConnId, Enode, clock::now};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};
use waku0::{
    Envelope,
    bloom::Bloom,
    packet::{
        Code,
        p2p::Cursor,
        sync::{MAX_SYNC_LIMIT, SyncRequest, SyncResponse},
    },
    version::Version,
};

use super::{
    context::Context,
    history::cursor,
    values::{Answer, Topics, failed, first, misread},
    waku::connected,
};
use crate::{rows, storage::archive::History};

/// How long the next part of an answer may take, and how long it may take to archive one.
const PART_WITHIN: Duration = Duration::from_secs(60);
/// Why a row is in the archive that came so.
const REASON: &str = "sync";

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SyncMessagesRequest {
    mail_server_peer: String,
    from: u32,
    to: u32,
    limit: u32,
    cursor: String,
    follow_cursor: bool,
    topics: Topics,
}

impl SyncMessagesRequest {
    /// Without an end until `now`, without a limit as many as a page may have.
    fn read(&self, now: u32) -> Result<SyncRequest, ErrorObjectOwned> {
        let upper = if self.to == 0 { now } else { self.to };
        if self.from > upper {
            return Err(failed("invalid 'Lower' value, can't be greater than 'Upper'"));
        }
        if self.limit > MAX_SYNC_LIMIT {
            return Err(failed(format!("invalid 'Limit' value, expected value lower than {MAX_SYNC_LIMIT}")));
        }
        let topics = &self.topics.0;
        Ok(SyncRequest {
            lower: self.from,
            upper,
            bloom: Some(if topics.is_empty() { Bloom::FULL } else { topics.iter().copied().collect() }),
            limit: if self.limit == 0 { MAX_SYNC_LIMIT } else { self.limit },
            cursor: cursor(&self.cursor)?,
        })
    }
}

/// Who waits for the answer of a peer.
#[derive(Debug, Default)]
pub(super) struct Syncs(Mutex<HashMap<ConnId, mpsc::Sender<SyncResponse>>>);

impl Syncs {
    /// Hands a part to whoever waits for it; what nobody waits for is dropped.
    pub(super) async fn hand(&self, conn: ConnId, part: SyncResponse) {
        let waiting = self.waiting().get(&conn).cloned();
        if let Some(waiting) = waiting
            && waiting.send(part).await.is_err()
        {
            self.waiting().remove(&conn);
        }
    }

    /// A peer is gone; whoever waits is told by the end of the channel.
    pub(super) fn gone(&self, conn: ConnId) {
        self.waiting().remove(&conn);
    }

    fn wait_for(&self, conn: ConnId) -> Result<mpsc::Receiver<SyncResponse>, ErrorObjectOwned> {
        let mut waiting = self.waiting();
        waiting.retain(|_, sender| !sender.is_closed());
        if waiting.contains_key(&conn) {
            return Err(failed("the peer is being asked already"));
        }
        let (sender, parts) = mpsc::channel(1);
        waiting.insert(conn, sender);
        Ok(parts)
    }

    /// What one panicked with is whole: every change is a single step.
    fn waiting(&self) -> MutexGuard<'_, HashMap<ConnId, mpsc::Sender<SyncResponse>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a connected mailserver, with `followCursor` page after page, and answers where to go on.
pub(super) async fn sync_messages(context: Arc<Context>, params: Params<'static>) -> Answer {
    let asked: SyncMessagesRequest = first(&params)?;
    let server: Enode = asked.mail_server_peer.parse().map_err(|_| failed("invalid MailServerPeer"))?;
    let mut request = asked.read(u32::try_from(now().unix_secs()).unwrap_or(u32::MAX))?;
    let Some(history) = context.archive.clone() else {
        return Err(failed("can not sync messages if Mail Server is not configured"));
    };
    let peer = connected(&context, &server).await?;
    if peer.version != Version::Shh6 {
        return Err(failed("not supported: mailservers synchronise over shh/6, which is not spoken with this peer"));
    }
    let mut parts = context.syncs.wait_for(peer.conn)?;
    context.node.trust(peer.conn, true).await;
    loop {
        let lost = context.lost();
        context.node.mail(peer.conn, Code::SyncRequest, request.encode()).await.map_err(failed)?;
        let page = page(&history, &request, &mut parts).await?;
        if !page.error.is_empty() {
            return Ok(json!({ "cursor": "", "error": page.error }));
        }
        if context.lost() > lost {
            let again = request.cursor.map(::hex::encode).unwrap_or_default();
            return Ok(json!({ "cursor": again, "error": "a part was lost here; ask again from this cursor" }));
        }
        // Who names a cursor and gives nothing would be asked for ever.
        let goes_on = asked.follow_cursor && page.cursor.is_some() && page.envelopes > 0;
        if !goes_on {
            return Ok(json!({ "cursor": page.cursor.map(::hex::encode).unwrap_or_default(), "error": "" }));
        }
        request.cursor = page.cursor;
    }
}

/// What came of one request.
#[derive(Debug, Default)]
struct Page {
    envelopes: u32,
    cursor: Option<Cursor>,
    error: String,
}

/// Archives the parts of one answer.
async fn page(
    history: &History,
    request: &SyncRequest,
    parts: &mut mpsc::Receiver<SyncResponse>,
) -> Result<Page, ErrorObjectOwned> {
    let late = |_: Elapsed| failed(format!("no answer within {} s", PART_WITHIN.as_secs()));
    let mut page = Page::default();
    loop {
        let part = timeout(PART_WITHIN, parts.recv()).await.map_err(late)?;
        let part = part.ok_or_else(|| failed("the peer is gone"))?;
        if !part.error.is_empty() {
            return Ok(Page { error: part.error, ..page });
        }
        let (is_final, cursor) = (part.is_final, part.cursor);
        page.envelopes += timeout(PART_WITHIN, keep(history, request, part, request.limit - page.envelopes))
            .await
            .map_err(|_| failed("the archive can't be written"))??;
        if is_final {
            return Ok(Page { cursor, ..page });
        }
    }
}

/// Archives one part, and says how many envelopes it had that were asked for.
async fn keep(
    history: &History,
    request: &SyncRequest,
    part: SyncResponse,
    most: u32,
) -> Result<u32, ErrorObjectOwned> {
    let bloom = request.bloom.unwrap_or(Bloom::FULL);
    let is_wanted = |envelope: &Envelope| {
        (request.lower..=request.upper).contains(&envelope.sent()) && bloom.contains(envelope.topic())
    };
    let (mut count, mut last) = (0, None);
    for item in part.envelopes {
        let Ok(envelope) = item.map_err(misread)? else { continue };
        if !is_wanted(&envelope) {
            continue;
        }
        if count == most {
            return Err(failed("the peer sends more than it was asked for"));
        }
        count += 1;
        let row = rows::of_envelope(&envelope, Some(REASON), now().unix_secs());
        last = Some(history.writer().hand_in(row).await.map_err(failed)?);
    }
    if let Some(last) = last {
        // Rows are written in their order.
        last.durable().await.map_err(failed)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: serde_json::Value) -> Result<SyncRequest, ErrorObjectOwned> {
        serde_json::from_value::<SyncMessagesRequest>(value).unwrap().read(1_700_000_000)
    }

    #[test]
    fn what_is_left_out_is_everything_until_now() {
        let all = read(json!({})).unwrap();
        let expected = SyncRequest {
            lower: 0,
            upper: 1_700_000_000,
            bloom: Some(Bloom::FULL),
            limit: MAX_SYNC_LIMIT,
            cursor: None,
        };
        assert_eq!(all, expected);
        let cursor = "07".repeat(36);
        let some = json!({ "from": 5, "to": 9, "limit": 3, "cursor": cursor, "topics": ["0x01020304"] });
        let bloom = Some(Bloom::from_iter([waku0::Topic([1, 2, 3, 4])]));
        assert_eq!(read(some).unwrap(), SyncRequest { lower: 5, upper: 9, bloom, limit: 3, cursor: Some([7; 36]) });
        for wrong in [json!({ "from": 9, "to": 5 }), json!({ "limit": 1_001 }), json!({ "cursor": "07" })] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_peer_is_asked_one_thing_at_a_time() {
        let syncs = Syncs::default();
        let mut parts = syncs.wait_for(ConnId(1)).unwrap();
        assert!(syncs.wait_for(ConnId(1)).is_err() && syncs.wait_for(ConnId(2)).is_ok());
        let part = || SyncResponse::decode(&SyncResponse::encode(&[], None, true, "")).unwrap();
        syncs.hand(ConnId(3), part()).await;
        syncs.hand(ConnId(1), part()).await;
        assert!(parts.recv().await.unwrap().is_final);
        syncs.gone(ConnId(1));
        assert!(parts.recv().await.is_none());
        drop(syncs.wait_for(ConnId(1)).unwrap());
        syncs.hand(ConnId(1), part()).await;
        assert!(syncs.wait_for(ConnId(1)).is_ok(), "who has given up is not waited with");
    }
}
