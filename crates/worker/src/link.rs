//! What joins a session's task and the thread of its function.
//!
//! ```text
//!   session's task                                  thread of the function
//!     User::tell ────── ToUser, unbounded ─────────▶ Inbox::next     (the engine's window is the bound, E5)
//!     User::output ◀─── FromUser, bounded by bytes ─ Ends::send      (blocks when the engine is slow)
//!     User::concluded ◀ Conclusion, once ─────────── Ends::conclude
//!     Shared: cancelled?  call clock  counters
//! ```

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use anyudf_grpc::{Credit, Outgoing, Receiver, Sender, queue};
use anyudf_protocol::{ExecutionError, Metrics};
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::oneshot;

use crate::cancellation::Alarm;
use crate::clock::CallClock;
use crate::counters::Counters;
use crate::inbox::Inbox;

/// Why an execution ends before it has finished, as [`cancel`](crate::Function::cancel) is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The engine sent Cancel, perhaps saying why (R9).
    Asked(Option<String>),
    /// The stream broke or the engine's deadline passed (R14).
    Disconnected,
    /// The worker is shutting down (C7).
    Shutdown,
    /// The engine broke a rule of the protocol (R19).
    Violation,
    /// The function itself failed; its error is reported already (R8).
    Failed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Asked(None) => f.write_str("the engine cancelled"),
            Reason::Asked(Some(why)) => write!(f, "the engine cancelled: {why}"),
            Reason::Disconnected => f.write_str("the engine is gone"),
            Reason::Shutdown => f.write_str("the worker is shutting down"),
            Reason::Violation => f.write_str("the engine broke the protocol"),
            Reason::Failed => f.write_str("the function failed"),
        }
    }
}

/// What the engine asks of the function, in order.
#[derive(Debug)]
pub(crate) enum ToUser {
    /// A DataRequest; the credit goes back when the function has taken it (E5).
    Data(Bytes, Credit),
    Finish,
    /// Nothing follows. Told beside the flag in [`Shared`], so that a thread which waits for input wakes up.
    Cancel(Reason),
}

// What a credit reckons for it, the queue's own share included (E5).
const _: () = assert!(size_of::<ToUser>() + 2 * size_of::<usize>() <= Credit::OVERHEAD);

/// What the function answers, in order.
#[derive(Debug)]
pub(crate) enum FromUser {
    /// It is open, with what InitResponse carries, or why it is not (R4).
    Opened(Result<Option<Bytes>, ExecutionError>),
    /// A DataResponse; `rows` if somebody counted them.
    Data { message: Outgoing, bytes: usize, rows: Option<u64> },
    /// Processing failed (R7).
    Failed(ExecutionError),
}

/// Nobody takes the function's answers any more: the execution was cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unheard;

/// The last word of a thread.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) outcome: Outcome,
    /// What the function measured itself.
    pub(crate) metrics: Metrics,
}

/// How the function ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// After Finish. The error is the finish callback's (R10).
    Finished { data: Option<Bytes>, error: Option<ExecutionError> },
    /// Before it, or it never opened. The error is the cancel callback's (R12).
    Cancelled { error: Option<ExecutionError> },
}

/// What both sides look at while the other one works.
#[derive(Debug)]
pub(crate) struct Shared {
    cancelled: AtomicBool,
    /// Whoever wants to know at once.
    pub(crate) alarm: Alarm,
    pub(crate) clock: CallClock,
    pub(crate) counters: Arc<Counters>,
}

impl Shared {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) shared: Arc<Shared>,
    input: mpsc::Sender<ToUser>,
    output: Receiver<FromUser>,
    concluded: oneshot::Receiver<Conclusion>,
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) shared: Arc<Shared>,
    /// A function that asks for its input has it, too.
    pub(crate) inbox: Arc<Inbox>,
    output: Sender<FromUser>,
    concluded: oneshot::Sender<Conclusion>,
}

/// Makes the two ends; `room` is how many bytes of output may wait for the session's task.
pub(crate) fn link(clock: CallClock, counters: Arc<Counters>, room: usize) -> (User, Ends) {
    let shared = Arc::new(Shared { cancelled: AtomicBool::new(false), alarm: Alarm::default(), clock, counters });
    let (tell, input) = mpsc::channel();
    let (send, output) = queue(room);
    let (conclude, concluded) = oneshot::channel();
    let user = User { shared: Arc::clone(&shared), input: tell, output, concluded };
    let inbox = Arc::new(Inbox::new(Arc::clone(&shared), input));
    (user, Ends { shared, inbox, output: send, concluded: conclude })
}

impl User {
    /// Passes on what the engine asks. A thread that is gone has concluded, and that is heard elsewhere.
    pub(crate) fn tell(&self, what: ToUser) {
        let _ = self.input.send(what);
    }

    /// Tells the function to stop: the flag for loops that look, a closed queue for a blocked `out`, a message for a
    /// thread that waits for input, the callbacks of those that asked. Only the first reason counts.
    pub(crate) fn cancel(&mut self, reason: Reason) {
        if !self.shared.cancelled.swap(true, Ordering::AcqRel) {
            self.output.close();
            self.tell(ToUser::Cancel(reason));
            self.shared.alarm.ring();
        }
    }

    /// What the function answers next; `None` when it says no more.
    pub(crate) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<FromUser>> {
        self.output.poll_recv(cx)
    }

    /// The thread's last word; `None` when it died without one. Asked no more once it was ready.
    pub(crate) fn poll_concluded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Conclusion>> {
        self.concluded.poll_unpin(cx).map(Result::ok)
    }

    /// Waits for the thread to end, whatever it still says.
    pub(crate) async fn gone(self) {
        // An error means that it died without a last word, and then it is gone as well.
        let _ = self.concluded.await;
    }
}

impl Ends {
    /// The next thing the engine asks; waits for it. Cancel overtakes what is queued before it.
    pub(crate) fn next(&mut self) -> ToUser {
        self.inbox.next()
    }

    /// Takes what is queued, and says whether Finish was among it.
    #[cfg(test)]
    pub(crate) fn is_finish_next(&mut self) -> bool {
        self.inbox.is_finish_next()
    }

    /// Answers, waiting while the engine is slow.
    ///
    /// # Errors
    /// When the execution was cancelled; what was to be said is dropped.
    pub(crate) fn send(&self, what: FromUser, bytes: usize) -> Result<(), Unheard> {
        self.output.blocking_send(what, bytes).map_err(|_| Unheard)
    }

    /// The last word.
    pub(crate) fn conclude(self, conclusion: Conclusion) {
        let Ends { output, concluded, .. } = self;
        // First the end of the queue, so that whoever reads it to its end finds the conclusion behind it.
        drop(output);
        // Fails when the session is over already, and then nobody asks.
        let _ = concluded.send(conclusion);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::counters::Totals;

    fn ends() -> (User, Ends) {
        let clock = CallClock::new(None, Instant::now());
        link(clock, Arc::new(Counters::new(Arc::new(Totals::default()))), 4)
    }

    /// R12: Cancel overtakes the data that waits, and a blocked send returns.
    #[test]
    fn r12_cancel_overtakes_what_is_queued() {
        let (mut user, mut ends) = ends();
        user.tell(ToUser::Data("one".into(), Credit::free()));
        user.tell(ToUser::Data("two".into(), Credit::free()));
        assert!(matches!(ends.next(), ToUser::Data(data, _) if data == "one"));
        user.cancel(Reason::Asked(Some("enough".into())));
        user.cancel(Reason::Shutdown);
        assert!(matches!(ends.next(), ToUser::Cancel(Reason::Asked(Some(why))) if why == "enough"));
        let message = || FromUser::Data { message: Outgoing::data([]), bytes: 0, rows: None };
        assert!(ends.send(message(), 1).is_err());
    }

    /// C8: waiting for input is measured, and a session that vanishes is a cancellation.
    #[test]
    fn c8_r14_waits_are_measured_and_end() {
        let (user, mut ends) = ends();
        let counters = Arc::clone(&ends.shared.counters);
        std::thread::scope(|scope| {
            scope.spawn(move || drop(user));
            assert!(matches!(ends.next(), ToUser::Cancel(Reason::Disconnected)));
        });
        let metrics = counters.complete(Metrics::default(), None, Some(Duration::ZERO));
        assert!(metrics.counter(anyudf_protocol::Counter::ReceiveWallNanos).is_some());
    }
}
