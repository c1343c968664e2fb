//! What becomes of a row some of which is here already. Pure.

use crate::row::{Key, Row};

/// What to do with such a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Nothing: all of it is here.
    Known,
    /// It takes the place of these.
    Replace { old: Vec<Key>, row: Box<Row> },
    /// It is kept as it stands here: what it is on v0 another row says.
    Insert(Box<Row>),
}

/// Decides about a row. `same`: the one of its key; `twin`: the one of its envelope hash, where that is another.
///
/// The payloads of the two are not looked at: of the same message they are the same, and a message's stands above its envelope's.
pub(crate) fn resolve(mut new: Row, same: Option<Row>, twin: Option<Row>) -> Resolution {
    let Some(key) = new.key() else { return Resolution::Known };
    if new.message.is_none() && (same.is_some() || twin.is_some()) {
        return Resolution::Known;
    }
    let mut old = Vec::new();
    if let Some(twin) = twin {
        if twin.message.is_some() {
            // One envelope that was published on two topics: mail requests are to see it once.
            new.envelope = None;
        } else {
            old.extend(twin.key());
            came_before(&mut new, &twin);
        }
    }
    let Some(same) = same else {
        return if old.is_empty() { Resolution::Insert(Box::new(new)) } else { replace(old, new) };
    };
    let adds_work = new.mined().is_some() && same.mined().is_none();
    let adds_envelope = new.envelope.is_some() && same.envelope.is_none();
    let has_proof = |row: &Row| row.message.as_ref().is_some_and(|message| message.proof.is_some());
    let adds_proof = has_proof(&new) && !has_proof(&same) || new.proven && !same.proven;
    if old.is_empty() && !adds_work && !adds_envelope && !adds_proof {
        return Resolution::Known;
    }
    if !adds_work && !adds_envelope {
        new.envelope = same.envelope;
    }
    if let (Some(new), Some(same)) = (&mut new.message, &same.message)
        && new.proof.is_none()
    {
        new.proof.clone_from(&same.proof);
    }
    came_before(&mut new, &same);
    old.push(key);
    replace(old, new)
}

fn replace(old: Vec<Key>, row: Row) -> Resolution {
    Resolution::Replace { old, row: Box::new(row) }
}

/// What is known of the row that was here first.
fn came_before(new: &mut Row, old: &Row) {
    new.proven |= old.proven;
    new.first = old.first;
    new.stored_at = new.stored_at.min(old.stored_at);
    if new.reason.is_none() {
        new.reason.clone_from(&old.reason);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::row::{EnvelopeHalf, MessageHalf, Mined, Side};

    fn whole() -> Row {
        let mined = Mined { hash: [2; 32], nonce: 9 };
        let half = MessageHalf {
            hash: [1; 32],
            pubsub_topic: "/waku/2/rs/0/0".to_owned(),
            content_topic: "/waku/1/0x01010101/rfc26".to_owned(),
            version: 1,
            meta: Bytes::new(),
            proof: None,
        };
        Row {
            sent_ns: 5_000_000_000,
            content: [3; 32],
            payload: Bytes::from_static(b"payload"),
            envelope: Some(EnvelopeHalf { topic: [1; 4], ttl: 15, wrapped: false, mined: Some(mined) }),
            message: Some(half),
            proven: false,
            first: Side::V1,
            reason: Some("late".to_owned()),
            stored_at: 7,
        }
    }

    fn message() -> Row {
        Row { envelope: None, ..whole() }
    }

    fn envelope() -> Row {
        Row { message: None, ..whole() }
    }

    fn replaced(old: &[&Row], row: Row) -> Resolution {
        Resolution::Replace { old: old.iter().filter_map(|row| row.key()).collect(), row: Box::new(row) }
    }

    #[test]
    fn what_says_nothing_new_changes_nothing() {
        for new in [whole(), message(), Row { proven: false, stored_at: 99, reason: None, ..whole() }] {
            assert_eq!(resolve(new, Some(whole()), None), Resolution::Known);
        }
        assert_eq!(resolve(envelope(), None, Some(whole())), Resolution::Known);
        assert_eq!(resolve(envelope(), Some(envelope()), None), Resolution::Known);
    }

    #[test]
    fn what_was_here_first_says_where_it_came_from() {
        let new = Row { first: Side::V2, stored_at: 100, reason: None, ..whole() };
        assert_eq!(resolve(new, Some(message()), None), replaced(&[&message()], whole()));
    }

    #[test]
    fn an_envelope_of_another_message_stays_with_it() {
        let other = Row { message: whole().message.map(|half| MessageHalf { hash: [8; 32], ..half }), ..whole() };
        let alone = Box::new(message());
        assert_eq!(resolve(whole(), None, Some(other.clone())), Resolution::Insert(alone));
        assert_eq!(resolve(whole(), Some(message()), Some(other)), Resolution::Known);
    }

    #[test]
    fn two_rows_become_one() {
        let expected = replaced(&[&envelope(), &message()], whole());
        assert_eq!(resolve(whole(), Some(message()), Some(envelope())), expected);
    }
}
