//! Credit: room in a stream's window, given back when a message has been taken (E5).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::task::AtomicWaker;

/// Room in the peer's window that a message takes up. Dropping it gives the room back, so keep it beside the bytes
/// and drop both when the consumer has taken them (E5).
#[derive(Debug)]
pub struct Credit {
    /// `None` for a message that takes up no room.
    ledger: Option<Arc<Ledger>>,
    /// Bytes to give back.
    held: usize,
    /// Whether room was given back before the message was taken, because it is larger than the window.
    advanced: bool,
    /// Bytes of memory beyond `held`, from a compressed message.
    inflated: usize,
}

impl Credit {
    pub(crate) fn new(ledger: &Arc<Ledger>, held: usize, advanced: bool) -> Self {
        Credit { ledger: Some(Arc::clone(ledger)), held, advanced, inflated: 0 }
    }

    /// For a message that takes up no room, because it did not come over a stream: a role is driven without one in
    /// tests.
    pub fn free() -> Self {
        Credit { ledger: None, held: 0, advanced: false, inflated: 0 }
    }

    /// Adds the memory of a compressed message, beyond what the window counted.
    pub(crate) fn inflate(&mut self, bytes: usize) {
        if let Some(ledger) = &self.ledger {
            ledger.inflated.fetch_add(bytes, Ordering::Release);
            self.inflated += bytes;
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        ledger.release(self.held);
        if self.advanced {
            ledger.advanced.store(false, Ordering::Release);
        }
        ledger.inflated.fetch_sub(self.inflated, Ordering::Release);
        if self.advanced || self.inflated > 0 {
            ledger.reader.wake();
        }
    }
}

/// What the credits of one stream share with its reader.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Gone once everything was given back: a credit that outlives its stream has nothing to give back any more.
    flow: Mutex<Option<h2::FlowControl>>,
    /// A message larger than the window waits for its consumer.
    pub(crate) advanced: AtomicBool,
    /// Bytes that compressed messages take beyond what the window counted.
    pub(crate) inflated: AtomicUsize,
    pub(crate) reader: AtomicWaker,
}

impl Ledger {
    pub(crate) fn new(flow: h2::FlowControl) -> Self {
        Ledger {
            flow: Mutex::new(Some(flow)),
            advanced: AtomicBool::new(false),
            inflated: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
        }
    }

    /// Gives everything back that is held. What is released later was part of it.
    pub(crate) fn settle(&self) {
        let flow = self.flow.lock().expect("nothing panics while it is held").take();
        if let Some(mut flow) = flow {
            // Fails only when the stream is gone, and its share with it.
            let _ = flow.release_capacity(flow.used_capacity());
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            // Fails only when the stream is gone, and then there is nobody to tell.
            let mut flow = self.flow.lock().expect("nothing panics while it is held");
            let _ = flow.as_mut().map(|flow| flow.release_capacity(bytes));
        }
    }
}
