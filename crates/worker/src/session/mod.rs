//! The worker's side of one execution, as [`anyudf_grpc::drive`] drives it.
//!
//! ```text
//!            Init              place, payload       InitResponse              Finish … FinishResponse
//!   Start ───────▶ Gathering ───────────────▶ Running ──────────────────────────────────────────────▶ Over
//!                      │                         │ error            ┌─ Cancel, Finish + 1 s, 10 s,      ▲
//!                      └────────── error ────────┴─────▶ Failed ────┤  half-close (C2)                  │
//!                                                Cancel │           ▼                                   │
//!                                                       └─────▶ Cleaning ── the function is done, ──────┘
//!                                                                           or its time is up: CancelResponse
//! ```
//!
//! Whether a message is in order is [`Exchange`]'s to say; this module acts on its answers. It does no I/O, starts no
//! thread itself, and takes the time as an argument, so that every wait can be tested without waiting. Here are the
//! states, what goes wrong and how it ends; `requests` has what the engine says, `answers` what the function says.

mod answers;
mod fitting;
mod gathering;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyudf_grpc::{Ending, Event, Outgoing, Role, Status};
use anyudf_protocol::{
    CancelResponse, Exchange, ExecutionError, InitResponse, Metrics, Request, Response, Side, Violation,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use self::gathering::Gathering;
use crate::clock::{Call, Limit};
use crate::counters::{Counters, Overdue, Totals};
use crate::invocation::Invocation;
use crate::link::{Ends, FromUser, Reason, User};

/// How long an error waits for the engine's Cancel (C2).
const CANCEL_WAIT: Duration = Duration::from_secs(10);

/// The same when Finish came, before the error or after it (C2).
const CANCEL_WAIT_FINISHED: Duration = Duration::from_secs(1);

/// How long user code may take to notice Cancel (R12). A little under the rule's 5 s, which are also the engine's
/// patience (E6): the answer should be there when that ends.
const CLEAN_UP: Duration = Duration::from_millis(4_500);

/// The same when the worker is told to stop at once (C7): whoever said so waits.
const CLEAN_UP_HURRIED: Duration = Duration::from_millis(500);

/// Bytes of output that may wait for the session's task.
const OUTPUT_ROOM: usize = 1 << 20;

/// Bytes of output taken over at once. Little, because an error or a terminator queues behind them.
const OUTBOX_ROOM: usize = 64 << 10;

/// The same, in messages.
const OUTBOX_MESSAGES: usize = 32;

/// What all sessions of a worker have in common.
pub(crate) trait Host: Send + Sync + 'static {
    /// Looks the payload format up and starts the thread of the function.
    ///
    /// # Errors
    /// What InitResponse will say.
    fn launch(&self, ends: Ends, invocation: Invocation) -> Result<(), ExecutionError>;

    /// Whether the format is known; a ProtocolError that lists the known ones if not (R18).
    ///
    /// # Errors
    /// What InitResponse will say.
    fn check_format(&self, format: &str) -> Result<(), ExecutionError>;

    /// Counts of the whole worker.
    fn totals(&self) -> &Arc<Totals>;

    /// The largest message, each way.
    fn max_message(&self) -> usize;
}

/// A future that a role polls.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum State {
    /// Nothing came yet.
    Start,
    /// Init came; the payload is not whole or there is no place yet (P10).
    Gathering(Box<Gathering>),
    /// The thread of the function runs.
    Running,
    /// An error was reported; CancelResponse waits for the engine's Cancel (C2).
    Failed { until: Instant },
    /// The function was told to stop; CancelResponse waits for it (R12).
    Cleaning { until: Instant },
    /// The last word was said.
    Over(Ending),
}

/// Whether the engine can still say something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Listening,
    HalfClosed,
}

/// One execution. See the module's picture.
pub(crate) struct Session {
    exchange: Exchange,
    state: State,
    outbox: VecDeque<Outgoing>,
    host: Arc<dyn Host>,
    counters: Arc<Counters>,
    /// The largest message that both sides take (P7, M6).
    max_message: usize,
    engine: Engine,
    /// What the function is called, for error texts. Empty until its thread runs.
    function: String,
    /// The thread of the function, from its start until it has concluded or was given up.
    user: Option<User>,
    /// A thread that was given up, counted as overdue until it ends (R12, C11).
    abandoned: Option<(User, Overdue)>,
    /// What processing failed with, until all data before it went (R7).
    failure: Option<ExecutionError>,
    /// What the function measured, when it has concluded.
    metrics: Metrics,
    /// What kept the function's clean-up from succeeding (R12).
    clean_up_error: Option<ExecutionError>,
    /// Our seat among the sessions served at once (P10).
    place: Option<OwnedSemaphorePermit>,
    /// Waits for a place.
    places: Option<Waiting<OwnedSemaphorePermit>>,
    /// Ready when the worker was told to stop at once (C7).
    hurried: Option<Waiting<()>>,
    /// gRPC's own deadline (R14).
    deadline: Option<Instant>,
    /// When to read the call clock next (C11).
    look: Option<Instant>,
    init_at: Option<Instant>,
    opened_at: Option<Instant>,
    /// Says that the session is active, until it ends.
    active: Option<Box<dyn Send>>,
}

/// What a [`Session`] is given by whoever accepts the stream.
pub(crate) struct Surroundings {
    pub(crate) host: Arc<dyn Host>,
    /// Ready with a place when it is this session's turn; polled from Init on (P10).
    pub(crate) place: Waiting<OwnedSemaphorePermit>,
    /// Ready when the worker was told to stop at once (C7).
    pub(crate) hurried: Waiting<()>,
    /// gRPC's own deadline (R14).
    pub(crate) deadline: Option<Instant>,
    /// Dropped when the session is over.
    pub(crate) active: Box<dyn Send>,
}

impl Session {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        let Surroundings { host, place, hurried, deadline, active } = surroundings;
        let counters = Arc::new(Counters::new(Arc::clone(host.totals())));
        Session {
            exchange: Exchange::new(Side::Worker),
            state: State::Start,
            outbox: VecDeque::new(),
            max_message: host.max_message(),
            host,
            counters,
            engine: Engine::Listening,
            function: String::new(),
            user: None,
            abandoned: None,
            failure: None,
            metrics: Metrics::default(),
            clean_up_error: None,
            place: None,
            places: Some(place),
            hurried: Some(hurried),
            deadline,
            look: None,
            init_at: None,
            opened_at: None,
            active: Some(active),
        }
    }

    /// After the stream has ended: waits for the thread to notice, and counts it as overdue when it does not (R12).
    ///
    /// # Cancel safety
    /// Dropping the future stops the counting, not the thread.
    pub(crate) async fn aftermath(self) {
        self.linger(CLEAN_UP).await;
    }

    /// The same, with a patience of `patience`.
    async fn linger(mut self, patience: Duration) {
        if let Some((user, overdue)) = self.abandoned.take() {
            user.gone().await;
            drop(overdue);
        }
        let Some(user) = self.user.take() else { return };
        let mut gone = Box::pin(user.gone());
        if tokio::time::timeout(patience, &mut gone).await.is_err() {
            let _overdue = self.host.totals().overdue();
            gone.await;
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// Records and queues a message that is in order by construction.
    fn say(&mut self, response: Response) {
        match self.exchange.response(response.kind()) {
            Ok(()) => self.outbox.push_back(response.into()),
            Err(violation) => debug_assert!(false, "we were about to offend: {violation}"),
        }
    }

    // ---- what goes wrong

    /// The engine broke a rule: error, CancelResponse, end, without waiting (R19, C2).
    fn violated(&mut self, violation: Violation, now: Instant) {
        if self.is_over() || self.exchange.is_cancelled() {
            return; // C4
        }
        let error = self.first_error().unwrap_or_else(|| violation.into());
        self.report(error);
        self.dismiss(Reason::Violation);
        self.close(now);
    }

    /// Reports an error of the worker, of the function or about Init's content, and waits for Cancel (R8, C2).
    fn fail(&mut self, error: ExecutionError, now: Instant) {
        self.report(error);
        // Who waits for a place must not get one now.
        self.places = None;
        let wait = if self.exchange.is_finished() { CANCEL_WAIT_FINISHED } else { CANCEL_WAIT };
        self.state = State::Failed { until: now + wait };
        if self.engine == Engine::HalfClosed {
            self.clean_up(Reason::Failed, now + CLEAN_UP, now);
        }
    }

    /// Says an error where the stream stands (R19); the second one is folded into the first (R7).
    fn report(&mut self, error: ExecutionError) {
        let error = fitting::error(error, self.max_message);
        if self.exchange.is_silent() {
            self.count_failure();
            self.say(Response::Init(InitResponse { data: None, error: Some(error) }));
        } else if self.exchange.is_open() {
            self.count_failure();
            self.say(Response::Error(error));
        }
    }

    /// The error that processing has failed with already, if it has, taken from behind the data that it waits for: it
    /// comes before any that is found now (R7). To be asked when that data will not be sent any more and nothing further
    /// is heard from the function.
    fn first_error(&mut self) -> Option<ExecutionError> {
        let mut cx = Context::from_waker(Waker::noop());
        while self.failure.is_none()
            && let Some(user) = &mut self.user
            && let Poll::Ready(Some(answer)) = user.poll_output(&mut cx)
        {
            if let FromUser::Failed(error) | FromUser::Opened(Err(error)) = answer {
                self.failure = Some(error);
            }
        }
        self.failure.take()
    }

    fn count_failure(&self) {
        self.host.totals().sessions_failed.fetch_add(1, Relaxed);
    }

    /// The stream is unusable: equals Cancel, but nobody is answered (R14).
    fn broken(&mut self, status: Status) {
        if self.is_over() {
            return;
        }
        tracing::debug!(%status, "an execution's stream broke");
        // One that was cancelled or has failed before is counted already, or does not count.
        if !self.exchange.is_cancelled() && !self.exchange.is_failed() {
            self.count_failure();
        }
        self.dismiss(Reason::Disconnected);
        self.outbox.clear();
        // The status is for a client that is still there, as after a message over the limit.
        self.state = State::Over(Ending::Close(status));
    }

    /// The worker was told to stop at once (C7).
    fn hurry(&mut self, now: Instant) {
        let text = "the worker is shutting down; run the query again on another one";
        if !self.exchange.is_cancelled() {
            self.drop_output();
            let error = self.first_error().unwrap_or_else(|| ExecutionError::worker("SHUTTING_DOWN", text));
            self.report(error);
        }
        self.clean_up(Reason::Shutdown, now + CLEAN_UP_HURRIED, now);
    }

    /// The present call is over its time: the session fails, and its thread is given up (C11).
    fn overdue(&mut self, call: Call, now: Instant) {
        let limit = self.user.as_ref().and_then(|user| user.shared.clock.limit());
        let (within, instead) = match limit {
            Some((own, Limit::Functions)) => (own, "which is its own timeout; send"),
            engines => (engines.map(|(limit, _)| limit).unwrap_or_default(), "raise anyudf.call_timeout_ms or send"),
        };
        let (function, within) = (&self.function, within.as_millis());
        let text = format!("{function} did not return from {call} within {within} ms; {instead} smaller batches (C11)");
        let error = ExecutionError::user(text).with_class("CALL_TIMEOUT");
        self.drop_output();
        let first = self.first_error();
        self.give_up(Reason::Failed);
        match (&self.state, first) {
            (State::Cleaning { .. }, _) => {
                self.clean_up_error = Some(error);
                self.close(now);
            }
            (State::Failed { .. }, _) => self.clean_up_error = Some(error),
            // It failed before, and now its clean-up takes too long.
            (_, Some(first)) => {
                self.clean_up_error = Some(error);
                self.fail(first, now);
            }
            (_, None) => self.fail(error, now),
        }
    }

    // ---- how it ends

    /// Cancel came (R9, R12): no more data, and the function is told.
    fn cancel(&mut self, reason: Reason, until: Instant, now: Instant) {
        self.drop_output();
        self.clean_up(reason, until, now);
    }

    /// Waits for the function to be done, at most until `until`, and then says CancelResponse (R12).
    fn clean_up(&mut self, reason: Reason, until: Instant, now: Instant) {
        match &mut self.user {
            Some(user) => {
                user.cancel(reason);
                let until = match self.state {
                    State::Cleaning { until: before } => before.min(until),
                    _ => until,
                };
                self.state = State::Cleaning { until };
            }
            None => self.close(now), // C3, and when the function has ended already
        }
    }

    /// The time for cleaning up has passed (R12).
    fn gave_no_answer(&mut self, now: Instant) {
        let text = "the function did not notice the cancellation in time; it is left behind (R12)";
        self.give_up(Reason::Failed);
        self.clean_up_error = Some(ExecutionError::worker("CANCEL_TIMEOUT", text));
        self.close(now);
    }

    /// Leaves a thread alone that does not return, and counts it (M2).
    fn give_up(&mut self, reason: Reason) {
        if let Some(mut user) = self.user.take() {
            user.cancel(reason);
            self.abandoned = Some((user, self.host.totals().overdue()));
        }
    }

    /// Tells the function to stop and does not wait for it; [`Session::aftermath`] does.
    fn dismiss(&mut self, reason: Reason) {
        self.drop_output();
        if let Some(user) = &mut self.user {
            user.cancel(reason);
        }
    }

    /// Data that was not begun is not sent any more (R12).
    fn drop_output(&mut self) {
        self.outbox.retain(|message| !message.is_bulk());
    }

    /// CancelResponse, and the end (R12, R13).
    fn close(&mut self, now: Instant) {
        let metrics = self.measure(now);
        let error = self.clean_up_error.take();
        let cancel = fitting::cancel(CancelResponse { metrics, error }, self.max_message);
        self.say(Response::Cancel(cancel));
        self.state = State::Over(Ending::Close(Status::ok()));
    }

    fn measure(&mut self, now: Instant) -> Metrics {
        let init = self.init_at.zip(self.opened_at).map(|(init, opened)| opened.saturating_duration_since(init));
        let processing = self.opened_at.map(|opened| now.saturating_duration_since(opened));
        self.counters.complete(std::mem::take(&mut self.metrics), init, processing)
    }
}

impl Role for Session {
    type Incoming = Request;

    fn handle(&mut self, event: Event<Request>, now: Instant) {
        if self.is_over() {
            return; // C4
        }
        match event {
            Event::Message(request, credit) => self.received(request, credit, now),
            Event::Violation(violation) => self.violated(violation, now), // R16
            Event::Ended(_) => self.half_closed(now),
            Event::Broken(status) => self.broken(status),
            Event::Elapsed => self.elapsed(now),
        }
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.is_over() {
            return Poll::Pending;
        }
        // Whatever is ready is acted on; whoever is pending has our waker.
        let asked = [self.poll_hurried(cx, now), self.poll_place(cx, now), self.poll_user(cx, now)];
        if asked.iter().any(Poll::is_ready) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn outbox(&mut self) -> &mut VecDeque<Outgoing> {
        &mut self.outbox
    }

    fn deadline(&self) -> Option<Instant> {
        let until = match self.state {
            State::Failed { until } | State::Cleaning { until } => Some(until),
            State::Over(_) => return None,
            _ => None,
        };
        [until, self.look, self.deadline].into_iter().flatten().min()
    }

    fn ending(&self) -> Option<Ending> {
        match &self.state {
            State::Over(ending) => Some(ending.clone()),
            _ => None,
        }
    }

    /// No longer active, and the place is free (R14, P10).
    fn ended(&mut self) {
        self.place = None;
        self.places = None;
        self.active = None;
    }
}
