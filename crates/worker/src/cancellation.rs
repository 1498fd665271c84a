//! How code that is not called with an [`Output`](crate::Output) learns that its execution is cancelled.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::link::Shared;

/// Whether an execution was cancelled. Clones are the same; it may be kept and sent wherever it is needed.
///
/// An execution is cancelled when its engine says so or is gone, when the worker shuts down, and when the present call is
/// over its time (C11). So are those that have failed, while they clean up.
#[derive(Clone)]
pub struct Cancellation {
    shared: Arc<Shared>,
}

impl Cancellation {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Cancellation { shared }
    }

    /// Whether it was.
    pub fn cancelled(&self) -> bool {
        self.shared.is_cancelled()
    }

    /// Has `callback` called when it is: once, on the thread that does all I/O of the worker, or at once on this one when it
    /// was already. It must not block, nor call user code, as heartbeats wait for it (M2); it sends a message, say, to a
    /// thread that acts on it. One for each execution is enough: it is kept as long as the execution is, and what it has with
    /// it, so that a callback which has this very handle keeps both for ever.
    pub fn on_cancel(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.shared.alarm.add(Box::new(callback));
        // Cancelled before, or meanwhile; whoever comes second finds it rung.
        if self.cancelled() {
            self.shared.alarm.ring();
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("cancelled", &self.cancelled()).finish()
    }
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// Callbacks, to be called once each. No lock is taken: who rings waits for nobody who adds (M2).
#[derive(Default)]
pub(crate) struct Alarm(OnceLock<Box<Bell>>);

struct Bell {
    callback: Callback,
    rung: AtomicBool,
    next: Alarm,
}

impl Alarm {
    /// Adds one, behind all others.
    fn add(&self, callback: Callback) {
        let mut bell = Box::new(Bell { callback, rung: AtomicBool::new(false), next: Alarm::default() });
        let mut end = self;
        while let Err(refused) = end.0.set(bell) {
            bell = refused;
            end = &end.0.get().expect("it was refused because there is one").next;
        }
    }

    /// Calls those that were not called yet.
    pub(crate) fn ring(&self) {
        let mut next = self.0.get();
        while let Some(bell) = next {
            if !bell.rung.swap(true, Ordering::AcqRel) {
                (bell.callback)();
            }
            next = bell.next.0.get();
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("set", &self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::clock::CallClock;
    use crate::counters::{Counters, Totals};
    use crate::link::{Reason, link};

    /// R12: everybody who asked is told once, in order; who asks too late at once.
    #[test]
    fn r12_who_asked_is_told_of_the_cancellation_once() {
        let (mut user, ends) =
            link(CallClock::new(None, Instant::now()), Arc::new(Counters::new(Arc::new(Totals::default()))), 1);
        let cancellation = Cancellation::new(Arc::clone(&ends.shared));
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = |who: &'static str| {
            let told = Arc::clone(&told);
            cancellation.on_cancel(move || told.lock().unwrap().push(who));
        };
        tell("one");
        tell("two");
        assert!(!cancellation.cancelled() && told.lock().unwrap().is_empty());
        user.cancel(Reason::Shutdown);
        user.cancel(Reason::Failed);
        tell("three");
        assert!(cancellation.cancelled());
        assert_eq!(*told.lock().unwrap(), ["one", "two", "three"]);
    }
}
