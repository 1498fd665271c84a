//! The thread on which one execution's user code runs: open, then start, process…, and finish or cancel; or open, then run.
//!
//! User code never runs on the runtime's threads, so a heartbeat and a Cancel are heard whatever it does (M2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_grpc::Outgoing;
use anyudf_protocol::{ExecutionError, Metrics};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::cancellation::Cancellation;
use crate::clock::{Call, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::inbox::End;
use crate::invocation::{Invocation, TRACEPARENT_KEY};
use crate::link::{Conclusion, Ends, FromUser, Outcome, Reason, ToUser};
use crate::panics::{self, Caught};
use crate::pulled::Body;
use crate::pulled::{PulledRawFunction, RawInput};
use crate::raw::{Opened, PayloadFormat, RawFunction, RawOutput};

/// Runs one execution to its end.
pub(crate) fn run(mut ends: Ends, format: &PayloadFormat, mut invocation: Invocation) {
    let max_message = invocation.max_message();
    invocation.set_cancellation(Cancellation::new(Arc::clone(&ends.shared)));
    let mut desk = Desk { metrics: Metrics::default(), data: None, batch: 0, sending: Duration::ZERO, max_message };
    let outcome = execute(&mut ends, &mut desk, format, &mut invocation);
    // What the function held goes before the last word, so that a settled session has left nothing behind.
    drop(invocation);
    ends.conclude(Conclusion { outcome, metrics: desk.metrics });
}

/// What an [`RawOutput`] writes to besides the queue.
pub(crate) struct Desk {
    /// The function's own metrics (C8).
    pub(crate) metrics: Metrics,
    /// What FinishResponse will carry (R10).
    pub(crate) data: Option<Bytes>,
    /// Batches begun.
    batch: u64,
    /// Time the present call has waited in `out`.
    pub(crate) sending: Duration,
    /// The largest DataResponse, in bytes of data.
    pub(crate) max_message: usize,
}

/// What came of a call into user code.
enum Trouble {
    /// It returned an error.
    Failed(Error),
    /// It panicked; what it left is not called again.
    Panicked(ExecutionError),
}

impl Trouble {
    fn into_execution(self) -> ExecutionError {
        match self {
            Trouble::Failed(error) => error.into(),
            Trouble::Panicked(error) => error,
        }
    }
}

fn execute(ends: &mut Ends, desk: &mut Desk, format: &PayloadFormat, invocation: &mut Invocation) -> Outcome {
    let nothing = Outcome::Cancelled { error: None };
    let opened = match call(ends, desk, Phase::Open, |_| format(invocation)) {
        Ok(opened) => opened,
        Err(trouble) => {
            // Refused only when the execution was cancelled, and then nobody wants to know.
            let _ = ends.send(FromUser::Opened(Err(trouble.into_execution())), 1);
            return nothing;
        }
    };
    let Opened { function, data, timeout } = opened;
    // Before the session's task hears that it is open, and looks at the clock.
    if let Some(timeout) = timeout {
        ends.shared.clock.bound(timeout);
    }
    let bytes = data.as_ref().map_or(0, Bytes::len);
    if bytes > desk.max_message {
        let error = too_large("what InitResponse is to carry", bytes, desk.max_message, "return less");
        let _ = ends.send(FromUser::Opened(Err(error.into())), 1);
        return match function {
            Body::Pushed(function) => cancel(ends, desk, function, &Reason::Failed),
            // It has no last call; to be dropped is all it gets.
            Body::Pulled(_) => nothing,
        };
    }
    let _ = ends.send(FromUser::Opened(Ok(data)), 1);
    match function {
        Body::Pushed(function) => push(ends, desk, function),
        Body::Pulled(function) => pull(ends, desk, function),
    }
}

/// Calls a function with its input.
fn push(ends: &mut Ends, desk: &mut Desk, mut function: Box<dyn RawFunction>) -> Outcome {
    if let Err(trouble) = call(ends, desk, Phase::Start, |out| function.start(out)) {
        return fail(ends, desk, function, trouble);
    }
    loop {
        match ends.next() {
            ToUser::Data(data, credit) => {
                desk.batch += 1;
                // The function has taken it: what it keeps beyond the call is its own affair (E5).
                drop(credit);
                if let Err(trouble) = call(ends, desk, Phase::Process, |out| function.process(data, out)) {
                    return fail(ends, desk, function, trouble);
                }
            }
            ToUser::Finish => {
                let finished = call(ends, desk, Phase::Finish, |out| function.finish(out));
                return match finished {
                    Ok(()) => Outcome::Finished { data: desk.data.take(), error: None },
                    // Cancelled while it finished: what it returned because of that is no failure.
                    Err(Trouble::Failed(_)) if ends.shared.is_cancelled() => Outcome::Cancelled { error: None },
                    Err(trouble) => Outcome::Finished { data: desk.data.take(), error: Some(trouble.into_execution()) },
                };
            }
            ToUser::Cancel(reason) => return cancel(ends, desk, function, &reason),
        }
    }
}

/// Lets a function run that asks for its input.
fn pull(ends: &mut Ends, desk: &mut Desk, function: Box<dyn PulledRawFunction>) -> Outcome {
    let input = RawInput::new(Arc::clone(&ends.inbox));
    ends.inbox.lend();
    let ran = call(ends, desk, Phase::Start, |out| function.run(input, out));
    ends.inbox.take_back();
    match ran {
        Ok(()) => match ends.inbox.drain() {
            End::Finished => Outcome::Finished { data: desk.data.take(), error: None },
            End::Cancelled => Outcome::Cancelled { error: None },
        },
        Err(trouble) => {
            // What it returned because it was cancelled is no failure.
            if matches!(trouble, Trouble::Panicked(_)) || !ends.shared.is_cancelled() {
                let _ = ends.send(FromUser::Failed(trouble.into_execution()), 1);
            }
            ends.inbox.close();
            Outcome::Cancelled { error: None }
        }
    }
}

/// Processing failed: reports it behind all data (R7) and lets the function clean up.
fn fail(ends: &mut Ends, desk: &mut Desk, function: Box<dyn RawFunction>, trouble: Trouble) -> Outcome {
    match trouble {
        // Its state is unknown: it is dropped, not called.
        Trouble::Panicked(error) => {
            let _ = ends.send(FromUser::Failed(error), 1);
            drop_quietly(function);
            Outcome::Cancelled { error: None }
        }
        Trouble::Failed(_) if ends.shared.is_cancelled() => match ends.next() {
            ToUser::Cancel(reason) => cancel(ends, desk, function, &reason),
            ToUser::Data(..) | ToUser::Finish => unreachable!("after the flag was set only Cancel is handed out"),
        },
        Trouble::Failed(error) => {
            let _ = ends.send(FromUser::Failed(error.into()), 1);
            cancel(ends, desk, function, &Reason::Failed)
        }
    }
}

fn cancel(ends: &mut Ends, desk: &mut Desk, function: Box<dyn RawFunction>, reason: &Reason) -> Outcome {
    let error = match call(ends, desk, Phase::Cancel, |_| function.cancel(reason)) {
        Err(Trouble::Failed(error)) if error.kind() == ErrorKind::Cancelled => None,
        Err(trouble) => Some(trouble.into_execution()),
        Ok(()) => None,
    };
    Outcome::Cancelled { error }
}

/// Drops what a panic left; a second panic in its `drop` changes nothing.
fn drop_quietly(function: Box<dyn RawFunction>) {
    let _ = panics::catch(|| drop(function));
}

/// One call into user code: timed (C8, C11), its panic caught.
fn call<T>(
    ends: &Ends,
    desk: &mut Desk,
    phase: Phase,
    user_code: impl FnOnce(&mut RawOutput<'_>) -> Result<T>,
) -> Result<T, Trouble> {
    let this = Call { phase, batch: desk.batch };
    let (began, cpu) = (Instant::now(), cpu_time());
    desk.sending = Duration::ZERO;
    ends.shared.clock.start(this, began);
    let result = panics::catch(|| user_code(&mut RawOutput::new(ends, desk)));
    // A function that asked for its input is in another phase by now.
    let this = ends.shared.clock.call();
    ends.shared.clock.stop();
    let wall = began.elapsed().saturating_sub(desk.sending).saturating_sub(ends.inbox.waited());
    ends.shared.counters.worked(wall, cpu_time().saturating_sub(cpu));
    match result {
        Ok(result) => result.map_err(Trouble::Failed),
        Err(caught) => Err(Trouble::Panicked(panicked(this, caught))),
    }
}

/// A panic as the engine is told (R14).
fn panicked(call: Call, caught: Caught) -> ExecutionError {
    let Caught { message, place, backtrace, row, function } = caught;
    let function = function.unwrap_or_else(|| "the function".into());
    let row = row.map_or(String::new(), |row| format!(", {row}"));
    let at = place.map_or(String::new(), |place| format!(", at {place}"));
    let error = ExecutionError::user(format!("{function} panicked in {call}{row}: {message}{at}")).with_class("PANIC");
    match backtrace {
        Some(backtrace) => error.with_traceback(backtrace),
        None => error,
    }
}

fn too_large(what: &str, bytes: usize, limit: usize, instead: &str) -> Error {
    let text = format!("{what} of {bytes} bytes is over the message limit of {limit}; {instead} (P7)");
    Error::user(text).with_class("MESSAGE_TOO_LARGE")
}

/// Processor time of this thread so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// As much stack as the main thread of a program has: user code was tried there, and may recurse. What is not used is not
/// there but as addresses.
const STACK: usize = 8 << 20;

/// Starts the thread of an execution.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn spawn(ends: Ends, format: Arc<PayloadFormat>, invocation: Invocation) -> std::io::Result<()> {
    let name = format!("udf {}", invocation.name().unwrap_or(invocation.format()).replace('\0', ""));
    let traceparent = invocation.session_conf().get(TRACEPARENT_KEY).cloned();
    let span = tracing::info_span!("execution", function = invocation.name(), traceparent);
    let body = move || span.in_scope(|| run(ends, &*format, invocation));
    // Detached: a function that never returns must not be waited for. Its end is its conclusion.
    std::thread::Builder::new().name(name).stack_size(STACK).spawn(body).map(drop)
}

impl RawOutput<'_> {
    /// Another function is about to be called: it has its own time (C11).
    pub(crate) fn next_call(&self) {
        self.ends.shared.clock.again(Instant::now());
    }

    /// Hands a message to the session's task; waits while the engine is slow, with the clock of C11 standing still.
    pub(crate) fn hand_over(&mut self, message: Outgoing, rows: Option<u64>) -> Result<()> {
        let bytes = message.data_len();
        let RawOutput { ends, desk } = self;
        if ends.shared.is_cancelled() {
            return Err(Error::cancelled());
        }
        if bytes > desk.max_message {
            return Err(too_large("an output", bytes, desk.max_message, "emit it in parts"));
        }
        let began = Instant::now();
        ends.shared.clock.pause(began);
        // A message costs its handle too, which for a short one is more than its bytes.
        let room = bytes + size_of::<Outgoing>();
        let sent = ends.send(FromUser::Data { message, bytes, rows }, room);
        let now = Instant::now();
        ends.shared.clock.resume(now);
        let waited = now.saturating_duration_since(began);
        desk.sending += waited;
        ends.shared.counters.waited_to_send(waited);
        sent.map_err(|_| Error::cancelled())
    }
}
