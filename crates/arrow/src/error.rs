//! The one error of this crate: what is wrong, where in the batch, and a name for it that never changes (C12).

use std::fmt;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is, so that a caller knows whom to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The bytes are not what they claim to be. The peer's fault: a protocol error at a worker, a failed execution at
    /// an engine (C10).
    Malformed,
    /// The bytes may be fine, but use a part of the format that this crate does not speak.
    Unsupported,
    /// A message, a row or what a message would inflate to is over a limit.
    TooLarge,
    /// The batch and the schema agreed for the stream differ.
    SchemaMismatch,
}

/// Why something could not be encoded or decoded.
///
/// [`Display`](fmt::Display) says where and what, [`kind`](Self::kind) whose fault it is, and
/// [`condition`](Self::condition) names it for programs.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    condition: &'static str,
    /// From the outermost column inwards. Filled while the error travels up, innermost first.
    path: Vec<String>,
    text: String,
}

impl Error {
    fn new(kind: Kind, condition: &'static str, text: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, condition, path: Vec::new(), text: text.into() }))
    }

    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Error::new(Kind::Malformed, "ARROW_DATA_MALFORMED", text)
    }

    pub(crate) fn unsupported(text: impl Into<String>) -> Self {
        Error::new(Kind::Unsupported, "ARROW_DATA_UNSUPPORTED", text)
    }

    pub(crate) fn mismatch(text: impl Into<String>) -> Self {
        Error::new(Kind::SchemaMismatch, "ARROW_SCHEMA_MISMATCH", text)
    }

    pub(crate) fn row_too_large(text: impl Into<String>) -> Self {
        Error::new(Kind::TooLarge, "ARROW_ROW_TOO_LARGE", text)
    }

    pub(crate) fn inflates(text: impl Into<String>) -> Self {
        Error::new(Kind::TooLarge, "ARROW_DATA_INFLATES_TOO_FAR", text)
    }

    pub(crate) fn dictionaries_too_large(text: impl Into<String>) -> Self {
        Error::new(Kind::TooLarge, "ARROW_DICTIONARIES_TOO_LARGE", text)
    }

    /// A batch that is no list of functions.
    pub(crate) fn catalog(text: impl Into<String>) -> Self {
        Error::new(Kind::Malformed, "CATALOG_MALFORMED", text)
    }

    /// A payload that is none of its format.
    pub(crate) fn payload(text: impl Into<String>) -> Self {
        Error::new(Kind::Malformed, "INVALID_PAYLOAD", text)
    }

    /// A panic of a library below us was caught; `payload` is what it panicked with.
    pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Error::new(Kind::Malformed, "ARROW_DATA_PANICKED", format!("the arrow library gave up on these bytes: {said}"))
    }

    /// What Arrow's own validation found wrong with data of a peer.
    pub(crate) fn invalid(source: arrow_schema::ArrowError) -> Self {
        Error::malformed(format!("arrow's validation refused it: {source}"))
    }

    /// The same error, found inside the column or child `name`.
    pub(crate) fn within(mut self, name: &str) -> Self {
        self.0.path.push(name.to_owned());
        self
    }

    /// The same error, its text led by what it is about.
    pub(crate) fn led_by(self, what: impl fmt::Display) -> Self {
        Error::new(self.0.kind, self.0.condition, format!("{what}: {self}"))
    }

    /// Whose fault it is, roughly.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// A stable name in capitals, such as `ARROW_DATA_MALFORMED` (C12).
    pub fn condition(&self) -> &'static str {
        self.0.condition
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            f.write_str("column \"")?;
            for (i, name) in self.0.path.iter().rev().enumerate() {
                let dot = if i == 0 { "" } else { "." };
                write!(f, "{dot}{name}")?;
            }
            f.write_str("\": ")?;
        }
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("condition", &self.0.condition)
            .field("text", &self.to_string())
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// C12: the path reads from the outside in, and the condition does not depend on it.
    #[test]
    fn names_the_place_from_the_outside_in() {
        let error = Error::malformed("offsets descend at row 3").within("item").within("tags");
        assert_eq!(error.to_string(), r#"column "tags.item": offsets descend at row 3"#);
        assert_eq!((error.kind(), error.condition()), (Kind::Malformed, "ARROW_DATA_MALFORMED"));
    }
}
