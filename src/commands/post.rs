//! `post`: sends one text to a peer, sealed if a key was given.

use std::{fs::File, io::Read, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use serde_json::json;
use waku0::{
    confirm::Outcome,
    payload::{self, SealTo},
};
use waku2::signed::SigningKey;

use super::{
    connect,
    secret::{self, MAX_KEY_FILE_BYTES, Reader},
};
use crate::{
    cli::{PostArgs, SealArgs},
    client::{ClientError, Letter, PeerAddress, Sent},
    keys::system_rng,
    output::{remark, say},
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
    if signing.is_some() && matches!(args.peer.peer.parse()?, PeerAddress::V0(_)) {
        return Err(ClientError::NothingToSign.into());
    }
    let text = match &args.text {
        Some(text) => text.clone().into_bytes(),
        None => read_stdin()?,
    };
    let letter = Letter { topic, ttl: args.ttl, text: sealed(&args.seal, text.into())?, pow, fudge, signing };
    let client = connect(&args.peer, Duration::from_secs(args.timeout)).await?;
    let (name, sent) = (client.name_of(topic), client.post(letter).await?);
    client.close().await;
    tell(&args, &name, sent)
}

/// The text as it is sent.
fn sealed(args: &SealArgs, text: Bytes) -> anyhow::Result<Bytes> {
    let Some(reader) = secret::reader(args)? else { return Ok(text) };
    let sign = args.sign.as_deref().map(secret::key_file).transpose()?;
    let to = match &reader {
        Reader::Shared(key) => SealTo::Symmetric(key),
        Reader::Owner(key) => SealTo::Public(key),
    };
    Ok(payload::seal(&text.into(), to, sign.as_ref(), &mut system_rng())?)
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
