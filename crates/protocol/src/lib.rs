//! The rules of Apache Spark's language-agnostic UDF protocol, without I/O.
//!
//! This crate is *not* a client or a server: it opens no socket, reads no clock and starts no thread. It knows the
//! messages ([`Request`], [`Response`]), who may say what and when ([`Exchange`]), how a payload is put together
//! ([`PayloadAssembly`]) and how errors and metrics look on the wire. `anyudf-grpc` carries the bytes, `anyudf-worker`
//! and `anyudf-engine` act on the answers.
//!
//! ```text
//!   bytes --> wire (prost) --> Request / Response --> Exchange: in order?  --> act
//!                                      |                    |
//!                              PayloadAssembly          Violation (rule number)
//! ```
//!
//! The numbers (R9, C8 …) are those of `docs/protocol.md`.
//!
//! ```
//! use anyudf_protocol::{Exchange, RequestKind, Side};
//!
//! let mut worker = Exchange::new(Side::Worker);
//! let violation = worker.request(RequestKind::Data).unwrap_err();
//! assert_eq!(violation.to_string(), "got DataRequest before Init (R1)");
//! ```

pub mod wire;

mod message;

mod exchange;

mod violation;

mod init;

mod manage;

mod payload;

mod error;

mod cut;

mod metrics;

pub mod envelope;

pub use cut::{LONGEST_TEXT, cut};
pub use error::{Blame, ExecutionError};
pub use exchange::{Exchange, Side};
pub use init::{PROTOCOL_VERSION, check_init};
pub use manage::{ManageRequest, ManageResponse};
pub use message::{CancelResponse, Chunk, FinishResponse, InitResponse, Request, RequestKind, Response, ResponseKind};
pub use metrics::{Counter, Metrics};
pub use payload::{DEFAULT_PAYLOAD_LIMIT, PayloadAssembly, PayloadError, VerifiedPayload};
pub use violation::{Rule, Violation};
