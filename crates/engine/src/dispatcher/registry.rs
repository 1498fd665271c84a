//! One dispatcher for equal specifications.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::join_all;

use super::{Dispatcher, DispatcherConfig, closed};
use crate::error::Error;
use crate::specification::WorkerSpecification;

/// The dispatchers of a host that meets specifications as they come: the same or an equal one gets the same dispatcher,
/// another gets another.
///
/// ```no_run
/// use anyudf_engine::{Dispatchers, DispatcherConfig, WorkerSpecification};
///
/// # async fn run() -> Result<(), anyudf_engine::Error> {
/// let dispatchers = Dispatchers::new(DispatcherConfig::default());
/// let one = dispatchers.of(&WorkerSpecification::read("worker.json")?)?;
/// let same = dispatchers.of(&WorkerSpecification::read("worker.json")?)?;
/// dispatchers.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Dispatchers {
    config: DispatcherConfig,
    /// `None` once they are closed.
    known: Mutex<Option<HashMap<String, Dispatcher>>>,
}

impl Dispatchers {
    /// None yet. Each will have this configuration.
    pub fn new(config: DispatcherConfig) -> Self {
        Dispatchers { config, known: Mutex::new(Some(HashMap::new())) }
    }

    /// The dispatcher for workers of this specification: another one when the last was closed by itself.
    ///
    /// # Errors
    /// Those of [`Dispatcher::new`]; [`ErrorKind::Misuse`](crate::ErrorKind::Misuse), `DISPATCHER_CLOSED`, after
    /// [`close`](Dispatchers::close).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn of(&self, specification: &WorkerSpecification) -> Result<Dispatcher, Error> {
        let mut known = self.known();
        let known = known.as_mut().ok_or_else(closed)?;
        let identity = specification.identity();
        if let Some(dispatcher) = known.get(&identity).filter(|known| !known.is_closed()) {
            return Ok(dispatcher.clone());
        }
        let dispatcher = Dispatcher::new(specification, self.config.clone())?;
        known.insert(identity, dispatcher.clone());
        Ok(dispatcher)
    }

    /// Closes all of them, at once (D12). Twice is harmless.
    ///
    /// # Cancel safety
    /// It goes on in the background when the future is dropped.
    pub async fn close(&self) {
        let known = self.known().take().unwrap_or_default();
        join_all(known.values().map(Dispatcher::close)).await;
    }

    fn known(&self) -> MutexGuard<'_, Option<HashMap<String, Dispatcher>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
