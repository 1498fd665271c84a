//! The engine's errors as exceptions: the classes are Python's, in `anyudf.errors`.

use std::error::Error as _;

use anyudf_engine::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// What went wrong: in the engine, or here. It is made an exception where the GIL is held.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Engine(Error),
    Ours { kind: &'static str, condition: &'static str, text: String },
}

impl Fault {
    pub(super) fn misuse(condition: &'static str, text: impl Into<String>) -> Self {
        Fault::Ours { kind: "misuse", condition, text: text.into() }
    }

    pub(super) fn cancelled() -> Self {
        Fault::Ours { kind: "cancelled", condition: "CANCELLED", text: "the execution was cancelled".into() }
    }

    pub(super) fn closed() -> Self {
        Fault::misuse(
            "DISPATCHER_CLOSED",
            "the dispatcher is closed and gives no more sessions (D12); make another one",
        )
    }

    pub(super) fn ending() -> Self {
        let text = "the interpreter is ending, and all dispatchers with it; end what works with them before";
        Fault::misuse("DISPATCHER_CLOSED", text)
    }

    pub(super) fn launch(condition: &'static str, text: impl Into<String>) -> Self {
        Fault::Ours { kind: "launch", condition, text: text.into() }
    }

    /// The exception.
    pub(super) fn raise(&self) -> PyErr {
        match self {
            Fault::Engine(error) => raise(error),
            Fault::Ours { kind, condition, text } => made(kind, condition, text, None),
        }
    }
}

/// Makes the exception for an error.
fn raise(error: &Error) -> PyErr {
    let kind = match error.kind() {
        ErrorKind::User => "user",
        ErrorKind::Worker => "worker",
        ErrorKind::Violation => "violation",
        ErrorKind::Misuse => "misuse",
        ErrorKind::Launch => "launch",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Cancelled => "cancelled",
        // One that is not known here is nobody's in particular.
        _ => "error",
    };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let traceback = error.execution().and_then(|execution| execution.traceback.clone());
    made(kind, error.condition(), &text, traceback)
}

/// What came with a fork.
pub(super) fn forked(parent: u32) -> PyErr {
    let text = format!(
        "this belongs to process {parent}, and this is process {}, which was forked from it: workers and threads do not come \
         with a fork; make a Dispatcher of its own in this process",
        std::process::id(),
    );
    Fault::misuse("FORKED", text).raise()
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        fault.raise()
    }
}

fn made(kind: &str, condition: &str, text: &str, traceback: Option<String>) -> PyErr {
    Python::attach(|py| match make(py, kind, condition, text, traceback) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    })
}

fn make<'py>(
    py: Python<'py>,
    kind: &str,
    condition: &str,
    text: &str,
    traceback: Option<String>,
) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "anyudf.errors", "_make")?;
    make.call1((kind, condition, text, traceback))
}
