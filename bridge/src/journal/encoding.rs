//! Notes as bytes: many of them in one value of a database, where a row for each would cost more than all else of a crossing.
//!
//! ```text
//! begun: version, { content[32] sent[8] at[8] first[1] topic length[2] topic data length[4] data } ...
//! ended: version, { content[32] sent[8] at[8] first[1] reason length[1] reason known[1] envelope[32]? message[32]? } ...
//! ```
//! Numbers are big-endian; an envelope has no topic, and what crossed no reason; bit 0 of `known` says that the envelope's hash
//! stands there, bit 1 that the message's does. Reading allocates for what it has read and no more; the first unreadable entry
//! is an error and the last.

use bytes::{Buf, BufMut, Bytes};
use waku0::envelope::EnvelopeHash;
use waku2::{hash::MessageHash, topic::PubsubTopic};

use super::{Cargo, Remembered};
use crate::{
    crossing::Direction,
    drop_reason::DropReason,
    seen::{Fingerprint, State},
};

/// In front of both kinds. Another one is of a later program.
const VERSION: u8 = 1;

/// Bits of `known`.
const ENVELOPE: u8 = 1;
const MESSAGE: u8 = 2;

/// What has begun and not ended, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its content.
    pub content: Fingerprint,
    /// When it was sent: unix seconds.
    pub sent: u64,
    /// When it came: unix seconds.
    pub at: u64,
    /// The side it came from.
    pub first: Direction,
    /// What came.
    pub cargo: Cargo,
}

/// Why the rest of some bytes can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the version that this program writes.
    #[error("version {0} of the encoding is not known")]
    Version(u8),
    /// The bytes end within an entry, or before the version.
    #[error("cut off")]
    CutOff,
    /// Neither side.
    #[error("no direction has the number {0}")]
    Direction(u8),
    /// Not the name of a pubsub topic.
    #[error("not a pubsub topic")]
    Topic,
    /// Not the name of a reason.
    #[error("not a reason to drop anything")]
    Reason,
    /// Bits without a meaning.
    #[error("unknown bits: {0:#04x}")]
    Known(u8),
    /// A cargo of more bytes than can be written.
    #[error("a cargo of {0} bytes")]
    TooLong(usize),
}

/// The bytes of something that has no entry yet.
#[must_use]
pub fn start(capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity + 1);
    out.push(VERSION);
    out
}

/// Appends what has begun. The cargo is copied here and nowhere else.
///
/// # Errors
/// [`DecodeError::TooLong`], and nothing is appended: no network carries so much.
pub fn put_begun(
    out: &mut Vec<u8>,
    content: &Fingerprint,
    (sent, at): (u64, u64),
    first: Direction,
    cargo: &Cargo,
) -> Result<(), DecodeError> {
    let (topic, data) = match cargo {
        Cargo::Envelope(raw) => ("", raw),
        Cargo::Message { topic, data } => (topic.as_str(), data),
    };
    let topic_len = u16::try_from(topic.len()).map_err(|_| DecodeError::TooLong(topic.len()))?;
    let data_len = u32::try_from(data.len()).map_err(|_| DecodeError::TooLong(data.len()))?;
    put_head(out, content, sent, at, first);
    out.put_u16(topic_len);
    out.put_slice(topic.as_bytes());
    out.put_u32(data_len);
    out.put_slice(data);
    Ok(())
}

/// Appends what has ended. What stands to be tried again has no end: it is written as crossed, and that is not asked for.
pub fn put_ended(out: &mut Vec<u8>, ended: &Remembered) {
    put_head(out, &ended.content, ended.sent, ended.at, ended.first);
    let reason = match ended.state {
        State::Dropped(reason) => reason.as_str(),
        State::Done | State::Pending | State::Retry => "",
    };
    // The names are of this program, a word or two each; a test holds them to it.
    out.put_u8(u8::try_from(reason.len()).unwrap_or(0));
    out.put_slice(reason.as_bytes());
    out.put_u8(ended.envelope.map_or(0, |_| ENVELOPE) | ended.message.map_or(0, |_| MESSAGE));
    for hash in [ended.envelope.as_ref().map(EnvelopeHash::as_bytes), ended.message.as_ref().map(MessageHash::as_bytes)]
    {
        out.put_slice(hash.map_or(&[], |hash| hash));
    }
}

fn put_head(out: &mut Vec<u8>, content: &Fingerprint, sent: u64, at: u64, first: Direction) {
    out.put_slice(content.as_bytes());
    out.put_u64(sent);
    out.put_u64(at);
    out.put_u8(first as u8);
}

/// Reads what [`put_begun`] has written, in its order.
pub fn begun(data: &[u8]) -> impl Iterator<Item = Result<Beginning, DecodeError>> {
    entries(data, read_begun)
}

/// Reads what [`put_ended`] has written, in its order.
pub fn ended(data: &[u8]) -> impl Iterator<Item = Result<Remembered, DecodeError>> {
    entries(data, read_ended)
}

/// Entry by entry; after an error there is nothing.
fn entries<T>(
    mut data: &[u8],
    read: impl Fn(&mut &[u8]) -> Result<T, DecodeError>,
) -> impl Iterator<Item = Result<T, DecodeError>> {
    let mut refused = match data.try_get_u8() {
        Ok(VERSION) => None,
        Ok(other) => Some(DecodeError::Version(other)),
        Err(_) => Some(DecodeError::CutOff),
    };
    if refused.is_some() {
        data = &[];
    }
    std::iter::from_fn(move || {
        if data.is_empty() {
            return refused.take().map(Err);
        }
        let entry = read(&mut data);
        if entry.is_err() {
            data = &[];
        }
        Some(entry)
    })
}

fn read_begun(data: &mut &[u8]) -> Result<Beginning, DecodeError> {
    let (content, sent, at, first) = read_head(data)?;
    let topic_len = usize::from(data.try_get_u16().map_err(|_| DecodeError::CutOff)?);
    let topic = take(data, topic_len)?;
    let data_len = data.try_get_u32().map_err(|_| DecodeError::CutOff)?;
    let data_len = usize::try_from(data_len).map_err(|_| DecodeError::CutOff)?;
    let data = Bytes::copy_from_slice(take(data, data_len)?);
    let cargo = match topic {
        [] => Cargo::Envelope(data),
        name => Cargo::Message { topic: read_topic(name)?, data },
    };
    Ok(Beginning { content, sent, at, first, cargo })
}

fn read_topic(name: &[u8]) -> Result<PubsubTopic, DecodeError> {
    std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(DecodeError::Topic)
}

fn read_ended(data: &mut &[u8]) -> Result<Remembered, DecodeError> {
    let (content, sent, at, first) = read_head(data)?;
    let reason_len = data.try_get_u8().map_err(|_| DecodeError::CutOff)?;
    let state = match take(data, usize::from(reason_len))? {
        [] => State::Done,
        name => DropReason::all()
            .find(|reason| reason.as_str().as_bytes() == name)
            .map(State::Dropped)
            .ok_or(DecodeError::Reason)?,
    };
    let known = data.try_get_u8().map_err(|_| DecodeError::CutOff)?;
    if known & !(ENVELOPE | MESSAGE) != 0 {
        return Err(DecodeError::Known(known));
    }
    let mut hash = |bit| if known & bit == 0 { Ok(None) } else { array(data).map(Some) };
    let (envelope, message) = (hash(ENVELOPE)?, hash(MESSAGE)?);
    let (envelope, message) = (envelope.map(EnvelopeHash::from), message.map(MessageHash::from));
    Ok(Remembered { content, sent, at, first, state, envelope, message })
}

fn read_head(data: &mut &[u8]) -> Result<(Fingerprint, u64, u64, Direction), DecodeError> {
    let content = Fingerprint::from_bytes(array(data)?);
    let sent = data.try_get_u64().map_err(|_| DecodeError::CutOff)?;
    let at = data.try_get_u64().map_err(|_| DecodeError::CutOff)?;
    let number = data.try_get_u8().map_err(|_| DecodeError::CutOff)?;
    let first = Direction::ALL.into_iter().find(|direction| *direction as u8 == number);
    Ok((content, sent, at, first.ok_or(DecodeError::Direction(number))?))
}

fn array(data: &mut &[u8]) -> Result<[u8; 32], DecodeError> {
    let (array, rest) = data.split_first_chunk().ok_or(DecodeError::CutOff)?;
    *data = rest;
    Ok(*array)
}

fn take<'a>(data: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, rest) = data.split_at_checked(len).ok_or(DecodeError::CutOff)?;
    *data = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beginning() -> impl Strategy<Value = Beginning> {
        let cargo =
            (any::<Option<u16>>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(shard, data)| match shard {
                None => Cargo::Envelope(data.into()),
                Some(n) => Cargo::Message { topic: format!("/waku/2/rs/1/{n}").parse().unwrap(), data: data.into() },
            });
        (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), 0..2_usize, cargo).prop_map(
            |(content, sent, at, first, cargo)| Beginning {
                content: Fingerprint::from_bytes(content),
                sent,
                at,
                first: Direction::ALL[first],
                cargo,
            },
        )
    }

    fn remembered() -> impl Strategy<Value = Remembered> {
        let reasons: Vec<Option<DropReason>> = std::iter::once(None).chain(DropReason::all().map(Some)).collect();
        let state = prop::sample::select(reasons).prop_map(|reason| reason.map_or(State::Done, State::Dropped));
        let hashes = (any::<Option<[u8; 32]>>(), any::<Option<[u8; 32]>>());
        (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), 0..2_usize, state, hashes).prop_map(
            |(content, sent, at, first, state, (envelope, message))| Remembered {
                content: Fingerprint::from_bytes(content),
                sent,
                at,
                first: Direction::ALL[first],
                state,
                envelope: envelope.map(EnvelopeHash::from),
                message: message.map(MessageHash::from),
            },
        )
    }

    fn encode_begun(entries: &[Beginning]) -> Vec<u8> {
        let mut out = start(0);
        for Beginning { content, sent, at, first, cargo } in entries {
            put_begun(&mut out, content, (*sent, *at), *first, cargo).unwrap();
        }
        out
    }

    fn encode_ended(entries: &[Remembered]) -> Vec<u8> {
        let mut out = start(0);
        entries.iter().for_each(|entry| put_ended(&mut out, entry));
        out
    }

    #[test]
    fn every_reason_has_a_name_that_fits() {
        assert!(DropReason::all().all(|reason| (1..=255).contains(&reason.as_str().len())));
    }

    #[test]
    fn nothing_is_nothing_and_other_versions_are_named() {
        assert_eq!((begun(&start(0)).count(), ended(&start(0)).count()), (0, 0));
        assert_eq!(begun(&[]).collect::<Vec<_>>(), [Err(DecodeError::CutOff)]);
        assert_eq!(ended(&[2, 0]).collect::<Vec<_>>(), [Err(DecodeError::Version(2))]);
    }

    #[test]
    fn what_this_program_does_not_write_is_named() {
        let mut data = start(0);
        put_head(&mut data, &Fingerprint::from_bytes([1; 32]), 1, 2, Direction::V1ToV2);
        let with = |more: &[u8]| [&data[..], more].concat();
        let first = |data: Vec<u8>| begun(&data).next().unwrap().unwrap_err();
        assert_eq!(first(with(&[0, 1, 0xff, 0, 0, 0, 0])), DecodeError::Topic);
        assert_eq!(first(with(&[0, 0, 255, 255, 255, 255])), DecodeError::CutOff, "and nothing is allocated for it");
        let first = |data: Vec<u8>| ended(&data).next().unwrap().unwrap_err();
        assert_eq!(first(with(&[1, b'?', 0])), DecodeError::Reason);
        assert_eq!(first(with(&[0, 4])), DecodeError::Known(4));
        *data.last_mut().unwrap() = 9;
        assert_eq!(begun(&data).next(), Some(Err(DecodeError::Direction(9))));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            begins in prop::collection::vec(beginning(), 0..8),
            ends in prop::collection::vec(remembered(), 0..8),
        ) {
            let read: Result<Vec<_>, _> = begun(&encode_begun(&begins)).collect();
            prop_assert_eq!(read, Ok(begins));
            let read: Result<Vec<_>, _> = ended(&encode_ended(&ends)).collect();
            prop_assert_eq!(read, Ok(ends));
        }

        /// Whatever stands before the cut is read, and the cut is told.
        #[test]
        fn what_is_cut_off_is_told(begins in prop::collection::vec(beginning(), 1..4), cut in any::<prop::sample::Index>()) {
            let whole = encode_begun(&begins);
            let ends: Vec<usize> = (0..=begins.len()).map(|count| encode_begun(&begins[..count]).len()).collect();
            let cut = cut.index(whole.len());
            let read: Vec<_> = begun(&whole[..cut]).collect();
            let (entries, errors): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
            prop_assert_eq!(entries.len(), ends.iter().filter(|end| **end <= cut).count().saturating_sub(1));
            prop_assert_eq!(errors, if ends.contains(&cut) { vec![] } else { vec![Err(DecodeError::CutOff)] });
        }

        /// Hostile bytes end, and cost no more than they are.
        #[test]
        fn any_bytes_end(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let versioned = [&[VERSION][..], &data].concat();
            prop_assert!(begun(&versioned).count() <= data.len() / 55 + 1);
            prop_assert!(ended(&versioned).count() <= data.len() / 51 + 1);
        }
    }
}
