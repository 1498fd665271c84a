//! What moved so far, readable while the session runs.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes, messages and rows of data, each way, framing left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes handed to the transport.
    pub bytes_sent: u64,
    /// DataRequests handed to the transport.
    pub messages_sent: u64,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// DataResponses that arrived.
    pub messages_received: u64,
    /// DataResponses that the caller has taken.
    pub messages_taken: u64,
    /// Rows of the record batches that were sent. Zero for a session that sends bytes.
    pub rows_sent: u64,
    /// Rows of the record batches that the caller has taken. Zero for a session that takes bytes.
    pub rows_taken: u64,
    /// How long ago a message last went or came; while the worker works, the age of the batch that it is at. Zero before
    /// the first.
    pub quiet_for: Duration,
}

#[derive(Debug)]
pub(crate) struct Counters {
    base: Instant,
    /// When a message last went or came, in nanoseconds after `base`; zero before the first.
    moved: AtomicU64,
    rows_sent: AtomicU64,
    rows_taken: AtomicU64,
    bytes_sent: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    messages_received: AtomicU64,
    messages_taken: AtomicU64,
    last_taken: Mutex<Option<Instant>>,
}

impl Counters {
    pub(crate) fn new(base: Instant) -> Self {
        Counters {
            base,
            moved: AtomicU64::new(0),
            rows_sent: AtomicU64::new(0),
            rows_taken: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            messages_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            messages_received: AtomicU64::new(0),
            messages_taken: AtomicU64::new(0),
            last_taken: Mutex::default(),
        }
    }

    fn moved(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.base).as_nanos();
        self.moved.store(u64::try_from(nanos).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    pub(crate) fn rows_sent(&self, rows: usize) {
        self.rows_sent.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn rows_taken(&self, rows: usize) {
        self.rows_taken.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize, now: Instant) {
        self.moved(now);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
        self.messages_sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        self.moved(now);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
        self.messages_received.fetch_add(1, Relaxed);
    }

    /// The caller took a message. `now` only where an idle limit needs it (E7).
    pub(crate) fn taken(&self, now: Option<Instant>) {
        // The time first: who sees the count must see the time (E7).
        if now.is_some() {
            *self.last_taken.lock().expect("nothing panics while it is held") = now;
        }
        self.messages_taken.fetch_add(1, Release);
    }

    pub(crate) fn last_taken(&self) -> Option<Instant> {
        *self.last_taken.lock().expect("nothing panics while it is held")
    }

    /// Whether the caller has taken everything that arrived.
    pub(crate) fn is_drained(&self) -> bool {
        self.messages_taken.load(Acquire) >= self.messages_received.load(Relaxed)
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Progress {
        let quiet_for = match self.moved.load(Relaxed) {
            0 => Duration::ZERO,
            nanos => now.saturating_duration_since(self.base).saturating_sub(Duration::from_nanos(nanos)),
        };
        Progress {
            rows_sent: self.rows_sent.load(Relaxed),
            rows_taken: self.rows_taken.load(Relaxed),
            quiet_for,
            bytes_sent: self.bytes_sent.load(Relaxed),
            messages_sent: self.messages_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            messages_received: self.messages_received.load(Relaxed),
            messages_taken: self.messages_taken.load(Relaxed),
        }
    }
}
