//! Calls that do not block: each has a token, and a byte in a socket tells when some are done.
//!
//! An event loop watches the socket. So no thread of ours ever needs the GIL, and none of Python's is blocked.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyudf_engine::Catalog;
use arrow::array::RecordBatch;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::catalog::to_python as catalog_to_python;
use super::error::Fault;
use super::home::Home;
use super::live::Live;
use super::local::Local;

/// What a call gives.
pub(super) enum Answer {
    Nothing,
    Batch(Arc<Live>, RecordBatch),
    Catalog(Option<Arc<Catalog>>),
}

/// Calls that are done and were not asked for yet.
struct Done {
    calls: Mutex<Vec<(u64, Result<Answer, Fault>)>>,
    reader: UnixStream,
    writer: UnixStream,
}

impl Done {
    fn push(&self, token: u64, answer: Result<Answer, Fault>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((token, answer));
        if calls.len() == 1 {
            // It fails only where a byte is there already.
            let _ = (&self.writer).write(&[1]);
        }
    }

    fn take(&self) -> Vec<(u64, Result<Answer, Fault>)> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // What is not read now only wakes once more.
        let _ = (&self.reader).read(&mut [0; 64]);
        std::mem::take(&mut *calls)
    }
}

/// What an event loop watches.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Completions {
    done: Local<Arc<Done>>,
}

type Finished<'py> = (u64, Option<Bound<'py, PyAny>>, Option<PyErr>);

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        let pair = || -> io::Result<_> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok((reader, writer))
        };
        let (reader, writer) = pair().map_err(PyOSError::new_err)?;
        Ok(Completions { done: Local::new(Arc::new(Done { calls: Mutex::default(), reader, writer })) })
    }

    fn fileno(&self) -> PyResult<i32> {
        Ok(self.done.here()?.reader.as_raw_fd())
    }

    /// Token, result and exception of each call that is done.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<Finished<'py>>> {
        let done = self.done.call()?;
        let taken = py.detach(|| done.take());
        let finished = taken.into_iter().map(|(token, answer)| {
            let value = answer.map_err(|fault| fault.raise()).and_then(|answer| answer.give(py));
            match value {
                Ok(value) => (token, value, None),
                Err(error) => (token, None, Some(error)),
            }
        });
        Ok(finished.collect())
    }
}

impl Completions {
    /// Begins a call, of which `token` will tell.
    pub(super) fn begin(
        &self,
        home: &Home,
        token: u64,
        call: impl Future<Output = Result<Answer, Fault>> + Send + 'static,
    ) -> PyResult<()> {
        let mut pending = Pending { done: Arc::clone(&*self.done.call()?), token: Some(token) };
        home.spawn(async move { pending.tell(call.await) });
        Ok(())
    }
}

/// A call whose end will be told, also when its task is dropped with its runtime.
struct Pending {
    done: Arc<Done>,
    token: Option<u64>,
}

impl Pending {
    fn tell(&mut self, answer: Result<Answer, Fault>) {
        if let Some(token) = self.token.take() {
            self.done.push(token, answer);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.tell(Err(Fault::closed()));
    }
}

impl Answer {
    fn give(self, py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
        match self {
            Answer::Nothing => Ok(None),
            Answer::Batch(live, batch) => live.give(py, batch).map(Some),
            Answer::Catalog(catalog) => {
                let catalog = catalog.map(|catalog| catalog_to_python(&catalog));
                catalog.map(|catalog| catalog.into_pyobject(py).map(Bound::into_any)).transpose()
            }
        }
    }
}
