//! The crate's one error: whose fault it was, under which name, and what to try (C12).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use anyudf_protocol::{Blame, ExecutionError};

use crate::dispatcher::is_shutting_down;
use crate::session::Cause;

/// Whose fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function's own code failed, or the data it was given.
    User,
    /// The worker failed: its environment, its resources, its own code.
    Worker,
    /// The worker broke the protocol.
    Violation,
    /// The caller misused this crate. Never depends on what a worker sent.
    Misuse,
    /// The worker process could not be started, or ended before it was ready (D6).
    Launch,
    /// The connection to the worker failed.
    Transport,
    /// Something took longer than its bound.
    Timeout,
    /// The execution was cancelled.
    Cancelled,
}

/// What went wrong, for a program by [`kind`](Error::kind) and [`condition`](Error::condition), for people as text.
///
/// Payloads, arguments and environment values never appear in it; the name of the worker's program and the worker's own
/// output may (D13). Cloning is cheap and shares the source, because one failure can have several listeners.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    condition: Cow<'static, str>,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    execution: Option<ExecutionError>,
}

impl Error {
    /// An error named `condition` (C12), with a text that says what failed, where, and what to try.
    pub(crate) fn new(kind: ErrorKind, condition: impl Into<Cow<'static, str>>, text: impl fmt::Display) -> Self {
        Error::build(kind, condition.into(), text.to_string(), None)
    }

    /// The same with the error behind it, which `text` must not repeat.
    pub(crate) fn with_source(
        kind: ErrorKind,
        condition: impl Into<Cow<'static, str>>,
        text: impl fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::build(kind, condition.into(), text.to_string(), Some(source.into()))
    }

    fn build(
        kind: ErrorKind,
        condition: Cow<'static, str>,
        text: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error { inner: Arc::new(Inner { kind, condition, text, source, execution: None }) }
    }

    /// What a worker reported (R14).
    pub(crate) fn from_execution(error: ExecutionError) -> Self {
        let (kind, unnamed) = match error.blame {
            Blame::User => (ErrorKind::User, "USER_ERROR"),
            Blame::Worker => (ErrorKind::Worker, "WORKER_ERROR"),
            Blame::Protocol => (ErrorKind::Violation, "PROTOCOL_ERROR"),
        };
        let condition = error.condition().unwrap_or(unnamed).to_string().into();
        let text = error.to_string();
        Error { inner: Arc::new(Inner { kind, condition, text, source: None, execution: Some(error) }) }
    }

    /// Why a transport failed.
    pub(crate) fn from_cause(cause: &Cause) -> Self {
        let (kind, condition) = match cause {
            Cause::Violation(_) | Cause::Ended(_) => (ErrorKind::Violation, "PROTOCOL_VIOLATION"),
            Cause::Broken(_) => (ErrorKind::Transport, "TRANSPORT_FAILED"),
            Cause::Died(_) => (ErrorKind::Transport, "WORKER_DIED"),
            Cause::Timeout(..) => (ErrorKind::Timeout, "WORKER_TIMEOUT"),
            Cause::Idle(_) => (ErrorKind::Timeout, "WORKER_IDLE"),
            Cause::Lost(_) => (ErrorKind::Timeout, "WORKER_LOST"),
            Cause::Memory { .. } => (ErrorKind::Worker, "WORKER_MEMORY_LIMIT"),
            Cause::Closed => (ErrorKind::Cancelled, "DISPATCHER_CLOSED"),
            Cause::Drained => (ErrorKind::Worker, "WORKER_DRAINED"),
        };
        Error::new(kind, condition, cause)
    }

    /// A call that gRPC refused or lost.
    pub(crate) fn from_status(what: &str, status: anyudf_grpc::Status) -> Self {
        Error::new(ErrorKind::Transport, "TRANSPORT_FAILED", format!("{what}: {status}"))
    }

    /// Bytes from the worker that are no Arrow data, or not what they should be (C10).
    pub(crate) fn from_data(what: &str, error: anyudf_arrow::Error) -> Self {
        Error::new(ErrorKind::Violation, error.condition(), format!("{what}: {error}"))
    }

    /// Data of the caller's that can't be sent.
    pub(crate) fn from_caller_data(what: &str, error: anyudf_arrow::Error) -> Self {
        Error::new(ErrorKind::Misuse, error.condition(), format!("{what}: {error}"))
    }

    /// The same of the last of several attempts (D10).
    pub(crate) fn after_attempts(&self, attempts: u32) -> Self {
        let text = format!("{self} (the last of {attempts} attempts)");
        let Inner { kind, condition, .. } = &*self.inner;
        Error::build(*kind, condition.clone(), text, self.inner.source.is_some().then(|| self.clone().into()))
    }

    /// What the worker reported, if it was the worker who did: blame, message, traceback (R14).
    pub fn execution(&self) -> Option<&ExecutionError> {
        self.inner.execution.as_ref()
    }

    /// Whether the worker was gone before the execution was over: it died, was killed, stopped answering, was ended for
    /// what others did in it, or said that it is shutting down. A repeatable execution can be run again on another one.
    ///
    /// One that was ended because it held too much memory is not meant: the execution may be what took it.
    pub fn is_worker_gone(&self) -> bool {
        const GONE: [&str; 4] = ["TRANSPORT_FAILED", "WORKER_DIED", "WORKER_LOST", "WORKER_DRAINED"];
        match self.execution() {
            // What a worker reports is an answer, whatever it is called, unless it says that it gives none (C7).
            Some(error) => is_shutting_down(error),
            None => GONE.contains(&self.condition()),
        }
    }

    /// Whose fault it was.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The stable name of what happened, in SCREAMING_SNAKE_CASE (C12). For errors of the user's code it is the
    /// `error_class` that the worker gave.
    pub fn condition(&self) -> &str {
        &self.inner.condition
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, condition, text, source, .. } = &*self.inner;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("condition", condition)
            .field("text", text)
            .field("source", source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    /// C12: an error has a kind, a condition name and a text that does not repeat its source.
    #[test]
    fn c12_an_error_has_a_condition_beside_its_text() {
        let error = Error::with_source(
            ErrorKind::Launch,
            "WORKER_NOT_FOUND",
            "cannot start worker `x`",
            io::Error::from(io::ErrorKind::NotFound),
        );
        assert_eq!(error.kind(), ErrorKind::Launch);
        assert_eq!(error.condition(), "WORKER_NOT_FOUND");
        assert_eq!(error.to_string(), "cannot start worker `x`");
        assert_eq!(error.clone().source().map(ToString::to_string), Some("entity not found".into()));
        assert!(Error::new(ErrorKind::Misuse, "TWICE", "init twice").source().is_none());
    }
}
