//! A member that is killed again and again while it publishes: no message id goes out twice, and it is soon there again.

use super::ear::Ear;
use super::ground::{Ground, TOPIC};
use super::members::Membership;
use super::publish;
use crate::causeway::Causeway;
use crate::deadline::now;
use crate::payloads::bytes;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How often it is killed.
pub(super) const KILLS: usize = 20;
/// Messages under way when it is killed; the first answer is the sign.
const UNDER_WAY: usize = 3;

/// From the start of the program to its being ready, of each life.
pub(super) struct Starts(Vec<Duration>);

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |place: usize| self.0.get(place).map(Duration::as_millis).unwrap_or_default();
        write!(f, "ready again in {}/{} ms (p50/max)", millis(self.0.len() / 2), millis(self.0.len().saturating_sub(1)))
    }
}

/// Kills the member, starts it again, lets it publish; and so on.
pub(super) fn killed(
    ground: &Ground<'_>,
    who: &Membership,
    hub: &Causeway,
    first: &Causeway,
    ear: &mut Ear<'_>,
) -> Result<Starts> {
    let (mut starts, mut lives, mut last) = (Vec::new(), BTreeMap::new(), None);
    for life in 0..KILLS as u64 {
        cut_short(last.as_ref().unwrap_or(first), life)?;
        let begun = now();
        let node = ground.member("rln-member", who, hub, &[])?;
        node.await_ready()?;
        starts.push(begun.elapsed());
        node.await_mesh(1)?;
        let payload = bytes(100, 0x4700_0000 + life);
        let (status, body) = publish(&node, TOPIC, &payload)?;
        ensure!(status == 200, "in life {life} the member is refused: {status} {body}");
        ear.until("the first message of a life", |ear| ear.times(&payload) == 1)?;
        let heard = ear.heard().iter().find(|heard| heard.payload() == payload).context("it was heard")?;
        *lives.entry(heard.epoch()?).or_insert(0) += 1;
        last = Some(node);
    }
    last.context("it lives")?.stop()?;
    ear.listen()?;
    // Else no id could have come twice.
    ensure!(lives.values().any(|&lives| lives > 1), "no two lives published in one epoch");
    starts.sort_unstable();
    Ok(Starts(starts))
}

/// Kills it while it makes proofs.
fn cut_short(node: &Causeway, life: u64) -> Result<()> {
    thread::scope(|scope| {
        let (told, answers) = mpsc::sync_channel(UNDER_WAY);
        for n in 0..UNDER_WAY as u64 {
            let told = told.clone();
            scope.spawn(move || {
                let payload = bytes(100, 0x4800_0000 + life * UNDER_WAY as u64 + n);
                // Nobody may be there to be told, or the node be gone.
                let _ = told.send(publish(node, TOPIC, &payload));
            });
        }
        drop(told);
        let (status, body) = answers.recv().context("no answer")??;
        ensure!(status == 200, "the member is refused: {status} {body}");
        node.process().kill()
    })
}
