//! Data files in, data files out: what `anyudf run` reads and writes.
//!
//! This module knows files and formats. It does not know functions, workers or sessions, and starts no thread.
//!
//! ```text
//!   path or -  ── source ──> Parquet | text in blocks (CSV, NDJSON) | Arrow IPC ──>  Input: schema, batches in order
//!   Output: write, commit ──> encoder ──> temporary beside the destination, renamed | pipe | table on the terminal
//! ```
//!
//! # Formats
//! Told by the end of the file's name, or given. The first bytes must not contradict either: a Parquet file that is
//! called `.csv` is an error that names both. See [`Format`].
//!
//! # Memory
//! What is held at once does not depend on the size of the file: a page of each column of Parquet, a block of text of
//! at most 32 MiB (more only while the first rows are looked at, or if one record is larger), one record batch of
//! Arrow. Writing Parquet holds one row group, of 64 MiB at most.
//!
//! # Errors
//! Each [`Error`] says which file, where in it, what is wrong and what to try, and its [`Kind`] tells bad usage from
//! bad data and from a reader that went away.

mod blocks;
mod csv;
mod encoder;
mod error;
mod format;
mod input;
mod ipc;
mod ndjson;
mod output;
mod parquet;
mod sink;
mod source;
mod table;
mod text;
mod types;

pub use error::{Error, Kind, Result};
pub use format::Format;
pub use input::{Input, InputOptions, Progress};
pub use output::{Output, OutputOptions, Written};
pub(crate) use output::{unprinted, write_text};
pub use types::Types;
