//! A session's hold on its worker.

use anyudf_protocol::{Blame, ExecutionError};
use tokio::sync::mpsc;

use super::keeper::Message;
use crate::pool::words::{Event, Outcome, RequestId, WorkerId};
use crate::session::{Cause, Termination};

/// A seat in a worker. Dropping it tells the pool that the session is over and what it has left (E14). Whoever makes a
/// session of it [settles](Lease::settle) it before; of a seat that nobody took the worker is as it was.
#[derive(Debug)]
pub(crate) struct Lease {
    keeper: mpsc::UnboundedSender<Message>,
    worker: WorkerId,
    request: RequestId,
    outcome: Outcome,
    /// The worker has said that it is shutting down.
    leaving: bool,
}

impl Lease {
    pub(super) fn new(keeper: mpsc::UnboundedSender<Message>, worker: WorkerId, request: RequestId) -> Self {
        Lease { keeper, worker, request, outcome: Outcome::Unused, leaving: false }
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.worker
    }

    pub(super) fn request(&self) -> RequestId {
        self.request
    }

    /// Takes note of an error that the worker reports, in whatever message: a call that hangs keeps others out of its worker
    /// from now on (D11).
    pub(crate) fn reported(&mut self, error: &ExecutionError) {
        self.leaving |= is_shutting_down(error);
        if hangs(error) {
            // Fails when the dispatcher is closed, and then nobody wants the worker.
            let _ = self.keeper.send(Message::Event(Event::Overdue(self.worker)));
        }
    }

    /// Takes note of how the session ended, and whether a stream was opened for it (E1).
    pub(crate) fn settle(&mut self, termination: &Termination, opened: bool) {
        if let Termination::TransportFailed(Cause::Died(_)) = termination {
            // The pool must not take it for a worker that was merely given up (D10). Whoever watches it may be slower.
            let _ = self.keeper.send(Message::Event(Event::Died(self.worker)));
        }
        self.outcome = match termination.is_salvageable() && !self.leaving {
            true if opened => Outcome::Salvageable,
            true => Outcome::Unused,
            false => Outcome::Broken,
        };
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Lease { worker, request, outcome, .. } = *self;
        // Fails when the dispatcher is closed, and then nobody wants the worker.
        let _ = self.keeper.send(Message::Released { worker, request, outcome });
    }
}

/// Whether a worker says that it is about to end (C7): one of ours says so under this name.
pub(crate) fn is_shutting_down(error: &ExecutionError) -> bool {
    error.blame == Blame::Worker && error.condition() == Some("SHUTTING_DOWN")
}

/// Whether a call still runs in the worker that reports this: one of ours says so (C11, R12).
fn hangs(error: &ExecutionError) -> bool {
    matches!(error.condition(), Some("CALL_TIMEOUT" | "CANCEL_TIMEOUT"))
}
