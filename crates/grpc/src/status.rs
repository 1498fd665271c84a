//! gRPC status: for transport alone (R14).

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

/// How a call ended as far as gRPC is concerned. What the function did travels in the messages instead (R14).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Status {
    code: Code,
    message: String,
}

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

impl Status {
    /// The call went as it should.
    pub fn ok() -> Self {
        Status { code: Code::Ok, message: String::new() }
    }

    /// A failure; `message` says what, where and what to try.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Status { code, message: message.into() }
    }

    /// The worker is shutting down (M3).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Status::new(Code::Unavailable, message)
    }

    /// Bytes that are no such message (R14).
    pub fn internal(message: impl Into<String>) -> Self {
        Status::new(Code::Internal, message)
    }

    /// A message over the limit (P7).
    pub fn too_large(size: u64, limit: usize) -> Self {
        let message = format!("a message of {size} bytes is over the limit of {limit} bytes (P7)");
        Status::new(Code::ResourceExhausted, message)
    }

    /// gRPC's number for it.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the call went as it should.
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }

    /// Reads the status from trailers, or from headers when there are no others. `None` when there is none.
    pub(crate) fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code = Code::from_bytes(trailers.get(GRPC_STATUS)?.as_bytes());
        let message = trailers.get(GRPC_MESSAGE).map_or(String::new(), |value| percent_decode(value.as_bytes()));
        Some(Status { code, message })
    }

    /// Adds the status to trailers.
    pub(crate) fn write_to(&self, trailers: &mut HeaderMap) {
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code as i32));
        if !self.message.is_empty() {
            let value = HeaderValue::try_from(percent_encode(&self.message)).expect("percent-encoded text is ASCII");
            trailers.insert(GRPC_MESSAGE, value);
        }
    }
}

impl From<h2::Error> for Status {
    /// What gRPC makes of a stream or a connection that broke.
    fn from(error: h2::Error) -> Self {
        let code = match error.reason() {
            Some(h2::Reason::CANCEL) => Code::Cancelled,
            Some(h2::Reason::REFUSED_STREAM) => Code::Unavailable,
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
            Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
            Some(_) if !error.is_io() => Code::Internal,
            _ => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

impl From<Status> for tonic::Status {
    fn from(status: Status) -> Self {
        tonic::Status::new(status.code, status.message)
    }
}

impl From<tonic::Status> for Status {
    fn from(status: tonic::Status) -> Self {
        Status::new(status.code(), status.message())
    }
}

/// `grpc-message` is percent-encoded UTF-8.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Undoes [`percent_encode`]; what is no valid escape stays as it is, as gRPC asks.
fn percent_decode(bytes: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &rest[3..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R14: what a status says survives the trip through trailers.
    #[test]
    fn r14_status_survives_trailers() {
        for message in ["", "plain", "50 % done\nnext line", "größer", "%", "%4", "%zz"] {
            let status = Status::new(Code::Unavailable, message);
            let mut trailers = HeaderMap::new();
            status.write_to(&mut trailers);
            assert_eq!(Status::from_trailers(&trailers), Some(status));
        }
        assert_eq!(Status::from_trailers(&HeaderMap::new()), None);
    }
}
