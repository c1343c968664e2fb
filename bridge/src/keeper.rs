//! The shell's hand on the archive: gathers rows, gives them away a batch at a time, and says which are durable.
//!
//! As with the journal one batch is under way at a time, so that a slow archive makes larger batches and not a longer queue. Limits:
//! [`MAX_ROWS`] and [`MAX_ROW_BYTES`]; what is beyond is not kept.

use tokio::sync::oneshot;

use crate::{
    history::{Archive, Batch, Kept, MAX_ROW_BYTES, MAX_ROWS, NotKept},
    job::JobId,
};

/// Whose rows a batch held, and what became of them.
pub(crate) type Done = (Vec<JobId>, Result<(), NotKept>);
/// The archive's answer to a batch.
type Answered = oneshot::Receiver<Result<(), NotKept>>;

#[derive(Debug)]
pub(crate) struct Keeper {
    archive: Archive,
    rows: Vec<Kept>,
    /// Whose they are.
    jobs: Vec<JobId>,
    bytes: usize,
    under_way: Option<(Answered, Vec<JobId>)>,
}

impl Keeper {
    pub(crate) fn new(archive: Archive) -> Self {
        Self { archive, rows: Vec::new(), jobs: Vec::new(), bytes: 0, under_way: None }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// [`NotKept`], when too much waits.
    pub(crate) fn keep(&mut self, job: JobId, kept: Kept) -> Result<(), NotKept> {
        let bytes = self.bytes.saturating_add(kept.data.len());
        if self.rows.len() >= MAX_ROWS || bytes > MAX_ROW_BYTES {
            return Err(NotKept);
        }
        self.bytes = bytes;
        self.rows.push(kept);
        self.jobs.push(job);
        Ok(())
    }

    /// Gives away what waits, if nothing is under way.
    pub(crate) fn write(&mut self) {
        if self.under_way.is_some() || self.rows.is_empty() {
            return;
        }
        let (done, written) = oneshot::channel();
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        // The queue has room, for none is under way: this fails only once the archive has ended, and `written` says so too.
        let _ = self.archive.try_send(Batch { rows, done });
        self.under_way = Some((written, std::mem::take(&mut self.jobs)));
    }

    /// Waits for the batch under way; for ever if there is none. Safe to cancel.
    pub(crate) async fn written(&mut self) -> Done {
        let Some((written, _)) = &mut self.under_way else { return std::future::pending().await };
        let result = written.await.unwrap_or(Err(NotKept));
        (self.under_way.take().map(|(_, jobs)| jobs).unwrap_or_default(), result)
    }

    /// Writes what is left, and waits for it.
    pub(crate) async fn finish(mut self) {
        while self.under_way.is_some() || !self.rows.is_empty() {
            self.write();
            // Nobody is left to hear of it.
            let _ = self.written().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc;
    use waku0::topic::Topic;
    use waku2::{Meta, WakuMessage, hash::message_hash};

    use super::*;
    use crate::{
        content_topic,
        crossing::Direction,
        history::{EnvelopeHalf, MessageHalf, Why},
        seen::Fingerprint,
    };

    fn row(data: Bytes) -> Kept {
        let topic = Topic([1; 4]);
        let message = WakuMessage {
            payload: data.clone(),
            content_topic: content_topic::canonical(topic),
            version: 1,
            timestamp: Some(1),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        let pubsub_topic = "/waku/2/rs/0/0".parse().unwrap();
        Kept {
            content: Fingerprint::new(topic, &data),
            sent_nanos: 1,
            topic,
            data,
            wrapped: false,
            envelope: EnvelopeHalf { hash: None, expiry: 15, ttl: 15, nonce: None },
            message: MessageHalf { hash: message_hash(&pubsub_topic, &message), pubsub_topic, message },
            first: Direction::V2ToV1,
            why: Why::Crossed,
            proven: true,
        }
    }

    #[tokio::test]
    async fn what_comes_while_a_batch_is_written_goes_into_the_next() {
        let (archive, mut batches) = mpsc::channel(1);
        let mut keeper = Keeper::new(archive);
        keeper.keep(JobId(1), row(Bytes::from_static(b"a"))).unwrap();
        keeper.write();
        for n in 2..4 {
            keeper.keep(JobId(n), row(Bytes::from_static(b"b"))).unwrap();
            keeper.write();
        }
        let first = batches.try_recv().unwrap();
        assert_eq!((first.rows.len(), batches.try_recv().is_err()), (1, true));
        first.done.send(Ok(())).unwrap();
        assert_eq!(keeper.written().await, (vec![JobId(1)], Ok(())));
        keeper.write();
        let second = batches.try_recv().unwrap();
        assert_eq!(second.rows.len(), 2);
        drop(second);
        assert_eq!(keeper.written().await, (vec![JobId(2), JobId(3)], Err(NotKept)), "it never answered");
        drop(batches);
        keeper.keep(JobId(4), row(Bytes::new())).unwrap();
        keeper.write();
        assert_eq!(keeper.written().await, (vec![JobId(4)], Err(NotKept)), "it has ended");
    }

    #[test]
    fn rows_and_bytes_are_bounded() {
        let (archive, _batches) = mpsc::channel(1);
        let mut keeper = Keeper::new(archive);
        let quarter = Bytes::from(vec![0; MAX_ROW_BYTES / 4]);
        let kept = (0..5).filter(|n| keeper.keep(JobId(*n), row(quarter.clone())).is_ok()).count();
        assert_eq!(kept, 4);
        let (archive, _batches) = mpsc::channel(1);
        let mut keeper = Keeper::new(archive);
        let empty = row(Bytes::new());
        let kept = (0..=MAX_ROWS as u64).filter(|n| keeper.keep(JobId(*n), empty.clone()).is_ok()).count();
        assert_eq!(kept, MAX_ROWS);
    }
}
