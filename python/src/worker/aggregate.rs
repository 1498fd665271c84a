//! Aggregates: a state to which rows are added, as `#[udf(aggregate)]` has them in Rust.

use std::sync::Arc;

use anyudf_worker::{Error, Function, Invocation, Output, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::arrays::from_python;
use super::definition::{Opened, Told};
use super::errors::{OrError, calls};
use super::held::Held;
use super::rows::Called;
use super::seat::user_code;

/// An execution of an aggregate.
pub(crate) struct Aggregate {
    user: Held<State>,
    schema: SchemaRef,
    end: End,
}

/// The user's object, and what is called for each row.
struct State {
    told: Arc<Told>,
    state: Py<PyAny>,
    update: Py<PyAny>,
}

/// What is made of the state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Value,
    /// It is part of a whole.
    State,
}

impl Aggregate {
    pub(crate) fn open(user: Held<Opened>, invocation: &Invocation) -> Result<Self> {
        let schema = user.told.result.clone().ok_or_else(|| Error::user("the type of its result is not known"))?;
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
                let state = calls(py)?.call_method1("begin", (&user.call, states))?;
                let update = state.getattr("update")?;
                Ok((state.unbind(), update.unbind()))
            };
            begin().or_error(py)
        })?;
        let user = Held::new(State { told: Arc::clone(&user.told), state, update });
        Ok(Aggregate { user, schema, end })
    }
}

impl Function for Aggregate {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        let called = Called::of(&self.user.told, &batch)?;
        user_code(|py| {
            let update = || {
                let columns = called.columns(py, &self.user.told)?;
                calls(py)?.call_method1("each", (&self.user.update, columns, called.rows))
            };
            update().map(drop).map_err(|exception| called.place(py, exception))
        })
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        if self.end == End::State {
            let state = user_code(|py| {
                let state = || {
                    let state = calls(py)?.call_method1("state", (&self.user.state,))?;
                    Ok(state.cast_into::<PyBytes>()?.as_bytes().to_vec())
                };
                state().or_error(py)
            })?;
            out.set_result(state);
            return Ok(());
        }
        let value = user_code(|py| {
            let finish = || {
                let value = self.user.state.bind(py).call_method0("finish")?;
                let values = PyList::new(py, [value])?;
                from_python(
                    &calls(py)?.call_method1("array", (values, &self.user.told.value_type, &self.user.told.writer))?,
                )
            };
            finish().or_error(py)
        })?;
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![value])?)
    }
}
