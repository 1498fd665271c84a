//! What belongs to the process that made it.

use std::mem::ManuallyDrop;
use std::ops::Deref;

use pyo3::PyResult;

use super::error;
use crate::ending::Inside;

/// Something of this process's that no forked child may use or drop: threads that it needs are not there, and locks in it
/// may be locked for ever. In the child using it is an error, and dropping it does nothing.
#[derive(Debug)]
pub(super) struct Local<T> {
    process: u32,
    value: ManuallyDrop<T>,
}

/// It, for a call.
#[derive(Debug)]
pub(super) struct Call<'a, T> {
    value: &'a T,
    _inside: Inside,
}

impl<T> Deref for Call<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Local<T> {
    pub(super) fn new(value: T) -> Self {
        Local { process: std::process::id(), value: ManuallyDrop::new(value) }
    }

    pub(super) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// For who neither waits nor has Python do anything.
    ///
    /// # Errors
    /// In a forked child, one that says what to do instead.
    pub(super) fn here(&self) -> PyResult<&T> {
        match self.is_here() {
            true => Ok(&self.value),
            false => Err(error::forked(self.process)),
        }
    }

    /// For a call, which lasts until what this gives is dropped.
    ///
    /// # Errors
    /// Those of [`here`](Local::here), and when the interpreter ends.
    pub(super) fn call(&self) -> PyResult<Call<'_, T>> {
        Ok(Call { value: self.here()?, _inside: Inside::call()? })
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
