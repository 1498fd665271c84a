//! Credit: room in a stream's window, given back when a message has been taken (E5).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

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
    /// Bytes of memory beyond `held`: what every message takes, and what a compressed one does.
    beyond: usize,
}

impl Credit {
    /// What a message takes in memory beside its bytes: its handle, this credit, and its place in a queue.
    pub const OVERHEAD: usize = 128;

    pub(crate) fn new(ledger: &Arc<Ledger>, held: usize, advanced: bool) -> Self {
        let mut credit = Credit { ledger: Some(Arc::clone(ledger)), held, advanced, beyond: 0 };
        credit.add(Credit::OVERHEAD);
        credit
    }

    /// For a message that takes up no room, because it did not come over a stream: a role is driven without one in
    /// tests.
    pub fn free() -> Self {
        Credit { ledger: None, held: 0, advanced: false, beyond: 0 }
    }

    /// Adds memory beyond what the window counted.
    pub(crate) fn add(&mut self, bytes: usize) {
        if let Some(ledger) = &self.ledger {
            ledger.beyond.fetch_add(bytes, Ordering::Release);
            self.beyond += bytes;
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
        let before = ledger.beyond.fetch_sub(self.beyond, Ordering::Release);
        // Once, and when there is room for many, so that it costs others nothing and the reader does not go to and fro.
        let resumes = before > ledger.most / 2 && before - self.beyond <= ledger.most / 2;
        if self.advanced || resumes {
            ledger.reader.wake();
        }
    }
}

/// What the credits of one stream share with its reader.
#[derive(Debug)]
pub(crate) struct Ledger {
    account: Mutex<Account>,
    /// A message larger than the window waits for its consumer.
    pub(crate) advanced: AtomicBool,
    /// Bytes that unread messages take beyond what the window counted.
    beyond: AtomicUsize,
    /// From where on no more become messages.
    most: usize,
    pub(crate) reader: AtomicWaker,
}

impl Ledger {
    /// `most` is how much unread messages may take beyond what the window counts.
    pub(crate) fn new(flow: h2::FlowControl, most: usize) -> Self {
        Ledger {
            account: Mutex::new(Account::Open { flow, held: 0 }),
            advanced: AtomicBool::new(false),
            beyond: AtomicUsize::new(0),
            most,
            reader: AtomicWaker::new(),
        }
    }

    /// Whether unread messages take as much as they may; there is no such bound once they are of no more use. When many
    /// were taken the reader is woken.
    pub(crate) fn is_full(&self) -> bool {
        self.beyond.load(Ordering::Acquire) > self.most && matches!(*self.account(), Account::Open { .. })
    }

    /// Enters bytes that were read from the stream.
    pub(crate) fn enter(&self, bytes: usize) {
        self.account().enter(bytes);
    }

    /// Gives back bytes that were entered before.
    pub(crate) fn release(&self, bytes: usize) {
        self.account().release(bytes);
    }

    /// Gives everything back, whoever holds it, and from now on what is entered at once.
    pub(crate) fn discard(&self) {
        self.account().discard();
    }

    /// Gives everything back, and lets go of the stream.
    pub(crate) fn close(&self) {
        self.account().close();
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("nothing panics while it is held")
    }
}

/// What was read from a stream and not given back yet. Nothing else gives back any of its room, so that no byte goes
/// back twice: HTTP/2 refuses a release of more than is used, and then all of that release is lost to the window.
///
/// What lies unread in HTTP/2's own buffer is not in it; that goes back when it is read, or with the stream.
#[derive(Debug)]
enum Account {
    /// Room goes back as messages are taken.
    Open { flow: h2::FlowControl, held: usize },
    /// Room goes back as soon as bytes are read: messages are of no more use (E9).
    Discarding { flow: h2::FlowControl },
    /// All went back: a credit that outlives its stream has nothing to give back any more.
    Closed,
}

impl Account {
    fn enter(&mut self, bytes: usize) {
        match self {
            Account::Open { held, .. } => *held += bytes,
            Account::Discarding { flow } => give_back(flow, bytes),
            Account::Closed => {}
        }
    }

    fn release(&mut self, bytes: usize) {
        match self {
            Account::Open { flow, held } => {
                *held -= bytes;
                give_back(flow, bytes);
            }
            // It was part of what went back then.
            Account::Discarding { .. } | Account::Closed => {}
        }
    }

    fn discard(&mut self) {
        *self = match std::mem::replace(self, Account::Closed) {
            Account::Open { mut flow, held } => {
                give_back(&mut flow, held);
                Account::Discarding { flow }
            }
            other => other,
        };
    }

    fn close(&mut self) {
        self.discard();
        *self = Account::Closed;
    }
}

fn give_back(flow: &mut h2::FlowControl, bytes: usize) {
    if bytes > 0 {
        let given = flow.release_capacity(bytes);
        debug_assert!(given.is_ok(), "{bytes} bytes were not given back, {} are used", flow.used_capacity());
    }
}
