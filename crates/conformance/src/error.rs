//! Why a run could not begin, or a measurement came to no figure: the only errors here that are nobody's failed case.

use std::fmt;

/// What kept a run from beginning or going on: a file, a flag, a command; and, where it is measured, the worker.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: a flag or a file that can't be used.
    Usage,
    /// The worker could not be measured: it ended, was silent, or answered something wrong.
    Worker,
    /// This machine had no socket or thread for the kit.
    System,
}

impl Error {
    pub(crate) fn new(text: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error { kind: ErrorKind::Usage, text: text.into(), source: Some(source.into()) }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Error { kind: ErrorKind::Usage, text: text.into(), source: None }
    }

    pub(crate) fn of(kind: ErrorKind, text: impl Into<String>) -> Self {
        Error { kind, text: text.into(), source: None }
    }

    /// Who has to change something.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
