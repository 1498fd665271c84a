//! The payload format `python/cloudpickle`: the function itself is in the payload.

use anyudf_worker::{Invocation, Opened, Result, Worker};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::definition::define;
use super::errors::OrError;
use super::held::Held;
use super::seat::{user_code, watch};

/// The format's name.
const FORMAT: &str = "python/cloudpickle";

/// Adds the format; `load` makes a `Function` of a payload.
pub(crate) fn add(worker: Worker, load: Py<PyAny>) -> Worker {
    worker.with_format(FORMAT, move |invocation| open(&load, invocation))
}

fn open(load: &Py<PyAny>, invocation: &mut Invocation) -> Result<Opened> {
    watch(&invocation.cancellation());
    // Whatever the payload imports runs here, and is user code.
    let definition = user_code(|py| {
        let load = || {
            let function = load.bind(py).call1((PyBytes::new(py, invocation.payload()),))?;
            define(py, &function)
        };
        load().or_error(py)
    })?;
    // What is opened holds all that it needs of it.
    Held::new(definition).open(invocation)
}
