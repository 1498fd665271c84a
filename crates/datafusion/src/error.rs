//! The crate's one error: which function, where, whose fault it was, and what to try (C12).

use std::borrow::Cow;
use std::fmt;

use anyudf_arrow::expression::FORMAT;
use anyudf_engine::ErrorKind;
use datafusion::error::DataFusionError;

/// Why a call did not succeed. DataFusion carries it as [`DataFusionError::External`]; [`Error::of`] finds it there.
///
/// Its text names the function and, where it is known, the rows. Arguments never appear in it (D13), but for what the
/// function's own text says.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    condition: Cow<'static, str>,
    text: String,
    source: Option<anyudf_engine::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, condition: &'static str, text: impl fmt::Display) -> Self {
        Error { kind, condition: condition.into(), text: text.to_string(), source: None }
    }

    /// What an execution of `function` ended with; `place` is empty or begins with a space.
    pub(crate) fn of_execution(function: &str, place: &str, error: anyudf_engine::Error) -> Self {
        let hint = match error.condition() {
            "POOL_TIMEOUT" => {
                "; each partition of the plan needs a session for each of its calls: allow more workers, or fewer partitions"
            }
            _ => "",
        };
        let function = Said::of(&error).map_or(function, |said| said.function);
        let said = told(place, &error);
        let text = match error.kind() {
            ErrorKind::User => format!("function `{function}` failed{place}: {said}{hint}"),
            ErrorKind::Worker => format!("the worker failed to run `{function}`{place}: {said}{hint}"),
            ErrorKind::Cancelled => format!("function `{function}` was cancelled{place}: {said}{hint}"),
            _ => format!("function `{function}` could not be run to its end{place}: {said}{hint}"),
        };
        Error { kind: error.kind(), condition: error.condition().to_owned().into(), text, source: Some(error) }
    }

    /// Why a worker could not be asked what it offers.
    pub(crate) fn of_worker(program: &str, error: anyudf_engine::Error) -> Self {
        let text = match error.execution() {
            Some(_) => format!("worker `{program}` can't tell what it offers: {error}"),
            // It says which worker.
            None => error.to_string(),
        };
        Error { kind: error.kind(), condition: error.condition().to_owned().into(), text, source: Some(error) }
    }

    /// The error of this crate in one of DataFusion's, however deep, if there is one.
    pub fn of(error: &DataFusionError) -> Option<&Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(error);
            }
            if let Some(DataFusionError::External(boxed)) = error.downcast_ref::<DataFusionError>()
                && let Some(error) = boxed.downcast_ref::<Error>()
            {
                return Some(error);
            }
            cause = error.source();
        }
        None
    }

    /// Whose fault it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable name of what happened, in SCREAMING_SNAKE_CASE (C12). For errors of the function it is the `error_class`
    /// that the worker gave.
    pub fn condition(&self) -> &str {
        &self.condition
    }

    /// How the execution ended, if it had begun.
    pub fn execution(&self) -> Option<&anyudf_engine::Error> {
        self.source.as_ref()
    }
}

/// What a worker of ours says of an error, taken apart: which function, where it was, and then what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    pub(crate) function: &'a str,
    /// The number of the batch that it was in, from one.
    pub(crate) batch: Option<u64>,
    /// The row of the batch, from zero.
    pub(crate) row: Option<u64>,
    what: &'a str,
}

impl<'a> Said<'a> {
    /// `None` when nobody has said anything, or somebody who does not lead errors by the place.
    pub(crate) fn of(error: &'a anyudf_engine::Error) -> Option<Self> {
        Self::parse(&error.execution()?.message)
    }

    /// "`f`, batch 2: row 7: what", and of several calls "`expression`, batch 2: `f` (call 1) from row 512: row 7: what", where
    /// all but the function and what it says may be missing.
    fn parse(text: &'a str) -> Option<Self> {
        let (function, rest) = text.strip_prefix('`')?.split_once('`')?;
        let (batch, rest) = match rest.strip_prefix(", batch ") {
            Some(batch) => {
                let (batch, rest) = batch.split_once(": ")?;
                (batch.parse().ok(), rest)
            }
            None => (None, rest.strip_prefix(": ")?),
        };
        let (function, first, what) = match (function, Self::call(rest)) {
            (FORMAT, Some(call)) => call,
            _ => (function, 0, rest),
        };
        let row = what.strip_prefix("row ").and_then(|row| row.split_once(": "));
        Some(match row.and_then(|(row, what)| Some((row.parse::<u64>().ok()?.checked_add(first)?, what))) {
            Some((row, what)) => Said { function, batch, row: Some(row), what },
            None => Said { function, batch, row: None, what },
        })
    }

    /// The function, the row that rows are counted from, and the rest.
    fn call(text: &'a str) -> Option<(&'a str, u64, &'a str)> {
        let (function, rest) = text.strip_prefix('`')?.split_once("` (call ")?;
        let (_, rest) = rest.split_once(')')?;
        match rest.strip_prefix(" from row ") {
            Some(rest) => {
                let (first, what) = rest.split_once(": ")?;
                Some((function, first.parse().ok()?, what))
            }
            None => Some((function, 0, rest.strip_prefix(": ")?)),
        }
    }
}

/// The error's text, without what `place` says better: batches and their rows mean nothing to who wrote the query.
fn told(place: &str, error: &anyudf_engine::Error) -> String {
    let class = error.execution().and_then(|error| error.error_class.as_ref());
    let class = class.map_or(String::new(), |class| format!("[{class}] "));
    match Said::of(error) {
        Some(Said { row: Some(row), what, .. }) if !place.starts_with(" in row ") => {
            format!("{class}row {row} of a batch: {what}")
        }
        Some(Said { what, .. }) => format!("{class}{what}"),
        None => error.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// No source: the text has said what the execution's error says.
impl std::error::Error for Error {}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_is_taken_apart() {
        for (text, function, batch, row, what) in [
            ("`f`: no", "f", None, None, "no"),
            ("`f`, batch 3: no: more", "f", Some(3), None, "no: more"),
            ("`f`, batch 3: row 7: no", "f", Some(3), Some(7), "no"),
            ("`expression`, batch 2: `g` (call 1): row 7: no", "g", Some(2), Some(7), "no"),
            ("`expression`, batch 2: `g` (call 1) from row 512: row 7: no", "g", Some(2), Some(519), "no"),
            ("`expression`, batch 2: `g` (call 1): no", "g", Some(2), None, "no"),
            ("`expression`, batch 2: it is tired", "expression", Some(2), None, "it is tired"),
        ] {
            assert_eq!(Said::parse(text), Some(Said { function, batch, row, what }), "{text}");
        }
        for text in ["", "no", "`f", "`f` panicked in process, batch 1, row 3: boo"] {
            assert_eq!(Said::parse(text), None, "{text}");
        }
    }
}
