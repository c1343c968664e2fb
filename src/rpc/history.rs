//! Requests for history.  Spec: status-go `services/ext/api.go`, `RequestMessages` and `RequestMessagesSync`.
//!
//! The server is a connected peer. What it sends reaches filters with `allowP2P`, as with status-go, and its completion whoever
//! waits for it in `requestMessagesSync`.
//!
//! Limits: [`MAX_WAITING`] completions are waited for; the topics of requests of the last [`THROTTLE`] are remembered.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{Enode, clock::now};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};
use waku0::{
    Pow, Topic,
    bloom::Bloom,
    mail::{
        client::seal_request,
        request::{MAX_LIMIT, Request},
    },
    packet::{
        Code,
        p2p::{Completion, Cursor},
    },
    payload::SealTo,
};

use super::{
    context::Context,
    values::{Answer, Topics, failed, first, hex, misread},
    waku::connected,
};
use crate::keys::system_rng;

/// How far back a request reaches that says no `from`, in seconds: a day.
const DEFAULT_RANGE_SECS: u32 = 86_400;
/// How long a completion is waited for, in seconds, unless told otherwise.
const DEFAULT_TIMEOUT_SECS: u64 = 10;
/// The longest that may be told.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// The same topics are not asked for again so soon, unless forced.
const THROTTLE: Duration = Duration::from_secs(3);
/// Most tries of one call.
const MAX_TRIES: u32 = 16;
/// Completions waited for at once; further calls are refused.
const MAX_WAITING: usize = 1_024;

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MessagesRequest {
    mail_server_peer: String,
    from: u32,
    to: u32,
    limit: u32,
    cursor: String,
    topic: Topics,
    topics: Topics,
    #[serde(rename = "symKeyID")]
    sym_key: String,
    timeout: u64,
    force: bool,
}

impl MessagesRequest {
    /// How long its completion is waited for.
    fn within(&self) -> Duration {
        Duration::from_secs(if self.timeout == 0 { DEFAULT_TIMEOUT_SECS } else { self.timeout })
    }
}

/// How often `requestMessagesSync` asks, and how long it waits: durations of Go, in nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RetryConfig {
    base_timeout: u64,
    step_timeout: u64,
    max_retries: u32,
}

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: HashMap<[u8; 32], oneshot::Sender<Completion>>,
    asked: HashMap<BTreeSet<Topic>, Instant>,
}

impl Requests {
    /// Hands a completion to whoever waits for it.
    pub(super) fn complete(&mut self, completion: Completion) {
        let (Completion::Done { request, .. } | Completion::Failed { request, .. }) = &completion;
        if let Some(waiting) = self.waiting.remove(request) {
            // Whoever waited may have given up.
            let _ = waiting.send(completion);
        }
    }

    /// Whether these topics may be asked for now.
    fn admit(&mut self, topics: &[Topic], force: bool, now: Instant) -> Result<(), ErrorObjectOwned> {
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < THROTTLE);
        let topics: BTreeSet<Topic> = topics.iter().copied().collect();
        if !force && self.asked.contains_key(&topics) {
            return Err(failed(
                "another request with the same topics was sent less than 3s ago. Please wait for a bit longer, or set `force` to true in request parameters",
            ));
        }
        if self.asked.len() < MAX_WAITING {
            self.asked.insert(topics, now);
        }
        Ok(())
    }

    fn wait_for(&mut self, request: [u8; 32]) -> Result<oneshot::Receiver<Completion>, ErrorObjectOwned> {
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        if self.waiting.len() >= MAX_WAITING {
            return Err(failed("too many requests are under way"));
        }
        let (sender, completion) = oneshot::channel();
        self.waiting.insert(request, sender);
        Ok(completion)
    }
}

/// Answers the name of the request; subscribers hear of its end, or that there was none in time.
pub(super) async fn request_messages(context: Arc<Context>, params: Params<'static>) -> Answer {
    let asked: MessagesRequest = first(&params)?;
    let (request, completion) = ask(&context, &asked).await?;
    let within = asked.within().min(MAX_TIMEOUT);
    tokio::spawn(async move {
        if timeout(within, completion).await.is_err() {
            context.events.expired(&request);
        }
    });
    Ok(json!(hex(&request)))
}

/// Asks until a completion comes, and answers where to go on.
pub(super) async fn request_messages_sync(context: Arc<Context>, params: Params<'static>) -> Answer {
    let mut sequence = params.sequence();
    let (retry, asked): (RetryConfig, MessagesRequest) = (sequence.next()?, sequence.next()?);
    let tries = retry.max_retries.clamp(1, MAX_TRIES);
    let base = match Duration::from_nanos(retry.base_timeout) {
        Duration::ZERO => asked.within(),
        base => base,
    };
    for attempt in 0..tries {
        let within = base.saturating_add(Duration::from_nanos(retry.step_timeout).saturating_mul(attempt));
        // What is asked again is the same, and not too soon.
        let asked = MessagesRequest { force: asked.force || attempt > 0, ..asked.clone() };
        let (request, completion) = ask(&context, &asked).await?;
        match timeout(within.min(MAX_TIMEOUT), completion).await {
            Ok(Ok(Completion::Done { cursor, .. })) => {
                let cursor = cursor.map(::hex::encode).unwrap_or_default();
                return Ok(json!({ "cursor": cursor, "error": null }));
            }
            Ok(Ok(Completion::Failed { text, .. })) => return Ok(json!({ "cursor": "", "error": text })),
            // Without a word from the server.
            Ok(Err(_)) | Err(_) => context.events.expired(&request),
        }
    }
    Err(failed(format!("failed to request messages after {tries} retries")))
}

/// Sends a request to a peer, which is trusted from then on.
async fn ask(
    context: &Arc<Context>,
    asked: &MessagesRequest,
) -> Result<([u8; 32], oneshot::Receiver<Completion>), ErrorObjectOwned> {
    let server: Enode = asked.mail_server_peer.parse().map_err(|_| failed("invalid mailServerPeer value"))?;
    let unix = now().unix_secs();
    let request = request(asked, u32::try_from(unix).unwrap_or(u32::MAX))?;
    let peer = connected(context, &server).await?;
    let (conn, floor) = (peer.conn, peer.options.map_or(Pow::ZERO, |options| options.min_pow));
    context.requests().admit(&request.topics, asked.force, now().instant)?;
    let shared = if asked.sym_key.is_empty() { None } else { Some(context.sym_key(&asked.sym_key)?) };
    let key = context.key.clone();
    let sealed = tokio::task::spawn_blocking(move || {
        let to = shared.as_ref().map_or(SealTo::Public(&server.key), SealTo::Symmetric);
        seal_request(&request, to, &key, unix, floor, &mut system_rng())
    });
    let sealed = sealed.await.map_err(failed)?.map_err(failed)?;
    let name = *sealed.hash().as_bytes();
    let completion = context.requests().wait_for(name)?;
    context.node.trust(conn, true).await;
    context.node.mail(conn, Code::P2pRequest, sealed.raw().clone()).await.map_err(failed)?;
    Ok((name, completion))
}

fn request(asked: &MessagesRequest, unix: u32) -> Result<Request, ErrorObjectOwned> {
    let to = if asked.to == 0 { unix } else { asked.to };
    let from = if asked.from == 0 { to.saturating_sub(DEFAULT_RANGE_SECS) } else { asked.from };
    if from > to {
        return Err(failed(format!("Query range is invalid: from > to ({from} > {to})")));
    }
    if asked.limit > MAX_LIMIT {
        return Err(failed(format!("limit is over {MAX_LIMIT}")));
    }
    let mut topics = asked.topics.0.clone();
    // The older field counts where the newer one is empty.
    if topics.is_empty() {
        topics.clone_from(&asked.topic.0);
    }
    let bloom = if topics.is_empty() { Bloom::FULL } else { topics.iter().copied().collect() };
    let cursor = cursor(&asked.cursor)?;
    Ok(Request { lower: from, upper: to, bloom: Some(bloom), topics, limit: asked.limit, cursor, batch: true })
}

/// Where to go on, in hex; nowhere, if empty.
pub(super) fn cursor(text: &str) -> Result<Option<Cursor>, ErrorObjectOwned> {
    let cursor = ::hex::decode(text.trim_start_matches("0x")).map_err(|_| misread("a cursor is hex"))?;
    if cursor.is_empty() {
        return Ok(None);
    }
    Cursor::try_from(cursor).map(Some).map_err(|_| misread("a cursor has 36 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_700_000_000;

    fn asked(value: serde_json::Value) -> MessagesRequest {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_left_out_is_the_last_day_of_all_topics() {
        let all = request(&asked(json!({})), NOW).unwrap();
        assert_eq!((all.lower, all.upper, all.bloom, all.limit), (NOW - 86_400, NOW, Some(Bloom::FULL), 0));
        let cursor = "0x".to_owned() + &"07".repeat(36);
        let named =
            json!({"from": 5, "to": 9, "limit": 3, "cursor": cursor, "topics": ["0x01020304"], "topic": "0x05050505"});
        let named = request(&asked(named), NOW).unwrap();
        assert_eq!((named.lower, named.upper, named.limit, named.cursor), (5, 9, 3, Some([7; 36])));
        assert_eq!(named.topics, [Topic([1, 2, 3, 4])]);
        let old = request(&asked(json!({"topic": "0x05050505"})), NOW).unwrap();
        assert_eq!(old.topics, [Topic([5; 4])]);
        for wrong in
            [json!({"from": 9, "to": 5}), json!({"limit": 1_001}), json!({"cursor": "07"}), json!({"cursor": "x"})]
        {
            assert!(request(&asked(wrong.clone()), NOW).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_topics_wait_three_seconds_unless_forced() {
        let (mut requests, start) = (Requests::default(), now().instant);
        let topics = [Topic([1; 4]), Topic([2; 4])];
        assert!(requests.admit(&topics, false, start).is_ok());
        assert!(requests.admit(&[topics[1], topics[0]], false, start + Duration::from_secs(2)).is_err());
        assert!(requests.admit(&topics, true, start + Duration::from_secs(2)).is_ok());
        assert!(requests.admit(&[Topic([1; 4])], false, start).is_ok());
        assert!(requests.admit(&topics, false, start + Duration::from_secs(6)).is_ok());
    }

    #[test]
    fn a_completion_goes_to_who_waits_for_it() {
        let mut requests = Requests::default();
        let mut waiting = requests.wait_for([1; 32]).unwrap();
        requests.complete(Completion::Failed { request: [2; 32], text: "other".into() });
        assert!(waiting.try_recv().is_err());
        let ours = Completion::Failed { request: [1; 32], text: "no".into() };
        requests.complete(ours.clone());
        assert_eq!(waiting.try_recv(), Ok(ours));
    }
}
