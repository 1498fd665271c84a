//! The messages of an `Execute` stream, flat: parsed once at the edge, then told apart by one `match`.
//!
//! On the wire a request is a oneof inside a oneof. Here it is one [`Request`], and the kinds that [`crate::Exchange`]
//! looks at carry no bytes. An empty oneof, or a branch we do not know, is a [`Violation`] (R16).

use std::fmt;

use bytes::Bytes;

use crate::error::ExecutionError;
use crate::metrics::Metrics;
use crate::violation::{Rule, Violation};
use crate::wire;

/// What an engine says.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The first message: which function, and everything about the call (R1).
    Init(Box<wire::Init>),
    /// A piece of a payload that did not fit the Init (R2).
    Chunk(Chunk),
    /// A run of Arrow messages (C9).
    Data(Bytes),
    /// No more input (R5).
    Finish,
    /// Stop, for this reason if one was given (R9).
    Cancel(Option<String>),
}

/// A piece of a payload (R2).
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The bytes; empty only in the last chunk (C5).
    pub data: Bytes,
    /// Whether the payload is whole with this chunk.
    pub last: bool,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The function is open, or why it is not (R4).
    Init(InitResponse),
    /// A run of Arrow messages (R6, C9).
    Data(Bytes),
    /// Processing failed; CancelResponse will follow the engine's Cancel (R7, R8).
    Error(ExecutionError),
    /// The end, asked for by Finish (R10).
    Finish(FinishResponse),
    /// The end, asked for by Cancel or forced by an error (R12).
    Cancel(CancelResponse),
}

/// The answer to Init (R4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InitResponse {
    /// Opaque to the protocol; we send the output schema here when the engine named none (C9).
    pub data: Option<Bytes>,
    /// Why the function is not open.
    pub error: Option<ExecutionError>,
}

/// The terminator of a finished execution (R10).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FinishResponse {
    /// Counters of the worker and of the function (C8).
    pub metrics: Metrics,
    /// A last word of the function, opaque to the protocol.
    pub data: Option<Bytes>,
    /// The finish callback failed on an otherwise clean path.
    pub error: Option<ExecutionError>,
}

/// The terminator of a cancelled or failed execution (R12).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CancelResponse {
    /// Counters of the worker and of the function (C8).
    pub metrics: Metrics,
    /// The cancel callback failed, or a violation that no earlier message could carry (R19).
    pub error: Option<ExecutionError>,
}

/// A [`Request`] without its bytes: all that the order of messages depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Init; `chunked` when chunks are to follow.
    Init {
        /// `Init.is_chunking_payload`.
        chunked: bool,
    },
    /// PayloadChunk.
    Chunk {
        /// `PayloadChunk.last`.
        last: bool,
        /// Whether it holds no byte (C5).
        empty: bool,
    },
    /// DataRequest.
    Data,
    /// Finish.
    Finish,
    /// Cancel.
    Cancel,
}

/// A [`Response`] without its bytes: all that the order of messages depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseKind {
    /// InitResponse; `failed` when it carries an error.
    Init {
        /// Whether `InitResponse.error` is set.
        failed: bool,
    },
    /// DataResponse.
    Data,
    /// ErrorResponse.
    Error,
    /// FinishResponse.
    Finish,
    /// CancelResponse.
    Cancel,
}

impl Request {
    /// What [`crate::Exchange`] looks at.
    pub fn kind(&self) -> RequestKind {
        match self {
            Request::Init(init) => RequestKind::Init { chunked: init.is_chunking_payload() },
            Request::Chunk(chunk) => RequestKind::Chunk { last: chunk.last, empty: chunk.data.is_empty() },
            Request::Data(_) => RequestKind::Data,
            Request::Finish => RequestKind::Finish,
            Request::Cancel(_) => RequestKind::Cancel,
        }
    }
}

impl Response {
    /// What [`crate::Exchange`] looks at.
    pub fn kind(&self) -> ResponseKind {
        match self {
            Response::Init(init) => ResponseKind::Init { failed: init.error.is_some() },
            Response::Data(_) => ResponseKind::Data,
            Response::Error(_) => ResponseKind::Error,
            Response::Finish(_) => ResponseKind::Finish,
            Response::Cancel(_) => ResponseKind::Cancel,
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestKind::Init { .. } => "Init",
            RequestKind::Chunk { .. } => "PayloadChunk",
            RequestKind::Data => "DataRequest",
            RequestKind::Finish => "Finish",
            RequestKind::Cancel => "Cancel",
        })
    }
}

impl fmt::Display for ResponseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseKind::Init { .. } => "InitResponse",
            ResponseKind::Data => "DataResponse",
            ResponseKind::Error => "ErrorResponse",
            ResponseKind::Finish => "FinishResponse",
            ResponseKind::Cancel => "CancelResponse",
        })
    }
}

impl TryFrom<wire::UdfRequest> for Request {
    type Error = Violation;

    fn try_from(request: wire::UdfRequest) -> Result<Self, Violation> {
        use wire::{udf_control_request::Control, udf_request::Request as Outer};
        match request.request {
            Some(Outer::Data(data)) => Ok(Request::Data(data.data)),
            Some(Outer::Control(control)) => match control.control {
                Some(Control::Init(init)) => Ok(Request::Init(Box::new(init))),
                Some(Control::Payload(chunk)) => Ok(Request::Chunk(Chunk { last: chunk.last(), data: chunk.data })),
                Some(Control::Finish(_)) => Ok(Request::Finish),
                Some(Control::Cancel(cancel)) => Ok(Request::Cancel(cancel.reason)),
                None => Err(Violation::new(Rule::R16, "got a control request that is empty or of an unknown kind")),
            },
            None => Err(Violation::new(Rule::R16, "got a request that is empty or of an unknown kind")),
        }
    }
}

impl From<Request> for wire::UdfRequest {
    fn from(request: Request) -> Self {
        use wire::{udf_control_request::Control, udf_request::Request as Outer};
        let control = match request {
            Request::Data(data) => {
                return wire::UdfRequest { request: Some(Outer::Data(wire::DataRequest { data })) };
            }
            Request::Init(init) => Control::Init(*init),
            Request::Chunk(Chunk { data, last }) => {
                Control::Payload(wire::PayloadChunk { data, last: last.then_some(true) })
            }
            Request::Finish => Control::Finish(wire::Finish {}),
            Request::Cancel(reason) => Control::Cancel(wire::Cancel { reason }),
        };
        wire::UdfRequest { request: Some(Outer::Control(wire::UdfControlRequest { control: Some(control) })) }
    }
}

impl TryFrom<wire::UdfResponse> for Response {
    type Error = Violation;

    fn try_from(response: wire::UdfResponse) -> Result<Self, Violation> {
        use wire::{udf_control_response::Control, udf_response::Response as Outer};
        match response.response {
            Some(Outer::Data(data)) => Ok(Response::Data(data.data)),
            Some(Outer::Control(control)) => match control.control {
                Some(Control::Init(init)) => {
                    Ok(Response::Init(InitResponse { data: init.data, error: init.error.map(Into::into) }))
                }
                Some(Control::Error(error)) => Ok(Response::Error(error.error.unwrap_or_default().into())),
                Some(Control::Finish(finish)) => Ok(Response::Finish(FinishResponse {
                    metrics: Metrics::decode(&finish.metrics),
                    data: finish.data,
                    error: finish.error.map(Into::into),
                })),
                Some(Control::Cancel(cancel)) => Ok(Response::Cancel(CancelResponse {
                    metrics: Metrics::decode(&cancel.metrics),
                    error: cancel.error.map(Into::into),
                })),
                None => Err(Violation::new(Rule::R16, "got a control response that is empty or of an unknown kind")),
            },
            None => Err(Violation::new(Rule::R16, "got a response that is empty or of an unknown kind")),
        }
    }
}

impl From<Response> for wire::UdfResponse {
    fn from(response: Response) -> Self {
        use wire::{udf_control_response::Control, udf_response::Response as Outer};
        let control = match response {
            Response::Data(data) => {
                return wire::UdfResponse { response: Some(Outer::Data(wire::DataResponse { data })) };
            }
            Response::Init(InitResponse { data, error }) => {
                Control::Init(wire::InitResponse { data, error: error.map(Into::into) })
            }
            Response::Error(error) => Control::Error(wire::ErrorResponse { error: Some(error.into()) }),
            Response::Finish(FinishResponse { metrics, data, error }) => {
                Control::Finish(wire::FinishResponse { metrics: metrics.encode(), data, error: error.map(Into::into) })
            }
            Response::Cancel(CancelResponse { metrics, error }) => {
                Control::Cancel(wire::CancelResponse { metrics: metrics.encode(), error: error.map(Into::into) })
            }
        };
        wire::UdfResponse { response: Some(Outer::Control(wire::UdfControlResponse { control: Some(control) })) }
    }
}
