//! `post`: sends one text to a peer or by way of a node, sealed if a key was given.

use std::{fs::File, io::Read, time::Duration};

use anyhow::Context;
use bridge::content_topic::canonical;
use bytes::Bytes;
use devp2p::NodeKey;
use serde_json::json;
use waku0::{
    confirm::Outcome,
    payload::{self, SealTo},
};
use waku2::signed::SigningKey;

use super::{
    by_http, connect, mining,
    secret::{self, MAX_KEY_FILE_BYTES, Misuse, Reader},
};
use crate::{
    cli::{PostArgs, SealArgs},
    client::{ClientError, Letter, PeerAddress, Sent},
    keys::system_rng,
    output::{remark, say},
    progress::Progress,
    web::{Url, UrlError},
};

/// Longest text read from standard input, in bytes: what fits into one message of the Waku Network, with room for the rest.
const MAX_TEXT_BYTES: u64 = 150_000;

/// Posts one text.
///
/// # Errors
/// If a flag is wrong, or the peer can't be reached or does not take it.
pub async fn run(args: PostArgs) -> anyhow::Result<()> {
    let topic = secret::topic(&args.topic)?;
    let (fudge, signing) = (args.fudges(), signing_key(&args)?);
    let pow = args.pow.map(secret::work).transpose()?;
    let keys = Keys::of(&args.seal)?;
    let place = Place::of(&args)?;
    if signing.is_some() && matches!(place, Place::Peer(PeerAddress::V0(_)) | Place::Rpc(_)) {
        return Err(ClientError::NothingToSign.into());
    }
    let text = match &args.text {
        Some(text) => text.clone().into_bytes(),
        None => read_stdin()?,
    };
    let letter = |text| Letter { topic, ttl: args.ttl, text, pow, fudge, signing };
    match place {
        Place::Peer(peer) => {
            let letter = letter(keys.seal(text.into())?);
            let client = connect(&[peer], 1, &args.place, Duration::from_secs(args.timeout)).await?;
            let mut progress = Progress::start(false);
            let sent = client.post(letter, move |search| mining(&mut progress, &search)).await?;
            let name = client.name_of(topic);
            client.close().await;
            tell(&args, &name, sent)
        }
        Place::Rpc(url) => {
            let sent = by_http::by_rpc(&url, &letter(text.into()), keys.reader.as_ref(), keys.sign.as_ref()).await?;
            tell(&args, &topic.to_string(), sent)
        }
        Place::Rest(url) => {
            let letter = letter(keys.seal(text.into())?);
            let pubsub = args.place.pubsub_topic.as_deref().map(str::parse).transpose()?;
            let sent = by_http::by_rest(&url, &letter, pubsub.as_ref()).await?;
            tell(&args, &canonical(topic).to_string(), sent)
        }
    }
}

/// Where it goes.
enum Place {
    Peer(PeerAddress),
    Rpc(Url),
    Rest(Url),
}

impl Place {
    fn of(args: &PostArgs) -> anyhow::Result<Self> {
        let Some(to) = &args.at.to else {
            return Ok(Self::Peer(args.at.peer.as_deref().unwrap_or_default().parse()?));
        };
        let url = |text: &str| text.parse().map_err(|error: UrlError| Misuse::Place(error.to_string()));
        match to.split_once(':') {
            Some(("rpc", text)) => Ok(Self::Rpc(url(text)?)),
            Some(("rest", text)) => Ok(Self::Rest(url(text)?)),
            _ => Ok(Self::Peer(to.parse()?)),
        }
    }
}

/// For whom, and by whom.
struct Keys {
    reader: Option<Reader>,
    sign: Option<NodeKey>,
}

impl Keys {
    fn of(args: &SealArgs) -> Result<Self, Misuse> {
        Ok(Self { reader: secret::reader(args)?, sign: args.sign.as_deref().map(secret::key_file).transpose()? })
    }

    /// The text as it is sent.
    fn seal(&self, text: Bytes) -> anyhow::Result<Bytes> {
        let to = match &self.reader {
            None => return Ok(text),
            Some(Reader::Shared(key)) => SealTo::Symmetric(key),
            Some(Reader::Owner(key)) => SealTo::Public(key),
        };
        Ok(payload::seal(&text.into(), to, self.sign.as_ref(), &mut system_rng())?)
    }
}

/// Prints what was sent, and what the peer says.
fn tell(args: &PostArgs, topic: &str, sent: Sent) -> anyhow::Result<()> {
    let Sent { kind, hash, size, work, outcome } = sent;
    if args.json {
        say(json!({
            "kind": kind,
            "hash": hash,
            "topic": topic,
            "size": size,
            "pow": work.map(|(pow, _)| pow.value()),
            "mining_ms": work.map(|(_, took)| took.as_secs_f64() * 1e3),
            "acknowledged": outcome.as_ref().map(|outcome| matches!(outcome, Outcome::Acknowledged { .. })),
        }))?;
    } else {
        let hash = hash.as_deref().unwrap_or("(its hash follows from the shard that the node has chosen)");
        say(format_args!("{kind} {hash} on {topic}"))?;
        match work {
            None => say(format_args!("{size} bytes of payload"))?,
            Some((pow, took)) => {
                say(format_args!("{size} bytes, a work of {pow:.6} done in {:.1} ms", took.as_secs_f64() * 1e3))?
            }
        };
    }
    match outcome {
        None => {}
        Some(Outcome::Acknowledged { .. }) if args.json => {}
        Some(Outcome::Acknowledged { .. }) => say("acknowledged by the peer").map(drop)?,
        Some(Outcome::Refused { text, .. }) => anyhow::bail!("the peer refuses it: {text}"),
        Some(Outcome::Unanswered) => remark("the peer says that it acknowledges envelopes, and did not"),
    }
    Ok(())
}

/// The key of a signed shard, from a file or the environment.
fn signing_key(args: &PostArgs) -> anyhow::Result<Option<SigningKey>> {
    let text = match (&args.signing_key_file, &args.signing_key) {
        (Some(path), _) => {
            let mut text = String::new();
            let file = File::open(path).with_context(|| format!("--signing-key-file {}", path.display()))?;
            file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).context("--signing-key-file can't be read")?;
            text
        }
        (None, Some(text)) => text.clone(),
        (None, None) => return Ok(None),
    };
    // The text itself is a secret, and stays out of the error.
    Ok(Some(text.trim().parse().context("--signing-key-file, or CAUSEWAY_SIGNING_KEY")?))
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).context("standard input can't be read")?;
    anyhow::ensure!(text.len() as u64 <= MAX_TEXT_BYTES, "the text is over {MAX_TEXT_BYTES} bytes");
    Ok(text)
}
