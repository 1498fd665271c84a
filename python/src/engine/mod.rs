//! The engine for Python callers: sessions that block without the GIL, batches by the Arrow C data interface.
//!
//! ```text
//!   Dispatcher ──▶ Home: a runtime of one thread, and the engine's dispatcher on it
//!   Session ─────▶ Live: one execution; its ends are used from any thread
//!   Exchange ────▶ an iterator: pulls the caller's batches, gives the results
//! ```
//!
//! Everything belongs to the process that made it. A child that was forked has none of the threads that carry it, so what
//! it inherits is refused when it is used ([`Local`](local::Local)) and forgotten when it is dropped.
//!
//! Whatever waits does it without the GIL, and looks every now and then whether a signal came: Ctrl-C ends it (E13).

mod arguments;
mod batches;
mod catalog;
mod completions;
mod dispatcher;
mod error;
mod exchange;
mod home;
mod init;
mod live;
mod local;
mod log;
mod session;
mod settings;
mod spark;
mod types;

pub(crate) use batches::{Batch, Reader};
pub(crate) use catalog::FunctionInfo;
pub(crate) use completions::Completions;
pub(crate) use dispatcher::{Dispatcher, end_all, forked};
pub(crate) use exchange::Exchange;
pub(crate) use session::Session;
pub(crate) use spark::{Arguments, fit, signature};
