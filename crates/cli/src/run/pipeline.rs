//! The threads of a run: one that reads, two for each session, and the caller's own, which writes.
//!
//! Threads that wait for input that never comes, such as a pipe's, can't be woken: after a failure nobody waits for
//! them, and they end with the process.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{BatchInput, BatchOutput, Control, Dispatcher, Summary};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc as channel;
use tokio::time::timeout;

use super::collector::Collector;
use super::feeder::Feeder;
use super::flow::{Broken, Budget, Event, Permit, Work, size};
use super::plan::Plan;
use super::repeater::Repeater;
use super::turn::Turn;
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
    /// One for each session, or for each thread that has one session after the other.
    turns: Vec<Arc<Turn>>,
    events: channel::Receiver<Event>,
    sessions: usize,
    read: Arc<AtomicU64>,
}

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
        let turns = pipes.iter().map(|pipe| Arc::new(Turn::of(pipe.control.clone()))).collect();
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
            spawn(format!("feed-{job}"), &tell, move || feeder.run())?;
            let handle = io.handle().clone();
            let (plan, events, schema) = (Arc::clone(&plan), tell.clone(), Arc::clone(&output));
            let collector = Collector { plan, control, results, events, schema };
            spawn(format!("collect-{job}"), &tell, move || handle.block_on(collector.run(pending)))?;
        }
        if let Some(input) = input {
            let budget = Budget::new(BYTES_A_JOB.saturating_mul(sessions));
            let events = tell.clone();
            spawn("read".into(), &tell, move || read_all(input, &budget, &give, &events))?;
        }
        Ok(Pipeline { turns, events, sessions, read })
    }

    /// The same for a scalar function that may be repeated: a session for each batch, `jobs` of them at once. The schemas
    /// are what each has to announce, and that of the rows that are written.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start_repeatable(
        io: &Io,
        plan: &Arc<Plan>,
        dispatcher: &Dispatcher,
        jobs: usize,
        input: files::Input,
        (announced, output): (&SchemaRef, &SchemaRef),
    ) -> Result<Self> {
        let (tell, events) = channel::channel(RESULTS_A_JOB * jobs);
        let (give, take) = mpsc::channel();
        let queue = Arc::new(Mutex::new(take));
        let read = Arc::new(AtomicU64::new(0));
        let turns: Vec<_> = (0..jobs).map(|_| Arc::new(Turn::default())).collect();
        for (job, turn) in turns.iter().enumerate() {
            let repeater = Repeater {
                handle: io.handle().clone(),
                plan: Arc::clone(plan),
                dispatcher: dispatcher.clone(),
                queue: Arc::clone(&queue),
                turn: Arc::clone(turn),
                events: tell.clone(),
                read: Arc::clone(&read),
                announced: Arc::clone(announced),
                schema: Arc::clone(output),
            };
            spawn(format!("repeat-{job}"), &tell, move || repeater.run())?;
        }
        let budget = Budget::new(BYTES_A_JOB.saturating_mul(jobs));
        let reader = tell.clone();
        spawn("read".into(), &tell, move || read_all(input, &budget, &give, &reader))?;
        Ok(Pipeline { turns, events, sessions: jobs, read })
    }

    /// Rows of the input that were handed to the function so far.
    pub(super) fn rows_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Gives every batch of the result to `write`, those of a scalar function in the order of the input, and calls
    /// `tick` now and then with [`rows_read`](Self::rows_read). Returns what the sessions left.
    ///
    /// # Errors
    /// The first failure, or [`Failure::Interrupted`]; the sessions have ended then, by Cancel if need be (E8, E13).
    pub(super) fn write_all(
        &mut self,
        io: &Io,
        mut write: impl FnMut(&RecordBatch) -> Result,
        mut tick: impl FnMut(u64),
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
        tick: &mut impl FnMut(u64),
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
            tick(self.rows_read());
        }
        match waiting.is_empty() {
            true => Ok(summaries),
            false => Err(Failure::failed("some rows have no result; this is a bug")),
        }
    }

    /// Cancels every session and waits until the workers have acknowledged it, two seconds at most (E13).
    async fn stop(&mut self) {
        // Those that wait to tell something let go.
        self.events.close();
        // All are interrupted before one is waited for.
        let controls: Vec<_> = self.turns.iter().filter_map(|turn| turn.stop()).collect();
        for control in controls {
            control.ended().await;
        }
    }
}

/// Starts a thread whose panic is a failure of the run, not a reason to wait for ever.
fn spawn(name: String, events: &channel::Sender<Event>, run: impl FnOnce() + Send + 'static) -> Result {
    let events = events.clone();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            // What happened was printed by the panic itself.
            let failure = Failure::failed("a thread of the run panicked; this is a bug of anyudf");
            let _ = events.blocking_send(Event::Failed(failure));
        }
    };
    thread::Builder::new().name(name).spawn(guarded).context("can't start a thread")?;
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
