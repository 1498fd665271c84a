//! Where user code is called: the thread of an execution, as the interpreter knows it, and what interrupts it.
//!
//! A thread has one thread state for as long as it lives: `threading.local` and the exception that interrupts belong to it.
//! Cancel is heard on the thread that does all I/O, which must never wait for the GIL. So it sends word to a thread of its
//! own, which waits in its place and has the exception raised in the function, at its next bytecode.

use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyudf_worker::{Cancellation, Error, Result};
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::{create_exception, ffi};

use crate::foreign::thread_for;

create_exception!(
    anyudf,
    Cancelled,
    PyBaseException,
    "Raised inside a function whose execution was cancelled. Let it pass: nobody is told of it."
);

/// What interrupts user code needs to know of its thread. All but `wanted` changes with the GIL alone.
pub(crate) struct Seat {
    /// As Python numbers threads.
    ident: std::ffi::c_long,
    /// The function is to stop.
    wanted: AtomicBool,
    /// User code runs that may be interrupted.
    interruptible: AtomicBool,
    /// It was.
    told: AtomicBool,
}

impl Seat {
    /// Raises the exception in user code that runs, once.
    fn interrupt(&self, py: Python<'_>) {
        if self.interruptible.load(Ordering::Acquire) && !self.told.swap(true, Ordering::AcqRel) {
            self.raise(Cancelled::type_object_raw(py).cast());
        }
    }

    /// Sets the exception that user code meets at its next bytecode; none takes back what it has not met.
    fn raise(&self, exception: *mut ffi::PyObject) {
        // SAFETY: the GIL is held, the class lives as long as the module, and a thread that is gone is not found.
        unsafe { ffi::PyThreadState_SetAsyncExc(self.ident, exception) };
    }
}

use pyo3::type_object::PyTypeInfo;

/// The interpreter's state of this thread, from its first user code to its end.
struct ThreadState {
    /// A child of a fork has a copy of this, and is no worker.
    process: u32,
    ensured: ffi::PyGILState_STATE,
    state: *mut ffi::PyThreadState,
    seat: Arc<Seat>,
    watched: Cell<bool>,
}

impl ThreadState {
    fn new() -> Self {
        // SAFETY: each is given back in `drop`, on the same thread; between both the GIL is taken as any other thread does.
        unsafe {
            let ensured = ffi::PyGILState_Ensure();
            let ident = ffi::PyThread_get_thread_ident() as std::ffi::c_long;
            let state = ffi::PyEval_SaveThread();
            let [wanted, interruptible, told] = [(); 3].map(|()| AtomicBool::new(false));
            let seat = Arc::new(Seat { ident, wanted, interruptible, told });
            ThreadState { process: std::process::id(), ensured, state, seat, watched: Cell::new(false) }
        }
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        // SAFETY: the counterparts of `new`.
        unsafe { ffi::PyEval_RestoreThread(self.state) };
        Python::attach(|py| {
            // What it has begun to print is printed; if that can't be, nobody is left to be told.
            let _ = super::errors::calls(py).and_then(|calls| calls.call_method0("leave"));
        });
        // SAFETY: as above.
        unsafe { ffi::PyGILState_Release(self.ensured) };
    }
}

thread_local! {
    static STATE: OnceCell<ThreadState> = const { OnceCell::new() };
}

/// Has user code on this thread interrupted when its execution is cancelled.
pub(crate) fn watch(cancellation: &Cancellation) {
    STATE.with(|state| {
        let state = state.get_or_init(ThreadState::new);
        if !state.watched.replace(true) {
            // The thread is there before it is needed on the one that does all I/O.
            interrupts();
            let seat = Arc::clone(&state.seat);
            cancellation.on_cancel(move || {
                seat.wanted.store(true, Ordering::Release);
                // The thread goes with the process alone.
                let _ = interrupts().send(Arc::clone(&seat));
            });
        }
    });
}

/// Calls user code: with the GIL, on a thread state that stays, interrupted when the execution is cancelled.
///
/// # Errors
/// What it returns; kind `Cancelled` without a call when the execution is cancelled already.
pub(crate) fn user_code<T>(call: impl FnOnce(Python<'_>) -> Result<T>) -> Result<T> {
    enter(|py, seat| {
        seat.interruptible.store(true, Ordering::Release);
        // Whoever sets it from now on finds the line above.
        let result = if seat.wanted.load(Ordering::Acquire) { Err(Error::cancelled()) } else { call(py) };
        seat.interruptible.store(false, Ordering::Release);
        if seat.told.load(Ordering::Acquire) {
            seat.raise(std::ptr::null_mut());
        }
        result
    })
}

/// Calls user code that cleans up: nothing interrupts it.
///
/// # Errors
/// What it returns.
pub(crate) fn clean_up<T>(call: impl FnOnce(Python<'_>) -> Result<T>) -> Result<T> {
    enter(|py, _| call(py))
}

/// Threads on which user code runs.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// Waits for functions that were told to stop, at most that long.
pub(crate) fn wait_for_user_code(patience: Duration) {
    let began = Instant::now();
    while BUSY.load(Ordering::Acquire) > 0 && began.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn enter<T>(call: impl FnOnce(Python<'_>, &Seat) -> Result<T>) -> Result<T> {
    STATE.with(|state| {
        let state = state.get_or_init(ThreadState::new);
        BUSY.fetch_add(1, Ordering::AcqRel);
        let result = Python::attach(|py| call(py, &state.seat));
        BUSY.fetch_sub(1, Ordering::AcqRel);
        only_in(state.process);
        result
    })
}

/// User code learns of the cancellation in another way: it is not interrupted as well.
pub(crate) fn told(_: Python<'_>) {
    STATE.with(|state| {
        if let Some(ThreadState { seat, .. }) = state.get() {
            seat.told.store(true, Ordering::Release);
            seat.raise(std::ptr::null_mut());
        }
    });
}

/// Ends a child of the worker's process in which user code asks for input: there is one worker, and its input.
pub(crate) fn not_in_a_child() {
    STATE.with(|state| state.get().map(|state| only_in(state.process)));
}

/// Ends this process when it is not that one: a function has forked, and its child came back into our code.
fn only_in(process: u32) {
    unsafe extern "C" {
        fn _exit(code: std::ffi::c_int) -> !;
    }
    if std::process::id() != process {
        eprintln!("anyudf: a function has forked, and its child has returned from it; the child ends here");
        // SAFETY: it returns never, and runs nothing of what the parent has registered.
        unsafe { _exit(1) }
    }
}

/// Where interrupts wait for the GIL: behind nothing but each other.
fn interrupts() -> &'static mpsc::Sender<Arc<Seat>> {
    static INTERRUPTS: OnceLock<mpsc::Sender<Arc<Seat>>> = OnceLock::new();
    INTERRUPTS
        .get_or_init(|| thread_for("anyudf interrupts", |seat: Arc<Seat>| Python::attach(|py| seat.interrupt(py))))
}
