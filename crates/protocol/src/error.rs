//! The error that travels on the wire: whose fault, what, and where (R14, C12).

use std::borrow::Cow;
use std::fmt;

use crate::cut::cut;
use crate::violation::Violation;
use crate::wire;

/// Whose fault an [`ExecutionError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The function's own code, or the data it was given.
    User,
    /// The worker: its environment, its resources, its own code.
    Worker,
    /// The engine broke the protocol.
    Protocol,
}

/// An error as `InitResponse`, `ErrorResponse` and the terminators carry it (R14).
///
/// Errors of ours have a stable condition name (C12). A [`Blame::User`] error carries it in `error_class`; the other
/// two kinds have no such field, so it leads their message in brackets, as Spark prints conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionError {
    /// Whose fault.
    pub blame: Blame,
    /// What happened, for people.
    pub message: String,
    /// Where in the user's or the worker's code. Never set for [`Blame::Protocol`].
    pub traceback: Option<String>,
    /// A stable name of the condition. Only [`Blame::User`] carries it as a field.
    pub error_class: Option<String>,
}

impl ExecutionError {
    /// The function failed.
    pub fn user(message: impl Into<String>) -> Self {
        ExecutionError { blame: Blame::User, message: message.into(), traceback: None, error_class: None }
    }

    /// The worker failed under `condition`, such as `SHUTTING_DOWN`.
    pub fn worker(condition: &'static str, message: impl fmt::Display) -> Self {
        ExecutionError {
            blame: Blame::Worker,
            message: format!("[{condition}] {message}"),
            traceback: None,
            error_class: None,
        }
    }

    /// The engine broke the protocol under `condition`, such as `PAYLOAD_SIZE_MISMATCH`.
    pub fn protocol(condition: &'static str, message: impl fmt::Display) -> Self {
        ExecutionError {
            blame: Blame::Protocol,
            message: format!("[{condition}] {message}"),
            traceback: None,
            error_class: None,
        }
    }

    /// The same error with its condition name (C12).
    pub fn with_class(mut self, error_class: impl Into<Cow<'static, str>>) -> Self {
        self.error_class = Some(error_class.into().into_owned());
        self
    }

    /// The same error with the place where it happened.
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = Some(traceback.into());
        self
    }

    /// The same error with each of its texts in at most `most` bytes; one that was cut says so (P7).
    pub fn cut(self, most: usize) -> Self {
        let ExecutionError { blame, message, traceback, error_class } = self;
        ExecutionError {
            blame,
            message: cut(message, most),
            traceback: traceback.map(|text| cut(text, most)),
            error_class: error_class.map(|text| cut(text, most)),
        }
    }

    /// The name of the condition: `error_class`, or the name in brackets that leads the message (C12).
    pub fn condition(&self) -> Option<&str> {
        if let Some(class) = &self.error_class {
            return Some(class);
        }
        let (name, _) = self.message.strip_prefix('[')?.split_once(']')?;
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '.';
        (!name.is_empty() && name.chars().all(plain)).then_some(name)
    }
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.blame, &self.error_class) {
            (Blame::User, Some(class)) => write!(f, "[{class}] {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ExecutionError {}

impl From<Violation> for ExecutionError {
    fn from(violation: Violation) -> Self {
        ExecutionError::protocol("PROTOCOL_VIOLATION", violation)
    }
}

impl From<wire::ExecutionError> for ExecutionError {
    /// An error without a kind is shown as the worker's (R14).
    fn from(error: wire::ExecutionError) -> Self {
        use wire::execution_error::Kind;
        match error.kind {
            Some(Kind::User(user)) => ExecutionError {
                blame: Blame::User,
                message: user.message,
                traceback: user.traceback,
                error_class: user.error_class,
            },
            Some(Kind::Worker(worker)) => ExecutionError {
                blame: Blame::Worker,
                message: worker.message,
                traceback: worker.traceback,
                error_class: None,
            },
            Some(Kind::Protocol(protocol)) => {
                ExecutionError { blame: Blame::Protocol, message: protocol.message, traceback: None, error_class: None }
            }
            None => ExecutionError {
                blame: Blame::Worker,
                message: "error without kind".into(),
                traceback: None,
                error_class: None,
            },
        }
    }
}

impl From<ExecutionError> for wire::ExecutionError {
    fn from(error: ExecutionError) -> Self {
        use wire::execution_error::Kind;
        let ExecutionError { blame, message, traceback, error_class } = error;
        let kind = match blame {
            Blame::User => Kind::User(wire::UserError { message, traceback, error_class }),
            Blame::Worker => Kind::Worker(wire::WorkerError { message, traceback }),
            Blame::Protocol => Kind::Protocol(wire::ProtocolError { message }),
        };
        wire::ExecutionError { kind: Some(kind) }
    }
}
