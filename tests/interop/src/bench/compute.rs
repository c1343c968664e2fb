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
use std::sync::Arc;
use waku0::bloom::Bloom;
use waku0::keccak::Lanes;
use waku0::packet::messages;
use waku0::{Envelope, Pow, Topic, Unsealed};

/// Envelopes checked in one pass.
const ENVELOPES: u32 = 2000;
/// Envelopes in one packet.
const IN_A_PACKET: usize = 100;
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
    let mut figures = validation(lab, effort)?;
    figures.extend(mining(lab, effort)?);
    Ok(figures)
}

pub(super) fn status_go(lab: &Lab, effort: &Effort, mode: &str) -> Result<Vec<Event>> {
    let (runs, secs) = (effort.runs.to_string(), effort.loop_secs.to_string());
    let arguments = ["bench", mode, "-runs", &runs, "-secs", &secs].map(str::to_owned);
    driver("bench of computing", &lab.programs().status_go, &arguments)
}

/// Decoding, hash, proof of work and bloom match of envelopes of one size, as they come in packets.
fn validation(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = status_go(lab, effort, "validate")?;
    let line = lines.iter().find(|line| text(line, "what").starts_with("decode + hash + PoW")).context("no figure")?;
    let size = number(line, "envelope_bytes").context("no size")? as usize;
    let peer = line["per_cpu_s"].as_f64();

    let (mut envelopes, mut bloom) = (Vec::new(), Bloom::EMPTY);
    for index in 0..ENVELOPES {
        let topic = Topic((index.wrapping_mul(0x9e37_79b9)).to_be_bytes());
        if index < TOPICS {
            bloom.insert(topic);
        }
        envelopes.push(Arc::new(envelope_of(size, topic, index.into())?));
    }
    let bodies: Vec<Bytes> = envelopes.chunks(IN_A_PACKET).flat_map(messages::encode).collect();
    let floor = Pow::new(0.001)?;
    let with = |lanes: Lanes| {
        let ours = timed(effort, || {
            bodies.iter().try_for_each(|body| check(body, lanes, floor, &bloom))?;
            Ok(ENVELOPES.into())
        })?;
        let name = format!("check an envelope of {size} bytes, {lanes}");
        Ok(Figure { name, ours, peer, unit: "envelopes per CPU-second, one thread", runs: effort.runs })
    };
    Lanes::available().into_iter().map(with).collect()
}

/// What a node does with a packet of envelopes that are new to it, before it keeps them.
fn check(body: &Bytes, lanes: Lanes, floor: Pow, bloom: &Bloom) -> Result<()> {
    let mut items = messages::decode(body)?;
    while let Some(batch) = items.next_batch(lanes) {
        let batch = batch?.into_iter().collect::<Result<Vec<_>, _>>()?;
        Envelope::measure_all(lanes, &batch.iter().collect::<Vec<_>>());
        for envelope in &batch {
            black_box((envelope.hash(), envelope.pow() >= floor && bloom.contains(envelope.topic())));
        }
    }
    Ok(())
}

/// An envelope whose encoding has this many bytes.
fn envelope_of(size: usize, topic: Topic, nonce: u64) -> Result<Envelope> {
    let found = (0..size).rev().find_map(|length| {
        let data = Bytes::from(bytes(length, nonce));
        let envelope = Unsealed::new(EXPIRY, TTL, topic, data).ok()?.seal(nonce);
        (envelope.raw().len() <= size).then_some(envelope)
    });
    found.with_context(|| format!("no envelope has {size} bytes"))
}

/// Nonces tried, at three sizes.
fn mining(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = status_go(lab, effort, "pow")?;
    let mut figures = Vec::new();
    for line in lines.iter().filter(|line| is(line, "median")) {
        for lanes in Lanes::available() {
            figures.push(mining_at(line, lanes, effort)?);
        }
    }
    ensure!(!figures.is_empty(), "status-go printed no figure");
    Ok(figures)
}

fn mining_at(line: &Event, lanes: Lanes, effort: &Effort) -> Result<Figure> {
    let hashed = number(line, "hashed_bytes").context("no size")? as usize;
    let unsealed = (0..hashed)
        .rev()
        .filter_map(|length| Unsealed::new(EXPIRY, 10, Topic([1, 2, 3, 4]), bytes(length, 1).into()).ok())
        .find(|unsealed| unsealed.short_rlp_len() + size_of::<u64>() <= hashed)
        .with_context(|| format!("nothing to mine has {hashed} bytes"))?;
    let mut from = 0;
    let ours = timed(effort, || {
        black_box(unsealed.search_in(lanes, 0, from, NONCES, NEVER));
        from += NONCES;
        Ok(NONCES)
    })?;
    Ok(Figure {
        name: format!("mine, {hashed} bytes hashed, {lanes}"),
        ours,
        peer: line["nonces_per_cpu_s"].as_f64(),
        unit: "nonces per CPU-second, one thread",
        runs: effort.runs,
    })
}

/// Repeats `work`, which tells how much it did, for some time; the median rate per second of CPU.
pub(super) fn timed(effort: &Effort, mut work: impl FnMut() -> Result<u64>) -> Result<f64> {
    let rates = (0..effort.runs).map(|_| {
        let (start, cpu, mut done) = (now(), cpu::seconds(std::process::id())?, 0);
        while start.elapsed().as_secs_f64() < effort.loop_secs {
            done += work()?;
        }
        Ok(done as f64 / (cpu::seconds(std::process::id())? - cpu))
    });
    Ok(median(rates.collect::<Result<_>>()?))
}
