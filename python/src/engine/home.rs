//! Where a dispatcher lives: a runtime of its own, whose one thread does all I/O.
//!
//! It ends when nobody has it any more, in the background, or by [`Home::end`], which knows no mercy after a while: with the
//! runtime go all tasks, with them the handles of all workers, and with those their processes.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, DispatcherConfig, Error, WorkerPlan};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{timeout, timeout_at};

use super::error::Fault;
use super::log;
use crate::ending::{self, Inside};

/// How often whoever waits looks whether a signal came.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long it takes at most to drop what a runtime carried.
const KILL: Duration = Duration::from_secs(1);

/// How long a dispatcher that was dropped gets to end its workers in order, before they are killed.
const FAREWELL: Duration = Duration::from_secs(5);

/// A dispatcher and the runtime that carries it. Dropping it ends all, in the background.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dispatcher: Dispatcher,
    handle: Handle,
    /// `None` once it was ended.
    runtime: Mutex<Option<Runtime>>,
}

impl Home {
    /// # Errors
    /// Those of [`Dispatcher::with_plan`], and when the system has no thread left.
    pub(super) fn new(plan: WorkerPlan, config: DispatcherConfig) -> Result<Arc<Self>, Fault> {
        log::show();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("anyudf-io").enable_all().build();
        let runtime = runtime.map_err(|error| Fault::launch("NO_RUNTIME", format!("can't start a thread: {error}")))?;
        let dispatcher = {
            let _entered = runtime.enter();
            Dispatcher::with_plan(plan, config)?
        };
        Ok(Arc::new(Home { dispatcher, handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) }))
    }

    /// Does what has to be done for something to go on in the background.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Waits on the calling thread, which must not hold the GIL. `None` when the dispatcher was ended.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        // Nothing may be waited for on a runtime that is gone.
        self.is_up().then(|| self.handle.block_on(future))
    }

    fn is_up(&self) -> bool {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Closes the dispatcher, and kills what is left then. Must not be called with the GIL.
    pub(super) fn end(&self, until: Instant) {
        let _ = self.block_on(async { timeout_at(until.into(), self.dispatcher.close()).await });
        if let Some(runtime) = self.take() {
            runtime.shutdown_timeout(KILL);
        }
    }

    /// Waits without the GIL.
    ///
    /// # Errors
    /// What a signal's handler raises, such as `KeyboardInterrupt`, and when the interpreter ends: then the future is dropped.
    pub(super) fn wait<T: Send>(&self, py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
        let mut future = pin!(future);
        loop {
            match py.detach(|| self.block_on(async { timeout(TICK, &mut future).await })) {
                Some(Ok(done)) => return Ok(done),
                Some(Err(_)) => {
                    py.check_signals()?;
                    heed_end()?;
                }
                None => return Err(Fault::closed().raise()),
            }
        }
    }
}

/// To be asked now and then by who waits: a dispatcher may be one that the end of the process does not find.
///
/// # Errors
/// When the interpreter ends.
pub(super) fn heed_end() -> Result<(), Fault> {
    if ending::has_begun() { Err(Fault::ending()) } else { Ok(()) }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(runtime) = self.take() else { return };
        let dispatcher = self.dispatcher.clone();
        let inside = Inside::background();
        let end = move || {
            let _ = runtime.block_on(async { timeout(FAREWELL, dispatcher.close()).await });
            runtime.shutdown_timeout(KILL);
            drop(inside);
        };
        // Without a thread the closure is dropped here, and with the runtime all it carries.
        let _ = thread::Builder::new().name("anyudf-close".into()).spawn(end);
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Engine(error)
    }
}
