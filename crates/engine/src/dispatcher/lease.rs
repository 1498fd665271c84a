//! A session's hold on its worker.

use anyudf_protocol::ExecutionError;
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
}

impl Lease {
    pub(super) fn new(keeper: mpsc::UnboundedSender<Message>, worker: WorkerId, request: RequestId) -> Self {
        Lease { keeper, worker, request, outcome: Outcome::Salvageable }
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.worker
    }

    pub(super) fn request(&self) -> RequestId {
        self.request
    }

    /// Takes note of an error that the worker reports, in whatever message: a call that hangs keeps others out of its worker
    /// from now on (D11).
    pub(crate) fn reported(&self, error: &ExecutionError) {
        if hangs(error) {
            // Fails when the dispatcher is closed, and then nobody wants the worker.
            let _ = self.keeper.send(Message::Event(Event::Overdue(self.worker)));
        }
    }

    /// Takes note of how the session ended.
    pub(crate) fn settle(&mut self, termination: &Termination) {
        if let Termination::TransportFailed(Cause::Died(_)) = termination {
            // The pool must not take it for a worker that was merely given up (D10). Whoever watches it may be slower.
            let _ = self.keeper.send(Message::Event(Event::Died(self.worker)));
        }
        self.outcome = match termination.is_salvageable() {
            true => Outcome::Salvageable,
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

/// Whether a call still runs in the worker that reports this: one of ours says so (C11, R12).
fn hangs(error: &ExecutionError) -> bool {
    matches!(error.condition(), Some("CALL_TIMEOUT" | "CANCEL_TIMEOUT"))
}
