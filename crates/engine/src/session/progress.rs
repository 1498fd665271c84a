//! What moved so far, readable while the session runs.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use tokio::time::Instant;

/// Bytes and messages of data, each way, framing left out.
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
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes_sent: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    messages_received: AtomicU64,
    messages_taken: AtomicU64,
    last_taken: Mutex<Option<Instant>>,
}

impl Counters {
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
        self.messages_sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
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

    pub(crate) fn snapshot(&self) -> Progress {
        Progress {
            bytes_sent: self.bytes_sent.load(Relaxed),
            messages_sent: self.messages_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            messages_received: self.messages_received.load(Relaxed),
            messages_taken: self.messages_taken.load(Relaxed),
        }
    }
}
