//! The sub-commands. Those that run nodes are here; `listen`, `post`, `key` and `pow` have files below, `demo`, `trace` and
//! `dns-tree` beside this one.

pub mod by_http;
pub mod key;
pub mod listen;
pub mod post;
pub mod pow;
#[cfg_attr(not(feature = "rln"), path = "commands/rln_off.rs")]
pub mod rln;
pub mod secret;

use std::{io::IsTerminal, path::Path, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use waku2::ClusterId;

use crate::{
    assemble,
    banner::{self, Banner},
    cli::{BridgeArgs, LegacyArgs, LogArgs, MailserverArgs, NodeArgs, PlaceArgs, sample::sample},
    client::{Client, PeerAddress, Search},
    config::{self, Config, ConfigError, routes},
    logging,
    output::say,
    progress::Progress,
    reload::Reloader,
    route_check::Explained,
};

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

/// Runs a waku/0 node that keeps history, until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is wrong, or a part can't start.
pub async fn mailserver(args: MailserverArgs) -> anyhow::Result<()> {
    let (logs, print) = (args.surface.logs, args.base.print_config);
    start("mailserver", logs, print, || Config::try_from(args)).await
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
    if std::io::stdout().is_terminal()
        && let Some(code) = banner::mail_code(&running)
    {
        // As above.
        let _ = say(code);
    }
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

/// The pubsub topic of a Waku Network peer where none is named.
const PUBSUB_TOPIC: &str = "/waku/2/rs/0/0";

async fn connect(peers: &[PeerAddress], count: usize, place: &PlaceArgs, wait: Duration) -> anyhow::Result<Client> {
    let pubsub = place.pubsub_topic.as_deref().unwrap_or(PUBSUB_TOPIC).parse()?;
    Ok(Client::connect(peers, count, ClusterId(place.cluster_id), pubsub, wait).await?)
}

/// Tells how far mining has come; the bar is of the time for which it goes on at most.
fn mining(progress: &mut Progress, search: &Search) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let Search { tried, expected, took, within } = search;
    progress.tell(millis(*took), millis(*within), || format!("mining: {tried} nonces, it takes about {expected:.0}"));
}
