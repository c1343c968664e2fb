//! `pow`: what work is in an envelope, more of it, and how much of it this machine does.

use std::{io::Read, time::Duration};

use anyhow::Context;
use serde_json::json;
use waku0::{Envelope, Pow, Topic, Unsealed, keccak::Lanes, pow::required_bits};

use super::{
    mining,
    secret::{self, Misuse},
};
use crate::{cli::PowCommand, client::Mined, output::say, progress::Progress};

/// Longest envelope read, in hex digits: the largest that status-go's packets hold.
const MAX_HEX: u64 = 2 << 20;

/// Sizes measured, in bytes of data.
const SIZES: [usize; 4] = [256, 1_024, 16_384, 65_536];

/// Targets told of: those of Status clients, of Whisper, and one that hurts.
const TARGETS: [f64; 4] = [0.000_002, 0.002, 0.2, 2.0];

/// Times to live told of, in seconds: that of Status clients, and of a day.
const TTLS: [u32; 2] = [15, 86_400];

/// Nonces tried between two looks at the clock.
const NONCES: u64 = 1 << 14;

/// More zero bits than a hash has: a search for them never ends early.
const NEVER: u32 = 257;

/// Longest measurement of one size, in seconds.
const MAX_SECONDS: f64 = 3_600.0;

/// Does what was asked for.
///
/// # Errors
/// If what was given is no envelope, or there is not enough time.
pub async fn run(command: PowCommand) -> anyhow::Result<()> {
    // All of it computes, and nothing else runs in this process.
    tokio::task::block_in_place(|| match command {
        PowCommand::Compute { envelope, json } => compute(&read(envelope)?, json),
        PowCommand::Mine { envelope, pow, timeout, json } => {
            mine(&read(envelope)?, secret::work(pow)?, Duration::from_secs(timeout), json)
        }
        PowCommand::Bench { seconds, json } => bench(seconds, json),
    })
}

fn read(given: Option<String>) -> anyhow::Result<Envelope> {
    let text = match given {
        Some(text) => text,
        None => {
            let mut text = String::new();
            std::io::stdin().take(MAX_HEX).read_to_string(&mut text).context("standard input can't be read")?;
            text
        }
    };
    let digits = text.trim();
    let raw = hex::decode(digits.strip_prefix("0x").unwrap_or(digits))
        .map_err(|error| Misuse::Envelope(error.to_string()))?;
    Ok(Envelope::decode(raw.into()).map_err(|error| Misuse::Envelope(error.to_string()))?)
}

/// The envelope without its nonce.
fn unsealed(envelope: &Envelope) -> anyhow::Result<Unsealed> {
    Ok(Unsealed::new(envelope.expiry(), envelope.ttl(), envelope.topic(), envelope.data().clone())?)
}

fn compute(envelope: &Envelope, as_json: bool) -> anyhow::Result<()> {
    let unsealed = unsealed(envelope)?;
    let (zeros, size) = (unsealed.zero_bits(envelope.nonce()), unsealed.short_rlp_len());
    let (hash, ttl, pow) = (envelope.hash(), envelope.ttl(), envelope.pow().value());
    if as_json {
        say(json!({ "hash": hash.to_string(), "size": size, "ttl": ttl, "zero_bits": zeros, "pow": pow }))?;
        return Ok(());
    }
    say(format_args!("envelope   {hash}"))?;
    say(format_args!("size       {size} B, without its nonce"))?;
    say(format_args!("to live    {ttl} s"))?;
    say(format_args!("zeros      {zeros} bits"))?;
    say(format_args!("work       {pow}"))?;
    Ok(())
}

fn mine(envelope: &Envelope, target: Pow, within: Duration, as_json: bool) -> anyhow::Result<()> {
    let mut progress = Progress::start(false);
    let mined = Mined::mine(unsealed(envelope)?, target, within, |search| mining(&mut progress, &search));
    progress.end();
    let Mined { envelope, took } = mined?;
    let (raw, pow, took) = (hex::encode(envelope.raw()), envelope.pow().value(), took.as_secs_f64() * 1e3);
    if as_json {
        let (hash, nonce) = (envelope.hash().to_string(), envelope.nonce());
        say(json!({ "envelope": format!("0x{raw}"), "hash": hash, "nonce": nonce, "pow": pow, "mining_ms": took }))?;
    } else {
        say(format_args!("0x{raw}"))?;
        crate::output::remark(format_args!("a work of {pow:.6}, found in {took:.1} ms"));
    }
    Ok(())
}

fn bench(seconds: f64, as_json: bool) -> anyhow::Result<()> {
    if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
        return Err(Misuse::Seconds.into());
    }
    let lanes = Lanes::detected();
    if !as_json {
        say(format_args!("{lanes}, one core"))?;
        let columns = TARGETS.iter().flat_map(|target| TTLS.map(|ttl| format!("{target} {ttl} s")));
        let columns: String = columns.map(|column| format!("{column:>18}")).collect();
        say(format_args!("{:>8} {:>12}{columns}", "bytes", "nonces/s"))?;
    }
    for size in SIZES {
        let sample = Unsealed::new(u32::MAX, 1, Topic([0; 4]), vec![0x55; size].into())?;
        let rate = nonces_a_second(&sample, lanes, Duration::from_secs_f64(seconds));
        let expected =
            TARGETS.iter().flat_map(|target| TTLS.map(|ttl| (*target, ttl, seconds_for(*target, size, ttl, rate))));
        if as_json {
            let expected = expected.map(|(target, ttl, secs)| json!({ "pow": target, "ttl": ttl, "seconds": secs }));
            say(json!({ "bytes": size, "nonces_per_second": rate, "expected": expected.collect::<Vec<_>>() }))?;
        } else {
            let columns: String = expected.map(|(.., secs)| format!("{:>18}", duration(secs))).collect();
            say(format_args!("{size:>8} {rate:>12.0}{columns}"))?;
        }
    }
    Ok(())
}

fn nonces_a_second(sample: &Unsealed, lanes: Lanes, during: Duration) -> f64 {
    let start = devp2p::clock::now().instant;
    let mut from = 0;
    while start.elapsed() < during {
        std::hint::black_box(sample.search_in(lanes, 0, from, NONCES, NEVER));
        from += NONCES;
    }
    from as f64 / start.elapsed().as_secs_f64()
}

/// How long it takes to find it, on average.
fn seconds_for(target: f64, size: usize, ttl: u32, rate: f64) -> f64 {
    let bits = required_bits(Pow::new(target).unwrap_or(Pow::ZERO), size, ttl);
    2f64.powi(i32::try_from(bits).unwrap_or(i32::MAX)) / rate
}

/// With a unit that suits it.
fn duration(secs: f64) -> String {
    match secs {
        _ if secs < 1e-3 => format!("{:.0} us", secs * 1e6),
        _ if secs < 1.0 => format!("{:.1} ms", secs * 1e3),
        _ if secs < 600.0 => format!("{secs:.1} s"),
        _ if secs < 172_800.0 => format!("{:.1} h", secs / 3_600.0),
        _ => format!("{:.0} days", secs / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientError;

    #[test]
    fn an_envelope_is_read_in_hex() {
        let envelope = read(Some("0xd1845e4e74c00f84f8946aac84010203042a\n".into())).unwrap();
        assert_eq!((envelope.nonce(), envelope.ttl()), (42, 15));
        for bad in ["", "0x", "zz", "d1845e4e"] {
            assert!(read(Some(bad.into())).unwrap_err().is::<Misuse>(), "{bad}");
        }
    }

    #[test]
    fn mining_ends_with_the_work_or_with_the_time() {
        let envelope = read(Some("d1845e4e74c00f84f8946aac84010203042a".into())).unwrap();
        let target = Pow::new(4.0).unwrap();
        let unsealed = || unsealed(&envelope).unwrap();
        let mined = Mined::mine(unsealed(), target, Duration::from_secs(60), |_| {}).unwrap();
        assert!(mined.envelope.pow() >= target);
        let never = Pow::new(1e60).unwrap();
        assert!(matches!(Mined::mine(unsealed(), never, Duration::ZERO, |_| {}), Err(ClientError::Pow(_))));
    }

    #[test]
    fn a_long_search_is_told_of() {
        let envelope = read(Some("d1845e4e74c00f84f8946aac84010203042a".into())).unwrap();
        let (mut told, within) = (Vec::new(), Duration::from_secs(600));
        let mined = Mined::mine(unsealed(&envelope).unwrap(), Pow::new(5_000.0).unwrap(), within, |search| {
            told.push(search.tried);
            assert!(search.expected > 1e6 && search.within == within && search.took < within);
        });
        let nonce = mined.unwrap().envelope.nonce();
        assert!(!told.is_empty() && told.is_sorted() && told.iter().all(|tried| *tried <= nonce), "{told:?} {nonce}");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let texts = [0.000_5, 0.5, 5.0, 3_600.0, 1e6].map(duration);
        assert_eq!(texts, ["500 us", "500.0 ms", "5.0 s", "1.0 h", "12 days"]);
    }
}
