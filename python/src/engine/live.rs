//! One execution, and all that is known of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyudf_engine::{BatchInput, BatchOutput, Control, Progress, Termination};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout;

use super::arguments::{Arguments, Named, takes_any};
use super::batches::{schema_to_python, to_python};
use super::catalog::FunctionInfo;
use super::error::Fault;
use super::home::Home;
use super::init::Call;

/// How long an interrupted session is waited for: what E13 gives it, and a little.
const INTERRUPTED: Duration = Duration::from_millis(2_500);

/// An execution and all that is known of it. Dropping it ends it (E12).
pub(super) struct Live {
    pub(super) home: Arc<Home>,
    /// What is to be run, until it is opened.
    call: Mutex<Option<Call>>,
    /// Why it was cancelled before there was anything to cancel (E1).
    stopped: watch::Sender<Option<String>>,
    control: OnceLock<Control>,
    schemas: OnceLock<(SchemaRef, SchemaRef)>,
    /// The latter as pyarrow's.
    output_schema: PyOnceLock<Py<PyAny>>,
    /// What is sent of each batch; unset, all of it.
    arguments: OnceLock<Arguments>,
    /// Rows that were given so far.
    rows: AtomicU64,
    pub(super) input: AsyncMutex<Option<BatchInput>>,
    pub(super) output: AsyncMutex<Option<BatchOutput>>,
}

impl Live {
    pub(super) fn new(home: Arc<Home>, call: Call) -> Arc<Self> {
        Arc::new(Live {
            home,
            call: Mutex::new(Some(call)),
            stopped: watch::Sender::new(None),
            control: OnceLock::new(),
            schemas: OnceLock::new(),
            output_schema: PyOnceLock::new(),
            arguments: OnceLock::new(),
            rows: AtomicU64::new(0),
            input: AsyncMutex::new(None),
            output: AsyncMutex::new(None),
        })
    }

    /// Decides what is sent of batches of this schema: its schema.
    pub(super) fn plan(
        &self,
        schema: SchemaRef,
        label: &str,
        function: Option<&FunctionInfo>,
        columns: Option<&[Named]>,
    ) -> Result<SchemaRef, Fault> {
        let takes_all = function.is_none_or(|function| takes_any(&function.0));
        if takes_all && columns.is_none() {
            return Ok(schema);
        }
        let arguments = Arguments::new(label, function.map(|function| &*function.0), columns, &schema)?;
        Ok(SchemaRef::clone(self.arguments.get_or_init(|| arguments).schema()))
    }

    /// Waits for a worker and opens the function.
    pub(super) async fn open(&self, schema: SchemaRef) -> Result<(), Fault> {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Call { init, scope } =
            call.ok_or_else(|| Fault::misuse("INIT_TWICE", "the session was opened before (E2)"))?;
        let mut stopped = self.stopped.subscribe();
        let stop = async move {
            // It is kept as long as `self`.
            let _ = stopped.wait_for(Option::is_some).await;
            Err(Fault::cancelled())
        };
        let open = async {
            let session = self.home.dispatcher.session(init.with_input_schema(schema), scope).await?;
            let control = self.control.get_or_init(|| session.control());
            // Whoever cancels looks for the control after it has said so.
            if let Some(reason) = &*self.stopped.borrow() {
                control.cancel(reason);
            }
            Ok(session.init().await?)
        };
        let session = tokio::select! { biased; stopped = stop => stopped, opened = open => opened }?;
        let (input, output) = session.batches()?;
        let schemas = (SchemaRef::clone(input.schema()), SchemaRef::clone(output.schema()));
        self.schemas.get_or_init(|| schemas);
        *self.input.lock().await = Some(input);
        *self.output.lock().await = Some(output);
        Ok(())
    }

    /// What is sent for a batch that the caller gives.
    pub(super) fn arguments(&self, batch: RecordBatch) -> Result<RecordBatch, Fault> {
        let first = self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        match self.arguments.get() {
            Some(arguments) => arguments.of(&batch, first),
            None => match self.schemas.get() {
                Some((opened, _)) => as_opened(batch, opened),
                None => Ok(batch),
            },
        }
    }

    pub(super) async fn send(&self, batch: RecordBatch) -> Result<(), Fault> {
        let batch = self.arguments(batch)?;
        let mut input = self.input.lock().await;
        let input = input.as_mut().ok_or_else(|| self.unready("send"))?;
        Ok(input.send(&batch).await?)
    }

    pub(super) async fn finish(&self) -> Result<(), Fault> {
        let input = self.input.lock().await.take().ok_or_else(|| self.unready("finish"))?;
        Ok(input.finish().await?)
    }

    pub(super) async fn next(&self) -> Result<Option<RecordBatch>, Fault> {
        let mut output = self.output.lock().await;
        let output = output.as_mut().ok_or_else(|| self.unready("next"))?;
        Ok(output.next().await?)
    }

    pub(super) async fn close(&self) -> Option<Termination> {
        self.stopped.send_replace(Some(String::new()));
        match self.control.get() {
            Some(control) => Some(control.close().await),
            None => None,
        }
    }

    /// What has come back, for Python.
    pub(super) fn give<'py>(&self, py: Python<'py>, batch: RecordBatch) -> PyResult<Bound<'py, PyAny>> {
        let schema = self.output_schema.get_or_try_init(py, || match self.schemas.get() {
            Some((_, output)) => schema_to_python(py, output).map(Bound::unbind),
            None => Err(self.unready("next").raise()),
        })?;
        to_python(py, batch, schema.bind(py))
    }

    pub(super) fn unready(&self, what: &str) -> Fault {
        match self.schemas.get() {
            None => Fault::misuse("NOT_INITIALIZED", format!("{what} needs an open session (E2)")),
            Some(_) => {
                Fault::misuse("PROCESS_TWICE", format!("{what} comes too late: that end is taken or closed (E2)"))
            }
        }
    }

    /// Cancels, whatever it is at.
    pub(super) fn cancel(&self, reason: String) {
        self.stopped.send_replace(Some(reason.clone()));
        if let Some(control) = self.control.get() {
            control.cancel(reason);
        }
    }

    /// Waits. What a signal's handler raises interrupts the execution (E13).
    pub(super) fn wait_for<T: Send>(
        &self,
        py: Python<'_>,
        future: impl Future<Output = Result<T, Fault>> + Send,
    ) -> PyResult<T> {
        match self.home.wait(py, future) {
            Ok(done) => done.map_err(|fault| fault.raise()),
            Err(raised) => {
                self.interrupt(py);
                Err(raised)
            }
        }
    }

    /// Interrupts it and waits for the end of it, as long as E13 has it.
    pub(super) fn interrupt(&self, py: Python<'_>) {
        let Some(control) = self.control.get() else { return self.cancel("interrupted".into()) };
        control.interrupt();
        py.detach(|| self.home.block_on(async { timeout(INTERRUPTED, control.ended()).await.is_ok() }));
    }

    /// What goes in and what comes out, once it is open.
    pub(super) fn schemas(&self) -> Option<&(SchemaRef, SchemaRef)> {
        self.schemas.get()
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        Some(self.control.get()?.progress())
    }

    pub(super) fn termination(&self) -> Option<Termination> {
        self.control.get()?.termination()
    }
}

/// A batch as it is, for a function that takes any columns: they are those that the session was opened for, in order.
fn as_opened(batch: RecordBatch, opened: &SchemaRef) -> Result<RecordBatch, Fault> {
    fn names(schema: &SchemaRef) -> impl Iterator<Item = &str> {
        schema.fields().iter().map(|field| field.name().as_str())
    }
    if Arc::ptr_eq(batch.schema_ref(), opened) || names(batch.schema_ref()).eq(names(opened)) {
        return Ok(batch);
    }
    let list = |schema| names(schema).collect::<Vec<_>>().join(", ");
    let (given, wanted) = (list(batch.schema_ref()), list(opened));
    let text =
        format!("a batch has the columns {given}, and the session is for {wanted}; all batches have the same columns");
    Err(Fault::misuse("OTHER_COLUMNS", text))
}
