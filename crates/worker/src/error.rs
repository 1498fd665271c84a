//! The one error of this crate: whose fault it is, what happened, and a name for it that never changes (C12).

use std::borrow::Cow;
use std::fmt;

use anyudf_protocol::{Blame, ExecutionError};

use crate::panics::Row;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Whose fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function's own code, or the data it was given. What `?` makes of other errors.
    User,
    /// The worker: its environment, its resources, its own code.
    Worker,
    /// The engine sent something that the protocol forbids.
    Protocol,
    /// Nobody's: the execution was cancelled. Return it as it is; it is not reported.
    Cancelled,
    /// The command line or the options of the worker.
    Misuse,
}

/// Why a function or a worker failed.
///
/// `?` turns text, I/O, JSON, Arrow and boxed errors into errors of kind [`User`](ErrorKind::User). The engine's user
/// reads the text, so it should say what is wrong with which value, and what to try.
///
/// ```
/// use anyudf_worker::{Error, ErrorKind};
///
/// let error = Error::user("latitude 91 is not between -90 and 90").with_class("BAD_LATITUDE").at_row(17);
/// assert_eq!(error.to_string(), "row 17: latitude 91 is not between -90 and 90");
/// assert_eq!((error.kind(), error.condition()), (ErrorKind::User, "BAD_LATITUDE"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    condition: Cow<'static, str>,
    message: String,
    traceback: Option<String>,
    source: Option<Source>,
    /// An error that goes on the wire word for word.
    verbatim: bool,
}

impl Error {
    fn new(kind: ErrorKind, condition: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Error(Box::new(Inner {
            kind,
            condition: condition.into(),
            message: message.to_string(),
            traceback: None,
            source: None,
            verbatim: false,
        }))
    }

    /// The function or its data failed. Its condition is `FUNCTION_FAILED` unless it gets another.
    pub fn user(message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::User, "FUNCTION_FAILED", message)
    }

    /// The worker failed under `condition`, such as `NO_MEMORY`.
    pub fn worker(condition: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Worker, condition, message)
    }

    /// The engine sent what it may not, such as a payload that is no JSON.
    pub fn protocol(condition: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Protocol, condition, message)
    }

    /// The execution was cancelled, and the function noticed.
    pub fn cancelled() -> Self {
        Error::new(ErrorKind::Cancelled, "CANCELLED", "the execution was cancelled")
    }

    pub(crate) fn misuse(message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Misuse, "BAD_OPTION", message)
    }

    /// The same error, whose message is exactly what it says: where the kind has no place for the condition, that is not put
    /// before it.
    pub fn verbatim(mut self) -> Self {
        self.0.verbatim = true;
        self
    }

    /// The same error under another condition name, in SCREAMING_SNAKE by custom (C12).
    pub fn with_class(mut self, condition: impl Into<Cow<'static, str>>) -> Self {
        self.0.condition = condition.into();
        self
    }

    /// The same error with the place in the code where it happened.
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.0.traceback = Some(traceback.into());
        self
    }

    /// The same error with the row of the batch, counted from 0, that it is about.
    pub fn at_row(mut self, row: u64) -> Self {
        self.0.message = format!("row {row}: {}", self.0.message);
        self
    }

    /// The same error, about a row of which more is known.
    pub(crate) fn at(self, row: Row) -> Self {
        match self.kind() {
            ErrorKind::User => self.within(row),
            _ => self,
        }
    }

    /// The same error with what it follows from.
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, its text led by where it happened.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable name of what happened (C12).
    pub fn condition(&self) -> &str {
        &self.0.condition
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, condition, message, source, .. } = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", kind).field("condition", condition).field("message", message);
        if let Some(source) = source {
            debug.field("source", source);
        }
        debug.finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<Error> for ExecutionError {
    /// As the engine is told (R14). The chain of sources joins the message, since only that travels.
    fn from(error: Error) -> Self {
        let Inner { kind, condition, mut message, traceback, source, verbatim } = *error.0;
        let mut cause = source.as_deref().map(|source| source as &dyn std::error::Error);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        let (blame, error_class) = match kind {
            ErrorKind::User => (Blame::User, Some(condition.into_owned())),
            ErrorKind::Protocol => {
                return ExecutionError {
                    blame: Blame::Protocol,
                    message: format!("[{condition}] {message}"),
                    traceback: None,
                    error_class: None,
                };
            }
            ErrorKind::Worker if verbatim => (Blame::Worker, None),
            ErrorKind::Worker | ErrorKind::Cancelled | ErrorKind::Misuse => {
                message = format!("[{condition}] {message}");
                (Blame::Worker, None)
            }
        };
        ExecutionError { blame, message, traceback, error_class }
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Error::user(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Error::user(message)
    }
}

impl From<Source> for Error {
    /// A boxed error of this crate comes out as it went in.
    fn from(source: Source) -> Self {
        match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => {
                let error = Error::user(&source);
                match source.source() {
                    // Its text is ours now; what it follows from is told by its own chain.
                    Some(deeper) => error.with_source(deeper.to_string()),
                    None => error,
                }
            }
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(source: arrow::error::ArrowError) -> Self {
        Error::user(source).with_class("ARROW_ERROR")
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Error::user(source).with_class("IO_ERROR")
    }
}

impl From<serde_json::Error> for Error {
    fn from(source: serde_json::Error) -> Self {
        Error::user(source).with_class("JSON_ERROR")
    }
}

/// Bytes of the engine that are not what they should be (C10).
pub(crate) fn undecodable(error: anyudf_arrow::Error) -> Error {
    Error::protocol(error.condition(), error)
}

/// Batches of the function that can't be sent.
pub(crate) fn unencodable(error: anyudf_arrow::Error) -> Error {
    Error::user(&error).with_class(error.condition())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R14, C12: exactly one kind, with the condition where that kind carries it.
    #[test]
    fn r14_c12_errors_travel_with_their_condition() {
        let user = ExecutionError::from(Error::user("no such row").with_class("NO_ROW"));
        assert_eq!((user.blame, user.error_class.as_deref()), (Blame::User, Some("NO_ROW")));
        assert_eq!(user.message, "no such row");
        let worker = ExecutionError::from(Error::worker("SHUTTING_DOWN", "the worker stops"));
        assert_eq!((worker.blame, worker.condition()), (Blame::Worker, Some("SHUTTING_DOWN")));
        let protocol = ExecutionError::from(Error::protocol("INVALID_PAYLOAD", "no JSON"));
        assert_eq!((protocol.blame, protocol.condition()), (Blame::Protocol, Some("INVALID_PAYLOAD")));
    }

    /// R14: what an error follows from reaches the engine too.
    #[test]
    fn r14_sources_join_the_message() {
        let source = std::io::Error::other("disk on fire");
        let error = ExecutionError::from(Error::user("can't read the model").with_source(source));
        assert_eq!(error.message, "can't read the model: disk on fire");
        let boxed: Source = Box::new(Error::cancelled());
        assert_eq!(Error::from(boxed).kind(), ErrorKind::Cancelled);
    }
}
