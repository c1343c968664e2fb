//! What a crossing costs the bridge: sealed by one peer, opened by the other, both ways at once.

use super::{Effort, Figure};
use crate::cpu;
use crate::crossing::{GENTLE, cross, exchange_keys};
use crate::deadline::now;
use crate::payloads::equal;
use crate::scenarios::Lab;
use anyhow::Result;

/// Bytes of a payload: an ordinary text message.
const PAYLOAD: usize = 256;

/// At the pace that both peers sustain without loss, which their own queues and intervals set.
pub(super) fn per_cpu_second(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let (v0, v2) = (lab.status("status-go", &[])?, lab.waku("go-waku", &[])?);
    let bridge = lab.bridge_between("bench", &v0, &v2, &["--log-level=warn"])?;
    exchange_keys(&v0, &v2)?;
    let [to_v2, to_v0] = [1, 2].map(|seed| equal(effort.crossings, PAYLOAD, seed << 32));
    let (start, before) = (now(), cpu::seconds(bridge.process().pid())?);
    let crossed = cross(&v0, &v2, &to_v2, &to_v0, GENTLE)?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu::seconds(bridge.process().pid())? - before);
    bridge.stop()?;
    let count = (crossed.to_v2.crossed + crossed.to_v0.crossed) as f64;
    let alone = |name: &str, ours: f64, unit| Figure { name: name.to_owned(), ours, peer: None, unit, runs: 1 };
    Ok(vec![
        alone("crossings, both ways", count / cpu, "crossings per CPU-second"),
        alone("crossings, both ways", count / wall, "crossings per second, as fast as the peers go"),
        alone("v0 to v2, median", crossed.to_v2.delay_ms(0.5) as f64, "ms from sealed to opened"),
        alone("v2 to v0, median", crossed.to_v0.delay_ms(0.5) as f64, "ms from sealed to opened"),
    ])
}
