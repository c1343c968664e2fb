//! The archive as the program uses it: opened by its URL, written to by the bridge ([`bridge::history`]).
//!
//! A row of the bridge is a row of the archive, but where the message has another time than the envelope, or none: then each is a row
//! of its own, and a message without a time is not kept as one, for its hash could not be told from the row.
//!
//! Limit: a batch of the bridge is handed in as a whole before the next one is taken; the writer's queue bounds what waits.

use std::path::Path;

use archive::{
    Appended, Archive, EnvelopeHalf, Hash, MessageHalf, Mined, Name, OpenError, Row, Side, Writer, writer::Settings,
};
use bridge::{
    Direction,
    history::{Batch, Kept, NotKept, Why},
};
use devp2p::clock::now;
use tokio::{sync::mpsc, task::JoinHandle, time::Duration};

use crate::{
    config::archive::{Archive as Wanted, Place},
    store::mine::Miner,
};

/// The file within the data directory.
pub const ARCHIVE_FILE: &str = "archive.sqlite3";
/// How often old rows are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// Batches on their way: the bridge gives the next one when this one is written.
const BATCHES: usize = 1;
/// Rows told of one content, which may have been sent many times.
const MAX_TOLD: usize = 64;
/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// An open archive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    archive: Archive,
    writer: Writer,
}

impl History {
    /// Takes rows from the sender that is returned, and has those mined that need it; the task ends with the bridge.
    #[must_use]
    pub fn feed_by_bridge(&self, miner: Option<Miner>) -> (bridge::history::Archive, JoinHandle<()>) {
        let (batches, inbox) = mpsc::channel(BATCHES);
        (batches, tokio::spawn(self.clone().feed(inbox, miner)))
    }

    /// Opens it; the task that writes ends with the last [`History`].
    ///
    /// # Errors
    /// [`OpenError`] names it; nothing runs then.
    pub async fn open(wanted: &Wanted, data_dir: &Path) -> Result<(Self, JoinHandle<()>), OpenError> {
        let archive = open(&wanted.place, data_dir).await?;
        let settings = Settings { retention: wanted.retention, trim_every: TRIM_EVERY, clock };
        let (writer, task) = Writer::start(archive.clone(), settings);
        Ok((Self { archive, writer }, task))
    }

    /// Rows with this hash: of an envelope, of a message, or of what they say.
    ///
    /// # Errors
    /// When the archive can't be read.
    pub async fn about(&self, hash: &Hash) -> Result<Vec<Row>, archive::Error> {
        let mut rows: Vec<Row> = Vec::new();
        for name in [Name::Envelope, Name::Message, Name::Content] {
            let page = self.archive.find(name, &[*hash]).await?;
            rows.extend(page.rows.into_iter().take(MAX_TOLD));
        }
        Ok(rows)
    }

    /// To read from.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What writes to it.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    async fn feed(self, mut inbox: mpsc::Receiver<Batch>, miner: Option<Miner>) {
        while let Some(Batch { rows, done }) = inbox.recv().await {
            // The bridge may have stopped waiting.
            let _ = done.send(self.keep(rows, miner.as_ref()).await);
        }
    }

    /// All of them are handed in before any is waited for, so that they share a transaction.
    async fn keep(&self, rows: Vec<Kept>, miner: Option<&Miner>) -> Result<(), NotKept> {
        let mut pending = Vec::with_capacity(rows.len());
        let mut unmined = Vec::new();
        for row in rows.into_iter().flat_map(|kept| rows_of(kept, clock())) {
            // What has crossed has its envelope.
            if miner.is_some() && row.reason.is_some() {
                unmined.push(row.clone());
            }
            pending.push(self.writer.hand_in(row).await.map_err(|_| NotKept)?);
        }
        for row in pending {
            match row.durable().await {
                Ok(Appended::Refused(refusal)) => tracing::debug!(%refusal, "a row is not kept"),
                Ok(Appended::Stored | Appended::Completed | Appended::Known) => {}
                // Why is in the log.
                Err(_) => return Err(NotKept),
            }
        }
        unmined.into_iter().zip(miner.into_iter().cycle()).for_each(|(row, miner)| miner.offer(row));
        Ok(())
    }
}

/// Opens an archive to read and write at once, without a task that writes.
///
/// # Errors
/// [`OpenError`] names it.
pub async fn open(place: &Place, data_dir: &Path) -> Result<Archive, OpenError> {
    match place {
        Place::Memory => Ok(Archive::memory()),
        Place::Sqlite(path) => {
            let path = path.clone().unwrap_or_else(|| data_dir.join(ARCHIVE_FILE));
            Archive::sqlite(&path).await
        }
        Place::Postgres { url, connections } => Archive::postgres(url, *connections, clock()).await,
    }
}

fn clock() -> u64 {
    now().unix_secs()
}

/// One row, or two where the times differ.
pub(crate) fn rows_of(kept: Kept, at: u64) -> Vec<Row> {
    let envelope = envelope_of(&kept);
    let message = message_of(&kept);
    let time = kept.message.message.timestamp;
    let row = |sent_ns, payload, envelope, message| Row {
        sent_ns,
        content: *kept.content.as_bytes(),
        payload,
        envelope,
        message,
        proven: kept.proven,
        first: match kept.first {
            Direction::V1ToV2 => Side::V1,
            Direction::V2ToV1 => Side::V2,
        },
        reason: match kept.why {
            Why::Crossed => None,
            Why::Instead(reason) => Some(reason.as_str().to_owned()),
        },
        stored_at: at,
    };
    let payload = kept.message.message.payload.clone();
    if time == Some(kept.sent_nanos) {
        return vec![row(kept.sent_nanos, payload, Some(envelope), Some(message))];
    }
    let second = kept.sent_nanos - kept.sent_nanos.rem_euclid(NANOS);
    // The data of an envelope alone stands as it is, so nothing is wrapped in its row.
    let alone = EnvelopeHalf { wrapped: false, ..envelope };
    let envelope = alone.mined.map(|_| row(second, kept.data.clone(), Some(alone), None));
    let message = time.map(|time| row(time, payload, None, Some(message)));
    envelope.into_iter().chain(message).collect()
}

fn envelope_of(kept: &Kept) -> EnvelopeHalf {
    let mined = kept.envelope.hash.zip(kept.envelope.nonce);
    EnvelopeHalf {
        topic: kept.topic.0,
        ttl: kept.envelope.ttl,
        wrapped: kept.wrapped,
        mined: mined.map(|(hash, nonce)| Mined { hash: *hash.as_bytes(), nonce }),
    }
}

fn message_of(kept: &Kept) -> MessageHalf {
    let message = &kept.message.message;
    MessageHalf {
        hash: *kept.message.hash.as_bytes(),
        pubsub_topic: kept.message.pubsub_topic.to_string(),
        content_topic: message.content_topic.to_string(),
        version: message.version,
        meta: message.meta.bytes().clone(),
        proof: message.rate_limit_proof.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bridge::{
        DropReason,
        history::{EnvelopeHalf as KeptEnvelope, MessageHalf as KeptMessage},
        mapping,
        seen::Fingerprint,
    };
    use bytes::Bytes;
    use waku0::{Envelope, Pow, Topic, Unsealed};
    use waku2::{ContentTopic, Meta, PubsubTopic, WakuMessage, hash::message_hash};

    use super::*;
    use crate::rows;

    const SENT: u32 = 1_700_000_000;
    const TOPIC: Topic = Topic([1, 2, 3, 4]);

    fn pubsub() -> PubsubTopic {
        "/waku/2/rs/0/0".parse().unwrap()
    }

    fn envelope(data: &Bytes) -> Envelope {
        let unsealed = Unsealed::new(SENT + 50, 50, TOPIC, data.clone()).unwrap();
        let nonce = unsealed.search(0, 0, 1 << 20, unsealed.required_bits(Pow::new(0.002).unwrap())).unwrap();
        unsealed.seal(nonce)
    }

    fn message(payload: &Bytes, timestamp: Option<i64>) -> WakuMessage {
        WakuMessage {
            payload: payload.clone(),
            content_topic: ContentTopic::from("/waku/1/0x01020304/rfc26".to_owned()),
            version: 1,
            timestamp,
            meta: Meta::new(vec![7, 8]).unwrap(),
            rate_limit_proof: Some(vec![9].into()),
            ephemeral: false,
        }
    }

    fn kept(data: &Bytes, timestamp: Option<i64>, sent_nanos: i64) -> Kept {
        let (envelope, message) = (envelope(data), message(data, timestamp));
        Kept {
            content: Fingerprint::new(TOPIC, data),
            sent_nanos,
            topic: TOPIC,
            data: data.clone(),
            wrapped: false,
            envelope: KeptEnvelope::of(&envelope),
            message: KeptMessage { hash: message_hash(&pubsub(), &message), pubsub_topic: pubsub(), message },
            first: Direction::V1ToV2,
            why: Why::Instead(DropReason::Late),
            proven: false,
        }
    }

    fn message_again(row: &Row) -> WakuMessage {
        rows::message(row).unwrap().1
    }

    fn envelope_again(row: &Row) -> Option<Envelope> {
        rows::envelope(row)
    }

    #[test]
    fn both_forms_can_be_made_again_from_one_row() {
        let data = Bytes::from_static(b"kept");
        let sent = i64::from(SENT) * NANOS;
        let kept = kept(&data, Some(sent), sent);
        let rows = rows_of(kept.clone(), 7);
        assert_eq!((rows.len(), rows[0].reason.as_deref(), rows[0].stored_at), (1, Some("late"), 7));
        assert_eq!(message_hash(&pubsub(), &message_again(&rows[0])), kept.message.hash);
        assert_eq!(envelope_again(&rows[0]).map(|envelope| envelope.hash()), kept.envelope.hash);
    }

    #[test]
    fn what_is_wrapped_is_kept_as_the_message_has_it() {
        let payload = Bytes::from_static(b"plain");
        let data = mapping::wrap(&payload).unwrap();
        let sent = i64::from(SENT) * NANOS + 5;
        let plain = Kept {
            wrapped: true,
            message: KeptMessage { message: message(&payload, Some(sent)), ..kept(&data, None, 0).message },
            ..kept(&data, Some(sent), sent)
        };
        let rows = rows_of(plain.clone(), 7);
        assert_eq!((rows.len(), &rows[0].payload), (1, &payload));
        assert_eq!(envelope_again(&rows[0]).map(|envelope| envelope.hash()), plain.envelope.hash);
    }

    #[test]
    fn two_times_are_two_rows_and_no_time_is_an_envelope() {
        let data = Bytes::from_static(b"kept");
        let sent = i64::from(SENT) * NANOS;
        let retimed = kept(&data, Some(sent + 90 * NANOS), sent);
        let rows = rows_of(retimed.clone(), 7);
        assert_eq!(rows.iter().map(|row| row.sent_ns).collect::<Vec<_>>(), [sent, sent + 90 * NANOS]);
        assert!(rows[0].message.is_none() && rows[1].envelope.is_none());
        assert_eq!(envelope_again(&rows[0]).map(|envelope| envelope.hash()), retimed.envelope.hash);
        assert_eq!(message_hash(&pubsub(), &message_again(&rows[1])), retimed.message.hash);
        let timeless = rows_of(kept(&data, None, sent + 5), 7);
        assert_eq!((timeless.len(), timeless[0].sent_ns), (1, sent));
        assert_eq!(envelope_again(&timeless[0]).map(|envelope| envelope.hash()), retimed.envelope.hash);
    }
}
