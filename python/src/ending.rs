//! The end of the interpreter, which must find no thread in a call of ours.
//!
//! A thread that wants the GIL back when the interpreter is being finalized is ended by CPython where it stands; before 3.14
//! that unwinds its stack, and a frame of Rust on it aborts the process. Only daemon threads live that long, and threads of
//! ours. So at the end, as long as Python still runs ([`begin`]):
//!
//! ```text
//!   calls that wait come back, since all dispatchers are closed; they are waited for
//!   calls that come now are refused at once: nothing runs in them that could lose the GIL
//!   what Python made and we let go stays where it is
//! ```
//!
//! What the caller has made, and may take any time, is not asked under a frame of ours in this half: `exchange.py` and `sources.py`
//! do that. Streams are, which libraries have made, and are waited for as calls are: of one behind which is Python, and which takes
//! longer than that, the maker's frames would not survive it either, such as pyarrow's. So are numbers and texts that
//! become such, and the destructors of memory that we let go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// From here on calls are refused.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// From here on nothing of Python's is given back.
static OVER: AtomicBool = AtomicBool::new(false);

/// Calls that have not returned, and what else is to be waited for.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// What calls are refused with, made while that could be done.
static REFUSAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A call of ours, or something else that the end waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    process: u32,
}

impl Inside {
    /// A call begins, with the GIL.
    ///
    /// # Errors
    /// When the interpreter ends.
    pub(crate) fn call() -> PyResult<Self> {
        let inside = Inside::new();
        match BEGUN.load(Ordering::SeqCst) {
            false => Ok(inside),
            true => Err(Python::attach(refusal)),
        }
    }

    /// Something of Python's is to be given back, on a thread of ours. `None` when that must not be any more.
    pub(crate) fn giving_back() -> Option<Self> {
        let inside = Inside::new();
        (!OVER.load(Ordering::SeqCst)).then_some(inside)
    }

    /// Something is to be done before the process ends, on a thread of ours.
    pub(crate) fn background() -> Self {
        Inside::new()
    }

    fn new() -> Self {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        Inside { process: std::process::id() }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // What a child has from its parent is not counted there.
        if self.process == std::process::id() {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The interpreter ends: from here on calls are refused with `refusal`.
pub(crate) fn begin(py: Python<'_>, refusal: PyErr) {
    // The end may be told twice.
    let _ = REFUSAL.set(py, refusal.into_value(py).into_any());
    BEGUN.store(true, Ordering::SeqCst);
}

/// Whether it ends: everything is closed already then.
pub(crate) fn has_begun() -> bool {
    BEGUN.load(Ordering::SeqCst)
}

/// Waits for what has begun before, but not longer than until then. Must not be called with the GIL.
pub(crate) fn wait(until: Instant) {
    OVER.store(true, Ordering::SeqCst);
    while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
}

/// In a forked child: its interpreter does not end, and none of its parent's calls is here.
pub(crate) fn forked() {
    BEGUN.store(false, Ordering::SeqCst);
    OVER.store(false, Ordering::SeqCst);
    INSIDE.store(0, Ordering::SeqCst);
}

/// No code of Python's runs in here: what is raised was made before, once for all.
fn refusal(py: Python<'_>) -> PyErr {
    let Some(refusal) = REFUSAL.get(py) else { return pyo3::exceptions::PyRuntimeError::new_err("the process ends") };
    let refusal = PyErr::from_value(refusal.bind(py).clone());
    // Whoever asks again and again would make it longer and longer. What the last one's frames hold is not given back: its
    // destructors may be the user's code.
    std::mem::forget(refusal.traceback(py));
    refusal.set_traceback(py, None);
    refusal
}
