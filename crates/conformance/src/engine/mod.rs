//! The other half of the kit: it plays a worker to an engine under test, which a *driver* calls as a scenario says.
//!
//! ```text
//!   cases/engine/*.toml ──▶ Dialogue ──▶ play ── raw HTTP/2, listening ══ the engine under test, a process
//!                                         ▲                                  │
//!                                         └───────── reports, a line each ───┘
//! ```
//!
//! docs/conformance-engine.md has the contract of a driver. On the wire the arrows are those of the worker's half: `>` is
//! what an engine says, `<` what a worker says.

mod answer;

mod driver;

mod grammar;

mod play;

mod report;

mod request;

mod script;

mod server;

pub(crate) use play::{Stage, play};
pub(crate) use script::Dialogue;
