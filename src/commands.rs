//! The sub-commands `bridge`, `legacy`, `listen` and `post`; `demo` has a file of its own.

use std::{io::Read, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use waku0::{Topic, confirm::Outcome};
use waku2::ClusterId;

use crate::{
    assemble,
    banner::Banner,
    cli::{BridgeArgs, LegacyArgs, ListenArgs, PeerArgs, PostArgs},
    client::{Client, ClientError, Heard},
    config::Config,
    logging,
    output::{Reader, remark, say},
};

/// Longest text read from standard input, in bytes: what fits into one message of the Waku Network, with room for the rest.
const MAX_TEXT_BYTES: u64 = 150_000;
/// How long `listen` tries to reach its peer.
const REACH: Duration = Duration::from_secs(20);
/// Longest an orderly stop may take; after that the process ends anyway.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// Runs a bridge until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn bridge(args: BridgeArgs) -> anyhow::Result<()> {
    logging::start(args.surface.logs);
    run(Config::try_from(args)?).await
}

/// Runs a waku/0 node until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn legacy(args: LegacyArgs) -> anyhow::Result<()> {
    logging::start(args.surface.logs);
    run(Config::try_from(args)?).await
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be handled")?;
    let mut running = assemble::start(config).await?;
    // Nobody need read it: a closed or full standard output is no reason to stop.
    let _ = say(Banner(&running));
    running.log_ready();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        part = running.failed() => anyhow::bail!("{part} has ended unexpectedly; the log says why"),
    }
    tokio::select! {
        done = tokio::time::timeout(STOP_WITHIN, running.shutdown()) => if done.is_err() {
            tracing::warn!("peers were left without a word: stopping took too long");
        },
        _ = terminate.recv() => tracing::warn!("second SIGTERM: ending now"),
        _ = interrupt.recv() => tracing::warn!("second SIGINT: ending now"),
    }
    Ok(())
}

/// Prints what a peer passes on.
///
/// # Errors
/// If the peer can't be reached, or the time is over before enough has come.
pub async fn listen(args: ListenArgs) -> anyhow::Result<()> {
    let topic = args.topic.as_deref().map(str::parse::<Topic>).transpose()?;
    let heard = hear(&args.peer, topic, args.count.unwrap_or(u64::MAX));
    match args.timeout {
        None => heard.await,
        Some(secs) => match tokio::time::timeout(Duration::from_secs(secs), heard).await {
            Ok(done) => done,
            Err(_) => anyhow::bail!("not enough was heard within {secs} s"),
        },
    }
}

async fn hear(peer: &PeerArgs, topic: Option<Topic>, count: u64) -> anyhow::Result<()> {
    let mut client = connect(peer, REACH).await?;
    let wanted = topic.map(|topic| client.name_of(topic));
    remark("listening for what it passes on");
    let mut left = count;
    while left > 0 {
        let heard = client.next().await.ok_or(ClientError::Stopped)?;
        if wanted.as_ref().is_some_and(|wanted| *wanted != heard.topic) {
            continue;
        }
        left -= 1;
        if print_line(&heard)? == Reader::Left {
            break;
        }
    }
    client.close().await;
    Ok(())
}

/// Posts one text.
///
/// # Errors
/// If the peer can't be reached or does not take it.
pub async fn post(args: PostArgs) -> anyhow::Result<()> {
    let topic: Topic = args.topic.parse()?;
    let text = match args.text {
        Some(text) => text.into_bytes(),
        None => read_stdin()?,
    };
    let client = connect(&args.peer, Duration::from_secs(args.timeout)).await?;
    let (name, sent) = (client.name_of(topic), client.post(topic, args.ttl, Bytes::from(text)).await?);
    client.close().await;
    say(format_args!("{} on {name}", sent.hash))?;
    match sent.outcome {
        None => {}
        Some(Outcome::Acknowledged { .. }) => say("acknowledged by the peer").map(drop)?,
        Some(Outcome::Refused { text, .. }) => anyhow::bail!("the peer refuses it: {text}"),
        Some(Outcome::Unanswered) => remark("the peer says that it acknowledges envelopes, and did not"),
    }
    Ok(())
}

async fn connect(peer: &PeerArgs, wait: Duration) -> anyhow::Result<Client> {
    let pubsub = peer.pubsub_topic.parse()?;
    Ok(Client::connect(&peer.peer.parse()?, ClusterId(peer.cluster_id), pubsub, wait).await?)
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).context("standard input can't be read")?;
    anyhow::ensure!(text.len() as u64 <= MAX_TEXT_BYTES, "the text is over {MAX_TEXT_BYTES} bytes");
    Ok(text)
}

/// One line for each: where, which, how large, and the text if it is one.
fn print_line(heard: &Heard) -> std::io::Result<Reader> {
    let text = match std::str::from_utf8(&heard.bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n') => text.trim_end(),
        _ => "(binary)",
    };
    say(format_args!("{}  {}  {:>6} B  {text}", heard.topic, heard.hash, heard.bytes.len()))
}
