//! The caller's batches in, the worker's out, both on the thread that asks for the next result.
//!
//! ```text
//!   caller's iterator ──pulled by exchange.py──▶ feed ──▶ channel, with room for so much ──▶ feeder, a task ──▶ BatchInput
//!   exchange.py ◀── step ◀── BatchOutput: what has come is taken first, and only then something is asked for
//! ```

use std::sync::{Arc, Mutex, OnceLock};

use anyudf_engine::{BatchInput, BatchOutput, Error, ErrorKind};
use arrow::array::{Array, ArrayRef, RecordBatch};
use pyo3::prelude::*;
use pyo3::types::PyBool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::batches::{busy, from_python};
use super::error::Fault;
use super::home::{TICK, heed_end};
use super::live::Live;
use super::local::Local;
use crate::ending;

/// What may have been pulled and not be in the session's queue yet: so many batches, or as few as make so many portions.
/// Fewer would have the two threads wait for each other at every small batch.
const AHEAD: usize = 16;
const PORTION: usize = 64 << 10;

/// What is under the iterator that `Session.process` gives.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Exchange {
    work: Local<Mutex<Work>>,
}

struct Work {
    live: Arc<Live>,
    /// Where the caller's batches go, until their end.
    feed: Option<mpsc::UnboundedSender<Feed>>,
    /// Has a permit for each portion that may still be asked for.
    room: Arc<Semaphore>,
    /// That for the batch that was asked for.
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
    Ask,
    Look,
    End,
}

impl Exchange {
    /// # Errors
    /// Misuse when the session is not open or was used before.
    pub(super) fn new(live: &Arc<Live>) -> PyResult<Self> {
        let live = Arc::clone(live);
        let taken = live.input.try_lock().ok().and_then(|mut input| input.take());
        let input = taken.ok_or_else(|| live.unready("process"))?;
        let taken = live.output.try_lock().ok().and_then(|mut output| output.take());
        let output = taken.ok_or_else(|| live.unready("process"))?;
        let (feed, fed) = mpsc::unbounded_channel();
        let misfed = Arc::new(OnceLock::new());
        live.home.spawn(feeder(input, fed, Arc::clone(&misfed)));
        let room = Arc::new(Semaphore::new(AHEAD));
        let work = Work { live, feed: Some(feed), room, permit: None, misfed, output: Some(output) };
        Ok(Exchange { work: Local::new(Mutex::new(work)) })
    }
}

/// Sends what it is fed. Whoever drops the other end without a `Finish` cancels (E8).
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
    /// Takes what has come, or waits until something comes or may be asked for.
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
                    Ok(Step::Ask)
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

    /// Takes a batch that was asked for.
    fn feed(&mut self, batch: RecordBatch) -> Result<(), Fault> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let mut permit = self.permit.take();
        let batch = self.live.arguments(batch)?;
        let portions = portions(&batch).min(1 + self.room.available_permits());
        if let (Some(permit), Ok(more)) = (&mut permit, u32::try_from(portions - 1)) {
            // There are as many, since nobody else takes any.
            if let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) {
                permit.merge(more);
            }
        }
        // A feeder that is gone is no loss, because the execution has ended, as the output says.
        let _ = feed.send(Feed::Batch(batch, permit));
        Ok(())
    }

    /// There is no more to be asked for.
    fn finish(&mut self) {
        if let Some(feed) = self.feed.take() {
            let _ = feed.send(Feed::Finish);
        }
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
    /// The next batch that has come back; True when it is to be fed one first, or told that there is none; None at the end.
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let work = self.work.call()?;
        let mut work = work.try_lock().map_err(|_| busy("the iterator"))?;
        let work = &mut *work;
        // While batches come all the time nobody else looks.
        work.heed_signals(py)?;
        loop {
            match py.detach(|| work.step())? {
                Step::Result(batch) => return work.live.give(py, batch).map(Some),
                Step::Ask => return Ok(Some(PyBool::new(py, true).to_owned().into_any())),
                Step::Look => {
                    work.heed_signals(py)?;
                    heed_end()?;
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Takes the batch that it has asked for.
    fn feed(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let work = self.work.call()?;
        let mut work = work.try_lock().map_err(|_| busy("the iterator"))?;
        let work = &mut *work;
        let batch = from_python(batch)?;
        Ok(py.detach(|| work.feed(batch))?)
    }

    /// The input has ended.
    fn finish(&self) -> PyResult<()> {
        let work = self.work.call()?;
        work.try_lock().map_err(|_| busy("the iterator"))?.finish();
        Ok(())
    }

    /// Ends it, for this reason; without one, because of Ctrl-C (E13). Does nothing after its end, or that of all.
    #[pyo3(signature = (reason=None))]
    fn fail(&self, py: Python<'_>, reason: Option<String>) -> PyResult<()> {
        if ending::has_begun() {
            return Ok(());
        }
        let work = self.work.call()?;
        let mut work = work.try_lock().map_err(|_| busy("the iterator"))?;
        if work.output.is_some() {
            match reason {
                Some(reason) => work.live.cancel(reason),
                None => work.live.interrupt(py),
            }
            work.end();
        }
        Ok(())
    }
}
