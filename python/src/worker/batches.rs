//! Functions that yield batches: tables, which have no input, and maps, which ask for theirs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyudf_worker::{Error, ErrorKind, Function, Input, Invocation, Output, PulledFunction, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3_arrow::PySchema;

use super::arrays::{batch_to_pyarrow, fitted, yielded};
use super::definition::{Opened, result_of};
use super::errors::{OrError, calls};
use super::held::Held;
use super::seat::{Cancelled, clean_up, not_in_a_child, told, user_code};

/// A function without input.
pub(crate) struct Table {
    user: Held<Opened>,
    schema: SchemaRef,
}

impl Table {
    pub(crate) fn open(user: Held<Opened>, invocation: &Invocation) -> Result<Self> {
        Ok(Table { schema: result_of(&user.told, invocation)?, user })
    }
}

impl Function for Table {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        let items = user_code(|py| {
            let call = || {
                let schema = PySchema::new(Arc::clone(out.schema())).into_pyarrow(py)?;
                let result = self.user.call.bind(py).call0()?;
                let items = calls(py)?.call_method1("table", (result, schema))?;
                Ok(Held::new(items.cast_into::<PyIterator>()?.unbind()))
            };
            call().or_error(py)
        })?;
        emit_all(&items, out)
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err(Error::user("a table function takes no input").with_class("UNEXPECTED_INPUT"))
    }
}

/// A function that takes an iterator of batches and is one.
pub(crate) struct Map {
    user: Held<Opened>,
    schema: SchemaRef,
}

impl Map {
    pub(crate) fn open(user: Held<Opened>, invocation: &Invocation) -> Result<Self> {
        Ok(Map { schema: result_of(&user.told, invocation)?, user })
    }
}

impl PulledFunction for Map {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn run(self, input: Input, out: &mut Output<'_>) -> Result<()> {
        let failed = Failed::default();
        let ran = user_code(|py| {
            let call = || {
                let schema = PySchema::new(Arc::clone(out.schema())).into_pyarrow(py)?;
                let batches = Bound::new(py, Batches { input: Mutex::new(input), failed: Arc::clone(&failed) })?;
                let result = self.user.call.bind(py).call1((batches,))?;
                let items = calls(py)?.call_method1("batches", (result, schema))?;
                Ok(Held::new(items.cast_into::<PyIterator>()?.unbind()))
            };
            call().or_error(py)
        });
        let ran = ran.and_then(|items| emit_all(&items, out));
        // Input that failed is the error, whatever the function has made of the exception: a batch is missing (C10).
        lock(&failed).take().map_or(ran, Err)
    }
}

/// What input failed with.
pub(super) type Failed = Arc<Mutex<Option<Error>>>;

/// The batches of an execution's input, an iterator.
#[pyclass(frozen)]
struct Batches {
    input: Mutex<Input>,
    failed: Failed,
}

#[pymethods]
impl Batches {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Waits without the GIL.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        not_in_a_child();
        match py.detach(|| lock(&self.input).next()) {
            Ok(batch) => batch.map(|batch| batch_to_pyarrow(py, batch)).transpose(),
            Err(error) => Err(exception(py, &self.failed, error)),
        }
    }
}

/// An error of the input as what Python raises.
pub(super) fn exception(py: Python<'_>, failed: &Failed, error: Error) -> PyErr {
    if error.kind() == ErrorKind::Cancelled {
        told(py);
        return Cancelled::new_err(());
    }
    let exception = PyRuntimeError::new_err(error.to_string());
    *lock(failed) = Some(error);
    exception
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Emits what an iterator yields. Between two of them the GIL is not held.
fn emit_all(items: &Py<PyIterator>, out: &mut Output<'_>) -> Result<()> {
    let emitted = emit_each(items, out);
    if emitted.is_err() {
        close(items);
    }
    emitted
}

/// Ends an iterator before its end.
pub(super) fn close(items: &Py<PyIterator>) {
    // A generator cleans up in its `finally`; what that raises is not what is reported.
    let _ = clean_up(|py| {
        let items = items.bind(py);
        match items.hasattr("close") {
            Ok(true) => items.call_method0("close").map(drop).or_error(py),
            _ => Ok(()),
        }
    });
}

fn emit_each(items: &Py<PyIterator>, out: &mut Output<'_>) -> Result<()> {
    loop {
        let next = user_code(|py| match items.bind(py).clone().next() {
            Some(item) => yielded(py, &item.or_error(py)?).map(Some),
            None => Ok(None),
        })?;
        let Some(batches) = next else { return Ok(()) };
        for batch in &batches {
            out.emit(fitted(batch, out.schema())?)?;
        }
    }
}
