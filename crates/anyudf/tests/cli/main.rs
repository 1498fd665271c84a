//! The binary `anyudf` as its users meet it: real processes, real files, exit codes, and what is left behind.
//!
//! Workers that misbehave are this test binary itself, started again; see [`odd`].

mod conformance;
mod engine;
mod interrupts;
mod kinds;
mod new;
mod odd;
mod others;
#[cfg(feature = "sql")]
mod prompt;
mod refusals;
mod repeatable;
mod results;
mod specification;
#[cfg(feature = "sql")]
mod sql;
mod support;
