//! One execution of one function: Init, data both ways, and how it ended (E1-E14).
//!
//! A [`Session`] opens nothing until [`Session::init`] (E1). The [`OpenSession`] it becomes splits into two ends that
//! are used at once, as bytes or as record batches. A [`Control`] cancels, interrupts or closes from any thread.
//!
//! ```text
//!   Input ──▶ queue, bounded in bytes ──▶ ┌──────────────┐
//!   Control ──▶ Stop, past the queue ───▶ │ one task:    │ ◀═▶ Execute stream
//!   Output ◀── what arrived, with credit ◀│ drive + role │
//!   everyone ◀── watch: error, end ◀───── └──────────────┘
//! ```

mod batches;
mod config;
mod init;
mod progress;
mod role;
mod termination;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyudf_grpc::{Credit, Outgoing, Sender, drive, queue};
use anyudf_protocol::{CancelResponse, ExecutionError, Metrics};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

pub use batches::{BatchInput, BatchOutput};
pub use config::{Pipelining, SessionConfig};
pub use init::{DataSchema, Init};
pub use progress::Progress;
pub use termination::{Cause, Termination};

use crate::dispatcher::Lease;
use crate::error::{Error, ErrorKind};
use crate::worker::Worker;
use progress::Counters;
use role::{Ends, EngineRole, FromCaller, News, Stop};

/// What everybody who waits can see.
#[derive(Clone, Debug, Default)]
struct State {
    stage: Stage,
    /// The error the worker reported, as soon as it is known (E10).
    error: Option<ExecutionError>,
    termination: Option<Termination>,
}

/// How far init has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Created,
    /// The stream is being opened, by whoever holds the only [`Guard`].
    Opening,
    /// A task carries the stream, and listens to what is asked of it.
    Running,
}

#[derive(Debug)]
struct Shared {
    stops: mpsc::UnboundedSender<Stop>,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
    /// The seat in a pooled worker (D8), until the session has ended.
    lease: Mutex<Option<Lease>>,
}

impl Shared {
    fn end(&self, termination: Termination) {
        self.end_within(Stage::Running, || termination);
    }

    fn stop(&self, stop: Stop) {
        // Before init there is no stream to end (E1), after the end nothing listens.
        if !self.cancel_within(Stage::Created) {
            let _ = self.stops.send(stop);
        }
    }

    /// Cancels without a stream (E1) if init has come no further than `stage`; says whether that was so.
    fn cancel_within(&self, stage: Stage) -> bool {
        self.end_within(stage, || Termination::Cancelled(CancelResponse::default()))
    }

    /// Ends it if it has not ended and init has come no further than `stage`; says whether that was so. The seat is given
    /// back before anybody is told: whoever knows of the end can have it.
    fn end_within(&self, stage: Stage, termination: impl FnOnce() -> Termination) -> bool {
        self.state.send_if_modified(|state| {
            let ends = state.stage <= stage && state.termination.is_none();
            if ends {
                let termination = termination();
                if let Some(mut lease) = self.lease().take() {
                    lease.settle(&termination, state.stage == Stage::Running);
                }
                state.termination = Some(termination);
            }
            ends
        })
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn termination(&self) -> Termination {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| state.termination.is_some()).await;
        ended.ok().and_then(|state| state.termination.clone()).expect("`self` holds the sender")
    }

    /// What a caller who waits for data or an end is told (E10).
    async fn verdict(&self) -> Result<Termination, Error> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| state.termination.is_some() || state.error.is_some()).await;
        let state = state.expect("`self` holds the sender").clone();
        match state {
            State { error: Some(error), .. } => Err(Error::from_execution(error)),
            State { termination: Some(termination), .. } => verdict(termination),
            State { .. } => unreachable!("one of the two was waited for"),
        }
    }
}

/// What an end means to the caller (E10): data-phase errors before the terminator's own, then bare cancellation.
fn verdict(termination: Termination) -> Result<Termination, Error> {
    match termination {
        Termination::Finished(finish) => match finish.error {
            Some(error) => Err(Error::from_execution(error)),
            None => Ok(Termination::Finished(finish)),
        },
        Termination::Cancelled(cancel) => Err(match cancel.error {
            Some(error) => Error::from_execution(error),
            None => Error::new(ErrorKind::Cancelled, "CANCELLED", "the execution was cancelled"),
        }),
        Termination::Failed(error) => Err(Error::from_execution(error)),
        Termination::TransportFailed(cause) => Err(Error::from_cause(&cause)),
        Termination::Interrupted => Err(Error::new(
            ErrorKind::Cancelled,
            "INTERRUPTED",
            "the execution was interrupted and the worker did not acknowledge it in time (E13)",
        )),
    }
}

/// Cancels, interrupts, closes or watches a session, from any thread. Clones are the same handle; they do not keep a
/// session alive whose other handles were dropped.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// Cancels, once; a no-op after the end (E9). It goes ahead of everything that is queued.
    pub fn cancel(&self, reason: impl Into<String>) {
        self.shared.stop(Stop::Cancel(Some(reason.into())));
    }

    /// Cancels and waits no longer than the interrupt timeout for the worker to acknowledge it (E13).
    pub fn interrupt(&self) {
        self.shared.stop(Stop::Interrupt);
    }

    /// Ends the session if it has not ended, and says how it did (E12). Harmless more than once.
    ///
    /// # Cancel safety
    /// The session ends all the same when the future is dropped.
    pub async fn close(&self) -> Termination {
        self.shared.stop(Stop::Cancel(None));
        self.shared.termination().await
    }

    /// Waits until the session has ended, without ending it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&self) -> Termination {
        self.shared.termination().await
    }

    /// How the session ended, if it did.
    pub fn termination(&self) -> Option<Termination> {
        self.shared.state.borrow().termination.clone()
    }

    /// Ends the session as a failed transport, at once.
    pub(crate) fn fail(&self, cause: Cause) {
        if !self.shared.end_within(Stage::Created, || Termination::TransportFailed(cause.clone())) {
            self.shared.stop(Stop::Fail(cause));
        }
    }

    /// What moved so far.
    pub fn progress(&self) -> Progress {
        self.shared.counters.snapshot(Instant::now())
    }
}

/// Ends the session in the background when the last handle that can use it is gone (E12).
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        // While the stream is being opened only who opens it listens, and that is who is dropped.
        if !self.0.cancel_within(Stage::Opening) {
            self.0.stop(Stop::Cancel(Some("the session's handles were dropped".into())));
        }
    }
}

/// An execution that has not begun: no stream is open (E1). Dropping it ends it as cancelled (E12).
#[derive(Debug)]
pub struct Session {
    worker: Worker,
    init: Init,
    shared: Arc<Shared>,
    guard: Guard,
    stops: mpsc::UnboundedReceiver<Stop>,
}

impl Session {
    pub(crate) fn new(worker: Worker, init: Init, lease: Option<Lease>) -> Self {
        let (stop, stops) = mpsc::unbounded_channel();
        let shared = Shared {
            stops: stop,
            state: watch::channel(State::default()).0,
            counters: Arc::new(Counters::new(Instant::now())),
            lease: Mutex::new(lease),
        };
        let shared = Arc::new(shared);
        Session { worker, init, guard: Guard(Arc::clone(&shared)), shared, stops }
    }

    /// The id of the worker that it runs in, if we started it (P1): log lines and
    /// [`WorkerStats`](crate::WorkerStats) carry the same.
    pub fn worker_id(&self) -> Option<&str> {
        self.worker.id()
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Opens the stream, sends Init and the payload, and waits for InitResponse (E3, E4). It takes the session, so
    /// that it happens once (E2):
    ///
    /// ```compile_fail
    /// # async fn twice(session: anyudf_engine::Session) -> Result<(), anyudf_engine::Error> {
    /// let open = session.init().await?;
    /// let again = session.init().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The worker's own error when it refused; [`ErrorKind::Cancelled`] when the session was cancelled before or
    /// meanwhile; [`ErrorKind::Timeout`] after the init timeout; [`ErrorKind::Violation`] and
    /// [`ErrorKind::Transport`] when the worker misbehaves or is gone; [`ErrorKind::Misuse`] when the Init is too
    /// large for one message.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the session.
    pub async fn init(self) -> Result<OpenSession, Error> {
        let Begun { mut open, init_response } = self.begin().await?;
        open.data = opened(init_response, &open.shared).await?;
        Ok(open)
    }

    /// Opens the stream and sends Init without waiting for the answer, so that input can follow at once where the
    /// worker announced `pipelining` and the configuration asks for it; it saves a round trip (C1). Everywhere else the
    /// input waits in its queue.
    ///
    /// # Errors
    /// Those of [`Session::init`] that come before InitResponse.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the session.
    pub async fn pipelined(self) -> Result<(Input, Opening), Error> {
        let Begun { open, init_response } = self.begin().await?;
        let shared = Arc::clone(&open.shared);
        let (input, output) = open.split();
        Ok((input, Opening { init_response, shared, output }))
    }

    async fn begin(self) -> Result<Begun, Error> {
        let Session { worker, init, shared, guard, mut stops } = self;
        shared.state.send_if_modified(|state| {
            if state.termination.is_none() {
                state.stage = Stage::Opening;
            }
            false
        });
        let ended = shared.state.borrow().termination.clone();
        if let Some(termination) = ended {
            return Err(unopened(&worker, termination).await);
        }
        let config = worker.session_config();
        let (mut wire, chunks) = match init.to_wire(config.chunk_bytes, worker.max_message_bytes()) {
            Ok(parts) => parts,
            Err(error) => {
                shared.end(Termination::Cancelled(CancelResponse::default()));
                return Err(error);
            }
        };
        worker.limit_output(&mut wire.session_conf);
        let began = Instant::now();
        let opening = tokio::time::timeout(config.init_timeout, worker.execute());
        let duplex = tokio::select! {
            biased;
            stop = stops.recv() => Err(match stop {
                Some(Stop::Fail(cause)) => Termination::TransportFailed(cause),
                Some(Stop::Cancel(_) | Stop::Interrupt) | None => Termination::Cancelled(CancelResponse::default()),
            }),
            opened = opening => match opened {
                Ok(Ok(duplex)) => Ok(duplex),
                Ok(Err(status)) => Err(Termination::TransportFailed(Cause::Broken(status))),
                Err(_) => Err(Termination::TransportFailed(Cause::Timeout("Init", config.init_timeout))),
            },
        };
        let duplex = match duplex {
            Ok(duplex) => duplex,
            Err(termination) => {
                // Before it is explained: whoever drops this meanwhile must not find a worker that may be used again.
                shared.end(termination);
                return Err(unopened(&worker, shared.termination().await).await);
            }
        };
        let (input, from_caller) = queue(config.input_bytes);
        let (to_caller, output) = mpsc::unbounded_channel();
        let (opened, init_response) = oneshot::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let ends = Ends { input: from_caller, stops, output: to_caller, opened, news: tell };
        let watch_taken = config.idle_limit.is_some();
        let role = EngineRole::new(wire, chunks, config, Arc::clone(&shared.counters), ends, began);
        shared.state.send_modify(|state| state.stage = Stage::Running);
        let supervised = supervise(worker.clone(), Supervised(Arc::clone(&shared)), role, duplex, news);
        tokio::spawn(supervised.instrument(span(&worker, &init)));
        let guard = Arc::new(guard);
        let open = OpenSession { worker, init, data: None, shared, guard, input, output, watch_taken };
        Ok(Begun { open, init_response })
    }
}

/// Why no stream was opened.
async fn unopened(worker: &Worker, termination: Termination) -> Error {
    match termination {
        Termination::TransportFailed(cause) => Error::from_cause(&worker.explain(cause).await),
        other => verdict(other).expect_err("nothing finishes before it has begun"),
    }
}

type InitAnswer = oneshot::Receiver<Result<Option<Bytes>, ExecutionError>>;

/// A session whose Init is on the way.
struct Begun {
    open: OpenSession,
    init_response: InitAnswer,
}

/// Waits for InitResponse and gives what it carried.
async fn opened(init_response: InitAnswer, shared: &Shared) -> Result<Option<Bytes>, Error> {
    match init_response.await {
        Ok(Ok(data)) => Ok(data),
        Ok(Err(error)) => Err(Error::from_execution(error)),
        // The role has ended first, and says why.
        Err(_) => Err(shared.verdict().await.err().unwrap_or_else(|| {
            Error::new(ErrorKind::Violation, "PROTOCOL_VIOLATION", "the worker finished before it began (E11)")
        })),
    }
}

/// The output of a pipelined session: InitResponse comes first (C1).
#[derive(Debug)]
pub struct Opening {
    init_response: InitAnswer,
    shared: Arc<Shared>,
    output: Output,
}

impl Opening {
    /// Waits for InitResponse; returns what it carried, and the output.
    ///
    /// # Errors
    /// Those of [`Session::init`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the session.
    pub async fn init(self) -> Result<(Option<Bytes>, Output), Error> {
        let data = opened(self.init_response, &self.shared).await?;
        Ok((data, self.output))
    }
}

/// The span in which an execution is carried: which worker, which session of it, what for (D13: nothing of the payload).
fn span(worker: &Worker, init: &Init) -> tracing::Span {
    let context: Vec<_> = init.task_context.iter().map(|(name, value)| format!("{name}={value}")).collect();
    tracing::info_span!(
        "session",
        worker = worker.id(),
        session = worker.next_session(),
        function = init.label(),
        context = (!context.is_empty()).then(|| context.join(" ")),
        traceparent = init.session_conf.get("anyudf.traceparent"),
    )
}

/// An execution that a task carries. The task may be dropped with its runtime, or panic: nobody must wait for ever then,
/// and nobody have its worker after it.
struct Supervised(Arc<Shared>);

impl Drop for Supervised {
    fn drop(&mut self) {
        let why = "the engine's task that carried the execution is gone; was its runtime shut down?".to_string();
        self.0.end(Termination::TransportFailed(Cause::Lost(why)));
    }
}

/// Carries one execution and tells everybody how it goes.
async fn supervise(
    worker: Worker,
    supervised: Supervised,
    role: EngineRole,
    duplex: anyudf_grpc::Duplex,
    mut news: mpsc::UnboundedReceiver<News>,
) {
    let Supervised(shared) = &supervised;
    let tell = async {
        while let Some(news) = news.recv().await {
            match news {
                // First, so that whoever knows of it finds the worker closed (D11).
                News::Reported(error) => shared.lease().iter_mut().for_each(|lease| lease.reported(&error)),
                // Nobody waits when the handle was dropped.
                News::Refused(opened, error) => drop(opened.send(Err(error))),
                News::Failed(error) => shared.state.send_modify(|state| state.error = Some(error)),
                News::Ended(Termination::TransportFailed(cause)) => {
                    shared.end(Termination::TransportFailed(worker.explain(cause).await));
                }
                News::Ended(termination) => shared.end(termination),
            }
        }
    };
    // The role goes as soon as it is done: its end of `news` is what ends `tell`.
    let carry = async { drop(drive(role, duplex).await) };
    let run = async { tokio::join!(carry, tell) };
    let lost = async {
        let why = worker.lost().await;
        // The role may have ended already.
        let _ = shared.stops.send(Stop::Fail(Cause::Lost(why)));
        std::future::pending::<()>().await;
    };
    tokio::select! { _ = run => {}, () = lost => {} }
}

/// An execution whose function is open: data may go both ways.
#[derive(Debug)]
pub struct OpenSession {
    worker: Worker,
    init: Init,
    data: Option<Bytes>,
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    input: Sender<FromCaller>,
    output: mpsc::UnboundedReceiver<(Bytes, Credit)>,
    watch_taken: bool,
}

impl OpenSession {
    /// What InitResponse carried: the output schema where the Init named none (C9), otherwise the function's own.
    pub fn init_data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// The two ends, as bytes. They are independent and meant to be used at once (R6). It takes the session, so that
    /// it happens once (E2).
    pub fn split(self) -> (Input, Output) {
        let max_message = self.worker.max_message_bytes();
        let input = Input {
            queue: self.input,
            shared: Arc::clone(&self.shared),
            _guard: Arc::clone(&self.guard),
            finished: false,
            max_message,
        };
        let output = Output {
            queue: self.output,
            shared: self.shared,
            _guard: self.guard,
            watch_taken: self.watch_taken,
            ended: false,
        };
        (input, output)
    }

    /// The two ends, as record batches: encoded and decoded in the caller's own task or thread.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when the Init has no input schema, or one that is none of Arrow's;
    /// [`ErrorKind::Violation`] when neither the Init nor the worker says what comes back (C9).
    pub fn batches(self) -> Result<(BatchInput, BatchOutput), Error> {
        batches::split(self)
    }

    /// Ends the session: nothing was processed, so the worker is sent Cancel (E12).
    ///
    /// # Cancel safety
    /// The session ends all the same when the future is dropped.
    pub async fn close(self) -> Termination {
        self.control().close().await
    }
}

/// Where input goes, as bytes. Dropping it before [`finish`](Input::finish) cancels the execution (E8).
#[derive(Debug)]
pub struct Input {
    queue: Sender<FromCaller>,
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
    finished: bool,
    max_message: usize,
}

impl Input {
    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Sends one DataRequest, `parts` one after the other, none of them copied. Waits while the worker is slow (E5).
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when the message is larger than the worker takes; otherwise how the execution ended.
    ///
    /// # Cancel safety
    /// The message is either queued whole or not at all.
    pub async fn send(&mut self, parts: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        let parts: Vec<Bytes> = parts.into_iter().collect();
        // The head is reckoned at its longest, as R3 has it for claims: nothing is built that can't be sent.
        let bytes = parts.iter().map(Bytes::len).fold(32_usize, usize::saturating_add);
        if bytes > self.max_message {
            return Err(Error::new(
                ErrorKind::Misuse,
                "MESSAGE_TOO_LARGE",
                format!("a message of {bytes} bytes, the worker takes {} (P7); send it in parts", self.max_message),
            ));
        }
        let message = Outgoing::data(parts);
        let data = message.data_len();
        // A message costs its handle too, which for a short one is more than its bytes.
        let room = bytes + size_of::<Outgoing>();
        match self.queue.send(FromCaller::Data(message, data), room).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.refused().await),
        }
    }

    /// Says that there is no more input (R5). It takes the end, so that nothing follows Finish.
    ///
    /// # Errors
    /// How the execution ended, if it did already.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the execution.
    pub async fn finish(mut self) -> Result<(), Error> {
        match self.queue.send(FromCaller::Finish, 1).await {
            Ok(()) => {
                self.finished = true;
                Ok(())
            }
            Err(_) => Err(self.refused().await),
        }
    }

    /// Cancels because the caller's own input failed, and gives the caller its error back (E8).
    pub fn fail<E: std::fmt::Display>(self, error: E) -> E {
        self.shared.stop(Stop::Cancel(Some(format!("the input failed: {error}"))));
        error
    }

    /// Why nothing more is taken.
    async fn refused(&self) -> Error {
        self.shared.verdict().await.err().unwrap_or_else(|| {
            Error::new(ErrorKind::Violation, "PROTOCOL_VIOLATION", "the worker finished before the input did (E11)")
        })
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.stop(Stop::Cancel(Some("the input was dropped before its end".into())));
        }
    }
}

/// Where output comes from, as bytes. Dropping it before the end cancels the execution.
#[derive(Debug)]
pub struct Output {
    queue: mpsc::UnboundedReceiver<(Bytes, Credit)>,
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
    watch_taken: bool,
    ended: bool,
}

impl Output {
    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// The data of the next DataResponse; `None` when the worker has finished. Asking again after the end says the
    /// same at once.
    ///
    /// # Errors
    /// How the execution ended, when it did not finish: after everything that arrived before was taken (E10).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.take().await?.map(|(data, _)| data))
    }

    /// The same with the credit still held, for a caller that decodes first (E5).
    async fn take(&mut self) -> Result<Option<(Bytes, Credit)>, Error> {
        match self.queue.recv().await {
            Some(taken) => {
                self.shared.counters.taken(self.watch_taken.then(Instant::now));
                Ok(Some(taken))
            }
            None => {
                let verdict = self.shared.verdict().await;
                self.ended = true;
                verdict.map(|_| None)
            }
        }
    }

    /// How the execution ended, with its metrics. Cancels it when it has not ended (E12).
    ///
    /// # Errors
    /// How the execution ended, when it did not finish (E10).
    ///
    /// # Cancel safety
    /// The execution ends all the same when the future is dropped.
    pub async fn close(mut self) -> Result<Summary, Error> {
        if !self.ended {
            self.shared.stop(Stop::Cancel(None));
        }
        self.ended = true;
        match self.shared.verdict().await? {
            Termination::Finished(finish) => Ok(Summary { metrics: finish.metrics, data: finish.data }),
            other => Err(Error::new(ErrorKind::Cancelled, "CANCELLED", other)),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.stop(Stop::Cancel(Some("the output was dropped before its end".into())));
        }
    }
}

/// What a finished execution leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Counters of the worker and of the function (C8).
    pub metrics: Metrics,
    /// The function's last word, opaque to the protocol.
    pub data: Option<Bytes>,
}
