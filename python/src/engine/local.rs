//! What belongs to the process that made it.

use std::mem::ManuallyDrop;

use pyo3::PyResult;

use super::error;

/// Something of this process's that no forked child may use or drop: threads that it needs are not there, and locks in it
/// may be locked for ever. In the child using it is an error, and dropping it does nothing.
#[derive(Debug)]
pub(super) struct Local<T> {
    process: u32,
    value: ManuallyDrop<T>,
}

impl<T> Local<T> {
    pub(super) fn new(value: T) -> Self {
        Local { process: std::process::id(), value: ManuallyDrop::new(value) }
    }

    pub(super) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// For who must not raise.
    pub(super) fn if_here(&self) -> Option<&T> {
        self.is_here().then_some(&*self.value)
    }

    /// # Errors
    /// In a forked child, one that says what to do instead.
    pub(super) fn here(&self) -> PyResult<&T> {
        match self.is_here() {
            true => Ok(&self.value),
            false => Err(error::forked(self.process)),
        }
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: it is dropped here and nowhere else, and `self` is not used after.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}
