//! The threads of a run: one that reads, two for each session, and the caller's own, which writes.
//!
//! Threads that wait for input that never comes, such as a pipe's, can't be woken: after a failure nobody waits for
//! them, and they end with the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{BatchInput, BatchOutput, Control, ErrorKind, Summary};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::mpsc as channel;
use tokio::time::timeout;

use super::flow::{Budget, Event, Permit, Work, size};
use super::plan::Plan;
use crate::catalog::Kind;
use crate::failure::{Failure, Result};
use crate::files;
use crate::io::Io;

/// How many bytes of input may be between the reader and the writer for each session.
const BYTES_A_JOB: usize = 16 << 20;

/// Results that wait for the writer, for each session.
const RESULTS_A_JOB: usize = 2;

/// How often progress is shown while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// An open session.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) control: Control,
    pub(super) input: BatchInput,
    pub(super) output: BatchOutput,
}

/// The work of a run: what the threads share.
pub(super) struct Pipeline {
    controls: Vec<Control>,
    events: channel::Receiver<Event>,
    sessions: usize,
    read: Arc<AtomicU64>,
}

/// A reader that can't go on; it has said why.
struct Broken;

type Queue = Arc<Mutex<mpsc::Receiver<Result<Work, Broken>>>>;

impl Pipeline {
    /// Starts the threads. `output` is the schema of the rows that are written.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        io: &Io,
        plan: Arc<Plan>,
        pipes: Vec<Pipe>,
        input: Option<files::Input>,
        output: SchemaRef,
    ) -> Result<Self> {
        let sessions = pipes.len();
        let (tell, events) = channel::channel(RESULTS_A_JOB * sessions);
        let (give, take) = mpsc::channel();
        let queue = Arc::new(Mutex::new(take));
        let read = Arc::new(AtomicU64::new(0));
        let controls = pipes.iter().map(|pipe| pipe.control.clone()).collect();
        for (job, Pipe { control, input, output: results }) in pipes.into_iter().enumerate() {
            let (pend, pending) = channel::unbounded_channel();
            let pend = (plan.kind == Kind::Scalar).then_some(pend);
            let feeder = Feeder {
                handle: io.handle().clone(),
                plan: Arc::clone(&plan),
                queue: Arc::clone(&queue),
                input,
                pend,
                events: tell.clone(),
                read: Arc::clone(&read),
            };
            spawn(format!("feed-{job}"), move || feeder.run())?;
            let handle = io.handle().clone();
            let collector =
                Collector { plan: Arc::clone(&plan), control, results, events: tell.clone(), schema: output.clone() };
            let collect = move || {
                handle.block_on(async {
                    let events = collector.events.clone();
                    let last = match collector.plan.kind {
                        Kind::Scalar => collector.pair(pending).await,
                        _ => collector.pass_on().await,
                    };
                    let last = match last {
                        Ok(summary) => Event::Done(summary),
                        Err(failure) => Event::Failed(failure),
                    };
                    // Nobody listens after a failure.
                    let _ = events.send(last).await;
                });
            };
            spawn(format!("collect-{job}"), collect)?;
        }
        if let Some(input) = input {
            let budget = Budget::new(BYTES_A_JOB.saturating_mul(sessions));
            spawn("read".into(), move || read_all(input, &budget, &give, &tell))?;
        }
        Ok(Pipeline { controls, events, sessions, read })
    }

    /// Rows of the input that were handed to the function so far.
    pub(super) fn rows_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Gives every batch of the result to `write`, those of a scalar function in the order of the input, and calls
    /// `tick` now and then. Returns what the sessions left.
    ///
    /// # Errors
    /// The first failure, or [`Failure::Interrupted`]; the sessions have ended then, by Cancel if need be (E8, E13).
    pub(super) fn write_all(
        &mut self,
        io: &Io,
        mut write: impl FnMut(&RecordBatch) -> Result,
        mut tick: impl FnMut(&Self),
    ) -> Result<Vec<Summary>> {
        let written = self.drain(io, &mut write, &mut tick);
        if written.is_err() {
            io.wait_unless_insisted(self.stop());
        }
        written
    }

    fn drain(
        &mut self,
        io: &Io,
        write: &mut impl FnMut(&RecordBatch) -> Result,
        tick: &mut impl FnMut(&Self),
    ) -> Result<Vec<Summary>> {
        let mut summaries = Vec::with_capacity(self.sessions);
        let mut waiting: BTreeMap<u64, (RecordBatch, Option<Permit>)> = BTreeMap::new();
        let mut next = 0;
        while summaries.len() < self.sessions {
            // A timer is made where there is a runtime.
            let event = io.wait_or_interrupt(async { timeout(TICK, self.events.recv()).await })?;
            match event {
                Err(_) => {}
                Ok(Some(Event::Rows { place: None, rows, .. })) => write(&rows)?,
                Ok(Some(Event::Rows { place: Some(place), rows, permit })) => {
                    waiting.insert(place, (rows, permit));
                    while let Some((rows, permit)) = waiting.remove(&next) {
                        write(&rows)?;
                        drop(permit);
                        next += 1;
                    }
                }
                Ok(Some(Event::Done(summary))) => summaries.push(summary),
                Ok(Some(Event::Failed(failure))) => return Err(failure),
                Ok(None) => return Err(Failure::failed("a thread of the run ended without a word; this is a bug")),
            }
            tick(self);
        }
        match waiting.is_empty() {
            true => Ok(summaries),
            false => Err(Failure::failed("some rows have no result; this is a bug")),
        }
    }

    /// Cancels every session and waits until the workers have acknowledged it, two seconds at most (E13).
    async fn stop(&mut self) {
        for control in &self.controls {
            control.interrupt();
        }
        // Collectors that wait to tell something let go.
        self.events.close();
        for control in &self.controls {
            control.ended().await;
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result {
    thread::Builder::new().name(name).spawn(run).context("can't start a thread")?;
    Ok(())
}

/// Reads the input to its end.
fn read_all(
    input: files::Input,
    budget: &Arc<Budget>,
    work: &mpsc::Sender<Result<Work, Broken>>,
    events: &channel::Sender<Event>,
) {
    let mut first = 0;
    for (place, rows) in (0..).zip(input) {
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                // Told first, so that it is what the user reads. Nobody listens when something else failed before.
                let _ = events.blocking_send(Event::Failed(error.into()));
                let _ = work.send(Err(Broken));
                return;
            }
        };
        let permit = budget.take(size(&rows));
        let count = rows.num_rows() as u64;
        if work.send(Ok(Work { place, first, rows, permit })).is_err() {
            return; // Every feeder has given up.
        }
        first += count;
    }
}

/// Sends arguments to one session.
struct Feeder {
    handle: Handle,
    plan: Arc<Plan>,
    queue: Queue,
    input: BatchInput,
    /// Where the collector learns which rows the results belong to.
    pend: Option<channel::UnboundedSender<Work>>,
    events: channel::Sender<Event>,
    read: Arc<AtomicU64>,
}

impl Feeder {
    fn run(mut self) {
        loop {
            let next = self.queue.lock().expect("nothing panics while it is held").recv();
            let work = match next {
                Ok(Ok(work)) => work,
                Ok(Err(Broken)) => {
                    self.input.fail("it can't be read to its end"); // E8
                    return;
                }
                // The end. How the session takes it, the collector sees.
                Err(_) => return drop(self.handle.block_on(self.input.finish())),
            };
            let arguments = match self.plan.arguments(&work.rows, work.first) {
                Ok(arguments) => arguments,
                Err(failure) => {
                    // Told before the session is cancelled, so that it is what the user reads.
                    let _ = self.events.blocking_send(Event::Failed(failure));
                    self.input.fail("its values do not fit the function"); // E8
                    return;
                }
            };
            let rows = work.rows.num_rows() as u64;
            // Before the arguments go, so that no result comes for rows that nobody knows of.
            let permit = match &self.pend {
                Some(pend) => {
                    // Without a collector the session has ended, and so will the next send.
                    let _ = pend.send(work);
                    None
                }
                None => Some(work.permit),
            };
            if self.handle.block_on(self.input.send(&arguments)).is_err() {
                return; // The session has ended; the collector says how.
            }
            self.read.fetch_add(rows, Relaxed);
            drop(permit);
        }
    }
}

/// Takes results from one session.
struct Collector {
    plan: Arc<Plan>,
    control: Control,
    results: BatchOutput,
    events: channel::Sender<Event>,
    /// Of the rows that are written.
    schema: SchemaRef,
}

impl Collector {
    /// A scalar function's: pairs each result with the rows it was made from.
    async fn pair(mut self, mut pending: channel::UnboundedReceiver<Work>) -> Result<Summary> {
        loop {
            let work = tokio::select! {
                biased;
                work = pending.recv() => work,
                _ = self.control.ended() => None,
            };
            let Some(work) = work else { break };
            let column = self.column(&work).await?;
            let mut columns = work.rows.columns().to_vec();
            columns.push(column);
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
                .with_context(|| format!("function `{}` returned an unexpected column", self.plan.function))?;
            let event = Event::Rows { place: Some(work.place), rows, permit: Some(work.permit) };
            // Nobody listens after a failure.
            let _ = self.events.send(event).await;
        }
        match self.results.next().await {
            Ok(Some(_)) => Err(self.wrong_length("more rows than it was given")),
            Ok(None) => self.close().await,
            Err(error) => Err(self.blamed(&error, "")),
        }
    }

    /// The result for these rows, whole, however many pieces it comes in.
    async fn column(&mut self, work: &Work) -> Result<ArrayRef> {
        let wanted = work.rows.num_rows();
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < wanted {
            match self.results.next().await {
                Ok(Some(batch)) => {
                    rows += batch.num_rows();
                    pieces.push(ArrayRef::clone(batch.column(0)));
                }
                Ok(None) => return Err(self.wrong_length(&format!("too few rows for {}", work.location()))),
                Err(error) => return Err(self.blamed(&error, &format!(" in {}", work.location()))),
            }
        }
        if rows > wanted {
            return Err(self.wrong_length(&format!("{rows} rows for the {wanted} of {}", work.location())));
        }
        Ok(match &pieces[..] {
            [whole] => ArrayRef::clone(whole),
            pieces => {
                let pieces: Vec<_> = pieces.iter().map(|piece| &**piece).collect();
                concat(&pieces).context("can't join the pieces of a result")?
            }
        })
    }

    /// Any other function's: what comes is what is written.
    async fn pass_on(mut self) -> Result<Summary> {
        loop {
            match self.results.next().await {
                Ok(Some(rows)) => {
                    // Nobody listens after a failure.
                    let _ = self.events.send(Event::Rows { place: None, rows, permit: None }).await;
                }
                Ok(None) => return self.close().await,
                Err(error) => return Err(self.blamed(&error, "")),
            }
        }
    }

    async fn close(self) -> Result<Summary> {
        let Collector { plan, results, .. } = self;
        results.close().await.map_err(|error| blamed(&plan.function, &error, ""))
    }

    fn blamed(&self, error: &anyudf_engine::Error, place: &str) -> Failure {
        blamed(&self.plan.function, error, place)
    }

    fn wrong_length(&self, what: &str) -> Failure {
        Failure::failed(format_args!(
            "function `{}` returned {what}; a scalar function returns a value for each row, others need --kind map",
            self.plan.function
        ))
    }
}

/// What failed, where, whose fault it was, and what to try.
pub(super) fn blamed(function: &str, error: &anyudf_engine::Error, place: &str) -> Failure {
    if let Some(traceback) = error.execution().and_then(|error| error.traceback.as_deref()) {
        tracing::info!("traceback of `{function}`:\n{traceback}");
    }
    let hint = match error.condition() {
        "CALL_TIMEOUT" => "; try a longer --call-timeout or a smaller --batch-rows",
        "ARROW_ROW_TOO_LARGE" | "MESSAGE_TOO_LARGE" => "; try a larger --max-message-bytes",
        "WORKER_DIED" => "; -v shows everything it printed",
        _ if error.execution().is_some_and(|error| error.traceback.is_some()) => "; -v shows where",
        _ => "",
    };
    let what = match error.kind() {
        ErrorKind::User => format!("function `{function}` failed{place}: {error}{hint}"),
        ErrorKind::Worker => format!("the worker failed to run `{function}`{place}: {error}{hint}"),
        ErrorKind::Cancelled => format!("function `{function}` was cancelled{place}: {error}{hint}"),
        _ => format!("function `{function}` could not be run to its end{place}: {error}{hint}"),
    };
    Failure::failed(what)
}
