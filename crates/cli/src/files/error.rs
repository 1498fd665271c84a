//! What can go wrong with a file, and whose fault it is.

use std::{fmt, io};

use arrow::error::ArrowError;

/// The result of everything in this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure that concerns one file: the text names the file, the place and what to try.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Whose fault an [`Error`] is, and so how the process should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Another command line would do: a file that is not there, an output that exists, a format that is not told, a
    /// type that the format cannot hold. Exit code 2.
    Usage,
    /// The data or the machine: a truncated or foreign file, a value of the wrong type, a full disk. Exit code 1.
    Data,
    /// Whoever read our output has gone, as `head` does. Not worth a word: exit quietly, with 0.
    BrokenPipe,
}

impl Error {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Error { kind: Kind::Usage, text: text.into(), source: None }
    }

    pub(super) fn data(text: impl Into<String>) -> Self {
        Error { kind: Kind::Data, text: text.into(), source: None }
    }

    pub(super) fn broken_pipe(name: &str) -> Self {
        Error { kind: Kind::BrokenPipe, text: format!("{name}: the reader has gone"), source: None }
    }

    /// Keeps the cause for whoever asks; the text must not repeat it.
    pub(super) fn because(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error { source: Some(cause.into()), ..self }
    }

    /// Opening a file for input failed.
    pub(super) fn opening(name: &str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::NotFound => {
                Error::usage(format!("{name}: there is no such file; check the path, or give - for standard input"))
            }
            io::ErrorKind::PermissionDenied => {
                Error::data(format!("{name}: not allowed to read it; check its permissions"))
            }
            io::ErrorKind::NotADirectory => {
                Error::usage(format!("{name}: a part of the path is a file, not a directory; check the path"))
            }
            _ => Error::reading(name, cause),
        }
    }

    /// Reading the bytes of a file failed.
    pub(super) fn reading(name: &str, cause: io::Error) -> Self {
        Error::data(format!("{name}: cannot be read: {}; check the disk or the program that sends it", spell(&cause)))
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
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
        self.source.as_deref().map(|source| source as _)
    }
}

/// An I/O error in our style: lower case, without the number.
pub(super) fn spell(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    plain(text)
}

/// An Arrow error without the kind that its text begins with, for where we say ourselves what failed.
pub(super) fn spell_arrow(error: &ArrowError) -> String {
    match error {
        ArrowError::CsvError(text)
        | ArrowError::JsonError(text)
        | ArrowError::ParseError(text)
        | ArrowError::CastError(text)
        | ArrowError::SchemaError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ParquetError(text)
        | ArrowError::IpcError(text)
        | ArrowError::NotYetImplemented(text)
        | ArrowError::InvalidArgumentError(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// The first letter small (unless the word is an abbreviation), one line, no full stop.
pub(super) fn plain(text: &str) -> String {
    let text = text.trim().trim_end_matches('.').replace(['\n', '\r'], " ");
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text,
    }
}

/// A value from a file as it is shown in an error: quoted, on one line, not too long.
pub(super) fn quoted(value: &str) -> String {
    const SHOWN: usize = 40;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// What a panic carried: the crates that decode Parquet and Arrow check nearly everything, and panic on the rest.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    plain(text.unwrap_or("the decoder gave up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_brought_into_our_style() {
        assert_eq!(spell(&io::Error::from_raw_os_error(28)), "no space left on device");
        assert_eq!(plain("Parser error: x."), "parser error: x");
        assert_eq!(plain("CSV is odd"), "CSV is odd");
        assert_eq!(plain(""), "");
        assert_eq!(quoted(&"é".repeat(50)), format!("\"{}\"…", "é".repeat(40)));
    }
}
