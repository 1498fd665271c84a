//! The caller's batches in, the worker's out, as one iterator.
//!
//! ```text
//!   caller's iterator ──pulled by __next__──▶ channel, with room for so much ──▶ feeder, a task ──▶ BatchInput
//!   __next__ ◀── BatchOutput: what has come is taken first, and only then something is pulled
//! ```
//!
//! The caller's iterator is called on the thread that asks for the next result, and on no other.

use std::sync::{Arc, Mutex, OnceLock};

use anyudf_engine::{BatchInput, BatchOutput, Error, ErrorKind};
use arrow::array::{Array, ArrayRef, RecordBatch};
use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::batches::{busy, from_python};
use super::error::Fault;
use super::home::TICK;
use super::local::Local;
use super::session::Live;

/// What may have been pulled and not be in the session's queue yet: so many batches, or as few as make so many portions.
/// Fewer would have the two threads wait for each other at every small batch.
const AHEAD: usize = 16;
const PORTION: usize = 64 << 10;

/// What `Session.process` gives.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Exchange {
    work: Local<Mutex<Work>>,
}

struct Work {
    live: Arc<Live>,
    /// The caller's iterator, until its end.
    source: Option<Py<PyIterator>>,
    /// Where its batches go, until its end.
    feed: Option<mpsc::UnboundedSender<Feed>>,
    /// Has a permit for each portion that may still be pulled.
    room: Arc<Semaphore>,
    /// That for the next batch.
    permit: Option<OwnedSemaphorePermit>,
    /// What the feeder ran into, if it was the caller's fault.
    misfed: Arc<OnceLock<Error>>,
    /// `None` once it has ended.
    output: Option<BatchOutput>,
}

enum Feed {
    Batch(RecordBatch, Option<OwnedSemaphorePermit>),
    Finish,
}

/// What there is to do next.
enum Step {
    Result(RecordBatch),
    Pull,
    Look,
    End,
}

impl Exchange {
    /// # Errors
    /// Misuse when the session is not open or was used before; what `iter` raises.
    pub(super) fn new(live: Arc<Live>, source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = source.try_iter()?.unbind();
        let taken = live.input.try_lock().ok().and_then(|mut input| input.take());
        let input = taken.ok_or_else(|| live.unready("process"))?;
        let taken = live.output.try_lock().ok().and_then(|mut output| output.take());
        let output = taken.ok_or_else(|| live.unready("process"))?;
        let (feed, fed) = mpsc::unbounded_channel();
        let misfed = Arc::new(OnceLock::new());
        live.home.spawn(feeder(input, fed, Arc::clone(&misfed)));
        let room = Arc::new(Semaphore::new(AHEAD));
        let work =
            Work { live, source: Some(source), feed: Some(feed), room, permit: None, misfed, output: Some(output) };
        Ok(Exchange { work: Local::new(Mutex::new(work)) })
    }
}

/// Sends what was pulled. Whoever drops the other end without a `Finish` cancels (E8).
async fn feeder(mut input: BatchInput, mut fed: mpsc::UnboundedReceiver<Feed>, misfed: Arc<OnceLock<Error>>) {
    while let Some(feed) = fed.recv().await {
        let sent = match feed {
            Feed::Batch(batch, _room) => input.send(&batch).await,
            // How the execution ended is what the output says.
            Feed::Finish => return drop(input.finish().await),
        };
        if let Err(error) = sent {
            if error.kind() == ErrorKind::Misuse {
                misfed.get_or_init(|| error.clone());
            }
            return input.control().cancel(format!("the input failed: {error}"));
        }
    }
}

impl Work {
    /// Takes what has come, or waits until something comes or may be pulled.
    fn step(&mut self) -> Result<Step, Fault> {
        let Some(output) = &mut self.output else { return Ok(Step::End) };
        let room = async {
            match self.feed {
                Some(_) => Arc::clone(&self.room).acquire_owned().await.ok(),
                None => std::future::pending().await,
            }
        };
        let stepped = self.live.home.block_on(async {
            tokio::select! {
                biased;
                next = output.next() => match next {
                    Ok(Some(batch)) => Ok(Step::Result(batch)),
                    Ok(None) => Ok(Step::End),
                    Err(error) => Err(error),
                },
                permit = room => {
                    self.permit = permit;
                    Ok(Step::Pull)
                }
                () = sleep(TICK) => Ok(Step::Look),
            }
        });
        match stepped.ok_or_else(Fault::closed)? {
            Err(error) => {
                self.end();
                Err(self.misfed.get().cloned().unwrap_or(error).into())
            }
            Ok(Step::End) => {
                self.end();
                Ok(Step::End)
            }
            Ok(step) => Ok(step),
        }
    }

    /// What a signal's handler raises interrupts the execution (E13).
    fn heed_signals(&mut self, py: Python<'_>) -> PyResult<()> {
        py.check_signals().inspect_err(|_| {
            self.live.interrupt(py);
            self.end();
        })
    }

    fn end(&mut self) {
        self.feed = None;
        self.output = None;
    }

    /// Pulls one batch from the caller.
    fn pull(&mut self, py: Python<'_>) -> PyResult<()> {
        let (Some(source), Some(feed)) = (&self.source, &self.feed) else { return Ok(()) };
        let pulled = match source.clone_ref(py).into_bound(py).next() {
            None => None,
            Some(Ok(batch)) => Some(from_python(&batch).and_then(|batch| {
                let arguments = py.detach(|| self.live.arguments(batch));
                arguments.map_err(|fault| fault.raise())
            })),
            Some(Err(error)) => Some(Err(error)),
        };
        let fed = match pulled {
            Some(Err(error)) => {
                match error.is_instance_of::<PyException>(py) {
                    true => self.live.cancel(format!("the input failed: {error}")),
                    // Ctrl-C, while the input was at it (E13).
                    false => self.live.interrupt(py),
                }
                self.end();
                return Err(error);
            }
            Some(Ok(batch)) => {
                let portions = portions(&batch).min(1 + self.room.available_permits());
                let mut permit = self.permit.take();
                if let (Some(permit), Ok(more)) = (&mut permit, u32::try_from(portions - 1)) {
                    // There are as many, since nobody else takes any.
                    if let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) {
                        permit.merge(more);
                    }
                }
                Feed::Batch(batch, permit)
            }
            None => Feed::Finish,
        };
        let is_last = matches!(fed, Feed::Finish);
        // A feeder that is gone is no loss, because the execution has ended, as the output says.
        let _ = feed.send(fed);
        if is_last {
            (self.feed, self.source) = (None, None);
        }
        Ok(())
    }
}

/// How many portions a batch takes: of what it holds itself, for the buffers of a slice are those of the whole.
fn portions(batch: &RecordBatch) -> usize {
    if batch.get_array_memory_size() <= PORTION {
        return 1;
    }
    // A type whose size can't be told counts as large.
    let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(AHEAD * PORTION);
    let bytes = batch.columns().iter().map(size).fold(0, usize::saturating_add);
    bytes.div_ceil(PORTION).clamp(1, AHEAD)
}

#[pymethods]
impl Exchange {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut work = self.work.here()?.try_lock().map_err(|_| busy("the iterator"))?;
        let work = &mut *work;
        // While batches come all the time nobody else looks.
        work.heed_signals(py)?;
        loop {
            match py.detach(|| work.step())? {
                Step::Result(batch) => return work.live.give(py, batch).map(Some),
                Step::End => return Ok(None),
                Step::Pull => work.pull(py)?,
                Step::Look => work.heed_signals(py)?,
            }
        }
    }

    /// What the caller's iterator holds may hold this.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.work.if_here().map(Mutex::try_lock) {
            Some(Ok(work)) => visit.call(&work.source),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Some(Ok(mut work)) = self.work.if_here().map(Mutex::try_lock) {
            work.source = None;
        }
    }
}
