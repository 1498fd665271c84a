//! Where a dispatcher lives: a runtime of its own, whose one thread does all I/O.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyudf_engine::{Dispatcher, DispatcherConfig, Error, WorkerPlan};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use super::error::Fault;

/// How often whoever waits looks whether a signal came.
const TICK: Duration = Duration::from_millis(100);

/// How long a dispatcher that was dropped gets to end its workers in order, before they are killed.
const FAREWELL: Duration = Duration::from_secs(5);

/// A dispatcher and the runtime that carries it. Dropping it ends all, in the background.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dispatcher: Dispatcher,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl Home {
    /// # Errors
    /// Those of [`Dispatcher::with_plan`], and when the system has no thread left.
    pub(super) fn new(plan: WorkerPlan, config: DispatcherConfig) -> Result<Arc<Self>, Fault> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("anyudf-io").enable_all().build();
        let runtime = runtime.map_err(|error| Fault::launch("NO_RUNTIME", format!("can't start a thread: {error}")))?;
        let dispatcher = {
            let _entered = runtime.enter();
            Dispatcher::with_plan(plan, config)?
        };
        Ok(Arc::new(Home { dispatcher, runtime: Some(runtime) }))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until the drop").handle()
    }

    /// Waits without the GIL.
    ///
    /// # Errors
    /// What a signal's handler raises, such as `KeyboardInterrupt`: then the future is dropped.
    pub(super) fn wait<T: Send>(&self, py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
        let mut future = pin!(future);
        loop {
            let waited = py.detach(|| self.handle().block_on(async { timeout(TICK, &mut future).await }));
            match waited {
                Ok(done) => return Ok(done),
                Err(_) => py.check_signals()?,
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let dispatcher = self.dispatcher.clone();
        let end = move || {
            // Dropping the runtime kills what is left then.
            let _ = runtime.block_on(async { timeout(FAREWELL, dispatcher.close()).await });
            runtime.shutdown_background();
        };
        // Without a thread the closure is dropped here, and the runtime with it.
        let _ = thread::Builder::new().name("anyudf-close".into()).spawn(end);
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Engine(error)
    }
}
