//! The dispatcher, for Python.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::catalog::{FunctionInfo, to_python};
use super::completions::{Answer, Completions};
use super::error::Fault;
use super::home::Home;
use super::init::Said;
use super::live::Live;
use super::local::Local;
use super::session::Session;
use super::settings::{Worker, configure};
use crate::ending::{self, Inside};

/// Gives sessions in workers of one kind. Any number of threads may use it.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Dispatcher {
    home: Local<Arc<Home>>,
}

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(
        py: Python<'_>,
        worker: &Bound<'_, PyAny>,
        environment: &Bound<'_, PyAny>,
        keywords: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let _inside = Inside::call()?;
        let (worker, environment): (Worker, Vec<(String, String)>) = (worker.extract()?, environment.extract()?);
        let most = keywords.get_item("max_timeout")?.filter(|most| !most.is_none());
        let most = most.map(|most| most.extract()).transpose()?.map(Duration::try_from_secs_f64).and_then(Result::ok);
        let mut plan = worker.plan(environment, most).map_err(|fault| fault.raise())?;
        let config = configure(keywords, &mut plan)?;
        let home = py.detach(|| Home::new(plan, config)).map_err(|fault| fault.raise())?;
        Ok(Dispatcher { home: Local::new(home) })
    }

    /// A session that is not open yet.
    fn session(&self, said: &Bound<'_, PyDict>) -> PyResult<Session> {
        let home = self.home.call()?;
        let said: Said = said.extract()?;
        Ok(Session::new(Live::new(Arc::clone(&*home), said.call())))
    }

    /// The functions that its workers offer, and the payload formats; None when they do not tell.
    fn catalog(&self, py: Python<'_>) -> PyResult<Option<(Vec<FunctionInfo>, BTreeSet<String>)>> {
        let home = self.home.call()?;
        let read = async { home.dispatcher.catalog().await };
        let catalog = home.wait(py, read)?.map_err(|error| Fault::from(error).raise())?;
        Ok(catalog.map(|catalog| to_python(&catalog)))
    }

    /// The same without waiting.
    fn begin_catalog(&self, completions: &Completions, token: u64) -> PyResult<()> {
        let home = self.home.call()?;
        let dispatcher = home.dispatcher.clone();
        completions.begin(&home, token, async move { Ok(Answer::Catalog(dispatcher.catalog().await?)) })
    }

    /// How things stand; None when it is closed.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let home = self.home.call()?;
        let Some(stats) = home.wait(py, home.dispatcher.stats())? else { return Ok(None) };
        let dict = PyDict::new(py);
        let workers = stats.workers.iter().map(|worker| {
            let one = PyDict::new(py);
            one.set_item("id", &worker.id)?;
            one.set_item("pid", worker.pid)?;
            one.set_item("state", format!("{:?}", worker.state).to_lowercase())?;
            one.set_item("sessions", worker.sessions)?;
            one.set_item("resident", worker.resident)?;
            Ok(one)
        });
        dict.set_item("workers", workers.collect::<PyResult<Vec<_>>>()?)?;
        dict.set_item("sessions", stats.sessions)?;
        dict.set_item("waiting", stats.waiting)?;
        dict.set_item("starts", stats.starts)?;
        dict.set_item("failed_starts", stats.failed_starts)?;
        dict.set_item("crashes", stats.crashes)?;
        dict.set_item("granted", stats.granted)?;
        dict.set_item("refused", stats.refused)?;
        dict.set_item("waited", stats.waited.as_secs_f64())?;
        dict.set_item("longest_wait", stats.longest_wait.as_secs_f64())?;
        Ok(Some(dict))
    }

    /// Ends everything (D12), and returns when all is gone.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if ending::has_begun() {
            return Ok(());
        }
        let home = self.home.call()?;
        home.wait(py, home.dispatcher.close())
    }

    /// The same without waiting.
    fn begin_close(&self, completions: &Completions, token: u64) -> PyResult<()> {
        let home = self.home.call()?;
        let dispatcher = home.dispatcher.clone();
        let close = async move {
            dispatcher.close().await;
            Ok(Answer::Nothing)
        };
        completions.begin(&home, token, close)
    }

    /// Whether it was made in this process.
    #[getter]
    fn is_here(&self) -> bool {
        self.home.is_here()
    }
}

/// Ends dispatchers, all at once, and waits for those that are being ended in the background and for calls that other threads are
/// in, which come back, for so many seconds in all; kills what is not gone then, which takes a second at most. No more calls are
/// taken: it is for the end of the process. Looks for no signals.
#[pyfunction]
pub(crate) fn end_all(py: Python<'_>, dispatchers: Vec<Bound<'_, Dispatcher>>, seconds: f64) {
    let until = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let here = |dispatcher: &Bound<'_, Dispatcher>| dispatcher.get().home.here().ok().cloned();
    let homes: Vec<Arc<Home>> = dispatchers.iter().filter_map(here).collect();
    ending::begin(py, Fault::ending().raise());
    py.detach(|| {
        thread::scope(|scope| {
            for home in &homes {
                scope.spawn(|| home.end(until));
            }
        });
        ending::wait(until);
    });
}

/// In a forked child: forgets what its parent was at.
#[pyfunction]
pub(crate) fn forked() {
    ending::forked();
}
