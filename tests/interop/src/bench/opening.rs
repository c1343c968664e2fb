//! Opening what status-go sealed, on one thread: from an envelope's data to payload and signer, beside status-go on the same bytes.

use super::compute::{status_go, timed};
use super::{Effort, Figure};
use crate::process::{Event, number, text};
use crate::scenarios::Lab;
use anyhow::{Context, Result, ensure};
use std::hint::black_box;
use waku0::payload::{self, Key};

/// Signed ones of a shared key, and unsigned ones for one reader.
pub(super) fn beside_status_go(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = status_go(lab, effort, "open")?;
    let figures = ["symmetric, signed", "asymmetric, unsigned"].into_iter().map(|what| {
        let line = lines.iter().find(|line| text(line, "what") == what).with_context(|| format!("nothing {what}"))?;
        figure(line, what, effort)
    });
    figures.collect()
}

fn figure(line: &Event, what: &str, effort: &Effort) -> Result<Figure> {
    let key = match what {
        "symmetric, signed" => Key::Symmetric(text(line, "key").parse()?),
        _ => Key::Private(text(line, "key").parse()?),
    };
    let data = line["data"].as_array().context("no data")?;
    let data =
        data.iter().map(|data| Ok(hex::decode(data.as_str().context("no text")?)?)).collect::<Result<Vec<_>>>()?;
    ensure!(!data.is_empty(), "nothing was sealed");
    let size = number(line, "payload").context("no size")?;
    let ours = timed(effort, || {
        for data in &data {
            let opened = payload::open(black_box(data), &key)?;
            ensure!(opened.payload.len() as u64 == size, "another payload came out");
            ensure!(opened.signer().is_some() == matches!(key, Key::Symmetric(_)), "signed otherwise");
        }
        Ok(data.len() as u64)
    })?;
    Ok(Figure {
        name: format!("open, {what}, {size} bytes of payload"),
        ours,
        peer: line["per_cpu_s"].as_f64(),
        unit: "envelopes per CPU-second, one thread",
        runs: effort.runs,
    })
}
