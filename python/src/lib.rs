//! The native half of the Python package `anyudf`.

mod ending;
mod engine;
mod foreign;
mod worker;

use pyo3::prelude::*;

/// The module `anyudf._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::engine::{
        Arguments, Batch, Completions, Dispatcher, Exchange, FunctionInfo, Reader, Session, end_all, fit, forked,
        signature,
    };

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::worker::Cancelled;

    #[pymodule_export]
    use crate::worker::serve::{serve, test};
}
