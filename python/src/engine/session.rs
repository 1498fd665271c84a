//! One execution, for Python: its ends may be used from any thread.

use std::sync::Arc;

use anyudf_engine::Termination;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3_arrow::PySchema;

use super::arguments::Named;
use super::batches::{from_python, schema_to_python};
use super::catalog::FunctionInfo;
use super::completions::{Answer, Completions};
use super::error::Fault;
use super::exchange::Exchange;
use super::live::Live;
use super::local::Local;
use crate::ending;

/// One execution.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Session {
    live: Local<Arc<Live>>,
}

impl Session {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Session { live: Local::new(live) }
    }

    fn begin<F>(&self, completions: &Completions, token: u64, call: impl FnOnce(Arc<Live>) -> F) -> PyResult<()>
    where
        F: Future<Output = Result<Answer, Fault>> + Send + 'static,
    {
        let live = self.live.call()?;
        completions.begin(&live.home, token, call(Arc::clone(&live)))
    }
}

/// The schema of what is sent, of what Python has for an input's.
fn plan(
    live: &Live,
    schema: &Bound<'_, PyAny>,
    label: &str,
    function: Option<&Bound<'_, FunctionInfo>>,
    columns: Option<&Bound<'_, PyAny>>,
) -> PyResult<SchemaRef> {
    let schema: PySchema = schema.extract()?;
    let columns: Option<Vec<Named>> = columns.map(|columns| columns.extract()).transpose()?;
    Ok(live.plan(schema.into_inner(), label, function.map(Bound::get), columns.as_deref())?)
}

#[pymethods]
impl Session {
    /// Waits for a worker and opens the function for batches of this schema: of which these columns are its arguments, or all,
    /// cast to what it takes, where that is known.
    #[pyo3(signature = (schema, label, function=None, columns=None))]
    fn open(
        &self,
        py: Python<'_>,
        schema: &Bound<'_, PyAny>,
        label: &str,
        function: Option<&Bound<'_, FunctionInfo>>,
        columns: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let live = self.live.call()?;
        let schema = plan(&live, schema, label, function, columns)?;
        live.wait_for(py, live.open(schema))
    }

    /// The same without waiting.
    #[pyo3(signature = (completions, token, schema, label, function=None, columns=None))]
    fn begin_open(
        &self,
        completions: &Completions,
        token: u64,
        schema: &Bound<'_, PyAny>,
        label: &str,
        function: Option<&Bound<'_, FunctionInfo>>,
        columns: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let live = self.live.call()?;
        let schema = plan(&live, schema, label, function, columns)?;
        self.begin(completions, token, async move |live| live.open(schema).await.map(|()| Answer::Nothing))
    }

    /// What comes back for batches that it asks for.
    fn exchange(&self) -> PyResult<Exchange> {
        Exchange::new(&*self.live.call()?)
    }

    /// Sends a batch; waits while the worker is slow.
    fn send(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let live = self.live.call()?;
        live.wait_for(py, live.send(from_python(batch)?))
    }

    /// The same without waiting.
    fn begin_send(&self, completions: &Completions, token: u64, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let _live = self.live.call()?;
        let batch = from_python(batch)?;
        self.begin(completions, token, async move |live| live.send(batch).await.map(|()| Answer::Nothing))
    }

    /// Says that there is no more input.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let live = self.live.call()?;
        live.wait_for(py, live.finish())
    }

    /// The same without waiting.
    fn begin_finish(&self, completions: &Completions, token: u64) -> PyResult<()> {
        self.begin(completions, token, async move |live| live.finish().await.map(|()| Answer::Nothing))
    }

    /// The next batch; None when the worker has finished.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let live = self.live.call()?;
        let batch = live.wait_for(py, live.next())?;
        batch.map(|batch| live.give(py, batch)).transpose()
    }

    /// The same without waiting.
    fn begin_next(&self, completions: &Completions, token: u64) -> PyResult<()> {
        self.begin(completions, token, async move |live| {
            let batch = live.next().await?;
            Ok(batch.map_or(Answer::Nothing, |batch| Answer::Batch(live, batch)))
        })
    }

    /// Ends the session if it has not ended (E12).
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if ending::has_begun() {
            return Ok(());
        }
        let live = self.live.call()?;
        live.wait_for(py, async { Ok(live.close().await) }).map(|_| ())
    }

    /// The same without waiting.
    fn begin_close(&self, completions: &Completions, token: u64) -> PyResult<()> {
        let close = async move |live: Arc<Live>| {
            live.close().await;
            Ok(Answer::Nothing)
        };
        self.begin(completions, token, close)
    }

    /// Cancels; does not wait.
    fn cancel(&self, reason: String) -> PyResult<()> {
        self.live.here()?.cancel(reason);
        Ok(())
    }

    /// Cancels and waits as long as E13 has it.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        self.live.call()?.interrupt(py);
        Ok(())
    }

    /// What goes in and what comes out; None before it is open.
    #[getter]
    fn schemas<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let live = self.live.call()?;
        let Some((input, output)) = live.schemas() else { return Ok(None) };
        Ok(Some((schema_to_python(py, input)?, schema_to_python(py, output)?)))
    }

    /// What moved so far; None before it is open.
    fn progress<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(progress) = self.live.here()?.progress() else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("rows_sent", progress.rows_sent)?;
        dict.set_item("rows_taken", progress.rows_taken)?;
        dict.set_item("bytes_sent", progress.bytes_sent)?;
        dict.set_item("bytes_received", progress.bytes_received)?;
        dict.set_item("messages_sent", progress.messages_sent)?;
        dict.set_item("messages_received", progress.messages_received)?;
        dict.set_item("quiet_for", progress.quiet_for.as_secs_f64())?;
        Ok(Some(dict))
    }

    /// How it ended: `how`, `metrics`, and `data`, the function's last word; None while it has not.
    #[getter]
    fn termination<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(termination) = self.live.here()?.termination() else { return Ok(None) };
        let (how, data) = match &termination {
            Termination::Finished(finish) => ("finished", finish.data.as_ref()),
            Termination::Cancelled(_) => ("cancelled", None),
            Termination::Failed(_) => ("failed", None),
            Termination::TransportFailed(_) => ("transport failed", None),
            Termination::Interrupted => ("interrupted", None),
        };
        let metrics = PyDict::new(py);
        for (name, value) in termination.metrics().iter().flat_map(|metrics| metrics.iter()) {
            match value.parse::<u64>() {
                Ok(number) => metrics.set_item(name, number)?,
                Err(_) => metrics.set_item(name, value)?,
            }
        }
        let dict = PyDict::new(py);
        dict.set_item("how", how)?;
        dict.set_item("metrics", metrics)?;
        dict.set_item("data", data.map(|data| PyBytes::new(py, data)))?;
        Ok(Some(dict))
    }
}
