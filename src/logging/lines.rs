//! Where log lines go: a queue, and a thread that writes them to standard error. Whoever logs never waits for the disk or the reader behind it.
//!
//! Limits: [`MAX_LINES`] wait; further ones are dropped and counted, and the count is logged when there is room again. What can't be
//! written, as to a full disk, is dropped as well. The last lines have [`LAST_LINES`] to be written before the program ends.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Lines that wait: some seconds of a busy node at `debug`, and about a megabyte.
const MAX_LINES: usize = 4_096;

/// How long the end of the program waits for a reader that is slow.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The queue of this process, once it logs.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// What the thread is given.
enum Entry {
    /// A line with its end.
    Line(Vec<u8>),
    /// To be answered when all before it is written.
    Fence(SyncSender<()>),
}

/// The near end of the queue. Each write is a line.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// That of this process; the first call starts its thread.
    pub(super) fn start() -> Self {
        QUEUE.get_or_init(|| Self::to(io::stderr())).clone()
    }

    fn to(out: impl Write + Send + 'static) -> Self {
        let (entries, inbox) = sync_channel(MAX_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::spawn(move || write_all(&inbox, out, &counted));
        Self { entries, dropped }
    }

    /// Waits until what was logged is written, or the limit has passed.
    fn settle(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        let entries = self.entries.clone();
        // The queue may be full, and stay so.
        thread::spawn(move || drop(entries.send(Entry::Fence(done))));
        // A reader that does not read in this time gets no more.
        let _ = written.recv_timeout(limit);
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is logged before the program ends, as far as somebody takes it.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.settle(LAST_LINES);
    }
}

fn write_all(inbox: &Receiver<Entry>, mut out: impl Write, dropped: &AtomicU64) {
    for entry in inbox {
        match entry {
            // There is nowhere else to tell of it.
            Entry::Line(line) => drop(out.write_all(&line)),
            // Whoever waited may have given up.
            Entry::Fence(done) => drop(done.send(())),
        }
        // Through the queue like all others, in the format of all others: there is room for it now.
        match dropped.swap(0, Relaxed) {
            0 => {}
            count => tracing::warn!(count, "log lines were dropped: they came faster than they could be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Longer than a thread takes to be scheduled.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Hands on what is written, and fails if it is told to.
    struct Out(SyncSender<Vec<u8>>, bool);

    impl Write for Out {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).unwrap();
            if self.1 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(line.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Somebody who does not read until this is unlocked.
    struct Stuck(Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_before_the_end() {
        let (sender, written) = sync_channel(MAX_LINES);
        let mut queue = Queue::to(Out(sender, false));
        queue.write_all(b"one").unwrap();
        queue.write_all(b"two").unwrap();
        queue.settle(LIMIT);
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"one", b"two"]);
    }

    #[test]
    fn f21_a_disk_that_is_full_costs_lines_and_nothing_else() {
        let (sender, tried) = sync_channel(MAX_LINES);
        let mut queue = Queue::to(Out(sender, true));
        for _ in 0..3 {
            queue.write_all(b"lost").unwrap();
        }
        queue.settle(LIMIT);
        assert_eq!(tried.try_iter().count(), 3);
    }

    #[test]
    fn f21_a_reader_that_does_not_read_holds_nobody_up() {
        let read = Arc::default();
        let mut queue = Queue::to(Stuck(Arc::clone(&read)));
        let stuck = read.lock().unwrap();
        for _ in 0..2 * MAX_LINES {
            queue.write_all(b".").unwrap();
        }
        let dropped = queue.dropped.load(Relaxed) as usize;
        // One may be in the thread's hands.
        assert!((MAX_LINES - 1..=MAX_LINES).contains(&dropped), "{dropped}");
        queue.settle(Duration::ZERO);
        drop(stuck);
        queue.settle(LIMIT);
        assert_eq!(read.lock().unwrap().len(), 2 * MAX_LINES - dropped);
    }
}
