//! Exceptions as errors of the worker.

use anyudf_worker::Error;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::seat::Cancelled;

/// The helpers in Python.
pub(crate) fn calls<'py>(py: Python<'py>) -> PyResult<&'py Bound<'py, PyModule>> {
    static CALLS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    CALLS.get_or_try_init(py, || py.import("anyudf._calls").map(Bound::unbind)).map(|module| module.bind(py))
}

/// What an exception is told as.
pub(crate) fn error(py: Python<'_>, exception: PyErr) -> Error {
    if exception.is_instance_of::<Cancelled>(py) {
        return Error::cancelled();
    }
    // In the stable interface it is kept beside the exception, which is all that Python sees.
    if let Some(traceback) = exception.traceback(py) {
        let _ = exception.value(py).setattr(intern!(py, "__traceback__"), traceback);
    }
    type Described = (String, String, String, String, Option<u64>);
    let described = calls(py)
        .and_then(|calls| calls.call_method1("describe", (exception.value(py),)))
        .and_then(|described| described.extract::<Described>());
    let Ok((kind, condition, text, traceback, row)) = described else {
        return Error::user(exception.to_string());
    };
    let error = match kind.as_str() {
        "protocol" => return Error::protocol(condition, text),
        "worker" if condition.is_empty() => return Error::worker("SIMULATED", text).verbatim(),
        "worker" => return Error::worker(condition, text),
        _ => Error::user(text).with_class(condition),
    };
    let error = if traceback.is_empty() { error } else { error.with_traceback(traceback) };
    match row {
        Some(row) => error.at_row(row),
        None => error,
    }
}

/// `?` for what Python says.
pub(crate) trait OrError<T> {
    /// The value, or the exception as an error.
    fn or_error(self, py: Python<'_>) -> anyudf_worker::Result<T>;
}

impl<T> OrError<T> for PyResult<T> {
    fn or_error(self, py: Python<'_>) -> anyudf_worker::Result<T> {
        self.map_err(|exception| error(py, exception))
    }
}
