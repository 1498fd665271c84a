//! A conformance kit for Apache Spark's language-agnostic UDF protocol: is a worker, written in whatever language, what
//! the protocol says?
//!
//! This crate is *not* a test framework: its cases are data, dialogues in a small language, and the implementation under
//! test is a command. It speaks HTTP/2 and gRPC by hand, so that it can say what no client library would, and uses
//! nothing of this project's engine or worker, so that it proves something about those, too.
//!
//! ```text
//!   cases/*.toml ──▶ Case ──▶ play ── raw HTTP/2 ══ the worker under test, a process
//!                              │
//!                              └─▶ Report: pass, fail, skip, choice ──▶ people, JSON, JUnit
//! ```
//!
//! Over the same raw client, [`bench()`] says how fast a worker is on this machine, beside a raw socket.
//!
//! ```no_run
//! use anyudf_conformance::{Config, Report, run};
//!
//! # async fn check() -> Result<(), anyudf_conformance::Error> {
//! let reports = run(Config::new("anyudf", ["worker".into()]), |_| {}).await?;
//! assert!(!reports.iter().any(Report::counts));
//! # Ok(()) }
//! ```

mod case;

mod script;

mod line;

mod step;

mod message;

mod expect;

mod answer;

mod value;

mod grammar;

mod capability;

mod play;

mod frames;

mod transcript;

mod budget;

mod wire;

mod splice;

mod lines;

mod leader;

mod process;

mod engine;

mod run;

mod report;

mod bench;

mod rules;

mod error;

pub use bench::{BenchConfig, Figure, Latency, Throughput, What, bench};
pub use capability::{Capabilities, Capability, Function};
pub use case::{Case, Level, Selection, engine_cases, read_cases, worker_cases};
pub use error::{Error, ErrorKind};
pub use report::{Colours, for_machines, for_people, junit, listed, summary};
pub use run::{Config, Outcome, Report, run};
