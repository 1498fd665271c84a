//! Arrow record batches and schemas to and from the bytes of Spark's UDF protocol, checked before use.
//!
//! This crate knows Arrow. It does not know gRPC, protobuf or tokio, opens no socket and starts no thread: it turns a
//! [`RecordBatch`](arrow_array::RecordBatch) into the bytes that go into a DataRequest or a DataResponse, and back.
//!
//! ```text
//!   RecordBatch ── Encoder ──> Encoded ══ parts: [header][your buffer][your buffer]… ══>  the wire
//!   RecordBatch <─ Decoder ──────────── slices of what was received ──────────────────<═  the wire
//!   Schema      ── encode_schema / decode_schema ── Init.input_schema, Init.output_schema, InitResponse.data
//! ```
//!
//! # What is on the wire (C9)
//! A run of encapsulated Arrow IPC messages: DictionaryBatches, then one RecordBatch, without the schema, which both
//! sides know from Init. Each message can be understood by itself. A peer may also send a Schema first, several batches,
//! deltas, compressed bodies and an end-of-stream marker.
//!
//! # What a worker offers
//! [`catalog`] is the table in which a worker lists its functions, and both ends of it. [`expression`] is the payload by
//! which several of them are called in one execution, and both ends of that. For hosts, behind the feature `coerce`:
//! `arguments` says which columns become which arguments, and `coerce` which types become which by themselves.
//!
//! # What it costs
//! Out, nothing large is copied: a message is made of the batch's own buffers. In, nothing is copied if the message lies
//! at a multiple of [`ALIGNMENT`], and each number once if it does not.
//!
//! # What it withstands (C10)
//! A peer's bytes are checked before they are used: the flatbuffer, every range and count, offsets, keys, text, what
//! compressed data claims to inflate to. Bad bytes give an [`Error`] that says where they are bad. They do not panic,
//! and they do not allocate more than [`Limits`] allows.

mod body;
mod column;
mod decode;
mod dictionaries;
mod encode;
mod error;
mod inflate;
mod layout;
mod message;
mod schema;
mod validate;

#[cfg(feature = "coerce")]
pub mod arguments;

pub mod catalog;

#[cfg(feature = "coerce")]
pub mod coerce;

pub mod expression;

pub use decode::Decoder;
pub use encode::{Encoded, Encoder, Messages};
pub use error::{Error, Kind, Result};
pub use inflate::Limits;
pub use message::ALIGNMENT;
pub use schema::{decode_schema, encode_schema};

/// The README's program, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
