//! Payload formats over bytes, written in Python. A function is a generator: it iterates over the data that comes and yields
//! what goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyudf_worker::{Invocation, Opened, PulledRawFunction, RawInput, RawOutput, Result, Worker};
use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyIterator};

use super::batches::{Failed, close, exception, lock};
use super::errors::OrError;
use super::held::Held;
use super::seat::{not_in_a_child, user_code, watch};

/// Adds a format; `open` makes a function of a payload.
pub(crate) fn add(worker: Worker, name: String, open: Py<PyAny>) -> Worker {
    worker.with_format(name, move |invocation| {
        watch(&invocation.cancellation());
        let call = user_code(|py| open_in(py, &open, invocation).or_error(py))?;
        Ok(Opened::pulled(PyRaw { call: Held::new(call) }))
    })
}

fn open_in(py: Python<'_>, open: &Py<PyAny>, invocation: &Invocation) -> PyResult<Py<PyAny>> {
    open.call1(py, (PyBytes::new(py, invocation.payload()),))
}

struct PyRaw {
    call: Held<Py<PyAny>>,
}

impl PulledRawFunction for PyRaw {
    fn run(self: Box<Self>, input: RawInput, out: &mut RawOutput<'_>) -> Result<()> {
        let failed = Failed::default();
        let (items, last) = user_code(|py| {
            let call = || {
                let data = Bound::new(py, Data { input: Mutex::new(input), failed: Arc::clone(&failed) })?;
                let last = PyDict::new(py);
                let items = self.call.bind(py).call1((data, &last))?.try_iter()?;
                Ok((Held::new(items.unbind()), Held::new(last.unbind())))
            };
            call().or_error(py)
        })?;
        let ran = send_each(&items, out);
        let ran = lock(&failed).take().map_or(ran, Err);
        if ran.is_err() {
            close(&items);
            return ran;
        }
        let (data, metrics) = user_code(|py| read(last.bind(py)).or_error(py))?;
        metrics.into_iter().for_each(|(name, value)| out.metric(name, value));
        if let Some(data) = data {
            out.set_result(Bytes::from_owner(data));
        }
        Ok(())
    }
}

/// What a function has left: its result, and metrics of its own.
fn read(last: &Bound<'_, PyDict>) -> PyResult<(Option<PyBackedBytes>, BTreeMap<String, String>)> {
    let data = match last.get_item("data")? {
        Some(data) => Some(data.extract()?),
        None => None,
    };
    let metrics = match last.get_item("metrics")? {
        Some(metrics) => metrics.extract()?,
        None => BTreeMap::new(),
    };
    Ok((data, metrics))
}

fn send_each(items: &Py<PyIterator>, out: &mut RawOutput<'_>) -> Result<()> {
    loop {
        let next = user_code(|py| match items.bind(py).clone().next() {
            Some(item) => item.and_then(|item| Ok(item.extract::<PyBackedBytes>()?)).or_error(py).map(Some),
            None => Ok(None),
        })?;
        match next {
            Some(data) => out.send([Bytes::from_owner(data)])?,
            None => return Ok(()),
        }
    }
}

/// The data of an execution's input, an iterator of bytes.
#[pyclass(frozen)]
struct Data {
    input: Mutex<RawInput>,
    failed: Failed,
}

#[pymethods]
impl Data {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        not_in_a_child();
        match py.detach(|| lock(&self.input).next()) {
            Ok(data) => Ok(data.map(|data| PyBytes::new(py, &data))),
            Err(error) => Err(exception(py, &self.failed, error)),
        }
    }
}
