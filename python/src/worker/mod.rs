//! Python functions served by the core of the Rust SDK.
//!
//! ```text
//!   Python: serve(functions) ──▶ Worker ── one thread, without the GIL: sockets, sessions, Manage
//!                                  │
//!                                  ▼ a thread an execution: decode ─▶ GIL: the function ─▶ encode
//! ```
//!
//! `definition` makes of a Python `Function` what the core serves, `seat` is how Python code is called and interrupted,
//! and `held` what an execution holds of the user's.
//! `rows`, `batches` and `aggregate` are the kinds of functions; `arrays`, `read` and `write` carry values over; `raw` and `pickled`
//! are payload formats.
//!
//! The GIL is held while user code runs and values become Python's or were, and at no other time. No thread of the core takes
//! it, so whatever a function does with it, heartbeats and Cancel are heard.

mod aggregate;
mod arrays;
mod batches;
mod definition;
mod errors;
mod held;
mod invocation;
mod pickled;
mod raw;
mod read;
mod rows;
mod seat;
pub(crate) mod serve;
mod write;

pub(crate) use self::seat::Cancelled;
