//! Aggregates: a state to which rows are added, as `#[udf(aggregate)]` has them in Rust.

use std::sync::Arc;

use anyudf_worker::{Error, Function, Invocation, Output, Reason, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::arrays::from_python;
use super::definition::Told;
use super::errors::{OrError, calls};
use super::rows::Called;
use super::seat::{LastLine, clean_up, user_code};

/// An execution of an aggregate.
pub(crate) struct Aggregate {
    told: Arc<Told>,
    state: Py<PyAny>,
    update: Py<PyAny>,
    schema: SchemaRef,
    end: End,
    _printed: LastLine,
}

/// What is made of the state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Value,
    /// It is part of a whole.
    State,
}

impl Aggregate {
    pub(crate) fn open(told: &Arc<Told>, make: Py<PyAny>, invocation: &Invocation) -> Result<Self> {
        let schema = told.result.clone().ok_or_else(|| Error::user("the type of its result is not known"))?;
        let is_partial = invocation.options().get("partial").and_then(|partial| partial.as_bool());
        let end = if is_partial == Some(true) { End::State } else { End::Value };
        let (state, update) = user_code(|py| {
            let begin = || {
                let options = super::invocation::options(py, invocation)?;
                let states = match options.cast::<PyDict>() {
                    Ok(options) => options.get_item("states")?,
                    Err(_) => None,
                };
                let states = states.unwrap_or_else(|| PyList::empty(py).into_any());
                let state = calls(py)?.call_method1("begin", (make, states))?;
                let update = state.getattr("update")?;
                Ok((state.unbind(), update.unbind()))
            };
            begin().or_error(py)
        })?;
        Ok(Aggregate { told: Arc::clone(told), state, update, schema, end, _printed: LastLine })
    }
}

impl Function for Aggregate {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        let called = Called::of(&self.told, &batch)?;
        user_code(|py| {
            let update = || {
                let columns = called.columns(py, &self.told)?;
                calls(py)?.call_method1("each", (&self.update, columns, called.rows))
            };
            update().map(drop).map_err(|exception| called.place(py, exception))
        })
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        if self.end == End::State {
            let state = user_code(|py| {
                let state = || {
                    let state = calls(py)?.call_method1("state", (&self.state,))?;
                    Ok(state.cast_into::<PyBytes>()?.as_bytes().to_vec())
                };
                state().or_error(py)
            })?;
            out.set_result(state);
            return Ok(());
        }
        let value = user_code(|py| {
            let finish = || {
                let value = self.state.bind(py).call_method0("finish")?;
                let values = PyList::new(py, [value])?;
                from_python(&calls(py)?.call_method1("array", (values, &self.told.value_type, &self.told.writer))?)
            };
            finish().or_error(py)
        })?;
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![value])?)
    }

    fn cancel(self, _: &Reason) -> Result<()> {
        // What it holds goes here, on its own thread.
        clean_up(|_| {
            drop(self);
            Ok(())
        })
    }
}
