//! What is the user's, as long as an execution needs it.

use std::ops::Deref;

use pyo3::prelude::*;

use super::errors::calls;
use super::seat::clean_up;

/// Something of the user's that an execution holds, such as its function and what that closes over. It is let go here and now
/// when this is dropped, before the last word of the execution, which may be behind its error: on its own thread, with the GIL. A
/// file that goes with it is closed when the caller is told of the end; and what it prints, and was begun to be printed before, is printed.
///
/// What is part of a cycle goes when Python collects it.
pub(crate) struct Held<T>(Option<T>);

impl<T> Held<T> {
    pub(crate) fn new(held: T) -> Self {
        Held(Some(held))
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it goes when this does")
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        // If it can't be printed, nobody is left to be told.
        let _ = clean_up(|py| {
            drop(held);
            let _ = calls(py).and_then(|calls| calls.call_method0("leave"));
            Ok(())
        });
    }
}
