//! What is computed for each envelope, on one thread: checking one that arrived, and mining one of our own.

use super::{Effort, Figure, driver, median};
use crate::cpu;
use crate::deadline::now;
use crate::payloads::bytes;
use crate::process::{Event, is, number, text};
use crate::scenarios::Lab;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::hint::black_box;
use waku0::bloom::Bloom;
use waku0::{Envelope, Pow, Topic, Unsealed};

/// Envelopes checked in one pass.
const ENVELOPES: u32 = 2000;
/// Topics in the bloom filter that they are matched with.
const TOPICS: u32 = 200;
/// Nonces tried between two looks at the clock.
const NONCES: u64 = 1 << 12;
/// More bits than a hash has: the search never ends early.
const NEVER: u32 = 257;
/// Seconds in a time to live and an expiry; any will do.
const TTL: u32 = 600;
const EXPIRY: u32 = 1_800_000_000;

/// Both in one run.
pub(super) fn beside_status_go(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let mut figures = vec![validation(lab, effort)?];
    figures.extend(mining(lab, effort)?);
    Ok(figures)
}

fn status_go(lab: &Lab, effort: &Effort, mode: &str) -> Result<Vec<Event>> {
    let (runs, secs) = (effort.runs.to_string(), effort.loop_secs.to_string());
    let arguments = ["bench", mode, "-runs", &runs, "-secs", &secs].map(str::to_owned);
    driver("bench of computing", &lab.programs().status_go, &arguments)
}

/// Decoding, hash, proof of work and bloom match of envelopes of one size.
fn validation(lab: &Lab, effort: &Effort) -> Result<Figure> {
    let lines = status_go(lab, effort, "validate")?;
    let line = lines.iter().find(|line| text(line, "what").starts_with("decode + hash + PoW")).context("no figure")?;
    let size = number(line, "envelope_bytes").context("no size")? as usize;
    let peer = line["per_cpu_s"].as_f64();

    let (mut raws, mut bloom) = (Vec::new(), Bloom::EMPTY);
    for index in 0..ENVELOPES {
        let topic = Topic((index.wrapping_mul(0x9e37_79b9)).to_be_bytes());
        if index < TOPICS {
            bloom.insert(topic);
        }
        raws.push(envelope_of(size, topic, index.into())?);
    }
    let floor = Pow::new(0.001)?;
    let ours = timed(effort, || {
        for raw in &raws {
            let envelope = Envelope::decode(raw.clone())?;
            black_box((envelope.hash(), envelope.pow() >= floor && bloom.contains(envelope.topic())));
        }
        Ok(ENVELOPES.into())
    })?;
    let name = format!("check an envelope of {size} bytes");
    Ok(Figure { name, ours, peer, unit: "envelopes per CPU-second, one thread", runs: effort.runs })
}

/// An envelope whose encoding has this many bytes.
fn envelope_of(size: usize, topic: Topic, nonce: u64) -> Result<Bytes> {
    let found = (0..size).rev().find_map(|length| {
        let data = Bytes::from(bytes(length, nonce));
        let envelope = Unsealed::new(EXPIRY, TTL, topic, data).ok()?.seal(nonce);
        (envelope.raw().len() <= size).then(|| envelope.raw().clone())
    });
    found.with_context(|| format!("no envelope has {size} bytes"))
}

/// Nonces tried, at three sizes.
fn mining(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = status_go(lab, effort, "pow")?;
    let sizes = lines.iter().filter(|line| is(line, "median"));
    let figures: Vec<Figure> = sizes.map(|line| mining_at(line, effort)).collect::<Result<_>>()?;
    ensure!(!figures.is_empty(), "status-go printed no figure");
    Ok(figures)
}

fn mining_at(line: &Event, effort: &Effort) -> Result<Figure> {
    let hashed = number(line, "hashed_bytes").context("no size")? as usize;
    let unsealed = (0..hashed)
        .rev()
        .filter_map(|length| Unsealed::new(EXPIRY, 10, Topic([1, 2, 3, 4]), bytes(length, 1).into()).ok())
        .find(|unsealed| unsealed.short_rlp_len() + size_of::<u64>() <= hashed)
        .with_context(|| format!("nothing to mine has {hashed} bytes"))?;
    let mut from = 0;
    let ours = timed(effort, || {
        black_box(unsealed.search(0, from, NONCES, NEVER));
        from += NONCES;
        Ok(NONCES)
    })?;
    let name = format!("mine, {hashed} bytes hashed");
    Ok(Figure {
        name,
        ours,
        peer: line["nonces_per_cpu_s"].as_f64(),
        unit: "nonces per CPU-second, one thread",
        runs: effort.runs,
    })
}

/// Repeats `work`, which tells how much it did, for some time; the median rate per second of CPU.
fn timed(effort: &Effort, mut work: impl FnMut() -> Result<u64>) -> Result<f64> {
    let rates = (0..effort.runs).map(|_| {
        let (start, cpu, mut done) = (now(), cpu::seconds(std::process::id())?, 0);
        while start.elapsed().as_secs_f64() < effort.loop_secs {
            done += work()?;
        }
        Ok(done as f64 / (cpu::seconds(std::process::id())? - cpu))
    });
    Ok(median(rates.collect::<Result<_>>()?))
}
