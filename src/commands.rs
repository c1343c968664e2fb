//! The sub-commands `bridge`, `node`, `legacy`, `listen` and `post`; `demo` has a file of its own.

use std::{fs::File, io::Read, path::Path, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use waku0::{Topic, confirm::Outcome};
use waku2::{ClusterId, signed::SigningKey};

use crate::{
    assemble,
    banner::Banner,
    cli::{BridgeArgs, LegacyArgs, ListenArgs, LogArgs, NodeArgs, PeerArgs, PostArgs, sample::sample},
    client::{Client, ClientError, Heard, Letter, PeerAddress},
    config::{self, Config, ConfigError, routes},
    logging,
    output::{Reader, remark, say},
    reload::Reloader,
    route_check::Explained,
};

/// Longest text read from standard input, in bytes: what fits into one message of the Waku Network, with room for the rest.
const MAX_TEXT_BYTES: u64 = 150_000;
/// Longest key file read, in bytes: 64 digits and some white space.
const MAX_KEY_FILE_BYTES: u64 = 128;
/// How long `listen` tries to reach its peer.
const REACH: Duration = Duration::from_secs(20);
/// Longest an orderly stop may take; after that the process ends anyway.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// Runs a bridge until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn bridge(args: BridgeArgs) -> anyhow::Result<()> {
    if args.bridge.print_routes {
        // Nobody need read to the end.
        let _ = say(routes::SAMPLE.trim_end())?;
        return Ok(());
    }
    if let Some(path) = &args.bridge.check {
        return check(path, &args);
    }
    let (logs, print) = (args.surface.logs, args.base.print_config);
    start("bridge", logs, print, || Config::try_from(args)).await
}

/// Explains a route file.
fn check(path: &Path, args: &BridgeArgs) -> anyhow::Result<()> {
    let table =
        routes::read(path, &config::surroundings(&args.network, args.archive.archive)?).map_err(ConfigError::from)?;
    let explained = Explained(&table);
    // Nobody need read to the end.
    let _ = say(explained.to_string().trim_end())?;
    match explained.unreachable() {
        0 => Ok(()),
        1 => anyhow::bail!("one route is never taken"),
        count => anyhow::bail!("{count} routes are never taken"),
    }
}

/// Runs a node of the Waku Network until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn node(args: NodeArgs) -> anyhow::Result<()> {
    let (logs, print) = (args.surface.logs, args.base.print_config);
    start("node", logs, print, || Config::try_from(args)).await
}

/// Runs a waku/0 node until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn legacy(args: LegacyArgs) -> anyhow::Result<()> {
    let (logs, print) = (args.surface.logs, args.base.print_config);
    start("legacy", logs, print, || Config::try_from(args)).await
}

/// Says why nothing is generated.
///
/// # Errors
/// Always.
pub fn keystore() -> anyhow::Result<()> {
    anyhow::bail!("rate-limit proofs (RLN) are not made yet, so there is no keystore to generate")
}

async fn start(
    name: &str,
    logs: LogArgs,
    print_config: bool,
    config: impl FnOnce() -> Result<Config, ConfigError>,
) -> anyhow::Result<()> {
    if print_config {
        // Nobody need read to the end.
        let _ = say(sample(name).trim_end())?;
        return Ok(());
    }
    logging::start(logs);
    run(config()?).await
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be handled")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP can't be handled")?;
    let mut running = assemble::start(config).await?;
    // Nobody need read it: a closed or full standard output is no reason to stop.
    let _ = say(Banner(&running));
    running.log_ready();
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(running.reloader()).await,
            _ = terminate.recv() => break tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => break tracing::info!("SIGINT: stopping"),
            part = running.failed() => anyhow::bail!("{part} has ended unexpectedly; the log says why"),
        }
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

/// Reads again what can be: routes.
async fn reload(reloader: Option<&Reloader>) {
    let Some(reloader) = reloader else { return tracing::info!("SIGHUP: nothing to read again") };
    match reloader.reload().await {
        Ok(table) => tracing::info!(routes = table.router.routes().len(), "SIGHUP: routes read again"),
        Err(error) => tracing::error!(%error, "SIGHUP: the routes stay as they were"),
    }
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
    let (fudge, signing) = (args.fudges(), signing_key(&args)?);
    if signing.is_some() && matches!(args.peer.peer.parse()?, PeerAddress::V0(_)) {
        return Err(ClientError::NothingToSign.into());
    }
    let text = match args.text {
        Some(text) => text.into_bytes(),
        None => read_stdin()?,
    };
    let letter = Letter { topic, ttl: args.ttl, text: Bytes::from(text), fudge, signing };
    let client = connect(&args.peer, Duration::from_secs(args.timeout)).await?;
    let (name, sent) = (client.name_of(topic), client.post(letter).await?);
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
