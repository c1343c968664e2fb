//! A bridge under load that is killed, cut off from both its networks, and started again while one of them is away.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use devp2p::clock::now;
use tempfile::TempDir;

use crate::{
    bridge_process::BridgeProcess,
    link::State,
    load::{Load, Pace},
};

/// What is late is carried all the same, as long as the envelopes of the load live.
const FLAGS: [&str; 2] = ["--v1-late-policy=publish", "--bridge-ttl=3600"];

/// Five posts a second on each side: ten minutes of them are fewer than a bridge holds. A static peer of devp2p that was away is called
/// again after five minutes at most.
const PACE: Pace = Pace { every: Duration::from_millis(200), under_way: MAX_AWAY, limit: Duration::from_secs(420) };

/// Posts of twenty minutes, of which none arrives while a side is away.
const MAX_AWAY: usize = 6_000;

/// Crossings each way within each life.
const IN_EACH_LIFE: u64 = 5;

/// Posts after each absence, half a minute of them, so that what it held up is across and written down before the next one: each is to lose
/// nothing. A bridge that is killed a second after a silence may have lost what it sent into it.
const AFTER_EACH_ABSENCE: u64 = 150;

/// For how long the network carries nothing and tells nobody.
const SILENCE: Duration = Duration::from_secs(60);

/// The sides, as [`Load`] counts them.
const SIDES: [&str; 2] = ["v0", "v2"];

/// Kills a bridge so many times, cuts it off for a minute, and lets each side be away for so long.
///
/// # Errors
/// When anything that was written down is lost, or anything crosses twice.
pub(crate) fn run(kills: u32, away: Duration, given: Option<&Path>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(faults(kills, away, given))
}

/// A bridge that is killed and started again.
struct Lives<'a> {
    given: Option<&'a Path>,
    data: TempDir,
    load: Load,
    bridge: Option<BridgeProcess>,
}

impl Lives<'_> {
    fn begin(&mut self) -> Result<()> {
        let flags = [&self.load.flags()[..], &FLAGS].concat();
        self.bridge = Some(BridgeProcess::start_in(self.given, self.data.path(), &flags)?);
        Ok(())
    }

    /// SIGKILL, and a look at what was written down.
    async fn end(&mut self) -> Result<()> {
        self.bridge = None;
        self.load.read_journal(self.data.path()).await
    }
}

async fn faults(kills: u32, away: Duration, given: Option<&Path>) -> Result<()> {
    let mut lives = Lives { given, data: TempDir::new()?, load: Load::start(PACE).await?, bridge: None };
    lives.begin()?;
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        lives.load.carried(IN_EACH_LIFE).await?;
        lives.end().await?;
        let since = now().instant;
        lives.begin()?;
        slowest = slowest.max(now().instant - since);
    }
    lives.load.carried(IN_EACH_LIFE).await?;
    println!("{kills} kills; up again in {} ms at most", slowest.as_millis());

    [0, 1].iter().for_each(|side| lives.load.set(*side, State::Silent));
    tokio::time::sleep(SILENCE).await;
    [0, 1].iter().for_each(|side| lives.load.set(*side, State::Up));
    let since = now().instant;
    lives.load.carried(IN_EACH_LIFE).await?;
    println!("{} s of silence; carried again after {:?}", SILENCE.as_secs(), now().instant - since);
    lives.load.posted(AFTER_EACH_ABSENCE).await?;

    let half = u64::try_from(away.as_millis() / 2 / PACE.every.as_millis())?;
    for (side, name) in SIDES.iter().enumerate() {
        lives.load.set(side, State::Down);
        lives.load.posted(half).await?;
        lives.end().await?;
        lives.begin()?;
        lives.load.posted(half).await?;
        lives.load.set(side, State::Up);
        let since = now().instant;
        lives.load.carried(IN_EACH_LIFE).await?;
        println!("{name} away for {} s; carried again after {:?}", away.as_secs(), now().instant - since);
        lives.load.posted(AFTER_EACH_ABSENCE).await?;
    }
    let report = lives.load.end().await?;
    ensure!(report.written > 0 && report.messages > 0 && report.envelopes > 0, "faults: {report:?}");
    // Some milliseconds of the load at each kill.
    println!("each once, but {} that were in doubt: {report:?}", report.repeated);
    lives.bridge.take().map_or(Ok(()), BridgeProcess::stop)
}
