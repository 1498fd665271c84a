//! A session's hold on its worker.

use anyudf_protocol::ExecutionError;
use tokio::sync::mpsc;

use super::keeper::Message;
use crate::pool::words::{Event, Outcome, RequestId, Vitals, WorkerId};
use crate::session::{Cause, Termination};

/// A seat in a worker. Dropping it tells the pool that the session is over and what it has left (E14): a worker that may
/// serve another one, unless [`settle`](Lease::settle) has said otherwise.
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

    /// Takes note of what the session has failed with, while it has not ended: a call that hangs keeps others out of its
    /// worker from now on (D11).
    pub(crate) fn failed(&self, error: &ExecutionError) {
        if hangs(error) {
            let vitals = Vitals { resident: None, overdue: 1 };
            // Fails when the dispatcher is closed, and then nobody wants the worker.
            let _ = self.keeper.send(Message::Event(Event::Beat(self.worker, vitals)));
        }
    }

    /// Takes note of how the session ended.
    pub(crate) fn settle(&mut self, termination: &Termination) {
        if let Termination::TransportFailed(Cause::Died(_)) = termination {
            // The pool must not take it for a worker that was merely given up (D10). Whoever watches it may be slower.
            let _ = self.keeper.send(Message::Event(Event::Died(self.worker)));
        }
        self.outcome = outcome(termination);
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

/// What a session leaves (E14, D11).
fn outcome(termination: &Termination) -> Outcome {
    let error = match termination {
        Termination::Failed(error) => Some(error),
        Termination::Cancelled(cancel) => cancel.error.as_ref(),
        Termination::Finished(finish) => finish.error.as_ref(),
        Termination::TransportFailed(_) | Termination::Interrupted => None,
    };
    match termination.is_salvageable() {
        true if error.is_some_and(hangs) => Outcome::Overdue,
        true => Outcome::Salvageable,
        false => Outcome::Broken,
    }
}
