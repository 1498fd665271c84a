//! Functions that yield batches: tables, which have no input, and maps, which ask for theirs.

use std::sync::Arc;

use anyudf_worker::{Error, Function, Invocation, Output, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3_arrow::PySchema;

use super::arrays::{fitted, yielded};
use super::definition::{Told, result_of};
use super::errors::{OrError, calls};
use super::seat::{clean_up, user_code};

/// A function without input.
pub(crate) struct Table {
    call: Py<PyAny>,
    schema: SchemaRef,
}

impl Table {
    pub(crate) fn open(told: &Arc<Told>, call: Py<PyAny>, invocation: &Invocation) -> Result<Self> {
        Ok(Table { call, schema: result_of(told, invocation)? })
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
                let result = self.call.bind(py).call0()?;
                let items = calls(py)?.call_method1("table", (result, schema))?;
                Ok(items.cast_into::<PyIterator>()?.unbind())
            };
            call().or_error(py)
        })?;
        emit_all(&items, out)
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err(Error::user("a table function takes no input").with_class("UNEXPECTED_INPUT"))
    }
}

/// Emits what an iterator yields. Between two of them the GIL is not held.
fn emit_all(items: &Py<PyIterator>, out: &mut Output<'_>) -> Result<()> {
    let emitted = emit_each(items, out);
    if emitted.is_err() {
        // A generator cleans up in its `finally`; what that raises is not what is reported.
        let _ = clean_up(|py| {
            let items = items.bind(py);
            match items.hasattr("close") {
                Ok(true) => items.call_method0("close").map(drop).or_error(py),
                _ => Ok(()),
            }
        });
    }
    emitted
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
