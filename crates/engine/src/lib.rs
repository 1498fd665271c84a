//! The engine's side of Apache Spark's language-agnostic UDF protocol: start a worker process, open a session on one of
//! its functions, send batches, get batches.
//!
//! This crate is *not* a query engine and has no scheduler: it is what an engine embeds. One [`Worker`] is one process;
//! one [`Session`] is one execution of one function. A [`Dispatcher`] has a pool of workers, made from a
//! [`WorkerSpecification`], and gives sessions in them; who wants a single worker starts it by hand.
//!
//! ```text
//!   Dispatcher ─────▶ environment, pool of workers
//!      │    or
//!   Worker::start ──▶ process, socket, heartbeat
//!      │
//!   session ──▶ init ──▶ split ──▶ Input.send … finish        (bytes, or record batches)
//!                              └─▶ Output.next … close
//! ```
//!
//! Everything is async on tokio; [`blocking`] is the same for programs without a runtime.

mod specification;

mod launcher;

mod process;

mod child;

mod logs;

mod socket_dir;

mod environment;

mod worker;

mod session;

mod pool;

mod dispatcher;

mod error;

pub mod blocking;

pub use anyudf_grpc::{Endpoint, EndpointError, Settings, Status};
pub use anyudf_protocol::{Blame, CancelResponse, Counter, ExecutionError, FinishResponse, Metrics, Rule, Violation};
pub use child::Exit;
pub use dispatcher::{
    Catalog, Dispatcher, DispatcherConfig, DispatcherStats, Dispatchers, Replayed, WorkerState, WorkerStats,
};
pub use error::{Error, ErrorKind};
pub use launcher::{LaunchConfig, Launcher, Transport, WorkerCommand};
pub use pool::{PoolConfig, Scope};
pub use process::{Process, Token};
pub use session::{
    BatchInput, BatchOutput, Cause, Control, DataSchema, Init, Input, OpenSession, Opening, Output, Pipelining,
    Progress, Session, SessionConfig, Summary, Termination,
};
pub use specification::{Clamped, DEFAULT_MAX_TIMEOUT, Fault, WorkerEnvironment, WorkerPlan, WorkerSpecification};
pub use worker::{Announced, Worker, WorkerConfig};
