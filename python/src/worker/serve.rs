//! The worker as a process, as Python starts it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyudf_worker::{UdfTester, Worker};
use arrow::array::RecordBatch;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;

use super::arrays::batches_from_python;
use super::definition::define;
use super::seat::wait_for_user_code;
use super::{pickled, raw};

/// Serves until the worker is told to stop, and returns its exit code.
#[pyfunction]
#[pyo3(signature = (functions, formats, load, arguments, token))]
pub(crate) fn serve(
    py: Python<'_>,
    functions: Vec<Bound<'_, PyAny>>,
    formats: Vec<(String, Py<PyAny>)>,
    load: Option<Py<PyAny>>,
    arguments: Vec<OsString>,
    token: Option<OsString>,
) -> PyResult<u8> {
    let mut worker = Worker::new();
    for function in functions {
        worker = worker.with(define(py, &function)?);
    }
    if let Some(load) = load {
        worker = pickled::add(worker, load);
    }
    for (name, open) in formats {
        worker = raw::add(worker, name, open);
    }
    let code = py.detach(|| {
        let code = worker.run_with_token(arguments, token);
        let code = if code == ExitCode::SUCCESS {
            0
        } else if code == ExitCode::from(2) {
            2
        } else {
            1
        };
        // Those that were given up may still clean up.
        wait_for_user_code(CLEAN_UP);
        end_within(code);
        code
    });
    Ok(code)
}

/// How long functions that were given up may still take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_millis(500);

/// How long what is registered for the end of the process may take, and a function that holds the GIL.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// Ends the process after that time, whatever else happens in it.
fn end_within(code: u8) {
    unsafe extern "C" {
        fn _exit(code: std::ffi::c_int) -> !;
    }
    let end = move || {
        std::thread::sleep(LAST_WORDS);
        // SAFETY: it does not return, and all executions have ended.
        unsafe { _exit(code.into()) }
    };
    if std::thread::Builder::new().name("anyudf end".into()).spawn(end).is_err() {
        // SAFETY: as above.
        unsafe { _exit(code.into()) }
    }
}

/// Calls a function as a worker does, in this process, and returns a table.
#[pyfunction]
pub(crate) fn test<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    batches: Vec<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = define(py, function)?;
    let batches = batches.iter().map(batches_from_python).collect::<PyResult<Vec<Vec<RecordBatch>>>>()?;
    let batches: Vec<_> = batches.into_iter().flatten().collect();
    // On a thread of its own, as in a worker.
    let tested = py.detach(|| std::thread::spawn(move || UdfTester::new(definition).run(batches)).join());
    let failed = |text: String| PyRuntimeError::new_err(text);
    let tested = tested.map_err(|_| failed("the tester panicked".into()))?;
    let tested = tested.map_err(|error| failed(format!("{}: {error}", error.condition())))?;
    PyTable::try_new(tested.batches, tested.schema)?.into_pyarrow(py)
}
