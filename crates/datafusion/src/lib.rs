//! Functions that live in worker processes, called from the SQL of [DataFusion](datafusion).
//!
//! This crate is *not* an engine: it plugs into anybody's [`SessionContext`](datafusion::prelude::SessionContext), beside
//! everything else that is registered there.
//!
//! ```no_run
//! # use anyudf_engine::{Dispatcher, DispatcherConfig, WorkerSpecification};
//! # use datafusion::error::DataFusionError;
//! # use datafusion::prelude::SessionContext;
//! use anyudf_datafusion::RegisterWorker;
//!
//! # async fn run(dispatcher: Dispatcher) -> Result<(), DataFusionError> {
//! let context = SessionContext::new();
//! context.register_worker(dispatcher).await?; // Dispatcher::new(&WorkerSpecification::read("worker.json")?, …)
//! let near = context.sql("SELECT name FROM 'airports.csv' WHERE distance_miles(lat, lon, 40.6, -73.8) < 100").await?;
//! near.show().await?;
//! # Ok(()) }
//! ```
//!
//! # What SQL may do with a worker's functions
//! | kind | where | |
//! |---|---|---|
//! | scalar | wherever a scalar expression is: SELECT, WHERE, GROUP BY, HAVING, ORDER BY, ON, CASE, FILTER, OVER | `SELECT f(a, b => 1)` |
//! | table | in FROM, with constants as arguments, in order or by name | `FROM series(1, stop => 10)` |
//! | map | in FROM, over a subquery, with options by name | `FROM words((SELECT text FROM docs), lower => true)` |
//! | aggregate | nowhere: `anyudf run` and the SDK call it | |
//!
//! Of scalar functions it can't be done to call one
//! - in the ON of an outer, semi or anti join with columns of both sides: it can in that of an inner one,
//! - in VALUES, or in the body of a lambda: call it in a SELECT around that.
//!
//! Map and table functions have the same as methods for data frames: [`RegisteredWorker::map`] and
//! [`table`](RegisteredWorker::table).
//!
//! # How calls are made
//! ```text
//!   SELECT f(a) FROM t WHERE a > 0          Projection: c1
//!                                             WorkerCall: f(a) AS c1 ─── WorkerExec: a session a partition ══▶ worker
//!                                               Filter: a > 0
//!                                                 Scan
//! ```
//! [`LiftWorkerCalls`], an optimizer rule, takes calls out of their expressions and puts nodes beneath.
//! - Calls of one worker for the same rows travel together, also nested ones: the rows go there once, what is between the
//!   calls stays there, and constants are sent once. A worker must have the payload format `expression` for that, as all
//!   have that are made with anyudf's SDK; another one gets its calls one by one.
//! - Batches are under way in both directions at once; only the arguments travel, and results are put beside the rows they
//!   belong to, in order. A plan that is dropped, as LIMIT does, cancels (R9).
//! - A function is called only for rows that need it: those that filters leave, and those for which a CASE, COALESCE, AND or
//!   OR comes to it. Equal calls are made once, unless the function is volatile, and so is a call whose arguments are all
//!   constant. What a worker's catalog does not say is [`Volatile`](anyudf_arrow::catalog::Volatility::Volatile).
//! - Batches begin with 64 rows and grow with the speed of the function to about 50 ms of its work, or a mebibyte.
//! - A partition's nodes need a session each, all at once: a dispatcher whose workers serve one at a time needs as many
//!   processes, see [`PoolConfig::max_workers`](anyudf_engine::PoolConfig::max_workers).
//!
//! EXPLAIN shows the worker, the function and the sessions; EXPLAIN ANALYZE how many rows and bytes went each way, how long
//! results were waited for (`wait`), and how long the function itself worked (`user_time`).
//!
//! # Types
//! Arguments become what the function takes as with DataFusion's own functions: numbers widen, anything becomes text. Beyond
//! that, integers become narrower ones with a check, floats are rounded, and text is read as dates and times, since SQL's
//! literals are Int64, Float64 and text. Everything else is an error of planning that says the signature.
//!
//! # Errors
//! A failed query has an [`Error`] in DataFusion's: [`Error::of`] finds it. It says which function failed in which row, whose
//! fault it was, and under which name (C12). Rule numbers such as R9 are those of `docs/protocol.md`.

mod register;

mod worker;

mod function;

mod signature;

mod lift;

mod node;

mod planner;

mod exec;

mod relation;

mod totals;

#[cfg(feature = "files")]
mod files;

mod error;

pub use error::Error;
#[cfg(feature = "files")]
pub use files::{Rows, SqlError, SqlNames, SqlProgress, SqlSession, Statement};
pub use lift::LiftWorkerCalls;
pub use planner::WorkerPlanner;
pub use register::{RegisterWorker, RegisteredWorker};
pub use totals::CallTotals;
pub use worker::{Taken, WorkerOptions};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
