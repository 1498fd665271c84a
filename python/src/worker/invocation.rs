//! What a function in Python can know of its execution.

use anyudf_worker::{Invocation, Result};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3_arrow::PySchema;

use super::errors::{OrError, calls};

/// Puts what the engine said where `anyudf.invocation()` finds it, on this thread.
pub(crate) fn announce(py: Python<'_>, invocation: &Invocation) -> Result<()> {
    let (input, output) = (invocation.input_schema()?, invocation.output_schema()?);
    let put = || {
        let told = PyDict::new(py);
        told.set_item("name", invocation.name())?;
        told.set_item("eval_type", invocation.eval_type())?;
        told.set_item("timezone", invocation.timezone())?;
        told.set_item("task_context", invocation.task_context())?;
        told.set_item("session_conf", invocation.session_conf())?;
        told.set_item("parameters", invocation.parameters().map(|bytes| PyBytes::new(py, bytes)))?;
        told.set_item("input_schema", input.map(|schema| PySchema::new(schema).into_pyarrow(py)).transpose()?)?;
        told.set_item("output_schema", output.map(|schema| PySchema::new(schema).into_pyarrow(py)).transpose()?)?;
        told.set_item("options", options(py, invocation)?)?;
        calls(py)?.call_method1("announce", (told,)).map(drop)
    };
    put().or_error(py)
}

/// The options of the call, as Python reads JSON; None without any.
pub(crate) fn options<'py>(py: Python<'py>, invocation: &Invocation) -> PyResult<Bound<'py, PyAny>> {
    let options = invocation.options();
    if options.is_null() {
        return Ok(py.None().into_bound(py));
    }
    let loads = py.import("json")?.getattr("loads")?;
    // In the payload itself numbers have all their digits.
    if invocation.format() == "function"
        && let Ok(payload) = loads.call1((PyBytes::new(py, invocation.payload()),))?.cast::<PyDict>()
        && let Some(options) = payload.get_item("options")?
    {
        return Ok(options);
    }
    loads.call1((options.to_string(),))
}
