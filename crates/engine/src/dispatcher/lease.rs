//! A session's hold on its worker.

use tokio::sync::mpsc;

use super::keeper::Message;
use crate::pool::words::{Outcome, RequestId, WorkerId};
use crate::session::Termination;

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

    /// Takes note of how the session ended.
    pub(crate) fn settle(&mut self, termination: &Termination) {
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

/// What a session leaves (E14, D11). A worker of ours says itself that a call of the session still runs.
fn outcome(termination: &Termination) -> Outcome {
    let hangs =
        |error: &anyudf_protocol::ExecutionError| matches!(error.condition(), Some("CALL_TIMEOUT" | "CANCEL_TIMEOUT"));
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
