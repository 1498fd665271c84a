//! The commands behind the binary `anyudf`: `worker`, `run`, `sql`, `functions`, `new`, `spec`, `conformance`, `engine`, `bench`.
//!
//! This crate is *not* a library to build on: its one function is what the binary calls. What the commands do is done by
//! `anyudf-engine` and `anyudf-worker`, which are.
//!
//! ```text
//!   anyudf run ──▶ files ──▶ plan ──▶ pipeline ══ sessions ══▶ anyudf worker, or any other
//! ```
//!
//! Exit codes: 0 done; 1 a function, a worker or the data failed; 2 bad usage; 130 interrupted, after Cancel was sent.

mod arguments;

mod run;

#[cfg(feature = "sql")]
mod sql;

mod functions;

mod new;

mod spec;

mod worker;

mod conformance;

mod engine;

mod bench;

mod catalog;

mod start;

pub mod files;

mod io;

mod interrupt;

mod failure;

mod names;

mod units;

#[cfg(test)]
mod test_worker;

pub use arguments::main;
