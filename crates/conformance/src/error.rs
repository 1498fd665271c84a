//! Why a run could not begin: the only errors here that are nobody's failed case.

use std::fmt;

/// What kept a run from beginning or going on: a file, a flag, a command.
#[derive(Debug)]
pub struct Error {
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(text: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error { text: text.into(), source: Some(source.into()) }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Error { text: text.into(), source: None }
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
