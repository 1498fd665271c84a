//! The worker SDK: write a function once, and any engine that speaks Apache Spark's UDF protocol can call it, isolated
//! in a process of its own.
//!
//! This crate is *not* an engine and knows none: it serves. It opens no file, reads no configuration, and decides
//! nothing about queries.
//!
//! ```text
//!   engine ══ Unix socket or TCP ══▶ one thread for all I/O: connections, sessions, Manage
//!                                        │ batches            ▲ batches, errors, the result
//!                                        ▼                    │
//!                                    one thread an execution: your function
//! ```
//!
//! A worker:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use anyudf_worker::{Worker, udf};
//!
//! /// Degrees Celsius in degrees Fahrenheit.
//! #[udf]
//! fn fahrenheit(celsius: f64) -> f64 {
//!     celsius * 1.8 + 32.0
//! }
//!
//! fn main() -> ExitCode {
//!     Worker::new().with(fahrenheit).run()
//! }
//! ```
//!
//! # Four ways to write a function
//! - [`#[udf]`](udf) makes one of an ordinary function; [`rows`] has the types that it can take and return.
//! - [`scalar`] and [`map`] make one from a closure over Arrow arrays.
//! - [`Function`] is full control: it sees everything in Init, emits when it likes, is told when it is cancelled.
//! - [`RawFunction`] sees bytes, for data that is not Arrow.
//!
//! # What a function can rely on
//! - It runs on a thread of its own, and all its calls come on that thread. A panic is caught and reported.
//! - [`Output::emit`] blocks while the engine is slow; nothing piles up in between (E5).
//! - When the engine cancels, `emit` fails, and [`Output::cancelled`] says so inside long loops (R12).
//! - A limit on the time of each call can be set by the engine (C11); waiting in `emit` or for input does not count.
//!
//! Rule numbers such as R12 are those of `docs/protocol.md`.

extern crate self as anyudf_worker;

mod worker;

mod closures;

mod function;

mod raw;

mod definition;

mod invocation;

mod error;

mod options;

mod process;

mod parent;

mod serve;

mod session;

mod link;

mod thread;

mod clock;

mod panics;

mod counters;

mod adapter;

mod catalog;

mod tester;

pub mod bundled;

pub mod rows;

/// The version of Arrow that functions are written against.
pub use arrow;
/// The version of `chrono` whose dates and times functions take.
pub use chrono;

pub use anyudf_arrow::catalog::Entry;
pub use anyudf_grpc::{Endpoint, EndpointError};
pub use anyudf_macros::{WorkerUdfStruct as UdfStruct, worker_udf as udf};
pub use closures::{MapBuilder, MapResult, NoResult, Nulls, ScalarBuilder, map, scalar};
pub use definition::{Definition, IntoDefinition, Kind, Volatility};
pub use error::{Error, ErrorKind, Result};
pub use function::{Function, Output};
pub use invocation::Invocation;
pub use link::Reason;
pub use options::{Asked, Parent, ServeOptions, USAGE};
pub use raw::{Opened, RawFunction, RawOutput};
pub use rows::aggregate;
pub use serve::{Bound, Control};
pub use tester::{ColumnOf, Tested, UdfTester};
pub use worker::Worker;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
