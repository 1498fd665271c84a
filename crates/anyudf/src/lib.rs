//! Write a function once, in Rust or any other language, and run it, isolated in a process of its own, from any engine
//! that speaks Arrow, over Apache Spark's own UDF execution protocol.
//!
//! This crate is the face: it re-exports what most programs need. It is *not* a query engine, a scheduler or a cluster.
//!
//! ```text
//!   engine ── Session ══ Unix socket or TCP ══▶ worker process ── your function, on threads of its own
//!                 Init, batches ▶   ◀ batches, errors, metrics
//! ```
//!
//! # A worker
#![cfg_attr(feature = "worker", doc = "```no_run")]
#![cfg_attr(not(feature = "worker"), doc = "```ignore")]
//! use std::process::ExitCode;
//! use anyudf::prelude::*;
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
//! Any engine of the protocol can call it, and so can the command line, without an engine:
//! `anyudf run --worker ./my-worker --function fahrenheit --args celsius --input weather.parquet`.
//!
//! # An engine
#![cfg_attr(feature = "engine", doc = "```no_run")]
#![cfg_attr(not(feature = "engine"), doc = "```ignore")]
//! use anyudf::engine::{Error, Init, WorkerCommand, WorkerConfig, blocking::Engine};
//!
//! fn main() -> Result<(), Error> {
//!     let worker = Engine::new()?.start(&WorkerCommand::new("anyudf", ["worker"]), WorkerConfig::default())?;
//!     let session = worker.session(Init::new("echo", ""));
//!     session.init()?;
//!     let (mut input, mut output) = session.process()?;
//!     input.send(["a batch".into()])?;
//!     input.finish()?;
//!     assert_eq!(output.next()?.as_deref(), Some(&b"a batch"[..]));
//!     Ok(())
//! }
//! ```
//!
//! # Features
//! - `worker`: [`worker`], the SDK, and the [`prelude`].
//! - `engine`: [`engine`], which starts workers and opens sessions.
//! - Both together: [`testing`], which calls functions in their worker's process.
//! - `cli`: what the binary `anyudf` needs.
//! - `sql`: `anyudf sql`, which embeds DataFusion and is most of what there is to build.
//!
//! All are on by default; libraries turn the last two off with `default-features = false`. Who has a DataFusion program takes
//! the crate `anyudf-datafusion`.
//!
//! The crates and the extensions of the wire are experimental until 1.0, as Spark marks the protocol itself.

/// The engine's side: start a worker process, open a session, send batches, get batches.
#[cfg(feature = "engine")]
pub use anyudf_engine as engine;

/// The worker's side: write functions and serve them.
#[cfg(feature = "worker")]
pub use anyudf_worker as worker;

#[cfg(all(feature = "worker", feature = "engine"))]
pub mod testing;

/// What a worker's author needs, in one line: `use anyudf::prelude::*;`.
#[cfg(feature = "worker")]
pub mod prelude {
    pub use anyudf_macros::{UdfStruct, udf};
    pub use anyudf_worker::rows::{Decimal, Interval};
    pub use anyudf_worker::{
        Definition, Error, Function, Invocation, Kind, Nulls, Output, Reason, UdfTester, Volatility, Worker, map,
        scalar,
    };
}
