//! `post --to`: by way of a node that runs already, over its JSON-RPC (9/WAKU-RPC) or its REST (nwaku's).
//!
//! Over JSON-RPC it is the node that seals and mines, so that it is given the keys; they are deleted there when it is done. Bytes are hexadecimal
//! in 9/WAKU-RPC; status-go's `waku_*` reads those of a letter as base64, and what is hexadecimal as such, which makes others of it. It is
//! told by having no `waku_version`. Over REST the message is made here, and the node publishes it.

use std::time::Duration;

use data_encoding::BASE64;
use hyper::StatusCode;
use serde_json::{Value, json};
use waku2::{PubsubTopic, WakuMessage};

use super::secret::{Misuse, Reader};
use crate::{
    client::{ClientError, Letter, Sent, message, usual_work},
    web::{self, Unreached, Url},
};

/// How long an answer may take, beside what mining takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Longest search for a nonce that a node is asked for, in seconds: what ours allows.
const MAX_POW_SECS: u32 = 120;
/// What JSON-RPC answers where there is no such method.
const NO_METHOD: i64 = -32_601;
/// The longest answer told, in characters.
const TOLD: usize = 300;

/// A node did not take it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It does not answer.
    #[error("{0}. Is the node running, and does it serve this there?")]
    Unreached(String),
    /// It says no.
    #[error("{0} says: {1}")]
    Refused(String, String),
}

impl From<Unreached> for NodeError {
    fn from(error: Unreached) -> Self {
        Self::Unreached(error.to_string())
    }
}

fn said(status: StatusCode, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(TOLD).collect();
    if text.is_empty() { status.to_string() } else { format!("{text} ({})", status.as_u16()) }
}

/// The JSON-RPC of a node.
struct Node<'a> {
    at: &'a Url,
    /// `waku` or `shh`, as far as it is known.
    prefix: &'static str,
    /// How it reads the bytes of a letter.
    bytes: fn(&[u8]) -> Value,
}

/// What a call came to.
enum Called {
    Result(Value),
    NoMethod,
}

impl Node<'_> {
    async fn call(&self, method: &str, params: &[Value], within: Duration) -> Result<Called, NodeError> {
        let method = format!("{}_{method}", self.prefix);
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (status, body) = web::post(self.at, "/", &request, within).await?;
        let refused = |why: String| NodeError::Refused(self.at.to_string(), why);
        let answer: Value = serde_json::from_slice(&body).map_err(|_| refused(said(status, &body)))?;
        match (&answer["error"], &answer["result"]) {
            (Value::Null, result) => Ok(Called::Result(result.clone())),
            (error, _) if error["code"] == NO_METHOD => Ok(Called::NoMethod),
            (error, _) => {
                let why = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
                Err(refused(why.chars().take(TOLD).collect()))
            }
        }
    }

    /// The result, of a method that there must be.
    async fn ask(&self, method: &str, param: &Value, within: Duration) -> Result<Value, NodeError> {
        match self.call(method, std::slice::from_ref(param), within).await? {
            Called::Result(result) => Ok(result),
            Called::NoMethod => {
                let why = format!("there is no {}_{method}", self.prefix);
                Err(NodeError::Refused(self.at.to_string(), why))
            }
        }
    }

    /// Gives it a key, and returns the id of that.
    async fn keep(&self, method: &str, key: &[u8]) -> Result<String, NodeError> {
        let id = self.ask(method, &hex(key), ANSWER_WITHIN).await?;
        let no_id = || NodeError::Refused(self.at.to_string(), "a key without an id".to_owned());
        id.as_str().map(str::to_owned).ok_or_else(no_id)
    }
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(format!("0x{}", ::hex::encode(bytes)))
}

/// As Go's JSON has bytes without a codec. Source: status-go v0.55.1 `waku/api.go`, `NewMessage`; keys are hexadecimal there too.
fn base64(bytes: &[u8]) -> Value {
    Value::String(BASE64.encode(bytes))
}

/// Finds out which dialect is spoken.
async fn node_at(at: &Url) -> Result<Node<'_>, NodeError> {
    let waku = Node { at, prefix: "waku", bytes: hex };
    if let Called::Result(_) = waku.call("version", &[], ANSWER_WITHIN).await? {
        return Ok(waku);
    }
    Ok(match waku.call("info", &[], ANSWER_WITHIN).await? {
        Called::Result(_) => Node { bytes: base64, ..waku },
        Called::NoMethod => Node { prefix: "shh", ..waku },
    })
}

/// Posts by JSON-RPC: of Waku, or where there is none of Whisper.
///
/// # Errors
/// [`Misuse::NothingToSealWith`] without a key, [`NodeError`] when the node does not take it.
pub(super) async fn by_rpc(
    at: &Url,
    letter: &Letter,
    reader: Option<&Reader>,
    sign: Option<&devp2p::NodeKey>,
) -> anyhow::Result<Sent> {
    let reader = reader.ok_or(Misuse::NothingToSealWith)?;
    let node = node_at(at).await?;
    let mut post = json!({
        "ttl": letter.ttl.max(1),
        "topic": letter.topic.to_string(),
        "payload": (node.bytes)(&letter.text),
        "powTarget": letter.pow.unwrap_or_else(|| usual_work(letter.text.len())).value(),
        "powTime": letter.ttl.clamp(1, MAX_POW_SECS),
    });
    let mut kept = Vec::new();
    let posted = post_with(&node, &mut post, reader, sign, &mut kept).await;
    for (method, id) in kept {
        // Whatever came of the post is what is told.
        let _ = node.ask(method, &json!(id), ANSWER_WITHIN).await;
    }
    let hash = posted?.as_str().map(str::to_owned);
    Ok(Sent { kind: "envelope", hash, size: letter.text.len(), work: None, outcome: None })
}

/// Gives the node its keys, noting how each is deleted, and has it post.
async fn post_with(
    node: &Node<'_>,
    post: &mut Value,
    reader: &Reader,
    sign: Option<&devp2p::NodeKey>,
    kept: &mut Vec<(&'static str, String)>,
) -> Result<Value, NodeError> {
    match reader {
        Reader::Owner(key) => post["pubKey"] = (node.bytes)(&[&[4][..], key.as_bytes()].concat()),
        Reader::Shared(key) => {
            let id = node.keep("addSymKey", &key.to_bytes()).await?;
            kept.push(("deleteSymKey", id.clone()));
            post["symKeyID"] = json!(id);
        }
    }
    if let Some(key) = sign {
        let id = node.keep("addPrivateKey", &key.to_bytes()).await?;
        kept.push(("deleteKeyPair", id.clone()));
        post["sig"] = json!(id);
    }
    let mining = Duration::from_secs(post["powTime"].as_u64().unwrap_or_default());
    node.ask("post", post, ANSWER_WITHIN + mining).await
}

/// Posts by REST: to the relay of the node, or where it has none by its lightpush. Without a pubsub topic the node chooses the shard.
///
/// # Errors
/// [`NodeError`] when it takes neither; [`ClientError::Publish`] when the message can't be signed.
pub(super) async fn by_rest(at: &Url, letter: &Letter, pubsub: Option<&PubsubTopic>) -> anyhow::Result<Sent> {
    let signing = match (&letter.signing, pubsub) {
        (Some(_), None) => return Err(Misuse::SignedForNoShard.into()),
        (Some(key), Some(topic)) => Some((key, topic)),
        (None, _) => None,
    };
    let message = message(letter);
    let message = match signing {
        Some((key, topic)) => key.sign(topic, message).map_err(|error| ClientError::Publish(error.into()))?,
        None => message,
    };
    let body = fields(&message);
    let mut pushed = json!({ "message": body });
    let relay = match pubsub {
        Some(topic) => {
            pushed["pubsubTopic"] = json!(topic.as_str());
            format!("/relay/v1/messages/{}", topic.as_str().replace('/', "%2F"))
        }
        None => "/relay/v1/auto/messages".to_owned(),
    };
    let (mut status, mut answer) = web::post(at, &relay, &body, ANSWER_WITHIN).await.map_err(NodeError::from)?;
    // A node without a relay, or with one that does not choose shards.
    if status == StatusCode::NOT_FOUND {
        (status, answer) =
            web::post(at, "/lightpush/v1/message", &pushed, ANSWER_WITHIN).await.map_err(NodeError::from)?;
    }
    if status != StatusCode::OK {
        return Err(NodeError::Refused(at.to_string(), said(status, &answer)).into());
    }
    let hash = pubsub.map(|topic| waku2::hash::message_hash(topic, &message).to_string());
    Ok(Sent { kind: "message", hash, size: letter.text.len(), work: None, outcome: None })
}

/// A message as nwaku's REST reads it.
fn fields(message: &WakuMessage) -> Value {
    let mut fields = json!({
        "payload": BASE64.encode(&message.payload),
        "contentTopic": message.content_topic.to_string(),
        "version": message.version,
        "timestamp": message.timestamp,
    });
    if !message.meta.bytes().is_empty() {
        fields["meta"] = json!(BASE64.encode(message.meta.bytes()));
    }
    fields
}
